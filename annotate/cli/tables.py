"""``lineinfo build`` and ``lineinfo info``: tables of our own."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from annotate.cache import TableCache
from annotate.cli.streams import TextOutput, complain, read_file
from annotate.errors import AnnotateError, UnreadableFileError
from annotate.kernel.build import Options, build, sources_in
from annotate.kernel.images import OpenTable, kind_of, open_file
from annotate.kernel.packages import Unpacker, is_package, table_of_package, workspace
from annotate.kernel.wanted import wanted_symbols
from annotate.maintainers import needed_text, read_maintainers
from annotate.tables.versions import MAINTAINERS, open_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from annotate.kernel.build import Report, Source
    from annotate.kernel.images import Image, OpenFile
    from annotate.tables.versions import TableImage

PROGRAM = "lineinfo"
COMMANDS = ("build", "info")

EXIT_DONE = 0

#: Damaged places of the sources that are named.
_MOST_DAMAGE = 10


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of ``lineinfo``."""
    build_parser = commands.add_parser("build", help="make a table of a kernel and its modules")
    build_parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="a vmlinux, modules, trees with them, or packages"
    )
    build_parser.add_argument("-o", "--output", required=True, metavar="OUT.lineinfo", help="the table")
    build_parser.add_argument(
        "--jobs", type=count, default=os.cpu_count() or 1, metavar="N", help="processes; default: one a processor"
    )
    build_parser.add_argument(
        "--no-inlines",
        dest="inlines",
        action="store_false",
        help="leave out which function was inlined from where: the innermost location is all that is answered",
    )
    build_parser.add_argument(
        "--only-frames",
        action="append",
        metavar="LOG",
        help="only the functions that LOG names: a table small enough for a bug report; may be given more than once",
    )
    build_parser.add_argument("--maintainers", metavar="FILE", help="take the kernel's MAINTAINERS file along")
    info = commands.add_parser("info", help="say what a table holds")
    info.add_argument("file", metavar="FILE", help="a table, a vmlinux, a module or a package")


def count(text: str) -> int:
    """A number of processes."""
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1024, found {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Run one of the commands; return its exit status. Raises AnnotateError and OSError."""
    return _build(options) if options.command == "build" else _info(options.file)


def _build(options: argparse.Namespace) -> int:
    packages = [path for path in options.sources if is_package(path)]
    sources = [source for path in options.sources if path not in packages for source in sources_of(path)]
    logs = [read_file(path) for path in options.only_frames or ()]
    maintainers = _maintainers(options.maintainers) if options.maintainers else None
    build_options = Options(options.jobs, options.inlines, maintainers)
    try:
        with ended_by_sigterm(), progress() as advance:
            if packages:
                report = _build_packages(packages, sources, logs, options.output, build_options, advance)
            else:
                only = wanted_symbols(logs, sources) if logs else None
                report = build(sources, options.output, build_options._replace(only=only), advance)
    except OSError as error:
        raise UnreadableFileError(options.output, f"cannot be written: {error.strerror or error}") from error
    complain_of(report)
    return EXIT_DONE


def _maintainers(path: str) -> bytes:
    """What a table takes of a MAINTAINERS file. Raises AnnotateError when it is none."""
    data = read_file(path)
    read_maintainers(data, path)
    return needed_text(data)


def _build_packages(
    packages: Sequence[str],
    sources: Sequence[Source],
    logs: Sequence[bytes],
    output: str,
    options: Options,
    advance: Callable[[int, int], None],
) -> Report:
    """Build from packages too. How far it is, is how far they are read."""
    with workspace(output) as folder, Unpacker(folder, advance) as unpacker:
        if logs:
            # What a log asks for is looked up in any order.
            sources = [*sources, *unpacker.everything(packages)]
            groups: Iterable[list[Source]] = ()
            options = options._replace(only=wanted_symbols(logs, sources))
        else:
            groups = unpacker.groups(packages)
        try:
            report = build(sources, output, options, lambda _done, _total: None, groups)
        except AnnotateError as error:
            raise unpacker.named(error) from None
    return report._replace(
        left_out=[*map(unpacker.named, report.left_out)], damage=[*map(unpacker.named, report.damage)]
    )


def complain_of(report: Report) -> None:
    """Say what was left out of a table."""
    for problem in report.left_out:
        complain(PROGRAM, f"{problem}; left out")
    for problem in report.damage[:_MOST_DAMAGE]:
        complain(PROGRAM, f"{problem}; the table has no lines of it")
    if len(report.damage) > _MOST_DAMAGE:
        complain(PROGRAM, f"and {len(report.damage) - _MOST_DAMAGE} more")


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the build as an exception, so that nothing is left behind."""
    usual = signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def sources_of(path: str) -> Iterator[Source]:
    """The sources in a file or tree that was named. Raises UnreadableFileError when there are none."""
    found = False
    for source in sources_in(path):
        found = True
        yield source
    if not found:
        raise UnreadableFileError(path, "expected a vmlinux or modules below this folder, found none")


@contextlib.contextmanager
def progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not os.isatty(2):  # ``sys.stderr`` is None where it was closed
        yield lambda _done, _total: None
        return
    # Only here: importing rich takes 40 ms.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def open_any(path: str) -> OpenFile[Image] | OpenTable:
    """Open what the filter takes as ``-k``; of a package its table, made if need be. Raises AnnotateError."""
    if not is_package(path):
        return open_file(path)
    cache = TableCache()
    with ended_by_sigterm(), progress() as advance:
        table = table_of_package(path, cache, Options(os.cpu_count() or 1), advance, complain_of)
    if table is None:
        raise UnreadableFileError(path, f"its table could not be kept: {'; '.join(cache.notes)}")
    return open_file(table)


def _info(path: str) -> int:
    opened = open_any(path)
    output = TextOutput()
    lines = list(_about_table(opened) if isinstance(opened, OpenTable) else [])
    if not isinstance(opened, OpenTable):
        image = opened.image
        lines += [
            f"{path}: {'module' if image.is_module else 'kernel'}, lines: {kind_of(image)}",
            f"release {opened.release or 'unknown'}, {image.arch or 'unknown architecture'}, "
            f"build id {image.build_id or 'none'}",
        ]
    output.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    return EXIT_DONE


_PARTS = (
    "symbols, rows and inlined calls",
    "names of inlined functions",
    "paths",
    "index of names",
    "index of variables",
)


def _about_table(opened: OpenTable) -> Iterator[str]:
    """What a table holds: the file, each image, and the bytes by part."""
    file = opened.file
    size = os.path.getsize(opened.path)
    yield f"{opened.path}: lineinfo table, version {file.version}, {size} bytes, images: {file.count}"
    parts = dict.fromkeys(_PARTS, 0)
    heads = entries = symbols = stretches = 0
    for record in file.records():
        heads += record.head_size
        if record.kind == MAINTAINERS:
            yield f"MAINTAINERS: {record.size} bytes"
            continue
        image = open_record(file, record)
        head = image.head
        for part, bytes_ in zip(
            _PARTS,
            (head.blocks_size, head.names_size, head.paths_size, head.fingerprints_size, head.data_size),
            strict=True,
        ):
            parts[part] += bytes_
        entries += head.entries
        symbols += head.symbols
        stretches += head.stretches
        yield _about_image(image, record.size)
    total = max(stretches, 1)
    yield f"{symbols} symbols at {entries} addresses, {stretches} stretches of code with a line"
    yield "       bytes       a  part"
    yield "             stretch"
    rest = size - heads - sum(parts.values())
    for part, bytes_ in (*parts.items(), ("heads of images", heads), ("header and directory", rest), ("all", size)):
        yield f"{bytes_:12} {bytes_ / total:7.3f}  {part}"


def _about_image(image: TableImage, size: int) -> str:
    name = image.name.decode("utf-8", "surrogateescape") or "kernel"
    kinds = [] if image.has_chains else ["no inlined calls"]
    kinds += ["only some functions"] if image.is_partial else []
    remark = f" ({', '.join(kinds)})" if kinds else ""
    head = image.head
    return (
        f"{name}: release {image.release or 'unknown'}, {image.arch or 'unknown architecture'}, build id "
        f"{image.build_id or 'none'}, {head.symbols} symbols, {head.stretches} stretches, {size} bytes, "
        f"made from {image.made_from}{remark}"
    )
