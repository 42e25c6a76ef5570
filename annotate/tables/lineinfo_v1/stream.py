"""What a stream says: the hot loop of a look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.leb128 import MAX_LENGTH
from annotate.tables.lineinfo_v1.layout import (
    ELSEWHERE,
    ENTER,
    ENTER_FILES,
    ENTER_ONE,
    FIRST_ESCAPE,
    MAX_CALLS,
    NOTHING,
    STEP,
    STEP_SAME,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEPS, _ENTERS = (STEP_SAME, STEP), (ENTER, ENTER_FILES)

#: Distance, call, path (or what is below) and line, from the usual first line where the file is the call's own.
Stretch = tuple[int, int, int, int]

#: In place of a path: there is no line; it is that of the call.
NO_LINE, OWN_FILE = -2, -1


class Calls:
    """The calls met so far in a stream; the entry's own function is the first.

    ``newest`` is the number of inlined functions met before the stream. ``lines`` and the lines of ``calls`` are from
    the usual first line of the function that they are in. ``slot`` is the most recent call. ``path`` and ``line`` are
    those of a stretch in another file.
    """

    __slots__ = ("_codes", "_recent", "calls", "line", "lines", "newest", "path", "slot")

    def __init__(self, newest: int, codes: list[tuple[int, int, int]]) -> None:
        self._codes = codes
        self.newest = newest
        self._recent = [0]  # the most recent is the last
        self.calls = [(-1, -1, 0, 0)]  #: call that it is in, function, file of the call (or 0) and line of the call
        self.lines = [0]
        self.slot, self.path, self.line = 0, NO_LINE, 0

    def _enter(self, parent: int, name: int, call_file: int, call_line: int) -> int:
        """Add a call; ``lines`` gets its line from who reads it."""
        if name == 0:
            number = self.newest
            self.newest += 1
        else:
            number = name >> 1 if name & 1 else self.newest - (name >> 1)
        if number < 0:
            raise ValueError("a name before the first")
        slot = len(self.calls)
        if slot >= MAX_CALLS:
            raise ValueError(f"more than {MAX_CALLS} calls")
        self._recent.append(slot)
        self.calls.append((parent, number, call_file, call_line))
        return slot

    def follow(self, stream: bytes, limit: int, stretches: list[Stretch] | None = None) -> bool:
        """Follow a stream up to the stretch that holds ``limit``; False where that has no line.

        With ``stretches``, note each there. Raises ``layout.ERRORS`` for what is no stream.
        """
        codes = self._codes
        recent, lines = self._recent, self.lines
        left = limit
        slot, path, line = 0, NO_LINE, 0
        # Over an iterator a token takes a fifth less than by its position.
        data = iter(stream)
        try:
            for code in data:
                if code < FIRST_ESCAPE:
                    distance, rank, more = codes[code]
                    left -= distance
                    if left < 0:
                        break
                    if rank:
                        slot = recent.pop(~rank)
                        recent.append(slot)
                    lines[slot] += more
                    path = OWN_FILE
                else:
                    distance = next(data)
                    if distance >= 0x80:
                        distance = _rest_of_uleb(distance, data)
                    left -= distance
                    if left < 0:
                        break
                    path = OWN_FILE
                    if code == ENTER_ONE:
                        # Numbers of one byte are read here, most are such: a fifth of the time of all.
                        name = next(data)
                        if name >= 0x80:
                            name = _rest_of_uleb(name, data)
                        call_line = next(data)
                        if call_line < 0x80:
                            call_line -= (call_line & 0x40) << 1
                        else:
                            call_line = _rest_of_sleb(call_line, data)
                        line = next(data)
                        if line < 0x80:
                            line -= (line & 0x40) << 1
                        else:
                            line = _rest_of_sleb(line, data)
                        slot = self._enter(slot, name, 0, lines[slot] + call_line)
                        lines.append(line)
                    elif code in _STEPS:
                        if code == STEP:
                            slot = recent.pop(~_read_uleb(data))
                            recent.append(slot)
                        lines[slot] += _read_sleb(data)
                    elif code in _ENTERS:
                        slot = recent[~_read_uleb(data)]
                        count = _read_uleb(data)
                        base = lines[slot]
                        for number in range(count + 1):
                            name = _read_uleb(data)
                            call_file = _read_uleb(data) if code == ENTER_FILES else 0
                            call_line = _read_sleb(data)
                            if number:
                                lines.append(call_line)
                            slot = self._enter(slot, name, call_file, base + call_line)
                            base = 0
                        lines.append(_read_sleb(data))
                    elif code == ELSEWHERE:
                        slot = recent.pop(~_read_uleb(data))
                        recent.append(slot)
                        path = _read_uleb(data)
                        line = _read_uleb(data)
                    elif code == NOTHING:
                        path = NO_LINE
                    else:
                        raise ValueError(f"a token that begins with {code}")
                if stretches is not None:
                    stretches.append((limit - left, slot, path, line if path >= 0 else lines[slot]))
        except StopIteration:
            raise ValueError("a token that is cut off") from None
        self.slot, self.path, self.line = slot, path, line
        return path != NO_LINE


def _read_uleb(data: Iterator[int]) -> int:
    byte = next(data)
    return byte if byte < 0x80 else _rest_of_uleb(byte, data)


def _read_sleb(data: Iterator[int]) -> int:
    byte = next(data)
    return byte - ((byte & 0x40) << 1) if byte < 0x80 else _rest_of_sleb(byte, data)


def _rest_of_uleb(value: int, data: Iterator[int]) -> int:
    """A number of more than one byte; ``value`` is its first. Raises StopIteration, ValueError."""
    value &= 0x7F
    for shift in range(7, 7 * MAX_LENGTH, 7):
        byte = next(data)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise ValueError("LEB128 value longer than ten bytes")


def _rest_of_sleb(value: int, data: Iterator[int]) -> int:
    """The same of a signed one."""
    value &= 0x7F
    for shift in range(7, 7 * MAX_LENGTH, 7):
        byte = next(data)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value - (2 << shift + 6 if byte & 0x40 else 0)
    raise ValueError("LEB128 value longer than ten bytes")
