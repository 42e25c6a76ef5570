"""One kernel or one module that can be asked: ELF, symbols and DWARF put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.debuginfo import relocate
from annotate.debuginfo.dwarf import DwarfLines
from annotate.debuginfo.elfimage import PADDING_PREFIX, ElfImage
from annotate.debuginfo.units import debug_sections
from annotate.errors import AnnotateError, NoDebugInfoError
from annotate.model import LinkAddr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotate.debuginfo.elf import ElfFile
    from annotate.model import Location, Symbol


class DebugImage(ElfImage):
    """An ELF file with DWARF. Implements ``annotate.resolve.KernelImage``.

    ``symbols`` is the file that holds the symbol table, where that is another one (a debug file without one and the
    stripped file it was split from). ``alternate`` is the file that ``dwz`` moved shared entries to
    (``.gnu_debugaltlink``). Raises NoDebugInfoError when there is no .debug_line to answer from, DamagedFileError for a
    broken symbol table.
    """

    def __init__(self, elf: ElfFile, *, symbols: ElfFile | None = None, alternate: ElfFile | None = None) -> None:
        if elf.debug_section("line") is None:
            raise NoDebugInfoError(elf.source, "expected debug info, found an ELF file without .debug_line (stripped?)")
        super().__init__(elf, symbols)
        symbol_values = relocate.symbol_values(elf, self._bases) if self.is_module else []
        self.lines = DwarfLines(debug_sections(elf, symbol_values, alternate))

    @property
    def damage(self) -> list[AnnotateError]:
        """What was found broken so far, one error a unit."""
        return self.lines.damage

    def chain(self, address: LinkAddr, symbol: Symbol) -> tuple[Location, ...]:
        """The locations of an address that belongs to ``symbol``, innermost first; empty when there is none."""
        if symbol.name.startswith(PADDING_PREFIX):
            return ()  # a row that begins there is one that the function before left over
        # Up to the end of the symbol's own code: what follows in its gap may be a weak function that was overridden.
        end = symbol.address + symbol.st_size if symbol.st_size else symbol.end
        return self.lines.chain(address, symbol.address, end)

    def rows(self) -> Iterator[tuple[LinkAddr, str, int]]:
        """Every place where the answer changes, by address: (address, file, line).

        No file and line 0 stand where what is covered ends.
        """
        for address, file, line in self.lines.rows():
            yield LinkAddr(address), file, line
