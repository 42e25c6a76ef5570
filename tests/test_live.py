"""Each line comes out as soon as it is there, through pipes and through a terminal.

A line is waited for before the next is written, so the order of events is the proof; how long it took is recorded, not
asserted.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
import tty
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = SAMPLES / "x86_64"
#: The table of the sample's kernel and the module that crashed.
COMMAND = (
    *(sys.executable, "-m", "annotate"),
    *("-k", str(next(FOLDER.glob("*.lineinfo"))), "-m", str(FOLDER / "oopser.ko")),
)
ENVIRONMENT = {
    **os.environ,
    "LC_ALL": "C.UTF-8",
    "LINEINFO_SYSROOT": "/nowhere",  # what this machine has is not the tests' business
    "NO_COLOR": "1",
    "TERM": "dumb",  # and no links
    "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
}
#: Seconds. A hang guard; no statement about speed.
PATIENCE = 20
CTRL_D = b"\x04"

PLAIN = b"[   20.164778] Call Trace:"
FRAME = b"[   20.164778]  vfs_write+0xc7/0x3f0"
ANNOTATED_FRAME = b"[   20.164778]  vfs_write+0xc7/0x3f0 (fs/read_write.c:582)"
MODULE_FRAME = b"[   20.164778]  oopser_null_deref+0x11/0x20 [oopser]"
ANNOTATED_MODULE_FRAME = MODULE_FRAME + b" (/build/oopser/crash/mm.c:29)"


class Live:
    """A filter that is running; ``to`` and ``back`` are our ends, ``taken_from`` is what it reads."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int, taken_from: int) -> None:
        self.process = process
        self.latencies: list[float] = []
        self._to = to
        self._back = back
        self._taken_from = taken_from
        self._is_terminal = os.isatty(to)
        self._written = b""
        self._written_at = 0.0
        self._came = b""

    def write(self, data: bytes) -> None:
        """Write complete lines."""
        self._written = data
        self._written_at = time.perf_counter()
        assert os.write(self._to, data) == len(data)

    def write_part(self, data: bytes) -> None:
        """Write what does not end with a line end, and wait until the filter has read it."""
        self.write(data + CTRL_D if self._is_terminal else data)
        deadline = time.monotonic() + PATIENCE
        while struct.unpack("i", fcntl.ioctl(self._taken_from, termios.FIONREAD, bytes(4)))[0]:
            assert time.monotonic() < deadline, f"{data!r} was not read within {PATIENCE} s"
            time.sleep(0.0005)

    def line(self) -> bytes:
        """The next line that comes out. Fails when none does."""
        while b"\n" not in self._came:
            assert select.select([self._back], [], [], PATIENCE)[0], (
                f"{self._written!r} was written {PATIENCE} s ago, but of the next line only {self._came!r} came out"
            )
            data = os.read(self._back, 1 << 16)
            assert data, f"the output ended behind {self._came!r}"
            self._came += data
        self.latencies.append(time.perf_counter() - self._written_at)
        line, end, self._came = self._came.partition(b"\n")
        return line + end

    def echo(self, data: bytes) -> bytes:
        """Write a line and wait for it."""
        self.write(data)
        return self.line()

    def interrupt(self) -> tuple[int, bytes, list[bytes]]:
        """Send SIGINT; see ``wait``."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def end(self) -> tuple[int, bytes, list[bytes]]:
        """End the input; exit status, what else came out, and what was complained of."""
        if self._is_terminal:
            os.write(self._to, CTRL_D)
        else:
            self.close()
        return self.wait()

    def close(self) -> None:
        """Close what we write to."""
        if self._to >= 0:
            os.close(self._to)
            self._to = -1

    def wait(self) -> tuple[int, bytes, list[bytes]]:
        """Wait for the end, however it is brought about."""
        status = self.process.wait(PATIENCE)
        while select.select([self._back], [], [], 0)[0] and (data := os.read(self._back, 1 << 16)):
            self._came += data
        assert self.process.stderr is not None
        complaints = self.process.stderr.read().splitlines()
        return status, self._came, [line for line in complaints if not line.endswith(b"then press Ctrl-D")]


@contextmanager
def _running(stdin: int, stdout: int, environment: dict[str, str] = ENVIRONMENT) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(COMMAND, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@contextmanager
def through_pipes() -> Iterator[Live]:
    """As in ``dmesg -w | lineinfo-annotate | less``."""
    taken_from, to = os.pipe()
    back, stdout = os.pipe()
    with open(taken_from, "rb"), open(back, "rb"), _running(taken_from, stdout) as process:
        os.close(stdout)
        live = Live(process, to, back, taken_from)
        yield live
        live.close()


@contextmanager
def through_a_terminal(environment: dict[str, str] = ENVIRONMENT) -> Iterator[Live]:
    """Typed and shown on one terminal, which neither echoes nor changes a byte; Ctrl-D means what it always does."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    mode = termios.tcgetattr(theirs)
    mode[3] |= termios.ICANON
    mode[6][termios.VEOF] = CTRL_D
    termios.tcsetattr(theirs, termios.TCSANOW, mode)
    with open(theirs, "rb"), _running(theirs, theirs, environment) as process:
        live = Live(process, ours, ours, theirs)
        yield live
        live.close()


@pytest.fixture(params=[through_pipes, through_a_terminal], ids=["pipes", "terminal"])
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """A filter that waits for its first line."""
    with request.param() as running:
        yield running


def oops() -> Iterator[tuple[bytes, bytes]]:
    """The lines of a real oops with their line ends, and how they come out."""
    golden: dict[int, bytes] = {}
    for line in (FOLDER / "p-null_deref.annotated").read_bytes().splitlines():
        where, _, text = line.partition(b": ")
        golden[int(where)] = text + b"\r\n"
    lines = (FOLDER / "p-null_deref.log").read_bytes().splitlines(keepends=True)
    for number in range(min(golden), len(lines) + 1):
        yield lines[number - 1], golden.get(number, lines[number - 1])


def test_every_line_of_an_oops_comes_out_before_the_next_is_written(live: Live, request: pytest.FixtureRequest) -> None:
    changed = 0
    for line, expected in oops():
        assert line.endswith(b"\r\n")
        assert live.echo(line) == expected
        changed += line != expected
    assert changed > 15
    assert live.end() == (0, b"", [])
    first, *others = (round(1000 * seconds, 2) for seconds in live.latencies)
    request.node.user_properties += [  # ends up in --junitxml
        ("milliseconds of the first line, start included", first),
        ("milliseconds of the others, median", statistics.median(others)),
        ("milliseconds of the others, maximum", max(others)),
    ]


def test_with_colours_and_links_every_line_comes_out_before_the_next_is_written() -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    codes = re.compile(rb"\x1b\[[\d;]*m|\x1b\]8;;[!-~]*\x1b\\")
    styled = 0
    with through_a_terminal(environment) as live:
        for line, expected in oops():
            came = live.echo(line)
            assert codes.sub(b"", came) == expected
            styled += came != expected
        assert live.end() == (0, b"", [])
    assert styled > 30


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_line_cut_anywhere_comes_out_as_soon_as_its_rest_is_there(live: Live, end: bytes) -> None:
    for line, expected in ((FRAME, ANNOTATED_FRAME), (MODULE_FRAME, ANNOTATED_MODULE_FRAME), (PLAIN, PLAIN)):
        whole = line + end
        for position in range(1, len(whole)):
            live.write_part(whole[:position])
            assert live.echo(whole[position:]) == expected + end
    assert live.end() == (0, b"", [])


def test_complete_lines_do_not_wait_for_the_rest_of_a_partial_one(live: Live) -> None:
    for part, rest, expected in (
        (b"[   20.1647", b"78] text", b"[   20.164778] text"),
        (FRAME[:-5], FRAME[-5:], ANNOTATED_FRAME),
        (MODULE_FRAME[:-9], MODULE_FRAME[-9:], ANNOTATED_MODULE_FRAME),
    ):
        live.write_part(PLAIN + b"\n" + FRAME + b"\r\n" + part)
        assert live.line() == PLAIN + b"\n"
        assert live.line() == ANNOTATED_FRAME + b"\r\n"
        assert live.echo(rest + b"\n") == expected + b"\n"
    assert live.end() == (0, b"", [])


@pytest.mark.parametrize("following", [b" [oopser]", b"[oopser]", b" (fs/read_write.c:582)", b""])
def test_a_frame_at_the_end_of_what_is_there_waits_for_nothing(live: Live, following: bytes) -> None:
    """Though a module's bracket, or somebody's annotation, may stand on the next line."""
    for line, expected in ((FRAME, ANNOTATED_FRAME), (MODULE_FRAME, ANNOTATED_MODULE_FRAME)):
        for end in (b"\n", b"\r\n"):
            assert live.echo(line + end) == expected + end
            assert live.echo(following + end) == following + end


def test_many_lines_written_at_once_come_out_all(live: Live) -> None:
    for _ in range(5):
        live.write((FRAME + b"\n" + PLAIN + b"\n") * 30)  # a terminal holds 4 096 bytes
        for _ in range(30):
            assert live.line() == ANNOTATED_FRAME + b"\n"
            assert live.line() == PLAIN + b"\n"


def test_an_unterminated_last_line_comes_out_at_the_end_of_the_input(live: Live) -> None:
    assert live.echo(PLAIN + b"\n") == PLAIN + b"\n"
    live.write_part(FRAME)
    assert live.end() == (0, ANNOTATED_FRAME, [])


# Other ends.


def test_an_interrupt_while_it_waits_ends_it_without_a_word(live: Live) -> None:
    assert live.echo(FRAME + b"\n") == ANNOTATED_FRAME + b"\n"
    assert live.interrupt() == (-signal.SIGINT, b"", [])


def test_an_interrupt_between_the_parts_of_a_line_ends_it_without_a_word(live: Live) -> None:
    assert live.echo(PLAIN + b"\n") == PLAIN + b"\n"
    live.write_part(FRAME[:-4])
    status, _, complaints = live.interrupt()
    assert (status, complaints) == (-signal.SIGINT, [])


def test_a_reader_that_has_seen_enough_ends_it_quietly_with_the_next_line() -> None:
    taken_from, to = os.pipe()
    with open(taken_from, "rb"), _running(taken_from, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        head = subprocess.Popen(["head", "-1"], stdin=process.stdout, stdout=subprocess.PIPE)
        process.stdout.close()
        os.write(to, FRAME + b"\n")
        try:
            assert head.communicate(timeout=PATIENCE)[0] == ANNOTATED_FRAME + b"\n"
        finally:
            head.kill()
            head.communicate()
        os.write(to, PLAIN + b"\n")  # the first that cannot be delivered; our end of the input stays open
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""
        os.close(to)


def test_a_terminal_that_is_closed_ends_it() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    with _running(theirs, theirs) as process:
        os.close(theirs)
        os.write(ours, FRAME + b"\n")
        assert select.select([ours], [], [], PATIENCE)[0]
        os.close(ours)
        process.wait(PATIENCE)
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
