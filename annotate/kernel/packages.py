"""Kernels and modules of packages that are not installed: unpacked a few at a time, built into tables."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from annotate.debuginfo.compression import is_compressed
from annotate.errors import AnnotateError, NoDebugInfoError, UnreadableFileError
from annotate.kernel.archives import is_package, members
from annotate.kernel.build import Source, build
from annotate.kernel.images import open_elf
from annotate.kernel.locate import is_kernel_name, module_name
from annotate.limits import MAX_WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from annotate.cache import TableCache
    from annotate.kernel.build import Options, Report
    from annotate.kernel.members import Member

__all__ = ["Unpacker", "is_package", "table_of_package", "workspace"]

#: Bytes of modules that are unpacked at once.
GROUP = 1 << 28

_ELF = b"\x7fELF"

#: What folders to unpack into are called.
_WORKSPACE = ".unpacked."
#: One that is not locked may have been made just now.
_SECONDS_TO_LOCK = 60


class _EndedError(Exception):
    """Nobody wants the rest."""


class Unpacker:
    """Unpacks packages into a folder, which is somebody else's to remove, after leaving the context that this is.

    A file lies below ``FOLDER/PACKAGE/`` as it does below the root of its package. Links are left out. ``advance`` is
    that of ``archives.members``; a thread may call it.
    """

    def __init__(
        self, folder: str, advance: Callable[[int, int], None], *, group: int = GROUP, most_waiting: int = MAX_WAITING
    ) -> None:
        self._folder = folder
        self._advance = advance
        self._group = group
        self._most_waiting = most_waiting
        self._thread = ThreadPoolExecutor(1)
        self._is_ended = False

    def groups(self, packages: Sequence[str]) -> Iterator[list[Source]]:
        """What can be built from, a kernel alone and first. The files of one group are gone when the next is asked for.

        The next group is unpacked meanwhile. Raises AnnotateError of a package, and OSError where there is no room.
        """
        unpacking = self._unpacking(packages)
        coming = self._thread.submit(next, unpacking, None)
        while (group := coming.result()) is not None:
            coming = self._thread.submit(next, unpacking, None)
            yield group
            for source in group:
                os.unlink(source.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is written to the folder any more."""
        self._is_ended = True
        self._thread.shutdown(cancel_futures=True)

    def _unpacking(self, packages: Sequence[str]) -> Iterator[list[Source]]:
        """The groups, whose files stay."""
        disk = os.statvfs(self._folder)
        most_waiting = min(self._most_waiting, disk.f_bavail * disk.f_frsize // 4)
        group: list[Source] = []
        size = 0
        has_kernel = False
        skipped = set()
        for place, member in self._members(packages):
            is_kernel = not module_name(member.name)
            if not (is_kernel or has_kernel) and size + member.size > most_waiting:
                skipped.add((place, member.name))
                continue
            source = self._unpack(place, member)
            if source is None:
                continue
            if is_kernel:
                has_kernel = True
                yield [source]
            else:
                group.append(source)
                size += member.size
            if has_kernel and size >= self._group:
                yield group
                group, size = [], 0
        for place, member in self._members(packages) if skipped else ():
            source = self._unpack(place, member) if (place, member.name) in skipped else None
            if source is not None:
                group.append(source)
                size += member.size
            if size >= self._group:
                yield group
                group, size = [], 0
        if group:
            yield group

    def everything(self, packages: Sequence[str]) -> list[Source]:
        """All at once, to be opened in any order."""
        unpacked = (self._unpack(place, member) for place, member in self._members(packages))
        return [source for source in unpacked if source is not None]

    def named(self, error: AnnotateError) -> AnnotateError:
        """An error about an unpacked file, which is gone, as one about a file of its package."""
        prefix = self._folder + os.sep
        named = AnnotateError(error.source.removeprefix(prefix), error.problem)
        return named if error.source.startswith(prefix) else error

    def _members(self, packages: Sequence[str]) -> Iterator[tuple[str, Member]]:
        """The members of each package, with the folder of the package."""
        total = sum(map(os.path.getsize, packages))
        before = 0
        for number, package in enumerate(packages):
            place = os.path.basename(package)
            if place in map(os.path.basename, packages[:number]):
                place = f"{place}-{number}"

            def advance(done: int, _size: int, before: int = before) -> None:
                self._go_on()
                self._advance(before + done, total)

            for member in members(package, _is_wanted, advance):
                yield place, member
            before += os.path.getsize(package)

    def _go_on(self) -> None:
        """Raises what ends the thread when nobody waits for it any more."""
        if self._is_ended:
            raise _EndedError

    def _unpack(self, place: str, member: Member) -> Source | None:
        """The source that a member is; None when it is something else of that name. Raises OSError."""
        pieces = member.pieces()
        first = next(pieces, b"")
        if not first.startswith(_ELF) and not is_compressed(first[:8]):
            return None
        path = os.path.join(self._folder, place, member.name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "xb") as file:
            file.write(first)
            for piece in pieces:
                self._go_on()
                file.write(piece)
        return Source(path, module_name(path), f"{member.name} of {place}")


def _is_wanted(name: str) -> bool:
    return bool(module_name(name)) or is_kernel_name(name)


@contextlib.contextmanager
def workspace(output: str) -> Iterator[str]:
    """A folder to unpack into: in TMPDIR, if that is set, else beside a file that is to be written. Raises OSError.

    What a killed process left in a folder of this kind is removed first: 1.7 GB of a distribution's kernel.
    """
    beside = os.path.realpath(output)
    is_file = not os.path.exists(beside) or os.path.isfile(beside)
    folder = tempfile.gettempdir() if os.environ.get("TMPDIR") or not is_file else os.path.dirname(beside)
    _remove_abandoned(folder)
    with tempfile.TemporaryDirectory(prefix=_WORKSPACE, dir=folder) as made:
        lock = os.open(made, os.O_RDONLY)  # held as long as the process lives
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield made
        finally:
            os.close(lock)


def _remove_abandoned(folder: str) -> None:
    """Remove the workspaces of this user that no process holds."""
    for entry in os.scandir(folder):
        if not entry.name.startswith(_WORKSPACE) or entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            continue
        with contextlib.suppress(OSError):  # BlockingIOError: it is in use
            lock = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(lock).st_mtime > _SECONDS_TO_LOCK:
                    shutil.rmtree(entry.path, ignore_errors=True)
            finally:
                os.close(lock)


def table_of_package(
    path: str,
    cache: TableCache,
    options: Options,
    advance: Callable[[int, int], None],
    tell: Callable[[Report], None] = lambda _report: None,
) -> str | None:
    """The table of a package, out of the cache, or made now; None where the cache cannot be used: see its ``notes``.

    A package that was seen before is known by its path, size and time. ``tell`` gets the report of a build. Raises
    AnnotateError where the package cannot be used.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise UnreadableFileError(path, f"cannot be read: {error.strerror}") from None
    facts = f"{os.path.realpath(path)}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}"
    name = "package-" + hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    found = cache.find(cache.known(name))
    if found is not None:
        cache.tidy()
        return found
    try:
        with cache.work(name) as folder:
            found = cache.find(cache.known(name))  # another process may have made it meanwhile
            if found is not None:
                return found
            with Unpacker(folder, advance) as unpacker:
                return _make_table(path, cache, options, name, unpacker, tell)
    except OSError as error:
        cache.explain(error)
        return None


def _make_table(
    path: str,
    cache: TableCache,
    options: Options,
    name: str,
    unpacker: Unpacker,
    tell: Callable[[Report], None],
) -> str | None:
    groups = unpacker.groups([path])
    first = next(groups, None)
    if first is None:
        raise NoDebugInfoError(path, "expected a vmlinux or modules in this package, found none")
    build_id = open_elf(first[0].path).build_id
    if not build_id:
        raise NoDebugInfoError(path, "expected a kernel with a build id, found one without: it cannot be cached")

    def make(output: str) -> None:
        report = build([], output, options, lambda _done, _total: None, itertools.chain([first], groups))
        left_out, damage = map(unpacker.named, report.left_out), map(unpacker.named, report.damage)
        tell(report._replace(left_out=list(left_out), damage=list(damage)))

    try:
        # A table that is there may be of the kernel alone.
        made = cache.add(build_id, make, lambda _path: False)
    except AnnotateError as error:
        raise unpacker.named(error) from None
    if made is not None:
        with contextlib.suppress(OSError):  # then it is unpacked again the next time
            cache.remember(name, build_id)
    return made
