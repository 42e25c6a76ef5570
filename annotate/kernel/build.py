"""Builds a file of tables from a vmlinux and modules, in several processes.

The code of the kernel is shared out among the processes unit by unit, modules one each. What is written does not depend
on how many processes there are.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import struct
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.generate import Description, contents, outline
from annotate.debuginfo.tokenizer import Tokenizer
from annotate.errors import AnnotateError, ChangedFileError, DamagedFileError, NoDebugInfoError
from annotate.kernel.images import open_image
from annotate.kernel.locate import is_kernel_name, module_name
from annotate.kernel.output import replacing
from annotate.tables.encode import encode_image, encode_maintainers, learn_codes
from annotate.tables.writer import FileWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from annotate.debuginfo.generate import Outline
    from annotate.debuginfo.image import DebugImage
    from annotate.debuginfo.tokenizer import Stretch
    from annotate.kernel.images import OpenFile
    from annotate.model import LinkAddr
    from annotate.tables.encode import Codes, EncodedImage
    from annotate.tables.tokens import Tokens


class Source(NamedTuple):
    """One file to build from."""

    path: str
    name: str  #: of the module; empty for the kernel
    made_from: str  #: what the table says that it was made from


class Options(NamedTuple):
    """How to build.

    ``maintainers``: what the table carries of a MAINTAINERS file. ``only``: addresses of the symbols that are wanted,
    by path; files not in it are left out.
    """

    jobs: int = 1
    has_inlines: bool = True
    maintainers: bytes | None = None
    only: Mapping[str, frozenset[LinkAddr]] | None = None


class Report(NamedTuple):
    """What a build has done: files without a table, each with the reason, and the size of the output.

    ``damage`` is what of the files that were used could not be read: units that the table has no lines of.
    """

    images: int
    left_out: Sequence[AnnotateError]
    damage: Sequence[AnnotateError]
    size: int


def sources_in(path: str) -> Iterator[Source]:
    """The sources in a file or a tree. One kernel of each tree is enough for its tables; so are files of one name."""
    if not os.path.isdir(path):
        name = module_name(path)
        yield Source(path, name, os.path.basename(path))
        return
    for parent, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if module_name(name) or is_kernel_name(name):
                full = os.path.join(parent, name)
                yield Source(full, module_name(name), os.path.relpath(full, path))


def build(
    sources: Sequence[Source],
    output: str,
    options: Options,
    advance: Callable[[int, int], None],
    groups: Iterable[Sequence[Source]] = (),
) -> Report:
    """Write the tables of ``sources`` to ``output``, which is replaced when all is done, or not at all.

    ``groups`` are more sources, such as a package yields; the files of one need not be there any more when the next is
    asked for. ``advance`` is told how much is done of how much, in bytes of ``sources``. A source that cannot be used
    is left out. Raises the error of the first when there is none that can be used, OSError when the file cannot be
    written, and what ``groups`` raises.
    """
    builder = _Builder(options, advance, sum(_size(source.path) for source in sources))
    _images.clear()
    _tokenizers.clear()  # the path may stand for another file than in the build before
    with _without_collection(), replacing(output) as file:
        with _pool(options.jobs) as pool:
            # A kernel comes first wherever it is: it teaches the codes.
            kernels = [source for source in sources if not source.name]
            images = builder.encode(kernels, pool)
            for group in groups:
                images += builder.encode(group, pool)
            images += builder.encode([source for source in sources if source.name], pool)
            images.sort(key=lambda image: (image.kind, image.name))
        if not images:
            raise next(
                iter(builder.left_out), NoDebugInfoError(output, "expected something to build from, found nothing")
            )
        if options.maintainers is not None:
            images.append(encode_maintainers(options.maintainers))
        writer = FileWriter(builder.codes or [])
        parts = [part for image in images for part in writer.add(image)]
        directory, header = writer.finish()
        file.writelines((header, *parts, directory))
        size = FileWriter.HEADER_SIZE + sum(map(len, parts)) + len(directory)
    return Report(len(images), builder.left_out, list(builder.damage.values()), size)


class _Builder:
    def __init__(self, options: Options, advance: Callable[[int, int], None], total: int) -> None:
        self._options = options
        self._advance = advance
        self._total = total
        self._done = 0
        self.codes: Codes | None = None
        self.left_out: list[AnnotateError] = []
        self.damage: dict[str, AnnotateError] = {}  # by what it says: several processes may meet the same

    def encode(self, sources: Sequence[Source], pool: ProcessPoolExecutor | None) -> list[EncodedImage]:
        """The images of all sources that can be used: kernels first, then modules by name."""
        # A tree may hold a file under several names.
        sources = list({os.path.realpath(source.path): source for source in reversed(sources)}.values())
        sources.sort(key=lambda source: (source.name, source.path))
        images: list[EncodedImage] = []
        rest = list(sources)
        # The first image teaches the codes: the kernel, the largest; without one a module.
        while rest and (self.codes is None or not rest[0].name):
            image = self._encode_in_pieces(rest.pop(0), pool)
            images += [image] if image is not None else []
        # The largest go first, so that none is left alone at the end.
        codes = self.codes or []
        by_size = sorted(rest, key=lambda source: (-_size(source.path), source.name, source.path))
        tasks = [(source, self._options, codes) for source in by_size]
        results = pool.map(_encode_module, tasks) if pool is not None else map(_encode_module, tasks)
        encoded = {}
        for source, (result, damage) in zip(by_size, results, strict=True):
            encoded[source] = result
            self._note(damage)
            self._add(_size(source.path))
        for source in rest:
            result = encoded[source]
            if isinstance(result, AnnotateError):
                self.left_out.append(result)
            elif result is not None:
                images.append(result)
        return images

    def _note(self, damage: Iterable[AnnotateError]) -> None:
        for error in damage:
            if isinstance(error, ChangedFileError):
                raise error  # the table would be of two files
            self.damage.setdefault(str(error), error)

    def _add(self, size: float) -> None:
        self._done += int(size)
        self._advance(self._done, self._total)

    def _encode_in_pieces(self, source: Source, pool: ProcessPoolExecutor | None) -> EncodedImage | None:
        options = self._options
        size = _size(source.path)
        for _ in range(options.jobs if pool is not None else 0):
            pool.submit(_prepare, source.path)  # type: ignore[union-attr]
        try:
            drawn, description = _outline(source, options)
        except AnnotateError as error:
            self.left_out.append(error)
            drawn = None
        if drawn is None:
            self._add(size)
            return None
        tasks = [_Piece(source.path, drawn.shift, options.has_inlines, tuple(piece)) for piece in drawn.pieces]
        tokens = []
        try:
            for some, damage in pool.map(_tokens, tasks) if pool is not None else map(_tokens, tasks):
                tokens.append(some)
                self._note(damage)
                self._add(size / len(tasks))
            codes = learn_codes([tokens]) if self.codes is None else self.codes
            image = encode_image(contents(drawn, tokens, description, has_inlines=options.has_inlines), codes)
        except _TOO_LARGE as error:
            self.left_out.append(_too_large(source, error))
            return None
        self.codes = codes
        return image


#: What packing numbers raises that no compiler writes: lines above 2^63, code that lies more than 4 GiB apart.
_TOO_LARGE = (OverflowError, struct.error)


def _too_large(source: Source, error: Exception) -> AnnotateError:
    return DamagedFileError(source.path, "", 0, "addresses and lines that a table can hold", str(error))


class _Piece(NamedTuple):
    path: str
    shift: int
    has_inlines: bool
    stretches: tuple[Stretch, ...]


#: The file that this process works on, by its path.
_images: dict[str, DebugImage] = {}
#: Its tokenizer, by path and how it was made.
_tokenizers: dict[tuple[str, int, bool], Tokenizer] = {}


def _prepare(path: str) -> None:
    """Open a file and read its index of units (70 ms) while its outline is drawn. Runs in a process of the pool."""
    with contextlib.suppress(AnnotateError):  # who draws the outline meets it, too
        _image(path).lines.unit_offset(0, 1)


def _image(path: str) -> DebugImage:
    if path not in _images:
        _images.clear()
        _images[path] = open_image(path).image
    return _images[path]


def _tokens(piece: _Piece) -> tuple[Tokens, list[AnnotateError]]:
    """The tokens of a piece, and what of the file was found broken so far. Runs in a process of the pool."""
    image = _image(piece.path)
    key = piece.path, piece.shift, piece.has_inlines
    if key not in _tokenizers:
        _tokenizers.clear()
        _tokenizers[key] = Tokenizer(image.lines, piece.shift, inlines=piece.has_inlines)
    tokens = _tokenizers[key].tokens(piece.stretches)
    return tokens, image.damage


def _encode_module(
    task: tuple[Source, Options, Codes],
) -> tuple[EncodedImage | AnnotateError | None, list[AnnotateError]]:
    """A module, None where nothing of it is wanted, and what was found broken. Runs in a process of the pool."""
    source, options, codes = task
    try:
        opened = open_image(source.path)
        drawn, description = _outline_of(opened, source, options)
        if drawn is None:
            return None, []
        tokenizer = Tokenizer(opened.image.lines, drawn.shift, inlines=options.has_inlines)
        tokens = [tokenizer.tokens(piece) for piece in drawn.pieces]
        image = encode_image(contents(drawn, tokens, description, has_inlines=options.has_inlines), codes)
    except AnnotateError as error:
        return error, []
    except _TOO_LARGE as error:
        return _too_large(source, error), []
    return image, opened.image.damage


def _outline(source: Source, options: Options) -> tuple[Outline | None, Description]:
    """The outline of a source, which is closed again: what was read of it would stay in memory for the whole build."""
    return _outline_of(open_image(source.path), source, options)


def _outline_of(opened: OpenFile[DebugImage], source: Source, options: Options) -> tuple[Outline | None, Description]:
    """The outline of an open source; None where nothing of it is wanted."""
    description = Description(source.name, opened.release, source.made_from)
    if options.only is None:
        return outline(opened.image), description
    only = options.only.get(source.path)
    return outline(opened.image, only) if only else None, description


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0  # opening it will say why


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage is collected: there are no cycles, and looking for some takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor | None]:
    if jobs < 2:
        yield None
        return
    # New processes rather than copies of this one: copying one that has threads is not safe.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker)
    # A terminal's Ctrl-C reaches them too, while Python itself still starts in them: they inherit that it is blocked.
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(jobs):
            pool.submit(_do_nothing)  # the processes start while the symbols are read here
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
    try:
        yield pool
    except BaseException:
        # The thread of Python 3.11's pool fails on work that was cancelled when its processes end; nobody waits for it.
        threading.excepthook = lambda _arguments: None
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown()
        raise
    pool.shutdown()


def _start_worker() -> None:
    gc.disable()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _do_nothing() -> None:
    """The first task of a process."""


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
