"""Tables that come into the cache: made there of each kernel among some sources with its modules, or made elsewhere."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from annotate.errors import AnnotateError, NoDebugInfoError, UnrecognisedFileError
from annotate.kernel.build import build
from annotate.kernel.identify import release_of
from annotate.kernel.images import OpenTable, open_elf, open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from annotate.cache import TableCache
    from annotate.debuginfo.elf import ElfFile
    from annotate.kernel.build import Options, Report, Source


class Kin(NamedTuple):
    """A kernel and its modules, or modules alone."""

    build_id: str  #: of the kernel; of the first module where there is no kernel
    sources: Sequence[Source]


def kin_of(sources: Sequence[Source], leave_out: Callable[[AnnotateError], None]) -> list[Kin]:
    """The sources by kernel. One kernel gets all modules; of several each those in its folder, or of its release.

    What cannot be read, has no build id or is of none of the kernels goes to ``leave_out``.
    """
    kernels: dict[str, list[tuple[Source, ElfFile]]] = {}
    for source in sources:
        elf = None if source.name else _opened(source, leave_out)
        if elf is not None:
            kernels.setdefault(elf.build_id, []).append((source, elf))
    modules = [source for source in sources if source.name]
    if not kernels:
        errors: list[AnnotateError] = []
        first = next(filter(None, (_opened(source, errors.append) for source in modules)), None)
        if first is not None:
            return [Kin(first.build_id, modules)]  # the build says of the others what is wrong with them
        for error in errors:
            leave_out(error)
        return []
    if len(kernels) == 1:
        ((build_id, found),) = kernels.items()
        return [Kin(build_id, [*(source for source, _ in found), *modules])]
    folders = {
        os.path.dirname(source.path) + os.sep: build_id for build_id, some in kernels.items() for source, _ in some
    }
    releases = {release_of(elf): build_id for build_id, some in kernels.items() for _, elf in some}
    kin: dict[str, list[Source]] = {build_id: [source for source, _ in some] for build_id, some in kernels.items()}
    for source in modules:
        above = [folder for folder in folders if source.path.startswith(folder)]
        if above:
            kin[folders[max(above, key=len)]].append(source)
        elif (elf := _opened(source, leave_out)) is not None:
            owner = releases.get(release_of(elf) or "none")
            if owner is None:
                leave_out(NoDebugInfoError(source.path, "is of none of the kernels that were found with it"))
            else:
                kin[owner].append(source)
    return [Kin(build_id, some) for build_id, some in kin.items()]


def _opened(source: Source, leave_out: Callable[[AnnotateError], None]) -> ElfFile | None:
    try:
        elf = open_elf(source.path)
    except AnnotateError as error:
        leave_out(error)
        return None
    if not elf.build_id:
        leave_out(NoDebugInfoError(source.path, "has no build id: it cannot be cached"))
        return None
    return elf


def cache_tables(
    sources: Sequence[Source],
    cache: TableCache,
    options: Options,
    advance: Callable[[int, int], None],
    tell: Callable[[Report], None],
    leave_out: Callable[[AnnotateError], None],
) -> Iterator[str]:
    """Have a table of each kernel among the sources in the cache; their paths.

    One that is there is taken when it has every module of the sources. ``tell`` gets the report of each build. Where
    the cache cannot be used there is no path, and the cache's ``notes`` say why. Raises AnnotateError.
    """
    for kin in kin_of(sources, leave_out):

        def make(output: str, some: Sequence[Source] = kin.sources) -> None:
            tell(build(some, output, options, advance))

        names = {source.name for source in kin.sources}
        path = cache.add(kin.build_id, make, lambda path, names=names: _has_all(path, names))  # type: ignore[misc]
        if path is not None:
            yield path


def cache_ready_table(path: str, cache: TableCache) -> Iterator[str]:
    """Have a table that was made elsewhere in the cache, under the build id of each kernel in it; their paths.

    One that is there is kept when it has every module of this one. Raises NoDebugInfoError for a table of a few
    functions, which would stand in the way of a whole one, and AnnotateError for what is damaged or no table.
    """
    table = open_file(path)
    if not isinstance(table, OpenTable):
        raise UnrecognisedFileError(path, "expected a table, found a file with debug info")
    images = [opened.image for opened in table.all_images()]
    if any(image.is_partial for image in images):
        raise NoDebugInfoError(path, "has only some functions: name it with -k, or keep it beside the log")
    names = {image.name.decode("utf-8", "surrogateescape") for image in images}
    owners = [image for image in images if not image.is_module] or images[:1]
    for build_id in dict.fromkeys(image.build_id for image in owners):
        kept = cache.add(build_id, lambda output: shutil.copyfile(path, output), lambda kept: _has_all(kept, names))
        if kept is not None:
            yield kept


def _has_all(path: str, names: Iterable[str]) -> bool:
    try:
        table = open_file(path)
    except AnnotateError:
        return False
    return isinstance(table, OpenTable) and all(any(table.images(name)) for name in names)
