"""``--code``: behind each ``Code:`` line of the kernel, its instructions. Works in front of any renderer of text.

What is inserted are lines of their own, indented; no line of the log changes. Code of programs is left alone, and
where the machine is not known, one line says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from annotate.disassembly import MACHINES, RISCV, THUMB, Disassembler
from annotate.log.codebytes import DUMP_WORDS, begins_dump, dump_words, read_code, read_numbers
from annotate.log.interrupted import CUES, Interrupted
from annotate.log.message import find_message
from annotate.model import AnnotatedLine, LogBlock, Repeats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotate.log.codebytes import CodeBytes, Machine
    from annotate.render.renderer import Renderer
    from annotate.summary import Summary

#: One of these stands in every line that is read: those that say whose code it is, and the code.
_CUES = (*CUES, b"Code: ", b"Code : ", b"Instruction dump:")
_CUE = re.compile(b"|".join(map(re.escape, _CUES)))
_COLOURS = re.compile(rb"\x1b\[[\d;]{0,32}[mK]")

#: A line of a register dump, or of code, behind any prefix, is not longer.
_LONGEST_LINE = 2048

_INDENT = "    "

#: Up to four instructions behind an IT are conditional, and nothing in them says so.
_NOTE_ON_THUMB = f"{_INDENT}(an IT before the first of these makes some of them conditional, and is not seen)"


class Insertion(NamedTuple):
    """Lines of ours, without the last line end, that go before a place in a piece of a log."""

    position: int
    lines: tuple[str, ...]


class CodeReader:
    """Finds the code in one log, piece by piece, in order."""

    def __init__(self, machines: dict[Machine, Disassembler]) -> None:
        self._disassemblers = machines
        self._interrupted = Interrupted()
        self._words: list[bytes] | None = None  # of a dump on several lines that has begun
        self.ends_open = False  #: what was read last ends within a line

    def read(self, data: bytes) -> Iterator[Insertion]:
        """What goes into the next piece. Only the last piece of a log, and a very long line, end within a line."""
        start = 0
        if self.ends_open:
            start = data.find(b"\n") + 1 or len(data)
        if data:
            self.ends_open = not data.endswith(b"\n")
        while start < len(data):
            if self._words is None:
                # Most pieces hold none. To search for them one by one takes 8 ns a byte, for all at once 30.
                if start == 0 and not any(map(data.__contains__, _CUES)):
                    break
                cue = _CUE.search(data, start)
                if cue is None:
                    break
                start = data.rfind(b"\n", start, cue.start()) + 1 or start
            end = data.find(b"\n", start) + 1 or len(data)
            if end - start <= _LONGEST_LINE:
                yield from self._read_line(data[start:end], start, end)
            start = end

    def finish(self) -> tuple[str, ...]:
        """End of the log: the lines for a dump that was not whole."""
        return self._list_words()

    def _read_line(self, line: bytes, start: int, end: int) -> Iterator[Insertion]:
        text = _COLOURS.sub(b"", line).rstrip(b"\r\n")
        found = find_message(text)
        if found.end != len(text):
            return  # lines between those of JSON would make it none
        message = text[found.start :]
        if self._words is not None:
            words = dump_words(message)
            self._words += words
            if len(self._words) >= DUMP_WORDS or not words:
                yield Insertion(end if words else start, self._list_words())
            if words:
                return
        if begins_dump(message):
            self._words = []
            return
        code = read_code(message)
        if code is not None:
            yield Insertion(end, self._list(code))
        else:
            self._interrupted.observe(message)

    def _list_words(self) -> tuple[str, ...]:
        code = read_numbers(self._words or [])
        self._words = None
        return () if code is None else self._list(code)

    def _list(self, code: CodeBytes) -> tuple[str, ...]:
        if self._interrupted.is_user:
            return ()
        machine = self._interrupted.machine_of(code)
        if machine is None:
            names = " or ".join(machine.value for machine in code.machines)
            return (f"{_INDENT}(not disassembled: no registers above say of which machine this is: {names})",)
        if machine not in MACHINES:
            return (f"{_INDENT}(not disassembled: no disassembler for {machine.value})",)
        if machine in RISCV:
            code = code._replace(unit=2)  # words may hold two instructions
        disassembler = self._disassemblers.get(machine)
        if disassembler is None:
            disassembler = self._disassemblers[machine] = Disassembler(machine)
        rows = disassembler.rows(code)
        numbers = [code.printed(row.start, row.end) for row in rows]
        width = max(map(len, numbers))
        notes = (_NOTE_ON_THUMB,) if machine in THUMB else ()
        return notes + tuple(
            f"{_INDENT}{row.start:4x}:{'*' if row.is_trap else ''}\t{number:<{width}}\t{row.text}"
            + ("\t\t<-- trapping instruction" if row.is_trap else "")
            for row, number in zip(rows, numbers, strict=True)
        )


class CodeRenderer:
    """A renderer that shows code to another one, ``inner``, as if it stood in the log."""

    remembers = False  #: what is inserted behind a line depends on those before it

    def __init__(self, inner: Renderer) -> None:
        self._inner = inner
        self._log: str | None = None
        self._disassemblers: dict[Machine, Disassembler] = {}
        self._reader = CodeReader(self._disassemblers)

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        """What ``inner`` makes of the piece, and of the lines that go into it."""
        before = b""
        if log != self._log:
            before = self._finish_log()
            self._log = log
        if isinstance(piece, LogBlock):
            return before + self._block(log, piece.data)
        if isinstance(piece, Repeats):  # there are none without a memory
            return before + self._inner.render(log, piece)
        line = piece.line
        texts = [before, b"", self._inner.render(log, piece), b""]
        for insertion in self._reader.read(line.body + line.ending):
            texts[3 if insertion.position else 1] += self._lines(log, insertion.lines)
        return b"".join(texts)

    def finish(self, summary: Summary) -> bytes:
        """What goes behind the last log."""
        return self._finish_log() + self._inner.finish(summary)

    def _block(self, log: str, data: bytes) -> bytes:
        parts: list[bytes] = []
        done = 0
        for position, lines in self._reader.read(data):
            if not lines:
                continue
            if position > done:
                parts.append(self._inner.render(log, LogBlock(data[done:position])))
            done = position
            is_open = position > 0 and not data.endswith(b"\n", 0, position)
            ending = b"\r\n" if data.endswith(b"\r\n", 0, position) else b"\n"
            parts.append(self._lines(log, lines, ending, is_open=is_open))
        if done < len(data):
            parts.append(self._inner.render(log, LogBlock(data[done:])))
        return b"".join(parts)

    def _lines(self, log: str, lines: tuple[str, ...], ending: bytes = b"\n", *, is_open: bool = False) -> bytes:
        """Lines of ours; behind one that ends with the log, the last one does too."""
        if not lines:
            return b""
        text = ending.join(line.encode() for line in lines)
        return self._inner.render(log, LogBlock(ending + text if is_open else text + ending))

    def _finish_log(self) -> bytes:
        reader, self._reader = self._reader, CodeReader(self._disassemblers)
        return self._lines(self._log or "", reader.finish(), is_open=reader.ends_open)
