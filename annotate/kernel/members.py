"""What is common to the archives in packages: members that are read as a stream, with bounds.

What an archive says is not believed: every size and number has a bound, and no more comes out than ``MAX_EXPANSION``
times the size of the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from annotate import limits
from annotate.errors import DamagedFileError
from annotate.limits import MAX_DESCRIPTION, MAX_EXPANSION, MAX_MEMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_EXPANDED_AT_LEAST = 1 << 26

#: Bytes that are read at once.
PIECE = 1 << 18


class Member(NamedTuple):
    """A regular file of a package. ``pieces`` can be asked once, before the next member is."""

    name: str  #: below the root of the package
    size: int
    pieces: Callable[[], Iterator[bytes]]


class Stream:
    """Bytes that come in pieces, to be read. Never more than is allowed: of a package, and between two members."""

    def __init__(self, pieces: Iterator[bytes], package_size: int, source: str) -> None:
        self._pieces = pieces
        self._source = source
        self._rest = memoryview(b"")
        self._most = max(MAX_EXPANSION * package_size, _EXPANDED_AT_LEAST)
        self.position = 0
        self.allowed = MAX_DESCRIPTION  #: where it ends what may be read for now

    def read_some(self, size: int) -> bytes:
        """At least a byte, nothing at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        piece = self._rest[:size]
        self._rest = self._rest[size:]
        self.position += len(piece)
        if self.position > self._most:
            raise DamagedFileError(self._source, "", 0, f"at most {self._most} bytes when unpacked", "more")
        if self.position > self.allowed:
            raise DamagedFileError(self._source, "", 0, "the next file", f"{MAX_DESCRIPTION} bytes of something else")
        return bytes(piece)

    def read(self, size: int) -> bytes:
        """All of it, less at the end."""
        pieces = []
        while size > 0 and (piece := self.read_some(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def allow(self, size: int) -> None:
        """So many bytes may be read, and a description behind them."""
        self.allowed = self.position + size + MAX_DESCRIPTION


def check(path: str, name: str, size: int) -> None:
    """Raises DamagedFileError for a member that leads out of its package, or is too large."""
    parts = name.split("/")
    if ".." in parts or "" in parts or set(parts) == {"."} or "\0" in name:
        raise DamagedFileError(path, "", 0, "names of files below its root", repr(name))
    if size > MAX_MEMBER:
        raise too_large(path, name, size)


def too_large(path: str, name: str, size: int) -> DamagedFileError:
    """A member has more bytes than any."""
    return DamagedFileError(path, "", 0, f"at most {MAX_MEMBER} bytes of {name}", f"{size}")


def no_file(path: str, name: str) -> DamagedFileError:
    """A member is a device or a pipe."""
    return DamagedFileError(path, "", 0, f"an ordinary file as {name}", "something else")


def cut(path: str, name: str) -> DamagedFileError:
    """A member ends too early."""
    return DamagedFileError(path, "", 0, f"all of {name}", "the end of the archive, it was cut off")


def too_many(path: str) -> DamagedFileError:
    """There are more members than in any package."""
    return DamagedFileError(path, "", 0, f"at most {limits.MAX_MEMBERS} files", "more")
