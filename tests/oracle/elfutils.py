"""elfutils as an oracle: symbols and sections by eu-readelf, lines of modules by eu-addr2line.

eu-addr2line takes offsets within a section, which is what a module needs. Where it is known to be wrong:

- the chain of inlined calls is that of the address at which the covering row starts, not of the address that was asked
  (seen in 0.188: an inlined call that ended inside the row is still printed, one that began inside it is not);
- behind the end of a sequence it goes on giving that sequence's last row;
- like llvm-symbolizer it gives the row of the function before for nops in front of a function.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from llvm import Place, find_program, tree_path

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAMS = ("eu-addr2line", "eu-readelf")

_SECTION = re.compile(
    r"\[ *(?P<index>\d+)\] (?P<name>\S*) +(?P<type>[A-Z_0-9]+) +(?P<address>[0-9a-f]{8,16}) (?P<offset>[0-9a-f]{6,16}) "
    r"(?P<size>[0-9a-f]{6,16}) +\d+ (?P<flags>[A-Za-z]*) +\d+ +\d+ +(?P<alignment>\d+)$"
)
_SYMBOL = re.compile(
    r" *\d+: (?P<value>[0-9a-f]{8,16}) +(?P<size>\d+) (?P<type>\S+) +\S+ +\S+ +(?P<section>\S+)(?: (?P<name>.*))?$"
)
_PLACE = re.compile(r"(?P<file>.*?):(?P<line>\d+)(?::\d+)?$")


class Section(NamedTuple):
    """One section header."""

    number: int
    name: str
    type: str
    address: int
    offset: int
    size: int
    is_code: bool
    is_allocated: bool
    alignment: int


class Symbol(NamedTuple):
    """One entry of the symbol table; ``section`` is None for undefined, absolute and common symbols."""

    name: str
    value: int
    size: int
    type: str
    section: int | None
    is_defined: bool


def missing_programs() -> list[str]:
    """The programs of elfutils that are not installed."""
    return [name for name in PROGRAMS if find_program((name,)) is None]


def _read(*arguments: str) -> str:
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


def is_module(path: str) -> bool:
    """Whether the file is relocatable."""
    return re.search(r"Type: +REL\b", _read("eu-readelf", "-h", path)) is not None


def read_sections(path: str) -> list[Section]:
    """All section headers, in order."""
    matches = (_SECTION.match(line.rstrip()) for line in _read("eu-readelf", "-S", path).splitlines())
    return [
        Section(
            int(found["index"]),
            found["name"],
            found["type"],
            int(found["address"], 16),
            int(found["offset"], 16),
            int(found["size"], 16),
            "X" in found["flags"],
            "A" in found["flags"],
            int(found["alignment"]),
        )
        for found in matches
        if found is not None
    ]


def read_symbols(path: str) -> list[Symbol]:
    """The symbol table, in order."""
    matches = (_SYMBOL.match(line) for line in _read("eu-readelf", "--symbols=.symtab", path).splitlines())
    return [
        Symbol(
            found["name"] or "",
            int(found["value"], 16),
            int(found["size"]),
            found["type"],
            int(found["section"]) if found["section"].isdigit() else None,
            found["section"] != "UNDEF",
        )
        for found in matches
        if found is not None
    ]


def nops_in_front(path: str, section: Section, offset: int) -> int:
    """How many bytes of patchable nops (arm64, -fpatchable-function-entry=2) an offset of a section begins with.

    They stand in front of what .debug_info calls the function, so whatever row covers them is not the function's. A
    third nop is its own: a static branch that is switched off.
    """
    with open(path, "rb") as file:
        header = file.read(20)
        if header[18:20] != b"\xb7\0":  # EM_AARCH64
            return 0
        file.seek(section.offset + offset)
        code = file.read(min(64, section.size - offset))
    count = 0
    while count < 8 and code[count : count + 4] == b"\x1f\x20\x03\xd5":
        count += 4
    return count


def ask_elfutils(path: str, section: str, offsets: Sequence[int]) -> list[tuple[Place, ...]]:
    """The chain of each offset of a section, innermost first; empty where there is no line.

    Every offset must lie inside the section: elfutils leaves others out.
    """
    if not offsets:
        return []
    text = "".join(f"{offset:#x}\n" for offset in offsets)
    command = ("eu-addr2line", "-e", path, "-j", section, "-a", "-f", "-i")
    # Its status is that of the last offset, 1 when that has no line: the count of answers is checked instead.
    output = subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout
    answers: list[list[str]] = []
    for line in output.splitlines():
        if line.startswith("0x"):
            answers.append([])
        else:
            answers[-1].append(line)
    if len(answers) != len(offsets):
        raise ValueError(f"{path}: {len(offsets)} offsets of {section} asked, {len(answers)} answered")
    return [_chain(lines) for lines in answers]


def _chain(lines: list[str]) -> tuple[Place, ...]:
    """Lines of a function and of its place take turns; the function may have `` inlined at ...`` behind it."""
    places = []
    for function, place in zip(lines[0::2], lines[1::2], strict=True):
        found = _PLACE.match(place)
        if found is None or found["line"] == "0":
            return ()
        name = function.split(" inlined at ", 1)[0]
        places.append(Place(tree_path(found["file"]), int(found["line"]), name))
    return tuple(places)


def ask_call_site(path: str, section: str, offset: int) -> Place | None:
    """Where the inlined function that holds an offset was called, as eu-addr2line's ``inlined at`` says.

    That text, unlike its chain, is about the very address that was asked. None when no inlined function holds it.
    """
    command = ("eu-addr2line", "-e", path, "-j", section, "-f", "-i", f"{offset:#x}")
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(
        r"^\S+ inlined at (?P<file>.*?):(?P<line>\d+)(?::\d+)? in (?P<function>\S+)$", output, re.MULTILINE
    )
    return None if found is None else Place(tree_path(found["file"]), int(found["line"]), found["function"])
