"""``--source``: the lines around each location, below the line that names it.

    vfs_write+0xc7/0x3f0 (fs/read_write.c:582)
        |   581          if (file->f_op->write)
        | > 582                  ret = file->f_op->write(file, buf, count, pos);
        |   583          else if (file->f_op->write_iter)

Each row begins with blanks and a bar, which no kernel prints, so none is taken for a line of the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from annotate.render.printable import UNPRINTABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import Location, LogLine, Resolution
    from annotate.render.renderer import RenderOptions, SourceLines

_MARGIN = "    | "
_TAB = 8


class Row(NamedTuple):
    """One row of an excerpt."""

    text: str
    is_marked: bool  #: it is the located line


class Excerpts:
    """What a tree holds around locations, cut to the width of the terminal where there is one."""

    def __init__(self, source: SourceLines, options: RenderOptions) -> None:
        self._source = source
        self._width = options.width
        self._innermost_only = options.inlines == "innermost"

    def rows(self, resolutions: Sequence[Resolution]) -> list[Row]:
        """All rows for one line of a log, innermost location first; a file is named where it is not the only one."""
        places: dict[tuple[str, int], None] = {}
        for resolution in resolutions:
            for place in self._located(resolution):
                places[place.file, place.line] = None
        rows: list[Row] = []
        for file, number in places:
            around = self._source.around(file, number)
            if not around:
                continue
            if len(places) > 1:
                rows.append(self._row(file, is_marked=False))
            digits = len(str(around[-1][0]))
            for found, text in around:
                mark = ">" if found == number else " "
                shown = text.decode("utf-8", "surrogateescape").expandtabs(_TAB).rstrip()
                rows.append(self._row(f"{mark} {found:{digits}} {shown}".rstrip(), is_marked=found == number))
        return rows

    def text(self, line: LogLine, resolutions: Sequence[Resolution]) -> bytes:
        """The rows as they go behind a line with its line end."""
        return joined([row.text.encode("utf-8", "surrogateescape") for row in self.rows(resolutions)], line)

    def _located(self, resolution: Resolution) -> Sequence[Location]:
        return resolution.locations[:1] if self._innermost_only else resolution.locations

    def _row(self, text: str, *, is_marked: bool) -> Row:
        text = f"{_MARGIN}{text}".translate(UNPRINTABLE)
        return Row(text if self._width is None else _cut(text, self._width), is_marked)


def joined(rows: Sequence[bytes], line: LogLine) -> bytes:
    """Rows behind a line: they end as it does, and a last line without a line end stays without one."""
    if not rows:
        return b""
    if not line.ending:
        return b"\n" + b"\n".join(rows)
    return line.ending.join((*rows, b""))


def _cut(text: str, width: int) -> str:
    """What surely fits: whatever is not ASCII is taken to need two columns, as the widest characters do."""
    if text.isascii():
        return text[:width]
    columns = 0
    for position, character in enumerate(text):
        columns += 1 if character.isascii() else 2
        if columns > width:
            return text[:position]
    return text
