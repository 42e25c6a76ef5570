"""Chunks of bytes -> lines to read. Everything that goes in comes out, in order, byte for byte.

Most of a log holds nothing of interest. It is skimmed: a few substring searches over whole chunks (about 2 ns a byte),
and it leaves as one ``LogBlock``, not split into lines. What follows something of interest is read line by line, as a
``LogPassage``: there a frame may be spelled without any mark that a search could find, such as ``epc : ffffffff808de0e4
ra : ffffffff0163a752``. So is the beginning of a log, which makes a short log one that is read whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.limits import MAX_LINE
from annotate.model import LogBlock, LogPassage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: What is searched for: the mark of a frame, the beginning of a dump, that of a boot. Each costs 0.3 to 0.7 ns a
#: byte, so there are no more: ``Kernel Offset:`` and all others stand close behind one of these.
MARKS = (b"Linux version ", b"+0x", b" Comm: ")
#: Those behind which nothing is read for their own sake.
_FACTS = (b"Linux version ", b"Kernel Offset: ")

#: Bytes that are read line by line: behind a frame (the rest of an oops takes about 3 000), behind the line that begins
#: a dump (its instruction pointer comes next), and at the start of a log.
ATTENTION = 1 << 12
ATTENTION_TO_DUMPS = 1 << 10
FIRST_ATTENTION = 1 << 18

#: Of the line before a passage, as much as a frame that began there may need.
_BEFORE = 4096


class LineScanner:
    """Feed it chunks of any size, then ``flush`` it once; what it yields is the same however the input was cut.

    It is read lazily: whoever reads a passage says with ``attend`` where the last line of interest in it ended, before
    the next piece is asked for.
    """

    def __init__(
        self, max_line: int = MAX_LINE, first_attention: int = FIRST_ATTENTION, marks: Sequence[bytes] = MARKS
    ) -> None:
        self._max_line = max_line
        self._marks = marks
        self._pending: list[bytes] = []
        self.pending_size = 0  #: bytes of an unfinished line that were taken and have not come out
        self._inside_long_line = False
        self._long_line_end: bytes | None = b""  # of what was passed through: a mark may be cut by the end of a chunk
        self._attentive_until = first_attention
        self._before = b""
        self._passage_start = 0
        self.counts_lines = True  #: counting the lines that are skimmed costs a sixth of the time of skimming them
        self.position = 0  #: in the input, of the piece that comes next
        self.lines_read = 0  #: complete lines so far, the unterminated last one included after ``flush``
        self.lines_too_long = 0  #: lines above ``max_line`` with a mark, passed through unread

    def feed(self, chunk: bytes) -> Iterator[LogPassage | LogBlock]:
        """Take the next bytes; yield what became complete. The rest of an unfinished line is kept."""
        if self._inside_long_line:
            end = chunk.find(b"\n") + 1
            self._look_for_mark(chunk[: end or len(chunk)])
            if end == 0:
                if chunk:
                    yield self._block(chunk)
                return
            self._inside_long_line = False
            self.lines_read += 1
            yield self._block(chunk[:end])
            chunk = chunk[end:]
        end = chunk.rfind(b"\n") + 1
        if end:
            if self._pending:
                self._pending.append(chunk[:end])
                whole = b"".join(self._pending)
                self._pending.clear()
                self.pending_size = 0
            else:
                whole = chunk[:end]
            chunk = chunk[end:]
            yield from self._split(whole)
        if chunk:
            self._pending.append(chunk)
            self.pending_size += len(chunk)
            if self.pending_size > self._max_line:
                data = b"".join(self._pending)
                self._pending.clear()
                self.pending_size = 0
                self._inside_long_line = True
                self._long_line_end = b""
                self._before = b""
                self._look_for_mark(data)
                yield self._block(data)

    def flush(self) -> Iterator[LogPassage | LogBlock]:
        """End of the input: yield an unterminated last line."""
        rest = b"".join(self._pending)
        self._pending.clear()
        self.pending_size = 0
        if rest:
            yield from self._split(rest)
        if rest or self._inside_long_line:
            self.lines_read += 1
        self._inside_long_line = False

    def attend(self, end: int, size: int) -> None:
        """Something of interest ended ``end`` bytes into the passage yielded last: read ``size`` more bytes closely."""
        self._attentive_until = max(self._attentive_until, self._passage_start + end + size)

    def _look_for_mark(self, data: bytes) -> None:
        """Count the long line that is passing through, once, if it holds anything that would have been read."""
        if self._long_line_end is not None:
            data = self._long_line_end + data
            if self._next_mark(data, 0, len(data), [0] * len(self._marks))[0] >= 0:
                self.lines_too_long += 1
                self._long_line_end = None
            else:
                self._long_line_end = data[-max(map(len, self._marks)) :]

    def _block(self, data: bytes) -> LogBlock:
        self.position += len(data)
        return LogBlock(data)

    def _split(self, data: bytes) -> Iterator[LogPassage | LogBlock]:
        """Whole lines; those that are too long pass through."""
        start = 0
        while len(data) - start > self._max_line:
            end = data.rfind(b"\n", start, start + self._max_line + 1) + 1
            if end:
                yield from self._read(data, start, end)
                start = end
                continue
            end = data.find(b"\n", start + self._max_line) + 1 or len(data)
            self.lines_too_long += self._next_mark(data, start, end, [start] * len(self._marks))[0] >= 0
            self.lines_read += data.endswith(b"\n", start, end)
            self._before = b""
            yield self._block(data[start:end])
            start = end
        if start < len(data):
            yield from self._read(data, start, len(data))

    def _read(self, data: bytes, start: int, end: int) -> Iterator[LogPassage | LogBlock]:
        """Passages and blocks of the lines in ``data[start:end]``."""
        marks = [start] * len(self._marks)
        while start < end:
            attentive = self._attentive_until - self.position
            if attentive > 0:
                stop = data.find(b"\n", start + attentive - 1, end) + 1 or end
                before, self._before = self._before, self._last_line(data, start, stop)
                self._passage_start = self.position
                self.position += stop - start
                number = self.lines_read + 1
                passage = data[start:stop]
                self.lines_read += passage.count(b"\n")
                yield LogPassage(number, passage, before)
            else:
                mark, word = self._next_mark(data, start, end, marks)
                stop = end if mark < 0 else data.rfind(b"\n", start, mark) + 1 or start
                if mark >= 0:
                    # The line of the mark, and what would be read behind it if it begins a dump: in one passage.
                    attention = 1 if word in _FACTS else ATTENTION_TO_DUMPS
                    self._attentive_until = self.position + mark - start + attention
                if stop > start:
                    self._before = self._last_line(data, start, stop)
                    if self.counts_lines:
                        self.lines_read += data.count(b"\n", start, stop)
                    yield self._block(data[start:stop])
            start = stop

    def _last_line(self, data: bytes, start: int, stop: int) -> bytes:
        """The last of the lines that end at ``stop``, without its line end."""
        end = stop - 1 if data.endswith(b"\n", start, stop) else stop
        return data[max(data.rfind(b"\n", start, end) + 1, start, end - _BEFORE) : end]

    def _next_mark(self, data: bytes, start: int, end: int, places: list[int]) -> tuple[int, bytes]:
        """Where the next mark begins, -1 for none, and which; ``places`` remembers where each of them stands next."""
        first, word = -1, b""
        for number, mark in enumerate(self._marks):
            place = places[number]
            if 0 <= place <= start:
                place = places[number] = data.find(mark, start, end)
            if place >= 0 and (first < 0 or place < first):
                first, word = place, mark
        return first, word
