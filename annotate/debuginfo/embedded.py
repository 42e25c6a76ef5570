"""One kernel or one module that carries lineinfo tables (CONFIG_KALLSYMS_LINEINFO), asked as the kernel asks them.

A table names a file and a line, the innermost of inlined calls, and no function. It is as right as the tool that made
it; what is known to be wrong is not answered: offsets behind ``_etext`` (tables before v5 were made from a kernel that
was laid out otherwise there), entries that begin before the symbol asked about, and what tools before v5 made of
modules without relocating them (all parts of a module lie on top of each other).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo import relocate
from annotate.debuginfo.elf import ET_REL, SHT_NOBITS
from annotate.debuginfo.elfimage import PADDING_PREFIX, ElfImage
from annotate.debuginfo.paths import fold
from annotate.debuginfo.relocate import DebugSection
from annotate.errors import AnnotateError, DamagedFileError, NoDebugInfoError
from annotate.model import LinkAddr, Location
from annotate.tables import kernel_layouts, kernel_v5
from annotate.tables.kernel_blocks import LINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotate.debuginfo.elf import ElfFile, Section
    from annotate.model import Symbol
    from annotate.symbols import SymbolTable
    from annotate.tables.kernel_blocks import KernelTable

#: What files with code are called.
_SOURCE_NAMES = (b".c", b".h", b".S", b".s", b".rs")

#: A module's table is collapsed when what lies behind its last entry is more than a quarter of the section and more
#: than this. (In each of 300 modules of a Debian kernel the last row is in the last tenth of .text, or in its last 256
#: bytes.)
_TAIL = 256


class _Covered(NamedTuple):
    """A range of addresses, and the table that answers for it by offsets from its start."""

    start: int
    end: int
    first: int  #: entries that begin below are not believed
    table: KernelTable


class EmbeddedImage(ElfImage):
    """An ELF file with lineinfo tables. Implements ``annotate.resolve.KernelImage``.

    ``layout`` is the posted layout that was read: "flat", "v2", "v3" (v4 is the same, and of a vmlinux v5 and later
    are), "v5". Raises NoDebugInfoError when there is no table, when it is empty or collapsed; DamagedFileError when it
    can be of no layout and UnsupportedFileError when it can be of two.
    """

    def __init__(self, elf: ElfFile) -> None:
        sections = table_sections(elf)
        if elf.type == ET_REL and not sections:
            raise _no_table(elf)  # before the symbols are read
        super().__init__(elf)
        self.damage: list[AnnotateError] = []  #: what was found broken: nothing, what is broken raises
        self.layout, self._covered = self._read_module(sections) if self.is_module else self._read_vmlinux()

    def _read_vmlinux(self) -> tuple[str, list[_Covered]]:
        symbols = _SymbolBytes(self._elf, self.symbols)
        if not kernel_layouts.is_present(symbols):
            raise _no_table(self._elf)
        if not any(symbols.read("lineinfo_num_entries", 4)):
            raise NoDebugInfoError(self.source, "expected a lineinfo table, found an empty one")
        base = symbols.address("_text")
        layout, table = kernel_layouts.read_vmlinux(symbols)
        if symbols.has("_etext"):
            end = symbols.address("_etext")
        else:
            end = max((s.address + s.size for s in self._elf.sections if s.is_code and s.address <= base), default=base)
        return layout, [_Covered(base, end, 0, table)]

    def _read_module(self, sections: list[Section]) -> tuple[str, list[_Covered]]:
        values = relocate.symbol_values(self._elf, self._bases)
        layouts = []
        covered: list[_Covered] = []
        for section in sections:
            data = DebugSection(self._elf, section, values).read(0, section.size)
            layout, text, tables = kernel_layouts.read_module(data, self._elf.byte_order, self.source)
            layouts.append(layout)
            if text is not None:
                covered.append(self._covered_text(text))
            # The first table that covers an address decides, so the order stays. 0 is an anchor without a relocation.
            covered += [_Covered(one.address, one.address + one.size, 0, one.table) for one in tables if one.address]
        if len(set(layouts)) > 1:
            raise DamagedFileError(self.source, sections[1].name, 0, f"a table of {layouts[0]}", layouts[1])
        return layouts[0], covered

    def _covered_text(self, table: KernelTable) -> _Covered:
        """Tables before v5 take ``.text`` for the start of the module, and say nothing of any other section.

        Their host tool did not relocate the addresses of rows, so all parts of the module begin at 0 for it. Of what is
        left, rows of the unit that comes first in ``.text`` are true, but for the front, on which the other sections
        lie. A table that ends with an entry without a file is not of that tool (it has none such) and is believed.
        """
        text = self._elf.section(".text")
        if text is None or text.number not in self._bases:
            raise DamagedFileError(self.source, ".mod_lineinfo", 0, "a section .text beside it", "none")
        base = self._bases[text.number]
        last = table.last()
        if last is None or last[1] >= table.num_files:
            return _Covered(base, base + text.size, 0, table)
        tail = text.size - last[0]
        if tail > _TAIL and 4 * tail > text.size:
            raise NoDebugInfoError(
                self.source,
                f"its lineinfo table ends at .text+{last[0]:#x} of {text.size:#x} bytes: made without relocations, "
                "all its rows lie on top of each other, and none can be trusted",
            )
        if not any((table.name(file_id) or b"").endswith(_SOURCE_NAMES) for file_id in range(table.num_files)):
            raise NoDebugInfoError(
                self.source, "its lineinfo table names no source file: made without relocations, it cannot be trusted"
            )
        # The end of another section is a row too, so what begins right at it is not believed either.
        front = max((one.size for one in self._elf.sections if one.is_code and one.number != text.number), default=0)
        return _Covered(base, base + text.size, front + 1 if front else 0, table)

    def chain(self, address: LinkAddr, symbol: Symbol) -> tuple[Location, ...]:
        """The location of an address that belongs to ``symbol``; empty when there is none or it is another's."""
        if symbol.name.startswith(PADDING_PREFIX):
            return ()  # an entry that begins there is one that the function before left over
        for start, end, first, table in self._covered:
            if start <= address < end:
                found = table.find(address - start, max(symbol.address - start, first))
                if found is None or not 0 < found[1] < LINE_LIMIT:
                    return ()
                return (Location(_path(found[0]), found[1], "", inlined=False),)
        return ()

    def rows(self) -> Iterator[tuple[LinkAddr, str, int]]:
        """Every place where the answer changes, by address: (address, file, line).

        No file and line 0 stand where what is covered ends.
        """
        for start, end, first, table in sorted(self._covered, key=_start):
            last = nothing = ("", 0)
            for offset, row in self._places(table):
                if start + offset >= end:
                    break
                if offset >= first and row != last:
                    yield LinkAddr(start + offset), *row
                    last = row
            if last != nothing:
                yield LinkAddr(end), *nothing

    def _places(self, table: KernelTable) -> Iterator[tuple[int, tuple[str, int]]]:
        """Offset, and file and line, of each entry; no file and line 0 for those that name none."""
        paths: dict[int, str] = {}
        for offset, file_id, line in table.entries():
            path = paths.get(file_id)
            if path is None:
                name = table.name(file_id)
                path = paths[file_id] = "" if name is None else _path(name)
            yield offset, (path, line) if path and 0 < line < LINE_LIMIT else ("", 0)


def table_sections(elf: ElfFile) -> list[Section]:
    """The sections of a module that hold tables; a file of split debug info has their headers only."""
    found = (elf.section(name) for name in kernel_v5.COVERED)
    return [section for section in found if section is not None and section.type != SHT_NOBITS and section.size]


class _SymbolBytes:
    """The bytes behind the symbols of a linked file. Implements ``annotate.tables.kernel_blocks.Symbols``."""

    def __init__(self, elf: ElfFile, symbols: SymbolTable) -> None:
        self.source = elf.source
        self.byte_order = elf.byte_order
        self._elf = elf
        self._symbols = symbols
        prefixed = ("num_entries", "num_files", "num_blocks", "block_addrs", "block_offsets", "data_size", "data")
        flat = ("addrs", "file_ids", "lines", "file_offsets", "filenames_size", "filenames")
        symbols.prepare((b"_text", b"_etext", *(b"lineinfo_" + name.encode() for name in (*prefixed, *flat))))

    def has(self, name: str) -> bool:
        """Whether there is such a symbol, with bytes in this file (a file of split debug info has none)."""
        found = self._symbols.find(name.encode())
        return bool(found) and (not name.startswith("lineinfo_") or self._section_of(found[0].address) is not None)

    def address(self, name: str) -> int:
        """Where a symbol is. Raises DamagedFileError when there is none, or more than one."""
        addresses = {symbol.address for symbol in self._symbols.find(name.encode())}
        if len(addresses) != 1:
            raise DamagedFileError(self.source, ".symtab", 0, f"one symbol {name}", f"{len(addresses)}")
        return addresses.pop()

    def read(self, name: str, size: int | None) -> bytes:
        """See ``Symbols``."""
        address = self.address(name)
        section = self._section_of(address)
        if section is None:
            raise DamagedFileError(self.source, ".symtab", 0, f"{name} in a section with bytes", f"{address:#x}")
        start = address - section.address
        return self._elf.read(section, start, None if size is None else start + size)

    def _section_of(self, address: int) -> Section | None:
        at_end = None  # of an array without elements
        for section in self._elf.sections:
            if section.is_allocated and section.type != SHT_NOBITS:
                offset = address - section.address
                if 0 <= offset < section.size:
                    return section
                if offset == section.size:
                    at_end = section
        return at_end


def _no_table(elf: ElfFile) -> NoDebugInfoError:
    return NoDebugInfoError(elf.source, "expected a lineinfo table, found an ELF file without one")


def _path(name: bytes) -> str:
    return fold(name.decode("utf-8", "surrogateescape"))


def _start(covered: _Covered) -> int:
    return covered.start
