r"""``--format html``: one page that needs no network and no script.

The log is written as it comes, so a page of any length takes no memory. What is known at the end only, the crashes, the
kernels and what was missed, stands behind it in the file and is moved to the top by the style; a link at the top leads
there where no style is applied.

What is shown of the log is what ``--format text`` writes, all of it, with two exceptions: colours are taken out, and
what does not print is written as ``\x1b``. Nothing is put into the text, so what is copied from the page is the log.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING

from annotate.log.message import LineKind, find_message, kind_of
from annotate.model import AnnotatedLine, KernelId, LogBlock, Missing
from annotate.render.page_report import write_report
from annotate.render.page_style import STYLE
from annotate.render.page_text import page_text, page_words
from annotate.render.plain import Wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from annotate.model import Location, Repeats, Resolution
    from annotate.render.renderer import RenderOptions
    from annotate.summary import Summary

#: The browser itself is told to run and to fetch nothing, and to take no style but the page's own.
_POLICY = f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'"

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p><a href="#report">Crashes, kernels and frames without a line</a></p></header>
<main>
"""
_FOOT = """</main>
<footer>Written by lineinfo-annotate. Each line can be linked to, as #L1 or, in further logs, #log2-L1.</footer>
</body>
</html>
"""

#: What may be linked to: nothing that a browser would run.
_SCHEMES = ("http://", "https://", "file://", "vscode://")

#: Of a line that is longer, as much is written before its end has come.
_LONG_LINE = 1 << 16

_MARKUP = re.compile("<[^>]+>")
_CLASSES = {kind: "" if kind is LineKind.OTHER else kind.value for kind in LineKind}


class HtmlRenderer:
    """Renders each line on its own; holds back the beginning of a line that is not complete."""

    remembers = False

    def __init__(self, options: RenderOptions) -> None:
        self._wording = Wording(options)
        self._link = options.link
        self._kernels: set[KernelId] = set()  # that wrote lines with frames
        self._logs: list[str] = []
        self._line_prefix = ""  # of the ids of this log's lines
        self._number = 0  # of the line written last
        self._rest = b""  # of a block: a line without its end
        self._is_inside_line = False  # its beginning is written

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        """The lines of a piece. Another ``log`` than the last one begins a section."""
        parts: list[str] = []
        if not self._logs or self._logs[-1] != log:
            parts.append(self._begin(log))
        if isinstance(piece, AnnotatedLine) and piece.resolutions:
            self._number += 1
            self._kernels.add(piece.kernel)
            parts.append(self._annotated(piece.line.body, piece.resolutions, piece.kernel))
        elif isinstance(piece, AnnotatedLine):
            parts.extend(self._lines([piece.line.body]))
        elif isinstance(piece, LogBlock):
            parts.extend(self._block(piece.data))
        return "".join(parts).encode()

    def finish(self, summary: Summary) -> bytes:
        """The end of the last log, and the report."""
        begin = "" if self._logs else self._head("Kernel log")
        report = write_report(summary, self._linked_of_all, self._line_prefix if len(self._logs) == 1 else None)
        return (begin + self._end() + report + _FOOT).encode()

    def _begin(self, log: str) -> str:
        name = "Kernel log" if log == "-" else page_words(log)
        begin = self._end() if self._logs else self._head(name)
        self._logs.append(log)
        self._line_prefix = "L" if len(self._logs) == 1 else f"log{len(self._logs)}-L"
        self._number = 0
        return f'{begin}<section class="log"><h2>{name}</h2>\n'

    def _head(self, title: str) -> str:
        return _HEAD.format(policy=_POLICY, title=_MARKUP.sub("", title), style=STYLE)

    def _end(self) -> str:
        """The end of the log that is being written, if there is one."""
        if not self._logs:
            return ""
        rest = self._rest
        self._rest = b""
        if rest or self._is_inside_line:
            return "".join((*self._lines([rest]), "</section>\n"))
        return "</section>\n"

    def _block(self, data: bytes) -> Iterator[str]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        yield from self._lines(lines)
        if len(self._rest) > _LONG_LINE:
            # At a blank, where no character and no colour is cut.
            cut = self._rest.rfind(b" ") + 1 or len(self._rest)
            begin, self._rest = self._rest[:cut], self._rest[cut:]
            if not self._is_inside_line:
                self._is_inside_line = True
                self._number += 1
                yield f'<div id="{self._line_prefix}{self._number}">'
            yield page_text(begin)

    def _lines(self, lines: Sequence[bytes]) -> Iterator[str]:
        """Lines without frames."""
        for line in lines:
            body = line.rstrip(b"\r")
            if self._is_inside_line:
                self._is_inside_line = False
                yield f"{page_text(body)}</div>\n"
                continue
            self._number += 1
            start = find_message(body).start
            kind = _CLASSES[kind_of(body[start:])]
            yield f"{self._open(kind)}{_stamp(body, start)}{page_text(body[start:])}</div>\n"

    def _open(self, kind: str) -> str:
        attribute = f' class="{kind}"' if kind else ""
        return f'<div id="{self._line_prefix}{self._number}"{attribute}>'

    def _annotated(self, body: bytes, resolutions: Sequence[Resolution], kernel: KernelId) -> str:
        start = find_message(body).start
        kind = _CLASSES[kind_of(body[start:])]
        if not kind and not any(resolution.frame.reliable for resolution in resolutions):
            kind = "stale"
        # A line that people will point at: its number is a link to it.
        label = f"{self._line_prefix}{self._number}"
        number = f'<a class="number" href="#{label}" aria-label="line {self._number}" tabindex="-1"></a>'
        # What completes a frame of the line before begins in front of its own.
        done = max(min(start, *(resolution.frame.span[0] for resolution in resolutions)), 0)
        parts = [self._open(kind), number, _stamp(body, done)]
        for resolution in resolutions:
            begin, end = max(resolution.frame.span[0], done), resolution.frame.end
            parts += (page_text(body[done:begin]), self._frame(body[begin:end], resolution, kernel))
            done = end
        parts += (page_text(body[done:]), "</div>\n")
        return "".join(parts)

    def _frame(self, text: bytes, resolution: Resolution, kernel: KernelId) -> str:
        """The frame as it stands in the log, and the places behind it."""
        symbol = resolution.frame.symbol
        if symbol and text.startswith(symbol):
            shown = f"<b>{page_text(symbol)}</b>{page_text(text[len(symbol) :])}"
        else:
            shown = f"<b>{page_text(text)}</b>"
        missing = resolution.missing
        if missing is not None:
            detail = f" ({resolution.detail})" if resolution.detail else ""
            shown = f'<abbr title="{escape(missing.sentence + detail)}">{shown}</abbr>'
        if missing is Missing.AMBIGUOUS:
            pieces = self._wording.pieces(resolution)
            alternatives = (self._linked(place, text, kernel) if place else page_words(text) for text, place in pieces)
            return f"{shown} ({''.join(alternatives)})"
        if not resolution.locations:
            return shown
        innermost, *others = (
            self._linked(place.location, place.shown, kernel) + page_words(place.naming)
            for place in self._wording.places(resolution)
        )
        chain = ""
        if others:
            steps = ", ".join(f"<span>{place}</span>" for place in others)
            chain = (
                f'<details><summary data-more="{len(others)}" aria-label="{len(others)} more places"></summary>'
                f", {steps}</details>"
            )
        return f"{shown} ({innermost}{chain})"

    def _linked(self, place: Location, text: str, kernel: KernelId) -> str:
        """The text of a place, a link where it leads somewhere for sure."""
        target = self._link(place, kernel) if self._link is not None else ""
        if not target.lower().startswith(_SCHEMES):
            return f'<span class="place">{page_words(text)}</span>'
        return f'<a href="{escape(target)}">{page_words(text)}</a>'

    def _linked_of_all(self, place: Location, text: str) -> str:
        """The same for a place of a crash, which may be of any of the kernels."""
        kernel = next(iter(self._kernels)) if len(self._kernels) == 1 else KernelId()
        return self._linked(place, text, kernel)


def _stamp(body: bytes, start: int) -> str:
    return f'<span class="stamp">{page_text(body[:start])}</span>' if start else ""
