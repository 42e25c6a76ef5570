"""What a log can do to a terminal: nothing but colour it."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from conftest import SAMPLES
from hypothesis import given
from hypothesis import strategies as st

from annotate.model import LogBlock
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions
from annotate.render.terminal import Guard, GuardedRenderer
from annotate.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHOWN = [
    # what passes
    (b"a plain line\n", b"a plain line\n"),
    (b"tab\there\r\n", b"tab\there\r\n"),
    (b"serial\r\r\n", b"serial\r\r\n"),
    (b"\x1b[31mred\x1b[0m \x1b[m \x1b[1;38;5;9m\n", b"\x1b[31mred\x1b[0m \x1b[m \x1b[1;38;5;9m\n"),
    (b"\x1b[38:2::1:2:3m\n", b"\x1b[38:2::1:2:3m\n"),
    ("Grüße, 日本 😀\n".encode(), "Grüße, 日本 😀\n".encode()),
    (b"latin \xe9t\xe9\n", b"latin \xe9t\xe9\n"),
    # what does not
    (b"\x1b]0;title\x07\n", b"^[]0;title^G\n"),
    (b"\x1b]8;;http://x/\x1b\\text\x1b]8;;\x1b\\\n", b"^[]8;;http://x/^[\\text^[]8;;^[\\\n"),
    (b"\x1b]52;c;cm0gLXJm\x07", b"^[]52;c;cm0gLXJm^G"),
    (b"\x1b[2J\x1b[H\x1b[6n\x1bc\x1bP+q\x1b\\", b"^[[2J^[[H^[[6n^[c^[P+q^[\\"),
    (b"\x1b[31\n", b"^[[31\n"),
    (b"\x1b[?25l\x1b[>1m", b"^[[?25l^[[>1m"),
    (b"good\rbad\n", b"good^Mbad\n"),
    (b"x\r\r\r\r\r\n", b"x^M^M\r\r\r\n"),
    (b"a\bb\x7fc\x00d\x0be\x0cf\x05", b"a^Hb^?c^@d^Ke^Lf^E"),
    (b"\x9b2J \x9d0;x\x9c", b"\\x9b2J \\x9d0;x\\x9c"),
    (b"\xc2\x9b2J", b"\\x9b2J"),
    (b"\xc0\x9b \xe0\x80\x9b", b"\xc0\\x9b \xe0\\x80\\x9b"),
    ("a\u202eb\u2066c\u2069d".encode(), b"a\\u202eb\\u2066c\\u2069d"),
    (b"\x1b[" + b"1" * 65 + b"m", b"^[[" + b"1" * 65 + b"m"),
]


def guarded(*chunks: bytes) -> bytes:
    guard = Guard()
    return b"".join([*map(guard.feed, chunks), guard.flush()])


@pytest.mark.parametrize(("log", "shown"), SHOWN)
def test_what_passes_and_what_is_spelled(log: bytes, shown: bytes) -> None:
    assert guarded(log) == shown


@pytest.mark.parametrize(("log", "shown"), SHOWN)
def test_it_does_not_matter_where_a_log_is_cut(log: bytes, shown: bytes) -> None:
    assert guarded(*(log[place : place + 1] for place in range(len(log)))) == shown
    for cut in range(len(log)):
        assert guarded(log[:cut], log[cut:]) == shown


HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(b"\x1b", b"[", b"]", b"\\", b"m", b"3", b";", b"\r", b"\n", b"\t"),
                *(b"\x9b", b"\xc2", b"\xe2\x80", b"\xae", b"\x07"),
            ]
        ),
        st.binary(max_size=3),
        st.text(max_size=3).map(lambda text: text.encode("utf-8", "surrogatepass")),
    ),
    max_size=40,
).map(b"".join)


@given(HOSTILE)
def test_nothing_dangerous_remains(log: bytes) -> None:
    shown = guarded(log)
    # Another way to say it: decoded, and without colours and line ends, all that is left is printable.
    text = shown.decode("utf-8", "surrogateescape")
    text = re.sub(r"\r{1,3}\n|\x1b\[[0-9;:]*m", "", text).replace("\n", "").replace("\t", "")
    bad = [character for character in text if is_dangerous(character)]
    assert bad == []


def is_dangerous(character: str) -> bool:
    """By what ECMA-48 and Unicode say, not by the patterns of the code."""
    if "\udc80" <= character <= "\udcff":
        return character < "\udca0"
    return unicodedata.category(character) == "Cc" or unicodedata.bidirectional(character) in (
        *("LRE", "RLE", "LRO", "RLO", "PDF"),
        *("LRI", "RLI", "FSI", "PDI"),
    )


@given(HOSTILE)
def test_shown_once_more_it_is_the_same(log: bytes) -> None:
    assert guarded(guarded(log)) == guarded(log)


@given(HOSTILE, st.lists(st.integers(0, 200), max_size=5))
def test_cuts_make_no_difference(log: bytes, cuts: Sequence[int]) -> None:
    places = sorted(min(cut, len(log)) for cut in (0, *cuts, len(log)))
    assert guarded(*(log[start:end] for start, end in pairwise(places))) == guarded(log)


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs"))).map(str.encode))
def test_printable_text_stays(log: bytes) -> None:
    assert guarded(log) == log


@pytest.mark.parametrize("log", sorted(SAMPLES.glob("*/*.log")), ids=lambda log: f"{log.parent.name}/{log.stem}")
def test_real_logs_lose_no_printable_byte(log: Path) -> None:
    data = log.read_bytes()
    assert re.sub(rb"\^.|\\x..", b"", guarded(data)) == re.sub(
        rb"\^.|\\x..|\r(?!\r{0,2}\n)|(?!\x1b\[[\d;:]*m)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", b"", data
    )


def test_a_guarded_renderer_spells_what_the_other_one_writes() -> None:
    renderer = GuardedRenderer(PlainRenderer(RenderOptions()))
    assert renderer.remembers
    parts = [renderer.render("log", LogBlock(data)) for data in (b"a\x1b", b"[0mb\x1b", b"[2Jc\r")]
    assert b"".join((*parts, renderer.finish(Summary()))) == b"a\x1b[0mb^[[2Jc^M"
