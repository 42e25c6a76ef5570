"""A tree of sources, for ``--source`` and for links to files.

Paths come from debug info, which may be anybody's: nothing outside of the tree is opened, whatever ``..`` and symbolic
links say, and nothing but regular files.
"""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from typing import TYPE_CHECKING

from annotate.errors import UnreadableFileError
from annotate.limits import MAX_SOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Files whose lines are kept. A trace names about 20.
_KEPT = 32


class SourceTree:
    """The files below one folder. Raises UnreadableFileError where it is no folder."""

    def __init__(self, folder: str) -> None:
        if not os.path.isdir(folder):
            found = "a file" if os.path.exists(folder) else "nothing"
            raise UnreadableFileError(folder, f"expected a folder of sources, found {found}")
        self._folder = folder
        self._root = os.path.realpath(folder)
        self._found: dict[str, str | None] = {}
        self._lines = lru_cache(maxsize=_KEPT)(_read_lines)

    def find(self, file: str) -> str | None:
        """The absolute path of a file as debug info names it; None where the tree does not have it."""
        if file not in self._found:
            self._found[file] = self._look_for(file)
        return self._found[file]

    def around(self, file: str, line: int) -> Sequence[tuple[int, bytes]]:
        """See ``annotate.render.renderer.SourceLines``."""
        path = self.find(file)
        lines = self._lines(path) if path is not None else ()
        if not 0 < line <= len(lines):
            return ()
        return [(number, lines[number - 1]) for number in range(line - 1, line + 2) if 0 < number <= len(lines)]

    def sentence(self) -> str:
        """What was not there, for people; empty where everything was."""
        missing = sum(path is None for path in self._found.values())
        if not missing:
            return ""
        return f"source: {missing} of {len(self._found)} files not found under {self._folder}"

    def _look_for(self, file: str) -> str | None:
        # Joined, an absolute path stays what it is; like any other it counts only when it leads into the tree.
        if not file or "\0" in file:
            return None
        try:
            path = os.path.realpath(os.path.join(self._root, file))
            status = os.stat(path)
        except (OSError, ValueError):  # ValueError: a name that cannot be one of this system
            return None
        if not path.startswith(os.path.join(self._root, "")):
            return None
        return path if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SOURCE else None


def _read_lines(path: str) -> Sequence[bytes]:
    """The lines without their ends; none where the file cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_SOURCE).removesuffix(b"\n").split(b"\n")
    except OSError:
        return ()
