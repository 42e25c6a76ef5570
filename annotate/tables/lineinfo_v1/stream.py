"""What a stream says: the hot loop of a look-up."""

from __future__ import annotations

from annotate.leb128 import read_sleb, read_uleb
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

_STEPS, _ENTERS = (STEP_SAME, STEP), (ENTER, ENTER_FILES)

#: Distance, call, path (or what is below) and line, from the usual first line where the file is the call's own.
Stretch = tuple[int, int, int, int]

#: In place of a path: there is no line; it is that of the call.
NO_LINE, OWN_FILE = -2, -1


class Calls:
    """The calls met so far in a stream, as columns; the entry's own function is the first.

    ``newest`` is the number of inlined functions met before the stream. ``lines`` and ``call_lines`` are from the usual
    first line of the function that they are in. ``path`` and ``line`` are those of a stretch in another file.
    """

    __slots__ = ("_codes", "call_files", "call_lines", "line", "lines", "names", "newest", "parents", "path", "recent")

    def __init__(self, newest: int, codes: list[tuple[int, int, int]]) -> None:
        self._codes = codes
        self.newest = newest
        self.recent = [0]
        self.parents = [-1]
        self.names = [-1]
        self.lines = [0]
        self.call_files = [0]
        self.call_lines = [0]
        self.path, self.line = NO_LINE, 0

    def _enter(self, parent: int, name: int, call_file: int, call_line: int) -> None:
        """Add a call; ``lines`` gets its line from who reads it."""
        if name == 0:
            number = self.newest
            self.newest += 1
        else:
            number = name >> 1 if name & 1 else self.newest - (name >> 1)
        if number < 0:
            raise ValueError("a name before the first")
        if len(self.parents) >= MAX_CALLS:
            raise ValueError(f"more than {MAX_CALLS} calls")
        self.recent.insert(0, len(self.parents))
        self.parents.append(parent)
        self.names.append(number)
        self.call_files.append(call_file)
        self.call_lines.append(call_line)

    def follow(self, data: bytes, position: int, end: int, limit: int, stretches: list[Stretch] | None = None) -> bool:
        """Follow the stream in ``data`` up to the stretch that holds ``limit``; False where that has no line.

        With ``stretches``, note each there. Raises ``layout.ERRORS`` for what is no stream.
        """
        codes = self._codes
        recent, lines = self.recent, self.lines
        reached = 0
        slot, path, line = 0, NO_LINE, 0
        while position < end:
            code = data[position]
            position += 1
            if code < FIRST_ESCAPE:
                distance, rank, more = codes[code]
                reached += distance
                if reached > limit:
                    break
                if rank:
                    recent.insert(0, recent.pop(rank))
                slot = recent[0]
                lines[slot] += more
                path = OWN_FILE
            else:
                distance = data[position]
                position += 1
                if distance >= 0x80:
                    distance, position = read_uleb(data, position - 1)
                reached += distance
                if reached > limit:
                    break
                path = OWN_FILE
                if code == ENTER_ONE:
                    # Numbers of one byte are read here, most are such: a fifth of the time of all.
                    name = data[position]
                    position += 1
                    if name >= 0x80:
                        name, position = read_uleb(data, position - 1)
                    call_line = data[position]
                    position += 1
                    if call_line < 0x80:
                        call_line -= (call_line & 0x40) << 1
                    else:
                        call_line, position = read_sleb(data, position - 1)
                    line = data[position]
                    position += 1
                    if line < 0x80:
                        line -= (line & 0x40) << 1
                    else:
                        line, position = read_sleb(data, position - 1)
                    self._enter(recent[0], name, 0, lines[recent[0]] + call_line)
                    lines.append(line)
                elif code in _STEPS:
                    if code == STEP:
                        rank, position = read_uleb(data, position)
                        recent.insert(0, recent.pop(rank))
                    more, position = read_sleb(data, position)
                    lines[recent[0]] += more
                elif code in _ENTERS:
                    rank, position = read_uleb(data, position)
                    more, position = read_uleb(data, position)
                    slot = recent[rank]
                    base = lines[slot]
                    for number in range(more + 1):
                        name, position = read_uleb(data, position)
                        call_file = 0
                        if code == ENTER_FILES:
                            call_file, position = read_uleb(data, position)
                        call_line, position = read_sleb(data, position)
                        if number:
                            lines.append(call_line)
                        self._enter(slot, name, call_file, base + call_line)
                        slot, base = recent[0], 0
                    line, position = read_sleb(data, position)
                    lines.append(line)
                elif code == ELSEWHERE:
                    rank, position = read_uleb(data, position)
                    path, position = read_uleb(data, position)
                    line, position = read_uleb(data, position)
                    recent.insert(0, recent.pop(rank))
                elif code == NOTHING:
                    path = NO_LINE
                else:
                    raise ValueError(f"a token that begins with {code}")
                slot = recent[0]
            if stretches is not None:
                stretches.append((reached, slot, path, line if path >= 0 else lines[slot]))
        self.path, self.line = path, line
        return path != NO_LINE
