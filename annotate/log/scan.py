"""Chunks of bytes -> lines. Everything that goes in comes out, in order, byte for byte.

Most of a log holds no frame. Such stretches are found with a few substring searches over the whole chunk (gigabytes a
second) and leave as one ``LogBlock``, not split into lines; only lines with a marker become a ``LogLine``.
"""

from __future__ import annotations

from annotate.model import LogBlock, LogLine

#: What every line of interest holds one of. Frames: ``name+0x..``, raw kernel addresses of 64-bit machines.
FRAME_MARKERS = (b"+0x", b"0xffff")
#: Facts about the kernel and bounds of traces, read by ``context.py``.
CONTEXT_MARKERS = (b"Linux version ", b"Kernel Offset: ", b" PID: ", b"---[ end ", b"Last Breaking-Event")
MARKERS = FRAME_MARKERS + CONTEXT_MARKERS

#: A line longer than this passes through unread. It bounds what is held back; the longest real line that held frames
#: (a whole /proc/PID/stack on one line) has about 4 000 bytes.
MAX_LINE = 1 << 20


class LineScanner:
    """Feed it chunks of any size, then ``flush`` it once; what it returns is the same however the input was cut."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._inside_long_line = False
        self._long_line_end: bytes | None = b""  # of what was passed through: a marker may be cut by the end of a chunk
        self.lines_read = 0  #: complete lines so far, the unterminated last one included after ``flush``
        self.lines_too_long = 0  #: lines above ``max_line`` with a marker, passed through unread

    def feed(self, chunk: bytes) -> list[LogLine | LogBlock]:
        """Take the next bytes; return what became complete. The rest of an unfinished line is kept."""
        found: list[LogLine | LogBlock] = []
        if self._inside_long_line:
            end = chunk.find(b"\n") + 1
            self._look_for_marker(chunk[: end or len(chunk)])
            if end == 0:
                return [LogBlock(chunk)] if chunk else []
            found.append(LogBlock(chunk[:end]))
            chunk = chunk[end:]
            self.lines_read += 1
            self._inside_long_line = False
        end = chunk.rfind(b"\n") + 1
        if end:
            self._pending.append(chunk[:end])
            self._split(b"".join(self._pending), found)
            self._pending.clear()
            self._pending_size = 0
            chunk = chunk[end:]
        if chunk:
            self._pending.append(chunk)
            self._pending_size += len(chunk)
            if self._pending_size > self._max_line:
                block = LogBlock(b"".join(self._pending))
                found.append(block)
                self._pending.clear()
                self._pending_size = 0
                self._inside_long_line = True
                self._long_line_end = b""
                self._look_for_marker(block.data)
        return found

    def _look_for_marker(self, data: bytes) -> None:
        """Count the long line that is passing through, once, if it holds anything that would have been read."""
        if self._long_line_end is not None:
            data = self._long_line_end + data
            if any(marker in data for marker in MARKERS):
                self.lines_too_long += 1
                self._long_line_end = None
            else:
                self._long_line_end = data[-max(map(len, MARKERS)) :]

    def flush(self) -> list[LogLine | LogBlock]:
        """End of the input: return an unterminated last line."""
        found: list[LogLine | LogBlock] = []
        rest = b"".join(self._pending)
        self._pending.clear()
        self._pending_size = 0
        if rest:
            self._split(rest, found)
        if rest or self._inside_long_line:
            self.lines_read += 1
        self._inside_long_line = False
        return found

    def _split(self, data: bytes, found: list[LogLine | LogBlock]) -> None:
        """Append the lines of interest of ``data`` and the blocks between them."""
        hits = [data.find(marker) for marker in MARKERS]
        done = 0
        while True:
            hit = min((hit for hit in hits if hit >= 0), default=-1)
            if hit < 0:
                break
            start = data.rfind(b"\n", done, hit) + 1 or done
            end = data.find(b"\n", hit)
            if end < 0:
                end = len(data)
            if end - start <= self._max_line:
                if start > done:
                    found.append(LogBlock(data[done:start]))
                    self.lines_read += data.count(b"\n", done, start)
                found.append(self._line(data, start, end))
                done = min(end + 1, len(data))
                self.lines_read += done > end
            else:
                self.lines_too_long += 1
                following = min(end + 1, len(data))
                found.append(LogBlock(data[done:following]))
                self.lines_read += data.count(b"\n", done, following)
                done = following
            hits = [
                hit if hit < 0 or hit >= done else data.find(marker, done)
                for hit, marker in zip(hits, MARKERS, strict=True)
            ]
        if done < len(data):
            found.append(LogBlock(data[done:]))
            self.lines_read += data.count(b"\n", done)

    def _line(self, data: bytes, start: int, end: int) -> LogLine:
        stop = end
        while stop > start and data[stop - 1] == 0x0D:
            stop -= 1
        return LogLine(self.lines_read + 1, data[start:stop], data[stop : end + 1])
