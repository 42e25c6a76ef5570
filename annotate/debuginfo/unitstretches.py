"""Rows and inlined calls of one unit merged: stretches of code that have one row and are of one call. A hot loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.debuginfo import lineprogram
from annotate.debuginfo.inlinetrees import NO_FUNCTION, UNDECIDED

if TYPE_CHECKING:
    from annotate.debuginfo.dwarf import UnitLines
    from annotate.debuginfo.inlinetrees import UnitTrees


class UnitStretches:
    """Rows and calls of one unit, merged: from ``starts[i]`` on the code is of ``nodes[i]`` and has ``rows[i]``.

    A row of -1 is none. ``is_row[i]`` is set where a row begins, as opposed to a call that begins within one.
    """

    __slots__ = ("is_assembly", "is_row", "lines", "nodes", "odd_rows", "rows", "starts", "trees")

    def __init__(self, lines: UnitLines, trees: UnitTrees, *, is_assembly: bool) -> None:
        self.lines = lines
        self.trees = trees
        self.is_assembly = is_assembly
        self.starts: list[int] = []
        self.nodes: list[int] = []
        self.rows: list[int] = []
        self.is_row = bytearray()
        if lines.rows is not None:
            self._merge(lines.rows)
        mask, limit = lineprogram.LINE_MASK, lineprogram.LINE_LIMIT
        #: Rows that are none of their own: line 0, or one that cannot be.
        self.odd_rows = frozenset(row for row in set(self.rows) if not 0 < row & mask < limit)

    def _merge(self, line_rows: lineprogram.LineRows) -> None:
        starts, nodes, rows, is_row = self.starts, self.nodes, self.rows, self.is_row
        addresses, packed = line_rows.addresses, line_rows.rows
        owner_starts = [*self.trees.starts, 1 << 65]
        owners = [*self.trees.owners, NO_FUNCTION]
        position = 0
        following, owner = owner_starts[0], NO_FUNCTION
        covered_to = 0
        for start, end, first, last in line_rows.sequences():
            if start < covered_to or addresses[last - 1] > end:  # code that the linker threw away, or worse
                self._leave_undecided(line_rows)
                return
            row = -1
            if covered_to:
                starts.append(covered_to)
                nodes.append(owner)
                rows.append(-1)
                is_row.append(1)
            for index in range(first, last):
                address = addresses[index]
                while following < address:
                    owner = owners[position]
                    starts.append(following)
                    nodes.append(owner)
                    rows.append(row)
                    is_row.append(0)
                    position += 1
                    following = owner_starts[position]
                if following == address:
                    owner = owners[position]
                    position += 1
                    following = owner_starts[position]
                row = packed[index]
                starts.append(address)
                nodes.append(owner)
                rows.append(row)
                is_row.append(1)
            while following < end:
                owner = owners[position]
                starts.append(following)
                nodes.append(owner)
                rows.append(row)
                is_row.append(0)
                position += 1
                following = owner_starts[position]
            covered_to = end
        starts.append(covered_to)
        nodes.append(owner)
        rows.append(-1)
        is_row.append(1)
        while following < owner_starts[-1]:
            starts.append(following)
            nodes.append(owners[position])
            rows.append(-1)
            is_row.append(0)
            position += 1
            following = owner_starts[position]

    def _leave_undecided(self, line_rows: lineprogram.LineRows) -> None:
        bounds = {*line_rows.addresses, *self.trees.starts}
        bounds.update(sequence.end for sequence in line_rows.sequences())
        self.starts = sorted(bounds)
        self.nodes = [UNDECIDED] * len(bounds)
        self.rows = [-1] * len(bounds)
        self.is_row = bytearray(b"\1" * len(bounds))
