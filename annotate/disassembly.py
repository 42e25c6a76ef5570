"""The numbers of a ``Code:`` line -> instructions. The only importer of capstone, which is an extra.

**Where instructions begin.** Where all have one size each number is one. Elsewhere (x86, Thumb, riscv) a dump begins
anywhere within an instruction, and the marked number is the one place of which it is known that an instruction begins.
The first one begins among the first bytes, as many as the longest instruction has; from each of these places the
instructions are walked, and walks that do not come by the marked number, or meet what is no instruction, are out. What
all walks that are left have in common is certain, and shown; what lies before the first such place is shown as bytes.
Walking from the earliest place alone (as long as it comes by the mark) would show more, and wrong ones among it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import capstone

from annotate.log.codebytes import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from annotate.log.codebytes import CodeBytes

#: What capstone is told. All numbers are little-endian: see ``CodeBytes``.
_MODES = {
    Machine.X86_64: (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    Machine.I386: (capstone.CS_ARCH_X86, capstone.CS_MODE_32),
    Machine.AARCH64: (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
    Machine.ARM: (capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM | capstone.CS_MODE_V8),
    Machine.THUMB: (capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_V8),
    Machine.THUMB_M: (capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS),
    Machine.RISCV64: (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC),
    Machine.RISCV32: (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC),
    Machine.POWERPC64: (capstone.CS_ARCH_PPC, capstone.CS_MODE_64),
    Machine.POWERPC32: (capstone.CS_ARCH_PPC, capstone.CS_MODE_32),
    Machine.MIPS64: (capstone.CS_ARCH_MIPS, capstone.CS_MODE_MIPS64),
    Machine.MIPS32: (capstone.CS_ARCH_MIPS, capstone.CS_MODE_MIPS32),
}

#: Machines whose instructions can be shown.
MACHINES = frozenset(_MODES)

_X86 = frozenset({Machine.X86_64, Machine.I386})
THUMB = frozenset({Machine.THUMB, Machine.THUMB_M})
RISCV = frozenset({Machine.RISCV64, Machine.RISCV32})
_LONGEST_X86 = 15

#: System instructions with a code of two bytes and a third one. All have this length, also those that capstone 5 does
#: not know (pvalidate, serialize, tlbsync); behind 66 it takes those of TDX for others.
_SYSTEM = re.compile(rb"(?:(?P<is_misread>\x66)|[\xf2\xf3])?\x0f\x01[\xc0-\xff]", re.DOTALL)

#: ud1 and ud0, the traps of UBSAN and KCFI among them, have operands, which capstone 5 does not see. It sees those of
#: imul, whose code ends in _LIKE_TRAPS.
_TRAP_I386 = re.compile(rb"[\x26\x2e\x36\x3e\x64-\x67\xf2\xf3]{0,4}\x0f(?P<code>[\xb9\xff])", re.DOTALL)
_TRAP = re.compile(rb"[\x26\x2e\x36\x3e\x64-\x67\xf2\xf3]{0,4}[\x40-\x4f]?\x0f(?P<code>[\xb9\xff])", re.DOTALL)
_LIKE_TRAPS = b"\xaf"
_TRAP_NAMES = {b"\xb9": "ud1", b"\xff": "ud0"}

#: Words, as mask and value, that capstone 5 takes for others, or of which it shows wrong operands.
_MISREAD_MIPS = (
    (0xFC000000, 0x4C000000),  # COP1X: madd.d and its likes are shown as branches
    *((0xFC00003F, 0x7C000000 | function) for function in (1, 2, 5, 6)),  # dextm, dextu, dinsm, dinsu: 32 is missing
)
_MISREAD_POWERPC = (
    (0xFE800000, 0x42800000),  # bcl 20: a branch that is always taken is shown as bdnzl
    (0xFC000000, 0x04000000),  # the first half of an instruction of two words
)
_MISREAD = {
    Machine.MIPS64: _MISREAD_MIPS,
    Machine.MIPS32: _MISREAD_MIPS,
    Machine.POWERPC64: _MISREAD_POWERPC,
    Machine.POWERPC32: _MISREAD_POWERPC,
}

#: Bytes on a line that holds no instruction.
_BYTES_A_ROW = 8


class Row(NamedTuple):
    """One line of a listing: ``data[start:end]`` of the dump."""

    start: int
    end: int
    text: str  #: the instruction, or ``.byte``, ``.short``, ``.word`` where there is none that is known
    is_trap: bool


class Disassembler:
    """Disassembles for one machine; of ``MACHINES``. x86 is in AT&T syntax, as the kernel's own tools print it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        architecture, mode = _MODES[machine]
        self._engine = capstone.Cs(architecture, mode)
        if machine in _X86:
            self._engine.syntax = capstone.CS_OPT_SYNTAX_ATT
        self._length_at: Callable[[CodeBytes, int], int] = lambda code, _start: code.unit
        if machine in _X86:
            self._length_at = self._decoded_length
        elif machine in THUMB:
            self._length_at = _length_of_thumb
        elif machine in RISCV:
            self._length_at = _length_of_riscv

    def rows(self, code: CodeBytes) -> list[Row]:
        """All of a dump, in order; exactly one row is the trap. Places are counted from the start of the dump."""
        start = self._first_certain(code)
        instructions = self._x86_rows if self._machine in _X86 else self._word_rows
        return [*_raw(code, 0, start), *instructions(code, start)]

    def _x86_rows(self, code: CodeBytes, start: int) -> Iterator[Row]:
        """From the place of an instruction on, as far as it is known where the next one begins."""
        while start < len(code.data):
            length, text = self._read_x86(code.data[start : start + _LONGEST_X86], start)
            end = start + length if length else len(code.data)
            if text:
                yield Row(start, end, text, start == code.trap)
            else:
                yield from _raw(code, start, end)
            start = end

    def _read_x86(self, data: bytes, place: int) -> tuple[int, str]:
        """Length and text of what ``data`` begins with; without a text where it is not known, 0 where neither is."""
        system = _SYSTEM.match(data)
        if system is not None and system["is_misread"]:
            return system.end(), ""
        trap = (_TRAP if self._machine is Machine.X86_64 else _TRAP_I386).match(data)
        if trap is not None:
            data = data[: trap.end() - 1] + _LIKE_TRAPS + data[trap.end() :]
        for _, length, name, operands in self._engine.disasm_lite(data, place, 1):
            shown = name if trap is None else _TRAP_NAMES[trap["code"]]
            return length, f"{shown:<6} {operands}".rstrip()
        return (0, "") if system is None else (system.end(), "")

    def _word_rows(self, code: CodeBytes, start: int) -> Iterator[Row]:
        """From the place of an instruction on, where the first number of each says how long it is."""
        end = len(code.data)
        while start < end:
            # In one go, for what one instruction says about those behind it (IT).
            for place, size, name, operands in self._engine.disasm_lite(code.data[start:], start):
                if size != self._length_at(code, place) or self._is_misread(code, place):
                    break
                yield Row(place, place + size, f"{name:<6} {operands}".rstrip(), place == code.trap)
                start = place + size
            if start < end:
                stop = min(start + self._length_at(code, start), end)
                yield from _raw(code, start, stop)
                start = stop

    def _is_misread(self, code: CodeBytes, place: int) -> bool:
        """Whether capstone is known to show something else than what stands there."""
        word = int.from_bytes(code.data[place : place + 4], "little")
        if any(word & mask == value for mask, value in _MISREAD.get(self._machine, ())):
            return True
        # The second half of an instruction of two words (Power ISA 3.1).
        return self._machine is Machine.POWERPC64 and place >= 4 and code.data[place - 1] >> 2 == 1

    def _first_certain(self, code: CodeBytes) -> int:
        """The first place before the trap at which an instruction begins for certain."""
        if code.unit == 4:
            return 0
        longest = _LONGEST_X86 if self._machine in _X86 else 4
        walks: dict[int, frozenset[int]] = {code.trap: frozenset({code.trap})}  # from each place to the trap
        for start in range(code.trap - code.unit, -1, -code.unit):
            length = self._length_at(code, start)
            if length and start + length in walks:
                walks[start] = walks[start + length] | {start}
        first = [walk for start, walk in walks.items() if start < longest]
        return min(frozenset.intersection(*first)) if first else code.trap

    def _decoded_length(self, code: CodeBytes, start: int) -> int:
        return self._read_x86(code.data[start : start + _LONGEST_X86], start)[0]


def _length_of_thumb(code: CodeBytes, start: int) -> int:
    return 4 if code.data[start + 1] >> 3 in (0b11101, 0b11110, 0b11111) else 2


def _length_of_riscv(code: CodeBytes, start: int) -> int:
    return 4 if code.data[start] & 3 == 3 else 2


def _raw(code: CodeBytes, start: int, end: int) -> Iterator[Row]:
    for place in range(start, end, _BYTES_A_ROW):
        stop = min(place + _BYTES_A_ROW, end)
        yield Row(place, stop, _directive(code, place, stop), place == code.trap)


def _directive(code: CodeBytes, start: int, end: int) -> str:
    word = {1: ".byte", 2: ".short", 4: ".word"}[code.unit]
    return f"{word:<6} " + ", ".join(f"0x{number}" for number in code.printed(start, end).split())
