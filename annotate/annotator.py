"""Any text goes in, the same text comes out, and behind every kernel frame stands what it resolved to.

    chunks --scan--> passages --read--> frames, placed --resolve--> resolutions

The world is handed in as an ``ImageSource``; what to write is a renderer's business. Nothing here opens, prints or
waits. All that is read leaves in order and as soon as it can be answered: ``Annotator.waits`` says when something
cannot yet, and ``settle`` answers it as it stands.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from annotate.log.scan import LineScanner
from annotate.lookahead import find_slide
from annotate.model import QUIET, UNKNOWN_CALLEE, AnnotatedLine, LogBlock, Repeats
from annotate.reader import Note, Reader, Unanswered
from annotate.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from annotate.memory import Memory
    from annotate.model import Callee, Frame, KernelId, LogPassage
    from annotate.resolve import ImageSource, RunningKernel

#: Lines that a raw address waits for the slide of its kernel, where the log cannot be read ahead.
PATIENCE = 5000

#: Items of the queue that are not many: nearly always it is the last line that waits for the next one.
_FEW = 8

Piece = AnnotatedLine | LogBlock | Repeats


class LogFacts(NamedTuple):
    """What is known of a log before its first line is read."""

    slide: int | None = None  #: a KASLR offset that overrides the log's own
    kernel: KernelId | None = None  #: the kernel to assume until the log names one
    ahead: Callable[[int], Iterable[bytes]] | None = None  #: its bytes from a position on, where it can be read ahead
    running: RunningKernel | None = None  #: the kernel that runs here, where it can be asked


class Wait(Enum):
    """What the line that comes out next waits for."""

    NOTHING = 0
    LINE = 1  #: the line behind it, which may complete its last frame
    SLIDE = 2  #: the KASLR offset


class Annotator:
    """Annotates one log. Feed it chunks of any size and ``flush`` it once; the output does not depend on the cuts.

    With a ``memory``, lines that come again are yielded as ``Repeats``; the renderer must fill it.
    """

    def __init__(self, images: ImageSource, facts: LogFacts, memory: Memory | None = None) -> None:
        self.scanner = LineScanner()
        self.waits = Wait.NOTHING
        self._reader = Reader(facts.kernel, memory)
        self.context = self._reader.context  #: what the log has said so far
        self._resolver = Resolver(images, facts.slide)
        self._memory = memory
        self._ahead = facts.ahead
        self._running = facts.running
        self._looked_ahead: set[int] = set()  # boots
        self._queue: list[Unanswered | LogBlock | Repeats] = []
        self._unprepared: list[Unanswered] = []
        self._callee_before: Callee = UNKNOWN_CALLEE  # what the line answered last says
        self._lines_waited = 0
        self._position = 0  # in the input, behind what is in the queue
        self._see_facts()

    @property
    def held_back(self) -> int | None:
        """How many of the bytes that went in have not come out: of an unfinished line, and of the one before it.

        None while many lines wait.
        """
        if len(self._queue) > _FEW:
            return None
        return self.scanner.pending_size + sum(map(_size_of, self._queue))

    @property
    def has_memory(self) -> bool:
        """Whether there was enough of it for every answer so far; frames have no line any more otherwise."""
        return self._resolver.has_memory

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take the next bytes of the log; return what can be answered, in order."""
        return [*self._read(self.scanner.feed(chunk)), *self._answer(is_final=False)]

    def settle(self) -> list[Piece]:
        """Nothing more came for a while: answer what waits as it stands."""
        return self._answer(is_final=True)

    def flush(self) -> list[Piece]:
        """End of the log."""
        return [*self._read(self.scanner.flush()), *self._answer(is_final=True)]

    # Reading: what the lines hold goes into the queue. Yields only what can wait no longer.

    def _read(self, pieces: Iterator[LogPassage | LogBlock]) -> Iterator[Piece]:
        for piece in pieces:
            if isinstance(piece, LogBlock):
                self._queue.append(piece)
                if self._reader.is_careful:
                    yield from self._count_waiting(piece.data.count(b"\n"))
            else:
                for item in self._reader.read(piece, self.scanner.position - len(piece.data)):
                    yield from self._take_in(item)
                for end, attention in self._reader.interests:
                    self.scanner.attend(end, attention)
            self._position = self.scanner.position

    def _take_in(self, item: Unanswered | Repeats | Note) -> Sequence[Piece]:
        if isinstance(item, Note):
            self._position = self._reader.position
            if item is Note.FACTS:
                self._see_facts()
            elif item is not Note.DUMP and self._reader.is_careful:
                return self._answer(is_final=True)
            return ()
        if isinstance(item, Unanswered):
            if item.completes:
                self._reopen()
            self._unprepared.append(item)
            self._ask_running_kernel(item)
            self._look_for_slide(item)
        self._queue.append(item)
        if not self._reader.is_careful:
            return ()
        return self._count_waiting(len(item.heads) if isinstance(item, Repeats) else 1)

    def _see_facts(self) -> None:
        context = self._reader.context
        if context.slide is not None:
            self._resolver.set_slide(context.facts.boot, context.slide)
        if self._memory is not None:
            self._memory.select(context.facts.kernel, self._resolver.slide_of(context.facts.boot))

    def _ask_running_kernel(self, item: Unanswered) -> None:
        """Learn what the raw addresses of a line are, if the kernel that runs here has printed it."""
        for frame in item.frames if self._running is not None else ():
            if frame.address is not None and not frame.symbol:
                named = self._running.name(frame, item.line.body, item.facts.kernel)  # type: ignore[union-attr]
                if named is not None and self._resolver.learn_name(named, item.facts):
                    self._see_facts()

    def _look_for_slide(self, item: Unanswered) -> None:
        """Learn it from a line that shows it; from a line that may need it on, answer nothing from memory."""
        if self._resolver.slide_of(item.facts.boot) is not None:
            return
        with_address = [frame for frame in item.frames if frame.address is not None]
        if with_address:
            if any(self._resolver.learn_slide(frame, item.facts) for frame in with_address):
                self._see_facts()
            else:
                self._reader.is_careful = True

    def _reopen(self) -> None:
        """Take the last frame of the line that came last: the next one completes it."""
        last = self._queue[-1] if self._queue else None
        if isinstance(last, Repeats) and last.lines[-1].is_open:
            head, known = last.heads.pop(), last.lines.pop()
            last = self._reader.read_again(head + known.lead + known.key)
            self._queue.append(last)
            self._unprepared.append(last)
        if isinstance(last, Unanswered) and last.is_open:
            last.frames.pop()
            last.is_open = False
            last.remembered = None

    def _count_waiting(self, lines: int) -> Sequence[Piece]:
        if self._ahead is None:
            self._lines_waited += lines
            if self._lines_waited >= PATIENCE:
                return self._answer(is_final=True)
        return ()

    # Answering: the queue -> pieces.

    def _answer(self, *, is_final: bool) -> list[Piece]:
        """Answer the queue, in order, up to the first line that has to wait; ``is_final``: none has."""
        self._prepare()
        done: list[Piece] = []
        self.waits = Wait.NOTHING
        queue = self._queue
        answered = 0
        for item in queue:
            if isinstance(item, LogBlock):
                done.append(item)
            elif isinstance(item, Repeats):
                self._repeat(done, item)
            else:
                self.waits = self._answer_line(done, item, answered, is_final=is_final)
                if self.waits is not Wait.NOTHING:
                    break
            answered += 1
        self._callee_before = self._callee_at(answered)
        self._queue = queue[answered:]
        if answered == len(queue) and not is_final:
            self._hold_open_line(done)
        if self.waits is not Wait.SLIDE:
            self._reader.is_careful = False
            self._lines_waited = 0
        return done

    def _answer_line(self, done: list[Piece], item: Unanswered, index: int, *, is_final: bool) -> Wait:
        """Answer one line, or say what it waits for."""
        known = item.remembered
        if known is not None and known.is_ready:
            item.callee = known.callee
            self._repeat(done, Repeats([item.head], [known]))
            return Wait.NOTHING
        if item.is_open and not is_final and index == len(self._queue) - 1:
            return Wait.LINE
        if not item.frames:
            done.append(LogBlock(item.line.body + item.line.ending))
            return Wait.NOTHING
        answer = self._resolver.resolve(item.frames, item.facts, lambda: self._callee_at(index).address)
        if answer.needs_slide and self._can_look_ahead(item):
            self._look_ahead(item)
            answer = self._resolver.resolve(item.frames, item.facts, lambda: self._callee_at(index).address)
        if answer.needs_slide and not is_final and self._ahead is None:
            return Wait.SLIDE
        item.callee = answer.callee
        if known is not None and answer.is_lasting:
            known.callee, known.is_open, known.is_ready = answer.callee, item.is_open, True
            done.append(AnnotatedLine(item.line, answer.resolutions, len(item.head), known, item.facts.kernel))
        else:
            done.append(AnnotatedLine(item.line, answer.resolutions, kernel=item.facts.kernel))
        return Wait.NOTHING

    def _prepare(self) -> None:
        """Look the symbols of all new lines up together, kernel by kernel."""
        kernels: dict[KernelId, list[Frame]] = {}
        for item in self._unprepared:
            if item.remembered is None or not item.remembered.is_ready:
                kernels.setdefault(item.facts.kernel, []).extend(item.frames)
        for kernel, frames in kernels.items():
            self._resolver.prepare(frames, kernel)
        self._unprepared.clear()

    def _repeat(self, done: list[Piece], run: Repeats) -> None:
        """Append lines that were answered before, to those in front of them if there are such."""
        if self._memory is None:
            done.append(LogBlock(b"".join(run.heads)))  # none of them holds a frame
        elif done and isinstance(done[-1], Repeats):
            done[-1].heads.extend(run.heads)
            done[-1].lines.extend(run.lines)
        elif run.heads:
            done.append(run)

    def _hold_open_line(self, done: list[Piece]) -> None:
        """Keep the last line back when the next one may complete it."""
        last = done[-1] if done else None
        if isinstance(last, Repeats) and last.lines[-1].is_open:
            self._queue = [Repeats([last.heads.pop()], [last.lines.pop()])]
            if not last.heads:
                done.pop()
            self.waits = Wait.LINE

    def _callee_at(self, index: int) -> Callee:
        """What the line before this place in the queue says that was called."""
        for item in reversed(self._queue[:index]):
            if isinstance(item, LogBlock):
                return UNKNOWN_CALLEE
            lines = reversed(item.lines) if isinstance(item, Repeats) else (item,)
            for line in lines:
                if not line.callee.is_skipped:
                    return line.callee
        return self._callee_before

    def _can_look_ahead(self, item: Unanswered) -> bool:
        boot = item.facts.boot
        return self._ahead is not None and boot == self._reader.context.facts.boot and boot not in self._looked_ahead

    def _look_ahead(self, item: Unanswered) -> None:
        """Search what is to come of this boot for its slide."""
        assert self._ahead is not None
        self._looked_ahead.add(item.facts.boot)
        find_slide(self._ahead(self._position), self._resolver, item.facts)
        self._see_facts()


def _size_of(item: Unanswered | LogBlock | Repeats) -> int:
    """Bytes of the log."""
    if isinstance(item, LogBlock):
        return len(item.data)
    if isinstance(item, Repeats):
        known = sum(len(line.lead) + len(line.key) + len(b"\n") for line in item.lines if line is not QUIET)
        return sum(map(len, item.heads)) + known
    return len(item.line.body) + len(item.line.ending)


def annotate_all(log: bytes, images: ImageSource) -> list[AnnotatedLine]:
    """The lines of a whole log that hold a frame."""
    annotator = Annotator(images, LogFacts(ahead=lambda position: (log[position:],)))
    pieces = [*annotator.feed(log), *annotator.flush()]
    return [piece for piece in pieces if isinstance(piece, AnnotatedLine)]
