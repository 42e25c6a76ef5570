"""What became of the frames of a run: counts, and one sentence a cause for people."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

from annotate.model import Missing, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from annotate.model import AnnotatedLine, Crash, Remembered

#: Not frames that were missed: the text names a variable, and a variable has no line.
NOT_MISSED = frozenset({Missing.DATA})


class Summary:
    """Counts over one run, which may hold several logs."""

    def __init__(self) -> None:
        self.lines = 0
        self.frames = 0
        self.annotated = 0
        self.missing: Counter[Missing] = Counter()
        self.crashes: Sequence[Crash] | None = None  #: what ``--triage`` found, in order of appearance; None without it
        self.crash_remark = ""  #: a sentence for people on what these lack
        self.written_end = b""  #: the last byte that was written of the logs
        self.kernels: list[dict[str, str]] = []  #: file, release and build id of each image that was used
        self._causes: Counter[tuple[str, Missing, str]] = Counter()

    def count(self, line: AnnotatedLine) -> None:
        """Take in one line; frames that the text annotates already count as annotated."""
        tally = _tally(line)
        if line.remembered is not None:
            line.remembered.tally = tally
        self._add(tally)

    def count_again(self, lines: Iterable[Remembered]) -> None:
        """Take in lines that were counted before."""
        # Nearly all share one tally. Counting that in the list is done without a call of ours: 0.03 us a line, where
        # adding them up one by one takes 0.4.
        tallies = list(map(_TALLY, lines))
        ones = tallies.count(_ONE_ANNOTATED)
        self.frames += ones
        self.annotated += ones
        if ones < len(tallies):
            for tally in tallies:
                if tally.frames and tally is not _ONE_ANNOTATED:
                    self._add(tally)

    def _add(self, tally: Tally) -> None:
        self.frames += tally.frames
        self.annotated += tally.annotated
        for cause in tally.causes:
            self.missing[cause[1]] += 1
            self._causes[cause] += 1

    @property
    def missed(self) -> int:
        """Frames that should have a line and got none."""
        return sum(count for cause, count in self.missing.items() if cause not in NOT_MISSED)

    def sentences(self) -> Iterable[str]:
        """One sentence a module and cause, the most frequent first; none when nothing was missed.

        Where there is nothing of the kernel, that is said of its modules too, in the same sentence.
        """
        causes = [(cause, count) for cause, count in self._causes.most_common() if cause[1] not in NOT_MISSED]
        kernel = next((cause for cause, _ in causes if cause[1] is Missing.NO_KERNEL), None)
        if kernel is not None:
            modules = sum(count for cause, count in causes if cause[1] is Missing.NO_MODULE)
            causes = [(cause, count) for cause, count in causes if cause[1] is not Missing.NO_MODULE]
            if modules:
                name = f"{kernel[0]} and {modules} in its modules"
                causes = [((name, *cause[1:]) if cause == kernel else cause, count) for cause, count in causes]
        for number, ((module, missing, detail), count) in enumerate(causes):
            head = f"{self.annotated} of {self.frames} frames annotated; " if number == 0 else ""
            tail = f" ({detail})" if detail else ""
            yield f"{head}{count} in {module}: {missing.sentence}{tail}"


#: By far the most lines: one object for all, and no other says the same.
_ONE_ANNOTATED = Tally(1, 1)
_TALLY = attrgetter("tally")


def _tally(line: AnnotatedLine) -> Tally:
    missed = [resolution for resolution in line.resolutions if resolution.missing is not None]
    if not missed and len(line.resolutions) == 1:
        return _ONE_ANNOTATED
    causes = [
        (each.frame.module.decode("utf-8", "replace") or "the kernel", each.missing, each.detail)
        for each in missed
        if each.missing is not None
    ]
    return Tally(len(line.resolutions), len(line.resolutions) - len(missed), tuple(causes))
