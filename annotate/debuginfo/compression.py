"""Compressed sections and compressed files: gABI "Section Compression", the older ``.zdebug_`` form, .xz, .gz and .zst.

What comes out is bounded before it is made: by the size that a section declares, and by ``MAX_DECOMPRESSED`` anyway.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from annotate.errors import DamagedFileError, UnsupportedFileError
from annotate.limits import MAX_DECOMPRESSED, MAX_DEFLATE_RATIO, MAX_XZ_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator

ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD = 1, 2

#: How compressed files begin.
_GZIP, _XZ, _ZSTD, _BZIP2 = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"BZh"


class CompressedSection(NamedTuple):
    """The bytes of a section as they stand in the file, and what its header's layout depends on.

    ``is_old``: in the ``.zdebug_`` form of GNU binutils, which has a header of its own.
    """

    source: str
    name: str
    data: bytes
    byte_order: str
    bits: int
    is_old: bool


class _Decompressor(Protocol):
    """What zlib, lzma and zstd decompressors have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def unused_data(self) -> bytes:
        """What came behind it."""

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes:
        """Take all of the input, give at most ``max_length`` bytes."""


def decompress_section(section: CompressedSection) -> bytes:
    """The contents of a section. Raises DamagedFileError, or UnsupportedFileError for an unknown or missing method."""
    source, name, data = section.source, section.name, section.data
    if section.is_old:
        if data[:4] != b"ZLIB" or len(data) < 12:
            raise DamagedFileError(source, name, 0, "'ZLIB' and a size", repr(data[:4]))
        method, size, start = ELFCOMPRESS_ZLIB, int.from_bytes(data[4:12], "big"), 12
    else:
        header = struct.Struct(section.byte_order + ("IIQQ" if section.bits == 64 else "III"))
        if len(data) < header.size:
            raise DamagedFileError(source, name, 0, f"a compression header of {header.size} bytes", f"{len(data)}")
        fields = header.unpack_from(data)
        method, size, start = fields[0], fields[2 if section.bits == 64 else 1], header.size
    if method not in (ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD):
        raise UnsupportedFileError(source, f"section {name} is compressed with method {method}")
    limit = MAX_DEFLATE_RATIO * len(data) + 64 if method == ELFCOMPRESS_ZLIB else MAX_DECOMPRESSED
    if size > min(limit, MAX_DECOMPRESSED):
        raise DamagedFileError(source, name, 0, f"at most {min(limit, MAX_DECOMPRESSED)} bytes of contents", f"{size}")
    try:
        decompressor = zlib.decompressobj() if method == ELFCOMPRESS_ZLIB else _zstd(source, f"section {name}")
        result = decompressor.decompress(data[start:], size + 1)
    except UnsupportedFileError:
        raise
    except Exception as error:  # each library has errors of its own
        raise DamagedFileError(source, name, start, "compressed contents", f"{error}") from error
    if len(result) != size:
        raise DamagedFileError(source, name, start, f"{size} bytes when decompressed", f"{len(result)}")
    return result


def decompress_file(data: bytes, source: str) -> bytes:
    """The contents of a .gz, .xz or .zst file, known by how it begins; other files as they are.

    Raises DamagedFileError, or UnsupportedFileError where this Python lacks the method.
    """
    if data.startswith(_GZIP):
        decompressor: _Decompressor = zlib.decompressobj(wbits=31)
    elif data.startswith(_XZ):
        import lzma

        decompressor = lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)
    elif data.startswith(_ZSTD):
        decompressor = _zstd(source, "the file")
    else:
        return data
    try:
        result = decompressor.decompress(data, MAX_DECOMPRESSED)
    except Exception as error:  # each library has errors of its own
        raise DamagedFileError(source, "", 0, "a compressed file", f"{error}") from error
    if not decompressor.eof:
        raise DamagedFileError(source, "", len(data), "the end of the compressed data", "the end of the file")
    return result


#: What is decompressed at once of a stream.
_PIECE = 1 << 20


def decompressed(pieces: Iterator[bytes], source: str) -> Iterator[bytes]:
    """A stream in .gz, .xz, .zst or .bz2, known by how it begins, in pieces of a megabyte at most; others as they are.

    No piece of ``pieces`` is empty, and the first has six bytes or is all. One stream may follow another. Raises as
    ``decompress_file`` does.
    """
    data = next(pieces, b"")
    is_first = True
    while data:
        decompressor = _stream_decompressor(data, source)
        if decompressor is None:
            if not is_first:
                raise DamagedFileError(source, "", 0, "the end of the compressed data", "something else behind it")
            yield data
            yield from pieces
            return
        is_first = False
        while not decompressor.eof:
            if not data and decompressor.needs_input:
                data = next(pieces, b"")
                if not data:
                    raise DamagedFileError(
                        source, "", 0, "the end of the compressed data", "the end of what it is packed in"
                    )
            try:
                piece = decompressor.decompress(data, _PIECE)
            except Exception as error:  # each library has errors of its own
                raise DamagedFileError(source, "", 0, "compressed data", f"{error}") from error
            data = b""
            if piece:
                yield piece
        # Only zeros may stand between one stream and the next.
        data = decompressor.unused_data.lstrip(b"\0")
        while len(data) < len(_XZ) and (more := next(pieces, b"")):
            data = (data + more).lstrip(b"\0")


class _StreamDecompressor(_Decompressor, Protocol):
    """What those that take their input piece by piece have in common."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out before more goes in."""


class _Gunzip:
    """A gzip decompressor with the face of the others."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        result = self._decompressor.decompress(self._decompressor.unconsumed_tail + data, max_length)
        self.needs_input = not self._decompressor.unconsumed_tail and len(result) < max_length
        return result


def _stream_decompressor(start: bytes, source: str) -> _StreamDecompressor | None:
    if start.startswith(_GZIP):
        return _Gunzip()
    if start.startswith(_XZ):
        import lzma

        return lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)
    if start.startswith(_BZIP2):
        import bz2

        return bz2.BZ2Decompressor()
    return _zstd(source, "its content") if start.startswith(_ZSTD) else None


def is_compressed(start: bytes) -> bool:
    """Whether a file that begins so is one that ``decompress_file`` would decompress."""
    return start.startswith((_GZIP, _XZ, _ZSTD))


def _zstd(source: str, what: str) -> _StreamDecompressor:
    """A zstd decompressor: of Python 3.14, else of backports.zstd."""
    try:
        try:
            from compression import zstd
        except ImportError:
            from backports import zstd
    except ImportError:
        raise UnsupportedFileError(
            source, f"{what} is compressed with zstd: install 'lineinfo-annotate[zstd]' to read it"
        ) from None
    decompressor: _StreamDecompressor = zstd.ZstdDecompressor()
    return decompressor
