"""The filter on real terminals, on pipes, and with the variables that people set."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import SAMPLES
from fake_world import KERNEL_SOURCE, build_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = SAMPLES / "x86_64"
LOG = FOLDER / "p-null_deref.log"
GIVEN = ("-k", str(next(FOLDER.glob("*.lineinfo"))), "-m", str(FOLDER / "oopser.ko"))
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM")},
    "LC_ALL": "C.UTF-8",
    "LINEINFO_SYSROOT": "/nowhere",
    "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    "TERM": "xterm-256color",
}
#: A hang guard; no statement about speed.
PATIENCE = 30

COLOUR = re.compile(rb"\x1b\[[\d;]*m")
LINK = re.compile(rb"\x1b\]8;;[!-~]*\x1b\\")
CODES = re.compile(COLOUR.pattern + b"|" + LINK.pattern)


def on_a_pipe(*arguments: str, log: bytes = b"", **variables: str) -> bytes:
    command = [sys.executable, "-m", "annotate", *GIVEN, *arguments]
    run = subprocess.run(
        command, input=log, capture_output=True, env=ENVIRONMENT | variables, timeout=PATIENCE, check=True
    )
    return run.stdout


def on_a_terminal(
    *arguments: str, log: bytes = b"", columns: int = 80, variables: dict[str, str] | None = None
) -> bytes:
    """What a terminal of that width is sent; its line discipline changes nothing."""
    return _shown_by([sys.executable, "-m", "annotate", *GIVEN, *arguments], log, columns, variables)


def _shown_by(command: Sequence[str], log: bytes, columns: int = 80, variables: dict[str, str] | None = None) -> bytes:
    ours, theirs = pty.openpty()
    mode = termios.tcgetattr(theirs)
    mode[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, mode)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=theirs, stderr=subprocess.PIPE, env=ENVIRONMENT | (variables or {})
    )
    assert process.stdin is not None
    assert process.stderr is not None
    came = b""
    try:
        process.stdin.write(log)
        process.stdin.close()
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            assert time.monotonic() < deadline, "it does not end"
            if select.select([ours], [], [], 0.05)[0]:
                came += os.read(ours, 1 << 16)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 0
    return came


def test_a_terminal_gets_colours_and_links_and_otherwise_the_same_bytes() -> None:
    shown = on_a_terminal(str(LOG))
    assert b"\x1b[1mhelper+0x17/0x40 [oopser]\x1b[0m" in shown
    assert b"\x1b]8;;https://sources.debian.org/src/linux/6.1.192-2/fs/read_write.c/#L582" in shown
    assert CODES.sub(b"", shown) == CODES.sub(b"", on_a_pipe(str(LOG)))


def test_a_pipe_gets_nothing_of_it() -> None:
    for variables in ({}, {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "COLORTERM": "truecolor"}):
        assert not CODES.search(on_a_pipe(log=LOG.read_bytes()[-9000:], **variables))


@pytest.mark.parametrize(
    ("arguments", "variables", "has_colours", "has_links"),
    [
        ((), {}, True, True),
        ((), {"NO_COLOR": "1"}, False, True),
        ((), {"NO_COLOR": ""}, True, True),
        ((), {"TERM": "dumb"}, False, False),
        ((), {"TERM": ""}, False, False),
        (("--color", "never"), {}, False, True),
        (("--links", "never"), {}, True, False),
        (("--color", "never", "--links", "never"), {}, False, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True, True),
        (("--color", "always", "--links", "always"), {"TERM": "dumb"}, True, True),
        (("--format", "jsonl"), {}, False, False),
    ],
)
def test_who_decides_on_a_terminal(
    arguments: tuple[str, ...], variables: dict[str, str], *, has_colours: bool, has_links: bool
) -> None:
    shown = on_a_terminal(*arguments, log=LOG.read_bytes()[-9000:], variables=variables)
    assert bool(COLOUR.search(shown)) is has_colours
    assert bool(LINK.search(shown)) is has_links


@pytest.mark.parametrize(
    ("arguments", "has_colours", "has_links"),
    [
        (("--color", "always"), True, False),
        (("--links", "always"), False, True),
        (("--color", "always", "--links", "always"), True, True),
        (("--color", "never", "--links", "never"), False, False),
    ],
)
def test_a_pager_gets_what_is_asked_for(arguments: tuple[str, ...], *, has_colours: bool, has_links: bool) -> None:
    output = on_a_pipe(*arguments, log=LOG.read_bytes()[-9000:])
    assert bool(COLOUR.search(output)) is has_colours
    assert bool(LINK.search(output)) is has_links


HOSTILE = b"[    1.0] usb 1-1: Product: \x1b]0;owned\x07\x1b[2J\x9b2Jx\ry\n[    1.0]  vfs_write+0xc7/0x3f0\x1b[2J\n"
SPELLED = (
    b"[    1.0] usb 1-1: Product: ^[]0;owned^G^[[2J\\x9b2Jx^My\n"
    b"[    1.0]  vfs_write+0xc7/0x3f0 (fs/read_write.c:582)^[[2J\n"
)


def of_this_kernel(log: bytes) -> bytes:
    return b"Linux version 6.1.0-56-cloud-amd64 (x) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2\n" + log


@pytest.mark.parametrize(
    "arguments", [(), ("--color", "never", "--links", "never"), ("--color", "never"), ("--links", "never")]
)
def test_escapes_of_a_log_are_text_on_a_terminal(arguments: tuple[str, ...]) -> None:
    shown = on_a_terminal(*arguments, log=of_this_kernel(HOSTILE))
    assert CODES.sub(b"", shown) == of_this_kernel(SPELLED)


@pytest.mark.parametrize("arguments", [(), ("--color", "never", "--links", "never")])
def test_raw_means_raw(arguments: tuple[str, ...]) -> None:
    shown = on_a_terminal("--raw", *arguments, log=of_this_kernel(HOSTILE))
    annotated = HOSTILE.replace(b"0x3f0", b"0x3f0 (fs/read_write.c:582)")
    assert CODES.sub(b"", shown) == of_this_kernel(annotated)


@pytest.mark.parametrize("arguments", [(), ("--color", "always", "--links", "always")])
def test_a_pipe_gets_the_log_as_it_came(arguments: tuple[str, ...]) -> None:
    annotated = HOSTILE.replace(b"0x3f0", b"0x3f0 (fs/read_write.c:582)")
    assert CODES.sub(b"", on_a_pipe(*arguments, log=of_this_kernel(HOSTILE))) == of_this_kernel(annotated)


def test_a_release_that_holds_escapes_does_not_reach_a_terminal_through_a_complaint() -> None:
    log = b"Linux version 6.1\x1b]0;owned\x07 (x) #1 SMP\n vfs_read+0x1/0x2\n"
    run = subprocess.run(
        [sys.executable, "-m", "annotate"],
        input=log,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=PATIENCE,
        check=True,
    )
    assert b"0 of 1 frames annotated" in run.stderr
    assert run.stderr.removesuffix(b"\n").decode().isprintable()


@pytest.mark.parametrize("what", [("dump",), ("lookup", "first", "-k")], ids=lambda what: what[0])
def test_file_names_do_not_steer_a_terminal_through_the_other_command(tmp_path: Path, what: tuple[str, ...]) -> None:
    kernel = build_kernel(tmp_path / "vmlinux", source=KERNEL_SOURCE.replace("fs/first.c", "fs/\x1b[2J\x07first.c"))
    command = [sys.executable, "-m", "annotate.cli.lineinfo", *what, str(kernel)]
    shown = _shown_by(command, b"")
    assert b"2J" in shown
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", shown)
    if what == ("dump",):
        raw = subprocess.run(command, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE, check=True).stdout
        assert b"fs/\x1b[2J\x07first.c:" in raw


# Sources.


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "fs").mkdir()
    lines = [f"line {number} of the file, which is longer than a narrow terminal\n" for number in range(1, 700)]
    (tmp_path / "fs" / "read_write.c").write_text("".join(lines))
    return tmp_path


FRAME = of_this_kernel(
    b" vfs_write+0xc7/0x3f0\n ksys_write+0x6b/0xf0\n vfs_write+0xc7/0x3f0\n full_proxy_write+0x53/0x80\n"
)


def test_source_lines_on_a_pipe(tree: Path) -> None:
    command = [sys.executable, "-m", "annotate", *GIVEN, "--source", str(tree)]
    run = subprocess.run(command, input=FRAME, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE, check=True)
    lines = run.stdout.decode().splitlines()
    assert lines[1] == " vfs_write+0xc7/0x3f0 (fs/read_write.c:582)"
    assert [line[:20] for line in lines[2:5]] == [
        "    |   581 line 581",
        "    | > 582 line 582",
        "    |   583 line 583",
    ]
    assert lines[9:13] == lines[1:5], "a line that comes again has its sources again"
    assert len(lines) == 1 + 3 * 4 + 1
    assert run.stderr.decode() == f"lineinfo-annotate: source: 1 of 2 files not found under {tree}\n"


def test_source_lines_fit_the_terminal_and_the_log_is_not_cut(tree: Path) -> None:
    shown = CODES.sub(b"", on_a_terminal("--source", str(tree), log=FRAME, columns=30)).splitlines()
    rows = [line for line in shown if line.startswith(b"    | ")]
    assert len(rows) == 9
    assert {len(row) for row in rows} == {30}
    assert b" vfs_write+0xc7/0x3f0 (fs/read_write.c:582)" in shown


def test_links_lead_to_the_tree_where_the_file_is_there(tree: Path) -> None:
    output = on_a_pipe("--links", "always", "--source", str(tree), log=FRAME)
    assert b"/fs/read_write.c\x1b\\fs/read_write.c:582\x1b]8;;\x1b\\" in output
    assert b"\x1b]8;;file://" in output
    assert b"src/linux/6.1.192-2/fs/debugfs/file.c/#L" in output


def test_a_template_from_the_environment_and_one_from_the_command_line() -> None:
    wanted = b"\x1b]8;;x-my://6.1.0-56-cloud-amd64/fs/read_write.c:582\x1b\\"
    template = "x-my://{release}/{path}:{line}"
    assert wanted in on_a_pipe("--links", "always", log=FRAME, LINEINFO_LINKS=template)
    assert wanted in on_a_pipe("--links", "always", "--link-template", template, log=FRAME, LINEINFO_LINKS="vscode")
    assert not LINK.search(on_a_pipe("--links", "always", log=FRAME, LINEINFO_LINKS="vscode"))


def complaints(*arguments: str, status: int, **variables: str) -> str:
    command = [sys.executable, "-m", "annotate", *GIVEN, *arguments]
    run = subprocess.run(
        command, input=FRAME, capture_output=True, env=ENVIRONMENT | variables, timeout=PATIENCE, check=False
    )
    assert run.returncode == status
    if status != 2:
        assert COLOUR.sub(b"", run.stdout).startswith(b"Linux version")
    return run.stderr.decode()


def test_what_cannot_be_used_is_said_and_the_log_comes_out() -> None:
    assert "--source /nowhere: expected a folder of sources, found nothing" in complaints(
        "--source", "/nowhere", status=1
    )
    said = complaints("--links", "always", status=0, LINEINFO_LINKS="x y")
    names = "file, vscode, debian, web"
    assert said == f"lineinfo-annotate: LINEINFO_LINKS: expected {names} or a URI without blanks, found 'x y'\n"
    assert "expected placeholders among {path}, " in complaints("--link-template", "x-y:{line}{pth}", status=2)


def test_no_link_where_the_lines_are_another_kernel_s() -> None:
    log = FRAME.replace(b"6.1.0-56-cloud-amd64", b"6.1.0-57-cloud-amd64").replace(b"6.1.192-2", b"6.1.193-1")
    output = on_a_pipe("--links", "always", log=log)
    assert b"(fs/read_write.c:582)" in output  # a file that was given is taken at the user's word
    assert not LINK.search(output)


def test_a_kernel_that_the_log_does_not_name_has_no_link() -> None:
    output = on_a_pipe("--links", "always", log=b" vfs_write+0xc7/0x3f0\n", LINEINFO_SYSROOT="/")
    assert not LINK.search(output)
