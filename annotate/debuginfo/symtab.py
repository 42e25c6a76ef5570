"""The symbol table of an ELF file, with what is special to a machine taken care of."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from annotate.debuginfo import relocate
from annotate.debuginfo.elf import EM_ARM, EM_PPC64, ET_REL, SHT_NOBITS, SHT_SYMTAB
from annotate.debuginfo.relocate import DebugSection
from annotate.errors import DamagedFileError
from annotate.symbols import STT_FUNC, Columns, SymbolTable, read_symtab

if TYPE_CHECKING:
    from annotate.debuginfo.elf import ElfFile
    from annotate.debuginfo.module_layout import ModuleLayout


def read_symbol_table(elf: ElfFile, layout: ModuleLayout | None) -> SymbolTable:
    """Read it; ``layout`` is that of a module, None for a linked file. An absent table is an empty one."""
    table = next((section for section in elf.sections if section.type == SHT_SYMTAB), None)
    if table is None:
        columns = read_symtab(b"", b"", elf.bits, elf.byte_order)
    else:
        if table.link >= len(elf.sections):
            raise DamagedFileError(elf.source, table.name, 0, "a string table", f"section {table.link}")
        strings = elf.read(elf.sections[table.link])
        columns = read_symtab(elf.read(table), strings, elf.bits, elf.byte_order)
    bases = layout.bases if layout is not None else {}
    if elf.machine == EM_ARM:
        columns = _without_thumb_bit(columns)
    elif elf.machine == EM_PPC64:
        columns = _through_descriptors(elf, columns, bases)
    code = frozenset(section.number for section in elf.sections if section.is_code)
    return SymbolTable(
        columns,
        code,
        section_bases=bases if layout is not None else None,
        section_ends={number: base + elf.sections[number].size for number, base in bases.items()},
        region_ends=layout.region_ends if layout is not None else (),
        end=max((section.address + section.size for section in elf.sections if section.is_allocated), default=0),
    )


def _without_thumb_bit(columns: Columns) -> Columns:
    """Bit 0 of a function's value says that it is Thumb code (ELF for the Arm Architecture, "Symbol Values")."""
    values = [
        value & ~1 if kind & 15 == STT_FUNC else value
        for value, kind in zip(columns.values, columns.types, strict=True)
    ]
    return columns._replace(values=values)


def _through_descriptors(elf: ElfFile, columns: Columns, bases: dict[int, int]) -> Columns:
    """Let function symbols name their code where they name a descriptor in ``.opd`` (64-bit PowerPC ELF ABI v1)."""
    descriptors = elf.section(".opd")
    if descriptors is None or descriptors.type == SHT_NOBITS:
        return columns
    symbol_values = relocate.symbol_values(elf, bases) if elf.type == ET_REL else []
    section = DebugSection(elf, descriptors, symbol_values)
    data = section.read(0, section.size)
    unpack = struct.Struct(elf.byte_order + "Q").unpack_from
    values, sections = list(columns.values), list(columns.sections)
    for index, number in enumerate(columns.sections):
        if number != descriptors.number or columns.types[index] & 15 != STT_FUNC:
            continue
        place = columns.values[index] - (0 if elf.type == ET_REL else descriptors.address)
        if not 0 <= place <= len(data) - 8:
            continue
        (address,) = unpack(data, place)
        for target in elf.sections:
            base = bases.get(target.number, target.address)
            if target.is_code and base <= address < base + target.size:
                sections[index] = target.number
                values[index] = address - bases.get(target.number, 0)
                break
    return columns._replace(values=values, sections=sections)
