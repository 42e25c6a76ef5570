"""The spellings of frames that are met in the wild, by architecture and by context, behind every prefix.

A table of real lines (a few are rendered from a kernel's format string), each with the frames that it holds. Every line
is read on its own, behind each of the prefixes that consoles, loggers, pagers and mails put in front, and with each of
the ends that they leave behind.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest
from fake_world import INSERTION, FakeImage, FakeImages, function, places, variable, world_of
from hypothesis import example as also_with
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.annotator import Annotator, LogFacts
from annotate.log.grammar import find_frames, may_hold_frame
from annotate.log.scan import LineScanner
from annotate.memory import Memory
from annotate.model import AnnotatedLine, KernelId, LogLine, LogPassage, PcKind
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from annotate.model import Frame


class Kind(NamedTuple):
    """What a frame is: the meaning of its address, and whether it is an entry of a stack trace."""

    pc: PcKind
    in_trace: bool


TRACE = Kind(PcKind.RETURN, in_trace=True)  #: an entry of a trace
INTERRUPTED = Kind(PcKind.EXACT, in_trace=True)  #: an entry of a trace that is pt_regs' own pc
RETURN = Kind(PcKind.RETURN, in_trace=False)
EXACT = Kind(PcKind.EXACT, in_trace=False)
ENTRY = Kind(PcKind.ENTRY, in_trace=False)


class Example(NamedTuple):
    """A line and its frames, left to right, as they stand there, the module's bracket included."""

    line: str
    frames: tuple[tuple[str, Kind], ...]


def _one(line: str, frame: str, kind: Kind) -> Example:
    return Example(line, ((frame, kind),))


def _two(line: str, first: tuple[str, Kind], second: tuple[str, Kind]) -> Example:
    return Example(line, (first, second))


def _lines(kind: Kind, *lines: str) -> tuple[Example, ...]:
    """Lines with one frame each, which is written between ``{`` and ``}``."""
    return tuple(
        _one(line.replace("{", "", 1).replace("}", "", 1), line.partition("{")[2].partition("}")[0], kind)
        for line in lines
    )


_ID = "93248cd1d88abf54f1b4cc64a990177f549a7710"

ATOMS = (
    *_lines(
        TRACE,
        " {dump_stack+0xca/0x13e}",
        " {nvdimm_namespace_attach_btt+0xa9b/0xcc0 [nd_btt]}",
        f" {{phy_state_machine+0x80/0x2c0 [libphy {_ID}]}}",
        " {drm_gem_mmap_obj+0x114/0x200 [drm 03d0564e0529947d67bb2008c3548be77279fd27]} (C)",
        " {.asswarn+0x2c/0x40 [xfs]}(unreliable)",
        " {_RNvXs_Cs1a2b_5rnull4init+0x10/0x20}",
        " {foo.cold+0x1/0x20}",
        " {foo.cold.8+0x1/0x20}",
        " {foo.isra.61+0x1/0x20}",
        " {foo.constprop.0.isra.0+0x1/0x20}",
        " {foo.part.11+0x1/0x20}",
        " {foo.llvm.123456+0x1/0x20}",
        " {foo.clone.3+0x1/0x20}",
        " {foo.lto_priv.0+0x1/0x20}",
        " {foo.__uniq.123+0x1/0x20}",
        " {__pfx_foo+0x10/0x20}",
        " {__cfi_foo+0x1/0x20}",
        " {foo.stub+0x1/0x20}",
        " {Ldiv0+0x8/0x1c}",
        " {Ldiv0_64+0x8/0x18}",
        " {__irq_usr+0x74/0x80}",
        " {_stext+0x2e4/0x37c}",
        " {bpf_prog_6deef7357e7b4530_sd_fw_ingress+0x9c/0x100}",
        " ? {dput_to_list+0x1c0/0x1c0}",
        " ? {__pfx_worker_thread+0x10/0x10}",
        " {entry_SYSCALL_64_fastpath+0x1f/0xc}",
        " {et_request_wait+0x19a/0x250}",
        " {ksys_write+0x5d}",
        " ? {ksys_write+0x5d [xfs]}",
        "   {__traceiter_sched_wakeup+0x24}",
        "    {do_sys_poll+495}",
        "\t{do_sys_poll+495}",
        " {<rnull::NullBlkModule as kernel::InPlaceModule>::init+0x904/0xc30}",
        " {<rnull::NullBlkModule as kernel::InPlaceModule>::init+0x904/0xc30 [rnull]}",
        " {rnull::init+0x904/0xc30}",
        " {core::ptr::drop_in_place::<kernel::sync::Arc<T>>+0x4/0x30}",
    ),
    _one(
        " ? <F as core::ops::FnOnce<(A,)>>::call_once::{closure#0}+0x4/0x30",
        "<F as core::ops::FnOnce<(A,)>>::call_once::{closure#0}+0x4/0x30",
        TRACE,
    ),
    *_lines(INTERRUPTED, f" {{phy_state_machine+0x80/0x2c0 [libphy {_ID}]}} (P)"),
    *_lines(EXACT, "NIP [c000000008068dfc] {.eeh_dev_check_failure+0x27c/0x390}"),
)

X86 = (
    *_lines(
        TRACE,
        "  {worker_thread+0x2f6/0x430}",
        " ? {pn533_send_complete.cold+0x47/0x6c}",
        " [<ffffffff84800087>] {entry_SYSCALL_64_after_hwframe+0x63/0xcd}",
        " [<ffffffff84800087>] ? {tcp_v4_rcv+0x63/0xcd}",
        " [<ffffffff84800087>]? {tcp_v4_rcv+0x63/0xcd}",
        " [<{ffffffff84800087>]}",
        " [<{c0015de8>]}",
        " ? [<{c0015de8>]}",
        "  <IRQ>  [<ffffffff8170cafa>] {_sched_show_task+0x31a/0x325}",
        " <EOI>  [<ffffffff8170cafa>] ? {tcp_v4_rcv+0x31a/0x325}",
        " <<EOE>>  <IRQ>  [<ffffffff8170cafa>] {tcp_v4_rcv+0x31a/0x325}",
        " <NMI>  [<ffffffff8170cafa>] {tcp_v4_rcv+0x31a/0x325}",
        " <#DF>  {tcp_v4_rcv+0x31a/0x325}",
        "  <IRQ> [  168.317567]  [<ffffffff81eb4be9>] {dump_stack+0xc1/0x128}",
    ),
    *_lines(
        EXACT,
        "RIP: 0010:{hash_netiface4_resize+0x608/0x6a0 [ip_set_hash_netiface]}",
        "RIP: 0010:[<ffffffff8123487f>]  [<ffffffff8123487f>] {__lock_acquire+0x61f/0x4b50}",
        "RIP: {strlen+0x0/0x30} RSP: ffffc90000f63728",
        "RIP  [<ffffffffa0525326>] {wdev_priv.part.8+0x4/0x6 [wl]}",
        "IP: {strlen+0x0/0x30}",
        "IP: [<ffffffff810a376f>] {__call_rcu.constprop.76+0x1f/0x280}",
        "EIP is at {wdev_priv.part.8+0x3/0x5 [wl]}",
        "EIP: {wdev_priv.part.8+0x3/0x5 [wl]}",
        "EIP: [<f8e40765>] {wdev_priv.part.8+0x3/0x5 [wl]} SS:ESP 0068:f180dbf8",
        "unchecked MSR access error: WRMSR to 0x3f1 (tried to write 0x0000000000000000) at rIP: 0xffffffff81123aff "
        "({add_atomic_switch_msr+0x8f/0x5f0})",
        "unchecked MSR access error: RDMSR from 0x3f1 at rIP: {0xffffffff81123aff} ()",
    ),
    *_lines(
        RETURN,
        "ffff880019a05d50: ffffffff8100ce27 ({show_trace_log_lvl+0x203/0x2a7})",
        "(ptrval): ffffffff812c80ee ({__save_stack_trace+0x6e/0xd0})",
        "(____ptrval____): ffffffff812c80ee ({__save_stack_trace+0x6e/0xd0})",
        "do_IRQ(): syz-executor3 has overflown the kernel stack (cur:ffff8801db2b8000,sp:ffff8801db200000,"
        "irq stk top-bottom:ffff8801db204080-ffff8801db20c000,"
        "exception stk top-bottom:fffffe0000007080-fffffe0000011000,"
        "{__sanitizer_cov_trace_pc+0x1/0x50})",
    ),
    Example(
        " <c01499a4> __report_bad_irq+0x24/0x80  <c0149a9d> note_interrupt+0x9d/0x270",
        (("__report_bad_irq+0x24/0x80", RETURN), ("note_interrupt+0x9d/0x270", TRACE)),
    ),
)

ARM = (
    Example(
        "[<c0014990>] (unwind_backtrace+0x0/0xf4) from [<c005ccb8>] (__lock_acquire+0x14f8/0x1b98)",
        (("unwind_backtrace+0x0/0xf4", ENTRY), ("__lock_acquire+0x14f8/0x1b98", RETURN)),
    ),
    _two(
        "[<80de054c>] (show_stack) from [<80de7c10>] (dump_stack+0x154/0x1a8)",
        ("show_stack", ENTRY),
        ("dump_stack+0x154/0x1a8", RETURN),
    ),
    _two(
        "[<80de054c>] (show_stack) from [<80de7c10>] (hello_init+0x13/0x1000 [test])",
        ("show_stack", ENTRY),
        ("hello_init+0x13/0x1000 [test]", RETURN),
    ),
    _two(
        " unwind_backtrace from show_stack+0x10/0x14",
        ("unwind_backtrace", ENTRY),
        ("show_stack+0x10/0x14", RETURN),
    ),
    _two(
        "rtw8822b_set_antenna [rtw88_8822b] from rtw_ops_set_antenna+0x4c/0x6c [rtw88_core]",
        ("rtw8822b_set_antenna [rtw88_8822b]", ENTRY),
        ("rtw_ops_set_antenna+0x4c/0x6c [rtw88_core]", RETURN),
    ),
    _two(" (dump_stack) from (f+0x1/0x2)", ("dump_stack", ENTRY), ("f+0x1/0x2", RETURN)),
    _one(" show_stack from 0xf0abdd1c", "show_stack", ENTRY),
    _two("Function entered at [<c0015de8>] from [<c0016354>]", ("c0015de8>]", ENTRY), ("c0016354>]", RETURN)),
    _two(" [<c0015de8>] from [<c0016354>]", ("c0015de8>]", ENTRY), ("c0016354>]", RETURN)),
    _two("pc : [<c0333330>]    lr : [<c0333200>]    psr: 80070113", ("c0333330>]", EXACT), ("c0333200>]", RETURN)),
    _two(
        "pc : [<ffff000008091958>] lr : [<ffff000008091940>] pstate: 60000045",
        ("ffff000008091958>]", EXACT),
        ("ffff000008091940>]", RETURN),
    ),
    *_lines(
        RETURN,
        "[<80de054c>] ({ret_fast_syscall+0x4/0x28}) from [<80208160>] (0x80208160)",
        "LR is at {shmem_getpage_gfp+0x454/0x72c}",
        "Register r4 information: 2-page vmalloc region starting at 0xe0728000 allocated at {kernel_clone+0x9c/0x3d4}",
        "lr : {kernel_init_free_pages+0x7c/0x190}",
        "lr : [<ffff000008091958>] {kernel_init_free_pages+0x7c/0x190}",
    ),
    *_lines(
        EXACT,
        "PC is at {shmem_getpage_gfp+0x584/0x72c}",
        "pc : {clear_page+0x14/0x28}",
        "pc : [<ffff000008091958>] {clear_page+0x14/0x28}",
    ),
    *_lines(
        TRACE,
        " {__switch_to+0x2b0/0x6e0} (T)",
        " {__switch_to+0x2b0/0x6e0} (C)",
        " {__switch_to+0x2b0/0x6e0} (U)",
        " {__switch_to+0x2b0/0x6e0} (CF)",
        " {__switch_to+0x2b0/0x6e0} (FK)",
        "[<ffff200008091958>] {dump_backtrace+0x0/0x440}",
    ),
    *_lines(INTERRUPTED, " {__switch_to+0x2b0/0x6e0} (P)", " {__switch_to+0x2b0/0x6e0} (PF)"),
)

OTHER_ARCHITECTURES = (
    # riscv
    _two(
        "epc : ffffffff808de0e4 ra : ffffffff0163a752 sp : ff20000000000000",
        ("ffffffff808de0e4", EXACT),
        ("ffffffff0163a752", RETURN),
    ),
    _two(
        "epc: ffffffe000207654 ra : ffffffe000207600 sp : ffffffe000207000",
        ("ffffffe000207654", EXACT),
        ("ffffffe000207600", RETURN),
    ),
    *_lines(EXACT, "epc : {walk_stackframe+0xac/0xc2}"),
    *_lines(RETURN, " ra : {dump_backtrace+0x1a/0x22}"),
    *_lines(TRACE, "[<ffffffe00008c762>] {schedule_tail+0x72/0xb2}"),
    # powerpc
    _two("NIP:  c045ddf8 LR: c045dde8 CTR: 00000000", ("c045ddf8", EXACT), ("c045dde8", RETURN)),
    _two(
        "NIP:  c00000000022d79c LR: c00000000022d798 CTR: c000000000a3f0a0",
        ("c00000000022d79c", EXACT),
        ("c00000000022d798", RETURN),
    ),
    *_lines(EXACT, "Faulting instruction address: {0xc045ddf8}", "NIP [c00000000022d79c] {0xc00000000022d79c}"),
    *_lines(
        TRACE,
        "[c000000049a87710] [c0000000000286fc] {__switch_to+0x43c/0x6d0}",
        "[c000000049a87710] [c0000000000286fc] {__switch_to+0x43c/0x6d0} (unreliable)",
        "[c000000049a87710] [c0000000000286fc] {.__switch_to+0x43c/0x6d0}",
    ),
    Example(
        "[c000000049a87710] [c0000000000286fc] return_to_handler+0x1/0x20 (vfs_read+0x3/0x40)",
        (("return_to_handler+0x1/0x20", RETURN), ("vfs_read+0x3/0x40", RETURN)),
    ),
    *_lines(
        EXACT,
        "NIP [c00000000022d79c] {partition_sched_domains_locked+0x1ac/0x5f0}",
        "--- interrupt: 700 at {assert_slb_presence+0x2c/0x70}",
    ),
    *_lines(
        RETURN,
        "LR [c00000000022d798] {partition_sched_domains_locked+0x1a8/0x5f0}",
        "    LR = {slb_insert_entry+0x19c/0x2d0}",
    ),
    # s390
    *_lines(
        EXACT,
        "Krnl PSW : 0704c00180000000 0000015710cda7fe ({__list_del_entry_valid_or_report+0xfe/0x128})",
        "Krnl PSW : 0704d00180000000 000003ff8086d036 ([<000003ff8086d036>] {will_oops_init+0x36/0x1000 [will_oops]})",
    ),
    *_lines(RETURN, "([<000003ff8086d036>] {will_oops_init+0x36/0x1000 [will_oops]})"),
    *_lines(TRACE, " [<000000000024c1f6>] {do_one_initcall+0x1/0x200} ", " [<00000000003d0f5e>] {f+0x12/0x34}"),
    # mips, loongarch
    *_lines(EXACT, "epc   : {80018344}", "epc   : {80018344}    Not tainted"),
    _two("epc == 88041e7c, ra == 880464e0", ("88041e7c", EXACT), ("880464e0", RETURN)),
    _two(
        "pc 9000000001058044 ra 9000000001058660 tp 9000000100000000",
        ("9000000001058044", EXACT),
        ("9000000001058660", RETURN),
    ),
    *_lines(
        EXACT,
        "epc   : 8576591c {mt7615_mcu_add_bss+0xd0/0x3c0 [mt7615_common]}",
        "ErrEPC: 80018344 {prom_init+0x4/0x20}",
        "  ERA: 9000000001058044 {__init_zone_device_page.constprop.0+0x4/0x1a0}",
    ),
    *_lines(
        RETURN,
        "ra    : 857659f0 {mt7615_mcu_add_bss+0x1a4/0x3c0 [mt7615_common]}",
        "   ra: 9000000001058660 {memmap_init_zone_device+0x120/0x1b0}",
    ),
    *_lines(
        TRACE,
        "[<8576591c>] {mt7615_mcu_add_bss+0xd0/0x3c0 [mt7615_common]}",
        "[<90000000004eaf1c>] {__unmap_hugepage_range+0x6f4/0x7d0}",
    ),
    # parisc, sparc
    _two(
        "IASQ: 00000000 00000000 IAOQ: 0000000010413598 000000001041359c",
        ("0000000010413598", EXACT),
        ("000000001041359c", EXACT),
    ),
    _two("IASQ: 00000000 00000000 IAOQ: 10413598 1041359c", ("10413598", EXACT), ("1041359c", EXACT)),
    *_lines(
        EXACT,
        "TSTATE: 0000004411001606 TPC: {00000000004402f0} TNPC: 00000000004402f4 Y: 00000000",
        "RPC: <{0xfff8803b75826e08}>",
        "TPC: {free_block+0x60}",
    ),
    *_lines(
        EXACT,
        " IAOQ[0]: {mem_init+0xb0/0x150}",
        " IAOQ[1]: {mem_init+0xb4/0x150}",
        "TPC: <{apply_relocate_add+0x230/0x240}>",
        "TPC: <{ehci_init_driver+0x0/0x160 [ehci_hcd]}>",
        "RPC: <{apply_relocate_add+0x230/0x240}>",
        "I7: <{sparc_do_fork+0x1/0x200}>",
        "Caller[0000000000601718]: {change_protection+0x678/0x9e0}",
    ),
    *_lines(RETURN, " RP(r2): {start_kernel+0x6c8/0x1190}"),
    *_lines(
        TRACE,
        " [<0000000040101ab4>] {start_kernel+0x6c8/0x1190}",
        " [<00000000004060e8>] {ret_from_fork+0x1c/0x2c}",
        " [0000000000406154] {linux_sparc_syscall+0x34/0x44}",
    ),
    # alpha, m68k, sh, xtensa, openrisc, csky, arc, um and others
    _two(
        "pc = [<fffffc00003cdbb8>]  ra = [<fffffc00006ee128>]  ps = 0000",
        ("fffffc00003cdbb8>]", EXACT),
        ("fffffc00006ee128>]", RETURN),
    ),
    _two("Call Trace:    [<c0003a44>] [<c0003b10>]", ("c0003a44>]", TRACE), ("c0003b10>]", TRACE)),
    _two("    [<c0003a44>] [<c0003b10>]", ("c0003a44>]", TRACE), ("c0003b10>]", TRACE)),
    *_lines(
        EXACT,
        "pc: {d0001234}, ps: 00000000",
        "   PC: {c0003a44}    SR: 0000807f    SP: c02c9e20",
        "by insn @ {0x800a8bc6}",
    ),
    *_lines(
        EXACT,
        "pc is at {sysfs_create_group+0x28/0x160}",
        "PC: [<00005a1a>] {do_040writeback1+0xae/0x160}",
        "PC is at {sh_probe+0x28/0x160}",
        "PC: 0x8004a2f4 ({do_page_fault+0x1c/0x2a4})",
        "[ERET  ]: {__list_del_entry_valid+0x12/0x1a0}",
    ),
    *_lines(
        RETURN,
        "ra is at {topology_cpu_callback+0x68/0xc0}",
        "PR is at {sh_probe+0x28/0x160}",
        "LR: 0x8004a2f4 ({do_page_fault+0x1c/0x2a4})",
        "[BLINK ]: {tcp_clean_rtx_queue+0x2a4/0xc88}",
    ),
    *_lines(
        TRACE,
        "[<fffffc00003cdbb8>] {sysfs_create_group+0x28/0x160}",
        " [<0004b540>] {do_040writeback1+0x1/0x200}",
        "[<8c00b1b2>] {sh_probe+0x28/0x160}",
        " [<d0001234>] {xt_probe+0x1/0x20}",
        " [<c0003a44>] {or1k_probe+0x1/0x20}",
        "[(ptrval)] {or1k_probe+0x1/0x20}",
        "[(ptrval)] ? {or1k_probe+0x1/0x20}",
        " [<60021a2c>] ? {um_probe+0x1/0x20}",
    ),
    Example(
        " [<0004b540>] f+0x1/0x200 [<0004b542>] g+0x1/0x200",
        (("f+0x1/0x200", RETURN), ("g+0x1/0x200", TRACE)),
    ),
)

CONTEXTS = (
    # titles and facts
    *_lines(
        EXACT,
        "WARNING: CPU: 0 PID: 7 at mm/vmalloc.c:2873 {__vmalloc_node_range+0x769/0x970}",
        "WARNING: fs/jfs/jfs_dmap.c:2867 at {dbAdjTree+0x454/0x4e0}, CPU#0: jfsCommit/112",
        "WARNING: [time_after(jiffies, timeout)] io_uring/io_uring.c:3026 at {io_ring_exit_work+0x44c/0xbc0}, "
        "CPU#0: kworker/u8:0/10040",
        "WARNING: at include/linux/mm.h:283 {putback_inactive_pages+0x2cc/0x360}()",
        "WARNING: at drivers/gpu/drm/radeon/radeon_object.c:12 {radeon_bo_create+0x2cc/0x360 [radeon]}()",
        "WARNING: at arch/x86/kernel/cpu/mtrr/generic.c:456 {generic_get_mtrr+0x11e/0x140}() (Not tainted)",
        "NMI backtrace for cpu 1 skipped: idling at {native_safe_halt+0xe/0x10}",
    ),
    Example(
        "CFI failure at kobject_put+0xbb/0x1b0 (target: kfree+0x0/0x180; expected type: 0x7c4aa698)",
        (("kobject_put+0xbb/0x1b0", EXACT), ("kfree+0x0/0x180", ENTRY)),
    ),
    *_lines(
        RETURN,
        "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: "
        "{writeback_single_inode+0x8e7/0x8f0}",
        "caller is {__this_cpu_preempt_check+0x1c/0x20}",
    ),
    *_lines(TRACE, "[<ffffffff89b26268>] {blk_cgroup_bio_start+0x28/0xd0}"),
    # sanitizers
    *_lines(
        RETURN,
        "BUG: KASAN: use-after-free in {tcp_v4_early_demux+0x967/0xa60}",
        "BUG: KASAN: use-after-free in {tcp_v4_early_demux+0x967/0xa60} at addr ffff8801d1b5c000",
        "BUG: KCSAN: assert: race in {dequeue_entities+0x6df/0x760}",
        "BUG: KMSAN: uninit-value in {tcp_v4_early_demux+0x967/0xa60}",
        "BUG: KMSAN: kernel-usb-infoleak in {usb_submit_urb+0x597/0x2350}",
        "BUG: KFENCE: out-of-bounds read in {test_out_of_bounds_read+0xa6/0x234 [kfence_test]}",
    ),
    # locks, interrupts, RCU
    _one("#1:  (rtnl_mutex){+.+.}, at: [<00000000e655fd2b>] rtnl_lock+0x17/0x20", "rtnl_lock+0x17/0x20", TRACE),
    _one(
        " #0: ffffffff8bf797a0 (rcu_read_lock){....}-{1:2}, at: nfnetlink_rcv_msg+0x1da/0x1300",
        "nfnetlink_rcv_msg+0x1da/0x1300",
        RETURN,
    ),
    _one(
        "hardirqs last  enabled at (210421): [<ffffffff82c51728>] restore_regs_and_iret+0x0/0x1d",
        "restore_regs_and_iret+0x0/0x1d",
        TRACE,
    ),
    *_lines(
        RETURN,
        "lock held at: {nfnetlink_rcv_msg+0x1da/0x1300}",
    ),
    *_lines(TRACE, "       {lock_acquire+0x1da/0x1300}", "[<ffffffff81234567>] {lock_stat_show+0x1/0x200}"),
    # allocations
    *_lines(
        RETURN,
        "INFO: Allocated in {hotkey_exit+0x50/0xb0 [thinkpad_acpi]} age=14 cpu=1 pid=1333",
        "random: get_random_u32 called from {bucket_table_alloc.isra.27+0x68/0x194} with crng_init=0",
    ),
    *_lines(
        TRACE,
        "\t{kmem_cache_free+0x1/0x200}",
        "    {kmemleak_alloc+0x2d/0x40}",
        "    [<00000000e211b653>] {kmem_cache_alloc_node_noprof+0x269/0x2e0}",
        "    [<ffffb86705f1243c>] {kmemleak_alloc+0x34/0x40}",
    ),
    # functions that are named, not called
    *_lines(
        ENTRY,
        "ODEBUG: free active (active state 0) object type: timer_list hint: {hid_retry_timeout+0x0/0xd0}",
        "PM: dpm_run_callback(): {pci_pm_suspend+0x0/0x170} returns -2",
        "PM: pci_pm_suspend(): {e1000e_pm_suspend+0x0/0x780 [e1000e]} returns -2",
        "calling  {acpi_init+0x0/0x4f0} @ 1",
        "initcall {acpi_init+0x0/0x4f0} returned 0 after 12 usecs",
        "[<c0301300>] ({qs_intr+0x0/0x220})",
    ),
    # procfs, tracefs
    *_lines(TRACE, "[<0>] {ep_poll+0x425/0x470}", "[<1>] {ep_poll+0x425/0x470}", " => {vfs_read+0x98/0x180}"),
    Example(
        "[<0>] ep_poll+0x47d/0x4b0 [<0>] __x64_sys_epoll_wait+0x180/0x1c0 [<0>] do_syscall_64+0x5d/0x90",
        (
            ("ep_poll+0x47d/0x4b0", TRACE),
            ("__x64_sys_epoll_wait+0x180/0x1c0", TRACE),
            ("do_syscall_64+0x5d/0x90", TRACE),
        ),
    ),
    Example(
        "    cat-719  [000] .....  25.1: do_sys_openat2+0x0/0xe0 <-__x64_sys_openat+0x6c/0xa0",
        (("do_sys_openat2+0x0/0xe0", EXACT), ("__x64_sys_openat+0x6c/0xa0", RETURN)),
    ),
    _two(
        "    cat-719  [000] .....  25.1: myretprobe: (ksys_read+0x5f/0xe0 <- vfs_read)",
        ("ksys_read+0x5f/0xe0", RETURN),
        ("vfs_read", ENTRY),
    ),
    *_lines(
        TRACE,
        "ffffffff8118ca87 {bpf_trace_run1+0x47 ([kernel.kallsyms])}",
        "ffffffffc0a8ca87 {xfs_iget+0x47 ([xfs])}",
        "\t    ffffffffc0a8ca87 {xfs_iget+0x47 (/lib/modules/6.1.0/kernel/fs/xfs/xfs.ko)}",
        "\t    ffffffff8118ca87 {bpf_trace_run1+0x47 (/usr/lib/debug/boot/vmlinux-6.1.0)}",
    ),
    # names alone
    *_lines(
        ENTRY,
        " => {ksys_write}",
        " => {xfs_file_read_iter [xfs]}",
        "  1)   0.541 us    |  {vfs_read()};",
        "  1)               |    {vfs_read()} {",
        "  1)   0.541 us    |  {vfs_read [xfs]()};",
        " 0)    cat-719    |               |  {vfs_read [xfs]()} {",
        "workqueue: {svm_range_restore_work [amdgpu]} hogged CPU for >10000us 35 times, consider switching",
        "workqueue: {hub_event} hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
    ),
    _two(
        "    cat-719  [000] .....  25.1: do_sys_openat2 <-__x64_sys_openat",
        ("do_sys_openat2", ENTRY),
        ("__x64_sys_openat", ENTRY),
    ),
    # damage
    *_lines(
        TRACE,
        "ffffffffc0ce1580>] {dc_fpu_begin+0x30/0xd0 [amdgpu]}",
        "<ffffffff81329372>] {blk_queue_bio+0x2a2/0x380}",
    ),
    Example(
        "epc : walk_stackframe+0xac/0xc2[    0.704941]  ra : dump_backtrace+0x1a/0x22",
        (("walk_stackframe+0xac/0xc2", EXACT), ("dump_backtrace+0x1a/0x22", RETURN)),
    ),
)

EXAMPLES = (*ATOMS, *X86, *ARM, *OTHER_ARCHITECTURES, *CONTEXTS)

#: What stands in front of a line that the kernel wrote.
PREFIXES = (
    # dmesg, the console, levels, callers
    "[   24.680001] ",
    "[1026677.429147] ",
    "[    4.667556] [    T905] ",
    "[ 1528.977945][ T1040] ",
    "[ 1528.977945][   C1]",
    "[   36.6] [T12] ",
    "[Fri Dec 22 12:26:24 2023] ",
    "[  +0.000000] ",
    "[Dec22 12:26] ",
    "2023-12-22T12:26:24,559615-08:00 ",
    "[17159596.699613 <    0.000000>] ",
    "[Fri Dec 22 12:26:24 2023 <    0.000000>] ",
    "kern  :warn  : [   24.680001] ",
    "kern  :err   : [Fri Dec 22 12:26:24 2023] ",
    "kern  :warn  : ",
    "<4>",
    "<4>[   24.680001] ",
    "<4>[   24.680001][   T12] ",
    "<14>",
    # /dev/kmsg, netconsole, pstore
    "4,1010,511831616,-;",
    "6,339,5140900,-,caller=T12;",
    "4,1010,511831616,-,ncfrag=0/34;",
    "12,6.1.0-56,4,1010,511831616,-;",
    "<6>[    4.667556] [    T905] ",
    # vendors
    "<4>[    1.688869]  [6:      swapper/0:    1] ",
    "<4>[ 1234.567890](1)[123:kworker/0:1]",
    "[   57.068782 / 10-26 15:03:55.524][1] ",
    "[   57.068782 @0] ",
    # syslog and journal
    "Nov 19 12:34:38 host kernel: ",
    "Nov 19 12:34:38 host kernel: [   24.680001] ",
    "Nov 19 12:34:38.123456 host kernel: ",
    "2023-11-19T12:34:38+0100 host kernel: ",
    "2023-11-19T12:34:38.123456+01:00 host kernel: [   24.680001] ",
    "2022-11-12 10:10:59 +0800 | messages | Nov 12 10:10:59 host kernel: ",
    "Nov 19 12:34:38 host kernel[1]: [   24.680001] ",
    # test rigs and pagers
    "02-10 01:10:25  [   24.680001] ",
    "2024-02-10T01:10:25.123456  [   24.680001] ",
    "2024-02-10T01:10:25.1234567Z [   24.680001] ",
    "<LAVA_SIGNAL_STARTTC x> [   24.680001] ",
    "##[error][   24.680001] ",
    "qemu: [   24.680001] ",
    "# test: [   24.680001] ",
    "1397 \u2502 [   24.680001] ",
    "1397 \u2502 ",
    "   1397 [   24.680001] ",
    "1397:[   24.680001] ",
    "dmesg.txt:1397:[   24.680001] ",
    "(XEN) [   24.680001] ",
    # mails and notes
    "> ",
    "> > > ",
    "> > > [   24.680001] ",
    ">>>> ",
    "| ",
    "\t",
    "    ",
    "  ",
    "\t[   24.680001] ",
    "- [   24.680001] ",
    "* [   24.680001] ",
    "&lt;4&gt;[   24.680001] ",
    "&gt; ",
    "` ",
    "> \u00a0",
    ">=20",
    # colours
    "\x1b[0m",
    "\x1b[1;31m",
    "\x1b[32m[   24.680001] \x1b[0m",
    "\x1b[0;1;31m[   24.680001] \x1b[0m\x1b[33m",
    "\x1b[01;31m\x1b[K",
    "\x1b[m\x1b[K",
    "[\x1b[0;32m  OK  \x1b[0m] ",
    # other text that a console interleaves
    "host login: [   24.680001] ",
    "host login: ",
    "** 4418 printk messages dropped ** [   24.680001] ",
    "** replaying previous printk message ** [   24.680001] ",
    "[   24.680001] [   24.680002] ",
    '{"msg": "',
    '"[   24.680001] ',
)

#: Behind these an entry counts as mentioned in running text: its frames are the same, with the same kind of address.
LOOSE_PREFIXES = ("<4>[ 1234.567890](CPU:0-pid:123:name) ", "<3>[   57.068782] c1 ")

#: What stands behind it.
ENDINGS = ("", "  ", " \t", '"}', '"}, ', "'", "\x1b[0m", "\x1b[m\x1b[K", "\\n", '\\r\\n"}')

#: Nothing in these is a frame.
NO_FRAMES = (
    "RIP: 0033:0x7fedb09aa54e",
    "RIP: 0010:0x0",
    "RIP: 0010:           (null)",
    "Code: Unable to access opcode bytes at 0xffffffffffffffd6.",
    "Code: 89 c2 48 c7 c7 f8 <48> 89 e5 41 0f b6 05 4c 8b +0x10/0x20",
    "EIP: 0060:[<c06969d4>] EFLAGS: 00010246 CPU: 0",
    "RAX: ffffffff821f8288 RBX: 0xffffffff821f8288 RCX: 0000000000000000",
    "flags: 0xffff800000000200(slab|node=1|zone=2)",
    "page:0xffffea0000000000 refcount:1 mapcount:0 mapping:0xffff888100000000",
    "Register r4 information: non-paged memory",
    "Krnl Code: 0000025e1092a422: c0e500039f47        brasl   %r14,0000025e1099e2b0",
    "epc   : 0040240c 0x40240c     Not tainted",
    "--- interrupt: c00 at 0x7fff9a000000",
    "<IRQ>",
    "</TASK>",
    "kernel BUG at mm/slub.c:305!",
    "BUG: KCSAN: data-race in kick_pool / wq_worker_running",
    "read-write to 0xffff888100000000 of 4 bytes by task 3377 on cpu 1:",
    "-> #0 (&fi->i_sem){+.+.}-{3:3}:",
    "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [kworker/0:1:12]",
    "INFO: task syz:123 blocked for more than 143 seconds.",
    "kworker/0:1     S ffff88007b8b8000     0    23      2 0x00000000",
    " #0: <ffff888100000000>, tick_sched_timer, S:01",
    "Modules linked in: xfs(OE) nd_btt [last unloaded: oops(OE)]",
    "Kernel Offset: 0x1c000000 from 0xffffffff81000000 (relocation range: 0xffffffff80000000-0xffffffffbfffffff)",
    "Kernel Offset: 0x80000 from 0xffffffc008000000",
    "Linux version 6.1.0 (gcc) #1 SMP",
    f"CPU: 0 UID: 0 PID: 3232 Comm: cat Not tainted 6.17.0-rc1 #1 PREEMPT(full)  {_ID}",
    "https://example.org/a+0x1?b=+0x2/0x3",
    "https://example.org/log#L1+0x1",
    "-\t\treturn base + 0x10 / 0x20; /* +0x10/0x20 */",
    "00000010: 2b30 7831 2f30 7832 0a00 0000 0000 0000  +0x1/0x2........",
    "#0  context_switch (kernel/sched/core.c:5296:2)",
    "#0  0xffffffff81234567 in f () at x.c:12",
    "#0 [ffffa51c849d3960] __schedule at ffffffffa3b49154",
    " f include/linux/x.h:31 [inline]",
    " f (file.c:12 (discriminator 3) inc.h:5) mod",
    "f at a/b.c:12",
    " (inlined by) g at a/b.h:3",
    "ffffffff81234560 T vfs_read",
    "xfs 1234 1 - Live 0xffffffffc0000000 (OE)",
    "kernel: ummyio15e+0] vf/0xnt[<0x50100x5dux0>c+0c02>on>",
    "> > +0x30/0x70",
    "24/0x330",
    "f+0x1=",
    " f+0x124/0x3=",
    "#1:  (rtnl_mutex){+.+.}, at: [<00000000e655fd2b>] 0x00000000e655fd2b",
    "[<0000000000000000>] 0x0",
    "(____ptrval____)",
    # offsets without a size where nothing says that they are frames
    "x = ksys_write+0x5d;",
    "RAX: ksys_write+0x5d",
    "lea rax, ksys_write+0x5d",
    "see ksys_write+0x5d",
    "-\tksys_write+0x5d",
    "+\tksys_write+0x5d",
    "- \tbase+0x10,",
    "ksys_write+0x5d bytes",
    "<ksys_write+93>:",
    "objects+0x10/20",
    "https://example.org/log?at=ksys_write+0x5d",
    "do_sys_poll+495 bytes",
    "rate+495 and more",
    "2 files changed, 3 insertions(+), 2 deletions(-)",
    "00007f3a8118ca87 read+0x47 (/usr/lib/libc.so.6)",
    "ffffffff8118ca87 [unknown] ([kernel.kallsyms])",
    "ffffffff8118ca87 bpf_prog_6deef7357e7b4530+0x47 ([bpf])",
    "ffffffffff600400 vgettimeofday+0x10 ([vsyscall])",
    # names
    "=> printenv",
    "=> panic",
    "key => some_value",
    "[0] => some_value",
    "=> some_value, other",
    "do_sys_openat2 <-__x64_sys_openat",
    "a <- some_value",
    "(ksys_read <- vfs_read)",
    "| vfs_read();",
    "vfs_read() {",
    "  1)   0.541 us    |  } /* vfs_read */",
    "  1)   0.541 us    |  vfs_read(file, buf);",
    "returned from vfs_read",
    "(show_stack) from here",
    "[<0>] usb_hcd_irq",
    "[<0000000093ad4dfb>] usb_hcd_irq and more",
    "[<0000000093ad4dfb>] (usb_hcd_irq)",
    "hub_event hogged CPU for >10000us 4 times",
    # addresses of user space, hashes, numbers
    "pc : [<00010374>]    lr : [<76f12344>]    psr: 60000010",
    "pc : [<0000000000401234>] lr : [<0000000000401230>] pstate: 60000000",
    "pc : [<c0333330>]",
    "epc : 000000000001061e ra : 0000000000010612 sp : 0000003fff9a0000",
    "epc: 000000000001061e ra : 0000000000010612 sp : 0000003fff9a0000",
    "epc   : 0040240c    Not tainted",
    "epc == 0040240c, ra == 00402400",
    "NIP:  10001234 LR: 10001200 CTR: 0fe5f0a0",
    "NIP:  00003fff8a2f5de8 LR: 00003fff8a2f5dd8 CTR: 0000000000000000",
    "Faulting instruction address: 0x00000000",
    "Faulting instruction address: 0x10001234",
    "IASQ: 00000000000004d2 00000000000004d2 IAOQ: 0000000010413598 000000001041359c",
    "IASQ: 00000000 00000000 IAOQ: 00000000 00000004",
    "TSTATE: 0000004411001206 TPC: 00000000004402f0 TNPC: 00000000004402f4 Y: 00000000",
    "TPC: <0x00000000004402f0>",
    "pc = [<0000000120001234>]  ra = [<0000000120001200>]  ps = 0000",
    "pc 00007ffff01058044 ra 00007ffff0105860 tp 0000000100000000",
    "pc: 40001234, ps: 00000000",
    "   PC: 00002344    SR: 0000807f    SP: 7f2c9e20",
    "by insn @ 0x200a8bc6",
    "unchecked MSR access error: RDMSR from 0x3f1 at rIP: 0x0000000000401234 ()",
    "Function entered at [<00015de8>] from [<00016354>]",
    "Call Trace:    [<00003a44>] [<00003b10>]",
    "[<0000000093ad4dfb>]",
    "[<ffffffffffffffff>]",
    "[<ffffffffffffffff>] 0xffffffffffffffff",
    "[<00000000>]",
    "lock at [<c0015de8>]",
    "[<c0015de8>] some words",
    "EIP: 0060:[<c06969d4>]",
    "RIP: 0033:0xffffffffff600400",
    "0xffffffffffffffff",
    "0x80000000",
    "0xc0015de8, 0xc0015dec,",
    "0xffffffff81000000, 0xffffffff81000000,",
    "(0xffffffff81000000)",
    "deadbeefdeadbeef",
    "ffffffff81234567 ffffffff81234567",
)

#: Interrupt handlers, as __report_bad_irq() prints them, are read only near the start of a line: further on, a name at
#: the end may be the first half of an entry that was wrapped in front of its "+0x30/0x70".
HANDLERS = (
    _one("[<0000000093ad4dfb>] usb_hcd_irq", "usb_hcd_irq", ENTRY),
    _one("[<0000000093ad4dfb>] usb_hcd_irq [usbcore]", "usb_hcd_irq [usbcore]", ENTRY),
    _one("[<c0301300>] qs_intr", "qs_intr", ENTRY),
    _two(
        "[<0000000093ad4dfb>] irq_default threaded [<000000006c1f9c1e>] rtsx_pci_irq [rtsx_pci]",
        ("irq_default", ENTRY),
        ("rtsx_pci_irq [rtsx_pci]", ENTRY),
    ),
)

#: Frames of these name their line already.
DECODED = (
    " dump_stack+0x5d/0x80 (lib/dump_stack.c:94)",
    " dump_stack+0x5d/0x80 [m] (lib/dump_stack.c:94)",
    " dump_stack+0x5d/0x80 (lib/dump_stack.c:94) [m]",
    " => ksys_write (fs/read_write.c:627)",
    "TPC: free_block+0x60 (mm/slab.c:3)",
    "    do_sys_poll+495 (fs/select.c:3 in helper, fs/select.c:9)",
    "ffffffff8118ca87 bpf_trace_run1+0x47 ([kernel.kallsyms]) (kernel/trace/bpf_trace.c:2)",
    "  1)   0.541 us    |  vfs_read() (fs/read_write.c:1);",
    "workqueue: hub_event (drivers/usb/core/hub.c:5 or drivers/b.c:3) hogged CPU for >10000us 4 times",
    " [<ffffffff84800087>] (a.c:1)",
    "RIP: 0010:0xffffffffa000b089 (a.c:1)",
    " tcp_v4_rcv+0x1/0x2 net/ipv4/tcp.c:12",
    " tcp_v4_rcv+0x1/0x2 net/ipv4/tcp.c:12 [inline]",
    "#0 at 0xffffffffa3b49154 (__schedule+0x2c4/0x6fd) in context_switch at kernel/sched/core.c:3068:2 (inlined)",
)

#: Frames to look at, of variables.
DATA = (
    ("Address belongs to variable nstr.37854+0x18/0x40", "nstr.37854", 0x40),
    (" ? rcu_callback_map+0x40/0x40", "rcu_callback_map", 0x40),
    ("... key      at: [<83e81c44>] __key.0+0x0/0x8", "__key.0", 0x8),
    (" lock: nf_conntrack_locks+0x0/0xe000, .magic: dead4ead, .owner: <none>/-1", "nf_conntrack_locks", 0xE000),
)


class Damaged(NamedTuple):
    """A line with something in the middle of its frame, and how the frame reads."""

    line: str
    raw: str  #: the frame as it stands there, the module's bracket included
    reads: str


DAMAGED = (
    Damaged(
        " \x1b[1mworker_thread\x1b[0m+0x2f6/0x430", "worker_thread\x1b[0m+0x2f6/0x430", "worker_thread+0x2f6/0x430"
    ),
    Damaged(
        " \x1b[1mworker\x1b[m\x1b[K_thread+0x2f6/0x430",
        "worker\x1b[m\x1b[K_thread+0x2f6/0x430",
        "worker_thread+0x2f6/0x430",
    ),
    Damaged(" worker_thread+0x2f6/0x\x1b[1m430", "worker_thread+0x2f6/0x\x1b[1m430", "worker_thread+0x2f6/0x430"),
    Damaged(" worker_thread+0x2\x1b[1mf6/0x430", "worker_thread+0x2\x1b[1mf6/0x430", "worker_thread+0x2f6/0x430"),
    Damaged(
        " f\x1b[1m+0x1/0x20\x1b[0m [\x1b[1mxfs]\x1b[0m", "f\x1b[1m+0x1/0x20\x1b[0m [\x1b[1mxfs]", "f+0x1/0x20 [xfs]"
    ),
    Damaged(" f\\u001b[1m+0x1/0x20\\u001b[0m", "f\\u001b[1m+0x1/0x20", "f+0x1/0x20"),
    # quoted-printable, and what mail programs make of blanks
    Damaged("=20worker_thread+0x2f6/0x430", "worker_thread+0x2f6/0x430", "worker_thread+0x2f6/0x430"),
    Damaged("=09worker_thread+0x2f6/0x430=20", "worker_thread+0x2f6/0x430", "worker_thread+0x2f6/0x430"),
    Damaged(
        "=C2=A0worker_thread+0x2f6/0x430=C2=A0[xfs]",
        "worker_thread+0x2f6/0x430=C2=A0[xfs]",
        "worker_thread+0x2f6/0x430 [xfs]",
    ),
    Damaged("\u00a0?\u00a0f+0x1/0x20\u00a0[xfs]", "f+0x1/0x20\u00a0[xfs]", "f+0x1/0x20 [xfs]"),
    # HTML
    Damaged("[&lt;ffffffff84800087&gt;] f+0x1/0x20 &#91;xfs&#93;", "f+0x1/0x20 &#91;xfs&#93;", "f+0x1/0x20 [xfs]"),
    Damaged("&nbsp;f+0x1/0x20&nbsp;[xfs]&quot;", "f+0x1/0x20&nbsp;[xfs]", "f+0x1/0x20 [xfs]"),
    Damaged(" &lt;a::B as c::D&gt;::f+0x1/0x20", "&lt;a::B as c::D&gt;::f+0x1/0x20", "<a::B as c::D>::f+0x1/0x20"),
    # Markdown
    Damaged("`f+0x1/0x20 [xfs]`", "f+0x1/0x20 [xfs]", "f+0x1/0x20 [xfs]"),
    Damaged("```f+0x1/0x20", "f+0x1/0x20", "f+0x1/0x20"),
)

#: Left alone on purpose. A word alone in a line, as ``%ps`` prints it in a list of functions, cannot be told from any
#: other: " prep_new_page" may be a column of a table, an identifier in a mail, the argument of a wrapped command line,
#: or the first half of an entry that was wrapped in front of its "+0x30/0x70".
NOT_YET = (" prep_new_page", " schedule", "[   24.680001]  prep_new_page")

#: Addresses that stand for a frame.
RAW = (
    (" 0xffffffffa000b089", TRACE),
    ("    0xffffffffa000b089", TRACE),
    (" ? 0xffffffffa000b089", TRACE),
    (" => 0xffffffffa000b089", TRACE),
    ("[<0>] 0xffffffffa000b089", TRACE),
    ("RIP: 0010:0xffffffffa000b089", EXACT),
)


def _find(body: bytes) -> list[Frame]:
    return find_frames(LogLine(1, body, b"\n"))


_TEXT = re.compile(
    r"(?P<span>(?:0x)?(?P<address>(?:[0-9a-f]{8}){1,2})"
    r"|(?P<symbol>.+?)(?:\+(?:0x(?P<offset>[0-9a-f]+)(?:/0x(?P<size>[0-9a-f]+))?|(?P<decimal>\d+)))?)"
    r"(?: \[(?P<module>[\w-]+)(?: (?P<build_id>\w+))?\]|>\]| \(\[kernel\.kallsyms\]\)| \(/.*/vmlinux.*\)"
    r"| \((?:/.*/|\[)(?P<perf>[\w-]+)(?:\]|\.ko)\))?(?:\(\))?"
)


def _expected(example: Example, before: str, behind: str) -> tuple[bytes, list[tuple[object, ...]]]:
    """A line between a prefix and an ending, and all that is to be found in it."""
    body = (before + example.line + behind).encode()
    found: list[tuple[object, ...]] = []
    done = len(before.encode())
    for text, kind in example.frames:
        start = body.index(text.encode(), done)
        done = start + len(text.encode())
        match = _TEXT.fullmatch(text)
        assert match is not None
        offset = int(match["decimal"]) if match["decimal"] else match["offset"] and int(match["offset"], 16)
        found.append(
            (
                (start, start + len(match["span"])),
                done,
                (match["symbol"] or "").encode(),
                offset,
                match["size"] and int(match["size"], 16),
                (match["module"] or match["perf"] or "").encode(),
                (match["build_id"] or "").encode(),
                match["address"] and int(match["address"], 16),
                kind,
            )
        )
    return body, found


def _seen(frame: Frame) -> tuple[object, ...]:
    kind = Kind(frame.pc, frame.in_trace)
    address = None if frame.symbol else frame.address
    return frame.span, frame.end, frame.symbol, frame.offset, frame.size, frame.module, frame.build_id, address, kind


def _bytes_of(data: bytes) -> Iterable[bytes]:
    return (data[position : position + 1] for position in range(len(data)))


def _scanned(chunks: Iterable[bytes]) -> list[LogLine]:
    """The lines that are read, by the scanner's own account of a log that is all of interest."""
    scanner = LineScanner()
    lines = []
    for piece in (piece for pieces in (*map(scanner.feed, chunks), scanner.flush()) for piece in pieces):
        if isinstance(piece, LogPassage):
            for number, line in enumerate(_split(piece.data), piece.number):
                body = line.rstrip(b"\r\n")
                lines.append(LogLine(number, body, line[len(body) :]))
            scanner.attend(len(piece.data), 1)
    return lines


def _split(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def _check_all(before: str, behind: str, line_end: bytes) -> None:
    """Every example between ``before`` and ``behind``, each in one line of a log, the log whole and byte by byte."""
    wanted = [_expected(example, before, behind) for example in EXAMPLES]
    for body, frames in wanted:
        assert [_seen(frame) for frame in find_frames(LogLine(1, body, line_end))] == frames, body
        assert may_hold_frame(body)
    log = b"".join(body + line_end for body, _ in wanted)
    lines = _scanned([log])
    assert {(line.body, line.ending) for line in lines} <= {(body, line_end) for body, _ in wanted}
    assert _scanned(_bytes_of(log)) == lines


def test_the_table_is_read_as_it_is_meant() -> None:
    assert len(EXAMPLES) >= 170
    assert len({example.line for example in EXAMPLES}) == len(EXAMPLES)
    assert all(text in example.line for example in EXAMPLES for text, _ in example.frames)
    assert {kind for example in EXAMPLES for _, kind in example.frames} == {TRACE, INTERRUPTED, RETURN, EXACT, ENTRY}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.line.strip()[:50])
def test_every_frame_of_an_example_is_found_where_it_stands(example: Example) -> None:
    body, frames = _expected(example, "", "")
    assert [_seen(frame) for frame in _find(body)] == frames


@pytest.mark.parametrize("before", PREFIXES, ids=repr)
def test_a_prefix_changes_no_frame(before: str) -> None:
    _check_all(before, "", b"\n")


@pytest.mark.parametrize("behind", ENDINGS, ids=repr)
def test_an_ending_changes_no_frame(behind: str) -> None:
    _check_all("", behind, b"\n")
    _check_all("<4>[   24.680001] ", behind, b"\n")


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r\r\n"])
def test_a_line_end_changes_no_frame(line_end: bytes) -> None:
    _check_all("<4>[   24.680001] ", "", line_end)
    _check_all("> ", "  ", line_end)


@pytest.mark.parametrize("before", LOOSE_PREFIXES, ids=repr)
def test_a_prefix_that_hides_a_trace_changes_no_address(before: str) -> None:
    for example in EXAMPLES:
        body, frames = _expected(example, before, "")
        kinds = [kind.pc for _, kind in example.frames]
        found = _find(body)
        if all(frame[4] for frame in frames):
            assert [_seen(frame)[:-1] for frame in found] == [frame[:-1] for frame in frames]
            assert [frame.pc for frame in found] == kinds
        else:  # without sizes there is no frame without a context
            seen = [(*_seen(frame)[:-1], frame.pc) for frame in found]
            assert set(seen) <= {(*frame[:-1], kind) for frame, kind in zip(frames, kinds, strict=True)}


@pytest.mark.parametrize(
    "before",
    [
        *("\x1b[m", "\x1b[K", "\x1b[0m", "\x1b[1;31m", "\x1b[01;31m\x1b[K", "\x1b[m\x1b[K"),
        *("\\n", "\\t", "\\r", "\\n\\t", "\\x09", "\\u001b[0m", "\\x1b[0m", "\\x1b[m"),
    ],
    ids=repr,
)
def test_a_colour_or_an_escape_is_no_part_of_the_name_behind_it(before: str) -> None:
    body = before.encode() + b"nread+0x2f6/0x430"
    (frame,) = _find(body)
    assert (frame.symbol, frame.pc) == (b"nread", PcKind.RETURN)
    assert body[slice(*frame.span)] == b"nread+0x2f6/0x430"


@pytest.mark.parametrize("between", [" ", "\x1b[0m ", "\x1b[m\x1b[K ", "\u00a0"], ids=repr)
def test_a_module_is_the_frames_behind_a_colour_and_behind_a_blank_of_any_kind(between: str) -> None:
    body = f"\x1b[1m f+0x1/0x20{between}[xfs]".encode()
    (frame,) = _find(body)
    assert (frame.module, frame.end) == (b"xfs", len(body))


@pytest.mark.parametrize(
    ("line", "kind", "reliable"),
    [
        ("IP: [<f88dec25>] :radeon:radeon_cp_init_ring_buffer+0x90/0x302", EXACT, True),
        (" [<f88dec25>] :radeon:radeon_cp_init_ring_buffer+0x90/0x302", TRACE, True),
        (" [<f88dec25>] ? :radeon:radeon_cp_init_ring_buffer+0x90/0x302", TRACE, False),
    ],
)
def test_a_module_in_front_of_the_name_is_the_frames(line: str, kind: Kind, *, reliable: bool) -> None:
    (frame,) = _find(b"[   24.680001] " + line.encode())
    assert (frame.symbol, frame.module) == (b"radeon_cp_init_ring_buffer", b"radeon")
    assert (Kind(frame.pc, frame.in_trace), frame.reliable) == (kind, reliable)


@pytest.mark.parametrize(("line", "kind"), RAW)
@pytest.mark.parametrize("before", ["", *PREFIXES], ids=repr)
def test_an_address_where_a_frame_may_stand_is_one(before: str, line: str, kind: Kind) -> None:
    (frame,) = _find((before + line).encode())
    assert (frame.symbol, frame.address) == (b"", 0xFFFFFFFFA000B089)
    assert Kind(frame.pc, frame.in_trace) == kind


@pytest.mark.parametrize("line", NO_FRAMES)
def test_what_is_no_frame_is_left_alone_behind_every_prefix(line: str) -> None:
    for before in ("", *PREFIXES, *LOOSE_PREFIXES):
        assert _find((before + line).encode()) == [], before


@pytest.mark.parametrize("example", HANDLERS, ids=lambda example: example.line[:40])
def test_an_interrupt_handler_is_named_near_the_start_of_a_line(example: Example) -> None:
    short = [before for before in PREFIXES if len(before) <= 24]
    assert len(short) > 30
    for before in ("", *short):
        body, frames = _expected(example, before, "")
        assert [_seen(frame) for frame in _find(body)] == frames
        assert may_hold_frame(body)
    assert _find(b"[   24.680001] " + b" " * 48 + b"[<0000000093ad4dfb>] usb_hcd_irq") == []


@pytest.mark.parametrize(
    "line",
    [
        *("ksys_write+0x5d", " a+0x1", "> a+0x1", "\tbase+0x10,", "\tbase+0x10;", " ksys_write+0x5d bytes", " a+0x1 b"),
        *(
            " do_sys_poll+495",
            "    i+1",
            "    count+1;",
            "    count+1,",
            " f+0x12/0x3=",
            " base+0x10/",
            " base+0x10+0x8",
        ),
        *(" => panic", "    [0] => some_value", " => some_value,", " => some_value;", " => 9some_value"),
        *(" return from vfs_read", " some_value", "\t0xc0015de8", "\t0xffffffff81000000,", "    0x80000000"),
    ],
)
def test_what_is_alone_in_a_line_is_no_frame_for_that(line: str) -> None:
    assert _find(line.encode()) == []


@pytest.mark.parametrize("line", [" ksys_write+0x5d", "    do_sys_poll+495", "TPC: free_block+0x60"])
def test_an_offset_that_may_have_been_cut_is_no_frame(line: str) -> None:
    """The end of the input: the offset may go on, and without a size nothing would tell."""
    assert find_frames(LogLine(1, line.encode(), b"")) == []
    assert len(find_frames(LogLine(1, line.encode() + b" ", b""))) == 1


def test_an_address_of_a_trace_is_not_the_instruction_pointer_because_both_are_addresses() -> None:
    """The dump above says what was interrupted; an entry is that only if it is the same address."""
    log = b"RIP: 0010:0xffffffffa000b089\n 0xffffffffa000b089\n 0xffffffffa000b0ff\n"
    annotator = Annotator(FakeImages({}), LogFacts())
    frames = [
        resolution.frame
        for line in [*annotator.feed(log), *annotator.flush()]
        if isinstance(line, AnnotatedLine)
        for resolution in line.resolutions
    ]
    assert [frame.pc for frame in frames] == [PcKind.EXACT, PcKind.EXACT, PcKind.RETURN]


@pytest.mark.parametrize("before", ["", "[   24.680001] ", "> "])
def test_two_frames_of_one_line_are_found_between_annotations(before: str) -> None:
    line = before + "Call Trace: [<c0003a44>] (a.c:1) [<c0003b10>] (b.c:2) [<c0003b14>]"
    assert [(frame.address, frame.annotated) for frame in _find(line.encode())] == [
        (0xC0003A44, True),
        (0xC0003B10, True),
        (0xC0003B14, False),
    ]


@pytest.mark.parametrize("line", NOT_YET)
def test_a_word_alone_is_no_frame(line: str) -> None:
    for before in ("", "[   24.680001] ", "> "):
        assert _find((before + line).encode()) == []


@pytest.mark.parametrize("damaged", DAMAGED, ids=lambda damaged: repr(damaged.line))
def test_a_damaged_frame_is_read_as_a_reader_does(damaged: Damaged) -> None:
    plain = _expected(_one(damaged.reads, damaged.reads, TRACE), "", "")[1][0]
    for before in ("", *PREFIXES):
        body = (before + damaged.line).encode()
        (frame,) = _find(body)
        assert body[frame.span[0] : frame.end] == damaged.raw.encode()
        assert _seen(frame)[2:] == plain[2:]


def _annotate(chunks: Iterable[bytes], world: FakeImages, slide: int | None = None) -> bytes:
    """The annotated text; made with and without a memory of lines, which makes no difference."""
    chunks = list(chunks)
    plain = _annotate_once(chunks, Annotator(world, LogFacts(slide)))
    assert _annotate_once(chunks, Annotator(world, LogFacts(slide), Memory())) == plain
    return plain


def _annotate_once(chunks: Iterable[bytes], annotator: Annotator) -> bytes:
    renderer = PlainRenderer(RenderOptions())
    output = [renderer.render("log", piece) for chunk in chunks for piece in annotator.feed(chunk)]
    return b"".join(output + [renderer.render("log", piece) for piece in annotator.flush()])


def _world_of_names() -> FakeImages:
    lines = [example.line for example in EXAMPLES] + [damaged.reads for damaged in DAMAGED]
    for example in EXAMPLES:
        for text, _ in example.frames:
            match = _TEXT.fullmatch(text)
            if match is not None and match["symbol"] and not match["size"]:
                module = match["module"] or match["perf"]
                lines.append(f"{match['symbol']}+0x1/0x400" + (f" [{module}]" if module else ""))
    return world_of("\n".join(lines).encode())


@cache
def _world() -> FakeImages:
    return _world_of_names()


@pytest.mark.parametrize(("line", "name", "size"), DATA)
def test_variables_are_left_alone(line: str, name: str, size: int) -> None:
    world = FakeImages({("", ""): FakeImage().add(variable(name, 0x1000, size), {0: places("@@a.c:1")})})
    log = b"[   24.680001] " + line.encode() + b"\n"
    assert len(_find(log[:-1])) == 1
    assert _annotate([log], world) == log


@pytest.mark.parametrize("line", DECODED)
def test_a_frame_that_names_its_line_is_left_alone(line: str) -> None:
    world = world_of(line.encode())
    for before in ("", *PREFIXES):
        log = (before + line).encode() + b"\n"
        assert len(_find(log[:-1])) == 1
        assert all(frame.annotated for frame in _find(log[:-1]))
        assert _annotate([log], world) == log


@pytest.mark.parametrize("before", ["", *PREFIXES, *LOOSE_PREFIXES], ids=repr)
def test_the_examples_are_annotated_once_and_change_in_nothing_else(before: str) -> None:
    for line_end in (b"\n", b"\r\r\n"):
        log = b"".join((before + example.line).encode() + line_end for example in EXAMPLES)
        annotated = _annotate([log], _world())
        assert annotated.count(b"@@") >= len(EXAMPLES) // 2
        assert INSERTION.sub(b"", annotated) == log
        assert b"\r (" not in annotated
        assert _annotate([annotated], _world()) == annotated


@cache
def _world_of_addresses() -> FakeImages:
    """The same, and a function at every address that stands alone in an example."""
    world = _world_of_names()
    image = world.image_for(b"", b"", KernelId())
    assert isinstance(image, FakeImage)
    addresses = {frame.address for example in EXAMPLES for frame in _find(example.line.encode()) if not frame.symbol}
    for start in sorted({address & ~0xFFF for address in addresses if address is not None}):
        rows = {offset: places(f"@@{start:x}.c:{offset + 1}") for offset in range(0, 0x1000, 4)}
        image.add(function(f"at_{start:x}", start, 0x1000), rows)
    return world


@pytest.mark.parametrize("before", ["", *PREFIXES], ids=repr)
def test_addresses_are_annotated_once_and_change_in_nothing_else(before: str) -> None:
    alone = [example.line for example in EXAMPLES if not all(frame.symbol for frame in _find(example.line.encode()))]
    log = b"".join((before + line).encode() + b"\n" for line in alone)
    annotated = _annotate([log], _world_of_addresses(), slide=0)
    assert annotated.count(b"@@") >= len(alone) > 15
    assert INSERTION.sub(b"", annotated) == log
    assert _annotate([annotated], _world_of_addresses(), slide=0) == annotated


@pytest.mark.parametrize("before", PREFIXES[:3], ids=repr)
def test_the_examples_are_annotated_the_same_byte_by_byte(before: str) -> None:
    log = b"".join((before + example.line).encode() + b"\r\n" for example in EXAMPLES)
    assert _annotate(_bytes_of(log), _world()) == _annotate([log], _world())


_PIECES = st.one_of(
    st.sampled_from([example.line for example in EXAMPLES]),
    st.sampled_from([text for example in EXAMPLES for text, _ in example.frames]),
    st.sampled_from([line for line, _ in RAW] + [line for line, _, _ in DATA]),
    st.sampled_from([example.line for example in HANDLERS]),
    st.sampled_from((*NO_FRAMES, *DECODED, *NOT_YET, *(damaged.line for damaged in DAMAGED))),
    st.sampled_from((*PREFIXES, *LOOSE_PREFIXES)),
    st.sampled_from((*ENDINGS, " ", "? ", " [m]", "[m]", " (a.c:1)", "<-", "=> ", ":", "::", "\\", "=", "(", ")")),
    st.just("\n"),
).map(str.encode)
_TEXTS = st.lists(_PIECES, max_size=12).map(b"".join)
_MIXED = st.lists(st.one_of(_PIECES, st.binary(max_size=12)), max_size=12).map(b"".join)


@given(_MIXED)
@settings(max_examples=300, deadline=None)
def test_any_mixture_changes_in_nothing_but_insertions_however_it_is_cut(data: bytes) -> None:
    data = data.replace(b"@@", b"")
    annotated = _annotate([data], _world_of_addresses(), slide=0)
    assert INSERTION.sub(b"", annotated) == data
    assert _annotate(_bytes_of(data), _world_of_addresses(), slide=0) == annotated


@given(_MIXED)
@settings(max_examples=400, deadline=None)
def test_a_line_that_may_hold_no_frame_holds_none(data: bytes) -> None:
    for line in data.split(b"\n"):
        assert may_hold_frame(line) or find_frames(LogLine(1, line, b"\n")) == []


def test_most_of_a_log_holds_no_frame() -> None:
    body = b"[   24.680001] usb 1-1: new high-speed USB device number 2 using xhci_hcd"
    assert not may_hold_frame(body)
    assert not may_hold_frame(b"\x1b[32m" + body + b"\x1b[0m (ok) \\n")


@given(_TEXTS)
@also_with(b" dump_stack+0xca/0x13e\x1b[0mdump_stack+0xca/0x13e")
@settings(max_examples=400, deadline=None)
def test_annotating_an_annotated_mixture_changes_nothing(data: bytes) -> None:
    annotated = _annotate([data], _world_of_addresses(), slide=0)
    assert _annotate([annotated], _world_of_addresses(), slide=0) == annotated


#: Paths that debug info may hold and a JSON string may not, at least not as they are.
_PATHS = ("@@a.c", '@@"quoted"/a.c', "@@back\\slash\\a.c", "@@\t\x00/a.c", "@@\udcff\udc80/a.c", "@@caf\xe9/a.c")


def _world_of_one(path: str) -> FakeImages:
    image = FakeImage().add(function("worker_thread", 0x1000, 0x430), {0: places(f"{path}:7")})
    return FakeImages({("", ""): image})


def _documents() -> Sequence[str]:
    frame = " worker_thread+0x2f6/0x430"
    journal = {"__CURSOR": "s=1;i=2", "PRIORITY": "4", "MESSAGE": "[   36.6] " + frame, "_TRANSPORT": "kernel"}
    return (
        json.dumps(journal),
        json.dumps(journal, separators=(",", ":")),
        json.dumps({"log": f"[ 36.6] {frame}\r\n[ 36.6] \t{frame[1:]}\n\x1b[0m{frame[1:]}\x1b[0m\n", "n": 3}),
        json.dumps({"log": frame + ' "quoted" \\ é'}, ensure_ascii=False),
        json.dumps([frame, [frame + " [xfs]"], {frame: frame}]),
        json.dumps(json.dumps(journal)),
        f'{{"suite": "log-parser-boot", "name": "x", "status": "fail", "log": "[ 36.6] pc :{frame}"}}',
        f'"<4>[   36.6] {frame}"',
    )


@pytest.mark.parametrize("path", _PATHS, ids=repr)
@pytest.mark.parametrize("document", _documents())
def test_a_line_of_json_stays_one(document: str, path: str) -> None:
    line = document.encode() + b"\n"
    annotated = _annotate([line], _world_of_one(path))
    assert annotated.count(b"@@") == document.count("worker_thread") - document.count("[xfs]")
    assert INSERTION.sub(b"", annotated) == line
    assert _without_insertions(json.loads(annotated)) == json.loads(line)
    assert _annotate([annotated], _world_of_one(path)) == annotated


def _without_insertions(value: object) -> object:
    """The same JSON value, the insertions taken out of its strings."""
    if isinstance(value, str):
        return INSERTION.sub(b"", value.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    if isinstance(value, list):
        return [_without_insertions(item) for item in value]
    if isinstance(value, dict):
        return {_without_insertions(key): _without_insertions(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_the_frames_of_every_example_are_found_in_a_json_string(*, ensure_ascii: bool) -> None:
    for example in EXAMPLES:
        line = json.dumps({"MESSAGE": example.line}, ensure_ascii=ensure_ascii)
        found = [(line[frame.span[0] : frame.end], Kind(frame.pc, frame.in_trace)) for frame in _find(line.encode())]
        assert found == list(example.frames)


@given(st.lists(st.one_of(st.just(" worker_thread+0x2f6/0x430"), st.text(max_size=6), _PIECES.map(bytes.decode))))
@settings(max_examples=200, deadline=None)
def test_any_string_of_json_stays_one(parts: list[str]) -> None:
    value = {"MESSAGE": "".join(parts).replace("@@", "")}
    annotated = _annotate([json.dumps(value).encode() + b"\n"], _world_of_one('@@"a\\"\udcff.c'))
    assert _without_insertions(json.loads(annotated)) == value
