"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO


@contextlib.contextmanager
def replacing(path: str, *like: str) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of ``path`` when all went well, and is gone otherwise.

    It gets the permissions of the first of ``like`` that there is, else those of any new file. Where ``path`` is a
    link, the file it leads to is replaced; a pipe or a device is written to. Raises OSError.
    """
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            yield file
        return
    # Its name is known before there is a file: a signal may end this between any two steps, also within mkstemp.
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.urandom(8).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _mode(*like))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # an interruption too must leave nothing behind; it goes on from here
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _mode(*paths: str) -> int:
    for path in paths:
        with contextlib.suppress(OSError):
            return os.stat(path).st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
