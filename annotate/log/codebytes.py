"""The instructions around a fault, as a dump prints them: numbers, one of them marked.

x86 prints bytes (``show_opcodes()``, ``arch/x86/kernel/dumpstack.c``), arm64 and arm words, arm half-words for Thumb
(``dump_kernel_instr()``, ``dump_instr()`` in their ``traps.c``), riscv half-words or words (``dump_instr()``), powerpc
and mips words (``show_instructions()`` in ``process.c``, ``show_code()`` in ``traps.c``).
What s390 prints (``Krnl Code:``) is disassembled already and is not read here.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple


class Machine(Enum):
    """Whose instructions they are. The value is a name for people."""

    X86_64 = "x86-64"
    I386 = "i386"
    AARCH64 = "arm64"
    ARM = "arm"
    THUMB = "Thumb"
    THUMB_M = "Thumb of the M profile"
    RISCV64 = "riscv64"
    RISCV32 = "riscv32"
    POWERPC64 = "powerpc64"
    POWERPC32 = "powerpc32"
    MIPS64 = "mips64"
    MIPS32 = "mips32"
    MIPS_R6 = "mips release 6"
    LOONGARCH = "loongarch"


#: Whose dumps look like this: the size of a number in bytes, and how the trapping one is marked.
_SHAPES = {
    (1, b"<"): (Machine.X86_64, Machine.I386),
    (2, b"("): (Machine.THUMB, Machine.THUMB_M, Machine.RISCV64, Machine.RISCV32),
    (4, b"("): (Machine.AARCH64, Machine.ARM, Machine.RISCV64, Machine.RISCV32),
    (4, b"<"): (
        *(Machine.POWERPC64, Machine.POWERPC32, Machine.MIPS64, Machine.MIPS32, Machine.MIPS_R6),
        Machine.LOONGARCH,
    ),
}


class CodeBytes(NamedTuple):
    """What one dump prints.

    Words and half-words are printed as numbers; they lie in ``data`` little-endian, whatever the machine's order was.
    """

    data: bytes
    unit: int  #: bytes of one number: 1, 2 or 4
    trap: int  #: where the marked one begins in ``data``
    machines: tuple[Machine, ...]  #: whose dumps look like this

    def printed(self, start: int, end: int) -> str:
        """A stretch of ``data`` as numbers with blanks between them, as the kernel prints it."""
        numbers = (self.data[place : place + self.unit] for place in range(start, end, self.unit))
        return " ".join(f"{int.from_bytes(number, 'little'):0{2 * self.unit}x}" for number in numbers)


#: What the kernel prints at most takes about 250 bytes.
LONGEST_MESSAGE = 1024

_HEAD = re.compile(rb"\s*Code ?: ?")
_NUMBER = re.compile(rb"(?P<open>[<(]?)(?P<digits>[0-9a-f]{2}|[0-9a-f]{4}|[0-9a-f]{8})(?P<close>[>)]?)")
_CLOSING = {b"": b"", b"<": b">", b"(": b")"}
#: powerpc's mark of a word that could not be read.
_UNREADABLE = re.compile(rb"<?X{8}>?")

#: Words on a line of powerpc's dump, and how many there are in all.
_DUMP_HEAD = re.compile(rb"\s*Instruction dump:\s*")
DUMP_WORDS = 16


def read_code(message: bytes) -> CodeBytes | None:
    """The dump in a message; None where it holds none, none that is whole, or one without a mark."""
    head = _HEAD.match(message)
    if head is None or len(message) > LONGEST_MESSAGE:
        return None
    return read_numbers(message[head.end() :].split())


def begins_dump(message: bytes) -> bool:
    """Whether the message is powerpc's ``Instruction dump:``; the words stand in those behind it."""
    return _DUMP_HEAD.fullmatch(message) is not None


def dump_words(message: bytes) -> list[bytes]:
    """The words of a message that follows ``Instruction dump:``; none when it is something else."""
    if len(message) > LONGEST_MESSAGE:
        return []
    words = message.split()
    return words if all(map(_is_dump_word, words)) else []


def _is_dump_word(word: bytes) -> bool:
    return len(word.strip(b"<>")) == 8 and (_NUMBER.fullmatch(word) or _UNREADABLE.fullmatch(word)) is not None


def read_numbers(words: list[bytes]) -> CodeBytes | None:
    """The same for the numbers alone, in the order in which they are printed."""
    numbers: list[tuple[int, bytes]] = []  # size, bytes
    trap, mark = -1, b""
    for word in words:
        match = _NUMBER.fullmatch(word)
        if match is None or match["close"] != _CLOSING[match["open"]]:
            if _UNREADABLE.fullmatch(word) is None:
                return None
            if trap >= 0:
                break
            numbers.clear()
            continue
        if match["open"]:
            if trap >= 0:
                return None
            trap, mark = len(numbers), match["open"]
        digits = match["digits"]
        numbers.append((len(digits) // 2, int(digits, 16).to_bytes(len(digits) // 2, "little")))
    if trap < 0:
        return None
    sizes = {size for size, _ in numbers}
    # riscv has printed whole instructions, of two sizes.
    unit = 2 if sizes == {2, 4} and mark == b"(" else min(sizes)
    machines = _SHAPES.get((unit, mark), ())
    if len(sizes) > 1:
        machines = tuple(machine for machine in machines if machine in (Machine.RISCV64, Machine.RISCV32))
    if not machines:
        return None
    before = sum(size for size, _ in numbers[:trap])
    return CodeBytes(b"".join(number for _, number in numbers), unit, before, machines)
