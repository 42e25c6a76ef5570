"""Lines of a log -> reports: a title, the facts around it, and the steps of the trace that tells where it happened.

A report begins with a title line and ends with the next one, with ``---[ end trace``, or where nothing of a trace has
come for a while. Several that are printed at once are kept apart by who printed (CONFIG_PRINTK_CALLER: ``[T12]``,
``[C0]``), else by the CPU and the task that the header lines name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from annotate.limits import MAX_OPEN_REPORTS, MAX_STEPS
from annotate.log.message import find_message, is_between_messages
from annotate.triage.titles import Kind, Title, ends_another, read_title
from annotate.triage.trace import Step, steps_of_chain, tree_path
from annotate.triage.written import EntryKind, entries_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from annotate.model import Resolution
    from annotate.triage.written import Entry

#: Lines without a step after which a report is over.
_PATIENCE = 150
#: Lines between title lines of one report, and behind a report in which a panic is its end.
_TITLES_APART = 30
_AFTERMATH = 500

#: Behind these the entries are of something else: who allocated it, who holds locks, other CPUs.
_ASIDE = re.compile(
    r"\s*(?:"
    r"Allocated by|Freed by|(?:Last|Second to last) (?:potentially related )?work creation|Uninit was"
    r"|Local variable|Memory state around|The buggy address|(?:hard|soft)irqs last|\d+ locks? held"
    r"|Showing all locks|NMI backtrace for|Sending NMI|the existing dependency chain|-> #\d"
    r"|the dependencies between|page (?:last )?(?:allocated|free)|page_owner|Register r\d+ information"
    r"|Last Breaking-Event|Preemption disabled at|Stack depot|value changed"
    r"|(?:INFO: |BUG .*)?(?:Allocated|Freed) in |Chain exists of|Showing busy|Mem-Info|handlers:"
    r"|rcu: Stack dump|task:.*state:[SITZX] "
    r")"
)
#: And here the trace begins, or begins anew: of where it happened.
_STACK = re.compile(r"\s*(?:Call [Tt]race|Backtrace|stack backtrace|backtrace(?: \(crc|:)|Stack ?trace)\b.*:?\s*$")
_RACE_SIDE = re.compile(
    r"(?:read|write|read-write|assert no accesses|race at unknown origin).* to 0x[0-9a-f]+ of \d+ bytes by"
)
_END = re.compile(r"---\[ end (?:trace|Kernel panic)")
_HEADER = re.compile(r"CPU: (?P<cpu>\d+) (?:UID: \d+ )?PID: (?P<task>\d+) Comm: ")
_HUNG_TASK = re.compile(r"task:.{1,64} state:(?P<state>[A-Z])")
_RCU_USAGE = re.compile(r"(?P<file>[\w./+-]+\.[ch]):(?P<line>\d+) suspicious rcu_")
#: Lines that name a return address beside the instruction pointer, which the trace has, too.
_LINKS = re.compile(
    r"\s*(?:lr : |LR is at |LR |ra ?: |RP\(r2\)|I7: |RPC: |IAOQ\[1\]|\[BLINK|PR is at |ra is at |Workqueue: )"
)
_USER_PC = re.compile(r"RIP: 00(?:33|23):")


class Report:
    """One report, while its lines come."""

    def __init__(self, title: Title, line: int, moment: int) -> None:
        self.title = title
        self.line = line  #: at which it begins
        self.last_title = moment  #: in messages, as all that says how far apart lines are
        self.last_step = moment
        self.steps: list[Step] = []  #: of the trace that tells where it happened, innermost first
        self.has_pc = False  #: the first step is an instruction pointer
        self.place = (title.file, title.line) if title.line else None  #: that a title names
        self.is_over = False
        self.function = title.function  #: that a title names
        self.named: list[Step] = []  #: the frame that titles name, with what was inlined into it
        self.is_numbered = title.is_numbered
        self.cpu = title.cpu
        self.task = title.task
        self._is_aside = self._waits_for_stack = title.kind is Kind.LOCKS
        self._is_others = False  #: the lines are of another CPU or task
        self._has_trace = False
        self._inlined: list[Step] = []

    @property
    def has_trace(self) -> bool:
        """An entry of a trace came."""
        return self._has_trace

    def is_of(self, cpu: str, task: str) -> bool:
        """Whether a dump of this CPU and task may be the report's. A task may move on; all idle ones have number 0."""
        if self.task and self.task != "0":
            return self.task == task
        return self.task in ("", task) and self.cpu in ("", cpu)

    def take_title(self, title: Title, moment: int) -> None:
        """Another title line of the same report."""
        if title.rank > self.title.rank:
            self.title = title
            self.function = title.function or self.function
            self._is_aside = self._waits_for_stack = title.kind is Kind.LOCKS
        if title.line:
            self.place = (title.file, title.line)
        self.function = self.function or title.function
        self.is_numbered = self.is_numbered or title.is_numbered
        self.cpu = self.cpu or title.cpu
        self.task = self.task or title.task
        self.last_title = moment

    def take_named(self, title: Title, message: str, resolutions: Sequence[Resolution]) -> None:
        """The frame that a title line names, with the place that stands behind it or was found for it."""
        start = message.find(f" in {title.function}") + 4 if title.function else 3
        if start > 3:
            for entry in entries_of(message[start:]):
                self.named += _steps(entry, resolutions)

    def take(self, message: str, moment: int, resolutions: Sequence[Resolution]) -> None:
        """A line behind the title."""
        if _END.match(message):
            self.is_over = True
            return
        if _ASIDE.match(message) and not _RACE_SIDE.match(message):
            # Of a CPU that does not answer, another one asks for the trace.
            self._is_aside = self._has_trace or not (self.title.kind is Kind.STALL and "NMI" in message[:20])
            return
        if self._begins_trace(message):
            return
        usage = _RCU_USAGE.match(message)
        if usage is not None:
            self.place = (usage["file"], int(usage["line"]))
        if self._is_aside or len(self.steps) >= MAX_STEPS or _LINKS.match(message) or _USER_PC.match(message):
            return
        for entry in entries_of(message):
            self._add(entry, moment, resolutions)

    def _begins_trace(self, message: str) -> bool:
        """Whether the line is a heading; what follows it is the trace unless that was already there."""
        header = _HEADER.search(message)
        if header is not None:
            # Of another CPU or task: somebody else's dump stands in between.
            self._is_others = not self.is_of(header["cpu"], header["task"])
            self._is_aside = self._is_others or (self._is_aside and self._has_trace) or self._waits_for_stack
            self.cpu = self.cpu or header["cpu"]
            self.task = self.task or header["task"]
            return True
        if _STACK.match(message) is not None:
            self._is_aside = self._has_trace or self._is_others
            self._waits_for_stack = False
            return True
        if self.title.kind is Kind.RACE and _RACE_SIDE.match(message):
            self._is_aside = self._has_trace
            return True
        return _HUNG_TASK.match(message) is not None

    def _add(self, entry: Entry, moment: int, resolutions: Sequence[Resolution]) -> None:
        steps = _steps(entry, resolutions)
        self.last_step = moment
        if entry.is_inline:
            self._inlined += steps
            return
        steps = [*(step._replace(symbol=entry.symbol) for step in self._inlined), *steps]
        self._inlined = []
        if entry.kind is EntryKind.PC:
            if self._has_trace:
                if self.title.kind is not Kind.STALL:
                    return  # of the exception that the trace goes through, or printed again at the end
            elif self.steps:
                return
            else:
                self.has_pc = True
        else:
            self._has_trace = True
        last = self.steps[-1].symbol if self.steps else None
        if last == entry.symbol:
            # An entry that repeats the pc, or of ``f from g``, which tells no place: keep what tells more.
            known = [step for step in self.steps if step.symbol == last and step.file]
            if known or steps[-1].file is None:
                return
            while self.steps and self.steps[-1].symbol == last:
                self.steps.pop()
        self.steps += steps


def _steps(entry: Entry, resolutions: Sequence[Resolution]) -> list[Step]:
    """The steps of an entry, with the places of the text, else those that were found."""
    places = entry.places
    if not places:
        symbol = entry.symbol.encode("utf-8", "surrogateescape")
        places = next((found.locations for found in resolutions if found.frame.symbol == symbol), ())
    return steps_of_chain(entry.symbol, places, is_reliable=entry.is_reliable)


class Reports:
    """The reports of one log. ``finish`` is called with each once it is complete, not always in order."""

    def __init__(self, finish: Callable[[Report], None]) -> None:
        self._finish = finish
        self._open: dict[tuple[bytes, str, str], Report] = {}
        self._current: dict[bytes, tuple[bytes, str, str]] = {}  # who printed -> the report that their lines are of
        self._last_end = -_AFTERMATH
        self._between = 0  # lines that held no message: those of JSON around it
        self._last_remark = ""

    @property
    def is_reading(self) -> bool:
        """Whether a report is open: every line matters."""
        return bool(self._open)

    def take(self, body: bytes, line: int, resolutions: Sequence[Resolution]) -> None:
        """The next line that may matter."""
        if is_between_messages(body):
            self._between += 1
            return
        moment = line - self._between
        start, caller, end = find_message(body)
        message = body[start : min(end, start + 4096)].decode("utf-8", "surrogateescape")
        title = read_title(message)
        if title is not None and self._take_title(title, message, caller, line, resolutions):
            return
        report = self._select(message, caller)
        if report is None:
            return
        report.take(message, moment, resolutions)
        if report.is_over or moment - max(report.last_step, report.last_title) > _PATIENCE:
            self._close(self._current[caller])

    def _select(self, message: str, caller: bytes) -> Report | None:
        """The report that a line is of: another one where a header line names another CPU and task."""
        key = self._current.get(caller)
        report = self._open.get(key) if key is not None else None
        header = _HEADER.search(message)
        if header is None or report is None or report.has_trace or report.is_of(header["cpu"], header["task"]):
            return report
        for other_key, other in self._open.items():
            if other_key[0] == caller and not other.has_trace and other.is_of(header["cpu"], header["task"]):
                self._current[caller] = other_key
                return other
        return report

    def _take_title(
        self, title: Title, message: str, caller: bytes, line: int, resolutions: Sequence[Resolution]
    ) -> bool:
        """Begin a report, or go on with one; whether the line is dealt with."""
        moment = line - self._between
        key = self._current.get(caller)
        report = self._open.get(key) if key is not None else None
        if title.kind is Kind.PANIC and ends_another(message):
            if report is not None and report.steps:
                self._close(key)  # type: ignore[arg-type]
                return True
            if report is None and (self._open or moment - self._last_end < _AFTERMATH):
                return True
        if title.kind is Kind.REMARK:
            if message != self._last_remark:
                self._last_remark = message
                self._finish(Report(title, line, moment))
            return True
        if report is not None:
            is_other = bool(title.cpu and report.cpu and (title.cpu, title.task) != (report.cpu, report.task))
            # Kernels up to 4.x print ``IP:`` between the two title lines of an oops.
            is_begun = report.has_trace or (report.has_pc and (not title.is_numbered or report.is_numbered))
            if not is_begun and moment - report.last_title <= _TITLES_APART and not is_other:
                report.take_title(title, moment)
                report.take_named(title, message, resolutions)
                return True
            if not is_other or is_begun:
                self._close(key)  # type: ignore[arg-type]
        elif title.rank == 1 and title.kind is not Kind.PANIC and self._open:
            return False
        self._begin(title, caller, line).take_named(title, message, resolutions)
        return True

    def _begin(self, title: Title, caller: bytes, line: int) -> Report:
        key = (caller, title.cpu, title.task)
        if key in self._open:
            self._close(key)
        if len(self._open) >= MAX_OPEN_REPORTS:
            self._close(next(iter(self._open)))
        report = self._open[key] = Report(title, line, line - self._between)
        self._current[caller] = key
        return report

    def _close(self, key: tuple[bytes, str, str]) -> None:
        report = self._open.pop(key)
        caller = key[0]
        if self._current.get(caller) == key:
            other = next((other for other in self._open if other[0] == caller), None)
            if other is None:
                del self._current[caller]
            else:
                self._current[caller] = other
        if report.steps or report.title.stands_alone:
            self._last_end = max(report.last_step, report.last_title)
            self._finish(report)

    def expire(self, line: int) -> None:
        """Close what nothing was added to for a while; ``line`` is the next one."""
        for key, report in list(self._open.items()):
            if line - self._between - max(report.last_step, report.last_title) > _PATIENCE:
                self._close(key)

    def flush(self) -> None:
        """The end of the log."""
        for key in list(self._open):
            self._close(key)


def place_of_title(report: Report) -> tuple[str, int] | None:
    """The place that a title names, as a path of the kernel's tree."""
    return None if report.place is None else (tree_path(report.place[0]), report.place[1])
