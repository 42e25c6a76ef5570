"""What standard output is, and how a log is to look there: colours, links, width, what escapes may pass."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, NamedTuple

from annotate.cli.streams import is_terminal
from annotate.cli.triage import read_plumbing
from annotate.errors import AnnotateError
from annotate.render.links import TEMPLATES, Linker, template_named
from annotate.render.renderer import StyleOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from annotate.kernel.sources import SourceTree
    from annotate.render.renderer import RenderOptions

#: A default may be given here: a name or a template.
LINKS_VARIABLE = "LINEINFO_LINKS"

_STANDARD_OUTPUT = 1


class Wishes(NamedTuple):
    """The options about it; ``auto``, ``always`` or ``never`` each."""

    color: str
    links: str
    template: str | None
    plumbing: Sequence[str]  #: lists of the user
    is_raw: bool


def look(
    options: RenderOptions,
    wishes: Wishes,
    source: SourceTree | None,
    misfits: Collection[str],
    warn: Callable[[str], None],
    *,
    is_page: bool,
) -> RenderOptions:
    """``options`` with all that depends on the terminal and on the environment.

    ``is_page``: a page has links wherever it goes. ``misfits`` are releases of logs that are answered from another
    kernel's file; it may grow later.
    """
    is_here = is_terminal(_STANDARD_OUTPUT)
    is_able = is_here and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    # https://no-color.org: set to anything at all; it says nothing of links.
    has_colors = wishes.color == "always" or (wishes.color == "auto" and is_able and not os.environ.get("NO_COLOR"))
    has_links = wishes.links == "always" or (wishes.links == "auto" and (is_able or is_page))
    link = None
    if has_links:
        find = source.find if source is not None else _find_nothing
        templates = _templates(wishes.template, warn)
        link = Linker(templates, find, platform.node(), lambda kernel: kernel.release in misfits).uri
    return options._replace(
        source=source,
        width=_width() if is_here else None,
        style=StyleOptions(has_colors, _plumbing(wishes.plumbing, warn)) if has_colors or has_links else None,
        link=link,
        is_guarded=is_here and not wishes.is_raw,
    )


def _templates(asked: str | None, warn: Callable[[str], None]) -> list[str]:
    if asked is not None:
        return [asked]
    given = os.environ.get(LINKS_VARIABLE)
    if given:
        try:
            return [template_named(given)]
        except ValueError as error:
            warn(f"{LINKS_VARIABLE}: {error}")
    return [TEMPLATES["file"], TEMPLATES["debian"], TEMPLATES["web"]]


def _plumbing(paths: Sequence[str], warn: Callable[[str], None]) -> Callable[[bytes, str], bool]:
    try:
        plumbing = read_plumbing(paths)
    except AnnotateError as error:
        warn(str(error))
        plumbing = read_plumbing(())
    return lambda symbol, file: bool(plumbing.family_of(symbol.decode("utf-8", "surrogateescape"), file or None))


def _find_nothing(_file: str) -> None:
    return None


def _width() -> int | None:
    """Columns; None where the terminal does not say, as a serial one."""
    try:
        return os.get_terminal_size(_STANDARD_OUTPUT).columns or None
    except OSError:
        return None
