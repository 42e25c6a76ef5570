"""What powerpc kernels print of an interrupted CPU."""

from __future__ import annotations

from annotate.log.formats.fragments import LABELLED, PLAIN_ADDRESS
from annotate.model import FrameFormat, PcKind, Spelling

POWERPC: tuple[FrameFormat, ...] = (
    FrameFormat(
        "next_instruction",
        "powerpc",
        b"NIP ",
        rb"\bNIP \[" + PLAIN_ADDRESS + rb"\] ",
        PcKind.EXACT,
        "show_regs(), arch/powerpc/kernel/process.c",
        b"NIP [c00000000022d79c] partition_sched_domains_locked+0x1ac/0x5f0",
        takes=LABELLED,
    ),
    FrameFormat(
        "link_register_of_powerpc",
        "powerpc",
        b"LR ",
        rb"\bLR (?:\[" + PLAIN_ADDRESS + rb"\]|=) ",
        PcKind.RETURN,
        "show_regs(), show_stack(), arch/powerpc/kernel/process.c",
        b"LR [c00000000022d798] partition_sched_domains_locked+0x1a8/0x5f0",
        takes=LABELLED,
    ),
    FrameFormat(
        "interrupted_at",
        "powerpc",
        b"--- interrupt: ",
        rb"--- interrupt: [0-9a-f]{1,4} at ",
        PcKind.EXACT,
        "show_stack(), arch/powerpc/kernel/process.c",
        b"--- interrupt: 700 at assert_slb_presence+0x2c/0x70",
        takes=LABELLED,
    ),
    FrameFormat(
        "next_instruction_address",
        "powerpc",
        b"NIP: ",
        rb"\bNIP: {1,2}",
        PcKind.EXACT,
        "show_regs(), arch/powerpc/kernel/process.c",
        b"NIP:  c045ddf8 LR: c045dde8 CTR: 00000000",
        takes=(Spelling.DIGITS,),
        behind=rb" LR: ",
    ),
    FrameFormat(
        "link_register_of_powerpc_address",
        "powerpc",
        b" LR: ",
        rb"\bNIP: {1,2}[0-9a-f]{8,16} LR: ",
        PcKind.RETURN,
        "show_regs(), arch/powerpc/kernel/process.c",
        b"NIP:  c045ddf8 LR: c045dde8 CTR: 00000000",
        takes=(Spelling.DIGITS,),
        behind=rb" CTR: ",
    ),
    FrameFormat(
        "faulting_instruction",
        "powerpc",
        b"Faulting instruction address: ",
        rb"\bFaulting instruction address: ",
        PcKind.EXACT,
        "bad_page_fault(), arch/powerpc/mm/fault.c",
        b"Faulting instruction address: 0xc045ddf8",
        takes=(Spelling.ADDRESS,),
    ),
)
