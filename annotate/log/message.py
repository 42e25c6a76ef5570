"""What a kernel wrote behind all that loggers, mails and test rigs put in front of it; and what kind of line it is.

The grammar needs none of this: it finds a frame wherever it stands. It is for those who show a log or retell it.
Sources: ``print_prefix()`` (``kernel/printk/printk.c``), the output modes of ``dmesg`` (util-linux), ``show_regs()`` of
each architecture, ``show_stack_log_lvl()`` and its likes.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

#: What may stand in front of a message, each at most a few times, in any order.
_PREFIX = re.compile(
    rb"(?:"
    # mails and pagers quote
    rb"> ?|\| |[ ]{0,6}\d{1,7} \xe2\x94\x82 "
    # what notes, grep, pagers and test rigs put in front of printk's time
    rb"|(?:(?:[ \t]{0,8}\d{1,7}[: ]|[*-] |[\w./-]{1,64}:(?:\d{1,7}:)?|\(XEN\) )[ \t]{0,8}|[ \t]{1,8})"
    rb"(?=\[ {0,12}\d{1,12}\.\d{1,9}\])"
    # syslog and journal
    rb"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})? [\w.-]{1,64} kernel(?:\[\d{1,8}\])?: ?"
    rb"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]?\d{0,9}(?: ?[+-]\d\d:?\d\d|Z)?(?: [\w.-]{1,64} kernel:)? "
    # /dev/kmsg and extended netconsole
    rb"|\d{1,4},\d{1,20},\d{1,20},-?(?:,(?:caller=(?P<kmsg_caller>[TC]\d{1,10})|[a-z]{1,16}=[\w/]{1,32})){0,8};"
    # dmesg -x, levels
    rb"|[a-z]{3,10} {0,6}:[a-z]{3,7} {0,4}: "
    rb"|<\d{1,3}>"
    # times: printk's, dmesg -T, -d, -e; then the task or CPU that printed (CONFIG_PRINTK_CALLER)
    rb"|\[ {0,12}\d{1,12}\.\d{1,9}(?: <[ +]{0,12}\d{1,10}\.\d{1,9}>)?\] ?"
    rb"|\[(?:[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}|[A-Z][a-z]{2}[ \d]{1,3} \d\d:\d\d"
    rb"| {0,8}\+ {0,8}\d{1,8}\.\d{1,9})\] ?"
    rb"|\[ {0,8}(?P<caller>[TC]\d{1,10})\] ?"
    # the console's own remarks
    rb"|\*\* \d{1,9} printk messages dropped \*\* ?"
    rb"|[\w.-]{1,64} login: (?=\[)"
    # dmesg -J, journalctl -o json-pretty
    rb'|[ \t]{0,32}"(?P<json>msg|MESSAGE)" ?: "'
    rb")"
)
_MAX_PREFIXES = 12


#: What ``dmesg -J`` has between messages.
_BETWEEN_MESSAGES = re.compile(
    rb'\s{0,64}(?:[{}\]\[,]{1,4}|"(?:pri|time|caller|facility)": {0,16}"?[\w.]{1,64}"?,?|"dmesg": \[)\s*$'
)


def is_between_messages(body: bytes) -> bool:
    """Whether a line is one of the JSON around messages, and none itself."""
    return _BETWEEN_MESSAGES.match(body) is not None


class Message(NamedTuple):
    """Where a line's message begins, and who printed it."""

    start: int  #: byte offset into the line's body; blanks that belong to the message are behind it
    caller: bytes  #: ``T123`` or ``C4`` where CONFIG_PRINTK_CALLER says it; otherwise empty
    end: int  #: byte offset behind the message


def find_message(body: bytes) -> Message:
    """Split a line, which may hold colours neither in nor before its prefix. What JSON has escaped stays so."""
    position = 0
    caller = b""
    is_json = False
    for _ in range(_MAX_PREFIXES):
        match = _PREFIX.match(body, position)
        if match is None or match.end() == position:
            break
        position = match.end()
        caller = match["caller"] or match["kmsg_caller"] or caller
        is_json = is_json or match["json"] is not None
    text = body[position:].rstrip(b", \t\r") if is_json else b""
    end = position + len(text) - 1 if text.endswith(b'"') else len(body)
    return Message(position, caller, end)


class LineKind(Enum):
    """What a line is to someone who reads a report."""

    TITLE = "title"  #: what happened
    TRACE = "trace"  #: a stack trace begins
    MARKER = "marker"  #: ``<TASK>``, ``cut here``, ``---[ end trace``
    REGISTERS = "registers"
    CODE = "code"  #: bytes or instructions around the fault
    MODULES = "modules"
    CONTEXT = "context"  #: CPU, task, hardware, taint
    OTHER = "other"


#: How a report's title begins.
_TITLES = (
    *(
        rb"BUG[: ]",
        rb"WARNING: ",
        rb"INFO: ",
        rb"KASAN: ",
        rb"UBSAN: ",
        rb"Kernel panic ",
        rb"kernel BUG at ",
        rb"(?:[\w/.-]{1,64}\(\d{1,10}\): )?Oops[: \[]",
    ),
    *(
        rb"Internal error: ",
        rb"(?:CPU \d{1,5} )?Unable to handle ",
        rb"general protection fault",
        rb"divide error:",
        rb"invalid opcode:",
    ),
    *(
        rb"int3:",
        rb"stack segment:",
        rb"double fault:",
        rb"traps: PANIC",
        rb"(?:NMI )?watchdog: (?:BUG: |(?:CPU\d+: )?Watchdog detected )",
        rb"rcu: INFO: ",
    ),
    *(
        rb"Unhandled ",
        rb"Bad page ",
        rb"unregister_netdevice: waiting",
        rb"list_(?:add|del) corruption",
        rb"CFI failure",
        rb"ODEBUG: ",
    ),
    *(rb"sysfs: cannot create duplicate ", rb"usercopy: Kernel memory ", rb".{1,80}: Code=\d{1,5} \("),
    *(rb"stack guard page", rb"Kernel mode fault", rb"(?:.{1,64}: )?page allocation failure", rb"refcount_t: "),
    *(rb"kernel tried to execute", rb"unreferenced object", rb"Alignment trap", rb"SError", rb"Data abort(?! info:)"),
    rb"possible recursive locking",
)
_MARKERS = (
    rb" ?</?(?:TASK|IRQ|NMI|EOI|EOE|SOFTIRQ|#[A-Z]{2}|SYSENTER|ENTRY_TRAMPOLINE)>\s*$",
    *(rb"-{3,}\[ ", rb"-{6,}\[ cut here"),
)
_TRACES = (
    *(rb"Call [Tt]race", rb"Backtrace", rb"Stack ?trace", rb"Stack", rb"backtrace.{0,30}", rb"Trace"),
    *(rb"(?:Allocated|Freed) by task .{0,40}", rb"Caller\[.{1,20}\]", rb".{0,40}work creation", rb"Uninit was .{0,40}"),
    *(rb"Preemption disabled at", rb"Last Breaking-Event-Address"),
)
#: Registers, and what stands between them, that may have a line for themselves.
_REGISTERS = (
    *(
        b"RSP",
        b"ESP",
        b"EFLAGS",
        b"RAX",
        b"RBX",
        b"RDX",
        b"RBP",
        b"R08",
        b"R10",
        b"R13",
        b"FS",
        b"GS",
        b"CS",
        b"CR2",
        b"CR0",
    ),
    *(
        b"DR0",
        b"DR3",
        b"PKRU",
        b"ORIG_RAX",
        rb"GPR\d\d",
        rb"x\d\d?",
        rb"r\d\d?",
        b"sp",
        b"pstate",
        b"psr",
        b"pgd",
        b"xPSR",
    ),
    *(
        b"Flags",
        b"Control",
        b"MSR",
        b"CTR",
        b"DAR",
        b"DSISR",
        b"IRQMASK",
        b"Hi",
        b"Lo",
        b"Status",
        b"Cause",
        b"BadVA",
        b"PrId",
    ),
    *(b"TSTATE", b"g0", b"o0", b"l0", b"i0", b"status", b"badaddr", b"Krnl GPRS"),
)
_ARM64_ABORT = (
    rb"(?:Mem|Data) abort info:|  (?:ESR = |EC = |SET = |FSC = |ISV = |CM = )|\[[0-9a-f]{8,16}\] (?:pgd=|user address)"
)

_KINDS = (
    (LineKind.MARKER, b"|".join(_MARKERS)),
    (LineKind.TITLE, b"|".join(_TITLES)),
    (LineKind.TRACE, rb"\s*(?:" + b"|".join(_TRACES) + rb")\s*:"),
    (LineKind.CODE, rb"\s*(?:Krnl )?Code\s*: |Instruction dump:|\s*Unable to access opcode bytes"),
    (LineKind.MODULES, rb"\s*(?:Modules linked in:|\[last unloaded)"),
    (
        LineKind.CONTEXT,
        rb"CPU: \d|Hardware name: |Workqueue: |Tainted: |Process |task: |Sending NMI |NMI backtrace |Kernel Offset: "
        rb"|SMP |PREEMPT ",
    ),
    (
        LineKind.REGISTERS,
        # a name and hexadecimal digits, twice; or a register of those above
        rb"\s*(?:(?:[A-Za-z][A-Za-z0-9]{0,11}|\([a-z ]{1,9}\)) ?[:=] {0,2}(?:0x)?[0-9a-f]{4,16}\b[ ,]{0,4}){2,}|"
        + _ARM64_ABORT
        + rb"|\s*(?:"
        + b"|".join(_REGISTERS)
        + rb") ?[:=]\s*[(0-9a-f]",
    ),
)
_KIND_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _KINDS)


def kind_of(message: bytes) -> LineKind:
    """What a message is, by how it begins; its frames do not matter."""
    return next((kind for kind, pattern in _KIND_PATTERNS if pattern.match(message)), LineKind.OTHER)
