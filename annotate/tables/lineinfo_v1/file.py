"""A file of tables: its header and its directory."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from typing import TYPE_CHECKING

from annotate.errors import DamagedFileError, UnrecognisedFileError, UnsupportedFileError
from annotate.leb128 import read_sleb, read_uleb
from annotate.tables.lineinfo_v1.kept import Kept
from annotate.tables.lineinfo_v1.layout import (
    BYTE_ORDER_MARK,
    ERRORS,
    FIRST_ESCAPE,
    HEADER,
    MAGIC,
    MAINTAINERS,
    MAX_TEXT,
    RECORD,
    VERSION,
    Record,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotate.buffer import Buffer
    from annotate.tables.lineinfo_v1.block import Block, Names


#: SLEB numbers of one byte as two's complement.
_SIGNED = bytes(byte | byte << 1 & 0x80 for byte in range(0x80)) + bytes(range(0x80, 0x100))

#: Bytes of what is kept, of all images of a file together. The 1 164 blocks of a Debian cloud kernel take 6.2 MB, its
#: names 3.2, its paths 0.3. Where only two thirds of the blocks have room, a look-up takes 57 us and not 24.
MOST_OF_BLOCKS, MOST_OF_NAMES, MOST_OF_PATHS = 12 << 20, 6 << 20, 1 << 20


class TableFile:
    """A file of tables. ``data`` is not copied: what is read of it later is held against the checksums that were read.

    Raises UnrecognisedFileError, UnsupportedFileError (another version), DamagedFileError. Opening reads the header and
    the directory, whatever else the file holds.
    """

    version = VERSION

    def __init__(self, data: Buffer, source: str) -> None:
        self.source = source
        self._data = data
        size = len(self._data)
        if data[:8] != MAGIC:
            raise UnrecognisedFileError(source, "expected a lineinfo table, found something else")
        if size < HEADER.size:
            raise self._cut(HEADER.size)
        (_, mark, version, images, file_size, offset, directory_size, directory_crc, strings_size, crc) = HEADER.unpack(
            data[: HEADER.size]
        )
        if mark == 0xFFFE:
            raise UnrecognisedFileError(
                source, "expected a little-endian lineinfo table, found the bytes the other way round"
            )
        if mark == BYTE_ORDER_MARK and version != VERSION:
            raise UnsupportedFileError(
                source, f"expected a lineinfo table of version {VERSION}, found version {version}"
            )
        if mark != BYTE_ORDER_MARK or zlib.crc32(data[: HEADER.size - 4]) != crc:
            raise DamagedFileError(source, "", 0, "a header with the checksum that it names", "another one")
        if file_size != size:
            raise self._cut(file_size)
        directory = data[offset : offset + directory_size]
        if len(directory) != directory_size or zlib.crc32(directory) != directory_crc:
            raise DamagedFileError(
                source, "", offset, "a directory with the checksum that it should have", "another one"
            )
        strings_start = images * RECORD.size
        if strings_start + strings_size > directory_size:
            raise DamagedFileError(source, "", offset, f"a directory of {images} images", f"{directory_size} bytes")
        self.count = images
        self._records = directory[:strings_start]
        self.strings = directory[strings_start : strings_start + strings_size]
        self._packed_codes = directory[strings_start + strings_size :]
        self._directory_offset = offset
        self._codes: list[tuple[int, int, int]] | None = None
        self.blocks: Kept[Block] = Kept(MOST_OF_BLOCKS)
        self.names: Kept[Names] = Kept(MOST_OF_NAMES)
        self.paths: Kept[list[str]] = Kept(MOST_OF_PATHS)

    def _cut(self, expected: int) -> DamagedFileError:
        size = len(self._data)
        return DamagedFileError(
            self.source, "", size, f"a file of {expected} bytes", f"{size}, it was cut off or added to"
        )

    def record(self, index: int) -> Record:
        """Record ``index`` of the directory."""
        offset, size, head_size, head_crc, name, kind, id_size, build_id = RECORD.unpack_from(
            self._records, index * RECORD.size
        )
        if offset + size > len(self._data) or head_size > size or id_size > len(build_id):
            raise DamagedFileError(
                self.source,
                "",
                self._directory_offset,
                "an image within the file",
                f"one of {size} bytes at {offset:#x}",
            )
        return Record(offset, size, head_size, head_crc, self.string(name), kind, build_id[:id_size].hex())

    def string(self, offset: int) -> bytes:
        """One of the strings of the directory."""
        end = self.strings.find(b"\0", offset)
        if end < 0:
            raise DamagedFileError(self.source, "", self._directory_offset, "a string", "the end of the strings")
        return self.strings[offset:end]

    def find(self, kind: int, name: bytes) -> Iterator[Record]:
        """The records of a kind and name, one for each build id."""
        wanted = kind, name
        index = bisect_left(range(self.count), wanted, key=self._key)
        while index < self.count and self._key(index) == wanted:
            yield self.record(index)
            index += 1

    def _key(self, index: int) -> tuple[int, bytes]:
        record = self.record(index)
        return record.kind, record.name

    def records(self) -> Iterator[Record]:
        """All records."""
        return map(self.record, range(self.count))

    def codes(self) -> list[tuple[int, int, int]]:
        """What the bytes below ``FIRST_ESCAPE`` stand for in streams: distance, rank, lines."""
        if self._codes is None:
            data = self._packed_codes
            codes = []
            try:
                count, position = read_uleb(data, 0)
                count = min(count, FIRST_ESCAPE)
                packed = data[position : position + 3 * count]
                if len(packed) == 3 * count and packed.isascii():
                    # Every number is one byte, as a rule: 12 instead of 77 us, where a look-up takes about 100.
                    lines_on = memoryview(packed[2::3].translate(_SIGNED)).cast("b")
                    codes = list(zip(packed[0::3], packed[1::3], lines_on, strict=True))
                    count = 0
                for _ in range(count):
                    distance, position = read_uleb(data, position)
                    rank, position = read_uleb(data, position)
                    lines, position = read_sleb(data, position)
                    codes.append((distance, rank, lines))
            except ERRORS as error:
                raise self.damaged(self._directory_offset, "the codes", error) from error
            self._codes = codes
        return self._codes

    def damaged(self, offset: int, what: str, error: Exception) -> DamagedFileError:
        """The error for bytes that cannot be what they should be."""
        return DamagedFileError(self.source, "", offset, what, f"{type(error).__name__}: {error}")

    def read(self, offset: int, size: int, crc: int, what: str) -> bytes:
        """Bytes of the file whose checksum is known. Raises DamagedFileError."""
        data = self._data[offset : offset + size]
        if len(data) != size or zlib.crc32(data) != crc:
            raise DamagedFileError(
                self.source, "", offset, f"{what} with the checksum that it should have", "another one"
            )
        return data

    def maintainers(self) -> bytes | None:
        """The text of the MAINTAINERS file, unpacked each time; None where there is none. Raises DamagedFileError."""
        return next(map(self.text, self.find(MAINTAINERS, b"")), None)

    def text(self, record: Record) -> bytes:
        """The text of a record of kind MAINTAINERS."""
        data = self.read(record.offset, record.size, record.head_crc, "the MAINTAINERS text")
        try:
            return unpack(data, MAX_TEXT)
        except ERRORS as error:
            raise self.damaged(record.offset, "packed text", error) from error
