"""``lineinfo-annotate`` as its users run it: bytes through, exit statuses, one sentence for what goes wrong."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from fake_world import (
    BUILD_ID,
    NAIVE_FRAME,
    RELEASE,
    build_kernel,
    build_module,
    extent,
    line_table,
    sample_logs,
)

from annotate.cli.streams import LogSource, Output
from annotate.model import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMMAND = (sys.executable, "-m", "annotate")
PROGRAM = "lineinfo-annotate: "
ENVIRONMENT = {
    **os.environ,
    "LC_ALL": "C.UTF-8",
    "LINEINFO_SYSROOT": "/nowhere",  # what this machine has is not the tests' business
    "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    "PYTHONDONTWRITEBYTECODE": "1",
}
#: A hang guard for everything that is waited for; no statement about speed.
PATIENCE = 20


class Result:
    """What a run left behind."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.status = done.returncode
        self.output = done.stdout or b""
        self.complaints = done.stderr.decode().splitlines()

    @property
    def summary(self) -> list[str]:
        """The sentences about frames."""
        return [line for line in self.complaints if " frames annotated; " in line]

    @property
    def errors(self) -> list[str]:
        """All other sentences."""
        return [line for line in self.complaints if line not in self.summary]


def run(*arguments: str | Path, log: bytes = b"", **options: Any) -> Result:
    """Run the filter with ``log`` on standard input."""
    where: dict[str, Any] = {"stdout": subprocess.PIPE, "env": ENVIRONMENT, "cwd": tempfile.gettempdir(), **options}
    command = [*COMMAND, *map(str, arguments)]
    return Result(subprocess.run(command, input=log, stderr=subprocess.PIPE, timeout=PATIENCE, check=False, **where))


class Files:
    """A small kernel and its module, away from any log."""

    def __init__(self, folder: Path) -> None:
        self.kernel = build_kernel(folder / "debug" / "vmlinux")
        self.module = build_module(folder / "debug" / "crasher.ko")
        self.first = extent(self.kernel, "first")
        self.second = extent(self.kernel, "second")
        self.crash = extent(self.module, "crash_now")
        #: A reliable frame that ends inside the call of second().
        self.frame = b"[    1.0]  " + self.first.frame(self.first.size - 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


# Lines.


def test_return_addresses_have_the_lines_of_an_independent_reader(files: Files) -> None:
    table = line_table(files.kernel)
    extents = (files.first, files.second)
    wanted = [(function, offset) for function in extents for offset in range(1, function.size)]
    log = b"".join(b" %s\n" % function.frame(offset) for function, offset in wanted)
    result = run("-k", files.kernel, "--inlines", "innermost", log=log)
    assert (result.status, result.complaints) == (0, [])
    lines = result.output.decode().splitlines()
    for (function, offset), line in zip(wanted, lines, strict=True):
        file, number = table[function.address + offset - 1]
        assert line.startswith(f" {function.frame(offset).decode()} ({file}:{number}")


def test_instruction_pointers_have_the_lines_of_an_independent_reader(files: Files) -> None:
    table = line_table(files.module)
    log = b"".join(b"RIP: 0010:%s [crasher]\n" % files.crash.frame(offset) for offset in range(files.crash.size))
    result = run("-m", files.module, log=log)
    assert (result.status, result.complaints) == (0, [])
    for offset, line in enumerate(result.output.decode().splitlines()):
        file, number = table[files.crash.address + offset]
        assert line == f"RIP: 0010:{files.crash.frame(offset).decode()} [crasher] ({file}:{number})"


def test_an_inlined_call_is_shown_as_a_chain(files: Files) -> None:
    table = line_table(files.kernel)
    inside = [
        offset for offset in range(1, files.second.size) if table[files.second.address + offset - 1][0].endswith(".h")
    ]
    offset = inside[-1]
    number = table[files.second.address + offset - 1][1]
    frame = files.second.frame(offset)
    expected = b" %s (include/linux/twice.h:%d in twice, fs/second.c:102)\n" % (frame, number)
    assert run("-k", files.kernel, log=b" %s\n" % frame).output == expected


def test_raw_addresses_use_the_offset_at_the_end_of_a_file_and_the_option(files: Files, tmp_path: Path) -> None:
    slide = 0xFFFF_FFFF_8000_0000
    address = files.first.address + files.first.size - 1
    entry = b" 0x%x\n" % (address + slide)
    log = entry + b"Kernel Offset: 0x%x from 0xffffffff81000000\n" % slide
    expected = entry[:-1] + b" (fs/first.c:%d in first)\n" % line_table(files.kernel)[address - 1][1]
    (tmp_path / "oops.log").write_bytes(log)
    assert run("-k", files.kernel, tmp_path / "oops.log").output.startswith(expected)
    assert run("-k", files.kernel, "--kaslr-offset", f"{slide:x}", log=entry).output == expected
    assert run("-k", files.kernel, log=log).output.startswith(expected)
    unknown = run("-k", files.kernel, log=entry)
    assert unknown.output == entry
    assert Missing.NO_OFFSET.sentence in unknown.summary[0]


def test_modules_and_kernel_beside_the_log_are_found(files: Files, tmp_path: Path) -> None:
    shutil.copy(files.kernel, tmp_path)
    shutil.copy(files.module, tmp_path)
    log = b" %s\n %s [crasher]\n" % (files.first.frame(files.first.size - 1), files.crash.frame(2))
    (tmp_path / "oops.log").write_bytes(log)
    for arguments, cwd in (((tmp_path / "oops.log",), "/"), (("oops.log",), tmp_path)):
        result = run(*arguments, cwd=cwd)
        assert result.output.count(b" (fs/first.c:") == 1
        assert result.output.count(b" (drivers/crasher.c:") == 1
        assert (result.status, result.complaints) == (0, [])


_WARNING = re.compile(
    rb"WARNING: CPU: \d+ PID: \d+ at (?P<place>\S+:\d+) (?P<frame>\S+ \[oopser\])(?: \((?P<answer>[^()]*)\))?"
)


def test_warnings_of_real_logs_name_the_line_that_the_kernel_printed_itself() -> None:
    checked = 0
    for log in sample_logs():
        for match in _WARNING.finditer(run(log).output):
            assert match["answer"] is not None, match[0]
            places = [place.split(b" in ")[0] for place in match["answer"].split(b", ")]
            assert match["place"] in places
            checked += 1
    assert checked >= 5


def test_real_logs_come_out_unchanged_but_for_insertions_of_known_form() -> None:
    log = b"".join(path.read_bytes() for path in sample_logs()[:3])
    module = next(path for path in sample_logs()[0].parent.glob("oopser.ko"))
    result = run("-m", module, log=log)
    insertion = re.compile(rb"(?<=\]) \((?:[^()\n]*\.[chS]:\d+[^()\n]*)\)")
    assert len(insertion.findall(result.output)) > 10
    assert insertion.sub(b"", result.output) == log
    assert run("-m", module, log=result.output).output == result.output


# Exit statuses.


def test_status_0_when_all_went_well_and_nothing_is_said(files: Files) -> None:
    result = run("-k", files.kernel, "--strict", log=files.frame + b"\n")
    assert (result.status, result.complaints) == (0, [])
    assert b" (fs/first.c:" in result.output


def test_status_0_for_text_without_frames(files: Files) -> None:
    for log in (b"", b"\n", b"no frames at all\r\n\0\xff", b"0xffff +0x"):
        result = run("-k", files.kernel, "--strict", log=log)
        assert (result.status, result.output, result.complaints) == (0, log, [])


def test_status_0_with_misses_and_3_with_strict(files: Files) -> None:
    log = b" gone+0x1/0x10\n"
    assert run("-k", files.kernel, log=log).status == 0
    strict = run("-k", files.kernel, "--strict", log=log)
    assert (strict.status, strict.output) == (3, log)


def test_a_variable_is_no_miss(files: Files) -> None:
    result = run("-k", files.kernel, "--strict", log=b" table+0x0/0x10\n")
    assert (result.status, result.complaints) == (0, [])


@pytest.mark.parametrize(
    "arguments", [["--no-such-option"], ["--inlines", "some"], ["--kaslr-offset", "xyz"], ["--format", "x"]]
)
def test_status_2_for_wrong_usage_and_no_output(arguments: list[str]) -> None:
    result = run(*arguments, log=b"text\n")
    assert (result.status, result.output) == (2, b"")
    assert any(arguments[-1] in line for line in result.complaints)


def test_status_1_outweighs_a_miss(files: Files, tmp_path: Path) -> None:
    assert run("-k", files.kernel, "--strict", tmp_path / "gone", "-", log=b" gone+0x1/0x10\n").status == 1


# Logs.


def test_several_logs_come_out_in_the_order_they_were_given(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"from a\n")
    (tmp_path / "b").write_bytes(b"from b, unterminated")
    result = run(tmp_path / "b", "-", tmp_path / "a", tmp_path / "b", log=b"from input\n")
    assert result.output == b"from b, unterminatedfrom input\nfrom a\nfrom b, unterminated"
    assert result.status == 0


@pytest.mark.parametrize("unreadable", ["missing", "folder", "/proc/self/mem"])
def test_a_log_that_cannot_be_read_fails_and_the_others_are_still_done(tmp_path: Path, unreadable: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "good").write_bytes(b"good\n")
    path = str(tmp_path / unreadable)  # an absolute name stands for itself
    result = run(tmp_path / "good", path, tmp_path / "good")
    assert result.output == b"good\ngood\n"
    assert result.status == 1
    (sentence,) = result.complaints
    assert sentence.startswith(f"{PROGRAM}{path}: ")


def test_a_log_that_may_not_be_read_fails() -> None:
    with _open_folder() as folder:
        log = folder / "oops.log"
        log.write_bytes(b"secret\n")
        log.chmod(0)
        result = run_as_nobody(log)
    assert (result.status, result.output) == (1, b"")
    assert result.complaints == [f"{PROGRAM}{log}: cannot be read: Permission denied"]


# Output.


def _lines_of(stream: IO[bytes]) -> bytes:
    """What is there within the time that is allowed."""
    ready, _, _ = select.select([stream], [], [], PATIENCE)
    assert ready, "nothing came out in time"
    return os.read(stream.fileno(), 1 << 16)


def test_a_line_on_a_pipe_comes_out_before_the_pipe_is_closed(files: Files) -> None:
    command = [*COMMAND, "-k", str(files.kernel)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(files.frame + b"\r\n")
            process.stdin.flush()
            line = _lines_of(process.stdout)
            assert line.startswith(files.frame + b" (fs/first.c:")
            assert line.endswith(b")\r\n")
        process.stdin.write(b"unterminated")
        process.stdin.close()
        assert _lines_of(process.stdout) == b"unterminated"
        assert process.wait(PATIENCE) == 0


def test_a_closed_output_pipe_ends_it_quietly(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_bytes(b"[    1.0]  some_function+0x1/0x20\n" * 400_000)
    command = [*COMMAND, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"[    1.0]  some_function+0x1/0x20\n"
        process.stdout.close()
        complaints = process.stderr.read()
        assert process.wait(PATIENCE) == 0
    assert complaints == b""


def test_a_full_output_is_one_sentence_and_status_1() -> None:
    with Path("/dev/full").open("wb") as full:
        result = run(log=b"text\n", stdout=full)
    assert result.status == 1
    assert result.complaints == [f"{PROGRAM}output lost: No space left on device"]


def test_what_the_system_does_not_take_at_once_is_written_with_the_next_call(tmp_path: Path) -> None:
    """Of 3000 bytes in one call a file that may have 1000 takes 1000; only the next call says that there is no more."""
    limited = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
    command = [sys.executable, "-c", limited + "os.execv(sys.argv[1], sys.argv[1:])", *COMMAND]
    log = b"text\n" * 600
    with (tmp_path / "output").open("wb") as output:
        done = subprocess.run(
            command, input=log, stdout=output, stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=PATIENCE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [f"{PROGRAM}output lost: File too large"]
    assert (tmp_path / "output").read_bytes() == log[:1000]


@pytest.mark.parametrize("sizes", [(1,), (7, 1, 100), (1 << 16,)])
def test_all_of_a_piece_is_written_in_whatever_pieces_the_system_takes_it(
    sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    takes, write = itertools.cycle(sizes), os.write
    output, data = Output(), b"".join(b"line %d\n" % number for number in range(200))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, piece: write(descriptor, piece[: next(takes)]))
        output.write(data)
    assert capfd.readouterr().out.encode() == data


def test_a_log_that_was_read_from_already_begins_where_it_stands(tmp_path: Path) -> None:
    """``(read line; lineinfo-annotate) < log``: what is ahead is counted from there too."""
    log = tmp_path / "some.log"
    log.write_bytes(b"".join(b"%07d\n" % number for number in range(20_000)))
    descriptor = os.open(log, os.O_RDONLY)
    try:
        os.lseek(descriptor, 800, os.SEEK_SET)
        source = LogSource(descriptor)
        assert b"".join(source.ahead(0)) == log.read_bytes()[800:]
        first = source.read(None)
        assert first is not None
        assert first.startswith(b"0000100\n")
        assert b"".join(source.ahead(len(first))) == log.read_bytes()[800 + len(first) :]
    finally:
        os.close(descriptor)


def test_a_closed_output_is_one_sentence_and_status_1() -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND]
    done = subprocess.run(
        command, input=b"text\n", stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [f"{PROGRAM}output lost: standard output is closed"]


def test_a_closed_input_is_one_sentence_and_status_1(files: Files) -> None:
    # Opening the kernel must not take the place of the closed standard input.
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "-k", str(files.kernel)]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert len(done.stderr.splitlines()) == 1


# A terminal.


def _on_a_terminal(*arguments: str | Path, typed: bytes) -> Result:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        os.write(ours, typed)
        output, complaints = process.communicate(timeout=PATIENCE)
    finally:
        os.close(ours)
        os.close(theirs)
    return Result(subprocess.CompletedProcess([], process.returncode, output, complaints))


def test_on_a_terminal_it_says_once_that_it_waits_for_a_paste() -> None:
    result = _on_a_terminal(typed=b"pasted\n" * 3 + b"\x04")
    assert result.status == 0
    assert result.output.replace(b"\r", b"") == b"pasted\n" * 3
    assert len(result.complaints) == 1
    assert "paste" in result.complaints[0]
    assert "Ctrl-D" in result.complaints[0]


def test_with_a_log_or_a_pipe_it_does_not(tmp_path: Path) -> None:
    (tmp_path / "oops.log").write_bytes(b"text\n")
    assert _on_a_terminal(tmp_path / "oops.log", typed=b"").complaints == []
    assert run(log=b"text\n").complaints == []


# Files that cannot be used: one clear sentence each, and the log comes out all the same.


@contextmanager
def _open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in folder.rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(folder)


#: Permissions mean nothing to root, so root becomes somebody else first, after a run that imports what will be needed:
#: others may not be allowed to read the interpreter's folder.
_AS_NOBODY = """
import os, sys
from annotate.cli.annotate import main
main(["/dev/null"])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main())
"""


def run_as_nobody(*arguments: str | Path, log: bytes = b"") -> Result:
    """Run the filter as a user without rights."""
    command = [sys.executable, "-c", _AS_NOBODY, *map(str, arguments)]
    return Result(
        subprocess.run(command, input=log, capture_output=True, env=ENVIRONMENT, cwd="/", timeout=PATIENCE, check=False)
    )


def _truncated(files: Files, folder: Path) -> Path:
    return _written(folder, files.kernel.read_bytes()[:3000])


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "vmlinux"
    path.write_bytes(data)
    return path


@pytest.fixture
def unusable(request: pytest.FixtureRequest, files: Files, tmp_path: Path) -> Iterator[Path]:
    """A file given with -k that cannot answer."""
    sort: str = request.param
    if sort == "truncated":
        yield _truncated(files, tmp_path)
    elif sort == "half a header":
        yield _written(tmp_path, files.kernel.read_bytes()[:40])
    elif sort == "built without -g":
        yield build_kernel(tmp_path / "vmlinux", "-g0")
    elif sort == "stripped":
        path = _written(tmp_path, files.kernel.read_bytes())
        subprocess.run(["strip", "-g", path], check=True, timeout=PATIENCE)
        yield path
    elif sort == "text":
        yield _written(tmp_path, b"just some text\n")
    elif sort == "empty":
        yield _written(tmp_path, b"")
    elif sort == "an image without symbols":
        yield _written(tmp_path, b"MZ\0\0" * 100)
    else:
        yield tmp_path / "gone"


_SORTS = (
    *("truncated", "half a header", "built without -g", "stripped", "text", "empty"),
    *("an image without symbols", "missing"),
)


@pytest.mark.parametrize("unusable", _SORTS, indirect=True)
def test_an_unusable_kernel_is_one_sentence_and_status_1_and_the_log_passes(unusable: Path, files: Files) -> None:
    for log in (b"no frames\r\n", files.frame + b"\r\n\xff\0 " + files.frame):
        result = run("-k", unusable, log=log)
        assert result.output == log
        assert result.status == 1
        (sentence,) = result.errors
        assert sentence.startswith(f"{PROGRAM}{unusable}: ")
        assert len(result.summary) == (1 if b"+0x" in log else 0)


def test_a_file_and_a_folder_without_permission_are_one_sentence_each(files: Files) -> None:
    log = files.frame + b"\r\n"
    with _open_folder() as folder:
        shutil.copy(files.kernel, folder / "vmlinux")
        (folder / "vmlinux").chmod(0)
        (folder / "closed").mkdir()
        (folder / "closed").chmod(0)
        for path in (folder / "vmlinux", folder / "closed"):
            result = run_as_nobody("-k", path, log=log)
            assert (result.status, result.output) == (1, log)
            assert result.errors == [f"{PROGRAM}{path}: cannot be read: Permission denied"]


def test_a_module_of_another_build_is_named_once_and_nothing_is_annotated(files: Files, tmp_path: Path) -> None:
    other = build_module(tmp_path / "crasher.ko", more="\ny *= 7; y ^= 3; y += x * 5;")
    assert extent(other, "crash_now").size != files.crash.size
    log = b"".join(b" %s [crasher]\r\n" % files.crash.frame(offset) for offset in (1, 2, 3))
    result = run("-m", other, log=log)
    assert (result.status, result.output) == (0, log)
    (sentence,) = result.complaints
    assert sentence.startswith(f"{PROGRAM}0 of 3 frames annotated; 3 in crasher: ")
    assert "another build" in sentence
    assert str(other) in sentence


def test_a_kernel_of_another_release_beside_the_log_is_not_used_and_not_reported_as_used(
    files: Files, tmp_path: Path
) -> None:
    shutil.copy(files.kernel, tmp_path)
    log = b"Linux version 5.0.0 (gcc) #1 SMP\n" + files.frame + b"\n"
    (tmp_path / "oops.log").write_bytes(log)
    result = run(tmp_path / "oops.log")
    assert (result.status, result.output) == (0, log)
    (sentence,) = result.complaints
    assert str(tmp_path / "vmlinux") in sentence
    assert "5.0.0" in sentence
    assert RELEASE in sentence
    summary = json.loads(run("--format", "jsonl", tmp_path / "oops.log").output.splitlines()[-1])["summary"]
    assert summary["kernels"] == []


def test_damaged_debug_info_costs_its_own_frames_only(files: Files, tmp_path: Path) -> None:
    sections = subprocess.run(["readelf", "-SW", files.kernel], check=True, capture_output=True, timeout=PATIENCE)
    match = re.search(rb"\.debug_info +PROGBITS +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+)", sections.stdout)
    assert match is not None
    start, size = int(match[1], 16), int(match[2], 16)
    data = bytearray(files.kernel.read_bytes())
    data[start + 12 : start + size] = b"\xff" * (size - 12)
    damaged = _written(tmp_path, bytes(data))
    log = files.frame + b"\r\n" + files.frame + b"\r\n"
    result = run("-k", damaged, log=log)
    assert result.output == log
    assert len([line for line in result.errors if str(damaged) in line]) == 1
    assert all(line.startswith(PROGRAM) for line in result.complaints)


# What is said.


def test_the_summary_says_how_many_of_how_many_and_why(files: Files, tmp_path: Path) -> None:
    log = files.frame + b"\n f+0x1/0x10 [nosuch]\n f+0x2/0x10 [nosuch]\n gone+0x1/0x10\n"
    result = run("-k", files.kernel, "-m", tmp_path, log=log)
    tried = f"(tried: {files.kernel}, {tmp_path})"
    first, second = result.complaints
    assert first == f"{PROGRAM}1 of 4 frames annotated; 2 in nosuch: no file of this module {tried}"
    assert second.startswith(f"{PROGRAM}1 in the kernel: {Missing.NO_SYMBOL.sentence}")
    assert result.status == 0


def test_a_module_without_debug_info_is_named(files: Files, tmp_path: Path) -> None:
    bare = tmp_path / "crasher.ko"
    shutil.copy(files.module, bare)
    subprocess.run(["strip", "-g", bare], check=True, timeout=PATIENCE)
    result = run("-m", bare, log=b" %s [crasher]\n" % files.crash.frame(2))
    (sentence,) = result.complaints
    assert sentence.startswith(f"{PROGRAM}0 of 1 frames annotated; 1 in crasher: no debug info (tried: {bare}: ")
    assert result.status == 0


def test_without_any_kernel_it_says_what_to_give() -> None:
    result = run(log=b" f+0x1/0x10\n")
    assert result.complaints == [
        f"{PROGRAM}0 of 1 frames annotated; "
        "1 in the kernel: no vmlinux or table of this kernel (give one with -k or -m)"
    ]


def test_verbose_says_which_files_were_tried_and_changes_no_output(files: Files) -> None:
    quiet = run("-k", files.kernel, log=files.frame + b"\n")
    verbose = run("-k", files.kernel, "-v", log=files.frame + b"\n")
    assert verbose.output == quiet.output
    assert quiet.complaints == []
    assert any(
        re.search(rf"tried {files.kernel} \(given with -k\): opened, [\d.]+ ms$", line) for line in verbose.complaints
    )
    assert f"{PROGRAM}using {files.kernel} (given with -k): dwarf" in verbose.complaints


def test_a_kernel_of_another_release_that_was_given_is_used_with_a_warning(files: Files) -> None:
    log = b"Linux version 5.0.0 (gcc) #1 SMP\n" + files.frame + b"\n"
    result = run("-k", files.kernel, log=log)
    assert b" (fs/first.c:" in result.output
    (warning,) = result.complaints
    assert str(files.kernel) in warning
    assert result.status == 0


def test_a_kernel_with_another_build_id_is_not_used_even_when_given(files: Files) -> None:
    cpu_line = b"CPU: 0 UID: 0 PID: 7 Comm: cat Not tainted " + RELEASE.encode() + b" #1 SMP " + b"2" * 40 + b"\n"
    log = cpu_line + files.frame + b"\n"
    result = run("-k", files.kernel, log=log)
    assert result.output == log
    (sentence,) = result.complaints
    assert BUILD_ID in sentence
    right = run("-k", files.kernel, log=log.replace(b"2" * 40, BUILD_ID.encode()))
    assert b" (fs/first.c:" in right.output


def _objects(output: bytes) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_json_lines_name_the_log_and_end_with_a_summary(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "oops.log"
    path.write_bytes(b"text\n" + files.frame + b"\r\n")
    result = run("-k", files.kernel, "--format", "jsonl", path, "-", log=b" gone+0x1/0x10\nno frame")
    first, second, last = _objects(result.output)
    assert (first["log"], first["line"], first["text"].encode()) == (str(path), 2, files.frame)
    assert first["frames"][0]["locations"][-1]["file"] == "fs/first.c"
    assert (second["log"], second["line"], second["frames"][0]["missing"]) == ("-", 1, "no-symbol")
    assert last["summary"] == {
        "lines": 4,
        "frames": 2,
        "annotated": 1,
        "missing": {"no-symbol": 1},
        "kernels": [{"file": str(files.kernel), "release": RELEASE, "build_id": BUILD_ID, "lines": "dwarf"}],
    }


def test_json_lines_of_real_logs_agree_with_a_naive_count() -> None:
    log = sample_logs()[-1]
    objects = _objects(run("--format", "jsonl", log).output)
    data = log.read_bytes()
    lines = data.split(b"\n")
    frames = [(line["line"], frame) for line in objects[:-1] for frame in line["frames"] if frame["symbol"]]
    assert len(frames) == len(NAIVE_FRAME.findall(data)) > 10
    for number, frame in frames:
        start, end = frame["span"]
        match = NAIVE_FRAME.match(lines[number - 1], start)
        assert match is not None
        assert match.end("size") == end
    assert objects[-1]["summary"]["lines"] == data.count(b"\n") + (not data.endswith(b"\n"))


def test_what_comes_out_of_a_pipe_does_not_depend_on_the_writers_pauses(files: Files) -> None:
    log = (files.frame + b"\r\ntext\n") * 20
    whole = run("-k", files.kernel, log=log).output
    command = [*COMMAND, "-k", str(files.kernel)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for position in range(0, len(log), 97):
            process.stdin.write(log[position : position + 97])
            process.stdin.flush()
            time.sleep(0.001)
        process.stdin.close()
        assert process.stdout.read() == whole
        assert process.wait(PATIENCE) == 0
    assert whole.count(b" (fs/first.c:") == 20
