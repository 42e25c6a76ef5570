"""A cold run of the filter, beside llvm-symbolizer and addr2line on the same addresses, in turn, several rounds.

    python -m bench.cold_run --vmlinux FILE [--log LOG]... [--rounds N]

Three questions are asked of the kernel: the frames of one real oops, 40 distinct frames of real traces, and 40 frames
in 40 random functions (the worst case: hardly two in one unit). "Cold" means a fresh process and no cache of ours, the
file in the page cache. Peers get the addresses and do not have to find them: addr2line once for all, and once for each
frame as decode_stacktrace.sh calls it. Times are medians; quote the ratios of the rounds, machines are noisy.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from annotate.log.grammar import find_frames
from annotate.model import LogLine

REPOSITORY = Path(__file__).parent.parent


class Symbol(NamedTuple):
    """A function; ``size`` reaches to the next symbol."""

    name: str
    address: int
    size: int


class Case(NamedTuple):
    """A log for us, and the same questions as addresses for the peers."""

    name: str
    log: bytes
    addresses: list[int]


class Figures(NamedTuple):
    """What one tool took: wall time of each round, the highest peak memory of any."""

    seconds: list[float]
    peak_mib: float


def read_symbols(path: Path) -> list[Symbol]:
    """Functions with the distance to the next symbol, read by pyelftools."""
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise SystemExit(f"{path}: expected a symbol table, found none")
        raw = [
            (symbol["st_value"], symbol.name, symbol["st_info"]["type"])
            for symbol in table.iter_symbols()
            if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["type"] not in ("STT_SECTION", "STT_FILE")
        ]
    raw.sort()
    addresses = sorted({address for address, _, _ in raw})
    following = dict(pairwise(addresses))
    return [
        Symbol(name, address, following[address] - address)
        for address, name, kind in raw
        if kind == "STT_FUNC" and address in following
    ]


def cases(symbols: list[Symbol], logs: list[Path]) -> list[Case]:
    """The questions; those of real traces only where the logs are of this very kernel."""
    by_frame = {(symbol.name, symbol.size): symbol for symbol in symbols}
    found: list[Case] = []
    distinct: dict[str, int] = {}
    for log in logs:
        addresses: dict[int, None] = {}
        for number, line in enumerate(log.read_bytes().split(b"\n"), 1):
            for frame in find_frames(LogLine(number, line, b"")):
                symbol = by_frame.get((frame.symbol.decode(), frame.size or 0))
                if symbol is not None and not frame.module and frame.in_trace and frame.offset:
                    addresses[symbol.address + frame.offset - 1] = None
                    text = f" {symbol.name}+{frame.offset:#x}/{symbol.size:#x}"
                    distinct.setdefault(text, symbol.address + frame.offset - 1)
        if not found and addresses:
            found.append(Case(f"{log.name}, whole", log.read_bytes(), list(addresses)))
    some = dict(list(distinct.items())[:40])
    if len(some) == 40:
        found.append(Case("40 frames of real traces", "\n".join(some).encode() + b"\n", list(some.values())))
    chosen = random.Random(1).sample([symbol for symbol in symbols if symbol.size > 64], 40)
    text = "".join(f" {symbol.name}+{symbol.size // 2:#x}/{symbol.size:#x}\n" for symbol in chosen)
    found.append(Case("40 random functions", text.encode(), [s.address + s.size // 2 - 1 for s in chosen]))
    return found


def run(command: list[str], given: bytes, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of one process."""
    with tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


def measure(case: Case, vmlinux: Path, rounds: int, environment: dict[str, str]) -> dict[str, Figures]:
    """Run every tool in turn, ``rounds`` times behind one round to warm up."""
    addresses = [f"{address:#x}" for address in case.addresses]
    listed = "\n".join(addresses).encode() + b"\n"
    commands: dict[str, list[tuple[list[str], bytes]]] = {
        "lineinfo-annotate": [([sys.executable, "-m", "annotate", "-k", str(vmlinux)], case.log)],
    }
    if shutil.which("llvm-symbolizer-19"):
        commands["llvm-symbolizer"] = [(["llvm-symbolizer-19", "--inlines", "-e", str(vmlinux)], listed)]
    if shutil.which("eu-addr2line"):
        commands["eu-addr2line"] = [(["eu-addr2line", "-i", "-f", "-e", str(vmlinux)], listed)]
    if shutil.which("addr2line"):
        commands["addr2line, all at once"] = [(["addr2line", "-i", "-f", "-e", str(vmlinux)], listed)]
        commands["addr2line, one a frame"] = [
            (["addr2line", "-i", "-f", "-e", str(vmlinux), address], b"") for address in addresses
        ]
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, calls in commands.items():
            if number > 1 and name == "addr2line, one a frame":
                continue  # seconds each; one round after the warm-up says enough
            runs = [run(command, given, environment) for command, given in calls]
            if number:  # the first round warms the page cache and the bytecode
                results[name].append((sum(seconds for seconds, _ in runs), max(peak for _, peak in runs)))
    return {
        name: Figures([seconds for seconds, _ in taken], max(peak for _, peak in taken))
        for name, taken in results.items()
    }


def main() -> None:
    """Print a table a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmlinux", type=Path, required=True)
    parser.add_argument("--log", type=Path, action="append", help="default: the samples of x86-64")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    logs = options.log or [
        REPOSITORY / "sample_oopses" / "x86_64" / "p-null_deref.log",
        *sorted((REPOSITORY / "sample_oopses" / "x86_64").glob("*.log")),
    ]
    with tempfile.TemporaryDirectory() as cache:
        # Bytecode as an installation has it, wherever the checkout may not keep any.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONPATH": str(REPOSITORY)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for case in cases(read_symbols(options.vmlinux), logs):
            figures = measure(case, options.vmlinux, options.rounds, environment)
            ours = figures["lineinfo-annotate"]
            print(f"\n{case.name}: {len(case.addresses)} distinct frames of the kernel\n")
            print("| | median ms | peak MiB | ours / theirs, median of the rounds |")
            print("|---|---|---|---|")
            for name, taken in figures.items():
                pairs = zip(ours.seconds, taken.seconds, strict=False)
                ratio = statistics.median(mine / theirs for mine, theirs in pairs)
                milliseconds = 1000 * statistics.median(taken.seconds)
                print(f"| {name} | {milliseconds:.0f} | {taken.peak_mib:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
