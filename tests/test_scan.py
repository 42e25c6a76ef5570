"""Scanning: every byte comes out once, in order, and what comes out does not depend on how the input was cut."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from fake_world import sample_logs
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.log.scan import CONTEXT_MARKERS, FRAME_MARKERS, MAX_LINE, LineScanner
from annotate.model import LogBlock, LogLine

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MARKERS = FRAME_MARKERS + CONTEXT_MARKERS

_FRAGMENTS = (
    *(b"\n", b"\n", b"\r\n", b"\r\r\n", b"\r", b"\0", b"\xff\xfe", b"\xc3", b" ", b"plain text"),
    *(b"f+0x1/0x2", b"0xffffffff81000000", *MARKERS),
    # Halves of markers, which a chunk's end may cut or which may meet.
    *(
        b"+",
        b"0",
        b"x",
        b"+0",
        b"0xff",
        b"ff",
        b"Linux ver",
        b"sion ",
        b"Kernel Offset",
        b": ",
        b" PI",
        b"D: ",
        b"---[ en",
        b"d ",
    ),
)
texts = st.lists(st.sampled_from(_FRAGMENTS), max_size=40).map(b"".join)
cuts = st.lists(st.integers(1, 12), max_size=40)
line_limits = st.sampled_from((1, 7, 16, 40, MAX_LINE))


def _cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    return [*chunks, data]


def _scan(chunks: Iterable[bytes], max_line: int = MAX_LINE) -> tuple[list[LogLine | LogBlock], LineScanner]:
    scanner = LineScanner(max_line)
    pieces = [piece for chunk in chunks for piece in scanner.feed(chunk)]
    return pieces + scanner.flush(), scanner


def _bytes_of(pieces: Iterable[LogLine | LogBlock]) -> bytes:
    return b"".join(piece.data if isinstance(piece, LogBlock) else piece.body + piece.ending for piece in pieces)


def _merged(pieces: Iterable[LogLine | LogBlock]) -> list[LogLine | LogBlock]:
    """The pieces with neighbouring blocks put together: where a block ends between two lines means nothing."""
    merged: list[LogLine | LogBlock] = []
    for piece in pieces:
        if isinstance(piece, LogBlock) and merged and isinstance(merged[-1], LogBlock):
            merged[-1] = LogBlock(merged[-1].data + piece.data)
        else:
            merged.append(piece)
    return merged


def _expected(data: bytes, max_line: int) -> list[LogLine | LogBlock]:
    """The same by the simplest means: split on newlines, keep the short lines that hold a marker."""
    pieces: list[LogLine | LogBlock] = []
    for number, line in enumerate(re.findall(rb"[^\n]*\n|[^\n]+", data), 1):
        content = line.removesuffix(b"\n")
        if len(content) <= max_line and any(marker in content for marker in MARKERS):
            body = content.rstrip(b"\r")
            pieces.append(LogLine(number, body, line[len(body) :]))
        else:
            pieces.append(LogBlock(line))
    return _merged(pieces)


@given(texts, cuts, line_limits)
@settings(max_examples=400)
def test_every_byte_comes_out_however_the_input_is_cut(data: bytes, sizes: list[int], max_line: int) -> None:
    assert _bytes_of(_scan([data], max_line)[0]) == data
    assert _bytes_of(_scan(_cut(data, sizes), max_line)[0]) == data
    assert _bytes_of(_scan(_cut(data, [1] * len(data)), max_line)[0]) == data


@given(texts, cuts, line_limits)
@settings(max_examples=400)
def test_pieces_are_those_of_a_plain_split_however_the_input_is_cut(
    data: bytes, sizes: list[int], max_line: int
) -> None:
    expected = _expected(data, max_line)
    assert _merged(_scan([data], max_line)[0]) == expected
    assert _merged(_scan(_cut(data, sizes), max_line)[0]) == expected
    assert _merged(_scan(_cut(data, [1] * len(data)), max_line)[0]) == expected


@given(texts, cuts, line_limits)
def test_lines_are_counted_like_a_split_on_newlines(data: bytes, sizes: list[int], max_line: int) -> None:
    lines = data.count(b"\n") + (data[-1:] not in (b"", b"\n"))
    assert _scan([data], max_line)[1].lines_read == lines
    assert _scan(_cut(data, sizes), max_line)[1].lines_read == lines


@pytest.mark.parametrize("log", sample_logs(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_sample_logs_come_out_whole_with_right_line_numbers(log: Path) -> None:
    data = log.read_bytes()
    whole = _scan([data])[0]
    assert _merged(whole) == _expected(data, MAX_LINE)
    assert _merged(_scan(_cut(data, [4093] * (len(data) // 4093)))[0]) == _merged(whole)
    lines = data.split(b"\n")
    numbered = [piece for piece in whole if isinstance(piece, LogLine)]
    assert len(numbered) > 50
    for line in numbered:
        assert lines[line.number - 1] == line.body + line.ending.removesuffix(b"\n")


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_cut_anywhere_by_a_chunk_boundary_is_seen(marker: bytes) -> None:
    data = b"before\nxx" + marker + b"yy\nafter\n"
    for position in range(len(data) + 1):
        lines = [piece for piece in _scan([data[:position], data[position:]])[0] if isinstance(piece, LogLine)]
        assert lines == [LogLine(2, b"xx" + marker + b"yy", b"\n")]


def test_text_without_markers_leaves_as_one_block_with_the_same_content() -> None:
    data = b"nothing of interest here\r\n" * 1000
    assert LineScanner().feed(data) == [LogBlock(data)]


def test_text_between_lines_of_interest_is_not_split_into_lines() -> None:
    quiet = b"quiet\n" * 500
    pieces = LineScanner().feed(quiet + b" f+0x1/0x2\n" + quiet)
    assert pieces == [LogBlock(quiet), LogLine(501, b" f+0x1/0x2", b"\n"), LogBlock(quiet)]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r\r\n", b"\r\r\r\n", b"", b"\r"])
def test_carriage_returns_before_the_newline_belong_to_the_ending(ending: bytes) -> None:
    assert _scan([b" f+0x1/0x2" + ending])[0] == [LogLine(1, b" f+0x1/0x2", ending)]


def test_a_complete_line_is_not_held_back() -> None:
    scanner = LineScanner()
    assert scanner.feed(b" f+0x1/0x2\n f+0x3") == [LogLine(1, b" f+0x1/0x2", b"\n")]
    assert scanner.feed(b"/0x4\n") == [LogLine(2, b" f+0x3/0x4", b"\n")]
    assert scanner.flush() == []


def test_an_endless_line_goes_through_in_bounded_memory() -> None:
    scanner = LineScanner()
    chunk = b"endless+0x1/0x2 " * 4096
    total = 64 << 20
    seen = 0
    for _ in range(total // len(chunk)):
        seen += len(_bytes_of(scanner.feed(chunk)))
        held = sum(map(len, scanner._pending))
        assert held == scanner._pending_size
        assert held <= MAX_LINE + len(chunk)
    assert seen == total
    assert scanner.flush() == []
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
        chunks = _cut(data, [chunk] * (len(data) // chunk))
        pieces, scanner = _scan(chunks, limit)
        assert [type(piece) for piece in _merged(pieces)] == [LogLine if is_read else LogBlock]
        assert scanner.lines_read == 1
        assert scanner.lines_too_long == (0 if is_read else 1)


@pytest.mark.parametrize("chunk", [4096, 2 * MAX_LINE])
def test_the_default_limit_is_kept_to_the_byte_and_the_next_line_is_read_again(chunk: int) -> None:
    exact = b" f+0x1/0x2".ljust(MAX_LINE)
    data = exact + b"\n" + exact + b"x\n g+0x3/0x4\n"
    pieces = _merged(_scan(_cut(data, [chunk] * (len(data) // chunk)))[0])
    assert [type(piece) for piece in pieces] == [LogLine, LogBlock, LogLine]
    assert pieces[2] == LogLine(3, b" g+0x3/0x4", b"\n")


def test_long_lines_are_counted_alike_however_the_input_is_cut() -> None:
    data = b"a line without a marker that is too long\n" * 3
    assert _scan([data], 16)[1].lines_too_long == _scan(_cut(data, [1] * len(data)), 16)[1].lines_too_long
