"""An ELF file with DWARF -> what a table of it holds: ``ImageContents``, which ``tables/writer.py`` writes.

``Outline`` is all but the answers: the entries, and the code for which ``Tokenizer`` is to be asked, in pieces that can
be given to several processes. It depends on the file alone, and so does the table.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.elf import EM_AARCH64
from annotate.debuginfo.elfimage import PADDING_PREFIX
from annotate.debuginfo.tokenizer import Stretch, Tokenizer
from annotate.model import LinkAddr
from annotate.tables.contents import Entry, ImageContents, Section

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from annotate.debuginfo.image import DebugImage
    from annotate.tables.tokens import Tokens

#: Units whose symbols are one piece of work: some tens of milliseconds.
_UNITS_A_PIECE = 24

#: log2 of the distance between instructions, where all are of one size: distances need fewer bytes then.
_SHIFTS = {EM_AARCH64: 2}


class Outline(NamedTuple):
    """An image but for its answers. It stands on its own: the file may be closed."""

    build_id: str
    arch: str
    is_module: bool
    entries: list[Entry]
    pieces: list[list[Stretch]]  #: neighbours together
    order: list[int]  #: which entry each ``Stretch`` is of, through all pieces
    sections: list[Section]
    data_names: list[bytes]
    end: LinkAddr
    shift: int
    is_partial: bool


def outline(image: DebugImage, only: Collection[LinkAddr] | None = None) -> Outline:
    """The outline of an image; with ``only`` of the symbols at these addresses alone."""
    entries: list[Entry] = []
    data_names: list[bytes] = []
    ends: list[int] = []
    for symbols in image.symbols.by_address():
        code = tuple(symbol for symbol in symbols if symbol.is_code)
        data_names += [
            symbol.name for symbol in symbols if not symbol.is_code and (only is None or symbol.address in only)
        ]
        if code:
            entries.append(Entry(code[0].address, code))
            ends.append(code[0].end)
    names = Counter(symbol.name for entry in entries for symbol in entry.symbols)
    starts = [entry.address for entry in entries]
    sections = [Section(name, start, size) for name, start, size in image.code_sections()]
    if only is not None:
        kept = [index for index, entry in enumerate(entries) if entry.address in only]
        entries, ends = [entries[index] for index in kept], [ends[index] for index in kept]
    targets = set(starts)
    entries = [_with_calls(image, entry, end, names, targets) for entry, end in zip(entries, ends, strict=True)]
    entries, end = _without_gaps(entries, ends, sections, is_partial=only is not None)
    shift = _SHIFTS.get(image.machine, 0)
    if any(entry.address & (1 << shift) - 1 for entry in entries):
        shift = 0
    pieces, order = _pieces(image, entries, end, is_partial=only is not None)
    return Outline(
        image.build_id,
        image.arch,
        image.is_module,
        entries,
        pieces,
        order,
        sections,
        data_names,
        end,
        shift,
        only is not None,
    )


def _without_gaps(
    entries: list[Entry], ends: list[int], sections: Sequence[Section], *, is_partial: bool
) -> tuple[list[Entry], LinkAddr]:
    """The entries with those added that no symbol names, and the end of the last."""
    known = {entry.address for entry in entries}
    unnamed = {end for end in ends if end not in known}
    last = max(ends, default=0)
    if not is_partial:
        unnamed.update(section.start for section in sections if section.start not in known)
        last = max(last, max((section.start + section.size for section in sections), default=0))
    covered = sorted(zip((entry.address for entry in entries), ends, strict=True))
    result = list(entries)
    position = 0
    reached = 0
    for address in sorted(unnamed):
        while position < len(covered) and covered[position][0] <= address:
            reached = max(reached, covered[position][1])
            position += 1
        if reached <= address < last:
            result.append(Entry(LinkAddr(address), ()))
    result.sort(key=lambda entry: entry.address)
    return result, LinkAddr(last)


def _with_calls(image: DebugImage, entry: Entry, end: int, names: Counter[bytes], targets: set[LinkAddr]) -> Entry:
    """Add the calls of functions that share their name with others: they may tell which of them a frame is of."""
    if image.is_module or all(names[symbol.name] == 1 for symbol in entry.symbols):
        return entry
    return entry._replace(
        calls=tuple(
            (address, target) for address, target in image.calls_between(entry.address, end) if target in targets
        )
    )


def _pieces(
    image: DebugImage, entries: Sequence[Entry], end: int, *, is_partial: bool
) -> tuple[list[list[Stretch]], list[int]]:
    """What is to be asked for, unit by unit: a unit is read once, wherever its code lies."""
    asked: list[tuple[int, Stretch, int]] = []
    bounds = [*(entry.address for entry in entries), LinkAddr(end)]
    for index, (start, following) in enumerate(pairwise(bounds)):
        symbols = entries[index].symbols
        if symbols and symbols[0].name.startswith(PADDING_PREFIX):
            continue
        if not symbols and is_partial:
            continue
        code_end = symbols[0].address + symbols[0].st_size if symbols and symbols[0].st_size else following
        unit = image.lines.unit_offset(start, code_end)
        asked.append((-1 if unit is None else unit, Stretch(start, code_end, following), index))
    asked.sort()
    pieces: list[list[Stretch]] = []
    order: list[int] = []
    units = 0
    last = None
    for unit_offset, stretch, index in asked:
        if unit_offset != last:
            if units % _UNITS_A_PIECE == 0:
                pieces.append([])
            units += 1
            last = unit_offset
        pieces[-1].append(stretch)
        order.append(index)
    return pieces, order


def answers(image: DebugImage) -> Iterator[tuple[LinkAddr, str, int]]:
    """Every place where the innermost location changes, by address: (address, file, line), line 0 where there is none.

    What ``chain`` answers, as opposed to the rows of the line programs (``DebugImage.rows``); a table gives the same.
    """
    drawn = outline(image)
    tokenizer = Tokenizer(image.lines, drawn.shift, inlines=False)
    places: list[tuple[int, list[tuple[int, str, int]]]] = [(entry.address, []) for entry in drawn.entries]
    order = iter(drawn.order)
    for piece in drawn.pieces:
        for stretch in piece:
            places[next(order)][1].extend(tokenizer.places(stretch))
    last: tuple[str, int] = ("", 0)
    for start, some in places:
        for address, file, line in some or [(start, "", 0)]:
            if (file, line) != last:
                last = file, line
                yield LinkAddr(address), file, line
    if last != ("", 0):
        yield drawn.end, "", 0


class Description(NamedTuple):
    """What a file does not say of itself, or says elsewhere."""

    name: str  #: of a module
    release: str
    source: str


def contents(drawn: Outline, tokens: Sequence[Tokens], description: Description, *, has_inlines: bool) -> ImageContents:
    """Put an outline and its answers together; ``tokens`` are those of its pieces, in their order."""
    return ImageContents(
        name=description.name,
        build_id=drawn.build_id,
        release=description.release,
        arch=drawn.arch,
        source=description.source,
        is_module=drawn.is_module,
        has_inlines=has_inlines,
        is_partial=drawn.is_partial,
        shift=drawn.shift,
        end=drawn.end,
        sections=drawn.sections,
        entries=drawn.entries,
        order=drawn.order,
        tokens=tokens,
        data_names=drawn.data_names,
    )
