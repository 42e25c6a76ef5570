"""LEB128 integers (DWARF 5 section 7.6) for everything but the two hot decoding loops.

``debuginfo/lineprogram.py`` and ``debuginfo/inlines.py`` spell the same loop out inline where a call per value was
measured to cost 10 to 15 % of the whole decode; everybody else calls these.
"""

from __future__ import annotations

#: 64-bit values need at most ten bytes; a longer run of continuation bytes is damage, not data.
MAX_LENGTH = 10


def read_uleb(data: bytes, position: int) -> tuple[int, int]:
    """Read an unsigned value; return it and the position behind it.

    Raises IndexError when the data ends inside the value and ValueError when it is longer than 64 bits can
    need; callers turn both into an error that names the section.
    """
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    value = byte & 0x7F
    shift = 7
    while True:
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
        if shift >= 7 * MAX_LENGTH:
            raise ValueError("LEB128 value longer than ten bytes")


def read_sleb(data: bytes, position: int) -> tuple[int, int]:
    """Read a signed value; return it and the position behind it. Errors as for ``read_uleb``."""
    start = position
    value, position = read_uleb(data, position)
    if data[position - 1] & 0x40:
        value -= 1 << (7 * (position - start))
    return value, position


def write_uleb(value: int) -> bytes:
    """The bytes of an unsigned value, as few as it needs."""
    if value < 0x80:
        return _BYTES[value]
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def write_sleb(value: int) -> bytes:
    """The bytes of a signed value, as few as it needs."""
    if -0x40 <= value < 0x40:
        return _BYTES[value & 0x7F]
    result = bytearray()
    while not -0x40 <= value < 0x40:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value & 0x7F)
    return bytes(result)


_BYTES = [bytes((value,)) for value in range(0x80)]
