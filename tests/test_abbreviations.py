from __future__ import annotations

import io

import dwarf_writer as w
import pytest
from dwarf_writer import Entry, Format, UnitSpec, debug_sections, form_bytes, uleb, write_units
from elf_writer import ElfSpec, SectionSpec, write_elf
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from annotate.debuginfo.abbreviations import Abbreviation, AbbreviationReader, AbbreviationTable
from annotate.debuginfo.attributes import Encoding
from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.relocate import DebugSection
from annotate.debuginfo.unitindex import UnitIndex
from annotate.errors import DamagedFileError

ENCODING = Encoding("<", 5, 4, 8)
#: An attribute that the reader under test gives no meaning to.
USER = 0x2000


def read(data: bytes, offset: int = 0, encoding: Encoding = ENCODING) -> AbbreviationTable:
    elf = ElfFile(write_elf(ElfSpec([SectionSpec(".debug_abbrev", data)])), "file")
    return AbbreviationReader(encoding).read(DebugSection(elf, elf.sections[1], []), offset)


def shape(abbreviation: Abbreviation) -> list[tuple[int, int, int]]:
    """(name, form, constant of DW_FORM_implicit_const) of each attribute, in order."""
    return list(abbreviation.attributes)


def declaration(code: int, tag: int, attributes: list[tuple[int, int]], *, children: bool = False) -> bytes:
    body = b"".join(uleb(name) + uleb(form) for name, form in attributes)
    return uleb(code) + uleb(tag) + bytes((children,)) + body + b"\0\0"


def test_codes_tags_children_and_attributes_of_a_table_are_read() -> None:
    data = (
        b"another table"
        + declaration(1, 0x11, [(3, 0x1F), (0x2007, 0x0E)], children=True)
        + declaration(0x80, 0x4109, [])
        + declaration(0x4000, 0x2E, [(0x3F, 0x19)])
        + b"\0"
        + declaration(7, 0x24, [])
        + b"\0"
    )
    table = read(data, 13).by_code
    assert list(table) == [1, 0x80, 0x4000]
    assert [(table[code].tag, table[code].has_children) for code in table] == [
        (0x11, True),
        (0x4109, False),
        (0x2E, False),
    ]
    assert shape(table[1]) == [(3, 0x1F, 0), (0x2007, 0x0E, 0)]
    assert shape(table[0x4000]) == [(0x3F, 0x19, 0)]


@pytest.mark.parametrize("constant", [0, 1, -1, 63, 64, -64, -65, 33, 0x1234, -(2**31), 2**40])
def test_the_constant_of_implicit_const_is_signed_and_stands_in_the_table(constant: int) -> None:
    data = b"\x01\x0b\x00" + b"\x3b\x21" + w.sleb(constant) + b"\x03\x08" + b"\0\0" + b"\0"
    assert shape(read(data).by_code[1]) == [(0x3B, 0x21, constant), (3, 8, 0)]
    data = b"\x01\x0b\x00" + b"\x03\x08" + b"\x3b\x21" + w.sleb(constant) + b"\0\0" + b"\0"
    assert shape(read(data).by_code[1]) == [(3, 8, 0), (0x3B, 0x21, constant)]


def test_an_empty_table_has_no_codes() -> None:
    assert read(b"\0").by_code == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        declaration(1, 0x11, [(3, 8)]),
        declaration(1, 0x11, [(3, 8)])[:-1],
        declaration(1, 0x11, [(3, 8)]) + b"\x02\x11",
        b"\x01\x11\x02\0\0\0",  # children is neither 0 nor 1
        b"\x80",
    ],
)
def test_bytes_that_are_no_whole_table_raise(data: bytes) -> None:
    with pytest.raises(ValueError, match="without an end"):
        read(data)


def test_an_offset_outside_the_section_is_damage() -> None:
    with pytest.raises(DamagedFileError):
        read(b"\0", 2)


def test_an_unknown_form_raises_with_its_number() -> None:
    with pytest.raises(KeyError, match="120"):
        read(declaration(1, 0x11, [(3, 0x78)]) + b"\0")


def test_a_table_longer_than_any_window_is_read_whole() -> None:
    # 10 000 declarations of 7 to 9 bytes; windows are a few times 16 KB.
    data = b"".join(declaration(code, 0x24, [(0x0B, 0x0B)]) for code in range(1, 10_001)) + b"\0"
    table = read(b"x" * 5 + data, 5)
    assert list(table.by_code) == list(range(1, 10_001))


def test_tables_whose_end_falls_on_any_side_of_a_window_are_read_whole() -> None:
    window = 1 << 14
    for size in range(window - 12, window + 12):
        # A first declaration of padded length brings the table to ``size`` bytes.
        rest = b"".join(declaration(2, 0x24, [(0x0B, 0x0B)]) for _ in range(4))
        filling = declaration(1, 0x34, [(3, 8)] * ((size - len(rest) - 1 - 5) // 2))
        data = filling + rest + b"\0"
        assert size - 1 <= len(data) <= size
        assert list(read(data + b"\x09\x24\x00\0\0\0").by_code) == [1, 2]


def test_a_declaration_that_was_met_before_under_another_code_is_the_same_object() -> None:
    elf = ElfFile(
        write_elf(
            ElfSpec([SectionSpec(".a", declaration(1, 5, [(3, 8)]) + b"\0" + declaration(9, 5, [(3, 8)]) + b"\0")])
        ),
        "file",
    )
    section = DebugSection(elf, elf.sections[1], [])
    reader = AbbreviationReader(ENCODING)
    assert reader.read(section, 0).by_code[1] is reader.read(section, 8).by_code[9]


def test_steps_pass_over_entries_of_known_size_only() -> None:
    data = (
        declaration(1, 0x24, [(0x0B, 0x0B), (3, 0x0E)])  # 1 + 4 bytes
        + declaration(2, 0x24, [(3, 0x08)])  # a string: depends on the data
        + declaration(3, 0x13, [(0x0B, 0x0B)], children=True)
        + declaration(4, 0x2E, [(0x11, 0x01)])  # a function is looked at
        + declaration(5, 0x1D, [(0x11, 0x01)])  # an inlined call is looked at
        + declaration(6, 0x05, [])
        + declaration(0x80, 0x24, [(0x0B, 0x0B)])  # a code of two bytes
        + b"\0"
    )
    steps = read(data).steps
    assert len(steps) == 256
    assert {code: step for code, step in enumerate(steps) if step} == {1: 6, 6: 1}


def test_jumps_are_the_places_of_siblings_that_lead_over_what_is_of_no_interest() -> None:
    data = (
        declaration(1, 0x13, [(0x0B, 0x0B), (1, 0x13)], children=True)  # behind its code and one byte
        + declaration(2, 0x13, [(1, 0x13)], children=True)
        + declaration(3, 0x13, [(3, 0x08), (1, 0x13)], children=True)  # behind a string
        + declaration(4, 0x13, [(1, 0x12)], children=True)  # two bytes
        + declaration(5, 0x2E, [(1, 0x13), (0x11, 0x01)], children=True)  # functions with code are looked at
        + declaration(6, 0x2E, [(1, 0x13), (0x55, 0x17)], children=True)
        + declaration(7, 0x2E, [(3, 0x0E), (1, 0x13)], children=True)  # a declaration
        + declaration(8, 0x24, [(1, 0x13)])  # no children
        + declaration(0x80, 0x13, [(1, 0x13)], children=True)
        + b"\0"
    )
    jumps = read(data).jumps
    assert len(jumps) == 256
    assert {code: jump for code, jump in enumerate(jumps) if jump} == {1: 2, 2: 1, 7: 5}


def test_the_size_and_the_siblings_place_are_known_up_to_the_first_variable_form() -> None:
    abbreviation = Abbreviation(
        0x1D, [(0x31, 0x13, 0), (0x01, 0x13, 0), (3, 0x08, 0), (0x11, 0x01, 0)], ENCODING, has_children=True
    )
    assert abbreviation.size is None
    assert abbreviation.sibling_offset == 4
    assert abbreviation.tail_offset == 8
    assert list(abbreviation.tail) == [(3, 0x08, 0), (0x11, 0x01, 0)]
    assert Abbreviation(0x1D, [(0x01, 0x13, 0), (0x11, 0x01, 0)], ENCODING, has_children=True).size == 12
    variable = Abbreviation(0x1D, [(3, 0x08, 0), (0x01, 0x13, 0)], ENCODING, has_children=True)
    assert variable.sibling_offset == -1


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2**20),
            st.integers(1, 0xFFFF),
            st.booleans(),
            st.lists(
                st.tuples(st.integers(1, 0x3FFF), st.sampled_from([1, *range(3, 0x22), 0x1F01, 0x1F21])),
                max_size=6,
                unique_by=lambda pair: pair[0],
            ),
        ),
        max_size=20,
        unique_by=lambda row: row[0],
    ),
    st.integers(-(2**62), 2**62),
)
def test_random_tables_are_read_as_they_were_written(
    rows: list[tuple[int, int, bool, list[tuple[int, int]]]], constant: int
) -> None:
    data = b""
    for code, tag, children, attributes in rows:
        data += uleb(code) + uleb(tag) + bytes((children,))
        for name, form in attributes:
            data += uleb(name) + uleb(form) + (w.sleb(constant) if form == 0x21 else b"")
        data += b"\0\0"
    table = read(data + b"\0").by_code
    assert [(code, found.tag, found.has_children, shape(found)) for code, found in table.items()] == [
        (code, tag, children, [(name, form, constant if form == 0x21 else 0) for name, form in attributes])
        for code, tag, children, attributes in rows
    ]


# --- attribute forms ---------------------------------------------------------------------------------------------

#: form -> values that it can hold. Numbers use every byte, so a wrong order or width shows.
VALUES: dict[int, list[int | bytes]] = {
    w.ADDR: [0x0102030405060708],
    w.BLOCK1: [b"", b"xyz"],
    w.BLOCK2: [b"x" * 300],
    w.BLOCK4: [b"x" * 70],
    w.BLOCK: [b"", b"y" * 200],
    w.EXPRLOC: [b"\x91\x70"],
    w.DATA1: [0xFE],
    w.DATA2: [0xFEDC],
    w.DATA4: [0xFEDCBA98],
    w.DATA8: [0xFEDCBA9876543210],
    w.STRING: [b"", b"name"],
    w.FLAG: [1, 0],
    w.SDATA: [-1, -65, 64, 2**40],
    w.UDATA: [0, 127, 128, 2**60],
    w.REF1: [0x7F],
    w.REF2: [0x0102],
    w.REF4: [0x01020304],
    w.REF8: [0x0102030405060708],
    w.REF_UDATA: [300],
    w.REF_ADDR: [0x01020304],
    w.SEC_OFFSET: [0x01020304],
    w.FLAG_PRESENT: [1],
    w.REF_SIG8: [0x0102030405060708],
    w.STRX: [0],
    w.ADDRX: [0],
    w.LOCLISTX: [300],
    w.RNGLISTX: [300],
}
LAYOUTS = [
    Format(order, version, offset_size, address_size)
    for order in "<>"
    for version in (2, 3, 4, 5)
    for offset_size in (4, 8)
    for address_size in (4, 8)
]


def fitting(form: int, value: int | bytes, layout: Format) -> int | bytes:
    if form in (w.ADDR, w.REF_ADDR, w.SEC_OFFSET) and isinstance(value, int):
        size = layout.address_size if form == w.ADDR or layout.version == 2 else layout.offset_size
        return value & ((1 << 8 * (layout.address_size if form == w.ADDR else size)) - 1)
    return value


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_form_is_read_and_skipped_in_every_layout(layout: Format) -> None:
    encoding = Encoding(*layout)
    held = 0
    for form, values in VALUES.items():
        for given_value in values:
            value = fitting(form, given_value, layout)
            encoded = form_bytes(form, value, layout)
            data = b"\xaa" + encoded + b"\xbb"
            read_value, actual = encoding.value(data, 1, form)
            assert actual == form
            if form in (w.BLOCK, w.BLOCK1, w.BLOCK2, w.BLOCK4, w.EXPRLOC):
                assert isinstance(read_value, bytes)
                assert isinstance(value, bytes)
                assert read_value.endswith(value)
            else:
                assert read_value == value, hex(form)
            assert encoding.skip(data, 1, form) == 1 + len(encoded), hex(form)
            size = encoding.sizes[form]
            assert size is None or size == len(encoded)
            held += 1
    assert held > 35


@pytest.mark.parametrize(
    ("form", "size"),
    [(w.STRX1, 1), (w.STRX2, 2), (w.STRX3, 3), (w.STRX4, 4), (w.ADDRX1, 1), (w.ADDRX2, 2), (w.ADDRX3, 3),
     (w.ADDRX4, 4), (w.DATA16, 16)],
)  # fmt: skip
@pytest.mark.parametrize("order", ["<", ">"])
def test_indexes_and_wide_numbers_are_of_the_size_that_their_name_says(form: int, size: int, order: str) -> None:
    value = int.from_bytes(bytes(range(1, size + 1)), "big")
    data = b"\xaa" + Format(order).number(value, size) + b"\xbb"
    encoding = Encoding(order, 5, 4, 8)
    assert encoding.value(data, 1, form) == (value, form)
    assert encoding.skip(data, 1, form) == 1 + size


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout.version >= 4], ids=str)
def test_entries_with_every_form_are_read_as_pyelftools_does(layout: Format) -> None:
    indirect = {w.STRX, w.ADDRX, w.LOCLISTX, w.RNGLISTX}  # pyelftools follows these to other sections
    attributes = [
        (USER + i, form, fitting(form, values[-1], layout))
        for i, (form, values) in enumerate(VALUES.items())
        if form not in indirect
    ]
    attributes.append((USER + 0x80, w.IMPLICIT_CONST, -77))
    info, abbrev, _ = write_units([UnitSpec(Entry(w.COMPILE_UNIT, attributes, label="root"), layout)])
    file = write_elf(
        ElfSpec(
            [SectionSpec(".debug_info", info), SectionSpec(".debug_abbrev", abbrev)],
            bits=8 * layout.address_size,
            byte_order=layout.byte_order,
        )
    )
    unit = next(ELFFile(io.BytesIO(file)).get_dwarf_info().iter_CUs())
    oracle = list(unit.get_top_DIE().attributes.values())
    ours = UnitIndex(debug_sections(ElfFile(file, "file"))).unit_at(0)
    assert ours.header.end == ours.children == len(info)
    assert len(ours.root) == len(oracle) == len(attributes)
    for other, (name, form, _) in zip(oracle, attributes, strict=True):
        value, actual = ours.root[name]
        assert actual == form
        if isinstance(value, bytes) and form != w.STRING:
            assert value.endswith(bytes(other.value))
            assert len(bytes(other.value)) > 1
        else:
            assert value == other.value, (hex(name), hex(form))


def test_an_indirect_form_is_read_as_the_form_that_the_entry_names() -> None:
    data = b"\xaa" + uleb(w.DATA2) + b"\x34\x12" + b"\xbb"
    assert ENCODING.value(data, 1, w.INDIRECT) == (0x1234, w.DATA2)
    assert ENCODING.skip(data, 1, w.INDIRECT) == 4
    text = uleb(w.STRING) + b"abc\0"
    assert ENCODING.value(text, 0, w.INDIRECT) == (b"abc", w.STRING)
    assert ENCODING.skip(text, 0, w.INDIRECT) == 5


def test_an_indirect_form_that_names_itself_raises_and_does_not_recurse() -> None:
    data = uleb(w.INDIRECT) * 100_000
    with pytest.raises(ValueError, match="itself"):
        ENCODING.skip(data, 0, w.INDIRECT)
    with pytest.raises(ValueError, match="cannot name"):
        ENCODING.value(data, 0, w.INDIRECT)


def test_values_that_their_unit_cuts_raise() -> None:
    for form, values in VALUES.items():
        encoded = form_bytes(form, values[-1], Format())
        if not encoded or isinstance(values[-1], bytes):
            continue
        with pytest.raises(IndexError):
            ENCODING.value(encoded[:-1], 0, form)
    for form in (w.STRING, w.BLOCK1, w.BLOCK2, w.BLOCK4, w.BLOCK):
        with pytest.raises(IndexError):
            ENCODING.skip(b"", 0, form)
    with pytest.raises(IndexError):
        ENCODING.value(b"abc", 0, w.STRING)


def test_an_unknown_form_cannot_be_stepped_over() -> None:
    for form in (0, 2, 0x2D, 0x78, 0x1F03):
        with pytest.raises(KeyError):
            ENCODING.skip(bytes(99), 0, form)
