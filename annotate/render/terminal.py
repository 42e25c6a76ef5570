r"""What of a log could steer a terminal is shown as text.

A log is anybody's: a device name, a process name or a write to /dev/kmsg puts any bytes into it, and a terminal obeys
some of them. Of all that is not printable, tabs, line ends and colours (SGR, ECMA-48 8.3.117) pass as they are; the
rest is spelled: ``^[`` for ESC, ``^M`` for a CR that would let a line overwrite itself, ``\x9b`` for an eight-bit CSI,
``\u202e`` for what turns the direction of text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from annotate.render.printable import DIRECTIONS

if TYPE_CHECKING:
    from annotate.model import AnnotatedLine, LogBlock, Repeats
    from annotate.render.renderer import Renderer
    from annotate.summary import Summary

_MAX_PARAMETERS = 64
_SGR = rb"\x1b\[[\d;:]{0,%d}m" % _MAX_PARAMETERS
#: Serial consoles end lines with CR LF, some with CR CR LF.
_LINE_END = rb"\r{1,3}\n"
#: Well-formed sequences of more than a byte: the Unicode Standard, table 3-7.
_CHARACTER = (
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_DIRECTION = b"|".join(re.escape(chr(code).encode()) for codes in DIRECTIONS for code in codes)

_SUSPECTS = re.compile(
    rb"(?P<spelled>\xc2[\x80-\x9f]|" + _DIRECTION + rb")"
    rb"|(?P<kept>" + _SGR + rb"|" + _LINE_END + rb"|" + _CHARACTER + rb")"
    rb"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
#: Bytes at an end that more bytes could make a sequence of; never more than ``_MAX_UNFINISHED``.
_UNFINISHED = re.compile(
    rb"(?:\x1b(?:\[[\d;:]{0,%d})?|\r{1,3}|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
    % _MAX_PARAMETERS
)
_MAX_UNFINISHED = _MAX_PARAMETERS + 2


class Guard:
    """Feed it chunks of any size and ``flush`` it where something else comes in between; cuts make no difference."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The next bytes, made harmless. Up to 66 bytes are kept, where a sequence is not finished."""
        data = self._rest + data
        unfinished = _UNFINISHED.search(data, max(0, len(data) - _MAX_UNFINISHED))
        if unfinished is None:
            self._rest = b""
        else:
            self._rest = unfinished[0]
            data = data[: unfinished.start()]
        return _SUSPECTS.sub(_spell, data)

    def flush(self) -> bytes:
        """What was kept."""
        rest, self._rest = self._rest, b""
        return _SUSPECTS.sub(_spell, rest)

    def all_of(self, data: bytes) -> bytes:
        """Bytes behind which something else comes."""
        return self.feed(data) + self.flush()


class GuardedRenderer:
    """Another renderer, whose insertions hold no escapes, for a terminal."""

    def __init__(self, inner: Renderer) -> None:
        self._inner = inner
        self._guard = Guard()

    @property
    def remembers(self) -> bool:
        """As the other one does."""
        return self._inner.remembers

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        """What the other one writes, made harmless."""
        return self._guard.feed(self._inner.render(log, piece))

    def finish(self, summary: Summary) -> bytes:
        """What was kept, and what the other one writes behind the last log."""
        return self._guard.feed(self._inner.finish(summary)) + self._guard.flush()


def _spell(match: re.Match[bytes]) -> bytes:
    found = match[0]
    if match.lastgroup == "kept":
        return found
    code = found[0] if len(found) == 1 else ord(found.decode())
    if code < 0x80:
        return b"^%c" % (code ^ 0x40)
    return b"\\x%02x" % code if code < 0x100 else b"\\u%04x" % code
