"""What became of the frames of a run: counts, and one sentence a cause for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from annotate.model import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from annotate.model import AnnotatedLine

#: Not frames that were missed: the text names a variable, and a variable has no line.
NOT_MISSED = frozenset({Missing.DATA})


class Summary:
    """Counts over one run, which may hold several logs."""

    def __init__(self) -> None:
        self.lines = 0
        self.frames = 0
        self.annotated = 0
        self.missing: Counter[Missing] = Counter()
        self.kernels: list[dict[str, str]] = []  #: file, release and build id of each image that was used
        self._causes: Counter[tuple[str, Missing, str]] = Counter()

    def count(self, line: AnnotatedLine) -> None:
        """Take in one line; frames that the text annotates already count as annotated."""
        for resolution in line.resolutions:
            self.frames += 1
            if resolution.missing is None:
                self.annotated += 1
                continue
            self.missing[resolution.missing] += 1
            module = resolution.frame.module.decode("utf-8", "replace") or "the kernel"
            self._causes[module, resolution.missing, resolution.detail] += 1

    @property
    def missed(self) -> int:
        """Frames that should have a line and got none."""
        return sum(count for cause, count in self.missing.items() if cause not in NOT_MISSED)

    def sentences(self) -> Iterable[str]:
        """One sentence a module and cause, the most frequent first; none when nothing was missed."""
        causes = [(cause, count) for cause, count in self._causes.most_common() if cause[1] not in NOT_MISSED]
        for number, ((module, missing, detail), count) in enumerate(causes):
            head = f"{self.annotated} of {self.frames} frames annotated; " if number == 0 else ""
            tail = f" ({detail})" if detail else ""
            yield f"{head}{count} in {module}: {missing.sentence}{tail}"
