"""Title lines of reports, and how people write them: without addresses, offsets, numbers of CPUs and tasks.

One row a kind of title; the first that matches a message decides. ``{frame}`` stands for the function that matters,
``{name}`` for a group of the pattern. Where a report has several title lines (``list_add corruption``, then
``kernel BUG at``, then ``invalid opcode``), the one with the highest rank names it.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

_FUNCTION = r"(?P<function>[A-Za-z_.$][\w.$]*)"
_PLACE = r"(?P<file>[^\s:]+):(?P<line>\d+)"


class Kind(Enum):
    """What kind of report a title begins; it decides where in its lines the trace is."""

    FAULT = 0
    STALL = 1  #: the trace shows what the CPU was interrupted in
    LOCKS = 2  #: the trace is behind ``stack backtrace:``
    PANIC = 3  #: may be the end of another report
    RACE = 4  #: two traces, named in the title
    REMARK = 5  #: a line that comes again and again, with no trace


class Title(NamedTuple):
    """What a title line says."""

    template: str  #: with ``{frame}`` where the function that matters belongs
    kind: Kind
    rank: int
    stands_alone: bool  #: it is a report even where no trace follows
    function: str  #: that the line names as the place; empty if none
    file: str  #: likewise
    line: int
    cpu: str
    task: str  #: number of the task; empty if none
    is_numbered: bool  #: it counts the oopses: ``[#1]``; each of them has one such line

    def with_frame(self, function: str) -> str:
        """The title with the function that matters, if one is known."""
        if function:
            return self.template.replace("{frame}", function)
        return self.template.replace(" in {frame}", "")


class _Row(NamedTuple):
    pattern: re.Pattern[str]
    template: str
    kind: Kind
    rank: int
    stands_alone: bool


def _row(pattern: str, template: str, rank: int = 5, kind: Kind = Kind.FAULT, *, stands_alone: bool = True) -> _Row:
    return _Row(re.compile(pattern), template, kind, rank, stands_alone)


_LOCKDEP = r"(?:WARNING: |INFO: |\[ INFO: |\[ BUG: )"

_ROWS = (
    # sanitizers
    _row(r"BUG: KCSAN: (?P<what>data-race in .+)", "KCSAN: {what}", 9, Kind.RACE),
    _row(
        rf"BUG: (?P<tool>K[A-Z]{{1,3}}SAN|KASan|KFENCE): (?P<what>.+?) in {_FUNCTION}", "{tool}: {what} in {frame}", 9
    ),
    _row(r"BUG: (?P<tool>K[A-Z]{1,3}SAN|KFENCE): (?P<what>[\w -]+)", "{tool}: {what} in {frame}", 9),
    _row(rf"UBSAN: (?P<what>.+?) in {_PLACE}", "UBSAN: {what} in {frame}", 9),
    _row(rf"CFI failure at {_FUNCTION}", "CFI failure in {frame}", 8),
    # what checks its own data
    _row(r"list_(?P<what>add|del) corruption", "list_{what} corruption in {frame}", 8, stands_alone=False),
    _row(r"(?P<type>refcount_t|percpu ref): (?P<what>[\w -]+)", "{type}: {what} in {frame}", 8, stands_alone=False),
    _row(r"ODEBUG: (?P<what>[a-z ]+)", "ODEBUG: {what} in {frame}", 8, stands_alone=False),
    _row(
        r"usercopy: [Kk]ernel memory (?P<what>\w+) attempt",
        "usercopy: kernel memory {what} attempt in {frame}",
        8,
        stands_alone=False,
    ),
    _row(r"(?P<what>mem\w+): detected (?P<how>[\w -]+)", "{what}: detected {how} in {frame}", 8, stands_alone=False),
    _row(r"detected buffer overflow in (?P<what>\w+)", "buffer overflow ({what}) in {frame}", 8, stands_alone=False),
    _row(r"Buffer overflow detected \(", "buffer overflow in {frame}", 8, stands_alone=False),
    _row(
        r"sysfs: cannot create duplicate filename",
        "sysfs: cannot create duplicate filename in {frame}",
        8,
        stands_alone=False,
    ),
    _row(r"BUG (?P<cache>[\w.:-]+) \(.*?\): (?P<what>[A-Z].*)", "slab: {what} in {frame}", 7, stands_alone=False),
    _row(r"BUG: memory leak|unreferenced object 0x", "memory leak in {frame}", 7, stands_alone=False),
    _row(r"BUG: (?P<what>Bad page (?:state|map|cache))", "BUG: {what} in {frame}", 7),
    # locks
    _row(
        _LOCKDEP
        + r"(?:possible (?:circular|recursive) locking|possible irq lock inversion|.{3,40}lock order detected)",
        "possible deadlock in {frame}",
        7,
        Kind.LOCKS,
    ),
    _row(_LOCKDEP + r"(?P<what>inconsistent lock state)", "{what} in {frame}", 7, Kind.LOCKS),
    _row(_LOCKDEP + r"(?P<what>suspicious RCU usage)", "{what} in {frame}", 7, Kind.LOCKS),
    _row(
        _LOCKDEP
        + r"(?P<what>Invalid wait context|bad unlock balance detected|held lock freed|Nested lock was not taken"
        r"|lock held when returning to user space|bad contention detected)",
        "BUG: {what} in {frame}",
        7,
        Kind.LOCKS,
    ),
    _row(
        r"BUG: sleeping function called from (?P<what>\w+ context)",
        "BUG: sleeping function called from {what} in {frame}",
    ),
    _row(r"BUG: scheduling while atomic", "BUG: scheduling while atomic in {frame}"),
    _row(r"BUG: using (?P<what>[\w()]+) in preemptible", "BUG: using {what} in preemptible code in {frame}"),
    # what takes too long
    _row(r"INFO: task .{1,80} blocked for more than \d+ seconds", "INFO: task hung in {frame}"),
    _row(
        r"(?:NMI )?(?:watchdog: )?BUG: soft lockup - CPU#(?P<cpu>\d+).{0,200}?:(?P<task>\d+)\]|"
        r"(?:NMI )?(?:watchdog: )?BUG: soft lockup",
        "BUG: soft lockup in {frame}",
        5,
        Kind.STALL,
    ),
    _row(
        r"(?:NMI )?(?:watchdog: )?Watchdog (?:CPU:\d+ )?[dD]etected hard LOCKUP",
        "hard lockup in {frame}",
        5,
        Kind.STALL,
    ),
    _row(
        r"(?:rcu: )?INFO: rcu\w* (?:self-)?detected (?:expedited )?stalls? on",
        "INFO: rcu detected stall in {frame}",
        5,
        Kind.STALL,
    ),
    # warnings, and what stops the machine
    _row(
        rf"WARNING: (?:CPU: (?P<cpu>\d+) PID: (?P<task>\d+) )?at (?:{_PLACE} )?{_FUNCTION}\b", "WARNING in {frame}", 5
    ),
    _row(
        rf"WARNING: (?:\[.{{1,400}}\] )?{_PLACE} at {_FUNCTION}[^,]*(?:, CPU#(?P<cpu>\d+): .*/(?P<task>\d+))?",
        "WARNING in {frame}",
    ),
    _row(rf"kernel BUG at {_PLACE}!", "kernel BUG in {frame}", 6),
    _row(r"[Kk]ernel [Bb]ug detected\[#", "kernel BUG in {frame}", 4),
    _row(r"kernel tried to execute NX-protected page", "execution of NX-protected memory in {frame}", 6),
    _row(
        r"(?:BUG: (?:unable to handle )?)?(?:Unable to handle )?[Kk]ernel NULL pointer dereference|"
        r"BUG: unable to handle kernel NULL pointer",
        "NULL pointer dereference in {frame}",
    ),
    _row(
        r"(?:BUG: )?(?:CPU \d+ )?[Uu]nable to handle (?:kernel )?(?:paging request|page fault|pointer dereference|"
        r"access to user memory|data access|instruction fetch|execution of|read from|write to)",
        "unable to handle page fault in {frame}",
    ),
    _row(r"(?:BUG: )?TASK stack guard page was hit|BUG: (?:\w+ )?stack guard page", "stack overflow in {frame}", 6),
    _row(
        r"Insufficient stack space to handle exception|[Kk]ernel stack overflow|BUG: stack overflow",
        "stack overflow in {frame}",
        6,
    ),
    _row(r"(?:traps: )?PANIC: double fault|double fault:", "double fault in {frame}"),
    _row(r"general protection fault(?: maybe|, probably|:|,| )", "general protection fault in {frame}"),
    _row(
        r"(?P<what>divide error|int3|stack segment|invalid opcode|bounds|coprocessor error): [0-9a-f]{4} \[#",
        "{what} in {frame}",
        4,
    ),
    _row(r"Oops: (?P<what>[a-z][\w -]+?)(?:, probably.*)?: [0-9a-f]{4} \[#", "{what} in {frame}", 4),
    _row(r"Internal error: (?:Oops - )?(?P<what>[A-Za-z][\w. -]*[A-Za-z]): [0-9a-f]+ \[#", "{what} in {frame}", 3),
    _row(r"Internal error: .*\[#|(?:[\w/.-]+\(\d+\): )?Oops\b.*(?:\[#|sig:)|Oops: ", "Oops in {frame}", 2),
    _row(r".{0,80}: Code=\d+ \((?P<what>[\w ]+)\)", "{what} in {frame}", 3),
    _row(r"(?P<what>Unhandled (?:fault|prefetch abort)|Kernel mode fault|SError Interrupt)", "{what} in {frame}", 3),
    _row(r"Unhandled kernel unaligned access", "unaligned access in {frame}", 3),
    # the rest
    _row(r".{1,64}: page allocation failure: ", "page allocation failure in {frame}"),
    _row(
        r"unregister_netdevice: waiting for \S+ to become free",
        "unregister_netdevice: waiting for DEV to become free",
        5,
        Kind.REMARK,
    ),
    _row(
        r"Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: " + _FUNCTION,
        "Kernel panic - not syncing: stack-protector: kernel stack is corrupted in {frame}",
        8,
        Kind.PANIC,
    ),
    _row(r"Kernel panic - not syncing: (?P<what>.+)", "Kernel panic - not syncing: {what}", 1, Kind.PANIC),
    _row(r"BUG: (?P<what>.+)", "BUG: {what} in {frame}", 1, stands_alone=False),
)

#: How panics read that only end another report.
_ENDINGS = re.compile(
    r"Kernel panic - not syncing: (?:.*(?:[Ff]atal exception|panic_on)|.*hung.tasks?|.*blocked tasks|"
    r".*RCU [Ss]tall|.*[Hh]ard LOCKUP|Attempted to kill|Fatal|Oops|softlockup|KASAN: panic_on|BUG!|Aiee)"
)

#: What stands in every title line above, or in another line of the same report close behind it.
CUES = (
    *(b"BUG", b"WARNING: ", b"INFO: ", b"Kernel panic", b"[#", b"nable to handle", b"UBSAN: ", b"Oops"),
    *(b"unreferenced object", b"allocation failure", b"unregister_netdevice", b"LOCKUP", b": Code=", b"CFI failure"),
)

_NUMBERS = re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8,16}\b|\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?|:\d+\]?")
_MAX_TITLE = 200


def read_title(message: str) -> Title | None:
    """What a message says as a title; None if it is none. ``message`` is what stands behind all prefixes."""
    return _read(message[:1024])


@lru_cache(maxsize=256)
def _read(message: str) -> Title | None:
    text = message.strip()
    for row in _ROWS:
        match = row.pattern.match(text)
        if match is None:
            continue
        found = {name: value or "" for name, value in match.groupdict().items()}
        template = row.template
        for name in ("tool", "what", "how", "type", "cache"):
            if name in found:
                template = template.replace(f"{{{name}}}", _tidy(found[name], row.kind))
        return Title(
            template.replace("KASan", "KASAN"),
            row.kind,
            row.rank,
            row.stands_alone,
            found.get("function", ""),
            found.get("file", ""),
            int(found.get("line") or 0),
            found.get("cpu", ""),
            found.get("task", ""),
            "[#" in text,
        )
    return None


def _tidy(text: str, kind: Kind) -> str:
    if kind is not Kind.PANIC:
        text = text.partition(";")[0].partition("(")[0]
    text = _NUMBERS.sub("", text).replace("{", "(").replace("}", ")")
    text = "".join(char if char.isprintable() else "?" for char in text)
    return " ".join(text.split())[:_MAX_TITLE].rstrip(" .:-,")


def ends_another(message: str) -> bool:
    """Whether a panic's title says that something before it was the reason."""
    return _ENDINGS.match(message.strip()) is not None
