"""Insert ``(file:line)`` behind every frame of a Linux kernel log.

These names are the library, and a promise like the options of the commands; docs/library.md shows them at work. The
command line lives in ``annotate.cli``; ``annotate.annotator`` is the file to read first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotate.annotator import Annotator, LogFacts, Piece, Wait, annotate_all
    from annotate.errors import (
        AnnotateError,
        DamagedFileError,
        DownloadError,
        NoDebugInfoError,
        UnreadableFileError,
        UnrecognisedFileError,
        UnsupportedFileError,
    )
    from annotate.kernel.explicit import open_kernel
    from annotate.log.grammar import find_frames
    from annotate.lookup import read_frame, resolve_frame
    from annotate.model import (
        AnnotatedLine,
        Frame,
        KernelId,
        LinkAddr,
        Location,
        LogBlock,
        LogLine,
        Missing,
        PcKind,
        Repeats,
        Resolution,
        RunAddr,
        Symbol,
    )
    from annotate.render.plain import PlainRenderer
    from annotate.render.renderer import Renderer, RenderOptions
    from annotate.resolve import Absence, ImageSource, KernelImage
    from annotate.summary import Summary

__version__ = "0.1.0"

#: Where each name is. A start of the filter needs few of them, so each is imported when it is asked for.
_HOMES = {
    "AnnotateError": "errors",
    "AnnotatedLine": "model",
    "Absence": "resolve",
    "Annotator": "annotator",
    "DamagedFileError": "errors",
    "DownloadError": "errors",
    "Frame": "model",
    "ImageSource": "resolve",
    "KernelId": "model",
    "KernelImage": "resolve",
    "LinkAddr": "model",
    "Location": "model",
    "LogBlock": "model",
    "LogFacts": "annotator",
    "LogLine": "model",
    "Missing": "model",
    "NoDebugInfoError": "errors",
    "PcKind": "model",
    "Piece": "annotator",
    "PlainRenderer": "render.plain",
    "RenderOptions": "render.renderer",
    "Renderer": "render.renderer",
    "Repeats": "model",
    "Resolution": "model",
    "RunAddr": "model",
    "Summary": "summary",
    "Symbol": "model",
    "UnreadableFileError": "errors",
    "UnrecognisedFileError": "errors",
    "UnsupportedFileError": "errors",
    "Wait": "annotator",
    "annotate_all": "annotator",
    "find_frames": "log.grammar",
    "open_kernel": "kernel.explicit",
    "read_frame": "lookup",
    "resolve_frame": "lookup",
}

__all__ = (
    "Absence",
    "AnnotateError",
    "AnnotatedLine",
    "Annotator",
    "DamagedFileError",
    "DownloadError",
    "Frame",
    "ImageSource",
    "KernelId",
    "KernelImage",
    "LinkAddr",
    "Location",
    "LogBlock",
    "LogFacts",
    "LogLine",
    "Missing",
    "NoDebugInfoError",
    "PcKind",
    "Piece",
    "PlainRenderer",
    "RenderOptions",
    "Renderer",
    "Repeats",
    "Resolution",
    "RunAddr",
    "Summary",
    "Symbol",
    "UnreadableFileError",
    "UnrecognisedFileError",
    "UnsupportedFileError",
    "Wait",
    "annotate_all",
    "find_frames",
    "open_kernel",
    "read_frame",
    "resolve_frame",
)

if not TYPE_CHECKING:  # a type checker that saw this would believe any name

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for (PEP 562)."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
