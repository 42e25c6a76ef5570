"""Address -> chain of source locations, from the DWARF of one file.

Only the units that are asked for are read. The rules are those that make such a reader agree with the best tools on
hundreds of thousands of addresses; where one is not obvious it is named where it is applied.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from annotate.debuginfo import lineprogram
from annotate.debuginfo.attributes import (
    AT_COMP_DIR,
    AT_NAME,
    AT_STMT_LIST,
)
from annotate.debuginfo.inlines import FunctionIndex, call_chain
from annotate.debuginfo.lineheader import read_line_program
from annotate.debuginfo.paths import tree_path, tree_roots
from annotate.debuginfo.units import DECODING_ERRORS, DebugSections, Unit, UnitIndex
from annotate.errors import AnnotateError, DamagedFileError
from annotate.model import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from annotate.debuginfo.inlines import Call
    from annotate.debuginfo.lineheader import LineProgram, String
    from annotate.debuginfo.lineprogram import LineRows


class DwarfLines:
    """The line information of one file.

    A unit that cannot be decoded answers nothing; why stands in ``damage`` (one error a unit), and all other units go
    on answering.
    """

    def __init__(self, sections: DebugSections) -> None:
        self._sections = sections
        self._index = UnitIndex(sections)
        self._units: dict[int, UnitLines | None] = {}
        self.damage: list[AnnotateError] = []

    def chain(self, address: int, start: int, end: int) -> tuple[Location, ...]:
        """The locations of an address, innermost first; empty where nothing covers it.

        ``start`` and ``end`` bound the code of the symbol that the address belongs to. A row that begins before the
        symbol is the function before it (padding and patchable nops have no rows of their own): the first row behind
        the address within the symbol is taken instead.
        """
        try:
            unit = self._index.unit_of(address)
            if unit is None:
                # The first function of a unit may begin with nops that no unit claims (arm64 modules).
                following = self._index.next_unit(address, end)
                if following is None:
                    return ()
                address, unit = following
            lines = self._unit_lines(unit.header.offset)
            return lines.chain(address, start, end) if lines is not None else ()
        except AnnotateError as error:
            self._note(error)
            return ()

    def rows(self) -> Iterator[tuple[int, str, int]]:
        """Every place where file or line change, by address: (address, file, line). Decodes every unit.

        No file and line 0 stand where a sequence ends and no other begins.
        """
        sequences = []
        for header in self._index.headers():
            lines = self._unit_lines(header.offset)
            if lines is not None:
                try:
                    sequences += lines.sequences()
                except DamagedFileError as error:
                    self._note(error)
        sequences.sort(key=lambda sequence: sequence[:2])
        last: tuple[str, int] | None = None
        covered_to = 0
        for start, end, rows in sequences:
            if covered_to < start and last is not None and last != ("", 0):
                yield covered_to, "", 0
                last = ("", 0)
            for address, file, line in rows():
                if (file, line) != last:
                    yield address, file, line
                    last = file, line
            covered_to = end
        if last is not None:
            yield covered_to, "", 0

    def _unit_lines(self, offset: int) -> UnitLines | None:
        if offset not in self._units:
            try:
                self._units[offset] = UnitLines(self._index, self._index.unit_at(offset))
            except AnnotateError as error:
                self._note(error)
                self._units[offset] = None
        return self._units[offset]

    def _note(self, error: AnnotateError) -> None:
        if error not in self.damage:
            self.damage.append(error)


class UnitLines:
    """Rows, functions and file names of one unit, each decoded when first asked for."""

    def __init__(self, index: UnitIndex, unit: Unit) -> None:
        self._index = index
        self._unit = unit
        sections = unit.sections
        stmt_list = unit.number(AT_STMT_LIST)
        self._program: LineProgram | None = None
        self._rows: LineRows | None = None
        if stmt_list is not None and sections.line is not None:
            self._program = read_line_program(
                sections.line,
                stmt_list,
                unit.encoding.address_size,
                sections.source,
                sections.byte_order,
            )
            self._rows = lineprogram.LineRows(self._program)
        try:
            self._functions = FunctionIndex(unit)
        except DECODING_ERRORS as error:
            raise self._damaged(error) from error
        self._files: dict[int, str] = {}
        self._roots: tuple[str, ...] | None = None

    def _name(self, name: String) -> str:
        """A name of the line program's header, wherever it lies."""
        return _text(name if isinstance(name, bytes) else self._unit.string(*name))

    def _damaged(self, error: Exception) -> DamagedFileError:
        return DamagedFileError(
            self._unit.sections.source,
            ".debug_info",
            self._unit.header.offset,
            "entries as their abbreviations say",
            f"{type(error).__name__}: {error}",
        )

    def chain(self, address: int, start: int, end: int) -> tuple[Location, ...]:
        """See ``DwarfLines.chain``."""
        rows = self._rows
        if rows is None:
            return ()
        # Nops in front of a function (-fpatchable-function-entry) are its symbol's but not its entry's. A row that
        # begins on them is one that the function before left over: gas puts a pending .loc on the next instruction.
        address = self._functions.first_behind(address, end) or address
        calls = self._calls(address)
        found = self._row(rows, address, start)
        if found is None:
            if len(calls) > 1:
                # No row of its own, but the code of an inlined call: the call is where it is.
                return self._locations(calls[1:], calls[0].file, calls[0].line)
            index = rows.first_between(address, end)
            if index is None or _line(rows.rows[index]) == 0:
                return ()
            found = rows.addresses[index], rows.rows[index]
        if found[0] != address:
            calls = self._calls(found[0])
        return self._locations(calls, found[1] >> lineprogram.FILE_SHIFT, found[1] & lineprogram.LINE_MASK)

    def _calls(self, address: int) -> list[Call]:
        try:
            return call_chain(self._index, self._unit, self._functions, address)
        except DECODING_ERRORS as error:
            raise self._damaged(error) from error

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

    def _row(self, rows: LineRows, address: int, start: int) -> tuple[int, int] | None:
        """The row that covers an address and begins in its symbol: (the row's own address or the one asked, row).

        Line 0 is "no line of its own" (DWARF 5 section 6.2.2): then the nearest row before it counts, and its address.
        """
        found = rows.find(address)
        if found is None:
            return None
        index, first = found
        place = address
        while rows.addresses[index] >= start:
            if _line(rows.rows[index]):
                return place, rows.rows[index]
            if index == first:
                break
            index -= 1
            place = rows.addresses[index]
        return None

    def file(self, number: int) -> str:
        """The path in the kernel tree of a file number of this unit's line program, empty when there is none."""
        path = self._files.get(number)
        if path is None:
            path = self._files[number] = self._path(number)
        return path

    def _path(self, number: int) -> str:
        program = self._program
        if program is None or not 0 <= number < len(program.files):
            return ""
        name, directory_number = program.files[number]
        if program.encoding.version < 5 and number == 0:
            name = self._unit.root.get(AT_NAME, b"")  # type: ignore[assignment]  # (value, form) is a String
        comp_dir = self._comp_dir()
        directories = program.directories
        if self._roots is None:
            self._roots = tree_roots(comp_dir, map(self._name, directories))
        # Directory 0 is the compilation directory itself; other relative ones are as seen from it.
        directory = self._name(directories[directory_number]) if 0 < directory_number < len(directories) else ""
        return tree_path(directory, self._name(name), comp_dir, self._roots)

    def _comp_dir(self) -> str:
        program, root = self._program, self._unit.root
        if program is not None and program.encoding.version >= 5 and program.directories:
            return self._name(program.directories[0])
        return _text(self._unit.string(*root[AT_COMP_DIR])) if AT_COMP_DIR in root else ""

    def sequences(self) -> list[tuple[int, int, Callable[[], Iterator[tuple[int, str, int]]]]]:
        """Start, end and rows (address, file, line) of each sequence."""
        rows = self._rows
        if rows is None:
            return []

        def between(first: int, last: int) -> Iterator[tuple[int, str, int]]:
            for index in range(first, last):
                row = rows.rows[index]
                yield rows.addresses[index], self.file(row >> lineprogram.FILE_SHIFT), _line(row)

        return [
            (sequence.start, sequence.end, partial(between, sequence.first, sequence.last))
            for sequence in rows.sequences()
        ]


def _line(row: int) -> int:
    """The line of a packed row; 0 where damage took it below zero."""
    line = row & lineprogram.LINE_MASK
    return line if line < lineprogram.LINE_LIMIT else 0


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
