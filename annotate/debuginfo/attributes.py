"""Attribute forms: how long each is and how it is read. DWARF 5 section 7.5.6, DWARF 2 to 4 and the GNU extensions.

The decoders above work on the bytes of one unit, copied and relocated; every position here is an offset into those.
"""

from __future__ import annotations

from functools import cache

from annotate.leb128 import read_sleb, read_uleb

# Attributes that are read (DWARF 5 table 7.5).
AT_SIBLING, AT_NAME, AT_STMT_LIST, AT_LOW_PC, AT_HIGH_PC, AT_LANGUAGE = 0x01, 0x03, 0x10, 0x11, 0x12, 0x13
AT_COMP_DIR, AT_INLINE, AT_ABSTRACT_ORIGIN, AT_SPECIFICATION = 0x1B, 0x20, 0x31, 0x47
AT_RANGES, AT_CALL_FILE, AT_CALL_LINE, AT_LINKAGE_NAME = 0x55, 0x58, 0x59, 0x6E
AT_STR_OFFSETS_BASE, AT_ADDR_BASE, AT_RNGLISTS_BASE = 0x72, 0x73, 0x74
AT_MIPS_LINKAGE_NAME = 0x2007

# Forms (DWARF 5 table 7.6).
FORM_ADDR, FORM_BLOCK2, FORM_BLOCK4, FORM_DATA2, FORM_DATA4, FORM_DATA8 = 0x01, 0x03, 0x04, 0x05, 0x06, 0x07
FORM_STRING, FORM_BLOCK, FORM_BLOCK1, FORM_DATA1, FORM_FLAG, FORM_SDATA = 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D
FORM_STRP, FORM_UDATA, FORM_REF_ADDR, FORM_REF1, FORM_REF2, FORM_REF4 = 0x0E, 0x0F, 0x10, 0x11, 0x12, 0x13
FORM_REF8, FORM_REF_UDATA, FORM_INDIRECT, FORM_SEC_OFFSET, FORM_EXPRLOC = 0x14, 0x15, 0x16, 0x17, 0x18
FORM_FLAG_PRESENT, FORM_STRX, FORM_ADDRX, FORM_REF_SUP4, FORM_STRP_SUP = 0x19, 0x1A, 0x1B, 0x1C, 0x1D
FORM_DATA16, FORM_LINE_STRP, FORM_REF_SIG8, FORM_IMPLICIT_CONST = 0x1E, 0x1F, 0x20, 0x21
FORM_LOCLISTX, FORM_RNGLISTX, FORM_REF_SUP8 = 0x22, 0x23, 0x24
FORM_STRX1, FORM_STRX2, FORM_STRX3, FORM_STRX4 = 0x25, 0x26, 0x27, 0x28
FORM_ADDRX1, FORM_ADDRX2, FORM_ADDRX3, FORM_ADDRX4 = 0x29, 0x2A, 0x2B, 0x2C
FORM_GNU_ADDR_INDEX, FORM_GNU_STR_INDEX = 0x1F01, 0x1F02
FORM_GNU_REF_ALT, FORM_GNU_STRP_ALT = 0x1F20, 0x1F21

_OFFSET, _ADDRESS, _REF_ADDR = -1, -2, -3

#: Form -> bytes; negative: an offset (4 or 8 by DWARF format), an address, a ref_addr (an address in DWARF 2).
_FIXED: dict[int, int] = {
    FORM_ADDR: _ADDRESS,
    FORM_DATA2: 2,
    FORM_DATA4: 4,
    FORM_DATA8: 8,
    FORM_DATA1: 1,
    FORM_FLAG: 1,
    FORM_STRP: _OFFSET,
    FORM_REF_ADDR: _REF_ADDR,
    FORM_REF1: 1,
    FORM_REF2: 2,
    FORM_REF4: 4,
    FORM_REF8: 8,
    FORM_SEC_OFFSET: _OFFSET,
    FORM_FLAG_PRESENT: 0,
    FORM_REF_SUP4: 4,
    FORM_STRP_SUP: _OFFSET,
    FORM_DATA16: 16,
    FORM_LINE_STRP: _OFFSET,
    FORM_REF_SIG8: 8,
    FORM_IMPLICIT_CONST: 0,
    FORM_REF_SUP8: 8,
    FORM_STRX1: 1,
    FORM_STRX2: 2,
    FORM_STRX3: 3,
    FORM_STRX4: 4,
    FORM_ADDRX1: 1,
    FORM_ADDRX2: 2,
    FORM_ADDRX3: 3,
    FORM_ADDRX4: 4,
    FORM_GNU_REF_ALT: _OFFSET,
    FORM_GNU_STRP_ALT: _OFFSET,
}

_ULEB_FORMS = frozenset(
    {
        FORM_UDATA,
        FORM_REF_UDATA,
        FORM_STRX,
        FORM_ADDRX,
        FORM_LOCLISTX,
        FORM_RNGLISTX,
        FORM_GNU_ADDR_INDEX,
        FORM_GNU_STR_INDEX,
    }
)

#: Block forms: how wide the length in front of the bytes is (0: ULEB128).
_BLOCKS = {FORM_BLOCK1: 1, FORM_BLOCK2: 2, FORM_BLOCK4: 4, FORM_BLOCK: 0, FORM_EXPRLOC: 0}


class Encoding:
    """What the sizes of forms depend on: one value a unit, shared by the units that are alike. Make it with ``of``."""

    __slots__ = ("address_size", "byte_order", "offset_size", "sizes", "version")

    def __init__(self, byte_order: str, version: int, offset_size: int, address_size: int) -> None:
        self.byte_order = byte_order  #: ``<`` or ``>``
        self.version = version
        self.offset_size = offset_size  #: 4 in 32-bit DWARF, 8 in 64-bit DWARF
        self.address_size = address_size
        #: Bytes of every known form, None where they depend on the data.
        self.sizes: dict[int, int | None] = dict.fromkeys(
            (*_ULEB_FORMS, *_BLOCKS, FORM_SDATA, FORM_STRING, FORM_INDIRECT)
        )
        for form, size in _FIXED.items():
            if size >= 0:
                self.sizes[form] = size
            elif size == _ADDRESS or (size == _REF_ADDR and version == 2):
                self.sizes[form] = address_size
            else:
                self.sizes[form] = offset_size

    @staticmethod
    @cache
    def of(byte_order: str, version: int, offset_size: int, address_size: int) -> Encoding:
        """The one encoding of these."""
        return Encoding(byte_order, version, offset_size, address_size)

    def unsigned(self, data: bytes, position: int, size: int) -> int:
        """An unsigned number of 1 to 16 bytes."""
        if position + size > len(data):
            raise IndexError("a value that ends behind its unit")
        return int.from_bytes(data[position : position + size], "little" if self.byte_order == "<" else "big")

    def skip(self, data: bytes, position: int, form: int) -> int:
        """The position behind a value."""
        size = self.sizes[form]
        if size is not None:
            return position + size
        if form in _ULEB_FORMS or form == FORM_SDATA:
            while data[position] >= 0x80:
                position += 1
            return position + 1
        if form == FORM_STRING:
            end = data.find(b"\0", position)
            if end < 0:
                raise IndexError("a string without a closing NUL")
            return end + 1
        if form == FORM_INDIRECT:
            actual, position = read_uleb(data, position)
            if actual == FORM_INDIRECT:
                raise ValueError("DW_FORM_indirect that names itself")
            return self.skip(data, position, actual)
        width = _BLOCKS[form]
        if width:
            return position + width + self.unsigned(data, position, width)
        length, position = read_uleb(data, position)
        return position + length

    def value(self, data: bytes, position: int, form: int, implicit: int = 0) -> tuple[int | bytes, int]:
        """Read a value; return it (blocks and inline strings as bytes) and the form that it really has.

        References are returned as they stand: relative to their unit for REF1 to REF_UDATA.
        """
        if form == FORM_IMPLICIT_CONST:
            return implicit, form
        if form == FORM_FLAG_PRESENT:
            return 1, form
        if form == FORM_INDIRECT:
            actual, position = read_uleb(data, position)
            if actual in (FORM_INDIRECT, FORM_IMPLICIT_CONST):
                raise ValueError("DW_FORM_indirect of a form that it cannot name")
            return self.value(data, position, actual)
        size = self.sizes[form]
        if size is not None:
            return self.unsigned(data, position, size), form
        if form == FORM_SDATA:
            return read_sleb(data, position)[0], form
        if form in _ULEB_FORMS:
            return read_uleb(data, position)[0], form
        end = self.skip(data, position, form)
        if form == FORM_STRING:
            return data[position : end - 1], form
        return data[position:end], form
