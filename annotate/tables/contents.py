"""What a writer is given: one image, ready to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import LinkAddr, Symbol
    from annotate.tables.tokens import Tokens


class Section(NamedTuple):
    """A section of code, as ``lineinfo dump`` names places in modules."""

    name: str
    start: LinkAddr
    size: int


class Entry(NamedTuple):
    """One place where symbols of code begin, and the code from there to the next entry.

    ``symbols`` may be empty: code in front of the first symbol, or what follows one that is left out. The one that
    kallsyms would name for an address comes first. ``calls`` are the direct calls, where they can tell symbols of one
    name apart: (return address, target).
    """

    address: LinkAddr
    symbols: tuple[Symbol, ...]
    calls: tuple[tuple[LinkAddr, LinkAddr], ...] = ()


class ImageContents(NamedTuple):
    """A kernel or a module.

    ``entries`` ascend by address. ``order[i]`` is the entry whose answers ``tokens`` has in its i-th place, counted
    through all of them.
    """

    name: str  #: of a module; empty for the kernel
    build_id: str
    release: str
    arch: str
    source: str  #: the file that it was made from, for people
    is_module: bool
    has_inlines: bool
    is_partial: bool  #: some symbols were left out
    shift: int
    end: LinkAddr  #: of the code
    sections: Sequence[Section]
    entries: Sequence[Entry]
    order: Sequence[int]
    tokens: Sequence[Tokens]
    data_names: Sequence[bytes]  #: symbols that are no code
