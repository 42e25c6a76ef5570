"""What arm and arm64 kernels print: registers, and the frames of arm, which name two functions in one line."""

from __future__ import annotations

from annotate.log.formats.fragments import (
    BLANK_START,
    ENTRY_END,
    ENTRY_START,
    HEX,
    LABELLED,
    NAME,
    OLD_ADDRESS,
    PREFIX_END,
)
from annotate.model import FrameFormat, PcKind, Spelling

ARM: tuple[FrameFormat, ...] = (
    FrameFormat(
        "program_counter",
        "arm64",
        b"pc : ",
        rb"\bpc : (?:" + OLD_ADDRESS + rb" {1,8}){0,4}",
        PcKind.EXACT,
        "__show_regs(), arch/arm64/kernel/process.c",
        b"[   21.318843] pc : helper+0x28/0x6c [oopser]",
        takes=LABELLED,
    ),
    FrameFormat(
        "link_register",
        "arm64",
        b"lr : ",
        rb"\blr : (?:" + OLD_ADDRESS + rb" {1,8}){0,4}",
        PcKind.RETURN,
        "__show_regs(), arch/arm64/kernel/process.c",
        b"[   21.318843] lr : oopser_null_deref+0x14/0x34 [oopser]",
        takes=LABELLED,
    ),
    FrameFormat(
        "pc_is_at",
        "arm sh alpha",
        b" is at ",
        rb"\b(?:PC|pc) is at ",
        PcKind.EXACT,
        "__show_regs(), arch/arm/kernel/process.c; dik_show_regs(), arch/alpha/kernel/traps.c",
        b"PC is at shmem_getpage_gfp+0x584/0x72c",
        takes=LABELLED,
    ),
    FrameFormat(
        "return_is_at",
        "arm sh alpha",
        b" is at ",
        rb"\b(?:LR|PR|ra) is at ",
        PcKind.RETURN,
        "__show_regs(), arch/arm/kernel/process.c; show_regs(), arch/sh/kernel/process_32.c",
        b"LR is at shmem_getpage_gfp+0x454/0x72c",
        takes=LABELLED,
    ),
    FrameFormat(
        "program_counter_address",
        "arm arm64",
        b"pc : [<",
        rb"\bpc : \[<",
        PcKind.EXACT,
        "__show_regs(), arch/arm/kernel/process.c, arch/arm64/kernel/process.c until 4.13",
        b"pc : [<c0333330>]    lr : [<c0333200>]    psr: 80070113",
        takes=(Spelling.DIGITS,),
        closing=rb">\]",
        behind=rb" {1,8}lr : \[<",
    ),
    FrameFormat(
        "link_register_address",
        "arm arm64",
        b"lr : [<",
        rb"\blr : \[<",
        PcKind.RETURN,
        "__show_regs(), arch/arm/kernel/process.c, arch/arm64/kernel/process.c until 4.13",
        b"pc : [<c0333330>]    lr : [<c0333200>]    psr: 80070113",
        takes=(Spelling.DIGITS,),
        closing=rb">\]",
        behind=rb" {1,8}(?:psr|pstate): ",
    ),
    FrameFormat(
        "function_entered",
        "arm",
        b"] from [<",
        rb"(?:\bFunction entered at |" + ENTRY_START + rb")\[<",
        PcKind.ENTRY,
        "dump_backtrace_entry(), arch/arm/kernel/traps.c, without CONFIG_KALLSYMS: an address in the function",
        b"Function entered at [<c0015de8>] from [<c0016354>]",
        takes=(Spelling.DIGITS,),
        closing=rb">\]",
        behind=rb" from \[<[0-9a-f]{8}>\]" + ENTRY_END,
    ),
    FrameFormat(
        "function_entered_from",
        "arm",
        b"] from [<",
        rb"\[<[0-9a-f]{8}>\] from \[<",
        PcKind.RETURN,
        "dump_backtrace_entry(), arch/arm/kernel/traps.c, without CONFIG_KALLSYMS",
        b"Function entered at [<c0015de8>] from [<c0016354>]",
        takes=(Spelling.DIGITS,),
        closing=rb">\]",
        behind=ENTRY_END,
    ),
    FrameFormat(
        "unwound_function",
        "arm",
        b" from ",
        BLANK_START,
        PcKind.ENTRY,
        "dump_backtrace_entry(), arch/arm/kernel/traps.c, since 5.14",
        b" unwind_backtrace from show_stack+0x10/0x14",
        takes=(Spelling.NAME,),
        behind=rb" from (?:"
        + NAME
        + rb"\+0x"
        + HEX
        + rb"/0x"
        + HEX
        + rb"(?: \[[\w -]{1,128}\])?|0x[0-9a-f]{8})"
        + ENTRY_END,
    ),
    FrameFormat(
        "unwound_function_of_module",
        "arm",
        b" from ",
        rb"(?:" + ENTRY_START + rb"|" + PREFIX_END + rb")",
        PcKind.ENTRY,
        "dump_backtrace_entry(), arch/arm/kernel/traps.c, since 5.14",
        b"rtw8822b_set_antenna [rtw88_8822b] from rtw_ops_set_antenna+0x4c/0x6c [rtw88_core]",
        takes=(Spelling.NAME,),
        behind=rb"(?<=\]) from (?:"
        + NAME
        + rb"\+0x"
        + HEX
        + rb"/0x"
        + HEX
        + rb"(?: \[[\w -]{1,128}\])?|0x[0-9a-f]{8})"
        + ENTRY_END,
    ),
    FrameFormat(
        "unwound_function_in_brackets",
        "arm",
        b") from ",
        rb"\(",
        PcKind.ENTRY,
        "dump_backtrace_entry(), arch/arm/kernel/traps.c, with CONFIG_ARM_UNWIND and CONFIG_BACKTRACE_VERBOSE",
        b"[<80de054c>] (show_stack) from [<80de7c10>] (dump_stack+0x154/0x1a8)",
        takes=(Spelling.NAME,),
        behind=rb"\) from (?:\[<[0-9a-f]{8}>\] )?\(",
    ),
)
