"""Whatever a server answers, a question brings the file of its build id or sentences why not, in bounds of storage."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest import mock

from elf_writer import NOTE, ElfSpec, SectionSpec, note, write_elf

import annotate.kernel.download  # noqa: F401  # imported late elsewhere, and is to be watched
from annotate.debuginfo.elf import ElfFile
from annotate.kernel.debuginfod import Client, Options

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS: Final = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 206 Partial Content\r\n", b"HTTP/1.1 404 No\r\n", b"HTTP/1.0 302 Found\r\n",
    b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Range: bytes 100-199/200\r\n",
    b"Location: http://b/buildid/\r\n", b'ETag: "a"\r\n', b"Content-Encoding: gzip\r\n", b"X-DEBUGINFOD-SIZE: 5\r\n",
    b"HTTP/1.1 100 Continue\r\n", b"HTTP/1.1 503 Out of order\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"\0NEXT\0",
    b"Last-Modified: Sat, 01 Aug 2026 10:00:00 GMT\r\n",
)  # fmt: skip

BUILD_ID: Final = "0123456789abcdef" * 2 + "89abcdef"

#: What stands between the answers to one request and the next; behind the last one nobody listens any more.
BETWEEN: Final = b"\0NEXT\0"

_MOST: Final = 1 << 16  # bytes of a download

#: Files are made, synchronised and removed at each execution.
_MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class _Answer:
    """As much of a socket as ``http.client`` uses; what it reads is decided before it asks."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def setsockopt(self, *_arguments: object) -> None:
        pass

    def settimeout(self, seconds: float | None) -> None:
        assert seconds is not None
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        assert data.startswith(b"GET "), data

    def makefile(self, _mode: str, buffering: int) -> io.BytesIO:
        assert buffering == 0
        return io.BytesIO(self._data)

    def close(self) -> None:
        pass


def check(data: bytes) -> None:
    """Two questions by one client each, the second of which may go on with what the first one left."""
    answers = iter(data.split(BETWEEN))

    def connect(*_arguments: object, **_options: object) -> _Answer:
        answer = next(answers, None)
        if answer is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return _Answer(answer)

    folder = tempfile.mkdtemp(dir=_MEMORY)
    try:
        with (
            mock.patch.object(socket, "create_connection", connect),
            mock.patch.object(urllib.request, "getproxies", dict),
        ):
            for _ in range(2):
                _ask(Path(folder))
    finally:
        shutil.rmtree(folder)


def _ask(folder: Path) -> None:
    options = Options(urls=("http://a", "http://b:1/buildid"), timeout=60, max_size=_MOST, retries=1)
    notes: list[str] = []
    progress: list[int] = []
    client = Client(options, str(folder), progress=lambda done, _total: progress.append(done), note=notes.append)
    path = client.find_debuginfo(BUILD_ID)
    assert all(sentence.isprintable() for sentence in (*client.tried, *notes)), "what could steer a terminal"
    files = {file.name: file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    assert max(files.values(), default=0) <= _MOST, files
    assert max(progress, default=0) <= _MOST
    if path is None:
        assert client.tried
        assert files.get("debuginfo", 0) == 0, files
        assert (".debuginfo.part" in files) == (".debuginfo.part.origin" in files), files
    else:
        assert client.tried == []
        assert set(files) == {"debuginfo"}
        assert ElfFile(Path(path).read_bytes(), path).build_id == BUILD_ID


def seeds() -> Iterator[bytes]:
    """Answers of honest servers, and of some that are not."""
    notes = note(b"GNU", 3, bytes.fromhex(BUILD_ID))
    file = write_elf(ElfSpec([SectionSpec(".note.gnu.build-id", notes, NOTE, alignment=4)]))
    other = file.replace(bytes.fromhex(BUILD_ID), bytes(20))
    size = b"Content-Length: %d\r\n" % len(file)
    tag = b'ETag: "a"\r\n'
    good = b"HTTP/1.1 200 OK\r\n"
    yield good + size + b"\r\n" + file
    yield good + b"\r\n" + file
    yield good + size + b"\r\n" + other
    yield good + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(file) + file + b"\r\n0\r\nX: y\r\n\r\n"
    yield b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" + BETWEEN + good + size + b"\r\n" + file
    yield b"HTTP/1.1 302 Found\r\nLocation: http://c/d\r\n\r\n" + BETWEEN + good + size + b"\r\n" + file
    rest = len(file) - 100
    partial = b"HTTP/1.1 206 Partial Content\r\n" + tag
    place = b"Content-Length: %d\r\nContent-Range: bytes 100-%d/%d\r\n\r\n" % (rest, len(file) - 1, len(file))
    first = good + tag + size + b"\r\n" + file[:100]
    yield first + BETWEEN + partial + place + file[100:]
    yield first + BETWEEN + b"HTTP/1.1 416 No\r\n\r\n" + BETWEEN + good + size + b"\r\n" + file
    refused = b"HTTP/1.1 503 Out of order\r\n\r\n"
    yield BETWEEN.join((refused, refused, refused, first, partial + place + file[100:]))
    yield BETWEEN.join((first, b"", b"", b"", partial + place + file[100:]))
    yield good + b"Content-Length: 99999999\r\n\r\n" + file
    yield good + b"Content-Encoding: gzip\r\n" + size + b"\r\n" + file
    yield b"HTTP/1.1 406 Too large\r\nContent-Length: 0\r\n\r\n"
    yield b"HTTP/1.1 100 Continue\r\n\r\n" + good + size + b"\r\n" + file
    yield b"\x7fELF"
