"""What stands on top of the page: the crashes, the frames without a line, the kernels that answered."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from annotate.model import Location
from annotate.render.page_text import page_words
from annotate.render.plain import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from annotate.model import Crash, Subsystem
    from annotate.summary import Summary

    Linked = Callable[[Location, str], str]


def write_report(summary: Summary, linked: Linked, line_prefix: str | None) -> str:
    """``linked`` makes a place a link; ``line_prefix`` begins the ids of lines, None: it is not clear of which log."""
    return "".join(
        (
            '<div id="report">\n',
            *_crashes(summary.crashes, linked, line_prefix),
            f"<p>{page_words(summary.crash_remark)}</p>\n" if summary.crash_remark else "",
            '<dl class="counts">',
            *_counts(summary),
            "</dl>\n</div>\n",
        )
    )


def _crashes(crashes: Sequence[Crash] | None, linked: Linked, line_prefix: str | None) -> Iterator[str]:
    if crashes is None:
        return
    yield f"<h2>{len(crashes) or 'No'} {'crash' if len(crashes) == 1 else 'crashes'}</h2>\n"
    for crash in crashes:
        title = page_words(crash.title)
        if line_prefix is not None:
            title = f'<a href="#{line_prefix}{crash.line}">{title}</a>'
        yield f'<article class="crash"><h3>{title} <span class="dim">line {crash.line}</span></h3>\n'
        yield "".join(_row(name, text) for name, text in _facts(crash, linked) if text).join(("<dl>", "</dl>\n"))
        yield "</article>\n"


def _facts(crash: Crash, linked: Linked) -> Iterator[tuple[str, str]]:
    if crash.frame is not None:
        place = ""
        if crash.file is not None and crash.location_line is not None:
            location = Location(crash.file, crash.location_line, crash.frame, inlined=False)
            place = f" <code>{linked(location, shown(location))}</code>"
        elif crash.file is not None:
            place = f" <code>{page_words(crash.file)}</code>"
        yield "Function", f"<code>{page_words(crash.frame)}</code>{place}"
        yield "Because", page_words(crash.why)
    for number, subsystem in enumerate(crash.subsystems):
        yield ("Also" if number else "Subsystem"), _subsystem(subsystem)
    yield "Files", ", ".join(f"<code>{page_words(file)}</code>" for file in crash.files)
    yield "Signature", f"<code>{page_words(crash.signature)}</code>" if crash.signature else ""


def _subsystem(subsystem: Subsystem) -> str:
    status = f" ({page_words(subsystem.status)})" if subsystem.status else ""
    lines = [f'{page_words(subsystem.title)}{status} <span class="dim">{page_words(subsystem.why)}</span>']
    for name, people in (
        ("Maintainers", subsystem.maintainers),
        ("Reviewers", subsystem.reviewers),
        ("Lists", subsystem.lists),
    ):
        if people:
            lines.append(f'<span class="dim">{name}:</span> ' + ", ".join(map(page_words, people)))
    return "<br>".join(lines)


def _counts(summary: Summary) -> Iterator[str]:
    yield _row("Frames", f"{summary.annotated} of {summary.frames} got a line")
    for sentence in summary.sentences():
        yield _row("Missed", page_words(sentence))
    for kernel in summary.kernels:
        facts = [page_words(kernel["release"])] if kernel["release"] else []
        if kernel["build_id"]:
            facts.append(f"build id <code>{page_words(kernel['build_id'])}</code>")
        yield _row("Lines from", ", ".join((f"<code>{page_words(kernel['file'])}</code>", *facts)))


def _row(name: str, text: str) -> str:
    return f"<dt>{escape(name)}</dt><dd>{text}</dd>\n"
