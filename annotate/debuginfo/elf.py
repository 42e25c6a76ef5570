"""ELF containers: headers, sections, notes. Source: System V gABI chapter 4; Linux ``include/uapi/linux/elf.h``.

A reader of our own because importing pyelftools takes 45 ms, a third of a whole cold run of the filter; the tests hold
every value that it yields against pyelftools.

The buffer is the caller's: what it raises where the file cannot be read any more comes out of every method.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.compression import CompressedSection, decompress_section
from annotate.errors import DamagedFileError, UnrecognisedFileError
from annotate.limits import MAX_SECTION_NAME, MAX_SECTIONS

if TYPE_CHECKING:
    from annotate.buffer import Buffer

ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
SHT_SYMTAB, SHT_RELA, SHT_NOTE, SHT_NOBITS, SHT_REL = 2, 4, 7, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_COMPRESSED = 0x1, 0x2, 0x4, 0x800
SHN_UNDEF, SHN_LORESERVE, SHN_ABS, SHN_XINDEX = 0, 0xFF00, 0xFFF1, 0xFFFF
EM_386, EM_68K, EM_MIPS, EM_PARISC, EM_PPC, EM_PPC64, EM_S390 = 3, 4, 8, 15, 20, 21, 22
EM_ARM, EM_SH, EM_SPARCV9, EM_X86_64, EM_AARCH64, EM_RISCV = 40, 42, 43, 62, 183, 243
EM_LOONGARCH, EM_ALPHA = 258, 0x9026
NT_GNU_BUILD_ID = 3


class Section(NamedTuple):
    """One section header. ``offset`` and ``size`` are bytes in the file, ``address`` is as linked."""

    number: int  #: index in the section header table
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int

    @property
    def is_allocated(self) -> bool:
        """Whether the section is in memory at run time."""
        return bool(self.flags & SHF_ALLOC)

    @property
    def is_code(self) -> bool:
        """Whether the section holds instructions."""
        return self.flags & (SHF_ALLOC | SHF_EXECINSTR) == SHF_ALLOC | SHF_EXECINSTR


class ElfFile:
    """An ELF file of any class and byte order.

    Raises UnrecognisedFileError when it is none, DamagedFileError when its section headers do not fit the file.
    """

    def __init__(self, data: Buffer, source: str) -> None:
        self.data = data
        self.source = source
        ident = data[:16]
        if len(ident) < 16 or ident[:4] != b"\x7fELF":
            raise UnrecognisedFileError(source, f"expected an ELF file, found {describe_start(ident)}")
        if ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise DamagedFileError(
                source, "", 4, "ELF class 1 or 2 and byte order 1 or 2", f"{ident[4]} and {ident[5]}"
            )
        self.bits = 32 if ident[4] == 1 else 64
        self.byte_order = "<" if ident[5] == 1 else ">"
        layout = "HHIQQQIHHHHHH" if self.bits == 64 else "HHIIIIIHHHHHH"
        header = struct.Struct(self.byte_order + layout)
        if len(data) < 16 + header.size:
            raise DamagedFileError(source, "", 16, f"an ELF header of {header.size} bytes", f"{len(data) - 16}")
        fields = header.unpack(data[16 : 16 + header.size])
        self.type: int = fields[0]
        self.machine: int = fields[1]
        self.sections = self._read_sections(fields[5], fields[10], fields[11], fields[12])
        self._decompressed: dict[int, bytes] = {}
        self._by_name: dict[str, Section] = {}
        for section in self.sections:
            self._by_name.setdefault(section.name, section)

    def _read_sections(self, offset: int, entry_size: int, count: int, names_index: int) -> list[Section]:
        layout = "IIQQQQIIQQ" if self.bits == 64 else "IIIIIIIIII"
        header = struct.Struct(self.byte_order + layout)
        if offset == 0:
            return []
        if entry_size != header.size:
            raise DamagedFileError(self.source, "", offset, f"section headers of {header.size} bytes", f"{entry_size}")
        self._check_inside(offset, header.size, "the section header table")
        if count == 0 or names_index == SHN_XINDEX:
            # gABI: numbers that do not fit stand in section 0's sh_size and sh_link.
            first = header.unpack(self.data[offset : offset + header.size])
            count = count or first[5]
            names_index = first[6] if names_index == SHN_XINDEX else names_index
        if count > MAX_SECTIONS:
            raise DamagedFileError(self.source, "", offset, f"at most {MAX_SECTIONS} sections", f"{count}")
        self._check_inside(offset, count * header.size, "the section header table")
        raw = list(header.iter_unpack(self.data[offset : offset + count * header.size]))
        if count and names_index >= count:
            raise DamagedFileError(self.source, "", offset, f"a section name table below {count}", f"{names_index}")
        names = b""
        if count:
            self._check_inside(raw[names_index][4], raw[names_index][5], "the section names")
            names = self.data[raw[names_index][4] : raw[names_index][4] + raw[names_index][5]]
        sections = []
        for index, (name, kind, flags, address, start, size, link, info, alignment, _entry) in enumerate(raw):
            end = names.find(b"\0", name, name + MAX_SECTION_NAME)
            text = names[name : end if end >= 0 else name + MAX_SECTION_NAME].decode("latin-1")
            sections.append(Section(index, text, kind, flags, address, start, size, link, info, alignment))
        return sections

    def _check_inside(self, offset: int, size: int, what: str) -> None:
        if offset + size > len(self.data):
            raise DamagedFileError(
                self.source,
                "",
                offset,
                f"{what}, {size} bytes",
                f"the end of the file at {len(self.data):#x} (truncated?)",
            )

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        return self._by_name.get(name)

    def read(self, section: Section, start: int = 0, end: int | None = None) -> bytes:
        """Copy bytes ``start`` to ``end`` of a section, decompressed if need be, relocations not applied.

        Raises DamagedFileError when the section or the range does not fit, UnsupportedFileError for a compression that
        this Python cannot undo.
        """
        data, first, last = self.span(section)
        stop = last - first if end is None else end
        if not 0 <= start <= stop <= last - first:
            raise DamagedFileError(
                self.source, section.name, start, f"{stop - start} bytes", f"the section's end at {last - first:#x}"
            )
        return data[first + start : first + stop]

    def span(self, section: Section) -> tuple[Buffer, int, int]:
        """A section's bytes: a buffer, and where in it they begin and end. Errors as for ``read``."""
        if section.type == SHT_NOBITS:
            raise DamagedFileError(self.source, section.name, 0, "contents", "a section without bytes (NOBITS)")
        self._check_inside(section.offset, section.size, f"section {section.name}")
        if section.flags & SHF_COMPRESSED or section.name.startswith(".zdebug_"):
            data = self._decompressed.get(section.number)
            if data is None:
                data = self._decompressed[section.number] = decompress_section(self._compressed(section))
            return data, 0, len(data)
        return self.data, section.offset, section.offset + section.size

    def _compressed(self, section: Section) -> CompressedSection:
        raw = self.data[section.offset : section.offset + section.size]
        is_old = not section.flags & SHF_COMPRESSED
        return CompressedSection(self.source, section.name, raw, self.byte_order, self.bits, is_old)

    def size_of(self, section: Section) -> int:
        """The size of a section's contents: for a compressed one, of what they decompress to."""
        if section.flags & SHF_COMPRESSED or section.name.startswith(".zdebug_"):
            _, start, end = self.span(section)
            return end - start
        return section.size

    def debug_section(self, name: str) -> Section | None:
        """The section ``.debug_NAME``, or ``.zdebug_NAME`` as it was called when compressed; None without contents."""
        for section in (self.section(f".debug_{name}"), self.section(f".zdebug_{name}")):
            if section is not None and section.type != SHT_NOBITS and section.size:
                return section
        return None

    def debug_link(self) -> tuple[str, int] | None:
        """Name and CRC-32 of the file that holds this one's debug info (``.gnu_debuglink``, GDB manual 18.3)."""
        section = self.section(".gnu_debuglink")
        if section is None or section.type == SHT_NOBITS:
            return None
        data = self.read(section)
        end = data.find(b"\0")
        place = (end + 4) & ~3
        if end <= 0 or b"/" in data[:end] or place + 4 > len(data):
            return None
        return data[:end].decode("utf-8", "surrogateescape"), struct.unpack_from(self.byte_order + "I", data, place)[0]

    def alternate_link(self) -> tuple[str, str] | None:
        """Path and build id of the file that shared debug info was moved to (``.gnu_debugaltlink``, dwz)."""
        section = self.section(".gnu_debugaltlink")
        if section is None or section.type == SHT_NOBITS:
            return None
        name, _, build_id = self.read(section).partition(b"\0")
        return name.decode("utf-8", "surrogateescape"), build_id.hex()

    @property
    def build_id(self) -> str:
        """The GNU build id in lower-case hex, empty when the file has none."""
        for section in self.sections:
            if section.type == SHT_NOTE:
                for name, kind, payload in self.notes(section):
                    if name == b"GNU" and kind == NT_GNU_BUILD_ID:
                        return payload.hex()
        return ""

    def notes(self, section: Section) -> list[tuple[bytes, int, bytes]]:
        """The notes of a section as (name, type, payload); a damaged tail is left out."""
        data = self.read(section)
        # gABI says 8-byte alignment for 64-bit files; in practice it is 4 unless the section says 8.
        alignment = 8 if section.alignment == 8 else 4
        found = []
        position = 0
        while position + 12 <= len(data):
            name_size, size, kind = struct.unpack_from(self.byte_order + "III", data, position)
            start = position + 12 + (-name_size % 4 + name_size)
            start += -start % alignment
            if start + size > len(data):
                break
            name = data[position + 12 : position + 12 + name_size].rstrip(b"\0")
            found.append((name, kind, data[start : start + size]))
            position = start + size + (-size % alignment)
        return found


def describe_start(data: bytes) -> str:
    """Say in a few words what a file seems to be, for messages; ``data`` is its first bytes."""
    if not data:
        return "an empty file"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data):
        return f"text ({data.decode('ascii')!r}...)"
    return f"bytes {data[:4].hex(' ')}"
