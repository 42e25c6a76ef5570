"""The tables of CONFIG_KALLSYMS_LINEINFO kernels: bytes written by hand, the cases of the kernel's own unit test, and
what that test leaves out."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from dwarf_writer import sleb, uleb
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.errors import AnnotateError, DamagedFileError, NoDebugInfoError, UnsupportedFileError
from annotate.leb128 import write_sleb
from annotate.tables import kernel_flat, kernel_layouts, kernel_v2, kernel_v3, kernel_v5
from annotate.tables.kernel_assembly import Data, Numbers, Piece, Strings, assemble, size_of
from annotate.tables.kernel_blocks import (
    BlockParts,
    BlockTable,
    KernelTable,
    Names,
    Words,
    read_sleb32,
    read_uleb32,
)
from annotate.tables.kernel_rows import Entries, collect_entries, encode_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = tuple[int, int, int]

ORDERS = ("<", ">")
INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1


def words(*values: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(values)}I", *values)


def zigzag(value: int) -> bytes:
    return uleb(2 * value if value >= 0 else -2 * value - 1)


def stream(rows: Sequence[Row], signed: Callable[[int], bytes]) -> tuple[list[int], list[int], bytes]:
    """Block addresses, block offsets and data, written the plain way."""
    starts, offsets, data = [], [], b""
    for index, (address, file, line) in enumerate(rows):
        if index % 64 == 0:
            starts.append(address)
            offsets.append(len(data))
            data += uleb(file) + uleb(line)
        else:
            before = rows[index - 1]
            data += uleb(address - before[0]) + signed(file - before[1]) + signed(line - before[2])
    return starts, offsets, data


def block_table(rows: Sequence[Row], names: Sequence[bytes] = (b"a.c", b"b.c", b"c.c")) -> BlockTable:
    starts, offsets, data = stream(rows, sleb)
    return table_of(data, len(rows), starts, offsets, names)


def table_of(
    data: bytes, count: int, starts: Sequence[int], offsets: Sequence[int], names: Sequence[bytes] = (b"a.c",)
) -> BlockTable:
    places = [sum(len(name) + 1 for name in names[:index]) for index in range(len(names))]
    strings = b"".join(name + b"\0" for name in names)
    parts = BlockParts(
        count, Words(words(*starts), "<"), Words(words(*offsets), "<"), data, Names(Words(words(*places), "<"), strings)
    )
    return BlockTable(parts, read_sleb32)


class FakeSymbols:
    """The symbols of a vmlinux, each with its own bytes and nothing behind them."""

    source = "vmlinux"

    def __init__(self, symbols: dict[str, bytes], byte_order: str = "<") -> None:
        self.symbols = symbols
        self.byte_order = byte_order

    def has(self, name: str) -> bool:
        return name in self.symbols

    def read(self, name: str, size: int | None) -> bytes:
        data = self.symbols[name]
        if size is not None and size > len(data):
            raise DamagedFileError("vmlinux", ".rodata", 0, f"{size} bytes", f"{len(data)}")
        return data[:size]


def vmlinux_symbols(rows: Sequence[Row], signed: Callable[[int], bytes], order: str = "<") -> FakeSymbols:
    starts, offsets, data = stream(rows, signed)
    return FakeSymbols(
        {
            "lineinfo_num_entries": words(len(rows), order=order),
            "lineinfo_num_files": words(2, order=order),
            "lineinfo_num_blocks": words(len(starts), order=order),
            "lineinfo_block_addrs": words(*starts, order=order),
            "lineinfo_block_offsets": words(*offsets, order=order),
            "lineinfo_data_size": words(len(data), order=order),
            "lineinfo_data": data,
            "lineinfo_file_offsets": words(0, 7, order=order),
            "lineinfo_filenames_size": words(14, order=order),
            "lineinfo_filenames": b"mm/a.c\0fs/b.c\0",
        },
        order,
    )


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "value", "length"),
    [
        (b"\0", 0, 1),
        (b"\x7f", 127, 1),
        (b"\x80\x01", 128, 2),
        (b"\xff\xff\xff\xff\x0f", 0xFFFFFFFF, 5),
        (b"", 0, 0),
        (b"\x80", 0, 1),
        (b"\xe5\x8e", 0x765, 2),  # the end in the middle: what there is so far
        (b"\xff\xff\xff\xff\x7f", 0xFFFFFFFF, 5),  # bits beyond 32 are lost
        (b"\x81\x80\x80\x80\x80\x80\x80\x01\x05", 1, 8),  # more than five bytes: the rest is skipped
        (b"\x81\x80\x80\x80\x80\x00\x05", 1, 6),
        (b"\x81\x80\x80\x80\x80\x80", 1, 6),
    ],
)
def test_unsigned_numbers(data: bytes, value: int, length: int) -> None:
    assert read_uleb32(data, 0, len(data)) == (value, length)


@pytest.mark.parametrize(
    ("data", "value", "length"),
    [
        (b"\0", 0, 1),
        (b"\x7f", -1, 1),
        (b"\x01", 1, 1),
        (b"\x40", -64, 1),
        (b"\x3f", 63, 1),
        (b"\x80\x7f", -128, 2),
        (b"\x80\x80\x80\x80\x78", INT_MIN, 5),
        (b"\xff\xff\xff\xff\x07", INT_MAX, 5),
        (b"", 0, 0),
        (b"\xff\xff\xff\xff\xff\xff\x7f\x05", -1, 7),
    ],
)
def test_signed_numbers(data: bytes, value: int, length: int) -> None:
    assert read_sleb32(data, 0, len(data)) == (value, length)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, b"\x00"),
        (1, b"\x02"),
        (-1, b"\x01"),
        (63, b"\x7e"),
        (-64, b"\x7f"),
        (64, b"\x80\x01"),
        (-65, b"\x81\x01"),
        (100, b"\xc8\x01"),
        (-300, b"\xd7\x04"),
        (INT_MAX, b"\xfe\xff\xff\xff\x0f"),
        (INT_MIN, b"\xff\xff\xff\xff\x0f"),
    ],
)
def test_zigzag(value: int, data: bytes) -> None:
    assert kernel_v2.read_zigzag(data, 0, len(data)) == (value, len(data))
    assert kernel_v2.write_zigzag(value) == data


@given(st.integers(INT_MIN, INT_MAX))
def test_both_ways_to_write_a_signed_number_are_equally_long(value: int) -> None:
    assert write_sleb(value) == sleb(value)
    assert len(write_sleb(value)) == len(kernel_v2.write_zigzag(value)) <= 5
    assert read_sleb32(sleb(value), 0, 5) == (value, len(sleb(value)))


# --- the published streams ---------------------------------------------------------------------------------------

THREE = Entries([0x10, 0x1C, 0x150], [0, 2, 2], [120, 33, 31], [b"a.c", b"b.c", b"c.c"])


@pytest.mark.parametrize(
    ("write", "data"),
    [
        (kernel_v2.write_zigzag, "00 78 0c 04 ad 01 b4 02 00 03"),
        (write_sleb, "00 78 0c 02 a9 7f b4 02 00 7e"),
    ],
)
def test_three_entries_are_these_bytes(write: Callable[[int], bytes], data: str) -> None:
    encoded = encode_blocks(THREE, write)
    assert encoded.data == bytes.fromhex(data)
    assert list(encoded.addresses) == [0x10]
    assert list(encoded.offsets) == [0]


@pytest.mark.parametrize(
    ("offset", "minimum", "line"),
    [(0x50, 0x40, 10), (0x50, 0, 10), (0x70, 0x60, None), (0x40, 0x40, 10), (0x3F, 0, 10), (0x3F, 1, None)],
)
def test_an_entry_before_the_symbol_is_refused(offset: int, minimum: int, line: int | None) -> None:
    table = table_of(b"\x00\x0a\x40\x00\x00", 2, [0], [0])
    assert list(table.entries()) == [(0, 0, 10), (0x40, 0, 10)]
    assert table.find(offset, minimum) == (None if line is None else (b"a.c", line))


# --- the look-up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 127, 128, 129])
def test_full_and_short_last_blocks(count: int) -> None:
    rows = [(16 * index + 8, index % 3, 10 + 7 * index % 300) for index in range(count)]
    table = block_table(rows)
    names = (b"a.c", b"b.c", b"c.c")
    assert table.num_entries == count
    assert list(table.entries()) == rows
    assert table.last() == rows[-1]
    assert table.fault() == ""
    assert table.find(7) is None
    for offset, file, line in rows:
        for inside in (offset, offset + 15):
            assert table.find(inside) == (names[file], line)
    assert table.find(1 << 31) == (names[rows[-1][1]], rows[-1][2])  # behind the last entry: no end is known


def test_offsets_at_the_edge_of_32_bits() -> None:
    table = block_table([(0xFFFFFFF0, 0, 1), (0xFFFFFFFF, 1, 2)])
    assert table.find(0xFFFFFFFE) == (b"a.c", 1)
    assert table.find(0xFFFFFFFF) == (b"b.c", 2)
    assert table.find(0x100000000) is None
    assert table.find(-1) is None


def test_a_file_id_that_is_the_number_of_files_answers_nothing() -> None:
    table = block_table([(0, 0, 5), (16, 3, 5), (32, 1, 9)])
    assert table.fault() == ""
    assert [table.find(offset) for offset in (15, 16, 31, 32)] == [(b"a.c", 5), None, None, (b"b.c", 9)]


def test_bad_file_ids_and_name_offsets() -> None:
    table = block_table([(0, 0, 5), (16, 70000, 5)])
    assert table.find(16) is None
    assert "file id" in table.fault()
    parts = BlockParts(1, Words(words(0), "<"), Words(words(0), "<"), b"\0\x05", Names(Words(words(4), "<"), b"a.c\0"))
    table = BlockTable(parts, read_sleb32)
    assert table.find(0) is None
    assert "file name" in table.fault()


def test_a_block_that_ends_before_it_begins() -> None:
    rows = [(index, 0, 1) for index in range(65)]
    starts, _, data = stream(rows, sleb)
    table = table_of(data, 65, starts, [10, 5])
    assert table.find(3) is None
    assert table.fault() != ""
    assert table_of(data, 65, starts, [0, len(data)]).find(64) is None
    assert table_of(data, 65, starts, [0, 0xFFFFFFFF]).find(64) is None


def test_a_truncated_block_repeats_its_last_entry() -> None:
    starts, offsets, data = stream([(0, 0, 5), (16, 1, 9), (32, 2, 7)], sleb)
    table = table_of(data[:-3], 3, starts, offsets, (b"a.c", b"b.c", b"c.c"))
    assert list(table.entries()) == [(0, 0, 5), (16, 1, 9), (16, 1, 9)]
    assert table.find(1000) == (b"b.c", 9)
    assert table.fault() != ""


def test_numbers_of_more_than_five_bytes() -> None:
    data = uleb(0, 7) + uleb(5, 9) + uleb(16, 8) + sleb(0, 6) + sleb(4, 7)
    table = table_of(data, 2, [0], [0])
    # As the kernel reads them: a long number is what its first five bytes say.
    assert list(table.entries()) == [(0, 0, 5), (16, 0, 9)]


def test_counts_that_do_not_add_up() -> None:
    rows = [(index, 0, 1) for index in range(65)]
    starts, offsets, data = stream(rows, sleb)
    assert "blocks" in table_of(data, 64, starts, offsets).fault()
    assert "blocks" in table_of(data, 1 << 31, starts, offsets).fault()
    assert "entries" in table_of(data[:100], 65, starts, offsets).fault()
    assert table_of(b"", 0, [], []).fault() != ""
    assert table_of(b"", 0, [], []).find(0) is None


def test_names_without_an_end() -> None:
    parts = BlockParts(1, Words(words(0), "<"), Words(words(0), "<"), b"\0\x05", Names(Words(words(0), "<"), b"a.c"))
    table = BlockTable(parts, read_sleb32)
    assert table.find(0) == (b"a.c", 5)
    assert "NUL" in table.fault()


# --- kernels: which of two encodings -----------------------------------------------------------------------------

ROWS = [(0, 0, 10), (7, 1, 3), (9, 0, 200), (1000, 0, 199)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("signed", "layout"), [(zigzag, "v2"), (sleb, "v3")])
def test_the_encoding_of_a_kernel_is_told_by_what_is_possible(
    signed: Callable[[int], bytes], layout: str, order: str
) -> None:
    found = kernel_layouts.read_vmlinux(vmlinux_symbols(ROWS, signed, order))
    assert found.layout == layout
    assert list(found.table.entries()) == ROWS
    assert found.table.find(8) == (b"fs/b.c", 3)


def test_two_possible_readings_are_refused() -> None:
    rows = [(0, 0, 10), (4, 0, 11), (8, 0, 13)]  # one file, lines that only grow: any reading is possible
    with pytest.raises(UnsupportedFileError, match="as v2 and as v3"):
        kernel_layouts.read_vmlinux(vmlinux_symbols(rows, zigzag))


def test_two_readings_that_say_the_same_are_none() -> None:
    rows = [(0, 0, 10), (4, 0, 10)]
    found = kernel_layouts.read_vmlinux(vmlinux_symbols(rows, zigzag))
    assert list(found.table.entries()) == rows


def test_what_is_seen_late_in_a_large_table_decides() -> None:
    # Growing lines in each of the blocks that are looked at first, one step back in the block between.
    rows = [(index, 0, 10 + index % 64) for index in range(64 * 130)]
    rows[64 + 5] = (64 + 5, 1, 2)
    rows[64 + 6] = (64 + 6, 0, 9)
    found = kernel_layouts.read_vmlinux(vmlinux_symbols(rows, sleb))
    assert found.layout == "v3"
    assert list(found.table.entries()) == rows


def test_a_kernel_table_of_no_layout() -> None:
    symbols = vmlinux_symbols(ROWS, sleb)
    symbols.symbols["lineinfo_num_entries"] = words(5)
    with pytest.raises(DamagedFileError, match=r"v2: .*v3: "):
        kernel_layouts.read_vmlinux(symbols)
    symbols.symbols["lineinfo_data_size"] = words(0xFFFFFFFF)
    with pytest.raises(DamagedFileError):
        kernel_layouts.read_vmlinux(symbols)


def flat_symbols(order: str, *, with_size: bool = True) -> FakeSymbols:
    symbols = {
        "lineinfo_num_entries": words(3, order=order),
        "lineinfo_num_files": words(2, order=order),
        "lineinfo_addrs": words(0, 16, 4096, order=order),
        "lineinfo_file_ids": struct.pack(order + "3H", 1, 0, 1),
        "lineinfo_lines": words(7, 70000, 9, order=order),
        "lineinfo_file_offsets": words(0, 7, order=order),
        "lineinfo_filenames": b"mm/a.c\0fs/b.c\0what stands behind",
    }
    if with_size:
        symbols["lineinfo_filenames_size"] = words(14, order=order)
    return FakeSymbols(symbols, order)


@pytest.mark.parametrize("with_size", [True, False])
@pytest.mark.parametrize("order", ORDERS)
def test_a_flat_kernel_table(order: str, with_size: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    found = kernel_layouts.read_vmlinux(flat_symbols(order, with_size=with_size))
    assert found.layout == "flat"
    assert list(found.table.entries()) == [(0, 1, 7), (16, 0, 70000), (4096, 1, 9)]
    assert found.table.find(15) == (b"fs/b.c", 7)
    assert found.table.find(16) == (b"mm/a.c", 70000)
    assert found.table.find(20, 17) is None
    assert found.table.find(1 << 32) is None
    assert found.table.num_files == 2


def test_a_flat_table_that_cannot_be() -> None:
    for name, data in (
        ("lineinfo_addrs", words(16, 0, 4096)),
        ("lineinfo_file_ids", struct.pack("<3H", 1, 3, 0)),
        ("lineinfo_lines", words(0, 1, 2)),
        ("lineinfo_file_offsets", words(0, 14)),
        ("lineinfo_num_entries", words(0xFFFFFFFF)),
    ):
        symbols = flat_symbols("<")
        symbols.symbols[name] = data
        with pytest.raises(DamagedFileError):
            kernel_layouts.read_vmlinux(symbols)


# --- modules, each written by hand -------------------------------------------------------------------------------

MODULE_NAMES = b"b.c\0aa.c\0"


def flat_module(order: str) -> bytes:
    return (
        words(3, 2, 9, 0, order=order)
        + words(0, 16, 300, order=order)
        + struct.pack(order + "3H", 1, 0, 1)
        + bytes(2)
        + words(7, 8, 9, order=order)
        + words(0, 4, order=order)
        + MODULE_NAMES
    )


def v2_module(order: str, *, is_aligned: bool = True) -> bytes:
    data = bytes.fromhex("01 07 10 01 02 9c 02 02 02")  # 9 bytes
    head = words(3, 2, 9, 1, 9, 0, order=order) + words(0, order=order) + words(0, order=order) + data
    return head + bytes(3 * is_aligned) + words(0, 4, order=order) + MODULE_NAMES


def v3_module(order: str) -> bytes:
    data = bytes.fromhex("01 07 10 7f 01 9c 02 01 01")
    head = words(3, 1, 2, 48, 8, 56, 9, 68, 8, 76, 9, 0, order=order) + words(0, 0, order=order) + data
    return head + bytes(3) + words(0, 4, order=order) + MODULE_NAMES


def sub_table(order: str) -> bytes:
    """A table of v5, 81 bytes: its names end unaligned."""
    data = bytes.fromhex("01 07 10 7f 01 9c 02 01 01")
    head = words(3, 1, 2, 44, 8, 52, 9, 64, 8, 72, 9, order=order) + words(0, 0, order=order) + data
    return head + bytes(3) + words(0, 4, order=order) + MODULE_NAMES


def v5_module(order: str, *, anchors: tuple[int, int] = (0x1000, 0x9000), second: int = 40 + 81) -> bytes:
    return (
        words(2, 0, order=order)
        + struct.pack(order + "QII", anchors[0], 400, 40)
        + struct.pack(order + "QII", anchors[1], 500, second)
        + sub_table(order)
        + bytes(3)
        + sub_table(order)
    )


THREE_ROWS = [(0, 1, 7), (16, 0, 8), (300, 1, 9)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("layout", "write"),
    [
        ("flat", flat_module),
        ("v2", v2_module),
        ("v2", lambda order: v2_module(order, is_aligned=False)),
        ("v3", v3_module),
    ],
)
def test_module_tables_by_hand(layout: str, write: Callable[[str], bytes], order: str) -> None:
    found = kernel_layouts.read_module(write(order), order, "x.ko")
    assert found.layout == layout
    assert found.text is not None
    assert list(found.text.entries()) == THREE_ROWS
    assert found.text.find(17) == (b"b.c", 8)
    assert found.text.find(300) == (b"aa.c", 9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("second", [121, 122, 124])
def test_tables_of_sections_by_hand(order: str, second: int) -> None:
    # 121 is what v5 wrote: the place before the padding. 124 is where the table is.
    found = kernel_layouts.read_module(v5_module(order, second=second), order, "x.ko")
    assert found.layout == "v5"
    assert found.text is None
    assert [(section.address, section.size) for section in found.sections] == [(0x1000, 400), (0x9000, 500)]
    for section in found.sections:
        assert list(section.table.entries()) == THREE_ROWS


def test_the_first_section_that_holds_an_address_decides() -> None:
    sections = kernel_v5.read_module(v5_module("<", anchors=(0x1000, 0x1100)), "<", "x.ko")
    assert kernel_v5.find_covering(sections, 0xFFF) is None
    assert kernel_v5.find_covering(sections, 0x1100) is sections[0]
    assert kernel_v5.find_covering(sections, 0x1000 + 399) is sections[0]
    assert kernel_v5.find_covering(sections, 0x1000 + 400) is sections[1]
    assert kernel_v5.find_covering(sections, 0x1100 + 500) is None


def test_an_anchor_without_a_relocation_is_skipped() -> None:
    sections = kernel_v5.read_module(v5_module("<", anchors=(0, 0x9000)), "<", "x.ko")
    assert kernel_v5.find_covering(sections, 5) is None
    assert kernel_v5.find_covering(sections, 0x9005) is sections[1]


@pytest.mark.parametrize("write", [flat_module, v2_module, v3_module, v5_module])
def test_the_wrong_byte_order_and_every_cut_are_refused(write: Callable[[str], bytes]) -> None:
    data = write("<")
    with pytest.raises(AnnotateError):
        kernel_layouts.read_module(data, ">", "x.ko")
    for end in range(len(data)):
        with pytest.raises(AnnotateError):
            kernel_layouts.read_module(data[:end], "<", "x.ko")


def test_a_module_table_that_fits_two_layouts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_flat, "read_module", kernel_v2.read_module)
    with pytest.raises(UnsupportedFileError, match="as flat and as v2"):
        kernel_layouts.read_module(v2_module("<"), "<", "x.ko")


@pytest.mark.parametrize("write", [flat_module, v2_module, v3_module, v5_module])
def test_every_changed_byte_is_an_error_or_an_answer(write: Callable[[str], bytes]) -> None:
    data = write("<")
    for place in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[place] ^= flip
            try:
                found = kernel_layouts.read_module(bytes(changed), "<", "x.ko")
            except AnnotateError:
                continue
            tables: list[KernelTable] = [section.table for section in found.sections]
            for table in tables or [found.text] if found.text is not None else tables:
                list(table.entries())
                for offset in (0, 16, 17, 5000, 1 << 32):
                    table.find(offset)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_error_or_an_answer(data: bytes) -> None:
    for order in ORDERS:
        try:
            found = kernel_layouts.read_module(data, order, "x.ko")
        except AnnotateError:
            continue
        assert found.text is not None or found.sections


def test_blocks_that_claim_the_same_bytes_are_not_decoded_over_and_over() -> None:
    # 4 000 blocks, each of which says that it is all of 60 000 bytes with long numbers: 240 million bytes to read.
    data = (b"\x81" + b"\x80" * 311 + b"\0") * 192
    table = table_of(data, 64 * 4000, range(0, 4000 * 64, 64), [0, len(data)] * 2000)
    assert table.fault() != ""
    rows = list(zip(table.entries(), range(100_000), strict=False))
    assert len(rows) == 100_000  # bounded by entries, and by a thousand bytes a block


# --- what the writers write, read back ---------------------------------------------------------------------------


@st.composite
def entry_columns(draw: st.DrawFn) -> Entries:
    names = draw(st.lists(st.binary(max_size=12).map(lambda name: name.replace(b"\0", b"/")), min_size=1, max_size=5))
    steps = draw(st.lists(st.integers(1, 70000) | st.just(1), min_size=1, max_size=200))
    offsets, offset = [], draw(st.integers(0, 100)) - 1
    for step in steps:
        offset += step
        offsets.append(offset)
    files = draw(st.lists(st.integers(0, len(names)), min_size=len(steps), max_size=len(steps)))
    line = st.integers(1, 5000) | st.integers(1, INT_MAX)
    lines = draw(st.lists(line, min_size=len(steps), max_size=len(steps)))
    return Entries(offsets, files, lines, names)


def rows_of(entries: Entries) -> list[Row]:
    return list(zip(entries.offsets, entries.file_ids, entries.lines, strict=True))


def check_find(table: KernelTable, entries: Entries, offset: int) -> None:
    """The rule said plainly: the last entry at or before the offset, if it has a file."""
    before = [row for row in rows_of(entries) if row[0] <= offset]
    if not before or before[-1][1] >= len(entries.names):
        assert table.find(offset) is None
    else:
        assert table.find(offset) == (entries.names[before[-1][1]], before[-1][2])


@settings(deadline=None)
@given(entry_columns(), st.sampled_from(ORDERS), st.data())
def test_module_tables_come_back(entries: Entries, order: str, data: st.DataObject) -> None:
    readers: list[tuple[Callable[[Entries], list[Piece]], Callable[[bytes, str, str], KernelTable]]] = [
        (kernel_flat.write_module, kernel_flat.read_module),
        (kernel_v2.write_module, kernel_v2.read_module),
        (kernel_v3.write_module, kernel_v3.read_module),
    ]
    offset = data.draw(st.integers(0, entries.offsets[-1] + 100))
    for write, read in readers:
        assembled = assemble(write(entries), order)
        assert not assembled.anchors
        assert size_of(write(entries)) == len(assembled.data)
        table = read(assembled.data, order, "x.ko")
        assert list(table.entries()) == rows_of(entries)
        assert table.fault() == ""
        assert [table.name(number) for number in range(table.num_files)] == list(entries.names)
        check_find(table, entries, offset)


@settings(deadline=None)
@given(entry_columns(), entry_columns(), st.sampled_from(ORDERS))
def test_tables_of_sections_come_back(first: Entries, second: Entries, order: str) -> None:
    pieces = kernel_v5.write_module([(".text", 0x1000, first), (".exit.text", 0x2000, second)])
    assembled = assemble(pieces, order)
    assert assembled.anchors == [(8, ".text"), (24, ".exit.text")]
    tables = kernel_v5.read_module(assembled.data, order, "x.ko")
    assert [table.size for table in tables] == [0x1000, 0x2000]
    for section, entries in zip(tables, (first, second), strict=True):
        assert list(section.table.entries()) == rows_of(entries)
        assert section.table.fault() == ""
    # Where a table is, is where its header is: loaders before v7 did not round.
    (offset,) = struct.unpack_from(order + "I", assembled.data, 36)
    assert struct.unpack_from(order + "I", assembled.data, offset) == (len(second.offsets),)


def symbols_of(pieces: Sequence[Piece], order: str) -> FakeSymbols:
    symbols = {}
    for piece in pieces:
        assert isinstance(piece, Numbers | Data | Strings)
        symbols[piece.label] = assemble([piece], order).data
    return FakeSymbols(symbols, order)


@settings(deadline=None)
@given(entry_columns(), st.sampled_from(ORDERS))
def test_kernel_tables_come_back(entries: Entries, order: str) -> None:
    for write, read in (
        (kernel_flat.write_vmlinux, kernel_flat.read_vmlinux),
        (kernel_v2.write_vmlinux, kernel_v2.read_vmlinux),
        (kernel_v3.write_vmlinux, kernel_v3.read_vmlinux),
        (kernel_v5.write_vmlinux, kernel_v3.read_vmlinux),
    ):
        table: KernelTable = read(symbols_of(write(entries), order))
        assert list(table.entries()) == rows_of(entries)
        assert table.fault() == ""


def test_lines_may_jump_by_any_distance() -> None:
    entries = Entries([0, 1, 2], [0, 0, 0], [0xFFFFFFFF, 1, 0xFFFFFFFF], [b"a"])
    for write, read in (
        (kernel_v2.write_module, kernel_v2.read_module),
        (kernel_v3.write_module, kernel_v3.read_module),
    ):
        table = read(assemble(write(entries), "<").data, "<", "x.ko")
        assert list(table.entries()) == rows_of(entries)


# --- rows on their way into a table ------------------------------------------------------------------------------


def never(_before: int, _address: int) -> bool:
    return False


def test_rows_are_cut_to_their_range_and_ends_become_entries_without_a_file() -> None:
    changes = [(90, "a.c", 1), (110, "b.c", 5), (120, "", 0), (130, "a.c", 9), (205, "b.c", 7)]
    entries = collect_entries(changes, 100, 200, never, "x")
    assert rows_of(entries) == [(0, 0, 1), (10, 1, 5), (20, 2, 5), (30, 0, 9), (100, 2, 9)]
    assert list(entries.names) == [b"a.c", b"b.c"]


def test_what_holds_before_the_range_ends_before_it() -> None:
    entries = collect_entries([(90, "a.c", 1), (95, "", 0), (110, "b.c", 5), (150, "", 0)], 100, 200, never, "x")
    assert rows_of(entries) == [(10, 0, 5), (50, 1, 5)]


def test_a_row_that_holds_through_the_whole_range() -> None:
    assert rows_of(collect_entries([(90, "a.c", 1), (300, "", 0)], 100, 200, never, "x")) == [(0, 0, 1), (100, 1, 1)]


def test_a_row_without_a_line_belongs_to_the_one_before_unless_a_symbol_begins() -> None:
    changes = [(100, "a.c", 1), (110, "a.c", 0), (120, "a.c", 2), (130, "a.c", 0), (140, "a.c", 0), (150, "a.c", 4)]

    def between(before: int, address: int) -> bool:
        return before < 125 <= address

    assert rows_of(collect_entries(changes, 100, 160, between, "x")) == [
        (0, 0, 1),
        (20, 0, 2),
        (30, 1, 2),
        (50, 0, 4),
        (60, 1, 4),
    ]


def test_of_rows_at_one_address_the_last_counts_and_none_points_back() -> None:
    changes = [(100, "a.c", 1), (110, "a.c", 2), (110, "a.c", 3), (105, "b.c", 9), (120, "a.c", 3), (130, "", 0)]
    assert rows_of(collect_entries(changes, 100, 200, never, "x")) == [(0, 0, 1), (10, 0, 3), (30, 1, 3)]


def test_no_rows_and_too_many_files() -> None:
    with pytest.raises(NoDebugInfoError):
        collect_entries([(90, "a.c", 1), (95, "", 0)], 100, 200, never, "x")
    with pytest.raises(NoDebugInfoError):
        collect_entries([], 100, 200, never, "x")
    many = [(number, f"{number}.c", 1) for number in range(65536)]
    with pytest.raises(UnsupportedFileError, match="65535"):
        collect_entries(many, 0, 70000, never, "x")
    assert len(collect_entries(many[:65535], 0, 65535, never, "x").names) == 65535


def test_offsets_end_at_32_bits() -> None:
    entries = collect_entries([(0, "a.c", 1), (1 << 33, "a.c", 2)], 0, 1 << 34, never, "x")
    assert rows_of(entries) == [(0, 0, 1), (0xFFFFFFFF, 1, 1)]
