"""RPM packages: a lead, a signature, a header, and a cpio archive (``cpio(5)``, "New ASCII Format").

Where a file has 4 GiB or more, and in packages of format 6, a member has only its number in front of it; names and
sizes stand in the header (rpm's ``docs/manual/format_header.md``).
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING, NamedTuple

from annotate import limits
from annotate.errors import DamagedFileError
from annotate.kernel.members import PIECE, Member, check, cut, no_file, too_many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from annotate.kernel.members import Stream

RPM_MAGIC, _LEAD_SIZE = b"\xed\xab\xee\xdb", 96
_HEADER, _ENTRY = struct.Struct(">4s4xII"), struct.Struct(">4I")
_HEADER_MAGIC = b"\x8e\xad\xe8\x01"

_CPIO_SIZE, _CPIO_MAGICS, _CPIO_END = 110, (b"070701", b"070702"), b"TRAILER!!!"
_CPIO_FIELDS = struct.Struct(">13I")  # as hexadecimal digits
#: Bytes of the name of a folder in a header.
_MOST_OF_NAME = 1 << 12

_STRIPPED_SIZE, _STRIPPED_MAGIC = 14, b"07070X"

_FORMAT_BITS, _REGULAR, _DIRECTORY, _LINK = 0o170000, 0o100000, 0o040000, 0o120000


class Files(NamedTuple):
    """What the header says of the files, by number."""

    folders: Sequence[bytes]
    names: Sequence[bytes]
    sizes: Sequence[int]
    modes: Sequence[int]

    def path(self, number: int) -> bytes:
        """Folder and name. They are not kept together: a long folder of many files would be there for each."""
        return self.folders[number] + self.names[number]


class Payload(NamedTuple):
    """Where the payload begins, and where the header that describes it."""

    offset: int
    header: int


def find_payload(file: IO[bytes], path: str) -> Payload:
    """The payload stands behind the lead, the signature, which is padded, and the header."""
    offset = start = _LEAD_SIZE
    for padding in (8, 1):
        start = offset
        entries, size = _read_header(file, offset, path)
        offset += _HEADER.size + _ENTRY.size * entries + size
        offset += -offset % padding
    return Payload(offset, start)


def _read_header(file: IO[bytes], offset: int, path: str) -> tuple[int, int]:
    file.seek(offset)
    data = file.read(_HEADER.size)
    magic, entries, size = _HEADER.unpack(data) if len(data) == _HEADER.size else (b"", 0, 0)
    if magic != _HEADER_MAGIC:
        raise DamagedFileError(path, "", offset, "a header of an rpm package", repr(data[:4]))
    return entries, size


#: Tags of the header, and how its types of numbers are packed (rpm's ``include/rpm/rpmtag.h``).
_NAMES, _FOLDERS, _FOLDER_NUMBERS = 1117, 1118, 1116
_SIZES, _LONG_SIZES, _MODES, _DEVICES, _INODES = 1028, 5008, 1030, 1095, 1096
_NUMBERS = (_FOLDER_NUMBERS, _SIZES, _LONG_SIZES, _MODES, _DEVICES, _INODES)
_FORMATS = {3: "H", 4: "I", 5: "Q"}


def read_files(file: IO[bytes], offset: int, path: str) -> Files:
    """What the header at an offset says of the files. Of names of one file the last has its contents."""
    count, size = _read_header(file, offset, path)
    if max(count * _ENTRY.size, size) > limits.MAX_RPM_HEADER:
        raise DamagedFileError(path, "", offset, f"a header of at most {limits.MAX_RPM_HEADER} bytes", f"{size}")
    index, store = file.read(count * _ENTRY.size), file.read(size)
    texts: dict[int, list[bytes]] = {}
    numbers: dict[int, tuple[int, ...]] = {}
    try:
        for tag, kind, start, number in _ENTRY.iter_unpack(index):
            if tag in (_NAMES, _FOLDERS, *_NUMBERS) and number > limits.MAX_MEMBERS:
                raise ValueError("more files than any package has")
            if tag in texts or tag in numbers:
                raise ValueError(f"tag {tag} twice")
            if tag in (_NAMES, _FOLDERS):
                texts[tag] = store[start:].split(b"\0", number)[:number]
            elif tag in _NUMBERS and kind in _FORMATS:
                numbers[tag] = struct.unpack_from(f">{number}{_FORMATS[kind]}", store, start)
        if max(map(len, texts[_FOLDERS]), default=0) > _MOST_OF_NAME:
            raise ValueError("a name longer than any")
        folders = [texts[_FOLDERS][number] for number in numbers[_FOLDER_NUMBERS]]
        names = texts[_NAMES]
        sizes = list(numbers.get(_LONG_SIZES) or numbers[_SIZES])
        modes = numbers[_MODES]
        same = list(zip(numbers[_DEVICES], numbers[_INODES], strict=True))
        if not len(folders) == len(names) == len(sizes) == len(modes) == len(same):
            raise ValueError("lists of files of several lengths")
    except (ValueError, LookupError, struct.error) as error:
        raise DamagedFileError(
            path, "", offset, "names and sizes of files", f"{type(error).__name__}: {error}"
        ) from None
    last = {file: number for number, file in enumerate(same)}
    return Files(
        folders, names, [size if last[same[number]] == number else 0 for number, size in enumerate(sizes)], modes
    )


def cpio_members(
    stream: Stream, is_wanted: Callable[[str], bool], path: str, files: Callable[[], Files]
) -> Iterator[Member]:
    """The regular files whose name is wanted. ``files`` is asked where the archive does not name them."""
    listed: Files | None = None
    for _ in range(limits.MAX_MEMBERS):
        stream.allow(0)
        start = stream.position
        header = stream.read(_STRIPPED_SIZE)
        if header.startswith(_STRIPPED_MAGIC):
            listed = listed or files()
            raw, mode, size = _described(header, listed, path, start)
            stream.read(-_STRIPPED_SIZE % 4)
        else:
            header += stream.read(_CPIO_SIZE - _STRIPPED_SIZE)
            mode, size, name_size = _fields(header, path, start)
            raw = stream.read(name_size)
            stream.read(-(_CPIO_SIZE + name_size) % 4)
            if raw.startswith(_CPIO_END):
                return
        name = raw.rstrip(b"\0").removeprefix(b"./").decode("utf-8", "surrogateescape")
        stream.allow(size)
        left = _Left(size)
        # What other names of a file (hard links) have is nothing; the last has the contents.
        if is_wanted(name) and mode & _FORMAT_BITS not in (_DIRECTORY, _LINK) and size:
            if mode & _FORMAT_BITS != _REGULAR:
                raise no_file(path, name)
            check(path, name, size)
            yield Member(name, size, lambda left=left, name=name: _pieces(stream, left, path, name))  # type: ignore[misc]
        for _piece in _pieces(stream, left, path, name):
            pass
        stream.read(-size % 4)
    raise too_many(path)


def _fields(header: bytes, path: str, start: int) -> tuple[int, int, int]:
    """Mode, size, and size of the name."""
    try:
        fields = _CPIO_FIELDS.unpack(bytes.fromhex(header[6:].decode("ascii")))
    except (ValueError, struct.error):
        fields = ()
    if not fields or not header.startswith(_CPIO_MAGICS):
        raise DamagedFileError(path, "cpio", start, "a cpio header", repr(header[:6]))
    return fields[1], fields[6], fields[11]


def _described(header: bytes, files: Files, path: str, start: int) -> tuple[bytes, int, int]:
    """Name, mode and size of a member that has only its number. Names are absolute, as rpm installs them."""
    try:
        number = int.from_bytes(bytes.fromhex(header[6:].decode("ascii")), "big")
        return files.path(number).removeprefix(b"/"), files.modes[number], files.sizes[number]
    except (ValueError, LookupError):
        raise DamagedFileError(path, "cpio", start, "the number of a file", repr(header[6:])) from None


class _Left:
    """How much of a member was not read yet."""

    def __init__(self, size: int) -> None:
        self.size = size


def _pieces(stream: Stream, left: _Left, path: str, name: str) -> Iterator[bytes]:
    while left.size:
        piece = stream.read_some(min(PIECE, left.size))
        if not piece:
            raise cut(path, name)
        left.size -= len(piece)
        yield piece
