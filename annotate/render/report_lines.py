"""Which lines of a log belong to its reports: from what happened to the end of the trace.

A report is known by its trace; what stands in front of one belongs to it from its title on, so lines wait until a frame
proves them. Words that stand between two frames or headings belong to the report, those behind the last one do not.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Lines of no kind that may stand between two that belong to a report, and between those of one that is framed by
#: rules of ``=``: lockdep and the sanitizers explain what they found at length.
_PATIENCE = 8
_PATIENCE_IN_RULES = 24

#: Lines with a frame that no report is around: so many are kept until it is clear that the log holds no report.
_MAX_MENTIONS = 1000


class Role(Enum):
    """What a line says about the report around it."""

    TITLE = 1  #: one begins
    CUT = 2  #: one begins, and what follows says which
    RULE = 3  #: ``=====``: one begins, or ends
    HEADING = 4  #: a trace begins, or what leads to one
    POINTER = 5  #: an instruction pointer: of a report around it, or all that is left of its head
    FRAME = 6  #: an entry of a trace
    STALE = 7  #: such an entry with a ``?``: wanted only where a trace holds no other
    MENTION = 8  #: a frame in other text: of a report if it stands in one
    PART = 9  #: the CPU, and what else only reports say
    NOISE = 10  #: registers and the like
    OTHER = 11  #: words, which may be about anything
    GAP = 12  #: an empty line: between reports, and between the parts of one in rules
    END = 13


class Excerpt:
    """Feed it the lines of one log; it returns those to be written, reports parted by empty lines."""

    def __init__(self, *, is_first: bool = True) -> None:
        self._needs_gap = not is_first  # something stands in front of the next report
        self._waiting: list[str] = []  # lines that belong to a report if one more sign of it comes
        self._mentions: list[str] = []
        self._is_started = False  # something begins here that may be a report
        self._is_open = False  # it is one: its first frame is written
        self._is_in_rules = False
        self._quiet = 0  # lines since the last sign
        self._stale: list[str] = []  # entries of the trace that is being read
        self._stale_place = 0  # where they stand among those that wait
        self._is_reliable = False  # that trace has better ones
        self._has_reports = False
        self._is_without_reports = False  # by all that was seen

    def take(self, role: Role, lines: Sequence[str]) -> list[str]:
        """Take in a line; return what can be written now. ``lines`` is what is left of the line."""
        if role is Role.NOISE:
            return []
        if role is Role.OTHER:
            return self._wait(lines)
        if role is Role.STALE:
            return self._keep_stale(lines)
        if role is Role.POINTER:
            # An oops prints its registers once more behind its end.
            if self._has_reports and not self._is_started:
                return []
            role = Role.HEADING
        if role is Role.MENTION and not self._is_started:
            return self._mention(lines)
        if role is Role.GAP and self._is_in_rules:
            return []
        if role in (Role.END, Role.GAP):
            return self._close()
        if role in (Role.TITLE, Role.CUT, Role.RULE):
            return self._begin(role, lines)
        if role in (Role.FRAME, Role.MENTION):
            if role is Role.FRAME:
                self._stale.clear()
                self._is_reliable = True
            return self._open() + self._sign(lines)
        written: list[str] = []
        if role is Role.HEADING:
            written = self._settle()
            self._is_started = True
        return written + self._sign(lines)

    def prove(self) -> list[str]:
        """The line taken last holds a frame: what waits is a report."""
        return self._open() + self._sign(())

    def finish(self) -> list[str]:
        """End of the log: where there was no report, the lines that hold a frame."""
        written = self._close()
        if not self._has_reports and self._mentions:
            written = [*self._gap(), *self._mentions]
        return written

    def _wait(self, lines: Sequence[str]) -> list[str]:
        if self._is_started:
            self._waiting.extend(lines)
            self._quiet += 1
            if self._quiet > (_PATIENCE_IN_RULES if self._is_in_rules else _PATIENCE):
                return self._close()
        return []

    def _keep_stale(self, lines: Sequence[str]) -> list[str]:
        if not self._is_reliable and len(self._stale) < _MAX_MENTIONS:
            if not self._stale:
                self._stale_place = len(self._waiting)
            self._stale.extend(lines)
        self._is_started = True
        return []

    def _settle(self) -> list[str]:
        """The end of a trace: where all of its entries are doubtful, those."""
        written: list[str] = []
        if self._stale:
            self._waiting[self._stale_place :] = self._stale
            self._stale.clear()
            written = self._open() + self._sign(())
        self._is_reliable = False
        return written

    def _begin(self, role: Role, lines: Sequence[str]) -> list[str]:
        written: list[str] = []
        if self._is_open or self._stale or role is not Role.TITLE:
            is_last = role is Role.RULE and self._is_in_rules
            written = self._close()
            if is_last:
                return written
        self._is_started = True
        self._is_in_rules = self._is_in_rules or role is Role.RULE
        self._quiet = 0
        self._waiting.extend(lines)
        return written

    def _open(self) -> list[str]:
        if self._is_open:
            return []
        self._is_started = self._is_open = self._has_reports = True
        self._mentions.clear()
        return self._gap()

    def _gap(self) -> list[str]:
        lines = [""] if self._needs_gap else []
        self._needs_gap = True
        return lines

    def _sign(self, lines: Sequence[str]) -> list[str]:
        """A line that belongs to the report, if this is one; so do those that wait for it."""
        self._quiet = 0
        if self._is_started:
            self._waiting.extend(lines)
        if not self._is_open:
            return []
        written, self._waiting = self._waiting, []
        return written

    def _mention(self, lines: Sequence[str]) -> list[str]:
        if self._is_without_reports:
            return list(lines)
        if not self._has_reports:
            self._mentions.extend(lines)
        if len(self._mentions) <= _MAX_MENTIONS:
            return []
        self._is_without_reports = True
        written, self._mentions = self._mentions, []
        return self._gap() + written

    def _close(self) -> list[str]:
        written = self._settle()
        self._waiting.clear()
        self._is_started = self._is_open = self._is_in_rules = False
        self._quiet = 0
        return written
