"""Any text comes out as it went in but for the insertions, however it is cut; annotated again, it stays as it is."""

from __future__ import annotations

import json
import random
import re
from html.parser import HTMLParser
from itertools import islice
from typing import TYPE_CHECKING, Final

from fake_world import INSERTION, NAIVE_FRAME, world_of

from annotate.annotator import Annotator, LogFacts
from annotate.log.formats import FRAME_FORMATS
from annotate.memory import Memory
from annotate.model import AnnotatedLine, Repeats
from annotate.render import RENDERERS, make_renderer
from annotate.render.renderer import RenderOptions
from annotate.summary import Summary
from fuzz.targets import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from annotate.model import LogBlock
    from annotate.resolve import ImageSource

WORDS: Final = (
    b"Call Trace:\n", b" <TASK>\n", b"RIP: 0010:", b"pc : ", b"lr : ", b"PC is at ", b"? ", b"vfs_write+0x1c6/0xff0",
    b" [ext4]", b" [ext4 0123456789abcdef]", b"[<ffffffff81000000>] ", b"(a.c:1)", b"[   12.345678] ", b"<4>", b"\r\n",
    b"Linux version 6.1.0 (a@b) #1 SMP", b"Modules linked in: ext4", b"Kernel Offset: 0x2000000 from 0x",
    b"\x1b[31m", b"\x1b[0m", b"------------[ cut here ]------------\n", b"0xffffffff81000000", b"_RNvC1a1b", b'"',
)  # fmt: skip

#: Paths of the dict world hold two of them, which tells its insertions from the text; so the text has none.
_MARKS: Final = re.compile(rb"@+")

#: Bytes of a piece of a sample log, and pieces with a frame that are taken of one.
_PIECE: Final = 500
_PIECES: Final = 3

for _name in RENDERERS:
    make_renderer(_name, RenderOptions())  # imported now, so that they are watched


def check(data: bytes) -> None:
    """The first two bytes decide where the rest is cut."""
    log = _MARKS.sub(b"@", data[2:])
    world = world_of(log)
    chunks = list(_cut(log, random.Random(data[:2])))
    for name in RENDERERS:
        whole = _render(name, world, [log])
        assert _render(name, world, chunks) == whole, f"{name}: the cuts make a difference"
        if make_renderer(name, RenderOptions()).remembers:
            assert _render(name, world, [log], Memory()) == whole, f"{name}: the memory makes a difference"
            assert _render(name, world, chunks, Memory()) == whole, f"{name}: the memory and the cuts make one"
        if name in _READINGS:
            _READINGS[name](whole, log)
    annotated = _render("text", world, [log])
    assert _render("text", world, [annotated]) == annotated, "annotated again, it changes"
    for options in (RenderOptions(inlines="innermost"), RenderOptions(demangle=False)):
        _check_text(_render("text", world, [log], options=options), log)
    # Where a line is answered before the next one came, the answer may be another, but the text is the same.
    _check_text(_render("text", world, chunks, Memory(), settles=True), log)


def _cut(log: bytes, generator: random.Random) -> Iterator[bytes]:
    longest = generator.choice((8, 60, 500))
    position = 0
    while position < len(log):
        size = generator.randrange(longest + 1)  # nothing, too
        yield log[position : position + size]
        position += size


def _render(
    name: str,
    world: ImageSource,
    chunks: Sequence[bytes],
    memory: Memory | None = None,
    *,
    options: RenderOptions = RenderOptions(),  # noqa: B008  # a constant
    settles: bool = False,
) -> bytes:
    """The output as the front door makes it."""
    renderer, summary, output = make_renderer(name, options), Summary(), []
    annotator = Annotator(world, LogFacts(), memory)

    def write(pieces: Sequence[AnnotatedLine | LogBlock | Repeats]) -> None:
        for piece in pieces:
            if isinstance(piece, AnnotatedLine):
                summary.count(piece)
            elif isinstance(piece, Repeats):
                summary.count_again(piece.lines)
            output.append(renderer.render("log", piece))

    for chunk in chunks:
        write(annotator.feed(chunk))
        if settles:
            write(annotator.settle())
    write(annotator.flush())
    summary.lines += annotator.scanner.lines_read
    list(summary.sentences())
    return b"".join((*output, renderer.finish(summary)))


def _check_text(output: bytes, log: bytes) -> None:
    assert INSERTION.sub(b"", output) == log, "without its insertions the output is not the input"


def _check_json(output: bytes, log: bytes) -> None:
    lines = [json.loads(line) for line in output.splitlines()]
    assert all(isinstance(line, dict) for line in lines)
    assert [number for number, line in enumerate(lines) if "summary" in line] == [len(lines) - 1]
    for line in lines[:-1]:
        assert line["text"].encode("utf-8", "surrogateescape") in log
        assert line["frames"]


class _Page(HTMLParser):
    """The text of a page, without style and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in ("style", "script", "title")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script", "title")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)


#: A line that a page shows as it is.
_ORDINARY: Final = re.compile(rb"[ -~]+")


def _check_page(output: bytes, log: bytes) -> None:
    page = _Page()
    page.feed(output.decode("utf-8"))
    page.close()
    text = INSERTION.sub(b"", "".join(page.text).encode())
    position = 0
    for line in log.split(b"\n"):
        if _ORDINARY.fullmatch(line):
            position = text.find(line, position)
            assert position >= 0, f"not in the page, or out of order: {line!r}"


_READINGS: Final[Mapping[str, Callable[[bytes, bytes], None]]] = {
    "text": _check_text,
    "jsonl": _check_json,
    "html": _check_page,
}


def seeds() -> Iterator[bytes]:
    """Traces of the sample logs, and the example of each spelling of a frame."""
    for log in sorted(SAMPLES.rglob("*.log")):
        yield from (b"\1\2" + piece for piece in islice(_pieces(log.read_bytes()), _PIECES))
    for form in FRAME_FORMATS:
        yield b"\3\4" + form.example + b"\n"


def _pieces(log: bytes) -> Iterator[bytes]:
    """Whole lines, with a frame in them."""
    piece = b""
    for line in log.splitlines(keepends=True):
        piece += line
        if len(piece) >= _PIECE:
            if NAIVE_FRAME.search(piece):
                yield piece
            piece = b""
