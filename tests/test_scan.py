"""Scanning: every byte comes out once, in order, and what comes out does not depend on how the input was cut."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import pytest
from fake_world import sample_logs
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.limits import MAX_LINE
from annotate.log.scan import ATTENTION, ATTENTION_TO_DUMPS, FIRST_ATTENTION, MARKS, LineScanner
from annotate.model import LogBlock, LogPassage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: A line that whoever reads the passages here finds interesting, although no search could.
INTERESTING = b"epc"

_FRAGMENTS = (
    *(b"\n", b"\n", b"\r\n", b"\r\r\n", b"\r", b"\0", b"\xff\xfe", b"\xc3", b" ", b"plain text"),
    *(b"f+0x1/0x2", b"0xffffffff81000000", INTERESTING, *MARKS),
    # Halves of marks, which a chunk's end may cut or which may meet.
    *(b"+", b"0", b"x", b"+0", b"Linux ver", b"sion ", b" Com", b"m: "),
    # As much as is read closely, nearly.
    *(b"." * 50, b"line\n" * 10),
)
texts = st.lists(st.sampled_from(_FRAGMENTS), max_size=40).map(b"".join)
cuts = st.lists(st.integers(1, 12), max_size=40)


class Limits(NamedTuple):
    """Small ones, so that short texts meet them."""

    max_line: int = MAX_LINE
    first_attention: int = FIRST_ATTENTION
    attention: int = ATTENTION


limits = st.builds(
    Limits, st.sampled_from((1, 7, 16, 40, MAX_LINE)), st.sampled_from((0, 1, 30, 1000)), st.sampled_from((1, 30, 4096))
)


class Scan:
    """What comes out, as a reader sees it that finds INTERESTING lines interesting."""

    def __init__(self, chunks: Iterable[bytes], limits: Limits) -> None:
        self.attention = limits.attention
        self.scanner = scanner = LineScanner(limits.max_line, limits.first_attention)
        self.data = b""
        self.lines: list[tuple[int, bytes, bytes]] = []  # number, line, and the line before it
        for piece in chain.from_iterable(chain(map(scanner.feed, chunks), [scanner.flush()])):
            assert piece.data
            self.data += piece.data
            assert scanner.position == len(self.data)
            if isinstance(piece, LogPassage):
                self._read(piece)

    def _read(self, passage: LogPassage) -> None:
        before, end = passage.before, 0
        for number, line in enumerate(_split(passage.data), passage.number):
            self.lines.append((number, line, before))
            before = line.removesuffix(b"\n")
            end += len(line)
            if INTERESTING in line:
                self.scanner.attend(end, self.attention)


def _split(data: bytes) -> list[bytes]:
    *lines, rest = data.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])


def _cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    return [*chunks, data]


def _bytes_of(data: bytes) -> list[bytes]:
    return [data[position : position + 1] for position in range(len(data))]


def _expected(data: bytes, limits: Limits) -> list[tuple[int, bytes, bytes]]:
    """The lines that are to be read, by the simplest means: line by line."""
    found = []
    attentive_until, position, before = limits.first_attention, 0, b""
    for number, line in enumerate(_split(data), 1):
        content = line.removesuffix(b"\n")
        if len(content) > limits.max_line:
            before = b""
        else:
            places = {line.find(mark): mark for mark in MARKS if mark in line}
            if position >= attentive_until and places:
                first = min(places)
                attentive_until = position + first + (1 if places[first] == b"Linux version " else ATTENTION_TO_DUMPS)
            if position < attentive_until:
                found.append((number, line, before))
                if INTERESTING in line:
                    attentive_until = max(attentive_until, position + len(line) + limits.attention)
            before = content[-4096:]
        position += len(line)
    return found


@given(texts, cuts, limits)
@settings(max_examples=500)
def test_every_byte_comes_out_and_the_right_lines_are_read_however_the_input_is_cut(
    data: bytes, sizes: list[int], limits: Limits
) -> None:
    expected = _expected(data, limits)
    for chunks in ([data], _cut(data, sizes), _bytes_of(data)):
        scan = Scan(chunks, limits)
        assert scan.data == data
        assert scan.lines == expected


@given(texts, cuts, limits)
def test_lines_are_counted_like_a_split_on_newlines(data: bytes, sizes: list[int], limits: Limits) -> None:
    lines = data.count(b"\n") + (data[-1:] not in (b"", b"\n"))
    assert Scan([data], limits).scanner.lines_read == lines
    assert Scan(_cut(data, sizes), limits).scanner.lines_read == lines


@pytest.mark.parametrize("log", sample_logs(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_sample_logs_come_out_whole_with_right_line_numbers(log: Path) -> None:
    data = log.read_bytes()
    limits = Limits(first_attention=0)
    whole = Scan([data], limits)
    assert whole.data == data
    assert whole.lines == _expected(data, limits)
    assert Scan(_cut(data, [4093] * (len(data) // 4093)), limits).lines == whole.lines
    assert len(whole.lines) > 10
    assert [line for _, line, _ in Scan([data], Limits(first_attention=len(data))).lines] == _split(data)


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_cut_anywhere_by_a_chunk_boundary_is_seen(mark: bytes) -> None:
    data = b"before\nxx" + mark + b"yy\nafter\n"
    for position in range(len(data) + 1):
        scan = Scan([data[:position], data[position:]], Limits(first_attention=0))
        assert scan.lines[0] == (2, b"xx" + mark + b"yy\n", b"before")


def test_text_of_no_interest_leaves_as_one_block_with_the_same_content() -> None:
    data = b"nothing of interest here\r\n" * 1000
    assert list(LineScanner(first_attention=0).feed(data)) == [LogBlock(data)]


def test_a_short_log_is_read_whole_and_a_long_one_from_its_start() -> None:
    line = b"nothing a search could find\n"
    scanner = LineScanner()
    passage, block = scanner.feed(line * (2 * FIRST_ATTENTION // len(line)))
    assert isinstance(passage, LogPassage)
    assert isinstance(block, LogBlock)
    assert FIRST_ATTENTION <= len(passage.data) < FIRST_ATTENTION + len(line)


def test_what_follows_something_of_interest_is_read() -> None:
    quiet = b"quiet\n" * ATTENTION
    scan = Scan([quiet + b" f+0x1/0x2\n" + quiet + b"epc Comm: x\n" + quiet], Limits(first_attention=0))
    read = [line for _, line, _ in scan.lines]
    frame, interesting = read.index(b" f+0x1/0x2\n"), read.index(b"epc Comm: x\n")
    assert frame == 0
    assert abs(len(b"".join(read[1:interesting])) - ATTENTION_TO_DUMPS) < 20
    assert ATTENTION <= len(b"".join(read[interesting + 1 :])) < ATTENTION + len(b"quiet\n")


def test_a_complete_line_is_not_held_back() -> None:
    scanner = LineScanner()
    assert list(scanner.feed(b" f+0x1/0x2\n f+0x3")) == [LogPassage(1, b" f+0x1/0x2\n", b"")]
    assert list(scanner.feed(b"/0x4\n")) == [LogPassage(2, b" f+0x3/0x4\n", b" f+0x1/0x2")]
    assert list(scanner.flush()) == []


def test_an_endless_line_goes_through_in_bounded_memory() -> None:
    scanner = LineScanner()
    chunk = b"endless+0x1/0x2 " * 4096
    total = 64 << 20
    seen = 0
    for _ in range(total // len(chunk)):
        seen += sum(len(piece.data) for piece in scanner.feed(chunk))
        held = sum(map(len, scanner._pending))
        assert held == scanner.pending_size
        assert held <= MAX_LINE + len(chunk)
    assert seen == total
    assert list(scanner.flush()) == []
    assert scanner.lines_read == 1
    assert scanner.lines_too_long == 1


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_of_exactly_the_limit_is_read_and_one_byte_more_is_not(chunk: int, end: bytes) -> None:
    limit = 64
    content_of_end = len(end.removesuffix(b"\n"))
    fits = (b"f+0x1/0x2 " * 7)[: limit - content_of_end]
    for line, is_read in ((fits, True), (fits + b"+", False)):
        data = line + end
        scan = Scan(_cut(data, [chunk] * (len(data) // chunk)), Limits(limit))
        assert len(scan.lines) == is_read
        assert scan.scanner.lines_read == 1
        assert scan.scanner.lines_too_long == (0 if is_read else 1)


@pytest.mark.parametrize("chunk", [4096, 2 * MAX_LINE, 4 * MAX_LINE])
def test_the_default_limit_is_kept_to_the_byte_and_the_next_line_is_read_again(chunk: int) -> None:
    exact = b" f+0x1/0x2".ljust(MAX_LINE)
    data = exact + b"\n" + exact + b"x\n g+0x3/0x4\n"
    scan = Scan(_cut(data, [chunk] * (len(data) // chunk)), Limits())
    assert [(number, line) for number, line, _ in scan.lines] == [(1, exact + b"\n"), (3, b" g+0x3/0x4\n")]


def test_long_lines_are_counted_alike_however_the_input_is_cut() -> None:
    for text in (b"a line without a mark that is too long\n", b"a line that is too long, with a +0x1 in it\n"):
        data = text * 3
        counts = [Scan(chunks, Limits(16)).scanner.lines_too_long for chunks in ([data], _bytes_of(data))]
        assert counts == [3 * (b"+0x" in text)] * 2


@pytest.mark.parametrize(("size", "is_read"), [(29, True), (30, False)])
def test_attention_is_as_long_as_it_was_asked_for_to_the_byte(size: int, *, is_read: bool) -> None:
    """A line is read if it begins within the thirty bytes, behind a line of ``size`` bytes."""
    first, second, third = b"Linux version epc\n", b"." * (size - 1) + b"\n", b"third\n"
    scan = Scan([first + second + third], Limits(first_attention=0, attention=30))
    assert [line for _, line, _ in scan.lines] == ([first, second, third] if is_read else [first, second])
