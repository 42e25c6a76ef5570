"""Any text goes in, the same text comes out, and behind every kernel frame stands what it resolved to.

    chunks --scan--> lines --grammar--> frames --context--> placed frames --resolve--> resolutions

The world is handed in as an ``ImageSource``; what to write is a renderer's business. Nothing here opens, prints or
waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from annotate.log.context import Facts, LogContext
from annotate.log.grammar import find_frames
from annotate.log.scan import LineScanner
from annotate.model import AnnotatedLine, LogBlock
from annotate.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import Frame, KernelId, LogLine
    from annotate.resolve import ImageSource


class LogFacts(NamedTuple):
    """What is known of a log before its first line is read."""

    slide: int | None = None  #: a KASLR offset that overrides the log's own
    slides: Sequence[int | None] = ()  #: those of its boots, where it was read ahead
    kernel: KernelId | None = None  #: the kernel to assume until the log names one


class Annotator:
    """Annotates one log. Feed it chunks of any size and ``flush`` it once; the output does not depend on the cuts."""

    def __init__(self, images: ImageSource, facts: LogFacts) -> None:
        self.scanner = LineScanner()
        self._context = LogContext(facts.slides, facts.kernel)
        self._resolver = Resolver(images, facts.slide)

    def feed(self, chunk: bytes) -> list[AnnotatedLine | LogBlock]:
        """Take the next bytes of the log; return what became complete, in order."""
        return self._annotate(self.scanner.feed(chunk))

    def flush(self) -> list[AnnotatedLine | LogBlock]:
        """End of the log."""
        return self._annotate(self.scanner.flush())

    def _annotate(self, pieces: list[LogLine | LogBlock]) -> list[AnnotatedLine | LogBlock]:
        read = [piece if isinstance(piece, LogBlock) else self._read(piece) for piece in pieces]
        self._prepare([line for line in read if not isinstance(line, LogBlock)])
        return [line if isinstance(line, LogBlock) else self._resolve(line) for line in read]

    def _read(self, line: LogLine) -> _ReadLine:
        self._context.observe(line.body)
        return _ReadLine(line, self._context.place(find_frames(line)), self._context.facts)

    def _prepare(self, lines: list[_ReadLine]) -> None:
        """Look the symbols of all lines up together, kernel by kernel."""
        kernels: dict[KernelId, list[Frame]] = {}
        for line in lines:
            if line.frames:
                kernels.setdefault(line.facts.kernel, []).extend(line.frames)
        for kernel, frames in kernels.items():
            self._resolver.prepare(frames, kernel)

    def _resolve(self, read: _ReadLine) -> AnnotatedLine:
        line, frames, facts = read
        return AnnotatedLine(line, [self._resolver.resolve(frame, line.number, facts) for frame in frames])


class _ReadLine(NamedTuple):
    """A line, its frames, and what the log has said so far."""

    line: LogLine
    frames: list[Frame]
    facts: Facts
