"""One kernel or one module that can be asked: ELF, symbols and DWARF put together."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from annotate.debuginfo import relocate
from annotate.debuginfo.dwarf import DwarfLines
from annotate.debuginfo.elf import EM_AARCH64, EM_X86_64, ET_REL, SHF_COMPRESSED, SHT_NOBITS, SHT_SYMTAB
from annotate.debuginfo.module_layout import lay_out
from annotate.debuginfo.relocate import DebugSection
from annotate.debuginfo.units import DebugSections
from annotate.errors import AnnotateError, DamagedFileError, NoDebugInfoError, UnsupportedFileError
from annotate.model import LinkAddr
from annotate.symbols import SymbolTable, read_symtab

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from annotate.debuginfo.elf import ElfFile, Section
    from annotate.model import Location, Symbol

ARCHES = {
    EM_X86_64: "x86_64",
    EM_AARCH64: "arm64",
    3: "i386",
    40: "arm",
    243: "riscv",
    22: "s390",
    21: "powerpc64",
    20: "powerpc",
    8: "mips",
    15: "parisc",
    43: "sparc64",
    258: "loongarch",
    4: "m68k",
    0x9026: "alpha",
}


class DebugImage:
    """An ELF file with DWARF. Implements ``annotate.resolve.KernelImage``.

    Raises NoDebugInfoError when there is no .debug_line to answer from, DamagedFileError for a broken symbol table.
    """

    def __init__(self, elf: ElfFile) -> None:
        self.source = source = elf.source
        self._elf = elf
        line = elf.section(".debug_line")
        if line is None or line.type == SHT_NOBITS:
            raise NoDebugInfoError(source, "expected debug info, found an ELF file without .debug_line (stripped?)")
        if any(part.flags & SHF_COMPRESSED for part in elf.sections if part.name.startswith(".debug_")):
            raise UnsupportedFileError(source, "its debug sections are compressed")
        self.is_module = elf.type == ET_REL
        self.build_id = elf.build_id
        self.arch = ARCHES.get(elf.machine, "")
        layout = lay_out(elf.sections) if self.is_module else None
        self._bases = layout.bases if layout is not None else {}
        self._symbol_values = relocate.symbol_values(elf, self._bases) if self.is_module else []
        self.symbols = _symbol_table(elf, layout.bases if layout else None, layout.region_ends if layout else ())
        self._lines = DwarfLines(self._debug_sections())

    def _debug_sections(self) -> DebugSections:
        def section(name: str) -> DebugSection | None:
            found = self._elf.section(name)
            if found is None or found.type == SHT_NOBITS or not found.size:
                return None
            return DebugSection(self._elf, found, self._symbol_values)

        names = ("info", "abbrev", "line", "aranges", "ranges", "rnglists", "str", "line_str", "addr", "str_offsets")
        return DebugSections(self.source, self._elf.byte_order, *(section(f".debug_{name}") for name in names))

    @property
    def damage(self) -> list[AnnotateError]:
        """What was found broken so far, one error a unit."""
        return self._lines.damage

    def prepare(self, names: Iterable[bytes]) -> None:
        """Say which symbols will be asked for; looking them up together is cheaper."""
        self.symbols.prepare(names)

    def find(self, name: bytes) -> tuple[Symbol, ...]:
        """Every symbol of that name."""
        return self.symbols.find(name)

    def symbol_at(self, address: LinkAddr) -> Symbol | None:
        """The symbol that kallsyms would name for an address of code; None outside the executable sections."""
        for section in self._elf.sections:
            base = self._bases.get(section.number, section.address)
            if section.is_code and base <= address < base + section.size:
                return self.symbols.containing(address)
        return None

    def chain(self, address: LinkAddr, symbol: Symbol) -> tuple[Location, ...]:
        """The locations of an address that belongs to ``symbol``, innermost first; empty when there is none."""
        # Up to the end of the symbol's own code: what follows in its gap may be a weak function that was overridden.
        end = symbol.address + symbol.st_size if symbol.st_size else symbol.end
        return self._lines.chain(address, symbol.address, end)

    def call_target(self, address: LinkAddr) -> LinkAddr | None:
        """Where the direct call that ends at a return address leads, None when there is none or it cannot be told.

        x86-64: ``E8 rel32`` (Intel SDM volume 2, CALL); arm64: ``BL`` (Arm ARM C6.2, imm26 in words).
        """
        if self.is_module:
            return None  # call targets of a module are relocations
        start = address - (5 if self._elf.machine == EM_X86_64 else 4)
        code = self._code(start, address)
        if self._elf.machine == EM_X86_64 and len(code) == 5 and code[0] == 0xE8:
            return LinkAddr(address + struct.unpack_from("<i", code, 1)[0])
        if self._elf.machine == EM_AARCH64 and len(code) == 4:
            (word,) = struct.unpack("<I", code)
            if word >> 26 == 0b100101:
                words = word & 0x3FFFFFF
                return LinkAddr(start + 4 * (words - (1 << 26) if words >> 25 else words))
        return None

    def _code(self, start: int, end: int) -> bytes:
        for section in self._elf.sections:
            if section.is_code and section.address <= start and end <= section.address + section.size:
                if section.type == SHT_NOBITS:
                    return b""
                return self._elf.read(section, start - section.address, end - section.address)
        return b""

    def rows(self) -> Iterator[tuple[LinkAddr, str, int]]:
        """Every place where the answer changes, by address: (address, file, line).

        No file and line 0 stand where what is covered ends.
        """
        for address, file, line in self._lines.rows():
            yield LinkAddr(address), file, line

    def section_of(self, address: LinkAddr) -> tuple[str, int] | None:
        """Section name and offset of an address of a module; None for a linked file, whose addresses say it all."""
        for index, base in self._bases.items():
            section = self._elf.sections[index]
            if base <= address < base + section.size:
                return section.name, address - base
        return None

    def address_in(self, section_name: str, offset: int) -> LinkAddr | None:
        """The address of an offset in a section, None when there is no such section or it is shorter."""
        section = self._elf.section(section_name)
        if section is None or not 0 <= offset <= section.size:
            return None
        return LinkAddr(self._bases.get(section.number, section.address) + offset)


def _symbol_table(elf: ElfFile, bases: dict[int, int] | None, region_ends: tuple[int, ...]) -> SymbolTable:
    table: Section | None = next((section for section in elf.sections if section.type == SHT_SYMTAB), None)
    code = frozenset(section.number for section in elf.sections if section.is_code)
    end = max((section.address + section.size for section in elf.sections if section.is_allocated), default=0)
    if table is None:
        columns = read_symtab(b"", b"", elf.bits, elf.byte_order)
    else:
        if table.link >= len(elf.sections):
            raise DamagedFileError(elf.source, table.name, 0, "a string table", f"section {table.link}")
        strings = elf.read(elf.sections[table.link])
        columns = read_symtab(elf.read(table), strings, elf.bits, elf.byte_order)
    section_ends = {index: base + elf.sections[index].size for index, base in (bases or {}).items()}
    return SymbolTable(columns, code, section_bases=bases, section_ends=section_ends, region_ends=region_ends, end=end)
