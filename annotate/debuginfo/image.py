"""One kernel or one module that can be asked: ELF, symbols and DWARF put together."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from annotate.debuginfo import relocate
from annotate.debuginfo.dwarf import DwarfLines
from annotate.debuginfo.elf import EM_AARCH64, EM_X86_64, ET_REL, SHT_NOBITS
from annotate.debuginfo.module_layout import lay_out
from annotate.debuginfo.relocate import DebugSection
from annotate.debuginfo.symtab import read_symbol_table
from annotate.debuginfo.units import DebugSections
from annotate.errors import AnnotateError, NoDebugInfoError
from annotate.model import LinkAddr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from annotate.debuginfo.elf import ElfFile
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

#: Names of the symbols that objtool makes for the padding in front of functions (``elf_create_prefix_symbol()``).
PADDING_PREFIX = b"__pfx_"


class DebugImage:
    """An ELF file with DWARF. Implements ``annotate.resolve.KernelImage``.

    ``symbols`` is the file that holds the symbol table, where that is another one (a debug file without one and the
    stripped file it was split from). ``alternate`` is the file that ``dwz`` moved shared entries to
    (``.gnu_debugaltlink``). Raises NoDebugInfoError when there is no .debug_line to answer from, DamagedFileError for a
    broken symbol table.
    """

    def __init__(self, elf: ElfFile, *, symbols: ElfFile | None = None, alternate: ElfFile | None = None) -> None:
        self.source = elf.source
        self._elf = elf
        if elf.debug_section("line") is None:
            raise NoDebugInfoError(elf.source, "expected debug info, found an ELF file without .debug_line (stripped?)")
        self.is_module = elf.type == ET_REL
        self.build_id = elf.build_id
        self.arch = ARCHES.get(elf.machine, "")
        layout = lay_out(elf.sections) if self.is_module else None
        self._bases = layout.bases if layout is not None else {}
        self._symbol_values = relocate.symbol_values(elf, self._bases) if self.is_module else []
        self.symbols = read_symbol_table(symbols or elf, lay_out((symbols or elf).sections) if layout else None)
        self._lines = DwarfLines(self._debug_sections(elf, self._symbol_values, alternate))

    def _debug_sections(
        self, elf: ElfFile, symbol_values: Sequence[int], alternate: ElfFile | None = None
    ) -> DebugSections:
        def section(name: str) -> DebugSection | None:
            found = elf.debug_section(name)
            return DebugSection(elf, found, symbol_values) if found is not None else None

        return DebugSections(
            elf.source,
            elf.byte_order,
            section("info"),
            section("abbrev"),
            section("line"),
            section("aranges"),
            section("ranges"),
            section("rnglists"),
            section("str"),
            section("line_str"),
            section("addr"),
            section("str_offsets"),
            self._debug_sections(alternate, ()) if alternate is not None else None,
        )

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
        if symbol.name.startswith(PADDING_PREFIX):
            return ()  # a row that begins there is one that the function before left over
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
                try:
                    return self._elf.read(section, start - section.address, end - section.address)
                except AnnotateError:
                    return b""  # damaged or compressed in an unknown way: nothing is told by it
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
