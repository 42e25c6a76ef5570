"""Functions and files that a report goes through, and that it is hardly ever about: the list in ``plumbing.txt``."""

from __future__ import annotations

import re
from typing import NamedTuple

from annotate.errors import UnrecognisedFileError

_WORD = re.compile(r"[\w./*+-]+")
_FAMILY = re.compile(r"\[(?P<name>[^\]]+)\]")
_HEADERS = "headers"


class _Family(NamedTuple):
    name: str
    functions: re.Pattern[str]
    files: re.Pattern[str]


class Plumbing:
    """Patterns by family. A later list adds to the earlier ones, and takes back with ``!`` what they say."""

    def __init__(self) -> None:
        self._patterns: dict[str, list[str]] = {}
        self._exceptions: list[str] = []
        self._families: list[_Family] | None = None
        self._exception: _Family | None = None
        self._known: dict[tuple[str, str | None], str] = {}

    def add(self, data: bytes, source: str) -> None:
        """Take in a list. Raises UnrecognisedFileError for a line that is no pattern.

        A line is a pattern: a function, or a file where it holds ``/`` or ends in ``.c``, ``.h``, ``.S``, ``.rs``.
        ``*`` stands for anything, ``dir/`` is all below. ``[name]`` begins a family, ``#`` a comment.
        """
        family = "your own list"
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").splitlines(), 1):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            heading = _FAMILY.fullmatch(text)
            if heading is not None:
                family = heading["name"]
                continue
            pattern = text.removeprefix("!").strip()
            if _WORD.fullmatch(pattern) is None or not pattern.strip("*./"):
                problem = f"line {number}: expected a function, a path, or ! and one of them, found {text!r}"
                raise UnrecognisedFileError(source, problem)
            if text.startswith("!"):
                # What is taken back is as if it had never been there; a wider pattern must not take it in again.
                for patterns in self._patterns.values():
                    patterns[:] = [other for other in patterns if other != pattern]
                self._exceptions.append(pattern)
            else:
                self._exceptions = [other for other in self._exceptions if other != pattern]
                self._patterns.setdefault(family, []).append(pattern)
        self._families = None
        self._known.clear()

    def family_of(self, function: str, file: str | None) -> str:
        """The family that a step belongs to, by its function or by its file; empty if it is none of plumbing.

        Headers are always plumbing: what they hold is inlined into everything.
        """
        known = self._known.get((function, file))
        if known is None:
            known = self._known[function, file] = self._find(function, file)
        return known

    def _find(self, function: str, file: str | None) -> str:
        if self._families is None:
            self._families = [_compiled(name, patterns) for name, patterns in self._patterns.items()]
            self._exception = _compiled("", self._exceptions)
        assert self._exception is not None
        if self._exception.functions.fullmatch(function) or (file and self._exception.files.fullmatch(file)):
            return ""
        for family in self._families:
            if function and family.functions.fullmatch(function):
                return family.name
        if file is None:
            return ""
        if file.endswith(".h"):
            return _HEADERS
        return next((family.name for family in self._families if family.files.fullmatch(file)), "")


def is_file(pattern: str) -> bool:
    """Whether a pattern is one of files."""
    return "/" in pattern or pattern.endswith((".c", ".h", ".S", ".rs"))


def _compiled(name: str, patterns: list[str]) -> _Family:
    files = [_expression(pattern) for pattern in patterns if is_file(pattern)]
    functions = [_expression(pattern) for pattern in patterns if not is_file(pattern)]
    return _Family(name, re.compile("|".join(functions) or "(?!)"), re.compile("|".join(files) or "(?!)"))


def _expression(pattern: str) -> str:
    # A star takes all it can and nothing is taken back but for the last: the patterns are a user's, the names a log's.
    expression = re.sub(r"\*+", "*", pattern)
    pieces = [re.escape(piece) for piece in expression.split("*")]
    return ".{0,200}".join(pieces) + (".*" if pattern.endswith("/") else "")
