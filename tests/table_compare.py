"""A table against the debug information it was made from: every answer must be the same."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from annotate.debuginfo.generate import Description, contents, outline
from annotate.debuginfo.tokenizer import Tokenizer
from annotate.model import LinkAddr
from annotate.tables import versions
from annotate.tables.encode import encode_image, learn_codes
from annotate.tables.writer import FileWriter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from annotate.debuginfo.image import DebugImage
    from annotate.model import Location, Symbol
    from annotate.tables.versions import TableImage


def table_bytes(image: DebugImage, *, inlines: bool = True) -> bytes:
    """A table of one image, built in this process."""
    drawn = outline(image)
    tokenizer = Tokenizer(image.lines, drawn.shift, inlines=inlines)
    tokens = [tokenizer.tokens(piece) for piece in drawn.pieces]
    codes = learn_codes([tokens])
    description = Description("module" if image.is_module else "", "release", "made from")
    writer = FileWriter(codes)
    parts = writer.add(encode_image(contents(drawn, tokens, description, has_inlines=inlines), codes))
    directory, header = writer.finish()
    return b"".join((header, *parts, directory))


def open_table(data: bytes) -> TableImage:
    """The only image of a table."""
    file = versions.open_table(data, "table")
    (record,) = file.records()
    return versions.open_record(file, record)


def expected_chain(chain: tuple[Location, ...], *, inlines: bool = True) -> tuple[Location, ...]:
    """What a table keeps of a chain: the outermost function has no name; without inlines the innermost place is all."""
    if not inlines:
        return tuple(location._replace(function="", inlined=False) for location in chain[:1])
    return (*chain[:-1], *(location._replace(function="") for location in chain[-1:]))


def expected_symbol(symbol: Symbol | None) -> Symbol | None:
    """The ELF size matters only to the last symbol of a section."""
    return None if symbol is None else symbol if symbol.ends_section else symbol._replace(st_size=0)


def spread(image: TableImage, addresses: Iterable[int]) -> dict[int, tuple[str, int]]:
    """What ``rows`` says of each address."""
    rows = list(image.rows())
    starts = [row[0] for row in rows]
    assert starts == sorted(set(starts))
    assert all(before[1:] != after[1:] for before, after in pairwise(rows))
    found = {}
    for address in addresses:
        position = bisect_right(starts, address) - 1
        found[address] = rows[position][1:] if position >= 0 else ("", 0)
    return found


def compare(debug: DebugImage, *, inlines: bool = True) -> int:
    """Assert that a table of an image answers as it does, at every byte of every symbol; the number of chains."""
    image = open_table(table_bytes(debug, inlines=inlines))
    assert (image.build_id, image.is_module, image.arch) == (debug.build_id, debug.is_module, debug.arch)
    assert image.has_chains is inlines
    compared = 0
    covered: dict[int, tuple[Location, ...]] = {}
    for symbols in debug.symbols.by_address():
        for symbol in symbols:
            right = [expected_symbol(found) for found in debug.find(symbol.name) if found.is_code]
            found = image.find(symbol.name)
            if right:
                assert [expected_symbol(each) for each in found] == right
            else:
                assert [each.is_code for each in found] == [False]
        code = [symbol for symbol in symbols if symbol.is_code]
        for number, symbol in enumerate(code):
            for address in map(LinkAddr, range(symbol.address, symbol.end)):
                where = f"{symbol} at {address:#x}"
                chain = image.chain(address, symbol)
                assert chain == expected_chain(debug.chain(address, symbol), inlines=inlines), where
                assert expected_symbol(image.symbol_at(address)) == expected_symbol(debug.symbol_at(address)), where
                assert image.section_of(address) == debug.section_of(address), where
                compared += bool(chain)
                if not number:
                    covered[address] = chain
    rows = spread(image, covered)
    for place, chain in covered.items():
        assert rows[place] == ((chain[0].file, chain[0].line) if chain else ("", 0)), hex(place)
    for name, start, size in debug.code_sections():
        assert image.address_in(name, size) == debug.address_in(name, size)
        assert image.section_of(start) == debug.section_of(start)
    assert image.damage == []
    return compared
