"""The frame that matters: of reports of many subsystems, and of logs of odd shapes.

``triage/*.log`` are reports as kernels print them, decoded by this or that tool; the first lines of each say which
file a maintainer would name, and where nobody would argue the frame and the title. The first lot was written before
there was a picker, the ``second-`` and ``third-`` lots after it and before it had seen them: of those it then named
18 of 20 and 9 of 10.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fake_world import FakeImages
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.annotator import Annotator, LogFacts
from annotate.errors import UnrecognisedFileError
from annotate.limits import MAX_CRASHES, MAX_STEPS
from annotate.log.message import LineKind, find_message, kind_of
from annotate.maintainers import read_maintainers
from annotate.model import Crash, LogBlock
from annotate.triage import triager as triager_module
from annotate.triage.plumbing import Plumbing
from annotate.triage.titles import read_title
from annotate.triage.trace import bare_name, signature_name, tree_path
from annotate.triage.triager import Triager
from annotate.triage.written import entries_of

FOLDER = Path(__file__).parent / "triage"
OWN_LIST = Path(triager_module.__file__).parent / "plumbing.txt"
MAINTAINERS = Path(__file__).parent / "fixtures" / "triage" / "MAINTAINERS"


class Expected(NamedTuple):
    name: str
    file: str | None
    frame: str | None
    title: str | None
    log: bytes


def _read(path: Path) -> Expected:
    head = {}
    lines = path.read_bytes().split(b"\n")
    while lines[0].startswith(b"# "):
        name, _, value = lines.pop(0)[2:].decode().partition(": ")
        head[name] = value
    file = head["file"]
    return Expected(
        path.stem, None if file == "none" else file, head.get("frame"), head.get("title"), b"\n".join(lines)
    )


REPORTS = [_read(path) for path in sorted(FOLDER.glob("*.log"))]


def plumbing(*more: bytes) -> Plumbing:
    found = Plumbing()
    found.add(OWN_LIST.read_bytes(), "plumbing.txt")
    for data in more:
        found.add(data, "more.txt")
    return found


def triage(log: bytes, cuts: list[int] | None = None, listed: Plumbing | None = None) -> tuple[Crash, ...]:
    annotator = Annotator(FakeImages({}), LogFacts(ahead=None))
    triager = Triager(listed or plumbing())
    places = [0, *sorted(cuts or ()), len(log)]
    for start, end in pairwise(places):
        for piece in annotator.feed(log[start:end]):
            triager.take("a.log", piece)
    for piece in annotator.flush():
        triager.take("a.log", piece)
    return triager.crashes()


def only(log: bytes) -> Crash:
    (crash,) = triage(log)
    return crash


def report(name: str) -> bytes:
    return next(expected.log for expected in REPORTS if expected.name == name)


@pytest.mark.parametrize("expected", REPORTS, ids=[expected.name for expected in REPORTS])
def test_what_is_a_title_here_is_one_to_those_who_retell_a_log(expected: Expected) -> None:
    """Else ``--format paste`` would leave out what the report is about."""
    messages = [line[find_message(line).start :] for line in expected.log.split(b"\n")]
    titles = [message for message in messages if read_title(message.decode("utf-8", "replace")) is not None]
    assert titles or expected.title is None
    assert [message for message in titles if kind_of(message) is not LineKind.TITLE] == []


def test_nine_of_ten_reports_lead_to_the_file_that_a_maintainer_would_name() -> None:
    assert len(REPORTS) >= 100
    misses = []
    for expected in REPORTS:
        found = triage(expected.log)
        files = [crash.file for crash in found]
        if files != [expected.file]:
            misses.append(f"{expected.name}: {files}, not {expected.file}")
    print(f"{len(REPORTS) - len(misses)} of {len(REPORTS)}", *misses, sep="\n")  # noqa: T201 - for those who look
    assert len(misses) <= len(REPORTS) // 10, misses


@pytest.mark.parametrize("expected", REPORTS, ids=[expected.name for expected in REPORTS])
def test_a_report_is_one_crash_with_the_title_that_people_write(expected: Expected) -> None:
    crash = only(expected.log)
    if expected.title is not None:
        assert crash.title == expected.title
    if expected.frame is not None:
        assert crash.frame == expected.frame
    assert crash.why
    assert crash.file is None or crash.file in crash.files
    assert re.search(r"0x[0-9a-f]|[0-9a-f]{8}|PID|CPU", crash.title) is None


def test_reports_are_of_many_subsystems() -> None:
    folders = {"/".join((expected.file or "").split("/")[:2]) for expected in REPORTS}
    assert len(folders) >= 40


# The same report, otherwise printed.

TIME = rb"(?m)^\[ {0,6}\d+\.\d+\](?:\[ {0,8}[TC]\d+\])? ?"
PREFIXES = (
    b"",
    b"[   12.345678] ",
    b"[   12.345678][ T1234] ",
    b"<4>[   12.345678] ",
    b"Nov 19 12:34:38 host kernel: [   12.345678] ",
    b"4,1010,511831616,-;",
    b"> > [   12.345678] ",
)


@given(
    st.sampled_from(REPORTS),
    st.sampled_from(PREFIXES),
    st.sampled_from((b"\n", b"\r\n")),
    st.integers(1, 0xFFF),
    st.lists(st.integers(0, 6000), max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_prefix_line_end_offsets_and_cuts_do_not_matter(
    expected: Expected, prefix: bytes, end: bytes, moved: int, cuts: list[int]
) -> None:
    lines = re.sub(TIME, b"", expected.log).split(b"\n")
    other = end.join(prefix + line for line in lines)
    other = re.sub(rb"\+0x([0-9a-f]+)/0x([0-9a-f]+)", lambda _: b"+0x%x/0x%x" % (moved, moved + 16), other)
    (before,), (after,) = triage(expected.log), triage(other, [cut for cut in cuts if cut < len(other)])
    assert after == before._replace(log=after.log)


@pytest.mark.parametrize("expected", REPORTS, ids=[expected.name for expected in REPORTS])
def test_a_report_is_the_same_in_the_json_of_dmesg(expected: Expected) -> None:
    """``dmesg -J`` has four lines for one; it escapes, as JSON does, which names and places do not need."""
    lines = re.sub(TIME, b"", expected.log).split(b"\n")
    entry = b'         "pri": 4,\n         "time":    12.345678,\n         "msg": %s\n      },{\n'
    log = b"".join(entry % json.dumps(line.decode("utf-8", "replace")).encode() for line in lines)
    (before,), (after,) = triage(expected.log), triage(log)
    assert after == before._replace(log=after.log, line=4 * before.line - 1)


@given(
    st.lists(st.sampled_from(REPORTS), min_size=2, max_size=4, unique_by=lambda report: report.name),
    st.binary(max_size=300),
)
@settings(max_examples=60, deadline=None)
def test_reports_behind_each_other_are_found_like_each_alone(several: list[Expected], noise: bytes) -> None:
    """With 600 lines between them, that hold nothing; then a panic ends none of them."""
    between = b"\n" + b"nothing of interest here, says a driver\n" * 600
    log = between.join(expected.log for expected in several)
    found = triage(log + between + noise.replace(b"BUG", b""))
    alone = [crash for expected in several for crash in triage(expected.log)]
    assert [crash._replace(line=0) for crash in found[: len(alone)]] == [crash._replace(line=0) for crash in alone]
    starts = [log[: log.index(expected.log)].count(b"\n") for expected in several[:1]]
    assert found[0].line == alone[0].line + starts[0]


@given(st.binary(max_size=2000), st.sampled_from(REPORTS))
@settings(max_examples=100, deadline=None)
def test_any_bytes_may_stand_in_a_log(noise: bytes, expected: Expected) -> None:
    half = len(expected.log) // 2
    triage(noise + expected.log[:half] + noise + expected.log[half:])


# Odd shapes.


def interleaved(first: bytes, second: bytes) -> bytes:
    lines = [b"[    1.000000][    T1] " + line for line in first.split(b"\n")]
    others = [b"[    1.000000][   C3] " + line for line in second.split(b"\n")]
    longest = max(len(lines), len(others))
    return b"\n".join(b"\n".join(part[number : number + 1]) for number in range(longest) for part in (lines, others))


def test_two_crashes_printed_at_once_are_kept_apart_by_who_printed() -> None:
    first, second = report("net-ipv6-ip6_send_skb"), report("btrfs-relocation-warning")
    found = triage(interleaved(first, second))
    assert [(crash.title, crash.file) for crash in found] == [
        (crash.title, crash.file) for log in (first, second) for crash in triage(log)
    ]


def test_a_crash_in_the_middle_of_anothers() -> None:
    first, second = report("net-ipv6-ip6_send_skb"), report("btrfs-relocation-warning")
    lines = [b"[    1.000000][    T1] " + line for line in first.split(b"\n")]
    others = [b"[    1.000000][   C3] " + line for line in second.split(b"\n")]
    found = triage(b"\n".join([*lines[:12], *others, *lines[12:]]))
    assert [crash.file for crash in found] == ["net/ipv6/ip6_output.c", "fs/btrfs/relocation.c"]


WARNINGS_AT_ONCE = b"""\
------------[ cut here ]------------
------------[ cut here ]------------
WARNING: CPU: 0 PID: 721 at net/tipc/core.c:64 tipc_one+0x18/0x20
WARNING: CPU: 1 PID: 0 at net/sctp/input.c:64 sctp_two+0x18/0x20
CPU: 1 PID: 0 Comm: swapper/1 Not tainted 6.1.0 #1
RIP: 0010:sctp_two+0x18/0x20
CPU: 0 PID: 721 Comm: sh Not tainted 6.1.0 #1
RIP: 0010:tipc_one+0x18/0x20
Call Trace:
 tipc_caller+0x8/0x20
 vfs_write+0x8/0x20
---[ end trace 0000000000000000 ]---
"""


def test_an_old_oops_prints_its_pc_between_two_title_lines() -> None:
    crash = only(
        b"BUG: unable to handle kernel NULL pointer dereference at 0000000000000010\n"
        b"IP: [<ffffffff810a376f>] __call_rcu.constprop.76+0x1f/0x280\nPGD 0\nOops: 0000 [#1] SMP\n"
        b"RIP: 0010:[<ffffffff810a376f>]  [<ffffffff810a376f>] __call_rcu.constprop.76+0x1f/0x280\nCall Trace:\n"
        b" [<ffffffff810a39f3>] call_rcu_sched+0x13/0x20\n [<ffffffffa0525326>] wdev_free+0x4/0x6 [wl]\n"
        b"RIP  [<ffffffff810a376f>] __call_rcu.constprop.76+0x1f/0x280\n RSP <ffff880154a0fb38>\n"
    )
    assert (crash.title, crash.line) == ("NULL pointer dereference in wdev_free", 1)


def test_a_place_in_a_header_is_not_that_of_the_function_it_was_inlined_into() -> None:
    crash = only(
        b"WARNING: CPU: 0 PID: 7 at include/linux/mm.h:12 foo_map+0x1/0x20\nCPU: 0 PID: 7 Comm: a\n"
        b"RIP: 0010:foo_map+0x1/0x20\nCall Trace:\n foo_ioctl+0x1/0x20 (drivers/foo/a.c:3)\n"
    )
    assert (crash.frame, crash.file) == ("foo_map", None)


def test_a_header_is_never_to_blame_for_what_was_inlined_from_it() -> None:
    crash = only(
        b"BUG: kernel NULL pointer dereference, address: 0000000000000000\n"
        b"RIP: 0010:foo_xmit+0x1/0x20 (include/net/foo.h:12 in foo_peek, net/foo/main.c:34)\n"
        b"Call Trace:\n bar_xmit+0x1/0x20 (net/bar/main.c:56)\n"
    )
    assert (crash.frame, crash.file, crash.location_line) == ("foo_xmit", "net/foo/main.c", 34)


def test_the_place_of_a_title_belongs_to_what_stands_below_the_reporters() -> None:
    log = (
        b"UBSAN: shift-out-of-bounds in %s:110:3\nCPU: 0 PID: 7 Comm: a\nCall Trace:\n dump_stack+0x1/0x20\n"
        b" ubsan_epilogue+0x1/0x20\n __ubsan_handle_shift_out_of_bounds+0x1/0x20\n %s+0x1/0x20\n foo_ioctl+0x1/0x20\n"
    )
    crash = only(log % (b"net/foo.c", b"foo_shift"))
    assert (crash.frame, crash.file, crash.location_line) == ("foo_shift", "net/foo.c", 110)
    crash = only(log % (b"lib/crc32.c", b"crc32_le"))
    assert (crash.frame, crash.file) == ("foo_ioctl", None)


def test_another_dump_before_the_trace_is_not_the_reports() -> None:
    crash = only(
        b"WARNING: CPU: 0 PID: 7 at net/foo.c:12 foo_map+0x1/0x20\nCPU: 1 PID: 9 Comm: other\nCall Trace:\n"
        b" other_one+0x1/0x20 (fs/other.c:1)\nCPU: 0 PID: 7 Comm: a\nRIP: 0010:foo_map+0x1/0x20\nCall Trace:\n"
        b" foo_ioctl+0x1/0x20 (drivers/foo/a.c:3)\n"
    )
    assert (crash.frame, crash.file, crash.files) == ("foo_map", "net/foo.c", ("net/foo.c", "drivers/foo/a.c"))


def test_what_is_known_of_those_who_printed_is_forgotten() -> None:
    triager = Triager(plumbing())
    for number in range(500):
        triager.take("a.log", LogBlock(b"[    1.0][ T%d] general protection fault: 0000 [#1]\n" % number))
    assert len(triager._reports._current) == len(triager._reports._open) < 100


def test_two_dumps_without_traces_are_two_crashes() -> None:
    dump = b"general protection fault: 0000 [#%d] SMP\nRIP: 0010:f_%d+0x1/0x2\n"
    assert [crash.frame for crash in triage(dump % (1, 1) + dump % (2, 2))] == ["f_1", "f_2"]


class Searched(bytes):
    """Bytes that count how many of them ``find`` looks at."""

    looked_at = 0

    def find(self, *arguments: Any) -> int:
        found = super().find(*arguments)
        start = arguments[1] if len(arguments) > 1 else 0
        self.looked_at += (len(self) if found < 0 else found) - start
        return found


def test_how_often_a_block_is_searched_does_not_depend_on_the_cues_in_it() -> None:
    data = Searched(b"BUG\n" * 20_000)
    triager = Triager(plumbing())
    triager.take("a.log", LogBlock(data))
    assert triager._line == 20_000
    assert data.looked_at < 20 * len(data)


def test_without_callers_cpu_and_task_of_the_header_lines_tell_reports_apart() -> None:
    found = triage(WARNINGS_AT_ONCE)
    assert [(crash.line, crash.frame, crash.file, crash.location_line) for crash in found] == [
        (3, "tipc_one", "net/tipc/core.c", 64),
        (4, "sctp_two", "net/sctp/input.c", 64),
    ]


@pytest.mark.parametrize("lines", range(1, 40, 3))
def test_a_truncated_report_is_still_one(lines: int) -> None:
    log = b"\n".join(report("net-ipv6-ip6_send_skb").split(b"\n")[:lines])
    crash = only(log)
    assert (crash.frame, crash.file) == (("ip6_send_skb", "net/ipv6/ip6_output.c"))


def test_where_all_is_plumbing_the_first_that_works_is_taken() -> None:
    crash = only(
        b"BUG: KASAN: slab-use-after-free in __list_del_entry_valid+0x2/0x9\nCall Trace:\n"
        b" dump_stack+0x1/0x2 (lib/dump_stack.c:94)\n kasan_report+0x1/0x2 (mm/kasan/report.c:1)\n"
        b" __list_del_entry_valid+0x2/0x9 (lib/list_debug.c:49)\n worker_thread+0x1/0x2 (kernel/workqueue.c:3)\n"
    )
    assert (crash.frame, crash.file) == ("__list_del_entry_valid", "lib/list_debug.c")
    assert crash.why.startswith("all frames are plumbing")


def test_unreliable_entries_count_where_there_are_no_others() -> None:
    crash = only(
        b"BUG: scheduling while atomic: sh/7/0x2\nCall Trace:\n ? __schedule+0x1/0x2\n ? ext4_sleep+0x1/0x20\n"
    )
    assert crash.frame == "ext4_sleep"
    assert "unreliable" in crash.why
    assert crash.signature == ""


def test_unreliable_entries_do_not_count_where_there_are_others() -> None:
    crash = only(b"BUG: scheduling while atomic: sh/7/0x2\nCall Trace:\n ? f2fs_stale+0x1/0x2\n ext4_sleep+0x1/0x20\n")
    assert crash.frame == "ext4_sleep"


def test_a_symbol_without_a_place_names_the_frame_and_no_file() -> None:
    crash = only(b"general protection fault: 0000 [#1] SMP\nRIP: 0010:foo_bar.isra.0.cold+0x1/0x20 [foo]\n")
    assert crash.title == "general protection fault in foo_bar"
    assert (crash.frame, crash.file, crash.location_line, crash.files) == ("foo_bar", None, None, ())


def test_a_panic_that_ends_a_report_is_no_crash_of_its_own_but_another_one_is() -> None:
    log = report("xfs-btree-general-protection")
    panic = b"Kernel panic - not syncing: Fatal exception\nCall Trace:\n panic+0x1/0x2\n die_it+0x1/0x2\n"
    assert len(triage(log + panic)) == 1
    (crash,) = triage(panic)
    assert crash.title == "Kernel panic - not syncing: Fatal exception"
    own = (
        b"Kernel panic - not syncing: sysrq triggered crash\nCall Trace:\n panic+0x1/0x2\n sysrq_handle_crash+0x1/0x2\n"
    )
    assert [crash.frame for crash in triage(log + own)][1:] == ["sysrq_handle_crash"]


@pytest.mark.parametrize(
    "text",
    [
        b"Out of memory: Killed process 1 (init)\nCall Trace:\n dump_stack+0x1/0x2\n oom_kill_process+0x1/0x2\n",
        b"sysrq: Show State\ntask:init state:S\nCall Trace:\n __schedule+0x1/0x2\n do_wait+0x1/0x2\n",
        b"systemd[1]: WARNING: something\n",
        b"NOTE: there was no BUG here\n",
        b"INFO: lockdep is turned off.\n",
        b"debug: [#1] of 2\n",
        b"BUG: what a program says of itself, without a trace\n",
        b"",
    ],
)
def test_what_is_no_crash(text: bytes) -> None:
    assert triage(text) == ()


def test_an_ambiguous_place_names_no_file() -> None:
    crash = only(b"kernel BUG at foo!\nOops: 0000 [#1] SMP\nRIP: 0010:twin+0x1/0x9 (fs/a.c:10 or fs/b.c:33)\n")
    assert (crash.frame, crash.file) == ("twin", None)


# What is held and for how long.


def test_a_long_trace_is_cut_and_a_report_without_end_ends() -> None:
    log = b"BUG: unable to handle page fault for address: 1\nCall Trace:\n" + b"".join(
        b" caller_%d+0x1/0x2 (net/tipc/f%d.c:1)\n" % (number, number) for number in range(3 * MAX_STEPS)
    )
    crash = only(log)
    assert crash.file == "net/tipc/f0.c"
    assert len(crash.files) <= 20


def test_crashes_beyond_what_is_kept_are_counted() -> None:
    triager = Triager(plumbing())
    block = LogBlock(b"general protection fault: 0000 [#1] SMP\nRIP: 0010:f_%d+0x1/0x20\n---[ end trace 1 ]---\n")
    more = 5
    for _ in range(MAX_CRASHES + more):
        triager.take("a.log", block)
    assert len(triager.crashes()) == MAX_CRASHES
    assert triager.overflow == more


def test_what_holds_no_crash_is_not_kept() -> None:
    triager = Triager(plumbing())
    for _ in range(100):
        triager.take("a.log", LogBlock(b"usb 1-1: new high-speed device\n" * 1000))
    assert sum(map(len, triager._before)) < 1000
    assert triager._line == 100_000
    assert triager.crashes() == ()


def test_lines_are_counted_within_each_log() -> None:
    triager = Triager(plumbing())
    oops = b"\n\ngeneral protection fault: 0000 [#1] SMP\nRIP: 0010:f_one+0x1/0x20\n"
    for log in ("a.log", "b.log"):
        triager.take(log, LogBlock(oops))
    assert [(crash.log, crash.line) for crash in triager.crashes()] == [("a.log", 3), ("b.log", 3)]


# The list of plumbing.


def test_a_list_adds_and_takes_back() -> None:
    log = report("net-ipv6-ip6_send_skb")
    (crash,) = triage(log, listed=plumbing(b"[mine]\nip6_send_skb\n"))
    assert (crash.frame, crash.file) == ("udp_v6_send_skb", "net/ipv6/udp.c")
    assert "mine" in crash.why
    (crash,) = triage(log, listed=plumbing(b"net/ipv6/ # all of it\n"))
    assert crash.file == "net/socket.c"
    (crash,) = triage(log, listed=plumbing(b"net/ipv6/\n", b"!udpv6_sendmsg\n"))
    assert crash.frame == "udpv6_sendmsg"


@pytest.mark.parametrize("line", [b"two words", b"!", b"*", b"f()", b"(a|b)*"])
def test_a_line_that_is_no_pattern_is_named(line: bytes) -> None:
    with pytest.raises(UnrecognisedFileError, match=r"more.txt.*line 2"):
        plumbing(b"fine\n" + line + b"\n")


def test_the_shipped_list_is_orderly() -> None:
    lines = [line.partition(b"#")[0].strip() for line in OWN_LIST.read_bytes().splitlines()]
    patterns = [line for line in lines if line and not line.startswith(b"[")]
    assert len(patterns) == len(set(patterns)) > 400


# Names, paths, and locations that stand in the text.


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("f.isra.0.cold", "f"),
        ("f.constprop.12", "f"),
        ("f.part.3.llvm.1234567", "f"),
        (".f", "f"),
        ("__pfx_f", "f"),
        ("f_isra", "f_isra"),
        ("_RNvCs1_4rust", "_RNvCs1_4rust"),
    ],
)
def test_bare_names(symbol: str, name: str) -> None:
    assert bare_name(symbol) == name


def test_a_system_call_has_one_name_on_all_machines() -> None:
    names = (
        "__x64_sys_ioctl",
        "__arm64_sys_ioctl",
        "__se_sys_ioctl",
        "ksys_ioctl",
        "__do_sys_ioctl",
        "__s390x_sys_ioctl",
    )
    assert {signature_name(name) for name in names} == {"sys_ioctl"}


def test_paths_are_those_of_the_tree() -> None:
    assert tree_path("./net/a.c") == "net/a.c"
    assert tree_path("drivers/gpu/drm/amd/amdgpu/../display/dc/core/dc.c") == "drivers/gpu/drm/amd/display/dc/core/dc.c"
    assert tree_path("/build/oopser/main.c") == "/build/oopser/main.c"
    assert tree_path("/build/linux-aUcVzY/linux-5.15.0/mm/slub.c") == "mm/slub.c"
    assert tree_path("/usr/src/linux/include/linux/mm/a.h") == "include/linux/mm/a.h"
    assert tree_path("../../a.c") == "../../a.c"


WRITTEN = [
    (" f+0x1/0x2 (a/b.c:12 in g, a/c.c:34)", "f", [("a/b.c", 12, "g"), ("a/c.c", 34, "f")]),
    (" f+0x1/0x2 [mod] (a/b.c:12)", "f", [("a/b.c", 12, "f")]),
    (" f+0x1/0x2 (a/b.c:12) [mod]", "f", [("a/b.c", 12, "f")]),
    ("f (a/b.c:12 (discriminator 3) a/c.h:34) mod", "f", [("a/b.c", 12, ""), ("a/c.h", 34, "f")]),
    (" f+0x1/0x2 a/b.c:12", "f", [("a/b.c", 12, "f")]),
    (" g a/c.h:34 [inline]", "g", [("a/c.h", 34, "g")]),
    ("f_one at a/b.c:12", "f_one", [("a/b.c", 12, "f_one")]),
    (" (inlined by) g_two at a/c.c:34", "g_two", [("a/c.c", 34, "g_two")]),
    ("RIP: 0010:f (a/b.c:12) mod", "f", [("a/b.c", 12, "f")]),
    (" [<ffffffff81d94829>] f+0x1/0x2 (a/b.c:12)", "f", [("a/b.c", 12, "f")]),
    (" ? f+0x1/0x2 [mod 93248cd1d88abf54f1b4cc64a990177f549a7710] (P) (a/b.c:12)", "f", [("a/b.c", 12, "f")]),
    ("TPC: <f+0x1/0x2 [mod]> (a/b.c:12)", "f", [("a/b.c", 12, "f")]),
    ("Krnl PSW : 0704d00180000000 00000014e05dc454 (f+0x9c/0x1a0) (a/b.c:12)", "f", [("a/b.c", 12, "f")]),
    (" f+0x1/0x2 (a/b.c:12 or a/c.c:3)", "f", []),
    (" f+0x1/0x2", "f", []),
]


@pytest.mark.parametrize(("text", "symbol", "places"), WRITTEN)
def test_locations_in_the_text(text: str, symbol: str, places: list[tuple[str, int, str]]) -> None:
    (entry,) = entries_of(text)
    assert entry.symbol == symbol
    assert [(place.file, place.line, place.function) for place in entry.places] == places
    assert entry.is_reliable == ("? " not in text)


@pytest.mark.parametrize(
    "text",
    ["see net/core/dev.c:12", "error at net/core/dev.c:12", "Modules linked in: a (b.c:1)x", "Hardware name: foo", ""],
)
def test_other_text_is_no_entry(text: str) -> None:
    assert entries_of(text) == []


# Who looks after it.


def test_the_file_that_matters_leads_to_its_entries() -> None:
    annotator = Annotator(FakeImages({}), LogFacts(ahead=None))
    triager = Triager(plumbing())
    for piece in [*annotator.feed(report("net-ipv6-ip6_send_skb")), *annotator.flush()]:
        triager.take("-", piece)
    (crash,) = triager.crashes(read_maintainers(MAINTAINERS.read_bytes(), "MAINTAINERS"))
    assert [(entry.title, entry.why) for entry in crash.subsystems] == [
        ("NETWORKING [IPv4/IPv6]", "F: net/ipv6/"),
        ("NETWORKING [GENERAL]", "F: net/"),
        ("THE REST", "F: */"),
    ]
