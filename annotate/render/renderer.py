"""What every output format is: a ``Renderer``, made from ``RenderOptions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from annotate.model import AnnotatedLine, KernelId, Location, LogBlock, Repeats
    from annotate.summary import Summary


class SourceLines(Protocol):
    """A source tree, to be read from."""

    def around(self, file: str, line: int) -> Sequence[tuple[int, bytes]]:
        """The line, the one before it and the one behind it, each with its number; nothing where it is not there."""


class StyleOptions(NamedTuple):
    """How a terminal, or a pager, is to show a log."""

    colors: bool = True
    #: Whether a function, by its name and its file (empty where that is not known), only carries out what others began:
    #: reports, entries, allocators.
    is_plumbing: Callable[[bytes, str], bool] = lambda _symbol, _file: False


class RenderOptions(NamedTuple):
    """What the user asked for, and what the output is."""

    inlines: str = "chain"  #: ``chain`` or ``innermost``
    demangle: bool = True  #: show Rust names as people write them
    source: SourceLines | None = None  #: show what stands around each location
    width: int | None = None  #: columns of a terminal; None where nothing is to be cut
    style: StyleOptions | None = None  #: None for text as it is
    link: Callable[[Location, KernelId], str] | None = None  #: the URI of a location, or nothing where it is not sure
    is_guarded: bool = False  #: what could steer a terminal is shown as text


class Renderer(Protocol):
    """Turns what the annotator yields into bytes. It sees every piece of the log once, in order."""

    @property
    def remembers(self) -> bool:
        """Whether a line's bytes depend on its text and answer alone, and are noted in ``AnnotatedLine.remembered``."""

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        """The bytes for one piece of the log called ``log``."""

    def finish(self, summary: Summary) -> bytes:
        """The bytes behind the last log: the triage too, where ``summary.crashes`` is not None."""
