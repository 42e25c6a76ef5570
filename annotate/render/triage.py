"""The triage as text: what crashed, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.render.names import readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from annotate.model import Crash, Subsystem
    from annotate.summary import Summary

_WIDTH = 96
_INDENT = 13

#: Subsystems of a crash that are written with their people, and those that are named.
_MAX_ENTRIES = 3
_MAX_FILES = 6
_MAX_LINES = 8

#: Why the entry of all files is named; it is only worth its lines where it is the only one.
_EVERYTHING = ("F: *", "F: */")


def triage_behind(summary: Summary, written_end: bytes) -> bytes:
    """The triage as it stands behind a log, an empty line between; nothing without ``--triage``.

    ``written_end`` is the last byte of that log; empty when there is none.
    """
    if summary.crashes is None:
        return b""
    gap = b"" if not written_end else b"\n" if written_end == b"\n" else b"\n\n"
    return gap + triage_text(summary.crashes, summary.crash_remark)


def triage_text(crashes: Sequence[Crash], remark: str = "") -> bytes:
    """Each crash with the frame that matters, files, subsystems and signature; ``remark`` comes last.

    Crashes of the same title, frame and signature are one, with all its lines.
    """
    count = len(crashes)
    lines = [f"triage: {count or 'no'} crash{'' if count == 1 else 'es'}"]
    several = len({crash.log for crash in crashes}) > 1
    alike: dict[tuple[object, ...], list[Crash]] = {}
    for number, crash in enumerate(crashes):
        key = (crash.title, crash.frame, crash.file, crash.signature or number)
        alike.setdefault(key, []).append(crash)
    for same in alike.values():
        lines += ["", *_block(same, several=several)]
    if remark:
        lines += ["", remark]
    text = "\n".join("".join(char if char.isprintable() else "?" for char in line) for line in lines)
    return text.encode("utf-8", "replace") + b"\n"


def _block(same: Sequence[Crash], *, several: bool) -> Iterator[str]:
    crash = same[0]
    yield f"{crash.title} ({_lines(same, several=several)})"
    frame = readable(crash.frame) if crash.frame else "none"
    place = "" if crash.file is None else f", {crash.file}" + (f":{crash.location_line}" if crash.location_line else "")
    yield from _field("frame", f"{frame}{place}: {crash.why}")
    if crash.files:
        more = len(crash.files) - _MAX_FILES
        yield from _field("files", ", ".join(crash.files[:_MAX_FILES]) + (f" and {more} more" if more > 0 else ""))
    if crash.file is None and crash.frame is not None:
        yield from _field("subsystem", "not known: no line of this frame is known")
    elif crash.file is not None and crash.file.startswith("/"):
        yield from _field("subsystem", "none: the file is not of the kernel's tree")
    entries = [entry for entry in crash.subsystems if entry.why not in _EVERYTHING] or crash.subsystems
    for entry in entries[:_MAX_ENTRIES]:
        yield from _subsystem(entry)
    if len(entries) > _MAX_ENTRIES:
        yield from _field("", "also: " + ", ".join(entry.title for entry in entries[_MAX_ENTRIES:]))
    if crash.signature:
        yield from _field("signature", crash.signature)


def _lines(same: Sequence[Crash], *, several: bool) -> str:
    """``line 12``, ``lines 12, 50``; ``a.log:12, b.log:3`` where there are several logs."""
    if several:
        return ", ".join(f"{crash.log}:{crash.line}" for crash in same[:_MAX_LINES]) + _more(same)
    if len(same) == 1:
        return f"line {same[0].line}"
    return f"lines {', '.join(str(crash.line) for crash in same[:_MAX_LINES])}" + _more(same)


def _more(same: Sequence[Crash]) -> str:
    return f" and {len(same) - _MAX_LINES} more" if len(same) > _MAX_LINES else ""


def _subsystem(entry: Subsystem) -> Iterator[str]:
    status = f" ({entry.status})" if entry.status else ""
    yield from _field("subsystem", f"{entry.title}{status}: {entry.why}")
    for tag, values in (("M", entry.maintainers), ("R", entry.reviewers), ("L", entry.lists), ("T", entry.trees)):
        for value in values:
            yield f"{' ' * _INDENT}  {tag}: {value}"


def _field(name: str, text: str) -> Iterator[str]:
    """``name`` and its text, broken between words so that it fits; no word is ever broken."""
    line = f"  {name:<{_INDENT - 3}}"
    used = 0
    for word in text.split(" "):
        if used and len(line) + 1 + len(word) > _WIDTH:
            yield line
            line, used = " " * (_INDENT - 1), 0
        line += f" {word}"
        used += 1
    yield line
