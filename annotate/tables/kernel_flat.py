"""The flat tables of the first posts: arrays side by side, ten bytes an entry.

Source: kernel documentation admin-guide/kallsyms-lineinfo, as posted in the RFC, in v1 and in the first half of every
later series. A vmlinux has ``lineinfo_num_entries``, ``num_files``, ``addrs``, ``file_ids`` (16 bits), ``lines``,
``file_offsets``, ``filenames_size`` (not in the RFC) and ``filenames``. A module's ``.mod_lineinfo`` has a header of 16
bytes (entries, files, bytes of names, 0) and the same arrays, lines aligned to 4. Offsets count from ``_text``, or from
the start of ``.text``.

This reads and writes what was posted; it is owned upstream and never improved.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

from annotate.errors import DamagedFileError
from annotate.tables.kernel_assembly import Numbers, Piece, Strings, size_of
from annotate.tables.kernel_blocks import LINE_LIMIT, WORD, Names, Symbols, Words, read_header, slice_of
from annotate.tables.kernel_rows import name_offsets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotate.tables.kernel_blocks import Entry
    from annotate.tables.kernel_rows import Entries

LAYOUT = "flat"
_HEADER_WORDS = 4

#: Entries to a step of a check by sample.
_CHECKED_TOGETHER = 64


class FlatTable:
    """A table in arrays. Implements ``annotate.tables.kernel_blocks.KernelTable``."""

    __slots__ = ("_addresses", "_file_ids", "_lines", "_names", "num_entries", "num_files")

    def __init__(self, addresses: Words, file_ids: Words, lines: Words, names: Names) -> None:
        self.num_entries = len(addresses)
        self.num_files = len(names)
        self._addresses = addresses
        self._file_ids = file_ids
        self._lines = lines
        self._names = names

    def find(self, offset: int, minimum: int = 0) -> tuple[bytes, int] | None:
        """See ``KernelTable``."""
        if not 0 <= offset <= WORD:
            return None
        index = bisect_right(self._addresses, offset) - 1
        if index < 0 or self._addresses[index] < minimum:
            return None
        name = self.name(self._file_ids[index])
        return None if name is None else (name, self._lines[index])

    def name(self, file_id: int) -> bytes | None:
        """See ``KernelTable``."""
        return self._names.find(file_id)

    def entries(self) -> Iterator[Entry]:
        """See ``KernelTable``."""
        return zip(self._addresses, self._file_ids, self._lines, strict=True)

    def last(self) -> Entry | None:
        """See ``KernelTable``."""
        index = self.num_entries - 1
        return (self._addresses[index], self._file_ids[index], self._lines[index]) if index >= 0 else None

    def fault(self, *, sample: int | None = None) -> str:
        """See ``KernelTable``."""
        if not self.num_entries:
            return "no entries"
        problem = self._names.fault()
        step = 1 if sample is None else max(self.num_entries // (max(sample, 1) * _CHECKED_TOGETHER), 1)
        last = -1
        for index in range(0, self.num_entries, step):
            if problem:
                break
            address, file, line = self._addresses[index], self._file_ids[index], self._lines[index]
            if address <= last:
                problem = f"entry {index} with an address that does not ascend"
            elif file > self.num_files:
                problem = f"entry {index} with file id {file} of {self.num_files}"
            elif not 0 < line < LINE_LIMIT:
                problem = f"entry {index} with line {line}"
            last = address
        return problem


def read_vmlinux(symbols: Symbols) -> FlatTable:
    """The table behind the symbols of a vmlinux. Raises DamagedFileError."""
    order = symbols.byte_order
    (entries,) = struct.unpack(order + "I", symbols.read("lineinfo_num_entries", 4))
    (files,) = struct.unpack(order + "I", symbols.read("lineinfo_num_files", 4))
    offsets = Words(symbols.read("lineinfo_file_offsets", 4 * files), order)
    size = None
    if symbols.has("lineinfo_filenames_size"):
        (size,) = struct.unpack(order + "I", symbols.read("lineinfo_filenames_size", 4))
    filenames = symbols.read("lineinfo_filenames", size)
    if size is None and files:
        # The RFC does not say how long the names are: up to the NUL of the last one.
        filenames = filenames[: filenames.find(b"\0", max(offsets)) + 1]
    return FlatTable(
        Words(symbols.read("lineinfo_addrs", 4 * entries), order),
        Words(symbols.read("lineinfo_file_ids", 2 * entries), order, "H"),
        Words(symbols.read("lineinfo_lines", 4 * entries), order),
        Names(offsets, filenames),
    )


def read_module(data: bytes, byte_order: str, source: str) -> FlatTable:
    """The table that ``.mod_lineinfo`` holds. Raises DamagedFileError when it cannot be one of this layout."""
    entries, files, names_size, reserved = read_header(data, byte_order, _HEADER_WORDS, source)
    start = 4 * _HEADER_WORDS
    lines = start + 6 * entries + (-6 * entries) % 4
    names = lines + 4 * entries + 4 * files
    if reserved or names + names_size != len(data):
        raise DamagedFileError(
            source, ".mod_lineinfo", 0, f"a flat table of {len(data)} bytes", f"one of {names + names_size} bytes"
        )
    return FlatTable(
        Words(slice_of(data, start, 4 * entries, source, "addresses"), byte_order),
        Words(slice_of(data, start + 4 * entries, 2 * entries, source, "file ids"), byte_order, "H"),
        Words(slice_of(data, lines, 4 * entries, source, "lines"), byte_order),
        Names(Words(slice_of(data, names - 4 * files, 4 * files, source, "file offsets"), byte_order), data[names:]),
    )


def write_vmlinux(entries: Entries) -> list[Piece]:
    """The pieces of ``.rodata``."""
    names = Strings("lineinfo_filenames", entries.names)
    return [
        Numbers("lineinfo_num_entries", 4, [len(entries.offsets)]),
        Numbers("lineinfo_num_files", 4, [len(entries.names)]),
        Numbers("lineinfo_addrs", 4, entries.offsets),
        Numbers("lineinfo_file_ids", 2, entries.file_ids),
        Numbers("lineinfo_lines", 4, entries.lines),
        Numbers("lineinfo_file_offsets", 4, name_offsets(entries.names)),
        Numbers("lineinfo_filenames_size", 4, [size_of([names])]),
        names,
    ]


def write_module(entries: Entries) -> list[Piece]:
    """The pieces of ``.mod_lineinfo``."""
    names = Strings("", entries.names)
    return [
        Numbers("", 4, [len(entries.offsets), len(entries.names), size_of([names]), 0]),
        Numbers("", 4, entries.offsets),
        Numbers("", 2, entries.file_ids),
        Numbers("", 4, entries.lines),
        Numbers("", 4, name_offsets(entries.names)),
        names,
    ]
