"""Range lists: .debug_ranges (DWARF 4 section 2.17.3) and .debug_rnglists (DWARF 5 sections 2.17.3 and 7.25).

A list has no length of its own, so it is read through a window that grows until the list's end is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.leb128 import read_uleb
from annotate.limits import MAX_RANGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from annotate.debuginfo.attributes import Encoding
    from annotate.debuginfo.relocate import DebugSection

RLE_END_OF_LIST, RLE_BASE_ADDRESSX, RLE_STARTX_ENDX, RLE_STARTX_LENGTH, RLE_OFFSET_PAIR = 0, 1, 2, 3, 4
RLE_BASE_ADDRESS, RLE_START_END, RLE_START_LENGTH = 5, 6, 7

_WINDOW = 256

Range = tuple[int, int]


def read_range_list(section: DebugSection, offset: int, encoding: Encoding, base: int) -> list[Range]:
    """The list at ``offset`` of .debug_ranges; empty ranges are left out. Raises IndexError when it has no end."""
    size = encoding.address_size
    largest = (1 << 8 * size) - 1
    window = _WINDOW
    while True:
        data = section.read(offset, min(offset + window, section.size))
        ranges: list[Range] = []
        start_base = base
        for position in range(0, len(data) - 2 * size + 1, 2 * size):
            start = encoding.unsigned(data, position, size)
            end = encoding.unsigned(data, position + size, size)
            if start == 0 and end == 0:
                return ranges
            if start == largest:
                start_base = end
            elif start < end:
                ranges.append((start_base + start, start_base + end))
                if len(ranges) > MAX_RANGES:
                    raise ValueError(f"a list of more than {MAX_RANGES} ranges")
        if offset + window >= section.size:
            raise IndexError("a range list without an end")
        window *= 4


def read_rnglist(
    section: DebugSection,
    offset: int,
    encoding: Encoding,
    base: int,
    indexed_address: Callable[[int, int], int],
) -> list[Range]:
    """The list at ``offset`` of .debug_rnglists; empty ranges are left out.

    ``indexed_address(index, form)`` looks a number up in .debug_addr. Raises IndexError when the list has no end,
    ValueError for an entry kind that is not known.
    """
    window = _WINDOW
    while True:
        data = section.read(offset, min(offset + window, section.size))
        try:
            return _decode_rnglist(data, encoding, base, indexed_address)
        except IndexError:
            if offset + window >= section.size:
                raise
        window *= 4


def _decode_rnglist(
    data: bytes, encoding: Encoding, base: int, indexed_address: Callable[[int, int], int]
) -> list[Range]:
    form_addrx = 0x1B
    size = encoding.address_size
    ranges: list[Range] = []
    position = 0
    while True:
        kind = data[position]
        position += 1
        if kind == RLE_END_OF_LIST:
            return ranges
        if kind == RLE_OFFSET_PAIR:
            start, position = read_uleb(data, position)
            end, position = read_uleb(data, position)
            start += base
            end += base
        elif kind == RLE_BASE_ADDRESS:
            base = encoding.unsigned(data, position, size)
            position += size
            continue
        elif kind == RLE_BASE_ADDRESSX:
            index, position = read_uleb(data, position)
            base = indexed_address(index, form_addrx)
            continue
        elif kind == RLE_START_LENGTH:
            start = encoding.unsigned(data, position, size)
            length, position = read_uleb(data, position + size)
            end = start + length
        elif kind == RLE_START_END:
            start = encoding.unsigned(data, position, size)
            end = encoding.unsigned(data, position + size, size)
            position += 2 * size
        elif kind in (RLE_STARTX_ENDX, RLE_STARTX_LENGTH):
            index, position = read_uleb(data, position)
            start = indexed_address(index, form_addrx)
            value, position = read_uleb(data, position)
            end = indexed_address(value, form_addrx) if kind == RLE_STARTX_ENDX else start + value
        else:
            raise ValueError(f"range list entry kind {kind}")
        if start < end:
            ranges.append((start, end))
            if len(ranges) > MAX_RANGES:
                raise ValueError(f"a list of more than {MAX_RANGES} ranges")
