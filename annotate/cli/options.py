"""The options of the filter. Each has one line of help, so that all fits on a screen; docs/commands.md says more."""

from __future__ import annotations

import argparse

from annotate import __version__
from annotate.render import RENDERERS

PROGRAM = "lineinfo-annotate"

_WHEN = ("auto", "always", "never")
_CHAINS = ("chain", "innermost")


class _OneScreen(argparse.HelpFormatter):
    """An option a line of 80 columns: ``-k, --kernel PATH``, ``--[no-]demangle``."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = ", ".join(action.option_strings)
        if isinstance(action, argparse.BooleanOptionalAction):
            return action.option_strings[0].replace("--", "--[no-]", 1)
        if not names or action.nargs == 0:
            return names or super()._format_action_invocation(action)
        return f"{names} {action.metavar}"


def make_parser() -> argparse.ArgumentParser:
    """The options, as the documentation and the shell see them."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage="dmesg | %(prog)s [OPTIONS]\n       %(prog)s [OPTIONS] LOG ...",
        description="Insert (file:line) behind every frame of a Linux kernel log. No other byte changes.",
        formatter_class=_OneScreen,
        add_help=False,
    )
    parser.add_argument("logs", nargs="*", metavar="LOG", help=argparse.SUPPRESS)
    repeatable = {"action": "append", "default": [], "metavar": "PATH"}

    kernel = parser.add_argument_group("the kernel (found by itself where it is installed)")
    kernel.add_argument("-k", "--kernel", **repeatable, help="vmlinux, table, package, or a folder with them")  # type: ignore[arg-type]
    kernel.add_argument("-m", "--modules", **repeatable, help="module, or a folder with modules")  # type: ignore[arg-type]
    kernel.add_argument("-r", "--release", metavar="NAME", help="of logs that name none (default: what runs here)")
    kernel.add_argument("--kaslr-offset", type=_hex, metavar="HEX", help="for raw addresses (default: the log's)")
    kernel.add_argument(
        "--debuginfod",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="ask the servers of DEBUGINFOD_URLS (default)",
    )

    text = parser.add_argument_group("what is written")
    text.add_argument(
        "--format",
        choices=RENDERERS,
        default="text",
        metavar="NAME",
        help=f"{' (default), '.join(RENDERERS[:2])}, {', '.join(RENDERERS[2:])}",
    )
    text.add_argument(
        "--inlines", choices=_CHAINS, default="chain", metavar="HOW", help="chain of calls (default), or innermost"
    )
    text.add_argument(
        "--demangle",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Rust names as people write them (default)",
    )
    text.add_argument("--source", metavar="DIR", help="lines of source around each location")
    text.add_argument("--code", action="store_true", help="instructions behind each 'Code:' line")
    text.add_argument("--color", choices=_WHEN, default="auto", metavar="WHEN", help="auto (default), always, never")
    text.add_argument("--links", choices=_WHEN, default="auto", metavar="WHEN", help="to the sources; the same")
    text.add_argument(
        "--link-template", type=_link_template, metavar="URI", help="file, vscode, debian, web, or with {path}, {line}"
    )
    text.add_argument("--raw", action="store_true", help="let a log's escapes reach the terminal")

    triage = parser.add_argument_group("what to do about it")
    triage.add_argument("--triage", action="store_true", help="each crash: where, which subsystem, who to write to")
    triage.add_argument("--maintainers", metavar="FILE", help="MAINTAINERS (default: of the table, or the tree)")
    triage.add_argument(
        "--plumbing", action="append", default=[], metavar="FILE", help="more functions that are not to blame"
    )

    other = parser.add_argument_group("other")
    other.add_argument("--strict", action="store_true", help="exit with 3 when a frame got no line")
    other.add_argument("-v", "--verbose", action="store_true", help="say which files were tried for what")
    other.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}", help="say which one this is")
    other.add_argument("-h", "--help", action="help", help="show this")
    return parser


def _hex(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a hexadecimal number, found {text!r}") from None


def _link_template(text: str) -> str:
    from annotate.render.links import template_named  # noqa: PLC0415 - 10 ms that only this option needs

    try:
        return template_named(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
