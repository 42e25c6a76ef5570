"""Small random programs with DWARF as compilers write it seldom or never, from a seed."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING

import dwarf_writer as w
from dwarf_writer import COPY, END_SEQUENCE, Entry, Format, LineSpec, To, UnitSpec
from elf_writer import FUNC, NOTYPE, OBJECT, SymbolSpec

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.image import DebugImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dwarf_writer import Attribute

START, SIZE = 0x1000, 0x120
ASSEMBLER = 0x8001


class _Program:
    def __init__(self, seed: int, *, step: int) -> None:
        self.random = random.Random(seed)
        self.step = step  # instructions are of this size
        self.version = self.random.choice((2, 3, 4, 4, 5, 5, 5))
        self.format = Format("<", self.version)
        self.ranges = b"" if self.version < 5 else bytes(12)

    def number(self, low: int, high: int) -> int:
        """A random multiple of the size of an instruction."""
        return self.random.randrange(low, max(high, low) + 1) // self.step * self.step

    def span(self, low: int, high: int) -> tuple[int, int]:
        """A random range inside another, now and then empty or a bit outside."""
        out = self.step * self.random.choice((0, 0, 0, 0, 0, 0, 0, 0, 2))
        first, last = sorted((self.number(low - out, high + out), self.number(low - out, high + out)))
        return first, last

    def range_list(self, pairs: Sequence[tuple[int, int]]) -> int:
        """Append a list to .debug_ranges or .debug_rnglists; return where it is."""
        place = len(self.ranges)
        if self.version < 5:
            self.ranges += w.debug_ranges(pairs, self.format)
        else:
            for low, high in pairs:
                self.ranges += b"\x06" + self.format.address(low) + self.format.address(high)
            self.ranges += b"\0"
        return place

    def pc(self, low: int, high: int) -> list[Attribute]:
        """The attributes of some ranges of ``low`` to ``high``."""
        kind = self.random.randrange(8)
        form = w.SEC_OFFSET if self.version >= 4 else w.DATA4
        if kind == 0:
            return []
        if kind < 4 and self.version > 2:
            pairs = sorted(self.span(low, high) for _ in range(self.random.randrange(1, 4)))
            return [(w.RANGES, form, self.range_list(pairs))]
        first, last = self.span(low, high)
        if self.version < 4:
            return [(w.LOW_PC, w.ADDR, first), (w.HIGH_PC, w.ADDR, last)]
        return [(w.LOW_PC, w.ADDR, first), (w.HIGH_PC, w.DATA4, last - first)]

    def calls(self, low: int, high: int, depth: int, unit: int) -> list[Entry]:
        """Inlined calls and lexical blocks; siblings may overlap, and children need not be inside their parents."""
        found: list[Entry] = []
        for _ in range(self.random.randrange(4) if depth else 0):
            first, last = self.span(low, high)
            inside = self.calls(first, last, depth - 1, unit)
            if self.random.randrange(5) == 0:
                found.append(Entry(w.LEXICAL_BLOCK, self.pc(first, last), inside))
                continue
            call: list[Attribute] = [
                (w.ORIGIN, w.REF4, To(f"abstract{self.random.randrange(3)} of {unit}")),
                *self.pc(first, last),
                (w.CALL_FILE, w.DATA1, self.random.randrange(1, 3)),
                (w.CALL_LINE, w.DATA2, self.random.randrange(0, 60)),
            ]
            found.append(Entry(w.INLINED, call, inside or None))
        return found

    def functions(self, low: int, high: int, unit: int) -> list[Entry]:
        """Functions that may begin behind nops, overlap, or be two at one address."""
        found: list[Entry] = []
        place = low
        while place < high:
            place += self.step * self.random.choice((0, 0, 0, 1, 2))
            end = min(high, place + self.number(8, 80))
            shape: list[Attribute] = [(w.NAME, w.STRING, b"function%d" % len(found))]
            if self.random.randrange(9):
                shape += [(w.LOW_PC, w.ADDR, place)]
                shape += [(w.HIGH_PC, w.ADDR, end)] if self.version < 4 else [(w.HIGH_PC, w.DATA4, end - place)]
            else:
                shape += self.pc(place, end)
            found.append(Entry(w.SUBPROGRAM, shape, self.calls(place, end, 4, unit)))
            if self.random.randrange(8):
                place = end
            elif self.random.randrange(2):
                place = min(place + self.step, high)
        return found

    def sequences(self, low: int, high: int) -> bytes:
        """Rows with gaps, line 0, rows at one address, and sequences that end early or late."""
        code = b""
        place = low + self.step * self.random.choice((0, 0, 0, 1, 3))
        while place < high:
            end = self.number(place, high + self.step * self.random.choice((0, 0, 3)))
            code += w.set_address(place, self.format) + w.set_file(self.random.randrange(1, 3))
            at, line = place, 1
            while at < end:
                wanted = self.random.choice((0, 0, *range(1, 60)))
                code += w.advance_line(wanted - line) + COPY
                line = wanted
                if self.random.randrange(6) == 0:
                    code += w.set_file(self.random.randrange(1, 3))
                step = min(self.number(0, 12), end - at)
                code += w.advance_pc(step)
                at += step
                if not step and self.random.randrange(3) == 0:
                    code += w.advance_pc(min(self.step, end - at))
                    at += min(self.step, end - at)
            code += END_SEQUENCE
            place = end + self.step * self.random.choice((1, 1, 1, 4, 9))
        return code

    def symbols(self) -> list[SymbolSpec]:
        """Symbols with aliases, wrong sizes, labels, and variables in code. Aliases are of one size."""
        found: list[SymbolSpec] = []
        place = START + self.step * self.random.choice((0, 0, 4))
        while place < START + SIZE:
            size = self.number(4, 70)
            padding = self.random.randrange(8) == 0
            kind = self.random.choice((FUNC, FUNC, FUNC, NOTYPE))
            own = size if kind == FUNC else self.random.choice((0, size))
            for _ in range(self.random.choice((1, 1, 1, 1, 2, 3))):
                name = self.random.choice((f"s{place:x}", f"s{place:x}", "twice", f"alias{len(found)}"))
                found.append(SymbolSpec(f"__pfx_{name}" if padding else name, place, size=own, type=kind))
            if self.random.randrange(9) == 0:
                found.append(SymbolSpec("variable", place, size=4, type=OBJECT))
            place += max(self.step, self.random.choice((size, size, size + 3 * self.step, size - 4 * self.step)))
        return found


def random_program(seed: int, *, step: int = 1) -> bytes:
    """A linked file; the same for the same seed."""
    program = _Program(seed, step=step)
    generator = program.random
    bounds = sorted({START, START + SIZE, *(START + program.number(0, SIZE) for _ in range(generator.randrange(3)))})
    units, lines, aranges = [], b"", b""
    ranges: list[tuple[int, tuple[int, int]]] = []
    for number, (low, high) in enumerate(pairwise(bounds)):
        first = low + program.step * generator.choice((0, 0, 0, 2, 4))
        last = max(first, high - program.step * generator.choice((0, 0, 0, 3)))
        spec = LineSpec(
            program.sequences(first, last), program.format, ("/linux", "/linux/include/linux"),
            ((f"fs/{number}.c", 0), ("b.h", 1), (f"c{number}.h", 1)),
        )  # fmt: skip
        if generator.randrange(12) == 0:  # a program that no unit names
            lines += w.line_program(spec)
            continue
        form = w.SEC_OFFSET if program.version >= 4 else w.DATA4
        root: list[Attribute] = [
            (w.NAME, w.STRING, b"fs/%d.c" % number),
            (w.COMP_DIR, w.STRING, b"/linux"),
            (w.LANGUAGE, w.DATA2, ASSEMBLER if generator.randrange(7) == 0 else w.C11),
            (w.STMT_LIST, form, len(lines)),
            (w.LOW_PC, w.ADDR, first),
            (w.HIGH_PC, w.ADDR, last) if program.version < 4 else (w.HIGH_PC, w.DATA4, last - first),
        ]
        abstract = [
            Entry(w.SUBPROGRAM, [(w.NAME, w.STRING, b"inline%d" % each), (w.INLINE, w.DATA1, 3)], None,
                  f"abstract{each} of {number}")
            for each in range(3)
        ]  # fmt: skip
        entry = Entry(w.COMPILE_UNIT, root, [*abstract, *program.functions(first, last, number)], f"unit {number}")
        units.append(UnitSpec(entry, program.format))
        lines += w.line_program(spec)
        if generator.randrange(3):
            ranges.append((number, (first, last)))
    info, abbrev, places = w.write_units(units)
    head = 12 if program.version >= 5 else 11
    for number, span in ranges:
        aranges += w.aranges(places[f"unit {number}"] - head, [span])
    sections = {"info": info, "abbrev": abbrev, "line": lines}
    if aranges:
        sections["aranges"] = aranges
    if program.version < 5:
        sections["ranges"] = program.ranges or bytes(16)
    else:
        body = program.ranges[12:]
        sections["rnglists"] = program.format.with_length(program.format.number(5, 2) + b"\x08\0" + bytes(4) + body)
    return w.debug_file(sections, text=(START, SIZE), symbols=program.symbols())


def random_image(seed: int, *, step: int = 1) -> DebugImage:
    """The image of a random program."""
    return DebugImage(ElfFile(random_program(seed, step=step), f"seed {seed}"))
