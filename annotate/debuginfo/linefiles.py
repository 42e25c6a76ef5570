"""What the rows of one line program name: files as paths in the kernel tree, lines, sequences."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from annotate.debuginfo import lineprogram
from annotate.debuginfo.paths import tree_path, tree_roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from annotate.debuginfo.lineheader import LineProgram, String
    from annotate.debuginfo.lineprogram import LineRows


class NamedFiles:
    """The file names of one line program, as paths in the kernel tree."""

    def __init__(self, program: LineProgram, string: Callable[[int, int], bytes], comp_dir: str, name: str) -> None:
        self._program = program
        self._string = string
        self._comp_dir = comp_dir
        self._unit_name = name
        self._paths: dict[int, str] = {}
        self._roots: tuple[str, ...] | None = None

    def path(self, number: int) -> str:
        """The path of a file number of the program, empty when it has none."""
        path = self._paths.get(number)
        if path is None:
            path = self._paths[number] = self._find(number)
        return path

    def _find(self, number: int) -> str:
        program = self._program
        if not 0 <= number < len(program.files):
            return ""
        name, directory_number = program.files[number]
        directories = program.directories
        comp_dir = self._comp_dir
        if program.encoding.version >= 5:
            if directories:
                comp_dir = self._text(directories[0])
        elif number == 0:
            return tree_path("", self._unit_name, comp_dir, ())
        if self._roots is None:
            self._roots = tree_roots(comp_dir, map(self._text, directories))
        # Directory 0 is the compilation directory itself; other relative ones are as seen from it.
        directory = self._text(directories[directory_number]) if 0 < directory_number < len(directories) else ""
        return tree_path(directory, self._text(name), comp_dir, self._roots)

    def _text(self, name: String) -> str:
        return text(name if isinstance(name, bytes) else self._string(*name))


SequenceRows = tuple[int, int, "Callable[[], Iterator[tuple[int, str, int]]]"]


def sequences_of(rows: LineRows, files: NamedFiles) -> list[SequenceRows]:
    """Start, end and rows (address, file, line) of each sequence."""

    def between(first: int, last: int) -> Iterator[tuple[int, str, int]]:
        for index in range(first, last):
            row = rows.rows[index]
            yield rows.addresses[index], files.path(row >> lineprogram.FILE_SHIFT), line_of(row)

    return [
        (sequence.start, sequence.end, partial(between, sequence.first, sequence.last)) for sequence in rows.sequences()
    ]


def row_with_line(rows: LineRows, index: int, first: int, start: int) -> int | None:
    """The row at ``index``, or the nearest before it that has a line, back to ``start`` and the sequence's first row.

    Line 0 is "no line of its own" (DWARF 5 section 6.2.2).
    """
    while line_of(rows.rows[index]) == 0:
        if index == first or rows.addresses[index - 1] < start:
            return None
        index -= 1
    return index


def line_of(row: int) -> int:
    """The line of a packed row; 0 where damage took it below zero."""
    line = row & lineprogram.LINE_MASK
    return line if line < lineprogram.LINE_LIMIT else 0


def text(data: bytes) -> str:
    """A name as a string; bytes that are no UTF-8 are kept as lone surrogates."""
    return data.decode("utf-8", "surrogateescape")
