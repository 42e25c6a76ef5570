"""The files in a Debian or an RPM package, one after the other, without installing or unpacking it.

A ``.deb`` is an ar archive (``deb(5)``) with a tar archive in it, a ``.rpm`` (rpm's ``docs/manual/format_v4.md``) two
headers and a cpio archive (``cpio(5)``, "New ASCII Format"). Both are read as streams. What they say is not believed:
every size and number has a bound, and no more comes out than ``MOST_EXPANDED`` times the size of the package.

The containers are read here. The library arpy 2.4 reads the rest of a file into memory for a name of length -1, never
ends with sizes below 0, and opens other files for a "thin" archive. rpmfile 2.2 has all of a zstd payload in memory
and decompresses others twice, once for the list of members.
"""

from __future__ import annotations

import os
import struct
import tarfile
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from annotate.debuginfo.compression import decompressed
from annotate.errors import DamagedFileError, UnreadableFileError, UnrecognisedFileError, UnsupportedFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

#: Members of a package. Those with the sources of a kernel have 80 000.
MOST_MEMBERS = 1 << 18

#: Bytes of one member. The vmlinux of a distribution has 0.6 GB.
MOST_OF_MEMBER = 1 << 32

#: How many times its size a package may have when it is unpacked; debug info has about 6. Small ones may have more.
MOST_EXPANDED = 100
_EXPANDED_AT_LEAST = 1 << 26

#: Bytes of a name and what describes a member, before its contents.
_MOST_OF_DESCRIPTION = 1 << 20

#: Members of the outer archive of a .deb that are looked at for the data.
_MOST_OUTER = 16

_PIECE = 1 << 18

_AR_MAGIC, _AR_HEADER = b"!<arch>\n", struct.Struct("16s12s6s6s8s10s2s")
_RPM_MAGIC, _RPM_LEAD_SIZE = b"\xed\xab\xee\xdb", 96
_RPM_HEADER = struct.Struct(">4s4xII")
_RPM_HEADER_MAGIC = b"\x8e\xad\xe8\x01"
_CPIO_SIZE, _CPIO_MAGICS, _CPIO_STRIPPED, _CPIO_END = 110, (b"070701", b"070702"), b"07070X", b"TRAILER!!!"

_CPIO_FIELDS = struct.Struct(">13I")  # as hexadecimal digits
_FORMAT_BITS, _REGULAR, _DIRECTORY, _LINK = 0o170000, 0o100000, 0o040000, 0o120000


class Member(NamedTuple):
    """A regular file of a package. ``pieces`` can be asked once, before the next member is."""

    name: str  #: below the root of the package
    size: int
    pieces: Callable[[], Iterator[bytes]]


def is_package(path: str) -> bool:
    """Whether a file begins as a package does; one that cannot be read is none."""
    try:
        with open(path, "rb") as file:
            start = file.read(21)
    except OSError:
        return False
    return start == _AR_MAGIC + b"debian-binary" or start.startswith(_RPM_MAGIC)


def members(path: str, is_wanted: Callable[[str], bool], advance: Callable[[int, int], None]) -> Iterator[Member]:
    """The regular files of a package whose name is wanted. ``advance`` is told how much is read of how much.

    Links are left out. Raises UnreadableFileError, DamagedFileError, UnsupportedFileError, UnrecognisedFileError.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(len(_AR_MAGIC))
            if start == _AR_MAGIC:
                offset, end = _find_data(file, path)
                if end > size:
                    raise DamagedFileError(path, "", size, f"a file of {end} bytes", f"{size}, it was cut off")
                read = _tar_members
            elif start.startswith(_RPM_MAGIC):
                offset, end, read = _find_payload(file, path), size, _cpio_members
            else:
                raise UnrecognisedFileError(path, "expected a .deb or .rpm package, found something else")
            pieces = _read(file, offset, end, size, path, advance)
            yield from read(_Stream(decompressed(pieces, path), size, path), is_wanted, path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _read(
    file: IO[bytes], start: int, end: int, size: int, path: str, advance: Callable[[int, int], None]
) -> Iterator[bytes]:
    """The bytes of a file from one place to another, in pieces. Raises UnreadableFileError."""
    while start < end:
        try:
            file.seek(start)
            piece = file.read(min(_PIECE, end - start))
        except OSError as error:
            raise _unreadable(path, error) from None
        if not piece:
            return
        start += len(piece)
        yield piece
        advance(start, size)


def _unreadable(path: str, error: OSError) -> UnreadableFileError:
    return UnreadableFileError(path, f"cannot be read: {error.strerror or error}")


class _Stream:
    """Bytes that come in pieces, to be read. Never more than is allowed: of a package, and between two members."""

    def __init__(self, pieces: Iterator[bytes], package_size: int, source: str) -> None:
        self._pieces = pieces
        self._source = source
        self._rest = memoryview(b"")
        self._most = max(MOST_EXPANDED * package_size, _EXPANDED_AT_LEAST)
        self.position = 0
        self.allowed = _MOST_OF_DESCRIPTION  #: where it ends what may be read for now

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
            raise DamagedFileError(
                self._source, "", 0, "the next file", f"{_MOST_OF_DESCRIPTION} bytes of something else"
            )
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
        self.allowed = self.position + size + _MOST_OF_DESCRIPTION


def _find_data(file: IO[bytes], path: str) -> tuple[int, int]:
    """Where the tar archive of a .deb begins and ends."""
    offset = len(_AR_MAGIC)
    for _ in range(_MOST_OUTER):
        file.seek(offset)
        header = file.read(_AR_HEADER.size)
        if not header:
            break
        if len(header) < _AR_HEADER.size:
            raise DamagedFileError(path, "", offset, "an ar header of 60 bytes", f"{len(header)}, it was cut off")
        name, _, _, _, _, size, end = _AR_HEADER.unpack(header)
        if end != b"`\n" or not size.strip().isdigit():
            raise DamagedFileError(path, "", offset, "an ar header", repr(header[:24]))
        offset += _AR_HEADER.size
        if name.startswith(b"data.tar"):
            return offset, offset + int(size)
        offset += int(size) + int(size) % 2
    raise DamagedFileError(path, "", offset, "a member data.tar", "none")


def _tar_members(stream: _Stream, is_wanted: Callable[[str], bool], path: str) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", bufsize=_PIECE, tarinfo=_StrictInfo) as archive:
            for _ in range(MOST_MEMBERS):
                info = archive.next()
                if info is None:
                    return
                archive.members.clear()  # type: ignore[attr-defined] # they would all stay in memory
                stream.allow(info.size + 2 * _PIECE if info.isreg() else 2 * _PIECE)
                name = info.name.removeprefix("./")
                if not is_wanted(name) or info.isdir() or info.issym() or info.islnk():
                    continue
                if not info.isreg() or info.issparse():
                    raise _no_file(path, name)
                _check(path, name, info.size)
                yield Member(name, info.size, lambda info=info: _tar_pieces(archive, info, path))  # type: ignore[misc]
        raise _too_many(path)
    except tarfile.TarError as error:
        raise DamagedFileError(path, "data.tar", stream.position, "a tar archive", f"{error}") from error


class _StrictInfo(tarfile.TarInfo):
    """A header of a tar archive. One that is damaged or not there is no end of the archive, as it is for tarfile."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _tar_pieces(archive: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> Iterator[bytes]:
    file = archive.extractfile(info)
    left = info.size
    while file is not None and left:
        try:
            piece = file.read(min(_PIECE, left))
        except tarfile.TarError:
            raise _cut(path, info.name) from None
        left -= len(piece)
        yield piece


def _find_payload(file: IO[bytes], path: str) -> int:
    """Where the payload of a .rpm begins: behind the lead, the signature, which is padded, and the header."""
    offset = _RPM_LEAD_SIZE
    for padding in (8, 1):
        file.seek(offset)
        data = file.read(_RPM_HEADER.size)
        magic, entries, size = _RPM_HEADER.unpack(data) if len(data) == _RPM_HEADER.size else (b"", 0, 0)
        if magic != _RPM_HEADER_MAGIC:
            raise DamagedFileError(path, "", offset, "a header of an rpm package", repr(data[:4]))
        offset += _RPM_HEADER.size + 16 * entries + size
        offset += -offset % padding
    return offset


def _cpio_members(stream: _Stream, is_wanted: Callable[[str], bool], path: str) -> Iterator[Member]:
    for _ in range(MOST_MEMBERS):
        stream.allow(0)
        start = stream.position
        header = stream.read(_CPIO_SIZE)
        if header.startswith(_CPIO_STRIPPED):
            raise UnsupportedFileError(path, "its files have no names beside them (rpm 6, or files above 4 GiB)")
        try:
            fields = _CPIO_FIELDS.unpack(bytes.fromhex(header[6:].decode("ascii")))
        except (ValueError, struct.error):
            fields = ()
        if not fields or not header.startswith(_CPIO_MAGICS):
            raise DamagedFileError(path, "cpio", start, "a cpio header", repr(header[:6]))
        mode, size, name_size = fields[1], fields[6], fields[11]
        raw = stream.read(name_size)
        stream.read(-(_CPIO_SIZE + name_size) % 4)
        name = raw.rstrip(b"\0").removeprefix(b"./").decode("utf-8", "surrogateescape")
        if raw.startswith(_CPIO_END):
            return
        if size > MOST_OF_MEMBER:
            raise _too_large(path, name, size)
        stream.allow(size)
        left = _Left(size)
        # What other names of a file (hard links) have is nothing; the last has the contents.
        if is_wanted(name) and mode & _FORMAT_BITS not in (_DIRECTORY, _LINK) and size:
            if mode & _FORMAT_BITS != _REGULAR:
                raise _no_file(path, name)
            _check(path, name, size)
            yield Member(name, size, lambda left=left, name=name: _cpio_pieces(stream, left, path, name))  # type: ignore[misc]
        for _piece in _cpio_pieces(stream, left, path, name):
            pass
        stream.read(-size % 4)
    raise _too_many(path)


class _Left:
    """How much of a member was not read yet."""

    def __init__(self, size: int) -> None:
        self.size = size


def _cpio_pieces(stream: _Stream, left: _Left, path: str, name: str) -> Iterator[bytes]:
    while left.size:
        piece = stream.read_some(min(_PIECE, left.size))
        if not piece:
            raise _cut(path, name)
        left.size -= len(piece)
        yield piece


def _check(path: str, name: str, size: int) -> None:
    parts = name.split("/")
    if ".." in parts or "" in parts or "\0" in name:
        raise DamagedFileError(path, "", 0, "names of files below its root", repr(name))
    if size > MOST_OF_MEMBER:
        raise _too_large(path, name, size)


def _too_large(path: str, name: str, size: int) -> DamagedFileError:
    return DamagedFileError(path, "", 0, f"at most {MOST_OF_MEMBER} bytes of {name}", f"{size}")


def _no_file(path: str, name: str) -> DamagedFileError:
    return DamagedFileError(path, "", 0, f"an ordinary file as {name}", "something else")


def _cut(path: str, name: str) -> DamagedFileError:
    return DamagedFileError(path, "", 0, f"all of {name}", "the end of the archive, it was cut off")


def _too_many(path: str) -> DamagedFileError:
    return DamagedFileError(path, "", 0, f"at most {MOST_MEMBERS} files", "more")
