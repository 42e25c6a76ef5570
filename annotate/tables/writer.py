"""Writes files of tables in our newest format: what comes where, when all images are encoded."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from annotate.leb128 import write_sleb, write_uleb
from annotate.tables.lineinfo_v1 import layout as v1

if TYPE_CHECKING:
    from annotate.tables.encode import Codes, EncodedImage


class _Strings:
    """The strings of a file's directory."""

    def __init__(self) -> None:
        self._offsets: dict[bytes, int] = {}
        self._size = 0

    def offset(self, text: str) -> int:
        """Where a string stands; it is added when it is new."""
        data = text.encode("utf-8", "surrogateescape").partition(b"\0")[0]
        offset = self._offsets.get(data)
        if offset is None:
            offset = self._offsets[data] = self._size
            self._size += len(data) + 1
        return offset

    def __bytes__(self) -> bytes:
        return b"".join(data + b"\0" for data in self._offsets)


class FileWriter:
    """Lays images out one behind the other; the directory comes last, when all are known.

    A file is the header, which ``finish`` gives, what ``add`` returned, in order, and the directory.
    """

    HEADER_SIZE = v1.HEADER.size

    def __init__(self, codes: Codes) -> None:
        self._strings = _Strings()
        self._codes = codes
        self._records: list[tuple[int, bytes, str, bytes]] = []
        self._offset = self.HEADER_SIZE

    def add(self, image: EncodedImage) -> tuple[bytes, bytes]:
        """The bytes of an image."""
        head = self._head(image)
        size = len(head) + len(image.parts)
        build_id = bytes.fromhex(image.build_id)[:22]
        record = v1.RECORD.pack(
            self._offset,
            size,
            len(head),
            zlib.crc32(head),
            self._strings.offset(image.name),
            image.kind,
            len(build_id),
            build_id,
        )
        self._records.append((image.kind, image.name.encode("utf-8", "surrogateescape"), image.build_id, record))
        self._offset += size
        return head, image.parts

    def _head(self, image: EncodedImage) -> bytes:
        if image.head is None:
            return image.indexes
        offset = self._strings.offset
        head = image.head._replace(release=offset(image.release), arch=offset(image.arch), source=offset(image.source))
        return b"".join(
            (
                *map(write_uleb, head),
                write_uleb(len(image.sections)),
                *(
                    write_uleb(offset(section.name)) + write_sleb(section.start - head.first) + write_uleb(section.size)
                    for section in image.sections
                ),
                image.indexes,
            )
        )

    def finish(self) -> tuple[bytes, bytes]:
        """The directory, and the header for the start of the file."""
        records = b"".join(record for *_, record in sorted(self._records, key=lambda record: record[:3]))
        strings = bytes(self._strings)
        codes = write_uleb(len(self._codes)) + b"".join(
            write_uleb(distance) + write_uleb(rank) + write_sleb(lines) for distance, rank, lines in self._codes
        )
        directory = records + strings + codes
        header = v1.HEADER.pack(
            v1.MAGIC,
            v1.BYTE_ORDER_MARK,
            v1.VERSION,
            len(self._records),
            self._offset + len(directory),
            self._offset,
            len(directory),
            zlib.crc32(directory),
            len(strings),
            0,
        )
        return directory, header[:-4] + struct.pack("<I", zlib.crc32(header[:-4]))
