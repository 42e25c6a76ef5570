"""``lineinfo embed``: modules with a table added, held against readelf, objcopy, modinfo and the bytes of before."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from elf_writer import (
    ALLOC,
    EXECINSTR,
    GLOBAL,
    LOCAL,
    NOTYPE,
    REL,
    RELA,
    SECTION,
    SHT_REL,
    ElfSpec,
    RelocationSpec,
    SectionSpec,
    SymbolSpec,
    compile_c,
    run_tool,
    tool,
    write_elf,
)
from elftools.elf.elffile import ELFFile

from annotate.cli import emit
from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.embed import SIGNATURE_MARK, NewSection, embed_sections, signature_size
from annotate.debuginfo.embedded import EmbeddedImage
from annotate.debuginfo.image import DebugImage
from annotate.errors import AnnotateError, NoDebugInfoError, UnrecognisedFileError, UnsupportedFileError
from annotate.kernel.images import open_elf

SOURCE = """
static const char license[] __attribute__((section(".modinfo"), used)) = "license=GPL";
int value;
int work(int x)
{
\twhile (x < 1000)
\t\tx *= value;
\treturn x;
}
__attribute__((section(".text.unlikely"))) int rare(int x)
{
\treturn x - 1;
}
__attribute__((section(".init.text"))) int begin(int x)
{
\treturn work(x + 3);
}
__attribute__((section(".exit.text"))) int finish(int x)
{
\treturn work(x * 3);
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("module")
    options = ("-g", "-O2", "-ffreestanding", "-fno-pic", "-c")
    return compile_c(folder, {"drivers/work.c": SOURCE}, *options, output="work.ko")


def section_named(elf: ELFFile, name: str) -> Any:
    section = elf.get_section_by_name(name)
    assert section is not None, name
    return section


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    emit.add_commands(parser.add_subparsers(dest="command", required=True))
    return emit.run(parser.parse_args(list(map(str, arguments))))


def text_rows(image: DebugImage | EmbeddedImage, names: tuple[str, ...]) -> list[tuple[str, int, str, int]]:
    places = ((image.section_of(address), file, line) for address, file, line in image.rows())
    return sorted((*place, file, line) for place, file, line in places if place and place[0] in names and file)


def check_module(before: Path, after: Path, layout: str) -> None:
    """Look-ups agree with DWARF, and the tools of the kernel's build take the file."""
    embedded, dwarf = EmbeddedImage(open_elf(str(after))), DebugImage(open_elf(str(before)))
    assert embedded.layout == layout
    names = (".text", ".exit.text", ".init.text") if layout == "v5" else (".text",)
    assert text_rows(embedded, names) == text_rows(dwarf, names)
    assert {place[0] for place in text_rows(embedded, names)} == set(names)
    assert "Warning" not in run_tool("readelf", "-aW", after)
    run_tool("objcopy", after, after.with_suffix(".copy"))
    assert text_rows(EmbeddedImage(open_elf(str(after.with_suffix(".copy")))), names) == text_rows(dwarf, names)
    run_tool("ld", "-r", "-o", after.with_suffix(".linked"), after)
    if shutil.which("modinfo"):
        assert run_tool("modinfo", "-F", "license", after) == "GPL\n"


@pytest.mark.parametrize("layout", ["v2", "v3", "v5"])
def test_a_module_with_its_table(module: Path, tmp_path: Path, layout: str) -> None:
    output = tmp_path / "out.ko"
    assert run("embed", module, "-o", output, "--layout", layout) == 0
    check_module(module, output, layout)
    assert output.stat().st_mode == module.stat().st_mode
    stripped = tmp_path / "stripped.ko"
    run_tool("strip", "-g", "-o", stripped, output)
    assert EmbeddedImage(open_elf(str(stripped))).layout == layout


def test_v5_is_what_is_embedded_by_default_and_in_place(module: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.ko"
    shutil.copy(module, copy)
    run("embed", copy, "-o", copy)
    check_module(module, copy, "v5")
    listed = run_tool("readelf", "-SW", copy)
    assert ".rela.init.mod_lineinfo" in listed
    relocations = run_tool("readelf", "-rW", copy)
    assert "R_X86_64_64            0000000000000000 .init.text + 0" in relocations
    with pytest.raises(UnsupportedFileError, match=r"without \.mod_lineinfo, found one with it"):
        run("embed", copy, "-o", tmp_path / "twice.ko")


def test_no_byte_moves_but_those_that_say_where_the_headers_are(module: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.ko"
    run("embed", module, "-o", output)
    before, after = module.read_bytes(), output.read_bytes()
    differing = [place for place in range(len(before)) if before[place] != after[place]]
    assert set(differing) <= {*range(40, 48), 60, 61}  # e_shoff, e_shnum
    old, new = ELFFile(BytesIO(before)), ELFFile(BytesIO(after))
    assert new.num_sections() == old.num_sections() + 4
    for index in range(old.num_sections()):
        first, second = old.get_section(index), new.get_section(index)
        assert first.name == second.name
        if first.name != ".shstrtab":
            assert dict(first.header) == dict(second.header)
            assert first.data() == second.data()


def test_a_stripped_module_gets_the_table_of_its_debug_file(module: Path, tmp_path: Path) -> None:
    shutil.copy(module, tmp_path / "work.ko")
    run_tool("objcopy", "--only-keep-debug", "work.ko", "work.debug", folder=tmp_path)
    run_tool("objcopy", "-g", "--add-gnu-debuglink=work.debug", "work.ko", "bare.ko", folder=tmp_path)
    run("embed", tmp_path / "bare.ko", "-o", tmp_path / "out.ko")
    check_module(module, tmp_path / "out.ko", "v5")
    run_tool("objcopy", "-g", "work.ko", "none.ko", folder=tmp_path)
    with pytest.raises(NoDebugInfoError):
        run("embed", tmp_path / "none.ko", "-o", tmp_path / "never.ko")
    assert not (tmp_path / "never.ko").exists()


def test_a_kernel_is_refused(tmp_path: Path) -> None:
    program = compile_c(tmp_path, {"a.c": "int main(void) { return 0; }\n"}, "-g", output="linked")
    with pytest.raises(UnrecognisedFileError, match="expected a module"):
        run("embed", program, "-o", tmp_path / "out.ko")


# --- signatures --------------------------------------------------------------------------------------------------


def sign(data: bytes, signature: bytes = b"not really a signature") -> bytes:
    return data + signature + struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, len(signature)) + SIGNATURE_MARK


def test_a_signature_is_left_out_and_said_so(module: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    signed = tmp_path / "signed.ko"
    signed.write_bytes(sign(module.read_bytes()))
    run("embed", signed, "-o", tmp_path / "out.ko")
    assert "signature no longer fits" in capfd.readouterr().err
    assert SIGNATURE_MARK not in (tmp_path / "out.ko").read_bytes()
    run("embed", module, "-o", tmp_path / "plain.ko")
    assert capfd.readouterr().err == ""
    assert (tmp_path / "out.ko").read_bytes() == (tmp_path / "plain.ko").read_bytes()


def test_sizes_of_signatures() -> None:
    assert signature_size(b"\x7fELF") == 0
    assert signature_size(sign(b"12345", b"abc")) == 3 + 12 + 28
    assert signature_size(SIGNATURE_MARK) == 28
    lying = b"x" + struct.pack(">BBBBB3xI", 0, 0, 2, 9, 9, 0xFFFFFFFF) + SIGNATURE_MARK
    assert signature_size(lying) == len(lying)


# --- machines ----------------------------------------------------------------------------------------------------

#: Machine, class, byte order, kind of relocation, expected type; and the name that readelf has for it.
ANCHORS = [
    (62, 64, "<", RELA, 1, "R_X86_64_64"),
    (3, 32, "<", SHT_REL, 1, "R_386_32"),
    (183, 64, "<", RELA, 257, "R_AARCH64_ABS64"),
    (40, 32, "<", SHT_REL, 2, "R_ARM_ABS32"),
    (40, 32, ">", SHT_REL, 2, "R_ARM_ABS32"),
    (243, 64, "<", RELA, 2, "R_RISCV_64"),
    (243, 32, "<", RELA, 1, "R_RISCV_32"),
    (22, 64, ">", RELA, 22, "R_390_64"),
    (8, 32, ">", SHT_REL, 2, "R_MIPS_32"),
    (8, 64, ">", RELA, 18, "R_MIPS_64"),
    (8, 64, "<", RELA, 18, "R_MIPS_64"),
    (21, 64, ">", RELA, 38, "R_PPC64_ADDR64"),
    (21, 64, "<", RELA, 38, "R_PPC64_ADDR64"),
    (20, 32, ">", RELA, 1, "R_PPC_ADDR32"),
    (258, 64, "<", RELA, 2, "R_LARCH_64"),
    (15, 32, ">", RELA, 1, "R_PARISC_DIR32"),
    (15, 64, ">", RELA, 80, "R_PARISC_DIR64"),
    (43, 64, ">", RELA, 32, "R_SPARC_64"),
    (4, 32, ">", RELA, 1, "R_68K_32"),
    (0x9026, 64, "<", RELA, 2, "R_ALPHA_REFQUAD"),
    (42, 32, "<", RELA, 1, "R_SH_DIR32"),
]


def small_module(
    machine: int, bits: int, order: str, kind: int, *, symbol: SymbolSpec, relocations: bool = True
) -> bytes:
    text = SectionSpec(".text", bytes(64), flags=ALLOC | EXECINSTR, alignment=16)
    other = SectionSpec(".exit.text", bytes(32), flags=ALLOC | EXECINSTR, alignment=16)
    symbols = [SymbolSpec("", 0, ".exit.text", SECTION, binding=LOCAL), symbol]
    some = {".text": [RelocationSpec(0, 1, 1)]} if relocations else {}
    return write_elf(ElfSpec([text, other], symbols, some, bits, order, REL, machine, relocation_type=kind))


@pytest.mark.parametrize("anchor", ANCHORS, ids=lambda anchor: f"{anchor[5]}-{anchor[1]}{anchor[2]}")
@pytest.mark.parametrize("has_section_symbol", [True, False])
def test_anchors_of_every_machine(
    anchor: tuple[int, int, str, int, int, str],
    has_section_symbol: bool,  # noqa: FBT001 (a parameter of the test)
    tmp_path: Path,
) -> None:
    machine, bits, order, kind, expected, name = anchor
    if has_section_symbol:
        symbol = SymbolSpec("", 0, ".text", SECTION, binding=LOCAL)
    else:
        symbol = SymbolSpec("work", 0x18, ".text", NOTYPE, binding=GLOBAL)
    data = small_module(machine, bits, order, kind, symbol=symbol)
    addition = NewSection(".mod_lineinfo", bytes(range(40)), 8, [(8, ".text"), (24, ".exit.text")])
    written = embed_sections(ElfFile(data, "small.ko"), [addition])
    elf = ELFFile(BytesIO(written))
    section = section_named(elf, ".mod_lineinfo")
    assert (section["sh_type"], section["sh_flags"], section["sh_addralign"]) == ("SHT_PROGBITS", ALLOC, 8)
    prefix = ".rela" if kind == RELA else ".rel"
    table = section_named(elf, f"{prefix}.mod_lineinfo")
    assert elf.get_section(table["sh_info"]).name == ".mod_lineinfo"
    assert elf.get_section(table["sh_link"]).name == ".symtab"
    low_half = 4 if (bits, order) == (32, ">") else 0
    assert [row["r_offset"] for row in table.iter_relocations()] == [8 + low_half, 24 + low_half]
    assert [row["r_info_sym"] for row in table.iter_relocations()] == [2, 1]
    assert {row["r_info_type"] for row in table.iter_relocations()} == {expected}
    addend = 0 if has_section_symbol else -0x18
    if kind == RELA:
        assert [row["r_addend"] for row in table.iter_relocations()] == [addend, 0]
        assert section.data() == bytes(range(40))
    else:
        letter = order + "i"
        held = [struct.unpack_from(letter, section.data(), place + low_half)[0] for place in (8, 24)]
        assert held == [addend, 0]
    path = tmp_path / "small.ko"
    path.write_bytes(written)
    listed = run_tool("readelf", "-rW", path)
    assert listed.count(name) >= 2


def test_what_relocations_look_like_where_there_are_none() -> None:
    symbol = SymbolSpec("", 0, ".text", SECTION, binding=LOCAL)
    addition = NewSection(".mod_lineinfo", bytes(16), 8, [(8, ".text")])
    for machine, bits, order, prefix in (
        (62, 64, "<", ".rela"),
        (3, 32, "<", ".rel"),
        (40, 32, "<", ".rel"),
        (8, 32, ">", ".rel"),
        (8, 64, ">", ".rela"),
    ):
        data = small_module(machine, bits, order, RELA, symbol=symbol, relocations=False)
        elf = ELFFile(BytesIO(embed_sections(ElfFile(data, "small.ko"), [addition])))
        assert elf.get_section_by_name(f"{prefix}.mod_lineinfo") is not None


def test_what_cannot_be_embedded() -> None:
    symbol = SymbolSpec("", 0, ".text", SECTION, binding=LOCAL)
    elf = ElfFile(small_module(62, 64, "<", RELA, symbol=symbol), "small.ko")
    with pytest.raises(UnsupportedFileError, match="found none"):
        embed_sections(elf, [NewSection(".x", bytes(8), 8, [(0, ".init.text")])])
    with pytest.raises(UnsupportedFileError, match=r"without \.text"):
        embed_sections(elf, [NewSection(".text", b"", 1)])
    elsewhere = SymbolSpec("", 0, ".exit.text", SECTION, binding=LOCAL)
    elf = ElfFile(small_module(62, 64, "<", RELA, symbol=elsewhere), "small.ko")
    with pytest.raises(UnsupportedFileError, match="a symbol in"):
        embed_sections(elf, [NewSection(".x", bytes(8), 8, [(0, ".text")])])
    elf = ElfFile(small_module(9999, 64, "<", RELA, symbol=symbol), "small.ko")
    with pytest.raises(UnsupportedFileError, match="machine 9999"):
        embed_sections(elf, [NewSection(".x", bytes(8), 8, [(0, ".text")])])
    linked = write_elf(ElfSpec([SectionSpec(".text", bytes(8))], []))
    with pytest.raises(UnrecognisedFileError):
        embed_sections(ElfFile(linked, "linked"), [])


def test_more_sections_than_the_header_can_count(tmp_path: Path) -> None:
    few = small_module(62, 64, "<", RELA, symbol=SymbolSpec("", 0, ".text", SECTION, binding=LOCAL))
    (count,) = struct.unpack_from("<H", few, 60)
    data = bytearray(few + bytes(64 * (0xFF00 - 1 - count)))  # its section headers are at its end
    struct.pack_into("<H", data, 60, 0xFF00 - 1)
    written = embed_sections(
        ElfFile(bytes(data), "many.ko"), [NewSection(".mod_lineinfo", bytes(16), 8, [(8, ".text")])]
    )
    assert struct.unpack_from("<H", written, 60) == (0,)
    elf = ElfFile(written, "many.ko")
    assert len(elf.sections) == 0xFF00 + 1
    assert elf.section(".rela.mod_lineinfo") is not None
    (tmp_path / "many.ko").write_bytes(written)
    assert ".mod_lineinfo" in run_tool("readelf", "-SW", tmp_path / "many.ko")


@pytest.mark.parametrize(("bits", "order"), [(64, "<"), (32, ">")])
def test_every_changed_byte_of_a_module_is_an_error_or_a_module(bits: int, order: str) -> None:
    symbol = SymbolSpec("work", 0x18, ".text", NOTYPE, binding=GLOBAL)
    data = small_module(62 if bits == 64 else 20, bits, order, RELA, symbol=symbol)
    addition = NewSection(".mod_lineinfo", bytes(40), 8, [(8, ".text"), (24, ".exit.text")])
    written = 0
    for place in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[place] ^= flip
            try:
                result = embed_sections(ElfFile(bytes(changed), "small.ko"), [addition])
            except AnnotateError:
                continue
            assert len(ElfFile(result, "small.ko").sections) > 2
            written += 1
    assert written > 100


@pytest.mark.parametrize(
    ("prefix", "options"),
    [
        ("arm-linux-gnueabihf-", ("-marm",)),
        ("powerpc-linux-gnu-", ()),
        ("mips-linux-gnu-", ("-mno-abicalls", "-fno-pic")),
        ("s390x-linux-gnu-", ()),
        ("powerpc64-linux-gnu-", ()),
        ("mips64el-linux-gnuabi64-", ("-mno-abicalls", "-fno-pic")),
        ("m68k-linux-gnu-", ()),
    ],
)
def test_modules_of_other_compilers(prefix: str, options: tuple[str, ...], tmp_path: Path) -> None:
    compiler = tool(f"{prefix}gcc")
    (tmp_path / "work.c").write_text(SOURCE)
    run_tool(compiler, "-g", "-O2", "-ffreestanding", *options, "-c", "-o", "work.ko", "work.c", folder=tmp_path)
    run("embed", tmp_path / "work.ko", "-o", tmp_path / "out.ko")
    embedded = EmbeddedImage(open_elf(str(tmp_path / "out.ko")))
    dwarf = DebugImage(open_elf(str(tmp_path / "work.ko")))
    names = (".text", ".exit.text", ".init.text")
    assert text_rows(embedded, names) == text_rows(dwarf, names)
    assert len({place[0] for place in text_rows(embedded, names)}) == 3
    # The real loader's work, done by the real linker.
    run_tool(f"{prefix}objcopy", tmp_path / "out.ko", tmp_path / "copy.ko")
    script = "SECTIONS { .text 0x400000 : { *(.text) } .exit.text 0x500000 : { *(.exit.text) } .init.text 0x600000 : "
    script += "{ *(.init.text) } .mod_lineinfo 0x700000 : { *(.mod_lineinfo) } "
    script += ".init.mod_lineinfo : { *(.init.mod_lineinfo) } }"
    (tmp_path / "x.lds").write_text(script)
    arguments = ("-e", "0", "--no-gc-sections", "-T", tmp_path / "x.lds", "-o", tmp_path / "linked")
    run_tool(f"{prefix}ld", *arguments, tmp_path / "copy.ko")
    linked = ElfFile((tmp_path / "linked").read_bytes(), "linked")
    section = linked.section(".mod_lineinfo")
    assert section is not None
    data = linked.read(section)
    anchors = [struct.unpack_from(linked.byte_order + "Q", data, place)[0] for place in (8, 24)]
    assert anchors == [0x400000, 0x500000]


# --- real modules ------------------------------------------------------------------------------------------------

REAL_MODULES = 12


def test_real_modules(tmp_path: Path) -> None:
    folder = os.environ.get("LINEINFO_DEBUG_ROOT")
    if not folder:
        pytest.skip("LINEINFO_DEBUG_ROOT is not set: unpack a kernel's debug package and name the folder")
    modules = sorted(path for path in Path(folder).rglob("*.ko") if not path.is_symlink())
    if not modules:
        pytest.skip(f"no module below {folder}")
    names = (".text", ".exit.text", ".init.text")
    compared = 0
    for module in random.Random(1).sample(modules, min(REAL_MODULES, len(modules))):
        for layout in ("v2", "v3", "v5"):
            try:
                run("embed", module, "-o", tmp_path / "out.ko", "--layout", layout)
            except NoDebugInfoError:
                continue  # a module with variables only
            covered = names if layout == "v5" else names[:1]
            embedded = EmbeddedImage(open_elf(str(tmp_path / "out.ko")))
            assert embedded.layout == layout
            assert text_rows(embedded, covered) == text_rows(DebugImage(open_elf(str(module))), covered), module
            compared += 1
    assert compared > REAL_MODULES
