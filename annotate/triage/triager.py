"""Pieces of annotated logs -> crashes: what ``--triage`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from annotate.model import AnnotatedLine, Crash
from annotate.triage.guilty import choose
from annotate.triage.reports import Reports, place_of_title
from annotate.triage.signature import reliable_symbols, sign
from annotate.triage.titles import CUES, Kind
from annotate.triage.trace import Step, bare_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import LogBlock, Repeats, Subsystem
    from annotate.triage.plumbing import Plumbing
    from annotate.triage.reports import Report

#: Crashes that are kept of a run; of the others only the number is known.
MAX_CRASHES = 1000

#: Files that are listed of a trace.
_MAX_FILES = 20

#: Bytes in front of a cue that are read as well: a line of the same report may stand there. ``refcount_t: underflow``
#: comes before the ``WARNING:`` that says no more than where it was noticed.
_BEFORE_CUE = 512

#: Of a line that goes on beyond what a block holds, what is kept.
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
        self._before = b""
        self._reports = Reports(self._finish)
        self.overflow = 0  #: crashes beyond ``MAX_CRASHES``

    def take(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> None:
        """The next piece of the log called ``log``."""
        if log != self._log:
            self._end_log()
            self._log = log
        if isinstance(piece, AnnotatedLine):
            body = piece.line.body
            self._line += 1
            if self._reports.is_reading or any(cue in body for cue in CUES):
                self._take_before()
                self._reports.take(body, self._line, piece.resolutions)
                self._before = b""
            else:
                self._before = body[:_MAX_LINE] + b"\n"
            return
        data: bytes = piece.data  # type: ignore[union-attr]
        self._take_block(data)

    def _take_block(self, data: bytes) -> None:
        """Text without frames: read where a report is open or a cue stands, else only counted."""
        position = 0
        while position < len(data):
            if self._reports.is_reading:
                end = data.find(b"\n", position) + 1 or len(data)
                self._take_line(data[position:end])
                position = end
                continue
            cue = min((place for place in (data.find(cue, position) for cue in CUES) if place >= 0), default=-1)
            if cue < 0:
                break
            start = data.rfind(b"\n", position, max(cue - _BEFORE_CUE, position)) + 1 or position
            line = data.rfind(b"\n", position, cue) + 1 or position
            end = data.find(b"\n", cue) + 1 or len(data)
            self._line += data.count(b"\n", position, start)
            if start > position:
                self._before = b""
            elif self._before:
                self._take_before()
            for text in data[start:line].splitlines(keepends=True):
                self._take_line(text)
            self._take_line(data[line:end])
            position = end
        if position < len(data):
            self._line += data.count(b"\n", position)
            tail = data[position:][-_BEFORE_CUE:]
            self._before = (
                tail[tail.find(b"\n") + 1 :]
                if len(data) - position > _BEFORE_CUE
                else self._before[-_BEFORE_CUE:] + tail
            )

    def _take_before(self) -> None:
        """Read again the lines in front of a cue that were only counted."""
        if self._reports.is_reading or not self._before:
            return
        lines = self._before.splitlines()
        for number, text in enumerate(lines):
            self._reports.take(text.rstrip(b"\r"), self._line - len(lines) + number, ())
        self._before = b""

    def _take_line(self, text: bytes) -> None:
        self._line += text.endswith(b"\n")
        number = self._line if text.endswith(b"\n") else self._line + 1
        self._reports.take(text[:_MAX_LINE].rstrip(b"\r\n"), number, ())
        self._reports.expire(number)

    def crashes(self, maintainers: Maintainers | None = None) -> tuple[Crash, ...]:
        """All crashes of the logs, in order of appearance; the last of them is over."""
        self._end_log()
        if maintainers is None:
            return tuple(self._crashes)
        return tuple(
            crash._replace(subsystems=tuple(maintainers.subsystems_of(crash.file))) if crash.file is not None else crash
            for crash in self._crashes
        )

    def _end_log(self) -> None:
        self._reports.flush()
        self._crashes += sorted(self._of_log, key=lambda crash: crash.line)
        self._of_log = []
        self._reports = Reports(self._finish)
        self._line = 0
        self._before = b""
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
            title.with_frame(frame or ""),
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


def _placed(report: Report, plumbing: Plumbing) -> list[Step]:
    """The steps of a report, with the place that a title names where no debug info told it."""
    steps = list(report.steps)
    place = place_of_title(report)
    title = report.title
    if not steps and report.function:
        file, line = place or (None, None)
        return [Step(bare_name(report.function), report.function, file, line)]
    if place is None:
        return steps
    if report.has_pc:
        index = 0
    elif title.function and bare_name(title.function) != steps[0].function:
        # A warning whose instruction pointer is not in the log.
        return [Step(bare_name(title.function), title.function, *place), *steps]
    else:
        index = next((number for number, step in enumerate(steps) if not plumbing.family_of(step.function, None)), -1)
    if index >= 0 and not steps[index].file:
        steps[index] = steps[index]._replace(file=place[0], line=place[1])
    return steps
