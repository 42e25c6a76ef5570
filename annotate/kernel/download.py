"""One file from one URL over HTTP, into a part file that outlives an interruption.

Nothing a server does keeps the caller longer or costs more than ``Limits`` say: they are held at every read from the
socket, so for slow headers, chunk sizes and trailers as well. Only looking up a name takes as long as the system lets
it, and a server of several addresses may take the time-out for each.

Importing this takes 30 ms (urllib, ssl); ``debuginfod.py`` does so when a server must be asked.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import http.client
import io
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from annotate import __version__
from annotate.errors import DownloadError, InterruptedDownloadError, ServerSilentError
from annotate.limits import LEAST_PROGRESS, MAX_REDIRECTS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from email.message import Message
    from types import TracebackType
    from typing import Self

    Progress = Callable[[int, int | None], None]

_PIECE = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
#: Asked for with X-DEBUGINFOD-MAXSIZE, a debuginfod says this of a larger file.
_TOO_LARGE = 406
_RANGE_REFUSED = 416
#: Servers out of order, or ones that others stand in front of.
_OUT_OF_ORDER = range(500, 600)


class Limits(NamedTuple):
    """What a download may cost; zero is no limit."""

    timeout: float = 90.0  #: seconds within which there must be ``LEAST_PROGRESS``
    max_time: float = 0.0  #: seconds for all of it
    max_size: int = 0  #: bytes


class Origin(NamedTuple):
    """Of what a part file is the beginning."""

    url: str
    validator: str  #: a strong ETag or a Last-Modified: the file has not changed while this is the same
    size: int | None


class Part:
    """The beginning of a file, locked against other processes for as long as this is open. May raise OSError.

    ``lock`` makes one. Beside the part file lies another that says of what it is the beginning; a part file without
    that, or of something else, is of no use and begun anew.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._file = open(descriptor, "r+b", buffering=0)  # noqa: SIM115  # closed by __exit__
        self.size = os.fstat(descriptor).st_size
        self._origin = self._read_origin()

    @classmethod
    def lock(cls, path: str) -> Part | None:
        """Open or make it; None while another process has it."""
        while True:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            with contextlib.ExitStack() as undo:
                try:
                    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                    descriptor = os.open(path, flags, 0o600)
                    undo.callback(os.close, descriptor)
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # Whoever had the lock may have finished the file, or thrown it away: then this is another one.
                    is_it = os.path.samestat(os.fstat(descriptor), os.stat(path))
                except BlockingIOError:
                    return None
                except FileNotFoundError:
                    continue
                if is_it:
                    undo.pop_all()
                    return cls(path, descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def descriptor(self) -> int:
        """The open file, for those who check it."""
        return self._file.fileno()

    def resumable(self, url: str) -> Origin | None:
        """What is known of it, when more of the same can be asked for at ``url``."""
        origin = self._origin
        return origin if origin and self.size and origin.validator and origin.url == url else None

    def begin(self, origin: Origin) -> None:
        """Empty it; what follows is the beginning of something else."""
        self.clear()
        self._origin = origin
        with open(_origin_path(self.path), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump(origin, file)

    def append(self, data: bytes) -> None:
        """Write at its end."""
        self._file.seek(self.size)
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            self.size += written
            view = view[written:]

    def finish(self, path: str) -> None:
        """Give it its final name: it is complete and right."""
        os.fchmod(self._file.fileno(), 0o600)
        os.fsync(self._file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_origin_path(self.path))
        os.replace(self.path, path)
        with contextlib.suppress(OSError):  # not every file system can; the file itself is safe
            folder = os.open(os.path.dirname(path), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def clear(self) -> None:
        """Empty it: what it holds is of no use."""
        self._file.seek(0)
        self._file.truncate()
        self.size, self._origin = 0, None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_origin_path(self.path))

    def remove(self) -> None:
        """Remove it; nothing can be appended any more."""
        for path in (_origin_path(self.path), self.path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def remove_unless_resumable(self) -> None:
        """Remove what no later download could go on with."""
        if not self._origin or not self.resumable(self._origin.url):
            self.remove()

    def _read_origin(self) -> Origin | None:
        try:
            with open(_origin_path(self.path), encoding="utf-8") as file:
                origin = Origin(*json.load(file))
        except (OSError, ValueError, TypeError):
            return None
        return origin if isinstance(origin.url, str) and isinstance(origin.validator, str) else None


def _origin_path(path: str) -> str:
    return path + ".origin"


def remove_stale(folder: str, ending: str, age: float) -> None:
    """Remove part files called ``*ENDING`` in ``folder``'s folders that nobody wrote to for ``age`` seconds."""
    oldest = time.time() - age
    for path in _parts(folder, ending):
        with contextlib.suppress(OSError):
            if os.stat(path).st_mtime < oldest:
                part = Part.lock(path)
                if part is not None:
                    with part:
                        part.remove()


def _parts(folder: str, ending: str) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    yield from (os.path.join(entry.path, name) for name in os.listdir(entry) if name.endswith(ending))


def fetch(url: str, part: Part, limits: Limits, progress: Progress | None = None) -> None:
    """Bring ``part`` to the whole of what is at ``url``, going on from what it holds of it where the server can.

    ``progress`` gets the bytes that are there and, where known, how many it will be. Raises DownloadError for what the
    server does, OSError for what the file system does.
    """
    pace = _Pace(limits)
    shown = without_credentials(url)
    # A server that cannot go on where we were is asked once more, for everything.
    for origin in (part.resumable(shown), None):
        if origin and origin.size == part.size:
            return  # all was there, only its final name was missing
        with _reading(shown, pace):
            response = _request(url, origin, part.size, limits, pace)
        with contextlib.closing(response):
            status = response.status
            if origin and (
                status == _RANGE_REFUSED or (status == HTTPStatus.PARTIAL_CONTENT and not _fits(response, origin, part))
            ):
                continue
            if status == HTTPStatus.OK:
                part.begin(Origin(shown, _validator(response.headers), response.length))
            elif status != HTTPStatus.PARTIAL_CONTENT or origin is None:
                raise _refusal(shown, status, limits)
            _transfer(shown, response, part, limits, pace, progress)
        return


def without_credentials(url: str) -> str:
    """A URL as it may be shown and kept."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + separator + host.rpartition("@")[2] + slash + path


def _transfer(
    url: str, response: http.client.HTTPResponse, part: Part, limits: Limits, pace: _Pace, progress: Progress | None
) -> None:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DownloadError(
            url, f"sent Content-Encoding {_quoted(response.headers['Content-Encoding'])}, not asked for"
        )
    total = None if response.length is None else part.size + response.length
    expected = total if total is not None else _number(response.headers.get("X-DEBUGINFOD-SIZE"))
    _check_size(url, part, expected or 0, limits)
    free = shutil.disk_usage(os.path.dirname(part.path)).free
    if total is not None and total - part.size > free:
        part.clear()
        raise DownloadError(
            url, f"{in_words(total - part.size)} are to come, the cache's disk has {in_words(free)} left"
        )
    while total is None or part.size < total:
        with _reading(url, pace):
            data = response.read1(_PIECE if total is None else min(_PIECE, total - part.size))
        if not data:
            break
        _check_size(url, part, part.size + len(data), limits)
        part.append(data)
        if progress:
            progress(part.size, expected if expected is None or part.size <= expected else None)
    if total is not None and part.size < total:
        raise InterruptedDownloadError(url, f"broke off after {in_words(part.size)} of {in_words(total)}")


def _check_size(url: str, part: Part, size: int, limits: Limits) -> None:
    if limits.max_size and size > limits.max_size:
        part.clear()
        raise _too_large(url, limits)


def _too_large(url: str, limits: Limits) -> DownloadError:
    return DownloadError(url, f"larger than the limit of {in_words(limits.max_size)}")


def _refusal(url: str, status: int, limits: Limits) -> DownloadError:
    if status == _TOO_LARGE and limits.max_size:
        return _too_large(url, limits)
    try:
        answer = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        answer = str(status)
    kind = InterruptedDownloadError if status in _OUT_OF_ORDER else DownloadError
    return kind(url, answer, status=status)


def _fits(response: http.client.HTTPResponse, origin: Origin, part: Part) -> bool:
    """Whether a partial answer goes on where ``part`` ends, with the same file (RFC 9110, 14.4)."""
    unit, _, place = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = place.partition("/")
    return (
        unit.lower() == "bytes"
        and _number(span.partition("-")[0]) == part.size
        and (origin.size is None or _number(total) in (None, origin.size))
        and _validator(response.headers) in ("", origin.validator)
    )


def _validator(headers: Message) -> str:
    etag = str(headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(headers.get("Last-Modified", ""))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


def _quoted(text: object) -> str:
    """What a server said, for a message: no control characters, and not all of it."""
    words = ascii(str(text))
    return words if len(words) <= 100 else words[:97] + "..."


def in_words(size: int) -> str:
    """A number of bytes: ``2 GiB``, ``1.5 MiB``, ``17 bytes``."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >> shift:
            return f"{size / (1 << shift):.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} bytes"


@contextlib.contextmanager
def _reading(url: str, pace: _Pace) -> Iterator[None]:
    """What may go wrong on the wire, as DownloadError."""
    try:
        yield
    except urllib.error.URLError as error:  # what went wrong before the request was out
        if isinstance(error.reason, TimeoutError):
            raise pace.timed_out(url) from None
        raise ServerSilentError(url, f"cannot be reached: {_reason(error.reason)}") from None
    except TimeoutError:
        raise pace.timed_out(url) from None
    except http.client.IncompleteRead:
        raise InterruptedDownloadError(url, "broke off in the middle of a chunk") from None
    except ConnectionError as error:  # also a server that hangs up without a word
        raise InterruptedDownloadError(url, f"broke off: {_reason(error)}") from None
    except OSError as error:
        raise ServerSilentError(url, f"cannot be reached: {_reason(error)}") from None
    except (http.client.HTTPException, ValueError) as error:
        raise DownloadError(url, f"HTTP failed: {_quoted(error)}") from None


def _reason(error: object) -> str:
    return str(getattr(error, "strerror", None) or error)


def _request(url: str, origin: Origin | None, start: int, limits: Limits, pace: _Pace) -> http.client.HTTPResponse:
    """The answer to a GET, redirects followed."""
    opener = _opener(pace)
    headers = {"User-Agent": f"lineinfo-annotate/{__version__}", "Accept": "*/*"}
    if limits.max_size:
        headers["X-DEBUGINFOD-MAXSIZE"] = str(limits.max_size)
    if origin is not None:
        headers |= {"Range": f"bytes={start}-", "If-Range": origin.validator}
    shown = without_credentials(url)
    credentials = _authorization(url)
    here = shown
    for _ in range(MAX_REDIRECTS + 1):
        if urllib.parse.urlsplit(here).scheme not in ("http", "https"):
            raise DownloadError(shown, f"expected http or https, was redirected to {_quoted(here)}")
        allowed = credentials if _server(here) == _server(shown) else {}
        request = urllib.request.Request(here, headers=headers | allowed)  # noqa: S310  # http or https, see above
        response: http.client.HTTPResponse = opener.open(request, timeout=pace.left())
        target = response.headers.get("Location")
        if response.status not in _REDIRECTS or not target:
            return response
        response.close()
        here = without_credentials(urllib.parse.urljoin(here, target))
    raise DownloadError(shown, f"redirected more than {MAX_REDIRECTS} times, last to {_quoted(here)}")


def _server(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _authorization(url: str) -> dict[str, str]:
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return {}
    words = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(words.encode()).decode()}


class _Pace:
    """The clock of one download. Every byte from the socket is counted, headers too."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._start = self._window_start = time.monotonic()
        self._received = self._window_received = 0

    def left(self) -> float | None:
        """Seconds that the next read may take; None for ever. Raises TimeoutError when there are none."""
        ends = []
        if self._limits.timeout > 0:
            ends.append(self._window_start + self._limits.timeout)
        if self._limits.max_time > 0:
            ends.append(self._start + self._limits.max_time)
        if not ends:
            return None
        left = min(ends) - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def count(self, size: int) -> None:
        """Note that bytes came."""
        self._received += size
        if self._received - self._window_received >= LEAST_PROGRESS:
            self._window_start, self._window_received = time.monotonic(), self._received

    def timed_out(self, url: str) -> DownloadError:
        """What is said when there was no time left."""
        if 0 < self._limits.max_time <= time.monotonic() - self._start:
            problem = f"not complete after {self._limits.max_time:g} s"
            if self._received >= LEAST_PROGRESS:
                return DownloadError(url, problem)
        else:
            came = in_words(self._received - self._window_received)
            problem = f"timed out: {came} in {self._limits.timeout:g} s, expected {in_words(LEAST_PROGRESS)}"
        return ServerSilentError(url, problem)


def _opener(pace: _Pace) -> urllib.request.OpenerDirector:
    """HTTP and HTTPS, through the proxies that the environment names as curl does; nothing else.

    Answers are returned as they are, redirects and errors too.
    """

    class HTTPConnection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = _PacedSocket(self.sock, pace)

    class HTTPSConnection(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = _PacedSocket(self.sock, pace)

    class HTTPHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(HTTPConnection, request)

    class HTTPSHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(HTTPSConnection, request)

    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), HTTPHandler(), HTTPSHandler(), urllib.request.UnknownHandler()):
        opener.add_handler(handler)
    return opener


class _PacedSocket:
    """As much of a socket as ``http.client`` uses, no read of which outlasts the pace."""

    def __init__(self, inner: socket.socket, pace: _Pace) -> None:
        self._inner = inner
        self._pace = pace

    def sendall(self, data: Any) -> None:
        self._inner.settimeout(self._pace.left())
        self._inner.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_PacedReader(self._inner, self._pace))

    def close(self) -> None:
        self._inner.close()


class _PacedReader(io.RawIOBase):
    def __init__(self, inner: socket.socket, pace: _Pace) -> None:
        self._inner = inner
        self._raw = inner.makefile("rb", buffering=0)
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._inner.settimeout(self._pace.left())
        size = self._raw.readinto(buffer)
        self._pace.count(size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()
