from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from elf_writer import (
    AARCH64,
    ABSOLUTE,
    ALLOC,
    EXEC,
    EXECINSTR,
    LOCAL,
    REL,
    SHT_REL,
    X86_64,
    ElfSpec,
    RelocationSpec,
    SectionSpec,
    SymbolSpec,
    compile_c,
    write_elf,
)
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationHandler
from elftools.elf.sections import SymbolTableSection
from hypothesis import given
from hypothesis import strategies as st

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.module_layout import lay_out
from annotate.debuginfo.relocate import DebugSection, symbol_values
from annotate.errors import DamagedFileError, UnsupportedFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

R_X86_64_NONE, R_X86_64_64, R_X86_64_PC32, R_X86_64_32, R_X86_64_32S = 0, 1, 2, 10, 11
R_AARCH64_ABS64, R_AARCH64_ABS32 = 257, 258
SYMBOLS = [
    SymbolSpec("start", 0x10, ".text"),
    SymbolSpec("elsewhere", 0x20, ".init.text"),
    SymbolSpec("absolute", 0xABCD, ABSOLUTE),
    SymbolSpec("undefined", 0, 0),
]
BASES = {1: 0x100000, 2: 0x200000}
TARGET = b"\x11" * 64


def debug_section(
    relocations: Sequence[RelocationSpec],
    *,
    content: bytes = TARGET,
    machine: int = X86_64,
    kind: int = REL,
    table: int = 4,
    byte_order: str = "<",
    values: Sequence[int] | None = None,
) -> DebugSection:
    sections = [
        SectionSpec(".text", bytes(64), flags=ALLOC | EXECINSTR),
        SectionSpec(".init.text", bytes(64), flags=ALLOC | EXECINSTR),
        SectionSpec(".debug_info", content),
        SectionSpec(".debug_str", b"behind"),
    ]
    data = write_elf(
        ElfSpec(
            sections,
            SYMBOLS,
            {".debug_info": relocations},
            type=kind,
            machine=machine,
            relocation_type=table,
            byte_order=byte_order,
        )
    )
    elf = ElfFile(data, "file.ko")
    section = elf.section(".debug_info")
    assert section is not None
    return DebugSection(elf, section, symbol_values(elf, BASES) if values is None else values)


def test_symbols_take_their_sections_base_and_absolute_ones_none() -> None:
    data = write_elf(
        ElfSpec(
            [SectionSpec(".text", bytes(64), flags=ALLOC), SectionSpec(".init.text", bytes(64), flags=ALLOC)],
            SYMBOLS,
            type=REL,
        )
    )
    assert symbol_values(ElfFile(data, "file"), BASES) == [0, 0x100010, 0x200020, 0xABCD, 0]


def test_symbols_of_a_32_bit_big_endian_file_are_the_same() -> None:
    data = write_elf(
        ElfSpec(
            [SectionSpec(".text", bytes(64), flags=ALLOC), SectionSpec(".init.text", bytes(64), flags=ALLOC)],
            SYMBOLS,
            type=REL,
            bits=32,
            byte_order=">",
        )
    )
    assert symbol_values(ElfFile(data, "file"), BASES) == [0, 0x100010, 0x200020, 0xABCD, 0]


def test_a_file_without_symbols_has_no_values() -> None:
    assert symbol_values(ElfFile(write_elf(ElfSpec()), "file"), {}) == []


@pytest.mark.parametrize(
    ("machine", "kinds"),
    [(X86_64, (R_X86_64_64, R_X86_64_32, R_X86_64_32S)), (AARCH64, (R_AARCH64_ABS64, R_AARCH64_ABS32))],
)
def test_rela_writes_symbol_plus_addend_over_what_stood_there(machine: int, kinds: tuple[int, ...]) -> None:
    relocations = [RelocationSpec(16 * i, kind, 2, 5 + i) for i, kind in enumerate(kinds)]
    data = debug_section(relocations, machine=machine).read(0, 64)
    expected = bytearray(TARGET)
    expected[:8] = struct.pack("<Q", 0x200020 + 5)
    for i in range(1, len(kinds)):
        expected[16 * i : 16 * i + 4] = struct.pack("<I", 0x200020 + 5 + i)
    assert data == bytes(expected)


def test_rel_adds_the_symbol_to_what_stood_there() -> None:
    content = struct.pack("<QII", 7, 9, 11) + bytes(16)
    section = debug_section(
        [RelocationSpec(0, R_X86_64_64, 1), RelocationSpec(8, R_X86_64_32, 2)], content=content, table=SHT_REL
    )
    assert section.read(0, 32) == struct.pack("<QII", 0x100010 + 7, 0x200020 + 9, 11) + bytes(16)


def test_the_byte_order_of_the_file_is_the_values_too() -> None:
    section = debug_section([RelocationSpec(0, R_X86_64_64, 1, 1)], byte_order=">")
    assert section.read(0, 8) == struct.pack(">Q", 0x100011)


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_mips64_has_the_symbol_in_four_bytes_and_the_type_in_the_last(byte_order: str) -> None:
    """r_sym, r_ssym, r_type3, r_type2, r_type: fields of their own in files of either byte order (MIPS64 ELF)."""
    mips, r_mips_64, symbol = 8, 18, 2
    (info,) = struct.unpack(byte_order + "Q", struct.pack(byte_order + "I", symbol) + bytes((0, 0, 0, r_mips_64)))
    relocation = RelocationSpec(8, info & 0xFFFFFFFF, info >> 32, 5)
    section = debug_section([relocation], machine=mips, byte_order=byte_order)
    assert section.read(0, 24) == TARGET[:8] + struct.pack(byte_order + "Q", 0x200025) + TARGET[16:24]


def test_values_wrap_at_the_width_of_their_field() -> None:
    section = debug_section(
        [RelocationSpec(0, R_X86_64_64, 4, -1), RelocationSpec(8, R_X86_64_32, 4, -2)],
    )
    assert section.read(0, 12) == b"\xff" * 8 + struct.pack("<I", 0xFFFFFFFE)


def test_none_relocations_change_nothing() -> None:
    assert debug_section([RelocationSpec(3, R_X86_64_NONE, 0)]).read(0, 64) == TARGET


def test_an_unsorted_table_loses_no_relocation() -> None:
    offsets = [40, 0, 56, 8, 24]
    section = debug_section([RelocationSpec(offset, R_X86_64_64, 1, offset) for offset in offsets])
    data = section.read(0, 64)
    for offset in offsets:
        assert struct.unpack_from("<Q", data, offset) == (0x100010 + offset,)
        assert section.read(offset, offset + 8) == data[offset : offset + 8]
    assert data[16:24] == TARGET[16:24]


def test_a_table_that_is_unsorted_only_at_a_seam_of_the_sortedness_check_loses_no_relocation() -> None:
    # The check goes in stretches of 65 536: here each stretch is sorted, the two together are not.
    count = 1 << 16
    relocations = [RelocationSpec(4 * (i + 1), R_X86_64_32, 1) for i in range(count)] + [
        RelocationSpec(0, R_X86_64_32, 2)
    ]
    section = debug_section(relocations, content=bytes(4 * (count + 1)))
    assert section.read(0, 8) == struct.pack("<II", 0x200020, 0x100010)
    assert section.read(4 * count, 4 * count + 4) == struct.pack("<I", 0x100010)


def test_relocations_of_a_linked_file_are_not_applied_again() -> None:
    assert debug_section([RelocationSpec(0, R_X86_64_64, 1)], kind=EXEC).read(0, 64) == TARGET


def test_a_relocation_type_that_is_not_known_is_named_and_only_where_it_stands() -> None:
    section = debug_section([RelocationSpec(0, R_X86_64_64, 1), RelocationSpec(32, R_X86_64_PC32, 1)])
    assert section.read(0, 32)[:8] == struct.pack("<Q", 0x100010)
    with pytest.raises(UnsupportedFileError, match=r"file\.ko: relocation type 2 of machine 62 in \.debug_info"):
        section.read(0, 64)


def test_relocations_of_a_machine_that_is_not_known_are_refused_not_ignored() -> None:
    with pytest.raises(UnsupportedFileError, match=r"machine 4660 in \.debug_info"):
        debug_section([RelocationSpec(0, 1, 1)], machine=0x1234)


def test_a_symbol_index_behind_the_table_is_damage() -> None:
    with pytest.raises(DamagedFileError, match=r"\.debug_info\+0x8: expected a symbol index"):
        debug_section([RelocationSpec(8, R_X86_64_64, 99)]).read(0, 64)


def test_a_field_that_crosses_the_sections_end_is_damage() -> None:
    with pytest.raises(DamagedFileError, match=r"\.debug_info\+0x3c: expected a field of 8 bytes"):
        debug_section([RelocationSpec(60, R_X86_64_64, 1)]).read(0, 64)


def test_strings_end_at_their_nul_and_inside_their_section() -> None:
    data = write_elf(
        ElfSpec([SectionSpec(".debug_str", b"one\0two\0open"), SectionSpec(".other", b"ended\0")], type=REL)
    )
    elf = ElfFile(data, "file")
    section = DebugSection(elf, elf.sections[1], [])
    assert section.string(0) == b"one"
    assert section.string(4) == b"two"
    assert section.string(5) == b"wo"
    assert section.string(7) == b""
    with pytest.raises(DamagedFileError, match="closing NUL"):
        section.string(8)
    for offset in (12, 1 << 40, -1):
        with pytest.raises(DamagedFileError, match="expected a string"):
            section.string(offset)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(1, 3), st.integers(-9, 9)), max_size=20),
    st.integers(0, 256),
    st.integers(0, 256),
)
def test_a_part_is_the_same_bytes_as_in_the_whole_unless_its_border_cuts_a_field(
    rows: list[tuple[int, bool, int, int]], first: int, second: int
) -> None:
    start, end = sorted((first, second))
    fields = {slot * 8: (R_X86_64_64 if is_wide else R_X86_64_32, symbol, addend)
              for slot, is_wide, symbol, addend in rows}  # fmt: skip
    section = debug_section(
        [RelocationSpec(offset, kind, symbol, addend) for offset, (kind, symbol, addend) in fields.items()],
        content=b"\x11" * 256,
    )
    whole = section.read(0, 256)
    addresses = {1: 0x100010, 2: 0x200020, 3: 0xABCD}
    for offset, (kind, symbol, addend) in fields.items():
        width = 8 if kind == R_X86_64_64 else 4
        assert int.from_bytes(whole[offset : offset + width], "little") == addresses[symbol] + addend
    cut = {
        place
        for offset, (kind, _, _) in fields.items()
        for place in range(offset, offset + (8 if kind == R_X86_64_64 else 4))
        if offset < start or offset + (8 if kind == R_X86_64_64 else 4) > end
    }
    part = section.read(start, end)
    assert len(part) == end - start
    for place in range(start, end):
        assert part[place - start] == (0x11 if place in cut else whole[place])


@pytest.mark.parametrize("options", [("-gdwarf-5",), ("-gdwarf-4",), ("-gdwarf-5", "-ffunction-sections")])
def test_debug_sections_of_a_gcc_object_are_relocated_as_pyelftools_does(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    source = "".join(
        f"static int g{i}(int a) {{ return a * {i}; }} int f{i}(int a) {{ return g{i}(a); }}\n" for i in range(9)
    )
    data = compile_c(tmp_path, {"a.c": source}, "-O1", "-c", *options, output="a.o").read_bytes()
    elf, oracle = ElfFile(data, "a.o"), ELFFile(io.BytesIO(data))
    # pyelftools knows no bases: every section starts at 0.
    values = symbol_values(elf, {})
    table = oracle.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    symbols = [symbol["st_value"] for symbol in table.iter_symbols()]
    assert values == symbols
    relocated = 0
    for section in elf.sections:
        if not section.name.startswith(".debug_"):
            continue
        stream = io.BytesIO(oracle.get_section(section.number).data())
        handler = RelocationHandler(oracle)
        relocations = handler.find_relocations_for_section(oracle.get_section(section.number))
        if relocations is not None:
            relocated += relocations.num_relocations()
            handler.apply_section_relocations(stream, relocations)
        assert DebugSection(elf, section, values).read(0, section.size) == stream.getvalue()
    assert relocated > 40


def test_with_a_module_layout_every_relocated_address_lies_in_a_section_of_its_own(tmp_path: Path) -> None:
    source = "".join(f"int f{i}(int a) {{ return a * {i}; }}\n" for i in range(9))
    data = compile_c(tmp_path, {"a.c": source}, "-O1", "-c", "-g", "-ffunction-sections", output="a.o").read_bytes()
    elf = ElfFile(data, "a.o")
    layout = lay_out(elf.sections)
    section = elf.section(".debug_aranges")
    assert section is not None
    ranges = struct.unpack_from("<18Q", DebugSection(elf, section, symbol_values(elf, layout.bases)).read(16, 160))
    code = {layout.bases[section.number] for section in elf.sections if section.name.startswith(".text.f")}
    assert len(code) == 9
    assert code <= set(ranges[0::2])


def test_local_symbols_count_like_all_others() -> None:
    data = write_elf(
        ElfSpec(
            [SectionSpec(".text", bytes(64), flags=ALLOC)],
            [SymbolSpec("a", 4, binding=LOCAL), SymbolSpec("b", 8)],
            type=REL,
        )
    )
    assert symbol_values(ElfFile(data, "file"), {1: 0x1000}) == [0, 0x1004, 0x1008]
