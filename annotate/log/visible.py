"""What a reader sees of a line: without colours, with blanks where a mail or a JSON string writes them otherwise.

Consoles, loggers, mail programs and web pages put codes into a line, even into the middle of a name or a number. The
grammar reads the text without them, and every position in it can be led back to the raw line. Locations that stand
behind frames already are taken out as well: an annotated line reads as it did before.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

#: An escape of a JSON string, or of ``dmesg``: what it stands for. A run of backslashes (JSON within JSON) is not
#: looked at as a whole, only its last one.
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b'"': b'"', b"9": b"\t", b"a": b"\n", b"d": b"\r"}

#: HTML, quoted-printable, UTF-8.
_CHARACTERS = {
    b"&lt;": b"<",
    b"&gt;": b">",
    b"&amp;": b"&",
    b"&quot;": b'"',
    b"&apos;": b"'",
    b"&nbsp;": b" ",
    b"&#32;": b" ",
    b"&#34;": b'"',
    b"&#39;": b"'",
    b"&#40;": b"(",
    b"&#41;": b")",
    b"&#43;": b"+",
    b"&#47;": b"/",
    b"&#60;": b"<",
    b"&#62;": b">",
    b"&#91;": b"[",
    b"&#93;": b"]",
    b"&#160;": b" ",
    b"=20": b" ",
    b"=09": b"\t",
    b"=3D": b"=",
    b"=C2=A0": b" ",
    b"\xc2\xa0": b" ",
}

_COLOUR = rb"\[[\d;]{0,32}+[mK]"
#: Each alternative begins with a byte of its own: so ``re`` skips to the next one, 40 ns a byte sooner.
_CODES = re.compile(
    rb"\x1b(?P<colour>"
    + _COLOUR
    + rb")|\\(?:(?P<escaped_colour>(?:u001b|x1b|033|e)"
    + _COLOUR
    + rb")|(?:x0|u000)?(?P<escape>(?<=0)[9ad]|(?<!0)[nrt\"]))|"
    + rb"&(?:[a-z]{2,4}|#\d{2,3});|=(?:20|09|3D|C2=A0)|\xc2\xa0"
    + rb"| (?P<annotation>\([^()\n]{1,8192}+\))(?![\w.$+/])"
)
#: The end of a location, and what follows it in an annotation.
_LOCATION = re.compile(rb":\d+(?:[,)]| in | or )")

_FILE_SIGN = re.compile(rb"[./]")
#: Up to the end of a bracket, or as much as is looked at.
_BRACKET = re.compile(rb" \([^()\n]{1,8192}+\)?")
#: One whose file has no name.
_NO_FILE = re.compile(rb" \(\?(?::\d+)?(?:[,)]| in | or )")

#: What a line holds if there may be anything to take out; and bytes of it, which are found sooner.
_SIGN = re.compile(rb"[\x1b\\&=\xc2(]")
_SIGNS = re.compile(rb"[\x1b\\&]|=(?:20|09|3D|C2)|\xc2\xa0| \([^()\n]{1,8192}+\)")


class Visible(NamedTuple):
    """The text that a reader sees, and where each piece of it stands in the raw line."""

    text: bytes
    starts: list[int]  #: of the pieces, in the text; ascending from 0
    raw_starts: list[int]
    raw_ends: list[int]  #: of a piece that stands for one byte of the text; 0 for one that stands for itself
    annotated: frozenset[int]  #: positions in the text at which a location was taken out

    def raw_start(self, position: int) -> int:
        """Where the byte at a position of the text begins in the raw line."""
        piece = bisect_right(self.starts, position) - 1
        if self.raw_ends[piece]:
            return self.raw_starts[piece]
        return self.raw_starts[piece] + position - self.starts[piece]

    def raw_end(self, position: int) -> int:
        """Where the byte before a position of the text ends in the raw line; ``position`` is not 0."""
        piece = bisect_right(self.starts, position - 1) - 1
        return self.raw_ends[piece] or self.raw_starts[piece] + position - self.starts[piece]


def visible(body: bytes) -> Visible | None:
    """The text of a line as it is read; None if that is the line itself."""
    if _SIGN.search(body) is None or _SIGNS.search(body) is None:
        return None
    parts: list[bytes] = []
    starts: list[int] = []
    raw_starts: list[int] = []
    raw_ends: list[int] = []
    annotated: set[int] = set()
    size = done = 0
    for match in _CODES.finditer(body):
        start, end = match.span()
        kind = match.lastgroup
        if kind == "annotation":
            end = match.end("annotation")
            if not names_location(body, start):
                continue
        elif kind is None and match[0] not in _CHARACTERS:
            continue
        if start > done:
            parts.append(body[done:start])
            starts.append(size)
            raw_starts.append(done)
            raw_ends.append(0)
            size += start - done
        done = end
        if kind == "annotation":
            annotated.add(size)
        elif kind is None or kind == "escape":
            parts.append(_ESCAPES[match["escape"]] if kind else _CHARACTERS[match[0]])
            starts.append(size)
            raw_starts.append(start)
            raw_ends.append(end)
            size += 1
    if done == 0:
        return None
    parts.append(body[done:])
    starts.append(size)
    raw_starts.append(done)
    raw_ends.append(0)
    return Visible(b"".join(parts), starts, raw_starts, raw_ends, frozenset(annotated))


def names_location(text: bytes, start: int) -> bool:
    """Whether what stands in brackets at ``start``, behind a blank, is a location: ours, or a LINEINFO kernel's.

    It begins with a path and a line; all of it may be one, or a part: ``(a.c:1 in f, b.c:2)``.
    """
    bracket = _BRACKET.match(text, start)
    if bracket is None:
        return False
    if _NO_FILE.match(text, start) is not None:
        return True
    match = _LOCATION.search(text, start, bracket.end())
    return match is not None and _FILE_SIGN.search(text, start, match.start()) is not None
