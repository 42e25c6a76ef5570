from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import pytest
from elf_writer import (
    AARCH64,
    ALLOC,
    EXECINSTR,
    I386,
    NOBITS,
    NOTE,
    POWERPC,
    REL,
    S390,
    X86_64,
    ElfSpec,
    SectionSpec,
    SymbolSpec,
    compile_c,
    note,
    run_tool,
    write_elf,
)
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from annotate.debuginfo.elf import SHF_COMPRESSED, ElfFile, describe_start
from annotate.debuginfo.image import DebugImage
from annotate.errors import AnnotateError, DamagedFileError, UnrecognisedFileError, UnsupportedFileError

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = "static int twice(int a) { return a * 2; } int four(int a) { return twice(twice(a)); } void _start(void) {}\n"
BUILD_ID = bytes(range(20))
SHAPES = [(bits, order, machine) for bits, order, machine in (
    (64, "<", X86_64), (64, "<", AARCH64), (64, ">", S390), (32, "<", I386), (32, ">", POWERPC)
)]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An object and a linked program by gcc, and the program's debug file as distributions split it off."""
    folder = tmp_path_factory.mktemp("elf")
    sources = {"a.c": SOURCE}
    object_file = compile_c(folder, sources, "-g", "-O1", "-c", output="a.o")
    linked = compile_c(folder, sources, "-g", "-O1", "-nostdlib", "-static", "-Wl,--build-id", output="a")
    run_tool("objcopy", "--only-keep-debug", linked, folder / "a.debug")
    return {"object": object_file, "linked": linked, "debug": folder / "a.debug"}


def synthetic(bits: int, byte_order: str, machine: int, kind: int = REL) -> bytes:
    notes = note(b"GNU", 3, BUILD_ID, byte_order=byte_order) + note(b"stapsdt", 3, b"abc", byte_order=byte_order)
    sections = [
        SectionSpec(".text", bytes(range(48)), flags=ALLOC | EXECINSTR, address=0x4000, alignment=16),
        SectionSpec(".bss", b"", NOBITS, flags=ALLOC | 1, size=0x123456, alignment=32),
        SectionSpec(".note.gnu.build-id", notes, NOTE, flags=ALLOC, alignment=4),
        SectionSpec(".data.with.a.rather.long.name", b"x" * 7, flags=ALLOC | 1),
    ]
    return write_elf(
        ElfSpec(sections, [SymbolSpec("start", 8)], bits=bits, byte_order=byte_order, type=kind, machine=machine)
    )


def assert_equal_to_pyelftools(data: bytes) -> int:
    """Hold every value against pyelftools; return the number of sections and notes held."""
    ours = ElfFile(data, "file")
    oracle = ELFFile(io.BytesIO(data))
    assert ours.bits == oracle.elfclass
    assert ours.byte_order == ("<" if oracle.little_endian else ">")
    codes = oracle.structs.Elf_Ehdr.parse(data)
    assert codes["e_type"] == {1: "ET_REL", 2: "ET_EXEC", 3: "ET_DYN"}[ours.type]
    assert oracle.header["e_machine"] == codes["e_machine"]
    assert ours.machine == int.from_bytes(data[18:20], "little" if ours.byte_order == "<" else "big")
    assert len(ours.sections) == oracle.num_sections()
    held = 0
    for section, other in zip(ours.sections, oracle.iter_sections(), strict=True):
        header = other.header
        assert section.name == other.name
        assert (section.flags, section.address, section.offset) == (
            header["sh_flags"],
            header["sh_addr"],
            header["sh_offset"],
        )
        assert (section.size, section.link, section.info, section.alignment) == (
            header["sh_size"],
            header["sh_link"],
            header["sh_info"],
            header["sh_addralign"],
        )
        held += 1
        if section.type == NOBITS:
            assert header["sh_type"] == "SHT_NOBITS"
            continue
        assert ours.read(section) == other.data()
        assert ours.section(section.name) is not None
        if isinstance(other, NoteSection):
            held += _compare_notes(ours.notes(section), list(other.iter_notes()))
    return held


def _compare_notes(ours: list[tuple[bytes, int, bytes]], oracle: list[Any]) -> int:
    assert len(ours) == len(oracle)
    numbers = {"NT_GNU_BUILD_ID": 3, "NT_GNU_PROPERTY_TYPE_0": 5, "NT_STAPSDT": 3}
    for (name, kind, payload), other in zip(ours, oracle, strict=True):
        assert name.decode() == other["n_name"]
        assert kind == numbers.get(other["n_type"], other["n_type"])
        assert payload == other["n_descdata"]
    return len(ours)


@pytest.mark.parametrize("kind", ["object", "linked", "debug"])
def test_every_header_section_and_note_of_a_built_file_is_what_pyelftools_reads(
    built: dict[str, Path], kind: str
) -> None:
    data = built[kind].read_bytes()
    assert assert_equal_to_pyelftools(data) >= 10


def test_the_build_id_of_a_linked_file_and_of_its_debug_file_is_what_readelf_prints(built: dict[str, Path]) -> None:
    for kind in ("linked", "debug"):
        printed = run_tool("readelf", "-n", built[kind])
        build_id = ElfFile(built[kind].read_bytes(), kind).build_id
        assert len(build_id) == 40
        assert f"Build ID: {build_id}" in printed
    assert ElfFile(built["object"].read_bytes(), "object").build_id == ""


@pytest.mark.parametrize(("bits", "byte_order", "machine"), SHAPES)
def test_files_of_either_class_and_byte_order_are_read_as_pyelftools_does(
    bits: int, byte_order: str, machine: int
) -> None:
    data = synthetic(bits, byte_order, machine)
    # Null, the four given, .symtab, .strtab, .shstrtab and two notes.
    assert assert_equal_to_pyelftools(data) == 10
    elf = ElfFile(data, "file")
    assert elf.build_id == BUILD_ID.hex()
    assert [section.name for section in elf.sections if section.is_code] == [".text"]
    assert [section.name for section in elf.sections if section.is_allocated] == [
        ".text",
        ".bss",
        ".note.gnu.build-id",
        ".data.with.a.rather.long.name",
    ]


def test_notes_aligned_to_eight_bytes_are_all_found() -> None:
    # .note.gnu.property of x86-64: the section's alignment says 8, and payloads are padded to it.
    notes = note(b"GNU", 5, b"123456789", alignment=8) + note(b"GNU", 3, BUILD_ID, alignment=8)
    elf = ElfFile(write_elf(ElfSpec([SectionSpec(".note", notes, NOTE, ALLOC, alignment=8)])), "file")
    assert elf.notes(elf.sections[1]) == [(b"GNU", 5, b"123456789"), (b"GNU", 3, BUILD_ID)]
    assert elf.build_id == BUILD_ID.hex()


def test_a_note_that_its_section_cuts_is_left_out_and_those_before_it_stay() -> None:
    notes = note(b"GNU", 3, BUILD_ID) + note(b"GNU", 9, b"0123456789")[:-4]
    elf = ElfFile(write_elf(ElfSpec([SectionSpec(".note", notes, NOTE, ALLOC, alignment=4)])), "file")
    assert elf.notes(elf.sections[1]) == [(b"GNU", 3, BUILD_ID)]


def use_everything(data: bytes, source: str) -> None:
    elf = ElfFile(data, source)
    for section in elf.sections:
        if section.type != NOBITS:
            elf.read(section)
    assert isinstance(elf.build_id, str)
    image = DebugImage(elf)
    for name in (b"four", b"_start", b"start"):
        for symbol in image.find(name):
            image.chain(symbol.address, symbol)


@pytest.mark.parametrize("kind", ["object", "linked", "debug"])
def test_a_built_file_cut_anywhere_raises_only_our_errors_and_they_name_the_file(
    built: dict[str, Path], kind: str
) -> None:
    data = built[kind].read_bytes()
    assert len(data) > 64 * 20
    for length in range(0, len(data), 64):
        # The section headers stand last, so no shorter file can be whole.
        with pytest.raises(AnnotateError) as caught:
            use_everything(data[:length], "the-file.ko")
        assert str(caught.value).startswith("the-file.ko: ")
        assert caught.value.source == "the-file.ko"


@pytest.mark.parametrize(("bits", "byte_order", "machine"), SHAPES)
def test_a_synthetic_file_cut_at_any_byte_raises_only_our_errors(bits: int, byte_order: str, machine: int) -> None:
    data = synthetic(bits, byte_order, machine)
    for length in range(len(data)):
        with pytest.raises(AnnotateError) as caught:
            use_everything(data[:length], "short")
        assert caught.value.source == "short"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"Linux version 6.1.0", "text ('Linux version 6."),
        (b"\x7fELF", "bytes 7f 45 4c 46"),
        (b"\x1f\x8b\x08\x00" + bytes(60), "bytes 1f 8b 08 00"),
    ],
)
def test_what_is_no_elf_file_is_refused_with_what_it_seems_to_be(data: bytes, found: str) -> None:
    with pytest.raises(UnrecognisedFileError) as caught:
        ElfFile(data, "vmlinux")
    assert str(caught.value).startswith("vmlinux: expected an ELF file, found ")
    assert found in str(caught.value)
    assert found.startswith(describe_start(data[:16])[:10])


@pytest.mark.parametrize(("place", "byte"), [(4, 0), (4, 3), (5, 0), (5, 3)])
def test_an_unknown_class_or_byte_order_is_damage(place: int, byte: int) -> None:
    data = bytearray(synthetic(64, "<", X86_64))
    data[place] = byte
    with pytest.raises(DamagedFileError, match="class 1 or 2"):
        ElfFile(bytes(data), "file")


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (58, 63, "section headers of 64 bytes"),  # e_shentsize
        (60, 0xFFF0, "section header table"),  # e_shnum
        (62, 99, "section name table below"),  # e_shstrndx
    ],
)
def test_section_headers_that_contradict_the_file_are_damage(place: int, value: int, expected: str) -> None:
    data = bytearray(synthetic(64, "<", X86_64))
    data[place : place + 2] = value.to_bytes(2, "little")
    with pytest.raises(DamagedFileError, match=expected):
        ElfFile(bytes(data), "file")


def test_counts_that_do_not_fit_the_header_are_taken_from_section_zero() -> None:
    # gABI: e_shnum 0 and e_shstrndx SHN_XINDEX put the numbers into sh_size and sh_link of section 0.
    data = bytearray(synthetic(64, "<", X86_64))
    plain = ElfFile(bytes(data), "file")
    first = int.from_bytes(data[40:48], "little")
    count, names = data[60:62], data[62:64]
    data[60:62], data[62:64] = b"\0\0", b"\xff\xff"
    data[first + 32 : first + 34] = count
    data[first + 40 : first + 42] = names
    extended = ElfFile(bytes(data), "file")
    assert [section.name for section in extended.sections] == [section.name for section in plain.sections]
    data[first + 32 : first + 40] = b"\xff" * 8
    with pytest.raises(DamagedFileError, match="at most 1048576 sections"):
        ElfFile(bytes(data), "file")


def test_a_file_without_section_headers_has_no_sections() -> None:
    data = bytearray(synthetic(64, "<", X86_64))
    data[40:48] = bytes(8)
    elf = ElfFile(bytes(data), "file")
    assert elf.sections == []
    assert elf.section(".text") is None
    assert elf.build_id == ""


def test_reading_outside_a_section_and_reading_nobits_are_damage_with_the_place() -> None:
    elf = ElfFile(synthetic(64, "<", X86_64), "file")
    text, bss = elf.sections[1], elf.sections[2]
    assert elf.read(text, 4, 8) == bytes((4, 5, 6, 7))
    assert elf.read(text, 48, 48) == b""
    for start, end in ((0, 49), (49, 49), (-1, 4), (8, 4)):
        with pytest.raises(DamagedFileError) as caught:
            elf.read(text, start, end)
        assert (caught.value.section, caught.value.offset) == (".text", start)
    with pytest.raises(DamagedFileError, match="NOBITS"):
        elf.read(bss)


def test_a_compressed_section_is_unsupported_and_named() -> None:
    spec = SectionSpec(".debug_info", bytes(40), flags=SHF_COMPRESSED)
    elf = ElfFile(write_elf(ElfSpec([spec])), "file")
    with pytest.raises(UnsupportedFileError, match=r"file: section \.debug_info is compressed"):
        elf.read(elf.sections[1])


def test_of_two_sections_with_one_name_the_first_is_found() -> None:
    elf = ElfFile(write_elf(ElfSpec([SectionSpec(".text", b"first"), SectionSpec(".text", b"second")])), "file")
    section = elf.section(".text")
    assert section is not None
    assert elf.read(section) == b"first"


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("name", [b"a", b"abc", b"vmlinux.debug"])
def test_the_checksum_of_a_debug_link_is_in_the_files_byte_order(byte_order: str, name: bytes) -> None:
    """Behind the name and its NUL, at the next multiple of four (GDB manual, "Separate Debug Files")."""
    data = name + b"\0" * (4 - len(name) % 4) + struct.pack(byte_order + "I", 0x12345678)
    spec = ElfSpec([SectionSpec(".gnu_debuglink", data)], byte_order=byte_order)
    assert ElfFile(write_elf(spec), "file").debug_link() == (name.decode(), 0x12345678)
