"""Debug sections with their relocations applied.

Only relocatable files (modules) need it: the contents of a linked vmlinux are final even where the linker kept the
relocations (``--emit-relocs``), and applying those again would be wrong.

Only the bytes that are asked for are relocated, unit by unit: xfs.ko has 730 308 relocations on ``.debug_info``, about
5 000 for one of its units; applying all of them takes 181 ms, those of one unit about 1 ms. The decoders above this
see plain bytes either way.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import TYPE_CHECKING

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
    SHN_LORESERVE,
    SHT_REL,
    SHT_RELA,
    SHT_SYMTAB,
)
from annotate.errors import DamagedFileError, UnsupportedFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from annotate.buffer import Buffer
    from annotate.debuginfo.elf import ElfFile, Section

# What a relocation does to its field. A plain width (1, 2, 4, 8): store symbol + addend. With _ADD or _SUB added: add
# it to, or subtract it from, what the field holds (linker relaxation: the pairs of riscv and loongarch).
_IGNORE, _ADD, _SUB = 0, 0x10, 0x20
_SET_6, _ADD_6, _SUB_6, _SET_ULEB, _ADD_ULEB, _SUB_ULEB = 0x41, 0x42, 0x43, 0x44, 0x45, 0x46

#: The relocations that occur in debug sections, by machine: numbers and names of the psABI supplements. Those of
#: thread-local variables are ignored: no code address depends on them.
OPERATIONS: dict[int, dict[int, int]] = {
    # R_X86_64_64, _32, _32S, _16, _8; DTPOFF64, DTPOFF32
    EM_X86_64: {1: 8, 10: 4, 11: 4, 12: 2, 14: 1, 17: _IGNORE, 21: _IGNORE},
    EM_386: {1: 4, 20: 2, 22: 1, 32: _IGNORE},  # R_386_32, _16, _8; TLS_LDO_32
    EM_ARM: {2: 4, 38: 4, 5: 2, 8: 1, 106: _IGNORE},  # R_ARM_ABS32, _TARGET1, _ABS16, _ABS8; TLS_LDO32
    EM_AARCH64: {256: _IGNORE, 257: 8, 258: 4, 259: 2, 1029: _IGNORE},  # R_AARCH64_ABS64, _ABS32, _ABS16; TLS_DTPREL
    # R_RISCV_32, _64, TLS_DTPREL32 and 64, ADD8 to ADD64, SUB8 to SUB64, ALIGN, RELAX, SUB6, SET6 to SET32, ULEB128s
    EM_RISCV: {
        1: 4,
        2: 8,
        8: _IGNORE,
        9: _IGNORE,
        33: _ADD + 1,
        34: _ADD + 2,
        35: _ADD + 4,
        36: _ADD + 8,
        37: _SUB + 1,
        38: _SUB + 2,
        39: _SUB + 4,
        40: _SUB + 8,
        43: _IGNORE,
        51: _IGNORE,
        52: _SUB_6,
        53: _SET_6,
        54: 1,
        55: 2,
        56: 4,
        60: _SET_ULEB,
        61: _SUB_ULEB,
    },
    EM_S390: {1: 1, 3: 2, 4: 4, 22: 8, 54: _IGNORE, 55: _IGNORE},  # R_390_8, _16, _32, _64; TLS_LDO32, LDO64
    EM_PPC: {1: 4, 3: 2, 24: 4, 78: _IGNORE},  # R_PPC_ADDR32, _ADDR16, _UADDR32; DTPREL32
    # ADDR32, ADDR16, UADDR32, ADDR64, UADDR64; TOC, the second word of a descriptor; DTPREL64, DTPREL32
    EM_PPC64: {1: 4, 3: 2, 24: 4, 38: 8, 43: 8, 51: _IGNORE, 78: _IGNORE, 110: _IGNORE},
    EM_MIPS: {1: 2, 2: 4, 18: 8, 39: _IGNORE, 41: _IGNORE},  # R_MIPS_16, _32, _64; TLS_DTPREL32, 64
    EM_PARISC: {1: 4, 65: 4, 80: 8, 224: _IGNORE, 242: _IGNORE},  # R_PARISC_DIR32, _SECREL32, _DIR64; TLS
    # R_SPARC_8, _16, _32, _UA32, _64, _UA64, _UA16; TLS_DTPOFF32, 64
    EM_SPARCV9: {1: 1, 2: 2, 3: 4, 23: 4, 32: 8, 54: 8, 55: 2, 76: _IGNORE, 77: _IGNORE},
    # R_LARCH_32, _64, TLS_DTPREL, ADD8 to ADD64 (3-byte ones are not used), SUB, RELAX, ALIGN, ADD6, SUB6, ULEB128 pair
    EM_LOONGARCH: {
        1: 4,
        2: 8,
        8: _IGNORE,
        9: _IGNORE,
        47: _ADD + 1,
        48: _ADD + 2,
        50: _ADD + 4,
        51: _ADD + 8,
        52: _SUB + 1,
        53: _SUB + 2,
        55: _SUB + 4,
        56: _SUB + 8,
        100: _IGNORE,
        102: _IGNORE,
        105: _ADD_6,
        106: _SUB_6,
        107: _ADD_ULEB,
        108: _SUB_ULEB,
    },
    EM_68K: {1: 4, 2: 2, 3: 1, 36: _IGNORE},  # R_68K_32, _16, _8; TLS_LDO32
    EM_ALPHA: {1: 4, 2: 8, 32: _IGNORE, 33: _IGNORE},  # R_ALPHA_REFLONG, _REFQUAD; TLS
    EM_SH: {1: 4, 146: _IGNORE},  # R_SH_DIR32; TLS_LDO_32
}

_CHECKED_AT_ONCE = 1 << 16

#: What is read at once where less than ``_SMALL`` bytes are asked for: range lists and headers stand behind each other.
_SMALL, _WINDOW = 1 << 9, 1 << 12

#: Bytes of a string that are read before it is searched for its end, and how many strings are read one by one, out of
#: order as they stand; from then on the section is held if it is no larger than this. A read takes 2 us. A vmlinux has
#: 3.5 MB of them; a look-up needs 30, a table of all 200 000.
_USUAL_STRING = 1 << 8
_FEW_STRINGS = 1000
_HELD = 1 << 25


class DebugSection:
    """One debug section; ``read`` gives its bytes as a linker would have left them.

    ``symbol_values`` maps a symbol's index to its address (section base included); it is only asked when the
    file is relocatable.
    """

    def __init__(self, elf: ElfFile, section: Section, symbol_values: Sequence[int]) -> None:
        self._elf = elf
        self._section = section
        self.name = section.name
        self.size = elf.size_of(section)
        self._strings: tuple[Buffer, int, int] | None = None
        self._strings_read = 0
        self._window, self._window_start = b"", 0
        self._relocations = _relocations_of(elf, section, symbol_values) if elf.type == ET_REL else None

    def read(self, start: int, end: int) -> bytes:
        """Copy bytes ``start`` to ``end``. Raises DamagedFileError when they do not fit the section."""
        data = self._read(start, end)
        if self._relocations is None:
            return data
        return self._relocations.apply(data, start)

    def _read(self, start: int, end: int) -> bytes:
        if end - start > _SMALL or not 0 <= start <= end <= self.size:
            return self._elf.read(self._section, start, end)
        if start < self._window_start or end > self._window_start + len(self._window):
            self._window = self._elf.read(self._section, start, min(start + _WINDOW, self.size))
            self._window_start = start
        return self._window[start - self._window_start : end - self._window_start]

    def string(self, offset: int) -> bytes:
        """The NUL-terminated string at ``offset``; string sections carry no relocations."""
        if not 0 <= offset < self.size:
            raise DamagedFileError(
                self._elf.source, self.name, offset, "a string", f"the section's end at {self.size:#x}"
            )
        if self._strings is None:
            self._strings = self._elf.span(self._section)
        self._strings_read += 1
        if self._strings_read == _FEW_STRINGS and self.size <= _HELD:
            self._strings = self._elf.read(self._section), 0, self.size
        data, start, end = self._strings
        start += offset
        piece = data[start : min(start + _USUAL_STRING, end)]
        size = piece.find(b"\0")
        if size >= 0:
            return piece[:size]
        stop = data.find(b"\0", start, end)
        if stop < 0:
            raise DamagedFileError(self._elf.source, self.name, offset, "a string with a closing NUL", "none")
        return data[start:stop]


class _Relocations:
    """The relocations of one section, in order of offset."""

    def __init__(
        self, elf: ElfFile, table: Section, target: Section, symbol_values: Sequence[int], operations: Mapping[int, int]
    ) -> None:
        self._elf = elf
        self._target = target
        self._target_size = elf.size_of(target)
        self._symbol_values = symbol_values
        self._operations = operations
        letters = "QQ" if elf.bits == 64 else "II"
        if table.type == SHT_RELA:
            letters += "q" if elf.bits == 64 else "i"
        self._entry = struct.Struct(elf.byte_order + letters)
        self._data = elf.read(table)
        self._count = len(self._data) // self._entry.size
        self._order = None if self._is_sorted() else self._sorted_order()

    def _split(self, info: int) -> tuple[int, int]:
        """Symbol index and type of an ``r_info``."""
        elf = self._elf
        if elf.bits == 32:
            return info >> 8, info & 0xFF
        if elf.machine == EM_MIPS and elf.byte_order == "<":
            # Four separate fields, the symbol first (MIPS64 ELF specification, "Relocation"), not one number.
            return info & 0xFFFFFFFF, info >> 56
        # sparc keeps data of its own above the type (ELF64_R_TYPE_ID); no other machine here has types above 0xffff.
        return info >> 32, info & (0xFF if elf.machine in (EM_SPARCV9, EM_MIPS) else 0xFFFFFFFF)

    def _offset(self, index: int) -> int:
        if self._order is not None:
            index = self._order[index]
        offset: int = self._entry.unpack_from(self._data, index * self._entry.size)[0]
        return offset

    def _is_sorted(self) -> bool:
        # Binary search over an unsorted table would lose relocations without a word, so it is checked, a stretch at a
        # time to keep the list of offsets small. (Sorted in all 1 072 tables of the Debian modules looked at.)
        last = -1
        size = self._entry.size
        for first in range(0, self._count, _CHECKED_AT_ONCE):
            chunk = self._data[first * size : (first + _CHECKED_AT_ONCE) * size]
            chunk = chunk[: len(chunk) // size * size]
            offsets = [entry[0] for entry in self._entry.iter_unpack(chunk)]
            if offsets[0] < last or offsets != sorted(offsets):
                return False
            last = offsets[-1]
        return True

    def _sorted_order(self) -> list[int]:
        offsets = [entry[0] for entry in self._entry.iter_unpack(self._data[: self._count * self._entry.size])]
        return sorted(range(self._count), key=offsets.__getitem__)

    def apply(self, data: bytes, start: int) -> bytes:
        """Return ``data`` (the section's bytes from ``start`` on) relocated."""
        end = start + len(data)
        # A field may begin up to seven bytes before the range; such a one is cut by the caller's own boundary, never
        # by a unit's or a list's, and is left alone.
        first = bisect_left(range(self._count), start, key=self._offset)
        last = bisect_left(range(self._count), end, lo=first, key=self._offset)
        if first == last:
            return data
        result = bytearray(data)
        values, operations, split = self._symbol_values, self._operations, self._split
        entry, size = self._entry, self._entry.size
        pack = {width: struct.Struct(self._elf.byte_order + letter) for width, letter in _LETTERS.items()}
        for index in range(first, last) if self._order is None else self._order[first:last]:
            fields = entry.unpack_from(self._data, index * size)
            offset = fields[0]
            symbol, kind = split(fields[1])
            operation = operations.get(kind)
            if not operation:
                if operation is None and kind != 0:  # R_*_NONE is 0 on every machine
                    raise UnsupportedFileError(
                        self._elf.source,
                        f"relocation type {kind} of machine {self._elf.machine} in {self._target.name}",
                    )
                continue
            if symbol >= len(values):
                raise self._damage(offset, "a symbol index in the symbol table", f"{symbol}")
            value = values[symbol] + (fields[2] if len(fields) == 3 else 0)
            width = operation & 0xF if operation < _SET_6 else 1
            if offset + width > end:
                if offset + width > self._target_size:
                    raise self._damage(offset, f"a field of {width} bytes", "the section's end")
                continue
            place = offset - start
            if operation >= _SET_6:
                _apply_odd(result, place, operation, value)
                continue
            if len(fields) == 2 or operation > _ADD:
                (held,) = pack[width].unpack_from(result, place)
                value = held - value if operation > _SUB else held + value
            pack[width].pack_into(result, place, value & ((1 << 8 * width) - 1))
        return bytes(result)

    def _damage(self, offset: int, expected: str, found: str) -> DamagedFileError:
        return DamagedFileError(self._elf.source, self._target.name, offset, expected, found)


_LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def _apply_odd(data: bytearray, place: int, operation: int, value: int) -> None:
    """Fields of six bits, and ULEB128 numbers, which keep their length (riscv and loongarch psABI)."""
    if operation in (_SET_6, _ADD_6, _SUB_6):
        held = data[place] & 0x3F
        changed = value if operation == _SET_6 else held + value if operation == _ADD_6 else held - value
        data[place] = data[place] & 0xC0 | changed & 0x3F
        return
    end = place
    while end < len(data) and data[end] >= 0x80:
        end += 1
    held = 0
    for position in range(min(end, len(data) - 1), place - 1, -1):
        held = held << 7 | data[position] & 0x7F
    changed = value if operation == _SET_ULEB else held + value if operation == _ADD_ULEB else held - value
    for position in range(place, min(end + 1, len(data))):
        data[position] = data[position] & 0x80 | changed & 0x7F
        changed >>= 7


def _relocations_of(elf: ElfFile, section: Section, symbol_values: Sequence[int]) -> _Relocations | None:
    for table in elf.sections:
        if table.info == section.number and table.type in (SHT_REL, SHT_RELA) and table.size:
            operations = OPERATIONS.get(elf.machine)
            if operations is None:
                raise UnsupportedFileError(
                    elf.source, f"relocations of machine {elf.machine} in {section.name} are not known"
                )
            return _Relocations(elf, table, section, symbol_values, operations)
    return None


def symbol_values(elf: ElfFile, bases: Mapping[int, int]) -> list[int]:
    """The address of every symbol of a relocatable file, by symbol index; 0 for undefined ones."""
    table = next((section for section in elf.sections if section.type == SHT_SYMTAB), None)
    if table is None:
        return []
    entry = struct.Struct(elf.byte_order + ("IBBHQQ" if elf.bits == 64 else "IIIBBH"))
    data = elf.read(table)
    data = data[: len(data) // entry.size * entry.size]
    values = []
    for fields in entry.iter_unpack(data):
        kind, section, value = (
            (fields[1], fields[3], fields[4]) if elf.bits == 64 else (fields[3], fields[5], fields[1])
        )
        if elf.machine == EM_ARM and kind & 15 == _STT_FUNC:
            value &= ~1  # Thumb
        values.append(value + bases.get(section, 0) if section < SHN_LORESERVE else value)
    return values


_STT_FUNC = 2
