"""Any bytes as a .deb or .rpm are an error of ours or files below its root, as large as they say and not too large."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from package_writer import END, checked, cpio, deb, described_rpm, info, rpm, stripped, tar

from annotate.errors import AnnotateError
from annotate.kernel.archives import is_package, members
from annotate.limits import MAX_EXPANSION

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS: Final = (
    b"!<arch>\n", b"debian-binary   ", b"data.tar.xz     ", b"`\n", b"\xed\xab\xee\xdb", b"\x8e\xad\xe8\x01", b"070701",
    b"07070X", b"TRAILER!!!\0", b"ustar\0", b"ustar  \0", b"../", b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd",
    b"BZh9", b"././@LongLink", b"13 size=-1\n", b"GNU.sparse.map=1,x\n", b"hdrcharset=", b"\xff\xff\xff\xff",
)  # fmt: skip

#: Bytes that a small package may have when it is unpacked.
_AT_LEAST: Final = 1 << 26


#: Where a tar header has its magic, and its size.
_USTAR, _BLOCK = 257, 512


def check(data: bytes) -> None:
    """As it is; and with checksums that fit, or hardly a change would reach what reads the fields of a header."""
    _check(data)
    if (mended := _with_checksums(data)) != data:
        _check(mended)


def _with_checksums(data: bytes) -> bytes:
    """What looks like a header of a tar archive has its checksum."""
    result, position = bytearray(data), 0
    while (found := data.find(b"ustar", position)) >= 0:
        start = found - _USTAR
        position = found + 1
        if start >= 0 and start + _BLOCK <= len(data):
            result[start : start + _BLOCK] = checked(result[start : start + _BLOCK])
    return bytes(result)


def _check(data: bytes) -> None:
    """The file is in memory; it has a path all the same."""
    descriptor = os.memfd_create("package")
    try:
        os.write(descriptor, data)
        path = f"/proc/self/fd/{descriptor}"
        is_package(path)
        unpacked = 0

        def advance(done: int, total: int) -> None:
            assert done <= total == len(data), f"{done} bytes of {total} were read"

        with contextlib.suppress(AnnotateError):
            for number, member in enumerate(members(path, lambda _name: True, advance)):
                parts = PurePosixPath(member.name).parts
                assert parts, "a member without a name"
                assert ".." not in parts, member.name
                assert not member.name.startswith("/"), member.name
                if number % 3 == 2:
                    continue  # one that nobody reads
                size = 0
                for piece in member.pieces():
                    assert piece
                    size += len(piece)
                    unpacked += len(piece)
                    assert unpacked <= max(MAX_EXPANSION * len(data), _AT_LEAST), "a bomb"
                assert size == member.size, f"{member.name} of {member.size} bytes has {size}"
    finally:
        os.close(descriptor)


def seeds() -> Iterator[bytes]:
    """Packages of all kinds with a few small files."""
    elf = b"\x7fELF" + bytes(60)
    entries = [
        (info("./x", 0, tarfile.DIRTYPE), b""), (info("./x/vmlinux", 64), elf), (info("./x/a.ko", 3), b"abc"),
        (info("./x/link.ko", 0, tarfile.SYMTYPE, "a.ko"), b""), (info("./x/b.ko", 0, tarfile.LNKTYPE, "./x/a.ko"), b""),
        (info("long/" * 30 + "c.ko", 1), b"c"),
    ]  # fmt: skip
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        yield deb(tar(entries, form))
    large = info("./x/vmlinux", 3)
    large.pax_headers = {"size": "3", "GNU.sparse.name": "b", "mtime": "1.5"}
    yield deb(tar([(large, b"abc")], tarfile.PAX_FORMAT))
    archive = tar(entries[:3])
    yield deb(lzma.compress(archive), name=b"data.tar.xz")
    yield deb(gzip.compress(archive), name=b"data.tar.gz/")
    payload = cpio(b"./x/vmlinux", elf) + cpio(b"./x", mode=0o040755) + cpio(b"./x/a.ko", b"abc") + END
    yield rpm(payload)
    yield rpm(bz2.compress(payload))
    yield rpm(lzma.compress(payload))
    yield rpm(gzip.compress(payload[:188]) + gzip.compress(payload[188:]))
    files = ((b"/usr/a.ko", 0o100644, 7, 2), (b"/usr/b.ko", 0o100644, 7, 2), (b"/usr/vmlinux", 0o100644, 64, 3))
    yield described_rpm(files, stripped(0, b"") + stripped(1, b"1234567") + stripped(2, elf) + END)
