"""Reading logs and writing output: live on pipes, in large pieces from files."""

from __future__ import annotations

import os
import select
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from annotate.render.printable import UNPRINTABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is read at once; a pipe gives what it has, up to this. Larger pieces are no faster and keep more lines in work.
CHUNK = 1 << 16


class OutputClosedError(Exception):
    """The reader of our output went away; not an error of ours."""


class LogSource:
    """An open log: read as it comes, and, where it is a regular file, ahead of that."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_seekable = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._start = os.lseek(descriptor, 0, os.SEEK_CUR) if self.is_seekable else 0

    def read(self, seconds: float | None) -> bytes | None:
        """What is there, at least a byte; nothing at the end; None when nothing came for so many seconds."""
        if seconds is not None and not self.is_seekable:
            readable, _, _ = select.select((self._descriptor,), (), (), seconds)
            if not readable:
                return None
        return os.read(self._descriptor, CHUNK)

    def ahead(self, position: int) -> Iterator[bytes]:
        """The bytes from a position on, counted from where the log began. What is read next does not move."""
        position += self._start
        while data := os.pread(self._descriptor, CHUNK, position):
            position += len(data)
            yield data


class Output:
    """Standard output, unbuffered but for the pieces of one write."""

    def __init__(self) -> None:
        self._descriptor = sys.stdout.fileno() if sys.stdout is not None else -1

    def write(self, data: bytes) -> None:
        """Write all of it now. Raises OutputClosedError when nobody reads any more, OSError when it is lost."""
        if self._descriptor < 0 and data:
            raise OSError("standard output is closed")
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except BrokenPipeError:
            raise OutputClosedError from None


class TextOutput(Output):
    """The same for a command that prints text: no name of a file or a function in it can steer a terminal."""

    def write(self, data: bytes) -> None:
        """See ``Output.write``. Each call writes whole characters."""
        if is_terminal(self._descriptor):
            from annotate.render.terminal import Guard

            data = Guard().all_of(data)
        super().write(data)


def is_terminal(descriptor: int) -> bool:
    """Whether it is one; a closed descriptor is none."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def complain(program: str, sentence: str) -> None:
    """One line on standard error, fit for any terminal; a closed one is no reason to stop."""
    if not sentence.isprintable():
        sentence = sentence.translate(UNPRINTABLE)
    text = f"{program}: {sentence}\n".encode("utf-8", "backslashreplace")
    with suppress(OSError):
        os.write(2, text)
