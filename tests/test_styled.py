"""Colours and links around a log: without them it is the plain output, and what they say is what a reader needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from fake_world import places, sample_logs, world_of
from hypothesis import given
from hypothesis import strategies as st

from annotate.annotator import Annotator, LogFacts
from annotate.log.grammar import find_frames
from annotate.log.message import LineKind, find_message, kind_of
from annotate.model import AnnotatedLine, KernelId, Location, LogBlock, LogLine, Resolution
from annotate.render import make_renderer
from annotate.render.focus import Focus, Role
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions, StyleOptions
from annotate.render.styled import StyledRenderer
from annotate.render.terminal import Guard
from annotate.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from annotate.render.renderer import Renderer

#: All that is ever put into a line.
CODES = re.compile(rb"\x1b\[[\d;]*m|\x1b\]8;;[!-~]*\x1b\\")
LINK = re.compile(rb"\x1b\]8;;([!-~]+)\x1b\\([^\x1b]*)\x1b\]8;;\x1b\\")

PLUMBING = (b"dump_stack", b"kasan_", b"schedule", b"panic", b"__warn", b"memcpy", b"kmalloc")


def is_plumbing(symbol: bytes, _file: str) -> bool:
    return symbol.startswith(PLUMBING)


def link(place: Location, kernel: KernelId) -> str:
    return f"x://{kernel.release or 'unknown'}/#{place.line}"


LOOKS = [
    pytest.param(
        RenderOptions(link=to, style=StyleOptions(colors, is_plumbing)),
        id=f"{'colours' if colors else ''}{'-links' if to else ''}",
    )
    for colors, to in ((True, None), (False, link), (True, link))
]


def rendered(renderer: Renderer, log: bytes, cut: int | None = None) -> bytes:
    annotator = Annotator(world_of(log), LogFacts())
    chunks = [log] if cut is None else [log[:cut], log[cut:]]
    pieces = [piece for chunk in chunks for piece in annotator.feed(chunk)] + annotator.flush()
    return b"".join([renderer.render("log", piece) for piece in pieces]) + renderer.finish(Summary())


@pytest.mark.parametrize("options", LOOKS)
@pytest.mark.parametrize("log", sample_logs(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_without_codes_a_styled_sample_is_the_plain_one(log: Path, options: RenderOptions) -> None:
    data = log.read_bytes()
    assert options.style is not None
    styled = rendered(StyledRenderer(options, options.style), data)
    plain = rendered(PlainRenderer(RenderOptions()), data)
    assert len(CODES.findall(styled)) > len(CODES.findall(plain)) + 10
    assert CODES.sub(b"", styled) == CODES.sub(b"", plain)
    if options.link is None or not options.style.colors:
        return
    # Nor is one of the log's own codes lost: all of them come in their order.
    own = iter(CODES.findall(styled))
    assert all(code in own for code in CODES.findall(plain))


FRAGMENTS = (
    *(b"plain+0x5/0x40", b"? plain+0x5/0x40", b"schedule+0x5/0x40", b"RIP: 0010:plain+0x5/0x40", b"Call Trace:"),
    *(b"BUG: bad", b"RAX: 0000000000000001 RBX: 0000000000000100", b"[    1.0]  ", b"Code: 8b 35", b" [mod]", b'"'),
    *(b"\x1b[31m", b"\x1b[0m", b"\x1b[m", b"\x1b", b"\x1b]8;;x://\x1b\\", b"\x1b[2J", b"\r", b"\xff", b"\xc2", b"\x9b"),
    *(b"\n", b"\n", b"\r\n", b"\r\r\n", b" ", b"text"),
)
LOGS = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join)


@given(LOGS, st.sampled_from([link, None]))
def test_without_codes_any_styled_log_is_the_plain_one(
    log: bytes, to: Callable[[Location, KernelId], str] | None
) -> None:
    styled = rendered(StyledRenderer(RenderOptions(link=to), StyleOptions()), log)
    assert CODES.sub(b"", styled) == CODES.sub(b"", rendered(PlainRenderer(RenderOptions()), log))


@given(LOGS, st.integers(0, 300))
def test_on_a_terminal_the_log_is_guarded_and_the_codes_are_not(log: bytes, cut: int) -> None:
    options = RenderOptions(style=StyleOptions(), link=link, is_guarded=True)
    renderer = make_renderer("text", options)
    styled = rendered(renderer, log, cut)
    guard = Guard()
    plain = guard.feed(rendered(PlainRenderer(RenderOptions()), log)) + guard.flush()
    assert CODES.sub(b"", styled) == CODES.sub(b"", plain)
    # Taken literally: every link is one of ours, and all other escapes are colours.
    assert all(uri.startswith(b"x://unknown/#") for uri, _ in LINK.findall(styled))
    assert b"\x1b" not in re.sub(rb"\x1b\[[\d;]*m", b"", LINK.sub(b"", styled))


def test_links_are_around_locations_and_nothing_else() -> None:
    line = LogLine(1, b" f+0x1/0x2", b"\n")
    chain = places("include/a.h:7 in inner", "b.c:8 in f")
    annotated = AnnotatedLine(line, [Resolution(find_frames(line)[0], chain, None)], kernel=KernelId("6.12.0"))
    styled = StyledRenderer(RenderOptions(link=link), StyleOptions(colors=False)).render("log", annotated)
    assert LINK.findall(styled) == [(b"x://6.12.0/#7", b"include/a.h:7"), (b"x://6.12.0/#8", b"b.c:8")]


def test_names_from_debug_info_never_reach_a_terminal_raw() -> None:
    line = LogLine(1, b" f+0x1/0x2", b"\n")
    evil = "\x1b]0;x\x07\x9b2J\u202e\udc9b\r\n"
    chain = (Location(f"{evil}.c", 1, evil, inlined=True), Location("b.c", 2, evil, inlined=False))
    annotated = AnnotatedLine(line, [Resolution(find_frames(line)[0], chain, None)])
    for is_guarded in (False, True):
        options = RenderOptions(style=StyleOptions(), is_guarded=is_guarded)
        text = CODES.sub(b"", make_renderer("text", options).render("log", annotated))
        assert text == PlainRenderer(options).render("log", annotated)
        assert text.endswith(b"\n")
        assert text[:-1].decode().isprintable()


# The log's own colours.


def styled_lines(*lines: bytes) -> list[bytes]:
    log = b"".join(line + b"\n" for line in lines)
    return rendered(StyledRenderer(RenderOptions(), StyleOptions(is_plumbing=is_plumbing)), log).split(b"\n")


def test_a_line_with_colours_of_its_own_keeps_them() -> None:
    (line, _) = styled_lines(b"\x1b[32m[    1.0] \x1b[0m\x1b[1m plain+0x5/0x40\x1b[4m and more\x1b[0m")
    own, inserted, rest = re.split(rb"( \(.*\))", line.replace(b"\x1b[35m", b"<").replace(b"\x1b[0m", b">"))
    assert own == b"\x1b[32m[    1.0] >\x1b[1m plain+0x5/0x40>"
    assert inserted == b" (<@@0/plain.c:5>)"
    assert rest == b"\x1b[1m\x1b[4m and more>"


def test_a_colour_that_is_left_on_holds_on_behind_an_insertion_on_a_later_line() -> None:
    first, second, third, _ = styled_lines(b"\x1b[7mBUG: x", b" plain+0x5/0x40", b"BUG: y")
    assert first == b"\x1b[7mBUG: x"
    assert second.startswith(b" plain+0x5/0x40\x1b[0m")
    assert second.endswith(b")\x1b[7m")
    assert third == b"BUG: y"


def test_what_a_log_switches_on_is_kept_within_bounds() -> None:
    renderer = StyledRenderer(RenderOptions(), StyleOptions())
    colours = b"".join(b"\x1b[38;5;%dm" % (number % 200) for number in range(5000))
    renderer.render("log", LogBlock(colours + b"\n"))
    line = LogLine(2, b" f+0x1/0x2", b"\n")
    text = renderer.render("log", AnnotatedLine(line, [Resolution(find_frames(line)[0], places("a.c:1"), None)]))
    assert len(text) < 300


# What stands out.


def looks(*lines: bytes) -> list[tuple[str, str]]:
    """The frames that are bold or dim."""
    found = []
    for line in styled_lines(*lines):
        for codes, text in re.findall(rb"\x1b\[([12])m([^\x1b]*)", line):
            found += [(("", "bold", "dim")[int(codes)], name.decode()) for name in re.findall(rb"\w+(?=\+0x)", text)]
    return found


def test_the_frame_that_matters_is_bold_and_plumbing_is_dim() -> None:
    assert looks(
        b"BUG: sleeping function called from invalid context",
        b"Call Trace:",
        b" <TASK>",
        b" dump_stack_lvl+0x5/0x40",
        b" ? guess+0x5/0x40",
        b" wrong_thing+0x5/0x40",
        b" ordinary+0x5/0x40",
        b" schedule+0x5/0x40",
    ) == [("dim", "dump_stack_lvl"), ("dim", "guess"), ("bold", "wrong_thing"), ("dim", "schedule")]


def test_an_instruction_pointer_matters_and_its_callers_do_not() -> None:
    lines = (b"RIP: 0010:culprit+0x5/0x40", b"Call Trace:", b" caller+0x5/0x40", b" other+0x5/0x40")
    assert looks(b"BUG: kernel NULL pointer dereference", b"Oops: 0000", *lines) == [("bold", "culprit")]
    # printed again behind the end of the trace; and then of the next processor
    assert looks(*lines, lines[0], *lines) == [("bold", "culprit")] * 3


def test_a_pc_that_the_trace_repeats_matters_in_both_places() -> None:
    """As on arm64."""
    assert (
        looks(
            b"pc : culprit+0x5/0x40", b"lr : caller+0x5/0x40", b"Call trace:", b" culprit+0x5/0x40", b" caller+0x5/0x40"
        )
        == [("bold", "culprit")] * 2
    )


def test_an_instruction_pointer_in_plumbing_leaves_it_to_the_trace() -> None:
    assert looks(b"RIP: 0010:memcpy+0x5/0x40", b"Call Trace:", b" culprit+0x5/0x40", b" caller+0x5/0x40") == [
        ("bold", "culprit")
    ]


def test_a_title_that_names_it_and_the_traces_below() -> None:
    assert looks(
        b"BUG: KASAN: slab-use-after-free in culprit+0x5/0x40",
        b"Call Trace:",
        b" kasan_report+0x5/0x40",
        b" culprit+0x5/0x40",
        b" caller+0x5/0x40",
        b"Allocated by task 7:",
        b" kasan_save_stack+0x5/0x40",
        b" allocated_here+0x5/0x40",
        b" caller+0x5/0x40",
        b"Freed by task 7:",
        b" kasan_save_stack+0x5/0x40",
        b" freed_here+0x5/0x40",
    ) == [
        *(("bold", "culprit"), ("dim", "kasan_report"), ("bold", "culprit")),
        *(("dim", "kasan_save_stack"), ("bold", "allocated_here")),
        *(("dim", "kasan_save_stack"), ("bold", "freed_here")),
    ]


def test_a_recursion_is_bold_once() -> None:
    assert looks(b"Call Trace:", *[b" again+0x5/0x40"] * 5) == [("bold", "again")]
    assert looks(b"pc : again+0x5/0x40", b"Call trace:", *[b" again+0x5/0x40"] * 5) == [("bold", "again")] * 2


def test_each_task_of_a_dump_has_its_own() -> None:
    task = (b"task:sh state:S", b"Call Trace:", b" schedule+0x5/0x40", b" waits_here+0x5/0x40", b" caller+0x5/0x40")
    assert looks(*task, *task) == [("dim", "schedule"), ("bold", "waits_here")] * 2


def test_two_headings_above_one_trace_are_one() -> None:
    assert looks(b"Stack:", b"Call Trace:", b" culprit+0x5/0x40", b" caller+0x5/0x40") == [("bold", "culprit")]
    assert looks(b"RIP: 0010:culprit+0x5/0x40", b"Stack:", b"Call Trace:", b" caller+0x5/0x40") == [("bold", "culprit")]


def test_the_entry_below_an_aside_does_not_matter() -> None:
    assert looks(
        b"Preemption disabled at:", b"[<ffffffff81000005>] aside+0x5/0x40", b"Call Trace:", b" culprit+0x5/0x40"
    ) == [("bold", "culprit")]


def test_registers_code_and_modules_are_dim_and_titles_are_bold() -> None:
    def code(line: bytes) -> bytes:
        return styled_lines(line)[0].partition(line)[0]

    assert code(b"[    1.0] RAX: 0000000000000001 RBX: 0000000000000100 RCX: 0000000000000100") == b"\x1b[2m"
    assert code(b"[    1.0] Code: 8b 35 c4 00 63 3f <48> c7 c7") == b"\x1b[2m"
    assert code(b"[    1.0] Modules linked in: a b c") == b"\x1b[2m"
    assert code(b"[    1.0] BUG: kernel NULL pointer dereference, address: 0") == b"\x1b[1m"
    assert code(b"[    1.0] virtio_net: nothing of interest") == b""


def test_an_ordinary_boot_log_is_left_as_it_is() -> None:
    boot = b"[    0.1] e820: BIOS-provided physical RAM map:\n[    0.2] PCI: Using configuration type 1\n"
    assert rendered(StyledRenderer(RenderOptions(), StyleOptions()), boot) == boot


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=60))
def test_at_most_one_entry_of_a_trace_is_in_focus(lines: Sequence[bytes]) -> None:
    focus = Focus(is_plumbing)
    count = 0
    for body in lines:
        message = body[find_message(body).start :]
        kind = kind_of(message)
        focus.see(kind, message)
        count = 0 if kind in (LineKind.TITLE, LineKind.TRACE) or b"RIP" in body else count
        for frame in find_frames(LogLine(1, body, b"\n")):
            role = focus.role(Resolution(frame, (), None), kind)
            count += role is Role.FOCUS and frame.in_trace
            assert role is Role.ASIDE or frame.reliable
        assert count <= 1


# Readable on light and on dark.

#: The standard palette of xterm, https://en.wikipedia.org/wiki/ANSI_escape_code#3-bit_and_4-bit
XTERM = ((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229))


def luminance(colour: tuple[int, int, int]) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colour: tuple[int, int, int], background: tuple[int, int, int]) -> float:
    high, low = sorted((luminance(colour), luminance(background)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_only_basic_colours_that_read_on_black_and_on_white() -> None:
    log = sample_logs()[0].read_bytes() + b"\n".join(FRAGMENTS)
    used = {
        int(code)
        for codes in re.findall(rb"\x1b\[([\d;]+)m", rendered(StyledRenderer(RenderOptions(), StyleOptions()), log))
        for code in codes.split(b";")
    } - {31}  # one of the log's own
    colours = {code for code in used if code not in (0, 1, 2)}
    assert colours
    assert colours <= set(range(30, 38)), "not one of the eight colours of ECMA-48"
    for code in colours:
        assert contrast(XTERM[code - 30], (0, 0, 0)) >= 4.4
        assert contrast(XTERM[code - 30], (255, 255, 255)) >= 4.4
