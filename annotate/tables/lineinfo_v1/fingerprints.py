"""Which symbols may have a name."""

from __future__ import annotations

import struct
import zlib
from array import array
from itertools import repeat

from annotate.leb128 import read_uleb
from annotate.tables.lineinfo_v1.layout import fingerprint

#: Names asked for, from which on an index is worth it: making one for 47 000 symbols takes 2.9 ms and 465 KB, a name is
#: then found in 0.2 us, without one in 45 to 70.
NAMES_FOR_INDEX = 64

#: Bytes of fingerprints that never need one: a search through them takes less than 4 us.
FEW = 1 << 13


class Fingerprints:
    """Those of an image's symbols of code."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._asked = 0
        self._first: array[int] | None = None
        self._following = array("I")

    @property
    def has_index(self) -> bool:
        """Whether there is an index; names are searched for without one."""
        return self._first is not None

    def expect(self, names: int) -> None:
        """So many names will be asked for."""
        self._asked += names

    def places(self, name: bytes) -> list[int]:
        """The numbers of the symbols that may have this name, in their order."""
        wanted = fingerprint(name)
        found = []
        if self._first is None:
            self._asked += 1
            if self._asked <= NAMES_FOR_INDEX or len(self._data) <= FEW:
                position = self._data.find(wanted)
                while position >= 0:
                    if position & 1 == 0:
                        found.append(position >> 1)
                    position = self._data.find(wanted, position + 1)
                return found
            self._first = self._make_index()
        place = self._first[memoryview(wanted).cast("H")[0]]
        while place:
            found.append(place - 1)
            place = self._following[place]
        return found

    def _make_index(self) -> array[int]:
        """The first place of each fingerprint, from 1 on; ``_following`` has the next one of the same."""
        values = memoryview(self._data)[: len(self._data) & ~1].cast("H")
        first = array("I", repeat(0, 1 << 16))
        following = self._following = array("I", repeat(0, len(values) + 1))
        for place in range(len(values), 0, -1):
            value = values[place - 1]
            following[place] = first[value]
            first[value] = place
        return first


def may_be_data(data: bytes, name: bytes) -> bool:
    """Whether the fingerprints of data in ``data`` have one of this name. Raises ``layout.ERRORS``."""
    crc = zlib.crc32(name)
    bits, start = read_uleb(data, 0)
    bucket = crc >> 32 - bits
    first, last = struct.unpack_from("<II", data, start + 4 * bucket)
    start += 4 * ((1 << bits) + 1)
    return crc & 0xFFFF in struct.unpack_from(f"<{last - first}H", data, start + 2 * first)
