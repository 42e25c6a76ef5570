"""Reading logs and writing output: live on pipes, in large pieces from files."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from annotate.errors import UnreadableFileError
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
        if seconds is not None and not self.is_seekable and not _wait(self._descriptor, select.POLLIN, seconds):
            return None
        while True:
            try:
                return os.read(self._descriptor, CHUNK)
            except BlockingIOError:
                # A pipe or terminal that another program of the shell's line made so, for all who have it.
                if not _wait(self._descriptor, select.POLLIN, seconds):
                    return None

    def ahead(self, position: int) -> Iterator[bytes]:
        """The bytes from a position on, counted from where the log began. What is read next does not move."""
        position += self._start
        while data := os.pread(self._descriptor, CHUNK, position):
            position += len(data)
            yield data


class Unwritten(deque[bytes]):
    """What was read and has not come out yet, for when memory runs out: the last chunk and little more, as a rule.

    What is read is appended. That is a deque's own method: calling one of ours may need memory, and lose the chunk.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counted = 0  # chunks of ``_total`` bytes, of which the last ``_size`` have not come out
        self._total = 0
        self._size = 0

    def keep(self, size: int) -> None:
        """All but the last so many bytes came out."""
        for number in range(self._counted - len(self), 0):
            self._total += len(self[number])
        while self and self._total - len(self[0]) >= size:
            self._total -= len(self.popleft())
        self._counted, self._size = len(self), size

    def take(self) -> Iterator[bytes]:
        """It, in pieces; it counts as written."""
        skipped = self._total - self._size
        while self:
            chunk = self.popleft()
            yield chunk[skipped:]
            skipped = max(0, skipped - len(chunk))
        self._counted = self._total = self._size = 0


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
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:  # see ``LogSource.read``
                    _wait(self._descriptor, select.POLLOUT, None)
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


def read_file(path: str) -> bytes:
    """All of a file that the user named; a pipe will do, too. Raises UnreadableFileError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UnreadableFileError(path, f"cannot be read: {error.strerror or error}") from None


def is_terminal(descriptor: int) -> bool:
    """Whether it is one; a closed descriptor is none."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _wait(descriptor: int, event: int, seconds: float | None) -> bool:
    """Whether something can be done with a descriptor within so many seconds; None: as long as it takes."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(None if seconds is None else 1000 * seconds))


def occupy_standard_descriptors() -> None:
    """Let nothing that is opened later become what 0, 1 or 2 are, where one of them was closed (``>&-``).

    A table that is written would have our complaints in it. What stands there now can be used for nothing.
    """
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # noqa: FBT003  # for the processes of a build


def complain(program: str, sentence: str) -> None:
    """One line on standard error, fit for any terminal; a closed one is no reason to stop."""
    if not sentence.isprintable():
        sentence = sentence.translate(UNPRINTABLE)
    text = f"{program}: {sentence}\n".encode("utf-8", "backslashreplace")
    with suppress(OSError):
        os.write(2, text)
