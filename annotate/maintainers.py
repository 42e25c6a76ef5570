"""Who looks after a file of the kernel: its MAINTAINERS file, read and asked.

The rules are those at the head of that file and, where it is silent, what ``scripts/get_maintainer.pl`` is seen to do;
``tests/oracle/compare_maintainers.py`` asks both about the files of a kernel.

- ``F: dir/`` is everything below. Any other pattern matches only as deep as it is itself: ``F: dir/*`` is one level.
- A pattern need not reach the end of a name: ``F: include/drm/drm`` is ``include/drm/drm_edid.h`` too. Without
  wildcards it is also everything below: ``F: net/ife``.
- ``X:`` takes a file from its own entry, whatever else there matches.
- ``N:`` is a regular expression for any part of the path.
- ``K:`` is one for the text of a file or patch; paths are not asked for it.
- Of several patterns of an entry that match, the last decides how it ranks.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from annotate.errors import UnrecognisedFileError
from annotate.limits import MAX_REPEATS
from annotate.model import Subsystem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The entry that every file is in.
THE_REST = "THE REST"

#: Of these a ``Subsystem`` is made, or they say which files are its.
_NEEDED_TAGS = frozenset("MRLSTFXNK")

#: Ranks of patterns that do not say how deep they are. The others rank by their depth, which is at least 1.
_RANK_ANYWHERE, _RANK_BY_NAME = -1, 0

_WILDCARD = re.compile(r"[*?\[]")
_STARS = re.compile(r"\*+")
_GLOB_PIECE = re.compile(r"\[\^?(?:-|\w-\w|[\w.,+])(?:\w-\w|[\w.,+])*\]|[^\[?]+|.", re.DOTALL)

#: What is not followed of ``N:``. A kernel (6.12) has nothing of it, three repeats in an expression at most, and no
#: path of more than 140 characters. A repeated group could take forever, and perl alone has ``[[:alpha:]]``.
_NOT_FOLLOWED = re.compile(r"\)[*+{]|\[:")
_REPEAT = re.compile(r"[*+{]")
_LONGEST_PATH = 256


class _Pattern(NamedTuple):
    line: int  #: number of its line in the file, from 0
    entry: int
    tag: str  #: ``F`` or ``N``
    text: str


def read_maintainers(data: bytes, source: str) -> Maintainers:
    """Read a MAINTAINERS file. Raises UnrecognisedFileError when no entry in it names files.

    The 26 000 lines of a kernel (6.12) take about 20 ms. What is no UTF-8 comes out as surrogate escapes.
    """
    maintainers = Maintainers(data.decode("utf-8", "surrogateescape").split("\n"))
    if not maintainers.names_files:
        raise UnrecognisedFileError(
            source, "expected a kernel's MAINTAINERS file, found no entry in it that names files (F: or N:)"
        )
    return maintainers


def needed_text(data: bytes) -> bytes:
    """What of a MAINTAINERS file a look-up needs: titles and the tags that it reads, without the head and comments."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    kept: list[str] = []
    for title, tags in _entries(lines):
        needed = [lines[number].rstrip() for number in tags if lines[number][0] in _NEEDED_TAGS]
        kept += [lines[title].strip(), *needed]
    return "".join(f"{line}\n" for line in kept).encode("utf-8", "surrogateescape")


def _entries(lines: list[str]) -> Iterator[tuple[int, list[int]]]:
    """Each entry: the number of the line with its title, and those of its tags.

    A title is the last line before a tag that is none itself. Blank lines and comments end nothing.
    """
    title = -1
    tags: list[int] = []
    for number, line in enumerate(lines):
        if line[1:2] == ":" and "A" <= line[0] <= "Z":
            if title >= 0:
                tags.append(number)
        elif line and line[0] != "#" and not line.isspace():
            if tags:
                yield title, tags
                tags = []
            title = number
    if tags:
        yield title, tags


class Maintainers:
    """The entries of a MAINTAINERS file, asked by path. Made by ``read_maintainers``."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._entries = list(_entries(lines))
        #: By the folders in front of the first wildcard: what can match a path is found by the path's own folders.
        self._by_folder: dict[str, list[_Pattern]] = {}
        self._by_name: list[_Pattern] = []
        self._excluded: dict[int, list[str]] = {}
        for entry, (_, tags) in enumerate(self._entries):
            for number in tags:
                tag, text = lines[number][0], lines[number][2:].strip()
                if not text:
                    continue
                if tag == "F":
                    wildcard = _WILDCARD.search(text)
                    folder = text[: text.rfind("/", 0, wildcard.start() if wildcard else None) + 1]
                    self._by_folder.setdefault(folder, []).append(_Pattern(number, entry, tag, text))
                elif tag == "N":
                    self._by_name.append(_Pattern(number, entry, tag, text))
                elif tag == "X":
                    self._excluded.setdefault(entry, []).append(text)

    @property
    def names_files(self) -> bool:
        """There is a pattern."""
        return bool(self._by_folder or self._by_name)

    @property
    def titles(self) -> tuple[str, ...]:
        """Those of all entries, in the order of the file."""
        return tuple(self._lines[title].strip() for title, _ in self._entries)

    def subsystems_of(self, path: str) -> tuple[Subsystem, ...]:
        """The entries that a file is in, the one with the deepest pattern first; THE REST comes last.

        ``path`` is from the top of the kernel's tree. Entries that rank alike come in the order of the file.
        """
        decisive: dict[int, _Pattern] = {}
        for pattern in self._candidates(path):
            other = decisive.get(pattern.entry)
            if (other is None or other.line < pattern.line) and _matches(pattern, path):
                decisive[pattern.entry] = pattern
        found = [
            pattern
            for entry, pattern in decisive.items()
            if not any(_is_below_or_like(text, path) for text in self._excluded.get(entry, ()))
        ]
        found.sort(key=lambda pattern: (self._title(pattern.entry) == THE_REST, -_rank(pattern), pattern.entry))
        return tuple(map(self._subsystem, found))

    def _candidates(self, path: str) -> Iterator[_Pattern]:
        end = 0
        while True:
            yield from self._by_folder.get(path[:end], ())
            end = path.find("/", end) + 1
            if not end:
                break
        yield from self._by_name

    def _title(self, entry: int) -> str:
        return self._lines[self._entries[entry][0]].strip()

    def _subsystem(self, pattern: _Pattern) -> Subsystem:
        lines = [self._lines[number] for number in self._entries[pattern.entry][1]]
        return Subsystem(
            title=self._title(pattern.entry),
            status=", ".join(_values("S", lines)),  # KVM/powerpc has one for each of its parts
            maintainers=_values("M", lines),
            reviewers=_values("R", lines),
            lists=_values("L", lines),
            trees=_values("T", lines),
            why=f"{pattern.tag}: {pattern.text}",
        )


def _values(tag: str, lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(value for line in lines if line[0] == tag and (value := line[2:].strip()))


def _rank(pattern: _Pattern) -> int:
    text = pattern.text
    if pattern.tag == "N":
        return _RANK_BY_NAME
    if text.startswith("*"):
        return _RANK_ANYWHERE
    # A folder is as deep as its slashes, with or without the last; a file is one deeper.
    return text.count("/") + (not text.endswith("/"))


def _matches(pattern: _Pattern, path: str) -> bool:
    if pattern.tag == "F":
        return _is_below_or_like(pattern.text, path)
    if pattern.text.isalnum():
        return pattern.text in path  # as most are: compiling those takes 10 ms
    expression = _name_expression(pattern.text)
    return expression is not None and len(path) <= _LONGEST_PATH and expression.search(path) is not None


def _is_below_or_like(text: str, path: str) -> bool:
    """Whether a pattern of ``F:`` or ``X:`` matches."""
    if _WILDCARD.search(text):
        expression = _glob_expression(text)
        return expression is not None and expression.match(path) is not None
    if not path.startswith(text):
        return False
    rest = path[len(text) :]
    return text.endswith("/") or rest.startswith("/") or "/" not in rest


@lru_cache(1024)
def _glob_expression(text: str) -> re.Pattern[str] | None:
    """A pattern with wildcards, for ``match``; None where a range in it is none, as ``[z-a]``.

    The text behind a ``*`` is taken where it first fits and never given back, so no path takes long.
    """
    # In a pattern that ends in a slash a wildcard takes slashes too: as get_maintainer.pl has it.
    anything = "." if text.endswith("/") else "[^/]"
    fixed, *starred = (
        "".join(_translated(piece, anything) for piece in _GLOB_PIECE.findall(part)) for part in _STARS.split(text)
    )
    end = "" if text.endswith("/") else "[^/]*$"
    return _compiled(f"{fixed}{''.join(f'(?>{anything}*?{part})' for part in starred)}{end}")


def _translated(piece: str, anything: str) -> str:
    if piece == "?":
        return anything
    if piece[0] == "[" and len(piece) > 1:
        return f"(?={anything}){piece}"
    return re.escape(piece)


@lru_cache(1024)
def _name_expression(text: str) -> re.Pattern[str] | None:
    """The expression of ``N:``; None where it cannot be followed."""
    if len(text) > _LONGEST_PATH or len(_REPEAT.findall(text)) > MAX_REPEATS or _NOT_FOLLOWED.search(text):
        return None
    return _compiled(text)


def _compiled(expression: str) -> re.Pattern[str] | None:
    with warnings.catch_warnings():
        # What a later Python may read otherwise, perl reads as this one does.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return re.compile(expression, re.DOTALL)
        except (re.error, OverflowError, RecursionError):
            return None
