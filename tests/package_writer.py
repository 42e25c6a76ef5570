"""Packages for the tests, written from readable Python: the archives of .deb and .rpm files, and lies in them.

Nothing here is shared with the readers; layouts are those of ``deb(5)``, ``cpio(5)`` and rpm's ``format_header.md``.
"""

from __future__ import annotations

import io
import struct
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def deb(data: bytes, *, name: bytes = b"data.tar", size: bytes | None = None, first: bytes = b"2.0\n") -> bytes:
    """A .deb: an ar archive with one member for the data."""

    def member(name: bytes, data: bytes, size: bytes | None = None) -> bytes:
        header = b"%-16s%-12d%-6d%-6d%-8o%-10s`\n" % (name, 0, 0, 0, 0o100644, size or b"%d" % len(data))
        return header + data + b"\n" * (len(data) % 2)

    return b"!<arch>\n" + member(b"debian-binary", first) + member(name, data, size)


def tar(entries: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """The header of a member of a tar archive."""
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = size, kind, target
    return made


def checked(header: bytes | bytearray) -> bytes:
    """A tar header with the checksum of what is in it (POSIX.1-1988 ustar)."""
    result = bytearray(header)
    result[148:156] = b" " * 8
    result[148:156] = b"%06o\0 " % sum(result)
    return bytes(result)


def cpio(
    name: bytes,
    data: bytes = b"",
    *,
    mode: int = 0o100644,
    size: int | None = None,
    name_size: int | None = None,
    magic: bytes = b"070701",
) -> bytes:
    """A member of a cpio archive, as it says of itself or with other sizes."""
    fields = [1, mode, 0, 0, 1, 0, len(data) if size is None else size, 0, 0, 0, 0, name_size or len(name) + 1, 0]
    header = magic + b"".join(b"%08X" % field for field in fields) + name + b"\0"
    header += bytes(-len(header) % 4)
    return header + data + bytes(-len(data) % 4)


END = cpio(b"TRAILER!!!")


def rpm(payload: bytes, *, entries: int = 1, size: int = 5) -> bytes:
    """An rpm whose headers say nothing, and that lie about their own size where asked to."""
    header = struct.pack(">4s4xII", b"\x8e\xad\xe8\x01", 1, 5) + bytes(21)
    main = struct.pack(">4s4xII", b"\x8e\xad\xe8\x01", entries, size) + bytes(21)
    signature = header + bytes(-len(header) % 8)
    return b"\xed\xab\xee\xdb" + bytes(92) + signature + main + payload


def described_rpm(files: Sequence[tuple[bytes, int, int, int]], payload: bytes, **lies: bytes) -> bytes:
    """An rpm whose header says path, mode, size and inode of its files, as for those of 4 GiB and for format 6."""
    numbers = struct.Struct(f">{len(files)}I")
    columns = {
        1117: (8, b"".join(path.rpartition(b"/")[2] + b"\0" for path, *_ in files)),
        1118: (8, b"".join(path.rpartition(b"/")[0] + b"/\0" for path, *_ in files)),
        1116: (4, numbers.pack(*range(len(files)))),
        1030: (3, struct.pack(f">{len(files)}H", *(mode for _, mode, _, _ in files))),
        5008: (5, struct.pack(f">{len(files)}Q", *(size for _, _, size, _ in files))),
        1095: (4, numbers.pack(*(1 for _ in files))),
        1096: (4, numbers.pack(*(inode for *_, inode in files))),
    }
    columns |= {int(name[4:]): (columns[int(name[4:])][0], data) for name, data in lies.items()}
    index, store = b"", b""
    for tag, (kind, data) in columns.items():
        store += bytes(-len(store) % 8)
        index += struct.pack(">4I", tag, kind, len(store), len(files))
        store += data
    start = rpm(b"")[: 96 + 40]
    return start + struct.pack(">4s4xII", b"\x8e\xad\xe8\x01", len(columns), len(store)) + index + store + payload


def stripped(number: int, data: bytes) -> bytes:
    """A member of a cpio archive that has only its number."""
    return b"07070X%08x" % number + bytes(2) + data + bytes(-len(data) % 4)
