"""``lineinfo``: look-ups and tables."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from annotate import __version__
from annotate.cli import cache, doctor, emit, tables
from annotate.cli.streams import LogSource, OutputClosedError, TextOutput, complain, occupy_standard_descriptors
from annotate.debuginfo.generate import answers
from annotate.debuginfo.image import DebugImage
from annotate.errors import AnnotateError, UnreadableFileError
from annotate.kernel.images import OpenTable
from annotate.log.context import Facts
from annotate.lookup import read_frame
from annotate.model import KernelId, LinkAddr, Missing, PcKind
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions
from annotate.resolve import Absence, Resolver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from annotate.kernel.images import Image, OpenFile
    from annotate.model import Frame, Resolution

PROGRAM = "lineinfo"

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130

#: Rows of ``dump`` that are written at once.
_ROWS_A_WRITE = 4096

#: Damaged places of a file that are named; one broken pointer can cost every unit.
_MOST_DAMAGE = 10


def make_parser() -> argparse.ArgumentParser:
    """The commands, as the documentation and the shell see them."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Source lines of kernel addresses.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    lookup = commands.add_parser("lookup", help="answer for frames or addresses")
    lookup.add_argument(
        "-k", "--kernel", required=True, metavar="FILE", help="a table, a vmlinux, a module or a package"
    )
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
    dump.add_argument("file", metavar="FILE", help="a table, a vmlinux, a module or a package")
    tables.add_commands(commands)
    emit.add_commands(commands)
    doctor.add_commands(commands)
    cache.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    if arguments is None:
        occupy_standard_descriptors()
    options = make_parser().parse_args(arguments)
    try:
        if options.command == "lookup":
            return _lookup(options.kernel, options.what, PcKind.RETURN if options.is_return else PcKind.EXACT)
        if options.command == "dump":
            return _dump(options.file)
        if options.command in doctor.COMMANDS:
            return doctor.run(options)
        if options.command in cache.COMMANDS:
            return cache.run(options)
        return tables.run(options) if options.command in tables.COMMANDS else emit.run(options)
    except AnnotateError as error:
        complain(PROGRAM, str(error))
        return EXIT_FAILED
    except OutputClosedError:
        return EXIT_DONE
    except OSError as error:
        complain(PROGRAM, f"output lost: {error.strerror or error}")
        return EXIT_FAILED
    except MemoryError:
        complain(PROGRAM, "not enough memory")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


class _OneFile:
    """The image source of a look-up: whatever is asked for, it is in this file."""

    def __init__(self, opened: OpenFile[Image] | OpenTable) -> None:
        self._opened = opened
        self.used: dict[str, Image] = {}

    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> Image | Absence:
        """See ``annotate.resolve.ImageSource``. Addresses alone are those of the only image, or of the kernel."""
        name = module.decode("utf-8", "surrogateescape")
        image = self.used.get(name)
        if image is None:
            if isinstance(self._opened, OpenTable):
                found = [*self._opened.images(name), *(() if name else self._opened.only_image())]
                if not found:
                    return Absence(Missing.NO_MODULE if name else Missing.NO_KERNEL, "")
                image = found[0].image
            else:
                image = self._opened.image
                if name and not image.is_module:
                    return Absence(Missing.NO_MODULE, "")
            self.used[name] = image
        return image


def _lookup(path: str, wanted: Iterable[str], pc: PcKind) -> int:
    source = _OneFile(tables.open_any(path))
    resolver = Resolver(source, slide=0)
    facts = Facts()
    output = TextOutput()
    status = EXIT_DONE
    lacks_line = False
    for text in _expand(wanted):
        frame = read_frame(text, pc)
        if frame is None:
            complain(PROGRAM, f"{text}: expected function+0xoffset/0xsize or 0xaddress")
            status = EXIT_FAILED
            continue
        (resolution,) = resolver.resolve([frame], facts).resolutions
        lacks_line = lacks_line or resolution.missing in (Missing.NO_LINE, Missing.NO_SYMBOL)
        label = text if frame.symbol else _label(text, frame, source)
        output.write(f"{label}{_answer(resolution)}\n".encode("utf-8", "surrogateescape"))
    if lacks_line:
        for image in source.used.values():
            _complain_of(image.damage)
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
            lines = (line.strip().decode("utf-8", "surrogateescape") for line in _lines_of_standard_input())
            yield from (line for line in lines if line)
        else:
            yield text


def _lines_of_standard_input() -> Iterator[bytes]:
    """Raises UnreadableFileError."""
    rest = b""
    try:
        source = LogSource(0)
        while chunk := source.read(None):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    except OSError as error:
        raise UnreadableFileError("-", f"cannot be read: {error.strerror}") from None
    yield rest


def _label(text: str, frame: Frame, source: _OneFile) -> str:
    """An address with its symbol behind it."""
    address = LinkAddr(frame.address or 0)
    image = source.image_for(b"", b"", KernelId())
    symbol = None if isinstance(image, Absence) else image.symbol_at(address)
    if symbol is None:
        return text
    name = symbol.name.decode("utf-8", "surrogateescape")
    return f"{text} {name}+{address - symbol.address:#x}/{symbol.size:#x}"


def _answer(resolution: Resolution) -> str:
    if resolution.missing is not None and not resolution.candidates:
        return f": {resolution.missing.sentence}"
    return PlainRenderer(RenderOptions()).annotation(resolution).decode("utf-8", "surrogateescape")


def _dump(path: str) -> int:
    opened = tables.open_any(path)
    output = TextOutput()
    if not isinstance(opened, OpenTable):
        return _dump_image(opened.image, output)
    status = EXIT_DONE
    is_single = any(opened.only_image())
    for found in opened.all_images():
        if not is_single:
            output.write(b"[" + (found.image.name or b"vmlinux") + b"]\n")
        status = max(status, _dump_image(found.image, output))
    return status


def _dump_image(image: Image, output: TextOutput) -> int:
    rows: list[str] = []
    for address, file, line in answers(image) if isinstance(image, DebugImage) else image.rows():
        place = image.section_of(address)
        if place is None and not file and (before := image.section_of(LinkAddr(address - 1))) is not None:
            place = before[0], before[1] + 1  # what is covered may end where the section does
        where = f"{address:016x}" if place is None else f"{place[0]}+{place[1]:#x}"
        rows.append(f"{where} {file or '??'}:{line}\n")
        if len(rows) == _ROWS_A_WRITE:
            output.write("".join(rows).encode("utf-8", "surrogateescape"))
            rows.clear()
    output.write("".join(rows).encode("utf-8", "surrogateescape"))
    _complain_of(image.damage)
    return EXIT_FAILED if image.damage else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
