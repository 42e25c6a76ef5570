"""Annotated lines -> bytes. To add an output format: a module with a ``Renderer``, a branch in ``_make_unstyled``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotate.render.renderer import Renderer, RenderOptions

#: The values of ``--format``.
RENDERERS = ("text", "jsonl", "html", "paste")


def make_renderer(name: str, options: RenderOptions) -> Renderer:
    """The renderer called ``name``, one of ``RENDERERS``. Only its own module is imported."""
    if name == "text" and options.style is not None:
        from annotate.render.styled import StyledRenderer

        return StyledRenderer(options, options.style)
    renderer = _make_unstyled(name, options)
    if options.is_guarded:
        from annotate.render.terminal import GuardedRenderer

        return GuardedRenderer(renderer)
    return renderer


def _make_unstyled(name: str, options: RenderOptions) -> Renderer:
    if name == "jsonl":
        from annotate.render.jsonl import JsonLinesRenderer

        return JsonLinesRenderer()
    if name == "html":
        from annotate.render.html import HtmlRenderer

        return HtmlRenderer(options)
    if name == "paste":
        from annotate.render.paste import PasteRenderer

        return PasteRenderer(options)
    from annotate.render.plain import PlainRenderer

    return PlainRenderer(options)
