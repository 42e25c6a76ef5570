"""One unit of .debug_info: its header, its own entry, and what the values in it stand for (DWARF 5 section 7.5)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.attributes import (
    AT_ADDR_BASE,
    AT_HIGH_PC,
    AT_LOW_PC,
    AT_RANGES,
    AT_RNGLISTS_BASE,
    AT_STR_OFFSETS_BASE,
    FORM_ADDR,
    FORM_ADDRX,
    FORM_ADDRX1,
    FORM_ADDRX2,
    FORM_ADDRX3,
    FORM_ADDRX4,
    FORM_GNU_ADDR_INDEX,
    FORM_GNU_STRP_ALT,
    FORM_LINE_STRP,
    FORM_RNGLISTX,
    FORM_STRING,
    FORM_STRP,
    FORM_STRP_SUP,
    FORM_STRX,
    FORM_STRX1,
    FORM_STRX2,
    FORM_STRX3,
    FORM_STRX4,
    Encoding,
)
from annotate.debuginfo.ranges import read_range_list, read_rnglist
from annotate.debuginfo.relocate import DebugSection
from annotate.errors import DamagedFileError
from annotate.leb128 import read_uleb
from annotate.limits import MAX_RANGES_OF_UNIT, MAX_UNIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.debuginfo.abbreviations import Abbreviation, AbbreviationReader, AbbreviationTable
    from annotate.debuginfo.elf import ElfFile

UT_COMPILE, UT_TYPE, UT_PARTIAL, UT_SKELETON, UT_SPLIT_COMPILE, UT_SPLIT_TYPE = 1, 2, 3, 4, 5, 6

_ADDRX = frozenset({FORM_ADDRX, FORM_ADDRX1, FORM_ADDRX2, FORM_ADDRX3, FORM_ADDRX4, FORM_GNU_ADDR_INDEX})
_STRX = frozenset({FORM_STRX, FORM_STRX1, FORM_STRX2, FORM_STRX3, FORM_STRX4})

#: Errors of the byte-level readers; all mean that a unit's bytes are not what they should be.
DECODING_ERRORS = (IndexError, KeyError, ValueError, struct.error)

Range = tuple[int, int]

#: Bytes of a header and a unit's own entry; one that is longer (a long path in it) is read with its whole unit.
_ROOT_SIZE = 512


class DebugSections(NamedTuple):
    """The sections of one file; absent ones are None. ``source`` names the file in messages."""

    source: str
    byte_order: str
    info: DebugSection | None
    abbrev: DebugSection | None
    line: DebugSection | None
    aranges: DebugSection | None
    ranges: DebugSection | None
    rnglists: DebugSection | None
    str: DebugSection | None
    line_str: DebugSection | None
    addr: DebugSection | None
    str_offsets: DebugSection | None
    alternate: DebugSections | None = None  #: of the file that .gnu_debugaltlink names (dwz)


def debug_sections(elf: ElfFile, symbol_values: Sequence[int], alternate: ElfFile | None = None) -> DebugSections:
    """The sections of a file; ``symbol_values`` are those of ``relocate.symbol_values`` where it is relocatable."""

    def section(name: str) -> DebugSection | None:
        found = elf.debug_section(name)
        return DebugSection(elf, found, symbol_values) if found is not None else None

    return DebugSections(
        elf.source,
        elf.byte_order,
        section("info"),
        section("abbrev"),
        section("line"),
        section("aranges"),
        section("ranges"),
        section("rnglists"),
        section("str"),
        section("line_str"),
        section("addr"),
        section("str_offsets"),
        debug_sections(alternate, ()) if alternate is not None else None,
    )


class UnitHeader(NamedTuple):
    """A unit of .debug_info; offsets count from the start of the section."""

    offset: int
    end: int
    encoding: Encoding
    abbrev_offset: int
    unit_type: int
    first_entry: int  #: from the start of the unit


class Unit:
    """One unit: its bytes, its abbreviations and its own entry's attributes, read once.

    ``data`` starts at the unit's header, so references within the unit are indexes into it. With ``root_only`` it ends
    soon behind the unit's own entry, which is all that can be asked then.
    """

    def __init__(
        self, sections: DebugSections, header: UnitHeader, reader: AbbreviationReader, *, root_only: bool = False
    ) -> None:
        if sections.info is None or sections.abbrev is None:
            raise DamagedFileError(sections.source, ".debug_info", header.offset, ".debug_abbrev beside it", "none")
        self.sections = sections
        self.header = header
        self.encoding = header.encoding
        self._range_lists: dict[tuple[int, int], list[Range]] = {}
        self._ranges_read = 0
        end = min(header.end, header.offset + _ROOT_SIZE) if root_only else header.end
        self.data = sections.info.read(header.offset, end)
        try:
            code, position = read_uleb(self.data, header.first_entry)
            self.abbreviations: AbbreviationTable = (
                reader.read_one(sections.abbrev, header.abbrev_offset, code)
                if root_only
                else reader.read(sections.abbrev, header.abbrev_offset)
            )
            self.root_abbreviation: Abbreviation = self.abbreviations.by_code[code]
            self.root_position = position
            self.root, self.children = self.attributes(self.root_abbreviation, position)
            base = self.root.get(AT_LOW_PC)
            self.base = self.address(*base) if base is not None else 0
        except DECODING_ERRORS as error:
            raise self.damaged(error) from error

    def attributes(self, abbreviation: Abbreviation, position: int) -> tuple[dict[int, tuple[int | bytes, int]], int]:
        """All attributes of the entry at ``position`` (behind its code) as name -> (value, form), and the end."""
        data = self.data
        layout = abbreviation.layout
        result: dict[int, tuple[int | bytes, int]] = dict(layout.constants)
        for (name, form), value in zip(layout.values, layout.unpack(data, position), strict=True):
            result[name] = (value, form)
        for name, form, offset in layout.wide:
            result[name] = self.encoding.value(data, position + offset, form)
        position += abbreviation.tail_offset
        if abbreviation.tail:
            encoding = self.encoding
            for name, form, implicit in abbreviation.tail:
                result[name] = encoding.value(data, position, form, implicit)
                position = encoding.skip(data, position, form)
        return result, position

    def number(self, name: int) -> int | None:
        """A numeric attribute of the unit's own entry."""
        value = self.root.get(name)
        return value[0] if value is not None and isinstance(value[0], int) else None

    def address(self, value: int | bytes, form: int) -> int:
        """The address that an address-class value stands for (addrx goes through .debug_addr)."""
        if not isinstance(value, int):
            raise ValueError("an address that is not a number")
        if form not in _ADDRX:
            return value
        section = self.sections.addr
        if section is None:
            raise ValueError("an indexed address without .debug_addr")
        return self._element(section, AT_ADDR_BASE, value, self.encoding.address_size)

    def string(self, value: int | bytes, form: int) -> bytes:
        """The bytes that a string-class value stands for; empty for forms that need another file."""
        if isinstance(value, bytes):
            return value if form == FORM_STRING else b""
        section = None
        if form in (FORM_GNU_STRP_ALT, FORM_STRP_SUP):
            section = self.sections.alternate.str if self.sections.alternate is not None else None
        elif form == FORM_STRP:
            section = self.sections.str
        elif form == FORM_LINE_STRP:
            section = self.sections.line_str
        elif form in _STRX:
            section = self.sections.str
            offsets = self.sections.str_offsets
            if offsets is None:
                raise ValueError("an indexed string without .debug_str_offsets")
            value = self._element(offsets, AT_STR_OFFSETS_BASE, value, self.encoding.offset_size)
        return section.string(value) if section is not None else b""

    def _element(self, section: DebugSection, base_attribute: int, index: int, size: int) -> int:
        """A number of an array whose start the unit's own entry names; without that, it is behind a first header."""
        base = self.number(base_attribute)
        offset = (base if base is not None else 8) + index * size
        return self.encoding.unsigned(section.read(offset, offset + size), 0, size)

    def ranges(
        self,
        low: tuple[int | bytes, int] | None,
        high: tuple[int | bytes, int] | None,
        ranges: tuple[int | bytes, int] | None,
    ) -> list[Range]:
        """The half-open ranges of an entry from its DW_AT_low_pc, high_pc and ranges; empty ones left out."""
        if ranges is not None:
            return self._range_list(*ranges)
        if low is None or high is None:
            return []
        start = self.address(*low)
        value, form = high
        if not isinstance(value, int):
            raise ValueError("a DW_AT_high_pc that is not a number")
        end = self.address(value, form) if form == FORM_ADDR or form in _ADDRX else start + value
        return [(start, end)] if start < end else []

    def _range_list(self, value: int | bytes, form: int) -> list[Range]:
        if not isinstance(value, int):
            raise ValueError("a DW_AT_ranges that is not a number")
        known = self._range_lists.get((value, form))
        if known is None:
            known = self._range_lists[value, form] = self._read_range_list(value, form)
            self._ranges_read += len(known)
            if self._ranges_read > MAX_RANGES_OF_UNIT:
                raise ValueError(f"more than {MAX_RANGES_OF_UNIT} ranges in one unit")
        return known

    def _read_range_list(self, offset: int, form: int) -> list[Range]:
        encoding = self.encoding
        if encoding.version < 5:
            if self.sections.ranges is None:
                raise ValueError("DW_AT_ranges without .debug_ranges")
            return read_range_list(self.sections.ranges, offset, encoding, self.base)
        if self.sections.rnglists is None:
            raise ValueError("DW_AT_ranges without .debug_rnglists")
        if form == FORM_RNGLISTX:
            base = self.number(AT_RNGLISTS_BASE)
            if base is None:
                base = 20 if encoding.offset_size == 8 else 12
            place = base + offset * encoding.offset_size
            entry = self.sections.rnglists.read(place, place + encoding.offset_size)
            offset = base + encoding.unsigned(entry, 0, encoding.offset_size)
        return read_rnglist(self.sections.rnglists, offset, encoding, self.base, self.address)

    def own_ranges(self) -> list[Range]:
        """The ranges of the unit's own entry. Raises DamagedFileError."""
        root = self.root
        try:
            return self.ranges(root.get(AT_LOW_PC), root.get(AT_HIGH_PC), root.get(AT_RANGES))
        except DECODING_ERRORS as error:
            raise self.damaged(error) from error

    def damaged(self, error: Exception) -> DamagedFileError:
        """The error for bytes of this unit that cannot be what they should be."""
        return DamagedFileError(
            self.sections.source,
            ".debug_info",
            self.header.offset,
            "a unit as its abbreviations say",
            f"{type(error).__name__}: {error}",
        )


def read_unit_header(sections: DebugSections, offset: int) -> UnitHeader:
    """Read the header at ``offset`` of .debug_info (DWARF 5 section 7.5.1; versions 2 to 5, both formats)."""
    info = sections.info
    if info is None:
        raise DamagedFileError(sections.source, ".debug_info", offset, "a unit", "no such section")
    data = info.read(offset, min(offset + 40, info.size))
    order = sections.byte_order
    try:
        (length,) = struct.unpack_from(order + "I", data)
        start, offset_size = 4, 4
        if length == 0xFFFFFFFF:
            (length,) = struct.unpack_from(order + "Q", data, 4)
            start, offset_size = 12, 8
        (version,) = struct.unpack_from(order + "H", data, start)
        letter = "I" if offset_size == 4 else "Q"
        if version >= 5:
            unit_type, address_size, abbrev = struct.unpack_from(order + "BB" + letter, data, start + 2)
            first = start + 4 + offset_size
            if unit_type in (UT_SKELETON, UT_SPLIT_COMPILE):
                first += 8
            elif unit_type in (UT_TYPE, UT_SPLIT_TYPE):
                first += 8 + offset_size
        else:
            abbrev, address_size = struct.unpack_from(order + letter + "B", data, start + 2)
            unit_type = UT_COMPILE
            first = start + 3 + offset_size
    except struct.error:
        raise DamagedFileError(
            sections.source, ".debug_info", offset, "a unit header", f"the section's end at {info.size:#x}"
        ) from None
    end = offset + start + length
    is_intact = end <= info.size and first <= start + length <= MAX_UNIT
    if not 2 <= version <= 5 or address_size not in (4, 8) or not is_intact:
        raise DamagedFileError(
            sections.source,
            ".debug_info",
            offset,
            "a unit of DWARF 2 to 5 that ends within the section",
            f"version {version}, address size {address_size}, end at {end:#x}",
        )
    return UnitHeader(offset, end, Encoding.of(order, version, offset_size, address_size), abbrev, unit_type, first)
