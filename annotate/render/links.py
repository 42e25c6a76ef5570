"""Locations -> URIs, by templates. A link that might lead to another line is none.

A template holds placeholders; where one of them is not known there is no link by that template. Paths come from debug
info, which may be anybody's: whatever is put in is percent-encoded (RFC 3986).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from annotate.debuginfo.paths import TOP_LEVEL
from annotate.render.trees import package_version, tag_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from annotate.model import KernelId, Location

#: Names of templates.
TEMPLATES = {
    "file": "file://{host}{file}",
    "vscode": "vscode://file{file}:{line}",
    # With Debian's patches in them, so lines are where they were built from.
    "debian": "https://sources.debian.org/src/linux/{version}/{path}/#L{line}",
    "web": "https://git.kernel.org/pub/scm/linux/kernel/git/{repository}/tree/{path}?h={tag}#n{line}",
}
PLACEHOLDERS = ("path", "line", "file", "host", "tag", "repository", "release", "version")

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_TEMPLATE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,31}:[!-~]+")

#: What terminals take: VTE cuts a longer one off.
_MAX_LENGTH = 2083


def template_named(text: str) -> str:
    """A template by its name, or as it is written out. Raises ValueError with a sentence."""
    template = TEMPLATES.get(text, text)
    if _TEMPLATE.fullmatch(template) is None:
        raise ValueError(f"expected {', '.join(TEMPLATES)} or a URI without blanks, found {text!r}")
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in PLACEHOLDERS]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"expected placeholders among {known}, found {{{unknown[0]}}} in {text!r}")
    return template


class Linker:
    """Links by the first of some templates that can be filled in.

    ``find_file`` leads a path of debug info to a file of this machine, absolute, or to None; ``has_other_lines`` says
    of which kernels the answers come from files of another one.
    """

    def __init__(
        self,
        templates: Sequence[str],
        find_file: Callable[[str], str | None],
        host: str,
        has_other_lines: Callable[[KernelId], bool],
    ) -> None:
        self._templates = [(template, _PLACEHOLDER.findall(template)) for template in templates]
        self._find_file = find_file
        self._host = host
        self._has_other_lines = has_other_lines
        self._known = lru_cache(maxsize=4096)(self._make_uri)  # 15 us become 1

    def uri(self, place: Location, kernel: KernelId) -> str:
        """The URI of a location; empty where there is none."""
        return self._known(place, kernel, is_misfit=self._has_other_lines(kernel))

    def _make_uri(self, place: Location, kernel: KernelId, *, is_misfit: bool) -> str:
        if place.line <= 0:
            return ""
        for template, names in self._templates:
            values = {name: self._value(name, place, kernel, is_misfit=is_misfit) for name in names}
            if None not in values.values():
                uri = _PLACEHOLDER.sub(lambda match, known=values: known[match[1]], template)  # type: ignore[misc]
                if len(uri) <= _MAX_LENGTH:
                    return uri
        return ""

    def _value(self, name: str, place: Location, kernel: KernelId, *, is_misfit: bool) -> str | None:
        """What stands for a placeholder; None where that is not known."""
        value: str | None
        if name == "line":
            return str(place.line)
        if name == "host":
            return quote(self._host, safe="")
        if name == "path":
            value = place.file if is_of_kernel(place.file) else None
        elif name == "file":
            value = self._find_file(place.file)
        elif name == "release":
            value = kernel.release or None
        elif is_misfit:
            value = None
        elif name == "version":
            value = package_version(kernel) or None
        else:
            tag = tag_of(kernel)
            value = tag and (tag.name if name == "tag" else tag.repository)
        return None if value is None else quote(value.encode("utf-8", "surrogateescape"), safe="/")


def is_of_kernel(path: str) -> bool:
    """Whether a path of debug info is one of the published tree: no generated file, no module built elsewhere."""
    parts = path.split("/")
    return parts[0] in TOP_LEVEL and len(parts) > 1 and not {"", ".", "..", "generated"} & set(parts)
