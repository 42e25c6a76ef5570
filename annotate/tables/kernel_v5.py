"""The tables of v5 to v7. In a vmlinux they are those of v3, up to ``_etext``; in a module there are two of them.

Source: kernel documentation admin-guide/kallsyms-lineinfo, as posted in v5. ``.mod_lineinfo`` is for ``.text`` and
``.exit.text``, ``.init.mod_lineinfo`` for ``.init.text``. Each holds, aligned to 8:

    0       number of sections, 32 bits, and 32 bits of padding
    8 + 16i 64 bits: where section i is, by a relocation; 0 is unresolved
    16 + 16i 32 bits: size of the section
    20 + 16i 32 bits: where its table is, from the start
    ...     the tables, each with a header of eleven words as in v3, whose offsets count from that header

v5 and v6 put the offset of a table before the padding in front of it: it is rounded up to a multiple of 4. The C
compilers of i386 and m68k looked for the descriptors at 4, where no assembler ever put them: 8 is right.

This reads and writes what was posted; it is owned upstream and never improved.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from annotate.errors import DamagedFileError
from annotate.tables import kernel_v3
from annotate.tables.kernel_assembly import Anchor, Data, Numbers, Piece, size_of
from annotate.tables.kernel_blocks import read_header, slice_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.tables.kernel_blocks import BlockTable
    from annotate.tables.kernel_rows import Entries

LAYOUT = "v5"

#: Which of a module's sections are covered, by the section that holds their tables.
COVERED = {".mod_lineinfo": (".text", ".exit.text"), ".init.mod_lineinfo": (".init.text",)}

ALIGNMENT = 8
_ROOT, _DESCRIPTOR = 8, 16

#: A table covers at most three sections; far more would be damage.
_MAX_SECTIONS = 64


class SectionTable(NamedTuple):
    """The table of one section; ``address`` is what the relocation left, 0 when there was none."""

    address: int
    size: int
    table: BlockTable


def read_module(data: bytes, byte_order: str, source: str) -> list[SectionTable]:
    """The tables that a section holds, relocations applied. Raises DamagedFileError when they cannot be v5's."""
    count, padding = read_header(data, byte_order, 2, source)
    if not 0 < count <= _MAX_SECTIONS or padding:
        raise DamagedFileError(source, ".mod_lineinfo", 0, "the tables of a few sections", f"{count} and {padding}")
    descriptors = slice_of(data, _ROOT, _DESCRIPTOR * count, source, "descriptors")
    tables = []
    for address, size, offset in struct.iter_unpack(byte_order + "QII", descriptors):
        start = offset + -offset % 4
        if start < _ROOT + len(descriptors):
            raise DamagedFileError(source, ".mod_lineinfo", offset, "a table behind the descriptors", "one inside")
        header = read_header(data, byte_order, kernel_v3.FIELDS, source, start)
        tables.append(SectionTable(address, size, kernel_v3.read_fields(data[start:], byte_order, header, source)))
    return tables


def find_covering(tables: Sequence[SectionTable], address: int) -> SectionTable | None:
    """The table that decides for an address: the first whose section holds it, and no other."""
    for section in tables:
        if section.address and section.address <= address < section.address + section.size:
            return section
    return None


write_vmlinux = kernel_v3.write_vmlinux


def write_module(sections: Sequence[tuple[str, int, Entries]]) -> list[Piece]:
    """The pieces of one of the two sections: name, size and entries of each section that it covers.

    Only sections with entries belong here.
    """
    pieces: list[Piece] = [Numbers("", 4, [len(sections), 0])]
    tables: list[Piece] = []
    position = _ROOT + _DESCRIPTOR * len(sections)
    for name, size, entries in sections:
        padding = -position % 4
        table = kernel_v3.module_pieces(entries, 4 * kernel_v3.FIELDS)
        pieces += [Anchor(name), Numbers("", 4, [size, position + padding])]
        tables += [Data("", bytes(padding)), *table]
        position = size_of(table, position + padding)
    return pieces + tables
