"""What became of the faults, as a table in a document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mutants.fault import Fault

BEGIN: Final = "<!-- mutants:begin -->"
END: Final = "<!-- mutants:end -->"
#: In place of a test: what the document says already.
BEFORE: Final = "before"
_SECTION: Final = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


_ROW: Final = re.compile(r"^\| (.+) \| `(.+)` \| (.+) \|$", re.MULTILINE)


def table(judged: Sequence[tuple[Fault, str]], before: str = "") -> str:
    """The text between the marks: how many, and a row for each fault with the test that noticed it first.

    Of a fault for which that is "before" the row of the text ``before`` is kept, if it has one.
    """
    kept = {(name, file): by for name, file, by in _ROW.findall(before)}
    rows = []
    for fault, test in judged:
        name = fault.name.replace("|", "/")
        by = kept.get((name, fault.file), "nothing") if test == BEFORE else _by(test)
        rows.append((name, fault.file, by))
    noticed = sum(by != "nothing" for *_, by in rows)
    lines = [
        f"{len(rows)} faults, {noticed} of them noticed.",
        "",
        "| fault | in | noticed first by |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | `{file}` | {by} |" for name, file, by in rows]
    return "\n".join(lines)


def _by(test: str) -> str:
    file, _, name = test.partition("::")
    return f"{name.partition('[')[0]}, `{file}`" if name else test or "nothing"


def write(path: Path, judged: Sequence[tuple[Fault, str]]) -> None:
    """Put the table between the marks of a document."""
    text = path.read_text()
    changed, count = _SECTION.subn(lambda _match: f"{BEGIN}\n{table(judged, text)}\n{END}", text)
    if count != 1:
        raise SystemExit(f"{path}: expected {BEGIN} and {END}, once")
    path.write_text(changed)
