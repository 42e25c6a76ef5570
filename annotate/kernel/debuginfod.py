"""Debug files by build id from debuginfod servers, in the cache that elfutils' own client uses as well.

Sources: debuginfod(8), WEBAPI; debuginfod-client-config(7); elfutils ``debuginfod/debuginfod-client.c`` for the cache:

    CACHE/cache_miss_s              for how many seconds "no server has it" holds, in decimal
    CACHE/BUILDID/debuginfo         the file; an empty one says that no server had it at its modification time
    CACHE/BUILDID/executable        the same of the file that runs
    CACHE/BUILDID/.debuginfo.part   ours: the beginning of a download, with .debuginfo.part.origin beside it

Unlike elfutils' client, this one asks the servers one after the other, asks none again in the same run that could not
be reached or was too slow, tries again only what broke off, and takes nothing whose build id is another.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.elf import SHT_NOBITS, ElfFile
from annotate.errors import AnnotateError, DownloadError, InterruptedDownloadError, ServerSilentError
from annotate.filebytes import FileBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from annotate.kernel.download import Part

#: elfutils' MAX_BUILD_ID_BYTES.
_MAX_BUILD_ID_BYTES = 64
_PART_ENDING = ".part"
_STALE = 24 * 3600.0
#: Seconds between two looks at the download of another process.
_WAIT = 0.1
_NULL_SECTION = 0


class Options(NamedTuple):
    """Which servers are asked, and what that may cost; zero is no limit. The defaults are elfutils'."""

    urls: tuple[str, ...] = ()  #: in the order in which they are asked
    timeout: float = 90.0  #: seconds within which a server must send 100 KiB
    max_time: float = 0.0  #: seconds for one download
    max_size: int = 0  #: bytes of one download
    retries: int = 2  #: how often a download that broke off is tried again
    cache_miss: float = 600.0  #: seconds that "no server has it" holds, unless CACHE/cache_miss_s says otherwise


def options_from_environment(environment: Mapping[str, str]) -> Options:
    """What the ``DEBUGINFOD_*`` variables say: debuginfod-client-config(7); a number that is none counts as not set."""
    default = Options()

    def number(name: str, otherwise: float) -> int:
        text = environment.get(f"DEBUGINFOD_{name}", "").strip()
        return max(0, int(text)) if _is_number(text.removeprefix("-")) else int(otherwise)

    return Options(
        urls=tuple(dict.fromkeys(environment.get("DEBUGINFOD_URLS", "").split())),
        timeout=number("TIMEOUT", default.timeout),
        max_time=number("MAXTIME", default.max_time),
        max_size=number("MAXSIZE", default.max_size),
        retries=number("RETRY_LIMIT", default.retries),
    )


def shared_cache(environment: Mapping[str, str]) -> str:
    """The folder in which elfutils' client keeps its files: debuginfod-client-config(7), CACHE."""
    named = environment.get("DEBUGINFOD_CACHE_PATH")
    if named:
        return named
    home = environment.get("HOME", "/")
    deprecated = os.path.join(home, ".debuginfod_client_cache")
    if os.path.isdir(deprecated):
        return deprecated
    return os.path.join(environment.get("XDG_CACHE_HOME") or os.path.join(home, ".cache"), "debuginfod_client")


class Client:
    """Finds debug files by build id: in the folder ``cache``, else at the servers.

    ``progress`` is told the bytes that are there and how many it will be (None: unknown), ``note`` gets sentences for
    ``-v``. ``tried`` says after each question that had no answer why, a sentence for each server.

    No question raises: whatever a server or the file system does costs an answer and is said in ``tried``.
    """

    def __init__(
        self,
        options: Options,
        cache: str,
        *,
        progress: Callable[[int, int | None], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._options = options
        self._cache = cache
        self._progress = progress
        self._note = note or (lambda _sentence: None)
        self._silent: dict[str, str] = {}  # servers that are not asked again, and why
        self._has_cleaned = False
        self.tried: list[str] = []

    def find_debuginfo(self, build_id: str) -> str | None:
        """The path of the file with the debug info of a build id (hex); None with reasons in ``tried``."""
        return self._find(build_id.lower(), "debuginfo")

    def find_executable(self, build_id: str) -> str | None:
        """The same for the file that runs: it has the code, perhaps the symbols."""
        return self._find(build_id.lower(), "executable")

    def _find(self, build_id: str, kind: str) -> str | None:
        self.tried = []
        if not is_build_id(build_id):
            self.tried.append(
                f"expected a build id of 1 to {_MAX_BUILD_ID_BYTES} bytes in hex, found {build_id[:200]!a}"
            )
            return None
        path = os.path.join(self._cache, build_id, kind)
        try:
            if self._is_decided(path, build_id):
                return None if self.tried else path
            if not self._options.urls:
                self.tried.append("no debuginfod server is named: DEBUGINFOD_URLS is empty")
                return None
            return self._download(path, build_id)
        except OSError as error:
            self.tried.append(f"{error.filename or path}: cannot be written: {error.strerror}")
            return None

    def _is_decided(self, path: str, build_id: str) -> bool:
        """Whether the cache has the answer: the file, or that there is none, which is then said in ``tried``."""
        try:
            status = os.stat(path)
            if status.st_size and status.st_mode & 0o777:
                with open(path, "rb") as file:
                    _check(file.fileno(), path, build_id)
                _mark_as_used(path, status)
                return True
        except FileNotFoundError:
            return False
        except (OSError, AnnotateError) as error:
            self._note(f"{path}: not used: {error}")
            return False
        age = time.time() - status.st_mtime
        holds = 0 <= age < self._seconds_that_a_miss_holds()
        if holds:
            self.tried.append(f"{path}: no server had it {age:.0f} s ago")
        return holds

    def _seconds_that_a_miss_holds(self) -> float:
        with contextlib.suppress(OSError), open(os.path.join(self._cache, "cache_miss_s"), "rb") as file:
            text = file.read(20).decode("ascii", "replace").strip()
            if _is_number(text):
                return int(text)
        return self._options.cache_miss

    def _download(self, path: str, build_id: str) -> str | None:
        """Download it, or wait for another process that does. Raises OSError."""
        from annotate.kernel.download import remove_stale  # noqa: PLC0415  # 30 ms that a cached file does not need

        if not self._has_cleaned:
            self._has_cleaned = True
            remove_stale(self._cache, _PART_ENDING, _STALE)
        part = self._lock(_part_path(path))
        if part is None:
            self.tried.append(f"{path}: another process that downloads it has come no further")
            return None
        with part:
            # Whoever had the lock before may have brought it.
            if self._is_decided(path, build_id):
                part.remove()
                return None if self.tried else path
            found = False
            try:
                found = self._ask_all(path, build_id, part)
            except OSError:
                part.clear()  # it may be what filled the disk
                raise
            finally:
                if not found:
                    part.remove_unless_resumable()
        return path if found else None

    def _lock(self, path: str) -> Part | None:
        """The part file, waited for as long as another process gets on with it."""
        from annotate.kernel.download import Part  # noqa: PLC0415  # see above

        size, since = -1, time.monotonic()
        while True:
            part = Part.lock(path)
            if part is not None:
                return part
            with contextlib.suppress(OSError):
                grown = os.stat(path).st_size
                if grown != size:
                    if size < 0:
                        self._note(f"{path}: another process downloads it")
                    size, since = grown, time.monotonic()
                    if self._progress:
                        self._progress(size, None)
            if 0 < self._options.timeout < time.monotonic() - since:
                return None
            time.sleep(_WAIT)

    def _ask_all(self, path: str, build_id: str, part: Part) -> bool:
        """Ask the servers in order until one has it. Raises OSError."""
        from annotate.kernel.download import without_credentials  # noqa: PLC0415  # see above

        has_nobody = True
        for url in self._options.urls:
            try:
                self._ask(url, path, build_id, part)
            except DownloadError as error:
                if isinstance(error, ServerSilentError):
                    self._silent[url] = error.problem
                has_nobody = has_nobody and error.status == 404
                self.tried.append(f"{without_credentials(url)}: {error.problem}")
                self._note(self.tried[-1])
            else:
                self.tried = []
                return True
        if has_nobody:
            _remember_miss(path)
        return False

    def _ask(self, url: str, path: str, build_id: str, part: Part) -> None:
        """Bring the file from one server. Raises DownloadError, OSError."""
        from annotate.kernel.download import Limits, fetch, in_words, without_credentials  # noqa: PLC0415  # see above

        shown = without_credentials(url)
        if not url.startswith(("http://", "https://")):
            raise DownloadError(shown, "expected a URL of http or https")
        if url in self._silent:
            raise DownloadError(shown, f"not asked again: {self._silent[url]}")
        whole = f"{url.rstrip('/').removesuffix('/buildid')}/buildid/{build_id}/{os.path.basename(path)}"
        limits = Limits(self._options.timeout, self._options.max_time, self._options.max_size)
        start = time.monotonic()
        retries_left = self._options.retries
        while True:
            try:
                self._note(f"asking {without_credentials(whole)}")
                fetch(whole, part, limits, self._progress)
                _check(part.descriptor, without_credentials(whole), build_id)
                break
            except InterruptedDownloadError as error:
                if retries_left <= 0:
                    raise
                retries_left -= 1
                self._note(f"{error}; trying again")
            except DownloadError:
                raise
            except AnnotateError as error:
                part.clear()
                raise DownloadError(error.source, f"sent something else: {error.problem}") from None
        part.finish(path)
        self._note(f"{path}: {in_words(part.size)} from {shown} in {time.monotonic() - start:.1f} s")


def is_build_id(text: str) -> bool:
    """Whether this can be one; only then it may become part of a path or a URL."""
    return 0 < len(text) <= 2 * _MAX_BUILD_ID_BYTES and len(text) % 2 == 0 and set(text) <= set("0123456789abcdef")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _part_path(path: str) -> str:
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}{_PART_ENDING}")


def _check(descriptor: int, source: str, build_id: str) -> None:
    """Hold that an open file is a whole ELF file of this build id. Raises AnnotateError, OSError."""
    size = os.fstat(descriptor).st_size
    if not size:
        raise AnnotateError(source, "expected an ELF file, found an empty one")
    elf = ElfFile(FileBytes(os.dup(descriptor), source), source)
    for section in elf.sections:
        if section.type not in (_NULL_SECTION, SHT_NOBITS) and section.offset + section.size > size:
            raise AnnotateError(source, f"section {section.name} ends behind the file's {size} bytes")
    if elf.build_id != build_id:
        found = f"build id {elf.build_id}" if elf.build_id else "no build id"
        raise AnnotateError(source, f"expected build id {build_id}, found {found}")


def _mark_as_used(path: str, status: os.stat_result) -> None:
    """Set the time of access, by which elfutils cleans up; not every mount keeps it."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))


def _remember_miss(path: str) -> None:
    """Write down that no server has it, as elfutils does; a file that came to be there meanwhile stays."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        os.utime(path)
