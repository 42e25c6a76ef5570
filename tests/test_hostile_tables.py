"""Tables that lie: damage is detected, and what has good checksums all the same does no harm."""

from __future__ import annotations

import os
import random
import sys
import zlib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import table_writer
from dwarf_writer import uleb
from hypothesis import given, settings
from hypothesis import strategies as st
from table_writer import (
    MAINTAINERS,
    BlockSpec,
    EntrySpec,
    ImageSpec,
    TableSpec,
    block_body,
    codes,
    data_fingerprints,
    elsewhere,
    enter,
    enter_files,
    enter_one,
    extra_calls,
    extra_sizes,
    names_body,
    nothing,
    step,
    step_same,
    write_table,
)
from test_lineinfo_v1 import BASE, FUNCTIONS, PATHS, image_of, one_block, several

sys.path.insert(0, str(Path(__file__).parent.parent))

from annotate.errors import AnnotateError
from annotate.kernel.build import Options, build, sources_in
from annotate.model import LinkAddr
from annotate.tables.lineinfo_v1 import TableFile, TableImage
from fuzz import tables
from fuzz.cases import Failure, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOLDEN = Path(__file__).parent / "fixtures" / "tables" / "gcc-native.lineinfo"
CASES = 1500
SEED = 1


def small() -> TableSpec:
    """Everything the format has: two blocks, nested calls, extras, names of data, a module, MAINTAINERS."""
    stream = step_same(0, 0) + b"\0" + enter(2, 0, [(0, 1), (0, 2)], 3) + b"\1" + elsewhere(1, 0, 0, 9) + nothing(1)
    first = [
        EntrySpec(0, [b"first", b"alias"], stream, 7, 100, 2),
        EntrySpec(0x10, [], step_same(0, 0), 7, 3),
    ]
    second = [
        EntrySpec(0, [b"second"], enter_one(0, 3, 0, 0) + enter_files(2, 1, [(4, 1, 1)], 1), 0, 7),
        EntrySpec(0x10, [b"third"], step(0, 0, 2), 7, 9),
    ]
    extras = extra_sizes(0, 1, 3, [9, 12]) + extra_calls(0, [(5, 0x40)])
    kernel = ImageSpec(
        numbers={"first": BASE, "end": BASE + 0x60},
        sections=[(b".text", 0, 0x58), (b".init.text", 0x58, 8)],
        blocks=[
            BlockSpec(0, 0, block_body(first, 0, extras)),
            BlockSpec(0x30, 2, block_body(second, 2, extra_sizes(1, 0, 5, [6, 0x400], ends_section=True))),
        ],
        names=[names_body(FUNCTIONS)],
        paths=[b"\n".join(PATHS)],
        fingerprints=b"".join(
            (zlib.crc32(name) & 0xFFFF).to_bytes(2, "little") for name in (b"first", b"alias", b"second", b"third")
        ),
        data=data_fingerprints([b"jiffies", b"init_task"], 1),
        release=b"6.1",
    )
    module = several().images[1]
    return TableSpec([kernel, module, ImageSpec(kind=MAINTAINERS, text=b"XFS\n" * 20)], codes([(2, 0, 1), (1, 1, -1)]))


def single_flips(data: bytes, bits: range) -> Iterator[tuple[int, bytes]]:
    for place in range(len(data)):
        for bit in bits:
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            yield place, bytes(flipped)


# --- damage ------------------------------------------------------------------------------------------------------


def test_each_flipped_bit_of_a_small_table_is_detected_or_changes_no_answer() -> None:
    data = write_table(small())
    original = tables.Original(data, "small")
    count = 0
    for place, flipped in single_flips(data, range(8)):
        try:
            outcome = tables.ask_intact(flipped, original)
        except tables.WrongAnswerError as error:
            raise AssertionError(f"byte {place:#x}: {error}") from error
        assert outcome != "answers are the same", f"byte {place:#x} has no checksum"
        count += 1
    assert count == 8 * len(data)


def test_each_flipped_byte_of_the_golden_table_is_detected_or_changes_no_answer() -> None:
    data = GOLDEN.read_bytes()
    original = tables.Original(data, "golden")
    for place, flipped in single_flips(data, range(5, 6)):
        try:
            assert tables.ask_intact(flipped, original) != "answers are the same", hex(place)
        except tables.WrongAnswerError as error:
            raise AssertionError(f"byte {place:#x}: {error}") from error


def test_what_follows_a_damaged_block_has_no_rows_of_what_is_before_it() -> None:
    """Three functions in a block each; the second is damaged."""
    names = [b"first", b"second", b"third"]
    bodies = [block_body([EntrySpec(0, [name], step_same(0, 0), 7, 10 + number)]) for number, name in enumerate(names)]
    spec = one_block([EntrySpec(0, [name]) for name in names], size=0x30)
    blocks = [BlockSpec(0x10 * number, number, body) for number, body in enumerate(bodies)]
    blocks[1] = blocks[1]._replace(body=b"\1" + blocks[1].body[1:-3] + b"\xff\xff\xff")  # no token begins with 255
    image = image_of(TableSpec([spec._replace(blocks=blocks)]))
    assert list(image.rows()) == [
        (BASE, "fs/main.c", 10),
        (BASE + 0x10, "", 0),
        (BASE + 0x20, "fs/main.c", 12),
        (BASE + 0x30, "", 0),
    ]
    assert len(image.damage) == 1
    assert [len(image.find(name)) for name in names] == [1, 1, 1]
    (second,) = image.find(b"second")
    assert image.chain(second.address, second) == ()


@pytest.mark.own_process
@pytest.mark.skipif(
    not os.environ.get("LINEINFO_DEBUG_ROOT"), reason="LINEINFO_DEBUG_ROOT is not set: unpack a kernel's debug package"
)
def test_random_flips_of_a_real_table_are_covered_by_a_checksum(tmp_path: Path) -> None:
    """100 000 flips: which checksum covers the byte, and that it differs; some of them in full."""
    root = Path(os.environ["LINEINFO_DEBUG_ROOT"])
    modules = sorted(path for path in root.rglob("*.ko") if not path.is_symlink())
    if not modules:
        pytest.skip(f"no module below {root}")
    largest = max(modules, key=lambda path: path.stat().st_size)
    output = tmp_path / "real.lineinfo"
    build(list(sources_in(str(largest))), str(output), Options(jobs=1), lambda _done, _total: None)
    data = bytearray(output.read_bytes())
    pieces = list(checked_pieces(bytes(data)))
    covered = sorted((start, end) for start, end, _ in pieces)
    assert covered[0][0] == 0
    assert covered[-1][1] == len(data)
    assert all(end == start for (_, end), (start, _) in pairwise(covered))
    by_start = {start: (end, crc) for start, end, crc in pieces}
    starts = sorted(by_start)
    generator = random.Random(SEED)
    original = tables.Original(bytes(data), str(largest))
    for turn in range(100_000):
        place = generator.randrange(len(data))
        bit = 1 << generator.randrange(8)
        data[place] ^= bit
        start = starts[_at_or_before(starts, place)]
        end, crc = by_start[start]
        assert zlib.crc32(memoryview(data)[start:end]) != crc
        if turn % 1000 == 0:
            assert tables.ask_intact(bytes(data), original) != "answers are the same"
        data[place] ^= bit


def _at_or_before(starts: list[int], place: int) -> int:
    low, high = 0, len(starts)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if starts[middle] <= place else (low, middle)
    return low


def checked_pieces(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Start, end and CRC of every piece of a file that a checksum covers; the one of the header covers itself."""
    file = TableFile(data, "real")
    yield 0, 48, zlib.crc32(data[:48])  # its own CRC stands in it: a flip there is told by the rest
    directory = int.from_bytes(data[24:32], "little")
    yield directory, len(data), int.from_bytes(data[36:40], "little")
    for record in file.records():
        yield record.offset, record.offset + record.head_size, record.head_crc
        if record.kind == MAINTAINERS:
            continue
        image = TableImage(file, record)
        head, starts = image.head, image._starts
        small_blocks = (
            (starts[0], image._block_offsets[:-1], image._block_crcs, head.blocks_size),
            (starts[1], image._name_index[0::2], image._name_index[1::2], head.names_size),
            (starts[2], image._path_index[0::2], image._path_index[1::2], head.paths_size),
        )
        for start, offsets, crcs, size in small_blocks:
            for offset, end, crc in zip(offsets, [*offsets[1:], size], crcs, strict=True):
                yield start + offset, start + end, crc
        if head.fingerprints_size:
            yield starts[3], starts[3] + head.fingerprints_size, head.fingerprints_crc
        if head.data_size:
            yield starts[4], starts[4] + head.data_size, head.data_crc


# --- lies with good checksums ------------------------------------------------------------------------------------


def harmless(spec: TableSpec) -> str:
    """Open a hostile file and ask for everything, within the fuzzer's bounds of time and memory."""
    original = tables.Original(write_table(small()), "small")
    outcome = run(tables.Case(original, write_table(spec), is_repaired=True))
    assert not isinstance(outcome, Failure), outcome.text or outcome.kind
    return outcome


def with_kernel(change: Callable[[ImageSpec], ImageSpec]) -> TableSpec:
    spec = small()
    return spec._replace(images=[change(spec.images[0]), *spec.images[1:]])


def with_body(change: Callable[[bytes], bytes]) -> TableSpec:
    """The first block's inflated bytes become others."""
    return with_kernel(
        lambda image: image._replace(
            blocks=[image.blocks[0]._replace(body=change(image.blocks[0].body)), *image.blocks[1:]]
        )
    )


def with_stream(stream: bytes) -> TableSpec:
    body = block_body([EntrySpec(0, [b"first", b"alias"], stream, 7, 100, 2)])
    return with_body(lambda _: body)


def test_the_small_table_answers_when_nothing_is_changed() -> None:
    assert harmless(small()) == "answers, repaired"


@pytest.mark.parametrize("value", [0, 1, 2, 255, 1 << 16, 1 << 31, 1 << 32, 1 << 33, 1 << 60, (1 << 64) - 1])
@pytest.mark.parametrize(
    "name",
    ["flags", "shift", "first", "end", "entries", "symbols", "stretches", "functions", "paths", "blocks",
     "name_blocks", "path_blocks", "blocks_size", "names_size", "paths_size", "fingerprints_size", "data_size",
     "fingerprints_crc", "data_crc", "functions_a_block", "paths_a_block", "release", "architecture", "source"],
)  # fmt: skip
def test_numbers_of_a_head_may_be_any(name: str, value: int) -> None:
    harmless(with_kernel(lambda image: image._replace(numbers={**image.numbers, name: value})))


@pytest.mark.parametrize("value", [0, 1, 4, 1000, (1 << 16) - 1])
@pytest.mark.parametrize("name", ["images", "size", "directory", "directory_size", "strings_size"])
def test_numbers_of_the_header_may_be_any(name: str, value: int) -> None:
    harmless(small()._replace(lies={name: value}))


HUGE = b"\xff" * 9 + b"\x7f"

STREAMS = {
    "rank out of range": step(0, 1, 0),
    "rank far out of range": b"\xf1\0" + HUGE + b"\0",
    "rank of the call out of range": enter(0, 5, [(0, 0)], 0),
    "rank of elsewhere out of range": elsewhere(0, 1, 0, 1),
    "a count of 2^70": b"\xf3\0\0" + HUGE + bytes(40),
    "a name that is not there": enter_one(0, 2 * 1000 + 1, 0, 0),
    "a name far away": b"\xf2\0" + HUGE + b"\0\0",
    "a name before the first": enter_one(0, 2 * 900, 0, 0),
    "a path that is not there": elsewhere(0, 0, 1000, 1),
    "a path far away": b"\xf5\0\0" + HUGE + b"\1",
    "a file of a call that is not there": enter_files(0, 0, [(0, 1000, 0)], 0),
    "a code that is not there": b"\x80",
    "no token": b"\xf7",
    "the last byte": b"\xff",
    "a token cut off": b"\xf2\0",
    "a number without an end": b"\xf0" + b"\x80" * 20,
    "a distance of 2^70": b"\xf0" + HUGE + b"\0",
    "negative lines": step_same(0, -5000) + enter_one(1, 0, -5000, -5000),
    "calls inside each other": enter(0, 0, [(0 if number < 3 else 2, 0) for number in range(1000)], 0),
    "every call entered anew": b"".join(enter_one(0, 2 * 0 + 1, 0, 0) for _ in range(5000)),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_may_be_anything(name: str) -> None:
    harmless(with_stream(STREAMS[name]))
    harmless(with_stream(step_same(0, 0) + STREAMS[name]))


BODIES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no entries": lambda _: block_body([]),
    "a count of 2^60": lambda body: uleb(1 << 60) + body[1:],
    "a size of the text of 2^60": lambda body: body[:2] + uleb(1 << 60) + body[3:],
    "functions before: 2^60": lambda body: body[:1] + uleb(1 << 60) + body[2:],
    "cut off": lambda body: body[:-4],
    "more behind it": lambda body: body + b"\0",
    "columns of no width": lambda _: uleb(1) + b"\0" + uleb(1) + b"a" + bytes(20),
    "columns of width 255": lambda _: uleb(1) + b"\0" + uleb(1) + b"a" + (b"\xff" + b"\x80" * 255) * 5 + bytes(9),
    "columns of no width for 2^40 entries": lambda _: uleb(1 << 40) + b"\0" + uleb(1) + b"a" + bytes(20),
    "a column wider than the block": lambda _: uleb(1) + b"\0" + uleb(1) + b"a" + b"\xff" + bytes(9),
    "extras that end behind the block": lambda _: block_body([EntrySpec(0, [b"a"])], 0)[:-1] + uleb(1 << 40),
    "an extra of a kind": lambda _: block_body([EntrySpec(0, [b"a"])], 0, b"\0\7"),
    "an extra of an entry": lambda _: block_body([EntrySpec(0, [b"a"])], 0, extra_sizes(9, 0, 1, [1])),
    "an extra of a symbol": lambda _: block_body([EntrySpec(0, [b"a"])], 0, extra_sizes(0, 9, 1, [1])),
    "an extra without sizes": lambda _: block_body([EntrySpec(0, [b"a"])], 0, extra_sizes(0, 0, 1, [])),
    "an extra of 2^60 sizes": lambda _: block_body([EntrySpec(0, [b"a"])], 0, b"\0\0\0\1\0" + uleb(1 << 60)),
    "extra calls of an entry that is not there": lambda _: block_body(
        [EntrySpec(0, [b"a"])], 0, extra_calls(77, [(1, 1)])
    ),
    "entries beyond the end": lambda _: block_body([EntrySpec(0, [b"a"]), EntrySpec(1 << 30, [b"b"])]),
    "streams beyond the end": lambda body: body[:-20],
}


@pytest.mark.parametrize("name", BODIES)
def test_blocks_may_hold_anything(name: str) -> None:
    harmless(with_body(BODIES[name]))


def test_a_column_without_a_width_is_not_taken_for_one_with() -> None:
    """The specification gives n numbers of no bytes no other value than 0; the bytes behind them are not theirs."""
    body = block_body([EntrySpec(0, [b"main"], step_same(0, 0), 7, 0)])
    text = b"\1\0\4main"
    assert body.startswith(text + b"\1\0" + b"\1\3" + b"\1\7" + b"\1\0" + b"\1\0")
    narrow = text + b"\0" + b"\1\3" + b"\1\7" + b"\0" + b"\1\0" + body[len(text) + 10 :]
    spec = one_block([EntrySpec(0, [b"main"])], size=8)
    image = image_of(TableSpec([spec._replace(blocks=[BlockSpec(0, 0, narrow)])]))
    found = image.find(b"main")
    locations = image.chain(LinkAddr(BASE), found[0]) if found else ()
    assert [(each.file, each.line) for each in locations] in ([], [("fs/main.c", 0)])
    assert bool(image.damage) == (not locations)


def test_a_bomb_is_not_inflated() -> None:
    """1 GB of zeros that say they are less, as much, or more."""
    image = one_block([EntrySpec(0, [b"main"])])
    spec = TableSpec([image])
    original = tables.Original(write_table(spec), "plain")
    compressor = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(1024)) + compressor.flush()
    for claimed in (100, 1 << 20, 1 << 30, 1 << 60):
        hostile = write_packed(spec, uleb(claimed) + bomb)
        outcome = run(tables.Case(original, hostile, is_repaired=True))
        assert not isinstance(outcome, Failure), outcome.text or outcome.kind


def write_packed(spec: TableSpec, packed: bytes) -> bytes:
    """The table with these bytes as its only block, as they are."""
    marker = b"the block that is put in place of this one " * 3
    image = spec.images[0]
    plain = image._replace(blocks=[BlockSpec(0, 0, marker)])
    usual = table_writer.packed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_writer, "packed", lambda data: packed if data == marker else usual(data))
        return write_table(spec._replace(images=[plain]))


def test_a_stream_of_many_calls_takes_its_time_only_once_for_each_token() -> None:
    """3 MB of new calls: each is put in front of all others."""
    calls = enter_one(0, 1, 0, 0) * (600_000)
    harmless(with_stream(calls))


def test_steps_between_many_calls_are_bounded() -> None:
    calls = enter_one(0, 1, 0, 0) * 60_000 + step(0, 59_999, 0) * 200_000
    harmless(with_stream(calls))


def test_one_block_that_stands_for_many_is_bounded() -> None:
    """A small file whose index names a block of 16 MB again and again."""
    body = block_body([EntrySpec(0, [b"a" * 8])] * 500_000)
    image = one_block([EntrySpec(0, [b"a" * 8])])
    hostile = image._replace(blocks=[BlockSpec(number, 0, body) for number in range(30)])
    harmless(TableSpec([hostile]))


def test_damaged_blocks_are_named_and_not_read_again_and_again() -> None:
    """2 000 of them: as many as a vmlinux has."""
    image = one_block([EntrySpec(0, [b"a"])], size=2000)
    hostile = image._replace(blocks=[BlockSpec(number, 0, b"\1") for number in range(2000)])
    harmless(TableSpec([hostile]))


numbers = st.one_of(st.integers(0, 5), st.integers(0, 300), st.integers(0, 1 << 64))
differences = st.one_of(st.integers(-5, 5), st.integers(-(1 << 63), 1 << 63))
stream_tokens = st.one_of(
    st.builds(step_same, numbers, differences),
    st.builds(step, numbers, numbers, differences),
    st.builds(enter_one, numbers, numbers, differences, differences),
    st.builds(enter, numbers, numbers, st.lists(st.tuples(numbers, differences), min_size=1, max_size=9), differences),
    st.builds(
        enter_files,
        numbers,
        numbers,
        st.lists(st.tuples(numbers, numbers, differences), min_size=1, max_size=9),
        differences,
    ),
    st.builds(elsewhere, numbers, numbers, numbers, numbers),
    st.builds(nothing, numbers),
    st.binary(max_size=5),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(stream_tokens, max_size=30))
def test_any_stream_is_answered_or_named_as_damaged(some: list[bytes]) -> None:
    entry = EntrySpec(0, [b"main"], b"".join(some), 7, 100)
    image = image_of(TableSpec([one_block([entry], FUNCTIONS, size=0x40)], codes([(1, 0, 1), (2, 1, -3)])))
    at = image.symbol_at(LinkAddr(BASE))
    assert at is not None
    is_answered = {}
    for address in range(BASE, BASE + 0x40):
        before = len(image.damage)
        is_answered[address] = bool(image.chain(LinkAddr(address), at)) or len(image.damage) == before
    list(image.rows())
    assert all(is_answered.values()) or image.damage


# --- the fuzzer --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def originals() -> list[tables.Original]:
    return [tables.Original(GOLDEN.read_bytes(), str(GOLDEN)), tables.Original(write_table(small()), "small")]


def test_a_taste_of_the_fuzzer(originals: list[tables.Original]) -> None:
    damager = tables.Damager(originals, SEED)
    outcomes = set()
    for number in range(CASES):
        outcome = run(damager.case(number))
        assert not isinstance(outcome, Failure), f"case {number} of seed {SEED}: {outcome.text or outcome.kind}"
        outcomes.add(outcome)
    assert {"answers, and damage was named", "answers and damage, repaired", "answers, repaired"} <= outcomes


def test_the_fuzzer_sees_a_wrong_answer(originals: list[tables.Original], monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes every checksum for right gives wrong answers, and the fuzzer tells."""

    def read(file: TableFile, offset: int, size: int, _crc: int, _what: str) -> bytes:
        return file._data[offset : offset + size]

    monkeypatch.setattr(TableFile, "read", read)
    original = originals[0]
    kinds = set()
    for place in range(100, 500):
        data = bytearray(original.data)
        data[place] ^= 4
        outcome = run(tables.Case(original, bytes(data), is_repaired=False))
        if isinstance(outcome, Failure):
            kinds.add(outcome.kind)
    assert "WrongAnswerError" in kinds


def test_the_fuzzer_makes_a_case_from_seed_and_number_alone(originals: list[tables.Original]) -> None:
    damager = tables.Damager(originals, SEED)
    forwards = [damager.case(number).data for number in range(20)]
    assert [damager.case(number).data for number in reversed(range(20))] == forwards[::-1]
    assert tables.Damager(originals, SEED + 1).case(0).data != forwards[0]


def test_errors_while_opening_are_ours(originals: list[tables.Original]) -> None:
    with pytest.raises(AnnotateError):
        TableFile(originals[0].data[:-1], "cut")
