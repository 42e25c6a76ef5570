"""The text form: the log as it was, with ``(file:line)`` inserted behind each frame.

Lines are never rebuilt: annotations are spliced in at byte positions, so everything else stays as it is.
"""

from __future__ import annotations

from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from annotate.model import LogBlock, Missing, Repeats
from annotate.render.names import readable
from annotate.render.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import AnnotatedLine, Location, LogLine, Resolution
    from annotate.render.renderer import RenderOptions
    from annotate.summary import Summary

#: Text, and the location that it shows.
Piece = tuple[str, "Location | None"]

#: Candidates of an ambiguous frame that are spelled out.
MAX_CANDIDATES = 3

#: What would end a JSON string, or spoil it: quotes, backslashes, bytes that are no UTF-8.
UNQUOTABLE = dict.fromkeys((*map(ord, '"\\'), *range(0xDC80, 0xDD00)), "?")

_BRACKETS = dict.fromkeys(map(ord, "()"), "?")


_TEXT = attrgetter("text")


class PlainRenderer:
    """``--format text``."""

    remembers = True

    def __init__(self, options: RenderOptions) -> None:
        self._wording = Wording(options)
        self._excerpts = None
        if options.source is not None:
            from annotate.render.excerpts import Excerpts

            self._excerpts = Excerpts(options.source, options)

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        """The line with its annotations. ``log`` does not matter here."""
        if isinstance(piece, LogBlock):
            return piece.data
        if isinstance(piece, Repeats):
            return b"".join(chain.from_iterable(zip(piece.heads, map(_TEXT, piece.lines), strict=True)))
        text = self._line(piece.line, piece.resolutions)
        if piece.remembered is not None:
            piece.remembered.text = text[piece.head :]
        return text

    def _line(self, line: LogLine, resolutions: Sequence[Resolution]) -> bytes:
        parts: list[bytes] = []
        done = 0
        for resolution in resolutions:
            text = self.annotation(resolution)
            if text and b'"' in line.body:
                text = text.decode("utf-8", "surrogateescape").translate(UNQUOTABLE).encode()
            if text:
                end = resolution.frame.end
                parts += (line.body[done:end], text)
                done = end
        text = b"".join((*parts, line.body[done:], line.ending))
        return text if self._excerpts is None else text + self._excerpts.text(line, resolutions)

    def finish(self, summary: Summary) -> bytes:
        """The triage; else nothing stands behind a text log."""
        if summary.crashes is None:
            return b""
        from annotate.render.triage import triage_behind

        return triage_behind(summary, summary.written_end)

    def annotation(self, resolution: Resolution) -> bytes:
        """What goes behind one frame, with a blank in front; nothing when there is no answer."""
        pieces = self._wording.pieces(resolution)
        return f" ({''.join([text for text, _ in pieces])})".encode("utf-8", "surrogateescape") if pieces else b""


class Place(NamedTuple):
    """A location as it is shown, fit for any terminal: ``fs/read_write.c:637`` and `` in vfs_write``."""

    shown: str
    naming: str  #: empty where the function is the printed one
    location: Location


class Wording:
    """What is said of a frame, in pieces: each is a location as it is shown, with that location, or what joins them."""

    def __init__(self, options: RenderOptions) -> None:
        self._innermost_only = options.inlines == "innermost"
        self._demangle = options.demangle

    def pieces(self, resolution: Resolution) -> list[Piece]:
        """All of it but the brackets around it; nothing when there is no answer."""
        if resolution.missing is Missing.AMBIGUOUS:
            return _alternatives(resolution.candidates)
        pieces: list[Piece] = []
        for place in self.places(resolution):
            if pieces:
                pieces.append((", ", None))
            pieces.append((place.shown, place.location))
            if place.naming:
                pieces.append((place.naming, None))
        return pieces

    def places(self, resolution: Resolution) -> list[Place]:
        """The places of an answer, innermost first; a function is named unless it is the printed one.

        With ``--inlines innermost`` the first one alone, as a LINEINFO kernel prints it.
        """
        locations = resolution.locations
        if not locations:
            return []
        symbol = resolution.frame.symbol.decode("utf-8", "surrogateescape")
        if self._innermost_only:
            return [Place(shown(locations[0]), self._naming(locations[-1].function, symbol), locations[0])]
        return [
            Place(shown(place), self._naming(place.function, "" if place.inlined else symbol), place)
            for place in locations
        ]

    def _naming(self, function: str, symbol: str) -> str:
        if function == symbol:
            return ""
        return printable(f" in {readable(function) if self._demangle else function}")


def _alternatives(candidates: Sequence[Sequence[Location]]) -> list[Piece]:
    """Where each candidate is: its innermost place, or the function's own where the innermost is the same."""
    places = [_place(chain, 0) for chain in candidates]
    if len({text for text, _ in places}) < len(places):
        places = list({_place(chain, -1)[0]: _place(chain, -1) for chain in candidates}.values())
    spelled = places[:MAX_CANDIDATES]
    if len(places) > MAX_CANDIDATES:
        spelled.append((f"{len(places) - MAX_CANDIDATES} more", None))
    return [piece for place in spelled for piece in ((" or ", None), place)][1:]


def _place(chain: Sequence[Location], level: int) -> Piece:
    return (shown(chain[level]), chain[level]) if chain else ("?", None)


def shown(place: Location) -> str:
    """``fs/read_write.c:637``."""
    return printable(f"{_path(place)}:{place.line}")


def _path(place: Location) -> str:
    """A file as it is shown, such that the grammar knows an annotation when it meets one again.

    That is without brackets, and with at least a dot or a slash; ``?`` where the debug info names none.
    """
    path = place.file
    if "(" in path or ")" in path:
        path = path.translate(_BRACKETS)
    if not path:
        return "?"
    return path if "/" in path or "." in path else f"./{path}"
