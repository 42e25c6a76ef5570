"""Prints docs/log-formats.md, the table of every spelling of a frame, from the rows of the grammar.

python docs/make_log_formats.py > docs/log-formats.md
"""

from __future__ import annotations

import sys

from annotate.log.formats import FRAME_FORMATS
from annotate.model import FrameFormat, PcKind, Spelling

HEAD = """# What is read as a frame

Made of the rows in `annotate/log/formats/` by `docs/make_log_formats.py`; a test fails when it is stale.

What stands before a frame says what its address means. `return`: the address behind a call, so the line is the call's;
`exact`: an instruction pointer; `entry`: the function itself, of which the first line is said.

How much the kernel writes of a frame differs. A name with an offset and a size is a frame wherever it stands; where no
row says what it means, it is taken for a return address, with an offset of 0 for an entry. All else is a frame only in
the rows that take it. Colours, escapes of JSON strings, HTML entities, quoted-printable blanks and locations that stand
there already are looked through, and everything is left as it is.

| spelling | as in |
|---|---|
"""

SPELLINGS = {
    Spelling.SIZED: "sized",
    Spelling.OFFSET: "offset",
    Spelling.DECIMAL: "decimal",
    Spelling.ADDRESS: "address",
    Spelling.DIGITS: "digits",
    Spelling.LOW_DIGITS: "low digits",
    Spelling.NAME: "name",
    Spelling.IDENTIFIER: "identifier",
}

MEANINGS = {PcKind.RETURN: "return", PcKind.EXACT: "exact", PcKind.ENTRY: "entry"}


def _code(text: str) -> str:
    """Text as it is, in a cell of a table: blanks at its ends and bars survive."""
    return "<code>" + text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;") + "</code>"


def _row(row: FrameFormat) -> str:
    cells = (
        f"`{row.name}`",
        row.arches,
        MEANINGS[row.pc],
        ", ".join(SPELLINGS[spelling] for spelling in row.takes),
        row.printed_by,
        _code(row.example.decode()),
    )
    return "| " + " | ".join(cells) + " |\n"


def table() -> str:
    """The whole document."""
    spellings = "".join(f"| {text} | `{spelling.value}` |\n" for spelling, text in SPELLINGS.items())
    rows = "".join(map(_row, FRAME_FORMATS))
    head = "\n| row | architectures | address | spelling | printed by | example |\n|---|---|---|---|---|---|\n"
    return HEAD + spellings + head + rows


if __name__ == "__main__":
    sys.stdout.write(table())
