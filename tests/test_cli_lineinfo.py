"""``lineinfo lookup`` and ``lineinfo dump``, held against readers that are not ours."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import dwarf_writer as w
import pytest
from dwarf_writer import COPY, END_SEQUENCE, Attribute, Entry, LineSpec, UnitSpec, advance_line, advance_pc, set_address
from elf_writer import SymbolSpec
from fake_world import build_kernel, build_module, extent, line_table

from annotate.model import Missing

COMMAND = (sys.executable, "-m", "annotate.cli.lineinfo")
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
PATIENCE = 20


def run(*arguments: str | Path, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=text,
        capture_output=True,
        check=False,
        env=ENVIRONMENT,
        cwd=tempfile.gettempdir(),
        timeout=PATIENCE,
    )


def lines_of(*arguments: str | Path, text: bytes = b"") -> list[str]:
    """The output of a run that went well."""
    done = run(*arguments, text=text)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().splitlines()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_kernel(tmp_path_factory.mktemp("kernel") / "vmlinux")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_module(tmp_path_factory.mktemp("module") / "crasher.ko")


def test_frames_are_taken_as_exact(kernel: Path) -> None:
    first, table = extent(kernel, "first"), line_table(kernel)
    frames = [first.frame(offset).decode() for offset in range(first.size)]
    lines = lines_of("lookup", "-k", kernel, *frames)
    for offset, (frame, line) in enumerate(zip(frames, lines, strict=True)):
        file, number = table[first.address + offset]
        assert line == f"{frame} ({file}:{number})"


def test_return_takes_frames_as_return_addresses(kernel: Path) -> None:
    first, table = extent(kernel, "first"), line_table(kernel)
    frames = [first.frame(offset).decode() for offset in range(1, first.size + 1)]
    lines = lines_of("lookup", "-k", kernel, "--return", *frames)
    for offset, (frame, line) in enumerate(zip(frames, lines, strict=True), 1):
        file, number = table[first.address + offset - 1]
        assert line == f"{frame} ({file}:{number})"


def test_an_address_is_given_its_symbol(kernel: Path) -> None:
    first, table = extent(kernel, "first"), line_table(kernel)
    for offset in (0, 1, first.size - 1):
        file, number = table[first.address + offset]
        expected = f"{first.address + offset:#x} first+{offset:#x}/{first.size:#x} ({file}:{number} in first)"
        assert lines_of("lookup", "-k", kernel, f"{first.address + offset:#x}") in (
            [expected],
            [expected.replace(" in first)", ")")],  # the label names the function already
        )


def test_an_inlined_call_is_a_chain(kernel: Path) -> None:
    second, table = extent(kernel, "second"), line_table(kernel)
    offset = next(offset for offset in range(second.size) if table[second.address + offset][0].endswith(".h"))
    number = table[second.address + offset][1]
    frame = second.frame(offset).decode()
    assert lines_of("lookup", "-k", kernel, frame) == [
        f"{frame} (include/linux/twice.h:{number} in twice, fs/second.c:102)"
    ]


def test_module_frames_may_carry_their_bracket(module: Path) -> None:
    crash, table = extent(module, "crash_now"), line_table(module)
    file, number = table[crash.address + 2]
    for what in (f"{crash.frame(2).decode()} [crasher]", f"{crash.frame(2).decode()} [crasher 0123abcd]"):
        assert lines_of("lookup", "-k", module, what) == [f"{what} ({file}:{number})"]


def test_a_name_alone_and_a_name_without_a_size_are_accepted(kernel: Path) -> None:
    table, first = line_table(kernel), extent(kernel, "first")
    assert lines_of("lookup", "-k", kernel, "first", "first+0x4") == [
        f"first ({':'.join(map(str, table[first.address]))})",
        f"first+0x4 ({':'.join(map(str, table[first.address + 4]))})",
    ]


def test_standard_input_is_read_a_line_each_between_the_arguments(kernel: Path) -> None:
    frame = extent(kernel, "first").frame(4).decode()
    lines = lines_of(
        "lookup", "-k", kernel, "gone+0x1/0x2", "-", "also_gone", text=f"\n  {frame}\r\n{frame}\n\n".encode()
    )
    assert [line.split(" (")[0] for line in lines] == [
        f"gone+0x1/0x2: {Missing.NO_SYMBOL.sentence}",
        frame,
        frame,
        f"also_gone: {Missing.NO_SYMBOL.sentence}",
    ]


def test_standard_input_that_is_no_utf8_is_a_miss_and_not_a_crash(kernel: Path) -> None:
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "utf-8:strict"}  # as in most languages' locales
    done = subprocess.run(
        [*COMMAND, "lookup", "-k", str(kernel), "-"],
        input=b"caf\xe9+0x1/0x2\nfirst\n",
        capture_output=True,
        check=False,
        env=environment,
        timeout=PATIENCE,
    )
    assert done.stderr == b""
    missed, found = done.stdout.splitlines()
    assert missed == b"caf\xe9+0x1/0x2: " + Missing.NO_SYMBOL.sentence.encode()
    assert found.startswith(b"first (fs/first.c:")


def test_misses_say_why_in_words(kernel: Path) -> None:
    size = extent(kernel, "first").size
    assert lines_of(
        "lookup", "-k", kernel, "gone+0x1/0x2", f"first+0x1/{size + 1:#x}", f"first+{size + 1:#x}/{size:#x}"
    ) == [
        f"gone+0x1/0x2: {Missing.NO_SYMBOL.sentence}",
        f"first+0x1/{size + 1:#x}: {Missing.SIZE_DIFFERS.sentence}",
        f"first+{size + 1:#x}/{size:#x}: {Missing.CORRUPT.sentence}",
    ]
    assert lines_of("lookup", "-k", kernel, "0x10", "table+0x0/0x10") == [
        f"0x10: {Missing.NO_SYMBOL.sentence}",
        f"table+0x0/0x10: {Missing.DATA.sentence}",
    ]


def test_a_frame_of_a_module_is_not_looked_up_in_a_kernel(kernel: Path) -> None:
    """A module function that is called and sized like one of the kernel's must not get the kernel's line."""
    frame = extent(kernel, "first").frame(4).decode() + " [crasher]"
    (line,) = lines_of("lookup", "-k", kernel, frame)
    assert line.startswith(f"{frame}: ")


@pytest.mark.parametrize("what", ["", "two words", "first+4", "first+0x4/12", "first+0x1/0x2 [mod"])
def test_what_is_no_frame_is_one_sentence_and_status_1_and_the_rest_is_answered(kernel: Path, what: str) -> None:
    done = run("lookup", "-k", kernel, what, "first")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"lineinfo: {what}: ".encode())
    assert done.stdout.startswith(b"first (fs/first.c:")


@pytest.mark.parametrize("command", [("lookup", "-k"), ("dump",)])
@pytest.mark.parametrize("sort", ["missing", "text", "truncated", "bare"])
def test_an_unusable_file_is_one_sentence_that_names_it_and_status_1(
    command: tuple[str, ...], sort: str, kernel: Path, tmp_path: Path
) -> None:
    path = tmp_path / "vmlinux"
    if sort == "text":
        path.write_bytes(b"text\n")
    elif sort == "truncated":
        path.write_bytes(kernel.read_bytes()[:3000])
    elif sort == "bare":
        build_kernel(path, "-g0")
    done = run(*command, path, *(["first"] if command[0] == "lookup" else []))
    assert (done.returncode, done.stdout) == (1, b"")
    (sentence,) = done.stderr.decode().splitlines()
    assert sentence.startswith(f"lineinfo: {path}: ")


@pytest.mark.parametrize("arguments", [[], ["nosuch"], ["lookup"], ["lookup", "-k", "x"], ["dump"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage:" in done.stderr


def _dumped(path: Path) -> dict[int, tuple[str, int]]:
    """The dump spread over every address, as ``line_table`` gives it; addresses of a module as offsets in .text."""
    rows: list[tuple[int, str, int]] = []
    for line in lines_of("dump", path):
        where, _, place = line.partition(" ")
        file, _, line_number = place.rpartition(":")
        rows.append((int(where.removeprefix(".text+"), 16), file, int(line_number)))
    assert rows[-1][1:] == ("??", 0)
    table: dict[int, tuple[str, int]] = {}
    for (address, file, number), (end, _, _) in pairwise(rows):
        assert address < end
        if file != "??":
            table.update(dict.fromkeys(range(address, end), (file, number)))
    return table


def test_the_dump_of_a_kernel_is_what_pyelftools_reads(kernel: Path) -> None:
    expected = line_table(kernel)
    assert len(expected) > 50
    assert _dumped(kernel) == expected


def test_the_dump_of_a_module_is_what_pyelftools_reads_by_section_and_offset(module: Path) -> None:
    expected = line_table(module)
    assert len(expected) > 20
    lines = lines_of("dump", module)
    assert [line for line in lines if not line.startswith(".text+0x")] == []
    assert _dumped(module) == expected


@pytest.mark.parametrize("version", ["2", "3", "4", "5"])
def test_the_dump_is_right_for_every_version_of_dwarf(version: str, tmp_path: Path) -> None:
    path = build_kernel(tmp_path / "vmlinux", f"-gdwarf-{version}")
    expected = line_table(path)
    assert {Path(file).name for file, _ in expected.values()} == {"twice.h", "second.c", "first.c", "main.c"}
    assert _dumped(path) == expected


def test_a_dump_names_only_places_where_the_answer_changes(kernel: Path) -> None:
    places = [line.partition(" ")[2] for line in lines_of("dump", kernel)]
    assert [pair for pair in pairwise(places) if pair[0] == pair[1]] == []


def damaged_kernel(path: Path, broken: int) -> Path:
    """Units of 16 bytes of code each, with a function each: a whole one, ``broken`` damaged ones and another whole one.

    Their lines are 1 and, of the last, its number.
    """
    units = []
    programs = b""
    for number in range(broken + 2):
        start = 0x1000 + 0x10 * number
        is_whole = number in (0, broken + 1)
        root: list[Attribute] = [
            (w.COMP_DIR, w.STRING, b"/linux"),
            (w.LOW_PC, w.ADDR, start),
            (w.HIGH_PC, w.DATA4, 0x10),
            (w.STMT_LIST, w.SEC_OFFSET, len(programs) if is_whole else 0xFFFF00 + number),
        ]
        units.append(UnitSpec(Entry(w.COMPILE_UNIT, root)))
        if is_whole:
            code = set_address(start) + advance_line(number) + COPY + advance_pc(0x10) + END_SEQUENCE
            programs += w.line_program(LineSpec(code, w.Format("<", 5), ("/linux",), (("fs/a.c", 0), ("fs/a.c", 0))))
    info, abbrev, _ = w.write_units(units)
    symbols = [SymbolSpec(f"f{number}", 0x1000 + 0x10 * number, size=0x10) for number in range(broken + 2)]
    path.write_bytes(w.debug_file({"info": info, "abbrev": abbrev, "line": programs}, symbols=symbols))
    return path


@pytest.mark.parametrize("broken", [0, 1, 10, 11, 13])
def test_a_dump_says_what_was_damaged_behind_all_rows_that_can_be_read(broken: int, tmp_path: Path) -> None:
    path = damaged_kernel(tmp_path / "vmlinux", broken)
    done = run("dump", path)
    last = 0x1010 + 0x10 * broken
    assert done.stdout.decode().splitlines() == [
        f"{0x1000:016x} fs/a.c:1",
        *([f"{0x1010:016x} ??:0"] if broken else []),
        f"{last:016x} fs/a.c:{broken + 2}",
        f"{last + 0x10:016x} ??:0",
    ]
    sentences = done.stderr.decode().splitlines()
    assert done.returncode == (1 if broken else 0)
    assert len(sentences) == min(broken, 11)
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.startswith(f"lineinfo: {path}: damaged at .debug_line+0xffff") for sentence in sentences[:10])
    assert sentences[10:] == ([f"lineinfo: and {broken - 10} more"] if broken > 10 else [])


def test_a_lookup_without_a_line_says_what_was_damaged_behind_all_answers(tmp_path: Path) -> None:
    path = damaged_kernel(tmp_path / "vmlinux", 12)
    done = run("lookup", "-k", path, "f0", "f2", "f5+0x4", "f13")
    assert done.stdout.decode().splitlines() == [
        "f0 (fs/a.c:1)",
        f"f2: {Missing.NO_LINE.sentence}",
        f"f5+0x4: {Missing.NO_LINE.sentence}",
        "f13 (fs/a.c:14)",
    ]
    sentences = done.stderr.decode().splitlines()
    assert [sentence.partition(": expected")[0] for sentence in sentences] == [
        f"lineinfo: {path}: damaged at .debug_line+0xffff{unit:02x}" for unit in (2, 5)
    ]
    assert done.returncode == 0  # as for every miss
    # What is damaged elsewhere in the file is not asked for, nor is it why there is no such symbol.
    assert lines_of("lookup", "-k", path, "f0", "f13", "gone") == [
        "f0 (fs/a.c:1)", "f13 (fs/a.c:14)", f"gone: {Missing.NO_SYMBOL.sentence}"
    ]  # fmt: skip


def test_what_was_damaged_comes_behind_what_was_answered_for_standard_input(tmp_path: Path) -> None:
    path = damaged_kernel(tmp_path / "vmlinux", 1)
    done = run("lookup", "-k", path, "-", "two words", text=b"f1\nf1\nf2\n")
    assert [line.partition(":")[0] for line in done.stdout.decode().splitlines()] == ["f1", "f1", "f2 (fs/a.c"]
    usage, damaged = done.stderr.decode().splitlines()
    assert usage.startswith("lineinfo: two words: ")
    assert damaged.startswith(f"lineinfo: {path}: damaged at ")
    assert done.returncode == 1


def test_a_closed_output_pipe_ends_it_quietly(kernel: Path) -> None:
    script = f'"$@" dump "{kernel}" | head -1'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND], capture_output=True, check=False, env=ENVIRONMENT, timeout=PATIENCE
    )
    assert done.stderr == b""
    assert len(done.stdout.splitlines()) == 1


def test_a_full_output_is_one_sentence_and_status_1(kernel: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "dump", str(kernel)],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=ENVIRONMENT,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == ["lineinfo: output lost: No space left on device"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_build_names_what_was_damaged_and_makes_a_table_of_the_rest(jobs: str, tmp_path: Path) -> None:
    path = damaged_kernel(tmp_path / "vmlinux", 12)
    table = tmp_path / "t.lineinfo"
    done = run("build", path, "-o", table, "--jobs", jobs)
    sentences = done.stderr.decode().splitlines()
    assert done.returncode == 0
    assert all(f"{path}: damaged at .debug_line+0xffff" in sentence for sentence in sentences[:10])
    assert all(sentence.endswith("; the table has no lines of it") for sentence in sentences[:10])
    assert sentences[10:] == ["lineinfo: and 2 more"]
    assert run("dump", table).stdout == run("dump", path).stdout
