"""All inlined calls of a unit at once, for tables. A hot loop, beside ``inlines.py``, which answers for one address.

``UnitTrees`` walks every function of a unit and says for each stretch of its code which call it belongs to. Where
ranges overlap in a way that only the rules of ``inlines.call_chain`` can decide, it says so instead of deciding
(``UNDECIDED``), and the caller asks there address by address: so the two cannot disagree.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.abbreviations import TAG_INLINED_SUBROUTINE, TAG_LEXICAL_BLOCK
from annotate.debuginfo.attributes import (
    AT_ABSTRACT_ORIGIN,
    AT_CALL_FILE,
    AT_CALL_LINE,
    AT_HIGH_PC,
    AT_LINKAGE_NAME,
    AT_LOW_PC,
    AT_MIPS_LINKAGE_NAME,
    AT_NAME,
    AT_RANGES,
    FORM_ADDR,
    FORM_DATA1,
    FORM_DATA2,
    FORM_DATA4,
    FORM_DATA8,
    FORM_REF1,
    FORM_REF2,
    FORM_REF4,
    FORM_REF8,
)
from annotate.debuginfo.inlines import function_name, read_call, skip_attributes, skip_entry
from annotate.leb128 import read_uleb
from annotate.limits import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from annotate.debuginfo.abbreviations import Abbreviation
    from annotate.debuginfo.inlines import FunctionIndex
    from annotate.debuginfo.unitindex import UnitIndex
    from annotate.debuginfo.units import Range, Unit

#: Owners that are no node: outside every function; a stretch for which ``call_chain`` has to be asked.
NO_FUNCTION, UNDECIDED = -1, -2

#: What an abbreviation is to the walk.
_SKIPPED, _SCOPE, _CALL = 0, 1, 2

_Kind = tuple[int, "Abbreviation", "_Shape | None"]

#: (start, -end, order, node, end): sorted, an interval comes before those inside it.
_Interval = tuple[int, int, int, int, int]


class UnitTrees:
    """The inlined calls of a unit as columns, one entry a node; the functions themselves are nodes without a parent.

    ``starts`` and ``owners`` say which node the code from an address on belongs to, up to the next start.
    ``call_files`` are file numbers of the unit's line program. Without calls, all functions are one node. Raises
    ``units.DECODING_ERRORS`` and AnnotateError.
    """

    __slots__ = (
        "_kinds",
        "_names",
        "_unit",
        "_units",
        "call_files",
        "call_lines",
        "names",
        "owners",
        "parents",
        "starts",
    )

    def __init__(self, units: UnitIndex, unit: Unit, functions: FunctionIndex, *, with_calls: bool = True) -> None:
        self._units = units
        self._unit = unit
        self._names: dict[int, bytes] = {}
        self._kinds: dict[int, _Kind] = {}
        self.parents: list[int] = []
        self.names: list[bytes] = []
        self.call_files: list[int] = []
        self.call_lines: list[int] = []
        self.starts: list[int] = []
        self.owners: list[int] = []
        if not with_calls:
            self._bound(functions)
            return
        trees: dict[int, tuple[list[_Interval], bool]] = {}
        stretches = list(zip(functions.starts, functions.ends, functions.entries, strict=True))
        covered_to = -1
        for index, (start, end, position) in enumerate(stretches):
            if position not in trees:
                trees[position] = self._walk(position)
            intervals, is_plain = trees[position]
            overlaps = start < covered_to or (index + 1 < len(stretches) and stretches[index + 1][0] < end)
            if start > covered_to >= 0:
                self._change(covered_to, NO_FUNCTION)
            root = intervals[0][3] if intervals else NO_FUNCTION
            inside = [interval for interval in intervals[1:] if interval[0] < end and interval[4] > start]
            if overlaps or not is_plain or not self._sweep(start, end, root, inside):
                self._leave_undecided(start, end, inside)
            covered_to = max(covered_to, end)
        if covered_to >= 0:
            self._change(covered_to, NO_FUNCTION)

    def _bound(self, functions: FunctionIndex) -> None:
        """Only where functions are: one node for all."""
        self.parents.append(-1)
        covered_to = -1
        for start, end in zip(functions.starts, functions.ends, strict=True):
            if start > covered_to >= 0:
                self._change(covered_to, NO_FUNCTION)
            self._change(start, 0)
            covered_to = max(covered_to, end)
        if covered_to >= 0:
            self._change(covered_to, NO_FUNCTION)

    def _change(self, start: int, owner: int) -> None:
        starts, owners = self.starts, self.owners
        if starts and starts[-1] >= start:
            if starts[-1] == start:
                owners[-1] = owner
        elif not owners or owners[-1] != owner or owner == UNDECIDED:
            starts.append(start)
            owners.append(owner)

    def _sweep(self, start: int, end: int, root: int, intervals: list[_Interval]) -> bool:
        """Append who owns the code from ``start`` to ``end``; False, and nothing appended, where it is not plain.

        Plain is: each interval lies within one of its parent, and none of the same parent overlap.
        """
        if not intervals:
            self._change(start, root)
            return True
        starts, owners = [start], [root]
        parents = self.parents
        open_ends, open_nodes = [end], [root]
        for low, _, _, node, high in sorted(intervals):
            while open_ends[-1] <= low:
                closed = open_ends.pop()
                open_nodes.pop()
                if not open_ends:
                    return False
                if starts[-1] == closed:
                    owners[-1] = open_nodes[-1]
                else:
                    starts.append(closed)
                    owners.append(open_nodes[-1])
            if high > open_ends[-1] or parents[node] != open_nodes[-1] or low < start:
                return False
            if starts[-1] == low:
                owners[-1] = node
            else:
                starts.append(low)
                owners.append(node)
            open_ends.append(high)
            open_nodes.append(node)
        while len(open_ends) > 1:
            closed = open_ends.pop()
            open_nodes.pop()
            if closed >= end:
                continue
            if starts[-1] == closed:
                owners[-1] = open_nodes[-1]
            else:
                starts.append(closed)
                owners.append(open_nodes[-1])
        if self.starts and self.starts[-1] == start:
            self.starts.pop()
            self.owners.pop()
        self.starts += starts
        self.owners += owners
        return True

    def _leave_undecided(self, start: int, end: int, intervals: list[_Interval]) -> None:
        """Every place where the answer may change starts a stretch of its own."""
        starts, owners = self.starts, self.owners
        # The end too: behind it may be the rest of a function around this one. Such functions have bounds behind ours.
        bounds = {start, end, *(low for low, *_ in intervals), *(high for *_, high in intervals)}
        for bound in sorted(bounds):
            if start <= bound <= end:
                position = bisect_left(starts, bound)
                if position == len(starts) or starts[position] != bound:
                    starts.insert(position, bound)
                    owners.insert(position, UNDECIDED)
                owners[position] = UNDECIDED

    def _walk(self, position: int) -> tuple[list[_Interval], bool]:
        """The intervals of the calls in the function at ``position``, its own node first, and whether they are plain.

        Not plain: DWARF 2, where a call of several ranges has its first one only, and calls without ranges around
        others with some (see ``inlines.call_chain``).
        """
        unit = self._unit
        data, end = unit.data, len(unit.data)
        steps, kinds = unit.abbreviations.steps, self._kinds
        known_names = self._names
        parents, call_files, call_lines, names = self.parents, self.call_files, self.call_lines, self.names
        code, position = read_uleb(data, position)
        abbreviation = unit.abbreviations.by_code[code]
        root = len(parents)
        parents.append(-1)
        call_files.append(0)
        call_lines.append(0)
        names.append(b"")
        intervals: list[_Interval] = [(0, 0, 0, root, 0)]
        position = skip_attributes(unit, abbreviation, position)
        if not abbreviation.has_children:
            return intervals, True
        is_plain = unit.encoding.version > 2
        open_nodes = [root]
        without_ranges = 0  # the depth of the outermost open call without ranges
        while position < end:
            code = data[position]
            if steps[code]:
                position += steps[code]
                continue
            if code < 0x80:
                position += 1
            else:
                code, position = read_uleb(data, position)
            if code == 0:
                open_nodes.pop()
                if not open_nodes:
                    return intervals, is_plain
                if len(open_nodes) <= without_ranges:
                    without_ranges = 0
                continue
            known = kinds.get(code)
            if known is None:
                known = kinds[code] = _kind_of(unit.abbreviations.by_code[code])
            kind, abbreviation, shape = known
            if kind == _CALL:
                node = len(parents)
                ranges: list[Range]
                if shape is not None:
                    # Half the time of the dictionary of all attributes (vmlinux: 1.2 instead of 2.5 s).
                    values = shape.unpack(data, position) + shape.constants
                    position += shape.size
                    low, high, lists, file, line, origin = shape.places
                    call_files.append(values[file])
                    call_lines.append(values[line])
                    name = known_names.get(values[origin])
                    if name is None:
                        form = FORM_REF4  # the forms of a plain shape all count from the start of the unit
                        name = function_name(self._units, unit, {AT_ABSTRACT_ORIGIN: (values[origin], form)})
                        known_names[values[origin]] = name
                    names.append(name)
                    if lists >= 0:
                        ranges = unit.ranges(None, None, (values[lists], shape.list_form))
                    elif low >= 0:
                        ranges = [(values[low], values[low] + values[high])] if values[high] else []
                    else:
                        ranges = []
                else:
                    attributes, position = unit.attributes(abbreviation, position)
                    ranges = unit.ranges(
                        attributes.get(AT_LOW_PC), attributes.get(AT_HIGH_PC), attributes.get(AT_RANGES)
                    )
                    call = read_call(self._units, unit, attributes)
                    call_files.append(call.file)
                    call_lines.append(call.line)
                    names.append(call.function)
                parents.append(open_nodes[-1])
                for start, stop in ranges:
                    intervals.append((start, -stop, node, node, stop))
                if ranges and without_ranges:
                    is_plain = False
                if abbreviation.has_children:
                    if not ranges and not without_ranges:
                        without_ranges = len(open_nodes)
                    open_nodes.append(node)
                    if len(open_nodes) > MAX_DEPTH:
                        raise ValueError(f"entries nested deeper than {MAX_DEPTH}")
            elif kind == _SCOPE:
                position = skip_attributes(unit, abbreviation, position)
                open_nodes.append(open_nodes[-1])
                if len(open_nodes) > MAX_DEPTH:
                    raise ValueError(f"entries nested deeper than {MAX_DEPTH}")
            else:
                position = skip_entry(unit, abbreviation, position)
        return intervals, is_plain


class _Shape(NamedTuple):
    """Where the values of a call stand when all of its attributes have a fixed size and plain forms.

    ``places``: indexes of DW_AT_low_pc, high_pc, ranges (-1 where there is none), call_file, call_line and
    abstract_origin in the unpacked values with ``constants`` behind them.
    """

    unpack: Callable[[bytes, int], tuple[int, ...]]
    size: int
    constants: tuple[int, ...]
    places: tuple[int, int, int, int, int, int]
    list_form: int


def _shape_of(abbreviation: Abbreviation) -> _Shape | None:
    layout = abbreviation.layout
    if abbreviation.size is None or layout.wide:
        return None
    forms = dict(layout.values)
    order = {name: index for index, (name, _) in enumerate(layout.values)}
    constants: list[int] = []
    for name, (value, form) in layout.constants.items():
        order[name], forms[name] = len(layout.values) + len(constants), form
        constants.append(value)
    order[0] = len(layout.values) + len(constants)  # what is not there is 0
    constants.append(0)
    if AT_RANGES in order:
        low = high = -1
    elif AT_LOW_PC in order and AT_HIGH_PC in order:
        low, high = order[AT_LOW_PC], order[AT_HIGH_PC]
        if forms[AT_LOW_PC] != FORM_ADDR or forms[AT_HIGH_PC] not in _CONSTANTS:
            return None
    else:
        low = high = -1
    if forms.get(AT_ABSTRACT_ORIGIN) not in _UNIT_REFERENCES or abbreviation.has(AT_LINKAGE_NAME, AT_NAME):
        return None
    if abbreviation.has(AT_MIPS_LINKAGE_NAME):
        return None
    places = (
        low,
        high,
        order.get(AT_RANGES, -1),
        order.get(AT_CALL_FILE, order[0]),
        order.get(AT_CALL_LINE, order[0]),
        order[AT_ABSTRACT_ORIGIN],
    )
    return _Shape(layout.unpack, abbreviation.size, tuple(constants), places, forms.get(AT_RANGES, 0))


_CONSTANTS = frozenset({FORM_DATA1, FORM_DATA2, FORM_DATA4, FORM_DATA8})
_UNIT_REFERENCES = frozenset({FORM_REF1, FORM_REF2, FORM_REF4, FORM_REF8})


def _kind_of(abbreviation: Abbreviation) -> _Kind:
    if abbreviation.tag == TAG_INLINED_SUBROUTINE:
        return _CALL, abbreviation, _shape_of(abbreviation)
    if abbreviation.tag == TAG_LEXICAL_BLOCK and abbreviation.has_children:
        return _SCOPE, abbreviation, None
    return _SKIPPED, abbreviation, None
