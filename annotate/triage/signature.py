"""What two reports of the same crash have in common."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from annotate.triage.trace import signature_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.triage.trace import Step

#: Frames from the one that matters on. What called it further out differs from run to run.
_FRAMES = 5
_DIGITS = 16


def sign(kind: str, symbols: Sequence[str]) -> str:
    """A hash of the kind of a report and of its reliable frames; empty where there are none.

    Names only: no offsets, addresses, modules or lines, nor what a compiler added to a name; a system call is the same
    on every machine. So it is stable across KASLR, builds and prefixes.
    """
    names = [signature_name(symbol) for symbol in symbols][:_FRAMES]
    if not names:
        return ""
    return hashlib.sha256("\n".join((kind, *names)).encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


def reliable_symbols(steps: Sequence[Step]) -> list[str]:
    """The symbols of reliable steps, each frame once: inlined calls are only known where there is debug info."""
    symbols: list[str] = []
    for step in steps:
        if step.is_reliable and (not symbols or symbols[-1] != step.symbol):
            symbols.append(step.symbol)
    return symbols
