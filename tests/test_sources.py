"""``--source``: the lines around a location, from one tree and nothing outside of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fake_world import places
from hypothesis import given
from hypothesis import strategies as st

from annotate.errors import UnreadableFileError
from annotate.kernel.sources import SourceTree
from annotate.log.grammar import find_frames
from annotate.model import AnnotatedLine, LogLine, Remembered, Repeats, Resolution
from annotate.render.excerpts import Excerpts
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions, StyleOptions
from annotate.render.styled import StyledRenderer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from annotate.resolve import Chain

TEXT = b"one\n\ttwo\nthree\nfour\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "outside.c").write_bytes(b"secret\n" * 9)
    root = tmp_path / "tree"
    (root / "fs").mkdir(parents=True)
    (root / "fs" / "a.c").write_bytes(TEXT)
    return root


def test_three_lines_and_fewer_at_the_ends(tree: Path) -> None:
    source = SourceTree(str(tree))
    assert source.around("fs/a.c", 2) == [(1, b"one"), (2, b"\ttwo"), (3, b"three")]
    assert source.around("fs/a.c", 1) == [(1, b"one"), (2, b"\ttwo")]
    assert source.around("fs/a.c", 4) == [(3, b"three"), (4, b"four")]
    assert not source.around("fs/a.c", 5)
    assert not source.around("fs/a.c", 0)
    assert source.sentence() == ""


def test_a_path_may_turn_round_within_the_tree_and_be_absolute(tree: Path) -> None:
    (tree / "mm").symlink_to("fs")
    source = SourceTree(os.path.relpath(tree))
    assert source.around("mm/../fs/a.c", 1)
    assert source.around("mm/a.c", 1)
    assert source.around(str(tree / "fs" / "a.c"), 1)
    assert source.find("fs/a.c") == os.path.realpath(tree / "fs" / "a.c")


@pytest.mark.parametrize(
    "file",
    [
        *(
            "../outside.c",
            "fs/../../outside.c",
            "link.c",
            "folder/outside.c",
            "loop.c",
            "fs",
            "pipe",
            "huge.c",
            "gone.c",
        ),
        *("", "a\0b", "x" * 5000, "\udcff.c", "\ud800.c", "fs/a.c/x"),
    ],
)
def test_nothing_else_is_opened(tree: Path, file: str) -> None:
    (tree / "link.c").symlink_to("../outside.c")
    (tree / "folder").symlink_to("..")
    (tree / "loop.c").symlink_to("loop.c")
    os.mkfifo(tree / "pipe")
    with (tree / "huge.c").open("wb") as huge:
        huge.truncate(1 << 40)
    source = SourceTree(str(tree))
    assert source.around(file, 1) == ()
    assert source.find(file) is None
    assert source.sentence() == f"source: 1 of 1 files not found under {tree}"


def test_an_absolute_path_outside_is_not_opened(tree: Path) -> None:
    assert SourceTree(str(tree)).around(str(tree.parent / "outside.c"), 1) == ()
    sibling = tree.parent / "tree2"
    sibling.mkdir()
    (sibling / "b.c").write_bytes(TEXT)
    assert SourceTree(str(tree)).around("../tree2/b.c", 1) == ()


def test_what_is_no_folder_is_said(tree: Path) -> None:
    with pytest.raises(UnreadableFileError, match="expected a folder of sources, found nothing"):
        SourceTree(str(tree / "gone"))
    with pytest.raises(UnreadableFileError, match="expected a folder of sources, found a file"):
        SourceTree(str(tree / "fs" / "a.c"))


def test_a_file_that_cannot_be_read_any_more_has_no_lines(tree: Path) -> None:
    source = SourceTree(str(tree))
    assert source.find("fs/a.c")
    (tree / "fs" / "a.c").unlink()
    assert source.around("fs/a.c", 1) == ()


# How they are shown.


def annotated(chain: Chain, ending: bytes = b"\n") -> AnnotatedLine:
    line = LogLine(1, b" f+0x1/0x2", ending)
    return AnnotatedLine(line, [Resolution(find_frames(line)[0], chain, None)])


def shown(source: SourceTree, line: AnnotatedLine, inlines: str = "chain") -> bytes:
    return PlainRenderer(RenderOptions(inlines, source=source)).render("log", line)


def test_rows_behind_the_line(tree: Path) -> None:
    assert shown(SourceTree(str(tree)), annotated(places("fs/a.c:2 in f"))) == (
        b" f+0x1/0x2 (fs/a.c:2)\n    |   1 one\n    | > 2         two\n    |   3 three\n"
    )


def test_several_files_are_named(tree: Path) -> None:
    (tree / "b.h").write_bytes(TEXT)
    chain = places("b.h:1 in g", "gone.c:7 in h", "fs/a.c:4 in f")
    source = SourceTree(str(tree))
    assert shown(source, annotated(chain)).splitlines()[1:] == [
        *(b"    | b.h", b"    | > 1 one", b"    |   2         two"),
        *(b"    | fs/a.c", b"    |   3 three", b"    | > 4 four"),
    ]
    assert source.sentence() == f"source: 1 of 3 files not found under {tree}"
    assert shown(source, annotated(chain), inlines="innermost").splitlines()[1:] == [
        *(b"    | > 1 one", b"    |   2         two"),
    ]


@pytest.mark.parametrize("ending", [b"\r\n", b"\r\r\n"])
def test_rows_end_as_the_line_does(tree: Path, ending: bytes) -> None:
    text = shown(SourceTree(str(tree)), annotated(places("fs/a.c:1 in f"), ending))
    assert text.split(ending) == [b" f+0x1/0x2 (fs/a.c:1)", b"    | > 1 one", b"    |   2         two", b""]


def test_an_unterminated_last_line_stays_unterminated(tree: Path) -> None:
    text = shown(SourceTree(str(tree)), annotated(places("fs/a.c:1 in f"), b""))
    assert text.split(b"\n") == [b" f+0x1/0x2 (fs/a.c:1)", b"    | > 1 one", b"    |   2         two"]


def test_a_line_that_is_remembered_comes_again_with_its_rows(tree: Path) -> None:
    renderer = PlainRenderer(RenderOptions(source=SourceTree(str(tree))))
    known = Remembered(b"", b" f+0x1/0x2")
    first = renderer.render("log", annotated(places("fs/a.c:1 in f"))._replace(remembered=known))
    assert renderer.render("log", Repeats([b"[ 2.0] "], [known])) == b"[ 2.0] " + first


def test_sources_do_not_steer_a_terminal(tree: Path) -> None:
    (tree / "fs" / "a.c").write_bytes(b"\x1b[2J\x9b\xe2\x80\xae\r\n\x07two\xe9\nthree")
    text = shown(SourceTree(str(tree)), annotated(places("fs/a.c:2 in f")))
    assert text.split(b"\n") == [
        b" f+0x1/0x2 (fs/a.c:2)",
        *(b"    |   1 ?[2J??", b"    | > 2 ?two\xe9", b"    |   3 three", b""),
    ]


class OneFile:
    """A tree in which every file has these lines."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def around(self, file: str, line: int) -> Sequence[tuple[int, bytes]]:
        return list(enumerate(self._lines, line))


@given(
    st.lists(st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")), max_size=3),
    st.integers(1, 40),
)
def test_rows_fit_a_narrow_terminal_and_are_one_line_each(lines: list[bytes], width: int) -> None:
    rows = Excerpts(OneFile(lines), RenderOptions(width=width)).rows(annotated(places("fs/a.c:1")).resolutions)
    assert len(rows) == len(lines)
    for row in rows:
        assert len(row.text) <= width
        assert row.text.startswith("    | "[:width].rstrip())
        assert row.text.splitlines() in ([row.text], [])


def test_rows_in_colour_are_the_same_rows(tree: Path) -> None:
    options = RenderOptions(source=SourceTree(str(tree)))
    text = StyledRenderer(options, StyleOptions()).render("log", annotated(places("fs/a.c:2 in f")))
    assert b"\n\x1b[2m    |   1 one\x1b[0m\n    | > 2         two\n" in text
