"""Symbols by name and by address, with the sizes that the kernel prints.

The size behind the slash of ``vfs_write+0x1c6/0xff0`` is not the ELF symbol's size: kallsyms stores none, so the kernel
prints the distance to the next symbol, alignment padding included (``kernel/kallsyms.c``, ``get_symbol_pos()``; for
modules ``kernel/module/kallsyms.c``, ``find_kallsyms_symbol()``). In real logs the two differ for 54 % of the frames.

Built for one cold question: the table of a vmlinux has about 120 000 entries, a dictionary of them takes 48 ms, and
an oops asks for a few dozen names. So names are searched for in the string table as bytes and the entries are kept as
columns.
"""

from __future__ import annotations

import struct
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from annotate.model import LinkAddr, Symbol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_COMMON, STT_TLS = 1, 2, 3, 4, 5, 6
_SHN_UNDEF, _SHN_LORESERVE = 0, 0xFF00

#: Names that kallsyms leaves out, so they end no symbol: mapping symbols and local labels (``is_mapping_symbol()``),
#: and what ``scripts/kallsyms.c`` drops.
_HIDDEN_PREFIXES = (b"$", b".L", b"L0", b"__crc_", b"__kcfi_typeid_", b"__efistub_", b"__kvm_nvhe_$", b"__kvm_nvhe_.L")

#: Above this many names that are asked one by one, an index of all names is cheaper (48 ms against 0.4 ms a name).
_NAMES_BEFORE_INDEX = 150

#: Entries are grouped by address in pieces of this size (4 KiB), and a piece is sorted when it is asked for.
PAGE_SHIFT = 12


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
            # Asked for a few entries only: two lists of 120 000 numbers would cost 5 ms.
            view.cast("H")[3::12],
            view.cast("Q")[1::3].tolist(),
            view.cast("Q")[2::3],
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
    relocatable file to their section's address and ``section_ends`` are where those end; ``region_ends`` are the
    addresses at which the loader's regions end (empty for a linked file, whose last symbol ends with ``end``).
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
        self._pages: dict[int, list[int]] | None = None
        self._sorted_pages: list[int] = []
        self._entries: dict[int, list[tuple[int, int]]] = {}

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
        places = {name: [index for index in indexes if self._has_place(index)] for name, indexes in found.items()}
        for name, indexes in places.items():
            self._found[name] = tuple(sorted((self._symbol(index, name) for index in indexes), key=_address))

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
        if self._columns.types[index] & 15 in (STT_SECTION, STT_FILE):
            return False
        return section != _SHN_UNDEF and (not self._is_relocatable or section < _SHN_LORESERVE)

    def _symbol(self, index: int, name: bytes) -> Symbol:
        return self._sized(index, name, self._following(self._values[index]) - self._values[index])

    def _sized(self, index: int, name: bytes, size: int) -> Symbol:
        columns = self._columns
        address = self._values[index]
        sizes: tuple[int, ...] = (size,)
        region_end = next((end for end in self._region_ends if end > address), None) if self._region_ends else None
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
        following = None
        for page in self._pages_from(address >> PAGE_SHIFT):
            entries = self._entries_of(page)
            position = bisect_right(entries, address, key=_first)
            if position < len(entries):
                following = entries[position][0]
                break
        region_end = next((end for end in self._region_ends if end > address), None)
        if following is None:
            return region_end if region_end is not None else max(self._end, address)
        return following if region_end is None else min(following, region_end)

    def _pages_from(self, page: int) -> Iterator[int]:
        """The pages that have entries, from ``page`` on."""
        numbers = self._page_numbers()
        for position in range(bisect_left(numbers, page), len(numbers)):
            yield numbers[position]

    def _page_numbers(self) -> list[int]:
        if self._pages is None:
            # One pass over the table (12 ms); sorting all of it would cost 30, and a log asks about few places.
            pages: dict[int, list[int]] = defaultdict(list)
            for index, value in enumerate(self._values):
                pages[value >> PAGE_SHIFT].append(index)
            self._pages = pages
            self._sorted_pages = sorted(pages)
        return self._sorted_pages

    def _entries_of(self, page: int) -> list[tuple[int, int]]:
        """(address, index) of the entries of a page that kallsyms knows, ascending."""
        entries = self._entries.get(page)
        if entries is None:
            self._page_numbers()
            indexes = (self._pages or {}).get(page, ())
            entries = sorted((self._values[index], index) for index in indexes if self._is_known(index))
            self._entries[page] = entries
        return entries

    def _is_known(self, index: int) -> bool:
        """Whether kallsyms has the entry: it has a name, a place, and is no mapping symbol or the like."""
        columns = self._columns
        offset = columns.names[index]
        return offset != 0 and not columns.strings.startswith(_HIDDEN_PREFIXES, offset) and self._has_place(index)

    def containing(self, address: LinkAddr) -> Symbol | None:
        """The symbol that kallsyms would name for an address, or None where there is none.

        Of several at one address a function is preferred to a label, then the first in the table.
        """
        numbers = self._page_numbers()
        for position in range(bisect_right(numbers, address >> PAGE_SHIFT) - 1, -1, -1):
            entries = self._entries_of(numbers[position])
            last = bisect_right(entries, address, key=_first)
            if last:
                return self._best_at(entries[last - 1][0], address)
        return None

    def by_address(self) -> Iterator[list[Symbol]]:
        """Every symbol that kallsyms knows, those at one address together, the one that ``containing`` names first."""
        strings, names = self._columns.strings, self._columns.names
        find, sized = strings.find, self._sized
        entries = [entry for page in self._page_numbers() for entry in self._entries_of(page)]
        # Neighbours know where each ends, unless a region does so first: three times as fast as asking for each.
        following = dict(pairwise(dict(entries))) if not self._region_ends else {}
        for start, same in groupby(entries, key=_FIRST):
            end = following.get(start)
            size = (self._following(start) if end is None else end) - start
            symbols = [sized(index, strings[names[index] : find(b"\0", names[index])], size) for _, index in same]
            if len(symbols) > 1:
                symbols.sort(key=lambda symbol: (symbol.is_code, symbol.st_size > 0), reverse=True)
            yield symbols

    def _best_at(self, start: int, address: int) -> Symbol | None:
        if self._following(start) <= address:
            return None
        strings, names = self._columns.strings, self._columns.names
        aliases = [
            self._symbol(index, strings[names[index] : strings.find(b"\0", names[index])])
            for value, index in self._entries_of(start >> PAGE_SHIFT)
            if value == start
        ]
        return max(aliases, key=lambda symbol: (symbol.is_code, symbol.st_size > 0), default=None)


_FIRST = itemgetter(0)


def _first(entry: tuple[int, int]) -> LinkAddr:
    return LinkAddr(entry[0])


def _address(symbol: Symbol) -> int:
    return symbol.address
