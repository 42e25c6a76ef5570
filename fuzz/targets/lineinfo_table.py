"""Any bytes as a table whose checksums all fit are an error of ours or a table that says the same twice."""

from __future__ import annotations

import contextlib
import types
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Final
from unittest import mock

from random_dwarf import random_image
from table_compare import table_bytes
from table_writer import ImageSpec, TableSpec, read_table, write_table

from annotate.errors import AnnotateError
from annotate.tables.lineinfo_v1 import TableFile, TableImage
from annotate.tables.lineinfo_v1 import file as file_module
from annotate.tables.lineinfo_v1.layout import MAGIC
from fuzz.tables import ask
from fuzz.targets import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS: Final = (MAGIC, b"\xff\xfe\1\0", *(bytes((token,)) for token in range(240, 247)), b"\xff\xff\xff\xff", b"\x80\1")

_IMAGES, _ADDRESSES = 3, 24
_SIZE_AT: Final = 16  # of the file, in its header
_KERNEL, _MODULE, _MAINTAINERS = range(3)


class _Fitting(int):
    """A checksum that is equal to each: they would keep a fuzzer out, as they do damage, but not whoever means harm."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


_FITTING: Final = types.SimpleNamespace(crc32=lambda _data: _Fitting())


def check(data: bytes) -> None:
    """The size in the header is made to fit, too."""
    data = data[:_SIZE_AT] + len(data).to_bytes(8, "little") + data[_SIZE_AT + 8 :]
    with mock.patch.object(file_module, "zlib", _FITTING), contextlib.suppress(AnnotateError):
        assert _ask_all(data) == _ask_all(data), "asked again, it says something else"


def _ask_all(data: bytes) -> list[object]:
    """Everything that a table says, in bounds. Raises AnnotateError."""
    file = TableFile(data, "fuzzed")
    said: list[object] = []
    for kind in range(4):
        for name in (b"", b"module"):
            said += islice(file.find(kind, name), _IMAGES)
    for record in islice(file.records(), _IMAGES):
        if record.kind == _MAINTAINERS:
            said.append(file.text(record))
            continue
        try:
            image = TableImage(file, record)
        except AnnotateError as error:
            said.append(str(error))
            continue
        first, end = image.head.first, image.head.end
        step = max((end - first) // _ADDRESSES, 1)
        addresses = sorted({*islice(range(first, end, step), _ADDRESSES), first - 1, end - 1, end, 0, (1 << 64) - 1})
        symbols = [image.symbol_at(address) for address in addresses]
        for address, symbol in zip(addresses, symbols, strict=True):
            assert symbol is None or symbol.address <= address < symbol.end, f"{symbol} at {address:#x}"
        names = list(dict.fromkeys(symbol.name for symbol in symbols if symbol is not None))
        image.prepare(names)
        said += (symbols, ask(image, [*names, b"", b"entry0"], addresses, {}), image.address_in(".text", 5))
        said += map(str, image.damage)
    return said


def seeds() -> Iterator[bytes]:
    """Tables of a compiled program and of random ones, packed and not, so that what is inside can change."""
    tables = [(FIXTURES / "tables" / "gcc-native.lineinfo").read_bytes()]
    tables += [table_bytes(random_image(seed, step=1 + 3 * (seed % 2))) for seed in range(12)]
    specs = [read_table(data) for data in tables]
    yield from tables
    with mock.patch("table_writer.packed", _stored):
        for spec in specs:
            yield write_table(spec)
        module = specs[1].images[0]._replace(kind=_MODULE, name=b"module")
        text = ImageSpec(kind=_MAINTAINERS, text=b"THE REST\nM:\tA <a@b>\nF:\t*\n")
        yield write_table(TableSpec([*specs[2].images, module, text], specs[2].codes))


def _stored(data: bytes) -> bytes:
    """As ``table_writer.packed`` does it, not compressed."""
    compressor = zlib.compressobj(0, wbits=-15)
    size, rest = b"", len(data)
    while rest >= 0x80:
        size, rest = size + bytes((rest & 0x7F | 0x80,)), rest >> 7
    return size + bytes((rest,)) + compressor.compress(data) + compressor.flush()
