"""Tables that were made before, by the build id of their kernel, in a folder that several processes share.

A table ``BUILD-ID.lineinfo`` is whole or not there. It is made in a folder ``BUILD-ID.part`` under an exclusive lock
on ``BUILD-ID.lock``; both are gone when it is done, and what a killed process left of them is removed by the next one
that makes a table. A lock ends with the process that holds it, however that ends. ``NAME.known`` says which build id
something else has that takes long to read, such as a package. Of the tables that were found damaged the last is kept,
as ``BUILD-ID.damaged``.

A cache only saves time: where its folder cannot be used there is no table in it, and ``notes`` says why.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from annotate.errors import AnnotateError, DamagedFileError, UnsupportedFileError
from annotate.filebytes import open_bytes
from annotate.tables.versions import KERNEL, MAINTAINERS, MODULE, open_record, open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from annotate.tables.versions import Record, TableFile

#: Bytes of tables that are kept: those of a hundred kernels of a distribution.
DEFAULT_LIMIT = 1 << 30

#: The environment variable that names the folder.
VARIABLE = "LINEINFO_CACHE"

_TABLE, _PART, _LOCK, _DAMAGED, _KNOWN = ".lineinfo", ".part", ".lock", ".damaged", ".known"

#: What a table says of a build id: no more than this of it (see ``tables.lineinfo_v1``).
_MOST_OF_ID = 44
_HEX = frozenset("0123456789abcdef")


class Entry(NamedTuple):
    """A table in the cache. ``used``: when it was last looked up or made, in seconds since 1970."""

    build_id: str
    path: str
    size: int
    used: float
    release: str
    images: int


class TableCache:
    """The tables of a folder: the one given, that of ``LINEINFO_CACHE``, or the user's.

    Nothing is read or made before it is needed. ``notes`` holds a sentence for everything that went wrong.
    """

    def __init__(self, folder: str | None = None, *, limit: int = DEFAULT_LIMIT) -> None:
        self.notes: list[str] = []
        self._folder = folder
        self._limit = limit

    @property
    def folder(self) -> str:
        """Where the tables are; it need not be there."""
        if self._folder is None:
            self._folder = os.environ.get(VARIABLE) or _user_folder()
        return self._folder

    def path_of(self, build_id: str) -> str:
        """Where the table of a build id is, if it is there."""
        return os.path.join(self.folder, build_id + _TABLE)

    def find(self, build_id: str) -> str | None:
        """The path of the table of a kernel, or of a module that has one of its own; None when there is none.

        It was checked as far as reading its header, its directory and the head of that image goes. Blocks are checked
        when they are read: whoever meets a damaged one calls ``set_aside``.
        """
        if not _is_build_id(build_id):
            return None
        path = self.path_of(build_id)
        try:
            if not self._is_ours():
                return None
            _check(path, build_id)
            with contextlib.suppress(OSError):
                os.utime(path)
        except FileNotFoundError:
            return None
        except UnsupportedFileError as error:
            self._note(str(error))  # of another release of this program, which may be in use as well
            return None
        except AnnotateError as error:
            self.set_aside(path, str(error))
            return None
        except OSError as error:
            self.explain(error)
            return None
        return path

    def add(
        self,
        build_id: str,
        make: Callable[[str], object],
        is_enough: Callable[[str], bool] = lambda _path: True,
    ) -> str | None:
        """The path of the table of a build id, which is made if need be; None where none can be kept.

        ``make`` writes it to the path it is given, and may leave what it likes in the folder of that path. Of several
        processes that add the same one calls it, and the others wait for that. A table that is there is made anew where
        ``is_enough`` is false for its path. Raises what ``make`` raises, but for OSError: the disk may be full.
        """
        if not _is_build_id(build_id):
            self._note(f"{build_id or 'no build id'}: expected a build id in hexadecimal digits; not cached")
            return None
        path = self.find(build_id)
        try:
            if path is not None and is_enough(path):
                self.tidy()
                return path
            if not self._make_folder():
                return None
            self._sweep()
            with self.locked(build_id):
                path = self.find(build_id)
                if path is None or not is_enough(path):
                    path = self._make(build_id, make)
        except OSError as error:
            self.explain(error)
            return None
        if path is not None:
            self.prune(self._limit, keep=build_id)
        return path

    def _make(self, build_id: str, make: Callable[[str], object]) -> str | None:
        """Make a table, under its lock. Raises OSError and what ``make`` raises."""
        path = self.path_of(build_id)
        with self._part(build_id) as part:
            made = os.path.join(part, build_id + _TABLE)
            make(made)
            try:
                _check(made, build_id)
            except AnnotateError as error:
                self._note(f"{error}; not cached")
                return None
            _keep(made)
            os.replace(made, path)
            _keep(self.folder)
        return path

    @contextlib.contextmanager
    def _part(self, name: str) -> Iterator[str]:
        """An empty folder to work in, under the lock of that name."""
        part = os.path.join(self.folder, name + _PART)
        _remove(part)
        os.mkdir(part, 0o700)
        try:
            yield part
        finally:
            _remove(part)

    @contextlib.contextmanager
    def locked(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the lock of that name. Raises OSError: BlockingIOError when another process has it and not ``wait``.

        The file is gone afterwards. Who waited for it then holds a lock on no file of that name, and tries again.
        """
        path = os.path.join(self.folder, name + _LOCK)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if _is_same(descriptor, path):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)
            os.close(descriptor)

    def tidy(self) -> None:
        """Remove what killed processes have left, where that can be done."""
        with contextlib.suppress(OSError):  # others may have filled it for us, where we may not write
            if self._is_ours():
                self._sweep()

    def _sweep(self) -> None:
        """Remove what killed processes have left: what is of a lock that nobody holds."""
        for file in os.listdir(self.folder):
            name, ending = os.path.splitext(file)
            if ending in (_PART, _LOCK):
                with contextlib.suppress(OSError), self.locked(name, wait=False):
                    _remove(os.path.join(self.folder, name + _PART))

    def holds(self, path: str) -> bool:
        """Whether a path is that of a table in here."""
        return os.path.dirname(path) == self.folder and path.endswith(_TABLE)

    def set_aside(self, path: str, reason: str) -> None:
        """Take a damaged table out of use. It is kept under another name, until the next one."""
        self._note(f"{reason}; set aside")
        try:
            for file in os.listdir(self.folder):
                if file.endswith(_DAMAGED):
                    os.unlink(os.path.join(self.folder, file))
            os.rename(path, path.removesuffix(_TABLE) + _DAMAGED)
        except OSError as error:
            self._note(f"{path}: cannot be set aside: {error.strerror or error}")

    def known(self, name: str) -> str:
        """The build id that was remembered for a name, as "" when none was."""
        try:
            if self._is_ours():
                with open(os.path.join(self.folder, name + _KNOWN), encoding="ascii", errors="replace") as file:
                    build_id = file.read(_MOST_OF_ID * 4)
                    return build_id if _is_build_id(build_id) else ""
        except FileNotFoundError:
            pass
        except OSError as error:
            self.explain(error)
        return ""

    def remember(self, name: str, build_id: str) -> None:
        """Remember the build id of a name, within ``work`` of that name. Raises OSError."""
        written = os.path.join(self.folder, name + _PART, name + _KNOWN)
        with open(written, "w", encoding="ascii") as file:
            file.write(build_id)
        _keep(written)
        os.replace(written, os.path.join(self.folder, name + _KNOWN))

    @contextlib.contextmanager
    def work(self, name: str) -> Iterator[str]:
        """An empty folder to work in, which is removed, by the next process if this one is killed; the lock is held.

        Raises OSError where there cannot be one.
        """
        if not self._make_folder():
            raise PermissionError(errno.EACCES, "it is not ours", self.folder)
        self._sweep()
        with self.locked(name), self._part(name) as part:
            yield part

    def entries(self) -> list[Entry]:
        """The tables, the one last used first. Damaged ones and those of other releases of this program say little."""
        found = []
        for build_id in self._names(_TABLE):
            path = self.path_of(build_id)
            release, images = "", 0
            try:
                status = os.stat(path)
                file = _open(path)
                images = sum(record.kind != MAINTAINERS for record in file.records())
                release = next((open_record(file, record).release for record in _main_images(file)), "")
            except FileNotFoundError:
                continue  # another process has pruned it
            except AnnotateError as error:
                self._note(str(error))
            except OSError as error:
                self._note(f"{path}: cannot be read: {error.strerror or error}")
                continue
            found.append(Entry(build_id, path, status.st_size, status.st_mtime, release, images))
        return sorted(found, key=lambda entry: (-entry.used, entry.build_id))

    def of_release(self, release: str) -> Iterator[str]:
        """The paths of the tables of a kernel release, the one last used first: there may be several builds of it.

        For a log that names no build id. This opens all tables, and counts as a use of those that are asked for.
        """
        for entry in self.entries():
            if entry.release == release and (path := self.find(entry.build_id)) is not None:
                yield path

    def prune(self, limit: int, *, keep: str = "") -> list[Entry]:
        """Remove tables until the rest has at most so many bytes, those first that were not used for longest.

        The table ``keep`` stays. Returns what was removed. Processes that have such a table open keep what they see.
        """
        entries = self.entries()
        self.tidy()
        excess = sum(entry.size for entry in entries) - limit
        removed: list[Entry] = []
        for entry in reversed(entries):
            if excess <= 0:
                break
            if entry.build_id == keep:
                continue
            try:
                os.unlink(entry.path)
            except OSError as error:
                self._note(f"{entry.path}: cannot be removed: {error.strerror or error}")
                continue
            excess -= entry.size
            removed.append(entry)
        gone = {entry.build_id for entry in removed}
        for name in self._names(_KNOWN) if gone else ():
            if self.known(name) in gone:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self.folder, name + _KNOWN))
        return removed

    def _names(self, ending: str) -> list[str]:
        try:
            files = sorted(os.listdir(self.folder)) if self._is_ours() else []
        except FileNotFoundError:
            files = []
        except OSError as error:
            self.explain(error)
            files = []
        return [file.removesuffix(ending) for file in files if file.endswith(ending)]

    def _make_folder(self) -> bool:
        """Whether the folder is there and ours. Raises OSError when it cannot be made."""
        if not os.path.isabs(self.folder):
            self._folder = os.path.abspath(self.folder)
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.folder) from None
        return self._is_ours()

    def _is_ours(self) -> bool:
        """Whether nobody else could have put a table there. Raises OSError."""
        status = os.stat(self.folder)
        if status.st_uid not in (os.geteuid(), 0):
            self._note(f"{self.folder}: belongs to another user; not used")
            return False
        if status.st_mode & stat.S_IWOTH:
            self._note(f"{self.folder}: everybody may write to it; not used")
            return False
        return True

    def explain(self, error: OSError) -> None:
        """Note why the folder cannot be used."""
        self._note(f"{self.folder}: no table can be kept there: {error.strerror or error}")

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _user_folder() -> str:
    import platformdirs  # noqa: PLC0415 - 10 ms that are spent when nobody named a folder

    return platformdirs.user_cache_dir("lineinfo-annotate", appauthor=False)


def _is_build_id(text: str) -> bool:
    return 2 <= len(text) <= 128 and _HEX.issuperset(text)


def _is_same(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _open(path: str) -> TableFile:
    """Raises AnnotateError and OSError."""
    return open_table(open_bytes(path), path)


def _main_images(file: TableFile) -> Iterator[Record]:
    """The kernels of a table; of one without any the modules."""
    kernels = list(file.find(KERNEL, b""))
    yield from kernels or (record for record in file.records() if record.kind == MODULE)


def _check(path: str, build_id: str) -> None:
    """Raises AnnotateError and OSError where a file is not the table of that build id."""
    file = _open(path)
    found = ""
    for record in _main_images(file):
        found = record.build_id
        if found == build_id[:_MOST_OF_ID]:
            open_record(file, record)  # reads its head
            return
    raise DamagedFileError(path, "", 0, f"the table of build id {build_id}", f"that of {found or 'none'}")


def _keep(path: str) -> None:
    """Have a file or folder on the disk; a file is for its owner alone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: str) -> None:
    """Remove a folder with what is in it; one that is not there is none."""
    import shutil  # noqa: PLC0415 - 3 ms that a look-up does not need

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
