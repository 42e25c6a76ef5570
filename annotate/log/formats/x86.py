"""What x86 kernels print of an interrupted CPU."""

from __future__ import annotations

from annotate.log.formats.fragments import LABELLED, OLD_ADDRESS
from annotate.model import FrameFormat, PcKind, Spelling

X86: tuple[FrameFormat, ...] = (
    FrameFormat(
        "instruction_pointer",
        "x86",
        b"IP",
        rb"\b[RE]?IP(?:: {1,8}|  (?=\[<))(?:(?:00|e0)[0-9a-f][0124568-9ac-e]:)?(?:" + OLD_ADDRESS + rb" {1,8}){0,4}",
        PcKind.EXACT,
        "show_ip(), arch/x86/kernel/dumpstack.c",
        b"[   20.164292] RIP: 0010:helper+0x17/0x40 [oopser]",
        takes=LABELLED,
    ),
    FrameFormat(
        "instruction_pointer_is_at",
        "x86",
        b"EIP is at ",
        rb"\bEIP is at ",
        PcKind.EXACT,
        "__show_regs(), arch/x86/kernel/process_32.c, until 4.10",
        b"EIP is at wdev_priv.part.8+0x3/0x5 [wl]",
        takes=LABELLED,
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
        "msr_access_address",
        "x86",
        b"rIP: ",
        rb"\brIP: ",
        PcKind.EXACT,
        "ex_handler_msr(), arch/x86/mm/extable.c",
        b"unchecked MSR access error: RDMSR from 0x3f1 at rIP: 0xffffffff81123aff ()",
        takes=(Spelling.ADDRESS,),
        behind=rb" \(\)",
    ),
)
