from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import dwarf_writer as w
import pytest
from dwarf_writer import Entry, Format, UnitSpec, aranges, debug_file, debug_ranges, debug_sections, uleb, write_units
from elf_writer import ElfSpec, SectionSpec, compile_c, write_elf
from elftools.elf.elffile import ELFFile

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.unitindex import UnitIndex
from annotate.debuginfo.units import read_unit_header
from annotate.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from annotate.debuginfo.attributes import Encoding

V4, V5 = Format("<", 4), Format()
LAYOUTS = [
    Format(order, version, offset_size, address_size)
    for order in "<>"
    for version in (2, 3, 4, 5)
    for offset_size in (4, 8)
    for address_size in (4, 8)
]


def index_of(sections: Mapping[str, bytes], byte_order: str = "<") -> UnitIndex:
    return UnitIndex(debug_sections(ElfFile(debug_file(sections, byte_order=byte_order), "vmlinux")))


def fields_of(encoding: Encoding) -> Format:
    return Format(encoding.byte_order, encoding.version, encoding.offset_size, encoding.address_size)


def unit(low: int, size: int, name: str = "", form: Format = V5, label: str = "") -> UnitSpec:
    attributes: list[w.Attribute] = [
        (w.NAME, w.STRING, name.encode()),
        (w.LOW_PC, w.ADDR, low),
        (w.HIGH_PC, w.DATA4, size),
    ]
    return UnitSpec(Entry(w.COMPILE_UNIT, attributes, label=label), form)


def named(index: UnitIndex, address: int) -> bytes | None:
    found = index.unit_of(address)
    if found is None:
        return None
    name = found.root[w.NAME][0]
    assert isinstance(name, bytes)
    return name


# --- headers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_units_of_every_layout_in_one_section_are_told_apart_as_pyelftools_does(order: str) -> None:
    layouts = [layout for layout in LAYOUTS if layout.byte_order == order]
    info, abbrev, places = write_units(
        unit(0x1000 * i, 16, f"u{i}", layout, f"u{i}") for i, layout in enumerate(layouts, 1)
    )
    data = debug_file({"info": info, "abbrev": abbrev}, byte_order=order)
    index = UnitIndex(debug_sections(ElfFile(data, "file")))
    oracle = list(ELFFile(io.BytesIO(data)).get_dwarf_info().iter_CUs())
    headers = index.headers()
    assert len(headers) == len(oracle) == len(layouts) == 16
    for i, (header, other, layout) in enumerate(zip(headers, oracle, layouts, strict=True), 1):
        assert fields_of(header.encoding) == layout
        assert header.offset == other.cu_offset
        assert header.end == other.cu_offset + other["unit_length"] + (12 if layout.offset_size == 8 else 4)
        assert header.abbrev_offset == other["debug_abbrev_offset"]
        assert header.offset + header.first_entry == other.cu_die_offset == places[f"u{i}"]
        assert (header.encoding.version, header.encoding.address_size) == (other["version"], other["address_size"])
        # No .debug_aranges: found by the ranges of the units' own entries.
        assert named(index, 0x1000 * i) == f"u{i}".encode()
        assert named(index, 0x1000 * i + 16) is None


@pytest.mark.parametrize(
    ("unit_type", "extra"),
    [(1, b""), (2, bytes(12)), (3, b""), (4, bytes(8)), (5, bytes(8)), (6, bytes(12))],
)
def test_each_unit_type_of_version_5_has_its_own_header_length(unit_type: int, extra: bytes) -> None:
    # DWARF 5 sections 7.5.1.1 to 7.5.1.3; a type unit adds a signature and an offset, a skeleton an id.
    body = struct.pack("<HBBI", 5, unit_type, 8, 0) + extra + b"\x01"
    info = struct.pack("<I", len(body)) + body
    index = index_of({"info": info, "abbrev": b"\x01\x11\x00\0\0\0"})
    (header,) = index.headers()
    assert (header.unit_type, header.first_entry) == (unit_type, len(info) - 1)
    assert index.unit_at(0).root == {}


def test_headers_that_cannot_be_are_damage() -> None:
    whole, abbrev, _ = write_units([unit(0x1000, 16)])
    damaged = {
        "version 1": whole[:4] + b"\x01\0" + whole[6:],
        "version 6": whole[:4] + b"\x06\0" + whole[6:],
        "address size 3": whole[:7] + b"\x03" + whole[8:],
        "longer than its section": b"\xff" + whole[1:],
        "shorter than its header": b"\x07\0\0\0" + whole[4:],
        "reserved length": b"\xf0\xff\xff\xff" + whole[4:],
    } | {f"{length} bytes": whole[:length] for length in range(1, 12)}
    for what, info in damaged.items():
        index = index_of({"info": info, "abbrev": abbrev})
        with pytest.raises(DamagedFileError) as caught:
            index.unit_at(0)
        assert (caught.value.source, caught.value.section, caught.value.offset) == ("vmlinux", ".debug_info", 0), what
        assert index.headers() == [], what


def test_an_offset_behind_the_section_is_damage() -> None:
    info, abbrev, _ = write_units([unit(0x1000, 16)])
    sections = debug_sections(ElfFile(debug_file({"info": info, "abbrev": abbrev}), "file"))
    for offset in (len(info), len(info) + 1, 1 << 62):
        with pytest.raises(DamagedFileError):
            read_unit_header(sections, offset)


def test_a_damaged_unit_raises_the_same_error_again_and_costs_the_others_nothing() -> None:
    first, second = unit(0x1000, 16, "first", label="first"), unit(0x2000, 16, "second")
    info, abbrev, places = write_units([first, second])
    start = index_of({"info": info, "abbrev": abbrev}).headers()[1].offset
    broken = bytearray(info)
    broken[places["first"]] = 0x55  # an abbreviation code that no declaration has
    table = aranges(0, [(0x1000, 0x1010)]) + aranges(start, [(0x2000, 0x2010)])
    index = index_of({"info": bytes(broken), "abbrev": abbrev, "aranges": table})
    assert named(index, 0x2000) == b"second"
    with pytest.raises(DamagedFileError) as caught:
        index.unit_of(0x1000)
    with pytest.raises(DamagedFileError) as again:
        index.unit_of(0x1004)
    assert caught.value is again.value
    assert "KeyError: 85" in str(caught.value)


def test_a_file_without_abbreviations_is_damage() -> None:
    info, _, _ = write_units([unit(0x1000, 16)])
    with pytest.raises(DamagedFileError, match=r"\.debug_abbrev"):
        index_of({"info": info}).unit_at(0)


# --- .debug_aranges ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout.version == 4], ids=str)
def test_aranges_of_every_layout_name_the_unit_of_an_address(layout: Format) -> None:
    units = [unit(0, 0, "first", layout, "first"), unit(0, 0, "second", layout, "second")]
    info, abbrev, _ = write_units(units)
    second = len(info) // 2 + (len(info) % 2)
    offsets = [header.offset for header in index_of({"info": info, "abbrev": abbrev}, layout.byte_order).headers()]
    assert len(offsets) == 2
    assert abs(offsets[1] - second) < 3
    table = aranges(offsets[0], [(0x1000, 0x1010), (0x3000, 0x3001)], layout)
    table += aranges(offsets[1], [(0x1010, 0x1020), (0x2000, 0x2800)], layout)
    index = index_of({"info": info, "abbrev": abbrev, "aranges": table}, layout.byte_order)
    found = {
        address: named(index, address)
        for address in (0xFFF, 0x1000, 0x100F, 0x1010, 0x101F, 0x1020, 0x27FF, 0x3000, 0x3001)
    }
    assert found == {
        0xFFF: None, 0x1000: b"first", 0x100F: b"first", 0x1010: b"second", 0x101F: b"second", 0x1020: None,
        0x27FF: b"second", 0x3000: b"first", 0x3001: None,
    }  # fmt: skip


def test_tuples_are_aligned_from_the_start_of_their_own_set() -> None:
    # A set of four-byte addresses leaves the next one at an offset that is no multiple of 16.
    info, abbrev, _ = write_units([unit(0, 0, "first")])
    first = aranges(0, [(0x1000, 0x1010), (0x1010, 0x1020)], Format(address_size=4))
    assert len(first) % 16 == 8
    index = index_of({"info": info, "abbrev": abbrev, "aranges": first + aranges(0, [(0x3000, 0x3010)])})
    assert [named(index, address) for address in (0x1000, 0x3000, 0x3010)] == [b"first", b"first", None]


def test_an_empty_range_does_not_end_a_set_and_covers_nothing() -> None:
    info, abbrev, _ = write_units([unit(0, 0, "first")])
    index = index_of({"info": info, "abbrev": abbrev, "aranges": aranges(0, [(0x1000, 0x1000), (0x2000, 0x2010)])})
    assert named(index, 0x2000) == b"first"
    assert named(index, 0x1000) is None


@pytest.mark.parametrize(
    "tail",
    [b"\x01\x02\x03", b"\xff\xff\xff\x7f" + bytes(40), bytes(12), b"\xff\xff\xff\xff" + bytes(8)],
    ids=["cut", "longer than the section", "no length", "64-bit, cut"],
)
def test_units_whose_set_is_damaged_are_found_by_their_own_ranges(tail: bytes) -> None:
    info, abbrev, _ = write_units([unit(0x1000, 16, "first"), unit(0x2000, 16, "second")])
    index = index_of({"info": info, "abbrev": abbrev, "aranges": aranges(0, [(0x1000, 0x1010)]) + tail})
    assert named(index, 0x1004) == b"first"
    assert named(index, 0x2004) == b"second"
    assert named(index, 0x3000) is None


def test_a_set_with_segments_is_left_to_the_units_own_ranges() -> None:
    info, abbrev, _ = write_units([unit(0x2000, 16, "first")])
    table = bytearray(aranges(0, [(0x1000, 0x1010)]))
    table[11] = 8  # segment_selector_size
    index = index_of({"info": info, "abbrev": abbrev, "aranges": bytes(table)})
    assert named(index, 0x1000) is None
    assert named(index, 0x2000) == b"first"


def test_aranges_that_point_nowhere_are_damage() -> None:
    info, abbrev, _ = write_units([unit(0, 0, "first")])
    index = index_of({"info": info, "abbrev": abbrev, "aranges": aranges(0x7777, [(0x1000, 0x1010)])})
    with pytest.raises(DamagedFileError, match=r"\.debug_info\+0x7777"):
        index.unit_of(0x1000)


@pytest.mark.parametrize("version", [4, 5])
def test_every_address_of_a_gcc_program_is_in_the_unit_that_pyelftools_finds_with_and_without_aranges(
    tmp_path: Path, version: int
) -> None:
    sources = {
        f"u{i}.c": f"int x{i}(int a) {{ return a * {i}; }}\n"
        f"__attribute__((cold)) int c{i}(int a) {{ return a - {i}; }}\n" + ("void _start(void) {}\n" if i == 0 else "")
        for i in range(4)
    }
    data = compile_c(
        tmp_path, sources, "-O2", f"-gdwarf-{version}", "-nostdlib", "-static", "-ffunction-sections", output="a"
    ).read_bytes()
    oracle = ELFFile(io.BytesIO(data))
    table = oracle.get_dwarf_info().get_aranges()
    text = oracle.get_section_by_name(".text")
    assert table is not None
    assert text is not None
    start, end = text["sh_addr"], text["sh_addr"] + text["sh_size"]
    elf = ElfFile(data, "a")
    sections = debug_sections(elf)
    with_aranges, without = UnitIndex(sections), UnitIndex(sections._replace(aranges=None))
    units = set()
    for address in range(start - 4, end + 4):
        expected = table.cu_offset_at_addr(address)
        for index in (with_aranges, without):
            found = index.unit_of(address)
            assert (None if found is None else found.header.offset) == expected, hex(address)
        units.add(expected)
    assert len(units - {None}) == 4


# --- ranges of an entry ------------------------------------------------------------------------------------------


def own_ranges(
    attributes: list[w.Attribute], sections: Mapping[str, bytes], form: Format = V5
) -> list[tuple[int, int]]:
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, attributes), form)])
    return index_of({"info": info, "abbrev": abbrev, **sections}).unit_at(0).own_ranges()


def test_a_high_pc_of_class_constant_is_a_length_and_of_class_address_an_end() -> None:
    low: w.Attribute = (w.LOW_PC, w.ADDR, 0x1000)
    for form in (w.DATA1, w.DATA2, w.DATA4, w.DATA8, w.UDATA, w.SDATA, w.IMPLICIT_CONST):
        assert own_ranges([low, (w.HIGH_PC, form, 0x20)], {}) == [(0x1000, 0x1020)], form
    assert own_ranges([low, (w.HIGH_PC, w.ADDR, 0x1020)], {}) == [(0x1000, 0x1020)]


def test_an_entry_without_a_high_pc_or_with_an_empty_range_covers_nothing() -> None:
    low: w.Attribute = (w.LOW_PC, w.ADDR, 0x1000)
    assert own_ranges([], {}) == []
    assert own_ranges([low], {}) == []
    assert own_ranges([low, (w.HIGH_PC, w.DATA4, 0)], {}) == []
    assert own_ranges([low, (w.HIGH_PC, w.ADDR, 0x1000)], {}) == []


def test_range_lists_of_version_4_start_from_the_units_low_pc() -> None:
    lists = {"ranges": bytes(16) + debug_ranges([(0, 8), (0x10, 0x20)], V4)}
    ranges: w.Attribute = (w.RANGES, w.SEC_OFFSET, 16)
    assert own_ranges([(w.LOW_PC, w.ADDR, 0x1000), ranges], lists, V4) == [(0x1000, 0x1008), (0x1010, 0x1020)]
    assert own_ranges([ranges], lists, V4) == [(0, 8), (0x10, 0x20)]


def test_range_lists_of_version_5_are_found_by_offset_and_by_index() -> None:
    # Two lists behind their offset table (DWARF 5 section 7.28).
    first, second = b"\x04\x01\x02\x00", b"\x04" + uleb(0x10) + uleb(0x200) + b"\x00"
    for form, head in ((Format(), 12), (Format(offset_size=8), 20)):
        body = struct.pack("<HBBI", 5, 8, 0, 2)
        body += form.offset(2 * form.offset_size) + form.offset(2 * form.offset_size + len(first)) + first + second
        table = {"rnglists": form.with_length(body)}
        assert len(form.with_length(b"")) + 8 == head
        low: w.Attribute = (w.LOW_PC, w.ADDR, 0x1000)
        base: w.Attribute = (w.RNGLISTS_BASE, w.SEC_OFFSET, head)
        at_second = head + 2 * form.offset_size + len(first)
        expected = [(0x1010, 0x1200)]
        assert own_ranges([low, (w.RANGES, w.SEC_OFFSET, at_second)], table, form) == expected
        assert own_ranges([low, base, (w.RANGES, w.RNGLISTX, 1)], table, form) == expected
        assert own_ranges([low, (w.RANGES, w.RNGLISTX, 1)], table, form) == expected
        assert own_ranges([low, (w.RANGES, w.RNGLISTX, 0)], table, form) == [(0x1001, 0x1002)]


def test_indexed_addresses_go_through_debug_addr() -> None:
    addresses = {"addr": bytes(8) + struct.pack("<3Q", 0x1000, 0x1040, 0x1080)}
    for form in (w.ADDRX, w.ADDRX1, w.ADDRX2, w.ADDRX3, w.ADDRX4):
        base: w.Attribute = (w.ADDR_BASE, w.SEC_OFFSET, 16)
        assert own_ranges([base, (w.LOW_PC, form, 0), (w.HIGH_PC, form, 1)], addresses) == [(0x1040, 0x1080)]
        assert own_ranges([(w.LOW_PC, form, 0), (w.HIGH_PC, w.DATA1, 4)], addresses) == [(0x1000, 0x1004)]


def test_addresses_and_lists_whose_section_is_missing_are_damage() -> None:
    low: w.Attribute = (w.LOW_PC, w.ADDRX, 0)
    with pytest.raises(DamagedFileError, match=r"\.debug_addr"):
        own_ranges([low], {})
    with pytest.raises(DamagedFileError, match=r"\.debug_rnglists"):
        own_ranges([(w.RANGES, w.SEC_OFFSET, 0)], {})
    with pytest.raises(DamagedFileError, match=r"\.debug_ranges"):
        own_ranges([(w.RANGES, w.SEC_OFFSET, 0)], {}, V4)


def test_strings_are_read_from_the_section_that_their_form_names() -> None:
    sections = {
        "str": b"\0from str\0second\0",
        "line_str": b"\0from line_str\0",
        "str_offsets": struct.pack("<IHHII", 12, 5, 0, 1, 10),
    }
    cases: list[tuple[int, int | bytes, bytes]] = [
        (w.STRING, b"inline", b"inline"),
        (w.STRP, 1, b"from str"),
        (w.LINE_STRP, 1, b"from line_str"),
        *((form, 1, b"second") for form in (w.STRX, w.STRX1, w.STRX2, w.STRX3, w.STRX4)),
    ]
    for form, value, expected in cases:
        attributes: list[w.Attribute] = [(w.STR_OFFSETS_BASE, w.SEC_OFFSET, 8), (w.NAME, form, value)]
        info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, attributes))])
        found = index_of({"info": info, "abbrev": abbrev, **sections}).unit_at(0)
        assert found.string(*found.root[w.NAME]) == expected, form


# --- which unit holds an entry -----------------------------------------------------------------------------------


def test_an_entry_is_in_the_unit_around_it() -> None:
    info, abbrev, places = write_units([unit(0, 0, "first", label="a"), unit(0, 0, "second", V4, label="b")])
    index = index_of({"info": info, "abbrev": abbrev})
    first, second = (header.offset for header in index.headers())
    assert index.unit_containing(places["a"]).header.offset == first
    assert index.unit_containing(second - 1).header.offset == first
    assert index.unit_containing(second).header.offset == second
    assert index.unit_containing(places["b"]).header.offset == second
    with pytest.raises(DamagedFileError):
        index.unit_containing(len(info))
    with pytest.raises(DamagedFileError):
        index_of({"info": b"", "abbrev": abbrev}).unit_containing(0)


def test_a_file_without_debug_info_has_no_unit_for_any_address() -> None:
    data = write_elf(ElfSpec([SectionSpec(".text", bytes(16), address=0x1000)]))
    index = UnitIndex(debug_sections(ElfFile(data, "file")))
    assert index.headers() == []
    assert index.unit_of(0x1000) is None
