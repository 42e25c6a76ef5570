"""``lineinfo cache``: the tables that were made before, by build id."""

from __future__ import annotations

import argparse
import os
import re
import time
from typing import TYPE_CHECKING

from annotate.cache import DEFAULT_LIMIT, TableCache
from annotate.cli.streams import TextOutput, complain
from annotate.cli.tables import complain_of, count, ended_by_sigterm, progress, sources_of
from annotate.errors import AnnotateError
from annotate.kernel.build import Options, sources_in
from annotate.kernel.cached import cache_ready_table, cache_tables
from annotate.kernel.identify import running
from annotate.kernel.images import is_table
from annotate.kernel.locate import Locator, SearchPlaces
from annotate.kernel.packages import is_package, table_of_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from annotate.kernel.build import Source

PROGRAM = "lineinfo"
COMMANDS = ("cache",)

EXIT_DONE, EXIT_FAILED = 0, 1

_SIZE = re.compile(r"(?P<number>\d{1,15})(?P<unit>[kKMGT]?)(?:i?B)?")
_UNITS = {"": 0, "k": 10, "K": 10, "M": 20, "G": 30, "T": 40}


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of ``lineinfo``."""
    cache = commands.add_parser("cache", help="tables that were made before, by build id")
    actions = cache.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("path", help="print the folder")
    actions.add_parser("list", help="print build id, bytes, last use, images and release of each table")
    add = actions.add_parser("add", help="make the table of a kernel and its modules")
    add.add_argument("sources", nargs="*", metavar="SOURCE", help="a vmlinux, a module, a tree, a package or a table")
    add.add_argument(
        "--jobs", type=count, default=os.cpu_count() or 1, metavar="N", help="processes; default: one a processor"
    )
    prune = actions.add_parser("prune", help="remove the tables that were not used for longest")
    prune.add_argument(
        "--limit", type=_size, default=DEFAULT_LIMIT, metavar="SIZE", help="bytes to keep, as in 500M; default: 1G"
    )


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 500M, found {text!r}")
    return int(match["number"]) << _UNITS[match["unit"]]


def run(options: argparse.Namespace) -> int:
    """Run one of the actions; return its exit status. Raises AnnotateError and OSError."""
    cache = TableCache()
    if options.action == "path":
        _print([cache.folder])
        return EXIT_DONE
    if options.action == "add":
        return _add(options, cache)
    if options.action == "list":
        _print(
            f"{entry.build_id} {entry.size} {_date(entry.used)} {entry.images} {entry.release or '-'}"
            for entry in cache.entries()
        )
    else:
        _print(f"{entry.build_id} {entry.size}" for entry in cache.prune(options.limit))
    return _complain_of_notes(cache)


def _print(lines: Iterable[str]) -> None:
    TextOutput().write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _complain_of_notes(cache: TableCache) -> int:
    for note in cache.notes:
        complain(PROGRAM, note)
    return EXIT_FAILED if cache.notes else EXIT_DONE


def _add(options: argparse.Namespace, cache: TableCache) -> int:
    build_options = Options(options.jobs)
    if not options.sources:
        return _add_located(cache, build_options)
    status = EXIT_DONE
    with ended_by_sigterm(), progress() as advance:
        for path in options.sources:
            try:
                if is_package(path):
                    made = table_of_package(path, cache, build_options, advance, complain_of)
                    _print([made] if made is not None else [])
                elif is_table(path):
                    _print(cache_ready_table(path, cache))
                else:
                    status = max(status, add_sources(list(sources_of(path)), cache, build_options, advance))
            except AnnotateError as error:
                complain(PROGRAM, str(error))
                status = EXIT_FAILED
    return max(status, _complain_of_notes(cache))


def _add_located(cache: TableCache, options: Options) -> int:
    """What is found of the kernel that runs here."""
    root = os.environ.get("LINEINFO_SYSROOT") or "/"
    kernel = running(root)
    locator = Locator(SearchPlaces(root=root, kernel=kernel))
    found = next(iter(locator.kernels(kernel)), None)
    if found is None:
        complain(
            PROGRAM, f"cache add: nothing of {kernel.release or 'any kernel'} is here: {locator.places_tried(kernel)}"
        )
        return EXIT_FAILED
    trees = [place.path for place in locator.standard_modules(kernel) if os.path.isdir(place.path)]
    sources = {source.path: source for path in (found.path, *trees[:1]) for source in sources_in(path)}
    with ended_by_sigterm(), progress() as advance:
        status = add_sources(list(sources.values()), cache, options, advance)
    return max(status, _complain_of_notes(cache))


def add_sources(
    sources: Sequence[Source], cache: TableCache, options: Options, advance: Callable[[int, int], None]
) -> int:
    """Have the tables of what was found in the cache, and print their paths; the exit status.

    Raises AnnotateError where nothing can be built from them.
    """
    left_out: list[AnnotateError] = []
    for path in cache_tables(sources, cache, options, advance, complain_of, left_out.append):
        _print([path])
    for error in left_out:
        complain(PROGRAM, f"{error}; left out")
    return EXIT_FAILED if left_out else EXIT_DONE
