"""Annotated lines -> bytes. To add an output format: one module with a ``Renderer``, one line in ``RENDERERS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from annotate.model import AnnotatedLine, LogBlock
    from annotate.summary import Summary


class RenderOptions(NamedTuple):
    """What the user asked for."""

    inlines: str = "chain"  #: ``chain`` or ``innermost``


class Renderer(Protocol):
    """Turns what the annotator yields into bytes. It sees every piece of the log once, in order."""

    def render(self, log: str, piece: AnnotatedLine | LogBlock) -> bytes:
        """The bytes for one piece of the log called ``log``."""

    def finish(self, summary: Summary) -> bytes:
        """The bytes behind the last log."""


def make_renderer(name: str, options: RenderOptions) -> Renderer:
    """The renderer called ``name``, one of ``RENDERERS``. Only its own module is imported."""
    # Imported here because a filter's cold start is counted in milliseconds and most runs need one of them.
    if name == "jsonl":
        from annotate.render.jsonl import JsonLinesRenderer

        return JsonLinesRenderer()
    from annotate.render.plain import PlainRenderer

    return PlainRenderer(options)


RENDERERS = ("text", "jsonl")
