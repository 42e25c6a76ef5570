"""Damaged ELF and DWARF: an ``AnnotateError`` or an answer, never another exception, 10 seconds or 512 MB for one case.

    python fuzz/damage.py --seconds 600 --seed 1 sample_oopses/x86_64/oopser.ko
    python fuzz/damage.py --seconds 600 --seed 1 --gcc
    python fuzz/damage.py --seed 1 --replay 4711 FILE...

A case is a file with up to eight pieces of damage, made from the seed and the case's number alone: bit flips, random
bytes, runs of 0x00, 0xff and 0x80, truncation, sizes and offsets that are swapped or absurd in the ELF header, section
headers, symbols and relocations, and in the DWARF changed unit lengths, abbreviation codes, tags, forms, attribute
names, ULEBs, references, range list kinds and line program headers. Each is opened and asked for everything: symbols
by name and by address, chains, rows.

A case that breaks the rule is written into a folder (``--failures``), with fewer pieces of damage where fewer do.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import lzma
import mmap
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from annotate.debuginfo.compression import decompress_file
from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.image import DebugImage
from annotate.debuginfo.relocate import OPERATIONS
from annotate.errors import AnnotateError
from annotate.kernel.identify import release_of
from annotate.leb128 import write_uleb
from annotate.model import LinkAddr
from fuzz.cases import Failure, add_options, fuzz, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from annotate.debuginfo.elf import Section

#: Symbols that are asked for by name, and addresses that are drawn, in one case.
_NAMES = 60
_ADDRESSES = 60
_ROWS = 200_000

#: Pieces of damage: mostly one, so that it is reached and not hidden behind another.
_PIECES = (1, 1, 1, 1, 2, 2, 3, 8)

_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0)
_LARGE_NUMBERS = (0xFFFFFFFF, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_FORMS = (*range(0x2D), 0x1F01, 0x1F02, 0x1F20, 0x1F21)
#: Forms of one size: an entry keeps its layout when one becomes another, and its values their bytes.
_ALIKE = (
    (0x01, 0x07, 0x14, 0x20, 0x24),
    (0x06, 0x0E, 0x10, 0x13, 0x17, 0x1C, 0x1D, 0x1F, 0x28, 0x2C),
    (0x05, 0x12, 0x26, 0x2A),
    (0x0B, 0x0C, 0x0A, 0x11, 0x0D, 0x0F, 0x15, 0x16, 0x1A, 0x1B, 0x22, 0x23, 0x25, 0x29),
    (0x18, 0x09, 0x0A, 0x08),
)
_ATTRIBUTES = (0x01, 0x03, 0x10, 0x11, 0x12, 0x13, 0x1B, 0x20, 0x31, 0x47, 0x55, 0x58, 0x59, 0x6E, 0x72, 0x73, 0x74)
_TAGS = (0x0B, 0x11, 0x13, 0x17, 0x1D, 0x1E, 0x2E, 0x39, 0x3C, 0x4A)
_SECTION_NAMES = (
    b".opd",
    b".zdebug_info",
    b".gnu_debuglink",
    b".gnu_debugaltlink",
    b".modinfo",
    b".rodata",
    b".init.x",
)
_LINE_FORMS = (0x08, 0x0B, 0x05, 0x0F, 0x09, 0x1E, 0x1F, 0x0E, 0x1A, 0x21, 0x16)

_HOT = (".debug_info", ".debug_abbrev", ".debug_line", ".debug_rnglists", ".debug_ranges", ".debug_aranges")


class Patch(NamedTuple):
    """Bytes that are written over those at ``start``."""

    start: int
    data: bytes


class Case(NamedTuple):
    """A damaged file: the original, what is written over it, where it is cut off, and the seed of what is asked."""

    original: Original
    patches: tuple[Patch, ...]
    length: int
    questions: int

    @property
    def data(self) -> bytes:
        """The bytes of the damaged file."""
        data = bytearray(self.original.data)
        for patch in self.patches:
            data[patch.start : patch.start + len(patch.data)] = patch.data
        return bytes(data[: self.length])

    def ask(self) -> str:
        """Open the file and ask all that can be asked; a word on what came of it."""
        return ask_everything(self.data, self.original, random.Random(self.questions))

    def keep(self, stem: Path, head: str, failure: Failure) -> None:
        """Write the damaged file, with fewer pieces of damage where fewer do, and what they are."""
        small = minimise(self, failure)
        stem.with_suffix(".elf").write_bytes(small.data)
        stem.with_suffix(".txt").write_text(f"{head}\n{describe(small, failure)}")


class Original:
    """An intact file, and where in it damage is worth doing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data = Path(path).read_bytes()
        self.elf = ElfFile(self.data, path)
        self.order = self.elf.byte_order
        self.sections = [section for section in self.elf.sections if section.type not in (0, 8) and section.size]
        self.debug = [section for section in self.sections if section.name.startswith(".debug_")]
        self.hot = [section for section in self.debug if section.name in _HOT]
        image = DebugImage(self.elf)
        strings = next((self.elf.read(s) for s in self.sections if s.name == ".strtab"), b"")
        names = [name for name in strings.split(b"\0") if name]
        self.names = [name for name in names if image.find(name)]
        self.addresses = sorted({symbol.address for name in self.names for symbol in image.find(name)})
        self.units = list(self._lengths(".debug_info"))
        self.programs = list(self._lengths(".debug_line"))
        self.sets = list(self._lengths(".debug_aranges"))
        self.lists = list(self._lengths(".debug_rnglists"))
        #: (offset, length, kind) of the ULEBs of .debug_abbrev; kind is "code", "tag", "children", "name" or "form".
        self.abbreviations = list(self._abbreviations())
        #: Where the four-byte forms of DW_AT_abstract_origin and DW_AT_specification stand.
        self.origins = [
            form
            for (name, _, kind), (form, _, _) in pairwise(self.abbreviations)
            if kind == "name" and self.data[name] in (0x31, 0x47) and self.data[form] == 0x13
        ]

    def section(self, name: str) -> Section | None:
        """A section with contents that are not compressed."""
        section = self.elf.section(name)
        return section if section is not None and section.size and not section.flags & 0x800 else None

    def _lengths(self, name: str) -> Iterator[int]:
        """Where the initial lengths of a section's units stand in the file."""
        section = self.section(name)
        if section is None:
            return
        position, end = section.offset, section.offset + section.size
        while position + 12 <= end:
            yield position
            (length,) = struct.unpack_from(self.order + "I", self.data, position)
            if length == 0xFFFFFFFF:
                length = 8 + struct.unpack_from(self.order + "Q", self.data, position + 4)[0]
            position += 4 + length

    def _abbreviations(self) -> Iterator[tuple[int, int, str]]:
        section = self.section(".debug_abbrev")
        if section is None:
            return
        position, end = section.offset, section.offset + section.size
        while position < end:
            start, position, code = position, *self._uleb(position)
            yield start, position - start, "code"
            if code == 0 or position >= end:
                continue
            start, position, _ = position, *self._uleb(position)
            yield start, position - start, "tag"
            yield position, 1, "children"
            position += 1
            name = form = 1
            while (name or form) and position < end:
                start, position, name = position, *self._uleb(position)
                yield start, position - start, "name"
                start, position, form = position, *self._uleb(position)
                yield start, position - start, "form"
                if form == 0x21:
                    position = self._uleb(position)[0]

    def _uleb(self, position: int) -> tuple[int, int]:
        """The position behind a value, and the value."""
        value = shift = 0
        while True:
            byte = self.data[position]
            value |= (byte & 0x7F) << shift
            position += 1
            shift += 7
            if byte < 0x80 or position == len(self.data):
                return position, value


class Damager:
    """Makes the cases of one seed."""

    def __init__(self, originals: Sequence[Original], seed: int) -> None:
        self._originals = originals
        self._seed = seed
        self._kinds: tuple[Callable[[Original, random.Random], list[Patch]], ...] = (
            flip_bits,
            overwrite,
            overwrite_hot,
            overwrite_hot,
            change_elf_header,
            change_section_header,
            change_section_header,
            change_symbol,
            change_relocation,
            change_machine,
            change_origin,
            rename_section,
            change_abbreviation,
            change_abbreviation,
            change_abbreviation,
            change_unit_header,
            change_reference,
            change_uleb,
            change_line_header,
            change_line_header,
            change_line_program,
            change_ranges,
            change_aranges,
            copy_bytes,
        )

    def case(self, number: int) -> Case:
        """The case of this number."""
        generator = random.Random(f"{self._seed}:{number}")
        original = generator.choice(self._originals)
        patches: list[Patch] = []
        for _ in range(generator.choice(_PIECES)):
            patches += generator.choice(self._kinds)(original, generator)
        size = len(original.data)
        length = size
        if not patches or generator.random() < 0.03:
            length = generator.choice((generator.randrange(size), generator.randrange(200), size - 1))
        fitting = [patch for patch in patches if patch.data and patch.start + len(patch.data) <= size]
        return Case(original, tuple(fitting), length, number)


def some_number(original: Original, generator: random.Random) -> int:
    """A number that is often just out of bounds."""
    kind = generator.randrange(5)
    if kind == 0:
        return generator.choice(_NUMBERS)
    if kind == 1:
        return generator.choice(_LARGE_NUMBERS)
    if kind == 2:
        return generator.getrandbits(generator.choice((4, 8, 16, 24, 32, 64)))
    section = generator.choice(original.sections)
    return max(0, generator.choice((len(original.data), section.size, section.offset)) + generator.randrange(-9, 9))


def packed(original: Original, value: int, size: int) -> bytes:
    """A number in so many bytes, the upper ones cut off."""
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little" if original.order == "<" else "big")


def noise(generator: random.Random, longest: int) -> bytes:
    """Random bytes, or a run of one."""
    size = min(longest, 1 << generator.randrange(10))
    if generator.randrange(2):
        return generator.randbytes(size)
    return bytes([generator.choice((0, 0xFF, 0x80, 0x7F, 1))]) * size


def within(section: Section, generator: random.Random) -> int:
    """A place in a section, near its start in a quarter of the cases."""
    if generator.randrange(4) == 0:
        return section.offset + generator.randrange(min(section.size, 64))
    return section.offset + generator.randrange(section.size)


def flip_bits(original: Original, generator: random.Random) -> list[Patch]:
    """One to sixteen bits, in one section or anywhere."""
    section = generator.choice(original.sections)
    is_anywhere = generator.randrange(4) == 0
    patches = []
    for _ in range(1 << generator.randrange(5)):
        place = generator.randrange(len(original.data)) if is_anywhere else within(section, generator)
        if place < len(original.data):
            patches.append(Patch(place, bytes([original.data[place] ^ 1 << generator.randrange(8)])))
    return patches


def overwrite(original: Original, generator: random.Random) -> list[Patch]:
    """Noise in any section."""
    section = generator.choice(original.sections)
    return [Patch(within(section, generator), noise(generator, section.size))]


def overwrite_hot(original: Original, generator: random.Random) -> list[Patch]:
    """A little noise in a section whose structure matters."""
    section = generator.choice(original.hot or original.debug or original.sections)
    return [Patch(within(section, generator), noise(generator, 16))]


def change_elf_header(original: Original, generator: random.Random) -> list[Patch]:
    """A field of the ELF header."""
    if original.elf.bits == 64:
        fields = ((4, 1), (5, 1), (16, 2), (18, 2), (40, 8), (58, 2), (60, 2), (62, 2))
    else:
        fields = ((4, 1), (5, 1), (16, 2), (18, 2), (32, 4), (46, 2), (48, 2), (50, 2))
    place, size = generator.choice(fields)
    if size == 1:
        return [Patch(place, bytes([generator.randrange(4)]))]
    return [Patch(place, packed(original, some_number(original, generator), size))]


def change_section_header(original: Original, generator: random.Random) -> list[Patch]:
    """A field of a section header, or one that two sections swap."""
    is_wide = original.elf.bits == 64
    entry, start_at = (64, 40) if is_wide else (40, 32)
    (start,) = struct.unpack_from(original.order + ("Q" if is_wide else "I"), original.data, start_at)
    if is_wide:
        fields = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (32, 8), (40, 4), (44, 4), (48, 8))
    else:
        fields = ((0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (20, 4), (24, 4), (28, 4), (32, 4))
    place, size = generator.choice(fields)
    sections = original.debug if generator.randrange(2) and original.debug else original.elf.sections
    first, second = (start + generator.choice(sections).number * entry + place for _ in range(2))
    if generator.randrange(3) == 0:
        data = original.data
        return [Patch(first, data[second : second + size]), Patch(second, data[first : first + size])]
    if place == 8 and size == (8 if is_wide else 4) and generator.randrange(2):
        return [Patch(first, packed(original, original.data[first] ^ generator.choice((1, 2, 4, 0x800)), size))]
    return [Patch(first, packed(original, some_number(original, generator), size))]


def _change_entry(
    original: Original, generator: random.Random, types: Sequence[int], size: int, fields: Sequence[tuple[int, int]]
) -> list[Patch]:
    tables = [section for section in original.sections if section.type in types and section.size >= size]
    if not tables:
        return []
    table = generator.choice(tables)
    place, width = generator.choice(fields)
    patches = []
    value = some_number(original, generator)
    for _ in range(generator.choice((1, 1, 4, 64))):
        start = table.offset + generator.randrange(table.size // size) * size + place
        if generator.randrange(8) == 0:
            value = some_number(original, generator)
        patches.append(Patch(start, packed(original, value, width)))
    return patches


def change_symbol(original: Original, generator: random.Random) -> list[Patch]:
    """Fields of symbols."""
    if original.elf.bits == 64:
        return _change_entry(original, generator, (2,), 24, ((0, 4), (4, 1), (6, 2), (8, 8), (16, 8)))
    return _change_entry(original, generator, (2,), 16, ((0, 4), (4, 4), (8, 4), (12, 1), (14, 2)))


def change_relocation(original: Original, generator: random.Random) -> list[Patch]:
    """Fields of relocations: offset, type, symbol, addend."""
    if original.elf.bits == 64:
        return _change_entry(original, generator, (4,), 24, ((0, 8), (8, 4), (12, 4), (16, 8)))
    return _change_entry(original, generator, (9,), 8, ((0, 4), (4, 1), (5, 2)))


def change_origin(original: Original, generator: random.Random) -> list[Patch]:
    """References to a function's abstract entry go to another place, unit or file."""
    if not original.origins:
        return []
    form = generator.choice((0x10, 0x10, 0x1C, 0x20, 0x13, 0x17, 0x0E))
    patches = [Patch(place, bytes([form])) for place in original.origins if generator.randrange(3)]
    return patches + (change_reference(original, generator) if generator.randrange(2) else [])


def change_machine(original: Original, generator: random.Random) -> list[Patch]:
    """Another machine, and its relocations in place of those that are there."""
    machine = generator.choice(list(OPERATIONS))
    types = list(OPERATIONS[machine])
    patches = [Patch(18, packed(original, machine, 2))]
    size, place = (24, 8 if original.order == "<" else 15) if original.elf.bits == 64 else (8, 4)
    for table in original.sections:
        if table.type == (4 if size == 24 else 9):
            data = bytearray(original.data[table.offset : table.offset + table.size])
            kinds = generator.choices(types, k=generator.choice((1, 3, 12)))
            data[place::size] = bytes(generator.choice(kinds) & 0xFF for _ in data[place::size])
            patches.append(Patch(table.offset, bytes(data)))
    names = next((section for section in original.sections if section.name == ".shstrtab"), None)
    place = original.data.find(b".text\0", names.offset) if names is not None and generator.randrange(2) else -1
    if place >= 0:
        patches.append(Patch(place, b".opd\0"))  # the code as the descriptors of powerpc64 functions
    return patches


def rename_section(original: Original, generator: random.Random) -> list[Patch]:
    """A name that is looked for, over another's in the table of section names."""
    table = next((section for section in original.sections if section.name == ".shstrtab"), None)
    if table is None:
        return []
    starts = [
        place
        for place in range(table.size - 20)
        if original.data[table.offset + place : table.offset + place + 1] == b"."
    ]
    name = generator.choice(_SECTION_NAMES)
    return [Patch(table.offset + generator.choice(starts), name + b"\0")] if starts else []


def change_abbreviation(original: Original, generator: random.Random) -> list[Patch]:
    """A code, tag, attribute name or form of .debug_abbrev becomes another that is as long."""
    if not original.abbreviations:
        return []
    patches = []
    choices = {"code": range(1, 128), "tag": _TAGS, "children": range(3), "name": _ATTRIBUTES, "form": _FORMS}
    for _ in range(generator.choice((1, 1, 2, 8))):
        place, length, kind = generator.choice(original.abbreviations)
        value = write_uleb(generator.choice(choices[kind]))
        family = next((family for family in _ALIKE if original.data[place] in family), ())
        if kind == "form" and family and generator.randrange(3):
            value = write_uleb(generator.choice(family))
        if kind == "code" and generator.randrange(4) == 0:
            value = b"\0"
        # Longer ULEBs are padded with a zero in the upper bits, shorter ones push what follows out of place.
        padded = value + b"\0" if len(value) == length else value[:-1] + bytes([value[-1] | 0x80]) + b"\0"
        patches.append(Patch(place, (value if len(value) == length else padded)[:length]))
    return patches


def change_unit_header(original: Original, generator: random.Random) -> list[Patch]:
    """Length, version, type, address size or abbreviation offset of a unit."""
    if not original.units:
        return []
    start = generator.choice(original.units)
    place, size = generator.choice(((0, 4), (4, 2), (6, 1), (7, 1), (8, 4), (12, 1)))
    if size == 4:
        return [Patch(start + place, packed(original, some_number(original, generator), 4))]
    return [Patch(start + place, packed(original, generator.randrange(12), size))]


def change_reference(original: Original, generator: random.Random) -> list[Patch]:
    """Four bytes of .debug_info become a small number or an offset in the unit: now and then a sibling or an origin."""
    section = original.section(".debug_info")
    if section is None:
        return []
    unit = generator.choice(original.units) if original.units else section.offset
    place = min(unit + generator.randrange(section.size), section.offset + section.size - 4)
    back = generator.choice((0, 1, 4, 12, 64, 1000))
    value = generator.choice((max(0, place - unit - back), place - unit + 5, generator.randrange(section.size), 11))
    return [Patch(place, packed(original, value, 4))]


def change_uleb(original: Original, generator: random.Random) -> list[Patch]:
    """A ULEB of twelve bytes, of ten that are all ones, or one that never ends."""
    section = generator.choice(original.hot or original.sections)
    values = (
        b"\x80" * 11 + b"\1",
        b"\xff" * 9 + b"\x7f",
        b"\xff" * 4 + b"\x7f",
        b"\x80" * 200,
        b"\xff\xff\x7f",
        b"\x80\0",
    )
    return [Patch(within(section, generator), generator.choice(values))]


def change_line_header(original: Original, generator: random.Random) -> list[Patch]:
    """A field of a line program's header: lengths, counts, ranges, the formats of its tables."""
    if not original.programs:
        return []
    start = generator.choice(original.programs)
    kind = generator.randrange(5)
    if kind == 0:
        place, size = generator.choice(((0, 4), (4, 2), (6, 1), (7, 1), (8, 4), (6, 4)))
        value = some_number(original, generator) if size == 4 else generator.randrange(8)
        return [Patch(start + place, packed(original, value, size))]
    if kind == 1:
        return [Patch(start + generator.randrange(10, 31), bytes([generator.choice((0, 1, 2, 13, 127, 128, 255))]))]
    if kind == 2:  # the format of directories and files in version 5
        return [Patch(start + generator.randrange(30, 40), bytes([generator.choice(_LINE_FORMS)]))]
    if kind == 3:
        return [Patch(start + generator.randrange(30, 120), generator.choice((b"\xff\xff\x7f", b"\xff" * 4 + b"\7")))]
    return [Patch(start + generator.randrange(120), noise(generator, 8))]


def change_line_program(original: Original, generator: random.Random) -> list[Patch]:
    """Instructions: extended ones with wrong lengths, addresses that go back or far away, large advances."""
    section = original.section(".debug_line")
    if section is None:
        return []
    eight = packed(original, some_number(original, generator), 8)
    values = (
        b"\0\x09\x02" + eight,
        b"\0\x05\x02" + eight[:4],
        b"\0\1\1",
        b"\0\0",
        b"\0\xff\x7f\2",
        b"\2" + b"\xff" * 8 + b"\x7f",
        b"\3" + b"\x80" * 9 + b"\x40",
        b"\3\x80\x80\x80\x80\x78",
        b"\4" + b"\xff" * 9 + b"\x01",
        b"\x09\xff\xff",
        b"\x08" * 40,
        b"\0\6\3a\0\1\1\1",
        b"\1" * 30,
        b"\xff" * 30,
    )
    return [Patch(within(section, generator), generator.choice(values))]


def change_ranges(original: Original, generator: random.Random) -> list[Patch]:
    """Entries of range lists."""
    section = original.section(".debug_rnglists") or original.section(".debug_ranges")
    if section is None:
        return []
    if generator.randrange(4) == 0 and original.lists:
        start = generator.choice(original.lists)
        place, size = generator.choice(((0, 4), (4, 2), (6, 1), (7, 1), (8, 4)))
        return [Patch(start + place, packed(original, some_number(original, generator), size))]
    place = within(section, generator)
    kinds = bytes([generator.randrange(9)])
    return [
        Patch(place, kinds + generator.choice((b"", b"\0", b"\xff" * 9 + b"\1", b"\xff" * 16, generator.randbytes(16))))
    ]


def change_aranges(original: Original, generator: random.Random) -> list[Patch]:
    """The header of a set, or an address or a length in one."""
    if not original.sets:
        return []
    start = generator.choice(original.sets)
    place, size = generator.choice(((0, 4), (4, 2), (6, 4), (10, 1), (11, 1), (16, 8), (24, 8), (32, 8)))
    return [Patch(start + place, packed(original, some_number(original, generator), size))]


def copy_bytes(original: Original, generator: random.Random) -> list[Patch]:
    """A piece of one section over another."""
    source, target = generator.choice(original.sections), generator.choice(original.debug or original.sections)
    start = within(source, generator)
    return [Patch(within(target, generator), original.data[start : start + (1 << generator.randrange(3, 12))])]


def ask_everything(data: bytes, original: Original, generator: random.Random) -> str:
    """Open a file and ask all that can be asked; say in a word what came of it."""
    if generator.randrange(20) == 0:
        ask_compressed(data, generator)
    mapped: bytes | mmap.mmap = data
    if data and generator.randrange(2):  # as files are opened; its methods are not quite those of bytes
        mapped = mmap.mmap(-1, len(data))
        mapped[:] = data
    try:
        elf = ElfFile(mapped, "damaged")
        release_of(elf)
        elf.debug_link()
        elf.alternate_link()
        other = generator.choice((None, None, elf, original.elf))  # as .gnu_debuglink and .gnu_debugaltlink name them
        image = DebugImage(elf, symbols=generator.choice((None, other)), alternate=other)
    except AnnotateError as error:
        return f"not opened: {type(error).__name__}"
    try:
        names = generator.sample(original.names, min(_NAMES, len(original.names)))
        image.prepare(names[::2])
        lines = 0
        for name in names:
            for symbol in image.find(name):
                for address in (symbol.address, symbol.end - 1, symbol.address + generator.randrange(4096)):
                    lines += bool(image.chain(LinkAddr(address), symbol))
        for address in _addresses(original, elf, generator):
            image.section_of(address)
            image.call_target(address)
            at = image.symbol_at(address)
            if at is not None:
                lines += bool(image.chain(address, at))
        for section in original.elf.sections:
            image.address_in(section.name, section.size)
        for _, (_, file, line) in zip(range(_ROWS), image.rows(), strict=False):
            lines += bool(file and line)
        sentences = [str(error) for error in image.damage]
    except AnnotateError as error:
        return f"stopped: {type(error).__name__}"
    return "answers, and damage was named" if sentences else "answers" if lines else "no answer"


def ask_compressed(data: bytes, generator: random.Random) -> None:
    """Compress a file, damage that, decompress it."""
    packed_data = gzip.compress(data, 1) if generator.randrange(2) else lzma.compress(data, preset=0)
    damaged = bytearray(packed_data[: generator.choice((len(packed_data), generator.randrange(len(packed_data))))])
    for _ in range(generator.randrange(4) if damaged else 0):
        damaged[generator.randrange(len(damaged))] = generator.randrange(256)
    with contextlib.suppress(AnnotateError):
        decompress_file(bytes(damaged), "damaged")


def _addresses(original: Original, elf: ElfFile, generator: random.Random) -> Iterator[LinkAddr]:
    code = [section for section in elf.sections if section.is_code and section.size]
    for _ in range(_ADDRESSES):
        kind = generator.randrange(4)
        if kind == 0 and code:
            section = generator.choice(code)
            yield LinkAddr(section.address + generator.randrange(section.size))
        elif kind == 1:
            yield LinkAddr(generator.choice((0, 1, 0x100000, (1 << 64) - 1, generator.getrandbits(64))))
        elif original.addresses:
            yield LinkAddr(generator.choice(original.addresses) + generator.randrange(-8, 300))


def minimise(case: Case, failure: Failure, seconds: float = 60) -> Case:
    """Leave pieces of damage out, and bytes at the ends of those left, while the case still fails alike."""
    deadline = time.monotonic() + seconds

    def fails_alike(candidate: Case) -> bool:
        outcome = run(candidate)
        return isinstance(outcome, Failure) and outcome.key == failure.key

    whole = case._replace(length=len(case.original.data))
    if whole != case and fails_alike(whole):
        case = whole
    for index in reversed(range(len(case.patches))):
        fewer = case._replace(patches=case.patches[:index] + case.patches[index + 1 :])
        if time.monotonic() < deadline and fails_alike(fewer):
            case = fewer
    for index in range(len(case.patches)):
        is_shrinking = True
        while is_shrinking and time.monotonic() < deadline:
            is_shrinking = False
            start, data = case.patches[index]
            half = len(data) // 2
            for smaller in (Patch(start, data[:half]), Patch(start + half, data[half:]), Patch(start + 1, data[1:])):
                shorter = case._replace(patches=(*case.patches[:index], smaller, *case.patches[index + 1 :]))
                if 0 < len(smaller.data) < len(data) and fails_alike(shorter):
                    case, is_shrinking = shorter, True
                    break
    return case


def describe(case: Case, failure: Failure) -> str:
    """What is damaged, and how it fails."""
    lines = [f"file: {case.original.path}", f"cut off at: {case.length:#x}"]
    lines.append(f"fails with: {failure.kind} {failure.place}")
    for patch in case.patches:
        original = case.original.data[patch.start : patch.start + len(patch.data)]
        sections = case.original.sections
        inside = next((s for s in sections if s.offset <= patch.start < s.offset + s.size), None)
        place = f"{inside.name}+{patch.start - inside.offset:#x}" if inside else "outside the sections"
        lines.append(f"{patch.start:#x} ({place}): {original.hex(' ')} -> {patch.data.hex(' ')}")
    return "\n".join([*lines, "", failure.text])


_SOURCE = """
const char linux_banner[] = "Linux version 6.1.0-small (someone@somewhere) #1 SMP";
static inline __attribute__((always_inline)) int twice(int value) { return value * 2; }
static inline __attribute__((always_inline)) int inner(volatile int *place) { *place += 1; return twice(*place); }
struct shape { int width; struct { int depth; } inside; };
int outer(volatile int *place, struct shape *shape)
{
    int result = inner(place);
    if (result > shape->width) {
        int other = inner(&shape->inside.depth);
        __builtin_expect(other == 5, 0) ? __builtin_trap() : (void)0;
        result += other;
    }
    for (int i = 0; i < result; i++)
        *place += twice(i);
    return result;
}
__attribute__((cold)) int rarely(volatile int *place) { return inner(place) + 3; }
__attribute__((section(".init.text"))) int first(volatile int *place) { return outer(place, 0) + rarely(place); }
"""

_NAMESPACES = """
namespace a { struct s { static int deep(volatile int *p) { return *p + 1; } int m(volatile int *p); }; }
int a::s::m(volatile int *p) { auto f = [p](int i) { return deep(p) + i; }; return f(3) * f(4); }
template <int N> int many(volatile int *p) { return many<N - 1>(p) + *p; }
template <> int many<0>(volatile int *p) { return *p; }
int use(volatile int *p) { a::s s; return s.m(p) + many<5>(p); }
"""

_LINK = ("-nostdlib", "-static", "-Wl,-e,outer", "-Wl,--build-id")
_VARIANTS: tuple[tuple[str, ...], ...] = (
    ("-gdwarf-5", "-c"),
    ("-gdwarf-4", "-c", "-ffunction-sections"),
    ("-gdwarf-3", "-c"),
    ("-gdwarf-2", "-gstrict-dwarf", "-c"),
    ("-gdwarf-5", "-gdwarf64", "-c"),
    ("-gdwarf-5", *_LINK),
    ("-gdwarf-4", "-ffunction-sections", *_LINK),
    ("-gdwarf-5", "-gdwarf64", *_LINK),
    ("-gdwarf-5", "-gno-as-loc-support", "-c"),
    ("-gdwarf-5", "-gsplit-dwarf", *_LINK),
    ("-gdwarf-5", "-fdebug-types-section", *_LINK),
    ("-gdwarf-5", "-m32", "-c"),
    ("-gdwarf-5", "-gz=zlib", "-c"),
    ("-gdwarf-5", "-gz=zlib", *_LINK),
    ("-gdwarf-4", "-gz=zlib-gnu", "-c"),
    ("-gdwarf-5", "-mbig-endian", "-c"),
    ("-gdwarf-5", "-mbig-endian", *_LINK),
)


def build(folder: Path) -> list[str]:
    """Compile small files of every kind that the compilers here can make and that the reader can open."""
    (folder / "small.c").write_text(_SOURCE)
    (folder / "small.cc").write_text(_NAMESPACES)
    paths = []
    for compiler, source in (("gcc", "small.c"), ("g++", "small.cc"), ("aarch64-linux-gnu-gcc", "small.c")):
        program = shutil.which(compiler)
        for number, options in enumerate(_VARIANTS):
            path = folder / f"{compiler}-{number}"
            command = [program or "", "-O2", *options, "-o", str(path), str(folder / source)]
            if program and subprocess.run(command, capture_output=True, check=False, cwd=folder).returncode == 0:
                with contextlib.suppress(AnnotateError):
                    Original(str(path))
                    paths.append(str(path))
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Damage files until the time is over; the status is 1 when a case broke the rule."""
    parser = argparse.ArgumentParser(description="Damage ELF files with DWARF and ask them.")
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--gcc", action="store_true", help="also small files that are compiled here and now")
    add_options(parser, "damage-failures")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        paths = options.files + (build(Path(folder)) if options.gcc else [])
        if not paths:
            parser.error("no file to damage")
        originals = [Original(path) for path in paths]
    sys.stdout.write(f"{len(originals)} files, {sum(len(each.data) for each in originals)} bytes\n")
    return fuzz(Damager(originals, options.seed).case, options)


if __name__ == "__main__":
    sys.exit(main())
