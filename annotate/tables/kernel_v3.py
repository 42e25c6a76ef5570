"""The tables of v3 and v4: blocks of 64, signed differences as SLEB128.

Source: kernel documentation admin-guide/kallsyms-lineinfo, as posted in v3. A vmlinux has the same symbols as in v2 and
nothing says which of the two it is. A module's ``.mod_lineinfo`` begins with twelve words: entries, blocks, files;
offset and size of the block arrays (addresses, then offsets), of the data, of the file offsets, of the names; 0. Those
offsets count from the start of ``.mod_lineinfo``, addresses from ``_text`` or the start of ``.text``.

This reads and writes what was posted; it is owned upstream and never improved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.errors import DamagedFileError
from annotate.leb128 import write_sleb
from annotate.tables.kernel_assembly import Data, Numbers, Piece, Strings, size_of
from annotate.tables.kernel_blocks import (
    BlockParts,
    BlockTable,
    Names,
    Symbols,
    Words,
    read_header,
    read_sleb32,
    read_vmlinux_parts,
    slice_of,
)
from annotate.tables.kernel_rows import encode_blocks, name_offsets
from annotate.tables.kernel_v2 import vmlinux_pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.tables.kernel_rows import Entries

LAYOUT = "v3"
_HEADER_WORDS = 12

#: The words before the reserved one, which v5 has alone.
FIELDS = _HEADER_WORDS - 1


def read_vmlinux(symbols: Symbols) -> BlockTable:
    """The table behind the symbols of a vmlinux. Raises DamagedFileError."""
    return BlockTable(read_vmlinux_parts(symbols), read_sleb32)


def read_module(data: bytes, byte_order: str, source: str) -> BlockTable:
    """The table that ``.mod_lineinfo`` holds. Raises DamagedFileError when it cannot be one of this layout."""
    header = read_header(data, byte_order, _HEADER_WORDS, source)
    if header[-1]:
        raise DamagedFileError(source, ".mod_lineinfo", 44, "a reserved word of 0", f"{header[-1]}")
    return read_fields(data, byte_order, header, source)


def read_fields(data: bytes, byte_order: str, header: Sequence[int], source: str) -> BlockTable:
    """A table whose header says where its parts are, counted from the start of ``data``. Raises DamagedFileError."""
    entries, blocks, files, *places = header[:FIELDS]
    parts = [
        slice_of(data, offset, size, source, what)
        for offset, size, what in zip(
            places[0::2], places[1::2], ("block arrays", "data", "file offsets", "file names"), strict=True
        )
    ]
    if blocks > len(parts[0]) // 8 or files > len(parts[2]) // 4 or min(places[0::2]) < 4 * FIELDS:
        raise DamagedFileError(
            source, ".mod_lineinfo", 0, f"{blocks} blocks and {files} files", f"arrays of {places[1]} and {places[5]}"
        )
    return BlockTable(
        BlockParts(
            entries,
            Words(parts[0][: 4 * blocks], byte_order),
            Words(parts[0][4 * blocks : 8 * blocks], byte_order),
            parts[1],
            Names(Words(parts[2][: 4 * files], byte_order), parts[3]),
        ),
        read_sleb32,
    )


def write_vmlinux(entries: Entries) -> list[Piece]:
    """The pieces of ``.rodata``."""
    return vmlinux_pieces(entries, write_sleb)


def write_module(entries: Entries) -> list[Piece]:
    """The pieces of ``.mod_lineinfo``."""
    return module_pieces(entries, 4 * _HEADER_WORDS)


def module_pieces(entries: Entries, header_size: int) -> list[Piece]:
    """A header of ``header_size`` bytes and what it describes; offsets count from it, at a multiple of 4."""
    blocks = encode_blocks(entries, write_sleb)
    arrays = 8 * len(blocks.addresses)
    names = Strings("", entries.names)
    data = header_size + arrays
    files = data + len(blocks.data) + -(data + len(blocks.data)) % 4
    files_size = 4 * len(entries.names)
    header = [
        len(entries.offsets),
        len(blocks.addresses),
        len(entries.names),
        *(header_size, arrays),
        *(data, len(blocks.data)),
        *(files, files_size),
        *(files + files_size, size_of([names])),
    ]
    return [
        Numbers("", 4, header + [0] * (header_size // 4 - FIELDS)),
        Numbers("", 4, blocks.addresses),
        Numbers("", 4, blocks.offsets),
        Data("", blocks.data),
        Numbers("", 4, name_offsets(entries.names)),
        names,
    ]
