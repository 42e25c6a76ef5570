"""The rows that the kernel's own host tool makes of debug info: its choice, order, file ids and paths.

For comparison, byte for byte, and for nothing else: of several rows at an address that tool keeps the one with the
lowest file id, where DWARF means the last, and it takes the end of a sequence for a row. Source: kernel documentation
admin-guide/kallsyms-lineinfo and the text of its tool as posted in v3, in words; and what libdw, through which that
tool reads, was seen to answer: rows of a unit by address, ends of sequences before others at the same address, else in
the order of the program; names as directory/name, the directory as it stands in the table.

Modules are read with all relocations applied, which that tool does not manage.
"""

from __future__ import annotations

import re
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING

from annotate.debuginfo import relocate
from annotate.debuginfo.attributes import AT_COMP_DIR, AT_STMT_LIST
from annotate.debuginfo.elf import ET_REL
from annotate.debuginfo.lineheader import read_line_program
from annotate.debuginfo.lineprogram import plain_rows
from annotate.debuginfo.module_layout import lay_out
from annotate.debuginfo.paths import TOP_LEVEL
from annotate.debuginfo.unitindex import UnitIndex
from annotate.debuginfo.units import DECODING_ERRORS, debug_sections
from annotate.errors import DamagedFileError, NoDebugInfoError
from annotate.tables.kernel_blocks import WORD
from annotate.tables.kernel_rows import Entries, check_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.debuginfo.elf import ElfFile
    from annotate.debuginfo.lineheader import LineProgram, String
    from annotate.debuginfo.lineprogram import PlainRow
    from annotate.debuginfo.units import Unit

_TOP_LEVEL = re.compile(rb"/(?=(?:%b)/)" % b"|".join(sorted(name.encode() for name in TOP_LEVEL)))

#: A row on its way to being sorted: offset, file id and line in one number.
_OFFSET_SHIFT, _FILE_SHIFT = 48, 32


def collect_upstream_entries(elf: ElfFile, ranges: Sequence[tuple[int, int]]) -> list[Entries]:
    """The entries of each range (start, end) of addresses, as a module is laid out by ``module_layout``.

    A range without rows has no entries. Raises NoDebugInfoError without .debug_line and DamagedFileError for anything
    that cannot be decoded: what is left out would change what follows.
    """
    collectors = [_Collector(start, end) for start, end in ranges]
    values = relocate.symbol_values(elf, lay_out(elf.sections).bases) if elf.type == ET_REL else []
    sections = debug_sections(elf, values)._replace(aranges=None)  # no address is looked up
    if sections.line is None:
        raise NoDebugInfoError(elf.source, "expected debug info, found an ELF file without .debug_line (stripped?)")
    index = UnitIndex(sections)
    seen: set[int] = set()
    for header in index.headers():
        unit = index.root(header)
        offset = unit.number(AT_STMT_LIST)
        if offset is None or offset in seen:
            continue
        seen.add(offset)
        address_size = header.encoding.address_size
        program = read_line_program(sections.line, offset, address_size, sections.source, sections.byte_order)
        rows = _read_rows(program)
        if any(one[0] > other[0] for one, other in pairwise(rows)):
            rows.sort(key=_first)
        names = _Names(program, unit)
        for collector in collectors:
            collector.add(rows, names)
    for error in index.damage.values():
        raise error
    for collector in collectors:
        check_names(list(collector.ids), elf.source)
    return [collector.finish() for collector in collectors]


def _first(row: PlainRow) -> int:
    return row[0]


class _Collector:
    """The rows of one range."""

    def __init__(self, start: int, end: int) -> None:
        self._start = start
        self._end = min(end, start + WORD + 1)
        self._rows: list[int] = []
        self.ids: dict[bytes, int] = {}

    def add(self, rows: Sequence[PlainRow], names: _Names) -> None:
        """Keep the rows of one unit that belong here; a file's id is the order in which it was first seen."""
        ids = self.ids
        start, end = self._start, self._end
        of_number: dict[int, int] = {}
        kept: dict[int, None] = {}
        for place, number, line in rows:
            address = place >> 1
            if not line or not start <= address < end:
                continue
            file = of_number.get(number)
            if file is None:
                name = names.find(number)
                file = of_number[number] = -1 if name is None else ids.setdefault(name, len(ids))
            if file >= 0:
                kept[address - start << _OFFSET_SHIFT | file << _FILE_SHIFT | line] = None
        self._rows += kept

    def finish(self) -> Entries:
        """Sort by offset, file id and line; of those at one offset, keep the first that differs from what is before."""
        rows = self._rows
        rows.sort()
        offsets, files, lines = array("I"), array("I"), array("I")
        last_offset = last_place = -1
        for row in rows:
            offset = row >> _OFFSET_SHIFT
            place = row & (1 << _OFFSET_SHIFT) - 1
            if offset != last_offset and place != last_place:
                offsets.append(offset)
                files.append(place >> _FILE_SHIFT)
                lines.append(place & WORD)
                last_offset, last_place = offset, place
        return Entries(offsets, files, lines, list(self.ids))


def _read_rows(program: LineProgram) -> list[PlainRow]:
    """Every row of a program in its order, ends of sequences too. Raises DamagedFileError."""
    try:
        return list(plain_rows(program))
    except DECODING_ERRORS as error:
        raise DamagedFileError(
            program.source, ".debug_line", program.offset, "a line program", f"{type(error).__name__}: {error}"
        ) from error


class _Names:
    """The file names of one unit as libdw gives them, shortened as the host tool does."""

    def __init__(self, program: LineProgram, unit: Unit) -> None:
        self._program = program
        self._unit = unit
        self._comp_dir = unit.string(*unit.root[AT_COMP_DIR]) if AT_COMP_DIR in unit.root else b""

    def find(self, number: int) -> bytes | None:
        """The path of a file number, None when there is no such file."""
        files, directories = self._program.files, self._program.directories
        if not 0 <= number < len(files):
            return None
        name, directory = files[number]
        path = self._text(name)
        if self._program.encoding.version < 5 and number == 0:
            path = b"???"
        elif not path.startswith(b"/") and directory < len(directories):
            is_unit_folder = directory == 0 and self._program.encoding.version < 5
            if not is_unit_folder:
                path = self._text(directories[directory]) + b"/" + path
            elif self._comp_dir:
                path = self._comp_dir + b"/" + path
        return shorten(path, self._comp_dir)

    def _text(self, name: String) -> bytes:
        return name if isinstance(name, bytes) else self._unit.string(*name)


def shorten(path: bytes, comp_dir: bytes) -> bytes:
    """The path that the host tool writes: below the folder of the build, else from a top-level directory's name on.

    Nothing is normalised: ``./`` and ``..`` stay.
    """
    if path.startswith(b"/"):
        if comp_dir and path.startswith(comp_dir + b"/"):
            rest = path[len(comp_dir) + 1 :]
            if b"/" in rest:
                return rest
        return _from_top_level(path) or path.rpartition(b"/")[2]
    middle = len(path) // 2
    if len(path) > 1 and path[middle : middle + 1] == b"/" and path[:middle] == path[middle + 1 :]:
        return path[:middle]
    if b"/" not in path and comp_dir.startswith(b"/"):
        return _from_top_level(comp_dir + b"/" + path) or path
    return path


def _from_top_level(path: bytes) -> bytes:
    match = _TOP_LEVEL.search(path)
    return path[match.end() :] if match is not None else b""
