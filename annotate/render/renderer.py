"""What every output format is: a ``Renderer``, made from ``RenderOptions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from annotate.model import AnnotatedLine, LogBlock
    from annotate.summary import Summary


class RenderOptions(NamedTuple):
    """What the user asked for."""

    inlines: str = "chain"  #: ``chain`` or ``innermost``
    demangle: bool = True  #: show Rust names as people write them


class Renderer(Protocol):
    """Turns what the annotator yields into bytes. It sees every piece of the log once, in order."""

    def render(self, log: str, piece: AnnotatedLine | LogBlock) -> bytes:
        """The bytes for one piece of the log called ``log``."""

    def finish(self, summary: Summary) -> bytes:
        """The bytes behind the last log."""
