"""``lineinfo-annotate``: the filter."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from annotate import __version__
from annotate.annotator import Annotator, LogFacts
from annotate.cli.streams import Output, OutputClosedError, chunks, complain, lines_ahead
from annotate.kernel.images import Images, kind_of
from annotate.kernel.locate import Locator, SearchPlaces
from annotate.log.context import read_ahead
from annotate.model import AnnotatedLine
from annotate.render import RENDERERS, make_renderer
from annotate.render.renderer import RenderOptions
from annotate.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import LogBlock
    from annotate.render.renderer import Renderer

PROGRAM = "lineinfo-annotate"

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_MISSED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def make_parser() -> argparse.ArgumentParser:
    """The options, as the documentation and the shell see them."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Insert (file:line) behind every frame of a Linux kernel log. No other byte changes.",
        epilog="example: dmesg | lineinfo-annotate -k /usr/lib/debug",
    )
    parser.add_argument("logs", nargs="*", metavar="LOG", help="log files; none, or -, is standard input")
    parser.add_argument(
        "-k",
        "--kernel",
        action="append",
        default=[],
        metavar="PATH",
        help="a vmlinux with debug info, or a folder tree in which to look for kernels and modules; repeatable",
    )
    parser.add_argument(
        "-m",
        "--modules",
        action="append",
        default=[],
        metavar="PATH",
        help="a .ko file with debug info, or a folder tree of them; repeatable",
    )
    parser.add_argument(
        "--kaslr-offset",
        type=_hex,
        metavar="HEX",
        help="what the kernel was moved by, for raw addresses; default: the log's own 'Kernel Offset:'",
    )
    parser.add_argument(
        "--inlines",
        choices=("chain", "innermost"),
        default="chain",
        help="show the whole chain of inlined calls (default), or only the innermost place",
    )
    parser.add_argument(
        "--demangle",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show the names of inlined Rust functions as people write them (default)",
    )
    parser.add_argument("--format", choices=RENDERERS, default="text", help="output format (default: text)")
    parser.add_argument("--strict", action="store_true", help="exit with status 3 when a frame got no line")
    parser.add_argument("-v", "--verbose", action="store_true", help="say which files were tried for what")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def _hex(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a hexadecimal number, found {text!r}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the filter; return its exit status."""
    options = make_parser().parse_args(arguments)
    try:
        return _Run(options).run()
    except OutputClosedError:
        return EXIT_DONE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


class _Run:
    """One invocation."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._logs: list[str] = options.logs or ["-"]
        beside = dict.fromkeys(os.path.dirname(log) or "." for log in self._logs if log != "-")
        places = SearchPlaces(options.kernel, options.modules, tuple(beside))
        self._images = Images(Locator(places), self._complain, self._note)
        self._renderer: Renderer = make_renderer(options.format, RenderOptions(options.inlines, options.demangle))
        self._output = Output()
        self._summary = Summary()
        self._status = EXIT_DONE

    def run(self) -> int:
        """Annotate every log, then report."""
        for error in self._images.open_explicit():
            self._fail(str(error))
        try:
            for log in self._logs:
                self._annotate_file(log)
            self._report()
        except OSError as error:
            self._fail(f"output lost: {error.strerror or error}")
        if self._status == EXIT_DONE and self._options.strict and self._summary.missed:
            return EXIT_MISSED
        return self._status

    def _annotate_file(self, log: str) -> None:
        try:
            descriptor = 0 if log == "-" else os.open(log, os.O_RDONLY)
            os.fstat(descriptor)
        except OSError as error:
            self._fail(f"{log}: cannot be read: {error.strerror}")
            return
        try:
            if log == "-" and os.isatty(descriptor):
                self._complain("reading standard input: paste a log, then press Ctrl-D")
            self._annotate(log, descriptor)
        finally:
            if log != "-":
                os.close(descriptor)

    def _annotate(self, log: str, descriptor: int) -> None:
        try:
            slides = read_ahead(lines_ahead(descriptor))
        except OSError:
            slides = []  # what is wrong is told when it is read in earnest
        annotator = Annotator(self._images, LogFacts(self._options.kaslr_offset, slides))
        source = chunks(descriptor)
        while True:
            try:
                chunk = next(source, b"")
            except OSError as error:
                self._fail(f"{log}: cannot be read further: {error.strerror}")
                chunk = b""
            if not chunk:
                break
            self._write(log, annotator.feed(chunk))
        self._write(log, annotator.flush())
        self._summary.lines += annotator.scanner.lines_read
        if annotator.scanner.lines_too_long:
            self._note(f"{log}: {annotator.scanner.lines_too_long} lines are too long to be read for frames")

    def _write(self, log: str, pieces: Sequence[AnnotatedLine | LogBlock]) -> None:
        for piece in pieces:
            if isinstance(piece, AnnotatedLine):
                self._summary.count(piece)
        self._output.write(b"".join([self._renderer.render(log, piece) for piece in pieces]))

    def _report(self) -> None:
        for opened in self._images.used:
            self._summary.kernels.append(
                {
                    "file": opened.path,
                    "release": opened.release,
                    "build_id": opened.image.build_id,
                    "lines": kind_of(opened.image),
                }
            )
            for damage in opened.image.damage:
                self._complain(f"{damage}; frames of that unit have no line")
        self._output.write(self._renderer.finish(self._summary))
        for sentence in self._summary.sentences():
            self._complain(sentence)

    def _fail(self, sentence: str) -> None:
        self._complain(sentence)
        self._status = EXIT_FAILED

    def _complain(self, sentence: str) -> None:
        complain(PROGRAM, sentence)

    def _note(self, sentence: str) -> None:
        if self._options.verbose:
            complain(PROGRAM, sentence)


if __name__ == "__main__":
    sys.exit(main())
