"""Which of the posted layouts a table has. Nothing in a file says it: each is tried, and only one may fit.

Layouts of modules differ in their headers, which must add up to the section's size. v2 and v3 of a vmlinux have the
same symbols and the same sizes; read the wrong way, file ids or lines soon fall below zero. Where both ways are
possible and do not say the same, nothing is answered.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from annotate.errors import AnnotateError, DamagedFileError, UnsupportedFileError
from annotate.tables import kernel_flat, kernel_v2, kernel_v3, kernel_v5

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from annotate.tables.kernel_blocks import KernelTable, Symbols
    from annotate.tables.kernel_v5 import SectionTable

#: Blocks that are looked at in a large table before it is believed: 64 of 19 000 take 4 ms, all of them 1 s.
_SAMPLE = 64


class VmlinuxTable(NamedTuple):
    """The table of a kernel; offsets count from ``_text``."""

    layout: str
    table: KernelTable


class ModuleTables(NamedTuple):
    """What a module's section holds: one table for ``.text`` (``text``), or one a section (``sections``)."""

    layout: str
    text: KernelTable | None
    sections: Sequence[SectionTable]


def is_present(symbols: Symbols) -> bool:
    """Whether a kernel has a table at all, be it an empty one (as between two passes of its link)."""
    return symbols.has("lineinfo_num_entries")


def read_vmlinux(symbols: Symbols) -> VmlinuxTable:
    """The table of a kernel.

    Raises DamagedFileError when it can be of no layout, UnsupportedFileError when it can be of two.
    """
    if symbols.has("lineinfo_addrs"):
        flat = kernel_flat.read_vmlinux(symbols)
        _check(symbols.source, {kernel_flat.LAYOUT: flat.fault(sample=_SAMPLE)})
        return VmlinuxTable(kernel_flat.LAYOUT, flat)
    tables: dict[str, KernelTable] = {
        kernel_v2.LAYOUT: kernel_v2.read_vmlinux(symbols),
        kernel_v3.LAYOUT: kernel_v3.read_vmlinux(symbols),
    }
    for sample in (_SAMPLE, None):
        faults = {layout: table.fault(sample=sample) for layout, table in tables.items()}
        possible = _check(symbols.source, faults)
        if len(possible) == 1:
            return VmlinuxTable(possible[0], tables[possible[0]])
    first, second = tables.values()
    if any(one != other for one, other in zip_longest(first.entries(), second.entries())):
        raise _undecided(symbols.source, list(tables))
    return VmlinuxTable(kernel_v3.LAYOUT, second)  # no difference is ever below zero or above: both are the same


def read_module(data: bytes, byte_order: str, source: str) -> ModuleTables:
    """The tables of ``.mod_lineinfo`` or ``.init.mod_lineinfo``, relocations applied.

    Errors as for ``read_vmlinux``.
    """
    readings: dict[str, ModuleTables] = {}
    faults: dict[str, str] = {}
    readers: dict[str, Callable[[bytes, str, str], KernelTable]] = {
        kernel_flat.LAYOUT: kernel_flat.read_module,
        kernel_v2.LAYOUT: kernel_v2.read_module,
        kernel_v3.LAYOUT: kernel_v3.read_module,
    }
    for layout, read in readers.items():
        try:
            table = read(data, byte_order, source)
        except DamagedFileError as error:
            faults[layout] = error.problem
        else:
            faults[layout] = table.fault(sample=_SAMPLE)
            readings[layout] = ModuleTables(layout, table, ())
    try:
        sections = kernel_v5.read_module(data, byte_order, source)
    except DamagedFileError as error:
        faults[kernel_v5.LAYOUT] = error.problem
    else:
        problems = [section.table.fault(sample=_SAMPLE) for section in sections]
        faults[kernel_v5.LAYOUT] = next(filter(None, problems), "")
        readings[kernel_v5.LAYOUT] = ModuleTables(kernel_v5.LAYOUT, None, sections)
    possible = _check(source, faults)
    if len(possible) > 1:
        raise _undecided(source, possible)
    return readings[possible[0]]


def _check(source: str, faults: dict[str, str]) -> list[str]:
    """The layouts without a fault, of which there must be one."""
    possible = [layout for layout, fault in faults.items() if not fault]
    if not possible:
        found = "; ".join(f"{layout}: {fault}" for layout, fault in faults.items())
        raise DamagedFileError(source, "lineinfo", 0, "a table of a layout that was posted", found)
    return possible


def _undecided(source: str, layouts: Sequence[str]) -> AnnotateError:
    return UnsupportedFileError(
        source, f"its lineinfo table can be read as {' and as '.join(layouts)}, and nothing in it says which it is"
    )
