"""All that can be asked of an ELF file, in bounds; what it answers must at least be possible."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING, Final

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.embedded import EmbeddedImage
from annotate.debuginfo.image import DebugImage
from annotate.errors import AnnotateError
from annotate.kernel.identify import kernel_of
from annotate.model import LinkAddr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import Location

#: Addresses with symbols that are asked for, and rows that are read.
_ENTRIES: Final = 24
_ROWS: Final = 20_000


def ask_file(data: bytes) -> None:
    """Open it in every way in which it can be, and ask. Raises AnnotateError for a file that cannot be used."""
    elf = ElfFile(data, "fuzzed")
    kernel_of(elf)
    elf.debug_link()
    elf.alternate_link()
    with contextlib.suppress(AnnotateError):
        ask_image(EmbeddedImage(elf))
    ask_image(DebugImage(elf, alternate=elf))
    ask_image(DebugImage(elf))


def ask_image(image: DebugImage | EmbeddedImage) -> None:
    """Ask for symbols by name and address, chains, targets of calls, rows. Raises AnnotateError."""
    for symbols in islice(image.symbols.by_address(), _ENTRIES):
        image.prepare([symbol.name for symbol in symbols])
        for symbol in symbols:
            assert all(found.name == symbol.name for found in image.find(symbol.name))
            for address in {symbol.address, symbol.address + symbol.size // 2, symbol.end - 1, symbol.end}:
                _check_chain(image.chain(LinkAddr(address), symbol))
                at = image.symbol_at(LinkAddr(address))
                assert at is None or at.address <= address < at.end, f"{at} at {address:#x}"
                image.call_target(LinkAddr(address))
                image.section_of(LinkAddr(address))
    for address in (0, 1, 1 << 32, (1 << 64) - 1):
        image.symbol_at(LinkAddr(address))
        image.section_of(LinkAddr(address))
    for _, file, line in islice(image.rows(), _ROWS):
        assert line >= 0, f"{file}:{line}"
    assert all(str(error) for error in image.damage)


def _check_chain(chain: Sequence[Location]) -> None:
    assert [place.inlined for place in chain] == [True] * (len(chain) - 1) + [False] * bool(chain), chain
