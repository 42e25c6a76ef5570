"""What every output format is: a ``Renderer``, made from ``RenderOptions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from annotate.model import AnnotatedLine, LogBlock, Repeats
    from annotate.summary import Summary


class RenderOptions(NamedTuple):
    """What the user asked for."""

    inlines: str = "chain"  #: ``chain`` or ``innermost``
    demangle: bool = True  #: show Rust names as people write them


class Renderer(Protocol):
    """Turns what the annotator yields into bytes. It sees every piece of the log once, in order."""

    @property
    def remembers(self) -> bool:
        """Whether a line's bytes depend on its text and answer alone, and are noted in ``AnnotatedLine.remembered``."""

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        """The bytes for one piece of the log called ``log``."""

    def finish(self, summary: Summary) -> bytes:
        """The bytes behind the last log."""
