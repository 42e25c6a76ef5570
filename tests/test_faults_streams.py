"""Pipes, signals, memory and logs of any size: every byte of the log comes out, or the status says that it did not.

``docs/reliability.md`` has a row for each.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from test_cli_annotate import COMMAND, ENVIRONMENT, PATIENCE, run
from test_faults_files import ANNOTATION, FIRST, LINEINFO, LOG, MODULE, TABLE, assert_right_or_bare, live

from annotate.cli import streams
from annotate.cli.annotate import main

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Of a log in tests, and by hand of more: LINEINFO_FAULT_BYTES=10737418240.
SIZE = int(os.environ.get("LINEINFO_FAULT_BYTES") or 1 << 30)
MEGABYTE = 1 << 20
#: What a run on a log of any size may take at most; Python and the program have 20 of it.
MOST_MEMORY = 100 * MEGABYTE


@pytest.fixture(scope="module")
def right() -> bytes:
    result = run("-k", TABLE, "-m", MODULE, log=LOG)
    assert result.status == 0
    return result.output


# Pipes that another program of the shell's line has set to O_NONBLOCK, for all who have them.


def pump(source: IO[bytes], chunks: Iterator[bytes]) -> None:
    for chunk in chunks:
        source.write(chunk)
        source.flush()
    source.close()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for number, start in enumerate(range(0, len(data), size)):
        if number % 7 == 0:
            time.sleep(0.01)  # there is nothing to read for a while
        yield data[start : start + size]


@pytest.mark.parametrize("format_", ["text", "jsonl"])
def test_pipes_that_do_not_block_lose_nothing(format_: str) -> None:
    expected = run("-k", TABLE, "-m", MODULE, "--format", format_, log=LOG).output
    log_read, log_write = os.pipe()
    out_read, out_write = os.pipe()
    os.set_blocking(log_read, False)
    os.set_blocking(out_write, False)
    arguments = [*COMMAND, "-k", str(TABLE), "-m", str(MODULE), "--format", format_]
    with subprocess.Popen(
        arguments, stdin=log_read, stdout=out_write, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        os.close(log_read)
        os.close(out_write)
        writer = threading.Thread(target=pump, args=(os.fdopen(log_write, "wb"), pieces(LOG, 5000)))
        writer.start()
        found = b""
        with os.fdopen(out_read, "rb", buffering=0) as output:
            time.sleep(0.5)  # meanwhile the pipe is full
            while data := output.read(1000):
                found += data
        writer.join()
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert found == expected


def test_short_writes_and_reads_lose_nothing(right: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = os.write, os.read
    output = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    log = tmp_path / "log"
    log.write_bytes(LOG)
    calls = 0

    def short_write(descriptor: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        return write(descriptor, data[: 1 + calls % 1000])

    def short_read(descriptor: int, size: int) -> bytes:
        return read(descriptor, min(size, 1 + calls % 5000))

    monkeypatch.setenv("LINEINFO_SYSROOT", "/nowhere")
    monkeypatch.setattr(streams.Output, "__init__", lambda self: setattr(self, "_descriptor", output))
    monkeypatch.setattr(os, "write", short_write)
    monkeypatch.setattr(os, "read", short_read)
    assert main(["-k", str(TABLE), "-m", str(MODULE), str(log)]) == 0
    monkeypatch.undo()
    os.close(output)
    assert (tmp_path / "out").read_bytes() == right
    assert calls > 100


# Descriptors that were closed: nothing that is opened later may become what they are.


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
def test_closed_descriptors_do_not_become_the_files_that_are_opened(
    closed: tuple[int, ...], right: bytes, tmp_path: Path
) -> None:
    module = Path(shutil.copy(MODULE, tmp_path))
    log = tmp_path / "log"
    log.write_bytes(LOG)
    before = module.read_bytes()

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    result = run("-k", TABLE, "-m", module, log, "-", preexec_fn=close)
    assert module.read_bytes() == before
    assert log.read_bytes() == LOG
    assert result.output == (b"" if 1 in closed else right)
    assert result.status == (1 if 0 in closed or 1 in closed else 0)
    if closed == (0,):
        assert "lineinfo-annotate: -: cannot be read further: Bad file descriptor" in result.errors


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)])
def test_a_table_is_the_same_where_complaints_have_nowhere_to_go(
    closed: tuple[int, ...], jobs: str, tmp_path: Path
) -> None:
    shutil.copy(MODULE, tmp_path)
    (tmp_path / "other.ko").write_bytes(b"no module")  # is complained of

    def build(name: str, *closed: int) -> bytes:
        def close() -> None:
            for descriptor in closed:
                os.close(descriptor)

        output = tmp_path / name
        command = [*LINEINFO, "build", str(tmp_path), "-o", str(output), "--jobs", jobs]
        subprocess.run(
            command, env=ENVIRONMENT, check=True, timeout=3 * PATIENCE, stderr=subprocess.PIPE, preexec_fn=close
        )
        return output.read_bytes()

    assert build("closed", *closed) == build("open")


def test_a_lookup_from_a_closed_standard_input_is_one_sentence_and_status_1() -> None:
    done = subprocess.run(
        [*LINEINFO, "lookup", "-k", str(MODULE), "-"],
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
        preexec_fn=lambda: os.close(0),
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"lineinfo: -: cannot be read: Bad file descriptor\n"


def test_a_full_standard_error_changes_nothing(right: bytes) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "-k", str(TABLE), "-m", str(MODULE)],
            input=LOG,
            stdout=subprocess.PIPE,
            stderr=full,
            env=ENVIRONMENT,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, right)


# Signals.


@pytest.mark.parametrize("sort", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_filter_behind_the_line_that_came_out(sort: signal.Signals) -> None:
    if signal.getsignal(sort) is signal.SIG_IGN:
        pytest.skip("this session ignores the signal, and so would the filter")
    with live("-m", MODULE) as filter_:
        assert ANNOTATION.search(filter_.ask(FIRST))
        filter_.process.send_signal(sort)
        output, errors = filter_.process.communicate(timeout=PATIENCE)
        assert (output, errors) == (b"", b"")
        assert filter_.process.returncode == -sort


def test_being_stopped_and_continued_loses_nothing(right: bytes) -> None:
    with live("-k", TABLE, "-m", MODULE) as filter_:
        process = filter_.process
        assert process.stdin is not None
        assert process.stdout is not None
        writer = threading.Thread(target=pump, args=(process.stdin, pieces(LOG, 3000)))
        writer.start()
        found = b""
        for _ in range(10):
            process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGCONT)
            found += os.read(process.stdout.fileno(), 4000)
        while data := os.read(process.stdout.fileno(), 1 << 16):
            found += data
        writer.join()
        assert process.wait(PATIENCE) == 0
    assert found == right


def test_an_interrupted_lookup_is_status_130() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("this session ignores the signal, and so would the command")
    process = subprocess.Popen(
        [*LINEINFO, "lookup", "-k", str(MODULE), "oopser_null_deref", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert ANNOTATION.search(process.stdout.readline())
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    assert (output, errors, process.returncode) == (b"", b"", 130)


# Too little memory.


def test_with_too_little_memory_frames_have_no_line_and_the_log_passes(right: bytes) -> None:
    """From what it takes to start on: every line is right or bare, and the status says whether memory was enough."""

    def limited(megabytes: float, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        size = int(megabytes * MEGABYTE)
        return subprocess.run(
            [*COMMAND, *arguments],
            input=LOG,
            capture_output=True,
            env=ENVIRONMENT,
            timeout=PATIENCE,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
        )

    # What reading the log takes without any kernel, found by halving.
    low, high = 8.0, 512.0
    while high - low > 0.25:
        middle = (low + high) / 2
        done = limited(middle, "-r", "none")
        low, high = (low, middle) if done.stdout == LOG and done.returncode == 0 else (middle, high)
    expected = right.splitlines(keepends=True)
    outcomes = set()
    for more in (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48):
        done = limited(high + more, "-k", str(TABLE), "-m", str(MODULE))
        complaints = done.stderr.decode()
        assert "Traceback" not in complaints
        assert_right_or_bare(done.stdout.splitlines(keepends=True), expected)
        if done.returncode:
            assert "not enough memory" in complaints
        else:
            assert done.stdout == right
        outcomes.add(done.returncode)
    assert 0 in outcomes


@pytest.mark.parametrize("place", ["feed", "_read_line", "render"])
def test_where_memory_runs_out_within_the_filter_the_rest_passes_as_it_is(
    place: str, right: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from annotate.annotator import Annotator  # noqa: PLC0415
    from annotate.reader import Reader  # noqa: PLC0415
    from annotate.render.plain import PlainRenderer  # noqa: PLC0415

    owner = {"feed": Annotator, "_read_line": Reader, "render": PlainRenderer}[place]
    usual = getattr(owner, place)
    for number in (1, 2, 3, 10, 100):
        calls = 0

        def failing(*arguments: object, number: int = number, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == number:
                raise MemoryError
            return usual(*arguments, **named)

        monkeypatch.setattr(owner, place, failing)
        monkeypatch.setattr(streams, "CHUNK", 20_000)
        monkeypatch.setenv("LINEINFO_SYSROOT", "/nowhere")
        log = tmp_path / "log"
        log.write_bytes(LOG)
        status = main(["-k", str(TABLE), "-m", str(MODULE), str(log)])
        captured = capfd.readouterr()
        assert_right_or_bare(captured.out.encode().splitlines(keepends=True), right.splitlines(keepends=True))
        assert status == (1 if calls >= number else 0)
        assert ("not enough memory" in captured.err) is (calls >= number)
        monkeypatch.undo()


# Logs of any size.


#: Starts a command from a small process: the kernel counts the memory of whoever starts one as its own, until then.
LAUNCHER = """
import os, sys
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
with open(sys.argv[1], "w") as file:
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, file=file)
"""


def measured(log: Path | None, chunks: Iterator[bytes] | None, *arguments: str | Path) -> tuple[str, int, int]:
    """The hash and size of what comes out, and the peak memory of the filter in bytes."""
    command = [*COMMAND, *map(str, arguments), *([str(log)] if log is not None else [])]
    with tempfile.NamedTemporaryFile("r") as figures:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, figures.name, *command],
            stdin=subprocess.PIPE if chunks is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        assert process.stdout is not None
        writer = None
        if chunks is not None:
            assert process.stdin is not None
            writer = threading.Thread(target=pump, args=(process.stdin, chunks))
            writer.start()
        digest, size = hashlib.blake2b(), 0
        while data := os.read(process.stdout.fileno(), 1 << 20):
            digest.update(data)
            size += len(data)
        if writer is not None:
            writer.join()
        process.stdout.close()
        assert process.wait() == 0
        status, peak = map(int, figures.read().split())
    assert status == 0
    return digest.hexdigest(), size, peak * 1024


def hash_of(chunks: Iterator[bytes]) -> str:
    digest = hashlib.blake2b()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def one_line(size: int) -> Iterator[bytes]:
    """A log that is one line without an end, with a frame at its beginning."""
    piece = b"x+0x1/0x2 " + b"abcdefgh" * 8191 + b"  "
    for start in range(0, size, len(piece)):
        yield piece[: size - start]


def zeros(size: int) -> Iterator[bytes]:
    piece = bytes(1 << 16)
    for start in range(0, size, len(piece)):
        yield piece[: size - start]


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_a_log_of_zeros_takes_bounded_memory_and_comes_out_as_it_was(way: str, tmp_path: Path) -> None:
    log = tmp_path / "zeros"
    with log.open("wb") as file:
        file.truncate(SIZE)
    found = measured(log, None) if way == "file" else measured(None, zeros(SIZE))
    assert found[:2] == (hash_of(zeros(SIZE)), SIZE)
    assert found[2] < MOST_MEMORY


def test_a_log_of_one_line_takes_bounded_memory_and_comes_out_as_it_was() -> None:
    found = measured(None, one_line(SIZE))
    assert found[:2] == (hash_of(one_line(SIZE)), SIZE)
    assert found[2] < MOST_MEMORY


# Modules in numbers.


def test_a_tree_of_ten_thousand_modules_is_searched_for_those_of_the_log(tmp_path: Path) -> None:
    names = [f"module{number}" for number in range(10_000)]
    for number, name in enumerate(names):
        folder = tmp_path / "tree" / str(number % 100)
        folder.mkdir(parents=True, exist_ok=True)
        os.link(MODULE, folder / f"{name}.ko") if os.stat(MODULE).st_dev == os.stat(folder).st_dev else (
            folder / f"{name}.ko"
        ).symlink_to(MODULE)
    named = names[::50]
    log = b"".join(FIRST.replace(b"[oopser]", b"[%s]" % name.encode()) for name in named)
    result = run("-m", tmp_path / "tree", log=log)
    assert (result.status, result.complaints) == (0, [])
    assert ANNOTATION.sub(b"", result.output) == log
    assert len(ANNOTATION.findall(result.output)) == len(named) == 200


def test_a_kernel_with_ten_thousand_modules_loaded() -> None:
    linked_in = b" ".join(b"module%d(OE)" % number for number in range(10_000))
    log = b"[  1.0] Modules linked in: " + linked_in + b" [last unloaded: other]\n" + FIRST
    result = run("-m", MODULE, log=log)
    assert result.status == 0
    assert ANNOTATION.sub(b"", result.output) == log
    assert len(ANNOTATION.findall(result.output)) == 1
