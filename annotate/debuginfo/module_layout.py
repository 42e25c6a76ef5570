"""Addresses for the sections of a kernel module.

A ``.ko`` is a relocatable file: all its sections start at 0, so an address alone says nothing. Here each allocated
section gets an address of its own, laid out the way the kernel's loader does it (``kernel/module/main.c``,
``layout_sections()``): executable sections in file order, each at its alignment, those whose names begin with
``.init`` in a region of their own; then read-only and writable data. So the distance between two symbols is the
distance that kallsyms sees, across sections too, and every rule for linked files holds for modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.elf import SHF_WRITE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.debuginfo.elf import Section

#: Any page-aligned start but 0 will do: 0 is what a discarded function's address looks like.
FIRST_REGION = 0x100000

#: Regions are padded to the largest page size of any architecture, so that rounding a region's end up to a page
#: never reaches the next region.
REGION_ALIGNMENT = 0x10000


class ModuleLayout(NamedTuple):
    """Where each section of a module lies."""

    bases: dict[int, int]  #: section index -> address
    region_ends: tuple[int, ...]  #: first address behind each region, ascending


def lay_out(sections: Sequence[Section]) -> ModuleLayout:
    """Assign an address to every allocated section."""
    regions: list[list[Section]] = [[], [], [], []]
    for section in sections:
        if section.is_allocated:
            is_init = section.name.startswith(".init")
            if section.is_code:
                regions[1 if is_init else 0].append(section)
            else:
                regions[3 if section.flags & SHF_WRITE else 2].append(section)
    bases: dict[int, int] = {}
    ends = []
    address = FIRST_REGION
    for region in regions:
        for section in region:
            address += -address % max(section.alignment, 1)
            bases[section.number] = address
            address += section.size
        ends.append(address)
        address += -address % REGION_ALIGNMENT + REGION_ALIGNMENT
    return ModuleLayout(bases, tuple(ends))
