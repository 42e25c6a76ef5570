"""The grammar: what is a frame, where it stands, what its address means; and what is left alone."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from fake_world import NAIVE_FRAME, sample_logs
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.log import grammar
from annotate.log.formats import FRAME_FORMATS
from annotate.log.grammar import find_frames, may_hold_frame
from annotate.model import Frame, FrameFormat, LogLine, PcKind, Spelling

# The parser of ``re`` has no public name.
parse = importlib.import_module("re._parser").parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

samples = pytest.mark.parametrize("log", sample_logs(), ids=lambda path: f"{path.parent.name}-{path.stem}")


def _frames(body: bytes) -> list[Frame]:
    return find_frames(LogLine(1, body, b"\n"))


def _only(body: bytes) -> Frame:
    frames = _frames(body)
    assert len(frames) == 1
    return frames[0]


def _texts(body: bytes) -> list[bytes]:
    return [body[slice(*frame.span)] for frame in _frames(body)]


def _placed_frames(log: Path) -> Iterator[tuple[int, bytes, Frame]]:
    """Every frame of a log with the position of its line in the file, and the line."""
    position = 0
    for number, line in enumerate(log.read_bytes().split(b"\n"), 1):
        body = line.rstrip(b"\r")
        for frame in find_frames(LogLine(number, body, line[len(body) :] + b"\n")):
            yield position, body, frame
        position += len(line) + 1


_SPELLINGS = {
    Spelling.SIZED: rb"[\w.$]+\+0x[0-9a-f]+/0x[0-9a-f]+",
    Spelling.OFFSET: rb"[\w.$]+\+0x[0-9a-f]+",
    Spelling.DECIMAL: rb"[\w.$]+\+\d+",
    Spelling.ADDRESS: rb"0x[89a-f][0-9a-f]{7}(?:[0-9a-f]{8})?",
    Spelling.DIGITS: rb"[89a-f][0-9a-f]{7}(?:[0-9a-f]{8})?",
    Spelling.LOW_DIGITS: rb"0[0-9a-f]{7}(?:[0-9a-f]{8})?",
    Spelling.NAME: rb"[A-Za-z_]\w+",
    Spelling.IDENTIFIER: rb"[A-Za-z]+_\w+",
}


@pytest.mark.parametrize("row", FRAME_FORMATS, ids=lambda row: row.name)
def test_every_row_finds_the_frame_of_its_example(row: FrameFormat) -> None:
    found = [frame for frame in _frames(row.example) if frame.format == row.name]
    assert [frame.pc for frame in found] == [row.pc]
    assert row.printed_by
    text = row.example[slice(*found[0].span)]
    spelled = [spelling for spelling, pattern in _SPELLINGS.items() if re.fullmatch(pattern, text)]
    assert set(spelled) & set(row.takes)
    assert text.startswith(found[0].symbol)
    assert may_hold_frame(row.example)


def test_row_names_are_unique() -> None:
    assert len({row.name for row in FRAME_FORMATS}) == len(FRAME_FORMATS)


@samples
def test_every_frame_of_a_sample_log_is_found_where_it_stands(log: Path) -> None:
    data = log.read_bytes()
    expected = {match.start(): match for match in NAIVE_FRAME.finditer(data)}
    found = {position + frame.span[0]: frame for position, _, frame in _placed_frames(log) if frame.size is not None}
    assert len(expected) >= 10
    assert list(found) == list(expected)
    for start, frame in found.items():
        match = expected[start]
        assert frame.symbol == match["symbol"]
        assert frame.offset == int(match["offset"], 16)
        assert frame.size == int(match["size"], 16)
        assert frame.module == (match["module"] or b"")
        assert frame.span[1] - frame.span[0] == match.end("size") - match.start()
        assert frame.end - frame.span[0] == match.end() - match.start()


@samples
def test_every_instruction_pointer_of_a_sample_log_is_exact(log: Path) -> None:
    # Colours may stand within the label; dmesg puts some there.
    label = re.compile(rb"(?:RIP: (?:\x1b\[[\d;]*m)*00[0-9a-f]{2}:|\bpc : )(?=[A-Za-z_.$][\w.$]*\+0x[0-9a-f]+/0x)")
    data = log.read_bytes()
    expected = [match.end() for match in label.finditer(data)]
    found = [position + frame.span[0] for position, _, frame in _placed_frames(log) if frame.pc is PcKind.EXACT]
    assert set(expected) <= set(found)


def test_the_sample_logs_hold_instruction_pointers_of_both_architectures() -> None:
    text = b"".join(log.read_bytes() for log in sample_logs())
    assert len(re.findall(rb"RIP: 0010:\w", text)) > 20
    assert len(re.findall(rb"\bpc : \w", text)) > 5


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (
            b"[<c0014990>] (unwind_backtrace+0x0/0xf4) from [<c005ccb8>] (__lock_acquire+0x14f8/0x1b98)",
            [b"unwind_backtrace+0x0/0xf4", b"__lock_acquire+0x14f8/0x1b98"],
        ),
        (
            b"[<0>] ep_poll+0x47d/0x4b0 [<0>] __x64_sys_epoll_wait+0x180/0x1c0 [<0>] do_syscall_64+0x5d/0x90",
            [b"ep_poll+0x47d/0x4b0", b"__x64_sys_epoll_wait+0x180/0x1c0", b"do_syscall_64+0x5d/0x90"],
        ),
        (
            b"CFI failure at kobject_put+0xbb/0x1b0 (target: kfree+0x0/0x180; expected type: 0x7c4aa698)",
            [b"kobject_put+0xbb/0x1b0", b"kfree+0x0/0x180"],
        ),
        (
            b" <c01499a4> __report_bad_irq+0x24/0x80  <c0149a9d> note_interrupt+0x9d/0x270",
            [b"__report_bad_irq+0x24/0x80", b"note_interrupt+0x9d/0x270"],
        ),
        (
            b"[ 0.704802] epc : walk_stackframe+0xac/0xc2[    0.704941]  ra : dump_backtrace+0x1a/0x22",
            [b"walk_stackframe+0xac/0xc2", b"dump_backtrace+0x1a/0x22"],
        ),
        (b"=> f+0x1/0x2 <ffffffffb314d605> => 0xffffffffc0000000", [b"f+0x1/0x2", b"0xffffffffc0000000"]),
    ],
)
def test_a_line_yields_every_frame_it_holds(body: bytes, frames: list[bytes]) -> None:
    assert _texts(body) == frames


def test_frames_on_one_line_of_process_stack_are_all_trace_entries() -> None:
    frames = _frames(b"[<0>] ep_poll+0x47d/0x4b0 [<0>] do_epoll_wait+0x69a/0x790")
    assert [(frame.format, frame.in_trace) for frame in frames] == [("process_stack", True)] * 2


@pytest.mark.parametrize(
    ("body", "module", "build_id"),
    [
        (b" nd+0xa9b/0xcc0", b"", b""),
        (b" nd+0xa9b/0xcc0 [nd_btt]", b"nd_btt", b""),
        (b" nd+0xa9b/0xcc0 [nd-btt]", b"nd-btt", b""),
        (
            b" nd+0xa9b/0xcc0 [libphy 93248cd1d88abf54f1b4cc64a990177f549a7710]",
            b"libphy",
            b"93248cd1d88abf54f1b4cc64a990177f549a7710",
        ),
    ],
)
def test_an_annotation_goes_behind_the_module_bracket(body: bytes, module: bytes, build_id: bytes) -> None:
    for tail in (b"", b" (P)", b"\x1b[0m", b", CPU#0: x/1"):
        frame = _only(body + tail)
        assert (frame.module, frame.build_id) == (module, build_id)
        assert frame.end == len(body)
        assert frame.span == (1, 1 + len(b"nd+0xa9b/0xcc0"))


@pytest.mark.parametrize(
    "tail",
    [
        b"[    0.704941]  ra : g",
        b" [    0.704463] CPU: 0",
        b"[    0.7] x",
        b"[T905]",
        b" [m",
        b" [m ]",
        b" [m xyz]",
        b" []",
    ],
)
def test_what_only_looks_like_a_module_bracket_is_none(tail: bytes) -> None:
    frame = _frames(b" walk_stackframe+0xac/0xc2" + tail)[0]
    assert frame.module == b""
    assert frame.end == frame.span[1]


@pytest.mark.parametrize("mark", [b" (P)", b" (T)", b" (PF)", b" (unreliable)", b"(unreliable)"])
def test_unwinder_marks_end_a_trace_entry_and_stay_behind_the_annotation(mark: bytes) -> None:
    frame = _only(b"[   18.2]  el1_abort+0x3c/0x64" + mark)
    assert frame.in_trace
    assert frame.format == "trace_entry"
    assert frame.end == frame.span[1]


def test_a_trace_entry_marked_as_the_interrupted_pc_is_exact() -> None:
    # arm64 since 6.12, dump_backtrace_entry(): P is pt_regs' own pc.
    assert _only(b"[   18.2]  spin_for+0x40/0x60 (P)").pc is PcKind.EXACT
    assert _only(b"[   18.2]  spin_for+0x40/0x60 [oopser] (PF)").pc is PcKind.EXACT
    assert _only(b"[   18.2]  spin_for+0x40/0x60 (T)").pc is PcKind.RETURN


@pytest.mark.parametrize(
    "entry",
    [
        b"[   36.6] [T12]  worker_thread+0x2f6/0x430",
        b"worker_thread+0x2f6/0x430",
        b" [<ffffffff84800087>] worker_thread+0x2f6/0x430",
        b"  <IRQ>  [<ffffffff8170cafa>] worker_thread+0x2f6/0x430",
        b"Jun 20 14:37:37 xz-x1 kernel:        worker_thread+0x2f6/0x430",
        b"4,1010,511831616,-; worker_thread+0x2f6/0x430",
        b"> > > [   36.6]  worker_thread+0x2f6/0x430",
        b"\x1b[0m worker_thread+0x2f6/0x430\x1b[0m",
        b'  "msg": " worker_thread+0x2f6/0x430"},',
        b"[   36.6]  worker_thread+0x2f6/0x430 <ffffffffb314d605>",
    ],
)
def test_prefixes_and_decoration_do_not_hide_a_trace_entry(entry: bytes) -> None:
    frame = _only(entry)
    assert (frame.symbol, frame.in_trace, frame.reliable, frame.pc) == (b"worker_thread", True, True, PcKind.RETURN)


@pytest.mark.parametrize(
    "entry", [b"[ 1.0]  ? f+0x1/0x2", b" [<ffffffff81000000>] ? f+0x1/0x2", b"[<ffffffff81000000>]? f+0x1/0x2"]
)
def test_a_question_mark_makes_an_entry_unreliable(entry: bytes) -> None:
    frame = _only(entry)
    assert frame.in_trace
    assert not frame.reliable


@pytest.mark.parametrize(
    "body",
    [
        b"RIP: 0010:hash_resize+0x608/0x6a0 [ip_set]",
        b"RIP: 0010:[<ffffffff8123487f>]  [<ffffffff8123487f>] __lock_acquire+0x61f/0x4b50",
        b"RIP: strlen+0x1/0x30 RSP: ffffc90000f63728",
        b"[    1.0] pc : clear_page+0x14/0x28",
        b"WARNING: CPU: 0 PID: 7 at mm/vmalloc.c:2873 __vmalloc_node_range+0x769/0x970",
        b"WARNING: fs/jfs/jfs_dmap.c:2867 at dbAdjTree+0x454/0x4e0, CPU#0: jfsCommit/112",
        b"WARNING: [time_after(a, b)] io_uring/io_uring.c:3026 at io_ring_exit_work+0x44c/0xbc0, CPU#0: k/1",
        b"WARNING: at include/linux/mm.h:283 putback_inactive_pages+0x2cc/0x360()",
        b"NMI backtrace for cpu 1 skipped: idling at native_safe_halt+0xe/0x10",
        b"\x1b[32m[    1.0] \x1b[0m\x1b[33mRIP: \x1b[0m\x1b[1m0010:helper+0x17/0x50 [oopser]\x1b[0m",
        b"\x1b[32m[    1.0] \x1b[0m\x1b[33mpc : \x1b[0mhelper+0x17/0x50 [oopser]",
        b"\x1b[33mWARNING: \x1b[0mCPU: 0 PID: 7 at mm/vmalloc.c:2873 \x1b[1m__vmalloc_node_range+0x769/0x970",
    ],
)
def test_instruction_pointers_are_exact_and_no_trace_entries(body: bytes) -> None:
    frame = _only(body)
    assert frame.pc is PcKind.EXACT
    assert not frame.in_trace


@pytest.mark.parametrize(
    "body",
    [
        b"[    1.0] lr : kernel_init_free_pages+0x7c/0x190",
        b"BUG: KASAN: use-after-free in tcp_v4_early_demux+0x967/0xa60",
        b"caller is __this_cpu_preempt_check+0x1c/0x20",
        b"#1:  (rtnl_mutex){+.+.}, at: [<00000000e655fd2b>] rtnl_lock+0x17/0x20",
        b"hardirqs last  enabled at (210421): [<ffffffff82c51728>] restore_regs_and_iret+0x4/0x1d",
        b"INFO: Allocated in hotkey_exit+0x50/0xb0 [thinkpad_acpi] age=14 cpu=1 pid=1333",
        b"random: get_random_u32 called from bucket_table_alloc.isra.27+0x68/0x194 with crng_init=0",
        b" => vfs_read+0x98/0x180",
    ],
)
def test_callers_are_return_addresses(body: bytes) -> None:
    assert _only(body).pc is PcKind.RETURN


@pytest.mark.parametrize(
    "body",
    [
        b"calling  acpi_init+0x0/0x4f0 @ 1",
        b"initcall acpi_init+0x0/0x4f0 returned 0 after 12 usecs",
        b"object type: timer_list hint: hid_retry_timeout+0x0/0xd0",
        b"PM: dpm_run_callback(): pci_pm_suspend+0x0/0x170 returns -2",
        b"[<c0301300>] (qs_intr+0x0/0x220)",
    ],
)
def test_functions_that_are_named_are_entries(body: bytes) -> None:
    assert _only(body).pc is PcKind.ENTRY


@pytest.mark.parametrize(
    "body",
    [
        b" dump_stack+0x5d/0x80 (lib/dump_stack.c:94)",
        b" f+0x1/0x2 (fs/a.c:46 in helper, fs/a.c:76)",
        b" f+0x1/0x2 (fs/a.c:10 or fs/b.c:33)",
        b" f+0x1/0x2 [oopser] (/build/oopser/main.c:88)",
        b" f+0x1/0x2 (drivers/a.c:3) [oopser]",
        b" f+0x1/0x2 net/ipv4/tcp.c:12",
        b" f+0x1/0x2 net/ipv4/tcp.c:12 [inline]",
        b" f+0x1/0x2 rust/kernel/sync.rs:12",
        b" f+0x1/0x2 arch/x86/entry/entry_64.S:120",
    ],
)
def test_text_that_names_a_location_already_is_flagged(body: bytes) -> None:
    assert _only(body).annotated


@pytest.mark.parametrize(
    "tail", [b"", b" (P)", b" (unreliable)", b" <ffffffffb314d605>", b" (target: x)", b" age=14", b" ()"]
)
def test_other_text_behind_a_frame_is_no_location(tail: bytes) -> None:
    assert not _only(b" f+0x1/0x2" + tail).annotated


@pytest.mark.parametrize(
    "body",
    [
        b"RIP: 0033:0x47b7a0",
        b"RIP: 0033:0x7fedb09aa54e",
        b"RIP: 0010:0x0",
        b"diff: +0x10/0x20",
        b"base+0x10/0x20x",
        b"base+0x10/0x20.5",
        b"base+0x10/0x20g",
        b"base+0x/0x20",
        b"base+0x10/20",
        b"base +0x10/0x20",
        b"9base+0x10/0x20",
        b"https://example.org/a+0x1",
        b"(____ptrval____) +0x",
        b"[<00000000e655fd2b>] 0x00000000e655fd2b +0x",
        b"RAX: 0xffffffff821f8288 RBX: 0xffff888100000000",
        b"flags: 0xffffc00000000000(zone=1)",
        b"page:0xffffea0000000000 refcount:1",
        b"Code: 48 89 e5 0xffffffff81000000 f+0x",
        b"0xfffffffff",
        b"0xffffffff81000000/0x10",
        b"x0xffffffff81000000",
        b"0000000 ffff +0x1 /0x2 0xffff 0xffff",
    ],
)
def test_text_that_is_no_frame_is_left_alone(body: bytes) -> None:
    assert _frames(body) == []


@pytest.mark.parametrize(
    "body",
    [
        b" 0xffffffffa000b089",
        b"[    1.0]  0xffffffffa000b089",
        b" => 0xffffffffa000b089",
        b"[<0>] 0xffffffffa000b089",
        b" ? 0xffffffffa000b089",
    ],
)
def test_a_raw_address_is_a_frame_where_a_trace_entry_may_stand(body: bytes) -> None:
    frame = _only(body)
    assert frame.address == 0xFFFFFFFFA000B089
    assert frame.symbol == b""
    assert body[slice(*frame.span)] == b"0xffffffffa000b089"
    assert frame.end == frame.span[1]
    assert frame.reliable == (b"?" not in body)


def test_a_raw_instruction_pointer_is_a_frame() -> None:
    frame = _only(b"RIP: 0010:0xffffffffa000b089")
    assert (frame.address, frame.pc) == (0xFFFFFFFFA000B089, PcKind.EXACT)


@pytest.mark.parametrize(
    ("body", "address"),
    [
        (b" [<ffffffff84800087>] f+0x1/0x2", 0xFFFFFFFF84800087),
        (b" [<ffffffff84800087>] ? f+0x1/0x2", 0xFFFFFFFF84800087),
        (b" => f+0x1/0x2 <ffffffffb314d605>", 0xFFFFFFFFB314D605),
        (b" [<00000000e655fd2b>] f+0x1/0x2", None),
        (b" [<0000000000000000>] f+0x1/0x2", None),
        (b" [<0>] f+0x1/0x2", None),
        (b" f+0x1/0x2", None),
    ],
)
def test_an_address_beside_a_symbol_is_kept_unless_hashed(body: bytes, address: int | None) -> None:
    assert _only(body).address == address


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"f.cold",
            b"f.cold.8",
            b"f.isra.61",
            b"f.constprop.0",
            b"f.part.11",
            b"f.llvm.123456",
            b"__pfx_f",
            b".eeh_check",
        ),
        *(b"_RNvXs_Cs1a2b_5rnull4init", b"Ldiv0_64", b"_stext", b"bpf_prog_6deef7357e7b4530_sd_fw_ingress", b"f$1"),
    ],
)
def test_suffixes_and_dots_are_part_of_the_name(name: bytes) -> None:
    assert _only(b" " + name + b"+0x1/0x20").symbol == name


@pytest.mark.parametrize(
    ("body", "symbol"),
    [
        (
            b"[    1.0]  <rnull::NullBlkModule as kernel::InPlaceModule>::init+0x904/0xc30",
            b"<rnull::NullBlkModule as kernel::InPlaceModule>::init",
        ),
        (b" rnull::init+0x904/0xc30 [rnull]", b"rnull::init"),
        (b" ? a::b::c+0x1/0x20", b"a::b::c"),
        (b"RIP: 0010:a::b+0x1/0x20", b"a::b"),
        (
            b" core::ptr::drop_in_place::<kernel::sync::Arc<T>>+0x1/0x20",
            b"core::ptr::drop_in_place::<kernel::sync::Arc<T>>",
        ),
        (b" <F as FnOnce<(A,)>>::call_once::{closure#0}+0x1/0x20", b"<F as FnOnce<(A,)>>::call_once::{closure#0}"),
        (b" <fn(u8) -> u8 as Trait>::f+0x1/0x20", b"<fn(u8) -> u8 as Trait>::f"),
        (b" Vec<T>::new+0x1/0x20", b"Vec<T>::new"),
        (b"<4>a::b+0x1/0x20", b"a::b"),
    ],
)
def test_a_demangled_name_is_the_symbol_from_its_start_to_its_end(body: bytes, symbol: bytes) -> None:
    frame = _only(body)
    assert frame.symbol == symbol
    assert body[frame.span[0] :].startswith(symbol + b"+0x")


@pytest.mark.parametrize(
    "body",
    [
        b" ::init+0x1/0x20",
        b" a >::init+0x1/0x20",
        b" <a>+0x1/0x20",
        b" {a}+0x1/0x20",
        b" a:::b+0x1/0x20",
        b"\\a::b+0x1/0x2",
    ],
)
def test_what_is_no_whole_path_is_no_frame(body: bytes) -> None:
    """Never the function whose name the last part is."""
    assert _frames(body) == []


_COMMON_PARTS = st.tuples(
    st.sampled_from(
        (
            *(
                b"",
                b"> ",
                b"> > ",
                b">>",
                b"<4>",
                b"<4",
                b"4,1010,511831616,-;",
                b"6,339,5140900,-,caller=T12;",
                b"4,1;",
            ),
            *(b"Nov 19 12:34:38 host kernel: ", b"Nov  9 12:34:38.123456 host kernel: ", b"host kernel: ", b"| "),
        )
    ),
    st.sampled_from(
        (b"", b"[   20.164778]", b"[   20.164778][   T12]", b"[12345.1][ C1]", b"[1.2] [ T1]", b"[<0>]", b"x")
    ),
    st.sampled_from((b"", b" ", b"  ", b"\t", b"\t   ")),
    st.sampled_from((b"", b"[<ffffffff84800087>] ", b"[<00000000e211b653>]", b"[<c0015de8>] ", b"[<0>] ")),
    st.sampled_from((b"", b"? ", b"?")),
    st.sampled_from((b"f", b"vfs_write", b".eeh.cold.8", b"_RNv$1", b"a::b", b":m:f", b"9f")),
    st.sampled_from(
        (b"+0x1/0x2", b"+0x0/0x3f0", b"+0xffffffffffffffff/0x1", b"+0x1", b"+0x1/0x", b"+0x11111111111111111/0x2")
    ),
    st.sampled_from((b"", b" [m]", b" [nd-btt]", b" [m 93248cd1d88abf]", b" [m 9]", b" (P)", b" [m] (P)", b" ", b"=")),
)


@given(_COMMON_PARTS.map(b"".join))
@settings(max_examples=1500)
def test_the_quick_way_leads_where_the_long_one_does(body: bytes) -> None:
    quick = _frames(body)
    if grammar._COMMON.fullmatch(body) is not None:
        assert quick == list(grammar._frames(body, frozenset(), is_whole=True))
        assert len(quick) == 1


@pytest.mark.parametrize(
    ("body", "address"),
    [
        (b"NIP [c00000000022d79c] f+0x1/0x2", 0xC00000000022D79C),
        (b"[c000000049a87710] [c0000000000286fc] f+0x1/0x2", 0xC0000000000286FC),
        (b"[c0b01d50] [c0010234] f+0x1/0x2", 0xC0010234),
        (b"[42949372] f+0x1/0x2", None),  # jiffies
        (b"host kernel: 42949372 f+0x1/0x2", None),
        (b"epc   : 8576591c f+0x1/0x2", 0x8576591C),
        (b"  ERA: 9000000001058044 f+0x1/0x2", 0x9000000001058044),
        (b"ffffffff8118ca87 f_f+0x47 ([xfs])", 0xFFFFFFFF8118CA87),
        (b"[<ffffffff81234560>] usb_hcd_irq", 0xFFFFFFFF81234560),
        (b"{ call_site: [ffffffff9337fcc0] seq_read_iter+0x370/0x450    } hitcount: 1", 0xFFFFFFFF9337FCC0),
        # A hash, or what may be one.
        (b"[<c0015de8>] f+0x1/0x2", None),
        (b"[<c0015de8>] qs_intr", None),
        (b"[<0000000093ad4dfb>] usb_hcd_irq", None),
    ],
)
def test_an_address_that_the_kernel_prints_beside_a_name_is_the_frames(body: bytes, address: int | None) -> None:
    frame = _only(body)
    assert frame.symbol
    assert frame.address == address


def test_a_name_alone_has_neither_offset_nor_size() -> None:
    frame = _only(b"workqueue: hub_event hogged CPU for >10000us 4 times")
    assert (frame.symbol, frame.offset, frame.size, frame.pc) == (b"hub_event", None, None, PcKind.ENTRY)


def test_where_a_tool_saw_a_function_begin_no_call_stands_before_it() -> None:
    assert _only(b"ffffffff8118ca80 entry_SYSCALL_64+0x0 ([kernel.kallsyms])").pc is PcKind.ENTRY
    assert _only(b"    do_sys_poll+0").pc is PcKind.ENTRY


_FRAGMENTS = (
    *(b"f+0x1/0x2", b"g.isra.0+0x0/0x10", b"0xffffffff81000000", b"[<ffffffff81000000>]", b"[mod]", b" [mod 0123ab]"),
    *(
        b"+0x",
        b"/0x",
        b"0xffff",
        b" ",
        b"  ",
        b"? ",
        b"=> ",
        b"<-",
        b"RIP: 0010:",
        b"pc : ",
        b"lr : ",
        b"WARNING: ",
        b" at ",
    ),
    *(b" (a.c:1)", b"(", b")", b"[", b"]", b"<", b">", b":", b"\x1b[0m", b"\0", b"\xff", b"\r", b"a", b"9", b"$", b"."),
)


def _check_order(body: bytes) -> None:
    done = 0
    for frame in _frames(body):
        start, stop = frame.span
        assert done <= start < stop <= frame.end <= len(body)
        done = frame.end
        if frame.symbol and b"\x1b" not in body[start:stop]:
            assert body.startswith(frame.symbol, start)


@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=30).map(b"".join))
@settings(max_examples=500)
def test_frames_are_ordered_disjoint_and_inside_the_line(body: bytes) -> None:
    _check_order(body)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(before: bytes, behind: bytes) -> None:
    _check_order(before + b" f+0x1/0x2" + behind)
    _check_order(before + b"+0x" + behind)
    _check_order(before + b"0xffffffff81000000" + behind)


def _unbounded(part: Any) -> bool:
    """Whether a part of a parsed pattern may try one text in more ways than its own numbers say."""
    if isinstance(part, tuple) and str(part[0]) in ("MAX_REPEAT", "MIN_REPEAT") and str(part[1][1]) == "MAXREPEAT":
        return True
    inner = part if isinstance(part, tuple | list) else getattr(part, "data", ())
    return any(map(_unbounded, inner))


@pytest.mark.parametrize("row", FRAME_FORMATS, ids=lambda row: row.name)
def test_no_pattern_of_a_row_repeats_without_bound(row: FrameFormat) -> None:
    """What repeats without one is possessive: it is tried in one way only."""
    for pattern in (row.before, row.closing, row.behind):
        assert not _unbounded(parse(pattern)), pattern


def test_a_repeat_without_bound_would_be_seen() -> None:
    for pattern in (rb"a*", rb"a+?b", rb"(?:x|(?:ab+)?)", rb"(?=a*)", rb"((?:ab{2,}){3})", rb"(?>a*b)", rb"(?:ca*)++"):
        assert _unbounded(parse(pattern)), pattern
    assert not _unbounded(parse(rb"(?:a{0,9}|b*+)?[a-z]{2,3}?(?=\bx{2})(?!y++)"))


_HALVES = {
    "its cue": lambda row: row.cue or b" ",
    "its example": lambda row: row.example + b" ",
    "its example without an end": lambda row: row.example[:-1],
    "the start of its example": lambda row: row.example[: len(row.example) // 2],
    "the end of its example": lambda row: row.example[len(row.example) // 3 : -1],
}


def _seconds(body: bytes) -> float:
    """The processor's time that a line takes."""
    start = time.process_time()
    find_frames(LogLine(1, body, b""))
    return time.process_time() - start


@pytest.mark.parametrize("piece", _HALVES.values(), ids=_HALVES)
def test_a_line_twice_as_long_takes_twice_as_long(piece: Callable[[FrameFormat], bytes]) -> None:
    """Not the time, but how it grows: four times for twice the length would be a search that never ends."""
    for row in FRAME_FORMATS:
        fragment = piece(row)
        line = fragment * (100_000 // len(fragment) + 1)
        # A machine that does other work, too, is measured again.
        ratios = (_seconds(line[:100_000]) / max(_seconds(line[:50_000]), 1e-4) for _ in range(9))
        assert any(ratio < 3 for ratio in ratios), (row.name, fragment)


_HOSTILE = {
    "one letter": "b'a' * N + b'+0x'",
    "half frames": "b'a+0x' * (N // 4)",
    "half sizes": "b'a+0x1/0x' * (N // 9)",
    "open brackets": "b'[<' * (N // 2) + b'+0x'",
    "spaces before a frame": "b' ' * N + b'f+0x1/0x2'",
    "spaces behind a frame": "b'f+0x1/0x2' + b' ' * N + b'x'",
    "frames in one line": "b' f+0x1/0x2' * (N // 10)",
    "modules without an end": "b'f+0x1/0x2 [aaaaaaaaaaaaaaaa' * (N // 28)",
    "titles": "b'WARNING: at a:1 f+0x1/0x2 ' * (N // 26)",
    "locations without an end": "b'f+0x1/0x2 (' + b':1' * (N // 2)",
    "raw addresses": "b'0xffffffff81000000 ' * (N // 19)",
    "digits": "b'[<' + b'f' * N + b'>] from [<'",
    "addresses in brackets": "b'[<c0015de8>] ' * (N // 13)",
    "paths without a start": "b'>::f+0x1/0x2' * (N // 12)",
    "paths of brackets": "b'<' * (N // 2) + b'>' * (N // 2) + b'::f+0x1/0x2'",
    "colours": "b'f+0x1/0x2\\x1b[0m' * (N // 13)",
    "backslashes": "b'\\\\' * N + b'n'",
    "brackets without an end": "b' (a.c:1' * (N // 8)",
    "dots in a bracket": "(b'f+0x1/0x2 (' + b'.' * 8000 + b' ') * (N // 8012)",
    "names": "b'a from ' * (N // 7)",
}


@pytest.mark.parametrize("line", _HOSTILE.values(), ids=_HOSTILE)
def test_a_hostile_line_of_a_megabyte_does_not_hang(line: str) -> None:
    # A guard against a search that takes quadratic time, which would be hours; no statement about speed.
    script = f"N = 1 << 20; from annotate.log.grammar import *; find_frames(LogLine(1, {line}, b''))"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=6)


@pytest.mark.parametrize(
    ("line", "pc"),
    [
        # Real lines of each architecture: what is an instruction pointer, and what a return address.
        (b"PC is at shmem_getpage_gfp+0x584/0x72c", PcKind.EXACT),
        (b"LR is at shmem_getpage_gfp+0x454/0x72c", PcKind.RETURN),
        (b"[    0.704802] epc : walk_stackframe+0xac/0xc2", PcKind.EXACT),
        (b"[    0.704941]  ra : dump_backtrace+0x1a/0x22", PcKind.RETURN),
        (b"epc   : 8576591c mt7615_mcu_add_bss+0xd0/0x3c0 [mt7615_common]", PcKind.EXACT),
        (b"ra    : 857659f0 mt7615_mcu_add_bss+0x1a4/0x3c0 [mt7615_common]", PcKind.RETURN),
        (b"   ra: 9000000001058660 memmap_init_zone_device+0x120/0x1b0", PcKind.RETURN),
        (b"  ERA: 9000000001058044 __init_zone_device_page.constprop.0+0x4/0x1a0", PcKind.EXACT),
        (b"NIP [c00000000022d79c] partition_sched_domains_locked+0x1ac/0x5f0", PcKind.EXACT),
        (b"LR [c00000000022d798] partition_sched_domains_locked+0x1a8/0x5f0", PcKind.RETURN),
        (b"    LR = slb_insert_entry+0x19c/0x2d0", PcKind.RETURN),
        (b"--- interrupt: 700 at assert_slb_presence+0x2c/0x70", PcKind.EXACT),
        (b"[c000000049a87710] [c0000000000286fc] __switch_to+0x43c/0x6d0", PcKind.RETURN),
        (b"[c000000049a87710] [c0000000000286fc] __switch_to+0x43c/0x6d0 (unreliable)", PcKind.RETURN),
        (
            b"Krnl PSW : 0704c00180000000 0000015710cda7fe (__list_del_entry_valid_or_report+0xfe/0x128)",
            PcKind.EXACT,
        ),
        (
            b"Krnl PSW : 0704d00180000000 000003ff8086d036 ([<000003ff8086d036>] will_oops_init+0x36/0x1000 [oops])",
            PcKind.EXACT,
        ),
        (b" IAOQ[0]: mem_init+0xb0/0x150", PcKind.EXACT),
        (b" IAOQ[1]: mem_init+0xb4/0x150", PcKind.EXACT),
        (b" RP(r2): start_kernel+0x6c8/0x1190", PcKind.RETURN),
        (b"TPC: <apply_relocate_add+0x230/0x240>", PcKind.EXACT),
        (b"pc is at sysfs_create_group+0x28/0x160", PcKind.EXACT),
        (b"ra is at topology_cpu_callback+0x68/0xc0", PcKind.RETURN),
        (b"PC: [<00005a1a>] do_040writeback1+0xae/0x160", PcKind.EXACT),
        (b"PC: 0x8004a2f4 (do_page_fault+0x1c/0x2a4)", PcKind.EXACT),
        (b"| [ERET  ]: __list_del_entry_valid+0x12/0x1a0", PcKind.EXACT),
        (b"[BLINK ]: tcp_clean_rtx_queue+0x2a4/0xc88", PcKind.RETURN),
        (b"WARNING: fs/jfs/jfs_dmap.c:2867 at dbAdjTree+0x454/0x4e0, CPU#0: jfsCommit/112", PcKind.EXACT),
        (
            b"WARNING: [time_after(jiffies, timeout)] io_uring/io_uring.c:3026 at io_ring_exit_work+0x44c/0xbc0, CPU#",
            PcKind.EXACT,
        ),
        (b"object type: timer_list hint: hid_retry_timeout+0x0/0xd0", PcKind.ENTRY),
    ],
    ids=lambda value: value.decode()[:40] if isinstance(value, bytes) else value.value,
)
def test_what_an_address_means_on_every_architecture(line: bytes, pc: PcKind) -> None:
    assert [frame.pc for frame in _frames(line)] == [pc]
    assert [frame.pc for frame in _frames(b"<4>[   20.164292][    C1] " + line + b" ")] == [pc]


def test_both_frames_of_an_arm_entry_are_found() -> None:
    line = b"[<80de054c>] (show_stack+0x0/0x14) from [<80de7c10>] (dump_stack+0x154/0x1a8)"
    assert [(frame.symbol, frame.pc) for frame in _frames(line)] == [
        (b"show_stack", PcKind.ENTRY),
        (b"dump_stack", PcKind.RETURN),
    ]


def test_a_module_within_angle_brackets_is_the_frames() -> None:
    frame = _only(b"TPC: <ehci_init_driver+0x0/0x160 [ehci_hcd]>")
    assert (frame.module, b"TPC: <ehci_init_driver+0x0/0x160 [ehci_hcd]>"[frame.end :]) == (b"ehci_hcd", b">")


def test_what_stands_behind_another_frames_module_is_no_entry_of_a_trace() -> None:
    """The bracket of a module looks like that of a time stamp. An entry with offset 0 would be a return address."""
    first, second = _frames(b"[   12.345678] first+0x1/0x20 [oopser] second+0x0/0x40")
    assert (first.module, second.symbol) == (b"oopser", b"second")
    assert not second.in_trace
    assert second.pc is PcKind.ENTRY
    assert _only(b"[   12.345678] second+0x0/0x40").in_trace


@pytest.mark.parametrize("body", [b"RIP: 0010:helper+0x17", b"[   12.345678] pc : helper+0x17"])
def test_an_offset_that_the_end_of_the_log_may_have_cut_is_not_believed(body: bytes) -> None:
    """``helper+0x17/0x40`` may have become this, and so may ``helper+0x170/0x400``."""
    assert find_frames(LogLine(1, body, b"")) == []
    assert [frame.offset for frame in find_frames(LogLine(1, body, b"\n"))] == [0x17]
    assert [frame.offset for frame in find_frames(LogLine(1, body + b" ", b""))] == [0x17]
    assert [frame.size for frame in find_frames(LogLine(1, body + b"/0x40", b""))] == [0x40]
