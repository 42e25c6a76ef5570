"""``lineinfo build``: tables answer as the debug information they are made from; a file is whole or not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dwarf_writer as w
import pytest
from dwarf_writer import COPY, END_SEQUENCE, Entry, LineSpec, To, UnitSpec, advance_line, advance_pc, set_address
from elf_writer import ALLOC, EXECINSTR, FUNC, NOTYPE, ElfSpec, SectionSpec, SymbolSpec, write_elf
from fake_world import BUILD_ID, RELEASE, build_kernel, build_module, extent
from random_dwarf import random_image
from table_compare import compare, expected_chain, open_table, table_bytes

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.image import DebugImage
from annotate.errors import AnnotateError, DamagedFileError
from annotate.kernel import build as build_module_under_test
from annotate.kernel.build import Options, Source, build, sources_in
from annotate.kernel.images import Images, OpenTable, open_file, open_image
from annotate.kernel.locate import Locator, SearchPlaces
from annotate.model import KernelId, LinkAddr, Missing
from annotate.tables import versions
from annotate.tables.versions import MAINTAINERS, TableImage
from annotate.tables.writer import FileWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dwarf_writer import Attribute

FIXTURES = Path(__file__).parent / "fixtures" / "matrix"
SAMPLES = Path(__file__).resolve().parent.parent / "sample_oopses"
MATRIX = sorted(path.with_suffix("") for path in FIXTURES.glob("*.json"))

PROGRAM = (sys.executable, "-m", "annotate.cli.lineinfo")
FILTER = (sys.executable, "-m", "annotate")
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
PATIENCE = 60

#: Random programs in each mode. The first 700 have been compared.
SEEDS = 30


def run(
    *arguments: str | Path, text: bytes = b"", program: Sequence[str] = PROGRAM
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*program, *map(str, arguments)],
        input=text,
        capture_output=True,
        check=False,
        env=ENVIRONMENT,
        timeout=PATIENCE,
    )


def built(*arguments: str | Path) -> list[str]:
    """The complaints of a build that went well."""
    done = run("build", *arguments)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()
    return done.stderr.decode().splitlines()


def lines_of(*arguments: str | Path, text: bytes = b"") -> list[str]:
    done = run(*arguments, text=text)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return done.stdout.decode().splitlines()


def quiet(_done: int, _total: int) -> None:
    pass


# --- the same answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inlines", [True, False], ids=["chains", "innermost"])
@pytest.mark.parametrize("path", MATRIX, ids=lambda path: str(path.name))
def test_every_byte_of_every_machine_has_the_same_answers(path: Path, *, inlines: bool) -> None:
    assert compare(DebugImage(ElfFile(path.read_bytes(), path.name)), inlines=inlines) > 250


def test_the_matrix_is_there() -> None:
    assert len(MATRIX) == 46


@pytest.mark.parametrize("inlines", [True, False], ids=["chains", "innermost"])
def test_random_programs_have_the_same_answers(*, inlines: bool) -> None:
    compared = 0
    for seed in range(SEEDS):
        try:
            compared += compare(random_image(seed), inlines=inlines)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert compared > 100 * SEEDS


def image_of(
    rows: Sequence[tuple[int, int]],
    functions: Sequence[tuple[int, int, Sequence[Any]]],
    symbols: Sequence[SymbolSpec],
    *,
    end: int = 0x1100,
    machine: int = 62,
    files: Sequence[tuple[str, int]] = (("fs/a.c", 0), ("b.h", 1)),
    names: Sequence[bytes] = (b"one", b"two", b"three"),
    text: tuple[int, int] = (0x1000, 0x100),
) -> DebugImage:
    """One unit (DWARF 4): rows (address, line) up to ``end``, functions (start, end, nested calls)."""
    form = w.Format("<", 4)
    code = set_address(rows[0][0], form)
    at, before = rows[0][0], 1
    for address, line in rows:
        code += advance_pc(address - at) + advance_line(line - before) + COPY
        at, before = address, line
    code += advance_pc(end - at) + END_SEQUENCE

    def nested(calls: Sequence[Any]) -> list[Entry]:
        return [
            Entry(
                w.INLINED,
                [
                    (w.ORIGIN, w.REF4, To(f"abstract {name}")),
                    *([(w.LOW_PC, w.ADDR, low), (w.HIGH_PC, w.DATA4, high - low)] if high >= low else []),
                    (w.CALL_FILE, w.DATA1, 1),
                    (w.CALL_LINE, w.DATA8, line),
                ],
                nested(inside),
            )
            for name, low, high, line, inside in calls
        ]

    abstract = [
        Entry(w.SUBPROGRAM, [(w.NAME, w.STRING, name), (w.INLINE, w.DATA1, 3)], None, f"abstract {number}")
        for number, name in enumerate(names)
    ]
    bodies = [
        Entry(
            w.SUBPROGRAM,
            [(w.NAME, w.STRING, b"f"), (w.LOW_PC, w.ADDR, low), (w.HIGH_PC, w.DATA4, high - low)],
            nested(calls),
        )
        for low, high, calls in functions
    ]
    root: list[Attribute] = [
        (w.NAME, w.STRING, b"fs/a.c"),
        (w.COMP_DIR, w.STRING, b"/linux"),
        (w.LANGUAGE, w.DATA2, w.C11),
        (w.STMT_LIST, w.SEC_OFFSET, 0),
        (w.LOW_PC, w.ADDR, text[0]),
        (w.HIGH_PC, w.DATA4, text[1]),
    ]
    info, abbrev, _ = w.write_units([UnitSpec(Entry(w.COMPILE_UNIT, root, [*abstract, *bodies]), form)])
    lines = w.line_program(LineSpec(code, form, files=files))
    debug = {".debug_info": info, ".debug_abbrev": abbrev, ".debug_line": lines}
    sections = [
        SectionSpec(".text", bytes(text[1]), flags=ALLOC | EXECINSTR, address=text[0], alignment=16),
        *(SectionSpec(name, data) for name, data in debug.items()),
    ]
    return DebugImage(ElfFile(write_elf(ElfSpec(sections, symbols, machine=machine)), "synthetic"))


FUNCTION = SymbolSpec("f", 0x1000, size=0x100)

ODD: dict[str, Callable[[], DebugImage]] = {
    "siblings that overlap": lambda: image_of(
        [(0x1000, 5), (0x1010, 6), (0x1030, 7)],
        [(0x1000, 0x1100, [(0, 0x1008, 0x1020, 3, []), (1, 0x1018, 0x1030, 4, [(2, 0x101C, 0x1040, 5, [])])])],
        [FUNCTION],
    ),
    "a call without ranges around one with some": lambda: image_of(
        [(0x1000, 5), (0x1010, 6), (0x1030, 7)],
        [(0x1000, 0x1100, [(0, 1, 0, 3, [(1, 0x1008, 0x1018, 4, [(2, 1, 0, 6, [(0, 0x1010, 0x1014, 8, [])])])])])],
        [FUNCTION],
    ),
    "an empty range around one with some": lambda: image_of(
        [(0x1000, 5), (0x1010, 6)],
        [(0x1000, 0x1100, [(0, 0x1010, 0x1010, 3, [(1, 0x1008, 0x1018, 4, [])])])],
        [FUNCTION],
    ),
    "functions inside each other": lambda: image_of(
        [(0x1000, 5), (0x1010, 6), (0x1040, 8)],
        [
            (0x1000, 0x1080, [(0, 0x1004, 0x1070, 3, [(1, 0x1050, 0x1060, 9, [])])]),
            (0x1010, 0x1030, [(1, 0x1014, 0x1020, 4, [])]),
            (0x1018, 0x101C, []),
        ],
        [FUNCTION],
    ),
    "two functions at one address": lambda: image_of(
        [(0x1000, 5), (0x1010, 6), (0x1040, 8)],
        [(0x1000, 0x1080, [(0, 0x1004, 0x1008, 3, [])]), (0x1000, 0x1080, [(1, 0x1006, 0x1020, 4, [])])],
        [FUNCTION],
    ),
    "symbols inside a function": lambda: image_of(
        [(0x1000, 5), (0x1010, 6), (0x1024, 0), (0x1040, 8)],
        [(0x1000, 0x1100, [(0, 0x1004, 0x1030, 3, [(1, 0x1008, 0x1028, 9, [])])])],
        [
            SymbolSpec("f", 0x1000, size=0x100),
            *(SymbolSpec(f"f.{at:x}", at, size=4) for at in range(0x1006, 0x1040, 6)),
        ],
    ),
    "nops in front of functions": lambda: image_of(
        [(0x1000, 5), (0x1018, 6), (0x1048, 8)],
        [(0x1008, 0x1010, []), (0x1018, 0x1030, [(0, 0x1018, 0x1020, 4, [])]), (0x1048, 0x1100, [])],
        [SymbolSpec("a", 0x1000, size=0x10), SymbolSpec("b", 0x1010, size=0x20), SymbolSpec("c", 0x1030, size=0xD0)],
    ),
    "line 0 across calls": lambda: image_of(
        [(0x1000, 5), (0x1008, 0), (0x1040, 8), (0x1050, 0), (0x1052, 0)],
        [
            (
                0x1000,
                0x1100,
                [
                    (0, 0x1004, 0x1020, 3, [(1, 0x1010, 0x1018, 6, [])]),
                    (2, 0x1030, 0x1038, 7, []),
                    (0, 0x1044, 0x1060, 9, [(1, 0x1048, 0x1054, 11, [])]),
                ],
            )
        ],
        [FUNCTION],
    ),
    "rows that begin late and end early": lambda: image_of(
        [(0x1020, 5), (0x1030, 6)],
        [(0x1000, 0x1100, [(0, 0x1010, 0x1024, 3, []), (1, 0x1034, 0x1050, 7, [(2, 0x1040, 0x1048, 8, [])])])],
        [FUNCTION],
        end=0x1038,
    ),
    "a label at the end of the code": lambda: image_of(
        [(0x1000, 5)], [(0x1000, 0x1100, [])], [FUNCTION, SymbolSpec("end", 0x1100, type=NOTYPE)]
    ),
}


@pytest.mark.parametrize("inlines", [True, False], ids=["chains", "innermost"])
@pytest.mark.parametrize("name", ODD)
def test_odd_debug_information_has_the_same_answers(name: str, *, inlines: bool) -> None:
    compare(ODD[name](), inlines=inlines)


@pytest.mark.xfail(strict=True, reason="an entry has one answer, that of the symbol that kallsyms would choose")
def test_aliases_of_other_sizes_have_the_same_answers() -> None:
    """The ELF size bounds where a row is looked for behind an address that has none."""
    symbols = [
        SymbolSpec("label", 0x1000, type=NOTYPE),
        SymbolSpec("f", 0x1000, size=0x20),
        SymbolSpec("longer", 0x1000, size=0x60, type=FUNC),
        SymbolSpec("g", 0x1080, size=0x80),
    ]
    compare(image_of([(0x1040, 6)], [(0x1060, 0x1100, [])], symbols))


def test_rows_between_instructions_of_four_bytes_do_not_add_up() -> None:
    """Distances are in units of four bytes there; what is behind such rows must be where it is."""
    rows = [(0x1000, 5), (0x1006, 6), (0x100A, 7), (0x100E, 8), (0x1010, 9), (0x1020, 10)]
    debug = image_of(rows, [(0x1000, 0x1100, [])], [FUNCTION], machine=183)
    image = open_table(table_bytes(debug))
    assert image.head.shift == 2
    (symbol,) = debug.find(b"f")
    for address in map(LinkAddr, (*range(0x1000, 0x1004), *range(0x1010, 0x1100))):
        assert image.chain(address, symbol) == expected_chain(debug.chain(address, symbol)), hex(address)


@pytest.mark.parametrize("inlines", [True, False], ids=["chains", "innermost"])
def test_line_feeds_in_names_harm_no_other_name(*, inlines: bool) -> None:
    """They separate names in a table. Of a path and a function they become question marks, as when they are printed."""
    rows = [(0x1000, 5), (0x1010, 6)]
    calls: list[Any] = [(0, 0x1004, 0x1010, 3, []), (1, 0x1014, 0x1018, 3, [])]
    symbols = [SymbolSpec("f\ng", 0x1000, size=0x20), SymbolSpec("h", 0x1020, size=0xE0)]
    debug = image_of(
        rows, [(0x1000, 0x1100, calls)], symbols, files=(("fs/a\nb.c", 0), ("b.h", 1)), names=(b"o\nne", b"two")
    )
    image = open_table(table_bytes(debug, inlines=inlines))
    assert len(image.find(b"h")) == 1
    functions = set()
    for address in map(LinkAddr, range(0x1000, 0x1100)):
        symbol = debug.symbol_at(address)
        assert symbol is not None
        right = expected_chain(debug.chain(address, symbol), inlines=inlines)
        found = image.chain(address, symbol)
        functions |= {location.function for location in found}
        assert found == tuple(
            each._replace(file=each.file.replace("\n", "?"), function=each.function.replace("\n", "?"))
            for each in right
        )
    assert functions == ({"", "o?ne", "two"} if inlines else {""})
    assert image.damage == []


def test_a_line_that_no_table_can_hold_is_an_error_of_ours(tmp_path: Path) -> None:
    debug = image_of([(0x1000, 5)], [(0x1000, 0x1100, [(0, 0x1004, 0x1010, (1 << 64) - 1, [])])], [FUNCTION])
    path = tmp_path / "vmlinux"
    path.write_bytes(debug._elf.data[:])
    with pytest.raises(AnnotateError, match="vmlinux: "):
        build(list(sources_in(str(path))), str(tmp_path / "out.lineinfo"), Options(), quiet)
    assert [found.name for found in tmp_path.iterdir()] == ["vmlinux"]


def test_rows_behind_the_end_of_their_sequence_are_left_to_the_debug_information() -> None:
    """An end_sequence below the rows before it: one changed address in a line program does that."""
    form = w.Format("<", 4)
    code = set_address(0x1000, form) + COPY + set_address(0x1040, form) + advance_line(4) + COPY
    code += set_address(0x1020, form) + END_SEQUENCE
    root: list[Attribute] = [
        (w.NAME, w.STRING, b"fs/a.c"), (w.COMP_DIR, w.STRING, b"/linux"), (w.STMT_LIST, w.SEC_OFFSET, 0),
        (w.LOW_PC, w.ADDR, 0x1000), (w.HIGH_PC, w.DATA4, 0x100),
    ]  # fmt: skip
    info, abbrev, _ = w.write_units([UnitSpec(Entry(w.COMPILE_UNIT, root), form)])
    compare(w.debug_image({"info": info, "abbrev": abbrev, "line": w.line_program(LineSpec(code, form))}))


def test_code_that_is_too_far_apart_is_an_error_of_ours_or_answers(tmp_path: Path) -> None:
    """Two sections 2^40 bytes apart."""
    debug = random_image(1)
    sections = [
        SectionSpec(".text", bytes(64), flags=ALLOC | EXECINSTR, address=0x1000),
        SectionSpec(".far", bytes(64), flags=ALLOC | EXECINSTR, address=1 << 40),
        SectionSpec(".debug_line", w.line_program(LineSpec(set_address(0x1000) + COPY + advance_pc(9) + END_SEQUENCE))),
    ]
    symbols = [SymbolSpec(f"near{number}", 0x1000 + number, size=1) for number in range(45)]
    symbols += [SymbolSpec("far", 1 << 40, ".far", size=64)]
    path = tmp_path / "vmlinux"
    path.write_bytes(write_elf(ElfSpec(sections, symbols)))
    assert debug.symbols is not None
    try:
        build(list(sources_in(str(path))), str(tmp_path / "out.lineinfo"), Options(), quiet)
    except AnnotateError as error:
        assert str(path) in str(error)  # noqa: PT017
        assert not (tmp_path / "out.lineinfo").exists()
    else:
        image = next(iter(_table(tmp_path / "out.lineinfo").all_images())).image
        assert len(image.find(b"far")) == 1


# --- the file ----------------------------------------------------------------------------------------------------


class World:
    """A kernel and a module of one release, another build of the module, and what cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kernel = build_kernel(folder / "tree" / "vmlinux")
        self.module = build_module(folder / "tree" / "kernel" / "crasher.ko", build_id=BUILD_ID)
        self.other = build_module(folder / "other" / "crasher.ko", more="y += 7; y += x;", build_id="2" * 40)
        self.foreign = build_kernel(folder / "foreign" / "vmlinux", release="6.9.9", build_id="3" * 40)
        self.table = folder / "both.lineinfo"
        assert built(self.kernel.parent, self.other, "-o", self.table, "--jobs", "1") == []
        self.first, self.second = extent(self.kernel, "first"), extent(self.kernel, "second")
        self.crash, self.other_crash = extent(self.module, "crash_now"), extent(self.other, "crash_now")

    def log(self, *more: bytes, release: str = RELEASE) -> bytes:
        """A trace through the kernel and the module."""
        frames = [
            self.first.frame(self.first.size - 1),
            self.second.frame(6),
            self.crash.frame(7) + b" [crasher]",
            b"gone+0x1/0x2",
            *more,
        ]
        head = f"[    1.0] Linux version {release} (a@b) #1 SMP\n[    1.0] Call Trace:\n".encode()
        return head + b"".join(b"[    1.0]  " + frame + b"\n" for frame in frames)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def _table(path: Path) -> OpenTable:
    opened = open_file(str(path))
    assert isinstance(opened, OpenTable)
    return opened


def test_a_tree_becomes_one_file_with_all_of_it(world: World) -> None:
    table = _table(world.table)
    images = [found.image for found in table.all_images()]
    assert [(image.name, image.build_id) for image in images] == [
        (b"", BUILD_ID), (b"crasher", BUILD_ID), (b"crasher", "2" * 40)
    ]  # fmt: skip
    assert [image.made_from for image in images] == ["vmlinux", "kernel/crasher.ko", "crasher.ko"]
    assert [image.release for image in images] == [RELEASE] * 3
    assert [len(list(table.images(name))) for name in ("", "crasher", "gone")] == [1, 2, 0]


def test_the_bytes_do_not_depend_on_the_number_of_processes(world: World) -> None:
    matrix = [path for path in MATRIX if path.name.startswith("gcc-n") or path.name.endswith("-arm64.ko")]
    sources = [world.kernel, world.module, world.other, SAMPLES / "x86_64" / "oopser.ko", *matrix]
    outputs = [world.folder / f"jobs{jobs}.lineinfo" for jobs in (1, 2)]
    for jobs, output in enumerate(outputs, 1):
        assert built(*sources, "-o", output, "--jobs", str(jobs)) == []
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert len(list(_table(outputs[0]).all_images())) == len(sources)


def test_a_second_build_in_one_process_is_made_from_what_it_is_given(world: World, tmp_path: Path) -> None:
    """The file of the same path may be another by then, and the options too."""
    path = tmp_path / "vmlinux"
    outputs = [tmp_path / f"{number}.lineinfo" for number in range(3)]
    path.write_bytes(world.kernel.read_bytes())
    build([Source(str(path), "", "x")], str(outputs[0]), Options(), quiet)
    build([Source(str(path), "", "x")], str(outputs[1]), Options(has_inlines=False), quiet)
    path.unlink()
    path.write_bytes((FIXTURES / "gcc-arm64.elf").read_bytes())
    build([Source(str(path), "", "x")], str(outputs[2]), Options(), quiet)
    for output, source, inlines in (
        (outputs[0], world.kernel, True),
        (outputs[1], world.kernel, False),
        (outputs[2], FIXTURES / "gcc-arm64.elf", True),
    ):  # fmt: skip
        image, debug = next(iter(_table(output).all_images())).image, open_image(str(source)).image
        for symbols in debug.symbols.by_address():
            for symbol in symbols:
                for address in map(LinkAddr, range(symbol.address, symbol.end if symbol.is_code else 0)):
                    chain = expected_chain(debug.chain(address, symbol), inlines=inlines)
                    assert image.chain(address, symbol) == chain, f"{output.name} {address:#x}"


def test_an_output_is_replaced_when_all_is_done_and_has_the_usual_permissions(world: World, tmp_path: Path) -> None:
    output = tmp_path / "t.lineinfo"
    output.write_bytes(b"old")
    before = os.umask(0o027)
    try:
        built(world.module, "-o", output, "--jobs", "1")
    finally:
        os.umask(before)
    assert output.stat().st_mode & 0o777 == 0o640
    assert output.read_bytes().startswith(b"\x93LNINFO\n")
    assert [path.name for path in tmp_path.iterdir()] == ["t.lineinfo"]


def test_a_link_is_followed_and_a_pipe_is_written_to(world: World, tmp_path: Path) -> None:
    plain, target, link, pipe = (tmp_path / name for name in ("plain", "target", "link", "pipe"))
    built(world.module, "-o", plain, "--jobs", "1")
    link.symlink_to(target)
    built(world.module, "-o", link, "--jobs", "1")
    assert link.is_symlink()
    assert target.read_bytes() == plain.read_bytes()
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        built(world.module, "-o", pipe, "--jobs", "1")
        assert pipe.is_fifo()
        assert os.read(reader, 1 << 16) == plain.read_bytes()
    finally:
        os.close(reader)


def test_an_exception_leaves_the_old_file_and_nothing_else(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "t.lineinfo"
    output.write_bytes(b"old")
    for error in (KeyboardInterrupt, MemoryError, RuntimeError):

        def fail(*_: object, error: type[BaseException] = error) -> None:
            raise error

        places = ((build_module_under_test, "encode_image"), (FileWriter, "finish"))
        for owner, name in places:
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, fail)
                with pytest.raises(error):
                    build(list(sources_in(str(world.module))), str(output), Options(), quiet)
            assert [path.name for path in tmp_path.iterdir()] == ["t.lineinfo"]
            assert output.read_bytes() == b"old"


#: A build of some seconds: the sample module under many names.
MANY = 150


def many_modules(folder: Path) -> Path:
    data = (SAMPLES / "x86_64" / "oopser.ko").read_bytes()
    folder.mkdir()
    for number in range(MANY):
        (folder / f"module{number}.ko").write_bytes(data)
    return folder


@pytest.mark.parametrize("after", [0.0, 0.7])
@pytest.mark.parametrize("sort", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_ended_leaves_the_old_file_and_nothing_else(
    sort: signal.Signals, after: float, tmp_path: Path
) -> None:
    if signal.getsignal(sort) is signal.SIG_IGN:
        pytest.skip("this session ignores the signal, as a shell has its background jobs do, and so would the build")
    tree = many_modules(tmp_path / "tree")
    folder = tmp_path / "out"
    folder.mkdir()
    output = folder / "t.lineinfo"
    output.write_bytes(b"old")
    process = subprocess.Popen(
        [*PROGRAM, "build", str(tree), "-o", str(output), "--jobs", "2"],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while not list(folder.glob(".t.lineinfo.*")) and process.poll() is None:
        time.sleep(0.005)  # before, Python itself is still starting
    time.sleep(after)
    os.killpg(process.pid, sort)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode in (130, -sort, 128 + sort)
    assert output.read_bytes() == b"old"
    assert [path.name for path in folder.iterdir()] == ["t.lineinfo"]
    assert b"Traceback" not in errors, errors.decode()
    with pytest.raises(ProcessLookupError):  # no worker is left behind
        _wait_for_group(process.pid)


def _wait_for_group(group: int) -> None:
    for _ in range(100):
        os.killpg(group, 0)
        time.sleep(0.05)


def test_a_build_that_is_killed_leaves_the_old_file_and_no_process(tmp_path: Path) -> None:
    tree = many_modules(tmp_path / "tree")
    output = tmp_path / "t.lineinfo"
    output.write_bytes(b"old")
    process = subprocess.Popen(
        [*PROGRAM, "build", str(tree), "-o", str(output), "--jobs", "2"],
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(0.9)
    process.kill()  # only the parent: its workers must notice
    process.wait(timeout=PATIENCE)
    with pytest.raises(ProcessLookupError):
        _wait_for_group(process.pid)
    assert output.read_bytes() == b"old"


def sentence(done: subprocess.CompletedProcess[bytes]) -> str:
    """The only one, of a run that failed."""
    assert (done.returncode, done.stdout) == (1, b""), done.stderr.decode()
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("lineinfo: ")
    return line.removeprefix("lineinfo: ")


def test_an_output_folder_that_is_not_there_is_one_sentence(world: World, tmp_path: Path) -> None:
    output = tmp_path / "gone" / "t.lineinfo"
    assert sentence(run("build", world.module, "-o", output)) == (
        f"{output}: cannot be written: No such file or directory"
    )


def test_an_output_that_is_a_folder_is_one_sentence(world: World, tmp_path: Path) -> None:
    assert sentence(run("build", world.module, "-o", tmp_path, "--jobs", "1")).startswith(
        f"{tmp_path}: cannot be written"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_output_folder_that_may_not_be_written_to_is_one_sentence(world: World, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    output = tmp_path / "t.lineinfo"
    assert sentence(run("build", world.module, "-o", output)) == f"{output}: cannot be written: Permission denied"


def unusable(folder: Path) -> dict[str, Path]:
    """Files that no table can be made of."""
    folder.mkdir()
    good = (SAMPLES / "x86_64" / "oopser.ko").read_bytes()
    files = {name: folder / f"{name}.ko" for name in ("text", "cut", "empty", "gone", "bare")}
    files["text"].write_bytes(b"text\n")
    files["cut"].write_bytes(good[:5000])
    files["empty"].write_bytes(b"")
    files["bare"].write_bytes(
        write_elf(ElfSpec([SectionSpec(".text", bytes(16), flags=ALLOC | EXECINSTR)], [], type=1))
    )
    return files


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_sources_that_cannot_be_used_are_left_out_with_a_sentence(world: World, tmp_path: Path, jobs: str) -> None:
    files = unusable(tmp_path / "files")
    output = tmp_path / "t.lineinfo"
    complaints = built(world.kernel, *files.values(), world.module, "-o", output, "--jobs", jobs)
    assert all(line.endswith("; left out") for line in complaints)
    assert sorted(line.split(": ")[1] for line in complaints) == sorted(map(str, files.values()))
    assert [found.image.name for found in _table(output).all_images()] == [b"", b"crasher"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_nothing_that_can_be_used_is_status_1_and_no_file(tmp_path: Path, jobs: str) -> None:
    files = unusable(tmp_path / "files")
    output = tmp_path / "t.lineinfo"
    said = sentence(run("build", *files.values(), "-o", output, "--jobs", jobs))
    assert any(said.startswith(f"{path}: ") for path in files.values())
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


def test_a_folder_without_kernels_or_modules_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    said = sentence(run("build", tmp_path, "-o", tmp_path / "t.lineinfo"))
    assert said == f"{tmp_path}: expected a vmlinux or modules below this folder, found none"


@pytest.mark.parametrize(
    "arguments", [["x.ko"], ["-o", "y"], ["x.ko", "-o", "y", "--jobs", "0"], ["x.ko", "-o", "y", "--jobs", "many"]]
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    done = run("build", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage:" in done.stderr


# --- options -----------------------------------------------------------------------------------------------------


def test_without_inlined_calls(world: World, tmp_path: Path) -> None:
    output = tmp_path / "t.lineinfo"
    built(world.kernel, "-o", output, "--no-inlines", "--jobs", "1")
    debug = open_image(str(world.kernel)).image
    image = next(iter(_table(output).all_images())).image
    assert not image.has_chains
    chains = 0
    for address in map(LinkAddr, range(world.second.address, world.second.address + world.second.size)):
        symbol = debug.symbol_at(address)
        assert symbol is not None
        right = debug.chain(address, symbol)
        assert image.chain(address, symbol) == expected_chain(right, inlines=False)
        chains += len(right) > 1
    assert chains
    assert "no inlined calls" in lines_of("info", output)[1]


def test_maintainers_are_taken_along(world: World, tmp_path: Path) -> None:
    text = tmp_path / "MAINTAINERS"
    entry = b"XFS\nM:\tS\xc3\xb6meone <someone@example.org>\nF:\tfs/xfs/\n"
    text.write_bytes(b"Maintainers List\n-------\n" + (b"\n" + entry + b"W:\thttp://example.org\n") * 50)
    output = tmp_path / "t.lineinfo"
    built(world.module, "-o", output, "--maintainers", text, "--jobs", "1")
    file = versions.open_table(output.read_bytes(), "t")
    (record,) = file.find(MAINTAINERS, b"")
    assert file.text(record) == file.maintainers() == entry * 50
    assert f"MAINTAINERS: {record.size} bytes" in lines_of("info", output)
    # It is no image: the module is the only one, with its addresses.
    assert lines_of("dump", output) == lines_of("dump", world.module)
    assert lines_of("lookup", "-k", output, "crash_now+0x4")[0].startswith("crash_now+0x4 (drivers/crasher.c:")
    gone = tmp_path / "gone"
    said = sentence(run("build", world.module, "-o", output, "--maintainers", gone))
    assert said == f"{gone}: cannot be read: No such file or directory"
    said = sentence(run("build", world.module, "-o", output, "--maintainers", world.module))
    assert said.startswith(f"{world.module}: expected a kernel's MAINTAINERS file, found no entry in it")


def test_damage_of_the_maintainers_costs_no_line(world: World, tmp_path: Path) -> None:
    text = tmp_path / "MAINTAINERS"
    text.write_bytes(b"XFS\nM:\tSomeone <someone@example.org>\nF:\tfs/xfs/\n")
    sound, bare, damaged = (tmp_path / f"{name}.lineinfo" for name in ("sound", "bare", "damaged"))
    built(world.kernel, "-o", sound, "--maintainers", text, "--jobs", "1")
    built(world.kernel, "-o", bare, "--jobs", "1")
    data = bytearray(sound.read_bytes())
    (record,) = versions.open_table(bytes(data), "t").find(MAINTAINERS, b"")
    data[record.offset + record.size // 2] ^= 0x10
    damaged.write_bytes(data)
    log = world.log()
    right = annotated("-k", bare, log=log).stdout
    assert b" (" in right
    for table, carried in ((sound, (text.read_bytes(), str(sound))), (bare, None)):
        assert _used(table).maintainers_text() == carried
        assert annotated("-k", table, log=log).stdout == right
    assert annotated("-k", damaged, log=log).stdout == right
    with pytest.raises(DamagedFileError, match="the MAINTAINERS text with the checksum that it should have") as caught:
        _used(damaged).maintainers_text()
    assert caught.value.source == str(damaged)


def _used(table: Path) -> Images:
    """Images that took the kernel of a table."""
    images = Images(Locator(SearchPlaces(kernels=(str(table),))), lambda _: None, lambda _: None)
    assert images.maintainers_text() is None
    assert isinstance(images.image_for(b"", b"", KernelId()), TableImage)
    return images


def annotated(*arguments: str | Path, log: bytes) -> subprocess.CompletedProcess[bytes]:
    return run(*arguments, text=log, program=FILTER)


def resolutions(*arguments: str | Path, log: bytes) -> list[Any]:
    """What ``--format jsonl`` says, without the names of the files."""
    done = annotated("--format", "jsonl", *arguments, log=log)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for each in found:
        for kernel in each.get("summary", each).get("kernels", ()):
            for name in ("file", "lines"):
                kernel.pop(name, None)
        for frame in each.get("frames", ()):
            frame.pop("detail", None)
    return found


def test_only_the_functions_of_a_log(world: World, tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    log.write_bytes(world.log())
    output = tmp_path / "t.lineinfo"
    built(world.kernel.parent, "-o", output, "--only-frames", log, "--jobs", "1")
    for options in ((), ("--inlines", "innermost")):
        right = annotated("-k", world.kernel.parent, *options, log=world.log())
        assert annotated("-k", output, *options, log=world.log()).stdout == right.stdout
        assert right.stdout.count(b" (") == 4  # three frames and the banner
    kernel, module = (found.image for found in _table(output).all_images())
    assert kernel.is_partial
    assert module.is_partial
    assert "only some functions" in lines_of("info", output)[1]
    start = extent(world.kernel, "second")
    assert lines_of("lookup", "-k", output, "start+0x4") == [f"start+0x4: {Missing.NO_TABLE.sentence}"]
    assert lines_of("lookup", "-k", output, start.frame(4).decode())[0].startswith(start.frame(4).decode() + " (")


def test_a_table_of_some_functions_does_not_say_that_there_is_no_such_symbol(world: World, tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    log.write_bytes(world.log(b"table+0x0/0x10"))
    output = tmp_path / "t.lineinfo"
    built(world.kernel.parent, "-o", output, "--only-frames", log, "--jobs", "1")
    right = resolutions("-k", world.kernel.parent, log=log.read_bytes())
    found = resolutions("-k", output, log=log.read_bytes())
    # What is not in a table of some functions may be elsewhere in the kernel: no line either, for another reason.
    words = [[frame["missing"] for line in lines for frame in line.get("frames", ())] for lines in (right, found)]
    assert words == [[None, None, None, "no-symbol", "data"], [None, None, None, "no-table", "data"]]
    frames = [[frame["locations"] for line in lines for frame in line.get("frames", ())] for lines in (right, found)]
    assert frames[0] == frames[1]


def test_logs_without_a_frame_of_the_sources_are_status_1_and_no_file(world: World, tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    log.write_bytes(b"nothing\n")
    said = sentence(run("build", world.kernel, "-o", tmp_path / "t.lineinfo", "--only-frames", log, "--jobs", "1"))
    assert str(tmp_path) in said
    assert [path.name for path in tmp_path.iterdir()] == ["one.log"]


# --- the commands ------------------------------------------------------------------------------------------------


def test_info_says_what_a_table_holds(world: World) -> None:
    lines = lines_of("info", world.table)
    size = world.table.stat().st_size
    assert lines[0] == f"{world.table}: lineinfo table, version 1, {size} bytes, images: 3"
    assert lines[1].startswith(f"kernel: release {RELEASE}, x86_64, build id {BUILD_ID}, ")
    assert lines[1].endswith("made from vmlinux")
    assert lines[2].endswith("made from kernel/crasher.ko")
    parts = [int(line.split()[0]) for line in lines[4:] if line.split()[0].isdecimal() and line[0] == " "]
    assert sum(parts[:-1]) == parts[-1] == size
    done = run("info", world.kernel)
    assert (done.returncode, done.stderr) == (0, b"")
    assert RELEASE in done.stdout.decode()


def test_a_dump_is_that_of_the_debug_information(world: World, tmp_path: Path) -> None:
    output = tmp_path / "t.lineinfo"
    for path in (world.kernel, world.module, SAMPLES / "x86_64" / "oopser.ko"):
        built(path, "-o", output, "--jobs", "1")
        assert lines_of("dump", output) == lines_of("dump", path)
    dumped = lines_of("dump", world.table)
    assert [line for line in dumped if line.startswith("[")] == ["[vmlinux]", "[crasher]", "[crasher]"]
    second = dumped.index("[crasher]")
    assert dumped[1:second] == lines_of("dump", world.kernel)


def test_lookups_are_those_of_the_debug_information(world: World) -> None:
    what = [world.second.frame(offset).decode() for offset in range(world.second.size)]
    what += [f"{world.first.address + offset:#x}" for offset in range(0, world.first.size, 3)]
    what += ["first", "second+0x2", "table", "gone+0x1/0x2", f"first+0x1/{world.first.size + 1:#x}", "0x10"]
    for options in ((), ("--return",)):
        assert lines_of("lookup", "-k", world.table, *options, *what) == lines_of(
            "lookup", "-k", world.kernel, *options, *what
        )
    frame = f"{world.crash.frame(5).decode()} [crasher]"
    assert lines_of("lookup", "-k", world.table, frame) == lines_of("lookup", "-k", world.module, frame)
    assert lines_of("lookup", "-k", world.table, f"{world.crash.frame(5).decode()} [gone]")[0].endswith(
        Missing.NO_MODULE.sentence
    )


# --- the filter --------------------------------------------------------------------------------------------------


def test_the_filter_answers_from_a_table_as_from_the_debug_information(world: World) -> None:
    log = world.log(b"start+0x5/0x30", world.second.frame(9))
    right = annotated("-k", world.kernel.parent, log=log)
    done = annotated("-k", world.table, log=log)
    assert done.stdout == right.stdout != log
    kernel = str(world.kernel).encode()
    assert done.stderr.replace(str(world.table).encode(), kernel) == right.stderr
    assert resolutions("-k", world.table, log=log) == resolutions("-k", world.kernel.parent, log=log)
    said = annotated("-v", "-k", world.table, log=log).stderr.decode()
    assert f"using {world.table} (given with -k)" in said


def test_a_table_beside_the_log_is_found(world: World, tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    log.write_bytes(world.log())
    (tmp_path / "any name.lineinfo").write_bytes(world.table.read_bytes())
    done = annotated(log, log=b"")
    assert done.stdout == annotated("-k", world.kernel.parent, log=world.log()).stdout


def test_the_build_id_in_the_log_chooses_between_two_builds(world: World) -> None:
    right = world.crash.frame(7) + b" [crasher " + BUILD_ID.encode() + b"]"
    other = world.other_crash.frame(7) + b" [crasher " + b"2" * 40 + b"]"
    strange = world.crash.frame(7) + b" [crasher " + b"7" * 40 + b"]"
    assert world.crash.size != world.other_crash.size
    lines = annotated("-k", world.table, log=world.log(right, other, strange)).stdout.splitlines()[-3:]
    assert [line.partition(b"] (")[2].partition(b":")[0] for line in lines] == [
        b"drivers/crasher.c", b"drivers/crasher.c", b""
    ]  # fmt: skip


def test_a_table_of_another_release_is_refused_beside_the_log_and_warned_of_when_given(
    world: World, tmp_path: Path
) -> None:
    table = tmp_path / "foreign.lineinfo"
    built(world.foreign, "-o", table, "--jobs", "1")
    log = tmp_path / "one.log"
    log.write_bytes(world.log())
    assert annotated(log, log=b"").stdout == world.log()
    done = annotated("-k", table, log=world.log())
    assert done.stdout != world.log()
    (warning,) = [line for line in done.stderr.decode().splitlines() if "6.9.9" in line]
    assert str(table) in warning
    assert RELEASE in warning


def damaged(path: Path, data: bytes, place: int) -> Path:
    changed = bytearray(data)
    changed[place] ^= 0xFF
    path.write_bytes(bytes(changed))
    return path


def test_a_damaged_table_beside_a_good_kernel_gives_no_wrong_line(world: World, tmp_path: Path) -> None:
    """Its header or directory: the kernel answers. One block: what it holds has no line, and it is said why."""
    log = world.log()
    right = annotated("-k", world.kernel.parent, log=log).stdout.splitlines()
    data = world.table.read_bytes()
    for place in (9, 20, len(data) - 3):
        table = damaged(tmp_path / "t.lineinfo", data, place)
        done = annotated("-k", table, "-k", world.kernel.parent, log=log)
        assert done.stdout.splitlines() == right
        assert done.returncode == 1  # it was named by the user
        assert str(table) in done.stderr.decode()
    bare = 0
    for place in range(48, len(data) - 300, 37):
        table = damaged(tmp_path / "t.lineinfo", data, place)
        done = annotated("-k", table, "-k", world.kernel.parent, log=log)
        for line, complete, original in zip(done.stdout.splitlines(), right, log.splitlines(), strict=True):
            assert line in (complete, original)
            if line != complete:
                bare += 1
                assert b"damaged" in done.stderr
    assert bare


def test_a_table_comes_before_debug_information(world: World) -> None:
    said = annotated("-v", "-k", world.kernel.parent, "-k", world.table, log=world.log()).stderr.decode()
    assert f"using {world.table}" in said
    assert f"using {world.kernel}" not in said


def test_open_table_of_one_image(world: World) -> None:
    """The helper of these tests and the one of the product agree."""
    debug = open_image(str(world.module)).image
    image = open_table(table_bytes(debug))
    assert image.find(b"crash_now")[0].address == debug.find(b"crash_now")[0].address
