"""What kernels and modules in ELF files have in common, whatever their lines come from."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from annotate.debuginfo.elf import EM_AARCH64, EM_X86_64, ET_REL, SHT_NOBITS
from annotate.debuginfo.module_layout import lay_out
from annotate.debuginfo.symtab import read_symbol_table
from annotate.errors import AnnotateError
from annotate.model import LinkAddr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from annotate.debuginfo.elf import ElfFile
    from annotate.model import Symbol
    from annotate.symbols import SymbolTable

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
    2: "sparc",
    4: "m68k",
    42: "sh",
    92: "openrisc",
    93: "arc",
    94: "xtensa",
    195: "arc",
    252: "csky",
    0x9026: "alpha",
}

#: Names of the symbols that objtool makes for the padding in front of functions (``elf_create_prefix_symbol()``).
PADDING_PREFIX = b"__pfx_"


class ElfImage:
    """The part of ``annotate.resolve.KernelImage`` that symbols and code answer.

    ``symbols`` is the file that holds the symbol table, where that is another one. Raises DamagedFileError for a broken
    symbol table.
    """

    is_partial = False

    def __init__(self, elf: ElfFile, symbols: ElfFile | None = None) -> None:
        self.source = elf.source
        self.is_module = elf.type == ET_REL
        self.build_id = elf.build_id
        self.machine = elf.machine
        self.arch = ARCHES.get(elf.machine, "")
        self._elf = elf
        layout = lay_out(elf.sections) if self.is_module else None
        self._bases = layout.bases if layout is not None else {}
        symbol_layout = lay_out(symbols.sections) if symbols is not None and self.is_module else layout
        self.symbols: SymbolTable = read_symbol_table(symbols or elf, symbol_layout)

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

    def calls_between(self, start: int, end: int) -> Iterator[tuple[LinkAddr, LinkAddr]]:
        """What may be direct calls: (return address, target), for every place at which ``call_target`` finds one."""
        code = self._code(start, end)
        if self._elf.machine == EM_X86_64:
            places = [match.end() + 4 for match in re.finditer(rb"(?=\xe8)", code)]
            places = [place + 1 for place in places if place < len(code)]
        else:
            places = list(range(4, len(code) + 1, 4))
        for place in places:
            target = self.call_target(LinkAddr(start + place))
            if target is not None:
                yield LinkAddr(start + place), target

    def code_sections(self) -> Iterator[tuple[str, LinkAddr, int]]:
        """Name, address and size of each section that holds instructions."""
        for section in self._elf.sections:
            if section.is_code and section.size:
                yield section.name, LinkAddr(self._bases.get(section.number, section.address)), section.size

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
