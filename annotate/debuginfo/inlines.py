"""Inlined call chains from .debug_info, unit by unit. The other hot loop.

Two steps. Once a unit, a walk over its top level lists the functions that have code (``FunctionIndex``); the types
that make up most of a unit are stepped over with one addition each. For an address, only the function that contains
it is entered and its tree of DW_TAG_inlined_subroutine entries is followed down. What was measured on a Debian 6.1
vmlinux: a full walk takes 0.63 ms for the median unit, this about a third of it.

A function is found by address, never by the place its symbol names: on arm64 most begin 8 bytes behind their symbol.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.abbreviations import (
    TAG_CLASS_TYPE,
    TAG_INLINED_SUBROUTINE,
    TAG_LEXICAL_BLOCK,
    TAG_MODULE,
    TAG_NAMESPACE,
    TAG_STRUCTURE_TYPE,
    TAG_SUBPROGRAM,
    TAG_UNION_TYPE,
)
from annotate.debuginfo.attributes import (
    AT_ABSTRACT_ORIGIN,
    AT_CALL_FILE,
    AT_CALL_LINE,
    AT_HIGH_PC,
    AT_LANGUAGE,
    AT_LINKAGE_NAME,
    AT_LOW_PC,
    AT_MIPS_LINKAGE_NAME,
    AT_NAME,
    AT_RANGES,
    AT_SIBLING,
    AT_SPECIFICATION,
    FORM_GNU_REF_ALT,
    FORM_REF1,
    FORM_REF2,
    FORM_REF4,
    FORM_REF8,
    FORM_REF_ADDR,
    FORM_REF_SUP4,
    FORM_REF_SUP8,
    FORM_REF_UDATA,
)
from annotate.leb128 import read_uleb
from annotate.limits import MAX_DEPTH, MAX_REFERENCES

if TYPE_CHECKING:
    from annotate.debuginfo.abbreviations import Abbreviation
    from annotate.debuginfo.unitindex import UnitIndex
    from annotate.debuginfo.units import Unit

#: DW_LANG_Mips_Assembler, which gas writes for every machine, and DW_LANG_Assembly of DWARF 6.
ASSEMBLERS = frozenset({0x8001, 0x31})

#: Languages whose functions stand at the top level, so that no type needs to be entered (DWARF 5 table 7.17):
#: C89, C, C99, C11, C17, C23 and assembly.
_FLAT_LANGUAGES = frozenset({0x01, 0x02, 0x0C, 0x1D, 0x2C, 0x3E}) | ASSEMBLERS

_SCOPES = frozenset({TAG_NAMESPACE, TAG_MODULE, TAG_STRUCTURE_TYPE, TAG_CLASS_TYPE, TAG_UNION_TYPE})
_ALTERNATE_REFERENCES = frozenset({FORM_GNU_REF_ALT, FORM_REF_SUP4, FORM_REF_SUP8})
_LOCAL_REFERENCES = frozenset({FORM_REF1, FORM_REF2, FORM_REF4, FORM_REF8, FORM_REF_UDATA})


#: The attributes of one entry: name -> (value, form).
Attributes = dict[int, tuple[int | bytes, int]]


class Call(NamedTuple):
    """One function of a chain.

    ``file`` and ``line`` are where it was inlined, in its unit's file numbers; 0 for the outermost, which was not.
    """

    function: bytes
    file: int
    line: int


class FunctionIndex:
    """The functions with code of one unit: sorted ranges and where each function's entry begins."""

    __slots__ = ("ends", "entries", "starts")

    def __init__(self, unit: Unit) -> None:
        found: list[tuple[int, int, int]] = []
        for position, abbreviation in _functions(unit):
            found.extend((start, end, position) for start, end in _ranges(unit, abbreviation, position))
        found.sort()
        self.starts = [function[0] for function in found]
        self.ends = [function[1] for function in found]
        self.entries = [function[2] for function in found]

    def find(self, address: int) -> int | None:
        """Position (in the unit's bytes, at its code) of the entry of the function that contains the address."""
        index = bisect_right(self.starts, address) - 1
        while index >= 0:
            if address < self.ends[index]:
                return self.entries[index]
            # A function inside another's range is an alias written in assembly: a few bytes back at most.
            if address - self.starts[index] > 0x100000:
                return None
            index -= 1
        return None

    def first_behind(self, address: int, end: int) -> int | None:
        """Where the first function begins that starts behind an address and before ``end``, if none contains it."""
        if self.find(address) is not None:
            return None
        index = bisect_right(self.starts, address)
        return self.starts[index] if index < len(self.starts) and self.starts[index] < end else None


def _functions(unit: Unit) -> list[tuple[int, Abbreviation]]:
    """Position and abbreviation of every DW_TAG_subprogram entry that may have code."""
    data = unit.data
    steps = unit.abbreviations.steps
    by_code = unit.abbreviations.by_code
    language = unit.number(AT_LANGUAGE)
    is_flat = language in _FLAT_LANGUAGES
    jumps = unit.abbreviations.jumps if is_flat else [0] * 256
    read_reference = struct.Struct(unit.encoding.byte_order + "I").unpack_from
    functions: list[tuple[int, Abbreviation]] = []
    position, end = unit.children, len(data)
    if not unit.root_abbreviation.has_children:
        return functions
    depth = 1
    while position < end:
        code = data[position]
        step = steps[code]
        if step:
            position += step
            continue
        start = position
        jump = jumps[code]
        if jump:
            (position,) = read_reference(data, start + jump)
            if position <= start:
                raise ValueError(f"DW_AT_sibling at {start:#x} that points back to {position:#x}")
            continue
        code, position = read_uleb(data, position)
        if code == 0:
            depth -= 1
            if depth == 0:
                break
            continue
        abbreviation = by_code[code]
        if abbreviation.tag == TAG_SUBPROGRAM and abbreviation.has(AT_LOW_PC, AT_RANGES):
            functions.append((start, abbreviation))
        if not abbreviation.has_children or (not is_flat and abbreviation.tag in _SCOPES):
            position = skip_attributes(unit, abbreviation, position)
            if abbreviation.has_children:
                depth += 1
                if depth > MAX_DEPTH:
                    raise ValueError(f"entries nested deeper than {MAX_DEPTH}")
        else:
            position = skip_entry(unit, abbreviation, position)
    if position > end:
        raise ValueError(f"an entry or DW_AT_sibling that leads behind the unit, to {position:#x}")
    return functions


def skip_attributes(unit: Unit, abbreviation: Abbreviation, position: int) -> int:
    """The position behind an entry's attributes (``position`` is behind its code)."""
    if abbreviation.size is not None:
        return position + abbreviation.size
    position += abbreviation.tail_offset
    data, skip = unit.data, unit.encoding.skip
    for _, form, _ in abbreviation.tail:
        position = skip(data, position, form)
    return position


def _sibling(unit: Unit, abbreviation: Abbreviation, position: int) -> int:
    """DW_AT_sibling of an entry (``position`` is behind its code), 0 when it has none."""
    data, encoding = unit.data, unit.encoding
    if abbreviation.sibling_offset >= 0:
        return encoding.unsigned(data, position + abbreviation.sibling_offset, 4)
    position += abbreviation.tail_offset
    for name, form, _ in abbreviation.tail:
        if name == AT_SIBLING:
            value = encoding.value(data, position, form)[0]
            return value if form in _LOCAL_REFERENCES and isinstance(value, int) else 0
        position = encoding.skip(data, position, form)
    return 0


def skip_entry(unit: Unit, abbreviation: Abbreviation, position: int) -> int:
    """The position behind an entry (``position`` is behind its code) and everything below it."""
    if abbreviation.has_children:
        sibling = _sibling(unit, abbreviation, position)
        if sibling > position:
            return sibling
    position = skip_attributes(unit, abbreviation, position)
    if not abbreviation.has_children:
        return position
    data, end = unit.data, len(unit.data)
    steps, by_code = unit.abbreviations.steps, unit.abbreviations.by_code
    depth = 1
    while position < end:
        code = data[position]
        if steps[code]:
            position += steps[code]
            continue
        code, position = read_uleb(data, position)
        if code == 0:
            depth -= 1
            if depth == 0:
                return position
            continue
        abbreviation = by_code[code]
        position = skip_attributes(unit, abbreviation, position)
        if abbreviation.has_children:
            depth += 1
    raise IndexError("entries without an end")


def _ranges(unit: Unit, abbreviation: Abbreviation, position: int) -> list[tuple[int, int]]:
    """The ranges of the function entry at ``position`` (at its code)."""
    _, position = read_uleb(unit.data, position)
    plain = abbreviation.layout.plain_pc
    if plain is not None:
        # An address and a length among the fixed attributes: what nearly every function has, without the dictionary.
        values = abbreviation.layout.unpack(unit.data, position)
        low, length = values[plain[0]], values[plain[1]]
        return [(low, low + length)] if length else []
    found = unit.attributes(abbreviation, position)[0]
    return unit.ranges(found.get(AT_LOW_PC), found.get(AT_HIGH_PC), found.get(AT_RANGES))


def call_chain(units: UnitIndex, unit: Unit, functions: FunctionIndex, address: int) -> list[Call]:
    """The functions whose code an address is, innermost first; empty when no function of the unit contains it.

    The innermost is the deepest DW_TAG_inlined_subroutine whose ranges hold the address, its callers are the entries of
    that tag and the subprogram above it. An entry whose ranges do not hold the address is not entered, unless it has
    none: up to DWARF 4 gcc loses the ranges of an inlined call when the first of them is empty and at the unit's base,
    which looks like the end of the list. Lexical blocks only pass the search on.
    """
    start = functions.find(address)
    if start is None:
        return []
    data = unit.data
    by_code = unit.abbreviations.by_code
    steps = unit.abbreviations.steps
    code, position = read_uleb(data, start)
    abbreviation = by_code[code]
    attributes, position = unit.attributes(abbreviation, position)
    chain = [Call(function_name(units, unit, attributes), 0, 0)]
    if not abbreviation.has_children:
        return chain
    end = len(data)
    depth = 1  # of the entry at ``position``, below the subprogram
    floor = 1  # the search ends when it leaves the children of the innermost entry found
    # Entries that are open and whose ranges say nothing: (depth of their children, attributes).
    without_ranges: list[tuple[int, Attributes]] = []
    is_strict = unit.encoding.version == 2  # no DW_AT_ranges: a call of several ranges has its first one only
    while position < end:
        code = data[position]
        if steps[code]:
            position += steps[code]
            continue
        code, position = read_uleb(data, position)
        if code == 0:
            depth -= 1
            if depth < floor:
                break
            while without_ranges and without_ranges[-1][0] > depth:
                without_ranges.pop()
            continue
        abbreviation = by_code[code]
        tag = abbreviation.tag
        behind_code = position
        if tag == TAG_INLINED_SUBROUTINE:
            attributes, position = unit.attributes(abbreviation, position)
            ranges = unit.ranges(attributes.get(AT_LOW_PC), attributes.get(AT_HIGH_PC), attributes.get(AT_RANGES))
            is_within = any(low <= address < high for low, high in ranges)
            if is_within or ((not ranges or is_strict) and abbreviation.has_children):
                depth += 1
                if depth > MAX_DEPTH:
                    raise ValueError(f"entries nested deeper than {MAX_DEPTH}")
                if not is_within:
                    without_ranges.append((depth, attributes))
                    continue
                chain += [read_call(units, unit, outer) for _, outer in without_ranges]
                without_ranges.clear()
                chain.append(read_call(units, unit, attributes))
                if not abbreviation.has_children:
                    break
                floor = depth
                continue
            if abbreviation.has_children:
                sibling = attributes.get(AT_SIBLING)
                if sibling is not None and sibling[1] == FORM_REF4 and isinstance(sibling[0], int):
                    if sibling[0] < position:
                        raise ValueError(f"DW_AT_sibling that points back to {sibling[0]:#x}")
                    position = sibling[0]
                else:
                    position = skip_entry(unit, abbreviation, behind_code)
        elif tag == TAG_LEXICAL_BLOCK and abbreviation.has_children:
            position = skip_attributes(unit, abbreviation, position)
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"entries nested deeper than {MAX_DEPTH}")
        else:
            position = skip_entry(unit, abbreviation, behind_code)
    chain.reverse()
    return chain


def read_call(units: UnitIndex, unit: Unit, attributes: Attributes) -> Call:
    """The call that an entry of DW_TAG_inlined_subroutine stands for."""
    file = attributes.get(AT_CALL_FILE, (0, 0))[0]
    line = attributes.get(AT_CALL_LINE, (0, 0))[0]
    if not isinstance(file, int) or not isinstance(line, int):
        raise ValueError("a call site that is not a number")
    return Call(function_name(units, unit, attributes), file, line)


def function_name(units: UnitIndex, unit: Unit, attributes: Attributes) -> bytes:
    """The name of a function entry, empty when it has none.

    Its linkage name, else its plain name, else those of the entry that it is an instance of (DW_AT_abstract_origin) or
    completes (DW_AT_specification).
    """
    for _ in range(MAX_REFERENCES):
        for name in (AT_LINKAGE_NAME, AT_MIPS_LINKAGE_NAME, AT_NAME):
            if name in attributes:
                text = unit.string(*attributes[name])
                if text:
                    return text
        offset, form = attributes.get(AT_ABSTRACT_ORIGIN) or attributes.get(AT_SPECIFICATION) or (b"", 0)
        if not isinstance(offset, int):
            return b""
        if form in _LOCAL_REFERENCES:
            position = offset
        elif form == FORM_REF_ADDR:
            unit = units.unit_containing(offset)
            position = offset - unit.header.offset
        elif form in _ALTERNATE_REFERENCES:
            elsewhere = units.alternate()
            if elsewhere is None:
                return b""
            units = elsewhere
            unit = units.unit_containing(offset)
            position = offset - unit.header.offset
        else:
            return b""
        code, position = read_uleb(unit.data, position)
        attributes, _ = unit.attributes(unit.abbreviations.by_code[code], position)
    raise ValueError("a circle of references to a function's name")
