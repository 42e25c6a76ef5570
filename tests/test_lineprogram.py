from __future__ import annotations

import io
import signal
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import dwarf_writer as w
import pytest
from dwarf_writer import (
    COPY,
    END_SEQUENCE,
    Entry,
    Format,
    LineSpec,
    UnitSpec,
    advance_line,
    advance_pc,
    debug_file,
    debug_sections,
    define_file,
    discriminator,
    extended,
    fixed_advance_pc,
    line_program,
    set_address,
    set_column,
    set_file,
    set_isa,
    sleb,
    uleb,
    write_units,
)
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.debuginfo import lineprogram
from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.lineheader import LineProgram, read_line_program
from annotate.debuginfo.lineprogram import FILE_SHIFT, LINE_LIMIT, LINE_MASK, LineRows
from annotate.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: (start, end, rows); a row is (address, file, line), line None where it went below zero.
Sequence = tuple[int, int, tuple[tuple[int, int, int | None], ...]]

V2, V3, V4, V5 = (Format("<", version) for version in (2, 3, 4, 5))
VERSIONS = [V2, V3, V4, V5]
#: Nine standard opcodes, as in DWARF 2.
NINE = w.STANDARD_COUNTS[:9]


def read(spec: LineSpec, offset: int = 0, behind: bytes = b"") -> LineProgram:
    data = bytes(offset) + line_program(spec) + behind
    sections = debug_sections(ElfFile(debug_file({"line": data}), "file"))
    assert sections.line is not None
    form = spec.format
    return read_line_program(sections.line, offset, form.address_size, "file", form.byte_order)


def columns_of(addresses: list[int], rows: list[int], sequences: list[lineprogram.Sequence]) -> list[Sequence]:
    result: list[Sequence] = []
    for start, end, first, last in sequences:
        found: list[tuple[int, int, int | None]] = []
        for address, row in zip(addresses[first:last], rows[first:last], strict=True):
            line = row & LINE_MASK
            found.append((address, 0, None) if line >= LINE_LIMIT else (address, row >> FILE_SHIFT, line))
        assert found
        assert [row[0] for row in found] == sorted({row[0] for row in found}), "ascending, one row an address"
        result.append((start, end, tuple(found)))
    return result


def sequences_of(rows: LineRows) -> list[Sequence]:
    """All that the program holds, decoded to its end by the loop that it is meant for."""
    sequences = rows.sequences()
    return columns_of(rows.addresses, rows.rows, sequences)


def by_the_unusual_loop(program: LineProgram) -> list[Sequence]:
    addresses: list[int] = []
    rows: list[int] = []
    sequences: list[lineprogram.Sequence] = []
    for _ in lineprogram._decode_unusual(program, addresses, rows, sequences):
        pass
    return columns_of(addresses, rows, sequences)


def run(spec: LineSpec) -> list[Sequence]:
    """What the program decodes to; where both loops must take it, they are held against each other."""
    result = sequences_of(LineRows(read(spec)))
    assert by_the_unusual_loop(read(spec)) == result
    return result


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """Break an endless loop off, in place of hanging the whole run."""

    def stop(_signal: int, _frame: object) -> None:
        raise AssertionError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- the specification's example ---------------------------------------------------------------------------------

#: DWARF 2 to 5, appendix "Line Number Program Example": rows at 0x239, 0x23c, 0x244, 0x24b, end at 0x24d.
EXAMPLE = (0x239, 0x24D, ((0x239, 1, 3), (0x23C, 1, 5), (0x244, 1, 6), (0x24B, 1, 7)))


@pytest.mark.parametrize("form", VERSIONS, ids=str)
@pytest.mark.parametrize(
    "code",
    [
        "02 b9 04  0b  38  82  73  02 02  00 01 01",
        "09 39 02  0b  09 03 00  0b  09 08 00  0a  09 07 00  0a  09 02 00  00 01 01",
    ],
    ids=["special opcodes", "fixed_advance_pc"],
)
def test_both_encodings_of_the_specifications_example_give_its_rows(code: str, form: Format) -> None:
    spec = LineSpec(bytes.fromhex(code), form, line_base=1, line_range=15, operand_counts=NINE)
    assert spec.opcode_base == 10
    assert run(spec) == [EXAMPLE]


# --- each opcode, in each version --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", VERSIONS, ids=str)
def test_every_standard_and_extended_opcode_does_what_it_says(form: Format) -> None:
    spec = LineSpec(b"", form)
    code = (
        set_address(0x1000, form)
        + COPY  # 0x1000: file 1, line 1
        + advance_pc(300) + advance_line(41) + set_column(200) + COPY  # 0x112c: 1, 42
        + set_file(2) + w.NEGATE_STMT + spec.special(3, -5)  # 0x112f: 2, 37
        + w.CONST_ADD_PC + w.BASIC_BLOCK + COPY  # + (255 - 13) // 14 = 17: 0x1140
        + fixed_advance_pc(0x100) + w.PROLOGUE_END + w.EPILOGUE_BEGIN + set_isa(900) + COPY  # 0x1240
        + discriminator(3) + spec.special(1, 8)  # 0x1241: 2, 45
        + advance_line(-44) + set_file(300) + spec.special(0, 0) + spec.special(2, 0)  # twice: 300, 1
        + advance_pc(5) + END_SEQUENCE
    )  # fmt: skip
    assert run(spec._replace(code=code)) == [
        (
            0x1000,
            0x1248,
            (
                (0x1000, 1, 1),
                (0x112C, 1, 42),
                (0x112F, 2, 37),
                (0x1140, 2, 37),
                (0x1240, 2, 37),
                (0x1241, 300, 1),
                (0x1243, 300, 1),
            ),
        )
    ]


def test_every_special_opcode_advances_by_its_quotient_and_remainder() -> None:
    # DWARF 5 section 6.2.5.1.
    for line_base, line_range, counts in ((-5, 14, w.STANDARD_COUNTS), (-3, 12, NINE), (1, 15, NINE), (-10, 245, NINE)):
        base = len(counts) + 1
        for opcode in range(base, 256):
            spec = LineSpec(
                set_address(0x1000) + advance_line(99) + bytes((opcode,)) + advance_pc(1) + END_SEQUENCE,
                line_base=line_base,
                line_range=line_range,
                operand_counts=counts,
            )
            address = 0x1000 + (opcode - base) // line_range
            assert run(spec) == [
                (address, address + 1, ((address, 1, 100 + line_base + (opcode - base) % line_range),))
            ]


def test_minimum_instruction_length_multiplies_all_advances_but_the_fixed_one() -> None:
    spec = LineSpec(b"", min_instruction_length=4)
    code = set_address(0x1000) + spec.special(3, 0) + advance_pc(2) + COPY + w.CONST_ADD_PC + COPY
    code += fixed_advance_pc(2) + COPY + advance_pc(1) + END_SEQUENCE
    rows = ((0x100C, 1, 1), (0x1014, 1, 1), (0x1058, 1, 1), (0x105A, 1, 1))
    assert run(spec._replace(code=code)) == [(0x100C, 0x105E, rows)]


def test_set_address_within_a_sequence_starts_no_new_one() -> None:
    spec = LineSpec(b"")
    code = set_address(0x1000) + COPY + advance_line(4) + set_file(2) + set_address(0x1010) + COPY
    code += set_address(0x1020) + END_SEQUENCE
    assert run(spec._replace(code=code)) == [(0x1000, 0x1020, ((0x1000, 1, 1), (0x1010, 2, 5)))]


def test_end_sequence_resets_the_state_and_nothing_covers_the_gap() -> None:
    code = set_address(0x2000) + set_file(2) + advance_line(9) + COPY + advance_pc(8) + END_SEQUENCE
    code += set_address(0x1000) + COPY + advance_pc(16) + END_SEQUENCE
    spec = LineSpec(code)
    assert run(spec) == [(0x1000, 0x1010, ((0x1000, 1, 1),)), (0x2000, 0x2008, ((0x2000, 2, 10),))]
    rows = LineRows(read(spec))
    found = {
        address: None if (row := rows.find(address)) is None else rows.rows[row[0]] & LINE_MASK
        for address in (0, 0xFFF, 0x1000, 0x100F, 0x1010, 0x1FFF, 0x2000, 0x2007, 0x2008, 1 << 63)
    }
    assert found == {
        0: None, 0xFFF: None, 0x1000: 1, 0x100F: 1, 0x1010: None,
        0x1FFF: None, 0x2000: 10, 0x2007: 10, 0x2008: None, 1 << 63: None,
    }  # fmt: skip


def test_of_several_rows_at_one_address_the_last_counts_wherever_they_stand() -> None:
    spec = LineSpec(b"")
    code = set_address(0x1000) + b"".join(COPY + advance_line(1) for _ in range(3))
    code += advance_pc(4) + COPY + set_file(2) + COPY + advance_pc(4)
    code += advance_line(50) + COPY + advance_line(1) + COPY + advance_pc(1) + END_SEQUENCE
    rows = ((0x1000, 1, 3), (0x1004, 2, 4), (0x1008, 2, 55))
    assert run(spec._replace(code=code)) == [(0x1000, 0x1009, rows)]


def test_rows_of_two_sequences_at_one_address_are_not_merged() -> None:
    code = set_address(0x1000) + COPY + advance_pc(4) + COPY + END_SEQUENCE
    code += set_address(0x1004) + advance_line(6) + COPY + advance_pc(4) + END_SEQUENCE
    assert run(LineSpec(code)) == [
        (0x1000, 0x1004, ((0x1000, 1, 1), (0x1004, 1, 1))),
        (0x1004, 0x1008, ((0x1004, 1, 7),)),
    ]


def test_rows_out_of_order_are_sorted_and_the_later_of_two_at_one_address_wins() -> None:
    rows = b"".join(
        set_address(address) + advance_line(1) + COPY for address in (0x1010, 0x1000, 0x1020, 0x1008, 0x1010)
    )
    code = rows + set_address(0x1030) + END_SEQUENCE
    assert run(LineSpec(code)) == [(0x1000, 0x1030, ((0x1000, 1, 3), (0x1008, 1, 5), (0x1010, 1, 6), (0x1020, 1, 4)))]


def test_a_sequence_behind_one_with_repeated_rows_out_of_order_keeps_all_its_rows() -> None:
    code = b"".join(set_address(address) + COPY for address in (0x1010, 0x1020, 0x1010)) + set_address(0x1030)
    code += END_SEQUENCE
    code += b"".join(set_address(address) + advance_line(10) + COPY for address in (0x500, 0x508)) + advance_pc(8)
    code += END_SEQUENCE
    spec = LineSpec(code)
    assert run(spec) == [
        (0x500, 0x510, ((0x500, 1, 11), (0x508, 1, 21))),
        (0x1010, 0x1030, ((0x1010, 1, 1), (0x1020, 1, 1))),
    ]
    rows = LineRows(read(spec))
    found = rows.find(0x1025)
    assert found is not None
    assert rows.rows[found[0]] & LINE_MASK == 1


def test_a_line_below_zero_is_no_line_and_the_file_stands_when_it_comes_back() -> None:
    code = set_address(0x1000) + set_file(2) + advance_line(-5) + COPY + advance_pc(4) + advance_line(14) + COPY
    code += advance_pc(4) + END_SEQUENCE
    assert run(LineSpec(code)) == [(0x1000, 0x1008, ((0x1000, 0, None), (0x1004, 2, 10)))]


def test_line_zero_is_kept_as_line_zero() -> None:
    code = set_address(0x1000) + advance_line(-1) + COPY + advance_pc(4) + END_SEQUENCE
    assert run(LineSpec(code)) == [(0x1000, 0x1004, ((0x1000, 1, 0),))]


def test_large_line_advances_and_file_numbers_are_read_from_all_their_bytes() -> None:
    code = (
        set_address(0x1000) + advance_line(1_000_000) + set_file(70_000) + COPY + advance_line(-999_000) + set_file(129)
    )
    code += advance_pc(4) + COPY + advance_pc(4) + END_SEQUENCE
    assert run(LineSpec(code)) == [(0x1000, 0x1008, ((0x1000, 70_000, 1_000_001), (0x1004, 129, 1001)))]


def test_leb128_values_padded_to_ten_bytes_are_read_wherever_they_stand() -> None:
    # Ten bytes are what a 64-bit value may take (``leb128.MAX_LENGTH``).
    code = set_address(0x1000) + b"\x02" + uleb(4, 10) + b"\x03" + sleb(9, 10) + b"\x04" + uleb(2, 10)
    code += b"\x05" + uleb(7, 10) + COPY + b"\x03" + sleb(-3, 10) + advance_pc(4) + COPY + advance_pc(4) + END_SEQUENCE
    assert run(LineSpec(code)) == [(0x1004, 0x100C, ((0x1004, 2, 10), (0x1008, 2, 7)))]


def test_unknown_extended_opcodes_are_skipped_by_their_length() -> None:
    code = set_address(0x1000) + extended(0x80, b"\x01\x02\x03") + extended(5) + b"\0\0" + extended(0xFF, b"\x01" * 200)
    code += COPY + advance_pc(4) + END_SEQUENCE
    assert run(LineSpec(code)) == [(0x1000, 0x1004, ((0x1000, 1, 1),))]


def test_unknown_standard_opcodes_are_skipped_by_their_operand_count() -> None:
    counts = (*w.STANDARD_COUNTS, 0, 1, 3)
    code = set_address(0x1000) + b"\x0d" + b"\x0e" + uleb(300) + b"\x0f" + uleb(1) + uleb(1000) + uleb(2)
    code += COPY + advance_pc(4) + END_SEQUENCE
    assert run(LineSpec(code, operand_counts=counts)) == [(0x1000, 0x1004, ((0x1000, 1, 1),))]


def test_a_standard_opcode_with_another_operand_count_is_skipped_by_that() -> None:
    # DWARF 5 section 6.2.4, standard_opcode_lengths: how a consumer steps over what it does not know.
    counts = (0, 1, 1, 1, 2, 0, 1, 0, 1, 0, 0, 1)  # set_column has two, set_basic_block one
    code = set_address(0x1000) + b"\x05" + uleb(3) + uleb(200) + b"\x07" + uleb(1) + COPY + advance_pc(4) + END_SEQUENCE
    assert run(LineSpec(code, operand_counts=counts)) == [(0x1000, 0x1004, ((0x1000, 1, 1),))]


def test_an_opcode_base_below_ten_makes_the_rest_special_opcodes() -> None:
    spec = LineSpec(b"", V3, operand_counts=(0, 1, 1), line_base=0, line_range=10)
    code = set_address(0x1000) + advance_line(4) + COPY + b"\x04" + spec.special(2, 3) + advance_pc(4) + END_SEQUENCE
    # Opcode 4 is (0, 0): another row at 0x1000.
    assert run(spec._replace(code=code)) == [(0x1000, 0x1006, ((0x1000, 1, 5), (0x1002, 1, 8)))]


def test_no_standard_opcodes_at_all() -> None:
    spec = LineSpec(b"", V3, operand_counts=(), line_base=0, line_range=10)
    code = set_address(0x1000) + b"\x01" + spec.special(2, 3) + END_SEQUENCE
    assert spec.opcode_base == 1
    assert run(spec._replace(code=code)) == [(0x1000, 0x1002, ((0x1000, 1, 1), (0x1002, 1, 4)))]


def test_operations_of_a_vliw_instruction_share_its_address() -> None:
    # DWARF 5 section 6.2.5.1: address += min_length * ((op_index + advance) / max_ops).
    spec = LineSpec(b"", V4, min_instruction_length=16, max_operations=3)
    code = set_address(0x1000) + COPY + spec.special(1, 1) + spec.special(1, 1) + spec.special(1, 1)
    code += advance_pc(4) + COPY  # op_index 0 + 4: one instruction, op_index 1
    code += w.CONST_ADD_PC + COPY  # 1 + 17: six instructions, op_index 0
    code += advance_pc(2) + fixed_advance_pc(8) + advance_pc(2) + COPY  # op_index reset, then 2
    code += advance_pc(1) + END_SEQUENCE
    rows = ((0x1000, 1, 3), (0x1010, 1, 4), (0x1020, 1, 4), (0x1080, 1, 4), (0x1088, 1, 4))
    assert run(spec._replace(code=code)) == [(0x1000, 0x1098, rows)]


def test_a_maximum_of_no_operations_counts_as_one() -> None:
    # The field is meaningless on other machines than VLIW ones, and some producers leave it 0.
    code = set_address(0x1000) + COPY + advance_pc(4) + advance_line(1) + COPY + advance_pc(4) + END_SEQUENCE
    assert run(LineSpec(code, V4, max_operations=0)) == [(0x1000, 0x1008, ((0x1000, 1, 1), (0x1004, 1, 2)))]


def test_set_address_resets_the_operation_index() -> None:
    spec = LineSpec(b"", V4, max_operations=4)
    code = set_address(0x1000) + advance_pc(3) + set_address(0x2000) + COPY + advance_pc(1) + COPY + advance_pc(3)
    code += advance_line(1) + COPY + END_SEQUENCE
    # The end lies at the address of the last row, which therefore covers nothing.
    assert run(spec._replace(code=code)) == [(0x2000, 0x2001, ((0x2000, 1, 1), (0x2001, 1, 2)))]


@pytest.mark.parametrize("version", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("offset_size", [4, 8])
@pytest.mark.parametrize("address_size", [4, 8])
def test_programs_of_both_byte_orders_dwarf_formats_and_address_sizes_are_read(
    version: int, order: str, offset_size: int, address_size: int
) -> None:
    form = Format(order, version, offset_size, address_size)
    code = set_address(0x89ABCDEF, form) + fixed_advance_pc(0x102, order) + COPY + advance_pc(4) + END_SEQUENCE
    program = read(LineSpec(code, form), offset=7, behind=b"another program")
    encoding = program.encoding
    assert (encoding.byte_order, encoding.version, encoding.offset_size, encoding.address_size) == tuple(form)
    assert sequences_of(LineRows(program)) == [(0x89ABCEF1, 0x89ABCEF5, ((0x89ABCEF1, 1, 1),))]


def test_the_address_size_of_a_version_5_header_counts_not_the_units() -> None:
    form = Format("<", 5, 4, 4)
    code = set_address(0x1000, form) + COPY + advance_pc(4) + END_SEQUENCE
    sections = debug_sections(ElfFile(debug_file({"line": line_program(LineSpec(code, form))}), "file"))
    assert sections.line is not None
    program = read_line_program(sections.line, 0, 8, "file", "<")
    assert program.encoding.address_size == 4


def test_rows_behind_the_last_end_sequence_are_in_no_sequence_and_the_last_has_no_bound() -> None:
    code = set_address(0x1000) + COPY + advance_pc(4) + END_SEQUENCE + set_address(0x2000) + COPY + advance_pc(4) + COPY
    spec = LineSpec(code)
    assert run(spec) == [(0x1000, 0x1004, ((0x1000, 1, 1),))]
    assert LineRows(read(spec)).find(0x2004) is None


@pytest.mark.parametrize("code", [b"", END_SEQUENCE, set_address(0x1000) + END_SEQUENCE])
def test_programs_without_rows_have_no_sequences(code: bytes) -> None:
    assert run(LineSpec(code)) == []


def test_a_sequence_that_ends_where_it_starts_covers_nothing() -> None:
    empty = set_address(0x1000) + COPY + END_SEQUENCE
    whole = set_address(0x1000) + advance_line(1) + COPY + advance_pc(2) + END_SEQUENCE
    assert run(LineSpec(empty + whole + empty)) == [(0x1000, 0x1002, ((0x1000, 1, 2),))]


def test_first_between_is_the_lowest_row_of_any_sequence_inside_the_bounds() -> None:
    code = b"".join(
        set_address(start) + COPY + advance_pc(8) + advance_line(1) + COPY + advance_pc(8) + END_SEQUENCE
        for start in (0x3000, 0x1000, 0x2000)
    )
    rows = LineRows(read(LineSpec(code)))

    def first(start: int, end: int) -> int | None:
        index = rows.first_between(start, end)
        return None if index is None else rows.addresses[index]

    assert first(0, 0x5000) == 0x1000
    assert first(0x1000, 0x1001) == 0x1000
    assert first(0x1001, 0x5000) == 0x1008
    assert first(0x1009, 0x5000) == 0x2000
    assert first(0x1009, 0x2000) is None
    assert first(0x2009, 0x3000) is None
    assert first(0x2009, 0x3001) == 0x3000
    assert first(0x3009, 1 << 63) is None


# --- headers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", VERSIONS, ids=str)
def test_directories_and_files_keep_the_programs_own_numbers(form: Format) -> None:
    program = read(LineSpec(b"", form, ("/linux", "/linux/include"), (("a.c", 0), ("b.h", 1), ("c.h", 300))))
    if form.version == 5:
        assert list(program.directories) == [b"/linux", b"/linux/include"]
        assert program.files == [(b"a.c", 0), (b"b.h", 1), (b"c.h", 300)]
    else:
        assert list(program.directories) == [b"", b"/linux", b"/linux/include"]
        assert program.files == [(b"", 0), (b"a.c", 0), (b"b.h", 1), (b"c.h", 300)]


def test_define_file_appends_a_file_before_version_5() -> None:
    code = define_file("late.h", 2) + set_address(0x1000) + set_file(3) + COPY + advance_pc(1) + END_SEQUENCE
    for form in (V2, V3, V4):
        program = read(LineSpec(code, form))
        assert sequences_of(LineRows(program)) == [(0x1000, 0x1001, ((0x1000, 3, 1),))]
        assert program.files[3] == (b"late.h", 2)


def test_version_5_tables_may_hold_any_content_in_any_form() -> None:
    # path as strp, MD5 as data16, size as udata, a vendor's string, the directory as data2; both orders of fields.
    tables = b"\x01" + uleb(1) + uleb(w.LINE_STRP) + uleb(1) + V5.offset(0x44)
    tables += b"\x05" + uleb(5) + uleb(w.DATA16) + uleb(2) + uleb(w.DATA2) + uleb(0x2001) + uleb(w.STRING)
    tables += uleb(1) + uleb(w.STRP) + uleb(4) + uleb(w.UDATA) + uleb(2)
    for number in (1, 2):
        tables += bytes(16) + V5.number(0x100 + number, 2) + b"source text\0" + V5.offset(number) + uleb(12345)
    program = read(LineSpec(END_SEQUENCE, strings=tables))
    assert list(program.directories) == [(0x44, w.LINE_STRP)]
    assert program.files == [((1, w.STRP), 0x101), ((2, w.STRP), 0x102)]
    assert program.start == len(program.data) - len(END_SEQUENCE)


def test_a_count_of_entries_that_take_no_bytes_ends_soon() -> None:
    # 2**40 entries of DW_FORM_flag_present: nothing is read for any of them.
    tables = b"\x01" + uleb(1) + uleb(w.FLAG_PRESENT) + uleb(2**40) + b"\0\0"
    with ends_within(2), pytest.raises(DamagedFileError):
        read(LineSpec(END_SEQUENCE, strings=tables))


def damaged_headers() -> Iterator[tuple[str, bytes]]:
    whole = line_program(LineSpec(END_SEQUENCE, V4))
    yield "version 1", whole[:4] + b"\x01\0" + whole[6:]
    yield "version 6", whole[:4] + b"\x06\0" + whole[6:]
    yield "longer than its section", b"\xff\xff\0\0" + whole[4:]
    yield "starts behind its end", whole[:6] + b"\xff\xff\0\0" + whole[10:]
    yield "line range 0", line_program(LineSpec(END_SEQUENCE, V4, line_range=0))
    yield "opcode base 0", whole[:15] + b"\0" + whole[16:]
    yield "tables without an end", line_program(LineSpec(b"", V4, strings=b"abc"))
    yield "an unknown form", line_program(LineSpec(b"", V5, strings=b"\x01\x01\x78\x01a\0"))
    yield "version 5, cut in its tables", line_program(LineSpec(b"", V5, strings=b"\x01\x01\x08\x02a\0b"))
    for length in range(4):
        yield f"{length} bytes", whole[:length]


@pytest.mark.parametrize(
    ("what", "data"), list(damaged_headers()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_damaged_header_raises_and_says_where(what: str, data: bytes) -> None:
    assert what
    sections = debug_sections(ElfFile(debug_file({"line": bytes(3) + data}), "vmlinux"))
    assert sections.line is not None
    with pytest.raises(DamagedFileError) as caught:
        read_line_program(sections.line, 3, 8, "vmlinux", "<")
    assert (caught.value.source, caught.value.section, caught.value.offset) == ("vmlinux", ".debug_line", 3)


# --- damage in the program ---------------------------------------------------------------------------------------

PIECES = [
    set_address(0x1000),
    COPY,
    advance_pc(300),
    advance_line(-200),
    set_file(300),
    set_column(300),
    fixed_advance_pc(4),
    LineSpec(b"").special(1, 1),
    discriminator(300),
    set_isa(300),
    extended(0x80, bytes(9)),
    advance_pc(1),
    END_SEQUENCE,
]


@pytest.mark.parametrize("max_operations", [1, 2])
@pytest.mark.parametrize("number", [number for number, piece in enumerate(PIECES) if len(piece) > 1])
def test_a_program_that_ends_inside_an_instruction_is_damage(number: int, max_operations: int) -> None:
    silent = []
    for length in range(1, len(PIECES[number])):
        code = b"".join(PIECES[:number]) + PIECES[number][:length]
        try:
            LineRows(read(LineSpec(code, max_operations=max_operations))).sequences()
        except DamagedFileError as error:
            assert error.section == ".debug_line"  # noqa: PT017 (every length is tried, then the list is held)
        else:
            silent.append(length)
    assert silent == []


def test_a_program_that_ends_between_two_instructions_is_not() -> None:
    for number in range(len(PIECES) + 1):
        found = run(LineSpec(b"".join(PIECES[:number])))
        assert len(found) == (number == len(PIECES))


def test_an_address_of_a_width_that_no_machine_has_is_damage() -> None:
    for width in (0, 3, 9):
        code = extended(2, bytes(width)) + COPY + advance_pc(4) + END_SEQUENCE
        with pytest.raises(DamagedFileError, match="address"):
            LineRows(read(LineSpec(code))).sequences()


def test_an_endless_leb128_value_is_damage() -> None:
    for opcode in (b"\x02", b"\x03", b"\x04", b"\0"):
        for padding in (20, 100_000):
            code = set_address(0x1000) + opcode + b"\xff" * padding + b"\0" + COPY + END_SEQUENCE
            with pytest.raises(DamagedFileError):
                LineRows(read(LineSpec(code))).sequences()


@given(st.binary(max_size=200), st.sampled_from(VERSIONS), st.sampled_from([1, 4]))
def test_any_bytes_as_a_program_decode_or_raise_damage(code: bytes, form: Format, max_operations: int) -> None:
    try:
        sequences = LineRows(read(LineSpec(code, form, max_operations=max_operations))).sequences()
    except DamagedFileError:
        return
    assert all(sequence.start < sequence.end for sequence in sequences)


# --- random programs against pyelftools and against the specification's state machine ------------------------------


class Step(NamedTuple):
    kind: str
    value: int = 0
    lines: int = 0


def encode(step: Step, spec: LineSpec) -> bytes:
    form = spec.format
    plain: dict[str, Callable[[int], bytes]] = {
        "advance_pc": advance_pc,
        "advance_line": advance_line,
        "set_file": set_file,
        "set_column": set_column,
        "set_isa": set_isa,
        "discriminator": discriminator,
    }
    if step.kind in plain:
        return plain[step.kind](step.value)
    if step.kind == "set_address":
        return set_address(step.value, form)
    if step.kind == "fixed":
        return fixed_advance_pc(step.value, form.byte_order)
    if step.kind == "special":
        return spec.special(step.value, step.lines)
    return {
        "copy": COPY,
        "const": w.CONST_ADD_PC,
        "negate": w.NEGATE_STMT,
        "block": w.BASIC_BLOCK,
        "prologue": w.PROLOGUE_END,
        "vendor": extended(0x90, b"\x01\x02"),
        "end": END_SEQUENCE,
    }[step.kind]


def reduce_rows(sequences: Iterable[tuple[list[tuple[int, int, int]], int]]) -> list[Sequence]:
    """Last row an address, in order; what covers nothing left out."""
    result: list[Sequence] = []
    for rows, end in sequences:
        last = {address: (file, line) for address, file, line in rows}
        if last and min(last) < end:
            reduced = ((a, f, n) if n >= 0 else (a, 0, None) for a, (f, n) in sorted(last.items()))
            result.append((min(last), end, tuple(reduced)))
    return sorted(result, key=lambda sequence: sequence[:2])


def by_the_specification(steps: list[Step], spec: LineSpec) -> list[Sequence]:
    """DWARF 5 section 6.2.5 as it is written, over instructions, not bytes."""
    sequences = []
    rows: list[tuple[int, int, int]] = []
    address, op_index, file, line = 0, 0, 1, 1
    for step in steps:
        operations = 0
        if step.kind in ("special", "advance_pc"):
            operations = step.value
        elif step.kind == "const":
            operations = (255 - spec.opcode_base) // spec.line_range
        address += spec.min_instruction_length * ((op_index + operations) // spec.max_operations)
        op_index = (op_index + operations) % spec.max_operations
        if step.kind == "set_address":
            address, op_index = step.value, 0
        elif step.kind == "fixed":
            address, op_index = address + step.value, 0
        elif step.kind == "advance_line":
            line += step.value
        elif step.kind == "set_file":
            file = step.value
        elif step.kind == "special":
            line += step.lines
        if step.kind in ("special", "copy"):
            rows.append((address, file, line))
        elif step.kind == "end":
            sequences.append((rows, address))
            rows, address, op_index, file, line = [], 0, 0, 1, 1
    return reduce_rows(sequences)


def by_pyelftools(spec: LineSpec) -> list[Sequence]:
    form = spec.format
    root = Entry(w.COMPILE_UNIT, [(w.STMT_LIST, w.SEC_OFFSET if form.version >= 4 else w.DATA4, 0)])
    info, abbrev, _ = write_units([UnitSpec(root, form._replace(offset_size=4))])
    data = debug_file(
        {"info": info, "abbrev": abbrev, "line": line_program(spec)},
        byte_order=form.byte_order,
        bits=8 * form.address_size,
    )
    dwarf = ELFFile(io.BytesIO(data)).get_dwarf_info()
    program = dwarf.line_program_for_CU(next(dwarf.iter_CUs()))
    assert program is not None
    sequences = []
    rows: list[tuple[int, int, int]] = []
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        if state.end_sequence:
            sequences.append((rows, state.address))
            rows = []
        else:
            rows.append((state.address, state.file, state.line))
    return reduce_rows(sequences)


numbers = st.integers(0, 400)
steps_strategy = st.lists(
    st.one_of(
        st.builds(Step, st.just("special"), st.integers(0, 15), st.integers(-5, 8)),
        st.builds(Step, st.just("special"), st.integers(0, 15), st.integers(-5, 8)),
        st.builds(Step, st.sampled_from(["copy", "end", "const", "negate", "block", "prologue", "vendor"])),
        st.builds(Step, st.sampled_from(["advance_pc", "set_file", "set_column", "set_isa", "discriminator"]), numbers),
        st.builds(Step, st.just("advance_line"), st.integers(-300, 300)),
        st.builds(Step, st.just("set_address"), st.sampled_from([0x1000, 0x1004, 0x1010])),
        st.builds(Step, st.just("set_address"), st.integers(0x1000, 0x1040)),
        st.builds(Step, st.just("fixed"), st.integers(0, 0xFFFF)),
    ),
    max_size=60,
).map(lambda steps: [*steps, Step("end")])


def assert_every_address_is_found(rows: LineRows, expected: list[Sequence]) -> None:
    """Where sequences do not overlap, each address has the last row at or below it."""
    for (_, end, _), (start, _, _) in pairwise(expected):
        if start < end:
            return
    for start, end, found in expected:
        for address in {start, end - 1, *(row[0] for row in found if start <= row[0] < end)}:
            index = rows.find(address)
            assert index is not None
            assert rows.addresses[index[0]] == max(row[0] for row in found if row[0] <= address)
        assert rows.find(end) is None or any(other == end for other, _, _ in expected)


@settings(max_examples=150)
@given(
    steps_strategy,
    st.sampled_from([2, 3, 4, 5]),
    st.sampled_from("<>"),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([4, 8]),
)
def test_random_programs_decode_as_pyelftools_decodes_them_in_both_loops(
    steps: list[Step], version: int, order: str, factor: int, address_size: int
) -> None:
    form = Format(order, version, 4, address_size)
    spec = LineSpec(b"", form, min_instruction_length=factor)
    spec = spec._replace(code=b"".join(encode(step, spec) for step in steps))
    expected = by_pyelftools(spec)
    assert expected == by_the_specification(steps, spec)
    hot = LineRows(read(spec))
    assert sequences_of(hot) == expected
    assert_every_address_is_found(hot, expected)
    assert by_the_unusual_loop(read(spec)) == expected


@settings(max_examples=100)
@given(steps_strategy, st.sampled_from([4, 5]), st.integers(2, 5), st.sampled_from([1, 16]))
def test_random_vliw_programs_decode_as_the_specification_says(
    steps: list[Step], version: int, max_operations: int, factor: int
) -> None:
    spec = LineSpec(b"", Format("<", version), min_instruction_length=factor, max_operations=max_operations)
    spec = spec._replace(code=b"".join(encode(step, spec) for step in steps))
    rows = LineRows(read(spec))
    expected = by_the_specification(steps, spec)
    assert sequences_of(rows) == expected
    assert_every_address_is_found(rows, expected)


ascending_sequence = st.lists(
    st.one_of(
        st.builds(Step, st.just("special"), st.integers(0, 15), st.integers(-5, 8)),
        st.builds(Step, st.sampled_from(["copy", "copy", "const"])),
        st.builds(Step, st.sampled_from(["advance_pc", "set_file"]), st.integers(0, 20)),
        st.builds(Step, st.just("advance_line"), st.integers(0, 50)),
    ),
    max_size=12,
)


@settings(max_examples=200)
@given(
    st.lists(ascending_sequence, min_size=1, max_size=6).flatmap(
        lambda parts: st.tuples(st.just(parts), st.permutations(range(len(parts))))
    ),
    st.lists(st.integers(0xFF0, 0x1600), min_size=1, max_size=12),
    st.booleans(),
)
def test_addresses_asked_for_in_any_order_are_answered_as_if_all_had_been_decoded_at_once(
    program: tuple[list[list[Step]], list[int]],
    asked: list[int],
    all_at_once: bool,  # noqa: FBT001
) -> None:
    parts, order = program
    steps: list[Step] = []
    for place, part in zip(order, parts, strict=True):
        # Sequences of 0x100 bytes at most, some of them adjoining, in any order in the program.
        steps += [
            Step("set_address", 0x1000 + 0x100 * place),
            *part[:12],
            Step("set_address", 0x1000 + 0x100 * place + 0xFF),
        ]
        steps += [Step("advance_pc", 1 if place % 2 else 0), Step("end")]
    spec = LineSpec(b"")
    spec = spec._replace(code=b"".join(encode(step, spec) for step in steps))
    expected = by_the_specification(steps, spec)
    # Nothing in a part reaches its end: 12 steps of 20 at most.
    assert all(max(row[0] for row in found) < end for _, end, found in expected)
    rows = LineRows(read(spec))
    if all_at_once:
        rows.sequences()
    for address in asked:
        covering = [found for start, end, found in expected if start <= address < end]
        index = rows.find(address)
        if not covering:
            assert index is None, hex(address)
            continue
        assert index is not None, hex(address)
        row = rows.rows[index[0]]
        found = (rows.addresses[index[0]], row >> FILE_SHIFT, row & LINE_MASK)
        best = max((row for row in covering[0] if row[0] <= address), key=lambda row: row[0])
        if best[2] is not None:
            assert found == best, hex(address)
        assert rows.addresses[index[1]] == covering[0][0][0]
    assert sequences_of(rows) == expected


def test_an_address_is_answered_before_the_rest_is_decoded() -> None:
    # Most programs are asked for one address; what is damaged behind it costs that answer nothing.
    code = set_address(0x1000) + COPY + advance_pc(4) + advance_line(1) + COPY + advance_pc(4) + END_SEQUENCE
    spec = LineSpec(code + set_address(0x2000) + COPY + advance_pc(8) + COPY + b"\x03\xff")
    rows = LineRows(read(spec))
    for address, line in ((0x1000, 1), (0x1003, 1), (0x1004, 2), (0x1007, 2), (0x1000, 1)):
        found = rows.find(address)
        assert found is not None
        assert rows.rows[found[0]] & LINE_MASK == line
    with pytest.raises(DamagedFileError):
        rows.find(0x2008)
    found = rows.find(0x1004)
    assert found is not None
    assert rows.rows[found[0]] & LINE_MASK == 2


def test_the_row_at_which_decoding_pauses_is_not_answered_before_its_last_repetition() -> None:
    code = (
        set_address(0x1000) + COPY + advance_pc(4) + advance_line(1) + COPY + advance_line(7) + COPY + advance_line(90)
    )
    code += COPY + advance_pc(4) + COPY + advance_pc(4) + END_SEQUENCE
    for order in ((0x1003, 0x1004), (0x1004, 0x1003), (0x1000, 0x1007, 0x1008), (0x1008, 0x1004, 0x1000)):
        rows = LineRows(read(LineSpec(code)))
        for address in order:
            found = rows.find(address)
            assert found is not None
            assert rows.rows[found[0]] & LINE_MASK == (1 if address < 0x1004 else 99)


def test_the_random_programs_are_not_all_empty() -> None:
    steps = [Step("set_address", 0x1000), Step("special", 3, 2), Step("advance_pc", 9), Step("end")]
    spec = LineSpec(b"")
    spec = spec._replace(code=b"".join(encode(step, spec) for step in steps))
    assert by_pyelftools(spec) == by_the_specification(steps, spec) == [(0x1003, 0x100C, ((0x1003, 1, 3),))]
