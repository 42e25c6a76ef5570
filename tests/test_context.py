"""What a log says of its kernel, its boots and its traces."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fake_world import sample_logs

from annotate.log.context import Bound, LogContext, may_tell
from annotate.log.grammar import find_frames
from annotate.model import KernelId, LogLine, PcKind

_BANNER = (
    b"[    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP Debian 6.1.192"
)
_BUILD_ID = b"724b1db7f580ddb34e14b43820ff16d9fd75d36c"


def _observed(*lines: bytes) -> LogContext:
    context = LogContext()
    for line in lines:
        context.observe(line)
    return context


def _kinds(context: LogContext, *lines: bytes) -> list[PcKind]:
    """The kinds of the frames of some lines, taken in one after the other."""
    kinds = []
    for line in lines:
        context.observe(line)
        kinds += [frame.pc for frame in context.place(find_frames(LogLine(1, line, b"\n")), line)]
    return kinds


def test_the_banner_names_release_and_version() -> None:
    assert _observed(_BANNER).facts.kernel == KernelId(
        "6.1.0-56-cloud-amd64", "(debian-kernel@lists.debian.org) (gcc-12) #1 SMP Debian 6.1.192"
    )


@pytest.mark.parametrize(
    "line",
    [
        b"CPU: 0 PID: 7 Comm: cat Not tainted 6.1.0 #1 SMP Debian",
        b"[    1.0] CPU: 0 UID: 0 PID: 7 Comm: cat Not tainted 6.1.0 #1 PREEMPT(full)",
        b"CPU: 12 PID: 123456 Comm: Web Content Tainted: G        W  OE      6.1.0 #1  Debian 6.1.192-2",
        b"[ T77] CPU: 0 UID: 1000 PID: 7 Comm: kworker/u8:0 Tainted: G    B   W           6.1.0 #1 NONE",
    ],
)
def test_the_cpu_line_names_the_release(line: bytes) -> None:
    kernel = _observed(line).facts.kernel
    assert kernel.release == "6.1.0"
    assert kernel.version.startswith("#1 ")
    assert kernel.build_id == ""


@pytest.mark.parametrize("tail", [b"#1 PREEMPT(full)  ", b"#1 PREEMPT(voluntary) SLFO-1.2 ", b"#22 "])
def test_a_build_id_may_stand_last_on_the_cpu_line(tail: bytes) -> None:
    line = b"CPU: 0 UID: 0 PID: 3232 Comm: cat Not tainted 6.17.0-rc1 " + tail + _BUILD_ID
    assert _observed(line).facts.kernel.build_id == _BUILD_ID.decode()


@pytest.mark.parametrize("word", [_BUILD_ID[:-1], _BUILD_ID + b"0", _BUILD_ID.upper(), b"x" + _BUILD_ID[1:]])
def test_other_last_words_are_no_build_id(word: bytes) -> None:
    assert _observed(b"CPU: 0 PID: 3 Comm: cat Not tainted 6.17.0 #1 SMP " + word).facts.kernel.build_id == ""


def test_the_cpu_line_of_the_same_release_keeps_what_the_banner_said() -> None:
    context = _observed(_BANNER, b"CPU: 0 PID: 7 Comm: cat Not tainted 6.1.0-56-cloud-amd64 #1  Debian " + _BUILD_ID)
    assert context.facts.kernel.version.startswith("(debian-kernel")
    assert context.facts.kernel.build_id == _BUILD_ID.decode()


def test_the_cpu_line_of_another_release_is_another_kernel() -> None:
    context = _observed(_BANNER, b"CPU: 0 PID: 7 Comm: cat Not tainted 5.10.0 #7")
    assert (context.facts.kernel.release, context.facts.kernel.build_id) == ("5.10.0", "")


def test_a_new_banner_forgets_the_old_build_id() -> None:
    cpu_line = b"CPU: 0 PID: 7 Comm: cat Not tainted 6.1.0-56-cloud-amd64 #1 " + _BUILD_ID
    assert _observed(_BANNER, cpu_line, _BANNER).facts.kernel.build_id == ""


@pytest.mark.parametrize(
    "line",
    [
        b"Linux version",
        b"Linux version 6.1",
        b"see Linux version 6.1 of the manual",
        b"PID: 7 Comm: cat",
        b" PID: CPU: ",
    ],
)
def test_text_that_is_no_banner_says_nothing(line: bytes) -> None:
    assert _observed(line).facts.kernel == KernelId()


@pytest.mark.parametrize(
    ("line", "slide"),
    [
        (b"Kernel Offset: 0x1c000000 from 0xffffffff81000000 (relocation range: 0xf-0xff)", 0x1C000000),
        (b"[    9.9] Kernel Offset: 0x80000 from 0xffffffc008000000", 0x80000),
        (b"[    9.9] Kernel Offset: 0x23a1b6200000 from 0xffff800008000000", 0x23A1B6200000),
        (b"Kernel Offset: disabled", 0),
        (b"Kernel Offset: unknown", None),
        (b"Kernel Offset: 0x", None),
    ],
)
def test_the_kernel_offset_is_the_slide(line: bytes, slide: int | None) -> None:
    assert _observed(line).slide == slide


_FIRST = b"Kernel Offset: 0x1000000 from 0xffffffff81000000"
_SECOND = b"Kernel Offset: 0x2000000 from 0xffffffff81000000"


def test_a_new_boot_ends_the_old_slide() -> None:
    context = LogContext()
    seen = []
    for line in (_BANNER, _FIRST, _BANNER, _SECOND):
        context.observe(line)
        seen.append(context.slide)
    assert seen == [None, 0x1000000, None, 0x2000000]


def test_sample_logs_name_their_kernels() -> None:
    releases = set()
    for log in sample_logs():
        context = LogContext()
        for line in log.read_bytes().splitlines():
            context.observe(line)
        releases.add(context.facts.kernel.release)
    assert {"6.1.0-56-cloud-amd64", "6.1.0-56-cloud-arm64"} <= releases


@pytest.mark.parametrize(
    "pc_line", [b"RIP: 0010:spin_for+0x40/0x60 [oopser]", b"[ 1.0] pc : spin_for+0x40/0x60 [oopser]"]
)
def test_a_trace_entry_that_repeats_the_pc_line_is_exact(pc_line: bytes) -> None:
    entry = b"[    1.0]  spin_for+0x40/0x60 [oopser]"
    assert _kinds(LogContext(), entry) == [PcKind.RETURN]
    assert _kinds(LogContext(), pc_line, b"[    1.0]  other+0x1/0x2", entry) == [
        PcKind.EXACT,
        PcKind.RETURN,
        PcKind.EXACT,
    ]


@pytest.mark.parametrize(
    "entry",
    [
        b"  spin_for+0x41/0x60 [oopser]",
        b"  spin_for+0x40/0x61 [oopser]",
        b"  spin_for+0x40/0x60",
        b"  spin_far+0x40/0x60 [oopser]",
        b"lr : spin_for+0x40/0x60 [oopser]",
        b"Allocated in spin_for+0x40/0x60 [oopser] age=1",
    ],
)
def test_other_frames_stay_return_addresses(entry: bytes) -> None:
    kinds = _kinds(LogContext(), b"RIP: 0010:spin_for+0x40/0x60 [oopser]", entry)
    assert kinds == [PcKind.EXACT, PcKind.RETURN]


@pytest.mark.parametrize(
    "bound",
    [b"CPU: 1 PID: 9 Comm: dd Not tainted 6.1.0 #1", b"---[ end trace 0000000000000000 ]---", _BANNER],
)
def test_the_next_dump_forgets_the_pc_line(bound: bytes) -> None:
    kinds = _kinds(LogContext(), b"RIP: 0010:spin_for+0x40/0x60", bound, b"  spin_for+0x40/0x60")
    assert kinds == [PcKind.EXACT, PcKind.RETURN]


_HOSTILE = {
    "banners": "b'Linux version a (' * (N // 17)",
    "banners with a number": "b'Linux version a (#' * (N // 18)",
    "cpu lines": "b'CPU: 1 PID: 1 Comm: a ' * (N // 22)",
    "taints": "b'CPU: 1 PID: 1 Comm: a Tainted: ' + b'G ' * (N // 2)",
    "offsets": "b'Kernel Offset: 0x' * (N // 17)",
}


@pytest.mark.parametrize("line", _HOSTILE.values(), ids=_HOSTILE)
def test_a_hostile_line_of_a_megabyte_does_not_hang(line: str) -> None:
    # A guard against a search that takes quadratic time; no statement about speed.
    script = f"N = 1 << 20; from annotate.log.context import *; LogContext().observe({line})"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=5)


def test_the_last_breaking_event_of_s390_is_a_branch_and_not_behind_one() -> None:
    context = LogContext()
    assert _kinds(
        context,
        b"Call Trace:",
        b" [<00000000003d0f5e>] f+0x12/0x34 ",
        b"[   12.5] Last Breaking-Event-Address:",
        b"[   12.5]  [<00000000003d0f5e>] f+0x12/0x34",
        b"[   12.5]  [<00000000003d0f5e>] f+0x12/0x34",
    ) == [PcKind.RETURN, PcKind.EXACT, PcKind.RETURN]


@pytest.mark.parametrize(
    ("line", "release", "arch"),
    [
        (_BANNER, "6.1.0-56-cloud-amd64", "x86_64"),
        (b"CPU: 1 PID: 9 Comm: dd Not tainted 6.17.9-300.fc43.aarch64 #1", "6.17.9-300.fc43.aarch64", "aarch64"),
        (b"Linux version 6.1.0 (gcc) #1 SMP", "6.1.0", ""),
    ],
)
def test_a_release_may_name_the_architecture(line: bytes, release: str, arch: str) -> None:
    boot = _observed(line).boots[-1]
    assert (boot.kernel.release, boot.arch) == (release, arch)


def test_a_register_dump_may_name_the_architecture() -> None:
    context = LogContext()
    _kinds(context, b"RIP: 0010:spin_for+0x40/0x60 [oopser]")
    assert context.boots[-1].arch == "x86_64"


def test_modules_and_taint_are_those_of_the_boot() -> None:
    id_ = _BUILD_ID.decode()
    context = LogContext()
    _kinds(
        context,
        b"Modules linked in: xfs(OE) nd_btt libphy [last unloaded: oops(OE)]",
        b"CPU: 0 PID: 7 Comm: cat Tainted: G        W  OE      6.1.0 #1",
        b" phy_state_machine+0x80/0x2c0 [libphy %s]" % _BUILD_ID,
        b"btrfs 1777664 0 - Live 0xffffffffc0c42000 (OE)",
        b"Kernel Offset: 0x1000000 from 0xffffffff81000000",
        _BANNER,
        b"Modules linked in: ext4",
    )
    old, first, second = LogContext().boots[0], *context.boots
    assert first.modules == {"xfs": None, "nd_btt": None, "libphy": None, "btrfs": 0xFFFFFFFFC0C42000}
    assert (first.taint, first.build_ids, first.slide) == ("G        W  OE", {"libphy": id_}, 0x1000000)
    assert (second.taint, second.build_ids, second.slide) == ("", {}, None)
    assert second.modules == {"ext4": None}
    assert (old.modules, old.taint, old.slide) == ({}, "", None)


def test_every_line_that_tells_anything_may_tell() -> None:
    said = 0
    for log in sample_logs():
        context = LogContext()
        for line in log.read_bytes().splitlines():
            before = (context.facts, context.slide, len(context.boots[-1].modules), context.boots[-1].taint)
            bound = context.observe(line)
            after = (context.facts, context.slide, len(context.boots[-1].modules), context.boots[-1].taint)
            tells = before != after or bound is not Bound.NONE
            assert may_tell(line) or not tells
            said += tells
    assert said > 100
