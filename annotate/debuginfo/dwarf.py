"""Address -> chain of source locations, from the DWARF of one file.

Only the units that are asked for are read. The rules are those that make such a reader agree with the best tools on
hundreds of thousands of addresses; where one is not obvious it is named where it is applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.debuginfo import lineprogram
from annotate.debuginfo.attributes import (
    AT_COMP_DIR,
    AT_LANGUAGE,
    AT_NAME,
    AT_STMT_LIST,
)
from annotate.debuginfo.inlines import ASSEMBLERS, FunctionIndex, call_chain
from annotate.debuginfo.linefiles import NamedFiles, line_of, row_with_line, sequences_of, text
from annotate.debuginfo.lineheader import read_line_program
from annotate.debuginfo.orphans import OrphanLines
from annotate.debuginfo.unitindex import UnitIndex
from annotate.debuginfo.units import DECODING_ERRORS, DebugSections, Unit
from annotate.errors import AnnotateError
from annotate.model import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from annotate.debuginfo.inlines import Call
    from annotate.debuginfo.linefiles import SequenceRows
    from annotate.debuginfo.lineprogram import LineRows


#: Patchable nops in front of a function: two on arm64 (8 bytes, 12 with a landing pad), four on riscv; and then some.
MAX_NOPS = 32


class DwarfLines:
    """The line information of one file.

    A unit that cannot be decoded answers nothing; why stands in ``damage``, and all other units go on answering.
    """

    def __init__(self, sections: DebugSections) -> None:
        self._index = UnitIndex(sections)
        self._units: dict[int, UnitLines | None] = {}
        self._orphans = OrphanLines(sections, self._index)

    @property
    def damage(self) -> list[AnnotateError]:
        """What was found broken so far, one error a unit."""
        return list(self._index.damage.values())

    def chain(self, address: int, start: int, end: int) -> tuple[Location, ...]:
        """The locations of an address, innermost first; empty where nothing covers it.

        ``start`` and ``end`` bound the code of the symbol that the address belongs to. A row that begins before the
        symbol is the function before it (padding and patchable nops have no rows of their own): the first row behind
        the address within the symbol is taken instead.
        """
        try:
            unit = self._index.unit_of(address)
            if unit is None:
                orphan = self._orphans.chain(address, start, end)
                if orphan:
                    return orphan
                # The first function of a unit may begin with nops that no unit claims (arm64 modules).
                following = self._index.next_unit(address, min(end, start + MAX_NOPS))
                if following is None:
                    return ()
                address, unit = following
        except AnnotateError:
            return ()  # ``damage`` has it
        lines = self.unit_lines(unit.header.offset)
        if lines is None:
            return ()
        try:
            return lines.chain(address, start, end)
        except AnnotateError as error:
            self._index.damage.setdefault(unit.header.offset, error)
            return ()

    def rows(self) -> Iterator[tuple[int, str, int]]:
        """Every place where file or line change, by address: (address, file, line). Decodes every unit.

        No file and line 0 stand where a sequence ends and no other begins.
        """
        sequences: list[tuple[int, int, Callable[[], Iterator[tuple[int, str, int]]], int]] = []
        for header in self._index.headers():
            lines = self.unit_lines(header.offset)
            if lines is not None:
                try:
                    sequences += [(*sequence, header.offset) for sequence in lines.sequences()]
                except AnnotateError as error:
                    self._index.damage.setdefault(header.offset, error)
        try:
            sequences += [(*sequence, -1) for sequence in self._orphans.sequences()]
        except AnnotateError as error:
            self._index.damage.setdefault(-1, error)
        sequences.sort(key=lambda sequence: sequence[:2])
        last: tuple[str, int] | None = None
        covered_to = 0
        for start, end, rows, unit in sequences:
            if covered_to < start and last is not None and last != ("", 0):
                yield covered_to, "", 0
                last = ("", 0)
            try:
                for address, file, line in rows():
                    if (file, line) != last:
                        yield address, file, line
                        last = file, line
            except AnnotateError as error:  # a file name that cannot be read: the rest of the sequence goes without
                self._index.damage.setdefault(unit, error)
            except DECODING_ERRORS as error:
                self._index.damage.setdefault(unit, self._index.unit_at(unit).damaged(error))
            covered_to = end
        if last is not None:
            yield covered_to, "", 0

    def unit_offset(self, start: int, end: int) -> int | None:
        """Which unit answers for an address: where its header is; None when no unit does. ``end`` as for ``chain``."""
        return self._index.offset_of(start, min(end, start + MAX_NOPS))

    def covered_to(self, address: int, offset: int) -> int:
        """Where the range of the unit at ``offset`` ends that has the address; the address where none has."""
        return self._index.covered_to(address, offset)

    def unit_offsets_between(self, start: int, end: int) -> set[int]:
        """The units that have code from ``start`` up to ``end``."""
        return self._index.offsets_between(start, end)

    def unit_bounds_between(self, start: int, end: int) -> list[int]:
        """Where the code of units begins and ends, behind ``start`` and before ``end``."""
        return self._index.bounds_between(start, end)

    def orphan_bounds_between(self, start: int, end: int) -> list[int]:
        """Where the answers of line programs that no unit names may change, behind ``start`` and before ``end``."""
        return self._orphans.bounds_between(start, end)

    def note(self, offset: int, error: AnnotateError) -> None:
        """Add what was found broken in the unit at ``offset`` to ``damage``."""
        self._index.damage.setdefault(offset, error)

    def forget(self) -> None:
        """Let go of the units read so far; what is asked again is read again."""
        self._units.clear()
        self._index.forget()

    def unit_lines(self, offset: int) -> UnitLines | None:
        """What the unit at ``offset`` holds; None where it is broken, which ``damage`` has then."""
        if offset not in self._units:
            try:
                self._units[offset] = UnitLines(self._index, self._index.unit_at(offset))
            except AnnotateError as error:
                self._index.damage.setdefault(offset, error)
                self._units[offset] = None
        return self._units[offset]


class UnitLines:
    """Rows, functions and file names of one unit, each decoded when first asked for."""

    def __init__(self, index: UnitIndex, unit: Unit) -> None:
        self.units = index
        self.unit = unit
        sections = unit.sections
        stmt_list = unit.number(AT_STMT_LIST)
        self.rows: LineRows | None = None
        self._files: NamedFiles | None = None
        try:
            if stmt_list is not None and sections.line is not None:
                size, order = unit.encoding.address_size, sections.byte_order
                program = read_line_program(sections.line, stmt_list, size, sections.source, order)
                self.rows = lineprogram.LineRows(program)
                comp_dir, name = (
                    text(unit.string(*unit.root[attribute])) if attribute in unit.root else ""
                    for attribute in (AT_COMP_DIR, AT_NAME)
                )
                self._files = NamedFiles(program, unit.string, comp_dir, name)
            self.functions = FunctionIndex(unit)
        except DECODING_ERRORS as error:
            raise unit.damaged(error) from error

    def chain(self, address: int, start: int, end: int) -> tuple[Location, ...]:
        """See ``DwarfLines.chain``. Raises DamagedFileError."""
        try:
            return self._chain(address, start, end)
        except DECODING_ERRORS as error:
            raise self.unit.damaged(error) from error

    def _chain(self, address: int, start: int, end: int) -> tuple[Location, ...]:
        rows = self.rows
        if rows is None:
            return ()
        address = self._behind_nops(address, start, end)
        calls = call_chain(self.units, self.unit, self.functions, address)
        found = rows.find(address)
        if found is not None and rows.addresses[found[0]] >= start:
            index = row_with_line(rows, *found, start)
            if index is not None and index != found[0]:
                near = call_chain(self.units, self.unit, self.functions, rows.addresses[index])
                return self._near(calls, near, rows.rows[index])
        elif len(calls) > 1:
            # No row of its own, but the code of an inlined call: the call is where it is.
            return self._locations(calls[1:], calls[0].file, calls[0].line)
        else:
            index = rows.first_between(address, end)
        if index is None or line_of(rows.rows[index]) == 0:
            return ()
        if found is None or index != found[0]:
            calls = call_chain(self.units, self.unit, self.functions, rows.addresses[index])
        row = rows.rows[index]
        return self._locations(calls, row >> lineprogram.FILE_SHIFT, row & lineprogram.LINE_MASK)

    def _near(self, own: list[Call], near: list[Call], row: int) -> tuple[Location, ...]:
        """The chain of an address whose row has line 0, where ``row`` is the nearest before it that has a line.

        ``own`` are the calls at the address and ``near`` those at that row. Only the levels that both are in can be
        told: within an inlined call that has begun or ended since, the row's line is another call's. Its call site is
        where the innermost of these levels is; the row is, when neither has further levels.
        """
        shared = 0
        while shared < min(len(own), len(near)) and own[-1 - shared] == near[-1 - shared]:
            shared += 1
        kept = max(shared, min(len(own), 1))  # the address is in its function, whichever the row is in
        file, line = row >> lineprogram.FILE_SHIFT, row & lineprogram.LINE_MASK
        if len(own) > kept and own[-1 - kept].line:
            _, file, line = own[-1 - kept]
        elif shared < kept:
            return ()  # the row is another function's
        elif len(near) > kept:
            _, file, line = near[-1 - kept]
        return self._locations(own[len(own) - kept :], file, line) if line else ()

    def _behind_nops(self, address: int, start: int, end: int) -> int:
        """The address, or the start of the function where the address is among the nops in front of it.

        Patchable nops (-fpatchable-function-entry) are the symbol's but not in the function's entry. A row that begins
        on them is one that the function before left over: gas puts a pending .loc on the next instruction. Compilers
        write such nops; assembly has symbols without an entry that reach over others with one.
        """
        if self.is_assembly:
            return address
        behind = self.functions.first_behind(address, min(end, start + MAX_NOPS))
        return address if behind is None else behind

    @property
    def is_assembly(self) -> bool:
        """Whether the unit was written in assembly, where symbols are not what functions are."""
        return self.unit.number(AT_LANGUAGE) in ASSEMBLERS

    def damaged(self, error: Exception) -> AnnotateError:
        """The error for bytes of this unit that cannot be what they should be."""
        return self.unit.damaged(error)

    def _locations(self, calls: list[Call], file: int, line: int) -> tuple[Location, ...]:
        """The chain of ``calls``, the innermost of which is at ``file`` and ``line``."""
        if not calls:
            return (Location(self.file(file), line, "", inlined=False),)
        locations = []
        for call in calls:
            name = call.function.decode("utf-8", "surrogateescape")
            locations.append(Location(self.file(file), line, name, inlined=call is not calls[-1]))
            file, line = call.file, call.line
        return tuple(locations)

    def file(self, number: int) -> str:
        """The path in the kernel tree of a file number of this unit's line program, empty when there is none."""
        return self._files.path(number) if self._files is not None else ""

    def sequences(self) -> list[SequenceRows]:
        """Start, end and rows (address, file, line) of each sequence."""
        return [] if self.rows is None or self._files is None else sequences_of(self.rows, self._files)
