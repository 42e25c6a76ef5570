"""One kernel or module in our newest format, which ``lineinfo_v1`` describes byte by byte."""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from annotate.leb128 import write_sleb, write_uleb
from annotate.tables.lineinfo_v1 import layout as v1
from annotate.tables.tokens import ELSEWHERE, ENTER, LINE_BIAS, LINE_BITS, NOTHING, RANK_BITS, STEP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from annotate.tables.contents import Entry, ImageContents, Section
    from annotate.tables.tokens import Tokens

#: Entries of a block: smaller ones are faster to read, larger ones pack better (vmlinux: 32 3.36, 64 3.24 MB).
ENTRIES_A_BLOCK = 40
NAMES_A_BLOCK = 64
PATHS_A_BLOCK = 64

_Item = TypeVar("_Item")

#: Numbers of the tokens that are not packed, by kind; those of ENTER are as many as its calls need.
_SIZES = {STEP: 4, ELSEWHERE: 5, NOTHING: 2}

_LINE_MASK = (1 << LINE_BITS) - 1
_RANK_MASK = (1 << RANK_BITS) - 1

#: Frequent steps, as (distance, rank, lines), most frequent first; at most ``v1.FIRST_ESCAPE``.
Codes = list[tuple[int, int, int]]


def learn_codes(images: Iterable[Sequence[Tokens]]) -> Codes:
    """The steps that are worth a byte of their own."""
    counts: Counter[int] = Counter()
    for tokens in images:
        for some in tokens:
            counts.update(some.steps)
    frequent = [
        _unpack(step)
        # A rare one would cost its four bytes here and save no more than it costs.
        for step, count in counts.most_common(v1.FIRST_ESCAPE + 512)
        if step >= 0 and count > 3
    ]
    return frequent[: v1.FIRST_ESCAPE]


def _unpack(step: int) -> tuple[int, int, int]:
    return step >> LINE_BITS + RANK_BITS, step >> LINE_BITS & _RANK_MASK, (step & _LINE_MASK) - LINE_BIAS


class _NameTable:
    """The inlined functions of an image, numbered in the order in which they are first met."""

    def __init__(self, first_lines: Mapping[tuple[bytes, int], int]) -> None:
        self._first_lines = first_lines
        self.numbers: dict[tuple[bytes, int], int] = {}

    def code(self, key: tuple[bytes, int]) -> int:
        """What stands for a name in a stream: 0 a new one, odd its number, even its distance from the newest."""
        numbers = self.numbers
        number = numbers.get(key)
        if number is None:
            numbers[key] = len(numbers)
            return 0
        distance = len(numbers) - number
        return min(2 * number + 1, 2 * distance)

    def first_line(self, key: tuple[bytes, int]) -> int:
        """The usual first line of a function."""
        return self._first_lines[key]


class _Stream(NamedTuple):
    """One entry's answers."""

    data: bytes
    file: int
    line: int
    new_names: int


class EncodedImage(NamedTuple):
    """One image as bytes, for a file that has the codes it was made with."""

    kind: int
    name: str
    build_id: str
    release: str
    arch: str
    source: str
    head: v1.Head | None  #: strings are still to be filled in
    sections: Sequence[Section]
    indexes: bytes
    parts: bytes


def encode_image(contents: ImageContents, codes: Codes) -> EncodedImage:
    """One image as it stands in a file; ``codes`` are those of the file's directory."""
    return _ImageEncoder(contents, codes).encode()


def encode_maintainers(text: bytes) -> EncodedImage:
    """The text of a MAINTAINERS file."""
    return EncodedImage(v1.MAINTAINERS, "", "", "", "", "", None, (), _pack(text), b"")


class _ImageEncoder:
    def __init__(self, contents: ImageContents, codes: Codes) -> None:
        self._contents = contents
        self._codes = {
            (distance << RANK_BITS | rank) << LINE_BITS | lines + LINE_BIAS: index
            for index, (distance, rank, lines) in enumerate(codes)
        }
        self._paths: dict[str, int] = {}
        #: For each ``Tokens``: its files as numbers of the image.
        self._files = [[self._path(path) for path in tokens.paths] for tokens in contents.tokens]
        self._names = _NameTable(self._usual_first_lines())

    def _path(self, path: str) -> int:
        number = self._paths.get(path)
        if number is None:
            number = self._paths[path] = len(self._paths)
        return number

    def _usual_first_lines(self) -> dict[tuple[bytes, int], int]:
        counts: dict[tuple[bytes, int], dict[int, int]] = {}
        for tokens, files in zip(self._contents.tokens, self._files, strict=True):
            special = tokens.special.tolist()
            names = tokens.names
            place, end = 0, len(special)
            while place < end:
                kind = special[place]
                if kind != ENTER:
                    place += _SIZES[kind]
                    continue
                last = place + 1 + 3 * special[place + 3]
                # Of each call the line of the call in it; of the innermost its own.
                for call in range(place + 4, last + 1, 3):
                    name, file = names[special[call]]
                    line = special[call + 3] if call == last else special[call + 5]
                    key = name, files[file]
                    lines = counts.get(key)
                    if lines is None:
                        counts[key] = {line: 1}
                    else:
                        lines[line] = lines.get(line, 0) + 1
                place = last + 4
        return {
            key: next(iter(lines)) if len(lines) == 1 else max(lines, key=lines.__getitem__)
            for key, lines in counts.items()
        }

    def encode(self) -> EncodedImage:
        contents = self._contents
        entries = contents.entries
        places = self._places()
        blocks, block_index = [], []
        fingerprints: list[bytes] = []
        offset = 0
        first_address = entries[0].address if entries else 0
        for first in range(0, len(entries), ENTRIES_A_BLOCK):
            some = entries[first : first + ENTRIES_A_BLOCK]
            end = entries[first + ENTRIES_A_BLOCK].address if first + ENTRIES_A_BLOCK < len(entries) else contents.end
            names_before = len(self._names.numbers)
            streams = [self._stream(*places[first + index]) for index in range(len(some))]
            block = self._block(some, streams, names_before, end, first_address)
            if len(block) > v1.MAX_BLOCK:
                raise OverflowError(f"{len(some)} functions of {len(block)} bytes, more than a reader takes")
            data = _pack(block)
            distance = some[0].address - first_address >> contents.shift
            block_index.append(v1.BLOCK_INDEX.pack(distance, offset, zlib.crc32(data), len(fingerprints)))
            fingerprints += [v1.fingerprint(symbol.name) for entry in some for symbol in entry.symbols]
            blocks.append(data)
            offset += len(data)
        names = [_pack(self._name_block(some)) for some in _pieces(list(self._names.numbers), NAMES_A_BLOCK)]
        paths = [
            _pack("\n".join(path.replace("\n", "?") for path in some).encode("utf-8", "surrogateescape"))
            for some in _pieces(list(self._paths), PATHS_A_BLOCK)
        ]
        parts = [b"".join(blocks), b"".join(names), b"".join(paths), b"".join(fingerprints), _data(contents.data_names)]
        head = v1.Head(
            flags=(v1.HAS_CHAINS if contents.has_inlines else 0) | (v1.IS_PARTIAL if contents.is_partial else 0),
            shift=contents.shift,
            first=first_address,
            end=contents.end,
            entries=len(entries),
            symbols=len(fingerprints),
            stretches=sum(tokens.rows for tokens in contents.tokens),
            names=len(self._names.numbers),
            paths=len(self._paths),
            blocks=len(blocks),
            name_blocks=len(names),
            path_blocks=len(paths),
            blocks_size=len(parts[0]),
            names_size=len(parts[1]),
            paths_size=len(parts[2]),
            fingerprints_size=len(parts[3]),
            data_size=len(parts[4]),
            fingerprints_crc=zlib.crc32(parts[3]),
            data_crc=zlib.crc32(parts[4]),
            names_a_block=NAMES_A_BLOCK,
            paths_a_block=PATHS_A_BLOCK,
            release=0,
            arch=0,
            source=0,
        )
        return EncodedImage(
            v1.MODULE if contents.is_module else v1.KERNEL,
            contents.name,
            contents.build_id,
            contents.release,
            contents.arch,
            contents.source,
            head,
            contents.sections,
            b"".join((*block_index, *_small_index(names), *_small_index(paths))),
            b"".join(parts),
        )

    def _places(self) -> list[tuple[int, int, int]]:
        """For each entry: which ``Tokens``, which place in it, where its steps begin."""
        places: list[tuple[int, int, int]] = [(-1, 0, 0)] * len(self._contents.entries)
        order = iter(self._contents.order)
        for number, tokens in enumerate(self._contents.tokens):
            begin = 0
            for place, count in enumerate(tokens.counts):
                places[next(order)] = number, place, begin
                begin += count
        return places

    def _stream(self, number: int, place: int, begin: int) -> _Stream:
        if number < 0:
            return _Stream(b"", 0, 0, 0)
        tokens = self._contents.tokens[number]
        files = self._files[number]
        names = self._names
        names_before = len(names.numbers)
        codes = self._codes
        special = tokens.special
        out = bytearray()
        add = out.append
        calls = 0
        for step in tokens.steps[begin : begin + tokens.counts[place]]:
            code = codes.get(step)
            if code is not None:
                add(code)
                continue
            if step >= 0:
                kind, (distance, rank, lines) = STEP, _unpack(step)
                # Nearly all of these fit into four bytes.
                if distance < 0x80 and rank < 0x80 and -0x40 <= lines < 0x40:
                    out += (
                        bytes((v1.STEP, distance, rank, lines & 0x7F))
                        if rank
                        else bytes((v1.STEP_SAME, distance, lines & 0x7F))
                    )
                    continue
            else:
                at = -1 - step
                kind, distance, rank, lines = (*special[at : at + 4], 0, 0)[:4]
            if kind == STEP:
                out.append(v1.STEP if rank else v1.STEP_SAME)
                out += write_uleb(distance)
                if rank:
                    out += write_uleb(rank)
                out += write_sleb(lines)
            elif kind == ENTER:
                calls += lines
                if calls >= v1.MAX_CALLS:
                    raise OverflowError(f"a function with {v1.MAX_CALLS} inlined calls, more than a reader takes")
                self._enter(out, special[at : at + 5 + 3 * lines], tokens.names, files)
            elif kind == ELSEWHERE:
                out.append(v1.ELSEWHERE)
                out += write_uleb(distance) + write_uleb(rank) + write_uleb(files[lines]) + write_uleb(special[at + 4])
            else:
                out.append(v1.NOTHING)
                out += write_uleb(distance)
        file = files[tokens.files[place]] if tokens.counts[place] and files else 0
        return _Stream(bytes(out), file, tokens.lines[place], len(names.numbers) - names_before)

    def _enter(
        self, out: bytearray, special: Sequence[int], all_names: Sequence[tuple[bytes, int]], files: Sequence[int]
    ) -> None:
        names = self._names
        _, distance, rank, count = special[:4]
        has_files = special[5] >= 0 if count == 1 else max(special[5:-1:3]) >= 0
        if count == 1 and not rank and not has_files:
            # The most frequent by far, and nearly all numbers are one byte.
            name, file = all_names[special[4]]
            key = name, files[file]
            code, call_line = names.code(key), special[6]
            line = special[7] - names.first_line(key)
            if distance < 0x80 and code < 0x80 and -0x40 <= call_line < 0x40 and -0x40 <= line < 0x40:
                out += bytes((v1.ENTER_ONE, distance, code, call_line & 0x7F, line & 0x7F))
            else:
                out.append(v1.ENTER_ONE)
                out += write_uleb(distance) + write_uleb(code) + write_sleb(call_line) + write_sleb(line)
            return
        out.append(v1.ENTER_FILES if has_files else v1.ENTER)
        out += write_uleb(distance) + write_uleb(rank) + write_uleb(count - 1)
        line_before = 0
        for index in range(4, 4 + 3 * count, 3):
            number, call_file, call_line = special[index : index + 3]
            name, file = all_names[number]
            key = name, files[file]
            out += write_uleb(names.code(key))
            if has_files:
                out += write_uleb(files[call_file] + 1 if call_file >= 0 else 0)
            out += write_sleb(call_line - line_before)
            line_before = names.first_line(key)
        out += write_sleb(special[-1] - line_before)

    def _block(
        self, entries: Sequence[Entry], streams: Sequence[_Stream], names_before: int, end: int, first_address: int
    ) -> bytes:
        shift = self._contents.shift
        # A line feed ends a name here; where one is in a name, no log can print it either.
        text = b"\n".join(b"\0".join(symbol.name.replace(b"\n", b"?") for symbol in entry.symbols) for entry in entries)
        addresses = [entry.address for entry in entries]
        steps = [0, *(high - low >> shift for low, high in pairwise(addresses))]
        ends = [*addresses[1:], end]
        extras = b"".join(
            _extras(index, entry, entry_end, first_address)
            for index, (entry, entry_end) in enumerate(zip(entries, ends, strict=True))
        )
        return b"".join(
            (
                write_uleb(len(entries)),
                write_uleb(names_before),
                write_uleb(len(text)),
                text,
                _column(steps),
                _column([len(stream.data) for stream in streams]),
                _column([stream.file for stream in streams]),
                _column([stream.line for stream in streams]),
                _column([stream.new_names for stream in streams]),
                write_uleb(len(extras)),
                extras,
                *(stream.data for stream in streams),
            )
        )

    def _name_block(self, names: Sequence[tuple[bytes, int]]) -> bytes:
        text = b"\n".join(name.replace(b"\n", b"?") for name, _ in names)
        return b"".join(
            (
                write_uleb(len(text)),
                text,
                _column([file for _, file in names]),
                _column([self._names.first_line(key) for key in names]),
            )
        )


def _extras(index: int, entry: Entry, end: int, first_address: int) -> bytes:
    """What the columns cannot say of an entry."""
    out = bytearray()
    for which, symbol in enumerate(entry.symbols):
        if symbol.sizes != (end - entry.address,) or symbol.ends_section:
            out += write_uleb(index) + write_uleb(v1.SIZES) + write_uleb(which) + write_uleb(symbol.st_size)
            out += write_uleb(int(symbol.ends_section)) + write_uleb(len(symbol.sizes))
            out += b"".join(map(write_uleb, symbol.sizes))
    if entry.calls:
        out += write_uleb(index) + write_uleb(v1.CALLS) + write_uleb(len(entry.calls))
        for address, target in entry.calls:
            out += write_uleb(address - entry.address) + write_sleb(target - first_address)
    return bytes(out)


def _small_index(blocks: Iterable[bytes]) -> Iterator[bytes]:
    offset = 0
    for block in blocks:
        yield v1.SMALL_INDEX.pack(offset, zlib.crc32(block))
        offset += len(block)


def _pieces(items: list[_Item], size: int) -> Iterator[list[_Item]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _data(names: Iterable[bytes]) -> bytes:
    """The fingerprints of data; about eight a bucket, so one in 8 000 unknown names would pass for a variable."""
    crcs = sorted({zlib.crc32(name) for name in names})
    if not crcs:
        return b""
    bits = max(0, (len(crcs) // 8).bit_length())
    starts = [bisect_left(crcs, bucket << 32 - bits) for bucket in range((1 << bits) + 1)]
    low = [crc & 0xFFFF for crc in crcs]
    return write_uleb(bits) + struct.pack(f"<{len(starts)}I", *starts) + struct.pack(f"<{len(low)}H", *low)


def _column(values: Sequence[int]) -> bytes:
    width = max(1, (max(values, default=0).bit_length() + 7) // 8)
    return bytes((width,)) + b"".join(bytes(value >> 8 * plane & 0xFF for value in values) for plane in range(width))


def _pack(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return write_uleb(len(data)) + compressor.compress(data) + compressor.flush()
