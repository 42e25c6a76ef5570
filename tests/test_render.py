"""The output formats, literally as they are promised."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fake_world import places
from hypothesis import given
from hypothesis import strategies as st

from annotate.log.grammar import find_frames
from annotate.model import AnnotatedLine, Location, LogBlock, LogLine, Missing, Resolution
from annotate.render import RENDERERS, make_renderer
from annotate.render.jsonl import JsonLinesRenderer
from annotate.render.names import readable
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions
from annotate.summary import Summary

if TYPE_CHECKING:
    from annotate.resolve import Chain


def _line(body: bytes, *answers: Chain | Missing, ending: bytes = b"\n", number: int = 1) -> AnnotatedLine:
    """A line and an answer for each of its frames."""
    line = LogLine(number, body, ending)
    frames = find_frames(line)
    resolutions = [
        Resolution(frame, (), answer) if isinstance(answer, Missing) else Resolution(frame, answer, None)
        for frame, answer in zip(frames, answers, strict=True)
    ]
    return AnnotatedLine(line, resolutions)


def _ambiguous(body: bytes, *candidates: Chain) -> AnnotatedLine:
    line = LogLine(1, body, b"\n")
    (frame,) = find_frames(line)
    return AnnotatedLine(line, [Resolution(frame, (), Missing.AMBIGUOUS, candidates)])


def _plain(line: AnnotatedLine, inlines: str = "chain") -> bytes:
    return PlainRenderer(RenderOptions(inlines)).render("log", line)


_INLINED = places(
    "arch/x86/entry/common.c:46 in do_syscall_x64",
    "arch/x86/entry/common.c:76 in do_syscall_64",
)


def test_a_location_without_inlined_calls() -> None:
    line = _line(b"[ 1.0]  ksys_write+0x6b/0xf0", places("fs/read_write.c:637 in ksys_write"))
    assert _plain(line) == b"[ 1.0]  ksys_write+0x6b/0xf0 (fs/read_write.c:637)\n"


def test_a_chain_names_each_inlined_function_innermost_first() -> None:
    assert _plain(_line(b" do_syscall_64+0x5d/0x90", _INLINED)) == (
        b" do_syscall_64+0x5d/0x90 (arch/x86/entry/common.c:46 in do_syscall_x64, arch/x86/entry/common.c:76)\n"
    )


def test_a_chain_of_three() -> None:
    chain = places("a.h:1 in one", "b.h:2 in two", "c.c:3 in outer")
    assert _plain(_line(b" outer+0x5d/0x90", chain)) == b" outer+0x5d/0x90 (a.h:1 in one, b.h:2 in two, c.c:3)\n"


def test_innermost_is_the_first_location_alone() -> None:
    plain = _plain(_line(b" ksys_write+0x6b/0xf0", places("fs/read_write.c:637 in ksys_write")), "innermost")
    assert plain == b" ksys_write+0x6b/0xf0 (fs/read_write.c:637)\n"
    rendered = _plain(_line(b" do_syscall_64+0x5d/0x90", _INLINED), "innermost")
    assert rendered.startswith(b" do_syscall_64+0x5d/0x90 (arch/x86/entry/common.c:46")
    assert b":76" not in rendered


def test_innermost_prints_what_a_lineinfo_kernel_prints() -> None:
    """``f+0x5d/0x90 (file:line)`` and nothing else: the promise is "the first location alone"."""
    assert _plain(_line(b" do_syscall_64+0x5d/0x90", _INLINED), "innermost") == (
        b" do_syscall_64+0x5d/0x90 (arch/x86/entry/common.c:46)\n"
    )


def test_the_annotation_stands_behind_the_module_bracket() -> None:
    line = _line(b" trigger_write+0xd7/0x120 [oopser]", places("oopser/main.c:88 in trigger_write"))
    assert _plain(line) == b" trigger_write+0xd7/0x120 [oopser] (oopser/main.c:88)\n"


def test_the_annotation_stands_behind_a_build_id_and_before_a_mark() -> None:
    line = _line(b" f+0x1/0x2 [drm 03d0564e0529947d67bb2008c3548be77279fd27] (P)", places("a.c:1 in f"))
    assert _plain(line) == b" f+0x1/0x2 [drm 03d0564e0529947d67bb2008c3548be77279fd27] (a.c:1) (P)\n"


@pytest.mark.parametrize("ending", [b"\r\n", b"\r\r\n", b"\r", b"", b"\n"])
def test_the_annotation_stands_before_the_line_end(ending: bytes) -> None:
    assert _plain(_line(b" f+0x1/0x2", places("a.c:1 in f"), ending=ending)) == b" f+0x1/0x2 (a.c:1)" + ending


def test_another_function_than_the_printed_one_is_named() -> None:
    line = _line(b" ? __pfx_kthread+0x10/0x10", places("kernel/kthread.c:300 in kthread"))
    assert _plain(line) == b" ? __pfx_kthread+0x10/0x10 (kernel/kthread.c:300 in kthread)\n"


def test_a_raw_address_is_given_its_function() -> None:
    line = _line(b" 0xffffffff81001005", places("fs/read_write.c:637 in ksys_write"))
    assert _plain(line) == b" 0xffffffff81001005 (fs/read_write.c:637 in ksys_write)\n"


def test_every_frame_of_a_line_gets_its_own_annotation() -> None:
    line = _line(b"[<0>] f+0x1/0x2 [<0>] g+0x3/0x4 x", places("f.c:1 in f"), places("g.c:2 in g"))
    assert _plain(line) == b"[<0>] f+0x1/0x2 (f.c:1) [<0>] g+0x3/0x4 (g.c:2) x\n"


@pytest.mark.parametrize("name", ['a"b.c', "a\\b.c", "a\\", "a\\u0041.c", '\\"', "a\udcff.c", "a\x1bb\n.c"])
def test_a_line_of_json_stays_one_whatever_a_path_holds(name: str) -> None:
    """As ``journalctl -o json`` writes it."""
    body = b'{"MESSAGE" : " f+0x1/0x2", "PRIORITY" : "4"}'
    rendered = _plain(_line(body, places(f"fs/{name}:1 in f")))
    message = json.loads(rendered)["MESSAGE"]
    assert message.startswith(" f+0x1/0x2 (fs/")
    assert message.endswith(":1)")
    assert json.loads(rendered)["PRIORITY"] == "4"


@pytest.mark.parametrize("missing", [missing for missing in Missing if missing is not Missing.AMBIGUOUS])
def test_a_miss_changes_nothing(missing: Missing) -> None:
    assert _plain(_line(b" f+0x1/0x2 tail", missing, ending=b"\r\n")) == b" f+0x1/0x2 tail\r\n"


def test_blocks_pass_through() -> None:
    data = b"any\xff\0bytes\r\n"
    assert PlainRenderer(RenderOptions()).render("log", LogBlock(data)) == data


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (2, b" f+0x1/0x2 (fs/0.c:10 or fs/1.c:10)\n"),
        (3, b" f+0x1/0x2 (fs/0.c:10 or fs/1.c:10 or fs/2.c:10)\n"),
        (4, b" f+0x1/0x2 (fs/0.c:10 or fs/1.c:10 or fs/2.c:10 or 1 more)\n"),
        (18, b" f+0x1/0x2 (fs/0.c:10 or fs/1.c:10 or fs/2.c:10 or 15 more)\n"),
    ],
)
def test_ambiguous_frames_show_three_candidates_and_a_count(count: int, expected: bytes) -> None:
    assert _plain(_ambiguous(b" f+0x1/0x2", *(places(f"fs/{number}.c:10 in f") for number in range(count)))) == expected


def test_candidates_inlined_from_one_place_are_told_apart() -> None:
    line = _ambiguous(b" f+0x1/0x2", places("i.h:1 in helper", "a.c:5 in f"), places("i.h:1 in helper", "b.c:6 in f"))
    assert _plain(line) == b" f+0x1/0x2 (a.c:5 or b.c:6)\n"


def test_a_candidate_without_a_line_is_not_hidden() -> None:
    assert _plain(_ambiguous(b" f+0x1/0x2", places("a.c:5 in f"), ())) == b" f+0x1/0x2 (a.c:5 or ?)\n"


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.sampled_from(["chain", "innermost"]))
def test_no_path_or_name_breaks_the_line_or_steers_a_terminal(text: str, inlines: str) -> None:
    controls = {*map(chr, range(32)), *map(chr, range(127, 160))}
    chain = places("a.h:1 in x", "b.c:2 in f")
    hostile = (chain[0]._replace(file=text, function=text), chain[1]._replace(file=text))
    rendered = _plain(_line(b" f+0x1/0x2", hostile), inlines).decode()
    assert rendered.startswith(" f+0x1/0x2 (")
    assert rendered.endswith(")\n")
    assert not controls & set(rendered[:-1])


def test_bytes_of_a_path_that_are_no_utf8_come_out_as_they_are() -> None:
    path = b"caf\xe9.c".decode("utf-8", "surrogateescape")
    assert _plain(_line(b" f+0x1/0x2", places(f"{path}:3 in f"))) == b" f+0x1/0x2 (caf\xe9.c:3)\n"


# JSON lines.


def _json(line: AnnotatedLine | LogBlock, log: str = "oops.log") -> Any:
    rendered = JsonLinesRenderer().render(log, line)
    assert rendered.endswith(b"\n")
    assert rendered.count(b"\n") == 1
    assert rendered.isascii()
    return json.loads(rendered)


def test_every_field_of_a_line_is_as_promised() -> None:
    line = _line(b"[ 1.0]  vfs_write+0x1c6/0xff0", places("fs/read_write.c:686 in vfs_write"), number=12)
    assert _json(line) == {
        "log": "oops.log",
        "line": 12,
        "text": "[ 1.0]  vfs_write+0x1c6/0xff0",
        "frames": [
            {
                "span": [8, 29],
                "symbol": "vfs_write",
                "offset": 454,
                "size": 4080,
                "module": None,
                "build_id": None,
                "address": None,
                "pc": "return",
                "reliable": True,
                "locations": [
                    {"file": "fs/read_write.c", "line": 686, "function": "vfs_write", "inlined": False},
                ],
                "missing": None,
            },
        ],
    }


def test_chains_modules_and_marks_are_told() -> None:
    frame = _json(_line(b" ? f+0x1/0x20 [mod 0123abcd]", _INLINED))["frames"][0]
    assert (frame["module"], frame["build_id"], frame["reliable"]) == ("mod", "0123abcd", False)
    assert [(place["function"], place["inlined"]) for place in frame["locations"]] == [
        ("do_syscall_x64", True),
        ("do_syscall_64", False),
    ]
    assert frame["span"] == [3, 3 + len("f+0x1/0x20")]


def test_a_raw_address_has_neither_symbol_nor_offset() -> None:
    frame = _json(_line(b" 0xffffffff81001005", Missing.NO_OFFSET))["frames"][0]
    assert frame["address"] == 0xFFFFFFFF81001005
    assert (frame["symbol"], frame["offset"], frame["size"]) == (None, None, None)
    assert (frame["locations"], frame["missing"]) == ([], "no-offset")


@pytest.mark.parametrize(
    ("body", "pc"), [(b" f+0x1/0x2", "return"), (b"RIP: 0010:f+0x1/0x2", "exact"), (b"calling  f+0x0/0x2 @ 1", "entry")]
)
def test_what_the_address_means_is_told(body: bytes, pc: str) -> None:
    assert _json(_line(body, Missing.NO_LINE))["frames"][0]["pc"] == pc


@pytest.mark.parametrize("missing", list(Missing))
def test_every_miss_is_a_word(missing: Missing) -> None:
    frame = _json(_line(b" f+0x1/0x2", missing))["frames"][0]
    assert frame["missing"] == missing.value
    assert frame["locations"] == []
    assert missing.value == missing.name.lower().replace("_", "-")


def test_the_promised_words_for_misses_exist() -> None:
    promised = "no-kernel no-module no-table no-symbol size-differs ambiguous hashed no-line data corrupt"
    assert set(promised.split()) <= {missing.value for missing in Missing}


def test_an_ambiguous_frame_lists_every_candidate() -> None:
    candidates = [places(f"fs/{number}.c:10 in f") for number in range(5)]
    frame = _json(_ambiguous(b" f+0x1/0x2", *candidates))["frames"][0]
    assert frame["missing"] == "ambiguous"
    assert [chain[0]["file"] for chain in frame["candidates"]] == [f"fs/{number}.c" for number in range(5)]


def test_an_annotated_frame_is_neither_located_nor_missed_but_told() -> None:
    line = LogLine(1, b" f+0x1/0x2 (a.c:1)", b"\n")
    (frame,) = find_frames(line)
    told = _json(AnnotatedLine(line, [Resolution(frame, (), None)]))["frames"][0]
    assert (told["locations"], told["missing"], told["annotated"]) == ([], None, True)


@given(st.binary(max_size=40).filter(lambda data: b"\n" not in data))
def test_spans_are_byte_ranges_and_the_text_can_be_turned_back_into_bytes(before: bytes) -> None:
    body = before + b"  caf\xc3\xa9\xff  f+0x1/0x20"
    line = LogLine(1, body, b"\r\n")
    resolutions = [Resolution(frame, (), Missing.NO_LINE) for frame in find_frames(line)]
    told = _json(AnnotatedLine(line, resolutions))
    assert told["text"].encode("utf-8", "surrogateescape") == body
    assert body[slice(*told["frames"][-1]["span"])] == b"f+0x1/0x20"


def test_lines_without_frames_and_blocks_have_no_object() -> None:
    renderer = JsonLinesRenderer()
    assert renderer.render("log", LogBlock(b"text\n")) == b""
    assert renderer.render("log", AnnotatedLine(LogLine(1, b"Kernel Offset: 0x0", b"\n"), [])) == b""


def test_the_summary_is_as_promised() -> None:
    summary = Summary()
    summary.lines = 99
    summary.kernels.append({"file": "vmlinux", "release": "6.1.0", "build_id": "01"})
    summary.count(_line(b" f+0x1/0x2", places("a.c:1 in f")))
    summary.count(_line(b" f+0x1/0x2 [m]", Missing.NO_MODULE))
    summary.count(_line(b" v+0x1/0x2", Missing.DATA))
    assert json.loads(JsonLinesRenderer().finish(summary)) == {
        "summary": {
            "lines": 99,
            "frames": 3,
            "annotated": 1,
            "missing": {"no-module": 1, "data": 1},
            "kernels": [{"file": "vmlinux", "release": "6.1.0", "build_id": "01"}],
        },
    }


# The summary for people.


def test_the_summary_has_one_sentence_a_module_and_cause_the_most_frequent_first() -> None:
    summary = Summary()
    summary.count(_line(b" f+0x1/0x2", places("a.c:1 in f")))
    summary.count(_line(b" g+0x1/0x2 [m]", Missing.NO_MODULE))
    for _ in range(2):
        summary.count(_line(b" h+0x1/0x2", Missing.NO_SYMBOL))
    assert list(summary.sentences()) == [
        f"1 of 4 frames annotated; 2 in the kernel: {Missing.NO_SYMBOL.sentence}",
        f"1 in m: {Missing.NO_MODULE.sentence}",
    ]
    assert summary.missed == 3


def test_the_summary_is_silent_when_nothing_was_missed() -> None:
    summary = Summary()
    summary.count(_line(b" f+0x1/0x2", places("a.c:1 in f")))
    summary.count(_line(b" v+0x1/0x2", Missing.DATA))
    assert list(summary.sentences()) == []
    assert summary.missed == 0


@pytest.mark.parametrize("name", RENDERERS)
def test_every_format_has_a_renderer(name: str) -> None:
    renderer = make_renderer(name, RenderOptions())
    line = _line(b" f+0x1/0x2", places("a.c:1 in f"))
    assert b"a.c" in renderer.render("log", line)
    assert isinstance(renderer.finish(Summary()), bytes)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        # Both from the examples of the v0 mangling's specification (RFC 2603) and of the legacy scheme.
        ("_RNvC6_123foo3bar", "123foo::bar"),
        ("_RNvMs4_NtC6kernel5errorNtB5_5Error13to_blk_status", "<kernel::error::Error>::to_blk_status"),
        ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
        # Not Rust, or not readable: as they are.
        ("vfs_write", "vfs_write"),
        ("_ZN3foo3barEv", "_ZN3foo3barEv"),
        ("_R", "_R"),
        ("_RNvv", "_RNvv"),
        ("_RNv" + "v" * 5000, "_RNv" + "v" * 5000),
    ],
)
def test_rust_names_are_shown_as_people_write_them(name: str, shown: str) -> None:
    assert readable(name) == shown


def test_a_rust_name_that_grows_without_bound_is_left_as_it_is() -> None:
    # Each tuple holds the one before it twice.
    name = "_RINvC1a1b"
    place = len(name) - 2
    name += "TllE"
    for _ in range(60):
        start = len(name) - 2
        digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        number, reference = place - 1, ""
        while number or not reference:
            number, digit = divmod(number, 62)
            reference = digits[digit] + reference
        name += f"TB{reference}_B{reference}_E"
        place = start
    assert readable(name + "E") == name + "E"


def test_demangling_can_be_switched_off() -> None:
    (frame,) = find_frames(LogLine(1, b" rust_helper+0x1/0x2", b""))
    place = Location("rust/kernel/error.rs", 7, "_RNvC6_123foo3bar", inlined=True)
    resolution = Resolution(frame, (place, place._replace(inlined=False)), None)
    assert b"_RNvC6_123foo3bar" in PlainRenderer(RenderOptions(demangle=False)).annotation(resolution)
    assert b"in 123foo::bar" in PlainRenderer(RenderOptions()).annotation(resolution)


def test_reading_a_name_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    # The library prints what it could read of some names that are none; standard output is the log's alone.
    for name in (
        "_RYYY",
        "_RNvC1a",
        "_RMC0",
        "_ZN4core3fmt17h0123456789abcdefE",
        "_RMCs4fqI2P2rA04_13const_genericINtBb_8UnsignedKhb_E",
    ):
        readable(name)
    assert capsys.readouterr().out == ""
