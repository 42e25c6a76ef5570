"""Reading logs and writing output: live on pipes, in large pieces from files."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: From a file; a pipe gives what it has, up to this.
CHUNK = 1 << 20

#: What ``read_ahead`` in ``annotate.log.context`` wants to see.
_AHEAD = (b"Linux version ", b"Kernel Offset: ")


class OutputClosedError(Exception):
    """The reader of our output went away; not an error of ours."""


def chunks(descriptor: int) -> Iterator[bytes]:
    """The bytes of an open file as they come; on a pipe, whatever is there."""
    while data := os.read(descriptor, CHUNK):
        yield data


def lines_ahead(descriptor: int) -> list[bytes]:
    """The lines of a regular file that tell its boots and their KASLR offsets; none for a pipe.

    Reads with ``pread``: the file's position does not move.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return []
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    found = []
    rest = b""
    while data := os.pread(descriptor, CHUNK, position):
        position += len(data)
        data = rest + data
        end = data.rfind(b"\n") + 1
        # A line without an end is not kept for longer than a chunk.
        rest = data[end:] if len(data) - end < CHUNK else b""
        found += _marked_lines(data[:end])
    return found + _marked_lines(rest)


def _marked_lines(data: bytes) -> list[bytes]:
    places = set()
    for marker in _AHEAD:
        position = data.find(marker)
        while position >= 0:
            places.add(data.rfind(b"\n", 0, position) + 1)
            position = data.find(marker, position + 1)
    lines = []
    for start in sorted(places):
        end = data.find(b"\n", start)
        lines.append(data[start : end if end >= 0 else len(data)])
    return lines


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


def complain(program: str, sentence: str) -> None:
    """One line on standard error; a closed one is no reason to stop."""
    text = f"{program}: {sentence}\n".encode("utf-8", "backslashreplace")
    with suppress(OSError):
        os.write(2, text)
