"""Line programs that no unit names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.debuginfo import lineprogram
from annotate.debuginfo.attributes import FORM_LINE_STRP, FORM_STRP
from annotate.debuginfo.linefiles import NamedFiles, line_of, row_with_line, sequences_of
from annotate.debuginfo.lineheader import program_size, read_line_program
from annotate.errors import AnnotateError
from annotate.model import Location

if TYPE_CHECKING:
    from annotate.debuginfo.linefiles import SequenceRows
    from annotate.debuginfo.unitindex import UnitIndex
    from annotate.debuginfo.units import DebugSections


class OrphanLines:
    """Line programs that no unit names: assembly that was built with lines and without .debug_info.

    They are decoded when an address is in no unit; most files have none.
    """

    def __init__(self, sections: DebugSections, index: UnitIndex) -> None:
        self._sections = sections
        self._index = index
        self._programs: list[tuple[lineprogram.LineRows, NamedFiles]] | None = None

    def chain(self, address: int, start: int, end: int) -> tuple[Location, ...]:
        """As ``DwarfLines.chain``; without .debug_info there are no inlined calls and no names."""
        for rows, files in self._read():
            found = rows.find(address)
            index = None
            if found is not None and rows.addresses[found[0]] >= start:
                index = row_with_line(rows, *found, start)
            elif found is not None:
                index = rows.first_between(address, end)
            if index is not None and line_of(rows.rows[index]):
                row = rows.rows[index]
                path = files.path(row >> lineprogram.FILE_SHIFT)
                return (Location(path, line_of(row), "", inlined=False),)
        return ()

    def bounds_between(self, start: int, end: int) -> list[int]:
        """See ``DwarfLines.orphan_bounds_between``."""
        return [
            bound
            for rows, _ in self._read()
            for sequence in rows.sequences()
            if sequence.start < end and sequence.end > start
            for bound in (*rows.addresses[sequence.first : sequence.last], sequence.end)
            if start < bound < end
        ]

    def sequences(self) -> list[SequenceRows]:
        """As ``UnitLines.sequences``."""
        return [found for rows, files in self._read() for found in sequences_of(rows, files)]

    def _read(self) -> list[tuple[lineprogram.LineRows, NamedFiles]]:
        if self._programs is None:
            self._programs = []
            section = self._sections.line
            named = self._index.line_programs() if section is not None else set()
            offset = 0
            if self._index.damage:
                # A unit that cannot be read may be the one that names a program: its lines would lack inlined calls.
                section = None
            while section is not None and offset < section.size:
                try:
                    length = program_size(section, offset, self._sections.source, self._sections.byte_order)
                    if offset not in named:
                        program = read_line_program(
                            section, offset, 8, self._sections.source, self._sections.byte_order
                        )
                        rows = lineprogram.LineRows(program)
                        rows.sequences()
                        self._programs.append((rows, NamedFiles(program, self._string, "", "")))
                except AnnotateError as error:
                    # What no unit names may as well be padding between programs: the rest is not read.
                    if offset not in named and any(section.read(offset, min(offset + 4, section.size))):
                        self._index.damage.setdefault(-1 - offset, error)
                    break
                offset += length
        return self._programs

    def _string(self, value: int, form: int) -> bytes:
        section = {FORM_LINE_STRP: self._sections.line_str, FORM_STRP: self._sections.str}.get(form)
        return section.string(value) if section is not None else b""
