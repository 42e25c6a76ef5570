"""Frames that a mail client, a pager or a quoted-printable encoder broke over two lines.

What is inserted goes behind the part that completes the frame, so only the second line changes. The two lines are put
together again, the grammar reads the result, and the frames that reach into the second line are that line's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import regex

from annotate.log.grammar import find_frames
from annotate.model import LogLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import Frame

#: Where a line may stop within a frame, and how the next one goes on then. Patterns of the first kind are matched
#: backwards from the line's end.
_CUTS = tuple(
    (regex.compile(rb"(?r)" + end), regex.compile(start))
    for end, start in (
        (rb"(?<![\w.$])[A-Za-z_.$][\w.$]{0,511}", rb"\+0x[0-9a-f]{1,16}+/0x[0-9a-f]"),
        (rb"[\w.$]\+(?:0x?|0x[0-9a-f]{1,16})?", rb"0?x?[0-9a-f]{0,16}/0x[0-9a-f]"),
        (rb"[\w.$]\+0x[0-9a-f]{1,16}/(?:0x?)?", rb"0?x?[0-9a-f]{1,16}+(?![\w.$/])"),
        (rb"/0x[0-9a-f]{1,16} \[[\w-]{0,64}(?: [0-9a-f]{0,64})?", rb"[\w-]{0,64} ?[0-9a-f]{0,64}\]"),
    )
)
_LONGEST_CUT = 640

#: A bracket that was broken at its blank, in front of the build id.
_BRACKET_WITHOUT_ID = regex.compile(rb"(?r)/0x[0-9a-f]{1,16} \[[\w-]{1,64}")
_ID_AT_START = regex.compile(rb"[0-9a-f]{20,64}\]")

#: A line that is nothing but the module of the frame before it, whatever marks, and an annotation of it, stand behind.
_LONE_BRACKET = regex.compile(
    rb"\[(?![TC]\d+\])[A-Za-z_][\w-]{0,63}(?: [0-9a-f]{20,64})?\]\)?(?: ?\((?:[A-Z]+|unreliable)\))?"
    rb"(?: \([^()\n]{0,4096}:\d+[^()\n]{0,512}\)\)?)?\s*+$"
)


class Seam(NamedTuple):
    """Two lines put together again."""

    text: bytes
    position: int  #: where in ``text`` the second line begins
    skipped: int  #: bytes of the second line that are not in ``text``


def may_continue(before: bytes, body: bytes) -> bool:
    """A cheap test: whether ``body`` may complete a frame that began in ``before``."""
    rest = body.lstrip(b"> |\t")[:160]
    return (
        rest.startswith((b"+", b"/"))
        or before.endswith((b"=", b"+", b"/", b"x"))
        or (rest[:1] == b"[" and rest[1:2].isalpha())
        or (rest[:1].isalnum() and b"/0x" in rest[:20] and b"+" not in rest[:20])
        or (b"]" in rest and b"[" not in rest)
    )


#: What stands behind the last frame of a line that the next line may complete.
_OPEN = regex.compile(rb"[ \t]*=?|[ \t]*\[[\w-]{0,64}(?: [0-9a-f]{0,64})?=?")


def is_open(body: bytes, frames: Sequence[Frame]) -> bool:
    """Whether the next line may complete the last frame: with its module, or where its size was cut off."""
    if not frames or frames[-1].module or frames[-1].annotated or not frames[-1].symbol:
        return False
    return frames[-1].end == len(body) or _OPEN.fullmatch(body, frames[-1].end) is not None


def frames_across(before: bytes, body: bytes) -> list[Frame] | None:
    """The frames of ``body`` when ``before`` is put in front of it; None where no frame reaches over the line end."""
    seam = _seam(before, body)
    if seam is None:
        return None
    found = find_frames(LogLine(0, seam.text, b""))
    if not any(frame.span[0] < seam.position < frame.end and frame.size is not None for frame in found):
        return None
    return [_moved(frame, seam) for frame in found if frame.end > seam.position]


def _seam(before: bytes, body: bytes) -> Seam | None:
    if before.endswith(b"="):
        # The soft line break of quoted-printable (RFC 2045, 6.7): the line goes on as if it were not there.
        return Seam(before[:-1] + body, len(before) - 1, 0)
    quote = len(body) - len(body.lstrip(b"> |\t"))
    rest = body[quote:]
    before = before.rstrip()
    ending = before[-_LONGEST_CUT:]
    is_id = _ID_AT_START.match(rest) is not None and _BRACKET_WITHOUT_ID.match(ending) is not None
    if is_id or _LONE_BRACKET.match(rest) is not None:
        return Seam(before + b" " + rest, len(before) + 1, quote)
    if any(end.match(ending) is not None and start.match(rest) is not None for end, start in _CUTS):
        return Seam(before + rest, len(before), quote)
    return None


def _moved(frame: Frame, seam: Seam) -> Frame:
    """The frame with its positions in the second line."""
    start, end = frame.span
    shift = seam.skipped - seam.position
    span = max(start, seam.position) + shift, max(end, seam.position) + shift
    return frame._replace(span=span, end=frame.end + shift)
