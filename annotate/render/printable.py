"""Which characters may steer a terminal or mislead a reader, whoever wrote them.

C0 and C1 controls (ECMA-48), and the characters that turn the direction of text (Unicode, UAX #9): with those a line
reads otherwise than its bytes stand.
"""

from __future__ import annotations

#: Code points. Tab and newline are among them: whoever has a reason to let those pass does so.
CONTROLS = (range(0x20), range(0x7F, 0xA0))
DIRECTIONS = (range(0x202A, 0x202F), range(0x2066, 0x206A))

#: Bytes 80 to 9f that are no UTF-8, as ``surrogateescape`` decodes them: control characters of eight-bit terminals.
_RAW_CONTROLS = range(0xDC80, 0xDCA0)

#: For ``str.translate``, of text that is to stay on one line.
UNPRINTABLE = dict.fromkeys((code for codes in (*CONTROLS, *DIRECTIONS, _RAW_CONTROLS) for code in codes), "?")


def printable(text: str) -> str:
    """Words of debug info without what would break a line or steer a terminal; as long as before."""
    return text if text.isprintable() else text.translate(UNPRINTABLE)  # translating takes 2 us
