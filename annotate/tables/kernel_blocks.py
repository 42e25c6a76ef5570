"""The block stream that v2 and all later lineinfo tables of the kernel share, and the look-up rule of all of them.

Entries are (offset from a base, file id, line), ascending, 64 to a block. A block's first entry is absolute and its
address stands in an array beside the stream; the others are differences. v2 and v3 differ in how a signed difference is
written and in nothing else. Source: kernel documentation admin-guide/kallsyms-lineinfo, as posted in v2 and v3.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple, Protocol

from annotate.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    #: Reads a signed number: (bytes, position, end) -> (value, position behind it).
    SignedReader = Callable[[bytes, int, int], tuple[int, int]]

#: (offset, file id, line)
Entry = tuple[int, int, int]

BLOCK_ENTRIES = 64
WORD = (1 << 32) - 1

#: File ids of the generator are 0 to 65534.
MAX_FILES = 65535

#: Bytes of a block: its numbers have at most five each. What a hostile table claims beyond is not read.
_MAX_BLOCK = 5 * 3 * BLOCK_ENTRIES

#: Bytes of a file name (Linux PATH_MAX); the rest is cut off.
_MAX_NAME = 4096

#: Lines from here on come from differences that went below zero.
LINE_LIMIT = 1 << 31


class KernelTable(Protocol):
    """One table; offsets count from the base that its layout says (``_text``, or the start of a section)."""

    @property
    def num_entries(self) -> int:
        """Entries, those that only end a sequence included."""

    @property
    def num_files(self) -> int:
        """File names."""

    def find(self, offset: int, minimum: int = 0) -> tuple[bytes, int] | None:
        """File name and line of an offset by the kernel's rule, None where the kernel prints nothing.

        An entry that begins before ``minimum``, the start of the symbol asked about, is another function's and answers
        nothing.
        """

    def entries(self) -> Iterator[Entry]:
        """All entries in order. A file id that is not below ``num_files`` stands for "no line"."""

    def last(self) -> Entry | None:
        """The last entry."""

    def name(self, file_id: int) -> bytes | None:
        """The name of a file, None for an id or an offset that is outside."""

    def fault(self, *, sample: int | None = None) -> str:
        """Why the bytes cannot be a table of this layout, empty when they can; ``sample`` bounds the blocks read."""


class Symbols(Protocol):
    """The ``lineinfo_*`` symbols of a vmlinux, as bytes."""

    @property
    def source(self) -> str:
        """The file, for messages."""

    @property
    def byte_order(self) -> str:
        """``<`` or ``>``, as ``struct`` has it."""

    def has(self, name: str) -> bool:
        """Whether there is such a symbol."""

    def read(self, name: str, size: int | None) -> bytes:
        """Bytes from a symbol on; None for all up to the end of its section. Raises DamagedFileError."""


class Words:
    """An array of numbers in a file's byte order, unpacked as asked for."""

    __slots__ = ("_data", "_iterate", "_unpack", "_width")

    def __init__(self, data: bytes, byte_order: str, letter: str = "I") -> None:
        entry = struct.Struct(byte_order + letter)
        self._data = data
        self._unpack = entry.unpack_from
        self._iterate = entry.iter_unpack
        self._width = entry.size

    def __len__(self) -> int:
        return len(self._data) // self._width

    def __iter__(self) -> Iterator[int]:
        return (value for (value,) in self._iterate(self._data[: len(self) * self._width]))

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(index)
        value: int = self._unpack(self._data, index * self._width)[0]
        return value


class Names:
    """The file names of a table: offsets into NUL-terminated strings."""

    __slots__ = ("_filenames", "_offsets")

    def __init__(self, offsets: Words, filenames: bytes) -> None:
        self._offsets = offsets
        self._filenames = filenames

    def __len__(self) -> int:
        return len(self._offsets)

    def find(self, file_id: int) -> bytes | None:
        """The name, None for an id or offset that is outside."""
        if not 0 <= file_id < len(self._offsets):
            return None
        start = self._offsets[file_id]
        if start >= len(self._filenames):
            return None
        end = self._filenames.find(b"\0", start, start + _MAX_NAME)
        return self._filenames[start : end if end >= 0 else start + _MAX_NAME]

    def fault(self) -> str:
        """What is wrong with them, empty when nothing is."""
        if not self._filenames.endswith(b"\0"):
            return "file names without a closing NUL"
        if any(offset >= len(self._filenames) for offset in self._offsets):
            return "the offset of a file name behind the last name"
        return ""


def read_uleb32(data: bytes, position: int, end: int) -> tuple[int, int]:
    """An unsigned number as the kernel reads it: 32 bits, the rest is lost; at the end, what there is so far."""
    value = shift = 0
    while position < end:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift >= 32:
            position = _skip_number(data, position, end)
            break
    return value & WORD, position


def read_sleb32(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A signed number as the kernel reads it (v3 and later), 32 bits.

    The loop stands here once more: one that both call makes reading a third slower.
    """
    value = shift = byte = 0
    while position < end:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift >= 32:
            position = _skip_number(data, position, end)
            break
    if shift < 32 and byte & 0x40:
        value -= 1 << shift
    value &= WORD
    return value - (1 << 32) if value >> 31 else value, position


def _skip_number(data: bytes, position: int, end: int) -> int:
    """Behind the rest of a number of more than five bytes."""
    while position < end and data[position] >= 0x80:
        position += 1
    return min(position + 1, end)


class BlockParts(NamedTuple):
    """The pieces of a table as they lie in the file."""

    num_entries: int
    block_addresses: Words
    block_offsets: Words
    data: bytes
    names: Names


class BlockTable:
    """A table in blocks. Implements ``KernelTable``."""

    __slots__ = ("_data", "_names", "_offsets", "_signed", "_starts", "num_entries", "num_files")

    def __init__(self, parts: BlockParts, signed: SignedReader) -> None:
        self.num_entries = parts.num_entries
        self.num_files = len(parts.names)
        self._starts = parts.block_addresses
        self._offsets = parts.block_offsets
        self._data = parts.data
        self._names = parts.names
        self._signed = signed

    def find(self, offset: int, minimum: int = 0) -> tuple[bytes, int] | None:
        """See ``KernelTable``."""
        if not 0 <= offset <= WORD:
            return None
        block = bisect_right(self._starts, offset) - 1
        if block < 0:
            return None
        best = None
        for entry in self._block(block):
            if entry[0] > offset:
                break
            best = entry
        if best is None or best[0] < minimum:
            return None
        name = self.name(best[1])
        return None if name is None else (name, best[2])

    def name(self, file_id: int) -> bytes | None:
        """See ``KernelTable``."""
        return self._names.find(file_id)

    def entries(self) -> Iterator[Entry]:
        """See ``KernelTable``."""
        for block in range(len(self._starts)):
            yield from self._block(block)

    def last(self) -> Entry | None:
        """See ``KernelTable``."""
        found = None
        if len(self._starts):
            for found in self._block(len(self._starts) - 1):  # noqa: B007 (the last one is wanted)
                pass
        return found

    def _bounds(self, block: int) -> tuple[int, int, int]:
        """Number of entries, first byte, and byte behind the last of a block."""
        start = self._offsets[block]
        end = min(start + _MAX_BLOCK, len(self._data))
        if block + 1 < len(self._starts):
            end = min(end, self._offsets[block + 1])
        return min(BLOCK_ENTRIES, self.num_entries - BLOCK_ENTRIES * block), start, end

    def _block(self, block: int) -> Iterator[Entry]:
        count, position, end = self._bounds(block)
        if position >= end:
            return
        data, signed = self._data, self._signed
        address = self._starts[block]
        file, position = read_uleb32(data, position, end)
        line, position = read_uleb32(data, position, end)
        yield address, file, line
        for _ in range(count - 1):
            step, position = read_uleb32(data, position, end)
            files, position = signed(data, position, end)
            lines, position = signed(data, position, end)
            address = address + step & WORD
            file = file + files & WORD
            line = line + lines & WORD
            yield address, file, line

    def fault(self, *, sample: int | None = None) -> str:
        """See ``KernelTable``."""
        blocks = len(self._starts)
        if not self.num_entries or blocks != (self.num_entries + BLOCK_ENTRIES - 1) // BLOCK_ENTRIES:
            return f"{self.num_entries} entries in {blocks} blocks"
        if len(self._offsets) != blocks:
            return f"{len(self._offsets)} offsets of {blocks} blocks"
        if len(self._data) < 3 * self.num_entries - blocks:
            return f"{self.num_entries} entries in {len(self._data)} bytes"
        problem = self._names.fault()
        step = 1 if sample is None else max(blocks // max(sample, 1), 1)
        for block in range(0, blocks, step):
            problem = problem or self._block_fault(block)
            if problem:
                break
        return problem

    def _block_fault(self, block: int) -> str:
        count, position, end = self._bounds(block)
        limit = WORD if block + 1 == len(self._starts) else self._starts[block + 1]
        if self._offsets[block] >= end:
            return f"block {block} without bytes"
        # Whichever encoding, a number ends at its first byte below 0x80, so the size of a block needs no decoding.
        numbers = sum(byte < 0x80 for byte in self._data[position:end])
        if numbers != 3 * count - 1 or self._data[end - 1] >= 0x80:
            return f"block {block} of {count} entries with {numbers} numbers"
        last = -1
        for address, file, line in self._block(block):
            if not last < address <= limit:
                return f"block {block} with addresses that do not ascend"
            if file > self.num_files:
                return f"block {block} with file id {file} of {self.num_files}"
            if not 0 < line < LINE_LIMIT:
                return f"block {block} with line {line}"
            last = address
        return ""


def read_vmlinux_parts(symbols: Symbols) -> BlockParts:
    """The pieces behind the symbols of a vmlinux; v2 and all later ones have the same. Raises DamagedFileError."""
    order = symbols.byte_order

    def number(name: str) -> int:
        (value,) = struct.unpack(order + "I", symbols.read(name, 4))
        return int(value)

    blocks, files = number("lineinfo_num_blocks"), number("lineinfo_num_files")
    return BlockParts(
        number("lineinfo_num_entries"),
        Words(symbols.read("lineinfo_block_addrs", 4 * blocks), order),
        Words(symbols.read("lineinfo_block_offsets", 4 * blocks), order),
        symbols.read("lineinfo_data", number("lineinfo_data_size")),
        Names(
            Words(symbols.read("lineinfo_file_offsets", 4 * files), order),
            symbols.read("lineinfo_filenames", number("lineinfo_filenames_size")),
        ),
    )


def slice_of(data: bytes, offset: int, size: int, source: str, what: str) -> bytes:
    """Bytes of a module's table, which must be there. Raises DamagedFileError."""
    if offset + size > len(data):
        raise DamagedFileError(
            source, ".mod_lineinfo", offset, f"{what}, {size} bytes", f"the end of the table at {len(data):#x}"
        )
    return data[offset : offset + size]


def read_header(data: bytes, byte_order: str, count: int, source: str, offset: int = 0) -> Sequence[int]:
    """The 32-bit words that a module's table begins with. Raises DamagedFileError."""
    return struct.unpack(f"{byte_order}{count}I", slice_of(data, offset, 4 * count, source, "a header"))
