"""The slide of a boot from what is still to come of a log.

Panics print ``Kernel Offset:`` at their very end, and a raw address may stand before the first symbol with its address.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from annotate.log.context import Facts, LogContext, may_tell
from annotate.log.grammar import find_frames
from annotate.log.scan import LineScanner
from annotate.model import LogBlock, LogLine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from annotate.resolve import Resolver

_MARKS = (b"+0x", b"Linux version ", b"Kernel Offset: ")
_ADDRESS = re.compile(rb"[0-9a-f]{8}")


def find_slide(chunks: Iterable[bytes], resolver: Resolver, facts: Facts) -> None:
    """Read on until the resolver knows the slide of ``facts.boot``, or until the next boot or the end."""
    scanner = LineScanner(first_attention=0, marks=_MARKS)
    scanner.counts_lines = False
    context = LogContext(facts.kernel)
    for chunk in chunks:
        for piece in scanner.feed(chunk):
            if isinstance(piece, LogBlock):
                continue
            for line in piece.data.split(b"\n"):
                if may_tell(line):
                    context.observe(line)
                    if context.facts.boot:
                        return
                    if context.slide is not None:
                        resolver.set_slide(facts.boot, context.slide)
                        return
                if b"+0x" in line and _ADDRESS.search(line) is not None:
                    here = Facts(facts.boot, context.facts.kernel)
                    if any(resolver.learn_slide(frame, here) for frame in find_frames(LogLine(0, line, b""))):
                        return
