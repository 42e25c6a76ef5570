"""What a reader sees of a line, and where it stands in the raw one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.log.visible import Visible, visible


def _seen(body: bytes) -> Visible:
    seen = visible(body)
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\x1b[1mf\x1b[0m+0x1", b"f+0x1"),
        (b"f\x1b[01;31m\x1b[K+0x1\x1b[m", b"f+0x1"),
        (rb"f\u001b[1m+0x1\x1b[0m\033[m", b"f+0x1"),
        (rb"a\nb\tc\rd\"e\x09f\x0ag\u000ah", b'a\nb\tc\rd"e\tf\ng\nh'),
        (rb"a\\n\\\"b", b'a\\\n\\\\"b'),
        (b"=20f+0x1=C2=A0[m]=09=3D", b" f+0x1 [m]\t="),
        (b"\xc2\xa0f\xc3\xa0", b" f\xc3\xa0"),
        (b"&lt;4&gt;&nbsp;f &#91;m&#93;&quot;&amp;", b'<4> f [m]"&'),
        (b"f (a/b.c:1) g (a.c:1 in h, b.c:2) [m] (a.c:1 or b.c:2)", b"f g [m]"),
        (b"f (?:1) g (?) h", b"f g h"),
    ],
)
def test_what_is_in_the_way_is_taken_out(body: bytes, text: bytes) -> None:
    assert _seen(body).text == text


@pytest.mark.parametrize(
    "body",
    [
        b" f+0x1/0x2 [m]",
        b" f+0x1/0x2 (P)",
        b" f+0x1/0x2 (unreliable) (a:1)",
        b"f (a.c:1)g",
        b"f (a.c (discriminator 3):1)",
        b"a&b; c=2 &unknown; =C2 =2 \xc2",
        rb"\a \u00 \x",
        b"\x1b]8;;x\x1b",
        b"(a/b.c:1)",
    ],
)
def test_what_is_not_in_the_way_stays(body: bytes) -> None:
    assert visible(body) is None


def test_a_location_is_remembered_where_it_stood() -> None:
    seen = _seen(b"\x1b[1m f+0x1 (a.c:1)\x1b[0m [m] (b.c:2) (c.c:3)")
    assert seen.text == b" f+0x1 [m]"
    assert seen.annotated == {len(b" f+0x1"), len(b" f+0x1 [m]")}


_PIECES = (
    *(b"\x1b[1m", b"\x1b[", b"\x1b", b"\\n", b"\\t", b"\\", b"\\u001b[0m", b"\\x1b[m", b"\\u000a", b'\\"', b'"', b"n"),
    *(b"=20", b"=C2=A0", b"=", b"20", b"\xc2\xa0", b"\xc2", b"&lt;", b"&#91;", b"&", b"lt;", b" (a.c:1)", b" (", b")"),
    *(b"a.c", b":1", b"f+0x1/0x2", b" ", b"[m]", b"\n"),
)


@given(st.lists(st.sampled_from(_PIECES), max_size=30).map(b"".join))
def test_every_byte_of_the_text_is_led_back_to_where_it_stands(body: bytes) -> None:
    seen = visible(body)
    if seen is None:
        return
    done = 0
    for position in range(len(seen.text)):
        start, end = seen.raw_start(position), seen.raw_end(position + 1)
        assert done <= start < end <= len(body)
        if end == start + 1:
            assert body[start:end] == seen.text[position : position + 1]
        done = end


@given(st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join), st.data())
def test_a_line_reads_the_same_with_a_location_in_it(body: bytes, data: st.DataObject) -> None:
    plain = visible(body)
    text = body if plain is None else plain.text
    blanks = [place for place in range(len(body) + 1) if body[place : place + 1] in (b" ", b"")]
    place = data.draw(st.sampled_from(blanks))
    annotated = body[:place] + b" (@@.c:7)" + body[place:]
    # A bracket that the text opens itself would be closed by the location.
    if b"(" not in body.replace(b" (a.c:1)", b"") and not body.endswith(
        (b"\\", b"&", b"=", b"\x1b", b"\x1b["), 0, place
    ):
        assert _seen(annotated).text == text
