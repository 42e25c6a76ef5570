"""DWARF -> what a table holds: for every symbol of code the answers for each of its bytes.

A table must answer exactly as the debug information it was made from does. So what is written down are the answers of
``DwarfLines.chain`` themselves, with all rules applied, symbol by symbol: stretches of code that have the same chain.
Nearly all come straight from merging the rows of a unit with its inlined calls. Where a rule steps in (nops before a
function, rows of line 0, gaps, code of several units) ``chain`` is asked, once for each stretch on which its answer
cannot change.

The answers of a symbol become tokens here, because that is most of the work and can be done in several processes; what
needs all symbols at once (numbers of names, the most frequent tokens) is left to ``tables/writer.py``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from annotate.debuginfo import lineprogram
from annotate.debuginfo.dwarf import MAX_NOPS
from annotate.debuginfo.inlinetrees import NO_FUNCTION, UNDECIDED, UnitTrees
from annotate.debuginfo.units import DECODING_ERRORS
from annotate.debuginfo.unitstretches import UnitStretches
from annotate.errors import AnnotateError
from annotate.tables.tokens import (
    ELSEWHERE,
    ENTER,
    LINE_BIAS,
    LINE_BITS,
    MAX_DISTANCE,
    MAX_RANK,
    NOTHING,
    RANK_BITS,
    STEP,
    Tokens,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from annotate.debuginfo.dwarf import DwarfLines
    from annotate.model import Location

#: The function of the symbol itself, as a key.
_ROOT = -1

Chain = tuple["Location", ...]

#: What tells the calls within one symbol apart: the node of a unit; for a chain that was asked for, the call itself
#: with those that it is in; without inlined calls the file.
_Key = Any

#: Calls from the outermost in: key, name, file and line of the call (files as numbers of ``Tokens.paths``).
Path = tuple[tuple[_Key, bytes, int, int], ...]

#: From this address on: a node and the packed row, or a chain and -1.
_Answer = tuple[int, Any, int]


class Stretch(NamedTuple):
    """The code of one symbol."""

    start: int
    code_end: int  #: the end that the symbol table gives; what follows up to ``end`` is padding
    end: int  #: where the next symbol begins


class Tokenizer:
    """Makes the tokens of symbols. Not to be used for two images.

    ``shift``: addresses of code are multiples of ``1 << shift``. Without ``inlines`` only the innermost location is
    kept, and a "call" is a file.
    """

    def __init__(self, lines: DwarfLines, shift: int, *, inlines: bool) -> None:
        self._lines = lines
        self._shift = shift
        self._inlines = inlines
        self._unit: UnitStretches | None = None
        self._unit_offset: int | None = None
        self._tokens = Tokens()
        self._paths: dict[str, int] = {}
        self._names: dict[tuple[bytes, int], int] = {}
        self._file_numbers: dict[int, int] = {}  # of the open unit, as the next
        self._call_bounds: list[int] | None = None

    def tokens(self, stretches: Iterable[Stretch]) -> Tokens:
        """The tokens of these symbols, one entry each, in their order; neighbours should follow each other."""
        self._tokens = Tokens()
        self._paths, self._names, self._file_numbers = {}, {}, {}
        for stretch in stretches:
            self._add(self._answers(stretch), stretch.start)
        self._tokens.paths = list(self._paths)
        self._tokens.names = list(self._names)
        return self._tokens

    def places(self, stretch: Stretch) -> Iterator[tuple[int, str, int]]:
        """The innermost location of each part of a symbol: where it begins, file and line; line 0 for none."""
        for address, answer, row in self._answers(stretch):
            if row >= 0 and self._unit is not None:
                yield address, self._unit.lines.file(row >> lineprogram.FILE_SHIFT), row & lineprogram.LINE_MASK
            elif answer:
                yield address, answer[0].file, answer[0].line
            else:
                yield address, "", 0

    def _unit_at(self, offset: int) -> UnitStretches | None:
        """The merged unit; only the last one is kept."""
        if offset != self._unit_offset:
            self._lines.forget()
            self._unit_offset, self._unit, self._call_bounds = offset, None, None
            self._file_numbers = {}
            lines = self._lines.unit_lines(offset)
            if lines is not None:
                try:
                    trees = UnitTrees(lines.units, lines.unit, lines.functions, with_calls=self._inlines)
                    self._unit = UnitStretches(lines, trees, is_assembly=lines.is_assembly)
                except AnnotateError as error:
                    self._lines.note(offset, error)
                except DECODING_ERRORS as error:
                    self._lines.note(offset, lines.damaged(error))
        return self._unit

    def _answers(self, stretch: Stretch) -> list[_Answer]:
        """The answers for one symbol, by address: (address, node or chain, packed row or None)."""
        start, code_end, end = stretch
        offset = self._lines.unit_offset(start, code_end)
        unit = self._unit_at(offset) if offset is not None else None
        answers: list[_Answer] = []
        if offset is None or unit is None or not unit.starts:
            self._ask(answers, stretch, start, end)
            return answers
        starts, nodes, rows, is_row = unit.starts, unit.nodes, unit.rows, unit.is_row
        index = bisect_right(starts, start) - 1
        address = start
        if index < 0:
            address = min(starts[0], end)
            self._ask(answers, stretch, start, address)
            index = 0
        is_own = starts[index] == address and is_row[index] == 1
        count = len(starts)
        if is_own and not answers and self._lines.covered_to(address, offset) >= end:
            # Nearly always no rule steps in: all that is between is taken as it is.
            last = bisect_left(starts, end, index)
            some_nodes, some_rows = nodes[index:last], rows[index:last]
            lowest = min(some_nodes)
            if lowest == NO_FUNCTION and not unit.is_assembly:
                # Padding behind the function may be so, nops in front of it not.
                lowest = 0 if starts[index + some_nodes.index(NO_FUNCTION)] >= start + MAX_NOPS else UNDECIDED
            if lowest > UNDECIDED and min(some_rows) > 0 and unit.odd_rows.isdisjoint(some_rows):
                return list(zip(starts[index:last], some_nodes, some_rows, strict=True))
        near = start + MAX_NOPS
        line_mask, line_limit = lineprogram.LINE_MASK, lineprogram.LINE_LIMIT
        covered_to = self._lines.covered_to(address, offset)
        while address < end:
            following = starts[index + 1] if index + 1 < count else end
            following = min(following, end)
            node, row = nodes[index], rows[index]
            if following > covered_to:  # lines may go on where the unit's own ranges do not
                if address >= covered_to:
                    covered_to = self._lines.covered_to(address, offset)
                if following > covered_to:
                    if covered_to > address:
                        self._ask(answers, stretch, address, covered_to)
                    self._ask(answers, stretch, max(address, covered_to), following)
                    address = following
                    index += 1
                    continue
            is_own = is_own or (is_row[index] == 1 and starts[index] >= start)
            line = row & line_mask
            if (
                is_own
                and row > 0
                and 0 < line < line_limit
                and (node >= 0 or (node == NO_FUNCTION and (unit.is_assembly or address >= near)))
            ):
                answers.append((address, node, row))
            else:
                self._ask(answers, stretch, address, following)
            address = following
            index += 1
        return answers

    def _ask(self, answers: list[_Answer], stretch: Stretch, first: int, end: int) -> None:
        """Append the answers from ``first`` to ``end`` as ``chain`` gives them."""
        start, code_end, _ = stretch
        bounds = {first}
        bounds.update(bound for bound in (code_end, start + MAX_NOPS) if first < bound < end)
        own = self._unit_offset
        for offset in sorted(self._lines.unit_offsets_between(first, end), key=lambda offset: offset == own):
            unit = self._unit_at(offset)
            if unit is not None:
                bounds.update(_inside(unit.starts, first, end))
                if not self._inlines and _has_function(unit, first, end):
                    # Which call an address is in matters then too: of a row of line 0, where it is called is told.
                    bounds.update(_inside(self._call_bounds_of(unit), first, end))
        if own is not None:
            self._unit_at(own)
        bounds.update(self._lines.unit_bounds_between(first, end))
        bounds.update(self._lines.orphan_bounds_between(first, end))
        answers += [(bound, self._lines.chain(bound, start, code_end), -1) for bound in sorted(bounds)]

    def _call_bounds_of(self, unit: UnitStretches) -> list[int]:
        """Where inlined calls begin and end; only asked for where a rule steps in, and kept for the unit."""
        if self._call_bounds is None:
            lines = unit.lines
            try:
                self._call_bounds = UnitTrees(lines.units, lines.unit, lines.functions).starts
            except AnnotateError as error:
                self._lines.note(lines.unit.header.offset, error)
                self._call_bounds = []
            except DECODING_ERRORS as error:
                self._lines.note(lines.unit.header.offset, lines.damaged(error))
                self._call_bounds = []
        return self._call_bounds

    def _add(self, answers: list[_Answer], start: int) -> None:
        """Append one entry."""
        tokens = self._tokens
        step, special = tokens.steps.append, tokens.special
        before = len(tokens.steps)
        shift = self._shift
        unit = self._unit
        parents = unit.trees.parents if unit is not None else ()
        file_numbers = self._file_numbers
        slots: dict[_Key, int] = {}
        recent: list[int] = []
        files: list[int] = []
        lines: list[int] = []
        last: tuple[_Key | None, int, int] = (None, 0, 0)
        position = start
        answer_before, row_before = None, -1
        for address, answer, row in answers:
            if row == row_before and answer == answer_before and row >= 0:
                continue
            answer_before, row_before = answer, row
            key: _Key
            if row >= 0:
                line = row & lineprogram.LINE_MASK
                number = row >> lineprogram.FILE_SHIFT
                file = file_numbers.get(number, -1)
                if file < 0:
                    file = file_numbers[number] = self._path(unit.lines.file(number) if unit is not None else "")
                own = answer if answer >= 0 and parents[answer] >= 0 else _ROOT
                key = own if self._inlines else file
                path: Path = ()
            elif answer:
                file, line = self._path(answer[0].file), answer[0].line
                path = self._path_of_chain(answer) if self._inlines else ()
                key = file if not self._inlines else path[-1][0] if path else _ROOT
            else:
                key, file, line = None, 0, 0
            if (key, file, line) == last:
                continue
            last = key, file, line
            # Of both, not of their difference: what lies between instructions must not add up.
            distance = (address >> shift) - (position >> shift)
            position = address
            if key is None:
                if slots:  # what comes before the first token has no line anyway
                    step(-1 - len(special))
                    special.extend((NOTHING, distance))
                else:
                    position = start
                continue
            tokens.rows += 1
            slot = slots.get(key)
            if slot is None:
                if row >= 0 and key != _ROOT and self._inlines:
                    path = self._path_of_node(answer)
                if not slots:
                    root_file, root_line = (file, line) if not path else path[0][2:4]
                    slots[_ROOT if self._inlines else file] = 0
                    recent, files, lines = [0], [root_file], [root_line]
                    tokens.files.append(root_file)
                    tokens.lines.append(root_line)
                if key in slots:
                    slot = slots[key]
                else:
                    self._enter(distance, path, key, file, line, slots, recent, files, lines)
                    continue
            rank = 0
            if recent[0] != slot:
                rank = recent.index(slot)
                del recent[rank]
                recent.insert(0, slot)
            if files[slot] != file:
                step(-1 - len(special))
                special.extend((ELSEWHERE, distance, rank, file, line))
                continue
            lines_on = line - lines[slot]
            lines[slot] = line
            if rank <= MAX_RANK and distance <= MAX_DISTANCE and -LINE_BIAS <= lines_on < LINE_BIAS:
                step((distance << RANK_BITS | rank) << LINE_BITS | lines_on + LINE_BIAS)
            else:
                step(-1 - len(special))
                special.extend((STEP, distance, rank, lines_on))
        if not slots:
            tokens.files.append(0)
            tokens.lines.append(0)
        tokens.counts.append(len(tokens.steps) - before)

    def _enter(
        self,
        distance: int,
        path: Path,
        key: _Key,
        file: int,
        line: int,
        slots: dict[_Key, int],
        recent: list[int],
        files: list[int],
        lines: list[int],
    ) -> None:
        """Append the token of a stretch whose innermost call is new, and note the calls."""
        if not self._inlines:
            path = ((key, b"", file, 0),)
        known = len(path) - 1
        while known and path[known - 1][0] not in slots:
            known -= 1
        parent = path[known - 1][0] if known else next(iter(slots))
        slot = slots[parent]
        rank = recent.index(slot)
        entered: list[int] = []
        new = path[known:]
        for index, (node, name, call_file, call_line) in enumerate(new):
            is_innermost = index == len(new) - 1
            # The file of a function is that of its first row, or of the first call in it.
            own_file = file if is_innermost else new[index + 1][2]
            own_line = line if is_innermost else new[index + 1][3]
            name_key = name, own_file
            number = self._names.get(name_key)
            if number is None:
                number = self._names[name_key] = len(self._names)
            other_file = -1 if call_file == files[slot] or not self._inlines else call_file
            entered += (number, other_file, call_line - lines[slot] if index == 0 else call_line)
            slot = slots[node] = len(files)
            files.append(own_file)
            lines.append(own_line)
            recent.insert(0, slot)
        self._tokens.steps.append(-1 - len(self._tokens.special))
        self._tokens.special.extend((ENTER, distance, rank, len(new), *entered, line))

    def _path(self, path: str) -> int:
        number = self._paths.get(path)
        if number is None:
            number = self._paths[path] = len(self._paths)
        return number

    def _path_of_node(self, node: int) -> Path:
        unit = self._unit
        assert unit is not None
        trees = unit.trees
        path = []
        while trees.parents[node] >= 0:
            file = self._path(unit.lines.file(trees.call_files[node]))
            path.append((node, trees.names[node], file, trees.call_lines[node]))
            node = trees.parents[node]
        return tuple(reversed(path))

    def _path_of_chain(self, chain: Chain) -> Path:
        key: _Key = _ROOT
        path = []
        for index in range(len(chain) - 2, -1, -1):
            name = chain[index].function.encode("utf-8", "surrogateescape")
            file, line = self._path(chain[index + 1].file), chain[index + 1].line
            key = (key, name, file, line)
            path.append((key, name, file, line))
        return tuple(path)


def _inside(bounds: list[int], start: int, end: int) -> list[int]:
    """Those behind ``start`` and before ``end``."""
    return bounds[bisect_right(bounds, start) : bisect_left(bounds, end)]


def _has_function(unit: UnitStretches, start: int, end: int) -> bool:
    """Whether any function of the unit has code between."""
    trees = unit.trees
    first = max(bisect_right(trees.starts, start) - 1, 0)
    return any(owner != NO_FUNCTION for owner in trees.owners[first : bisect_left(trees.starts, end)])
