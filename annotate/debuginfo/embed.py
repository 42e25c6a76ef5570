"""Puts sections into a relocatable file: what ``objcopy --add-section`` and ``ld -r`` do, and nothing else.

All bytes of the file stay where they are. Behind them come the new sections, their relocations, a copy of the section
names with the new ones, and a section header table; the ELF header is pointed at that. Source: System V gABI chapter 4,
"Sections"; relocations as the psABI supplements number them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.elf import (
    EM_68K,
    EM_386,
    EM_AARCH64,
    EM_ALPHA,
    EM_ARM,
    EM_LOONGARCH,
    EM_MIPS,
    EM_PARISC,
    EM_PPC,
    EM_PPC64,
    EM_RISCV,
    EM_S390,
    EM_SH,
    EM_SPARCV9,
    EM_X86_64,
    ET_REL,
    SHF_ALLOC,
    SHN_LORESERVE,
    SHN_XINDEX,
    SHT_REL,
    SHT_RELA,
    SHT_SYMTAB,
)
from annotate.errors import DamagedFileError, UnrecognisedFileError, UnsupportedFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.debuginfo.elf import ElfFile, Section

SHT_PROGBITS = 1
SHF_INFO_LINK = 0x40
STT_SECTION = 3

#: What ends a signed module: the signature, twelve bytes about it whose last four are its length, and this
#: (Linux ``include/linux/module_signature.h``).
SIGNATURE_MARK = b"~Module signature appended~\n"
_SIGNATURE_INFO = 12

#: The relocation that stores an address, by machine: (32 bits, 64 bits).
_ABSOLUTE = {
    EM_X86_64: (10, 1),  # R_X86_64_32, _64
    EM_386: (1, None),  # R_386_32
    EM_AARCH64: (258, 257),  # R_AARCH64_ABS32, _ABS64
    EM_ARM: (2, None),  # R_ARM_ABS32
    EM_RISCV: (1, 2),  # R_RISCV_32, _64
    EM_S390: (4, 22),  # R_390_32, _64
    EM_MIPS: (2, 18),  # R_MIPS_32, _64
    EM_PPC64: (1, 38),  # R_PPC64_ADDR32, _ADDR64
    EM_PPC: (1, None),  # R_PPC_ADDR32
    EM_LOONGARCH: (1, 2),  # R_LARCH_32, _64
    EM_PARISC: (1, 80),  # R_PARISC_DIR32, _DIR64
    EM_SPARCV9: (3, 32),  # R_SPARC_32, _64
    EM_68K: (1, None),  # R_68K_32
    EM_ALPHA: (1, 2),  # R_ALPHA_REFLONG, _REFQUAD
    EM_SH: (1, None),  # R_SH_DIR32
}

#: Machines whose relocations keep the addend in the field, where a file has no relocation that shows it.
_WITHOUT_ADDEND = frozenset({EM_386, EM_ARM})


class NewSection(NamedTuple):
    """A read-only section to add; ``anchors`` are 64-bit fields (offset, section name) that will hold addresses."""

    name: str
    data: bytes
    alignment: int
    anchors: Sequence[tuple[int, str]] = ()


class _Header(NamedTuple):
    """A section header, in the order of 64-bit files (which is that of 32-bit ones too)."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class _Symbol(NamedTuple):
    name: int
    info: int
    section: int
    value: int


def signature_size(data: bytes) -> int:
    """Bytes of the signature at the end of a module, 0 when it has none."""
    if not data.endswith(SIGNATURE_MARK):
        return 0
    place = len(data) - len(SIGNATURE_MARK) - _SIGNATURE_INFO
    if place < 0:
        return len(SIGNATURE_MARK)
    # algorithm, hash, type of id, two lengths, three bytes of padding, length of the signature: big endian everywhere
    fields: tuple[int, int, int] = struct.unpack_from(">3xBB3xI", data, place)
    return min(len(SIGNATURE_MARK) + _SIGNATURE_INFO + sum(fields), len(data))


def embed_sections(elf: ElfFile, additions: Sequence[NewSection]) -> bytes:
    """The file with sections added; a signature at its end, which no longer fits, is cut off.

    Raises UnrecognisedFileError for a file that is no module, UnsupportedFileError when it has such a section already,
    lacks one that an anchor names, or is of a machine that is not known.
    """
    if elf.type != ET_REL:
        raise UnrecognisedFileError(elf.source, f"expected a module (a relocatable ELF file), found type {elf.type}")
    if not elf.sections:
        raise DamagedFileError(elf.source, "", 0, "a section header table", "none")
    for addition in additions:
        if elf.section(addition.name) is not None:
            raise UnsupportedFileError(elf.source, f"expected a module without {addition.name}, found one with it")
    whole = elf.data[:]
    writer = _Writer(elf, whole[: len(whole) - signature_size(whole)])
    for addition in additions:
        writer.add(addition)
    return writer.finish()


class _Writer:
    def __init__(self, elf: ElfFile, data: bytes) -> None:
        self._elf = elf
        self._data = bytearray(data)
        is_wide = elf.bits == 64
        self._word = 8 if is_wide else 4
        self._entry = struct.Struct(elf.byte_order + ("IIQQQQIIQQ" if is_wide else "IIIIIIIIII"))
        # e_shoff; e_shnum and e_shstrndx are the last two fields.
        self._table_field = 40 if is_wide else 32
        self._count_field = 60 if is_wide else 48
        (table,) = self._unpack("Q" if is_wide else "I", self._table_field)
        self._headers = [
            _Header(*fields)
            for fields in self._entry.iter_unpack(elf.data[table : table + len(elf.sections) * self._entry.size])
        ]
        (names,) = self._unpack("H", self._count_field + 2)
        self._names_index = self._headers[0].link if names == SHN_XINDEX else names
        # A name is bytes up to its NUL: those of the file are kept as they are.
        self._names = bytearray(elf.read(elf.sections[self._names_index]))
        self._symbol_table = next((section for section in elf.sections if section.type == SHT_SYMTAB), None)
        self._symbols = self._read_symbols()

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        fields = struct.Struct(self._elf.byte_order + layout)
        return fields.unpack(self._elf.data[offset : offset + fields.size])

    def _read_symbols(self) -> list[_Symbol]:
        if self._symbol_table is None:
            return []
        data = self._elf.read(self._symbol_table)
        entry = struct.Struct(self._elf.byte_order + ("IBxHQQ" if self._elf.bits == 64 else "IIIBxH"))
        data = data[: len(data) // entry.size * entry.size]
        if self._elf.bits == 64:
            return [_Symbol(*fields[:4]) for fields in entry.iter_unpack(data)]
        return [_Symbol(fields[0], fields[3], fields[4], fields[1]) for fields in entry.iter_unpack(data)]

    def add(self, addition: NewSection) -> None:
        """Append a section and the relocations of its anchors."""
        data = bytearray(addition.data)
        relocations = b"".join(self._relocation(data, *anchor) for anchor in addition.anchors)
        number = len(self._headers)
        self._append(
            addition.name, bytes(data), _Header(0, SHT_PROGBITS, SHF_ALLOC, 0, 0, 0, 0, 0, addition.alignment, 0)
        )
        if relocations and self._symbol_table is not None:
            kind = SHT_RELA if self._with_addend() else SHT_REL
            prefix = ".rela" if kind == SHT_RELA else ".rel"
            link = self._symbol_table.number
            size = len(relocations) // len(addition.anchors)
            header = _Header(0, kind, SHF_INFO_LINK, 0, 0, 0, link, number, self._word, size)
            self._append(prefix + addition.name, relocations, header)

    def _append(self, name: str, data: bytes, header: _Header) -> None:
        self._data += bytes(-len(self._data) % header.alignment)
        self._headers.append(header._replace(name=len(self._names), offset=len(self._data), size=len(data)))
        self._names += name.encode() + b"\0"
        self._data += data

    def _with_addend(self) -> bool:
        kinds = {section.type for section in self._elf.sections}
        if SHT_RELA in kinds or SHT_REL in kinds:
            return SHT_RELA in kinds
        return self._elf.machine not in _WITHOUT_ADDEND and (self._elf.machine, self._elf.bits) != (EM_MIPS, 32)

    def _relocation(self, data: bytearray, offset: int, section_name: str) -> bytes:
        """The relocation for an anchor; where there is no room for an addend, ``data`` takes it."""
        elf = self._elf
        section = elf.section(section_name)
        if section is None:
            raise UnsupportedFileError(elf.source, f"expected a section {section_name}, found none")
        narrow, wide = _ABSOLUTE.get(elf.machine, (None, None))
        kind = wide if elf.bits == 64 else narrow
        if kind is None:
            raise UnsupportedFileError(
                elf.source, f"machine {elf.machine} with {elf.bits} bits: its relocations are not known"
            )
        symbol, addend = self._symbol_of(section)
        if elf.bits == 32 and elf.byte_order == ">":
            offset += 4  # the low half
        if elf.bits == 64:
            info = symbol << 32 | kind
            if elf.machine == EM_MIPS and elf.byte_order == "<":
                info = kind << 56 | symbol  # four fields, the symbol first (MIPS64 ELF specification, "Relocation")
        else:
            info = symbol << 8 | kind
        letter = "Q" if elf.bits == 64 else "I"
        addend &= (1 << elf.bits) - 1
        if self._with_addend():
            return struct.pack(elf.byte_order + letter * 3, offset, info, addend)
        struct.pack_into(elf.byte_order + letter, data, offset, addend)
        return struct.pack(elf.byte_order + letter * 2, offset, info)

    def _symbol_of(self, section: Section) -> tuple[int, int]:
        """The index of a symbol to count from, and the distance from it to the start of the section."""
        inside = [(index, symbol) for index, symbol in enumerate(self._symbols) if symbol.section == section.number]
        if section.number >= SHN_LORESERVE or not inside:
            raise UnsupportedFileError(
                self._elf.source, f"expected a symbol in {section.name} to relocate with, found none (stripped?)"
            )
        index, symbol = next(
            ((index, symbol) for index, symbol in inside if symbol.info & 15 == STT_SECTION),
            min(inside, key=_by_binding),
        )
        return index, -symbol.value

    def finish(self) -> bytes:
        """Append names and headers, and point the ELF header at them."""
        elf = self._elf
        offset = len(self._data)
        self._data += self._names
        names = self._headers[self._names_index]
        self._headers[self._names_index] = names._replace(offset=offset, size=len(self._names))
        self._data += bytes(-len(self._data) % self._word)
        count = len(self._headers)
        if count >= SHN_LORESERVE:
            self._headers[0] = self._headers[0]._replace(size=count)
            count = 0
        limit = 1 << elf.bits
        if len(self._data) + len(self._headers) * self._entry.size >= limit:
            raise DamagedFileError(elf.source, "", 0, f"a file below {limit} bytes", f"{len(self._data)}")
        struct.pack_into(
            elf.byte_order + ("Q" if elf.bits == 64 else "I"), self._data, self._table_field, len(self._data)
        )
        struct.pack_into(elf.byte_order + "H", self._data, self._count_field, count)
        for header in self._headers:
            self._data += self._entry.pack(*header)
        return bytes(self._data)


def _by_binding(entry: tuple[int, _Symbol]) -> int:
    """Local symbols first: a global one may be another's by the time of loading."""
    return entry[1].info >> 4
