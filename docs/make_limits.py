"""Prints docs/security.md with its table of limits made anew from the modules that hold them.

python docs/make_limits.py > /tmp/security.md && mv /tmp/security.md docs/security.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
DOCUMENT = REPOSITORY / "docs" / "security.md"

#: Where the limits stand, and the names that are limits where others are not.
SOURCES = (
    ("annotate/limits.py", re.compile(r"(?:MAX|LEAST)_\w+")),
    ("annotate/tables/lineinfo_v1/layout.py", re.compile(r"MAX_(?:BLOCK|TEXT|CALLS)")),
)

_HEADING = re.compile(r"# (?P<heading>[^:].*?)\.?$")
_ASSIGNED = re.compile(r"(?P<name>[A-Z_]+) = (?P<value>.+)$")
_BEGIN, _END = "<!-- generated: limits -->\n", "<!-- end -->\n"


def _amount(value: int) -> str:
    """A number as people write it."""
    for shift, unit in ((30, "Gi"), (20, "Mi")):
        if value >= 1 << shift and value % (1 << shift) == 0:
            return f"{value >> shift} {unit}"
    return f"{value:_}".replace("_", " ")


def rows(path: str, wanted: re.Pattern[str]) -> list[str]:
    """The rows of one module: each limit with the sentence above it. Comments of their own are headings."""
    found: list[str] = []
    comment: list[str] = []
    for line in (REPOSITORY / path).read_text().splitlines():
        if line.startswith("#:"):
            comment.append(line[2:].strip())
            continue
        assigned = _ASSIGNED.match(line)
        heading = _HEADING.match(line)
        if assigned and wanted.fullmatch(assigned["name"]):
            left, _, right = assigned["value"].replace("_", "").partition(" << ")
            value = int(left) << int(right) if right else _product(left)
            found.append(f"| `{assigned['name']}` | {_amount(value)} | {' '.join(comment)} |\n")
        elif heading and path.endswith("limits.py"):
            found.append(f"| **{heading['heading']}** | | |\n")
        comment = []
    return found


def _product(text: str) -> int:
    result = 1
    for factor in text.split(" * "):
        result *= int(factor)
    return result


def table() -> str:
    """The table of all limits."""
    lines = ["| limit | value | of what, and what is usual |\n", "|---|---|---|\n"]
    for path, wanted in SOURCES:
        if not path.endswith("limits.py"):
            lines.append("| **Our own tables** | | |\n")
        lines += rows(path, wanted)
    return "".join(lines)


def document() -> str:
    """The whole document."""
    before, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    return before + _BEGIN + table() + _END + rest.partition(_END)[2]


if __name__ == "__main__":
    sys.stdout.write(document())
