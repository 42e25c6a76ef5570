"""Any bytes as a line program are an error of ours or rows: those of the plain decoder, also when read in parts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final
from unittest import mock

import dwarf_writer as w
from dwarf_writer import COPY, END_SEQUENCE, Format, LineSpec

from annotate.debuginfo import lineprogram
from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.lineheader import read_line_program
from annotate.debuginfo.lineprogram import FILE_SHIFT, LINE_LIMIT, LINE_MASK, LineRows, plain_rows
from annotate.debuginfo.relocate import DebugSection
from annotate.debuginfo.units import DECODING_ERRORS
from annotate.errors import DamagedFileError
from annotate.kernel.images import open_elf
from fuzz.targets import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotate.debuginfo.lineheader import LineProgram

WORDS: Final = (
    b"\0\x09\x02", b"\0\x05\x02", b"\0\1\1", b"\0\2\4", b"\xff\xff\xff\xff", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\1",
)  # fmt: skip

_BIG_ENDIAN, _NARROW = 1, 2

#: Start, end, and (address, file, line) of one sequence.
Sequence = tuple[int, int, list[tuple[int, int, int]]]

#: Lines as they are counted, not cut to the bits that a row has for them.
_ALL_BITS: Final = -1

#: Addresses that are asked for each in a program of its own.
_ASKED: Final = 12


def check(data: bytes) -> None:
    """The first byte decides on byte order and size of addresses."""
    flags = data[0] if data else 0
    order, size = ">" if flags & _BIG_ENDIAN else "<", 4 if flags & _NARROW else 8
    elf = ElfFile(w.debug_file({"line": data[1:]}, byte_order=order), "fuzzed")
    line = elf.section(".debug_line")
    assert line is not None
    section = DebugSection(elf, line, [])

    def program() -> LineProgram:
        return read_line_program(section, 0, size, "fuzzed", order)  # a decoder adds to its files

    try:
        rows = LineRows(program())
        found = _decoded(rows)
    except DamagedFileError:
        return
    plain = plain_sequences(program())
    if plain is None:
        return
    expected, is_orderly = plain
    assert found == expected, "another decoder reads other rows"
    if is_orderly:
        asked = [address for start, end, _ in expected for address in (start, (start + end) // 2, end - 1, end)]
        for address in asked[:_ASKED]:
            whole, part = rows.find(address), LineRows(program())
            index = part.find(address)
            assert index == whole, f"{address:#x}: {index} when read in parts, else {whole}"
            if index is not None:
                assert part.rows[index[0]] == rows.rows[index[0]]


def _decoded(rows: LineRows) -> list[Sequence]:
    return sorted(
        (
            sequence.start,
            sequence.end,
            [
                (rows.addresses[index], rows.rows[index] >> FILE_SHIFT, rows.rows[index] & LINE_MASK)
                for index in range(sequence.first, sequence.last)
            ],
        )
        for sequence in rows.sequences()
    )


def plain_sequences(program: LineProgram) -> tuple[list[Sequence], bool] | None:
    """The sequences by the plain decoder, and whether they are in order; None for a program that is damaged.

    Damaged are lines below zero or too large, which the packed rows cannot hold, and numbers too long, which the quick
    decoder skips where it does not need them. In order are addresses that ascend within a sequence (6.2.5), and
    sequences that all have an end and do not overlap; of others a part may answer differently than the whole.
    """
    sequences: list[Sequence] = []
    rows: dict[int, tuple[int, int]] = {}
    last, is_orderly = 0, True
    try:
        with mock.patch.object(lineprogram, "LINE_MASK", _ALL_BITS):
            plain = list(plain_rows(program))
    except DECODING_ERRORS:
        return None
    for place, file, line in plain:
        address = place >> 1
        if not 0 <= line < LINE_LIMIT:
            return None
        is_orderly = is_orderly and (not rows or last <= address)
        last = address
        if place & 1:
            rows[address] = file, line
            continue
        if rows and min(rows) < address:
            ordered = [(each, *rows[each]) for each in sorted(rows)]
            sequences.append((ordered[0][0], address, ordered))
        rows = {}
    sequences.sort()
    is_orderly = is_orderly and not rows and all(end <= start for (_, end, _), (start, _, _) in pairwise(sequences))
    return sequences, is_orderly


def seeds() -> Iterator[bytes]:
    """Programs of every version by hand, and those of compilers."""
    for version in (2, 3, 4, 5):
        for order in "<>":
            for size in (4, 8):
                form = Format(order, version, address_size=size)
                spec = LineSpec(b"", form)
                code = w.set_address(0x1000, form) + COPY + w.advance_line(3) + w.advance_pc(4) + COPY
                code += spec.special(2, 1) + w.set_file(2) + w.set_column(9) + w.CONST_ADD_PC + spec.special(1, -1)
                code += w.fixed_advance_pc(5, order) + w.NEGATE_STMT + w.BASIC_BLOCK + w.discriminator(3) + COPY
                code += w.define_file("c.h", 0) + w.set_isa(1) + w.PROLOGUE_END + END_SEQUENCE
                code += w.set_address(0x500, form) + COPY + w.advance_pc(9) + END_SEQUENCE
                flags = _BIG_ENDIAN * (order == ">") | _NARROW * (size == 4)
                usual = spec._replace(code=code)
                for other in (usual, usual._replace(max_operations=4), usual._replace(operand_counts=(0, 1, 1, 1, 1))):
                    yield bytes((flags,)) + w.line_program(other)
    for path in sorted((FIXTURES / "matrix").glob("*.elf")):
        elf = open_elf(str(path))
        section = elf.debug_section("line")
        if section is not None:
            flags = _BIG_ENDIAN * (elf.byte_order == ">") | _NARROW * (elf.bits == 32)
            yield bytes((flags,)) + DebugSection(elf, section, []).read(0, min(elf.size_of(section), 3000))
