"""One kernel or one module of a table."""

from __future__ import annotations

import struct
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from annotate.errors import AnnotateError
from annotate.leb128 import read_sleb, read_uleb
from annotate.model import LinkAddr, Location, Symbol
from annotate.tables.lineinfo_v1.block import (
    first_symbol_of,
    newest_before,
    read_block,
    read_names,
    size_of,
    size_of_names,
    stream_of,
    symbols_named,
)
from annotate.tables.lineinfo_v1.fingerprints import Fingerprints, may_be_data
from annotate.tables.lineinfo_v1.layout import (
    BLOCK_INDEX,
    ERRORS,
    HAS_CHAINS,
    IS_PARTIAL,
    MAX_SHIFT,
    MODULE,
    SMALL_INDEX,
    Head,
    Section,
    unpack,
)
from annotate.tables.lineinfo_v1.stream import NO_LINE, Calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from annotate.tables.lineinfo_v1.block import Block, Names
    from annotate.tables.lineinfo_v1.file import TableFile
    from annotate.tables.lineinfo_v1.layout import Record
    from annotate.tables.lineinfo_v1.stream import Stretch

#: Names whose symbols are remembered: 1 MB.
MOST_FOUND = 2048


class TableImage:
    """One kernel or one module of a table. Implements ``annotate.resolve.KernelImage``.

    Blocks are read when they are asked for. One that is damaged answers nothing; ``damage`` says so.
    """

    def __init__(self, file: TableFile, record: Record) -> None:
        self._file = file
        self._record = record
        head_bytes = file.read(record.offset, record.head_size, record.head_crc, "the head of an image")
        try:
            position = 0
            values = []
            for _ in Head._fields:
                value, position = read_uleb(head_bytes, position)
                values.append(value)
            self.head = head = Head(*values)
            count, position = read_uleb(head_bytes, position)
            self.sections = []
            for _ in range(count):
                name, position = read_uleb(head_bytes, position)
                distance, position = read_sleb(head_bytes, position)
                size, position = read_uleb(head_bytes, position)
                text = file.string(name).decode("utf-8", "surrogateescape")
                self.sections.append(Section(text, LinkAddr(head.first + distance), size))
            parts = []
            for index, number in (
                (BLOCK_INDEX, head.blocks),
                (SMALL_INDEX, head.name_blocks),
                (SMALL_INDEX, head.path_blocks),
            ):
                parts.append(struct.unpack_from(f"<{number * index.size // 4}I", head_bytes, position))
                position += number * index.size
            starts = [record.offset + record.head_size]
            for size in (head.blocks_size, head.names_size, head.paths_size, head.fingerprints_size, head.data_size):
                starts.append(starts[-1] + size)
            if position != record.head_size or starts[-1] != record.offset + record.size:
                raise ValueError("its parts have another size than it has")
            if not head.names_a_block or not head.paths_a_block or head.shift > MAX_SHIFT:
                raise ValueError("blocks of nothing, or units of too many bytes")
            offsets = parts[0][1::4]
            if any(offset >= following for offset, following in pairwise((*offsets, head.blocks_size))):
                raise ValueError("blocks that do not follow each other")
        except ERRORS as error:
            raise file.damaged(record.offset, "the head of an image", error) from error
        self._block_addresses = parts[0][0::4]
        self._block_offsets = (*parts[0][1::4], head.blocks_size)
        self._block_crcs = parts[0][2::4]
        self._symbols_before = parts[0][3::4]
        self._name_index, self._path_index = parts[1], parts[2]
        self._starts = starts
        self._fingerprints: Fingerprints | None = None
        self._data_fingerprints: bytes | None = None
        self._found: dict[bytes, tuple[Symbol, ...]] = {}
        self.damage: list[AnnotateError] = []
        self.is_module = record.kind == MODULE
        self.build_id = record.build_id
        self.name = record.name
        self.source = file.source
        self.release = file.string(head.release).decode("utf-8", "surrogateescape")
        self.arch = file.string(head.arch).decode("utf-8", "surrogateescape")
        self.made_from = file.string(head.source).decode("utf-8", "surrogateescape")
        self.has_chains = bool(head.flags & HAS_CHAINS)
        self.is_partial = bool(head.flags & IS_PARTIAL)

    # What is asked: see ``annotate.resolve.KernelImage``.

    def prepare(self, names: Iterable[bytes]) -> None:
        """Nothing is looked up yet; from many names on, an index of the fingerprints is worth it."""
        try:
            self._read_fingerprints().expect(sum(1 for _ in names))
        except AnnotateError as error:
            self._note(error)

    def find(self, name: bytes) -> tuple[Symbol, ...]:
        """Every symbol of that name, by address. A variable has no address here."""
        found = self._found.get(name)
        if found is None:
            try:
                found = self._find(name) or self._data(name)
            except AnnotateError as error:
                self._note(error)
                found = ()  # others of the name may be in what is damaged
            if len(self._found) >= MOST_FOUND:
                self._found.clear()
            self._found[name] = found
        return found

    def symbol_at(self, address: LinkAddr) -> Symbol | None:
        """The symbol that kallsyms would name for an address of code."""
        if not any(section.start <= address < section.start + section.size for section in self.sections):
            return None
        try:
            place = self._place(address)
        except AnnotateError as error:
            self._note(error)
            return None
        if place is None:
            return None
        block, index = place
        symbol = first_symbol_of(block, index)
        return symbol if symbol is not None and address < symbol.end else None

    def chain(self, address: LinkAddr, symbol: Symbol) -> tuple[Location, ...]:
        """The locations of an address of ``symbol``, innermost first; the function of the last is left empty."""
        try:
            place = self._place(address)
            if place is None:
                return ()
            block, index = place
            if block.addresses[index] != symbol.address:
                return ()
            return self._chain(block, index, address)
        except AnnotateError as error:
            self._note(error)
            return ()

    def call_target(self, address: LinkAddr) -> LinkAddr | None:
        """Where a direct call leads, for functions whose name others have too."""
        try:
            place = self._place(LinkAddr(address - 1))
        except AnnotateError as error:
            self._note(error)
            return None
        if place is None:
            return None
        block, index = place
        for distance, target in block.calls.get(index, ()):
            if block.addresses[index] + distance == address:
                return LinkAddr(target)
        return None

    def rows(self) -> Iterator[tuple[LinkAddr, str, int]]:
        """Every place where the innermost location changes, by address; no file and line 0 where there is none."""
        last: tuple[str, int] = ("", 0)
        for number in range(self.head.blocks):
            for address, file, line in self._rows_of_block(number):
                if (file, line) != last:
                    yield LinkAddr(address), file, line
                    last = file, line
        if last != ("", 0):
            yield LinkAddr(self.head.end), "", 0

    def _rows_of_block(self, number: int) -> Iterator[tuple[int, str, int]]:
        """Where each stretch of a block begins. What is damaged has no line, nor that of what is before it."""
        head = self.head
        try:
            block = self._block(number)
        except AnnotateError as error:
            self._note(error)
            yield head.first + (self._block_addresses[number] << head.shift), "", 0
            return
        for index, address in enumerate(block.addresses):
            try:
                yield from list(self._stretches(block, index))
            except AnnotateError as error:
                self._note(error)
                yield address, "", 0

    def section_of(self, address: LinkAddr) -> tuple[str, int] | None:
        """Section name and offset of an address of a module; None for a linked file, whose addresses say it all."""
        if self.is_module:
            for section in self.sections:
                if section.start <= address < section.start + section.size:
                    return section.name, address - section.start
        return None

    def address_in(self, section_name: str, offset: int) -> LinkAddr | None:
        """The address of an offset in a section, None when there is no such section or it is shorter."""
        for section in self.sections:
            if section.name == section_name:
                return LinkAddr(section.start + offset) if 0 <= offset <= section.size else None
        return None

    # Where an address or a name is.

    def _note(self, error: AnnotateError) -> None:
        if str(error) not in map(str, self.damage):
            self.damage.append(error)

    def _place(self, address: int) -> tuple[Block, int] | None:
        head = self.head
        if not head.first <= address < head.end:
            return None
        number = bisect_right(self._block_addresses, address - head.first >> head.shift) - 1
        if number < 0:
            return None
        block = self._block(number)
        return block, bisect_right(block.addresses, address) - 1

    def _block(self, number: int) -> Block:
        start = self._starts[0] + self._block_offsets[number]
        block = self._file.blocks.get(start)
        if block is None:
            size = self._block_offsets[number + 1] - self._block_offsets[number]
            data = self._unpack(start, size, self._block_crcs[number], "a block")
            try:
                block = self._read_block(data, number)
            except ERRORS as error:
                raise self._file.damaged(start, "a block", error) from error
            self._file.blocks.add(start, block, size_of(block))
        return block

    def _read_block(self, data: bytes, number: int) -> Block:
        head, addresses = self.head, self._block_addresses
        first = head.first + (addresses[number] << head.shift)
        end = head.first + (addresses[number + 1] << head.shift) if number + 1 < head.blocks else head.end
        return read_block(data, first, end, head)

    def _unpack(self, offset: int, size: int, crc: int, what: str) -> bytes:
        data = self._file.read(offset, size, crc, what)
        try:
            return unpack(data)
        except ERRORS as error:
            raise self._file.damaged(offset, what, error) from error

    def _read_fingerprints(self) -> Fingerprints:
        if self._fingerprints is None:
            head = self.head
            data = self._file.read(self._starts[3], head.fingerprints_size, head.fingerprints_crc, "the fingerprints")
            self._fingerprints = Fingerprints(data)
        return self._fingerprints

    def _find(self, name: bytes) -> tuple[Symbol, ...]:
        if not name or b"\0" in name or b"\n" in name:
            return ()
        found: list[Symbol] = []
        last = -1
        for place in self._read_fingerprints().places(name):
            number = bisect_right(self._symbols_before, place) - 1
            if number != last and number >= 0:
                found += symbols_named(self._block(number), name)
                last = number
        return tuple(found)

    def _data(self, name: bytes) -> tuple[Symbol, ...]:
        head = self.head
        if not head.data_size:
            return ()
        if self._data_fingerprints is None:
            self._data_fingerprints = self._file.read(
                self._starts[4], head.data_size, head.data_crc, "the fingerprints of data"
            )
        try:
            is_data = may_be_data(self._data_fingerprints, name)
        except ERRORS as error:
            raise self._file.damaged(self._starts[4], "fingerprints", error) from error
        return (Symbol(name, LinkAddr(0), 0, (0,), 0, is_code=False, ends_section=False),) if is_data else ()

    # What a stream says.

    def _chain(self, block: Block, index: int, address: int) -> tuple[Location, ...]:
        distance = address - block.addresses[index] >> self.head.shift
        try:
            calls = Calls(newest_before(block, index), self._file.codes())
            if not calls.follow(stream_of(block, index), distance):
                return ()
            return self._locations(block, index, calls)
        except ERRORS as error:
            raise self._file.damaged(self._starts[0] + self._block_offsets[0], "a stream", error) from error

    def _stretches(self, block: Block, index: int) -> Iterator[tuple[int, str, int]]:
        """Where each stretch of an entry begins, with its innermost location."""
        address, shift = block.addresses[index], self.head.shift
        stretches: list[Stretch] = []
        bases: dict[int, tuple[str, int]] = {}  # by call: three stretches in four are in one that was met before
        try:
            calls = Calls(newest_before(block, index), self._file.codes())
            calls.follow(stream_of(block, index), (block.end - address >> shift) + 1, stretches)
            if not stretches or stretches[0][0]:
                yield address, "", 0
            for distance, slot, path, line in stretches:
                if path == NO_LINE:
                    yield address + (distance << shift), "", 0
                elif path >= 0:
                    yield address + (distance << shift), self._path(path), line
                else:
                    base = bases.get(slot)
                    if base is None:
                        _, file, first_line = self._base(block, index, calls.calls[slot][1])
                        base = bases[slot] = self._path(file), first_line
                    yield address + (distance << shift), base[0], base[1] + line
        except ERRORS as error:
            raise self._file.damaged(self._starts[0], "a stream", error) from error

    def _locations(self, block: Block, index: int, calls: Calls) -> tuple[Location, ...]:
        parent, number, call_file, call_line = calls.calls[calls.slot]
        name, path, line = self._base(block, index, number)
        line += calls.lines[calls.slot]
        if calls.path >= 0:
            path, line = calls.path, calls.line
        if not self.has_chains:
            return (Location(self._path(path), line, "", inlined=False),)
        locations = []
        while parent >= 0:
            locations.append(Location(self._path(path), line, name, inlined=True))
            call_path, line = call_file - 1, call_line
            parent, number, call_file, call_line = calls.calls[parent]
            name, path, first_line = self._base(block, index, number)
            line += first_line
            if call_path >= 0:
                path = call_path
        locations.append(Location(self._path(path), line, "", inlined=False))
        return tuple(locations)

    def _base(self, block: Block, index: int, name: int) -> tuple[str, int, int]:
        """Name, file and usual first line of an inlined function; of the entry's own function for -1."""
        if name < 0:
            data = block.data
            return "", block.files.number(data, index), block.lines.number(data, index)
        number, place = divmod(name, self.head.names_a_block)
        start = self._starts[1] + self._name_index[2 * number]
        names = self._file.names.get(start) or self._read_names(number, start)
        return names.names[place], names.files[place], names.lines[place]

    def _read_names(self, number: int, start: int) -> Names:
        data = self._small_block(self._name_index, number, 1, self.head.names_size, "a block of names")
        names = read_names(data)
        self._file.names.add(start, names, size_of_names(names))
        return names

    def _path(self, path: int) -> str:
        number, place = divmod(path, self.head.paths_a_block)
        start = self._starts[2] + self._path_index[2 * number]
        paths = self._file.paths.get(start)
        if paths is None:
            data = self._small_block(self._path_index, number, 2, self.head.paths_size, "a block of paths")
            paths = data.decode("utf-8", "surrogateescape").split("\n")
            self._file.paths.add(start, paths, len(data) + 57 * len(paths))
        return paths[place]

    def _small_block(self, index: Sequence[int], number: int, part: int, part_size: int, what: str) -> bytes:
        start = index[2 * number]
        end = index[2 * number + 2] if 2 * number + 2 < len(index) else part_size
        return self._unpack(self._starts[part] + start, end - start, index[2 * number + 1], what)
