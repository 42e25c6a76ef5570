"""Makes what lies below share/: the manual pages, and the completions of shells.

    python docs/make_manuals.py [--check]

Options come from the parsers themselves, what is said of the filter's from docs/commands.md, the description of the
table's format from the docstring that is its specification; only what stands nowhere else stands here. ``--check``
writes nothing and fails when a file is stale.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Help is wrapped to the width of the terminal, and it must not matter where this runs.
os.environ["COLUMNS"] = "80"
os.environ.pop("SOURCE_DATE_EPOCH", None)

import shtab
from argparse_manpage.manpage import Manpage

from annotate import __version__
from annotate.cli import annotate as filter_cli
from annotate.cli import lineinfo as lineinfo_cli
from annotate.tables import lineinfo_v1

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parent.parent
SHARE = REPOSITORY / "share"

#: Where the completions of a shell are looked for, below share/.
COMPLETIONS = {
    "bash": "bash-completion/completions/{program}",
    "zsh": "zsh/site-functions/_{program}",
    "fish": "fish/vendor_completions.d/{program}.fish",
}

FILTER_SECTIONS = {
    "EXAMPLES": """
        dmesg | lineinfo-annotate

    annotates the log of the running kernel, from what is installed of it or was put into the cache.

        journalctl -k -b -1 | lineinfo-annotate
        dmesg -w | lineinfo-annotate

    the log of the boot before; and a log that is still being written, line by line.

        lineinfo build /usr/lib/debug -o my-kernel.lineinfo
        lineinfo-annotate -k my-kernel.lineinfo oops.log

    make a small table once, and use it anywhere.

        lineinfo-annotate --triage oops.log | tail -30

    which subsystem it is, and who to write to.""",
    "EXIT STATUS": """
    0   done; frames without a line do not matter.

    1   something failed: a file that cannot be used, output that was lost.

    2   wrong usage.

    3   with --strict: a frame got no line.""",
    "ENVIRONMENT": """
    DEBUGINFOD_URLS (and the other variables of debuginfod(7)): servers that are asked for debug info by build id.

    LINEINFO_CACHE: the folder of tables. Default: lineinfo-annotate in the user's cache folder.

    LINEINFO_SYSROOT: another root than / for the places where distributions keep kernels.

    NO_COLOR, TERM, COLORTERM: as usual.""",
    "FILES": """
    What is not given is looked for in the folder of the log (*.lineinfo, vmlinux*, *.ko), in the cache, below
    /usr/lib/debug, /usr/lib/modules, /lib/modules and /boot, and in the kernel tree that one stands in. lineinfo doctor
    shows every place.""",
    "SEE ALSO": """
    lineinfo(1), lineinfo-table(5), dmesg(1), journalctl(1), debuginfod(8)""",
}

LINEINFO_SECTIONS = {
    "EXAMPLES": """
        lineinfo build /usr/lib/debug/boot/vmlinux-R /usr/lib/debug/lib/modules/R -o R.lineinfo
        lineinfo build linux-image-R-dbg.deb -o R.lineinfo
        lineinfo lookup -k R.lineinfo vfs_write+0x1c6/0xff0
        lineinfo doctor
        lineinfo cache add""",
    "EXIT STATUS": """
    0   done.

    1   something failed; for doctor: there is nothing for that kernel.

    2   wrong usage.""",
    "ENVIRONMENT": """
    LINEINFO_CACHE, LINEINFO_SYSROOT, DEBUGINFOD_URLS: see lineinfo-annotate(1).""",
    "SEE ALSO": """
    lineinfo-annotate(1), lineinfo-table(5)""",
}


def files() -> Iterator[tuple[Path, str]]:
    """Every file and what belongs into it."""
    pages = (
        (filter_cli.make_parser(), FILTER_SECTIONS, "insert (file:line) behind every frame of a Linux kernel log"),
        (lineinfo_cli.make_parser(), LINEINFO_SECTIONS, "source lines of kernel addresses, and tables of them"),
    )
    for parser, sections, summary in pages:
        complete_files(parser)
        for shell, place in COMPLETIONS.items():
            text = shtab.complete(parser, shell=shell)
            yield SHARE / place.format(program=parser.prog), text.rstrip() + "\n"
        if sections is FILTER_SECTIONS:
            say_more(parser)
        yield SHARE / "man" / "man1" / f"{parser.prog}.1", command_page(parser, sections, summary)
    yield SHARE / "man" / "man5" / "lineinfo-table.5", format_page()


def say_more(parser: argparse.ArgumentParser) -> None:
    """Give the options of the filter the text of the document: a page has room for it, a screen has not."""
    document = (REPOSITORY / "docs" / "commands.md").read_text().partition("## lineinfo\n")[0]
    for names, text in re.findall(r"(?m)^\| (`-[^|]*) \| (.*) \|$", document):
        option = re.findall(r"--[a-z-]+", names)[0]
        for action in parser._actions:  # noqa: SLF001
            if option in action.option_strings and text.strip():
                plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("\\|", "|").replace("`", "")
                action.help = plain.replace("%", "%%")
    parser.usage = "%(prog)s [OPTIONS] [LOG ...]"


def complete_files(parser: argparse.ArgumentParser) -> None:
    """Say which arguments are files: those that are called so."""
    for action in parser._actions:  # noqa: SLF001 - there is no other way to its arguments
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                complete_files(command)
        elif re.search(r"FILE|PATH|LOG|SOURCE|DIR|OUT|MODULE", str(action.metavar or "")):
            action.complete = shtab.FILE  # type: ignore[attr-defined]


def command_page(parser: argparse.ArgumentParser, sections: dict[str, str], summary: str) -> str:
    """The manual page of a command."""
    parser.epilog = None
    extra: list[dict[str, Any]] = [
        {"heading": heading, "content": roff(inspect.cleandoc(text))} for heading, text in sections.items()
    ]
    parser._manpage = extra  # type: ignore[attr-defined]  # noqa: SLF001 - how the library takes them
    data = {"project_name": "lineinfo-annotate", "version": __version__, "manual_title": "User Commands"}
    page = str(Manpage(parser, _data=data, format="pretty"))
    name = parser.prog.replace("-", r"\-")
    page = re.sub(r"\A\.TH .*\n", head(parser.prog, 1), page)
    page = re.sub(r"(?m)^'", r"\\&'", page)  # a quote at the start of a line would be a request
    return page.replace(f".SH NAME\n{name}\n", f".SH NAME\n{name} \\- {summary}\n").rstrip() + "\n"


def format_page() -> str:
    """The manual page of the table's format, whose specification is the docstring of its reader."""
    assert lineinfo_v1.__doc__ is not None
    title, _, text = inspect.cleandoc(lineinfo_v1.__doc__).partition("\n\n")
    name = r"lineinfo\-table \- source lines of a kernel and its modules in one file"
    return (
        head("lineinfo-table", 5)
        + f".SH NAME\n{name}\n.SH DESCRIPTION\n{roff(title)}\n.PP\n{roff(text)}\n"
        + ".SH SEE ALSO\nlineinfo(1), lineinfo\\-annotate(1)\n"
    )


def head(name: str, section: int) -> str:
    """The first line of a page. No date: it would change with every build."""
    return f'.TH "{name.upper()}" "{section}" "" "lineinfo\\-annotate {__version__}"\n'


def roff(text: str) -> str:
    """Paragraphs, and literal blocks, which are indented more than the text before them."""
    parts = []
    for block in re.split(r"\n\s*\n", text.replace("::\n", ":\n")):
        escaped = re.sub(r"(?m)^([.'])", r"\\&\1", block.replace("\\", r"\e").replace("-", r"\-").replace("``", ""))
        if all(line.startswith("    ") for line in block.splitlines()):
            literal = re.sub(r"(?m)^(?:    )", "", escaped)
            parts.append(f".RS 4\n.nf\n{literal}\n.fi\n.RE")
        else:
            parts.append(re.sub(r"(?m)^ +", "", escaped))
    return "\n.PP\n".join(parts)


def main() -> int:
    """Write the files, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    is_check = parser.parse_args().check
    stale = []
    for path, text in files():
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(REPOSITORY)))
            if not is_check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    if is_check and stale:
        print("stale, run docs/make_manuals.py:", *stale, file=sys.stderr)
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
