"""DWARF sections for the tests, written from readable Python: line programs, units, address and range tables.

Nothing here is shared with the decoders under test; numbers and layouts come from DWARF 2 to 5, and
``test_units.py`` and ``test_lineprogram.py`` hold what is written against pyelftools.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from elf_writer import ALLOC, EXECINSTR, ElfSpec, SectionSpec, SymbolSpec, write_elf

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.image import DebugImage
from annotate.debuginfo.relocate import DebugSection
from annotate.debuginfo.units import DebugSections

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def uleb(value: int, length: int = 0) -> bytes:
    """Unsigned LEB128, padded to ``length`` bytes where that is longer."""
    result = bytearray()
    while value >= 0x80 or len(result) + 1 < length:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def sleb(value: int, length: int = 0) -> bytes:
    """Signed LEB128, padded to ``length`` bytes where that is longer."""
    result = bytearray()
    while not (-0x40 <= value < 0x40 and len(result) + 1 >= length):
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value & 0x7F)
    return bytes(result)


class Format(NamedTuple):
    """What sizes depend on."""

    byte_order: str = "<"
    version: int = 5
    offset_size: int = 4
    address_size: int = 8

    def number(self, value: int, size: int) -> bytes:
        """A fixed-size number, of any size."""
        return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little" if self.byte_order == "<" else "big")

    def offset(self, value: int) -> bytes:
        """An offset into a section."""
        return self.number(value, self.offset_size)

    def address(self, value: int) -> bytes:
        """An address."""
        return self.number(value, self.address_size)

    def with_length(self, body: bytes) -> bytes:
        """A body behind its unit_length."""
        escape = b"\xff\xff\xff\xff" if self.offset_size == 8 else b""
        return escape + self.offset(len(body)) + body


# --- line programs -----------------------------------------------------------------------------------------------

#: Operands of the twelve standard opcodes of DWARF 3 and later.
STANDARD_COUNTS = (0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1)

COPY, NEGATE_STMT, BASIC_BLOCK, CONST_ADD_PC = b"\x01", b"\x06", b"\x07", b"\x08"
PROLOGUE_END, EPILOGUE_BEGIN = b"\x0a", b"\x0b"


def advance_pc(operations: int) -> bytes:
    """DW_LNS_advance_pc."""
    return b"\x02" + uleb(operations)


def advance_line(lines: int) -> bytes:
    """DW_LNS_advance_line."""
    return b"\x03" + sleb(lines)


def set_file(number: int) -> bytes:
    """DW_LNS_set_file."""
    return b"\x04" + uleb(number)


def set_column(number: int) -> bytes:
    """DW_LNS_set_column."""
    return b"\x05" + uleb(number)


def fixed_advance_pc(distance: int, byte_order: str = "<") -> bytes:
    """DW_LNS_fixed_advance_pc."""
    return b"\x09" + struct.pack(byte_order + "H", distance)


def set_isa(number: int) -> bytes:
    """DW_LNS_set_isa."""
    return b"\x0c" + uleb(number)


def extended(opcode: int, operands: bytes = b"") -> bytes:
    """An extended opcode."""
    return b"\0" + uleb(1 + len(operands)) + bytes((opcode,)) + operands


END_SEQUENCE = extended(1)


def set_address(address: int, form: Format = Format()) -> bytes:  # noqa: B008 (a constant)
    """DW_LNE_set_address."""
    return extended(2, form.address(address))


def define_file(name: str, directory: int) -> bytes:
    """DW_LNE_define_file (versions 2 to 4)."""
    return extended(3, name.encode() + b"\0" + uleb(directory) + uleb(0) + uleb(0))


def discriminator(number: int) -> bytes:
    """DW_LNE_set_discriminator."""
    return extended(4, uleb(number))


class LineSpec(NamedTuple):
    """A line program. ``directories`` and ``files`` are numbered as the version does (from 1 before 5, from 0 in 5)."""

    code: bytes
    format: Format = Format()
    directories: Sequence[str] = ("/linux", "/linux/include/linux")
    files: Sequence[tuple[str, int]] = (("fs/a.c", 0), ("b.h", 1))
    min_instruction_length: int = 1
    max_operations: int = 1
    line_base: int = -5
    line_range: int = 14
    operand_counts: Sequence[int] = STANDARD_COUNTS
    strings: bytes | None = None  #: directory and file tables in place of those made from the two fields above

    @property
    def opcode_base(self) -> int:
        """The first special opcode."""
        return len(self.operand_counts) + 1

    def special(self, operations: int, lines: int) -> bytes:
        """The special opcode for both advances."""
        opcode = lines - self.line_base + self.line_range * operations + self.opcode_base
        assert 0 <= lines - self.line_base < self.line_range
        assert opcode < 256
        return bytes((opcode,))


def _line_tables(spec: LineSpec) -> bytes:
    if spec.strings is not None:
        return spec.strings
    if spec.format.version >= 5:
        # Paths as DW_FORM_string, directory numbers as DW_FORM_udata.
        result = b"\x01" + uleb(1) + uleb(8) + uleb(len(spec.directories))
        result += b"".join(directory.encode() + b"\0" for directory in spec.directories)
        result += b"\x02" + uleb(1) + uleb(8) + uleb(2) + uleb(0x0F) + uleb(len(spec.files))
        return result + b"".join(name.encode() + b"\0" + uleb(directory) for name, directory in spec.files)
    result = b"".join(directory.encode() + b"\0" for directory in spec.directories) + b"\0"
    for name, directory in spec.files:
        result += name.encode() + b"\0" + uleb(directory) + uleb(0) + uleb(0)
    return result + b"\0"


def line_program(spec: LineSpec) -> bytes:
    """The bytes of a program with its header."""
    form = spec.format
    tail = bytes((spec.min_instruction_length,))
    if form.version >= 4:
        tail += bytes((spec.max_operations,))
    tail += bytes((1, spec.line_base & 0xFF, spec.line_range, spec.opcode_base))
    tail += bytes(spec.operand_counts) + _line_tables(spec)
    head = form.number(form.version, 2)
    if form.version >= 5:
        head += bytes((form.address_size, 0))
    return form.with_length(head + form.offset(len(tail)) + tail + spec.code)


# --- entries -----------------------------------------------------------------------------------------------------

# Tags and attributes by their DWARF names, forms likewise.
COMPILE_UNIT, PARTIAL_UNIT, SUBPROGRAM, INLINED, LEXICAL_BLOCK = 0x11, 0x3C, 0x2E, 0x1D, 0x0B
BASE_TYPE, STRUCTURE, MEMBER, NAMESPACE, FORMAL_PARAMETER = 0x24, 0x13, 0x0D, 0x39, 0x05
SIBLING, NAME, STMT_LIST, LOW_PC, HIGH_PC, LANGUAGE, COMP_DIR = 0x01, 0x03, 0x10, 0x11, 0x12, 0x13, 0x1B
INLINE, ORIGIN, SPECIFICATION, RANGES, CALL_FILE, CALL_LINE = 0x20, 0x31, 0x47, 0x55, 0x58, 0x59
LINKAGE_NAME, STR_OFFSETS_BASE, ADDR_BASE, RNGLISTS_BASE = 0x6E, 0x72, 0x73, 0x74
ADDR, BLOCK2, BLOCK4, DATA2, DATA4, DATA8, STRING, BLOCK, BLOCK1 = 1, 3, 4, 5, 6, 7, 8, 9, 10
DATA1, FLAG, SDATA, STRP, UDATA, REF_ADDR, REF1, REF2, REF4, REF8 = 11, 12, 13, 14, 15, 16, 17, 18, 19, 20
REF_UDATA, INDIRECT, SEC_OFFSET, EXPRLOC, FLAG_PRESENT, STRX, ADDRX = 21, 22, 23, 24, 25, 26, 27
DATA16, LINE_STRP, REF_SIG8, IMPLICIT_CONST, LOCLISTX, RNGLISTX = 30, 31, 32, 33, 34, 35
STRX1, STRX2, STRX3, STRX4, ADDRX1, ADDRX2, ADDRX3, ADDRX4 = 37, 38, 39, 40, 41, 42, 43, 44
C11, RUST = 0x1D, 0x1C

_SIZES = {
    DATA1: 1, DATA2: 2, DATA4: 4, DATA8: 8, FLAG: 1, REF1: 1, REF2: 2, REF4: 4, REF8: 8, REF_SIG8: 8, DATA16: 16,
    STRX1: 1, STRX2: 2, STRX3: 3, STRX4: 4, ADDRX1: 1, ADDRX2: 2, ADDRX3: 3, ADDRX4: 4,
}  # fmt: skip
_LENGTHS = {BLOCK1: 1, BLOCK2: 2, BLOCK4: 4}


class To(NamedTuple):
    """A reference to the entry of that label, in whatever unit of the section it is."""

    label: str


Value = int | bytes | To
Attribute = tuple[int, int, Value]


class Entry(NamedTuple):
    """One debugging information entry; ``children`` of None means that it cannot have any."""

    tag: int
    attributes: Sequence[Attribute] = ()
    children: Sequence[Entry] | None = None
    label: str = ""


class UnitSpec(NamedTuple):
    """One unit. ``first_code`` is its lowest abbreviation code."""

    root: Entry
    format: Format = Format()
    unit_type: int = 1
    first_code: int = 1


def form_bytes(form: int, value: int | bytes, layout: Format) -> bytes:
    """The bytes of a value in an entry."""
    if isinstance(value, bytes):
        if form == STRING:
            return value + b"\0"
        if form in (BLOCK, EXPRLOC):
            return uleb(len(value)) + value
        if form in _LENGTHS:
            return layout.number(len(value), _LENGTHS[form]) + value
        return value  # as it stands: DW_FORM_indirect, or damage
    if form in _SIZES:
        return layout.number(value, _SIZES[form])
    if form == ADDR or (form == REF_ADDR and layout.version == 2):
        return layout.address(value)
    if form in (STRP, SEC_OFFSET, LINE_STRP, REF_ADDR):
        return layout.offset(value)
    if form == SDATA:
        return sleb(value)
    if form in (IMPLICIT_CONST, FLAG_PRESENT):
        return b""
    assert form in (UDATA, REF_UDATA, STRX, ADDRX, LOCLISTX, RNGLISTX), form
    return uleb(value)


class _Writer:
    """Writes the entries of one unit; abbreviation codes are given out as shapes are met."""

    def __init__(self, unit: UnitSpec, offset: int, places: Mapping[str, int]) -> None:
        self.unit = unit
        self.offset = offset
        self.places = places
        self.found: dict[str, int] = {}
        self.codes: dict[bytes, int] = {}
        self.data = bytearray()

    def _code(self, entry: Entry) -> int:
        body = uleb(entry.tag) + bytes((entry.children is not None,))
        for name, form, value in entry.attributes:
            body += uleb(name) + uleb(form)
            if form == IMPLICIT_CONST:
                assert isinstance(value, int)
                body += sleb(value)
        body += b"\0\0"
        return self.codes.setdefault(body, self.unit.first_code + len(self.codes))

    def write(self, entry: Entry) -> None:
        """Append an entry and all below it."""
        layout = self.unit.format
        if entry.label:
            self.found[entry.label] = self.offset + len(self.data)
        self.data += uleb(self._code(entry))
        for _, form, given in entry.attributes:
            value: int | bytes
            if isinstance(given, To):
                place = self.places.get(given.label, 0)
                # Before the labels are known, the reference must only be as long as it will be.
                value = place if form == REF_ADDR else max(place - self.offset, 0)
            else:
                value = given
            self.data += form_bytes(form, value, layout)
        if entry.children is not None:
            for child in entry.children:
                self.write(child)
            self.data.append(0)


def _unit_bytes(unit: UnitSpec, offset: int, abbrev_offset: int, places: Mapping[str, int]) -> tuple[bytes, _Writer]:
    form = unit.format
    head = form.number(form.version, 2)
    if form.version >= 5:
        head += bytes((unit.unit_type, form.address_size)) + form.offset(abbrev_offset)
    else:
        head += form.offset(abbrev_offset) + bytes((form.address_size,))
    writer = _Writer(unit, offset, places)
    writer.data += form.with_length(head)  # as long as it will be; the length is put right below
    writer.write(unit.root)
    body = bytes(writer.data[len(form.with_length(b"")) :])
    return form.with_length(body), writer


def write_units(units: Iterable[UnitSpec]) -> tuple[bytes, bytes, dict[str, int]]:
    """.debug_info, .debug_abbrev and the offset of every label; written again until the labels stay where they are."""
    units = list(units)
    places: dict[str, int] = {}
    while True:
        info, abbrev = b"", b""
        found: dict[str, int] = {}
        for unit in units:
            data, writer = _unit_bytes(unit, len(info), len(abbrev), places)
            info += data
            abbrev += b"".join(uleb(code) + body for body, code in writer.codes.items()) + b"\0"
            found |= writer.found
        if found == places:
            return info, abbrev, places
        places = found


# --- tables of addresses -----------------------------------------------------------------------------------------


def aranges(unit_offset: int, ranges: Iterable[tuple[int, int]], form: Format = Format()) -> bytes:  # noqa: B008
    """One set of .debug_aranges; ``ranges`` are (start, end)."""
    head = form.number(2, 2) + form.offset(unit_offset) + bytes((form.address_size, 0))
    before = len(form.with_length(b""))
    head += bytes(-(before + len(head)) % (2 * form.address_size))
    body = b"".join(form.address(start) + form.address(end - start) for start, end in ranges)
    return form.with_length(head + body + bytes(2 * form.address_size))


def debug_ranges(pairs: Iterable[tuple[int, int]], form: Format) -> bytes:
    """One list of .debug_ranges (DWARF 3 and 4), as the pairs are given, with its end."""
    return b"".join(form.address(low) + form.address(high) for low, high in (*pairs, (0, 0)))


# --- files -------------------------------------------------------------------------------------------------------


def debug_file(
    sections: Mapping[str, bytes],
    *,
    text: tuple[int, int] = (0x1000, 0x1000),
    symbols: Sequence[SymbolSpec] = (SymbolSpec("func", 0x1000, size=0x1000),),
    byte_order: str = "<",
    bits: int = 64,
) -> bytes:
    """A linked file with code at ``text`` (address, size) and debug sections (names without ``.debug_``)."""
    start, size = text
    code = SectionSpec(".text", bytes(size), flags=ALLOC | EXECINSTR, address=start, alignment=16)
    debug = [SectionSpec(f".debug_{name}", data) for name, data in sections.items()]
    return write_elf(ElfSpec([code, *debug], symbols, byte_order=byte_order, bits=bits))


def debug_image(sections: Mapping[str, bytes], symbols: Sequence[SymbolSpec] | None = None) -> DebugImage:
    """The image of a ``debug_file``; by default one symbol, ``func``, covers all of its code."""
    data = debug_file(sections) if symbols is None else debug_file(sections, symbols=symbols)
    return DebugImage(ElfFile(data, "synthetic"))


def debug_sections(elf: ElfFile) -> DebugSections:
    """The debug sections of a linked file."""

    def section(name: str) -> DebugSection | None:
        found = elf.section(f".debug_{name}")
        return None if found is None else DebugSection(elf, found, [])

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
    )
