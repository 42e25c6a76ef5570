from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from elf_writer import (
    AARCH64,
    ABSOLUTE,
    ALLOC,
    EXECINSTR,
    FILE,
    FUNC,
    GLOBAL,
    LOCAL,
    NOTYPE,
    OBJECT,
    REL,
    SECTION,
    TLS,
    WRITE,
    ElfSpec,
    SectionSpec,
    SymbolSpec,
    run_tool,
    string_table,
    tool,
    write_elf,
)
from hypothesis import given
from hypothesis import strategies as st

from annotate.debuginfo.elf import SHT_SYMTAB, ElfFile
from annotate.debuginfo.module_layout import lay_out
from annotate.model import LinkAddr, Symbol
from annotate.symbols import SymbolTable, read_symtab

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TEXT_START, TEXT_SIZE = 0xFFFFFFFF81000000, 0x40000
TEXT_END = TEXT_START + TEXT_SIZE
TEXT = SectionSpec(".text", bytes(0), flags=ALLOC | EXECINSTR, address=TEXT_START, size=TEXT_SIZE, type=8)
DATA = SectionSpec(".data", bytes(0), flags=ALLOC | WRITE, address=TEXT_END + 0x1000, size=0x1000, type=8)


def table_of(data: bytes) -> SymbolTable:
    """The symbol table of a file, put together as an image does it."""
    elf = ElfFile(data, "file")
    section = next(section for section in elf.sections if section.type == SHT_SYMTAB)
    columns = read_symtab(elf.read(section), elf.read(elf.sections[section.link]), elf.bits, elf.byte_order)
    code = frozenset(section.number for section in elf.sections if section.is_code)
    if elf.type != REL:
        end = max(section.address + section.size for section in elf.sections if section.is_allocated)
        return SymbolTable(columns, code, end=end)
    layout = lay_out(elf.sections)
    return SymbolTable(
        columns,
        code,
        section_bases=layout.bases,
        section_ends={number: base + elf.sections[number].size for number, base in layout.bases.items()},
        region_ends=layout.region_ends,
    )


def linked(symbols: Sequence[SymbolSpec], *, merge_tails: bool = True, data: SectionSpec | None = None) -> SymbolTable:
    sections = [TEXT] if data is None else [TEXT, data]
    return table_of(write_elf(ElfSpec(sections, symbols, merge_tails=merge_tails)))


def function(name: str, offset: int, size: int = 0, kind: int = FUNC, binding: int = GLOBAL) -> SymbolSpec:
    return SymbolSpec(name, TEXT_START + offset, ".text", kind, size, binding)


def only(found: Sequence[Symbol]) -> Symbol:
    (symbol,) = found
    return symbol


# --- sizes -------------------------------------------------------------------------------------------------------


def test_a_size_is_the_distance_to_the_next_symbol_and_the_last_one_ends_with_the_image() -> None:
    table = linked([function("last", 0x300, 8), function("first", 0, 0x10), function("second", 0x100, 0x20)])
    sizes = {name: only(table.find(name.encode())) for name in ("first", "second", "last")}
    assert {name: (symbol.size, symbol.st_size) for name, symbol in sizes.items()} == {
        "first": (0x100, 0x10),
        "second": (0x200, 0x20),
        "last": (TEXT_SIZE - 0x300, 8),
    }
    assert all(symbol.sizes == (symbol.size,) for symbol in sizes.values())
    assert sizes["first"].end == sizes["second"].address


def test_symbols_at_one_address_have_one_size() -> None:
    table = linked([function("memcpy", 0, 8), function("__memcpy", 0, 8), function("next", 0x40)])
    assert only(table.find(b"memcpy")).size == only(table.find(b"__memcpy")).size == 0x40


def test_labels_of_assembly_and_data_end_the_symbol_before_them() -> None:
    table = linked([function("a", 0), function("label", 0x10, kind=NOTYPE), function("object", 0x20, kind=OBJECT)])
    assert only(table.find(b"a")).size == 0x10
    assert only(table.find(b"label")).size == 0x10


@pytest.mark.parametrize(
    "hidden",
    [
        SymbolSpec("$x", TEXT_START + 8, kind) for kind in (NOTYPE, FUNC)
    ]
    + [
        SymbolSpec(name, TEXT_START + 8, type=NOTYPE, binding=LOCAL)
        for name in (
            "$d.12",
            ".L123",
            "L0\x01",
            "__crc_f",
            "__kcfi_typeid_f",
            "__efistub_f",
            "__kvm_nvhe_$d",
            "__kvm_nvhe_.Lx",
        )
    ]
    + [
        SymbolSpec("", TEXT_START + 8, type=SECTION, binding=LOCAL),
        SymbolSpec("", TEXT_START + 8, type=NOTYPE, binding=LOCAL),
        SymbolSpec("undefined", TEXT_START + 8, 0),
        SymbolSpec("file.c", TEXT_START + 8, ABSOLUTE, FILE, binding=LOCAL),
    ],
    ids=lambda spec: f"{spec.name!r}-{spec.type}",
)  # fmt: skip
def test_what_kallsyms_does_not_know_ends_no_symbol(hidden: SymbolSpec) -> None:
    table = linked([hidden, function("a", 0), function("b", 0x20)])
    assert only(table.find(b"a")).size == 0x20
    inside = table.containing(LinkAddr(TEXT_START + 0x10))
    assert inside is not None
    assert inside.name == b"a"


def test_a_mapping_symbol_whose_name_is_the_merged_tail_of_another_ends_no_symbol() -> None:
    symbols = [
        SymbolSpec("__kvm_nvhe_$x", TEXT_START + 8, type=NOTYPE),
        SymbolSpec("$x", TEXT_START + 0x10, type=NOTYPE),
    ]
    strings, places = string_table([symbol.name for symbol in symbols], merge_tails=True)
    assert strings[places["$x"] - 1] != 0, "the test's own table must merge"
    assert only(linked([*symbols, function("a", 0), function("b", 0x20)]).find(b"a")).size == 0x20


def test_a_name_that_only_contains_a_hidden_prefix_is_a_symbol() -> None:
    table = linked([function("a", 0), function("b.L", 0x10), function("x$y", 0x20), function("__crc", 0x30)])
    assert [only(table.find(name)).size for name in (b"a", b"b.L", b"x$y")] == [0x10, 0x10, 0x10]


# --- names -------------------------------------------------------------------------------------------------------


def test_a_name_inside_another_is_found_and_the_other_is_not_taken_for_it() -> None:
    names = ["vfs_write", "write", "ite", "sys_write", "vfs_write.cold"]
    symbols = [function(name, 0x10 * i) for i, name in enumerate(names)]
    strings, places = string_table(names, merge_tails=True)
    assert places["write"] in (places["vfs_write"] + 4, places["sys_write"] + 4), "the test's own table must merge"
    assert strings.count(b"write\0") == 2
    for merge_tails in (False, True):
        table = linked(symbols, merge_tails=merge_tails)
        for i, name in enumerate(names):
            symbol = only(table.find(name.encode()))
            assert (symbol.name, symbol.address) == (name.encode(), TEXT_START + 0x10 * i)
        for absent in (b"rite", b"vfs_writ", b"_write", b"e", b"", b"cold"):
            assert table.find(absent) == ()


def test_every_symbol_of_a_name_is_found_by_address() -> None:
    table = linked([function("dup", 0x40), function("x", 0x20), function("dup", 0x10), function("dup", 0x30)])
    assert [symbol.address - TEXT_START for symbol in table.find(b"dup")] == [0x10, 0x30, 0x40]
    assert [symbol.size for symbol in table.find(b"dup")] == [0x10, 0x10, TEXT_SIZE - 0x40]


def test_undefined_symbols_sections_and_file_names_are_not_found() -> None:
    table = linked(
        [
            SymbolSpec("undefined", 0, 0),
            SymbolSpec("main.c", 0, ABSOLUTE, FILE, binding=LOCAL),
            SymbolSpec(".text", TEXT_START, type=SECTION, binding=LOCAL),
            function("f", 0),
        ]
    )
    assert [table.find(name) for name in (b"undefined", b"main.c", b".text")] == [(), (), ()]
    assert only(table.find(b"f")).is_code


def test_data_is_not_code_wherever_it_lies() -> None:
    table = linked(
        [
            function("f", 0),
            function("jump_table", 0x10, kind=OBJECT),
            function("label", 0x20, kind=NOTYPE),
            function("per_thread", 0x30, kind=TLS),
            SymbolSpec("variable", DATA.address, ".data", OBJECT, 8),
            SymbolSpec("function_in_data", DATA.address + 8, ".data", FUNC),
            SymbolSpec("constant", 0x1234, ABSOLUTE, NOTYPE),
        ],
        data=DATA,
    )
    is_code = {name: only(table.find(name)).is_code for name in (
        b"f", b"jump_table", b"label", b"per_thread", b"variable", b"function_in_data", b"constant")}  # fmt: skip
    assert is_code == {
        b"f": True, b"jump_table": False, b"label": True, b"per_thread": False, b"variable": False,
        b"function_in_data": False, b"constant": False,
    }  # fmt: skip


MANY = [f"{prefix}{i}" for i in range(120) for prefix in ("f", "xf")]


def many(merge_tails: bool) -> SymbolTable:  # noqa: FBT001
    symbols = [function(name, 0x10 * i) for i, name in enumerate(MANY)] + [
        function("f7", 0x8000),
        function("f7", 0x8008),
    ]
    return linked(symbols, merge_tails=merge_tails)


def test_names_prepared_together_are_what_they_are_one_by_one() -> None:
    asked = [name.encode() for name in [*MANY, "absent", "7", ""]]
    one_by_one = many(merge_tails=True)
    single = {name: one_by_one.find(name) for name in asked[:100]}
    for sizes in ((len(asked),), (3, 5, 90, 200), (149, 1, 1, 500), (150, 2), (151,)):
        table = many(merge_tails=True)
        rest = list(asked)
        for size in sizes:
            table.prepare(rest[:size])
            rest = rest[size:]
        assert {name: table.find(name) for name in asked[:100]} == single
    assert len(single[b"f7"]) == 3


def test_more_names_than_the_index_waits_for_give_the_same_answers() -> None:
    one_by_one, unmerged = many(merge_tails=True), many(merge_tails=False)
    for i, name in enumerate(MANY):
        found = one_by_one.find(name.encode())
        assert found[0].address == TEXT_START + 0x10 * i
        assert found == unmerged.find(name.encode()) == many(merge_tails=True).find(name.encode())
    assert one_by_one.find(b"absent") == ()


# --- addresses ---------------------------------------------------------------------------------------------------


def test_every_address_is_in_the_symbol_at_or_before_it() -> None:
    starts = [0x10, 0x20, 0x21, 0xFFFF, 0x10000, 0x10001, 0x2FFFF, 0x3FFFF]
    table = linked([function(f"s{start:x}", start) for start in starts])
    assert table.containing(LinkAddr(TEXT_START)) is None
    assert table.containing(LinkAddr(TEXT_START + 0xF)) is None
    for start, end in zip(starts, [*starts[1:], TEXT_SIZE], strict=True):
        for address in {start, (start + end) // 2, end - 1}:
            symbol = table.containing(LinkAddr(TEXT_START + address))
            assert symbol is not None
            assert (symbol.name, symbol.size) == (f"s{start:x}".encode(), end - start)
    assert table.containing(LinkAddr(TEXT_END)) is None
    assert table.containing(LinkAddr(0)) is None


def test_of_several_symbols_at_an_address_a_function_with_a_size_comes_first_then_table_order() -> None:
    symbols = [
        function("label", 0, kind=NOTYPE),
        function("data", 0, 8, kind=OBJECT),
        function("first", 0, 8),
        function("second", 0, 8),
    ]
    for rotation in range(len(symbols)):
        turned = symbols[rotation:] + symbols[:rotation]
        found = linked(turned).containing(LinkAddr(TEXT_START + 4))
        assert found is not None
        assert found.name == next(symbol.name.encode() for symbol in turned if symbol.name in ("first", "second"))


@given(
    st.lists(
        st.tuples(st.integers(0, TEXT_SIZE - 1), st.sampled_from(["f", "g", "$x", ".L1", "", "h"]), st.integers(0, 3)),
        max_size=20,
    ),
    st.lists(st.integers(0, TEXT_SIZE - 1), min_size=1, max_size=10),
)
def test_random_tables_give_the_gap_that_a_plain_scan_gives(rows: list[tuple[int, str, int]], asked: list[int]) -> None:
    table = linked([function(name, offset, kind=kind) for offset, name, kind in rows])
    known = sorted(
        TEXT_START + offset
        for offset, name, kind in rows
        if name and not name.startswith(("$", ".L")) and kind != SECTION
    )
    for offset in asked:
        address = TEXT_START + offset
        start = max((value for value in known if value <= address), default=None)
        found = table.containing(LinkAddr(address))
        if start is None:
            assert found is None
        else:
            assert found is not None
            assert (found.address, found.end) == (start, min((v for v in known if v > address), default=TEXT_END))
            assert found in table.find(found.name)


# --- modules -----------------------------------------------------------------------------------------------------


def module(symbols: Sequence[SymbolSpec], sections: Sequence[SectionSpec] | None = None) -> SymbolTable:
    if sections is None:
        sections = [
            SectionSpec(".text", bytes(0x51), flags=ALLOC | EXECINSTR, alignment=16),
            SectionSpec(".text.unlikely", bytes(0x22), flags=ALLOC | EXECINSTR),
            SectionSpec(".init.text", bytes(0x51), flags=ALLOC | EXECINSTR, alignment=16),
            SectionSpec(".exit.text", bytes(0x10), flags=ALLOC | EXECINSTR, alignment=16),
            SectionSpec(".data", bytes(0x40), flags=ALLOC | WRITE, alignment=8),
        ]
    return table_of(write_elf(ElfSpec(sections, symbols, type=REL)))


def test_in_a_module_the_gap_crosses_sections_as_they_lie_in_memory() -> None:
    table = module(
        [
            SymbolSpec("a", 0),
            SymbolSpec("b", 0x40),
            SymbolSpec("a.cold", 0, ".text.unlikely"),
            SymbolSpec("out", 0, ".exit.text"),
        ]
    )
    a, b, cold, out = (only(table.find(name)) for name in (b"a", b"b", b"a.cold", b"out"))
    assert (a.size, a.sizes, a.ends_section) == (0x40, (0x40,), False)
    assert (b.size, b.sizes, b.ends_section) == (0x11, (0x11,), True)
    # .text ends at 0x51, .text.unlikely at 0x73, .exit.text is aligned to 0x80.
    assert (cold.size, cold.sizes, cold.ends_section) == (0x80 - 0x51, (0x80 - 0x51,), True)
    assert out.size == 0x10
    assert out.address == a.address + 0x80


def test_the_last_symbol_of_a_region_may_be_printed_up_to_the_end_of_any_page_size() -> None:
    # oopser_init+0x4a/0x1000: 0x51 bytes long, alone in .init.text.
    table = module([SymbolSpec("oopser_init", 0, ".init.text", size=0x51), SymbolSpec("late", 0x8, ".exit.text")])
    init, late = only(table.find(b"oopser_init")), only(table.find(b"late"))
    assert (init.size, init.st_size) == (0x51, 0x51)
    assert init.sizes == (0x51, 0x1000, 0x4000, 0x10000)
    assert init.ends_section
    assert late.sizes == (0x8, 0x1000 - 0x88, 0x4000 - 0x88, 0x10000 - 0x88)


def test_a_region_larger_than_a_page_is_rounded_up_to_its_own_end() -> None:
    table = module(
        [SymbolSpec("f", 0x1234)], [SectionSpec(".text", bytes(0x5678), flags=ALLOC | EXECINSTR, alignment=16)]
    )
    f = only(table.find(b"f"))
    assert f.sizes == (0x5678 - 0x1234, 0x6000 - 0x1234, 0x8000 - 0x1234, 0x10000 - 0x1234)


def test_symbols_of_a_region_are_not_ended_by_those_of_another() -> None:
    table = module(
        [SymbolSpec("core", 0), SymbolSpec("init", 0, ".init.text"), SymbolSpec("variable", 8, ".data", OBJECT)]
    )
    core, init = only(table.find(b"core")), only(table.find(b"init"))
    assert core.size == 0x90
    assert init.size == 0x51
    assert not only(table.find(b"variable")).is_code


def test_absolute_and_undefined_symbols_of_a_module_have_no_place() -> None:
    table = module([SymbolSpec("here", 0), SymbolSpec("__crc_here", 0x77, ABSOLUTE), SymbolSpec("printk", 0, 0)])
    assert table.find(b"__crc_here") == table.find(b"printk") == ()
    assert only(table.find(b"here")).size == 0x90


def test_an_address_of_a_module_is_in_the_symbol_that_memory_puts_there() -> None:
    table = module([SymbolSpec("a", 0), SymbolSpec("a.cold", 4, ".text.unlikely"), SymbolSpec("init", 0, ".init.text")])
    a = only(table.find(b"a"))
    for offset, name in ((0, b"a"), (0x54, b"a"), (0x55, b"a.cold"), (0x8F, b"a.cold")):
        found = table.containing(LinkAddr(a.address + offset))
        assert found is not None
        assert found.name == name
    assert table.containing(LinkAddr(a.address + 0x90)) is None


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [2, REL])
def test_all_classes_and_byte_orders_give_the_same_symbols(kind: int) -> None:
    text = SectionSpec(
        ".text", bytes(0x400), flags=ALLOC | EXECINSTR, address=0 if kind == REL else 0xC0000000, alignment=16
    )
    base = text.address
    symbols = [
        SymbolSpec("a", base + 0x10, size=4),
        SymbolSpec("$x", base + 0x14, type=NOTYPE),
        SymbolSpec("b", base + 0x20, size=7, binding=LOCAL),
        SymbolSpec("table", base + 0x30, type=OBJECT, size=9),
        SymbolSpec("a", base + 0x40, size=5),
        SymbolSpec("undefined", 0, 0),
    ]
    found = []
    for bits, byte_order in ((64, "<"), (64, ">"), (32, "<"), (32, ">")):
        table = table_of(write_elf(ElfSpec([text], symbols, bits=bits, byte_order=byte_order, type=kind)))
        found.append([table.find(name) for name in (b"a", b"b", b"table", b"undefined", b"$x")])
        found[-1].append(
            tuple(filter(None, (table.containing(LinkAddr(0x100018)), table.containing(LinkAddr(base + 0x24)))))
        )
    assert found[0] == found[1] == found[2] == found[3]
    assert [len(group) for group in found[0]] == [2, 1, 1, 0, 1, 1]
    assert found[0][1][0].st_size == 7


def test_a_cut_symbol_table_loses_its_last_entry_only() -> None:
    for bits, size in ((64, 24), (32, 16)):
        for byte_order in "<>":
            data = bytes(2 * size)
            assert len(read_symtab(data, b"\0", bits, byte_order).names) == 2
            assert len(read_symtab(data[:-1], b"\0", bits, byte_order).values) == 1
            assert list(read_symtab(b"", b"", bits, byte_order).names) == []


def test_an_empty_table_has_no_symbols() -> None:
    table = SymbolTable(read_symtab(b"", b"", 64, "<"), frozenset())
    assert table.find(b"f") == ()
    assert table.containing(LinkAddr(0)) is None


def test_a_program_that_ld_linked_has_the_sizes_that_nm_sorted_by_address_gives(tmp_path: Path) -> None:
    # GNU ld merges tails: "write" and "$x" begin inside other names.
    names = ["vfs_write", "write", "a", "vfs_write.part.0", "__kvm_nvhe_$x", "$x", "b", ".Lkept", "last"]
    source = ".text\n" + "".join(
        f'.type "{name}",@function\n"{name}": .skip {16 + i}\n' for i, name in enumerate(names)
    )
    tool("ld")
    run_tool("as", "--keep-locals", "-o", tmp_path / "a.o", "-", text=source)
    run_tool("ld", "-e", "a", "-o", tmp_path / "a", tmp_path / "a.o")
    data = (tmp_path / "a").read_bytes()
    table = table_of(data)
    printed = [line.split() for line in run_tool("nm", "-n", tmp_path / "a").splitlines()]
    listed = [(int(fields[0], 16), fields[2]) for fields in printed if fields[1] in "tT"]
    known = [
        (address, name)
        for address, name in listed
        if name in ("vfs_write", "write", "a", "vfs_write.part.0", "b", "last")
    ]
    assert len(known) == 6
    assert set(names) <= {name for _, name in listed}
    assert data.count(b"write\0") == 1, "ld must have merged"
    for (address, name), (following, _) in pairwise(known):
        symbol = only(table.find(name.encode()))
        assert (symbol.address, symbol.size) == (address, following - address)


def test_the_machine_decides_nothing() -> None:
    data = write_elf(ElfSpec([TEXT], [function("f", 0), function("$x", 4, kind=NOTYPE)], machine=AARCH64))
    assert only(table_of(data).find(b"f")).size == TEXT_SIZE
