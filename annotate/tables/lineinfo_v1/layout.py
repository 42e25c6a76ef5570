"""The structures and numbers of the format, and its packings; ``__init__`` has the specification."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from annotate.leb128 import read_uleb

if TYPE_CHECKING:
    from annotate.model import LinkAddr

MAGIC = b"\x93LNINFO\n"
BYTE_ORDER_MARK = 0xFEFF
VERSION = 1

HEADER = struct.Struct("<8sHHIQQIIII")
RECORD = struct.Struct("<QIIIIBB22s")
BLOCK_INDEX = struct.Struct("<IIII")
SMALL_INDEX = struct.Struct("<II")

KERNEL, MODULE, MAINTAINERS = 0, 1, 2
HAS_CHAINS, IS_PARTIAL = 1, 2
SIZES, CALLS = 0, 1

#: First bytes of tokens; below the first of them are the codes.
STEP_SAME, STEP, ENTER_ONE, ENTER, ENTER_FILES, ELSEWHERE, NOTHING = range(240, 247)
FIRST_ESCAPE = STEP_SAME

#: Inflated bytes of one block. The largest of a Debian kernel has 60 KB.
MAX_BLOCK = 1 << 20

#: Bytes of a MAINTAINERS file. The kernel's has 0.9 MB.
MAX_TEXT = 1 << 24

#: Bytes of a number in a column.
MAX_WIDTH = 8

#: Distances of code are in units of up to 1 << MAX_SHIFT bytes; instructions are not larger.
MAX_SHIFT = 4

#: Inlined calls met in one entry: a list that every token may move. The most in a Debian kernel (6.12) are 562.
MAX_CALLS = 1 << 14

#: Errors of reading bytes that are not what they should be.
ERRORS = (IndexError, KeyError, ValueError, struct.error, zlib.error, OverflowError)


def fingerprint(name: bytes) -> bytes:
    """What stands for a symbol in the fingerprints."""
    return (zlib.crc32(name) & 0xFFFF).to_bytes(2, "little")


class Record(NamedTuple):
    """One record of the directory."""

    offset: int
    size: int
    head_size: int
    head_crc: int
    name: bytes
    kind: int
    build_id: str  #: hex


class Section(NamedTuple):
    """A section of code."""

    name: str
    start: LinkAddr
    size: int


class Head(NamedTuple):
    """The numbers at the start of an image, in their order."""

    flags: int
    shift: int
    first: int
    end: int
    entries: int
    symbols: int
    stretches: int
    names: int
    paths: int
    blocks: int
    name_blocks: int
    path_blocks: int
    blocks_size: int
    names_size: int
    paths_size: int
    fingerprints_size: int
    data_size: int
    fingerprints_crc: int
    data_crc: int
    names_a_block: int
    paths_a_block: int
    release: int
    arch: int
    source: int


def unpack(data: bytes, most: int = MAX_BLOCK) -> bytes:
    """The bytes of packed ones. Raises ValueError or ``zlib.error``."""
    size, position = read_uleb(data, 0)
    if size > most:
        raise ValueError(f"{size} bytes, more than {most}")
    inflater = zlib.decompressobj(-15)
    result = inflater.decompress(data[position:], size + 1)
    if len(result) != size or not inflater.eof:
        raise ValueError(f"not the {size} bytes that it should inflate to")
    return result


def read_column(data: bytes, position: int, count: int) -> tuple[list[int], int]:
    """The numbers of a column, and the position behind it. Raises IndexError."""
    width = data[position]
    if not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"a column of width {width}")
    position += 1
    end = position + width * count
    if end > len(data):
        raise IndexError("a column that ends behind its block")
    if width == 1:
        return list(data[position:end]), end
    # As 64-bit numbers, a plane at a time: a third of the time of a loop over the numbers.
    wide = bytearray(8 * count)
    for plane in range(width):
        wide[plane::8] = data[position + plane * count : position + (plane + 1) * count]
    return list(struct.unpack(f"<{count}Q", wide)), end


class Column(NamedTuple):
    """A column that is left where it is: its numbers are read one by one."""

    start: int
    end: int
    step: int

    def number(self, data: bytes, index: int) -> int:
        """The number of an entry."""
        return int.from_bytes(data[self.start + index : self.end : self.step], "little")

    def sum_before(self, data: bytes, index: int) -> int:
        """The sum of the numbers before that of an entry."""
        total = shift = 0
        for plane in range(self.start, self.end, self.step):
            total += sum(data[plane : plane + index]) << shift
            shift += 8
        return total


def find_column(data: bytes, position: int, count: int) -> tuple[Column, int]:
    """The same without reading the numbers."""
    width = data[position]
    if not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"a column of width {width}")
    end = position + 1 + width * count
    if end > len(data):
        raise IndexError("a column that ends behind its block")
    return Column(position + 1, end, count), end
