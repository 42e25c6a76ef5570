"""Pieces of annotated logs -> crashes: what ``--triage`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from annotate.limits import MAX_CRASHES
from annotate.log.message import is_between_messages
from annotate.model import AnnotatedLine, Crash
from annotate.triage.guilty import choose
from annotate.triage.reports import Reports, place_of_title
from annotate.triage.signature import reliable_symbols, sign
from annotate.triage.titles import CUES, Kind
from annotate.triage.trace import Step, bare_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import LogBlock, Repeats, Resolution, Subsystem
    from annotate.triage.plumbing import Plumbing
    from annotate.triage.reports import Report

#: Files that are listed of a trace.
_MAX_FILES = 20

#: Lines in front of one with a cue that are read as well: ``refcount_t: underflow`` comes before the ``WARNING:`` that
#: says no more than where it was noticed.
_LINES_BEFORE_CUE = 4

#: Lines that ``dmesg -J`` has for one.
_LINES_OF_JSON = 4

#: What is read of a line.
_MAX_LINE = 4096


class Maintainers(Protocol):
    """Who looks after what."""

    def subsystems_of(self, path: str) -> Sequence[Subsystem]:
        """The entries for a path of the kernel's tree, the best one first."""


class Triager:
    """Takes the pieces of one log after another, in order, and tells what crashed in them.

    It must see every line: the annotator has to run without a memory, so that no ``Repeats`` come. It holds the steps
    of the reports that are not over yet, and of the others what it found.
    """

    def __init__(self, plumbing: Plumbing) -> None:
        self._plumbing = plumbing
        self._crashes: list[Crash] = []
        self._of_log: list[Crash] = []
        self._log: str | None = None
        self._line = 0
        self._before: list[tuple[int, bytes]] = []  #: the lines that were passed over last, with their numbers
        self._reports = Reports(self._finish)
        self.overflow = 0  #: crashes beyond ``MAX_CRASHES``

    def take(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> None:
        """The next piece of the log called ``log``."""
        if log != self._log:
            self._end_log()
            self._log = log
        if isinstance(piece, AnnotatedLine):
            body = piece.line.body
            if self._reports.is_reading or any(cue in body for cue in CUES):
                self._read(body, piece.resolutions)
            else:
                self._pass_over(body)
            return
        data: bytes = piece.data  # type: ignore[union-attr]
        position = 0
        places = [data.find(cue) for cue in CUES]
        while position < len(data):
            if not self._reports.is_reading:
                for number, place in enumerate(places):
                    if 0 <= place < position:
                        places[number] = data.find(CUES[number], position)
                cue = min((place for place in places if place >= 0), default=-1)
                start = len(data) if cue < 0 else data.rfind(b"\n", position, cue) + 1 or position
                self._pass_over_block(data, position, start)
                position = start
                if cue < 0:
                    break
            end = data.find(b"\n", position) + 1 or len(data)
            self._read(data[position:end].rstrip(b"\r\n"), ())
            position = end

    def _pass_over(self, body: bytes) -> None:
        self._line += 1
        if not is_between_messages(body):
            self._before = [*self._before[1 - _LINES_BEFORE_CUE :], (self._line, body[:_MAX_LINE])]

    def _pass_over_block(self, data: bytes, start: int, end: int) -> None:
        """Only count the lines between two positions, and keep the last ones."""
        first = end
        for _ in range(_LINES_BEFORE_CUE * _LINES_OF_JSON):
            if first <= start:
                break
            first = data.rfind(b"\n", start, first - 1) + 1 or start
        self._line += data.count(b"\n", start, first)
        lines = data[first:end].split(b"\n")
        if not lines[-1]:
            lines.pop()  # what follows the last line end is no line
        for line in lines:
            self._pass_over(line.rstrip(b"\r"))

    def _read(self, body: bytes, resolutions: Sequence[Resolution]) -> None:
        """A line that matters, and those in front of it that were passed over."""
        lines, self._before = self._before, []
        if not self._reports.is_reading:
            for number, line in lines:
                self._reports.take(line, number, ())
        self._line += 1
        self._reports.expire(self._line)
        self._reports.take(body[:_MAX_LINE], self._line, resolutions)

    def crashes(self, maintainers: Maintainers | None = None) -> tuple[Crash, ...]:
        """All crashes of the logs, in order of appearance; the last of them is over."""
        self._end_log()
        if maintainers is None:
            return tuple(self._crashes)
        return tuple(
            crash._replace(subsystems=tuple(maintainers.subsystems_of(crash.file)))
            if crash.file is not None and not crash.file.startswith("/")
            else crash  # a module from elsewhere is in no entry, not even in that of all files
            for crash in self._crashes
        )

    def _end_log(self) -> None:
        self._reports.flush()
        self._crashes += sorted(self._of_log, key=lambda crash: crash.line)
        self._of_log = []
        self._reports = Reports(self._finish)
        self._line = 0
        self._before = []
        self._log = None

    def _finish(self, report: Report) -> None:
        if len(self._crashes) + len(self._of_log) >= MAX_CRASHES:
            self.overflow += 1
        else:
            self._of_log.append(self._crash(report))

    def _crash(self, report: Report) -> Crash:
        title = report.title
        steps = _placed(report, self._plumbing)
        choice = choose(steps, self._plumbing, starts_interrupted=title.kind is Kind.STALL, has_pc=report.has_pc)
        if choice is None:
            frame, file, line, why = report.function or None, None, None, "no trace: the function that the title names"
            if not report.function:
                why = "no trace, and the title names no function"
            if report.place is not None:
                file, line = place_of_title(report)  # type: ignore[misc]
        else:
            frame, file, line = bare_name(choice.step.symbol), choice.step.file, choice.step.line
            why = choice.why
        symbols = [
            symbol for symbol in reliable_symbols(steps) if not self._plumbing.family_of(bare_name(symbol), None)
        ]
        return Crash(
            title.with_frame(bare_name(choice.named.symbol) if choice is not None else frame or ""),
            report.line,
            frame,
            file,
            line,
            why,
            _files(steps),
            (),
            sign(title.template, symbols or reliable_symbols(steps)),
            self._log or "",
        )


def _files(steps: Sequence[Step]) -> tuple[str, ...]:
    reliable = [step for step in steps if step.is_reliable] or steps
    return tuple(dict.fromkeys(step.file for step in reliable if step.file is not None))[:_MAX_FILES]


def _reports(step: Step, plumbing: Plumbing) -> bool:
    family = plumbing.family_of(step.function, None)
    return family in ("reporting", "sanitizers") or step.function.startswith("lockdep_")


def _placed(report: Report, plumbing: Plumbing) -> list[Step]:
    """The steps of a report, with the place that a title names where no debug info told it."""
    steps = list(report.steps)
    place = place_of_title(report)
    title = report.title
    if not steps and report.function:
        file, line = place or (None, None)
        return report.named or [Step(bare_name(report.function), report.function, file, line)]
    if report.named and all(plumbing.family_of(step.function, step.file) for step in steps):
        steps += [step for step in report.named if step.symbol not in {known.symbol for known in report.steps}]
    is_header = place is not None and place[0].endswith(".h")  # whose function is not the one that it is inlined into
    if not report.has_pc and title.line and title.function and bare_name(title.function) != steps[0].function:
        # A warning whose instruction pointer is not in the log.
        file, line = (None, None) if place is None or is_header else place
        return [Step(bare_name(title.function), title.function, file, line), *steps]
    if place is None or is_header:
        return steps
    # What the report is of stands right below what reports.
    index = 0 if report.has_pc else next((n for n, step in enumerate(steps) if not _reports(step, plumbing)), -1)
    if index >= 0 and not steps[index].file:
        steps[index] = steps[index]._replace(file=place[0], line=place[1])
    return steps
