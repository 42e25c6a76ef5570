"""The whole pipeline in a world made of dicts: no byte changes, cuts do not matter, twice is once."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest
from fake_world import INSERTION, FakeImage, FakeImages, function, places, sample_logs, world_of
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.annotator import PATIENCE, Annotator, LogFacts, Wait
from annotate.memory import Memory
from annotate.model import AnnotatedLine, KernelId, LogBlock, Missing, Repeats
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions
from annotate.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from annotate.resolve import ImageSource

samples = pytest.mark.parametrize("log", sample_logs(), ids=lambda path: f"{path.parent.name}-{path.stem}")


def _annotate(chunks: Iterable[bytes], images: ImageSource, facts: LogFacts | None = None) -> bytes:
    """The annotated text; made with and without a memory of lines, which makes no difference."""
    chunks = list(chunks)
    plain = _annotate_once(chunks, Annotator(images, facts or LogFacts()))
    assert _annotate_once(chunks, Annotator(images, facts or LogFacts(), Memory())) == plain
    return plain


def _annotate_once(chunks: Iterable[bytes], annotator: Annotator) -> bytes:
    renderer = PlainRenderer(RenderOptions())
    output = [renderer.render("log", piece) for chunk in chunks for piece in annotator.feed(chunk)]
    return b"".join(output + [renderer.render("log", piece) for piece in annotator.flush()])


def _bytes_of(data: bytes) -> Iterable[bytes]:
    return (data[position : position + 1] for position in range(len(data)))


@cache
def _sample(log: Path) -> tuple[bytes, FakeImages, bytes]:
    data = log.read_bytes()
    world = world_of(data)
    return data, world, _annotate([data], world)


@samples
def test_a_sample_log_comes_out_unchanged_but_for_the_insertions(log: Path) -> None:
    data, _, annotated = _sample(log)
    assert b"@@" not in data
    assert len(INSERTION.findall(annotated)) > 10
    assert INSERTION.sub(b"", annotated) == data


@samples
def test_a_sample_log_comes_out_the_same_byte_by_byte(log: Path) -> None:
    data, world, annotated = _sample(log)
    assert _annotate(_bytes_of(data), world) == annotated


@samples
def test_annotating_an_annotated_sample_log_changes_nothing(log: Path) -> None:
    _, world, annotated = _sample(log)
    assert _annotate([annotated], world) == annotated


def test_insertions_stand_before_carriage_returns() -> None:
    with_returns = [log for log in sample_logs() if b"\r\n" in log.read_bytes()]
    assert with_returns
    for log in with_returns:
        annotated = _sample(log)[2]
        assert b")\r" in annotated
        assert b"\r (@@" not in annotated


_FRAGMENTS = (
    *(b"plain+0x5/0x40", b"inlined+0x9/0x40", b"twin+0x5/0x40", b"bare+0x5/0x40", b"gone+0x5/0x40", b"plain+0x5/0x48"),
    *(b"plain+0x0/0x40", b"plain+0x40/0x40", b"caller+0x9/0x40", b"twin+0x9/0x40 [mod]", b"plain+0x5/0x40 [absent]"),
    *(b"0xffffffff81001005", b"[<ffffffff81001005>] twin+0x5/0x40", b"Kernel Offset: 0x0 from 0xffffffff81000000"),
    *(b"Linux version 6.1.0 (gcc) #1 SMP", b"CPU: 0 PID: 7 Comm: x Not tainted 6.1.0 #1", b"---[ end trace 0 ]---"),
    *(
        b"\n",
        b"\n",
        b"\n",
        b"\r\n",
        b"\r\r\n",
        b" ",
        b"  ",
        b"? ",
        b"[    1.0]  ",
        b"=> ",
        b"<-",
        b"RIP: 0010:",
        b"pc : ",
    ),
    *(b"\0", b"\xff", b"\xc3", b"(", b")", b"]", b",", b"+0x", b"0xffff", b" [mod]", b" (fs/a.c:1)", b"text"),
)
texts = st.lists(st.sampled_from(_FRAGMENTS), max_size=40).map(b"".join)

_TEXT = 0xFFFFFFFF81000000


def _small_world() -> FakeImages:
    """Functions of every sort; caller() calls the second of the twins."""
    kernel = FakeImage(calls={_TEXT + 0x5009: _TEXT + 0x4000})
    kernel.add(function("plain", _TEXT + 0x1000, 0x40), {0: places("@@plain.c:1"), 4: places("@@plain.c:2")})
    kernel.add(function("inlined", _TEXT + 0x1040, 0x40), {0: places("@@in.h:1 in helper", "@@inlined.c:7")})
    kernel.add(function("bare", _TEXT + 0x2000, 0x40), {})
    kernel.add(function("twin", _TEXT + 0x3000, 0x40), {0: places("@@a.c:1")})
    kernel.add(function("twin", _TEXT + 0x4000, 0x40), {0: places("@@b.c:1")})
    kernel.add(function("caller", _TEXT + 0x5000, 0x40), {0: places("@@caller.c:1")})
    module = FakeImage(is_module=True).add(function("twin", 0x1000, 0x40), {0: places("@@mod.c:1")})
    return FakeImages({("", ""): kernel, ("mod", ""): module})


@given(texts, st.lists(st.integers(1, 30), max_size=20))
@settings(max_examples=300)
def test_any_text_comes_out_unchanged_but_for_the_insertions_however_it_is_cut(data: bytes, sizes: list[int]) -> None:
    annotated = _annotate([data], _small_world())
    assert INSERTION.sub(b"", annotated) == data
    assert _annotate(_bytes_of(data), _small_world()) == annotated
    chunks = []
    rest = data
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    assert _annotate([*chunks, rest], _small_world()) == annotated


@given(texts)
@settings(max_examples=300)
def test_annotating_any_annotated_text_changes_nothing(data: bytes) -> None:
    annotated = _annotate([data], _small_world())
    assert _annotate([annotated], _small_world()) == annotated


@given(st.binary(max_size=400))
def test_any_bytes_come_out_unchanged_but_for_the_insertions(data: bytes) -> None:
    mixed = data[:200] + b"\n plain+0x5/0x40\n" + data[200:]
    annotated = _annotate([mixed], _small_world())
    assert b"\n plain+0x5/0x40 (@@plain.c:2)\n" in annotated
    assert INSERTION.sub(b"", annotated) == mixed


def test_the_small_world_annotates_every_sort_of_frame() -> None:
    log = (
        b" plain+0x5/0x40\n"
        b" inlined+0x9/0x40\n"
        b" twin+0x5/0x40\n"
        b" twin+0x9/0x40 [mod]\n"
        b" bare+0x5/0x40\n"
        b" ? plain+0x40/0x40\n"
        b"RIP: 0010:plain+0x4/0x40\r\n"
    )
    assert _annotate([log], _small_world()) == (
        b" plain+0x5/0x40 (@@plain.c:2)\n"
        b" inlined+0x9/0x40 (@@in.h:1 in helper, @@inlined.c:7)\n"
        b" twin+0x5/0x40 (@@a.c:1 or @@b.c:1)\n"
        b" twin+0x9/0x40 [mod] (@@mod.c:1)\n"
        b" bare+0x5/0x40\n"
        b" ? plain+0x40/0x40 (@@in.h:1 in helper, @@inlined.c:7 in inlined)\n"
        b"RIP: 0010:plain+0x4/0x40 (@@plain.c:2)\r\n"
    )


@pytest.mark.parametrize(
    "path", ["@@drivers (copy)/a.c", "@@a.c\n", "@@(", "@@\x1b[31m/a.c", "@@a b/c.c", "@@a:12/b.c"]
)
def test_annotating_twice_changes_nothing_whatever_a_path_holds(path: str) -> None:
    image = FakeImage().add(function("odd", 0x1000, 0x40), {0: places(f"{path}:12")})
    world = FakeImages({("", ""): image})
    once = _annotate([b" odd+0x5/0x40\n"], world)
    assert b"@@" in once
    assert _annotate([once], world) == once


def test_annotating_twice_changes_nothing_where_the_debug_info_names_no_file() -> None:
    image = FakeImage().add(function("odd", 0x1000, 0x40), {0: places(":12")})
    world = FakeImages({("", ""): image})
    once = _annotate([b" odd+0x5/0x40\n"], world)
    assert _annotate([once], world) == once


def test_annotating_twice_changes_nothing_where_the_second_run_no_longer_knows_the_callee() -> None:
    """What a frame means may depend on the frame before it, and that one is annotated the second time."""
    image = FakeImage(calls={0x2009: 0x9000})
    image.add(function("callee", 0x9000, 0x40), {0: places("@@callee.c:1")})
    image.add(function("twin", 0x1000, 0x40), {0: places("@@twin.c:1")})
    image.add(function("twin", 0x2000, 0x40), {})
    world = FakeImages({("", ""): image})
    once = _annotate([b" callee+0x5/0x40\n twin+0x9/0x40\n"], world)
    assert once.startswith(b" callee+0x5/0x40 (@@callee.c:1)\n twin+0x9/0x40")
    assert _annotate([once], world) == once


def _two_kernels() -> FakeImages:
    images = {}
    for release in ("6.1.0", "6.2.0"):
        image = FakeImage().add(function("plain", 0x1000, 0x40), {0: places(f"@@{release}.c:1")})
        images["", release] = image
    return FakeImages(images)


def test_each_boot_of_a_log_is_answered_from_its_own_kernel() -> None:
    log = b"".join(b"Linux version 6.%d.0 (gcc) #1 SMP\n plain+0x5/0x40\n" % minor for minor in (1, 2, 1))
    for chunks in ([log], _bytes_of(log)):
        lines = _annotate(chunks, _two_kernels()).splitlines()
        assert lines[1::2] == [
            b" plain+0x5/0x40 (@@6.1.0.c:1)",
            b" plain+0x5/0x40 (@@6.2.0.c:1)",
            b" plain+0x5/0x40 (@@6.1.0.c:1)",
        ]


def test_a_log_that_names_no_kernel_is_answered_from_the_one_that_is_assumed() -> None:
    facts = LogFacts(kernel=KernelId("6.2.0"))
    assert _annotate([b" plain+0x5/0x40\n"], _two_kernels(), facts) == b" plain+0x5/0x40 (@@6.2.0.c:1)\n"


def test_frames_before_the_banner_of_their_kernel_are_not_asked_of_any_other() -> None:
    """Only what the lines so far say counts: a log that was cut off at its start names no kernel at first."""
    log = b" plain+0x5/0x40\nLinux version 6.2.0 (gcc) #1 SMP\n plain+0x5/0x40\n"
    assert _annotate([log], _two_kernels()).splitlines()[::2] == [
        b" plain+0x5/0x40",
        b" plain+0x5/0x40 (@@6.2.0.c:1)",
    ]


def test_an_image_is_asked_for_only_by_the_kernel_that_the_log_names() -> None:
    images = _two_kernels()
    _annotate([b"Linux version 6.2.0 (gcc) #1 SMP\n plain+0x5/0x40\n"], images)
    assert {question.release for question in images.questions} == {"6.2.0"}


_SLIDE = 0x1C000000
_RAW = b" 0x%x\n" % (_TEXT + 0x1005 + _SLIDE)
_ANSWERED = _RAW[:-1] + b" (@@plain.c:2 in plain)\n"
_OFFSET = b"Kernel Offset: 0x%x from 0x%x\n" % (_SLIDE, _TEXT)
_BESIDE = b" [<%x>] plain+0x9/0x40\n" % (_TEXT + 0x1009 + _SLIDE)
_BANNER = b"Linux version 6.1.0 (gcc) #1 SMP\n"
_END = b"---[ end trace 0 ]---\n"


def _waits(annotator: Annotator) -> Wait:
    return annotator.waits


def _ahead_of(log: bytes) -> LogFacts:
    return LogFacts(ahead=lambda position: (log[position:],))


@pytest.mark.parametrize("shows", [_OFFSET, _BESIDE])
def test_a_raw_address_waits_for_the_slide_which_may_come_later(shows: bytes) -> None:
    log = _RAW + b"text\n" + shows + _RAW
    for chunks in ([log], _bytes_of(log), [_RAW, b"text\n", shows + _RAW]):
        assert _annotate(chunks, _small_world()).count(_ANSWERED) == 2
    annotator = Annotator(_small_world(), LogFacts())
    assert annotator.feed(_RAW + b"text\n") == []
    assert _waits(annotator) is Wait.SLIDE
    pieces = annotator.feed(shows)
    assert _waits(annotator) is (Wait.NOTHING if shows == _OFFSET else Wait.LINE)
    assert isinstance(pieces[0], AnnotatedLine)
    assert pieces[0].resolutions[0].locations


@pytest.mark.parametrize("bound", [_END, _BANNER, b"text\n" * PATIENCE, b" plain+0x5/0x40\n" * PATIENCE])
def test_a_raw_address_waits_no_longer_than_its_dump_or_5000_lines(bound: bytes) -> None:
    log = _RAW + bound + _OFFSET + _RAW
    for chunks in ([log], log.splitlines(keepends=True)):
        annotated = _annotate(chunks, _small_world())
        assert annotated.startswith(_RAW)
        assert annotated.endswith(_ANSWERED)


@pytest.mark.parametrize("line", [b"text\n", b" plain+0x5/0x40\n"])
def test_a_raw_address_is_answered_with_the_line_that_is_the_5000th(line: bytes) -> None:
    annotator = Annotator(_small_world(), LogFacts())
    assert annotator.feed(_RAW) == []
    assert [annotator.feed(line) for _ in range(5000 - 2)] == [[]] * (5000 - 2)
    first = annotator.feed(line)[0]
    assert isinstance(first, AnnotatedLine)
    assert first.resolutions[0].missing is Missing.NO_OFFSET


def test_what_waits_is_answered_as_it_stands_when_nothing_more_comes() -> None:
    annotator = Annotator(_small_world(), LogFacts())
    assert annotator.feed(_RAW) == []
    (piece,) = annotator.settle()
    assert isinstance(piece, AnnotatedLine)
    assert piece.resolutions[0].missing is Missing.NO_OFFSET
    assert _waits(annotator) is Wait.NOTHING


def test_a_log_that_can_be_read_ahead_is_searched_to_the_end_of_the_boot() -> None:
    far = b"text\n" * 2 * PATIENCE
    log = _RAW + _END + far + _OFFSET + _BANNER + _RAW + far + b"Kernel Offset: disabled\n" + _BANNER + _RAW
    for size in (len(log), 1 << 16, 1000):
        chunks = [log[start : start + size] for start in range(0, len(log), size)]
        annotated = _annotate(chunks, _small_world(), _ahead_of(log))
        assert [line + b"\n" for line in annotated.splitlines() if b"0xffffffff" in line and b"Off" not in line] == [
            _ANSWERED,
            _RAW,  # of another boot: at slide 0 nothing is there
            _RAW,  # of a boot that says nothing
        ]


def test_a_slide_is_not_taken_from_another_boot() -> None:
    log = _OFFSET + _RAW + _BANNER + _RAW
    for facts in (LogFacts(), _ahead_of(log)):
        assert _annotate([log], _small_world(), facts) == _OFFSET + _ANSWERED + _BANNER + _RAW


# Frames that are broken over two lines.


@pytest.mark.parametrize(
    ("first", "second", "inserted"),
    [
        (b"> > [ 1.0]  plain", b"> > +0x5/0x40", b"@@plain.c:2"),
        (b"> plain+0x5", b"> /0x40", b"@@plain.c:2"),
        (b"plain+0x5/", b"0x40", b"@@plain.c:2"),
        (b"plain+0x", b"5/0x40", b"@@plain.c:2"),
        (b" plain+0x=", b"5/0x40", b"@@plain.c:2"),
        (b" pla=", b"in+0x5/0x40", b"@@plain.c:2"),
        (b" twin+0x9/0x40", b"[mod]", b"@@mod.c:1"),
        (b"(twin+0x9/0x40", b"[mod])", b"@@mod.c:1"),
        (b"> twin+0x9/0x40 [mod", b"> 93248cd1d88abf54f1b4cc64a990177f549a7710]", b"@@mod.c:1"),
        (b" twin+0x9/0x40 [m=", b"od]", b"@@mod.c:1"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_frame_over_two_lines_gets_its_insertion_in_the_second(
    first: bytes, second: bytes, inserted: bytes, end: bytes
) -> None:
    log = b"before" + end + first + end + second + end + b" plain+0x5/0x40" + end
    world = _small_world()
    for chunks in ([log], _bytes_of(log), log.splitlines(keepends=True)):
        annotated = _annotate(chunks, world)
        bracket = second.removesuffix(b")")
        assert annotated == log.replace(
            second + end, bracket + b" (" + inserted + b")" + second[len(bracket) :] + end
        ).replace(b" plain+0x5/0x40" + end, b" plain+0x5/0x40 (@@plain.c:2)" + end)
        assert _annotate([annotated], world) == annotated


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"the text is plain", b"[mod] loaded"),
        (b" twin+0x9/0x40 ", b"[    1.0] text"),
        (b" twin+0x9/0x40", b"[T12]"),
        (b" twin+0x9/0x40", b"[  OK  ]"),
        (b"plain", b"0x5/0x40"),
    ],
)
def test_lines_that_do_not_belong_together_are_not_put_together(first: bytes, second: bytes) -> None:
    log = first + b"\n" + second + b"\n"
    apart = _annotate([first + b"\n"], _small_world()) + _annotate([second + b"\n"], _small_world())
    assert _annotate([log], _small_world()) == apart


def test_a_line_that_the_next_may_complete_waits_for_it_but_not_for_ever() -> None:
    annotator = Annotator(_small_world(), LogFacts())
    assert annotator.feed(b" plain+0x5/0x40\n") == []
    assert _waits(annotator) is Wait.LINE
    (piece,) = annotator.settle()
    assert isinstance(piece, AnnotatedLine)
    assert _waits(annotator) is Wait.NOTHING
    for known in (False, True):
        annotator = Annotator(_small_world(), LogFacts(), Memory())
        assert annotator.feed(b" plain+0x5/0x40\n text\n" if known else b"") != [] or not known
        assert annotator.feed(b" plain+0x5/0x40\n") == []
        assert len(annotator.feed(b"text\n")) == 2 - known


def test_a_line_that_is_complete_is_handed_on_at_once() -> None:
    annotator = Annotator(_small_world(), LogFacts())
    assert annotator.feed(b" twin+0x9/0x40 [mod]") == []
    (piece,) = annotator.feed(b"\n")
    assert isinstance(piece, AnnotatedLine)
    assert piece.resolutions[0].locations
    assert annotator.flush() == []


# Lines that come again.


def test_a_line_is_resolved_once_and_remembered_behind_its_stamp() -> None:
    images = _small_world()
    stamps = [b"[%5d.%06d] " % (number, number) for number in range(1000)]
    log = b"".join(stamp + b" plain+0x5/0x40\n" + stamp + b" ? twin+0x9/0x40 [mod]\r\n" for stamp in stamps)
    annotator = Annotator(images, LogFacts(), Memory())
    annotated = _annotate_once([log], annotator)
    assert annotated == _annotate_once([log], Annotator(images, LogFacts()))
    assert annotated.count(b" (@@plain.c:2)\n") == annotated.count(b" [mod] (@@mod.c:1)\r\n") == 1000
    pieces = Annotator(images, LogFacts(), Memory()).feed(log)
    assert sum(isinstance(piece, AnnotatedLine) for piece in pieces) == 2


@pytest.mark.parametrize(
    "change",
    [
        b"Linux version 6.2.0 (gcc) #1 SMP\n",
        b"CPU: 0 PID: 7 Comm: x Not tainted 6.2.0 #1\n",
    ],
)
def test_what_is_remembered_of_one_kernel_is_not_said_of_another(change: bytes) -> None:
    line = b"[    1.000000]  plain+0x5/0x40\n"
    log = b"Linux version 6.1.0 (gcc) #1 SMP\n" + 3 * line + change + 3 * line
    annotated = _annotate([log], _two_kernels())
    assert (annotated.count(b"@@6.1.0.c:1"), annotated.count(b"@@6.2.0.c:1")) == (3, 3)


def test_a_remembered_entry_is_exact_where_it_repeats_the_pc() -> None:
    entry = b"[    1.000000]  plain+0x4/0x40\n"
    log = 2 * entry + b"[    1.000000] pc : plain+0x4/0x40\n" + 2 * entry + _END + 2 * entry
    for chunks in ([log], log.splitlines(keepends=True)):  # of a whole chunk nothing is answered before it is read
        lines = [line for line in _annotate(chunks, _small_world()).splitlines() if b" plain" in line]
        assert [line[-2:-1] for line in lines] == [b"1", b"1", b"2", b"2", b"2", b"1", b"1"]


def test_what_is_remembered_of_one_slide_is_not_said_at_another() -> None:
    """A kernel that is booted again has the same name, and is elsewhere."""
    raw = b"[    1.000000]  0xffffffff81004005\n"
    moved = b"[    1.000000] Kernel Offset: 0x%x from 0xffffffff81000000\n"
    log = _BANNER + moved % 0 + 3 * raw + _BANNER + moved % 0x3000 + 3 * raw
    for chunks in ([log], log.splitlines(keepends=True)):
        lines = [line for line in _annotate(chunks, _small_world()).splitlines() if b"04005" in line]
        assert [line[len(raw) - 1 :] for line in lines] == 3 * [b" (@@b.c:1 in twin)"] + 3 * [
            b" (@@plain.c:2 in plain)"
        ]


def test_a_remembered_callee_settles_the_entry_below_it() -> None:
    """caller() calls the second of the twins, wherever the line of the callee came from."""
    image = FakeImage(calls={0x2009: 0x9000})
    image.add(function("callee", 0x9000, 0x40), {0: places("@@callee.c:1")})
    image.add(function("twin", 0x1000, 0x40), {0: places("@@twin.c:1")})
    image.add(function("twin", 0x2000, 0x40), {0: places("@@twin.c:2")})
    world = FakeImages({("", ""): image})
    callee, guess, twin = b"[ 1.0]  callee+0x5/0x40\n", b"[ 1.0]  ? other+0x5/0x40\n", b"[ 1.0]  twin+0x9/0x40\n"
    log = 2 * callee + guess + twin + twin + callee + guess + guess + twin + b"[ 1.0] text\n" + twin
    for chunks in ([log], log.splitlines(keepends=True), _bytes_of(log)):
        answers = [line for line in _annotate(chunks, world).splitlines() if b"twin" in line]
        settled, both = b"+0x9/0x40 (@@twin.c:2)", b"+0x9/0x40 (@@twin.c:1 or @@twin.c:2)"
        assert [answer[answer.index(b"+") :] for answer in answers] == [settled, both, settled, both]


@pytest.mark.parametrize("memory", [None, Memory()], ids=["without", "with"])
def test_lines_that_come_again_are_counted_as_often_as_they_come(memory: Memory | None) -> None:
    lines = [b"[ 1.0]  plain+0x5/0x40\n", b"[ 1.0]  gone+0x5/0x40 plain+0x5/0x40\n", b"[ 1.0]  plain+0x5/0x48\n"]
    annotator = Annotator(_small_world(), LogFacts(), memory)
    summary, renderer = Summary(), PlainRenderer(RenderOptions())
    pieces = [*annotator.feed(b"".join(lines)), *annotator.feed(b"".join(9 * lines))]
    for piece in [*pieces, *annotator.flush()]:
        renderer.render("log", piece)
        if isinstance(piece, AnnotatedLine):
            summary.count(piece)
        elif isinstance(piece, Repeats):
            summary.count_again(piece.lines)
    assert (summary.frames, summary.annotated, summary.missed) == (40, 20, 20)
    assert summary.missing == {Missing.NO_SYMBOL: 10, Missing.SIZE_DIFFERS: 10}
    assert (memory is None) == (not any(isinstance(piece, Repeats) for piece in pieces))


def test_what_is_held_in_memory_is_bounded() -> None:
    memory = Memory()
    lines = (b"[ 1.0]  plain+0x%x/0x40 [m%d]\n" % (number & 0x3F, number) for number in range(70_000))
    annotator = Annotator(_small_world(), LogFacts(), memory)
    for line in lines:
        annotator.feed(line + b"text\n")
    assert 0 < len(memory.behind_bracket) < 1 << 16


def test_a_function_that_is_only_mentioned_at_offset_0_is_its_first_line() -> None:
    log = b"object type: timer_list hint: plain+0x0/0x40\n"
    assert _annotate([log], _small_world()) == b"object type: timer_list hint: plain+0x0/0x40 (@@plain.c:1)\n"


def test_the_instruction_pointer_repeated_in_the_trace_is_exact_there_too() -> None:
    log = b"pc : plain+0x4/0x40\nCall trace:\n plain+0x4/0x40\n---[ end trace 0 ]---\n plain+0x4/0x40\n"
    lines = _annotate([log], _small_world()).splitlines()
    assert lines[2] == b" plain+0x4/0x40 (@@plain.c:2)"
    assert lines[4] == b" plain+0x4/0x40 (@@plain.c:1)"


def test_a_line_of_a_hundred_thousand_frames_does_not_hang() -> None:
    # A guard against work for each frame that grows with the line; no statement about speed.
    script = (
        "from annotate.annotator import *; from annotate.resolve import Absence; from annotate.model import Missing\n"
        "class Nothing:\n"
        "    def image_for(self, module, build_id, kernel): return Absence(Missing.NO_KERNEL, '')\n"
        "annotator = Annotator(Nothing(), LogFacts())\n"
        "pieces = [*annotator.feed(b'f+0x1/0x2[' * 100_000 + b'\\n'), *annotator.flush()]\n"
        "assert len(pieces[0].resolutions) == 100_000"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


def test_text_without_frames_is_handed_on_as_it_is() -> None:
    data = b"nothing here\n" * 100
    assert Annotator(_small_world(), LogFacts()).feed(data) == [LogBlock(data)]


def test_misses_say_why() -> None:
    annotator = Annotator(_small_world(), LogFacts())
    log = (
        b" gone+0x5/0x40\n plain+0x5/0x48\n bare+0x5/0x40\n plain+0x5/0x40 [absent]\n plain+0x50/0x40\n 0x%x\n" % _TEXT
    )
    fed = [*annotator.feed(log), *annotator.flush()]
    pieces = [piece for piece in fed if isinstance(piece, AnnotatedLine)]
    assert [resolution.missing for piece in pieces for resolution in piece.resolutions] == [
        Missing.NO_SYMBOL,
        Missing.SIZE_DIFFERS,
        Missing.NO_LINE,
        Missing.NO_MODULE,
        Missing.CORRUPT,
        Missing.NO_OFFSET,
    ]


@pytest.mark.parametrize("size", [997, 4096, 65536])
@pytest.mark.parametrize("log", sample_logs(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_is_held_back_is_what_went_in_and_did_not_come_out(log: Path, size: int) -> None:
    data = log.read_bytes()
    # A trace whose every line may be completed by the next one, so that one always waits.
    data += b"".join(b"[   20.%06d]  open_%d+0x5/0x40\n" % (number, number % 50) for number in range(5000))
    memory = Memory()
    annotator = Annotator(FakeImages({}), LogFacts(), memory)
    renderer = PlainRenderer(RenderOptions())
    written = known = 0
    for start in range(0, len(data), size):
        pieces = annotator.feed(data[start : start + size])
        written += sum(len(renderer.render("", piece)) for piece in pieces)
        if annotator.held_back is not None:
            known += 1
            assert annotator.held_back == min(start + size, len(data)) - written
    assert known > len(data) / size / 2
    assert written + sum(len(renderer.render("", piece)) for piece in annotator.flush()) == len(data)
