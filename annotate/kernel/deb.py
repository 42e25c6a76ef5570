"""Debian packages: an ar archive (``deb(5)``) with a tar archive in it."""

from __future__ import annotations

import struct
import tarfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from annotate import limits
from annotate.errors import DamagedFileError
from annotate.kernel.members import PIECE, Member, check, cut, no_file, too_many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from annotate.kernel.members import Stream

AR_MAGIC, _AR_HEADER = b"!<arch>\n", struct.Struct("16s12s6s6s8s10s2s")

_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)

#: Members of the outer archive that are looked at for the data.
_MOST_OUTER = 16


def find_data(file: IO[bytes], path: str) -> tuple[int, int]:
    """Where the tar archive of a .deb begins and ends."""
    offset = len(AR_MAGIC)
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


def tar_members(stream: Stream, is_wanted: Callable[[str], bool], path: str) -> Iterator[Member]:
    """The regular files whose name is wanted."""
    with _errors_of_tar(stream, path):
        archive = tarfile.open(  # noqa: SIM115 (closed below)
            fileobj=cast("IO[bytes]", stream), mode="r|", bufsize=PIECE, tarinfo=_StrictInfo
        )
    with archive:
        for _ in range(limits.MAX_MEMBERS):
            with _errors_of_tar(stream, path):
                info = archive.next()
            if info is None:
                return
            if info.size < 0:
                raise DamagedFileError(path, "data.tar", stream.position, "the size of a file", f"{info.size}")
            archive.members.clear()  # type: ignore[attr-defined] # they would all stay in memory
            stream.allow(info.size + 2 * PIECE if info.isreg() else 2 * PIECE)
            name = info.name.removeprefix("./")
            if not is_wanted(name) or info.isdir() or info.issym() or info.islnk():
                continue
            if not info.isreg() or info.issparse():
                raise no_file(path, name)
            check(path, name, info.size)
            yield Member(name, info.size, lambda info=info: _tar_pieces(archive, info, path))  # type: ignore[misc]
    raise too_many(path)


@contextmanager
def _errors_of_tar(stream: Stream, path: str) -> Iterator[None]:
    """Errors of tarfile as DamagedFileError.

    Those of its parsers of numbers and text pass through it, and headers that each announce another one end in a
    RecursionError.
    """
    try:
        yield
    except (tarfile.TarError, ValueError, LookupError, RecursionError) as error:
        raise DamagedFileError(path, "data.tar", stream.position, "a tar archive", f"{error}") from error


class _StrictInfo(tarfile.TarInfo):
    """A header of a tar archive. One that is damaged or not there is no end of the archive, as it is for tarfile."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _PAX_TYPES and info.size > limits.MAX_PAX_HEADER:
            raise tarfile.HeaderError(f"an extended header of {info.size} bytes")
        return info

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
            piece = file.read(min(PIECE, left))
        except tarfile.TarError:
            raise cut(path, info.name) from None
        left -= len(piece)
        yield piece
