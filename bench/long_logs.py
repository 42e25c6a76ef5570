"""Logs for ``throughput.py``, as long as they are asked for: made from the samples and a seed, always the same."""

from __future__ import annotations

import random
import re
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from annotate.kernel.images import OpenTable, open_file
from annotate.model import LinkAddr
from bench.cold_run import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SAMPLES = REPOSITORY / "sample_oopses"
SEED = 1

LINES_AN_OOPS = 5_000

#: A line of it ends below the 1 MiB up to which the filter reads lines.
HOSTILE_LINE = 1_000_000
MIXED_UNITS = 20_000

_STAMP = re.compile(rb"\[ *\d+\.\d{6}\]")
FRAME = re.compile(rb"[\w.$]+\+0x[0-9a-f]+/0x[0-9a-f]+|0xffff[0-9a-f]{12}")
#: A trace entry that a golden file shows with an answer, its own time left out.
_ANSWERED = re.compile(
    rb"^\d+: \[ *\d+\.\d{6}\](  (?:\? )?[A-Za-z_.$][\w.$]*\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[[\w-]+\])?) \([^()]*\)$",
    re.MULTILINE,
)
_OOPS_BEGINS = re.compile(rb"------------\[ cut here \]|\] BUG: ")
_OOPS_ENDS = b"---[ end trace "

#: Near-misses of frames and of what stands around them, separated by ``|``.
HOSTILE_UNITS = (
    b"a+0x|+0x1/0x|a+0x1/0x|a+0x1/0x1/0x|f+0x1/0x2[|f+0x1/0x2 [|f+0x1/0x2 [m |f+0x1/0x2g |f+0x1/0x2 (|"
    b"BUG: K f+0x1/0x2 |[<ffff|[<ffffffff81000000>] |[<0>] |0xffff|0xffff00000000000g |0|f|_.$|a|+|"
    b"WARNING: at |WARNING: |BUG: KASAN: |BUG: KASAN: x in |RIP: 0010:|IP: |pc : |initcall |"
    b'=> |<-|: (|[000] |? |] | |\t|\r|\0|\xff|\\n|"|:m:|'
    b"\x1b[|\x1b[0m|\x1b[1;|\\u001b[|\\x1b[0m|=20|=|(((((|)))))| (a/b.c:1) | (a|"
    b":: ::|a::|<a as b>::|<<<<|_RNv| PID: |---[ end |Kernel Offset: |Linux version "
).split(b"|")


class Log(NamedTuple):
    """A log that was made."""

    path: Path
    size: int
    lines: int


class Clock:
    """Gives lines rising times."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._microseconds = 20_000_000

    def stamp(self) -> bytes:
        """The next time, a few microseconds later."""
        self._microseconds += 1 + int(50 * self._random.random())
        return b"[%5d.%06d]" % divmod(self._microseconds, 1_000_000)

    def restamp(self, line: bytes) -> bytes:
        """The line with the next time for its own; as it is when it has none."""
        match = _STAMP.match(line)
        return line if match is None else self.stamp() + line[match.end() :]


def write_log(path: Path, lines: Iterable[bytes]) -> Log:
    """Write lines, each with a line end."""
    size = count = 0
    with path.open("wb", buffering=1 << 20) as file:
        for line in lines:
            size += file.write(line + b"\n")
            count += 1
    return Log(path, size, count)


def sample_lines(path: Path) -> list[bytes]:
    """The lines of a sample without the carriage returns of its serial line."""
    return [line.rstrip(b"\r") for line in path.read_bytes().removesuffix(b"\n").split(b"\n")]


#: Lines before and behind a frame that belong to its dump.
NEAR = 40


def ordinary_lines() -> list[bytes]:
    """Lines of the samples that are no part of a crash, of one boot.

    A line names the kernel, the first, and it is that of the oopses. What stands near a frame is its dump.
    """
    banner = sample_lines(SAMPLES / "x86_64" / "multi.log")[0]
    found = [banner]
    for path in sorted(SAMPLES.glob("**/*.log")):
        lines = sample_lines(path)
        near = {
            number
            for place, line in enumerate(lines)
            if FRAME.search(line) is not None
            for number in range(place - NEAR, place + NEAR)
        }
        found += [
            line
            for number, line in enumerate(lines)
            if number not in near and b"Linux version " not in line and b"-arm64" not in line
        ]
    return found


def oopses() -> list[list[bytes]]:
    """The whole oopses of the sample with the most of them."""
    found: list[list[bytes]] = []
    current: list[bytes] = []
    for line in sample_lines(SAMPLES / "x86_64" / "multi.log"):
        if current or _OOPS_BEGINS.search(line):
            current.append(line)
        if current and _OOPS_ENDS in line:
            found.append(current)
            current = []
    return found


def real_frames() -> list[bytes]:
    """The distinct trace entries of the samples that have an answer."""
    found: dict[bytes, None] = {}
    for path in sorted((SAMPLES / "x86_64").glob("*.annotated")):
        found.update(dict.fromkeys(_ANSWERED.findall(path.read_bytes())))
    return list(found)


def ordinary_log(size: int, *, with_oopses: bool) -> Iterator[bytes]:
    """About ``size`` bytes of ordinary lines."""
    clock = Clock()
    blocks = cycle(oopses())
    first, *others = ordinary_lines()
    yield first
    for number, line in enumerate(cycle(others), 1):
        yield clock.restamp(line)
        size -= len(line) + 1
        if size <= 0:
            return
        if with_oopses and number % LINES_AN_OOPS == 0:
            yield from map(clock.restamp, next(blocks))


def frame_log(frames: Sequence[bytes], count: int) -> Iterator[bytes]:
    """``count`` lines, each frame about as often, in random order."""
    chosen = random.Random(SEED)
    clock = Clock()
    deck: list[bytes] = []
    for _ in range(count):
        if not deck:
            deck = chosen.sample(frames, len(frames))
        yield clock.stamp() + deck.pop()


def oops_log(count: int) -> Iterator[bytes]:
    """``count`` lines of whole oopses, one behind the other."""
    clock = Clock()
    lines = cycle([line for block in oopses() for line in block])
    for _ in range(count):
        yield clock.restamp(next(lines))


def kernel_frames(table: Path, count: int) -> list[bytes]:
    """Distinct frames of a kernel that have a line, drawn evenly over the bytes of its functions.

    Left out are functions that share name and size with others.
    """
    opened = open_file(str(table))
    if not isinstance(opened, OpenTable):
        raise SystemExit(f"{table}: expected a table, made by `lineinfo build`")
    image = next(opened.images("")).image
    lengths = [section.size for section in image.sections]
    chosen = random.Random(SEED)
    found: dict[bytes, None] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        (section,) = chosen.choices(image.sections, lengths)
        address = LinkAddr(section.start + chosen.randrange(section.size))
        symbol = image.symbol_at(address)
        if symbol is None or not symbol.is_code:
            continue
        offset = address + 1 - symbol.address  # behind the call
        alike = [other for other in image.find(symbol.name) if symbol.size in other.sizes]
        if offset < symbol.size and len(alike) == 1 and image.chain(address, symbol):
            found[b"  %s+%#x/%#x" % (symbol.name, offset, symbol.size)] = None
    if len(found) < count:
        raise SystemExit(f"{table}: expected {count} distinct frames, found {len(found)}")
    return list(found)


def hostile_units() -> dict[str, bytes]:
    """What hostile lines are made of, by what to call it."""
    units = {ascii(unit)[1:]: unit for unit in HOSTILE_UNITS}
    units["all of these, mixed"] = b"".join(random.Random(SEED).choices(HOSTILE_UNITS, k=MIXED_UNITS))
    return units


def hostile_lines(unit: bytes) -> Iterator[bytes]:
    """Long lines of a unit: alone, in front of a frame, behind one, between two."""
    frame = b" f+0x1/0x2 "
    for before, behind in ((b"", b""), (b"", frame), (frame, b""), (frame, frame)):
        yield before + unit * ((HOSTILE_LINE - len(before + behind)) // len(unit)) + behind
