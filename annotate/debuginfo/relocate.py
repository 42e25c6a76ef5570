"""Debug sections with their relocations applied.

Only relocatable files (modules) need it: the contents of a linked vmlinux are final even where the linker kept the
relocations (``--emit-relocs``), and applying those again would be wrong.

Only the bytes that are asked for are relocated, unit by unit: xfs.ko has 730 308 relocations on ``.debug_info``, about
5 000 for one of its units; applying all of them takes 181 ms, those of one unit about 1 ms. The decoders above this
see plain bytes either way.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import TYPE_CHECKING

from annotate.debuginfo.elf import (
    EM_AARCH64,
    EM_X86_64,
    ET_REL,
    SHN_LORESERVE,
    SHT_REL,
    SHT_RELA,
)
from annotate.errors import DamagedFileError, UnsupportedFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from annotate.debuginfo.elf import ElfFile, Section

#: Bytes written by each absolute relocation, by machine: the psABI supplements' names and numbers.
ABSOLUTE: dict[int, dict[int, int]] = {
    EM_X86_64: {1: 8, 10: 4, 11: 4},  # R_X86_64_64, _32, _32S
    EM_AARCH64: {257: 8, 258: 4},  # R_AARCH64_ABS64, _ABS32
}

_CHECKED_AT_ONCE = 1 << 16


class DebugSection:
    """One debug section; ``read`` gives its bytes as a linker would have left them.

    ``symbol_values`` maps a symbol's index to its address (section base included); it is only asked when the
    file is relocatable.
    """

    def __init__(self, elf: ElfFile, section: Section, symbol_values: Sequence[int]) -> None:
        self._elf = elf
        self._section = section
        self.name = section.name
        self.size = section.size
        self._strings: tuple[int, int] | None = None
        self._relocations = _relocations_of(elf, section, symbol_values) if elf.type == ET_REL else None

    def read(self, start: int, end: int) -> bytes:
        """Copy bytes ``start`` to ``end``. Raises DamagedFileError when they do not fit the section."""
        data = self._elf.read(self._section, start, end)
        if self._relocations is None:
            return data
        return self._relocations.apply(data, start)

    def string(self, offset: int) -> bytes:
        """The NUL-terminated string at ``offset``; string sections carry no relocations."""
        section = self._section
        if not 0 <= offset < section.size:
            raise DamagedFileError(
                self._elf.source, section.name, offset, "a string", f"the section's end at {section.size:#x}"
            )
        if self._strings is None:
            self._strings = self._elf.span(section)
        start, end = self._strings
        stop = self._elf.data.find(b"\0", start + offset, end)
        if stop < 0:
            raise DamagedFileError(self._elf.source, section.name, offset, "a string with a closing NUL", "none")
        return self._elf.data[start + offset : stop]


class _Relocations:
    """The relocations of one section, in order of offset."""

    def __init__(
        self, elf: ElfFile, table: Section, target: Section, symbol_values: Sequence[int], sizes: Mapping[int, int]
    ) -> None:
        self._elf = elf
        self._target = target
        self._symbol_values = symbol_values
        self._sizes = sizes
        kind = (
            ("QQq" if table.type == SHT_RELA else "QQ")
            if elf.bits == 64
            else ("IIi" if table.type == SHT_RELA else "II")
        )
        self._entry = struct.Struct(elf.byte_order + kind)
        self._data = elf.read(table)
        self._count = len(self._data) // self._entry.size
        self._symbol_shift = 32 if elf.bits == 64 else 8
        self._order = None if self._is_sorted() else self._sorted_order()

    def _offset(self, index: int) -> int:
        if self._order is not None:
            index = self._order[index]
        offset: int = self._entry.unpack_from(self._data, index * self._entry.size)[0]
        return offset

    def _is_sorted(self) -> bool:
        # Binary search over an unsorted table would lose relocations without a word, so it is checked, a stretch at a
        # time to keep the list of offsets small. (Sorted in all 1 072 tables of the Debian modules looked at.)
        last = -1
        size = self._entry.size
        for first in range(0, self._count, _CHECKED_AT_ONCE):
            chunk = self._data[first * size : (first + _CHECKED_AT_ONCE) * size]
            chunk = chunk[: len(chunk) // size * size]
            offsets = [entry[0] for entry in self._entry.iter_unpack(chunk)]
            if offsets[0] < last or offsets != sorted(offsets):
                return False
            last = offsets[-1]
        return True

    def _sorted_order(self) -> list[int]:
        offsets = [entry[0] for entry in self._entry.iter_unpack(self._data[: self._count * self._entry.size])]
        return sorted(range(self._count), key=offsets.__getitem__)

    def apply(self, data: bytes, start: int) -> bytes:
        """Return ``data`` (the section's bytes from ``start`` on) relocated."""
        end = start + len(data)
        # A field may begin up to seven bytes before the range; such a one is cut by the caller's own boundary, never
        # by a unit's or a list's, and is left alone.
        first = bisect_left(range(self._count), start, key=self._offset)
        last = bisect_left(range(self._count), end, lo=first, key=self._offset)
        if first == last:
            return data
        result = bytearray(data)
        size = self._entry.size
        shift = self._symbol_shift
        mask = (1 << shift) - 1
        values = self._symbol_values
        pack = {4: struct.Struct(self._elf.byte_order + "I"), 8: struct.Struct(self._elf.byte_order + "Q")}
        indexes = range(first, last) if self._order is None else self._order[first:last]
        entry = self._entry
        for index in indexes:
            fields = entry.unpack_from(self._data, index * size)
            offset, info = fields[0], fields[1]
            width = self._sizes.get(info & mask)
            if width is None:
                if info & mask == 0:  # R_*_NONE on every machine
                    continue
                raise UnsupportedFileError(
                    self._elf.source,
                    f"relocation type {info & mask} of machine {self._elf.machine} in {self._target.name}",
                )
            if offset + width > end:
                if offset + width > self._target.size:
                    raise self._damage(offset, f"a field of {width} bytes", "the section's end")
                continue
            try:
                value = values[info >> shift]
            except IndexError:
                raise self._damage(offset, "a symbol index in the symbol table", f"{info >> shift}") from None
            if len(fields) == 3:
                value += fields[2]
            else:
                value += pack[width].unpack_from(result, offset - start)[0]
            pack[width].pack_into(result, offset - start, value & ((1 << 8 * width) - 1))
        return bytes(result)

    def _damage(self, offset: int, expected: str, found: str) -> DamagedFileError:
        return DamagedFileError(self._elf.source, self._target.name, offset, expected, found)


def _relocations_of(elf: ElfFile, section: Section, symbol_values: Sequence[int]) -> _Relocations | None:
    for table in elf.sections:
        if table.info == section.number and table.type in (SHT_REL, SHT_RELA) and table.size:
            sizes = ABSOLUTE.get(elf.machine)
            if sizes is None:
                raise UnsupportedFileError(
                    elf.source, f"relocations of machine {elf.machine} in {section.name} are not known"
                )
            return _Relocations(elf, table, section, symbol_values, sizes)
    return None


def symbol_values(elf: ElfFile, bases: Mapping[int, int]) -> list[int]:
    """The address of every symbol of a relocatable file, by symbol index; 0 for undefined ones."""
    table = next((section for section in elf.sections if section.type == 2), None)
    if table is None:
        return []
    entry = struct.Struct(elf.byte_order + ("IBBHQQ" if elf.bits == 64 else "IIIBBH"))
    data = elf.read(table)
    data = data[: len(data) // entry.size * entry.size]
    values = []
    for fields in entry.iter_unpack(data):
        section, value = (fields[3], fields[4]) if elf.bits == 64 else (fields[5], fields[1])
        values.append(value + bases.get(section, 0) if section < SHN_LORESERVE else value)
    return values
