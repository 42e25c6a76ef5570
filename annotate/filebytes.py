"""The bytes of an open file, read when they are asked for.

They are not mapped: a process that touches a mapped page which its file no longer has, or which the disk cannot give,
is ended by SIGBUS, and Python cannot prevent that. ``cp``, ``rsync --inplace`` and ``objcopy`` rewrite a vmlinux in
place while the filter may stand behind ``dmesg -w`` for days. Read, such a file costs an error. It costs no time
either: a unit is copied from the page cache in a third of the time of touching its pages.

A file that is renamed over another, as linkers, package managers and our own cache do it, changes nothing here: what is
open stays as it was.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from annotate.errors import ChangedFileError, UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes that a search reads at first, and at most, at once: a name is short, a section is not.
_FIRST_PIECE = 1 << 8
_PIECE = 1 << 16

#: The descriptor from which on many files are open.
_FEW_OPEN = 32

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class FileBytes:
    """A regular file as a ``Buffer``, of the size that it had when it was opened.

    Takes over the descriptor, and closes it when nobody holds the object any more. Reading raises UnreadableFileError
    where the system cannot, ChangedFileError where the file was cut off meanwhile; after ``watch``, also where anything
    was written to it.
    """

    def __init__(self, descriptor: int, source: str) -> None:
        self.descriptor = descriptor  #: belongs to this object
        self._source = source
        status = os.fstat(descriptor)
        self._size = status.st_size
        self._written = status.st_mtime_ns
        self._is_watched = False

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.descriptor)

    def watch(self) -> None:
        """From now on, what was written to the file since it was opened is an error: what is read may not fit together.

        That is known by its time of modification, which Linux before 6.13 keeps to 4 ms. Tables have checksums instead,
        and their time says when they were used.
        """
        self._is_watched = True

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, piece: slice) -> bytes:
        start, end, _ = piece.indices(self._size)
        data = self._read(start, max(start, end))
        # Asked for behind the reading: what is read is older than any change that is not yet seen here.
        if self._is_watched and os.fstat(self.descriptor).st_mtime_ns != self._written:
            raise ChangedFileError(self._source, "was written to while it was in use")
        return data

    def _read(self, start: int, end: int) -> bytes:
        pieces = []
        while start < end:
            try:
                piece = os.pread(self.descriptor, end - start, start)
            except OSError as error:
                raise UnreadableFileError(self._source, f"cannot be read: {error.strerror}") from None
            if not piece:
                raise ChangedFileError(self._source, "was cut off while it was in use")
            start += len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def find(self, wanted: bytes, start: int, end: int) -> int:
        """Where ``wanted`` first stands within ``start`` to ``end``; -1 where it does not."""
        size = _FIRST_PIECE
        end = min(end, self._size)
        while start + len(wanted) <= end:
            position = self[start : min(start + size, end)].find(wanted)
            if position >= 0:
                return start + position
            start += size - len(wanted) + 1
            size = _PIECE
        return -1


def open_bytes(path: str) -> FileBytes:
    """Open a regular file. Raises OSError, and UnreadableFileError for anything else.

    A pipe would be waited for, a device may have no end.
    """
    data = FileBytes(_open(path), path)
    mode = os.stat(data.descriptor).st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise UnreadableFileError(path, f"expected a file, found {kind}")
    return data


def _open(path: str) -> int:
    # Without waiting for the writer of a pipe, and not for good of a terminal.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if descriptor == _FEW_OPEN:
        _allow_many_open()
    return descriptor


def _allow_many_open() -> None:
    """A log may name more modules than the usual 1 024 files that a process may have open."""
    import resource  # noqa: PLC0415 - hardly ever; and it is a file itself, so not when there can be no more

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
