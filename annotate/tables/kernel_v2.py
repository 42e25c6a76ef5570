"""The tables of v2: blocks of 64, signed differences as zigzag in ULEB128.

Source: kernel documentation admin-guide/kallsyms-lineinfo, as posted in v2. A signed number v is written as
``(v << 1) ^ (v >> 31)``. A module's ``.mod_lineinfo`` begins with six words: entries, files, bytes of names, blocks,
bytes of data, 0; then block addresses, block offsets, data, file offsets (aligned to 4; a variant of the end of v1
leaves that alignment out), names. Offsets count from ``_text``, or from the start of ``.text``.

This reads and writes what was posted; it is owned upstream and never improved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.errors import DamagedFileError
from annotate.leb128 import write_uleb
from annotate.tables.kernel_assembly import Data, Numbers, Piece, Strings, size_of
from annotate.tables.kernel_blocks import (
    BlockParts,
    BlockTable,
    Names,
    Symbols,
    Words,
    read_header,
    read_uleb32,
    read_vmlinux_parts,
    slice_of,
)
from annotate.tables.kernel_rows import encode_blocks, name_offsets

if TYPE_CHECKING:
    from collections.abc import Callable

    from annotate.tables.kernel_rows import Entries

LAYOUT = "v2"
_HEADER_WORDS = 6


def read_zigzag(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A signed number and the position behind it."""
    value, position = read_uleb32(data, position, end)
    return value >> 1 ^ -(value & 1), position


def write_zigzag(value: int) -> bytes:
    """The bytes of a signed number of 32 bits."""
    return write_uleb((value << 1 ^ value >> 31) & 0xFFFFFFFF)


def read_vmlinux(symbols: Symbols) -> BlockTable:
    """The table behind the symbols of a vmlinux. Raises DamagedFileError."""
    return BlockTable(read_vmlinux_parts(symbols), read_zigzag)


def read_module(data: bytes, byte_order: str, source: str) -> BlockTable:
    """The table that ``.mod_lineinfo`` holds. Raises DamagedFileError when it cannot be one of this layout."""
    header = read_header(data, byte_order, _HEADER_WORDS, source)
    num_entries, files, names_size, blocks, data_size, reserved = header
    stream = 4 * _HEADER_WORDS + 8 * blocks
    sizes = {
        offsets + 4 * files + names_size: offsets
        for offsets in (stream + data_size, stream + data_size + -(stream + data_size) % 4)
    }
    if reserved or len(data) not in sizes:
        raise DamagedFileError(
            source, ".mod_lineinfo", 0, f"a table of v2 of {len(data)} bytes", f"one of {max(sizes)} bytes"
        )
    offsets = sizes[len(data)]
    block_size = 4 * blocks
    return BlockTable(
        BlockParts(
            num_entries,
            Words(slice_of(data, 4 * _HEADER_WORDS, block_size, source, "block addresses"), byte_order),
            Words(slice_of(data, 4 * _HEADER_WORDS + block_size, block_size, source, "block offsets"), byte_order),
            slice_of(data, stream, data_size, source, "data"),
            Names(
                Words(slice_of(data, offsets, 4 * files, source, "file offsets"), byte_order),
                data[offsets + 4 * files :],
            ),
        ),
        read_zigzag,
    )


def write_vmlinux(entries: Entries) -> list[Piece]:
    """The pieces of ``.rodata``."""
    return vmlinux_pieces(entries, write_zigzag)


def vmlinux_pieces(entries: Entries, signed: Callable[[int], bytes]) -> list[Piece]:
    """The same for any way to write a signed number: v3 and later changed nothing else."""
    blocks = encode_blocks(entries, signed)
    names = Strings("lineinfo_filenames", entries.names)
    return [
        Numbers("lineinfo_num_entries", 4, [len(entries.offsets)]),
        Numbers("lineinfo_num_files", 4, [len(entries.names)]),
        Numbers("lineinfo_num_blocks", 4, [len(blocks.addresses)]),
        Numbers("lineinfo_block_addrs", 4, blocks.addresses),
        Numbers("lineinfo_block_offsets", 4, blocks.offsets),
        Numbers("lineinfo_data_size", 4, [len(blocks.data)]),
        Data("lineinfo_data", blocks.data),
        Numbers("lineinfo_file_offsets", 4, name_offsets(entries.names)),
        Numbers("lineinfo_filenames_size", 4, [size_of([names])]),
        names,
    ]


def write_module(entries: Entries) -> list[Piece]:
    """The pieces of ``.mod_lineinfo``."""
    blocks = encode_blocks(entries, write_zigzag)
    names = Strings("", entries.names)
    header = [
        len(entries.offsets),
        len(entries.names),
        size_of([names]),
        len(blocks.addresses),
        len(blocks.data),
        0,
    ]
    return [
        Numbers("", 4, header),
        Numbers("", 4, blocks.addresses),
        Numbers("", 4, blocks.offsets),
        Data("", blocks.data),
        Numbers("", 4, name_offsets(entries.names)),
        names,
    ]
