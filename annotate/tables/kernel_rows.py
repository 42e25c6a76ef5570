"""Rows on their way into a kernel's table: columns of entries, and the stream that they are encoded to."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from annotate.errors import NoDebugInfoError, UnsupportedFileError
from annotate.leb128 import write_uleb
from annotate.tables.kernel_blocks import BLOCK_ENTRIES, MAX_FILES, WORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    #: Whether a symbol begins behind the first address and up to the second.
    SymbolBetween = Callable[[int, int], bool]


class Entries(NamedTuple):
    """The entries of one table, a column a field; offsets ascend. File id ``len(names)`` stands for "no line"."""

    offsets: Sequence[int]
    file_ids: Sequence[int]
    lines: Sequence[int]
    names: Sequence[bytes]


class EncodedBlocks(NamedTuple):
    """A stream and where its blocks begin."""

    addresses: Sequence[int]
    offsets: Sequence[int]
    data: bytes


def collect_entries(
    changes: Iterable[tuple[int, str, int]], start: int, end: int, symbol_between: SymbolBetween, source: str
) -> Entries:
    """The entries for code at ``start`` to ``end`` of an image's rows: (address, file, line), "" and 0 for no coverage.

    What the layouts lack is an entry for "no line". The kernel answers nothing where the file id is not below the
    number of files (all layouts, last step of its look-up), so that is what stands where coverage ends, with the line
    before it, which costs one byte. A row with line 0 belongs to the row before it (DWARF 5 section 6.2.2) unless a
    symbol begins in between. Raises NoDebugInfoError when nothing has a line, UnsupportedFileError for too many files.
    """
    collector = _Collector(start, min(end, start + WORD))
    last_address = -1  # of the last row with a line, while it holds
    for address, file, line in changes:
        if file and not line and last_address >= 0 and not symbol_between(last_address, address):
            continue
        last_address = address if file and line else -1
        collector.add(address, file if line else "", line)
    return collector.finish(source)


#: In place of a file, while they are collected.
_NO_FILE = -1


class _Collector:
    """Cuts rows to a range, and numbers their files."""

    def __init__(self, start: int, end: int) -> None:
        self._start = start
        self._end = end
        self._offsets = array("Q")
        self._files = array("l")
        self._lines = array("Q")
        self._ids: dict[str, int] = {"": _NO_FILE}
        self._before = (_NO_FILE, 0)  # what holds at the start

    def add(self, address: int, file: str, line: int) -> None:
        """Rows come by address; of several at one the last counts, and one that points back is left out."""
        file_id = self._ids.get(file)
        if file_id is None:
            file_id = self._ids[file] = len(self._ids) - 1
        if address <= self._start:
            self._before = (file_id, line)
        elif address < self._end:
            if not self._offsets:
                self._append(0, *self._before)
            self._append(address - self._start, file_id, line)

    def _append(self, offset: int, file_id: int, line: int) -> None:
        offsets, files, lines = self._offsets, self._files, self._lines
        if offsets and offset <= offsets[-1]:
            if offset < offsets[-1]:
                return
            offsets.pop()
            files.pop()
            lines.pop()
        before = (files[-1], lines[-1]) if offsets else (_NO_FILE, 0)
        if file_id == _NO_FILE:
            if before[0] == _NO_FILE:
                return
            line = before[1]  # no difference to write
        elif (file_id, line) == before:
            return
        offsets.append(offset)
        files.append(file_id)
        lines.append(line)

    def finish(self, source: str) -> Entries:
        """The columns, the end of the range closed, files numbered by first sight."""
        if not self._offsets:
            self._append(0, *self._before)
        self._append(self._end - self._start, _NO_FILE, 0)
        order = dict.fromkeys(self._files)
        order.pop(_NO_FILE, None)
        if not order:
            raise NoDebugInfoError(source, "expected code with line information, found none")
        spellings = list(self._ids)  # the first is that of no file
        names = [spellings[file_id + 1].encode("utf-8", "surrogateescape") for file_id in order]
        check_names(names, source)
        numbers = {file_id: number for number, file_id in enumerate(order)} | {_NO_FILE: len(names)}
        return Entries(self._offsets, array("I", map(numbers.__getitem__, self._files)), self._lines, names)


def check_names(names: Sequence[bytes], source: str) -> None:
    """Raise UnsupportedFileError for names that no layout can hold."""
    if len(names) > MAX_FILES:
        raise UnsupportedFileError(source, f"expected at most {MAX_FILES} source files, found {len(names)}")
    if any(b"\0" in name for name in names):
        raise UnsupportedFileError(source, "expected file names without NUL, found one with")


def encode_blocks(entries: Entries, signed: Callable[[int], bytes]) -> EncodedBlocks:
    """Encode the stream; ``signed`` writes a difference of file ids or lines (-2**31 to 2**31 - 1)."""
    # Nearly all numbers are small: with their bytes at hand, a million entries take 0.3 s, with a call each 0.7 s.
    plain = [write_uleb(value) for value in range(1 << 12)]
    small = {value: signed(value) for value in range(-(1 << 11), 1 << 11)}
    data = bytearray()
    pieces: list[bytes] = []  # of one block: joining all at once takes 80 bytes a piece
    addresses, offsets = [], []
    address = file = line = 0
    for index, (next_address, next_file, next_line) in enumerate(
        zip(entries.offsets, entries.file_ids, entries.lines, strict=True)
    ):
        if index % BLOCK_ENTRIES == 0:
            data += b"".join(pieces)
            pieces.clear()
            addresses.append(next_address)
            offsets.append(len(data))
            pieces += (write_uleb(next_file), write_uleb(next_line))
        else:
            step = next_address - address
            pieces.append(plain[step] if step < 1 << 12 else write_uleb(step))
            files = next_file - file
            pieces.append(small.get(files) or signed(_wrapped(files)))
            lines = next_line - line
            pieces.append(small.get(lines) or signed(_wrapped(lines)))
        address, file, line = next_address, next_file, next_line
    data += b"".join(pieces)
    return EncodedBlocks(addresses, offsets, bytes(data))


def _wrapped(value: int) -> int:
    """The difference as the kernel adds it: modulo 2**32."""
    value &= WORD
    return value - (1 << 32) if value >> 31 else value


def name_offsets(names: Sequence[bytes]) -> list[int]:
    """Where each name begins when they stand one behind the other, each with its NUL."""
    offsets = []
    position = 0
    for name in names:
        offsets.append(position)
        position += len(name) + 1
    return offsets
