"""How time and memory grow with the log, with the distinct frames, with the units they are in, and with the modules.

    python -m bench.growth --vmlinux FILE --modules FOLDER --table FILE [--rounds N] [--parts log,frames,units,modules]

Each step is a fresh process. *log*: trace entries of 207 distinct frames, with the samples' table; beside ``cat``.
*frames*: distinct frames evenly over the bytes of the kernel's functions, with the table. *units*: random functions,
with DWARF; hardly two are in one unit; beside llvm-symbolizer on the same addresses. *modules*: a frame in each of so
many modules, with DWARF, and with a table.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from annotate.kernel.images import OpenTable, open_file
from annotate.model import LinkAddr
from bench.cold_run import read_symbols
from bench.long_logs import frame_log, kernel_frames, real_frames
from bench.throughput import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARTS = ("log", "frames", "units", "modules")
LINES = (10_000, 100_000, 1_000_000, 10_000_000)
FRAMES = (10, 100, 1_000, 10_000, 50_000)
FUNCTIONS = (10, 40, 160, 640, 2_560)
MODULES = (1, 10, 100, 500)
SYMBOLIZER = "llvm-symbolizer-19"


def _figures(bench: Bench, commands: dict[str, list[str]]) -> dict[str, tuple[float, float]]:
    """Seconds (medians, in turn) and peak megabytes of each."""
    taken = bench.rounds_of({name: (command, None) for name, command in commands.items()}, bench.rounds)
    return {
        name: (statistics.median(run.seconds for run in runs), max(run.peak for run in runs) / 1e6)
        for name, runs in taken.items()
    }


def _table(first: str, steps: Iterator[tuple[str, dict[str, tuple[float, float]]]]) -> Iterator[str]:
    """A row a step; the columns are known from the first one."""
    is_head = True
    for name, figures in steps:
        if is_head:
            columns = "".join(f" {tool}, s | MB |" for tool in figures)
            yield f"| {first} |{columns}"
            yield "|---" * (1 + 2 * len(figures)) + "|"
            is_head = False
        cells = "".join(f" {seconds:.3f} | {peak:.0f} |" for seconds, peak in figures.values())
        yield f"| {name} |{cells}"


def log_sizes(bench: Bench) -> Iterator[tuple[str, dict[str, tuple[float, float]]]]:
    """A longer log of the same frames."""
    for count in LINES:
        log = bench.log("log", frame_log(real_frames(), count))
        commands = {"the filter": bench.filter(log.path, bench.samples), "cat": ["cat", str(log.path)]}
        yield f"{count:,} lines".replace(",", " "), _figures(bench, commands)
        log.path.unlink()


def distinct_frames(bench: Bench, table: Path) -> Iterator[tuple[str, dict[str, tuple[float, float]]]]:
    """More distinct frames in a log of as many lines."""
    for count in FRAMES:
        log = bench.log("log", (b" %s\n" % frame.strip() for frame in kernel_frames(table, count)))
        yield (
            f"{count:,}".replace(",", " "),
            _figures(bench, {"the filter": bench.filter(log.path, ("-k", str(table)))}),
        )


def units(bench: Bench, vmlinux: Path) -> Iterator[tuple[str, dict[str, tuple[float, float]]]]:
    """More functions, so more units to read."""
    symbols = [symbol for symbol in read_symbols(vmlinux) if symbol.size > 64]
    chosen = random.Random(1).sample(symbols, max(FUNCTIONS))
    for count in FUNCTIONS:
        some = chosen[:count]
        log = bench.log("log", (f" {each.name}+{each.size // 2:#x}/{each.size:#x}\n".encode() for each in some))
        commands = {"the filter": bench.filter(log.path, ("-k", str(vmlinux)))}
        if shutil.which(SYMBOLIZER):
            addresses = [f"{each.address + each.size // 2 - 1:#x}" for each in some]
            commands["llvm-symbolizer"] = [SYMBOLIZER, "--inlines", "-e", str(vmlinux), *addresses]
        yield f"{count:,}".replace(",", " "), _figures(bench, commands)


def modules(bench: Bench, folder: Path, table: Path) -> Iterator[tuple[str, dict[str, tuple[float, float]]]]:
    """More modules that are named, of a folder with all of them."""
    frames = module_frames(table)
    random.Random(1).shuffle(frames)
    for count in MODULES:
        if count <= len(frames):
            log = bench.log("log", frames[:count])
            commands = {
                "the filter, DWARF": bench.filter(log.path, ("-m", str(folder))),
                "the filter, table": bench.filter(log.path, ("-k", str(table))),
            }
            yield str(count), _figures(bench, commands)


def module_frames(table: Path) -> list[bytes]:
    """A frame in the middle of the first section of each module of a table."""
    opened = open_file(str(table))
    if not isinstance(opened, OpenTable):
        raise SystemExit(f"{table}: expected a table, made by `lineinfo build`")
    frames = []
    for found in opened.all_images():
        image = found.image
        if image.is_module and image.sections:
            section = image.sections[0]
            symbol = image.symbol_at(LinkAddr(section.start + section.size // 2))
            if symbol is not None and symbol.is_code:
                frames.append(b" %s+%#x/%#x [%s]\n" % (symbol.name, symbol.size // 2, symbol.size, image.name))
    return frames


def report(bench: Bench, parts: Sequence[str], options: argparse.Namespace) -> Iterator[str]:
    """All tables, line by line."""
    if "log" in parts:
        yield from ("", *_table("log", log_sizes(bench)))
    if "frames" in parts:
        yield from ("", *_table("distinct frames", distinct_frames(bench, options.table)))
    if "units" in parts:
        yield from ("", *_table("functions, each in a unit of its own", units(bench, options.vmlinux)))
    if "modules" in parts:
        yield from ("", *_table("modules", modules(bench, options.modules, options.table)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmlinux", type=Path, required=True)
    parser.add_argument("--modules", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True, help="of the kernel and all its modules")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    options.output, options.scale = "file", 1.0
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no parts: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        for line in report(Bench(Path(folder), options), parts, options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
