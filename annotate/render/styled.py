"""The text form for a terminal: quiet colours, and links from locations to sources.

Nothing is rebuilt here either: codes are put around stretches of a line, and what remains without them is what
``plain.py`` writes. A line that has colours of its own keeps them; only what is inserted gets ours. Each line is styled
when it comes, by what stood above it, so a log that is still being written is styled as it grows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rich.color import ColorSystem
from rich.style import Style

from annotate.log.message import LineKind, find_message, kind_of
from annotate.model import LogBlock, LogLine, Repeats
from annotate.render.excerpts import Excerpts, joined
from annotate.render.focus import Focus, Role
from annotate.render.plain import UNQUOTABLE, Wording
from annotate.render.terminal import Guard
from annotate.render.triage import triage_behind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import AnnotatedLine, KernelId, Resolution
    from annotate.render.plain import Piece
    from annotate.render.renderer import RenderOptions, StyleOptions
    from annotate.summary import Summary

_RESET = b"\x1b[0m"
_SGR = re.compile(rb"\x1b\[[\d;:]*m")
_SGR_RESET = re.compile(rb"\x1b\[0*m")
#: Colours that a log left switched on: more than these are not kept apart.
_MAX_ACTIVE = 16


def _codes(definition: str) -> bytes:
    """The sequence that switches a style on, of the sixteen colours that every palette has."""
    text = Style.parse(definition).render("|", color_system=ColorSystem.STANDARD)
    return text.partition("|")[0].encode("ascii")


class Look(NamedTuple):
    """The sequences for one role of a frame; empty for text as it is."""

    frame: bytes
    location: bytes
    words: bytes  #: of an annotation, between its locations


#: Magenta is the one of the sixteen colours that reads equally well on black and on white: a contrast of 4.5 and 4.7
#: with the palette of xterm, where cyan and green have 2 on white, and blue has 2 on black. It is never dimmed.
_LOOKS = {
    Role.FRAME: Look(b"", _codes("magenta"), b""),
    Role.FOCUS: Look(_codes("bold"), _codes("bold magenta"), b""),
    Role.ASIDE: Look(_codes("dim"), _codes("dim"), _codes("dim")),
}
_NO_LOOK = Look(b"", b"", b"")

_DIM = _codes("dim")
_KINDS = {
    LineKind.TITLE: _codes("bold"),
    LineKind.REGISTERS: _DIM,
    LineKind.CODE: _DIM,
    LineKind.MODULES: _DIM,
    LineKind.MARKER: _DIM,
}


class StyledRenderer:
    """``--format text`` with colours, links or both."""

    remembers = False  # how a line looks depends on the lines above it

    def __init__(self, options: RenderOptions, style: StyleOptions) -> None:
        self._wording = Wording(options)
        self._excerpts = None if options.source is None else Excerpts(options.source, options)
        self._has_colors = style.colors
        self._link = options.link
        self._guard = Guard() if options.is_guarded else None
        self._focus = Focus(style.is_plumbing)
        self._active: list[bytes] = []  # the log's own colours that are switched on
        self._is_inside_line = False

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        """The line, styled. ``log`` does not matter here."""
        if isinstance(piece, LogBlock):
            return self._block(piece.data)
        if isinstance(piece, Repeats):
            return self._block(b"".join(piece.heads))
        self._is_inside_line = False
        return self._line(piece)

    def finish(self, summary: Summary) -> bytes:
        """What the guard has kept, and the triage."""
        kept = b"" if self._guard is None else self._guard.flush()
        return kept + triage_behind(summary, kept[-1:] or summary.written_end)

    def _block(self, data: bytes) -> bytes:
        """Text without a frame."""
        if not self._has_colors:
            return data if self._guard is None else self._guard.feed(data)
        parts: list[bytes] = []
        for line in _lines(data):
            if line.endswith(b"\n") and not self._is_inside_line:
                body = line.rstrip(b"\r\n")
                is_own, _, kind = self._look_at(body)
                parts.append(self._wrapped(body, b"" if is_own else _KINDS.get(kind, b"")))
                parts.append(self._wrapped(line[len(body) :], b""))
            else:  # part of a line that is too long to be held back
                self._note_own(line)
                parts.append(line if self._guard is None else self._guard.feed(line))
                self._is_inside_line = not line.endswith(b"\n")
        return b"".join(parts)

    def _line(self, annotated: AnnotatedLine) -> bytes:
        line, resolutions = annotated.line, annotated.resolutions
        body = line.body
        is_own, start, kind = self._look_at(body)
        base = b"" if is_own else _KINDS.get(kind, b"")
        parts: list[bytes] = []
        done = 0
        for resolution in resolutions:
            frame = resolution.frame
            look = _LOOKS[self._focus.role(resolution, kind)] if self._has_colors else _NO_LOOK
            begin = frame.span[0]
            if look.words and len(resolutions) == 1:
                begin = max(done, min(start, begin))  # with the ``?`` and all else that leads to it
            if begin > done:
                parts.append(self._wrapped(body[done:begin], base))
                done = begin
            if frame.end > done:
                parts.append(self._wrapped(body[done : frame.end], b"" if is_own else look.frame or base))
                done = frame.end
            parts.append(self._annotation(resolution, annotated.kernel, look, is_quoted=b'"' in body))
        parts.append(self._wrapped(body[done:], base))
        parts.append(self._wrapped(line.ending, b""))
        if self._excerpts is not None:
            parts.append(self._excerpt(self._excerpts, line, resolutions))
        return b"".join(parts)

    def _look_at(self, body: bytes) -> tuple[bool, int, LineKind]:
        """Whether a line has colours of its own, where its message begins, and what it is."""
        if not self._has_colors:
            return False, 0, LineKind.OTHER
        is_own = bool(self._active) or b"\x1b" in body
        seen = _SGR.sub(b"", body) if is_own else body
        start = find_message(seen).start
        message = seen[start:]
        kind = kind_of(message)
        self._focus.see(kind, message)
        return is_own, start, kind

    def _wrapped(self, text: bytes, codes: bytes) -> bytes:
        """A stretch of the log that is followed by something of ours, or by a line end."""
        if not text:
            return b""
        self._note_own(text)
        if self._guard is not None:
            text = self._guard.all_of(text)
        return b"".join((codes, text, _RESET)) if codes else text

    def _note_own(self, text: bytes) -> None:
        """Keep what the log itself switches on, to be restored behind an insertion."""
        if self._has_colors and b"\x1b" in text:
            for found in _SGR.findall(text):
                if _SGR_RESET.fullmatch(found):
                    self._active.clear()
                else:
                    self._active = [*(known for known in self._active if known != found), found][-_MAX_ACTIVE:]

    def _annotation(self, resolution: Resolution, kernel: KernelId, look: Look, *, is_quoted: bool) -> bytes:
        pieces = self._wording.pieces(resolution)
        if not pieces:
            return b""
        parts = [
            self._inserted(piece, kernel, look, is_quoted=is_quoted) for piece in [(" (", None), *pieces, (")", None)]
        ]
        if self._active and self._has_colors:
            return b"".join((_RESET, *parts, *self._active))
        return b"".join(parts)

    def _inserted(self, piece: Piece, kernel: KernelId, look: Look, *, is_quoted: bool) -> bytes:
        shown, place = piece
        text = (shown.translate(UNQUOTABLE) if is_quoted else shown).encode("utf-8", "surrogateescape")
        codes = look.words if place is None else look.location
        uri = self._link(place, kernel) if place is not None and self._link is not None else ""
        if uri:
            # OSC 8: https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda
            text = b"\x1b]8;;%s\x1b\\%s\x1b]8;;\x1b\\" % (uri.encode("ascii"), text)
        return b"".join((codes, text, _RESET)) if codes else text

    def _excerpt(self, excerpts: Excerpts, line: LogLine, resolutions: Sequence[Resolution]) -> bytes:
        rows: list[bytes] = []
        for row in excerpts.rows(resolutions):
            text = row.text.encode("utf-8", "surrogateescape")
            codes = _DIM if self._has_colors and not row.is_marked else b""
            rows.append(b"".join((codes, text, _RESET)) if codes else text)
        if rows and self._active:
            rows[0], rows[-1] = _RESET + rows[0], b"".join((rows[-1], *self._active))
        return joined(rows, line)


def _lines(data: bytes) -> list[bytes]:
    """Lines with their ends, by LF alone."""
    *lines, rest = data.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])
