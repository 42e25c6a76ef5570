"""Which frame of a report matters: the first one of a trace that did what went wrong, and not what reported it.

A report shows it up to three times: in its title (``KASAN: use-after-free in f+0x1/0x2``), as the instruction pointer
of a register dump, and as an entry of the trace below. Each is in focus; then nothing else is, until the next title or
trace.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from annotate.log.context import PROGRAM_COUNTERS
from annotate.log.message import LineKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from annotate.model import Resolution

#: Headings below which a single entry stands that says nothing of how things came to be.
_ASIDES = (b"Last Breaking-Event-Address", b"Preemption disabled at")


class Role(Enum):
    """What a frame is to a reader."""

    FRAME = 0
    FOCUS = 1  #: the one that matters
    ASIDE = 2  #: unreliable, or plumbing


class Focus:
    """Follows a log, line by line."""

    def __init__(self, is_plumbing: Callable[[bytes, str], bool]) -> None:
        self._is_plumbing = is_plumbing
        self._is_wanted = False  # the next frame that can be in focus is
        self._symbol = b""  # in focus outside of a trace, since the last title or trace
        self._repeated = b""  # the same for the trace that is being read: its first entry of that name is in focus, too
        self._is_fresh = False  # a trace has begun, and no entry of it was seen
        self._is_aside = False

    def see(self, kind: LineKind, message: bytes) -> None:
        """The next line, before its frames."""
        if kind is LineKind.TITLE:
            self._is_wanted, self._symbol, self._repeated = True, b"", b""
            self._is_fresh = self._is_aside = False
        elif kind is LineKind.TRACE:
            self._is_aside = message.lstrip().startswith(_ASIDES)
            # ``Stack:`` and ``Call Trace:`` may both stand above one trace.
            if not self._is_aside and not self._is_fresh:
                self._is_fresh = True
                self._is_wanted = not self._symbol
                self._repeated, self._symbol = self._symbol, b""

    def role(self, resolution: Resolution, kind: LineKind) -> Role:
        """The next frame, which stands in a line of this kind."""
        frame = resolution.frame
        if frame.in_trace and not self._is_aside:
            self._is_fresh = False
        if not frame.reliable:
            return Role.ASIDE
        if frame.format in PROGRAM_COUNTERS:
            is_plumbing = self._is_plumbing_at(resolution)
            self._is_wanted = is_plumbing
            self._symbol = b"" if is_plumbing else frame.symbol
            return Role.FRAME if is_plumbing else Role.FOCUS
        if frame.in_trace:
            if self._is_plumbing_at(resolution):
                return Role.ASIDE
            return self._entry(frame.symbol)
        if kind is LineKind.TITLE and self._is_wanted and not self._is_plumbing_at(resolution):
            self._is_wanted, self._symbol = False, frame.symbol
            return Role.FOCUS
        return Role.FRAME

    def _entry(self, symbol: bytes) -> Role:
        """A reliable entry of a trace that is no plumbing."""
        if self._is_aside or not (self._is_wanted or (symbol and symbol == self._repeated)):
            return Role.FRAME
        self._is_wanted, self._repeated = False, b""
        return Role.FOCUS

    def _is_plumbing_at(self, resolution: Resolution) -> bool:
        locations = resolution.locations
        return self._is_plumbing(resolution.frame.symbol, locations[-1].file if locations else "")
