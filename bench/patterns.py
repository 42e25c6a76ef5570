"""What each pattern of the log grammar costs on lines of a megabyte that are made of its own fragments.

    python -m bench.patterns [--megabytes 1] [--rounds 3] [--worst 12]

Every compiled pattern of the modules that read logs, and both of every row of the grammar, is run as it is used
(searched for along the line, matched where a line or a piece of it begins, or backwards from its end) over lines that
repeat each literal piece of its own source, and the pieces of its row's example: what it nearly matches. Printed is the
slowest line of each pattern, in nanoseconds of processor time a byte, and how that changes when the line is twice as
long: 1.0 is linear.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import regex

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from annotate import memory
from annotate.log import context, demangled, grammar, visible, wrapped
from annotate.log.formats import FRAME_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from annotate.model import FrameFormat

TARGET = 20.0

#: Patterns whose every match along a line is looked for, and those of which the first is enough; all others are matched
#: at one place.
ALL_MATCHES = {
    *("grammar._ATOM", "grammar._ATOM_OF_PATHS", "grammar._ADDRESS", "grammar._DIGITS"),
    "visible._CODES",
}
FIRST_MATCH = {
    *("context._BANNER", "context._CPU_LINE", "context._OFFSET", "context._MODULES"),
    *("grammar.HIGH_ADDRESS", "visible._LOCATION", "visible._SIGN", "visible._SIGNS"),
}

MODULES = (grammar, visible, context, demangled, wrapped, memory)

#: Pieces that many patterns meet.
COMMON = (
    b"a",
    b"0",
    b" ",
    b"+0x1",
    b"/0x2",
    b"[<",
    b"ffff",
    b"] ",
    b"(",
    b"::",
    b"\x1b[",
    b"f+0x1/0x",
    b"\t",
    b">",
    b".$_",
)


class Case(NamedTuple):
    """A pattern: how it is run over a line, and the pieces that lines for it are made of."""

    name: str
    run: Callable[[bytes], object]
    pieces: tuple[bytes, ...]


def literals(source: bytes) -> Iterator[bytes]:
    """The literal pieces of a pattern's source."""
    plain = re.sub(
        rb"\(\?(?:[:=!>r]|<[=!]|P<\w+>)|\[\^?(?:\\.|[^\]])*\]|\\[bwsdSWD]|\{\d*,?\d*\}|[*+?|()^$]", b"\0", source
    )
    yield from (re.sub(rb"\\(.)", rb"\1", piece) for piece in plain.split(b"\0") if piece)


def pieces_of(source: bytes, example: bytes = b"") -> tuple[bytes, ...]:
    """What lines are made of: literals, each word of the example, the example without its end."""
    words = re.findall(rb"[^ ]+ ?", example)
    found = [*literals(source), *words, example[:-1], *COMMON]
    return tuple(dict.fromkeys(piece for piece in found if piece and b"\n" not in piece))


def cases() -> Iterator[Case]:
    """All patterns."""
    seen = set()
    for module in MODULES:
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern | regex.Pattern) and isinstance(value.pattern, bytes):
                full = f"{module.__name__.rpartition('.')[2]}.{name}"
                seen.add(full)
                yield Case(full, _runner(full, value), pieces_of(value.pattern))
    for row in FRAME_FORMATS:
        yield from _cases_of(row)
    assert seen >= ALL_MATCHES | FIRST_MATCH, "a pattern has another name now"


def _cases_of(row: FrameFormat) -> Iterator[Case]:
    pieces = pieces_of(row.before, row.example)
    before = regex.compile(b"(?r)(?:" + row.before + b")")
    yield Case(f"{row.name} (before)", lambda line: before.match(line, 0, len(line)), pieces)
    if row.closing or row.behind:
        behind = re.compile(row.closing + b"(?=" + row.behind + b")")
        yield Case(
            f"{row.name} (behind)", lambda line: behind.match(line, 0), pieces_of(row.closing + row.behind, row.example)
        )


def _runner(name: str, pattern: re.Pattern[bytes] | regex.Pattern[bytes]) -> Callable[[bytes], object]:
    if name in ALL_MATCHES:
        return lambda line: sum(1 for _ in pattern.finditer(line))
    if name in FIRST_MATCH:
        return pattern.search
    if b"(?r)" in pattern.pattern:
        return lambda line: pattern.match(line, 0, len(line))
    return lambda line: (pattern.match(line), pattern.fullmatch(line))


def nanoseconds(run: Callable[[bytes], object], piece: bytes, size: int, rounds: int) -> float:
    """Processor time a byte of a line of this piece."""
    line = (piece * (size // len(piece) + 1))[:size]
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run(line)
        best = min(best, time.process_time() - start)
    return 1e9 * best / size


def main() -> None:
    """Print the slowest patterns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worst", type=int, default=12, help="how many are printed")
    options = parser.parse_args()
    size = int(options.megabytes * (1 << 20))
    found = []
    for case in cases():
        costs = {piece: nanoseconds(case.run, piece, size, options.rounds) for piece in case.pieces}
        piece = max(costs, key=costs.__getitem__)
        doubled = nanoseconds(case.run, piece, 2 * size, options.rounds) / max(costs[piece], 0.01)
        found.append((costs[piece], case.name, piece, doubled, len(costs)))
    found.sort(reverse=True)
    lines = sum(count for *_, count in found)
    slow = sum(cost > TARGET for cost, *_ in found)
    print(f"{len(found)} patterns, {lines} lines of {options.megabytes:g} MiB; {slow} above {TARGET:g} ns a byte\n")
    print("| pattern | slowest line is made of | ns a byte | twice as long |")
    print("|---|---|---|---|")
    for cost, name, piece, doubled, _ in found[: options.worst]:
        shown = repr(piece)[1:].replace("|", "\\|")
        print(f"| {name} | `{shown}` | {cost:.1f} | {doubled:.2f} |")


if __name__ == "__main__":
    main()
