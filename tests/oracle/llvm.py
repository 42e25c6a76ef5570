"""llvm-symbolizer as an oracle for linked files: one process, many addresses.

It knows no sections: in a module, whose sections all start at 0, it answers wrongly. ``elfutils.py`` is for those.
Where it is known to be wrong in a vmlinux:

- an address in bytes that no row covers gets a file guessed from STT_FILE, with line 0: ``Answer.has_line`` is false;
- the padding or the patchable nops in front of a function belong to its symbol, but the row that covers them is the
  last one of the function before; ``behind_nops`` and ``own_row`` tell what to expect there.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PROGRAMS = ("llvm-symbolizer", *(f"llvm-symbolizer-{version}" for version in range(30, 14, -1)))

#: Addresses that are written before answers are read: few enough that both pipes can never be full at once.
_BATCH = 400

#: Bytes in front of a function that may lack a row of their own: patchable nops, alignment.
_FRONT = 64

#: Folders in which distributions build kernels. The package's own path is mapped to one of the first two kinds; an
#: out-of-tree module names the headers that it was built against.
_BUILD_FOLDERS = re.compile(
    r"(?:/build/(?:[^/]+/)?linux-[^/]+/|/usr/src/linux-headers-[^/]+/)?(?:debian/build/build_[^/]+/)?"
)


class Place(NamedTuple):
    """A source location as an oracle gives it; ``file`` is in the kernel tree where it lies in one."""

    file: str
    line: int
    function: str


class Answer(NamedTuple):
    """What the oracle says of one address, innermost first. ``row`` identifies the row of the line table.

    ``in_function``: an entry of .debug_info for a C function contains the address (it says where that is declared).
    """

    places: tuple[Place, ...]
    row: tuple[str, int, int, int]
    in_function: bool

    @property
    def has_line(self) -> bool:
        """Whether a row covers the address; without one the file is a guess and the line 0."""
        return bool(self.places) and self.places[0].line != 0


def find_program(names: Sequence[str] = _PROGRAMS) -> str | None:
    """The path of the first of these programs that is installed."""
    return next((path for name in names if (path := shutil.which(name))), None)


def tree_path(path: str) -> str:
    """A path of the debug info as it is in the kernel tree, by rules of its own: the folder names of distributions."""
    folded = posixpath.normpath(path) if path else path
    match = _BUILD_FOLDERS.match(folded)
    return folded[match.end() :] if match is not None else folded


class LlvmSymbolizer:
    """One process for one file; answers are kept."""

    def __init__(self, path: str) -> None:
        program = find_program()
        if program is None:
            raise FileNotFoundError("llvm-symbolizer is not installed")
        self._answers: dict[int, Answer] = {}
        self._process = subprocess.Popen(
            [program, f"--obj={path}", "--inlines", "--output-style=JSON", "--no-demangle"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def ask(self, addresses: Iterable[int]) -> list[Answer]:
        """The answers for these addresses, in order."""
        wanted = list(addresses)
        missing = [address for address in dict.fromkeys(wanted) if address not in self._answers]
        source, sink = self._process.stdout, self._process.stdin
        if source is None or sink is None:
            raise ValueError("the pipes of llvm-symbolizer are closed")
        for first in range(0, len(missing), _BATCH):
            batch = missing[first : first + _BATCH]
            sink.write("".join(f"{address:#x}\n" for address in batch))
            sink.flush()
            for address in batch:
                self._answers[address] = _answer(source.readline())
        return [self._answers[address] for address in wanted]

    def behind_nops(self, address: int, start: int, end: int) -> Answer | None:
        """What to expect for an address in front of the function that its symbol is for; None for all others.

        ``start`` and ``end`` bound the symbol's code. By .debug_info the function begins behind the address (patchable
        nops); the answer is that of its first byte. A row may begin on the nops all the same: it is left over from the
        function before.
        """
        here = self.ask((address,))[0]
        if here.in_function or address - start >= _FRONT:
            return None
        following = self.ask(range(address + 1, min(end, start + _FRONT)))
        return next((answer for answer in following if answer.in_function and answer.has_line), None)

    def own_row(self, address: int, start: int, end: int) -> Answer | None:
        """What to expect where the plain answer is none, or a row that began before the symbol; None for all others.

        It did where every byte from the one before the symbol on has the same row, column and discriminator too (which
        may also be chance, so the plain answer comes first). The answer is that of the first byte with another row, or
        the plain one when the symbol has no row of its own.
        """
        here = self.ask((address,))[0]
        if here.has_line:
            if address - start >= _FRONT:
                return None
            if len({answer.row for answer in self.ask(range(start - 1, address + 1))}) > 1:
                return None
        following = self.ask(range(address + 1, min(end, address + _FRONT)))
        return next((answer for answer in following if answer.has_line and answer.row != here.row), here)


def _answer(line: str) -> Answer:
    found = json.loads(line)
    symbols = found.get("Symbol")
    if not symbols:
        raise ValueError(f"llvm-symbolizer: {line.strip() or 'ended'}")
    first = symbols[0]
    return Answer(
        tuple(Place(tree_path(each["FileName"]), each["Line"], each["FunctionName"]) for each in symbols),
        (first["FileName"], first["Line"], first["Column"], first.get("Discriminator", 0)),
        symbols[-1].get("StartLine", 0) != 0,
    )
