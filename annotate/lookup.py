"""Questions without a log: one frame, or one address, as a person writes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from annotate.log.context import Facts
from annotate.model import Frame, PcKind, RunAddr
from annotate.resolve import Resolver

if TYPE_CHECKING:
    from annotate.model import Resolution
    from annotate.resolve import ImageSource

_WHAT = re.compile(
    r"(?:0x(?P<address>[0-9a-fA-F]{1,16})|"
    r"(?P<symbol>[^\s+]+)(?:\+0x(?P<offset>[0-9a-f]{1,16})(?:/0x(?P<size>[0-9a-f]{1,16}))?)?"
    r"(?: \[(?P<module>[\w-]+)(?: (?P<build_id>[0-9a-f]+))?\])?)"
)


def read_frame(text: str, pc: PcKind = PcKind.EXACT) -> Frame | None:
    """The frame that a whole text is: ``f+0x1/0x2``, ``f+0x1/0x2 [mod]``, ``f+0x1``, ``f`` or ``0xaddress``.

    ``pc`` says what its address means; a function alone is asked for its entry. None for any other text.
    """
    match = _WHAT.fullmatch(text)
    if match is None:
        return None
    symbol, size, address = match["symbol"] or "", match["size"], match["address"]
    return Frame(
        (0, len(text)),
        len(text),
        symbol.encode("utf-8", "surrogateescape"),
        int(match["offset"] or "0", 16),
        int(size, 16) if size else None,
        (match["module"] or "").encode(),
        (match["build_id"] or "").encode(),
        RunAddr(int(address, 16)) if address else None,
        pc if match["offset"] or address else PcKind.ENTRY,
        reliable=True,
        in_trace=False,
        annotated=False,
        format="lookup",
    )


def resolve_frame(text: str, images: ImageSource, pc: PcKind = PcKind.EXACT) -> Resolution:
    """Where one frame is, spelled as for ``read_frame``; an address is one as linked, without a KASLR offset.

    Entries of a stack trace are return addresses: ask for them with ``PcKind.RETURN``. An answer that is not known is a
    ``Missing`` in the resolution. Raises ValueError when the text is no frame.
    """
    frame = read_frame(text, pc)
    if frame is None:
        raise ValueError(f"{text}: expected function+0xoffset/0xsize or 0xaddress")
    (resolution,) = Resolver(images, slide=0).resolve([frame], Facts()).resolutions
    return resolution
