"""Symbols by name and by address, with the sizes that the kernel prints.

The size behind the slash of ``vfs_write+0x1c6/0xff0`` is not the ELF symbol's size: kallsyms stores none, so the kernel
prints the distance to the next symbol, alignment padding included (``kernel/kallsyms.c``, ``get_symbol_pos()``; for
modules ``kernel/module/kallsyms.c``, ``find_kallsyms_symbol()``). In real logs the two differ for 54 % of the frames.

Built for one cold question: the table of a vmlinux has about 120 000 entries, a dictionary of them takes 48 ms, and an oops
asks for a few dozen names. So names are searched for in the string table as bytes and the entries are kept as columns.
"""

from __future__ import annotations

import struct
import sys
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from annotate.model import LinkAddr, Symbol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STT_OBJECT, STT_SECTION, STT_FILE, STT_COMMON, STT_TLS = 1, 3, 4, 5, 6
_SHN_UNDEF, _SHN_LORESERVE = 0, 0xFF00

#: Names that kallsyms leaves out, so they end no symbol: mapping symbols and local labels (``is_mapping_symbol()``), and
#: what ``scripts/kallsyms.c`` drops. A name of a few others there (arm veneers) matters to part of 32-bit arm only.
_HIDDEN_PREFIXES = (b"$", b".L", b"L0", b"__crc_", b"__kcfi_typeid_", b"__efistub_", b"__kvm_nvhe_$", b"__kvm_nvhe_.L")

#: Above this many names that are asked one by one, an index of all names is cheaper (48 ms against 0.4 ms a name).
_NAMES_BEFORE_INDEX = 150


class Columns(NamedTuple):
    """A symbol table, a list a field; entry i of each belongs together."""

    names: Sequence[int]  #: offsets into ``strings``
    types: bytes  #: ELF symbol type in the low four bits
    sections: Sequence[int]
    values: Sequence[int]  #: addresses
    sizes: Sequence[int]  #: ELF sizes
    strings: bytes


def read_symtab(data: bytes, strings: bytes, bits: int, byte_order: str) -> Columns:
    """Split an ELF symbol table (gABI, "Symbol Table") into columns; values are as in the file.

    A trailing part of an entry is dropped.
    """
    if bits == 64 and byte_order == "<" and sys.byteorder == "little":
        data = data[: len(data) // 24 * 24]
        view = memoryview(data)
        return Columns(
            view.cast("I")[0::6].tolist(),
            data[4::24],
            view.cast("H")[3::12].tolist(),
            view.cast("Q")[1::3].tolist(),
            view.cast("Q")[2::3].tolist(),
            strings,
        )
    if bits == 64:
        entry = struct.Struct(byte_order + "IBxHQQ")
        rows = list(entry.iter_unpack(data[: len(data) // 24 * 24]))
        fields = (0, 1, 2, 3, 4)
    else:
        entry = struct.Struct(byte_order + "IIIBxH")
        rows = list(entry.iter_unpack(data[: len(data) // 16 * 16]))
        fields = (0, 3, 4, 1, 2)
    name, kind, section, value, size = ([row[field] for row in rows] for field in fields)
    return Columns(name, bytes(kind), section, value, size, strings)


class SymbolTable:
    """The symbols of one image.

    ``code_sections`` are the indexes of the sections that hold instructions. ``section_bases`` moves the symbols of a
    relocatable file to their section's address and ``section_ends`` are where those end; ``region_ends`` are the addresses at which the loader's regions end
    (empty for a linked file, whose last symbol ends with ``end``).
    """

    def __init__(
        self,
        columns: Columns,
        code_sections: frozenset[int],
        *,
        section_bases: Mapping[int, int] | None = None,
        section_ends: Mapping[int, int] | None = None,
        region_ends: Sequence[int] = (),
        end: int = 0,
    ) -> None:
        self._columns = columns
        self._code_sections = code_sections
        self._section_ends = section_ends or {}
        self._region_ends = region_ends
        self._end = end
        self._is_relocatable = section_bases is not None
        if section_bases is None:
            self._values = columns.values
        else:
            self._values = [
                value + section_bases.get(section, 0)
                for value, section in zip(columns.values, columns.sections, strict=True)
            ]
        self._found: dict[bytes, tuple[Symbol, ...]] = {}
        self._index: dict[int, list[int]] | None = None
        self._addresses: list[int] | None = None
        self._order: list[int] | None = None
        self._hidden: set[int] | None = None

    def find(self, name: bytes) -> tuple[Symbol, ...]:
        """Every symbol of that name, by address; symbols without a place (undefined, file names) left out."""
        symbols = self._found.get(name)
        if symbols is None:
            self.prepare((name,))
            symbols = self._found[name]
        return symbols

    def prepare(self, names: Iterable[bytes]) -> None:
        """Look several names up in one pass over the table (12 names: 8 ms together, 40 ms one by one)."""
        missing = {name for name in names if name not in self._found}
        if not missing:
            return
        offsets = {offset: name for name in missing for offset in self._name_offsets(name)}
        found: dict[bytes, set[int]] = {name: set() for name in missing}
        if self._index is None and len(self._found) + len(missing) > _NAMES_BEFORE_INDEX:
            self._index = {}
            for index, offset in enumerate(self._columns.names):
                self._index.setdefault(offset, []).append(index)
        if self._index is not None:
            for offset, name in offsets.items():
                found[name].update(self._index.get(offset, ()))
        elif offsets:
            for index, offset in enumerate(self._columns.names):
                if offset in offsets:
                    found[offsets[offset]].add(index)
        for name, indexes in found.items():
            symbols = sorted(
                (self._symbol(index, name) for index in indexes if self._has_place(index)), key=_address
            )
            self._found[name] = tuple(symbols)

    def _name_offsets(self, name: bytes) -> list[int]:
        # Linkers merge equal tails: "write" may stand inside "vfs_write", so a match need not follow a NUL (14 195 of
        # 111 916 names do not). Offsets at which no symbol's name begins do no harm.
        strings = self._columns.strings
        needle = name + b"\0"
        offsets = []
        position = strings.find(needle)
        while position >= 0:
            offsets.append(position)
            position = strings.find(needle, position + 1)
        return offsets if name else []

    def _has_place(self, index: int) -> bool:
        section = self._columns.sections[index]
        kind = self._columns.types[index] & 15
        return kind not in (STT_SECTION, STT_FILE) and section != _SHN_UNDEF and (
            not self._is_relocatable or section < _SHN_LORESERVE
        )

    def _symbol(self, index: int, name: bytes) -> Symbol:
        columns = self._columns
        address = self._values[index]
        size = self._following(address) - address
        sizes = (size,)
        region_end = next((end for end in self._region_ends if end > address), None)
        if region_end is not None and address + size == region_end:
            # The loader rounds a region up to whole pages, and the last symbol reaches that far.
            sizes = (size, *(region_end + -region_end % page - address for page in (0x1000, 0x4000, 0x10000)))
        is_code = columns.sections[index] in self._code_sections and columns.types[index] & 15 not in (
            STT_OBJECT,
            STT_COMMON,
            STT_TLS,
        )
        ends_section = address + size >= self._section_ends.get(columns.sections[index], address + size + 1)
        return Symbol(name, LinkAddr(address), size, sizes, columns.sizes[index], is_code, ends_section)

    def _following(self, address: int) -> int:
        """The address at which a symbol at ``address`` ends for kallsyms."""
        addresses = self._sorted_addresses()
        position = bisect_right(addresses, address)
        following = addresses[position] if position < len(addresses) else max(self._end, address)
        region_end = next((end for end in self._region_ends if end > address), None)
        return following if region_end is None else min(following, region_end)

    def _sorted_addresses(self) -> list[int]:
        """The address of every symbol that kallsyms knows, ascending, repeats kept."""
        if self._addresses is None:
            columns = self._columns
            hidden = self._hidden_names()
            if hidden or self._is_relocatable:
                values = [value for index, value in enumerate(self._values) if self._is_known(index)]
            else:
                # The common vmlinux, in 16 ms instead of 60: only section symbols have to go (they have no name, so
                # kallsyms does not know them); undefined and file symbols have value 0.
                values = list(self._values)
                for info in (b"\x03", b"\x13"):
                    position = columns.types.find(info)
                    while position >= 0:
                        values[position] = 0
                        position = columns.types.find(info, position + 1)
            values.sort()
            self._addresses = values
        return self._addresses

    def _is_known(self, index: int) -> bool:
        offset = self._columns.names[index]
        return offset != 0 and offset not in self._hidden_names() and self._has_place(index)

    def _hidden_names(self) -> set[int]:
        """String table offsets of the names that kallsyms leaves out."""
        if self._hidden is None:
            strings = self._columns.strings
            places = set()
            for prefix in _HIDDEN_PREFIXES:
                # Not only behind a NUL: "$x" is usually the merged tail of another name.
                position = strings.find(prefix)
                while position >= 0:
                    places.add(position)
                    position = strings.find(prefix, position + 1)
            self._hidden = places.intersection(self._columns.names)
        return self._hidden

    def containing(self, address: LinkAddr) -> Symbol | None:
        """The symbol that kallsyms would name for an address, or None where there is none.

        Of several at one address a function is preferred to a label, then the first in the table.
        """
        addresses = self._sorted_addresses()
        position = bisect_right(addresses, address) - 1
        if position < 0 or self._following(addresses[position]) <= address:
            return None
        start = addresses[position]
        if self._order is None:
            self._order = sorted(range(len(self._values)), key=self._values.__getitem__)
        order, values, strings = self._order, self._values, self._columns.strings
        aliases = []
        for rank in range(bisect_left(order, start, key=values.__getitem__), len(order)):
            index = order[rank]
            if values[index] != start:
                break
            if self._is_known(index):
                offset = self._columns.names[index]
                aliases.append(self._symbol(index, strings[offset : strings.find(b"\0", offset)]))
        return max(aliases, key=lambda symbol: (symbol.is_code, symbol.st_size > 0), default=None)


def _address(symbol: Symbol) -> int:
    return symbol.address
