"""``--format jsonl``: one object a line that holds a frame, in order, then one summary object.

The fields are a promise to scripts; they are described in docs/json.md.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from annotate.model import AnnotatedLine

if TYPE_CHECKING:
    from annotate.model import Crash, Location, LogBlock, Repeats, Resolution, Subsystem
    from annotate.summary import Summary


class JsonLinesRenderer:
    """Renders each line on its own; holds nothing back."""

    remembers = False

    def render(self, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        """One JSON object and a newline; nothing for text without a frame."""
        if not isinstance(piece, AnnotatedLine) or not piece.resolutions:
            return b""
        return _dump(
            {
                "log": log,
                "line": piece.line.number,
                "text": _text(piece.line.body),
                "frames": [_frame(resolution) for resolution in piece.resolutions],
            }
        )

    def finish(self, summary: Summary) -> bytes:
        """The summary object."""
        fields: dict[str, Any] = {
            "lines": summary.lines,
            "frames": summary.frames,
            "annotated": summary.annotated,
            "missing": {missing.value: count for missing, count in summary.missing.items()},
            "kernels": summary.kernels,
        }
        if summary.crashes is not None:
            fields["triage"] = [_crash(crash) for crash in summary.crashes]
        return _dump({"summary": fields})


def _frame(resolution: Resolution) -> dict[str, Any]:
    frame = resolution.frame
    has_symbol = bool(frame.symbol)
    fields: dict[str, Any] = {
        "span": list(frame.span),
        "symbol": _text(frame.symbol) or None,
        "offset": frame.offset if has_symbol else None,
        "size": frame.size if has_symbol else None,
        "module": _text(frame.module) or None,
        "build_id": _text(frame.build_id) or None,
        "address": frame.address,
        "pc": frame.pc.value,
        "reliable": frame.reliable,
        "locations": [_location(place) for place in resolution.locations],
        "missing": resolution.missing.value if resolution.missing is not None else None,
    }
    if resolution.candidates:
        fields["candidates"] = [[_location(place) for place in chain] for chain in resolution.candidates]
    if frame.annotated:
        fields["annotated"] = True
    return fields


def _location(place: Location) -> dict[str, Any]:
    return {"file": place.file, "line": place.line, "function": place.function or None, "inlined": place.inlined}


def _crash(crash: Crash) -> dict[str, Any]:
    known = crash.file is not None
    return {
        "log": crash.log,
        "title": crash.title,
        "line": crash.line,
        "frame": crash.frame,
        "file": crash.file,
        "location_line": crash.location_line,
        "why": crash.why,
        "files": list(crash.files),
        "subsystems": [_subsystem(entry) for entry in crash.subsystems] if known else None,
        "signature": crash.signature or None,
    }


def _subsystem(entry: Subsystem) -> dict[str, Any]:
    return {
        "title": entry.title,
        "status": entry.status or None,
        "maintainers": list(entry.maintainers),
        "reviewers": list(entry.reviewers),
        "lists": list(entry.lists),
        "trees": list(entry.trees),
        "why": entry.why,
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _dump(value: dict[str, Any]) -> bytes:
    # ASCII only: bytes that are no UTF-8 come out as lone surrogates, \\udcXX, and every reader gets valid JSON.
    return json.dumps(value, separators=(", ", ": ")).encode("ascii") + b"\n"
