"""Cases of a fuzzer are run here: an answer or a failure, in bounds of time and memory, counted, kept, run again.

A case may raise nothing, take ``Limits.seconds``, and ``Limits.megabytes`` more than the process held before it: a peak
of what ran earlier, in a test session or a fuzzer, is no case's fault. (Memory that was freed and not yet given back to
the system is held, too; a process that does nothing but cases never holds much of it.)

A program gives ``fuzz`` its maker of cases, and its parser to ``add_options``.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import annotate

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import FrameType

#: All that a fuzzer's process may map: a wild allocation is a MemoryError and not the machine's end.
ADDRESS_SPACE: Final = 1536 << 20

_SECONDS_BETWEEN_REPORTS: Final = 60
_PACKAGE: Final = str(Path(annotate.__file__).parent)
_FUZZ: Final = f"{Path(__file__).parent}/targets"


class OverTimeError(BaseException):
    """A case took too long; no ``except Exception`` may swallow it."""


class Limits(NamedTuple):
    """What one case may take; memory is counted from what the process held before."""

    seconds: float = 10
    megabytes: int = 512


class Failure(NamedTuple):
    """How a case breaks the rule. ``place`` is the innermost line of ours; two cases that share ``key`` are one bug."""

    kind: str
    place: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """What is the same for one bug."""
        return self.kind, self.place


class Case(Protocol):
    """Something to be asked."""

    def ask(self) -> str:
        """Ask everything; a word on what came of it. An exception breaks the rule."""

    def keep(self, stem: Path, head: str, failure: Failure) -> None:
        """Write what is needed to see the failure again into files of this name; ``head`` names seed and case."""


LIMITS: Final = Limits()


def run(case: Case, limits: Limits = LIMITS) -> str | Failure:
    """Ask a case: its word, or how it breaks the rule."""

    def over_time(_signal: int, _frame: FrameType | None) -> None:
        raise OverTimeError

    before = _forget_peak()
    usual = signal.signal(signal.SIGALRM, over_time)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    try:
        outcome = case.ask()
    except (Exception, OverTimeError) as error:  # noqa: BLE001  # every exception is what this looks for
        signal.setitimer(signal.ITIMER_REAL, 0)
        return failure_of(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
    taken = _peak() - before
    if taken > limits.megabytes:
        return Failure("memory", "", f"{taken} MB more than the {before} MB before")
    return outcome


def failure_of(error: BaseException) -> Failure:
    """What an exception says of the case that raised it."""
    return Failure(type(error).__name__, _place(error), "".join(traceback.format_exception(error)))


def _place(error: BaseException) -> str:
    """The innermost line of ours in a traceback, else of what asks it; the function alone where time was over."""
    trace = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in trace if frame.filename.startswith(_PACKAGE)]
    frames = frames or [frame for frame in trace if frame.filename.startswith(_FUZZ)]
    if not frames:
        return ""
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.name}" + ("" if isinstance(error, OverTimeError) else f":{last.lineno}")


def _forget_peak() -> int:
    """Let the peak begin at what the process holds now, and return that in MB."""
    with contextlib.suppress(OSError):  # not Linux: the process's peak stays, and only a case with a higher one is seen
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """The most memory in MB since ``_forget_peak``.

    Not ``ru_maxrss``: a process that was started by a large one begins with the peak of that.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return next(int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmHWM:"))


class Report:
    """What came of the cases so far."""

    def __init__(self, seed: int, folder: Path | None) -> None:
        self._seed = seed
        self._folder = folder
        self._start = time.monotonic()
        self.outcomes: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.slowest = 0.0

    def take(self, case: Case, number: int) -> str | Failure:
        """Run a case, and keep it when it is the first that fails like this."""
        start = time.monotonic()
        outcome = run(case)
        self.slowest = max(self.slowest, time.monotonic() - start)
        if isinstance(outcome, Failure):
            self.outcomes["BREAKS THE RULE"] += 1
            self.failures[outcome.key] += 1
            if self.failures[outcome.key] == 1 and self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
                stem = self._folder / f"seed-{self._seed}-case-{number}"
                case.keep(stem, f"seed: {self._seed}\ncase: {number}", outcome)
        else:
            self.outcomes[outcome] += 1
        return outcome

    def __str__(self) -> str:
        seconds = time.monotonic() - self._start
        cpu = resource.getrusage(resource.RUSAGE_SELF)
        lines = [
            f"seed {self._seed}: {self.outcomes.total()} cases in {seconds:.0f} s "
            f"({cpu.ru_utime + cpu.ru_stime:.0f} s of a processor), the slowest {self.slowest:.1f} s"
        ]
        lines += [f"{count:9}  {outcome}" for outcome, count in self.outcomes.most_common()]
        lines += [f"{count:9}  FAILURE {kind} at {place}" for (kind, place), count in self.failures.most_common()]
        return "\n".join(lines) + "\n"


def add_options(parser: argparse.ArgumentParser, failures: str) -> None:
    """The options that ``fuzz`` reads; ``failures`` is the usual folder for them."""
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", type=int, metavar="CASE", help="run this case alone")
    parser.add_argument("--failures", type=Path, default=Path(failures), metavar="DIR")


def fuzz(case_of: Callable[[int], Case], options: argparse.Namespace) -> int:
    """Run cases until the time is over, or the one to replay; the status is 1 when one broke the rule."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    report = Report(options.seed, options.failures)
    if options.replay is not None:
        outcome = report.take(case_of(options.replay), options.replay)
        sys.stdout.write(outcome.text if isinstance(outcome, Failure) else outcome + "\n")
        return int(isinstance(outcome, Failure))
    said = time.monotonic()
    deadline = said + options.seconds
    number = 0
    while time.monotonic() < deadline:
        report.take(case_of(number), number)
        number += 1
        if time.monotonic() > said + _SECONDS_BETWEEN_REPORTS:
            said = time.monotonic()
            sys.stdout.write(str(report))
            sys.stdout.flush()
    sys.stdout.write(str(report))
    return int(bool(report.failures))
