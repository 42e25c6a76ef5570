from __future__ import annotations

import io
import struct
from typing import NoReturn

import pytest
from dwarf_writer import COMPILE_UNIT, Entry, Format, UnitSpec, debug_ranges, uleb, write_units
from elf_writer import (
    ALLOC,
    EXECINSTR,
    REL,
    ElfSpec,
    RelocationSpec,
    SectionSpec,
    SymbolSpec,
    write_elf,
)
from elftools.dwarf.ranges import BaseAddressEntry
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from annotate.debuginfo.attributes import Encoding
from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.ranges import read_range_list, read_rnglist
from annotate.debuginfo.relocate import DebugSection, symbol_values
from annotate.errors import DamagedFileError

OLD, NEW = Encoding("<", 4, 4, 8), Encoding("<", 5, 4, 8)
OLD_FORMAT = Format("<", 4)
ADDRESSES = {0: 0x9000, 1: 0x9100, 300: 0xA000}


def section(data: bytes) -> DebugSection:
    elf = ElfFile(write_elf(ElfSpec([SectionSpec(".debug_ranges", data)])), "file")
    return DebugSection(elf, elf.sections[1], [])


def indexed(index: int, form: int) -> int:
    assert form == 0x1B  # DW_FORM_addrx
    return ADDRESSES[index]


def no_index(_index: int, _form: int) -> NoReturn:
    raise AssertionError("nothing indexed was to be read")


def address(value: int) -> bytes:
    return struct.pack("<Q", value)


def test_pairs_are_relative_to_the_base_and_empty_ones_are_left_out() -> None:
    data = b"ahead" + debug_ranges([(0, 4), (8, 8), (9, 7), (0x10, 0x20)], OLD_FORMAT)
    assert read_range_list(section(data), 5, OLD, 0x1000) == [(0x1000, 0x1004), (0x1010, 0x1020)]


def test_a_base_address_selection_moves_what_follows_it() -> None:
    largest = 2**64 - 1
    data = debug_ranges([(1, 2), (largest, 0x5000), (1, 2), (largest, 0), (0x7000, 0x7001)], OLD_FORMAT)
    assert read_range_list(section(data), 0, OLD, 0x100) == [(0x101, 0x102), (0x5001, 0x5002), (0x7000, 0x7001)]


def test_four_byte_addresses_have_their_own_base_selector_and_byte_order() -> None:
    form = Format(">", 4, 4, 4)
    data = debug_ranges([(1, 2), (2**32 - 1, 0x5000), (1, 2)], form)
    assert read_range_list(section(data), 0, Encoding(">", 4, 4, 4), 0) == [(1, 2), (0x5001, 0x5002)]


def test_an_empty_list_is_empty() -> None:
    assert read_range_list(section(bytes(16)), 0, OLD, 0) == []
    assert read_rnglist(section(b"\0"), 0, NEW, 0, no_index) == []


def test_lists_longer_than_any_window_are_read_whole() -> None:
    pairs = [(16 * i + 1, 16 * i + 9) for i in range(3000)]
    assert read_range_list(section(debug_ranges(pairs, OLD_FORMAT)), 0, OLD, 0) == pairs
    new = b"".join(b"\x04" + uleb(low) + uleb(high) for low, high in pairs) + b"\0"
    assert read_rnglist(section(new + bytes(9)), 0, NEW, 0, no_index) == pairs


def test_lists_that_end_exactly_with_a_window_or_the_section_are_read() -> None:
    for count in range(1, 40):
        pairs = [(16 * i + 1, 16 * i + 9) for i in range(count)]
        assert read_range_list(section(debug_ranges(pairs, OLD_FORMAT)), 0, OLD, 0) == pairs
        new = b"".join(b"\x06" + address(low) + address(high) for low, high in pairs) + b"\0"
        assert read_rnglist(section(new), 0, NEW, 0, no_index) == pairs


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100])
def test_a_list_without_an_end_raises_and_does_not_return_its_part(count: int) -> None:
    old = debug_ranges([(1, 2)] * count, OLD_FORMAT)[:-16]
    with pytest.raises(IndexError):
        read_range_list(section(old + bytes(15)), 0, OLD, 0)
    with pytest.raises(IndexError):
        read_rnglist(section(b"\x04\x01\x02" * count), 0, NEW, 0, no_index)


def test_an_offset_outside_the_section_is_damage() -> None:
    with pytest.raises(DamagedFileError):
        read_range_list(section(bytes(16)), 17, OLD, 0)
    with pytest.raises(DamagedFileError):
        read_rnglist(section(bytes(16)), 1 << 60, NEW, 0, no_index)


def test_each_entry_kind_of_version_5_is_read() -> None:
    # DWARF 5 section 7.25.
    data = (
        b"\x04" + uleb(0x10) + uleb(0x18)  # offset_pair
        + b"\x05" + address(0x5000)  # base_address
        + b"\x04" + uleb(1) + uleb(300)
        + b"\x06" + address(0x6000) + address(0x6004)  # start_end
        + b"\x07" + address(0x7000) + uleb(0x80)  # start_length
        + b"\x01" + uleb(300)  # base_addressx
        + b"\x04" + uleb(2) + uleb(3)
        + b"\x02" + uleb(0) + uleb(1)  # startx_endx
        + b"\x03" + uleb(1) + uleb(7)  # startx_length
        + b"\x00"
    )  # fmt: skip
    assert read_rnglist(section(data), 0, NEW, 0x100, indexed) == [
        (0x110, 0x118),
        (0x5001, 0x512C),
        (0x6000, 0x6004),
        (0x7000, 0x7080),
        (0xA002, 0xA003),
        (0x9000, 0x9100),
        (0x9100, 0x9107),
    ]


def test_empty_ranges_of_each_kind_are_left_out() -> None:
    data = (
        b"\x04\x05\x05" + b"\x04\x06\x05" + b"\x06" + address(9) + address(9) + b"\x07" + address(9) + b"\0"
        + b"\x02\x01\x00" + b"\x03\x01\x00" + b"\x04\x01\x02" + b"\x00"
    )  # fmt: skip
    assert read_rnglist(section(data), 0, NEW, 0, indexed) == [(1, 2)]


def test_an_unknown_entry_kind_raises() -> None:
    with pytest.raises(ValueError, match="kind 8"):
        read_rnglist(section(b"\x04\x01\x02\x08\0\0\0"), 0, NEW, 0, no_index)


def test_addresses_that_a_window_cuts_are_read_relocated() -> None:
    # Each start_end entry is 17 bytes, so windows of any power of two cut one of its two relocated addresses.
    count = 200
    data = (b"\x06" + bytes(16)) * count + b"\0"
    relocations = []
    for i in range(count):
        relocations.append(RelocationSpec(17 * i + 1, 1, 1, 8 * i))
        relocations.append(RelocationSpec(17 * i + 9, 1, 1, 8 * i + 4))
    elf = ElfFile(
        write_elf(
            ElfSpec(
                [SectionSpec(".text", bytes(16), flags=ALLOC | EXECINSTR), SectionSpec(".debug_rnglists", data)],
                [SymbolSpec("start")],
                {".debug_rnglists": relocations},
                type=REL,
            )
        ),
        "file.ko",
    )
    lists = DebugSection(elf, elf.sections[2], symbol_values(elf, {1: 0x40000}))
    expected = [(0x40000 + 8 * i, 0x40004 + 8 * i) for i in range(count)]
    for skipped in range(0, count, 7):
        assert read_rnglist(lists, 17 * skipped, NEW, 0, no_index) == expected[skipped:]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just(4), st.integers(0, 2**31), st.integers(0, 2**31)),
            st.tuples(st.just(5), st.integers(0, 2**40), st.just(0)),
            st.tuples(st.just(6), st.integers(0, 2**40), st.integers(0, 2**40)),
            st.tuples(st.just(7), st.integers(0, 2**40), st.integers(0, 2**20)),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_random_lists_of_version_5_are_read_as_pyelftools_does(rows: list[tuple[int, int, int]]) -> None:
    body = b""
    for kind, first, second in rows:
        body += bytes((kind,)) + (uleb(first) if kind == 4 else address(first))
        body += uleb(second) if kind in (4, 7) else address(second) if kind == 6 else b""
    head = struct.pack("<HBBI", 5, 8, 0, 0)
    table = struct.pack("<I", len(head) + len(body) + 1) + head + body + b"\0"
    info, abbrev, _ = write_units([UnitSpec(Entry(COMPILE_UNIT))])
    sections = {".debug_info": info, ".debug_abbrev": abbrev, ".debug_rnglists": table}
    file = write_elf(ElfSpec([SectionSpec(name, content) for name, content in sections.items()]))
    dwarf = ELFFile(io.BytesIO(file)).get_dwarf_info()
    expected, base = [], 0x777
    lists = dwarf.range_lists()
    assert lists is not None
    for entry in lists.get_range_list_at_offset(12, next(dwarf.iter_CUs())):
        if isinstance(entry, BaseAddressEntry):
            base = entry.base_address
        else:
            start, end = entry.begin_offset, entry.end_offset
            if not entry.is_absolute:
                start, end = start + base, end + base
            if start < end:
                expected.append((start, end))
    elf = ElfFile(file, "file")
    assert read_rnglist(DebugSection(elf, elf.sections[3], []), 12, NEW, 0x777, no_index) == expected
