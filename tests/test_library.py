"""The public names: they are where they are said to be, typed, described, and the document about them runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import annotate

REPOSITORY = Path(__file__).parent.parent
DOCUMENT = REPOSITORY / "docs" / "library.md"


def test_the_examples_of_the_document_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    result = doctest.testfile(str(DOCUMENT), module_relative=False, encoding="utf-8")
    assert result.attempted > 25
    assert result.failed == 0


def test_every_public_name_is_there() -> None:
    for name in annotate.__all__:
        assert getattr(annotate, name) is not None
    assert set(annotate.__all__) <= set(dir(annotate))
    assert list(annotate.__all__) == sorted(annotate.__all__)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'annotate_everything'"):
        _ = annotate.annotate_everything  # type: ignore[attr-defined]


def test_type_checkers_and_the_program_see_the_same_names() -> None:
    tree = ast.parse((REPOSITORY / "annotate" / "__init__.py").read_text())
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    typed = {
        alias.name: str(node.module).removeprefix("annotate.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == annotate._HOMES
    assert set(annotate.__all__) == set(typed)


def test_every_public_name_stands_in_the_document_or_is_said_to_be_an_error_or_a_part() -> None:
    text = DOCUMENT.read_text()
    unnamed = {name for name in annotate.__all__ if name not in text}
    parts = {"Frame", "LinkAddr", "RunAddr", "Symbol", "Piece", "Wait", "Repeats", "Summary", "read_frame"}
    assert {name for name in unnamed if not name.endswith("Error")} - parts == set()


@pytest.mark.parametrize("name", [name for name in annotate.__all__ if name not in ("Piece", "LinkAddr", "RunAddr")])
def test_every_public_name_and_its_methods_are_described(name: str) -> None:
    value = getattr(annotate, name)
    assert (value.__doc__ or "").strip()
    for method_name, method in vars(value).items() if inspect.isclass(value) else ():
        if not method_name.startswith("_") and inspect.isfunction(method):
            assert (method.__doc__ or "").strip(), f"{name}.{method_name}"


PROGRAM = """
from __future__ import annotations

from typing import assert_type

from annotate import (
    Absence, AnnotatedLine, AnnotateError, Annotator, Frame, ImageSource, KernelId, KernelImage, Location, LogBlock,
    LogFacts, LogLine, Missing, PcKind, PlainRenderer, Renderer, RenderOptions, Repeats, Resolution, Summary,
    annotate_all, find_frames, open_kernel, read_frame, resolve_frame,
)


class Files:
    remembers = False

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        answers = piece.resolutions if isinstance(piece, AnnotatedLine) else ()
        return b"".join(place.file.encode() for answer in answers for place in answer.locations)

    def finish(self, summary: Summary) -> bytes:
        return b"%d" % summary.frames


class Nothing:
    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> KernelImage | Absence:
        return Absence(Missing.NO_KERNEL, "")


def run(log: bytes) -> bytes:
    try:
        kernel = open_kernel("vmlinux", warn=print)
    except AnnotateError as error:
        return error.problem.encode()
    source: ImageSource = Nothing()
    source = kernel
    renderers: list[Renderer] = [Files(), PlainRenderer(RenderOptions())]
    annotator = Annotator(source, LogFacts(kernel=KernelId("6.1")))
    pieces = [*annotator.feed(log), *annotator.flush()]
    assert_type(annotate_all(log, kernel), list[AnnotatedLine])
    assert_type(resolve_frame("f+0x1/0x2", kernel, PcKind.RETURN), Resolution)
    assert_type(resolve_frame("f", kernel).locations, tuple[Location, ...])
    assert_type(find_frames(LogLine(1, b"", b"")), list[Frame])
    assert_type(read_frame("f"), Frame | None)
    return b"".join(renderer.render("", piece) for renderer in renderers for piece in pieces)
"""


def check_types(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    if find_spec("mypy") is None:
        pytest.skip("no mypy to check types with")
    (folder / "program.py").write_text(program)
    arguments = ("-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent", "program.py")
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=folder)


def test_a_program_that_uses_it_passes_strict_type_checks(tmp_path: Path) -> None:
    done = check_types(PROGRAM, tmp_path)
    assert done.returncode == 0, done.stdout


def test_a_name_that_is_misspelled_is_seen_by_type_checkers(tmp_path: Path) -> None:
    done = check_types("from annotate import Annotater\n", tmp_path)
    assert done.returncode == 1
    assert 'Module "annotate" has no attribute "Annotater"' in done.stdout
