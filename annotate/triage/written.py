"""Entries of traces as texts give them, with the locations that stand in the text already.

f+0x1/0x2 (a/b.c:12 in g, a/c.c:34)                  this program
f+0x1/0x2 (a/b.c:12)  f+0x1/0x2 (a/b.c:12) [mod]     a kernel with CONFIG_KALLSYMS_LINEINFO
f (a/b.c:12 (discriminator 3) a/c.h:34) mod          scripts/decode_stacktrace.sh
f+0x1/0x2 a/b.c:12     g a/c.h:34 [inline]           syzbot
f at a/b.c:12          (inlined by) g at a/c.c:34    scripts/faddr2line
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from annotate.model import Location

_NAME = r"[A-Za-z_.$][\w.$]{0,511}"
_PATH = r"[\w./+@~-]{1,1000}\.(?:[chSsC]|cc|rs|inc)"
_OFFSET = r"\+0x[0-9a-f]{1,16}(?:/0x[0-9a-f]{1,16})?"
_MODULE = r"(?: ?\[[\w-]{1,64}(?: [0-9a-f]{2,64})?\])?"
_ADDRESSES = r"(?:\[?[<(][0-9a-fptrval_]{1,16}[>)]\]? {0,2}|\[[0-9a-f]{8,16}\] |[0-9a-f]{8,16} (?=[A-Za-z_.(]))*"


class EntryKind(Enum):
    """What an entry is."""

    PC = "pc"  #: the instruction pointer of a dump
    CALL = "call"  #: an entry of a trace


class Entry(NamedTuple):
    """An entry of a trace; ``places`` are empty where the text names none."""

    kind: EntryKind
    symbol: str
    places: tuple[Location, ...]
    is_reliable: bool
    is_inline: bool = False  #: a call that was inlined into the next entry that is none


#: How the instruction pointer of a dump is labelled.
_PC = (
    r"RIP: [0-9a-f]{4}:|RIP:? {0,2}|EIP: (?:[0-9a-f]{4}:)?|EIP is at |IP: |[pP][cC] is at |[pP][cC] ?: |epc {0,3}: "
    r"|NIP |ERA: |TPC: <|IAOQ\[0\]: |Krnl PSW : [0-9a-f]{16} |\[ERET {0,2}\]: |PC: "
)
_ENTRY = re.compile(
    rf"\s*(?:</?[A-Z#_]{{2,20}}>\s*)*(?P<pc>{_PC})?(?P<inlined_by>\(inlined by\) )?{_ADDRESSES}(?P<stale>\? ?)?\(?"
    rf"(?P<symbol>{_NAME})(?P<offset>{_OFFSET})?{_MODULE}(?: \([A-Z]{{1,4}}\))?(?P<behind>.*)",
    re.DOTALL,
)
#: ``f from g+0x1/0x2``: the first is the function that is unwound; where in it stands on the line before.
_UNWOUND = re.compile(
    rf"\s*{_ADDRESSES}\(?(?P<symbol>{_NAME})(?:{_OFFSET})?{_MODULE}\)? from {_ADDRESSES}\(?"
    rf"(?P<caller>{_NAME}){_OFFSET}{_MODULE}\)?(?P<behind>.*)",
    re.DOTALL,
)
_SYZBOT = re.compile(rf" (?P<file>{_PATH}):(?P<line>-?\d{{1,9}})(?P<inline> \[inline\])?(?:\s|$)")
_BRACKET = re.compile(r"[>)]{0,2} ?\((?P<places>[^\n]{1,8192})\)")
_FADDR2LINE = re.compile(rf" at (?P<file>{_PATH}):(?P<line>\d{{1,9}})")
_PLACE = re.compile(
    rf"(?:^|[ ,])(?P<file>{_PATH}):(?P<line>\d{{1,9}})(?::\d{{1,6}})?(?: \(discriminator \d+\))?"
    r"(?: in (?P<function>[^\s,]+))?"
)
#: An entry without an offset is one where a place stands behind it, and nothing else does.
_DECODED_END = re.compile(r" ?[\w-]{0,64}(?: [0-9a-f]{2,64})?\s*$")
_COLOUR = re.compile(r"\x1b\[[\d;]*[mK]")


def entries_of(message: str) -> list[Entry]:
    """The entries that a line is: one, two in ``f from g``, none in most lines."""
    if "\x1b" in message:
        message = _COLOUR.sub("", message)
    if " from " in message:
        match = _UNWOUND.match(message)
        if match is not None:
            callee = Entry(EntryKind.CALL, match["symbol"], (), is_reliable=True)
            places = _places(match["behind"], match["caller"])
            return [callee, Entry(EntryKind.CALL, match["caller"], places, is_reliable=True)]
    match = _ENTRY.match(message)
    if match is None:
        return []
    symbol, behind = match["symbol"], match["behind"]
    places = _places(behind, symbol)
    if behind.strip() == ":":
        return []  # faddr2line's heading: the places follow
    if match["offset"] is None and not _is_place_alone(behind, places, names_function="_" in symbol):
        return []
    kind = EntryKind.CALL if match["pc"] is None else EntryKind.PC
    syzbot = _SYZBOT.match(behind)
    is_inline = syzbot is not None and syzbot["inline"] is not None
    return [Entry(kind, symbol, places, match["stale"] is None, is_inline)]


def _is_place_alone(behind: str, places: tuple[Location, ...], *, names_function: bool) -> bool:
    """Whether a name without an offset is an entry: words of a text may have a place behind them, too."""
    if not places:
        return False
    syzbot = _SYZBOT.match(behind)
    if syzbot is not None:
        return syzbot["inline"] is not None
    if _FADDR2LINE.match(behind):
        return names_function
    bracket = _BRACKET.match(behind)
    return bracket is not None and _DECODED_END.match(behind, bracket.end()) is not None


def _places(behind: str, symbol: str) -> tuple[Location, ...]:
    """The chain that stands right behind an entry, innermost first."""
    match = _SYZBOT.match(behind) or _FADDR2LINE.match(behind)
    if match is not None:
        return (Location(match["file"], int(match["line"]), symbol, inlined=False),)
    bracket = _BRACKET.match(behind)
    if bracket is None:
        return ()
    if " or " in bracket["places"]:
        return ()  # one of several, and nobody knows which
    found = list(_PLACE.finditer(bracket["places"]))
    last = len(found) - 1
    return tuple(
        Location(
            match["file"],
            int(match["line"]),
            match["function"] or (symbol if number == last else ""),
            inlined=number != last,
        )
        for number, match in enumerate(found)
    )
