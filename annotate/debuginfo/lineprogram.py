"""Line number programs (.debug_line, DWARF 5 section 6.2; versions 2 to 5) as columns of rows. A hot loop.

What was measured on a Debian 6.1 vmlinux (4.2 million rows) and is kept for it: the advance of each special opcode
comes from a table (-4 %), opcodes are tested in order of frequency (-20 %), LEB128 is spelled out inline (-11 %), of
several rows at one address only the last is stored, with file and line packed into one number (-23 %), and program
state lives in local variables (-7 %).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

from annotate.debuginfo.lineheader import read_old_file
from annotate.errors import DamagedFileError
from annotate.leb128 import read_sleb, read_uleb

if TYPE_CHECKING:
    from annotate.debuginfo.lineheader import LineProgram

LNS_COPY, LNS_ADVANCE_PC, LNS_ADVANCE_LINE, LNS_SET_FILE, LNS_SET_COLUMN = 1, 2, 3, 4, 5
LNS_NEGATE_STMT, LNS_SET_BASIC_BLOCK, LNS_CONST_ADD_PC, LNS_FIXED_ADVANCE_PC = 6, 7, 8, 9
LNE_END_SEQUENCE, LNE_SET_ADDRESS, LNE_DEFINE_FILE, LNE_SET_DISCRIMINATOR = 1, 2, 3, 4

#: A packed row is ``file << FILE_SHIFT | line``. Lines at or above LINE_LIMIT come from damage (a line below zero).
FILE_SHIFT = 32
LINE_MASK = (1 << FILE_SHIFT) - 1
LINE_LIMIT = 1 << 31


class LineRows:
    """The rows of one program.

    ``addresses`` and ``rows`` (packed) run side by side, one entry an address, in order of the program. Sequence i
    covers ``starts[i]`` up to but not including ``ends[i]`` with entries ``firsts[i]`` up to ``lasts[i]``; sequences
    are sorted by start, and addresses ascend within each.
    """

    __slots__ = ("addresses", "ends", "firsts", "lasts", "rows", "starts")

    def __init__(self, addresses: list[int], rows: list[int], sequences: list[tuple[int, int, int, int]]) -> None:
        self.addresses = addresses
        self.rows = rows
        sequences.sort()
        self.starts = [sequence[0] for sequence in sequences]
        self.ends = [sequence[1] for sequence in sequences]
        self.firsts = [sequence[2] for sequence in sequences]
        self.lasts = [sequence[3] for sequence in sequences]

    def find(self, address: int) -> tuple[int, int, int] | None:
        """The row that covers an address: its index, and the bounds (first, last) of its sequence's entries."""
        position = bisect_right(self.starts, address) - 1
        # Sequences of a linked file do not overlap, but discarded functions may all lie at 0.
        while position >= 0:
            if address < self.ends[position]:
                first, last = self.firsts[position], self.lasts[position]
                return bisect_right(self.addresses, address, first, last) - 1, first, last
            if self.ends[position] > self.starts[position]:
                return None
            position -= 1
        return None

    def first_between(self, start: int, end: int) -> int | None:
        """The index of the first row at or behind ``start`` and before ``end``."""
        best = None
        for position in range(bisect_right(self.starts, end)):
            if self.ends[position] > start:
                index = bisect_right(self.addresses, start - 1, self.firsts[position], self.lasts[position])
                if (
                    index < self.lasts[position]
                    and self.addresses[index] < end
                    and (best is None or self.addresses[index] < self.addresses[best])
                ):
                    best = index
        return best


#: Operands of the standard opcodes 1 to 9 (DWARF 5 section 6.2.5.2).
_STANDARD_COUNTS = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1))


def run(program: LineProgram) -> LineRows:
    """Run a program. Raises DamagedFileError when it ends inside an instruction."""
    counts = program.operand_counts[:9]
    try:
        if program.max_operations > 1 or counts != _STANDARD_COUNTS[: len(counts)] or len(counts) < 9:
            return _run_unusual(program)
        return _run(program)
    except (IndexError, ValueError, struct.error) as error:
        raise DamagedFileError(
            program.source, ".debug_line", program.offset, "a line program", f"{type(error).__name__}: {error}"
        ) from error


def _run(program: LineProgram) -> LineRows:
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

    addresses: list[int] = []
    rows: list[int] = []
    sequences: list[tuple[int, int, int, int]] = []
    add_address, add_row = addresses.append, rows.append
    position, end = program.start, len(program.data)
    address, file, row = 0, 1, 1 << FILE_SHIFT | 1
    last = -1  # address of the last stored row of this sequence
    first = 0  # index of its first one
    is_ascending = True

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
                if shift > 63:
                    raise ValueError("LEB128 value longer than ten bytes")
            row += value - (1 << shift) if byte & 0x40 else value
            continue
        elif opcode == 0:
            length, position = read_uleb(data, position)
            if length == 0:
                continue
            following = position + length
            extended = data[position]
            if extended == LNE_SET_ADDRESS:
                width = length - 1
                if following > end or width not in (4, 8):
                    raise ValueError(f"an address of {width} bytes")
                (address,) = struct.unpack_from(order + ("I" if width == 4 else "Q"), data, position + 1)
            elif extended == LNE_END_SEQUENCE:
                stop = len(addresses)
                if stop > first:
                    if not is_ascending:
                        _sort_rows(addresses, rows, first)
                    if addresses[first] < address:
                        sequences.append((addresses[first], address, first, stop))
                address, file, row = 0, 1, 1 << FILE_SHIFT | 1
                last, first, is_ascending = -1, stop, True
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
                if shift > 63:
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
    # Rows behind the last end_sequence have no bound and answer nothing.
    return LineRows(addresses, rows, sequences)


def _sort_rows(addresses: list[int], rows: list[int], first: int) -> None:
    """Put the rows from ``first`` on in order of address, later ones last among equals, which then win."""
    merged = dict(zip(addresses[first:], rows[first:], strict=True))
    ordered = sorted(merged.items())
    del addresses[first:], rows[first:]
    addresses.extend(address for address, _ in ordered)
    rows.extend(row for _, row in ordered)


def _run_unusual(program: LineProgram) -> LineRows:
    """The same for what no Linux compiler writes. Not hot.

    That is several operations an instruction (op_index, for VLIW machines), fewer standard opcodes, or standard opcodes
    with other operands, which are skipped by their count.
    """
    data = program.data
    counts = program.operand_counts
    base, order = program.opcode_base, program.encoding.byte_order
    addresses: list[int] = []
    rows: list[int] = []
    sequences: list[tuple[int, int, int, int]] = []
    position, end = program.start, len(program.data)
    address, op_index, file, line, first = 0, 0, 1, 1, 0

    def advance(operations: int) -> None:
        nonlocal address, op_index
        instructions, op_index = divmod(op_index + operations, program.max_operations)
        address += instructions * program.min_instruction_length

    def emit() -> None:
        addresses.append(address)
        rows.append(file << FILE_SHIFT | line & LINE_MASK)

    while position < end:
        opcode = data[position]
        position += 1
        if opcode >= base:
            steps, lines = divmod(opcode - base, program.line_range)
            advance(steps)
            line += lines + program.line_base
            emit()
        elif opcode == 0:
            length, position = read_uleb(data, position)
            following = position + length
            extended = data[position] if length else 0
            if extended == LNE_SET_ADDRESS:
                address = program.encoding.unsigned(data, position + 1, length - 1)
                op_index = 0
            elif extended == LNE_END_SEQUENCE:
                _sort_rows(addresses, rows, first)
                if len(addresses) > first and addresses[first] < address:
                    sequences.append((addresses[first], address, first, len(addresses)))
                address, op_index, file, line, first = 0, 0, 1, 1, len(addresses)
            elif extended == LNE_DEFINE_FILE and program.encoding.version < 5:
                program.files.append(read_old_file(data, position + 1)[0])
            position = following
        elif opcode > 9 or counts[opcode - 1] != _STANDARD_COUNTS[opcode - 1]:
            for _ in range(counts[opcode - 1]):
                _, position = read_uleb(data, position)
        elif opcode == LNS_COPY:
            emit()
        elif opcode == LNS_ADVANCE_PC:
            value, position = read_uleb(data, position)
            advance(value)
        elif opcode == LNS_ADVANCE_LINE:
            value, position = read_sleb(data, position)
            line += value
        elif opcode == LNS_SET_FILE:
            file, position = read_uleb(data, position)
        elif opcode == LNS_CONST_ADD_PC:
            advance((255 - base) // program.line_range)
        elif opcode == LNS_FIXED_ADVANCE_PC:
            (value,) = struct.unpack_from(order + "H", data, position)
            address += value
            op_index = 0
            position += 2
        elif opcode == LNS_SET_COLUMN:
            _, position = read_uleb(data, position)
    return LineRows(addresses, rows, sequences)
