"""Abbreviation tables (.debug_abbrev, DWARF 5 section 7.5.3) and how to step over an entry without reading it."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from annotate.debuginfo.attributes import AT_SIBLING, FORM_IMPLICIT_CONST, FORM_REF4, Encoding
from annotate.leb128 import read_sleb, read_uleb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.debuginfo.relocate import DebugSection

TAG_CLASS_TYPE, TAG_LEXICAL_BLOCK, TAG_COMPILE_UNIT, TAG_STRUCTURE_TYPE = 0x02, 0x0B, 0x11, 0x13
TAG_UNION_TYPE, TAG_INLINED_SUBROUTINE, TAG_MODULE, TAG_SUBPROGRAM = 0x17, 0x1D, 0x1E, 0x2E
TAG_NAMESPACE, TAG_PARTIAL_UNIT, TAG_SKELETON_UNIT = 0x39, 0x3C, 0x4A

Attribute = tuple[int, int, int]

#: Struct letters of the sizes that one unpack can read; sizes 3 and 16 are left to the general way.
_LETTERS = {0: "", 1: "B", 2: "H", 4: "I", 8: "Q"}


class Abbreviation:
    """One declaration: the shape of the entries that use its code.

    The attributes before the first form whose size depends on the data are read with one ``unpack``, which yields a
    value for each (name, form) of ``unpacked``; ``constants`` are those that take no bytes (DW_FORM_implicit_const
    and DW_FORM_flag_present). ``tail`` holds the other attributes as (name, form, implicit constant), from
    ``tail_offset`` on. ``offsets`` says where each unpacked attribute lies and how, ``size`` is the number of bytes
    of an entry's attributes when there is no tail, else None.
    """

    __slots__ = (
        "constants",
        "has_children",
        "names",
        "offsets",
        "sibling_offset",
        "size",
        "tag",
        "tail",
        "tail_offset",
        "unpack",
        "unpacked",
    )

    def __init__(self, tag: int, attributes: Sequence[Attribute], encoding: Encoding, *, has_children: bool) -> None:
        self.tag = tag
        self.has_children = has_children
        self.names = frozenset([name for name, _, _ in attributes])
        self.constants: dict[int, tuple[int, int]] = {}
        self.offsets: dict[int, tuple[int, int]] = {}
        self.tail: Sequence[Attribute] = ()
        layout = encoding.byte_order
        position = 0
        for index, (name, form, implicit) in enumerate(attributes):
            size = encoding.size_of(form)
            if size is None or size not in _LETTERS:
                self.tail = attributes[index:]
                break
            if size:
                layout += _LETTERS[size]
                self.offsets[name] = (position, form)
                position += size
            else:
                self.constants[name] = (implicit if form == FORM_IMPLICIT_CONST else 1, form)
        self.tail_offset = position
        self.size = None if self.tail else position
        self.unpack = struct.Struct(layout).unpack_from
        self.unpacked = [(name, form) for name, (_, form) in self.offsets.items()]
        sibling = self.offsets.get(AT_SIBLING)
        #: Where a four-byte reference to the next sibling stands, or -1.
        self.sibling_offset = sibling[0] if sibling is not None and sibling[1] == FORM_REF4 else -1


class AbbreviationTable:
    """The declarations of one unit.

    ``steps`` has an entry for each one-byte code: the number of bytes of an entry with that code, the code itself
    included, when the entry has no children, no variable form and no tag of interest; else 0. Most entries of a unit
    are such (types, members, parameters), and the walk over them is one addition each.
    """

    __slots__ = ("by_code", "steps")

    def __init__(self, by_code: dict[int, Abbreviation]) -> None:
        self.by_code = by_code
        self.steps = [0] * 256
        for code, abbreviation in by_code.items():
            if (
                code < 0x80
                and abbreviation.size is not None
                and not abbreviation.has_children
                and abbreviation.tag not in (TAG_SUBPROGRAM, TAG_INLINED_SUBROUTINE)
            ):
                self.steps[code] = abbreviation.size + 1


#: One declaration; group "body" is all of it but the code. Splitting with one expression and keeping the bodies that
#: were met before (gcc repeats itself: 8 484 distinct ones in the 2 172 tables of a vmlinux) takes a third of a plain
#: loop.
_ULEB = rb"(?:[\x80-\xff]+[\x00-\x7f]|[\x01-\x7f])"
_DECLARATION = re.compile(
    rb"(?P<code>" + _ULEB + rb")(?P<body>" + _ULEB + rb"[\x00\x01]"
    rb"(?:" + _ULEB + rb"(?:\x21[\x80-\xff]*[\x00-\x7f]|[\x80-\xff]+[\x00-\x7f]|[\x01-\x20\x22-\x7f]))*\x00\x00)",
    re.DOTALL,
)

#: Enough bytes for nearly all tables; a longer one is read again from a larger window.
_WINDOW = 1 << 14


class AbbreviationReader:
    """Reads tables and remembers declarations; one for each ``Encoding`` of a file."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._known: dict[bytes, Abbreviation] = {}

    def read(self, section: DebugSection, offset: int) -> AbbreviationTable:
        """Read the table at ``offset`` of .debug_abbrev, up to its closing zero.

        Raises ValueError when the bytes are no such table and KeyError for a form that is not known.
        """
        end = min(offset + _WINDOW, section.size)
        while True:
            data = section.read(offset, end)
            by_code = self._split(data)
            if by_code is not None:
                return AbbreviationTable(by_code)
            if end == section.size:
                raise ValueError("an abbreviation table without an end")
            end = min(offset + 4 * (end - offset), section.size)

    def _split(self, data: bytes) -> dict[int, Abbreviation] | None:
        by_code: dict[int, Abbreviation] = {}
        known = self._known
        match = _DECLARATION.match(data, 0)
        position = 0
        while match is not None:
            code, body = match.group("code", "body")
            abbreviation = known.get(body)
            if abbreviation is None:
                abbreviation = known[body] = _read_body(body, self._encoding)
            by_code[code[0] if len(code) == 1 else read_uleb(code, 0)[0]] = abbreviation
            position = match.end()
            match = _DECLARATION.match(data, position)
        return by_code if data[position : position + 1] == b"\0" else None


def _read_body(body: bytes, encoding: Encoding) -> Abbreviation:
    tag, position = read_uleb(body, 0)
    has_children = body[position] == 1
    position += 1
    attributes: list[Attribute] = []
    while True:
        name, position = read_uleb(body, position)
        form, position = read_uleb(body, position)
        if form == 0:
            return Abbreviation(tag, attributes, encoding, has_children=has_children)
        implicit = 0
        if form == FORM_IMPLICIT_CONST:
            implicit, position = read_sleb(body, position)
        attributes.append((name, form, implicit))
