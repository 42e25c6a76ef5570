"""Tables of our own for the tests, put together from the specification in ``annotate/tables/lineinfo_v1/__init__.py``.

Nothing here is shared with the writer or the reader: sizes, orders and numbers are those of the text. ``read_table``
takes an intact file apart, so that a part can be changed and ``write_table`` put sizes and checksums right again.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from dwarf_writer import sleb, uleb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAGIC = b"\x93LNINFO\n"
KERNEL, MODULE, MAINTAINERS = 0, 1, 2

#: The numbers at the start of an image, in the order of the specification.
NUMBERS = (
    "flags", "shift", "first", "end",
    "entries", "symbols", "stretches", "functions", "paths", "blocks", "name_blocks", "path_blocks",
    "blocks_size", "names_size", "paths_size", "fingerprints_size", "data_size",
    "fingerprints_crc", "data_crc",
    "functions_a_block", "paths_a_block",
    "release", "architecture", "source",
)  # fmt: skip

CHAINS, PARTIAL = 1, 2


# --- streams -----------------------------------------------------------------------------------------------------


def step_same(distance: int, lines: int) -> bytes:
    """240."""
    return b"\xf0" + uleb(distance) + sleb(lines)


def step(distance: int, rank: int, lines: int) -> bytes:
    """241."""
    return b"\xf1" + uleb(distance) + uleb(rank) + sleb(lines)


def enter_one(distance: int, name: int, call_line: int, line: int) -> bytes:
    """242."""
    return b"\xf2" + uleb(distance) + uleb(name) + sleb(call_line) + sleb(line)


def enter(distance: int, rank: int, calls: Sequence[tuple[int, int]], line: int) -> bytes:
    """243; calls are (name, call line)."""
    middle = b"".join(uleb(name) + sleb(call_line) for name, call_line in calls)
    return b"\xf3" + uleb(distance) + uleb(rank) + uleb(len(calls) - 1) + middle + sleb(line)


def enter_files(distance: int, rank: int, calls: Sequence[tuple[int, int, int]], line: int) -> bytes:
    """244; calls are (name, file, call line)."""
    middle = b"".join(uleb(name) + uleb(file) + sleb(call_line) for name, file, call_line in calls)
    return b"\xf4" + uleb(distance) + uleb(rank) + uleb(len(calls) - 1) + middle + sleb(line)


def elsewhere(distance: int, rank: int, path: int, line: int) -> bytes:
    """245."""
    return b"\xf5" + uleb(distance) + uleb(rank) + uleb(path) + uleb(line)


def nothing(distance: int) -> bytes:
    """246."""
    return b"\xf6" + uleb(distance)


# --- parts of an image -------------------------------------------------------------------------------------------


def packed(data: bytes) -> bytes:
    """A ULEB with the size, and the data as a raw deflate stream."""
    compressor = zlib.compressobj(wbits=-15)
    return uleb(len(data)) + compressor.compress(data) + compressor.flush()


def unpacked(data: bytes) -> bytes:
    """What was packed."""
    size, position = _uleb_at(data, 0)
    result = zlib.decompress(data[position:], wbits=-15)
    assert len(result) == size
    return result


def column(values: Sequence[int], width: int = 0) -> bytes:
    """One byte for the width; the lowest byte of each number, then the second of each, and so on."""
    width = width or max(1, (max(values, default=0).bit_length() + 7) // 8)
    return bytes((width,)) + b"".join(bytes(value >> 8 * place & 255 for value in values) for place in range(width))


class EntrySpec(NamedTuple):
    """One entry: its distance from the one before (in units), its symbols, its stream."""

    distance: int
    names: Sequence[bytes]
    stream: bytes = b""
    file: int = 0
    line: int = 0
    new_functions: int = 0


def block_body(entries: Sequence[EntrySpec], functions_before: int = 0, extras: bytes = b"") -> bytes:
    """The inflated bytes of a block."""
    text = b"\n".join(b"\0".join(entry.names) for entry in entries)
    return b"".join(
        (
            uleb(len(entries)), uleb(functions_before), uleb(len(text)), text,
            column([entry.distance for entry in entries]),
            column([len(entry.stream) for entry in entries]),
            column([entry.file for entry in entries]),
            column([entry.line for entry in entries]),
            column([entry.new_functions for entry in entries]),
            uleb(len(extras)), extras,
            *(entry.stream for entry in entries),
        )
    )  # fmt: skip


def extra_sizes(entry: int, symbol: int, elf_size: int, sizes: Sequence[int], *, ends_section: bool = False) -> bytes:
    """An extra of kind 0."""
    return b"".join(map(uleb, (entry, 0, symbol, elf_size, int(ends_section), len(sizes), *sizes)))


def extra_calls(entry: int, calls: Sequence[tuple[int, int]]) -> bytes:
    """An extra of kind 1; calls are (distance of the return address, target from the image's first address)."""
    return b"".join(map(uleb, (entry, 1, len(calls)))) + b"".join(uleb(place) + sleb(to) for place, to in calls)


def names_body(functions: Sequence[tuple[bytes, int, int]]) -> bytes:
    """A block of names: (name, file, usual first line)."""
    text = b"\n".join(name for name, _, _ in functions)
    files, lines = [file for _, file, _ in functions], [line for _, _, line in functions]
    return uleb(len(text)) + text + column(files) + column(lines)


def fingerprints(names: Sequence[bytes]) -> bytes:
    """Those of symbols of code."""
    return b"".join(struct.pack("<H", zlib.crc32(name) & 0xFFFF) for name in names)


def data_fingerprints(names: Sequence[bytes], bits: int) -> bytes:
    """Those of other symbols, in 2^bits buckets."""
    crcs = sorted(zlib.crc32(name) for name in names)
    starts = [sum(crc >> (32 - bits) < bucket for crc in crcs) for bucket in range((1 << bits) + 1)]
    low = [crc & 0xFFFF for crc in crcs]
    return uleb(bits) + struct.pack(f"<{len(starts)}I{len(low)}H", *starts, *low)


class BlockSpec(NamedTuple):
    """A block: distance of its first address (in units), number of symbols before it, inflated bytes."""

    distance: int
    symbols_before: int
    body: bytes


class ImageSpec(NamedTuple):
    """An image. ``numbers`` are put in place of those that follow from the rest: missing ones, or lies."""

    name: bytes = b""
    kind: int = KERNEL
    build_id: bytes = b""
    release: bytes = b""
    architecture: bytes = b""
    source: bytes = b""
    numbers: Mapping[str, int] = {}
    sections: Sequence[tuple[bytes, int, int]] = ()  #: name, address from the first one, size
    blocks: Sequence[BlockSpec] = ()
    names: Sequence[bytes] = ()
    paths: Sequence[bytes] = ()
    fingerprints: bytes = b""
    data: bytes = b""
    text: bytes = b""  #: of a MAINTAINERS file
    tail: bytes = b""  #: behind the last part, where nothing should be


class TableSpec(NamedTuple):
    """A file: its images in the order of the directory, and the bytes of its codes."""

    images: Sequence[ImageSpec] = ()
    codes: bytes = b"\0"
    lies: Mapping[str, int] = {}  #: of the header: mark, version, images, size, directory, directory_size, strings_size


def codes(steps: Sequence[tuple[int, int, int]]) -> bytes:
    """The codes of the directory: (distance, rank, lines)."""
    return uleb(len(steps)) + b"".join(uleb(distance) + uleb(rank) + sleb(lines) for distance, rank, lines in steps)


class _Strings:
    def __init__(self) -> None:
        self.data = b""

    def place(self, text: bytes) -> int:
        self.data += text + b"\0"
        return len(self.data) - len(text) - 1


def _indexed(bodies: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The bytes of small blocks, and their index."""
    data = index = b""
    for body in bodies:
        block = packed(body)
        index += struct.pack("<II", len(data), zlib.crc32(block))
        data += block
    return data, index


def _image_bytes(image: ImageSpec, strings: _Strings) -> tuple[bytes, bytes]:
    """The head, and the rest."""
    if image.kind == MAINTAINERS:
        return packed(image.text), b""
    blocks = index = b""
    for spec in image.blocks:
        block = packed(spec.body)
        index += struct.pack(
            "<IIII", spec.distance & 0xFFFFFFFF, len(blocks), zlib.crc32(block), spec.symbols_before & 0xFFFFFFFF
        )
        blocks += block
    names, names_index = _indexed(image.names)
    paths, paths_index = _indexed(image.paths)
    numbers = {
        "flags": CHAINS,
        "blocks": len(image.blocks),
        "name_blocks": len(image.names),
        "path_blocks": len(image.paths),
        "symbols": len(image.fingerprints) // 2,
        "blocks_size": len(blocks),
        "names_size": len(names),
        "paths_size": len(paths),
        "fingerprints_size": len(image.fingerprints),
        "data_size": len(image.data),
        "fingerprints_crc": zlib.crc32(image.fingerprints),
        "data_crc": zlib.crc32(image.data),
        "functions_a_block": 64,
        "paths_a_block": 64,
        "release": strings.place(image.release),
        "architecture": strings.place(image.architecture),
        "source": strings.place(image.source),
        **image.numbers,
    }
    head = b"".join(uleb(numbers.get(name, 0)) for name in NUMBERS) + uleb(len(image.sections))
    for name, distance, size in image.sections:
        head += uleb(strings.place(name)) + sleb(distance) + uleb(size)
    return (
        head + index + names_index + paths_index,
        blocks + names + paths + image.fingerprints + image.data + image.tail,
    )


def write_table(table: TableSpec) -> bytes:
    """The bytes of a file."""
    strings = _Strings()
    strings.place(b"")
    records = bodies = b""
    for image in table.images:
        name = strings.place(image.name)
        head, rest = _image_bytes(image, strings)
        records += struct.pack(
            "<QIIIIBB22s", 48 + len(bodies), len(head) + len(rest), len(head), zlib.crc32(head), name,
            image.kind, len(image.build_id), image.build_id,
        )  # fmt: skip
        bodies += head + rest
    directory = records + strings.data + table.codes
    lies = table.lies
    header = MAGIC + struct.pack(
        "<HHIQQIII",
        lies.get("mark", 0xFEFF),
        lies.get("version", 1),
        lies.get("images", len(table.images)),
        lies.get("size", 48 + len(bodies) + len(directory)),
        lies.get("directory", 48 + len(bodies)),
        lies.get("directory_size", len(directory)),
        zlib.crc32(directory),
        lies.get("strings_size", len(strings.data)),
    )
    return header + struct.pack("<I", zlib.crc32(header)) + bodies + directory


# --- the way back ------------------------------------------------------------------------------------------------


def _uleb_at(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _sleb_at(data: bytes, position: int) -> tuple[int, int]:
    value, end = _uleb_at(data, position)
    return (value - (1 << 7 * (end - position)) if data[end - 1] & 0x40 else value), end


def _small_blocks(index: Sequence[int], data: bytes) -> list[bytes]:
    starts = [*index[0::2], len(data)]
    return [unpacked(data[start:end]) for start, end in pairwise(starts)]


def _read_image(data: bytes, head_size: int, strings: bytes, known: ImageSpec) -> ImageSpec:
    def string(offset: int) -> bytes:
        return strings[offset : strings.index(b"\0", offset)]

    position = 0
    numbers = {}
    for name in NUMBERS:
        numbers[name], position = _uleb_at(data, position)
    count, position = _uleb_at(data, position)
    sections = []
    for _ in range(count):
        place, position = _uleb_at(data, position)
        distance, position = _sleb_at(data, position)
        size, position = _uleb_at(data, position)
        sections.append((string(place), distance, size))
    words = struct.unpack_from(f"<{(head_size - position) // 4}I", data, position)
    behind_blocks = 4 * numbers["blocks"]
    behind_names = behind_blocks + 2 * numbers["name_blocks"]
    parts = []
    position = head_size
    for name in ("blocks_size", "names_size", "paths_size", "fingerprints_size", "data_size"):
        parts.append(data[position : position + numbers[name]])
        position += numbers[name]
    starts = [*words[1:behind_blocks:4], len(parts[0])]
    blocks = [
        BlockSpec(words[4 * number], words[4 * number + 3], unpacked(parts[0][starts[number] : starts[number + 1]]))
        for number in range(numbers["blocks"])
    ]
    kept = ("flags", "shift", "first", "end", "entries", "symbols", "stretches", "functions", "paths")
    return known._replace(
        release=string(numbers["release"]),
        architecture=string(numbers["architecture"]),
        source=string(numbers["source"]),
        numbers={name: numbers[name] for name in (*kept, "functions_a_block", "paths_a_block")},
        sections=sections,
        blocks=blocks,
        names=_small_blocks(words[behind_blocks:behind_names], parts[1]),
        paths=_small_blocks(words[behind_names:], parts[2]),
        fingerprints=parts[3],
        data=parts[4],
    )


def read_table(data: bytes) -> TableSpec:
    """An intact file, taken apart."""
    _, _, count, _, offset, size, _, strings_size = struct.unpack_from("<HHIQQIII", data, 8)
    directory = data[offset : offset + size]
    strings = directory[48 * count : 48 * count + strings_size]
    images = []
    for number in range(count):
        place, size, head_size, _, name, kind, id_size, build_id = struct.unpack_from(
            "<QIIIIBB22s", directory, 48 * number
        )
        image = ImageSpec(strings[name : strings.index(b"\0", name)], kind, build_id[:id_size])
        body = data[place : place + size]
        if kind == MAINTAINERS:
            images.append(image._replace(text=unpacked(body)))
        else:
            images.append(_read_image(body, head_size, strings, image))
    return TableSpec(images, directory[48 * count + strings_size :])


def symbol_names(image: ImageSpec) -> list[bytes]:
    """The names of all symbols of code of an intact image."""
    names = []
    for block in image.blocks:
        _, position = _uleb_at(block.body, 0)
        _, position = _uleb_at(block.body, position)
        size, position = _uleb_at(block.body, position)
        for text in block.body[position : position + size].split(b"\n"):
            names += text.split(b"\0") if text else []
    return names
