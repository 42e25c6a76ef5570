"""Compressed sections and compressed files: gABI "Section Compression", the older ``.zdebug_`` form, .xz, .gz and .zst.

What comes out is bounded before it is made: by the size that a section declares, and by ``MAX_SIZE`` in any case.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple, Protocol

from annotate.errors import DamagedFileError, UnsupportedFileError

ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD = 1, 2

#: No section and no module comes near it: the largest .debug_info of a distribution's kernel has about 0.3 GB.
MAX_SIZE = 1 << 31

#: deflate cannot do better than this; a header that claims more is damaged, and is not believed with memory.
_MAX_DEFLATE_RATIO = 1032

#: How compressed files begin.
_GZIP, _XZ, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"


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
    limit = _MAX_DEFLATE_RATIO * len(data) + 64 if method == ELFCOMPRESS_ZLIB else MAX_SIZE
    if size > min(limit, MAX_SIZE):
        raise DamagedFileError(source, name, 0, f"at most {min(limit, MAX_SIZE)} bytes of contents", f"{size}")
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

        decompressor = lzma.LZMADecompressor(memlimit=1 << 29)
    elif data.startswith(_ZSTD):
        decompressor = _zstd(source, "the file")
    else:
        return data
    try:
        result = decompressor.decompress(data, MAX_SIZE)
    except Exception as error:  # each library has errors of its own
        raise DamagedFileError(source, "", 0, "a compressed file", f"{error}") from error
    if not decompressor.eof:
        raise DamagedFileError(source, "", len(data), "the end of the compressed data", "the end of the file")
    return result


def is_compressed(start: bytes) -> bool:
    """Whether a file that begins so is one that ``decompress_file`` would decompress."""
    return start.startswith((_GZIP, _XZ, _ZSTD))


def _zstd(source: str, what: str) -> _Decompressor:
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
    decompressor: _Decompressor = zstd.ZstdDecompressor()
    return decompressor
