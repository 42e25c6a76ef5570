"""Excerpts for mails and commit messages, of real logs and of lines made for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import SAMPLES
from fake_world import places
from hypothesis import given
from hypothesis import strategies as st

from annotate.log.grammar import find_frames
from annotate.model import AnnotatedLine, LogBlock, LogLine, Missing, Resolution
from annotate.render.paste import PasteRenderer
from annotate.render.renderer import RenderOptions
from annotate.summary import Summary

if TYPE_CHECKING:
    from pathlib import Path

    from annotate.resolve import Chain

LOGS = sorted(SAMPLES.glob("*/*.log"))
#: The golden files: one of each kind of report.
GOLDEN = [
    "x86_64/p-null_deref",
    "x86_64/o-warn",
    "x86_64/hung",
    "x86_64/softlockup",
    "arm64/p-null_deref",
    "arm64/proc-stack",
]


def name_of(log: Path) -> str:
    return f"{log.parent.name}/{log.stem}"


def run(*arguments: str, data: bytes = b"") -> bytes:
    command = [sys.executable, "-m", "annotate", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("name", GOLDEN)
def test_sample_is_pasted_as_its_golden_file_says(name: str, *, update_golden: bool) -> None:
    log = SAMPLES / f"{name}.log"
    pasted = run("--format", "paste", str(log))
    golden = log.with_suffix(".paste")
    if update_golden:
        golden.write_bytes(pasted)
    assert golden.read_bytes() == pasted


@pytest.mark.parametrize("log", LOGS, ids=name_of)
def test_an_excerpt_is_the_same_of_the_log_of_its_text_form_and_of_itself(log: Path) -> None:
    (table,) = log.parent.glob("*.lineinfo")
    options = ("-k", str(table), "-m", str(log.parent), "--format", "paste")
    pasted = run(*options, str(log))
    assert pasted
    assert run(*options, data=run(*options[:4], str(log))) == pasted
    assert run(*options, data=pasted) == pasted


@pytest.mark.parametrize("log", LOGS, ids=name_of)
def test_every_location_of_an_excerpt_is_one_of_the_json_output(log: Path) -> None:
    told = set()
    for line in run("--format", "jsonl", str(log)).splitlines():
        for frame in json.loads(line).get("frames", ()):
            for place in frame["locations"]:
                function = place["function"] if place["inlined"] else frame["symbol"]
                told.add((function, f"{place['file']}:{place['line']}"))
    pasted = run("--format", "paste", str(log)).decode()
    entries = re.findall(
        r"^(?: |RIP: 0010:| => |pc : |lr : )([\w.]+)(?: \[\w+\])? \(([^() ]+:\d+)\)", pasted, re.MULTILINE
    )
    assert set(entries) - told == set()
    assert entries or name_of(log) in ("x86_64/ftrace-event", "x86_64/initcall")


@pytest.mark.parametrize("log", LOGS, ids=name_of)
def test_an_excerpt_holds_nothing_that_distracts(log: Path) -> None:
    pasted = run("--format", "paste", str(log))
    assert pasted.decode().replace("\n", "").isprintable()
    assert not re.search(rb"^\[ *\d+\.\d+\]|^RSP: |^RAX: |^x29: |^Code: |^Modules linked|<TASK>", pasted, re.MULTILINE)


# Lines made for it.


def answered(body: bytes, *answers: Chain | Missing) -> AnnotatedLine:
    line = LogLine(1, body, b"\n")
    return AnnotatedLine(
        line,
        [
            Resolution(frame, (), answer) if isinstance(answer, Missing) else Resolution(frame, answer, None)
            for frame, answer in zip(find_frames(line), answers, strict=True)
        ],
    )


def paste(*pieces: AnnotatedLine | bytes, inlines: str = "chain") -> list[str]:
    renderer = PasteRenderer(RenderOptions(inlines))
    parts = [renderer.render("-", LogBlock(each) if isinstance(each, bytes) else each) for each in pieces]
    return b"".join((*parts, renderer.finish(Summary()))).decode().splitlines()


F = places("fs/a.c:3 in f")
INLINED = places("include/linux/b.h:7 in g", "fs/a.c:3 in f")


def test_an_entry_loses_its_offset_and_keeps_its_module() -> None:
    assert paste(answered(b"[ 1.0]  f+0x1/0x20 [mod]", F)) == [" f [mod] (fs/a.c:3)"]


def test_an_inlined_call_has_a_line_of_its_own() -> None:
    line = answered(b" f+0x1/0x20", INLINED)
    assert paste(line) == [" g (include/linux/b.h:7) [inline]", " f (fs/a.c:3)"]
    assert paste(line, inlines="innermost") == [" f (include/linux/b.h:7)"]


def test_neither_colours_nor_json_around_a_frame_are_text_behind_it() -> None:
    expected = ["RIP: 0010:g (include/linux/b.h:7) [inline]", "RIP: 0010:f [mod] (fs/a.c:3)", " f (fs/a.c:3)"]
    for before, behind in ((b"[    1.0] ", b""), (b"\x1b[33m", b"\x1b[0m"), (b'   "msg": "', b'"')):
        pointer = answered(before + b"RIP: 0010:f+0x1/0x20 [mod]" + behind, INLINED)
        assert paste(pointer, answered(b" f+0x1/0x20", F)) == expected


def test_a_frame_without_a_line_keeps_what_is_known_of_it() -> None:
    assert paste(answered(b" f+0x1/0x20 [mod 0123abcd]", Missing.NO_MODULE)) == [" f+0x1/0x20 [mod 0123abcd]"]


def test_doubtful_entries_are_left_out_where_there_are_better_ones() -> None:
    doubtful = answered(b" ? f+0x1/0x20", F)
    assert paste(b"Call Trace:\n", doubtful, answered(b" f+0x1/0x20", F)) == ["Call Trace:", " f (fs/a.c:3)"]
    assert paste(b"Call Trace:\n", doubtful, b"words\n") == ["Call Trace:", " ? f (fs/a.c:3)"]


def test_the_title_keeps_its_words_and_the_instruction_pointer_its_label() -> None:
    lines = paste(
        b"[ 1.0] something before\n[ 1.0] ==================================================================\n",
        answered(b"[ 1.0] BUG: KASAN: use-after-free in f+0x1/0x20", F),
        b"[ 1.0] Read of size 8 at addr ffff8880 by task sh/1\n[ 1.0] CPU: 1 PID: 2 Comm: sh Not tainted   6.1.0 #1\n",
        answered(b"[ 1.0] RIP: 0010:f+0x1/0x20", INLINED),
        b"[ 1.0] RAX: 0123456789abcdef RBX: 0000000000000000\n[ 1.0] Call Trace:\n[ 1.0]  <TASK>\n",
        answered(b"[ 1.0]  f+0x1/0x20", F),
        b"[ 1.0]  </TASK>\n[ 1.0] something behind\n",
    )
    assert lines == [
        "BUG: KASAN: use-after-free in f (fs/a.c:3)",
        "Read of size 8 at addr ffff8880 by task sh/1",
        "CPU: 1 PID: 2 Comm: sh Not tainted 6.1.0 #1",
        "RIP: 0010:g (include/linux/b.h:7) [inline]",
        "RIP: 0010:f (fs/a.c:3)",
        "Call Trace:",
        " f (fs/a.c:3)",
    ]


def test_reports_are_parted_by_an_empty_line_in_one_log_and_in_two() -> None:
    title, entry = b"BUG: scheduling while atomic\n", answered(b" f+0x1/0x20", F)
    report = ["BUG: scheduling while atomic", " f (fs/a.c:3)"]
    assert paste(title, entry, title, entry) == [*report, "", *report]
    renderer = PasteRenderer(RenderOptions())
    parts = [renderer.render(log, each) for log in "ab" for each in (LogBlock(title), entry)]
    assert b"".join((*parts, renderer.finish(Summary()))).decode().splitlines() == [*report, "", *report]


def test_frames_outside_of_reports_stand_where_there_is_no_report() -> None:
    mention = answered(b"[ 1.0] driver: calling f+0x1/0x20 now", F)
    assert paste(b"[ 0.9] words\n", mention) == ["driver: calling f (fs/a.c:3) now"]
    assert paste(mention, b"Call Trace:\n", answered(b" f+0x1/0x20", F)) == ["Call Trace:", " f (fs/a.c:3)"]


def test_a_long_text_without_reports_is_not_held_back() -> None:
    renderer = PasteRenderer(RenderOptions())
    mention = answered(b"driver: calling f+0x1/0x20 now", F)
    written = b"".join(renderer.render("-", mention) for _ in range(1500))
    assert written.count(b"\n") == 1500


@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"Call Trace:", b" f (fs/a.c:3)", b"BUG: x", b"", b"\x1b[1m f (a.c:1)"])
    )
)
def test_of_any_bytes_only_text_that_prints_is_written(lines: list[bytes]) -> None:
    written = paste(b"\n".join(lines))
    assert all(line.isprintable() for line in written)
