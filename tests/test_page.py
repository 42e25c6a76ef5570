"""The page: all text of the log, nothing that a browser would run.

It is read with the standard library's parser, and in Chromium.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import unicodedata
from html import escape
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from conftest import SAMPLES
from fake_world import places
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.log.grammar import find_frames
from annotate.model import AnnotatedLine, Crash, Location, LogBlock, LogLine, Missing, Resolution, Subsystem
from annotate.render.html import HtmlRenderer
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions
from annotate.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: Elements that have no end.
VOID = {"meta", "br"}
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "div", "article"),
    *("h1", "h2", "h3", "p", "dl", "dt", "dd", "span", "a", "b", "i", "abbr", "code", "details", "summary", "br"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "id", "class", "href", "title", "aria-label", "tabindex"),
    "data-more",
}

HOSTILE = '</div></section><script>alert(1)</script>" onmouseover="alert(2)" <img src=x onerror=alert(3)>\'&amp;'
PIECES = [
    HOSTILE.encode(),
    b"\x1b[31mred\x1b[0m",
    b"a\tb\r",
    b"[ 1.0] Call Trace:",
    b"[ 1.0] RAX: 0123456789abcdef RBX: 00",
]
COLOUR = re.compile(rb"\x1b\[[\d;]{0,32}[mK]")


class Page(HTMLParser):
    """Reads a page; fails on anything that is not balanced or not among what a page is made of."""

    def __init__(self, data: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.links: list[str] = []
        self.lines: dict[str, str] = {}  #: by their id
        self.text = ""
        self.line = ""
        self.depth = 0
        self.feed(data.decode("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES
        values = dict(attrs)
        if "href" in values:
            self.links.append(values["href"] or "")
        if tag in VOID:
            return
        self.open.append(tag)
        label = values.get("id") or ""
        if re.fullmatch(r"(?:log\d+-)?L\d+", label):
            assert label not in self.lines
            self.line, self.depth = label, len(self.open)
            self.lines[label] = ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if self.line and len(self.open) < self.depth:
            self.line = ""

    def handle_data(self, data: str) -> None:
        if self.line:
            self.lines[self.line] += data
        elif "style" not in self.open:
            self.text += data


def page(pieces: Sequence[AnnotatedLine | LogBlock], options: RenderOptions | None = None, log: str = "-") -> bytes:
    renderer = HtmlRenderer(options or RenderOptions())
    summary = Summary()
    parts = [renderer.render(log, piece) for piece in pieces]
    return b"".join((*parts, renderer.finish(summary)))


def annotated(body: bytes, *chains: tuple[Location, ...], number: int = 1) -> AnnotatedLine:
    line = LogLine(number, body, b"\n")
    frames = find_frames(line)
    return AnnotatedLine(line, [Resolution(f, chain, None) for f, chain in zip(frames, chains, strict=True)])


def as_shown(data: bytes) -> str:
    """A line as the page shows it, said another way: character by character."""
    shown = ""
    for character in COLOUR.sub(b"", data).decode("utf-8", "surrogateescape"):
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:
            shown += f"\\x{code - 0xDC00:02x}"
        elif unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character != "\t":
            shown += f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
        else:
            shown += character
    return shown


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=60) | st.text().map(str.encode) | st.sampled_from(PIECES)), st.data())
def test_every_line_of_any_bytes_stands_in_the_page_and_none_of_it_is_markup(
    lines: list[bytes], cuts: st.DataObject
) -> None:
    data = b"\n".join(lines)
    ends = data.split(b"\n")
    cut = data.rfind(b"\n", 0, cuts.draw(st.integers(0, len(data)))) + 1  # blocks end where lines do
    shown = Page(page([LogBlock(data[:cut]), LogBlock(data[cut:])])).lines
    assert list(shown.values()) == [as_shown(line.rstrip(b"\r")) for line in (ends if ends[-1] else ends[:-1])]
    assert list(shown) == [f"L{number}" for number in range(1, len(shown) + 1)]


def test_a_line_without_end_is_written_in_parts() -> None:
    parts = [b"word " * 20_000, b"caf\xc3\xa9 " * 20_000, b"end\nnext"]
    shown = Page(page([LogBlock(part) for part in parts])).lines
    assert shown == {"L1": as_shown(parts[0] + parts[1] + b"end"), "L2": "next"}


CHAIN = places("include/linux/a.h:12 in inner", "b.h:7 in middle", "fs/c.c:9 in f")
BODIES = [
    b"[ 1.0]  f+0x1/0x20",
    b"[ 1.0] RIP: 0010:f+0x1/0x20 [mod]",
    b"BUG: KASAN: use-after-free in f+0x1/0x20 tail",
    HOSTILE.encode() + b" f+0x1/0x20 [m] " + HOSTILE.encode(),
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("inlines", ["chain", "innermost"])
@pytest.mark.parametrize("chain", [CHAIN[-1:], CHAIN])
def test_a_line_reads_as_the_text_form_does(body: bytes, inlines: str, chain: tuple[Location, ...]) -> None:
    options = RenderOptions(inlines)
    line = annotated(body.replace(b'"', b""), chain)  # within quotes the text form changes paths
    text = PlainRenderer(options).render("-", line).decode()
    assert Page(page([line], options)).lines["L1"] == text.rstrip("\r\n")


def test_what_a_sample_reads_as_is_its_text_form() -> None:
    log = str(SAMPLES / "x86_64" / "p-null_deref.log")
    html, text = (
        subprocess.run(
            [sys.executable, "-m", "annotate", "--format", name, log], capture_output=True, check=True
        ).stdout
        for name in ("html", "text")
    )
    shown = Page(html)
    assert list(shown.lines.values()) == [
        as_shown(line.rstrip(b"\r")) for line in text.removesuffix(b"\n").split(b"\n")
    ]
    assert re.search(r"\d+ of \d+ got a line", shown.text)


def test_paths_and_names_of_debug_info_are_text() -> None:
    place = Location(HOSTILE, 3, HOSTILE, inlined=True)
    line = annotated(b" f+0x1/0x20", (place, place._replace(inlined=False)))
    assert "<script>" in Page(page([line])).lines["L1"]


@pytest.mark.parametrize(
    ("target", "is_link"),
    [
        ("https://example.org/tree/fs/a.c?h=v6.1#n3", True),
        ("vscode://file/fs/a.c:3", True),
        ('https://e/" onmouseover="alert(1)', True),
        ("javascript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        ("data:text/html,x", False),
        ("//example.org", False),
        ("", False),
    ],
)
def test_only_what_no_browser_runs_is_linked(target: str, *, is_link: bool) -> None:
    found = Page(page([annotated(b" f+0x1/0x20", CHAIN[-1:])], RenderOptions(link=lambda _place, _kernel: target)))
    assert (target in found.links) is is_link
    assert len(found.links) == 2 + is_link  # to the report, and the line's own


def test_further_logs_have_ids_of_their_own() -> None:
    renderer = HtmlRenderer(RenderOptions())
    parts = [renderer.render(log, LogBlock(b"x\nlast")) for log in ("a.log", "b<i>.log")]
    found = Page(b"".join((*parts, renderer.finish(Summary()))))
    assert found.lines == {"L1": "x", "L2": "last", "log2-L1": "x", "log2-L2": "last"}
    assert "b<i>.log" in found.text


def test_without_a_log_there_is_a_page() -> None:
    assert Page(HtmlRenderer(RenderOptions()).finish(Summary())).lines == {}


@pytest.mark.parametrize("missing", [each for each in Missing if each is not Missing.AMBIGUOUS])
def test_a_frame_without_a_line_says_why(missing: Missing) -> None:
    line = LogLine(1, b" f+0x1/0x20", b"\n")
    rendered = page([AnnotatedLine(line, [Resolution(frame, (), missing) for frame in find_frames(line)])])
    assert escape(missing.sentence) in rendered.decode()
    assert Page(rendered).lines["L1"] == " f+0x1/0x20"


CRASH = Crash(
    f"KASAN: {HOSTILE}", 12, HOSTILE, HOSTILE, 7, HOSTILE, (HOSTILE,),
    (Subsystem(HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,), (HOSTILE,), (), HOSTILE),), HOSTILE,
)  # fmt: skip


def test_crashes_stand_in_the_report_and_lead_to_their_line() -> None:
    renderer, summary = HtmlRenderer(RenderOptions()), Summary()
    begin = renderer.render("-", LogBlock(b"x\n"))
    summary.crashes = [CRASH, CRASH._replace(title="other", frame=None, file=None, location_line=None, subsystems=())]
    found = Page(begin + renderer.finish(summary))
    assert found.links.count("#L12") == 2
    # All 12 words of the first one but its file, in which brackets are replaced; two of the other one.
    assert found.text.count(HOSTILE) == 11 + 2


# In a browser.


@pytest.fixture
def hostile_page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    options = RenderOptions(link=lambda place, _kernel: f"https://example.org/{place.file}")
    renderer, summary = HtmlRenderer(options), Summary()
    lines: list[AnnotatedLine | LogBlock] = [
        annotated(HOSTILE.encode() + b" f+0x1/0x20", (Location(HOSTILE, 3, "f", inlined=False),)),
        LogBlock(b"\0\x1b]8;;x\x07\xff\n"),
    ]
    summary.crashes = [CRASH]
    path.write_bytes(b"".join((*(renderer.render(HOSTILE, line) for line in lines), renderer.finish(summary))))
    return path


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: the page is read with the standard library's parser only")
def test_chromium_runs_nothing_and_has_nothing_to_complain_of(hostile_page: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    run = subprocess.run(
        [*command, "--enable-logging=stderr", "--dump-dom", hostile_page.as_uri()],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    assert b"CONSOLE" not in run.stderr, run.stderr.decode(errors="replace")
    found = Page(run.stdout)  # the elements that the browser has made
    assert found.lines["L1"].startswith(HOSTILE)
    assert found.lines["L2"] == "\\x00\\x1b]8;;x\\x07\\xff"
