"""What the reader of our tables keeps for the next look-up: within bounds, and no answer depends on it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from table_writer import (
    BlockSpec,
    EntrySpec,
    ImageSpec,
    TableSpec,
    block_body,
    enter_one,
    fingerprints,
    names_body,
    step,
    step_same,
    write_table,
)
from test_lineinfo_v1 import BASE, PATHS, image_of, one_block

from annotate.model import LinkAddr
from annotate.tables.lineinfo_v1 import TableFile, TableImage
from annotate.tables.lineinfo_v1 import image as image_module
from annotate.tables.lineinfo_v1.fingerprints import FEW, NAMES_FOR_INDEX, Fingerprints
from annotate.tables.lineinfo_v1.kept import Kept

if TYPE_CHECKING:
    from annotate.model import Location, Symbol

BLOCKS, SIZE = 60, 0x10


def many_blocks() -> TableSpec:
    """Two functions a block, each with a call of a function of its own block of names and path; one name is twice."""
    blocks: list[BlockSpec] = []
    names: list[bytes] = []
    for number in range(BLOCKS):
        both = [[b"first%d" % number, b"alias"] if number % 20 == 0 else [b"first%d" % number], [b"second%d" % number]]
        entries = [
            EntrySpec(8 * place, some, step_same(0, 0) + enter_one(2, 0, 1, 1) + step(3, 1, 2), number, 100 + number, 1)
            for place, some in enumerate(both)
        ]
        blocks.append(BlockSpec(SIZE * number, len(names), block_body(entries, 2 * number)))
        names += [name for some in both for name in some]
    functions = [(b"inlined%d" % number, number // 2, 10 * number) for number in range(2 * BLOCKS)]
    spec = ImageSpec(
        numbers={"first": BASE, "end": BASE + SIZE * BLOCKS, "functions_a_block": 2, "paths_a_block": 1},
        sections=[(b".text", 0, SIZE * BLOCKS)],
        blocks=blocks,
        names=[names_body(functions[start : start + 2]) for start in range(0, 2 * BLOCKS, 2)],
        paths=[b"file%d.c" % number for number in range(BLOCKS)],
        fingerprints=fingerprints(names),
    )
    return TableSpec([spec])


NAMES = [b"alias", *(word + b"%d" % number for number in range(BLOCKS) for word in (b"first", b"second"))]


def with_bound(data: bytes, most: int) -> tuple[TableFile, TableImage]:
    file = TableFile(data, "table")
    file.blocks.most = file.names.most = file.paths.most = most
    return file, TableImage(file, file.record(0))


Answer = tuple["Symbol | None", "tuple[Location, ...]", "LinkAddr | None"]


def ask(image: TableImage, address: int) -> Answer:
    at = image.symbol_at(LinkAddr(address))
    chain = image.chain(LinkAddr(address), at) if at is not None else ()
    return at, chain, image.call_target(LinkAddr(address))


@pytest.mark.parametrize("most", [0, 1, 5000, 1 << 30])
def test_a_table_of_more_blocks_than_are_kept_gives_the_same_answers(most: int) -> None:
    data = write_table(many_blocks())
    addresses = list(range(BASE, BASE + SIZE * BLOCKS))
    _, fresh = with_bound(data, 1 << 30)
    expected = {address: ask(fresh, address) for address in addresses}
    expected_symbols = {name: fresh.find(name) for name in NAMES}
    assert [len(symbols) for symbols in expected_symbols.values()] == [3] + [1] * (2 * BLOCKS)
    at, chain, _ = expected[BASE + SIZE * 7 + 8 + 2]
    assert at is not None
    assert (at.name, at.address, at.size) == (b"second7", BASE + SIZE * 7 + 8, 8)
    assert [(each.file, each.line, each.function) for each in chain] == [
        ("file7.c", 151, "inlined15"), ("file7.c", 108, "")
    ]  # fmt: skip
    file, image = with_bound(data, most)
    generator = random.Random(1)
    for _ in range(2):
        generator.shuffle(addresses)
        image.prepare(NAMES)
        assert {address: ask(image, address) for address in addresses} == expected
        assert {name: image.find(name) for name in NAMES} == expected_symbols
    assert list(image.rows()) == list(fresh.rows())
    assert image.damage == []
    kept = file.blocks, file.names, file.paths
    assert [each.count for each in kept] == ([BLOCKS] * 3 if most == 1 << 30 else [each.count for each in kept])
    assert all(each.size <= most or each.count == 1 for each in kept)


@pytest.mark.parametrize("most", [0, 1 << 30])
def test_a_damaged_block_costs_its_own_answers_and_is_named_once(most: int) -> None:
    data = bytearray(write_table(many_blocks()))
    _, fresh = with_bound(bytes(data), 1 << 30)
    expected = {address: ask(fresh, address) for address in range(BASE, BASE + SIZE * BLOCKS)}
    data[fresh._starts[0] + fresh._block_offsets[7] + 3] ^= 1
    _, image = with_bound(bytes(data), most)
    damaged = range(BASE + SIZE * 7, BASE + SIZE * 8)
    for _ in range(3):
        for address, answer in expected.items():
            assert ask(image, address) == ((None, (), None) if address in damaged else answer)
        assert [len(image.find(name)) for name in (b"first7", b"second7", b"first8", b"alias")] == [0, 0, 1, 3]
    (error,) = image.damage
    assert "a block with the checksum that it should have" in str(error)


def test_blocks_of_several_images_are_kept_apart_and_bounded_together() -> None:
    specs = [
        one_block([EntrySpec(0, [b"func"], step_same(0, 0), 7, 10 + number)])._replace(release=b"%d" % number)
        for number in range(5)
    ]
    file = TableFile(write_table(TableSpec(specs)), "table")
    images = [TableImage(file, record) for record in file.records()]
    for most, count in ((1 << 30, 5), (0, 1)):
        file.blocks.most = most
        for _ in range(2):
            for number, image in enumerate(images):
                (found,) = image.find(b"func")
                assert [each.line for each in image.chain(found.address, found)] == [10 + number]
        file.blocks.add(-1, images[0]._block(0), 0)
        assert file.blocks.count == count + (most > 0)


def test_what_was_asked_for_longest_ago_is_dropped_first() -> None:
    kept: Kept[str] = Kept(10)
    kept.add(1, "one", 4)
    kept.add(2, "two", 4)
    assert kept.get(1) == "one"
    kept.add(3, "three", 4)
    assert [kept.get(place) for place in (1, 2, 3, 4)] == ["one", None, "three", None]
    assert (kept.size, kept.count) == (8, 2)
    kept.add(4, "large", 100)
    assert [kept.get(place) for place in (1, 3, 4)] == [None, None, "large"]
    kept.add(5, "small", 1)
    assert (kept.get(4), kept.get(5), kept.size, kept.count) == (None, "small", 1, 1)


def test_more_names_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "MOST_FOUND", 3)
    image = image_of(many_blocks())
    for _ in range(2):
        for name in NAMES:
            assert [found.name for found in image.find(name)] == [name] * (3 if name == b"alias" else 1)
            assert image.find(name + b"x") == ()


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [b"", b"\1"])
def test_an_index_of_fingerprints_finds_what_a_search_finds(odd: bytes) -> None:
    names = [b"name%d" % number for number in range(400)]
    generator = random.Random(1)
    order = [generator.choice(names) for _ in range(FEW)]
    data = fingerprints(order)
    searching, indexed = Fingerprints(data + odd), Fingerprints(data + odd)
    indexed.expect(NAMES_FOR_INDEX)
    places: dict[bytes, list[int]] = {name: [] for name in names}
    for place, name in enumerate(order):
        places[name].append(place)
    for name in names[:NAMES_FOR_INDEX]:
        found = searching.places(name)
        assert found == indexed.places(name)
        assert set(places[name]) <= set(found)
    assert (searching.has_index, indexed.has_index) == (False, True)
    for name in names:
        assert searching.places(name) == indexed.places(name)
    assert searching.has_index
    assert indexed.places(b"no such name") == []


def test_few_fingerprints_need_no_index() -> None:
    some = Fingerprints(fingerprints([b"a", b"b", b"a"]))
    some.expect(10_000)
    assert [some.places(name) for name in (b"a", b"b", b"c")] == [[0, 2], [1], []]
    assert not some.has_index
    assert Fingerprints(b"").places(b"a") == []


def test_a_name_is_found_whole_wherever_it_stands() -> None:
    entries = [
        EntrySpec(0, [b"foo_foo_foo", b"foo"], step_same(0, 0), 7, 1),
        EntrySpec(8, [b"xfoo", b"foox", b"foo_foo"], step_same(0, 0), 7, 2),
        EntrySpec(8, [], step_same(0, 0), 7, 3),
        EntrySpec(8, [b"foo"], step_same(0, 0), 7, 4),
    ]
    image = image_of(TableSpec([one_block(entries, size=0x20)]))
    found = {name: [each.address - BASE for each in image.find(name)] for name in (b"foo", b"foo_foo", b"xfoo", b"oo")}
    assert found == {b"foo": [0, 24], b"foo_foo": [8], b"xfoo": [8], b"oo": []}
    # Neither is a name, whatever the fingerprints say.
    lies = fingerprints([b"", b"foo\nfoo", b"xfoo\0foox", b"foo"])
    spec = one_block(entries, size=0x20)._replace(fingerprints=lies)
    image = image_of(TableSpec([spec]))
    assert [image.find(name) for name in (b"", b"foo\nfoo", b"xfoo\0foox")] == [(), (), ()]
    assert len(image.find(b"foo")) == 2


def test_damaged_fingerprints_are_named_once() -> None:
    spec = one_block([EntrySpec(0, [b"main"], step_same(0, 0), 7, 1)])
    data = bytearray(write_table(TableSpec([spec])))
    file = TableFile(bytes(data), "table")
    data[TableImage(file, file.record(0))._starts[3]] ^= 1
    file = TableFile(bytes(data), "table")
    image = TableImage(file, file.record(0))
    image.prepare(iter([b"main", b"other"]))
    assert (image.find(b"main"), image.find(b"other")) == ((), ())
    image.prepare([b"main"])
    (error,) = image.damage
    assert "the fingerprints with the checksum" in str(error)
    at = image.symbol_at(LinkAddr(BASE))
    assert at is not None
    assert [each.file for each in image.chain(at.address, at)] == [PATHS[7].decode()]


def test_a_stream_does_not_read_on_in_the_next_one() -> None:
    """Its last token is cut off where the next stream begins."""
    entries = [
        EntrySpec(0, [b"first"], step_same(0, 0) + enter_one(2, 0, 1, 1)[:-1], 7, 1),
        EntrySpec(8, [b"second"], step_same(0, 0), 7, 2),
    ]
    image = image_of(TableSpec([one_block(entries, [(b"one", 1, 10)], size=0x10)]))
    first, second = (image.find(name)[0] for name in (b"first", b"second"))
    assert [each.line for each in image.chain(LinkAddr(BASE + 1), first)] == [1]
    assert image.damage == []
    assert image.chain(LinkAddr(BASE + 2), first) == ()
    assert [each.line for each in image.chain(LinkAddr(BASE + 9), second)] == [2]
    assert len(image.damage) == 1
    assert "a token that is cut off" in str(image.damage[0])
