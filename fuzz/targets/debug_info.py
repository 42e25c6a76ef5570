"""Debug sections of any bytes name what is broken in them, or a table that is made of them answers as they do."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, Final

from dwarf_writer import debug_file
from elf_writer import SymbolSpec
from random_dwarf import SIZE, START, random_program
from table_compare import compare

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.image import DebugImage
from annotate.debuginfo.lineheader import program_size, read_line_program
from annotate.debuginfo.relocate import DebugSection
from annotate.errors import AnnotateError
from fuzz.asking import ask_image
from fuzz.targets import join_pieces, split_pieces
from fuzz.targets.line_program import plain_sequences

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS: Final = (b"\x11\1", b"\x2e\1", b"\x1d\1", b"\x31\x13", b"\x11\1", b"\x12\x06", b"\x55\x17", b"\xff\xff\xff\xff")

_SECTIONS: Final = ("info", "abbrev", "line", "ranges", "rnglists", "aranges")
_BIG_ENDIAN, _NARROW = 1, 2

#: Bytes of code, of which each is asked for: the first third of what the debug information of a seed is of; and of a
#: symbol, which need not be where its functions are.
_SIZE: Final = SIZE // 3
_STEP: Final = 0x18
_SYMBOLS: Final = [SymbolSpec(f"s{place:x}", place, size=_STEP) for place in range(START, START + _SIZE, _STEP)]

#: What ``annotate.kernel.build`` takes for addresses and lines that no table can hold.
_TOO_LARGE: Final = (OverflowError, struct.error)


def check(data: bytes) -> None:
    """The first byte decides on byte order and bits of the file."""
    flags, pieces = split_pieces(data, len(_SECTIONS))
    sections = {name: piece for name, piece in zip(_SECTIONS, pieces, strict=True) if piece}
    file = debug_file(
        sections,
        text=(START, _SIZE),
        symbols=_SYMBOLS,
        byte_order=">" if flags & _BIG_ENDIAN else "<",
        bits=32 if flags & _NARROW else 64,
    )
    try:
        elf = ElfFile(file, "fuzzed")
        image = DebugImage(elf)
        ask_image(image)
    except AnnotateError:
        return
    if image.damage or not _is_orderly(elf):
        return
    try:
        with contextlib.suppress(*_TOO_LARGE):
            compare(image)
    except AssertionError:
        if not image.damage:  # a part that had not been read before
            raise


def _is_orderly(elf: ElfFile) -> bool:
    """Whether all line programs are as the standard has them; of others the table has rows that are not found."""
    line = elf.section(".debug_line")
    assert line is not None
    section = DebugSection(elf, line, [])
    offset, size = 0, 8 if elf.bits == 64 else 4
    while offset < section.size:
        try:
            program = read_line_program(section, offset, size, elf.source, elf.byte_order)
            offset += program_size(section, offset, elf.source, elf.byte_order)
        except AnnotateError:
            return False
        plain = plain_sequences(program)
        if plain is None or not plain[1]:
            return False
    return True


def seeds() -> Iterator[bytes]:
    """Random programs: two units, inlined calls, ranges, functions that overlap."""
    for seed in range(40):
        elf = ElfFile(random_program(seed), "random")
        found = [elf.section(f".debug_{name}") for name in _SECTIONS]
        yield join_pieces(0, [elf.read(section) if section is not None else b"" for section in found])
