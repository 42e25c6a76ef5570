"""What stands in front of a line number program: tables of directories and files (DWARF 5 section 6.2.4).

Versions 2 to 5, both formats of DWARF. Decoded without looking at a single string: a header names hundreds of files, of
which a look-up wants a few.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.attributes import FORM_LINE_STRP, FORM_UDATA, Encoding
from annotate.errors import DamagedFileError
from annotate.leb128 import read_uleb
from annotate.limits import MAX_LINE_PROGRAM

if TYPE_CHECKING:
    from annotate.debuginfo.relocate import DebugSection

LNCT_PATH, LNCT_DIRECTORY_INDEX = 1, 2

#: A name as the header holds it: the bytes, or a place in a string section and the form that says which.
String = bytes | tuple[int, int]


class LineProgram(NamedTuple):
    """A program and what stands in front of it. Directory and file numbers are those of the program, unchanged.

    In version 5 they count from 0; before, directory 0 is the compilation directory (empty string here) and files count
    from 1, so entry 0 of ``files`` is a placeholder.
    """

    source: str
    offset: int  #: in .debug_line
    data: bytes  #: header and program, relocated
    encoding: Encoding
    start: int  #: of the instructions, in ``data``
    min_instruction_length: int
    max_operations: int
    line_base: int
    line_range: int
    opcode_base: int
    operand_counts: bytes
    directories: list[String]
    files: list[tuple[String, int]]  #: (name, directory number)


def program_size(section: DebugSection, offset: int, source: str, byte_order: str) -> int:
    """Bytes from the start of the program at ``offset`` to the next one's. Raises DamagedFileError."""
    head = section.read(offset, min(offset + 12, section.size))
    try:
        (length,) = struct.unpack_from(byte_order + "I", head)
        size: int = length + 4
        if length == 0xFFFFFFFF:
            (length,) = struct.unpack_from(byte_order + "Q", head, 4)
            size = length + 12
    except struct.error:
        size = 0
    if size <= 4 or offset + size > section.size:
        raise DamagedFileError(
            source, section.name, offset, "a line program within the section", f"one of {size} bytes"
        )
    return size


def read_line_program(
    section: DebugSection, offset: int, address_size: int, source: str, byte_order: str
) -> LineProgram:
    """Read the header at ``offset`` of .debug_line (DWARF 5 section 6.2.4).

    ``address_size`` is the unit's; version 5 headers carry their own. Names in other sections are left where they are:
    a header has hundreds, of which a look-up wants a few. Raises DamagedFileError.
    """
    order = byte_order
    try:
        head = section.read(offset, min(offset + 12, section.size))
        (length,) = struct.unpack_from(order + "I", head)
        start, offset_size = 4, 4
        if length == 0xFFFFFFFF:
            (length,) = struct.unpack_from(order + "Q", head, 4)
            start, offset_size = 12, 8
        end = offset + start + length
        if end > section.size or length > MAX_LINE_PROGRAM:
            raise ValueError(f"a program of {length} bytes that ends at {end:#x}, the section at {section.size:#x}")
        # Names and programs of one header are read as one piece: it is relocated once.
        data = section.read(offset, end)
        (version,) = struct.unpack_from(order + "H", data, start)
        if not 2 <= version <= 5:
            raise ValueError(f"version {version}")
        position = start + 2
        if version >= 5:
            address_size = data[position]
            position += 2
        encoding = Encoding.of(order, version, offset_size, address_size)
        header_length = encoding.unsigned(data, position, offset_size)
        position += offset_size
        program_start = position + header_length
        if program_start > len(data):
            raise ValueError(f"a program that starts behind its own end at {program_start:#x}")
        min_length = data[position]
        position += 1
        max_operations = 1
        if version >= 4:
            max_operations = data[position] or 1
            position += 1
        line_base = data[position + 1] - 256 if data[position + 1] > 127 else data[position + 1]
        line_range, opcode_base = data[position + 2], data[position + 3]
        if line_range == 0 or opcode_base == 0:
            raise ValueError("a line range or opcode base of 0")
        position += 4
        operand_counts = data[position : position + opcode_base - 1]
        position += opcode_base - 1
        if version >= 5:
            paths, position = _read_entries(data, position, encoding)
            directories = [name for name, _ in paths]
            files, position = _read_entries(data, position, encoding)
        else:
            directories, files = _read_old_tables(data, position)
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise DamagedFileError(
            source, section.name, offset, "a line program of DWARF 2 to 5", f"{type(error).__name__}: {error}"
        ) from error
    return LineProgram(
        source,
        offset,
        data,
        encoding,
        program_start,
        min_length,
        max_operations,
        line_base,
        line_range,
        opcode_base,
        operand_counts,
        directories,
        files,
    )


def _read_entries(data: bytes, position: int, encoding: Encoding) -> tuple[list[tuple[String, int]], int]:
    """Version 5 directory or file entries: a format, then a count of entries in it."""
    formats = []
    count = data[position]
    position += 1
    for _ in range(count):
        content, position = read_uleb(data, position)
        form, position = read_uleb(data, position)
        formats.append((content, form))
    count, position = read_uleb(data, position)
    entries: list[tuple[String, int]] = []
    if count * len(formats) > len(data):
        raise IndexError("more entries than the header has bytes")
    if formats == [(LNCT_PATH, FORM_LINE_STRP), (LNCT_DIRECTORY_INDEX, FORM_UDATA)]:
        return _read_usual_entries(data, position, encoding, count)
    for _ in range(count if formats else 0):
        name: String = b""
        directory = 0
        for content, form in formats:
            value, actual = encoding.value(data, position, form)
            if content == LNCT_PATH:
                name = (value, actual) if isinstance(value, int) else value
            elif content == LNCT_DIRECTORY_INDEX and isinstance(value, int):
                directory = value
            position = encoding.skip(data, position, form)
        if position > len(data):
            raise IndexError("an entry that ends behind its header")
        entries.append((name, directory))
    return entries, position


def _read_usual_entries(
    data: bytes, position: int, encoding: Encoding, count: int
) -> tuple[list[tuple[String, int]], int]:
    """The file entries of gas, a header's bulk, in a quarter of the general way's time."""
    entries: list[tuple[String, int]] = []
    size = encoding.offset_size
    unpack = struct.Struct(encoding.byte_order + ("I" if size == 4 else "Q")).unpack_from
    for _ in range(count):
        (name,) = unpack(data, position)
        position += size
        directory = data[position]
        if directory < 0x80:
            position += 1
        else:
            directory, position = read_uleb(data, position)
        entries.append(((name, FORM_LINE_STRP), directory))
    return entries, position


def _read_old_tables(data: bytes, position: int) -> tuple[list[String], list[tuple[String, int]]]:
    """Directories and files of versions 2 to 4."""
    directories: list[String] = [b""]
    while data[position]:
        end = data.index(b"\0", position)
        directories.append(data[position:end])
        position = end + 1
    position += 1
    files: list[tuple[String, int]] = [(b"", 0)]
    while data[position]:
        entry, position = read_old_file(data, position)
        files.append(entry)
    return directories, files


def read_old_file(data: bytes, position: int) -> tuple[tuple[bytes, int], int]:
    """A file entry of versions 2 to 4, as DW_LNE_define_file holds one too; and the position behind it."""
    end = data.index(b"\0", position)
    name = data[position:end]
    directory, position = read_uleb(data, end + 1)
    _, position = read_uleb(data, position)  # time of change
    _, position = read_uleb(data, position)  # length of the file
    return (name, directory), position
