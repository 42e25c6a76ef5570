"""Abbreviation tables (.debug_abbrev, DWARF 5 section 7.5.3) and how to step over an entry without reading it."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.attributes import (
    AT_HIGH_PC,
    AT_LOW_PC,
    AT_RANGES,
    AT_SIBLING,
    FORM_ADDR,
    FORM_DATA1,
    FORM_DATA2,
    FORM_DATA4,
    FORM_DATA8,
    FORM_IMPLICIT_CONST,
    FORM_REF4,
    Encoding,
)
from annotate.leb128 import read_sleb, read_uleb, write_uleb
from annotate.limits import MAX_ABBREVIATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from annotate.debuginfo.relocate import DebugSection

TAG_CLASS_TYPE, TAG_LEXICAL_BLOCK, TAG_COMPILE_UNIT, TAG_STRUCTURE_TYPE = 0x02, 0x0B, 0x11, 0x13
TAG_UNION_TYPE, TAG_INLINED_SUBROUTINE, TAG_MODULE, TAG_SUBPROGRAM = 0x17, 0x1D, 0x1E, 0x2E
TAG_NAMESPACE, TAG_PARTIAL_UNIT, TAG_SKELETON_UNIT = 0x39, 0x3C, 0x4A

Attribute = tuple[int, int, int]

#: Struct letters by size.
_LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Abbreviation:
    """One declaration: the shape of the entries that use its code.

    Most entries are only stepped over. For that, ``size`` is the number of bytes of an entry's attributes when no
    form's size depends on the data, else None; then ``tail`` holds the attributes from the first such form on as
    (name, form, implicit constant), and ``tail_offset`` is where they begin. ``sibling_offset`` is where a four-byte
    reference to the next sibling stands, or -1.
    """

    __slots__ = (
        "_encoding",
        "_layout",
        "attributes",
        "has_children",
        "sibling_offset",
        "size",
        "tag",
        "tail",
        "tail_offset",
    )

    def __init__(self, tag: int, attributes: list[Attribute], encoding: Encoding, *, has_children: bool) -> None:
        self.tag = tag
        self.has_children = has_children
        self.attributes = attributes
        self._encoding = encoding
        self._layout: Layout | None = None
        self.tail: Sequence[Attribute] = ()
        self.sibling_offset = -1
        position = 0
        sizes = encoding.sizes
        for index, (name, form, _) in enumerate(attributes):
            size = sizes[form]
            if size is None:
                self.tail = attributes[index:]
                break
            if name == AT_SIBLING and form == FORM_REF4:
                self.sibling_offset = position
            position += size
        self.tail_offset = position
        self.size = None if self.tail else position

    def has(self, *names: int) -> bool:
        """Whether entries have one of these attributes."""
        return any(name in names for name, _, _ in self.attributes)

    @property
    def layout(self) -> Layout:
        """How to read the attributes before the tail; made when first asked for."""
        if self._layout is None:
            self._layout = Layout.of(self.attributes[: len(self.attributes) - len(self.tail)], self._encoding)
        return self._layout


class Layout(NamedTuple):
    """How to read attributes of fixed size with one ``unpack``, which yields a value for each of ``values``."""

    unpack: Callable[[bytes, int], tuple[int, ...]]
    values: list[tuple[int, int]]  #: (name, form)
    constants: dict[int, tuple[int, int]]  #: name -> (value, form): those that take no bytes
    wide: list[tuple[int, int, int]]  #: (name, form, offset): sizes that no struct letter has, 3 and 16
    plain_pc: tuple[int, int] | None  #: where in ``values`` an address DW_AT_low_pc and a length DW_AT_high_pc are

    @classmethod
    def of(cls, attributes: Sequence[Attribute], encoding: Encoding) -> Layout:
        """The layout of these attributes, one behind the other."""
        letters = encoding.byte_order
        values, wide, constants = [], [], {}
        position = 0
        for name, form, implicit in attributes:
            size = encoding.sizes[form] or 0
            if size == 0:
                constants[name] = (implicit if form == FORM_IMPLICIT_CONST else 1, form)
            elif size in _LETTERS:
                letters += _LETTERS[size]
                values.append((name, form))
            else:
                letters += f"{size}x"
                wide.append((name, form, position))
            position += size
        plain_pc = None
        if (AT_LOW_PC, FORM_ADDR) in values:
            for form in (FORM_DATA8, FORM_DATA4, FORM_DATA2, FORM_DATA1):
                if (AT_HIGH_PC, form) in values:
                    plain_pc = values.index((AT_LOW_PC, FORM_ADDR)), values.index((AT_HIGH_PC, form))
        return cls(struct.Struct(letters).unpack_from, values, constants, wide, plain_pc)


class AbbreviationTable:
    """The declarations of one unit, and two tables that make stepping over entries one addition or one read.

    Both have an entry for each one-byte code. ``steps``: the bytes of an entry, code included, that has no children, no
    form of variable size and no tag of interest, else 0; most entries are such (types, members, parameters).
    ``jumps``: for one with children that is no function with code, where behind its first byte its four-byte
    DW_AT_sibling stands, else 0.
    """

    __slots__ = ("by_code", "jumps", "steps")

    def __init__(self, by_code: dict[int, Abbreviation]) -> None:
        self.by_code = by_code
        self.steps = [0] * 256
        self.jumps = [0] * 256
        for code, abbreviation in by_code.items():
            if code >= 0x80:
                continue
            if abbreviation.has_children:
                if abbreviation.tag != TAG_SUBPROGRAM or not abbreviation.has(AT_LOW_PC, AT_RANGES):
                    self.jumps[code] = abbreviation.sibling_offset + 1
            elif abbreviation.size is not None and abbreviation.tag not in (TAG_SUBPROGRAM, TAG_INLINED_SUBROUTINE):
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
            if end == section.size or end - offset > MAX_ABBREVIATIONS:
                raise ValueError("an abbreviation table without an end")
            end = min(offset + 4 * (end - offset), section.size)

    def read_one(self, section: DebugSection, offset: int, code: int) -> AbbreviationTable:
        """The same for a single code, without the rest of the table where the code stands near its start."""
        data = section.read(offset, min(offset + _WINDOW, section.size))
        # gcc numbers by frequency: the code of a unit itself stands far behind. A declaration ends with two zeros, and
        # what follows two zeros elsewhere is a third: so the declaration is found as bytes (2 172: 0.45 to 0.04 s).
        wanted = write_uleb(code) + bytes((TAG_COMPILE_UNIT,))
        position = 0 if data.startswith(wanted) else data.find(b"\0\0" + wanted) + 2
        match = _DECLARATION.match(data, position) if position != 1 else None
        if match is None:
            return self.read(section, offset)
        return AbbreviationTable({code: self._declaration(match["body"])})

    def _declaration(self, body: bytes) -> Abbreviation:
        known = self._known.get(body)
        if known is None:
            known = self._known[body] = _read_body(body, self._encoding)
        return known

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
