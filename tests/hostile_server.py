"""An HTTP server on loopback that answers as a test tells it to, badly as a rule, and counts who asked for what."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from typing import Self

MODIFIED = "Sat, 01 Aug 2026 10:00:00 GMT"


class Asked(NamedTuple):
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]  #: names in lower case


class Visit:
    """What an answer may do with one request. All writes go to the socket at once."""

    def __init__(self, server: HostileServer, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        self.server = server
        self.asked = asked
        self.connection: socket.socket = handler.connection

    def write(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self, status: int = 200, /, **headers: object) -> None:
        """The status line and the headers; ``content_length=3`` is ``Content-Length: 3``."""
        lines = [
            f"HTTP/1.1 {status} Whatever",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        self.write("\r\n".join((*lines, "Connection: close", "", "")).encode("latin-1"))

    def file(self, data: bytes, **headers: object) -> None:
        """A file as an honest server sends it, ranges not supported."""
        self.head(content_length=len(data), **headers)
        self.write(data)

    def start(self) -> int:
        """Where the range begins that was asked for; 0 without one."""
        return int(self.asked.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def ranged(self, data: bytes, **headers: object) -> None:
        """A file as an honest server sends it, ranges supported."""
        start = self.start()
        if not start:
            self.file(data, **headers)
            return
        self.head(
            206, content_length=len(data) - start, content_range=f"bytes {start}-{len(data) - 1}/{len(data)}", **headers
        )
        self.write(data[start:])

    def trickle(self, data: bytes, pause: float) -> None:
        """A byte at a time, for as long as the client listens."""
        for value in data:
            self.write(bytes((value,)))
            if self.server.is_closing.wait(pause):
                return

    def reset(self) -> None:
        """Hang up with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def sleep(self) -> None:
        """Say nothing until the test is over."""
        self.server.is_closing.wait(60)


class HostileServer:
    """``answer`` is called for each request, in a thread of its own."""

    def __init__(self, answer: Callable[[Visit], None], tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.is_closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()})
                outer.asked.append(asked)
                self.close_connection = True
                with contextlib.suppress(OSError):  # clients hang up, some are killed
                    outer.answer(Visit(outer, self, asked))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class calls it so
                pass

            def finish(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().finish()

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that did not like the certificate

        self._http = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def ranges(self) -> list[str | None]:
        """The ranges that were asked for, in order."""
        return [asked.headers.get("range") for asked in self.asked]


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    """The URL of a port on which nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


def wait_until(is_so: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait for something that must come; the limit is only against hanging."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
