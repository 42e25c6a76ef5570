"""``--format paste``: what a mail or a commit message says of a crash.

    func [mod] (file:line)

The reports of a log alone, each from its title to the end of its trace, without what the kernel's own guide calls
distracting (Documentation/process/submitting-patches.rst, "Backtraces in commit messages"): times, lists of modules,
registers, code, memory; and without ``?`` entries, offsets and ``<TASK>``. Each inlined call gets a line of its own, as
syzbot writes it, innermost first: that names every function and keeps the lines short.

A frame without a line keeps its offset and size: they are all that is known of it. No line is broken: a function that
was searched for would not be found. What was written once is written alike when it comes in again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from annotate.log.message import LineKind, find_message, is_between_messages, kind_of
from annotate.log.visible import names_location
from annotate.model import AnnotatedLine, LogBlock, Missing
from annotate.render.names import readable
from annotate.render.plain import PlainRenderer, Wording
from annotate.render.printable import printable
from annotate.render.report_lines import Excerpt, Role
from annotate.render.triage import triage_behind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from annotate.model import Frame, Repeats, Resolution
    from annotate.render.renderer import RenderOptions
    from annotate.summary import Summary

_COLOUR = re.compile(rb"\x1b\[[\d;]{0,32}[mK]")
_ANNOTATION = re.compile(rb"(?:\x1b\[[\d;]{0,32}[mK])*(?P<text> \([^()\n]{1,8192}\))")

#: An entry of a trace as it is written here, or by others who leave the offset out.
_TOLD = re.compile(
    rb" {0,4}(?:=> )?(?P<stale>\? )?(?:[\w.$:]+|<\S.{0,512}?)(?: \[[\w-]+\])? (?P<place>\([^()]+:\d+[^()]*\)).{0,80}"
)
_BRACKET = re.compile(rb" \([^()]+:\d")
_INLINE = " [inline]"

#: One place of an annotation.
_PLACE = re.compile(r"(?P<place>[^,]+:\d+)(?: in (?P<function>.+))?")

#: Addresses that some kernels print in front of an entry.
_ADDRESS = re.compile(r"\[<[0-9a-fx]{1,18}>\] ?")

#: Bytes, pages and stacks, and what the log says of itself: neither words nor registers.
_DUMPS = re.compile(
    rb"\s*>?(?:[0-9a-f]{8,16}|0x[0-9a-f]{8,16}): |\s*(?:[0-9a-f]{8,16}\b ?){2,}\s*$|\s*\^\s*$"
    rb"|PGD |RIP: 00[23]3:|\s*(?:Object|Redzone|Padding|Bytes b4|Slab|page|raw|flags|head|page_type|anon)\s*:? ?"
    rb"(?:[0-9a-f]{8,16}:|0x[0-9a-f]{4,16}|: |[0-9a-f]{16}|refcount:)"
    rb"|\s*EA = |(?:Mem|Data) abort info:|user pgtable: "
    rb"|Memory state around |Kernel Offset: |Rebooting in |Dumping ftrace|\s*\(ftrace buffer empty\)|Hardware name: "
    rb'|"echo 0 > /proc/sys/'
)
_RULE = re.compile(rb"={20,}\s*$")
#: What sanitizers and lockdep say between and behind their traces.
_WORDS = re.compile(
    rb"The buggy address |\s*which belongs to |\s*(?:allocated|freed|accessed|located) \d+|(?:Read|Write) of size \d"
    rb"|other info that |\s*Possible unsafe locking|\s*\*\*\* DEADLOCK|which lock already |but task is already "
    rb"|the existing dependency chain|\d+ locks? held by |no locks held by |stack backtrace:|-> #\d"
)
_TASK = re.compile(rb"task:\S.{0,40}? +state:")
_MODES = re.compile(rb"\s*</?TASK>")
_COLUMNS = re.compile(rb"Tainted|tainted|task:")

#: Rows whose line begins a dump even where no title stands in front of it.
_FIRST_LINES = frozenset({"instruction_pointer", "program_counter"})

#: Rows that are entries of a trace without saying where in the function.
_NAMES_ONLY = frozenset({"event_stack_name"})

#: Longer than any line that a report has.
_LONG_LINE = 1 << 16


class PasteRenderer:
    """Renders the reports; what may become one is held back, a few lines at a time."""

    remembers = False

    def __init__(self, options: RenderOptions) -> None:
        self._plain = PlainRenderer(options)
        self._wording = Wording(options)
        self._readable = readable if options.demangle else str
        self._log: str | None = None
        self._excerpt = Excerpt()
        self._rest = b""  # of a block: a line without its end
        self._is_first = True  # nothing is written yet

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        """Lines of reports that are sure to be some. Another ``log`` than the last one ends that one."""
        written: list[str] = []
        if log != self._log:
            written = self._end()
            self._excerpt = Excerpt(is_first=self._is_first and not written)
            self._log = log
        if isinstance(piece, AnnotatedLine):
            written += self._annotated(piece)
        elif isinstance(piece, LogBlock):
            *lines, rest = (self._rest + piece.data).split(b"\n")
            self._rest = rest[:_LONG_LINE]
            for line in lines:
                written += self._without_frames(line)
        self._is_first = self._is_first and not written
        return _encoded(written)

    def finish(self, summary: Summary) -> bytes:
        """What the last log held back, and the triage."""
        rest = _encoded(self._end())
        return rest + triage_behind(summary, rest[-1:] or summary.written_end)

    def _end(self) -> list[str]:
        written = self._without_frames(self._rest) if self._rest else []
        self._rest = b""
        return written + self._excerpt.finish()

    def _without_frames(self, line: bytes) -> list[str]:
        body = _COLOUR.sub(b"", line).rstrip()
        found = find_message(body)
        message = body[found.start : found.end]
        role, is_kept = _role_of(message)
        if not body:
            role = Role.GAP
        is_located = b":" in message and any(
            names_location(message, match.start()) for match in _BRACKET.finditer(message)
        )
        if is_located and role is Role.OTHER:
            told = _TOLD.fullmatch(message)
            role = Role.MENTION if told is None else Role.STALE if told["stale"] else Role.FRAME
        written = self._excerpt.take(role, [_text(message)] if is_kept else [])
        if is_located and role is Role.TITLE:
            written += self._excerpt.prove()
        return written

    def _annotated(self, piece: AnnotatedLine) -> list[str]:
        start, _, end = find_message(plain := _COLOUR.sub(b"", piece.line.body))
        body = piece.line.body[: len(piece.line.body) - (len(plain) - end)]
        plain = plain[:end]
        role, is_kept = _role_of(plain[start:])
        resolutions = piece.resolutions
        if plain.endswith(_INLINE.encode()):  # a line of ours; what it ends with is no module
            return self._without_frames(plain)
        if not resolutions:
            return self._excerpt.take(role, [_text(plain[start:].rstrip())] if is_kept else [])
        if role in (Role.OTHER, Role.PART):
            is_entry = any(one.frame.in_trace or one.frame.format in _NAMES_ONLY for one in resolutions)
            role = Role.FRAME if is_entry else Role.MENTION
            if role is Role.FRAME and not any(one.frame.reliable for one in resolutions):
                role = Role.STALE
            if role is Role.MENTION and resolutions[0].frame.format in _FIRST_LINES:
                role = Role.POINTER
        written = self._excerpt.take(role, list(self._lines(body, start, resolutions)) if is_kept else [])
        if role is Role.TITLE:
            written += self._excerpt.prove()
        return written

    def _lines(self, body: bytes, start: int, resolutions: Sequence[Resolution]) -> Iterator[str]:
        """The lines that one line of the log becomes."""
        first = resolutions[0]
        label = _ADDRESS.sub("", _text(_COLOUR.sub(b"", body[: first.frame.span[0]])[start:]))
        if all(one.frame.in_trace for one in resolutions):
            label = label if label.strip(" ") else " "
            is_stale = not any(one.frame.reliable for one in resolutions)
            for resolution in resolutions:
                if resolution.frame.reliable or is_stale:
                    yield from (label + entry for entry in self._entries(body, resolution))
            return
        if len(resolutions) == 1:
            end = first.frame.end
            told = _ANNOTATION.match(body, end) if first.frame.annotated else None
            if not _COLOUR.sub(b"", body[told.end() if told else end :]).strip():
                yield from (label + entry for entry in self._entries(body, first))
                return
        parts = [label]
        done = 0
        for resolution in resolutions:
            frame = resolution.frame
            if done:
                parts.append(_text(_COLOUR.sub(b"", body[done : frame.span[0]])))
            place = self._plain.annotation(resolution).decode("utf-8", "replace")
            is_located = place or frame.annotated
            parts.append(self._name(frame) + place if is_located else _frame_text(body, frame))
            done = frame.end
        yield "".join((*parts, _text(_COLOUR.sub(b"", body[done:])))).rstrip()

    def _entries(self, body: bytes, resolution: Resolution) -> Iterator[str]:
        """One frame: a line a place."""
        frame = resolution.frame
        name = self._name(frame)
        if frame.annotated:
            told = _ANNOTATION.match(body, frame.end)
            yield from _told_entries(name, _text(told["text"]) if told is not None else "")
        elif resolution.missing is Missing.AMBIGUOUS:
            yield name + self._plain.annotation(resolution).decode("utf-8", "replace")
        elif not resolution.locations:
            yield _frame_text(body, frame)
        else:
            function = resolution.locations[-1].function
            *inlined, own = self._wording.places(resolution)
            for place in inlined:
                yield f"{printable(self._readable(place.location.function)) or '?'} ({place.shown}){_INLINE}"
            # An address alone has no name of its own to differ from.
            naming = own.naming if name else ""
            yield f"{name or printable(self._readable(function))} ({own.shown}{naming})"

    def _name(self, frame: Frame) -> str:
        """The function, and the module it is in."""
        name = self._readable(_text(frame.symbol))
        return f"{name} [{_text(frame.module)}]" if frame.module else name


def _told_entries(name: str, annotation: str) -> Iterator[str]:
    """A frame that the log locates: a line a place, where it reads as a chain."""
    places = [_PLACE.fullmatch(part) for part in annotation[2:-1].split(", ")]
    *inlined, _own = places
    if None in places or any(place is None or place["function"] is None for place in inlined):
        yield name + annotation
        return
    for place in places:
        assert place is not None
        if place is places[-1]:
            yield f"{name} ({place[0]})"
        else:
            yield f"{place['function']} ({place['place']}){_INLINE}"


def _role_of(message: bytes) -> tuple[Role, bool]:
    """What a line without regard to its frames is, and whether it is written."""
    kind = kind_of(message)
    if kind is LineKind.TITLE or _TASK.match(message) is not None:
        return Role.TITLE, True
    if kind is LineKind.TRACE:
        return Role.HEADING, True
    if kind is LineKind.MARKER:
        if b"cut here" in message:
            return Role.CUT, True
        if b"end trace" in message or b"end Kernel panic" in message:
            return Role.END, False
        return Role.NOISE if _MODES.match(message) else Role.PART, _MODES.match(message) is None
    if _RULE.match(message) is not None:
        return Role.RULE, False
    if (
        is_between_messages(message)
        or _DUMPS.match(message) is not None
        or kind in (LineKind.REGISTERS, LineKind.CODE, LineKind.MODULES)
    ):
        return Role.NOISE, False
    if kind is LineKind.CONTEXT:
        return (Role.HEADING if b" Comm: " in message else Role.PART), True
    if _WORDS.match(message) is not None:
        return Role.PART, True
    return (Role.OTHER, True) if message.strip(b"-= ") else (Role.NOISE, False)


def _frame_text(body: bytes, frame: Frame) -> str:
    """A frame as it stands in the log, its module with it."""
    return _text(_COLOUR.sub(b"", body[frame.span[0] : frame.end]))


def _text(data: bytes) -> str:
    """Text that prints, on one line."""
    text = data.decode("utf-8", "replace")
    if not text.isprintable():
        text = "".join(each if each.isprintable() else " " if each.isspace() else "?" for each in text)
    return re.sub("(?<=[^ ]) {2,}", " ", text) if _COLUMNS.search(data) is not None else text


def _encoded(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
