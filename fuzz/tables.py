"""Damaged tables answer as intact ones or not at all, hostile ones anything; in 10 s and 512 MB, only AnnotateErrors.

    python fuzz/tables.py --seconds 600 --seed 1
    python fuzz/tables.py --seconds 600 --seed 1 sample_oopses/x86_64/oopser.ko some.lineinfo
    python fuzz/tables.py --seed 1 --replay 4711 FILE...

A case is made from the seed and its number alone. A damaged one has bit flips, noise, bytes copied or left out, the
end cut off; each of its answers must be the intact table's, or none, and then the damage is named. For a hostile one
the table is taken apart: numbers of a head, indexes, inflated blocks, streams, names, paths, fingerprints, codes are
changed, and sizes and checksums made to fit (``tests/table_writer.py``); its answers may be any. Each is opened and
asked for everything. A case that breaks the rule is written into a folder (``--failures``).
"""
# ruff: noqa: E402 (tests/ must be on the path first)

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from table_writer import (
    MAGIC,
    MAINTAINERS,
    NUMBERS,
    BlockSpec,
    EntrySpec,
    ImageSpec,
    TableSpec,
    block_body,
    elsewhere,
    enter,
    enter_files,
    enter_one,
    nothing,
    read_table,
    step,
    step_same,
    symbol_names,
    write_table,
)

from annotate.errors import AnnotateError
from annotate.kernel.build import Options, build, sources_in
from annotate.leb128 import write_uleb
from annotate.model import LinkAddr
from annotate.tables.lineinfo_v1 import TableFile, TableImage
from fuzz.cases import Failure, add_options, fuzz

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import Location, Symbol

DEFAULT: Final = ROOT / "tests" / "fixtures" / "tables" / "gcc-native.lineinfo"

#: Names and addresses of one image that are asked for in one case, and rows that are read.
_NAMES, _ADDRESSES, _ROWS = 30, 120, 200_000

_NUMBERS = (0, 1, 2, 3, 7, 8, 63, 64, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LARGE_NUMBERS = (1 << 32, 1 << 40, 1 << 60, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 70) - 1)


class WrongAnswerError(Exception):
    """A damaged table gave another answer than the intact one."""


class Answer(NamedTuple):
    """What an image says of an address: symbol, chain, and file and line of the row that covers it."""

    symbol: Symbol | None
    chain: tuple[Location, ...]
    row: tuple[str, int]


class Known(NamedTuple):
    """The answers of one intact image."""

    names: dict[bytes, tuple[Symbol, ...]]
    addresses: dict[int, Answer]


class Original:
    """An intact table with its answers."""

    def __init__(self, data: bytes, path: str) -> None:
        self.path = path
        self.data = data
        self.spec = read_table(data)
        self.known: list[Known | None] = []
        self.text = b"".join(spec.text for spec in self.spec.images)
        generator = random.Random(path)
        file = TableFile(data, path)
        for number, spec in enumerate(self.spec.images):
            if spec.kind == MAINTAINERS:
                self.known.append(None)
                continue
            image = TableImage(file, file.record(number))
            names = list(dict.fromkeys(symbol_names(spec)))
            names = [*generator.sample(names, min(len(names), _NAMES)), b"no such symbol"]
            self.known.append(ask(image, names, _addresses(image, names, generator), {}))
            if image.damage:
                raise image.damage[0]


def _addresses(image: TableImage, names: Sequence[bytes], generator: random.Random) -> list[int]:
    """Some in symbols, some anywhere in the code and around it."""
    first, end = image.head.first, image.head.end
    found = [generator.randrange(max(0, first - 4), end + 4) for _ in range(_ADDRESSES // 2)]
    for symbol in [symbol for name in names for symbol in image.find(name) if symbol.is_code]:
        found += [symbol.address, symbol.end - 1, symbol.address + generator.randrange(symbol.size + 1)]
    return sorted({*found[:_ADDRESSES], first, end})


def ask(
    image: TableImage, names: Sequence[bytes], addresses: Sequence[int], symbols: dict[bytes, tuple[Symbol, ...]]
) -> Known:
    """Everything of these names and addresses. ``symbols`` are asked for their chains also where they are not found."""
    found = {name: image.find(name) for name in names}
    rows = [row for _, row in zip(range(_ROWS), image.rows(), strict=False)]
    rows.sort(key=lambda row: row[0])
    starts = [row[0] for row in rows]
    for some in (*found.values(), *symbols.values()):
        for symbol in some:
            image.chain(symbol.address, symbol)
    answers = {}
    for address in map(LinkAddr, addresses):
        at = image.symbol_at(address)
        image.call_target(address)
        image.section_of(address)
        position = bisect_right(starts, address) - 1
        row = rows[position][1:] if position >= 0 else ("", 0)
        answers[int(address)] = Answer(at, image.chain(address, at) if at is not None else (), row)
    return Known(found, answers)


# --- cases -------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A damaged table. ``is_repaired``: its checksums were made to fit, so its answers may be any."""

    original: Original
    data: bytes
    is_repaired: bool

    def ask(self) -> str:
        """Open the table and ask all that can be asked; a word on what came of it."""
        return (ask_repaired if self.is_repaired else ask_intact)(self.data, self.original)

    def keep(self, stem: Path, head: str, failure: Failure) -> None:
        """Write the damaged table, and how it fails."""
        stem.with_suffix(".lineinfo").write_bytes(self.data)
        stem.with_suffix(".txt").write_text(f"file: {self.original.path}\n{head}\n\n{failure.text}")


class Damager:
    """Makes the cases of one seed."""

    def __init__(self, originals: Sequence[Original], seed: int) -> None:
        self._originals = originals
        self._seed = seed

    def case(self, number: int) -> Case:
        """The case of this number."""
        generator = random.Random(f"{self._seed}:{number}")
        original = generator.choice(self._originals)
        if generator.randrange(3) == 0:
            return Case(original, damaged_bytes(original.data, generator), is_repaired=False)
        spec = original.spec
        for _ in range(generator.choice((1, 1, 1, 2, 4))):
            spec = changed_table(spec, generator)
        return Case(original, write_table(spec), is_repaired=True)


def damaged_bytes(data: bytes, generator: random.Random) -> bytes:
    """Flips, noise, bytes from elsewhere, bytes left out, the end cut off."""
    result = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 8))):
        place = generator.randrange(len(result)) if result else 0
        kind = generator.randrange(8)
        if kind < 4:
            result[place : place + 1] = bytes((result[place] ^ 1 << generator.randrange(8),)) if result else b""
        elif kind == 4:
            result[place : place + 4] = generator.randbytes(len(result[place : place + 4]))
        elif kind == 5:
            start, size = generator.randrange(len(data)), generator.randrange(1, 64)
            piece = data[start : start + size]
            result[place : place + len(piece)] = piece
        elif kind == 6:
            del result[place : place + generator.randrange(1, 9)]
        else:
            del result[place:]
    return bytes(result)


def some_number(generator: random.Random) -> int:
    """A number that is often just out of bounds."""
    kind = generator.randrange(4)
    if kind == 0:
        return generator.choice(_LARGE_NUMBERS)
    return generator.choice(_NUMBERS) if kind < 3 else generator.getrandbits(generator.choice((4, 8, 16, 24, 32, 63)))


def changed_bytes(data: bytes, generator: random.Random) -> bytes:
    """One place of inflated bytes: a byte, a ULEB in place of a byte, noise, a piece left out or twice."""
    place = generator.randrange(min(len(data), 40) if generator.randrange(3) == 0 else len(data)) if data else 0
    kind = generator.randrange(6)
    if kind < 2:
        return data[:place] + bytes((generator.randrange(256),)) + data[place + 1 :]
    if kind == 2:
        return data[:place] + write_uleb(some_number(generator)) + data[place + 1 :]
    if kind == 3:
        noise = generator.randbytes(1 << generator.randrange(8))
        return data[:place] + noise + data[place + len(noise) :]
    size = 1 << generator.randrange(6)
    return data[:place] + data[place + size :] if kind == 4 else data[: place + size] + data[place:]


def random_stream(generator: random.Random) -> bytes:
    """Tokens that are well formed, with numbers that need not be."""

    def small() -> int:
        return generator.choice((0, 0, 1, 1, 2, 3, 5)) if generator.randrange(40) else some_number(generator)

    def lines() -> int:
        return small() - small()

    tokens = []
    for _ in range(generator.choice((1, 3, 10, 30, 300))):
        kind = generator.randrange(9)
        calls = range(generator.choice((1, 1, 2, 3, 30)))
        if kind == 0:
            tokens.append(step_same(small(), lines()))
        elif kind == 1:
            tokens.append(step(small(), small(), lines()))
        elif kind < 4:
            tokens.append(enter_one(small(), small(), lines(), lines()))
        elif kind == 4:
            tokens.append(enter(small(), small(), [(small(), lines()) for _ in calls], lines()))
        elif kind == 5:
            tokens.append(enter_files(small(), small(), [(small(), small(), lines()) for _ in calls], lines()))
        elif kind == 6:
            tokens.append(elsewhere(small(), small(), small(), small()))
        elif kind == 7:
            tokens.append(nothing(small()))
        else:
            tokens.append(bytes((generator.randrange(256),)))
    return b"".join(tokens)


def random_block(spec: BlockSpec, generator: random.Random) -> BlockSpec:
    """A block of a few entries with random streams."""
    entries = [
        EntrySpec(
            generator.choice((0, 1, 4, 64)), [b"entry%d" % number], random_stream(generator),
            generator.choice((0, 1, some_number(generator))), some_number(generator), generator.randrange(3),
        )
        for number in range(generator.randrange(1, 5))
    ]  # fmt: skip
    extras = generator.randbytes(generator.randrange(20)) if generator.randrange(8) == 0 else b""
    return spec._replace(body=block_body(entries, generator.choice((0, 1, some_number(generator))), extras))


def _changed_image(image: ImageSpec, generator: random.Random) -> ImageSpec:
    kind = generator.randrange(12)
    if kind < 2:
        return image._replace(numbers={**image.numbers, generator.choice(NUMBERS): some_number(generator)})
    if kind < 7 and image.blocks:
        blocks = list(image.blocks)
        number = generator.randrange(len(blocks))
        change = generator.randrange(8)
        if change == 0:
            blocks[number] = blocks[number]._replace(distance=some_number(generator))
        elif change == 1:
            blocks[number] = blocks[number]._replace(symbols_before=some_number(generator))
        elif change == 2:
            blocks.insert(number, blocks[number])
        elif change == 3:
            del blocks[number]
        elif change < 6:
            blocks[number] = random_block(blocks[number], generator)
        else:
            blocks[number] = blocks[number]._replace(body=changed_bytes(blocks[number].body, generator))
        return image._replace(blocks=blocks)
    if kind in (7, 8):
        names = list(image.names if kind == 7 else image.paths) or [b""]
        number = generator.randrange(len(names))
        names[number] = changed_bytes(names[number], generator)
        return image._replace(names=names) if kind == 7 else image._replace(paths=names)
    if kind == 9:
        return image._replace(fingerprints=changed_bytes(image.fingerprints, generator))
    if kind == 10:
        return image._replace(data=changed_bytes(image.data, generator))
    sections = [
        (name, some_number(generator) - some_number(generator), some_number(generator))
        if generator.randrange(3) == 0
        else (name, distance, size)
        for name, distance, size in image.sections
    ]
    return image._replace(sections=sections, tail=generator.choice((b"", b"", b"\0")), kind=generator.randrange(4))


def changed_table(table: TableSpec, generator: random.Random) -> TableSpec:
    """One part becomes another."""
    kind = generator.randrange(12)
    if kind == 0:
        return table._replace(codes=changed_bytes(table.codes, generator))
    if kind == 1:
        field = generator.choice(("mark", "version", "images", "size", "directory", "directory_size", "strings_size"))
        bits = 16 if field in ("mark", "version") else 32
        value = generator.choice((some_number(generator), generator.randrange(200))) & (1 << bits) - 1
        return table._replace(lies={**table.lies, field: value})
    if not table.images:
        return table
    images = list(table.images)
    number = generator.randrange(len(images))
    if kind == 2:
        images.insert(generator.randrange(len(images) + 1), images[number])
    else:
        images[number] = _changed_image(images[number], generator)
    return table._replace(images=images)


# --- what is asked -----------------------------------------------------------------------------------------------


def ask_intact(data: bytes, original: Original) -> str:
    """Ask what is known of the intact table; each answer must be that or none, and none only with damage named."""
    try:
        file = TableFile(data, "damaged")
        records = list(file.records())
    except AnnotateError as error:
        return f"not opened: {type(error).__name__}"
    outcome = "answers are the same"
    for record, known in zip(records, original.known, strict=True):
        try:
            if known is None:
                if file.text(record) != original.text:
                    raise WrongAnswerError("another text")
                continue
            image = TableImage(file, record)
        except AnnotateError:
            outcome = "an image is refused"
            continue
        found = ask(image, list(known.names), list(known.addresses), known.names)
        for name, symbols in found.names.items():
            if symbols != known.names[name] and (symbols or not image.damage):
                raise WrongAnswerError(f"find({name!r}): {symbols}, not {known.names[name]}; damage {image.damage}")
        for address, answer in found.addresses.items():
            right = known.addresses[address]
            none = Answer(None, (), ("", 0))
            for here, there, nothing_ in zip(answer, right, none, strict=True):
                if here != there and (here != nothing_ or not image.damage):
                    raise WrongAnswerError(f"{address:#x}: {here}, not {there}; damage {image.damage}")
        if image.damage:
            outcome = "answers, and damage was named"
    return outcome


def ask_repaired(data: bytes, original: Original) -> str:
    """Ask for everything; the answers may be any."""
    try:
        file = TableFile(data, "hostile")
        records = list(file.records())
        for kind in range(4):
            for name in (b"", b"module"):
                list(file.find(kind, name))
    except AnnotateError as error:
        return f"not opened, repaired: {type(error).__name__}"
    outcome = "refused, repaired"
    known = next((known for known in original.known if known is not None), Known({}, {}))
    for record in records[:4]:
        try:
            if record.kind == MAINTAINERS:
                file.text(record)
                continue
            image = TableImage(file, record)
        except AnnotateError:
            continue
        head = image.head
        addresses = {*known.addresses, head.first - 1, head.first, head.end, head.end - 1, 0, (1 << 64) - 1}
        ask(image, [*known.names, b"", b"entry0", b"entry1"], sorted(addresses), known.names)
        image.address_in(".text", 5)
        [str(error) for error in image.damage]
        outcome = "answers and damage, repaired" if image.damage else "answers, repaired"
    return outcome


def table_of(path: str) -> bytes:
    """A table as it is; one that is built here and now of an ELF file."""
    data = Path(path).read_bytes()
    if data.startswith(MAGIC):
        return data
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "built.lineinfo"
        build(list(sources_in(path)), str(output), Options(jobs=1), lambda _done, _total: None)
        return output.read_bytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Damage tables until the time is over; the status is 1 when a case broke the rule."""
    parser = argparse.ArgumentParser(description="Damage tables and ask them.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="tables, or ELF files to build them of")
    add_options(parser, "table-failures")
    options = parser.parse_args(arguments)
    originals = [Original(table_of(path), path) for path in options.files or [str(DEFAULT)]]
    return fuzz(Damager(originals, options.seed).case, options)


if __name__ == "__main__":
    sys.exit(main())
