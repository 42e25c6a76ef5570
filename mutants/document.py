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
_SECTION: Final = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


def table(judged: Sequence[tuple[Fault, str]]) -> str:
    """The text between the marks: how many, and a row for each fault with the test that noticed it first."""
    noticed = sum(bool(test) for _, test in judged)
    lines = [
        f"{len(judged)} faults, {noticed} of them noticed.",
        "",
        "| fault | in | noticed first by |",
        "|---|---|---|",
    ]
    for fault, test in judged:
        file, _, name = test.partition("::")
        by = f"{name.partition('[')[0]}, `{file}`" if name else test or "nothing"
        lines.append(f"| {fault.name.replace('|', '/')} | `{fault.file}` | {by} |")
    return "\n".join(lines)


def write(path: Path, judged: Sequence[tuple[Fault, str]]) -> None:
    """Put the table between the marks of a document."""
    text = path.read_text()
    changed, count = _SECTION.subn(lambda _match: f"{BEGIN}\n{table(judged)}\n{END}", text)
    if count != 1:
        raise SystemExit(f"{path}: expected {BEGIN} and {END}, once")
    path.write_text(changed)
