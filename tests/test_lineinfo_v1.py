"""The reader of our own tables, on tables put together from the specification, and the bytes that it freezes."""

from __future__ import annotations

import pickle
import struct
import zlib
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from table_writer import (
    CHAINS,
    KERNEL,
    MAINTAINERS,
    MODULE,
    PARTIAL,
    BlockSpec,
    EntrySpec,
    ImageSpec,
    TableSpec,
    block_body,
    codes,
    column,
    data_fingerprints,
    elsewhere,
    enter,
    enter_files,
    enter_one,
    extra_calls,
    extra_sizes,
    fingerprints,
    names_body,
    nothing,
    read_table,
    step,
    step_same,
    write_table,
)

from annotate.errors import AnnotateError, DamagedFileError, UnrecognisedFileError, UnsupportedFileError
from annotate.kernel.build import Options, build, sources_in
from annotate.model import LinkAddr, Location, Symbol
from annotate.tables import tokens
from annotate.tables.contents import Entry, ImageContents, Section
from annotate.tables.encode import encode_image, encode_maintainers
from annotate.tables.lineinfo_v1 import TableFile, TableImage
from annotate.tables.writer import FileWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = FIXTURES / "tables" / "gcc-native.lineinfo"
GOLDEN_SOURCE = FIXTURES / "matrix" / "gcc-native.ko"

BASE = 0x1000

PATHS = (b"fs/a.c", b"include/b.h", b"lib/c.h", b"lib/\xff.c", b"", b"", b"", b"fs/main.c")


def image_of(table: TableSpec, number: int = 0) -> TableImage:
    file = TableFile(write_table(table), "table")
    return TableImage(file, file.record(number))


def one_block(
    entries: Sequence[EntrySpec],
    functions: Sequence[tuple[bytes, int, int]] = (),
    *,
    size: int = 0x100,
    numbers: Mapping[str, int] = {},
    extras: bytes = b"",
    functions_before: int = 0,
) -> ImageSpec:
    """A kernel of one block; its code begins at BASE and is all one section of ``size`` bytes."""
    names = [name for entry in entries for name in entry.names]
    return ImageSpec(
        numbers={"first": BASE, "end": BASE + size, "entries": len(entries), **numbers},
        sections=[(b".text", 0, size)],
        blocks=[BlockSpec(0, 0, block_body(entries, functions_before, extras))],
        names=[names_body(functions)] if functions else [],
        paths=[b"\n".join(PATHS)],
        fingerprints=fingerprints(names),
    )


def symbol(name: bytes, address: int, size: int) -> Symbol:
    return Symbol(name, LinkAddr(address), size, (size,), size, is_code=True, ends_section=False)


def chain(image: TableImage, address: int) -> list[str]:
    """The chain at an address of the symbol there: ``file:line name``, innermost first."""
    at = image.symbol_at(LinkAddr(address))
    assert at is not None
    locations = image.chain(LinkAddr(address), at)
    assert image.damage == []
    assert [location.inlined for location in locations] == [True] * (len(locations) - 1) + [False] * bool(locations)
    return [f"{location.file}:{location.line} {location.function}".rstrip() for location in locations]


def stretches(image: TableImage, first: int, end: int) -> list[tuple[int, list[str]]]:
    """Where the chain changes, as distances from ``first``."""
    found: list[tuple[int, list[str]]] = []
    for address in range(first, end):
        here = chain(image, address)
        if not found or found[-1][1] != here:
            found.append((address - first, here))
    return found


# --- the example of the specification ----------------------------------------------------------------------------

EXAMPLE = bytes.fromhex("f0 00 00  00  f2 02 00 00 01  01".replace(" ", ""))
EXAMPLE_CODES = ((4, 0, 1), (3, 1, 0))
EXAMPLE_CHAINS = [
    (0, ["fs/main.c:100"]),
    (4, ["fs/main.c:101"]),
    (6, ["include/b.h:21 helper", "fs/main.c:101"]),
    (9, ["fs/main.c:101"]),
]


def test_the_example_is_read_as_the_specification_says() -> None:
    functions = [(b"old%d" % number, 0, 1) for number in range(5)] + [(b"helper", 1, 20)]
    entry = EntrySpec(0, [b"func"], EXAMPLE, file=7, line=100, new_functions=1)
    spec = one_block([entry], functions, size=0x20, functions_before=5)
    assert stretches(image_of(TableSpec([spec], codes(EXAMPLE_CODES))), BASE, BASE + 0x20) == EXAMPLE_CHAINS


def example_tokens() -> tokens.Tokens:
    """What the tokenizer would make of the example: a line 100, a line on, a call that is new, and back."""
    some = tokens.Tokens()
    some.paths = [*(f"path{number}" for number in range(7)), "fs/main.c", "include/b.h"]
    some.names = [(b"helper", 8)]
    bias = tokens.LINE_BIAS

    def packed(distance: int, rank: int, lines: int) -> int:
        return (distance << tokens.RANK_BITS | rank) << tokens.LINE_BITS | lines + bias

    some.steps = array("q", [packed(0, 0, 0), packed(4, 0, 1), -1, packed(3, 1, 0)])
    some.special = array("q", [tokens.ENTER, 2, 0, 1, 0, -1, 0, 21])
    some.counts, some.files, some.lines = array("L", [4]), array("L", [7]), array("L", [100])
    some.rows = 4
    return some


def contents(some: Sequence[tokens.Tokens], entries: Sequence[Entry], **more: object) -> ImageContents:
    usual: dict[str, object] = {
        "name": "", "build_id": "", "release": "", "arch": "", "source": "", "is_module": False, "has_inlines": True,
        "is_partial": False, "shift": 0, "end": LinkAddr(BASE + 0x20), "data_names": (),
        "sections": [Section(".text", LinkAddr(BASE), 0x20)],
    }  # fmt: skip
    order = range(sum(len(each.counts) for each in some))
    return ImageContents(entries=entries, order=order, tokens=some, **{**usual, **more})  # type: ignore[arg-type]


def written(contents_: ImageContents, steps: Sequence[tuple[int, int, int]] = EXAMPLE_CODES) -> bytes:
    """A file of one image, as the writer writes it."""
    writer = FileWriter(list(steps))
    parts = [bytes(FileWriter.HEADER_SIZE), *writer.add(encode_image(contents_, list(steps)))]
    directory, header = writer.finish()
    return header + b"".join([*parts, directory])[len(header) :]


def test_the_example_is_written_as_the_specification_says() -> None:
    data = written(contents([example_tokens()], [Entry(LinkAddr(BASE), (symbol(b"func", BASE, 0x20),))]))
    (image,) = read_table(data).images
    # The usual first line of a function that is met once is the line that it is met at.
    assert image.blocks[0].body.endswith(EXAMPLE.replace(b"\xf2\x02\0\0\x01", b"\xf2\x02\0\0\0"))
    assert image.names == [names_body([(b"helper", 8, 21)])]
    file = TableFile(data, "table")
    assert stretches(TableImage(file, file.record(0)), BASE, BASE + 0x20) == EXAMPLE_CHAINS


def test_the_bytes_of_the_header_the_directory_and_a_head_are_where_the_specification_says() -> None:
    """The offsets of the text, spelled out, against the writer."""
    data = written(
        contents(
            [example_tokens()], [Entry(LinkAddr(BASE), (symbol(b"func", BASE, 0x20),))], name="mod", is_module=True,
            build_id="ab" * 20, release="6.1", arch="x86_64", source="mod.ko",
        )
    )  # fmt: skip
    assert data[:12] == b"\x93\x4c\x4e\x49\x4e\x46\x4f\x0a\xff\xfe\x01\x00"
    images, size, directory, directory_size, directory_crc, strings_size, crc = struct.unpack_from("<IQQIIII", data, 12)
    assert (images, size, crc) == (1, len(data), zlib.crc32(data[:44]))
    assert directory + directory_size == len(data)
    assert directory_crc == zlib.crc32(data[directory:])
    place, image_size, head_size, head_crc, name, kind, id_size = struct.unpack_from("<QIIIIBB", data, directory)
    assert (place, place + image_size, kind, id_size) == (48, directory, 1, 20)
    assert data[directory + 26 : directory + 48] == b"\xab" * 20 + bytes(2)
    assert head_crc == zlib.crc32(data[place : place + head_size])
    strings = data[directory + 48 : directory + 48 + strings_size]
    assert strings[name:].startswith(b"mod\0")
    assert strings.endswith(b"\0")
    assert data[directory + 48 + strings_size :] == b"\x02" + b"\x04\x00\x01" + b"\x03\x01\x00"
    assert data[place : place + 4] == b"\x01\x00\x80\x20"  # flags, shift, 0x1000 as a ULEB
    assert read_table(data).images[0].source == b"mod.ko"


# --- streams -----------------------------------------------------------------------------------------------------

FUNCTIONS = ((b"one", 1, 10), (b"two", 2, 20), (b"three", 3, 30), (b"four", 0, 40))


def test_calls_within_calls_are_found_by_name_rank_and_line() -> None:
    stream = b"".join(
        (
            step_same(0, 0),  # main, line 100
            # At 2: "one" called at 100 + 3 in main, "two" called at 10 + 1 in "one", line 20 + 2 in "two".
            enter(2, 0, [(0, 3), (0, 1)], 2),
            step(3, 1, 1),  # At 5: "one", whose last line was that of the call: 11 + 1.
            step_same(1, -5),  # At 6: 7.
            # At 8: "three" called in main, by its rank 2, at 103 - 1 (its last line is 100 still): line 30 - 4.
            enter(2, 2, [(0, 2)], -4),
            enter_one(2, 2 * 1 + 1, 0, 0),  # At 10: "two" once more, by its number, called at 26 in "three".
            enter_one(1, 2 * 3, 5, 1),  # At 11: "one" by how many are met since, called at 20 + 5.
            step(1, 5, 50),  # At 12: main, now the least recent.
            step_same(1, 0),  # a second token of the same answer
        )
    )
    entry = EntrySpec(0, [b"main"], stream, file=7, line=100, new_functions=3)
    image = image_of(TableSpec([one_block([entry], FUNCTIONS, size=16)]))
    assert stretches(image, BASE, BASE + 16) == [
        (0, ["fs/main.c:100"]),
        (2, ["lib/c.h:22 two", "include/b.h:11 one", "fs/main.c:103"]),
        (5, ["include/b.h:12 one", "fs/main.c:103"]),
        (6, ["include/b.h:7 one", "fs/main.c:103"]),
        (8, ["lib/\udcff.c:26 three", "fs/main.c:102"]),
        (10, ["lib/c.h:20 two", "lib/\udcff.c:26 three", "fs/main.c:102"]),
        (11, ["include/b.h:11 one", "lib/c.h:25 two", "lib/\udcff.c:26 three", "fs/main.c:102"]),
        (12, ["fs/main.c:150"]),
    ]


def test_a_call_may_be_in_another_file_than_what_it_is_in() -> None:
    stream = step_same(0, 0) + enter_files(4, 0, [(0, 0, 1), (0, 1, 5), (0, 3 + 1, 6)], 7)
    entry = EntrySpec(0, [b"main"], stream, file=7, line=100, new_functions=3)
    image = image_of(TableSpec([one_block([entry], FUNCTIONS, size=8)]))
    assert stretches(image, BASE, BASE + 8)[1:] == [
        (4, ["lib/\udcff.c:37 three", "lib/\udcff.c:26 two", "fs/a.c:15 one", "fs/main.c:101"]),
    ]


def test_elsewhere_nothing_and_what_comes_before_the_first_token() -> None:
    stream = b"".join(
        (
            elsewhere(1, 0, 2, 77),  # first a row in another file: the function's last line stays
            enter_one(1, 0, 4, 0),
            elsewhere(1, 1, 0, 5),
            step_same(1, 1),
            nothing(1),
            step(1, 1, 2),
            nothing(1),
        )
    )
    entry = EntrySpec(0, [b"main"], stream, file=7, line=100, new_functions=1)
    image = image_of(TableSpec([one_block([entry], FUNCTIONS, size=9)]))
    assert stretches(image, BASE, BASE + 9) == [
        (0, []),
        (1, ["lib/c.h:77"]),
        (2, ["include/b.h:10 one", "fs/main.c:104"]),
        (3, ["fs/a.c:5"]),
        (4, ["fs/main.c:101"]),
        (5, []),
        (6, ["include/b.h:12 one", "fs/main.c:104"]),
        (7, []),
    ]
    assert list(image.rows()) == [
        (BASE + 1, "lib/c.h", 77),
        (BASE + 2, "include/b.h", 10),
        (BASE + 3, "fs/a.c", 5),
        (BASE + 4, "fs/main.c", 101),
        (BASE + 5, "", 0),
        (BASE + 6, "include/b.h", 12),
        (BASE + 7, "", 0),
    ]


def test_lines_and_distances_may_be_large() -> None:
    stream = step_same(0, 0) + step_same(1 << 40, 1 << 50) + step_same(5, -(1 << 50))
    entry = EntrySpec(0, [b"main"], stream, file=7, line=1 << 33)
    image = image_of(TableSpec([one_block([entry], size=1 << 41)]))
    for distance, line in ((0, 1 << 33), ((1 << 40) - 1, 1 << 33), (1 << 40, (1 << 50) + (1 << 33)), (1 << 41, 0)):
        if line:
            assert chain(image, BASE + distance) == [f"fs/main.c:{line}"]
        else:
            assert image.symbol_at(LinkAddr(BASE + distance)) is None


def test_distances_count_in_units_of_the_shift() -> None:
    entries = [
        EntrySpec(0, [b"first"], step_same(1, 0) + step_same(2, 1), 7, 100),
        EntrySpec(5, [b"second"], step_same(0, 0), 0, 3),
    ]
    image = image_of(TableSpec([one_block(entries, size=0x20, numbers={"shift": 2})]))
    assert stretches(image, BASE, BASE + 0x20) == [
        (0, []),
        (4, ["fs/main.c:100"]),
        (12, ["fs/main.c:101"]),
        (20, ["fs/a.c:3"]),
    ]
    assert image.find(b"second") == (symbol(b"second", BASE + 20, 12),)
    assert list(image.rows())[:2] == [(BASE + 4, "fs/main.c", 100), (BASE + 12, "fs/main.c", 101)]


def test_a_block_ends_where_the_next_begins_in_units_of_the_shift() -> None:
    """The last function of each block: its end is told by the index of blocks, or by the end of the image."""
    bodies = [block_body([EntrySpec(0, [name], step_same(0, 0), 7, 1)]) for name in (b"first", b"second")]
    spec = one_block([EntrySpec(0, [b"first"]), EntrySpec(0, [b"second"])], size=0x40, numbers={"shift": 2})
    image = image_of(TableSpec([spec._replace(blocks=[BlockSpec(0, 0, bodies[0]), BlockSpec(6, 1, bodies[1])])]))
    assert image.find(b"first") == (symbol(b"first", BASE, 24),)
    assert image.find(b"second") == (symbol(b"second", BASE + 24, 40),)
    assert image.symbol_at(LinkAddr(BASE + 23)) == symbol(b"first", BASE, 24)
    assert image.symbol_at(LinkAddr(BASE + 24)) == symbol(b"second", BASE + 24, 40)
    assert image.damage == []


@pytest.mark.parametrize("lines", [-1, -64, -65, -128, -8192, -8193, -70_000, 63, 64, 8191, 8192, 70_000])
def test_numbers_of_lines_have_a_sign_however_long_they_are(lines: int) -> None:
    """In each token that holds one: a step, a step of an older call, and the line and the place of a call."""
    functions = [(b"helper", 1, 100_000), (b"inner", 1, 100_000)]
    stream = (
        step_same(0, 0)
        + step_same(1, lines)
        + enter_one(1, 0, lines, lines)
        + step(1, 1, -lines)
        + enter(1, 0, [(0, lines)], lines)
    )
    entry = EntrySpec(0, [b"main"], stream, file=7, line=100_000, new_functions=2)
    image = image_of(TableSpec([one_block([entry], functions, size=8)]))
    there, back = 100_000 + lines, 100_000
    assert stretches(image, BASE, BASE + 8) == [
        (0, ["fs/main.c:100000"]),
        (1, [f"fs/main.c:{there}"]),
        (2, [f"include/b.h:{there} helper", f"fs/main.c:{there + lines}"]),
        (3, [f"fs/main.c:{back}"]),
        (4, [f"include/b.h:{there} inner", f"fs/main.c:{back + lines}"]),
    ]


def test_without_chains_a_call_is_a_file() -> None:
    stream = step_same(0, 0) + enter_one(2, 0, 0, 5) + step(2, 1, 2) + step(2, 1, 1)
    entry = EntrySpec(0, [b"main"], stream, file=7, line=100, new_functions=1)
    image = image_of(TableSpec([one_block([entry], [(b"", 1, 10)], size=8, numbers={"flags": 0})]))
    assert not image.has_chains
    assert stretches(image, BASE, BASE + 8) == [
        (0, ["fs/main.c:100"]),
        (2, ["include/b.h:15"]),
        (4, ["fs/main.c:102"]),
        (6, ["include/b.h:16"]),
    ]


def test_a_name_counts_the_functions_met_in_the_entries_before() -> None:
    """Also where the block is the second, and the names are of several blocks."""
    first = [EntrySpec(0, [b"a"], enter(0, 0, [(0, 0), (0, 0)], 0), 7, 1, new_functions=2)]
    second = [
        EntrySpec(0, [b"b"], enter_one(0, 0, 0, 0), 7, 2, new_functions=1),
        EntrySpec(4, [b"c"], enter_one(0, 0, 0, 0) + enter(1, 1, [(8, 0)], 0) + enter_one(1, 1, 0, 0), 7, 3, 1),
    ]
    spec = ImageSpec(
        numbers={"first": BASE, "end": BASE + 12, "functions_a_block": 3, "paths_a_block": 2},
        sections=[(b".text", 0, 12)],
        blocks=[BlockSpec(0, 0, block_body(first)), BlockSpec(4, 1, block_body(second, 2))],
        names=[names_body(FUNCTIONS[:3]), names_body(FUNCTIONS[3:])],
        paths=[b"\n".join(PATHS[start : start + 2]) for start in range(0, 8, 2)],
        fingerprints=fingerprints([b"a", b"b", b"c"]),
    )
    image = image_of(TableSpec([spec]))
    assert chain(image, BASE) == ["lib/c.h:20 two", "include/b.h:10 one", "fs/main.c:1"]
    assert chain(image, BASE + 4) == ["lib/\udcff.c:30 three", "fs/main.c:2"]
    assert chain(image, BASE + 8) == ["fs/a.c:40 four", "fs/main.c:3"]
    assert chain(image, BASE + 9) == ["include/b.h:10 one", "fs/main.c:3"]  # 8 / 2 = 4 back from the fifth: the first
    assert chain(image, BASE + 10) == ["include/b.h:10 one", "include/b.h:10 one", "fs/main.c:3"]
    assert [found.address for name in (b"a", b"b", b"c") for found in image.find(name)] == [BASE, BASE + 4, BASE + 8]


def test_columns_may_be_wider_than_their_numbers_need() -> None:
    entry = EntrySpec(0, [b"main"], step_same(0, 0), 7, 100)
    body = block_body([entry])
    narrow, wide = column([100]), column([100], width=8)
    assert body.count(narrow) == 1
    spec = one_block([entry], size=8)
    image = image_of(TableSpec([spec._replace(blocks=[BlockSpec(0, 0, body.replace(narrow, wide))])]))
    assert chain(image, BASE) == ["fs/main.c:100"]


# --- symbols -----------------------------------------------------------------------------------------------------


def test_several_symbols_may_begin_at_one_address_and_one_name_at_several() -> None:
    entries = [
        EntrySpec(0, [b"best", b"alias", b"twice"], step_same(0, 0), 7, 1),
        EntrySpec(8, []),
        EntrySpec(4, [b"twice", b"twic"], step_same(0, 0), 7, 9),
    ]
    image = image_of(TableSpec([one_block(entries, size=0x20)]))
    for name in (b"best", b"alias"):
        assert image.find(name) == (symbol(name, BASE, 8),)
    assert image.find(b"twice") == (symbol(b"twice", BASE, 8), symbol(b"twice", BASE + 12, 0x14))
    assert image.find(b"twic") == (symbol(b"twic", BASE + 12, 0x14),)
    for name in (b"", b"wice", b"twice\0twic", b"best\0alias", b"unknown", b"alias\ntwice"):
        assert image.find(name) == (), name
    at = [image.symbol_at(LinkAddr(BASE + distance)) for distance in (-1, 0, 7, 8, 11, 12, 0x1F, 0x20)]
    assert [found.name if found else None for found in at] == [
        None, b"best", b"best", None, None, b"twice", b"twice", None
    ]  # fmt: skip
    assert image.chain(LinkAddr(BASE + 3), image.find(b"alias")[0]) == (Location("fs/main.c", 1, "", inlined=False),)
    assert image.chain(LinkAddr(BASE + 3), image.find(b"twic")[0]) == ()  # of another symbol
    assert image.chain(LinkAddr(BASE + 8), image.find(b"best")[0]) == ()  # behind it


def test_code_outside_every_section_has_no_symbol() -> None:
    spec = one_block([EntrySpec(0, [b"main"], step_same(0, 0), 7, 1)], size=0x20)
    image = image_of(TableSpec([spec._replace(sections=[(b".text", 0, 8), (b".init", 16, 4)])]))
    assert [bool(image.symbol_at(LinkAddr(BASE + place))) for place in (0, 7, 8, 15, 16, 19, 20)] == [
        True, True, False, False, True, True, False
    ]  # fmt: skip


def test_sizes_that_do_not_follow_from_the_next_entry() -> None:
    entries = [EntrySpec(0, [b"a", b"b"], step_same(0, 0), 7, 1), EntrySpec(0x10, [b"last"], step_same(0, 0), 7, 2)]
    extras = extra_sizes(0, 1, 12, [0x10, 0x400]) + extra_sizes(1, 0, 5, [6, 0x1000, 0x4000], ends_section=True)
    image = image_of(TableSpec([one_block(entries, size=0x20, extras=extras)]))
    assert image.find(b"a") == (symbol(b"a", BASE, 0x10),)
    assert image.find(b"b") == (symbol(b"b", BASE, 0x10)._replace(sizes=(0x10, 0x400), st_size=12),)
    assert image.find(b"last") == (
        symbol(b"last", BASE + 0x10, 6)._replace(sizes=(6, 0x1000, 0x4000), st_size=5, ends_section=True),
    )
    assert [bool(image.symbol_at(LinkAddr(BASE + place))) for place in (0x15, 0x16)] == [True, False]


def test_direct_calls_of_functions_of_one_name() -> None:
    entries = [EntrySpec(0, [b"a"], b""), EntrySpec(0x10, [b"a"], b"")]
    extras = extra_calls(0, [(5, 0x10), (0x10, -0x800)]) + extra_calls(1, [(5, 0)])
    image = image_of(TableSpec([one_block(entries, size=0x20, extras=extras)]))
    targets = {place: image.call_target(LinkAddr(BASE + place)) for place in range(-8, 0x28)}
    assert {place: target for place, target in targets.items() if target is not None} == {
        5: BASE + 0x10, 0x10: BASE - 0x800, 0x15: BASE
    }  # fmt: skip


@pytest.mark.parametrize("bits", [0, 1, 5])
def test_names_of_data_are_known_by_their_fingerprints(bits: int) -> None:
    variables = [b"jiffies", b"init_task", *(b"variable%d" % number for number in range(40))]
    spec = one_block([EntrySpec(0, [b"main", b"init_task"])])._replace(data=data_fingerprints(variables, bits))
    image = image_of(TableSpec([spec]))
    for name in variables:
        (found,) = image.find(name)
        assert found.is_code == (name == b"init_task")  # code of that name comes first
        assert found.name == name
    assert [image.find(b"unknown%d" % number) for number in range(200)] == [()] * 200
    assert image.find(b"main") == (symbol(b"main", BASE, 0x100),)
    assert image.damage == []


def test_places_of_modules_have_a_section_and_an_offset() -> None:
    spec = one_block([EntrySpec(0, [b"main"])], size=0x40)._replace(
        kind=MODULE, name=b"mod", sections=[(b".text", 0, 0x20), (b".init.text", 0x20, 0x20)]
    )
    image = image_of(TableSpec([spec]))
    assert image.is_module
    assert image.name == b"mod"
    places = [image.section_of(LinkAddr(BASE + place)) for place in (-1, 0, 0x1F, 0x20, 0x3F, 0x40)]
    assert places == [None, (".text", 0), (".text", 0x1F), (".init.text", 0), (".init.text", 0x1F), None]
    assert image.address_in(".init.text", 0x20) == BASE + 0x40
    assert image.address_in(".init.text", 0x21) is None
    assert image.address_in(".data", 0) is None
    assert image_of(TableSpec([spec._replace(kind=KERNEL)])).section_of(LinkAddr(BASE)) is None


# --- files -------------------------------------------------------------------------------------------------------


def several() -> TableSpec:
    """A kernel, a module in two builds, another module, a MAINTAINERS file; each has ``func`` at a line of its own."""
    images = []
    kinds = (
        (KERNEL, b"", b"\1" * 20),
        (MODULE, b"mod", b"\2" * 20),
        (MODULE, b"mod", b"\3" * 8),
        (MODULE, b"xfs", b""),
    )
    for number, (kind, name, build_id) in enumerate(kinds):
        spec = one_block([EntrySpec(0, [b"func"], step_same(0, 0), 7, 10 + number)])
        images.append(
            spec._replace(
                kind=kind, name=name, build_id=build_id, release=b"6.%d" % number, architecture=b"arm64",
                source=b"file%d" % number, numbers={**spec.numbers, "flags": CHAINS | (PARTIAL if number == 3 else 0)},
            )
        )  # fmt: skip
    return TableSpec([*images, ImageSpec(kind=MAINTAINERS, text=b"XFS\nM:\tSomebody\n")])


def test_images_are_found_by_kind_and_name() -> None:
    file = TableFile(write_table(several()), "table")
    assert file.count == 5
    assert [(record.kind, record.name, record.build_id) for record in file.records()] == [
        (0, b"", "01" * 20), (1, b"mod", "02" * 20), (1, b"mod", "03" * 8), (1, b"xfs", ""), (2, b"", "")
    ]  # fmt: skip
    found = {
        (kind, name): [TableImage(file, record) for record in file.find(kind, name)]
        for kind, name in ((KERNEL, b""), (MODULE, b"mod"), (MODULE, b"xfs"), (MODULE, b""), (MODULE, b"mo"), (3, b""))
    }
    assert [len(images) for images in found.values()] == [1, 2, 1, 0, 0, 0]
    images = [image for each in found.values() for image in each]
    assert [chain(image, BASE) for image in images] == [[f"fs/main.c:{10 + number}"] for number in range(4)]
    assert [image.release for image in images] == ["6.0", "6.1", "6.2", "6.3"]
    assert [image.made_from for image in images] == ["file0", "file1", "file2", "file3"]
    assert {image.arch for image in images} == {"arm64"}
    assert [image.is_module for image in images] == [False, True, True, True]
    assert [image.is_partial for image in images] == [False, False, False, True]
    (maintainers,) = file.find(MAINTAINERS, b"")
    assert file.text(maintainers) == file.maintainers() == b"XFS\nM:\tSomebody\n"
    assert TableFile(write_table(TableSpec([])), "table").maintainers() is None


def test_the_writer_puts_images_in_the_order_of_the_directory() -> None:
    entry = Entry(LinkAddr(BASE), (symbol(b"func", BASE, 0x20),))
    wanted = [("", "aa" * 20), ("a_b", "00" * 20), ("a_b", "ff" * 20), ("ab", ""), ("zz", "11" * 20)]
    writer = FileWriter([])
    parts = [bytes(FileWriter.HEADER_SIZE), *writer.add(encode_maintainers(b"text"))]
    for name, build_id in reversed(wanted):
        one = contents([example_tokens()], [entry], name=name, build_id=build_id, is_module=bool(name))
        parts += writer.add(encode_image(one, []))
    directory, header = writer.finish()
    file = TableFile(header + b"".join([*parts, directory])[len(header) :], "table")
    *images, last = file.records()
    assert [(record.name.decode(), record.build_id) for record in images] == wanted
    assert file.text(last) == b"text"
    assert [chain(TableImage(file, record), BASE) for record in images] == [["fs/main.c:100"]] * 5


def test_a_file_may_have_no_images_and_an_image_no_code() -> None:
    file = TableFile(write_table(TableSpec()), "table")
    assert list(file.records()) == []
    assert list(file.find(KERNEL, b"")) == []
    image = image_of(TableSpec([ImageSpec()]))
    assert image.find(b"x") == ()
    assert image.symbol_at(LinkAddr(0)) is None
    assert list(image.rows()) == []
    assert image.damage == []


# --- four errors, and none of the others -------------------------------------------------------------------------


def test_another_version_is_named() -> None:
    for version in (0, 2, 0xFFFF):
        with pytest.raises(UnsupportedFileError, match=rf"table: expected .* version 1, found version {version}"):
            TableFile(write_table(several()._replace(lies={"version": version})), "table")


def test_the_other_byte_order_is_named() -> None:
    data = bytearray(write_table(several()))
    data[8:12] = b"\xfe\xff\x00\x01"
    with pytest.raises(UnrecognisedFileError, match="the bytes the other way round"):
        TableFile(bytes(data), "table")


@pytest.mark.parametrize("data", [b"", b"\x7fELF" + bytes(60), b"\x93LNINFO", b"\x93LNINFO\r\n" + bytes(50), bytes(99)])
def test_what_is_no_table_is_named(data: bytes) -> None:
    with pytest.raises(UnrecognisedFileError, match="found something else"):
        TableFile(data, "table")


def test_a_file_cut_off_anywhere_or_with_more_behind_it_is_told() -> None:
    data = write_table(several())
    for size in range(8, len(data)):
        with pytest.raises(DamagedFileError, match=f"found {size}, it was cut off"):
            TableFile(data[:size], "table")
    for size in range(8):
        with pytest.raises(UnrecognisedFileError):
            TableFile(data[:size], "table")
    with pytest.raises(DamagedFileError, match="added to"):
        TableFile(data + b"\0", "table")


@pytest.mark.parametrize(("place", "words"), [(16, "a header"), (44, "a header"), (-1, "a directory")])
def test_damage_is_told(place: int, words: str) -> None:
    data = bytearray(write_table(several()))
    data[place] ^= 0x10
    with pytest.raises(DamagedFileError, match=f"table: damaged at offset .*{words} with the checksum"):
        TableFile(bytes(data), "table")


# --- the golden file ---------------------------------------------------------------------------------------------


def answers(image: TableImage) -> list[str]:
    """Symbols, chains where they change, and rows, as text."""
    lines = []
    last = ""
    for address in range(image.head.first, image.head.end):
        at = image.symbol_at(LinkAddr(address))
        here = "nothing"
        if at is not None:
            if at.address == address:
                lines.append(f"{address:#x} {at.name.decode()} {at.sizes} of {at.st_size}, ends: {at.ends_section}")
            locations = image.chain(LinkAddr(address), at)
            here = " < ".join(f"{each.file}:{each.line} {each.function}".rstrip() for each in locations)
        if here != last:
            lines.append(f"{address:#x} {here}")
            last = here
    return lines + [f"row {address:#x} {file}:{line}" for address, file, line in image.rows()]


def test_the_golden_file_is_what_is_built(*, update_golden: bool, tmp_path: Path) -> None:
    """Another zlib may pack otherwise; then the inflated bytes must be the same."""
    output = tmp_path / "new.lineinfo"
    build(list(sources_in(str(GOLDEN_SOURCE))), str(output), Options(jobs=1), lambda _done, _total: None)
    if update_golden:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_bytes(output.read_bytes())
    old, new = GOLDEN.read_bytes(), output.read_bytes()
    assert read_table(new) == read_table(old)
    if zlib.ZLIB_RUNTIME_VERSION.startswith("1.") and "ng" not in zlib.ZLIB_RUNTIME_VERSION:
        assert new == old


def test_the_golden_file_answers_as_it_always_has(*, update_golden: bool) -> None:
    data = GOLDEN.read_bytes()
    file = TableFile(data, "golden")
    (record,) = file.records()
    image = TableImage(file, record)
    assert (record.name, record.kind, image.arch) == (b"gcc_native", MODULE, "x86_64")
    found = "".join(f"{line}\n" for line in answers(image))
    if update_golden:
        GOLDEN.with_suffix(".answers").write_text(found)
    assert found == GOLDEN.with_suffix(".answers").read_text()
    assert len(found.splitlines()) > 200
    assert image.damage == []


def test_errors_of_a_table_can_be_sent_between_processes() -> None:
    """``lineinfo build`` gets them from its workers."""
    with pytest.raises(AnnotateError) as caught:
        TableFile(b"\x93LNINFO\n" + bytes(60), "table")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), type(again), again.source) == (str(caught.value), DamagedFileError, "table")
