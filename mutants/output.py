"""Faults in what comes out: ``annotate/render/``, ``summary.py`` and ``cli/``."""

from __future__ import annotations

from mutants.fault import Fault

FAULTS = (
    Fault(
        "an annotation goes behind the line end of a serial console",
        "render/plain.py",
        'return b"".join((*parts, line.body[done:], line.ending))',
        'return b"".join((line.body[:done], line.body[done:], line.ending, *parts[1::2]))',
        "appending is simpler than inserting",
        ("test_render.py",),
    ),
    Fault(
        "paths may hold eight-bit control characters",
        "render/plain.py",
        "*range(0x7F, 0xA0),",
        "0x7F,",
        "C1 controls are forgotten: 0x9b is ESC [",
        ("test_render.py",),
    ),
    Fault(
        "a backslash in a path goes into a JSON string",
        "render/plain.py",
        "map(ord, '\"\\\\')",
        "map(ord, '\"')",
        "quotes are thought of first",
        ("test_render.py",),
    ),
    Fault(
        "the innermost place is named by its own function",
        "render/plain.py",
        "self._named(locations[-1].function, symbol)",
        "self._named(locations[0].function, symbol)",
        "the wrong end of the chain",
        ("test_render.py",),
    ),
    Fault(
        "lines that come again are counted once",
        "summary.py",
        "self.frames += tally.frames * count",
        "self.frames += tally.frames",
        "a count that is forgotten",
        ("test_annotator.py", "test_render.py", "test_cli_annotate.py"),
    ),
    Fault(
        "--strict minds variables",
        "cli/annotate.py",
        "self._options.strict and self._summary.missed:",
        "self._options.strict and self._summary.missing:",
        "two words that differ in their ends",
        ("test_cli_annotate.py",),
    ),
    Fault(
        "--strict hides that a file could not be read",
        "cli/annotate.py",
        "if self._status == EXIT_DONE and self._options.strict and",
        "if self._options.strict and",
        "the last status wins",
        ("test_cli_annotate.py",),
    ),
    Fault(
        "what a pipe does not take at once is lost",
        "cli/streams.py",
        "view = view[os.write(self._descriptor, view) :]",
        "os.write(self._descriptor, view)\n                break",
        "write takes all of it, nearly always",
        ("test_cli_annotate.py", "test_live.py"),
    ),
    Fault(
        "reading ahead begins at the start of the file",
        "cli/streams.py",
        "position += self._start\n",
        "position += 0\n",
        "whoever opens a file begins at its start; a shell need not",
        ("test_cli_annotate.py", "test_live.py"),
    ),
)
