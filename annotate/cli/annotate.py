"""``lineinfo-annotate``: the filter."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

from annotate.annotator import Annotator, LogFacts, Wait
from annotate.cache import TableCache
from annotate.cli.options import PROGRAM, make_parser
from annotate.cli.streams import (
    LogSource,
    Output,
    OutputClosedError,
    Unwritten,
    complain,
    is_terminal,
    occupy_standard_descriptors,
)
from annotate.errors import AnnotateError, ChangedFileError
from annotate.kernel.identify import running
from annotate.kernel.images import Images, kind_of
from annotate.kernel.live import RunningKernel
from annotate.kernel.locate import PACKAGE_ENDINGS, Locator, SearchPlaces
from annotate.memory import Memory
from annotate.model import AnnotatedLine, KernelId, Repeats
from annotate.render import make_renderer
from annotate.render.renderer import RenderOptions
from annotate.resolve import NoMemory
from annotate.summary import Summary

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from annotate.annotator import Piece
    from annotate.kernel.images import Fetch
    from annotate.kernel.sources import SourceTree
    from annotate.maintainers import Maintainers
    from annotate.render.renderer import Renderer
    from annotate.triage.triager import Triager

#: How long what cannot be answered yet is held back while nothing more comes, in seconds. A bracket that was wrapped
#: into the next line comes together with the line before it; a dump takes its time to print the KASLR offset.
_SECONDS = {Wait.NOTHING: None, Wait.LINE: 0.02, Wait.SLIDE: 0.2}

#: Bytes that are let go when memory runs out, for what is still to be said and written; Python asks for a MiB at once.
_RESERVE = 4 << 20

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_MISSED = 0, 1, 2, 3


def servers(note: Callable[[str], None]) -> Fetch | None:
    """The debuginfod servers that the environment names; None where it names none."""
    if not os.environ.get("DEBUGINFOD_URLS", "").strip():
        return None
    from annotate.kernel.debuginfod import Client, options_from_environment, shared_cache

    options = options_from_environment(os.environ)
    return Client(options, shared_cache(os.environ), note=note) if options.urls else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the filter; return its exit status."""
    if arguments is None:
        # A signal that Python notes between its last look and a read that blocks would wait for the next line.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        occupy_standard_descriptors()
        # What is remembered of a log are no cycles; looking for some as often as usual takes a tenth of the time.
        gc.set_threshold(100_000)
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.code:
        _check_code(parser, options.format)
    try:
        return _Run(options).run()
    except OutputClosedError:
        return EXIT_DONE
    except MemoryError:
        complain(PROGRAM, "not enough memory: the log ends here")
        return EXIT_FAILED


def _check_code(parser: argparse.ArgumentParser, output: str) -> None:
    """End with a usage error where code cannot be shown."""
    if output == "jsonl":
        parser.error("--code inserts lines for people, and --format jsonl has no place for them")
    try:
        import capstone  # noqa: F401
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "capstone"
        parser.error(
            "--code needs capstone: pip install 'lineinfo-annotate[disasm]'" + ("" if missing else f" ({error})")
        )


class _Run:
    """One invocation."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._status = EXIT_DONE
        self._logs: list[str] = options.logs or ["-"]
        beside = dict.fromkeys(os.path.dirname(log) or "." for log in self._logs if log != "-")
        root = os.environ.get("LINEINFO_SYSROOT") or "/"
        running_here = running(root)
        assumed = KernelId(options.release) if options.release else running_here
        self._running = RunningKernel(root, running_here)
        self._cache = TableCache()
        kernels = [path for given in options.kernel for path in self._unpacked(given)]
        places = SearchPlaces(kernels, options.modules, tuple(beside), self._cache, root, assumed)
        fetch = servers(self._note) if options.debuginfod else None
        locator = Locator(places, lambda place: self._note(f"tried {place.path} ({place.reason}): absent"))
        self._images = Images(locator, self._complain, self._note, fetch, running_here)
        self._source: SourceTree | None = None
        self._renderer: Renderer = make_renderer(options.format, self._render_options())
        if options.code:
            from annotate.render.code import CodeRenderer

            self._renderer = CodeRenderer(self._renderer)
        self._output = Output()
        self._summary = Summary()
        self._triager: Triager | None = None
        self._maintainers: Maintainers | None = None
        self._told: set[str] = set()
        self._has_memory = True
        self._reserve = bytes(_RESERVE)  # of addresses: zeros that nobody touches take no memory

    def _unpacked(self, path: str) -> Sequence[str]:
        """The table of a package, which takes its time at first; any other file as it is; nothing for one of no use."""
        if not path.endswith(PACKAGE_ENDINGS):
            return (path,)
        # Building takes a second and more; the 30 ms of importing it are for those who do.
        from annotate.kernel.build import Options
        from annotate.kernel.packages import table_of_package

        try:
            table = table_of_package(path, self._cache, Options(os.cpu_count() or 1), lambda _done, _total: None)
        except AnnotateError as error:
            self._fail(str(error))
            return ()
        if table is None:
            self._fail(f"{path}: its table could not be kept: {'; '.join(self._cache.notes)}")
            return ()
        return (table,)

    def _render_options(self) -> RenderOptions:
        """How the output is to look, by what was asked for and by what it is."""
        options = self._options
        plain = RenderOptions(options.inlines, options.demangle)
        if options.source is not None:
            from annotate.kernel.sources import SourceTree

            try:
                self._source = SourceTree(options.source)
            except AnnotateError as error:
                self._fail(f"--source {error}")
        is_page = options.format == "html"
        is_wanted = is_page or "always" in (options.color, options.links) or self._source is not None
        if not is_wanted and not is_terminal(1):
            return plain
        from annotate.cli.terminal import Wishes, look

        wishes = Wishes(options.color, options.links, options.link_template, options.plumbing, is_raw=options.raw)
        return look(plain, wishes, self._source, self._images.misfits, self._complain, is_page=is_page)

    def run(self) -> int:
        """Annotate every log, then report."""
        try:
            for error in self._images.open_explicit():
                self._fail(str(error))
        except MemoryError:
            self._has_memory = False
            self._reserve = b""
            self._fail("not enough memory: no frame has a line")
        if self._options.triage:
            self._prepare_triage()
        try:
            for log in self._logs:
                self._annotate_file(log)
            self._report()
        except OSError as error:
            self._fail(f"output lost: {error.strerror or error}")
        if self._status == EXIT_DONE and self._options.strict and self._summary.missed:
            return EXIT_MISSED
        return self._status

    def _prepare_triage(self) -> None:
        from annotate.cli.triage import named_maintainers, read_plumbing
        from annotate.triage.triager import Triager

        try:
            self._triager = Triager(read_plumbing(self._options.plumbing))
            if self._options.maintainers is not None:
                self._maintainers = named_maintainers(self._options.maintainers)
        except AnnotateError as error:
            self._fail(str(error))

    def _triage(self, triager: Triager) -> None:
        from annotate.cli.triage import found_maintainers, remark

        if self._maintainers is None:
            try:
                self._maintainers = found_maintainers(self._images.maintainers_text())
            except AnnotateError as error:
                self._fail(str(error))
        crashes = triager.crashes(self._maintainers)
        self._summary.crashes = crashes
        self._summary.crash_remark = remark(crashes, self._maintainers, triager.overflow)

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
        source = LogSource(descriptor)
        ahead = source.ahead if source.is_seekable else None
        facts = LogFacts(self._options.kaslr_offset, ahead=ahead, running=self._running)
        images = self._images if self._has_memory else NoMemory()
        remembers = self._renderer.remembers and self._triager is None  # a triage sees every line
        annotator = Annotator(images, facts, Memory() if remembers else None)
        annotator.scanner.counts_lines = not self._renderer.remembers
        unwritten = Unwritten()
        reason = ""
        try:
            self._feed(log, source, annotator, unwritten)
        except (MemoryError, ImportError) as error:  # a part of Python that was not needed before cannot be loaded
            self._has_memory = False
            self._reserve = b""
            reason = f"not enough memory{f' ({error})' if str(error) else ''}"
        # Behind the handler: what was being worked on went with the error.
        if reason:
            self._fail(f"{log}: {reason}: the rest of it was not annotated")
            self._pass_through(log, source, unwritten)
        elif self._has_memory and not annotator.has_memory:
            self._has_memory = False
            self._reserve = b""
            self._fail("not enough memory: frames have no line from where it ran out")
        self._summary.lines += annotator.scanner.lines_read
        if annotator.scanner.lines_too_long:
            self._note(f"{log}: {annotator.scanner.lines_too_long} lines are too long to be read for frames")

    def _feed(self, log: str, source: LogSource, annotator: Annotator, unwritten: Unwritten) -> None:
        """Write a log with its annotations. Raises MemoryError; ``unwritten`` has then what did not come out."""
        while True:
            chunk = self._read(log, source, _SECONDS[annotator.waits])
            if chunk is None:
                pieces = annotator.settle()
            elif chunk:
                unwritten.append(chunk)
                pieces = annotator.feed(chunk)
            else:
                pieces = annotator.flush()
            self._write(log, pieces)
            held_back = annotator.held_back
            if held_back is not None:
                unwritten.keep(held_back)
            self._count(pieces)
            if chunk is not None and not chunk:
                return

    def _read(self, log: str, source: LogSource, seconds: float | None) -> bytes | None:
        """See ``LogSource.read``; what cannot be read further is at its end."""
        try:
            return source.read(seconds)
        except OSError as error:
            self._fail(f"{log}: cannot be read further: {error.strerror}")
            return b""

    def _pass_through(self, log: str, source: LogSource, unwritten: Unwritten) -> None:
        """Write the rest of a log as it is; the frames in it are not counted."""
        if self._options.format == "text":
            for chunk in unwritten.take():
                self._output.write(chunk)
            while chunk := self._read(log, source, None) or b"":
                self._output.write(chunk)

    def _write(self, log: str, pieces: Sequence[Piece]) -> None:
        text = b"".join([self._renderer.render(log, piece) for piece in pieces])
        self._output.write(text)
        if self._triager is not None:
            self._summary.written_end = text[-1:] or self._summary.written_end
            for piece in pieces:
                self._triager.take(log, piece)

    def _count(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, AnnotatedLine):
                self._summary.count(piece)
        if any(isinstance(piece, AnnotatedLine) for piece in pieces):
            self._tell_of_damage()
        for piece in pieces:
            if isinstance(piece, Repeats):
                self._summary.count_again(piece.lines)

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
            if opened.image.damage and self._cache.holds(opened.path):
                self._cache.set_aside(opened.path, f"{opened.path}: is damaged")
        self._tell_of_damage()
        for note in self._cache.notes:
            self._note(note)
        if self._triager is not None:
            self._triage(self._triager)
        self._output.write(self._renderer.finish(self._summary))
        if self._source is not None and (sentence := self._source.sentence()):
            self._complain(sentence)
        for sentence in self._summary.sentences():
            self._complain(sentence)

    def _tell_of_damage(self) -> None:
        """Say what of the files in use cannot be read, once; the log may come for days yet."""
        for opened in self._images.used:
            for damage in opened.image.damage:
                is_gone = isinstance(damage, ChangedFileError)
                lost = "frames that need more of it" if is_gone else "frames of that unit"
                sentence = f"{damage}; {lost} have no line"
                if sentence not in self._told:
                    self._told.add(sentence)
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
