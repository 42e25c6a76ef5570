"""Tables of our own beside other formats and tools: their size, how they are built, what a look-up costs.

    python -m bench.tables --vmlinux FILE [--modules FOLDER] [--rounds N] [--parts size,build,lookup,filter]
    python -m bench.tables --tree FOLDER --parts tree

Every figure is measured in the run but those marked "reference": they were measured once, elsewhere, of what is not
at hand. "reached" compares with the target; where that is of seconds, it was set on a quiet machine, so the ratio
against a tool run in turn is what counts. Medians of the rounds; all times cold in the sense of ``cold_run.py``: fresh
processes, no cache of ours, files in the page cache. The memory of several processes is the highest sum of their
proportional set sizes, seen every 50 ms; pages of mapped files count in it, and what of it is no file stands beside.

Peers: GSYM of llvm-gsymutil 19, the kernel's own table (``lineinfo emit --rows upstream`` makes its bytes), and
llvm-symbolizer. The kernel's host tool itself is not at hand: it is run nowhere here, and its time is a reference.

Look-ups: ``symbol_at`` and ``chain`` of addresses drawn evenly from the bytes of functions, and from the functions; and
``find`` of names. Before each the reader forgets all: a new TableFile and a new TableImage over the same mapping, which
is not counted. ``--tree-table FILE`` (or ``--modules``, which builds one) asks a table of many images as well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from annotate.filebytes import FileBytes, open_bytes
from annotate.model import LinkAddr
from annotate.tables import lineinfo_v1
from annotate.tables.lineinfo_v1 import TableFile, TableImage
from bench.cold_run import REPOSITORY, Case, Symbol, cases, read_symbols
from bench.machine import yardstick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from annotate.tables.lineinfo_v1 import Record

PARTS = ("size", "build", "lookup", "filter", "tree")
MEGABYTE = 1e6

#: References, measured once on Debian's 6.1.192-2 cloud vmlinux: the kernel's table, rows and files only; its host tool
#: with ``as``; llvm-gsymutil, at whose time the targets of building are meant.
KERNEL_TABLE_BYTES = 4_618_726
KERNEL_BYTES_A_ROW = 3.8
HOST_TOOL_SECONDS, HOST_TOOL_MEGABYTES = 1.5, 523
QUIET_GSYMUTIL_SECONDS = 1.7

GSYMUTIL = "llvm-gsymutil-19"
SYMBOLIZER = "llvm-symbolizer-19"

#: How often memory is looked at, in seconds.
SAMPLING = 0.05

LOOKUPS = 2000
OPENINGS = 20


class Usage(NamedTuple):
    """What a process and its children took; bytes."""

    seconds: float
    cpu_seconds: float
    memory: float  #: highest sum over all processes
    anonymous: float  #: the same without pages of files
    largest: float  #: highest resident size of any one process


class Row(NamedTuple):
    """A line of the table."""

    what: str
    ours: str
    peer: str = ""
    ratio: str = ""
    target: str = ""
    is_reached: bool | None = None

    def __str__(self) -> str:
        reached = {None: "", True: "yes", False: "**no**"}[self.is_reached]
        return f"| {self.what} | {self.ours} | {self.peer} | {self.ratio} | {self.target} | {reached} |"


class Benchmark:
    """One run: what was built so far, and where."""

    def __init__(self, vmlinux: Path, rounds: int, folder: Path) -> None:
        self.vmlinux = vmlinux
        self.rounds = rounds
        self.folder = folder
        # Bytecode as an installation has it, wherever the checkout may not keep any.
        self.environment = {
            **os.environ,
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.table = folder / "all.lineinfo"
        self.plain_table = folder / "plain.lineinfo"
        self.gsym = folder / "kernel.gsym"

    def build_command(self, sources: Sequence[Path], output: Path, *, inlines: bool = True) -> list[str]:
        """Build a table in two processes."""
        options = ["--jobs", "2", *(() if inlines else ("--no-inlines",)), "-o", str(output)]
        return [sys.executable, "-m", "annotate.cli.lineinfo", "build", *options, *map(str, sources)]

    def gsym_command(self) -> list[str] | None:
        """Convert the same file to GSYM with two threads."""
        program = shutil.which(GSYMUTIL)
        convert = ["--num-threads=2", "--convert", str(self.vmlinux), "-o", str(self.gsym)]
        return [program, *convert] if program else None

    def need(self, path: Path) -> Path:
        """One of the files, built when no part before has built it."""
        if not path.exists():
            command = self.build_command([self.vmlinux], path, inlines=path != self.plain_table)
            if path == self.gsym:
                command = self.gsym_command() or []
            if command:
                subprocess.run(command, check=True, env=self.environment, stdout=subprocess.DEVNULL)
        return path


#: Starts a command from a small process: the kernel counts the memory of whoever starts one as its own, until then.
_LAUNCHER = """
import json, os, sys, time
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
start = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - start
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


def measure(command: list[str], environment: dict[str, str], given: bytes = b"", *, is_long: bool = True) -> Usage:
    """Run a command in a session of its own; if it is a long one, look at the memory of all of its processes."""
    peaks = [0.0, 0.0]
    stop = threading.Event()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )

    def watch() -> None:
        while not stop.wait(SAMPLING):
            for index, size in enumerate(_memory_of_session(process.pid)):
                peaks[index] = max(peaks[index], size)

    watcher = threading.Thread(target=watch)
    if is_long:
        watcher.start()
    try:
        said, complaints = process.communicate(given)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        stop.set()
        if is_long:
            watcher.join()
    status, seconds, cpu_seconds, largest = json.loads(said) if said else (process.returncode, 0, 0, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {status}: {complaints.decode()}")
    return Usage(seconds, cpu_seconds, peaks[0], peaks[1], 1024 * largest)


def _memory_of_session(session: int) -> tuple[float, float]:
    """The proportional set sizes of all processes of a session but its leader, and what of them is no file."""
    total = anonymous = 0
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == session:
            continue
        # A process may end between any two of these.
        with contextlib.suppress(OSError, IndexError):
            stat = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
            if int(stat[3]) != session:
                continue
            for line in Path("/proc", name, "smaps_rollup").read_bytes().split(b"\n"):
                if line.startswith(b"Pss:"):
                    total += 1024 * int(line.split()[1])
                elif line.startswith(b"Pss_Anon:"):
                    anonymous += 1024 * int(line.split()[1])
    return total, anonymous


#: Run in a process of its own, for its memory.
_ROWS = """
import sys
from annotate.kernel.images import open_image
print(sum(1 for _ in open_image(sys.argv[1]).image.rows()))
"""


def sizes(bench: Benchmark, many: Path | None) -> Iterator[Row]:
    """What the files weigh."""
    ours = bench.need(bench.table).stat().st_size
    target, aim = 4.0, 3.3
    of_megabytes = f"≤ {target} MB, aim {aim}"
    if bench.gsym_command():
        peer = bench.need(bench.gsym).stat().st_size
        yield Row(
            "size, everything; peer GSYM",
            f"{ours / MEGABYTE:.2f} MB",
            f"{peer / MEGABYTE:.2f} MB",
            f"{ours / peer:.2f}",
            of_megabytes,
            ours / MEGABYTE <= target,
        )
    peer, remark = _kernel_table(bench)
    yield Row(
        f"size, everything; peer the kernel's table, rows and files only{remark}",
        f"{ours / MEGABYTE:.2f} MB",
        f"{peer / MEGABYTE:.2f} MB",
        f"{ours / peer:.2f}",
        of_megabytes,
        ours / MEGABYTE <= target,
    )
    counted = subprocess.run(
        [sys.executable, "-c", _ROWS, str(bench.vmlinux)], check=True, env=bench.environment, stdout=subprocess.PIPE
    )
    rows = int(counted.stdout)
    plain = bench.need(bench.plain_table).stat().st_size
    target, aim = 3.0, 2.6
    yield Row(
        f"size, --no-inlines, {plain / MEGABYTE:.2f} MB, of {rows} places where file or line changes in DWARF",
        f"{plain / rows:.2f} bytes a row",
        f"{KERNEL_BYTES_A_ROW} (reference)",
        f"{plain / rows / KERNEL_BYTES_A_ROW:.2f}",
        f"≤ {target}, aim {aim}",
        plain / rows <= target,
    )
    data = open_bytes(str(bench.plain_table))
    stretches = _kernel(TableFile(data, str(bench.plain_table))).head.stretches
    yield Row(
        f"the same, of the {stretches} stretches that `lineinfo info` counts", f"{plain / stretches:.2f} bytes a row"
    )
    if many is not None:
        data = open_bytes(str(many))
        count = TableFile(data, str(many)).count
        yield Row(f"size, {count} images in one file", f"{many.stat().st_size / MEGABYTE:.2f} MB")


def _kernel_table(bench: Benchmark) -> tuple[int, str]:
    output = bench.folder / "kernel.bin"
    emit = ["emit", "--layout", "v3", "--rows", "upstream", "--as", "bin", str(bench.vmlinux), "-o", str(output)]
    command = [sys.executable, "-m", "annotate.cli.lineinfo", *emit]
    try:
        subprocess.run(command, check=True, env=bench.environment, capture_output=True)
    except subprocess.CalledProcessError:
        return KERNEL_TABLE_BYTES, " (reference: `lineinfo emit` could not make it)"
    return output.stat().st_size, ""


def builds(bench: Benchmark) -> Iterator[Row]:
    """What building takes, beside llvm-gsymutil in the same rounds."""
    commands = {
        "all": bench.build_command([bench.vmlinux], bench.table),
        "plain": bench.build_command([bench.vmlinux], bench.plain_table, inlines=False),
    }
    if peer_command := bench.gsym_command():
        commands["gsym"] = peer_command
    taken: dict[str, list[Usage]] = {name: [] for name in commands}
    for number in range(bench.rounds + 1):
        for name, command in commands.items():
            usage = measure(command, bench.environment)
            if number:  # the first round warms the page cache and the bytecode
                taken[name].append(usage)
    for name, what, seconds, aim, memory in (
        ("all", "build, everything", 9.0, 5.0, 900),
        ("plain", "build, --no-inlines", 4.0, 2.0, 300),
    ):
        ours, peers = taken[name], taken.get("gsym", [])
        target = seconds / QUIET_GSYMUTIL_SECONDS
        ratio = _ratio(ours, peers, lambda usage: usage.seconds)
        yield Row(
            f"{what}, --jobs 2; peer {GSYMUTIL} --num-threads=2",
            f"{_median(ours, lambda usage: usage.seconds):.2f} s",
            f"{_median(peers, lambda usage: usage.seconds):.2f} s" if peers else "not installed",
            f"{ratio:.2f}" if peers else "",
            f"ratio ≤ {target:.2f} ({seconds:g} s beside {QUIET_GSYMUTIL_SECONDS}), "
            f"aim {aim / QUIET_GSYMUTIL_SECONDS:.2f}",
            ratio <= target if peers else None,
        )
        yield Row(
            "- processor time of all processes",
            f"{_median(ours, lambda usage: usage.cpu_seconds):.2f} s",
            f"{_median(peers, lambda usage: usage.cpu_seconds):.2f} s" if peers else "",
            f"{_ratio(ours, peers, lambda usage: usage.cpu_seconds):.2f}" if peers else "",
        )
        highest = max(usage.memory for usage in ours) / MEGABYTE
        yield Row(
            "- peak memory of all processes (largest resident size of one)",
            _memory(ours),
            _memory(peers) if peers else "",
            f"{highest * MEGABYTE / max(usage.memory for usage in peers):.2f}" if peers else "",
            f"≤ {memory} MB",
            highest <= memory,
        )
        if name == "plain":
            yield Row(
                "- peer the kernel's host tool and `as`: not at hand, not run",
                "",
                f"{HOST_TOOL_SECONDS} s, {HOST_TOOL_MEGABYTES} MB (reference)",
            )


def _median(usages: Sequence[Usage], key: Callable[[Usage], float]) -> float:
    return statistics.median(map(key, usages))


def _ratio(ours: Sequence[Usage], peers: Sequence[Usage], key: Callable[[Usage], float]) -> float:
    """The median of the ratios of the rounds; 0 without a peer."""
    pairs = zip(ours, peers, strict=True) if peers else ()
    return statistics.median([key(mine) / key(theirs) for mine, theirs in pairs] or [0.0])


def _memory(usages: Sequence[Usage]) -> str:
    total, anonymous, largest = (
        max(size) / MEGABYTE
        for size in zip(*((usage.memory, usage.anonymous, usage.largest) for usage in usages), strict=True)
    )
    return f"{total:.0f} MB, {anonymous:.0f} of it no file ({largest:.0f})"


def _kernel(file: TableFile) -> TableImage:
    return TableImage(file, next(record for record in file.records() if record.kind == lineinfo_v1.KERNEL))


class _Asked:
    """Microseconds of look-ups, each of a reader that knows nothing yet."""

    def __init__(self, data: FileBytes, source: str) -> None:
        self._data = data
        self._source = source

    def file(self) -> TableFile:
        """A reader that knows nothing yet."""
        return TableFile(self._data, self._source)

    def addresses(self, asked: Sequence[tuple[Record, LinkAddr]], *, codes: bool = False) -> list[float]:
        """Look-ups of addresses. With ``codes``, those of the file were read before, as by an earlier look-up."""
        times = []
        for record, address in asked:
            file = self.file()
            if codes:
                file.codes()
            image = TableImage(file, record)
            start = time.perf_counter()
            symbol = image.symbol_at(address)
            if symbol is not None:
                image.chain(address, symbol)
            times.append(1e6 * (time.perf_counter() - start))
        return times

    def names(self, asked: Sequence[tuple[Record, bytes]]) -> list[float]:
        """Look-ups of names."""
        times = []
        for record, name in asked:
            image = TableImage(self.file(), record)
            start = time.perf_counter()
            image.find(name)
            times.append(1e6 * (time.perf_counter() - start))
        return times


def lookups(bench: Benchmark, tables: Sequence[Path], symbols: Sequence[Symbol]) -> Iterator[Row]:
    """What opening and look-ups cost, in process. ``symbols`` are those of the first table's kernel."""
    for path in tables:
        data = open_bytes(str(path))
        asked = _Asked(data, str(path))
        file = asked.file()
        what = f"{file.count} image{'s' if file.count > 1 else ''} in the file"
        yield from _openings(bench, path, what)
        record = next(record for record in file.records() if record.kind == lineinfo_v1.KERNEL)
        image = TableImage(file, record)
        chosen = random.Random(1)
        addresses = [(record, address) for address in _addresses_in(image, chosen, LOOKUPS)]
        yield _timed(f"cold look-up, evenly over bytes of functions, {what}", asked.addresses(addresses), 150, 60)
        yield _timed("- the same, the codes of the file known before", asked.addresses(addresses, codes=True))
        if path == tables[0]:
            places = [symbol.address + symbol.size // 2 for symbol in chosen.choices(symbols, k=LOOKUPS)]
            in_middles = [(record, LinkAddr(place)) for place in places]
            yield _timed("- evenly over functions, in their middles", asked.addresses(in_middles))
        found = [image.symbol_at(address) for _, address in addresses]
        yield _timed(
            "- by name (`find`)", asked.names([(record, symbol.name) for symbol in found if symbol is not None])
        )
        modules = [record for record in file.records() if record.kind == lineinfo_v1.MODULE]
        if modules:
            in_modules = [
                (record, address)
                for record in chosen.choices(modules, k=LOOKUPS)
                for address in _addresses_in(TableImage(file, record), chosen, 1)
            ]
            yield _timed(f"- in modules, evenly over them, {what}", asked.addresses(in_modules), 150, 60)


def _addresses_in(image: TableImage, chosen: random.Random, count: int) -> Iterator[LinkAddr]:
    """Addresses of functions, all of their bytes as likely; fewer where there is hardly any function."""
    lengths = [section.size for section in image.sections]
    for section in chosen.choices(image.sections, lengths, k=4 * count) if lengths else ():
        address = LinkAddr(section.start + chosen.randrange(section.size))
        if count and image.symbol_at(address) is not None:
            count -= 1
            yield address


#: Run in a fresh process: seconds of the first opening, and the mean of the following ones.
_OPENING = """
import json, sys, time
from annotate.kernel.images import open_file
times = []
for _ in range(11):
    start = time.perf_counter()
    table = open_file(sys.argv[1])
    next(table.images(""))
    times.append(time.perf_counter() - start)
print(json.dumps([times[0], sum(times[1:]) / len(times[1:])]))
"""


def _openings(bench: Benchmark, path: Path, what: str) -> Iterator[Row]:
    command = [sys.executable, "-c", _OPENING, str(path)]
    taken = []
    for _ in range(OPENINGS):
        output = subprocess.run(command, check=True, env=bench.environment, stdout=subprocess.PIPE).stdout
        taken.append(json.loads(output))
    cold, warm = (1000 * statistics.mean(times) for times in zip(*taken, strict=True))
    yield Row(
        f"open the file and its kernel, {what}: mean of {OPENINGS} fresh processes, and again in them",
        f"{cold:.2f} ms, {warm:.2f} again",
        target="≤ 1 ms",
        is_reached=cold <= 1,
    )


def _timed(what: str, times: Sequence[float], target: float | None = None, aim: float | None = None) -> Row:
    mean = statistics.mean(times)
    last = statistics.quantiles(times, n=20)[-1]
    return Row(
        f"{what} ({len(times)})",
        f"mean {mean:.0f}, median {statistics.median(times):.0f}, 95 % {last:.0f} µs",
        target=f"mean ≤ {target} µs, aim {aim}" if target is not None else "",
        is_reached=mean <= target if target is not None else None,
    )


def filters(bench: Benchmark, asked: Sequence[Case]) -> Iterator[Row]:
    """The whole filter with a table, beside llvm-symbolizer on the same addresses."""
    table = bench.need(bench.table)
    program = shutil.which(SYMBOLIZER)
    for case in asked:
        addresses = "".join(f"{address:#x}\n" for address in case.addresses).encode()
        commands = {
            "table": ([sys.executable, "-m", "annotate", "-k", str(table)], case.log),
            "dwarf": ([sys.executable, "-m", "annotate", "-k", str(bench.vmlinux)], case.log),
        }
        outputs = {
            subprocess.run(command, input=log, check=True, env=bench.environment, capture_output=True).stdout
            for command, log in commands.values()
        }
        if program:
            commands["peer"] = ([program, "--inlines", "-e", str(bench.vmlinux)], addresses)
        taken: dict[str, list[Usage]] = {name: [] for name in commands}
        for number in range(3 * bench.rounds + 1):  # short runs: more of them
            for name, (command, given) in commands.items():
                figures = measure(command, bench.environment, given, is_long=False)
                if number:
                    taken[name].append(figures)
        for name, source in (("table", "a table"), ("dwarf", "DWARF")):
            ratio = ""
            is_reached = None
            if program:
                value = _ratio(taken[name], taken["peer"], lambda usage: usage.seconds)
                ratio = f"{value:.2f}"
                is_reached = value <= 1 if name == "table" else None
            remark = "" if len(outputs) == 1 else ", **which answers differently**"
            yield Row(
                f"the filter with {source}{remark}, {case.name} ({len(case.addresses)} addresses); peer {SYMBOLIZER}",
                _run_figures(taken[name]),
                _run_figures(taken["peer"]) if program else "not installed",
                ratio,
                "ratio ≤ 1, aim 0.5" if name == "table" else "",
                is_reached,
            )


def _run_figures(taken: Sequence[Usage]) -> str:
    seconds = _median(taken, lambda usage: usage.seconds)
    return f"{1000 * seconds:.0f} ms, {max(usage.largest for usage in taken) / MEGABYTE:.0f} MB"


def trees(bench: Benchmark, tree: Path) -> Iterator[Row]:
    """One file of a whole flavour. No other tool makes one; one round."""
    output = bench.folder / "tree.lineinfo"
    usage = measure(bench.build_command([tree], output), bench.environment)
    data = open_bytes(str(output))
    count = TableFile(data, str(output)).count
    size = output.stat().st_size / MEGABYTE
    yield Row(f"a whole flavour, {count} images: size", f"{size:.2f} MB", "", "", "≤ 25 MB, aim 20", size <= 25)
    yield Row(
        "- build, --jobs 2",
        f"{usage.seconds:.0f} s ({usage.cpu_seconds:.0f} s of processors)",
        target="≤ 180 s, aim 60",
        is_reached=usage.seconds <= 180,
    )
    yield Row(
        "- peak memory of all processes (largest resident size of one)",
        _memory([usage]),
        target="≤ 2000 MB",
        is_reached=usage.memory <= 2000 * MEGABYTE,
    )


def _rows(options: argparse.Namespace, parts: Sequence[str], folder: Path) -> Iterator[Row]:
    if {"size", "build", "lookup", "filter"} & set(parts):
        if options.vmlinux is None:
            raise SystemExit("these parts need --vmlinux")
        bench = Benchmark(options.vmlinux, options.rounds, folder)
        if "build" in parts:  # first: it leaves the files that the others need
            yield from builds(bench)
        many = options.tree_table
        if options.modules is not None:
            many = many or folder / "many.lineinfo"
            if not many.exists():
                measure(bench.build_command([bench.vmlinux, options.modules], many), bench.environment)
        if "size" in parts:
            yield from sizes(bench, many)
        symbols = read_symbols(bench.vmlinux)
        if "lookup" in parts:
            yield from lookups(bench, [bench.need(bench.table), *([many] if many is not None else [])], symbols)
        if "filter" in parts:
            samples = REPOSITORY / "sample_oopses" / "x86_64"
            logs = [samples / "p-null_deref.log", *sorted(samples.glob("*.log"))]
            yield from filters(bench, [case for case in cases(symbols, logs) if len(case.addresses) >= 40])
    if "tree" in parts:
        if options.tree is None:
            raise SystemExit("the part 'tree' needs --tree")
        yield from trees(Benchmark(options.tree, 1, folder), options.tree)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmlinux", type=Path, help="with debug info, for all parts but the tree")
    parser.add_argument("--modules", type=Path, help="a folder with modules of it, for a table of many images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tree", type=Path, help="a kernel and all modules of a flavour")
    parser.add_argument("--tree-table", type=Path, help="a table of many images to ask, built before")
    parser.add_argument("--parts", default="size,build,lookup,filter", help=f"of {','.join(PARTS)}")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no parts: {', '.join(sorted(unknown))}")
    print(f"{yardstick()}\n\n| | ours | peer | ours / peer | target | reached |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in _rows(options, parts, Path(folder)):
            print(row, flush=True)
    print(f"\n{yardstick()}")


if __name__ == "__main__":
    main()
