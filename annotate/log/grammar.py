"""One line -> the frames in it.

A frame is an atom, ``name+0xOFFSET/0xSIZE [module build-id]`` as ``%pS`` and ``%pB`` print it (``kernel/kallsyms.c``,
``__sprint_symbol()``), or a raw address where the kernel has no symbol. What stands before the atom says what the
address means. Each row of ``FRAME_FORMATS`` is one such context; it is matched backwards from the atom, so no row
knows anything about timestamps, levels, quoting or colours in front of it. A row is only tried where its cue stands
in the line. A line yields every frame that it holds.

To add a spelling: add a row, with the kernel function that prints it and a real line; the row's example is a test.
Rows are tried in order, the first that matches decides.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import regex

from annotate.model import Frame, FrameFormat, LogLine, PcKind, RunAddr

if TYPE_CHECKING:
    from collections.abc import Sequence

# Fragments. C and assembler names, with the suffixes that compilers append (.cold, .isra.0, .constprop.0, .llvm.1234).
_NAME = rb"[A-Za-z_.$][\w.$]*+"
_HEX = rb"[0-9a-f]{1,16}+"
_OLD_ADDRESS = rb"\[<[0-9a-f]{8,16}>\]"
_PLAIN_ADDRESS = rb"[0-9a-f]{8,16}"

_COLOUR_CODE = rb"\x1b\[[\d;]*+[mK]"
_FRAME = (
    rb"(?P<symbol>"
    + _NAME
    + rb")\+0x(?P<offset>"
    + _HEX
    + rb")/0x(?P<size>"
    + _HEX
    + rb")(?![\w.$]|=$)(?:BETWEEN(?: |\xc2\xa0)\[(?P<module>[\w-]++)(?: (?P<build_id>[0-9a-f]{2,64}+))?\])?"
)
_ATOM = regex.compile(rb"(?<![\w.$])" + _FRAME.replace(b"BETWEEN", b""))

#: The same in a line with demangled paths, with colours, or with what JSON and ``dmesg`` write for colours and control
#: characters. None is a part of a name, and a name that a colour cuts is none; nor is one behind a closing
#: parenthesis: an annotation may stand there now that was not there when the two names touched.
_ATOM_AMONG_ESCAPES = regex.compile(
    rb"(?=[A-Za-z_.$])(?:(?<![\w.$\\])(?<!::)(?<!(?:\x1b|\\u001b|\\x1b)\[[\d;]*+)"
    rb"|(?<=(?<![\w.$)])(?:" + _COLOUR_CODE + rb"){1,16}+)"
    rb"|(?<=\\(?:[nrt]|x0[9ad]|u000[9ad]|(?:u001b|x1b)\[[\d;]*+[mK])))"
    + _FRAME.replace(b"BETWEEN", rb"(?:" + _COLOUR_CODE + rb")*+")
)

#: A 64-bit kernel address on its own: both x86-64 and arm64 kernels live in the top 2**48 bytes. Hashed pointers have
#: their upper half zero and never match.
_RAW = regex.compile(rb"(?<![\w.$+/-])0x(?P<address>ffff[0-9a-f]{12})(?![\w.$/-])")

_COLOUR = regex.compile(_COLOUR_CODE)
#: More than any row looks back, so that a coloured line of many frames is not copied whole for each.
_CONTEXT_SIZE = 4096

#: What makes a line end behind a trace entry: marks of the unwinder, closing quotes, colours; in a JSON string of many
#: lines, its escape.
_END_OF_ENTRY = regex.compile(
    rb"(?: ?\((?:[A-Z]+|unreliable)\))?(?: <[0-9a-f]{8,16}>)?(?:[\s\"',;}]|\x1b\[[\d;]*[mK]|\\[rt])*+(?:$|\\n)"
)

#: The mark of a trace entry that is pt_regs' own pc (dump_backtrace_entry(), arch/arm64/kernel/stacktrace.c, 6.12).
_INTERRUPTED = regex.compile(rb" \([A-Z]*P[A-Z]*\)")

#: A location that stands behind a frame already: ours and the kernel's ``(a/b.c:12)``, syzbot's
#: ``a/b.c:12``, drgn's ``in f at a/b.c:12:3``.
_ANNOTATION = regex.compile(
    rb" (?:\((?:\?(?::\d+)?|[^()\n]{0,4096}?[./][^()\n]{0,4096}?:\d+)(?:[,)]| in | or )"
    rb"|[\w./+-]{1,4096}\.(?:[chS]|cc|rs):\d+\b)"
    rb"|\) in [\w.]{1,512} at [\w./+-]{1,4096}:\d+\b"
)

_ADDRESS_BEFORE = regex.compile(rb"(?r)\[<(?P<address>[0-9a-f]{16})>\] ?(?:\? ?)?")
_BRACKET_BEFORE = regex.compile(rb"(?r)/0x[0-9a-f]{1,16} \[[\w-]{1,64}(?: [0-9a-f]{2,64})?\][ \t]*(?:\? ?)?")
#: Kernels before 2.6.27 print ``:module:function``.
_MODULE_BEFORE = regex.compile(rb"(?r)(?<=[\s>]):(?P<module>[A-Za-z][\w-]{0,63}):")
_ADDRESS_BEHIND = regex.compile(rb" <(?P<address>[0-9a-f]{16})>")

FRAME_FORMATS: tuple[FrameFormat, ...] = (
    FrameFormat(
        "instruction_pointer",
        "x86",
        b"IP",
        rb"\b[RE]?IP(?:: +|  (?=\[<))(?:00[0-9a-f]{2}:)?(?:" + _OLD_ADDRESS + rb" +)*",
        PcKind.EXACT,
        "show_ip(), arch/x86/kernel/dumpstack.c",
        b"[   20.164292] RIP: 0010:helper+0x17/0x40 [oopser]",
    ),
    FrameFormat(
        "instruction_pointer_is_at",
        "x86",
        b"EIP is at ",
        rb"\bEIP is at ",
        PcKind.EXACT,
        "__show_regs(), arch/x86/kernel/process_32.c, until 4.10",
        b"EIP is at wdev_priv.part.8+0x3/0x5 [wl]",
    ),
    FrameFormat(
        "msr_access",
        "x86",
        b"rIP: ",
        rb"\brIP: 0x[0-9a-f]{1,16} \(",
        PcKind.EXACT,
        "ex_handler_msr(), arch/x86/mm/extable.c",
        b"unchecked MSR access error: WRMSR to 0x3f1 at rIP: 0xffffffff81123aff (add_atomic_switch_msr+0x8f/0x5f0)",
    ),
    FrameFormat(
        "cfi_failure",
        "x86 arm64",
        b"CFI failure at ",
        rb"\bCFI failure at ",
        PcKind.EXACT,
        "report_cfi_failure(), kernel/cfi.c",
        b"CFI failure at kobject_put+0xbb/0x1b0 (target: kfree+0x0/0x180; expected type: 0x7c4aa698)",
    ),
    FrameFormat(
        "cfi_target",
        "x86 arm64",
        b"(target: ",
        rb"\(target: ",
        PcKind.ENTRY,
        "report_cfi_failure(), kernel/cfi.c",
        b"CFI failure at kobject_put+0xbb/0x1b0 (target: kfree+0x0/0x180; expected type: 0x7c4aa698)",
    ),
    FrameFormat(
        "program_counter",
        "arm64",
        b"pc : ",
        rb"\bpc : (?:" + _OLD_ADDRESS + rb" +)*",
        PcKind.EXACT,
        "__show_regs(), arch/arm64/kernel/process.c",
        b"[   21.318843] pc : helper+0x28/0x6c [oopser]",
    ),
    FrameFormat(
        "link_register",
        "arm64",
        b"lr : ",
        rb"\blr : (?:" + _OLD_ADDRESS + rb" +)*",
        PcKind.RETURN,
        "__show_regs(), arch/arm64/kernel/process.c",
        b"[   21.318843] lr : oopser_null_deref+0x14/0x34 [oopser]",
    ),
    FrameFormat(
        "pc_is_at",
        "arm sh alpha",
        b" is at ",
        rb"\b(?:PC|pc) is at ",
        PcKind.EXACT,
        "__show_regs(), arch/arm/kernel/process.c; dik_show_regs(), arch/alpha/kernel/traps.c",
        b"PC is at shmem_getpage_gfp+0x584/0x72c",
    ),
    FrameFormat(
        "return_is_at",
        "arm sh alpha",
        b" is at ",
        rb"\b(?:LR|PR|ra) is at ",
        PcKind.RETURN,
        "__show_regs(), arch/arm/kernel/process.c; show_regs(), arch/sh/kernel/process_32.c",
        b"LR is at shmem_getpage_gfp+0x454/0x72c",
    ),
    FrameFormat(
        "exception_pc",
        "riscv mips",
        b"epc ",
        rb"\bepc +: (?:" + _PLAIN_ADDRESS + rb" )?",
        PcKind.EXACT,
        "__show_regs(), arch/riscv/kernel/process.c; __show_regs(), arch/mips/kernel/traps.c",
        b"epc   : 8576591c mt7615_mcu_add_bss+0xd0/0x3c0 [mt7615_common]",
    ),
    FrameFormat(
        "error_pc",
        "mips",
        b"ErrEPC",
        rb"\bErrEPC *: (?:" + _PLAIN_ADDRESS + rb" )?",
        PcKind.EXACT,
        "__show_regs(), arch/mips/kernel/traps.c",
        b"ErrEPC: 80018344 prom_init+0x4/0x20",
    ),
    FrameFormat(
        "return_address",
        "riscv mips loongarch",
        b"ra",
        rb"\bra *: (?:" + _PLAIN_ADDRESS + rb" )?",
        PcKind.RETURN,
        "__show_regs(), arch/riscv/kernel/process.c, arch/mips/kernel/traps.c, arch/loongarch/kernel/traps.c",
        b"[    0.704941]  ra : dump_backtrace+0x1a/0x22",
    ),
    FrameFormat(
        "exception_return",
        "loongarch",
        b"ERA: ",
        rb"\bERA: " + _PLAIN_ADDRESS + rb" ",
        PcKind.EXACT,
        "show_regs(), arch/loongarch/kernel/traps.c",
        b"  ERA: 9000000001058044 __init_zone_device_page.constprop.0+0x4/0x1a0",
    ),
    FrameFormat(
        "next_instruction",
        "powerpc",
        b"NIP ",
        rb"\bNIP \[" + _PLAIN_ADDRESS + rb"\] ",
        PcKind.EXACT,
        "show_regs(), arch/powerpc/kernel/process.c",
        b"NIP [c00000000022d79c] partition_sched_domains_locked+0x1ac/0x5f0",
    ),
    FrameFormat(
        "link_register_of_powerpc",
        "powerpc",
        b"LR ",
        rb"\bLR (?:\[" + _PLAIN_ADDRESS + rb"\]|=) ",
        PcKind.RETURN,
        "show_regs(), show_stack(), arch/powerpc/kernel/process.c",
        b"LR [c00000000022d798] partition_sched_domains_locked+0x1a8/0x5f0",
    ),
    FrameFormat(
        "interrupted_at",
        "powerpc",
        b"--- interrupt: ",
        rb"--- interrupt: [0-9a-f]{1,4} at ",
        PcKind.EXACT,
        "show_stack(), arch/powerpc/kernel/process.c",
        b"--- interrupt: 700 at assert_slb_presence+0x2c/0x70",
    ),
    FrameFormat(
        "program_status_word",
        "s390",
        b"Krnl PSW : ",
        rb"\bKrnl PSW : [0-9a-f]{16} " + _PLAIN_ADDRESS + rb" \((?:" + _OLD_ADDRESS + rb" )?",
        PcKind.EXACT,
        "show_registers(), arch/s390/kernel/dumpstack.c",
        b"Krnl PSW : 0704c00180000000 0000015710cda7fe (__list_del_entry_valid_or_report+0xfe/0x128)",
    ),
    FrameFormat(
        "instruction_address_queue",
        "parisc",
        b"IAOQ[",
        rb"\bIAOQ\[[01]\]: ",
        PcKind.EXACT,
        "show_regs(), arch/parisc/kernel/traps.c",
        b" IAOQ[0]: mem_init+0xb0/0x150",
    ),
    FrameFormat(
        "return_pointer",
        "parisc",
        b"RP(r2): ",
        rb"\bRP\(r2\): ",
        PcKind.RETURN,
        "show_regs(), arch/parisc/kernel/traps.c",
        b" RP(r2): start_kernel+0x6c8/0x1190",
    ),
    FrameFormat(
        "trap_pc",
        "sparc",
        b"TPC: <",
        rb"\bTPC: <",
        PcKind.EXACT,
        "show_regs(), arch/sparc/kernel/process_64.c",
        b"TPC: <ehci_init_driver+0x0/0x160 [ehci_hcd]>",
    ),
    FrameFormat(
        "caller_in_brackets",
        "sparc",
        b"Caller[",
        rb"\bCaller\[" + _PLAIN_ADDRESS + rb"\]: ",
        PcKind.EXACT,
        "die_if_kernel(), arch/sparc/kernel/traps_64.c: the address is that of the call itself",
        b"Caller[0000000000601718]: change_protection+0x678/0x9e0",
    ),
    FrameFormat(
        "register_window_return",
        "sparc",
        b": <",
        rb"\b(?:RPC|I7|ret_pc): <",
        PcKind.EXACT,
        "show_regs(), show_regwindow(), arch/sparc/kernel/process_64.c: the address is that of the call itself",
        b"RPC: <apply_relocate_add+0x230/0x240>",
    ),
    FrameFormat(
        "exception_return_of_arc",
        "arc",
        b"[ERET",
        rb"\[ERET *\]: ",
        PcKind.EXACT,
        "show_regs(), arch/arc/kernel/troubleshoot.c",
        b"[ERET  ]: __list_del_entry_valid+0x12/0x1a0",
    ),
    FrameFormat(
        "branch_link",
        "arc",
        b"[BLINK",
        rb"\[BLINK *\]: ",
        PcKind.RETURN,
        "show_regs(), arch/arc/kernel/troubleshoot.c",
        b"[BLINK ]: tcp_clean_rtx_queue+0x2a4/0xc88",
    ),
    FrameFormat(
        "program_counter_with_address",
        "m68k csky",
        b"PC: ",
        rb"\bPC: (?:\[<[0-9a-f]{8}>\] |0x" + _PLAIN_ADDRESS + rb" \()",
        PcKind.EXACT,
        "show_registers(), arch/m68k/kernel/traps.c; show_regs(), arch/csky/kernel/ptrace.c",
        b"PC: [<00005a1a>] do_040writeback1+0xae/0x160",
    ),
    FrameFormat(
        "link_register_with_address",
        "csky",
        b"LR: 0x",
        rb"\bLR: 0x" + _PLAIN_ADDRESS + rb" \(",
        PcKind.RETURN,
        "show_regs(), arch/csky/kernel/ptrace.c",
        b"LR: 0x8004a2f4 (do_page_fault+0x1c/0x2a4)",
    ),
    FrameFormat(
        "warning",
        "all",
        b"WARNING: ",
        rb"\bWARNING: [^\n]{0,512}\bat (?:[^\s]{1,512}:\d+ )?",
        PcKind.EXACT,
        "__warn(), kernel/panic.c",
        b"[   14.010] WARNING: CPU: 0 PID: 7 at mm/vmalloc.c:2873 __vmalloc_node_range+0x769/0x970",
    ),
    FrameFormat(
        "sanitizer_title",
        "all",
        b"BUG: K",
        rb"\bBUG: (?:KASAN|KMSAN|KCSAN|KFENCE): [^\n]{1,256}? in ",
        PcKind.RETURN,
        "print_error_description(), mm/kasan/report.c",
        b"BUG: KASAN: use-after-free in tcp_v4_early_demux+0x967/0xa60",
    ),
    FrameFormat(
        "idle_cpu",
        "all",
        b"idling at ",
        rb"\bskipped: idling at ",
        PcKind.EXACT,
        "nmi_cpu_backtrace(), lib/nmi_backtrace.c: instruction_pointer(regs)",
        b"[   24.61] NMI backtrace for cpu 1 skipped: idling at native_safe_halt+0xe/0x10",
    ),
    FrameFormat(
        "initcall",
        "all",
        b"all",
        rb"\b(?:[cC]alling|initcall) {1,2}",
        PcKind.ENTRY,
        "trace_initcall_start_cb(), init/main.c; pci_fixup_device(), syscore_suspend()",
        b"[    0.451] initcall acpi_init+0x0/0x4f0 returned 0 after 12 usecs",
    ),
    FrameFormat(
        "function_traced",
        "all",
        b"] ",
        rb"\[\d{3,}\] +[^\s]{1,16} +\d+\.\d+: ",
        PcKind.EXACT,
        "trace_fn_trace(), kernel/trace/trace_output.c",
        b"    dd-719  [000] .....  25.1: xfs_file_fsync+0x0/0x2f0 [xfs] <-vfs_write+0x10f/0x3f0",
    ),
    FrameFormat(
        "function_caller",
        "all",
        b"<-",
        rb"<-",
        PcKind.RETURN,
        "trace_fn_trace(), kernel/trace/trace_output.c",
        b"    dd-719  [000] .....  25.1: ext4_sync_file <-do_fsync+0x38/0x70",
    ),
    FrameFormat(
        "kprobe_hit",
        "all",
        b": (",
        rb"\d\.\d+: \w{1,64}: \(",
        PcKind.EXACT,
        "print_kprobe_event(), kernel/trace/trace_kprobe.c",
        b"    dd-719  [000] .....  25.1: labp: (vfs_fsync_range+0x0/0xa0)",
    ),
    FrameFormat(
        "event_stack",
        "all",
        b"=> ",
        rb"=> ",
        PcKind.RETURN,
        "trace_stack_print(), kernel/trace/trace_output.c",
        b" => vfs_read+0x98/0x180",
    ),
    FrameFormat(
        "process_stack",
        "all",
        b"[<0>] ",
        rb"\[<0>\] ",
        PcKind.RETURN,
        "proc_pid_stack(), fs/proc/base.c",
        b"[<0>] ep_poll+0x425/0x470",
    ),
    FrameFormat(
        "trace_entry",
        "all",
        b"",
        rb"(?:(?:^|[\]>;|\"']|\xe2\x94\x82|\x1b\[[\d;]*m|\\[nrt]|\\x09)[ \t]*|(?:[:}]|\d:\d\d)[ \t]{2,})(?:"
        + _OLD_ADDRESS
        + rb" ?)?(?:\? ?)?",
        PcKind.RETURN,
        "printk_stack_address(), arch/x86/kernel/dumpstack.c; dump_backtrace_entry(), arch/arm64/kernel/stacktrace.c",
        b"[   20.164778]  ? alloc_fd+0xb5/0x150",
    ),
)

#: What is no context of the above: a function that running text mentions, such as ``print_track()`` of ``mm/slub.c``.
#: An offset of 0 makes it a function pointer (hints, handlers, callbacks), else it is taken for a return address.
MENTION = "mention"

_BY_NAME = {row.name: row for row in FRAME_FORMATS}

#: Formats whose line is one entry of a stack trace whatever stands behind the frame.
_TRACES = frozenset({"event_stack", "process_stack"})
#: Formats in which a raw address may stand for a frame.
_RAW_FORMATS = frozenset({"trace_entry", "event_stack", "process_stack", "instruction_pointer"})


def may_hold_frame(body: bytes) -> bool:
    """A cheap test: false only where ``find_frames`` finds nothing."""
    return b"+0x" in body or b"0xffff" in body


def find_frames(line: LogLine) -> list[Frame]:
    """Every frame of a line, left to right."""
    body = line.body
    rows = [row for row in FRAME_FORMATS if row.cue in body]
    frames = []
    if b"+0x" in body:
        atom = _ATOM_AMONG_ESCAPES if b"\x1b" in body or b"\\" in body or b"::" in body else _ATOM
        frames = [_frame(body, match, rows) for match in atom.finditer(body)]
    if b"0xffff" in body:
        frames += [frame for match in _RAW.finditer(body) if (frame := _raw_frame(body, match, rows)) is not None]
        frames.sort(key=_start)
    return frames


def _start(frame: Frame) -> int:
    return frame.span[0]


def _frame(body: bytes, match: regex.Match[bytes], rows: Sequence[FrameFormat]) -> Frame:
    start, end = match.span()
    begin = start
    module = match["module"]
    if not module and body.endswith(b":", 0, start):
        prefix = _MODULE_BEFORE.match(body, 0, start)
        if prefix is not None:
            begin, module = prefix.start(), prefix["module"]
    name, in_trace = _format(body, begin, end, rows)
    offset = int(match["offset"], 16)
    pc = _BY_NAME[name].pc if name in _BY_NAME else PcKind.RETURN
    if name == MENTION and offset == 0:
        pc = PcKind.ENTRY
    elif (in_trace or name == MENTION) and _INTERRUPTED.match(body, end) is not None:
        pc = PcKind.EXACT
    elif name == "kprobe_hit" and body.startswith(b" <- ", end):
        pc = PcKind.RETURN  # print_kretprobe_event(): where the function returns to
    return Frame(
        (start, match.end("size")),
        end,
        match["symbol"],
        offset,
        int(match["size"], 16),
        module or b"",
        match["build_id"] or b"",
        _printed_address(body, begin, end),
        pc,
        not body.endswith((b"? ", b"?"), 0, begin),
        in_trace,
        _ANNOTATION.match(body, end) is not None,
        name,
    )


def _raw_frame(body: bytes, match: regex.Match[bytes], rows: Sequence[FrameFormat]) -> Frame | None:
    start, end = match.span()
    name, in_trace = _format(body, start, end, rows)
    if name not in _RAW_FORMATS or not (in_trace or name == "instruction_pointer"):
        return None
    return Frame(
        (start, end),
        end,
        b"",
        0,
        0,
        b"",
        b"",
        RunAddr(int(match["address"], 16)),
        _BY_NAME[name].pc,
        not body.endswith((b"? ", b"?"), 0, start),
        in_trace,
        _ANNOTATION.match(body, end) is not None,
        name,
    )


def _format(body: bytes, start: int, end: int, rows: Sequence[FrameFormat]) -> tuple[str, bool]:
    """The row that a frame at ``start`` to ``end`` belongs to, and whether it is an entry of a trace."""
    # Colours stand between a label and its frame in the output of dmesg; they mean nothing.
    before = _COLOUR.sub(b"", body[max(0, start - _CONTEXT_SIZE) : start]) if b"\x1b" in body else body
    before_end = len(before) if before is not body else start
    for row in rows:
        if _pattern(row).match(before, 0, before_end) is not None:
            if row.name == "trace_entry":
                # Behind another frame's module bracket nothing is an entry: an annotation would stand there next time.
                near = start - _CONTEXT_SIZE if start > _CONTEXT_SIZE else 0
                is_entry = (
                    _END_OF_ENTRY.match(body, end) is not None and _BRACKET_BEFORE.match(body, near, start) is None
                )
                return (row.name, True) if is_entry else (MENTION, False)
            return row.name, row.name in _TRACES
    return MENTION, False


@cache
def _pattern(row: FrameFormat) -> regex.Pattern[bytes]:
    # Compiled when a line first holds the row's cue: all rows together take longer than reading an oops.
    return regex.compile(b"(?r)(?:" + row.before + b")")


def _printed_address(body: bytes, start: int, end: int) -> RunAddr | None:
    """A raw address that is printed beside a symbol; hashed and masked ones are none."""
    match = _ADDRESS_BEFORE.match(body, 0, start) or _ADDRESS_BEHIND.match(body, end)
    if match is None:
        return None
    address = int(match["address"], 16)
    return RunAddr(address) if address >> 32 else None
