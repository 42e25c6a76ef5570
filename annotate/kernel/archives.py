"""The files in a Debian or an RPM package, one after the other, without installing or unpacking it.

The containers are read here. The library arpy 2.4 reads the rest of a file into memory for a name of length -1, never
ends with sizes below 0, and opens other files for a "thin" archive. rpmfile 2.2 has all of a zstd payload in memory
and decompresses others twice, once for the list of members.
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from annotate.debuginfo.compression import decompressed
from annotate.errors import AnnotateError, DamagedFileError, UnreadableFileError, UnrecognisedFileError
from annotate.filebytes import open_bytes
from annotate.kernel.deb import AR_MAGIC, find_data, tar_members
from annotate.kernel.members import PIECE, Stream
from annotate.kernel.rpm import RPM_MAGIC, cpio_members, find_payload, read_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from annotate.kernel.members import Member


def is_package(path: str) -> bool:
    """Whether a file begins as a package does; one that cannot be read is none."""
    try:
        start = open_bytes(path)[:21]
    except (OSError, AnnotateError):
        return False
    return start == AR_MAGIC + b"debian-binary" or start.startswith(RPM_MAGIC)


def members(path: str, is_wanted: Callable[[str], bool], advance: Callable[[int, int], None]) -> Iterator[Member]:
    """The regular files of a package whose name is wanted. ``advance`` is told how much is read of how much.

    Links are left out. Raises UnreadableFileError, DamagedFileError, UnsupportedFileError, UnrecognisedFileError.
    """
    try:
        data = open_bytes(path)  # its descriptor is closed with it
        with open(os.dup(data.descriptor), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(len(AR_MAGIC))
            if start == AR_MAGIC:
                offset, end = find_data(file, path)
                if end > size:
                    raise DamagedFileError(path, "", size, f"a file of {end} bytes", f"{size}, it was cut off")
                pieces = _read(file, offset, end, size, path, advance)
                yield from tar_members(Stream(decompressed(pieces, path), size, path), is_wanted, path)
            elif start.startswith(RPM_MAGIC):
                payload = find_payload(file, path)
                pieces = _read(file, payload.offset, size, size, path, advance)
                stream = Stream(decompressed(pieces, path), size, path)
                yield from cpio_members(stream, is_wanted, path, lambda: read_files(file, payload.header, path))
            else:
                raise UnrecognisedFileError(path, "expected a .deb or .rpm package, found something else")
    except OSError as error:
        raise _unreadable(path, error) from None


def _read(
    file: IO[bytes], start: int, end: int, size: int, path: str, advance: Callable[[int, int], None]
) -> Iterator[bytes]:
    """The bytes of a file from one place to another, in pieces. Raises UnreadableFileError."""
    while start < end:
        try:
            file.seek(start)
            piece = file.read(min(PIECE, end - start))
        except OSError as error:
            raise _unreadable(path, error) from None
        if not piece:
            return
        start += len(piece)
        yield piece
        advance(start, size)


def _unreadable(path: str, error: OSError) -> UnreadableFileError:
    return UnreadableFileError(path, f"cannot be read: {error.strerror or error}")
