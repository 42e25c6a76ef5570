"""Any bytes as a kernel's table are an error of ours or a table that says what its entries say, also written again."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING, Final

from annotate.errors import AnnotateError, DamagedFileError
from annotate.tables import kernel_flat, kernel_layouts, kernel_v2, kernel_v3, kernel_v5
from annotate.tables.kernel_assembly import Anchor, assemble
from annotate.tables.kernel_rows import Entries
from fuzz.targets import join_pieces, split_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from annotate.tables.kernel_assembly import Piece
    from annotate.tables.kernel_blocks import KernelTable

WORDS: Final = (b"a.c\0", b"\xff\xff\xff\xff", b"\x80\x80\x80\x80\x10", b"\x7f", b"\x80\x7f")

_BIG_ENDIAN, _IS_KERNEL = 1, 2
_ENTRIES, _ASKED = 4096, 40

_SYMBOLS: Final = (
    "num_entries", "num_files", "num_blocks", "block_addrs", "block_offsets", "data_size", "file_offsets",
    "filenames_size", "addrs", "file_ids", "lines", "data", "filenames",
)  # fmt: skip


class _Symbols:
    """The symbols of a kernel; those without bytes are not there. Implements ``kernel_blocks.Symbols``."""

    source = "fuzzed"

    def __init__(self, symbols: Mapping[str, bytes], byte_order: str) -> None:
        self.byte_order = byte_order
        self._symbols = symbols

    def has(self, name: str) -> bool:
        return bool(self._symbols.get(name))

    def read(self, name: str, size: int | None) -> bytes:
        data = self._symbols.get(name, b"")
        if size is not None and size > len(data):
            raise DamagedFileError(self.source, ".rodata", 0, f"{size} bytes", f"{len(data)}")
        return data[:size]


def check(data: bytes) -> None:
    """The first byte decides whether it is a kernel's or a module's, and on its byte order."""
    flags = data[0] if data else 0
    order = ">" if flags & _BIG_ENDIAN else "<"
    if flags & _IS_KERNEL:
        _, pieces = split_pieces(data, len(_SYMBOLS))
        _check_kernel({f"lineinfo_{name}": piece for name, piece in zip(_SYMBOLS, pieces, strict=True)}, order)
    else:
        _check_module(data[1:], order)


def _check_kernel(symbols: Mapping[str, bytes], order: str) -> None:
    bare = {name: piece for name, piece in symbols.items() if name != "lineinfo_addrs"}
    with contextlib.suppress(AnnotateError):
        kernel_layouts.read_vmlinux(_Symbols(symbols, order))
    with contextlib.suppress(AnnotateError):
        kernel_layouts.read_vmlinux(_Symbols(bare, order))
    for layout in (kernel_flat, kernel_v2, kernel_v3):
        with contextlib.suppress(DamagedFileError):
            table = layout.read_vmlinux(_Symbols(symbols, order))
            if _is_sound(table):
                entries = _entries(table)
                again = layout.read_vmlinux(_Symbols(_assembled(layout.write_vmlinux(entries), order), order))
                assert _entries(again) == entries, f"{layout.LAYOUT}: other entries when written again"


def _assembled(pieces: Sequence[Piece], order: str) -> dict[str, bytes]:
    return {piece.label: assemble([piece], order).data for piece in pieces if not isinstance(piece, Anchor)}


def _check_module(data: bytes, order: str) -> None:
    with contextlib.suppress(AnnotateError):
        kernel_layouts.read_module(data, order, "fuzzed")
    for layout in (kernel_flat, kernel_v2, kernel_v3):
        with contextlib.suppress(DamagedFileError):
            table = layout.read_module(data, order, "fuzzed")
            if _is_sound(table):
                entries = _entries(table)
                again = layout.read_module(assemble(layout.write_module(entries), order).data, order, "written again")
                assert _entries(again) == entries, f"{layout.LAYOUT}: other entries when written again"
    with contextlib.suppress(DamagedFileError):
        sections = kernel_v5.read_module(data, order, "fuzzed")
        for address in (0, 1, 1 << 32, *(section.address for section in sections)):
            found = kernel_v5.find_covering(sections, address)
            assert found is None or found.address <= address < found.address + found.size
        if all(list(map(_is_sound, (section.table for section in sections)))):  # each is asked
            written = [(".text", section.size, _entries(section.table)) for section in sections]
            again = kernel_v5.read_module(assemble(kernel_v5.write_module(written), order).data, order, "written again")
            assert [(section.size, _entries(section.table)) for section in again] == [one[1:] for one in written]


def _is_sound(table: KernelTable) -> bool:
    """Whether a table is without a fault and small; ask it in any case."""
    entries = list(islice(table.entries(), _ENTRIES))
    last = table.last()
    fault = table.fault()
    if fault:
        for offset in (-1, 0, 1, 0x40, (1 << 32) - 1, 1 << 32):
            table.find(offset)
        return False
    if len(entries) == _ENTRIES:
        return False
    assert last == (entries[-1] if entries else None)
    step = max(len(entries) // _ASKED, 1)
    for number in range(0, len(entries), step):
        offset = entries[number][0]
        for asked in (offset - 1, offset, offset + 1):
            assert table.find(asked) == _walk(table, entries, asked), f"offset {asked:#x}"
            assert asked < offset or table.find(asked, asked + 1) is None, f"an entry before {asked + 1:#x}"
    return True


def _walk(table: KernelTable, entries: Sequence[tuple[int, int, int]], offset: int) -> tuple[bytes, int] | None:
    """The kernel's rule, word by word: the last entry at or below the offset."""
    best = None
    for entry in entries:
        if entry[0] <= offset:
            best = entry
    name = None if best is None else table.name(best[1])
    return None if best is None or name is None else (name, best[2])


def _entries(table: KernelTable) -> Entries:
    rows = list(table.entries())
    names = [table.name(file_id) or b"" for file_id in range(table.num_files)]
    return Entries([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], names)


def seeds() -> Iterator[bytes]:
    """Tables of all layouts, written here: one block and several, lines that go back, entries without one."""
    small = Entries([0, 4, 0x20, 0x100], [0, 1, 2, 0], [10, 7, 7, 300], [b"mm/a.c", b"include/b.h"])
    numbers = range(150)
    large = Entries(
        [3 * number for number in numbers], [number % 3 for number in numbers],
        [1 + 37 * number % 1000 for number in numbers], [b"fs/a.c", b"fs/b.c", b"fs/c.c"],
    )  # fmt: skip
    for order, flags in (("<", 0), (">", _BIG_ENDIAN)):
        for entries in (small, large):
            for layout in (kernel_flat, kernel_v2, kernel_v3):
                yield bytes((flags,)) + assemble(layout.write_module(entries), order).data
                pieces = _assembled(layout.write_vmlinux(entries), order)
                bodies = [pieces.get(f"lineinfo_{name}", b"") for name in _SYMBOLS]
                yield join_pieces(flags | _IS_KERNEL, bodies)
            sections = [(".text", 0x1000, entries), (".exit.text", 0x200, small)]
            yield bytes((flags,)) + assemble(kernel_v5.write_module(sections), order).data
