"""``lineinfo``: look-ups and tables."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import regex

from annotate import __version__
from annotate.cli.streams import Output, OutputClosedError, complain
from annotate.errors import AnnotateError
from annotate.kernel.images import open_image
from annotate.log.context import Facts
from annotate.model import Frame, LinkAddr, Missing, PcKind, RunAddr
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions
from annotate.resolve import Absence, Resolver

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from annotate.kernel.images import OpenFile
    from annotate.model import KernelId, Resolution
    from annotate.resolve import KernelImage

PROGRAM = "lineinfo"

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130

#: Rows of ``dump`` that are written at once.
_ROWS_A_WRITE = 4096

#: Damaged places of a file that are named; one broken pointer can cost every unit.
_MOST_DAMAGE = 10

_WHAT = regex.compile(
    r"(?:0x(?P<address>[0-9a-fA-F]{1,16})|"
    r"(?P<symbol>[^\s+]+)(?:\+0x(?P<offset>[0-9a-f]{1,16})(?:/0x(?P<size>[0-9a-f]{1,16}))?)?"
    r"(?: \[(?P<module>[\w-]+)(?: (?P<build_id>[0-9a-f]+))?\])?)"
)


def make_parser() -> argparse.ArgumentParser:
    """The commands, as the documentation and the shell see them."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Source lines of kernel addresses.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    lookup = commands.add_parser("lookup", help="answer for frames or addresses")
    lookup.add_argument("-k", "--kernel", required=True, metavar="FILE", help="a vmlinux or a module, with debug info")
    lookup.add_argument(
        "--return",
        dest="is_return",
        action="store_true",
        help="take the addresses as return addresses: answer for the call before each",
    )
    lookup.add_argument(
        "what",
        nargs="+",
        metavar="WHAT",
        help="function+0x1/0x2, or with [module]; 0xaddress as linked; - reads one a line from standard input",
    )
    dump = commands.add_parser("dump", help="print every row as 'address file:line'")
    dump.add_argument("file", metavar="FILE", help="a vmlinux or a module, with debug info")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    options = make_parser().parse_args(arguments)
    try:
        if options.command == "lookup":
            return _lookup(options.kernel, options.what, PcKind.RETURN if options.is_return else PcKind.EXACT)
        return _dump(options.file)
    except AnnotateError as error:
        complain(PROGRAM, str(error))
        return EXIT_FAILED
    except OutputClosedError:
        return EXIT_DONE
    except OSError as error:
        complain(PROGRAM, f"output lost: {error.strerror or error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


class _OneFile:
    """The image source of a look-up: whatever is asked for, it is in this file."""

    def __init__(self, opened: OpenFile) -> None:
        self._opened = opened

    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> KernelImage | Absence:
        """See ``annotate.resolve.ImageSource``."""
        if module and not self._opened.image.is_module:
            return Absence(Missing.NO_MODULE, "")
        return self._opened.image


def _lookup(path: str, wanted: Iterable[str], pc: PcKind) -> int:
    opened = open_image(path)
    resolver = Resolver(_OneFile(opened), slide=0)
    facts = Facts()
    output = Output()
    status = EXIT_DONE
    lacks_line = False
    for text in _expand(wanted):
        frame = _parse(text, pc)
        if frame is None:
            complain(PROGRAM, f"{text}: expected function+0xoffset/0xsize or 0xaddress")
            status = EXIT_FAILED
            continue
        resolution = resolver.resolve(frame, 1, facts)
        lacks_line = lacks_line or resolution.missing is Missing.NO_LINE
        label = text if frame.symbol else _label(text, frame, opened)
        output.write(f"{label}{_answer(resolution)}\n".encode("utf-8", "surrogateescape"))
    if lacks_line:
        _complain_of(opened.image.damage)
    return status


def _complain_of(damage: Sequence[AnnotateError]) -> None:
    """Say what of a file could not be read, which may be why a line is missing."""
    for error in damage[:_MOST_DAMAGE]:
        complain(PROGRAM, str(error))
    if len(damage) > _MOST_DAMAGE:
        complain(PROGRAM, f"and {len(damage) - _MOST_DAMAGE} more")


def _expand(wanted: Iterable[str]) -> Iterable[str]:
    for text in wanted:
        if text == "-":
            lines = (line.strip().decode("utf-8", "surrogateescape") for line in sys.stdin.buffer)
            yield from (line for line in lines if line)
        else:
            yield text


def _parse(text: str, pc: PcKind) -> Frame | None:
    match = _WHAT.fullmatch(text)
    if match is None:
        return None
    symbol, size, address = match["symbol"] or "", match["size"], match["address"]
    return Frame(
        (0, len(text)),
        len(text),
        symbol.encode("utf-8", "surrogateescape"),
        int(match["offset"] or "0", 16),
        int(size, 16) if size else None,
        (match["module"] or "").encode(),
        (match["build_id"] or "").encode(),
        RunAddr(int(address, 16)) if address else None,
        pc if match["offset"] or address else PcKind.ENTRY,
        reliable=True,
        in_trace=False,
        annotated=False,
        format="lookup",
    )


def _label(text: str, frame: Frame, opened: OpenFile) -> str:
    """An address with its symbol behind it."""
    address = LinkAddr(frame.address or 0)
    symbol = opened.image.symbol_at(address)
    if symbol is None:
        return text
    name = symbol.name.decode("utf-8", "surrogateescape")
    return f"{text} {name}+{address - symbol.address:#x}/{symbol.size:#x}"


def _answer(resolution: Resolution) -> str:
    if resolution.missing is not None and not resolution.candidates:
        return f": {resolution.missing.sentence}"
    return PlainRenderer(RenderOptions()).annotation(resolution).decode("utf-8", "surrogateescape")


def _dump(path: str) -> int:
    opened = open_image(path)
    output = Output()
    rows: list[str] = []
    for address, file, line in opened.image.rows():
        place = opened.image.section_of(address)
        if place is None and not file and (before := opened.image.section_of(LinkAddr(address - 1))) is not None:
            place = before[0], before[1] + 1  # what is covered may end where the section does
        where = f"{address:016x}" if place is None else f"{place[0]}+{place[1]:#x}"
        rows.append(f"{where} {file or '??'}:{line}\n")
        if len(rows) == _ROWS_A_WRITE:
            output.write("".join(rows).encode("utf-8", "surrogateescape"))
            rows.clear()
    output.write("".join(rows).encode("utf-8", "surrogateescape"))
    damage = opened.image.damage
    _complain_of(damage)
    return EXIT_FAILED if damage else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
