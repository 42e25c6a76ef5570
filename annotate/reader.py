"""Passages of a log -> what is to be answered, line by line.

Most lines of a long trace were answered before (``memory.py``), or hold no frame; they are collected into runs. The
others get their frames from the grammar, put together across line ends and corrected by the trace around them.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum
from itertools import accumulate
from typing import TYPE_CHECKING

from annotate.log import context, grammar
from annotate.log.context import Bound, LogContext, may_tell
from annotate.log.grammar import find_frames, may_hold_frame
from annotate.log.scan import ATTENTION, ATTENTION_TO_DUMPS
from annotate.log.wrapped import frames_across, is_open, may_continue
from annotate.memory import BRACKET, VARYING
from annotate.model import QUIET, UNKNOWN_CALLEE, LogLine, Remembered, Repeats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from annotate.log.context import Facts
    from annotate.memory import Memory
    from annotate.model import Callee, Frame, KernelId, LogPassage


class Note(Enum):
    """What the lines so far have said."""

    FACTS = 1  #: something of the kernel
    BOOT = 2  #: another boot begins; its banner is not yielded yet
    DUMP = 3  #: a dump begins
    DUMP_END = 4  #: a dump is over


class Unanswered:
    """A line with frames that are to be resolved."""

    __slots__ = ("callee", "completes", "facts", "frames", "head", "is_open", "line", "remembered")

    def __init__(self, line: LogLine, frames: list[Frame], facts: Facts) -> None:
        self.line = line
        self.frames = frames
        self.facts = facts
        self.is_open = is_open(line.body, frames)  #: the next line may complete the last frame
        self.completes = False  #: it completes the last frame of the line before it
        self.callee: Callee = UNKNOWN_CALLEE  #: what it says to the line behind it, once it is answered
        self.head = b""
        self.remembered: Remembered | None = None  #: where the answer goes, for the lines that will say the same


class Reader:
    """Reads the passages of one log, in order."""

    def __init__(self, kernel: KernelId | None, memory: Memory | None) -> None:
        self.context = LogContext(kernel)
        self.is_careful = False  #: no line may be answered from memory just now
        self.position = 0  #: in the input, behind the lines read so far
        #: Behind which bytes of the passage read last how many are worth a close reading: a frame's, and a dump's.
        self.interests: list[tuple[int, int]] = []
        self._memory = memory

    def read(self, passage: LogPassage, position: int) -> Iterator[Unanswered | Repeats | Note]:
        """Yield what the lines of a passage hold, in order; it begins at ``position`` in the input."""
        *lines, rest = passage.data.split(b"\n")
        before = passage.before
        memory, seen = self._memory, self.context
        run = Repeats([], [])
        is_quick = memory is not None and not self.is_careful and not seen.is_branch_next
        known_lines = memory.behind_bracket if memory is not None else {}
        pc_text = seen.pc_text
        shapes = memory.shapes if memory is not None else set()
        # Bound once: this takes a tenth of the time of a line that was answered before.
        find_known, add_head, add_line = known_lines.get, run.heads.append, run.lines.append
        cued: set[int] | None = None
        last_frame = last_dump = -1
        for index, line in enumerate(lines):
            if is_quick:
                # The quick way, 0.35 us a line: a stamp in brackets, and behind it what was answered before.
                head, _, tail = line.partition(BRACKET)
                known = find_known(tail)
                if (
                    known is not None
                    and known.is_ready
                    and (pc_text is None or pc_text not in tail)
                    and head.translate(None, VARYING) in shapes
                ):
                    add_head(head)
                    add_line(known)
                    last_frame = index
                    before = line
                    continue
            if cued is None:
                cued = _cued_lines(passage.data, lines, index)
            items: Sequence[Unanswered | Repeats | Note] = ()
            if index in cued or b"+" in line or b"+" in before:
                tells = index in cued and may_tell(line)
                items = self._read_line(line, b"\n", passage.number + index, before, tells=tells)
            before = line
            if not items:
                add_head(line + b"\n")
                add_line(QUIET)
                continue
            for item in items:
                if isinstance(item, Repeats):
                    last_frame = last_frame if item.lines[0] is QUIET else index
                    run.heads.extend(item.heads)
                    run.lines.extend(item.lines)
                    continue
                if run.heads:
                    yield run
                    run = Repeats([], [])
                    add_head, add_line = run.heads.append, run.lines.append
                if isinstance(item, Note):
                    self.position = position + _size(lines[: index + 1])
                    last_dump = index if item is Note.DUMP else last_dump
                else:
                    last_frame = index
                yield item
            is_quick = memory is not None and not self.is_careful and not seen.is_branch_next
            known_lines = memory.behind_bracket if memory is not None else {}
            find_known = known_lines.get
            pc_text = seen.pc_text
        if run.heads:
            yield run
        self.position = position + len(passage.data)
        if rest:
            items = self._read_line(rest, b"", passage.number + len(lines), before, tells=may_tell(rest))
            yield from items or (Repeats([rest], [QUIET]),)
        self.interests = [
            (len(passage.data) - _size(lines[last + 1 :]) - len(rest), attention)
            for last, attention in ((last_frame, ATTENTION), (last_dump, ATTENTION_TO_DUMPS))
            if last >= 0
        ]

    def read_again(self, line: bytes) -> Unanswered:
        """The frames of a line that was answered from memory."""
        body = line.rstrip(b"\r")
        log_line = LogLine(0, body, line[len(body) :] + b"\n")
        return Unanswered(log_line, find_frames(log_line), self.context.facts)

    def _read_line(
        self, line: bytes, end: bytes, number: int, before: bytes, *, tells: bool
    ) -> Sequence[Unanswered | Repeats | Note]:
        """What one line holds; nothing where it is of no interest."""
        seen, memory = self.context, self._memory
        before = before.rstrip(b"\r")
        across = frames_across(before, line.rstrip(b"\r")) if may_continue(before, line) else None
        items: list[Unanswered | Repeats | Note] = []
        if tells:
            facts, boot, slide = seen.facts, seen.facts.boot, seen.slide
            bound = seen.observe(line.rstrip(b"\r"))
            if seen.facts.boot != boot:
                items.append(Note.BOOT)
            if seen.facts is not facts or seen.slide != slide:
                items.append(Note.FACTS)
        place: tuple[bytes, bytes, dict[bytes, Remembered]] | None = None
        if across is None and not tells and end and not self.is_careful and not seen.is_branch_next and memory:
            head, key, known_lines = place = memory.split(line)
            known = known_lines.get(key)
            if known is not None and known.is_ready and (seen.pc_text is None or seen.pc_text not in key):
                return (Repeats([head], [known]),)
        body = line.rstrip(b"\r")
        log_line = LogLine(number, body, line[len(body) :] + end)
        frames = across
        if frames is None:
            frames = find_frames(log_line) if may_hold_frame(body) else []
        if frames:
            item = Unanswered(log_line, seen.place(frames, body), seen.facts)
            item.completes = across is not None
            if place is not None and memory and (seen.pc_text is None or seen.pc_text not in line):
                item.head, key, known_lines = place
                item.remembered = known_lines.get(key) or memory.add(known_lines, key)
            items.append(item)
        elif tells:
            items.append(Repeats([line + end], [QUIET]))
        if tells and bound is not Bound.NONE:
            items.append(Note.DUMP if bound is Bound.BEGIN else Note.DUMP_END)
        return items


#: What a line of interest holds one of, or a ``+``, or an address.
_CUES = (*grammar.CUES, *context.CUES)


def _cued_lines(data: bytes, lines: Sequence[bytes], first: int) -> set[int]:
    """The numbers of the lines of ``data``, from ``first`` on, that hold a cue.

    All cues in a passage are found in a third of the time that asking line by line takes (0.5 us a line and not 1.5).
    """
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    found = set()
    for cue in _CUES:
        place = data.find(cue, starts[first])
        while place >= 0:
            number = bisect_right(starts, place)
            found.add(number - 1)
            place = data.find(cue, starts[number]) if number < len(starts) else -1
    found.update(
        bisect_right(starts, match.start()) - 1 for match in grammar.HIGH_ADDRESS.finditer(data, starts[first])
    )
    return found


def _size(lines: Sequence[bytes]) -> int:
    return sum(map(len, lines)) + len(lines)
