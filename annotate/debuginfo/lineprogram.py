"""Line number programs (.debug_line, DWARF 5 section 6.2; versions 2 to 5) as columns of rows. A hot loop.

What was measured on a Debian 6.1 vmlinux (4.2 million rows) and is kept for it: the advance of each special opcode
comes from a table (-4 %), opcodes are tested in order of frequency (-20 %), LEB128 is spelled out inline (-11 %), of
several rows at one address only the last is stored, with file and line packed into one number (-23 %), and program
state lives in local variables (-7 %).
"""

from __future__ import annotations

import struct
from bisect import bisect_right, insort
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.lineheader import read_old_file
from annotate.errors import DamagedFileError
from annotate.leb128 import read_sleb, read_uleb

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from annotate.debuginfo.lineheader import LineProgram

LNS_COPY, LNS_ADVANCE_PC, LNS_ADVANCE_LINE, LNS_SET_FILE, LNS_SET_COLUMN = 1, 2, 3, 4, 5
LNS_NEGATE_STMT, LNS_SET_BASIC_BLOCK, LNS_CONST_ADD_PC, LNS_FIXED_ADVANCE_PC = 6, 7, 8, 9
LNE_END_SEQUENCE, LNE_SET_ADDRESS, LNE_DEFINE_FILE, LNE_SET_DISCRIMINATOR = 1, 2, 3, 4

#: A packed row is ``file << FILE_SHIFT | line``. Lines at or above LINE_LIMIT come from damage (a line below zero).
FILE_SHIFT = 32
LINE_MASK = (1 << FILE_SHIFT) - 1
LINE_LIMIT = 1 << 31

#: A row as it stands in its program: 2 * address, + 1 where it does not end a sequence; file number; line.
PlainRow = tuple[int, int, int]

#: Above every address.
_NEVER = 1 << 64


class Sequence(NamedTuple):
    """A run of rows that covers ``start`` up to but not including ``end`` (6.2.5: addresses ascend within it)."""

    start: int
    end: int
    first: int  #: index of its first row
    last: int  #: index behind its last row


class LineRows:
    """The rows of one program, decoded as far as they were asked for.

    ``addresses`` and ``rows`` (packed) run side by side, one entry an address. Most programs are asked for one address:
    stopping there halves the work (40 addresses in 40 units: 57 ms instead of 95). Errors are raised by whatever needed
    the damaged part.
    """

    __slots__ = ("_decoder", "_open", "_program", "_sequences", "addresses", "rows")

    def __init__(self, program: LineProgram) -> None:
        self.addresses: list[int] = []
        self.rows: list[int] = []
        self._program = program
        self._sequences: list[Sequence] = []  # complete ones, by start
        self._open = 0  # index of the first row of the sequence that is being decoded
        counts = program.operand_counts[:9]
        is_usual = program.max_operations == 1 and counts == _STANDARD_COUNTS
        self._decoder: Generator[int, int, None] | None = (_decode if is_usual else _decode_unusual)(
            program, self.addresses, self.rows, self._sequences
        )
        self._resume(None)

    def find(self, address: int) -> tuple[int, int] | None:
        """The row that covers an address: its index, and that of the first row of its sequence."""
        found = self._find_decoded(address)
        while found is None and self._decoder is not None:
            self._resume(address)
            found = self._find_decoded(address)
        return found

    def _find_decoded(self, address: int) -> tuple[int, int] | None:
        addresses = self.addresses
        first = self._open
        if self._decoder is not None and first < len(addresses) and addresses[first] <= address < addresses[-1]:
            return bisect_right(addresses, address, first) - 1, first
        # Sequences of a linked file do not overlap; discarded functions may all lie at 0 and cover each other.
        position = bisect_right(self._sequences, address, key=_start) - 1
        while position >= 0:
            start, end, first, last = self._sequences[position]
            if address < end:
                return bisect_right(addresses, address, first, last) - 1, first
            if start < end:
                return None
            position -= 1
        return None

    def first_between(self, start: int, end: int) -> int | None:
        """The index of the first row at or behind ``start`` and before ``end``."""
        best = None
        for sequence in self.sequences():
            if sequence.start < end and sequence.end > start:
                index = bisect_right(self.addresses, start - 1, sequence.first, sequence.last)
                if (
                    index < sequence.last
                    and self.addresses[index] < end
                    and (best is None or self.addresses[index] < self.addresses[best])
                ):
                    best = index
        return best

    def sequences(self) -> list[Sequence]:
        """All sequences, by start. Rows behind the last end_sequence have no bound and belong to none."""
        while self._decoder is not None:
            self._resume(_NEVER)
        return self._sequences

    def _resume(self, wanted: int | None) -> None:
        """Decode until a row behind ``wanted`` closes the one that covers it, or to the end; None only starts."""
        decoder = self._decoder
        if decoder is None:
            return
        try:
            self._open = next(decoder) if wanted is None else decoder.send(wanted)
        except StopIteration:
            self._decoder = None
        except (IndexError, ValueError, struct.error) as error:
            self._decoder = None
            program = self._program
            raise DamagedFileError(
                program.source, ".debug_line", program.offset, "a line program", f"{type(error).__name__}: {error}"
            ) from error


def _start(sequence: Sequence) -> int:
    return sequence.start


#: Operands of the standard opcodes 1 to 9 (DWARF 5 section 6.2.5.2).
_STANDARD_COUNTS = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1))


def _decode(
    program: LineProgram, addresses: list[int], rows: list[int], sequences: list[Sequence]
) -> Generator[int, int, None]:
    """Run a program, appending to the columns.

    Yields the first row's index of the open sequence and is sent what is wanted next: it stops behind a row whose
    address is above that, if the open sequence began at or below it.
    """
    data = program.data
    base, factor = program.opcode_base, program.min_instruction_length
    address_advance = [0] * 256
    line_advance = [0] * 256
    for opcode in range(base, 256):
        steps, lines = divmod(opcode - base, program.line_range)
        address_advance[opcode] = steps * factor
        line_advance[opcode] = lines + program.line_base
    const_advance = (255 - base) // program.line_range * factor
    counts = program.operand_counts
    order = program.encoding.byte_order
    files = program.files

    add_address, add_row = addresses.append, rows.append
    position, end = program.start, len(program.data)
    address, file, row = 0, 1, 1 << FILE_SHIFT | 1
    last = -1  # address of the last stored row of this sequence
    first = 0  # index of its first one
    is_ascending = True
    wanted = yield 0
    limit = -1  # stop at a row above this; -1 until the first row of a sequence says whether it can hold what is wanted

    while position < end:
        opcode = data[position]
        position += 1
        if opcode >= base:
            address += address_advance[opcode]
            row += line_advance[opcode]
        elif opcode == LNS_SET_COLUMN:
            while data[position] >= 0x80:
                position += 1
            position += 1
            continue
        elif opcode == LNS_COPY:
            pass
        elif opcode == LNS_NEGATE_STMT:
            continue
        elif opcode == LNS_ADVANCE_LINE:
            byte = data[position]
            position += 1
            value = byte & 0x7F
            shift = 7
            while byte >= 0x80:
                byte = data[position]
                position += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if shift > 70:
                    raise ValueError("LEB128 value longer than ten bytes")
            row += value - (1 << shift) if byte & 0x40 else value
            continue
        elif opcode == 0:
            length, position = read_uleb(data, position)
            if length == 0:
                continue
            following = position + length
            if following > end:
                raise IndexError("an extended opcode that ends behind its program")
            extended = data[position]
            if extended == LNE_SET_ADDRESS:
                width = length - 1
                if width not in (4, 8):
                    raise ValueError(f"an address of {width} bytes")
                (address,) = struct.unpack_from(order + ("I" if width == 4 else "Q"), data, position + 1)
            elif extended == LNE_END_SEQUENCE:
                is_found = False
                if len(addresses) > first:
                    if not is_ascending:
                        _sort_rows(addresses, rows, first)
                    if addresses[first] < address:
                        insort(sequences, Sequence(addresses[first], address, first, len(addresses)))
                        is_found = addresses[first] <= wanted < address
                address, file, row = 0, 1, 1 << FILE_SHIFT | 1
                last, first, is_ascending, limit = -1, len(addresses), True, -1
                if is_found:
                    wanted = yield first
            elif extended == LNE_DEFINE_FILE and program.encoding.version < 5:
                files.append(read_old_file(data, position + 1)[0])
            position = following
            continue
        elif opcode == LNS_SET_FILE:
            byte = data[position]
            position += 1
            value = byte & 0x7F
            shift = 7
            while byte >= 0x80:
                byte = data[position]
                position += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if shift > 70:
                    raise ValueError("LEB128 value longer than ten bytes")
            row += value - file << FILE_SHIFT
            file = value
            continue
        elif opcode == LNS_CONST_ADD_PC:
            address += const_advance
            continue
        elif opcode == LNS_ADVANCE_PC:
            value, position = read_uleb(data, position)
            address += value * factor
            continue
        elif opcode == LNS_FIXED_ADVANCE_PC:
            address += struct.unpack_from(order + "H", data, position)[0]
            position += 2
            continue
        else:
            # set_basic_block, prologue and epilogue marks, set_isa, and whatever a later version adds.
            for _ in range(counts[opcode - 1]):
                _, position = read_uleb(data, position)
            continue
        if address == last:
            rows[-1] = row
        else:
            if address < last:
                is_ascending = False
            add_address(address)
            add_row(row)
            last = address
            if address > limit:
                if limit == -1:
                    limit = wanted if address <= wanted else _NEVER
                elif is_ascending:
                    wanted = yield first
                    limit = wanted if addresses[first] <= wanted else _NEVER


def _sort_rows(addresses: list[int], rows: list[int], first: int) -> None:
    """Put the rows from ``first`` on in order of address, later ones last among equals, which then win."""
    merged = dict(zip(addresses[first:], rows[first:], strict=True))
    ordered = sorted(merged.items())
    del addresses[first:], rows[first:]
    addresses.extend(address for address, _ in ordered)
    rows.extend(row for _, row in ordered)


def _decode_unusual(
    program: LineProgram, addresses: list[int], rows: list[int], sequences: list[Sequence]
) -> Generator[int, int, None]:
    """The same for what no Linux compiler writes, all at once. Not hot.

    That is several operations an instruction (op_index, for VLIW machines), fewer standard opcodes, or standard opcodes
    with other operands, which are skipped by their count.
    """
    yield 0
    first = 0
    for place, file, line in plain_rows(program):
        address = place >> 1
        if place & 1:
            addresses.append(address)
            rows.append(file << FILE_SHIFT | line)
            continue
        _sort_rows(addresses, rows, first)
        if len(addresses) > first and addresses[first] < address:
            insort(sequences, Sequence(addresses[first], address, first, len(addresses)))
        first = len(addresses)


def plain_rows(program: LineProgram) -> Iterator[PlainRow]:
    """Every row in the order of the program, ends of sequences too. Not hot. Raises what ``DECODING_ERRORS`` holds."""
    data = program.data
    base, order = program.opcode_base, program.encoding.byte_order
    counts = program.operand_counts
    position, end = program.start, len(data)
    address, op_index, file, line = 0, 0, 1, 1
    while position < end:
        opcode = data[position]
        position += 1
        steps = 0
        if opcode >= base:
            steps, lines = divmod(opcode - base, program.line_range)
            line += lines + program.line_base
        elif opcode == 0:
            length, position = read_uleb(data, position)
            following = position + length
            if following > end:
                raise IndexError("an extended opcode that ends behind its program")
            extended = data[position] if length else 0
            if extended == LNE_SET_ADDRESS:
                address, op_index = program.encoding.unsigned(data, position + 1, length - 1), 0
            elif extended == LNE_END_SEQUENCE:
                yield 2 * address, file, line & LINE_MASK
                address, op_index, file, line = 0, 0, 1, 1
            elif extended == LNE_DEFINE_FILE and program.encoding.version < 5:
                program.files.append(read_old_file(data, position + 1)[0])
            position = following
            continue
        elif opcode > len(_STANDARD_COUNTS) or counts[opcode - 1] != _STANDARD_COUNTS[opcode - 1]:
            for _ in range(counts[opcode - 1]):
                _, position = read_uleb(data, position)
            continue
        elif opcode == LNS_ADVANCE_PC:
            steps, position = read_uleb(data, position)
        elif opcode == LNS_CONST_ADD_PC:
            steps = (255 - base) // program.line_range
        elif opcode == LNS_ADVANCE_LINE:
            value, position = read_sleb(data, position)
            line += value
        elif opcode == LNS_SET_FILE:
            file, position = read_uleb(data, position)
        elif opcode == LNS_FIXED_ADVANCE_PC:
            (value,) = struct.unpack_from(order + "H", data, position)
            address, op_index = address + value, 0
            position += 2
        elif opcode == LNS_SET_COLUMN:
            _, position = read_uleb(data, position)
        if steps:
            instructions, op_index = divmod(op_index + steps, program.max_operations)
            address += instructions * program.min_instruction_length
        if opcode >= base or opcode == LNS_COPY:
            yield 2 * address + 1, file, line & LINE_MASK
