"""Coverage-guided targets: a module each, whose docstring is its invariant in one sentence.

``check`` takes any bytes, within the limits of ``engine.py``, and raises where the invariant does not hold. ``seeds``
are inputs to begin with; ``WORDS`` are what inputs of the kind are made of.
"""

from __future__ import annotations

import importlib
import struct
import sys
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT: Final = Path(__file__).parent.parent.parent
FIXTURES: Final = ROOT / "tests" / "fixtures"
SAMPLES: Final = ROOT / "sample_oopses"

if str(ROOT / "tests") not in sys.path:
    sys.path.append(str(ROOT / "tests"))  # writers of ELF, DWARF, tables and packages

NAMES: Final = (
    "log_text",
    "elf",
    "line_program",
    "debug_info",
    "lineinfo_table",
    "kernel_table",
    "maintainers",
    "triage",
    "packages",
    "debuginfod",
)


class Target(Protocol):
    """What a module of a target has."""

    __doc__: str
    WORDS: Sequence[bytes]

    def check(self, data: bytes) -> None:
        """Raise any exception where the invariant does not hold for these bytes."""

    def seeds(self) -> Iterable[bytes]:
        """Inputs to begin with, from fixtures."""


def load(name: str) -> Target:
    """The target of that name, one of ``NAMES``."""
    return cast("Target", importlib.import_module(f"fuzz.targets.{name}"))


def join_pieces(flags: int, pieces: Sequence[bytes]) -> bytes:
    """Pieces as one input: a byte of flags, 16 bits for the size of each but the last, the pieces."""
    sizes = [len(piece) for piece in pieces[:-1]]
    return struct.pack(f"<B{len(sizes)}H", flags, *sizes) + b"".join(pieces)


def split_pieces(data: bytes, count: int) -> tuple[int, list[bytes]]:
    """The flags and the pieces of any bytes, some of them empty where there are too few."""
    head = struct.Struct(f"<B{count - 1}H")
    flags, *sizes = head.unpack(data[: head.size].ljust(head.size, b"\0"))
    body = data[head.size :]
    bounds = [*accumulate(sizes, initial=0), max(len(body), sum(sizes))]
    return flags, [body[start:end] for start, end in pairwise(bounds)]
