"""What libFuzzer says of its runs, as figures, and figures as a table of a document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

BEGIN: Final = "<!-- fuzz:begin -->"
END: Final = "<!-- fuzz:end -->"

_STEP: Final = re.compile(r"^#(\d+)\s.*?\bcov: (\d+) ft: \d+ corp: (\d+)/", re.MULTILINE)
_DONE: Final = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_LAST: Final = re.compile(r"^#(\d+)", re.MULTILINE)
_ROW: Final = re.compile(r"^\| `(\w+)` \|.*$", re.MULTILINE)


class Figures(NamedTuple):
    """What one target did."""

    seconds: float
    executions: int = 0
    corpus: int = 0  #: inputs that each reach something no other does
    edges: int = 0  #: branches of the package that were taken
    failures: int = 0

    @property
    def rate(self) -> int:
        """Executions a second."""
        return round(self.executions / self.seconds) if self.seconds else 0


def read_figures(log: str, seconds: float, failures: int) -> Figures:
    """The figures of one run of libFuzzer from what it wrote; one that was ended has said so far how far it was."""
    steps = _STEP.findall(log)
    _, edges, corpus = steps[-1] if steps else (0, 0, 0)
    executions = _DONE.findall(log) or _LAST.findall(log) or [0]
    return Figures(seconds, int(executions[-1]), int(corpus), int(edges), failures)


def add(first: Figures, second: Figures) -> Figures:
    """Two runs of one target, the second of which began with what the first had found."""
    return Figures(
        first.seconds + second.seconds,
        first.executions + second.executions,
        max(first.corpus, second.corpus),
        max(first.edges, second.edges),
        max(first.failures, second.failures),
    )


def row(name: str, invariant: str, seed: int, figures: Figures) -> str:
    """One target in Markdown."""
    numbers = (figures.executions, figures.rate, figures.corpus, figures.edges, figures.failures)
    return f"| `{name}` | {invariant} | {seed} | {figures.seconds:.0f} | {' | '.join(map(_spaced, numbers))} |"


def table(rows: Iterable[str]) -> str:
    """Rows with a head."""
    head = "| target | invariant | seed | seconds | executions | a second | corpus | edges | failures |"
    return "\n".join((head, "|---|---|--:|--:|--:|--:|--:|--:|--:|", *rows))


class Document:
    """A document with a table between two marks; what stands around it is left alone.

    Raises ValueError where the marks are not there.
    """

    def __init__(self, text: str) -> None:
        self._before, begin, rest = text.partition(f"{BEGIN}\n")
        inside, end, self._after = rest.partition(f"{END}\n")
        if not (begin and end):
            raise ValueError(f"expected {BEGIN} and behind it {END}, each on a line of its own")
        self.rows = {match[1]: match[0] for match in _ROW.finditer(inside)}  #: by target

    def with_rows(self, note: str, rows: Iterable[str]) -> str:
        """The document with this note and these rows."""
        return f"{self._before}{BEGIN}\n{note}\n\n{table(rows)}\n{END}\n{self._after}"


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")
