"""Writes what a terminal shows of a sample log into pictures: python docs/make_screenshots.py [FOLDER]."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

DOCS = Path(__file__).resolve().parent
SAMPLES = DOCS.parent / "sample_oopses" / "x86_64"
COMMAND = "dmesg | lineinfo-annotate"
LOG = SAMPLES / "p-null_deref.log"
GIVEN = ("-k", str(next(SAMPLES.glob("*.lineinfo"))), "-m", str(SAMPLES / "oopser.ko"))
#: The part of the log that is shown: from the line that holds this, so many lines.
BEGIN, LINES = b"BUG: kernel NULL pointer", 37
COLUMNS = 132

#: A light and a dark background, for the same output.
THEMES: dict[str, TerminalTheme] = {"dark": SVG_EXPORT_THEME, "light": DEFAULT_TERMINAL_THEME}


def annotated(*options: str) -> list[bytes]:
    """The lines that are shown."""
    run = subprocess.run(
        [sys.executable, "-m", "annotate", *GIVEN, *options, str(LOG)], check=True, stdout=subprocess.PIPE
    )
    lines = run.stdout.replace(b"\r\n", b"\n").split(b"\n")
    first = next(number for number, line in enumerate(lines) if BEGIN in line)
    return lines[first : first + LINES]


def picture(theme: TerminalTheme) -> str:
    """An SVG file."""
    console = Console(
        record=True,
        file=StringIO(),
        width=COLUMNS,
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
        _environ={},
    )
    text = b"\n".join(annotated("--color", "always")).decode()
    console.print(Text.from_ansi(text, no_wrap=True, overflow="ellipsis"), soft_wrap=False)
    svg = console.export_svg(title=COMMAND, theme=theme)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # a document loads nothing from elsewhere
    svg = svg.replace("font-family: Fira Code, monospace", "font-family: monospace")
    svg = "".join(f"{line.rstrip()}\n" for line in svg.splitlines())
    return f"<!-- made by docs/make_screenshots.py with rich {version('rich')} -->\n{svg}"


def main() -> None:
    """Write a picture for each theme."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS
    for name, theme in THEMES.items():
        (folder / f"terminal-{name}.svg").write_text(picture(theme), encoding="utf-8")


if __name__ == "__main__":
    main()
