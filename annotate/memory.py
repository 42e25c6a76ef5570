"""Lines that were answered before: most of a long log says the same again, with another time in front.

A line is known by what stands behind its stamp (time, level, host, caller). What is remembered is not what its frames
mean but what was written for it, so a line that comes again costs two look-ups in a dict: 0.5 us instead of 40. It
holds while kernel and slide are what they were; a line whose meaning took evidence from other lines is not remembered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from annotate.model import Remembered

if TYPE_CHECKING:
    from annotate.model import KernelId

#: What loggers write in front of a line, and what of it differs from line to line: nothing in here decides what the
#: frame behind it is.
_STAMP = re.compile(
    rb"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})? [\w.-]{1,64} kernel: "
    rb"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]?\d{0,9}(?: ?[+-]\d\d:?\d\d|Z)?(?: [\w.-]{1,64} kernel:)? "
    rb"|\d{1,3},\d{1,12},\d{1,16},-[a-zA-Z0-9=,/]{0,32};"
    rb")?(?:<\d{1,3}>)?(?:\[ {0,8}\d{1,12}\.\d{1,9}\](?: ?\[ {0,8}[TC]\d{1,8}\])? ?)?"
)
VARYING = b" 0123456789"
#: What the stamp of a line ends with, in most logs; found by one call, and cheaper than the pattern by a factor of 4.
BRACKET = b"] "

#: Shapes of stamps: stamps without digits and blanks. More than a handful in one log is not to be expected.
_MAX_SHAPES = 64

#: Bounds of what is held: 50 000 distinct frames and their answers take about 14 MB.
_MAX_LINES = 1 << 16
_MAX_BYTES = 1 << 24


class Memory:
    """The lines of one log that were answered."""

    def __init__(self) -> None:
        self._generations: dict[tuple[KernelId, int | None], dict[bytes, dict[bytes, Remembered]]] = {}
        self._shapes: dict[bytes, bool] = {}
        self._count = self._size = 0
        self._stamped: dict[bytes, dict[bytes, Remembered]] = {}
        #: Behind a stamp that ends in ``BRACKET``: the quick way, see ``annotate.annotator``.
        self.behind_bracket: dict[bytes, Remembered] = {}
        self.shapes: set[bytes] = set()

    def select(self, kernel: KernelId, slide: int | None) -> None:
        """From now on lines are of this kernel at this slide."""
        if len(self._generations) > 4:
            self._generations.clear()
        self._stamped = self._generations.setdefault((kernel, slide), {})
        self.behind_bracket = self._stamped.setdefault(BRACKET, {})

    def split(self, line: bytes) -> tuple[bytes, bytes, dict[bytes, Remembered]]:
        """A line's stamp, what stands behind it, and where lines behind such a stamp are remembered."""
        head, bracket, tail = line.partition(BRACKET)
        if bracket and head.translate(None, VARYING) in self.shapes:
            return head, tail, self.behind_bracket
        end = _STAMP.match(line).end()  # type: ignore[union-attr]  # it matches the empty string
        if bracket and end == len(head) + len(BRACKET):
            if len(self.shapes) < _MAX_SHAPES:
                self.shapes.add(head.translate(None, VARYING))
            return head, tail, self.behind_bracket
        shape = line[:end].translate(None, VARYING)
        known = self._stamped.get(shape)
        if known is None:
            known = {}
            if len(self._stamped) < _MAX_SHAPES:
                self._stamped[shape] = known
        return line[:end], line[end:], known

    def add(self, known: dict[bytes, Remembered], tail: bytes) -> Remembered:
        """Remember a line whose answer is to come."""
        self._count += 1
        self._size += len(tail)
        if self._count > _MAX_LINES or self._size > _MAX_BYTES:
            # All at once: what is needed comes back soon, and nothing has to be kept in order.
            for generation in self._generations.values():
                for lines in generation.values():
                    lines.clear()
            self._count = self._size = 0
        line = known[tail] = Remembered(BRACKET if known is self.behind_bracket else b"", tail)
        return line
