"""Which unit holds an address.

``.debug_aranges`` (DWARF 5 section 6.1.2) answers in milliseconds where a compiler writes it (gcc does). A unit that
has no set there (clang, LTO) is asked for the ranges of its own entry, which needs a walk over the unit headers; that
walk is only made when an address is in no set.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

from annotate.debuginfo.abbreviations import AbbreviationReader
from annotate.debuginfo.attributes import AT_STMT_LIST
from annotate.debuginfo.units import UT_COMPILE, UT_PARTIAL, UT_SKELETON, Unit, read_unit_header
from annotate.errors import AnnotateError, DamagedFileError

if TYPE_CHECKING:
    from annotate.debuginfo.attributes import Encoding
    from annotate.debuginfo.units import DebugSections, UnitHeader


class UnitIndex:
    """Address -> unit, for one file."""

    def __init__(self, sections: DebugSections) -> None:
        self._sections = sections
        self._readers: dict[Encoding, AbbreviationReader] = {}
        self._units: dict[int, Unit] = {}
        #: What is broken, by offset of the unit: one error a unit. ``dwarf.py`` adds what it finds.
        self.damage: dict[int, AnnotateError] = {}
        starts, self._ends, self._offsets = _sorted_columns(_read_aranges(sections))
        self._starts = starts
        self._header_offsets: list[int] | None = None
        self._alternate: UnitIndex | None = None
        self._fallback: tuple[list[int], list[int], list[int]] | None = None

    def unit_of(self, address: int) -> Unit | None:
        """The unit whose ranges contain the address. Raises DamagedFileError when it cannot be read."""
        offset = self._offset_at(address)
        return None if offset is None else self.unit_at(offset)

    def _offset_at(self, address: int) -> int | None:
        offset = _find(self._starts, self._ends, self._offsets, address)
        if offset is None:
            if self._fallback is None:
                self._fallback = _sorted_columns(self._ranges_without_aranges())
            offset = _find(*self._fallback, address)
        return offset

    def offset_of(self, address: int, end: int) -> int | None:
        """Where the header is of the unit that has the address, or else the first address behind it before ``end``."""
        offset = self._offset_at(address)
        if offset is None and (following := self._next(address, end)) is not None:
            offset = following[1]
        return offset

    def covered_to(self, address: int, offset: int) -> int:
        """Where the range of the unit at ``offset`` ends that has the address; the address where none has."""
        for starts, ends, offsets in ((self._starts, self._ends, self._offsets), self._fallback or ([], [], [])):
            position = bisect_right(starts, address) - 1
            if position >= 0 and address < ends[position] and offsets[position] == offset:
                return ends[position]
        return address

    def offsets_between(self, start: int, end: int) -> set[int]:
        """Where the headers are of the units that have code from ``start`` up to ``end``."""
        self._offset_at(start)
        found = set()
        for starts, ends, offsets in ((self._starts, self._ends, self._offsets), self._fallback or ([], [], [])):
            position = max(bisect_right(starts, start) - 1, 0)
            while position < len(starts) and starts[position] < end:
                if ends[position] > start:
                    found.add(offsets[position])
                position += 1
        return found

    def bounds_between(self, start: int, end: int) -> list[int]:
        """Where ranges of units begin and end, behind ``start`` and before ``end``."""
        self._offset_at(start)
        found = []
        for starts, ends, _ in ((self._starts, self._ends, self._offsets), self._fallback or ([], [], [])):
            position = max(bisect_right(starts, start) - 1, 0)
            while position < len(starts) and starts[position] < end:
                found += [bound for bound in (starts[position], ends[position]) if start < bound < end]
                position += 1
        return found

    def forget(self) -> None:
        """Let go of the units read so far."""
        self._units.clear()

    def next_unit(self, start: int, end: int) -> tuple[int, Unit] | None:
        """The first address behind ``start`` and before ``end`` that any unit has, and that unit."""
        following = self._next(start, end)
        return None if following is None else (following[0], self.unit_at(following[1]))

    def _next(self, start: int, end: int) -> tuple[int, int] | None:
        best = None
        for starts, offsets in ((self._starts, self._offsets), self._fallback[::2] if self._fallback else ([], [])):
            position = bisect_right(starts, start)
            if position < len(starts) and starts[position] < end and (best is None or starts[position] < best[0]):
                best = starts[position], offsets[position]
        return best

    def unit_at(self, offset: int) -> Unit:
        """The unit whose header is at ``offset`` of .debug_info."""
        unit = self._units.get(offset)
        if unit is None:
            if offset in self.damage:
                raise self.damage[offset]
            try:
                header = read_unit_header(self._sections, offset)
                reader = self._readers.setdefault(header.encoding, AbbreviationReader(header.encoding))
                unit = self._units[offset] = Unit(self._sections, header, reader)
            except AnnotateError as error:
                self.damage[offset] = error
                raise
        return unit

    def root(self, header: UnitHeader) -> Unit:
        """A unit of which only its own entry is read, in a tenth of the time, and which is not kept."""
        unit = self._units.get(header.offset)
        if unit is not None or self._sections.abbrev is None:
            return unit or self.unit_at(header.offset)
        reader = self._readers.setdefault(header.encoding, AbbreviationReader(header.encoding))
        try:
            return Unit(self._sections, header, reader, root_only=True)
        except AnnotateError:
            return self.unit_at(header.offset)

    def line_programs(self) -> set[int]:
        """Where in .debug_line the programs are that units name. Reads every unit's own entry."""
        offsets = set()
        for header in self.headers():
            try:
                offset = self.root(header).number(AT_STMT_LIST)
            except AnnotateError as error:
                self.damage.setdefault(header.offset, error)
                continue
            if offset is not None:
                offsets.add(offset)
        return offsets

    def unit_containing(self, offset: int) -> Unit:
        """The unit that holds an entry, by the entry's offset in .debug_info. Raises DamagedFileError."""
        if self._header_offsets is None:
            self._header_offsets = [header.offset for header in self.headers()]
        position = bisect_right(self._header_offsets, offset) - 1
        unit = self.unit_at(self._header_offsets[position]) if position >= 0 else None
        if unit is None or offset >= unit.header.end:
            raise DamagedFileError(self._sections.source, ".debug_info", offset, "a unit", "none at this place")
        return unit

    def alternate(self) -> UnitIndex | None:
        """The units of the file that dwz moved shared entries to."""
        if self._alternate is None and self._sections.alternate is not None:
            self._alternate = UnitIndex(self._sections.alternate)
        return self._alternate

    def headers(self) -> list[UnitHeader]:
        """All unit headers, in order; the list ends before the first damaged one, which is noted."""
        info = self._sections.info
        headers = []
        offset = 0
        while info is not None and offset < info.size:
            try:
                header = read_unit_header(self._sections, offset)
            except AnnotateError as error:
                self.damage.setdefault(offset, error)
                break
            headers.append(header)
            offset = header.end
        return headers

    def _ranges_without_aranges(self) -> list[tuple[int, int, int]]:
        known = set(self._offsets)
        ranges: list[tuple[int, int, int]] = []
        for header in self.headers():
            if header.offset not in known and header.unit_type in (UT_COMPILE, UT_PARTIAL, UT_SKELETON):
                try:
                    own = self.root(header).own_ranges()
                except AnnotateError as error:
                    self.damage.setdefault(header.offset, error)
                    continue
                ranges.extend((start, end, header.offset) for start, end in own)
        return ranges


def _sorted_columns(ranges: list[tuple[int, int, int]]) -> tuple[list[int], list[int], list[int]]:
    ranges.sort()
    return [r[0] for r in ranges], [r[1] for r in ranges], [r[2] for r in ranges]


def _find(starts: list[int], ends: list[int], offsets: list[int], address: int) -> int | None:
    position = bisect_right(starts, address) - 1
    if position >= 0 and address < ends[position]:
        return offsets[position]
    return None


def _read_aranges(sections: DebugSections) -> list[tuple[int, int, int]]:
    """All (start, end, unit offset) of .debug_aranges; damaged sets are left to the walk over the units."""
    section = sections.aranges
    if section is None:
        return []
    data = section.read(0, section.size)
    order = sections.byte_order
    length_32, length_64 = struct.Struct(order + "I"), struct.Struct(order + "Q")
    head_32, head_64 = struct.Struct(order + "HIBB"), struct.Struct(order + "HQBB")
    result = []
    position, size = 0, len(data)
    while position + 12 <= size:
        (length,) = length_32.unpack_from(data, position)
        start, head = position + 4, head_32
        if length == 0xFFFFFFFF and position + 24 <= size:
            (length,) = length_64.unpack_from(data, position + 4)
            start, head = position + 12, head_64
        end = start + length
        if end > size or length < head.size:
            break
        _version, unit, address_size, segment_size = head.unpack_from(data, start)
        if address_size in (4, 8) and segment_size == 0:
            first = start + head.size
            # Tuples start at a multiple of their own size, counted from the start of the set.
            first += -(first - position) % (2 * address_size)
            count = (end - first) // (2 * address_size)
            if count > 0:
                values = struct.unpack_from(f"{order}{2 * count}{'Q' if address_size == 8 else 'I'}", data, first)
                result += [
                    (low, low + bytes_, unit) for low, bytes_ in zip(values[0::2], values[1::2], strict=True) if bytes_
                ]
        position = end
    return result
