"""``lineinfo emit``: what gas makes of the source is what the reader finds and what DWARF says, on several machines."""

from __future__ import annotations

import argparse
import bisect
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dwarf_writer import (
    COMP_DIR,
    COMPILE_UNIT,
    COPY,
    END_SEQUENCE,
    NAME,
    SEC_OFFSET,
    STMT_LIST,
    STRING,
    Entry,
    Format,
    LineSpec,
    UnitSpec,
    advance_line,
    advance_pc,
    debug_file,
    line_program,
    set_address,
    set_file,
    write_units,
)
from elf_writer import compile_c, run_tool, tool

from annotate.cli import emit
from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.embedded import EmbeddedImage
from annotate.debuginfo.image import DebugImage
from annotate.debuginfo.upstream_rows import collect_upstream_entries, shorten
from annotate.errors import AnnotateError, NoDebugInfoError, UnrecognisedFileError, UnsupportedFileError
from annotate.kernel.images import open_elf, open_image
from annotate.kernel.locate import is_kernel_name
from annotate.model import LinkAddr
from annotate.tables import kernel_flat, kernel_v2, kernel_v3, kernel_v5
from annotate.tables.kernel_assembly import Anchor, Data, Strings, assemble, write_source
from annotate.tables.kernel_rows import Entries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from annotate.tables.kernel_assembly import Piece

SOURCES = {
    "fs/a.c": '#include "../include/linux/b.h"\nint a(int x)\n{\n\tint y = helper(x);\n\treturn y + x;\n}\n'
    "int first(void)\n{\n\treturn a(3) + other(4);\n}\n",
    "include/linux/b.h": "int other(int);\nstatic inline __attribute__((always_inline)) int helper(int x)\n{\n"
    "\tif (x > 3)\n\t\treturn x * 7;\n\treturn x + 1;\n}\n",
    "mm/c.c": "int other(int x)\n{\n\twhile (x < 100)\n\t\tx *= 3;\n\treturn x;\n}\n",
    # Code without a line, between files that have some.
    "mm/bare.c": '__asm__(".text\\n.globl bare\\nbare: .fill 8, 1, 0x90");\n',
    "mm/d.c": "int last(int x)\n{\n\treturn x ? 4 : 9;\n}\n",
}

#: Where nothing depends on the C library: code from _text to _etext, read-only data behind, as in a kernel.
SCRIPT = "SECTIONS { . = 0x10000; _text = .; .text : { *(.text*) } _etext = .; .rodata : { *(.rodata*) } }\n"


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    emit.add_commands(parser.add_subparsers(dest="command", required=True))
    return emit.run(parser.parse_args(list(map(str, arguments))))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "kernel.lds").write_text(SCRIPT)
    options = ("-g", "-O2", "-nostdlib", "-static", "-ffreestanding", "-Wl,-T,kernel.lds", "-Wl,--build-id=none")
    return compile_c(folder, SOURCES, *options, output="vmlinux")


def with_table(kernel: Path, source: Path, output: Path) -> EmbeddedImage:
    """The kernel linked once more, with the table in its .rodata: code stays where it was."""
    run_tool("as", "-o", output.with_suffix(".o"), source)
    script = output.with_suffix(".lds")
    script.write_text(SCRIPT)
    objects = output.with_suffix(".code.o")
    code = open_image(str(kernel)).image
    size = code.find(b"_etext")[0].address - code.find(b"_text")[0].address
    assembly = f".text\n.fill {size}, 1, 0x90\n"
    for name in (b"a", b"first", b"other", b"bare", b"last"):
        symbol = code.find(name)[0]
        text, place = name.decode(), symbol.address - code.find(b"_text")[0].address
        assembly += f".globl {text}\n.type {text}, @function\n.set {text}, .text + {place}\n"
        assembly += f".size {text}, {symbol.st_size}\n" if symbol.st_size else ""
    run_tool("as", "-o", objects, "-", text=assembly)
    run_tool("ld", "-T", script, "-o", output, objects, output.with_suffix(".o"))
    return EmbeddedImage(open_elf(str(output)))


@pytest.mark.parametrize(("layout", "found"), [("v2", "v2"), ("v3", "v3"), ("v5", "v3")])
def test_a_linked_table_says_what_dwarf_says(kernel: Path, tmp_path: Path, layout: str, found: str) -> None:
    source = tmp_path / "table.s"
    assert run("emit", "--layout", layout, "--as", "asm", kernel, "-o", source) == 0
    embedded = with_table(kernel, source, tmp_path / "linked")
    assert embedded.layout == found
    dwarf = open_image(str(kernel)).image
    assert list(embedded.rows()) == list(dwarf.rows())
    rows = list(dwarf.rows())
    start, end = dwarf.find(b"_text")[0].address, dwarf.find(b"_etext")[0].address
    seen = 0
    for address in range(start, end):
        symbol = embedded.symbol_at(LinkAddr(address))
        assert symbol is not None
        row = rows[bisect.bisect_right(rows, address, key=lambda row: row[0]) - 1]
        chain = embedded.chain(LinkAddr(address), symbol)
        assert [location[:2] for location in chain] == ([row[1:]] if row[1] and row[0] >= symbol.address else [])
        seen += bool(chain)
    assert seen > 50
    bare = dwarf.find(b"bare")[0]
    assert embedded.chain(bare.address, bare) == ()


def test_bytes_are_what_gas_makes_of_the_source(kernel: Path, tmp_path: Path) -> None:
    for layout in ("v2", "v3", "v5"):
        run("emit", "--layout", layout, "--as", "asm", kernel, "-o", tmp_path / "table.s")
        run("emit", "--layout", layout, "--as", "bin", kernel, "-o", tmp_path / "table.bin")
        run_tool("as", "-o", tmp_path / "table.o", tmp_path / "table.s")
        run_tool("objcopy", "-O", "binary", "-j", ".rodata", tmp_path / "table.o", tmp_path / "table.gas")
        assert (tmp_path / "table.gas").read_bytes() == (tmp_path / "table.bin").read_bytes()


SYMBOLS = [
    "lineinfo_num_entries",
    "lineinfo_num_files",
    "lineinfo_num_blocks",
    "lineinfo_block_addrs",
    "lineinfo_block_offsets",
    "lineinfo_data_size",
    "lineinfo_data",
    "lineinfo_file_offsets",
    "lineinfo_filenames_size",
    "lineinfo_filenames",
]


def test_symbols_are_those_of_the_kernel_in_its_order(kernel: Path, tmp_path: Path) -> None:
    run("emit", "--layout", "v3", "--as", "asm", kernel, "-o", tmp_path / "table.s")
    run_tool("as", "-o", tmp_path / "table.o", tmp_path / "table.s")
    listed = [line.split() for line in run_tool("nm", "-n", tmp_path / "table.o").splitlines()]
    assert [name for _, _, name in listed] == SYMBOLS
    assert {kind for _, kind, _ in listed} == {"R"}  # global, in read-only data
    assert [int(address, 16) % 4 for address, _, name in listed if name not in ("lineinfo_filenames",)] == [0] * 9


# --- other machines ----------------------------------------------------------------------------------------------

HARD_NAMES = [b'mm/a "b".c', b"fs/\\n.c", b"fs/\xc3\xa9\x01\xff7.c", b"", b"a.c" * 100]
HARD = Entries(
    [index * 300 for index in range(200)],
    [index * 7 % 6 for index in range(200)],
    [1 + index * index * 1000 for index in range(200)],
    HARD_NAMES,
)

#: Assembler prefix, class, byte order.
MACHINES = [
    ("", 64, "<"),
    ("powerpc-linux-gnu-", 32, ">"),
    ("arm-linux-gnueabihf-", 32, "<"),
    ("s390x-linux-gnu-", 64, ">"),
    ("m68k-linux-gnu-", 32, ">"),
    ("mips-linux-gnu-", 32, ">"),
    ("sparc64-linux-gnu-", 64, ">"),
    ("hppa-linux-gnu-", 32, ">"),
    ("alpha-linux-gnu-", 64, "<"),
    ("riscv64-linux-gnu-", 64, "<"),
]


def pieces_of(layout: str) -> Sequence[Piece]:
    writers: dict[str, Callable[[Entries], list[Piece]]] = {
        "flat": kernel_flat.write_vmlinux,
        "v2": kernel_v2.write_vmlinux,
        "v3": kernel_v3.write_vmlinux,
        "flat module": kernel_flat.write_module,
        "v2 module": kernel_v2.write_module,
        "v3 module": kernel_v3.write_module,
        "v5 module": lambda entries: kernel_v5.write_module([(".text", 600, entries), (".exit.text", 700, entries)]),
    }
    return writers[layout](HARD)


LAYOUTS = ("flat", "v2", "v3", "flat module", "v2 module", "v3 module", "v5 module")


@pytest.mark.parametrize(
    ("prefix_bits_order", "layout"),
    [
        *((MACHINES[0], layout) for layout in LAYOUTS),
        *((machine, layout) for machine in MACHINES[1:] for layout in ("v3", "v5 module")),
    ],
    ids=str,
)
def test_gas_of_every_machine_makes_the_same_bytes(
    prefix_bits_order: tuple[str, int, str], layout: str, tmp_path: Path
) -> None:
    prefix, bits, order = prefix_bits_order
    tool(f"{prefix}as")
    section = ".mod_lineinfo" if "module" in layout else ".rodata"
    pieces = pieces_of(layout)
    text = "".join(write_source(section, 8, pieces, bits, order))
    run_tool(f"{prefix}as", "-o", tmp_path / "table.o", "-", text=text)
    run_tool(f"{prefix}objcopy", "-O", "binary", "-j", section, tmp_path / "table.o", tmp_path / "table.gas")
    expected = assemble(pieces, order)
    written = (tmp_path / "table.gas").read_bytes()
    assert written[: len(expected.data)] == expected.data
    assert not any(written[len(expected.data) :])  # some machines pad their sections
    if "v5" in layout:
        listed = run_tool(f"{prefix}readelf", "-rW", tmp_path / "table.o")
        rows = [line.split() for line in listed.splitlines() if ".text" in line or ".exit" in line]
        low_half = 4 if (bits, order) == (32, ">") else 0
        assert [int(row[0], 16) for row in rows] == [8 + low_half, 24 + low_half]


def test_source_text_of_each_piece() -> None:
    text = "".join(write_source(".x", 8, [Anchor(".text"), Data("d", b"\1\xff"), Strings("s", [b'"', b"\n"])], 32, ">"))
    assert text == (
        '\t.section .text, "ax"\n\t.section .x, "a"\n\t.balign 8\n\t.balign 8\n\t.long 0\n\t.long .text\n'
        '\t.globl d\nd:\n\t.byte 0x1,0xff\n\t.globl s\ns:\n\t.asciz "\\""\n\t.asciz "\\012"\n'
    )


# --- modules -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("module")
    sources = dict(SOURCES)
    sources["fs/init.c"] = (
        '__attribute__((section(".init.text"))) int begin(int x)\n{\n\treturn x + 3;\n}\n'
        '__attribute__((section(".exit.text"))) int finish(int x)\n{\n\treturn x * 3;\n}\n'
    )
    return compile_c(folder, sources, "-g", "-O2", "-ffreestanding", "-r", "-nostdlib", output="sample.ko")


def test_a_module_as_source_linked_into_it(module: Path, tmp_path: Path) -> None:
    run("emit", "--module", "--layout", "v5", "--as", "asm", module, "-o", tmp_path / "table.s")
    run_tool("as", "-o", tmp_path / "table.o", tmp_path / "table.s")
    run_tool("ld", "-r", "-o", tmp_path / "linked.ko", tmp_path / "table.o", module)
    embedded = EmbeddedImage(open_elf(str(tmp_path / "linked.ko")))
    assert embedded.layout == "v5"
    dwarf = DebugImage(open_elf(str(tmp_path / "linked.ko")))
    expected = [row for row in dwarf.rows() if row[1]]
    assert [row for row in embedded.rows() if row[1]] == expected
    assert {dwarf.section_of(address)[0] for address, _, _ in expected if dwarf.section_of(address)} == {  # type: ignore[index]
        ".text",
        ".exit.text",
        ".init.text",
    }
    assert "UND" not in run_tool("readelf", "-rW", tmp_path / "linked.ko")


@pytest.mark.parametrize("layout", ["v2", "v3"])
def test_a_module_as_bytes_added_by_objcopy(module: Path, tmp_path: Path, layout: str) -> None:
    run("emit", "--module", "--layout", layout, "--as", "bin", module, "-o", tmp_path / "table.bin")
    added = ("--add-section", f".mod_lineinfo={tmp_path / 'table.bin'}", "--set-section-flags")
    run_tool("objcopy", *added, ".mod_lineinfo=alloc,readonly", module, tmp_path / "added.ko")
    image = EmbeddedImage(open_elf(str(tmp_path / "added.ko")))
    assert image.layout == layout
    dwarf = DebugImage(open_elf(str(tmp_path / "added.ko")))
    expected = [row[1:] for row in dwarf.rows() if row[1] and dwarf.section_of(row[0])[0] == ".text"]  # type: ignore[index]
    assert [row[1:] for row in image.rows() if row[1]] == expected


def test_the_two_sections_of_v5_as_bytes(module: Path, tmp_path: Path) -> None:
    common = ("emit", "--module", "--layout", "v5", "--as", "bin", module, "-o", tmp_path / "table.bin")
    run(*common)
    tables = kernel_v5.read_module((tmp_path / "table.bin").read_bytes(), "<", "x")
    assert [table.address for table in tables] == [0, 0]
    run(*common, "--init")
    assert len(kernel_v5.read_module((tmp_path / "table.bin").read_bytes(), "<", "x")) == 1


def test_what_cannot_be_emitted(kernel: Path, module: Path, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "never")
    with pytest.raises(UnrecognisedFileError, match="--module"):
        run("emit", "--layout", "v3", "--as", "bin", module, *output)
    with pytest.raises(UnrecognisedFileError, match="expected a module"):
        run("emit", "--module", "--layout", "v3", "--as", "bin", kernel, *output)
    run_tool("strip", "-g", "-o", tmp_path / "stripped", kernel)
    with pytest.raises(NoDebugInfoError):
        run("emit", "--layout", "v3", "--as", "bin", tmp_path / "stripped", *output)
    run_tool("objcopy", "-N", "_text", kernel, tmp_path / "baseless")
    with pytest.raises(UnsupportedFileError, match="_text"):
        run("emit", "--layout", "v3", "--as", "bin", tmp_path / "baseless", *output)
    small = compile_c(tmp_path, {"a.c": "int x;\n"}, "-g", "-c", output="small.ko")
    with pytest.raises(NoDebugInfoError):
        run("emit", "--module", "--layout", "v5", "--as", "bin", small, *output)
    assert not (tmp_path / "never").exists()
    assert not list(tmp_path.glob(".never*"))


def test_output_goes_to_standard_output_or_replaces_a_whole_file(
    kernel: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("emit", "--layout", "v3", "--as", "bin", kernel)
    written = capfdbinary.readouterr().out
    target = tmp_path / "table.bin"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link = tmp_path / "link.bin"
    link.symlink_to(target)
    run("emit", "--layout", "v3", "--as", "bin", kernel, "-o", link)
    assert target.read_bytes() == written
    assert target.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    with pytest.raises(OSError, match="missing"):
        run("emit", "--layout", "v3", "--as", "bin", kernel, "-o", tmp_path / "missing" / "x")
    run("emit", "--layout", "v3", "--as", "bin", kernel, "-o", "/dev/null")
    assert Path("/dev/null").is_char_device()


# --- the rows of the host tool -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "comp_dir", "expected"),
    [
        ("/build/linux/fs/a.c", "/build/linux", "fs/a.c"),
        ("/build/linux/a.c", "/build/linux", "a.c"),  # nothing of it left has a slash: searched, then the last part
        ("/build/linux/fs/a.c", "/build/out", "fs/a.c"),
        ("/build/linux/fs/../mm/./a.c", "/build/out", "fs/../mm/./a.c"),
        ("/usr/src/linux/mm/a.c", "/build/out", "usr/src/linux/mm/a.c"),
        ("/home/x/lib/linux/mm/a.c", "", "lib/linux/mm/a.c"),
        ("/opt/thing/a.c", "/build", "a.c"),
        ("/build/linuxes/fs/a.c", "/build/linux", "fs/a.c"),
        ("fs/a.c/fs/a.c", "/build", "fs/a.c"),
        ("fs/a.c", "/build", "fs/a.c"),
        ("./fs/a.c", "/build", "./fs/a.c"),
        ("a.c", "/build/linux/drivers/net", "drivers/net/a.c"),
        ("a.c", "/build/linux", "a.c"),
        ("a.c", "mapped", "a.c"),
        ("/build/myfs/a.c", "/x", "a.c"),
    ],
)
def test_paths_of_the_host_tool(path: str, comp_dir: str, expected: str) -> None:
    assert shorten(path.encode(), comp_dir.encode()) == expected.encode()


def upstream(code: bytes, form: Format = Format(), **fields: object) -> Entries:  # noqa: B008 (a constant)
    spec = LineSpec(code, form, **fields)  # type: ignore[arg-type]
    root = Entry(COMPILE_UNIT, [(STMT_LIST, SEC_OFFSET, 0), (COMP_DIR, STRING, b"/linux"), (NAME, STRING, b"fs/a.c")])
    info, abbrev, _ = write_units([UnitSpec(root, form)])
    data = debug_file({"info": info, "abbrev": abbrev, "line": line_program(spec)})
    (entries,) = collect_upstream_entries(ElfFile(data, "synthetic"), [(0x1000, 0x2000)])
    return entries


def test_the_lowest_file_then_line_wins_and_ends_are_rows() -> None:
    code = set_address(0x1000) + set_file(1) + COPY + set_file(0) + advance_line(4) + COPY + advance_line(-1) + COPY
    code += advance_pc(8) + END_SEQUENCE
    entries = upstream(code)
    # Ids by first sight: b.h is 0. At 0x1000 its row comes first although DWARF means the last one, a.c:4; the end at
    # 0x1008 carries what was last.
    assert list(entries.names) == [b"include/linux/b.h", b"fs/a.c"]
    assert list(zip(*entries[:3], strict=True)) == [(0, 0, 1), (8, 1, 4)]


def test_of_rows_at_one_address_the_first_that_differs_from_the_row_before() -> None:
    code = set_address(0x1000) + set_file(0) + COPY + advance_pc(4) + COPY + advance_line(8) + COPY + advance_pc(4)
    code += advance_line(-8) + COPY + advance_line(-1) + COPY + advance_pc(4) + END_SEQUENCE
    assert list(zip(*upstream(code)[:3], strict=True)) == [(0, 0, 1), (4, 0, 9), (8, 0, 1)]


def test_names_stay_of_rows_that_go() -> None:
    code = set_address(0x1000) + set_file(0) + COPY + set_file(1) + COPY + set_file(0) + advance_pc(4) + END_SEQUENCE
    entries = upstream(code)
    assert list(zip(*entries[:3], strict=True)) == [(0, 0, 1)]
    assert list(entries.names) == [b"fs/a.c", b"include/linux/b.h"]


def test_rows_outside_the_range_and_unknown_files_are_dropped() -> None:
    code = set_address(0xFFF) + set_file(0) + COPY + advance_pc(1) + set_file(7) + COPY + set_file(1) + advance_pc(1)
    code += COPY + advance_line(-1) + advance_pc(1) + COPY + advance_line(1) + advance_pc(0x1000) + END_SEQUENCE
    entries = upstream(code)
    assert list(zip(*entries[:3], strict=True)) == [(1, 0, 1)]
    assert list(entries.names) == [b"include/linux/b.h"]


# --- a real kernel -----------------------------------------------------------------------------------------------

#: What the host tool made of a kernel: entries, files, bytes. By build id.
MEASURED = {
    "6.1.0-56-cloud-amd64": (1_216_043, 3_225, 19_001, 4_373_866, 4_618_726),
    "6.12.117+deb12-cloud-amd64": (1_425_049, 0, 0, 0, 5_421_890),
    "6.1.0-56-cloud-arm64": (1_341_623, 0, 0, 0, 5_105_277),
}


@pytest.fixture(scope="module")
def vmlinux() -> Path:
    folder = os.environ.get("LINEINFO_DEBUG_ROOT")
    if not folder:
        pytest.skip("LINEINFO_DEBUG_ROOT is not set: unpack a kernel's debug package and name the folder")
    found = sorted(
        path for path in Path(folder).rglob("vmlinux*") if is_kernel_name(str(path)) and not path.is_symlink()
    )
    if not found:
        pytest.skip(f"no vmlinux below {folder}")
    return found[0]


@pytest.mark.own_process
def test_the_host_tools_rows_of_a_real_kernel(vmlinux: Path) -> None:
    opened = open_image(str(vmlinux))
    if opened.release not in MEASURED:
        pytest.skip(f"what the host tool makes of {opened.release} was not measured")
    image = DebugImage(open_elf(str(vmlinux)))
    section = emit.kernel_section(image, open_elf(str(vmlinux)), "v3", is_upstream=True)
    data = assemble(section.pieces, "<").data
    values = [len(piece.data) if isinstance(piece, Data) else piece for piece in section.pieces]
    num_entries, num_files, num_blocks = (int.from_bytes(data[place : place + 4], "little") for place in (0, 4, 8))
    entries, files, blocks, stream, size = MEASURED[opened.release]
    assert (num_entries, len(data)) == (entries, size)
    if files:
        assert (num_files, num_blocks, values[6]) == (files, blocks, stream)


@pytest.mark.own_process
def test_all_rows_of_a_real_kernel_come_back(vmlinux: Path, tmp_path: Path) -> None:
    tool("ld")
    image = DebugImage(open_elf(str(vmlinux)))
    if image.arch != "x86_64":
        pytest.skip("a kernel of another machine than the linker is for")
    assert run("emit", "--layout", "v3", "--as", "asm", vmlinux, "-o", tmp_path / "table.s") == 0
    run_tool("as", "-o", tmp_path / "table.o", tmp_path / "table.s")
    start, end = image.find(b"_text")[0].address, image.find(b"_etext")[0].address
    (tmp_path / "x.lds").write_text(
        f"SECTIONS {{ . = {start:#x}; _text = .; .text : {{ BYTE(0x90); . = {end - start:#x}; }} _etext = .; "
        ".rodata : { *(.rodata) } /DISCARD/ : { *(.note*) } }\n"
    )
    run_tool("ld", "-T", tmp_path / "x.lds", "-o", tmp_path / "linked", tmp_path / "table.o")
    embedded = EmbeddedImage(open_elf(str(tmp_path / "linked")))
    rows = [row for row in image.rows() if start <= row[0] < end]
    assert all(line or not file for _, file, line in rows)  # gcc's kernels have no row without a line
    found = list(embedded.rows())
    assert found[: len(rows)] == rows
    assert [row[1:] for row in found[len(rows) :]] in ([], [("", 0)])
    addresses = [row[0] for row in rows]
    chooser = random.Random(1)
    for address in [chooser.randrange(start, end) for _ in range(20_000)]:
        symbol = image.symbol_at(LinkAddr(address))
        assert symbol is not None
        index = bisect.bisect_right(addresses, address) - 1
        expected = [rows[index][1:]] if index >= 0 and rows[index][1] and rows[index][0] >= symbol.address else []
        assert [location[:2] for location in embedded.chain(LinkAddr(address), symbol)] == expected


def test_gas_is_there_or_the_reason_is_printed() -> None:
    if shutil.which("as") is None:
        pytest.skip("gas is not installed: what is emitted was only read back by ourselves")
    done = subprocess.run(["as", "--version"], capture_output=True, check=False)
    assert done.returncode == 0
    with pytest.raises(AnnotateError):
        open_elf(os.devnull)
