"""A block: some entries with their symbols and streams."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from annotate.leb128 import read_sleb, read_uleb
from annotate.model import LinkAddr, Symbol
from annotate.tables.lineinfo_v1.layout import CALLS, SIZES, Column, find_column, read_column

if TYPE_CHECKING:
    from annotate.tables.lineinfo_v1.layout import Head

#: Between the names of a text.
_SEPARATORS = b"\0\n"


class Block(NamedTuple):
    """A block, taken apart as far as most look-ups need it. Columns have a number for each entry.

    Lists of all columns and texts took 14 us a block to make and 15 KB to keep, this 10 us and 5 KB.
    """

    data: bytes
    addresses: array[int]
    end: int  #: where the next block begins
    text: tuple[int, int]  #: where in ``data`` the symbols are
    streams: int  #: where in ``data`` the first begins
    stream_sizes: Column
    files: Column
    lines: Column
    names: int  #: inlined functions met before the block
    new_names: Column
    sizes: dict[tuple[int, int], Symbol]  #: by entry and symbol
    calls: dict[int, list[tuple[int, int]]]


def read_block(data: bytes, first: int, end: int, head: Head) -> Block:
    """Take the inflated bytes of a block apart; ``first`` and ``end`` are its addresses. Raises ``layout.ERRORS``."""
    count, position = read_uleb(data, 0)
    names_before, position = read_uleb(data, position)
    size, position = read_uleb(data, position)
    text = position, position + size
    steps, position = read_column(data, position + size, count)
    stream_sizes, position = find_column(data, position, count)
    files, position = find_column(data, position, count)
    lines, position = find_column(data, position, count)
    new_names, position = find_column(data, position, count)
    extras_size, position = read_uleb(data, position)
    if head.shift:
        steps = [step << head.shift for step in steps]
    addresses = array("Q", accumulate(steps[1:], initial=first))
    streams = position + extras_size
    if (
        data.count(b"\n", *text) + 1 != count
        or streams + stream_sizes.sum_before(data, count) != len(data)
        or addresses[-1] > end
    ):
        raise ValueError("its parts have another size than it has")
    block = Block(data, addresses, end, text, streams, stream_sizes, files, lines, names_before, new_names, {}, {})
    _read_extras(block, position, streams, head.first)
    return block


def _read_extras(block: Block, position: int, end: int, first: int) -> None:
    data = block.data
    while position < end:
        index, position = read_uleb(data, position)
        kind, position = read_uleb(data, position)
        if kind == SIZES:
            which, position = read_uleb(data, position)
            elf_size, position = read_uleb(data, position)
            ends_section, position = read_uleb(data, position)
            count, position = read_uleb(data, position)
            sizes = []
            for _ in range(count):
                size, position = read_uleb(data, position)
                sizes.append(size)
            name = names_of(block, index)[which]
            address = LinkAddr(block.addresses[index])
            block.sizes[index, which] = Symbol(
                name, address, sizes[0], tuple(sizes), elf_size, is_code=True, ends_section=bool(ends_section)
            )
        elif kind == CALLS:
            count, position = read_uleb(data, position)
            calls = block.calls.setdefault(index, [])
            for _ in range(count):
                distance, position = read_uleb(data, position)
                target, position = read_sleb(data, position)
                calls.append((distance, first + target))
        else:
            raise ValueError(f"an extra of kind {kind}")


def size_of(block: Block) -> int:
    """Bytes of memory that it takes, nearly."""
    return len(block.data) + 8 * len(block.addresses) + 300 * len(block.sizes) + 100 * len(block.calls) + 1000


def stream_of(block: Block, index: int) -> bytes:
    """The stream of an entry."""
    start = block.streams + block.stream_sizes.sum_before(block.data, index)
    return block.data[start : start + block.stream_sizes.number(block.data, index)]


def newest_before(block: Block, index: int) -> int:
    """How many inlined functions were met before an entry."""
    return block.names + block.new_names.sum_before(block.data, index)


def names_of(block: Block, index: int) -> list[bytes]:
    """The names of an entry's symbols, the one that kallsyms would choose first; one empty name where there is none."""
    start, end = block.text
    return block.data[start:end].split(b"\n", index + 1)[index].split(b"\0")


def first_symbol_of(block: Block, index: int) -> Symbol | None:
    """The symbol of an entry that kallsyms would choose."""
    names = names_of(block, index)
    return _symbol(block, index, 0, names[0]) if names != [b""] else None


def symbols_named(block: Block, name: bytes) -> list[Symbol]:
    """The symbols of a block that have this name, by address."""
    data = block.data
    start, end = block.text
    found = []
    position = data.find(name, start, end)
    while position >= 0:
        behind = position + len(name)
        if (behind == end or data[behind] in _SEPARATORS) and (position == start or data[position - 1] in _SEPARATORS):
            index = data.count(b"\n", start, position)
            which = data.count(b"\0", max(start, data.rfind(b"\n", start, position)), position) if block.sizes else 0
            found.append(_symbol(block, index, which, name))
        position = data.find(name, behind, end)
    return found


def _symbol(block: Block, index: int, which: int, name: bytes) -> Symbol:
    symbol = block.sizes.get((index, which))
    if symbol is None:
        addresses = block.addresses
        address = addresses[index]
        size = (addresses[index + 1] if index + 1 < len(addresses) else block.end) - address
        symbol = Symbol(name, LinkAddr(address), size, (size,), size, is_code=True, ends_section=False)
    return symbol


class Names(NamedTuple):
    """A block of names, taken apart: inlined functions with their files and usual first lines."""

    names: list[str]
    files: array[int]
    lines: array[int]


def read_names(data: bytes) -> Names:
    """Take the inflated bytes of a block of names apart. Raises ``layout.ERRORS``."""
    size, position = read_uleb(data, 0)
    names = data[position : position + size].decode("utf-8", "surrogateescape").split("\n")
    files, position = read_column(data, position + size, len(names))
    lines, _ = read_column(data, position, len(names))
    return Names(names, array("Q", files), array("Q", lines))


def size_of_names(names: Names) -> int:
    """Bytes of memory that they take, nearly."""
    return sum(map(len, names.names)) + 73 * len(names.names) + 400
