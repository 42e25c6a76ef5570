"""The text form: the log as it was, with ``(file:line)`` inserted behind each frame.

Lines are never rebuilt: annotations are spliced in at byte positions, so everything else stays as it is.
"""

from __future__ import annotations

from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from annotate.model import LogBlock, Missing, Repeats
from annotate.render.names import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import AnnotatedLine, Location, LogLine, Resolution
    from annotate.render.renderer import RenderOptions
    from annotate.summary import Summary

#: Candidates of an ambiguous frame that are spelled out.
MAX_CANDIDATES = 3

#: A path comes from debug info, which may be anybody's; it must not break the line or steer a terminal.
_UNPRINTABLE = dict.fromkeys(
    (
        *range(0x20),
        *range(0x7F, 0xA0),
        *range(0x202A, 0x202F),  # right-to-left overrides and the like
        *range(0x2066, 0x206A),
        *range(0xDC80, 0xDCA0),  # raw bytes 80 to 9f: control characters of eight-bit terminals
    ),
    "?",
)


#: What would end a JSON string, or spoil it: quotes, backslashes, bytes that are no UTF-8.
_UNQUOTABLE = dict.fromkeys((*map(ord, '"\\'), *range(0xDC80, 0xDD00)), "?")

_BRACKETS = dict.fromkeys(map(ord, "()"), "?")


_TEXT = attrgetter("text")


class PlainRenderer:
    """``--format text``."""

    remembers = True

    def __init__(self, options: RenderOptions) -> None:
        self._innermost_only = options.inlines == "innermost"
        self._demangle = options.demangle

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
                text = text.decode("utf-8", "surrogateescape").translate(_UNQUOTABLE).encode()
            if text:
                end = resolution.frame.end
                parts += (line.body[done:end], text)
                done = end
        return b"".join((*parts, line.body[done:], line.ending))

    def finish(self, summary: Summary) -> bytes:
        """Nothing stands behind a text log."""
        return b""

    def annotation(self, resolution: Resolution) -> bytes:
        """What goes behind one frame, with a blank in front; nothing when there is no answer."""
        if resolution.missing is Missing.AMBIGUOUS:
            text = _alternatives(resolution.candidates)
        elif resolution.locations:
            symbol = resolution.frame.symbol.decode("utf-8", "surrogateescape")
            text = (self._innermost if self._innermost_only else self._chain)(resolution.locations, symbol)
        else:
            return b""
        if not text.isprintable():  # translating takes 2 us
            text = text.translate(_UNPRINTABLE)
        return f" ({text})".encode("utf-8", "surrogateescape")

    def _chain(self, locations: Sequence[Location], symbol: str) -> str:
        """Innermost first; a function is named unless it is the printed one."""
        return ", ".join(
            f"{_path(place)}:{place.line}" + self._named(place.function, "" if place.inlined else symbol)
            for place in locations
        )

    def _innermost(self, locations: Sequence[Location], symbol: str) -> str:
        """The first location alone, as a LINEINFO kernel prints it; another function than the printed one is named."""
        return f"{_path(locations[0])}:{locations[0].line}" + self._named(locations[-1].function, symbol)

    def _named(self, function: str, symbol: str) -> str:
        if function == symbol:
            return ""
        return f" in {readable(function) if self._demangle else function}"


def _alternatives(candidates: Sequence[Sequence[Location]]) -> str:
    """Where each candidate is: its innermost place, or the function's own where the innermost is the same."""
    places = [_place(chain, 0) for chain in candidates]
    if len(set(places)) < len(places):
        places = list(dict.fromkeys(_place(chain, -1) for chain in candidates))
    shown = places[:MAX_CANDIDATES]
    if len(places) > MAX_CANDIDATES:
        shown.append(f"{len(places) - MAX_CANDIDATES} more")
    return " or ".join(shown)


def _place(chain: Sequence[Location], level: int) -> str:
    return f"{_path(chain[level])}:{chain[level].line}" if chain else "?"


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
