"""A block: some entries with their symbols and streams."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from annotate.leb128 import read_sleb, read_uleb
from annotate.model import LinkAddr, Symbol
from annotate.tables.lineinfo_v1.layout import CALLS, SIZES, read_column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotate.tables.lineinfo_v1.layout import Head


class Block(NamedTuple):
    """A block, taken apart. Columns have a number for each entry."""

    addresses: list[int]
    end: int  #: where the next block begins
    texts: list[bytes]
    data: bytes
    streams: list[int]  #: where in ``data`` each begins; one more for the end
    files: list[int]
    lines: list[int]
    names: list[int]  #: inlined functions met before each
    sizes: dict[tuple[int, int], Symbol]  #: by entry and symbol
    calls: dict[int, list[tuple[int, int]]]


def read_block(data: bytes, first: int, end: int, head: Head) -> Block:
    """Take the inflated bytes of a block apart; ``first`` and ``end`` are its addresses. Raises ``layout.ERRORS``."""
    count, position = read_uleb(data, 0)
    names_before, position = read_uleb(data, position)
    size, position = read_uleb(data, position)
    texts = data[position : position + size].split(b"\n")
    position += size
    columns = []
    for _ in range(5):
        column, position = read_column(data, position, count)
        columns.append(column)
    steps, sizes, files, lines, new_names = columns
    extras_size, position = read_uleb(data, position)
    if head.shift:
        steps = [step << head.shift for step in steps]
    addresses = list(accumulate(steps[1:], initial=first))
    streams = list(accumulate(sizes, initial=position + extras_size))
    if len(texts) != count or streams[-1] != len(data) or addresses[-1] > end:
        raise ValueError("its parts have another size than it has")
    block = Block(
        addresses,
        end,
        texts,
        data,
        streams,
        files,
        lines,
        list(accumulate(new_names, initial=names_before)),
        {},
        {},
    )
    _read_extras(block, data, position, position + extras_size, head.first)
    return block


def _read_extras(block: Block, data: bytes, position: int, end: int, first: int) -> None:
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
            name = block.texts[index].split(b"\0")[which]
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


def symbols_of(block: Block, index: int) -> Iterator[Symbol]:
    """The symbols of an entry, the one that kallsyms would choose first."""
    text = block.texts[index]
    if not text:
        return
    address = block.addresses[index]
    end = block.addresses[index + 1] if index + 1 < len(block.addresses) else block.end
    for which, name in enumerate(text.split(b"\0")):
        size = end - address
        yield block.sizes.get((index, which)) or Symbol(
            name, LinkAddr(address), size, (size,), size, is_code=True, ends_section=False
        )
