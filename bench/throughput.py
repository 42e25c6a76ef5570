"""What long logs cost the filter: throughput, memory, hostile lines, start-up, and how live it is.

    python -m bench.throughput [--table FILE] [--parts ordinary,few,...] [--rounds N] [--scale F] [--json FILE]

The logs are made here, in a temporary folder, from the samples and from a seed: every run gets the same bytes. On each
log the filter, ``cat`` and ``grep -c '+0x'`` run in turn, several rounds behind one to warm up; each as a whole
process, started by a small one; ``wait4`` tells its peak memory. Seconds are medians, ratios are medians of the
rounds' ratios, peaks are the highest. Before that, the output is compared with the log: all of its bytes must be in it.

Standard output is a file on a tmpfs: no disk, and no reader that takes its share of the processors, but bytes are
really copied. ``--output pipe`` is a pipe that another ``cat`` drains; ``--output null`` writes to /dev/null, which
costs nothing. ``grep`` writes into a file always: it stops at the first match when it sees /dev/null.

The parts:

    ordinary   180 MB of the samples' lines that hold no frame
    rare       the same with a whole oops behind every 5 000 lines
    few        1 000 000 lines, each a frame, 200 distinct ones of real traces
    oopses     1 000 000 lines of whole oopses
    many       1 000 000 lines, each a frame, 50 000 distinct ones of the kernel whose table ``--table`` names
    memory     the peak of "few", and of five times as many lines
    hostile    lines of just under 1 MB, made of what nearly is a frame; processor time on top of that of an empty log
    startup    an empty log
    live       from writing a line to reading it back, one at a time, through pipes and through a terminal
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import random
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import tty
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.cold_run import REPOSITORY
from bench.long_logs import (
    FRAME,
    SAMPLES,
    SEED,
    Clock,
    Log,
    frame_log,
    hostile_lines,
    hostile_units,
    kernel_frames,
    oops_log,
    ordinary_log,
    real_frames,
    write_log,
)
from bench.machine import yardstick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

PARTS = ("ordinary", "rare", "few", "oopses", "many", "memory", "hostile", "startup", "live")
MEGABYTE = 1e6

ORDINARY_BYTES = 180_000_000
LINES = 1_000_000
DISTINCT = 50_000
LONGER = 5  #: how much longer the second log of "memory" is

#: Frames are counted in so many bytes of what hostile lines are made of.
COUNTED_BYTES = 10_000
#: A run on hostile lines that takes longer is ended, and one that takes longer than this is not repeated.
PATIENCE, PATIENCE_TO_REPEAT = 60.0, 3.0

LIVE_LINES = 200
LIVE_PAUSE = 0.005

#: Megabytes a second, lines a second, bytes, nanoseconds, seconds.
TARGET_ORDINARY, TARGET_FEW, TARGET_MANY = 400.0, 1_000_000.0, 250_000.0
TARGET_MEMORY, TARGET_GROWTH = 60 * MEGABYTE, 2 * MEGABYTE
TARGET_HOSTILE, TARGET_LIVE = 20.0, 0.050


class Run(NamedTuple):
    """What one process took."""

    seconds: float
    cpu_seconds: float
    peak: int  #: bytes; never below the 10 MB or so of the process that started it


#: Colours and links, which a terminal gets.
CODES = re.compile(rb"\x1b\[[\d;]*m|\x1b\]8;;[^\x1b]*\x1b\\\\")

# Processes.

#: Starts a command from a small process: the kernel counts the memory of whoever starts one as its own, until then.
_LAUNCHER = """
import json, os, sys, time
output = [(os.POSIX_SPAWN_OPEN, 1, sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)]
start = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, file_actions=output)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - start
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


class Bench:
    """One run: where its files are, and how processes are started."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.rounds: int = options.rounds
        self.scale: float = options.scale
        self.table: Path | None = options.table
        self.figures: list[dict[str, Any]] = []
        self._output: str = options.output
        # Bytecode as an installation has it, wherever the checkout may not keep any; and grep at its fastest.
        self.environment = {
            **os.environ,
            "LC_ALL": "C",
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        (table,) = (SAMPLES / "x86_64").glob("*.lineinfo")
        #: What answers the frames of the samples.
        self.samples = ("-k", str(table), "-m", str(SAMPLES / "x86_64" / "oopser.ko"))
        (folder / "empty").touch()

    def record(self, part: str, **figures: Any) -> None:
        """Keep figures for ``--json``."""
        self.figures.append({"part": part, **figures})

    def log(self, name: str, lines: Iterable[bytes]) -> Log:
        """Make a log."""
        return write_log(self.folder / name, lines)

    def run(self, command: Sequence[str], output: str | None = None, *, patience: float | None = None) -> Run | None:
        """Run a command; None when it had to be ended. ``output`` is where it writes, else what was asked for."""
        kind = output or self._output
        path = {"file": str(self.folder / "output"), "null": os.devnull}.get(kind, "")
        inherited: tuple[int, ...] = ()
        drain = None
        if kind == "file":
            Path(path).unlink(missing_ok=True)  # not left to the command: freeing the old one takes time
        elif kind == "pipe":
            end, start = os.pipe()
            path, inherited = f"/dev/fd/{start}", (start,)
            drain = subprocess.Popen(["cat"], stdin=end, stdout=subprocess.DEVNULL)
            os.close(end)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, path, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            pass_fds=inherited,
            start_new_session=True,
        )
        for descriptor in inherited:
            os.close(descriptor)
        try:
            said, complaints = process.communicate(timeout=patience)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise
        finally:
            if drain is not None:
                drain.wait()
        status, seconds, cpu_seconds, peak = json.loads(said) if said else (process.returncode, 0, 0, 0)
        if status and not (command[0] == "grep" and status == 1):  # it found nothing
            raise RuntimeError(f"{' '.join(command)} ended with {status}: {complaints.decode()}")
        return Run(seconds, cpu_seconds, 1024 * peak)

    def rounds_of(self, commands: dict[str, tuple[Sequence[str], str | None]], rounds: int) -> dict[str, list[Run]]:
        """Run commands in turn; each is a command and where its output goes."""
        taken: dict[str, list[Run]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, (command, output) in commands.items():
                run = self.run(command, output)
                if run is not None:
                    taken[name].append(run)
        return taken

    def filter(self, log: Path, options: Sequence[str]) -> list[str]:
        """The command that annotates a log."""
        return [sys.executable, "-m", "annotate", *options, str(log)]

    def peers(self, log: Path) -> dict[str, tuple[Sequence[str], str | None]]:
        """What is compared with."""
        return {"cat": (["cat", str(log)], None), "grep": (["grep", "-c", "+0x", str(log)], "file")}

    def annotated_lines(self, log: Path, options: Sequence[str]) -> tuple[int, int]:
        """Run the filter once and compare: how many lines hold frames, and how many got something.

        Raises RuntimeError when a byte of the log is not in the output.
        """
        self.run(self.filter(log, options), "file")
        with_frames = changed = 0
        with log.open("rb") as before, (self.folder / "output").open("rb") as after:
            for number, line in enumerate(before, 1):
                written = after.readline()
                with_frames += b"+0x" in line and FRAME.search(line) is not None
                if written == line:
                    continue
                changed += 1
                rest = iter(written)
                if not (written.startswith(line[:-1]) and written.endswith(b"\n")) and not all(
                    byte in rest for byte in line
                ):
                    raise RuntimeError(f"{log.name}: line {number} came out as {written!r}")
            if rest_of_output := after.read(1000):
                raise RuntimeError(f"{log.name}: behind its end came {rest_of_output!r}")
        return with_frames, changed


def median(runs: Sequence[Run]) -> float:
    """Seconds."""
    return statistics.median(run.seconds for run in runs)


def cpu_median(runs: Sequence[Run]) -> float:
    """Seconds of processors."""
    return statistics.median(run.cpu_seconds for run in runs)


def ratio(ours: Sequence[Run], theirs: Sequence[Run]) -> float:
    """Of seconds, the median of the rounds."""
    return statistics.median(mine.seconds / other.seconds for mine, other in zip(ours, theirs, strict=True))


def verdict(is_met: bool | None) -> str:  # noqa: FBT001 - a value to be shown
    """A word for a table."""
    return {None: "", True: "met", False: "**missed**"}[is_met]


# Parts.


class Case(NamedTuple):
    """A long log, and what is asked of the filter."""

    part: str
    lines: Callable[[Bench], Iterable[bytes]]
    unit: str = ""
    target: float | None = None


CASES = (
    Case(
        "ordinary",
        lambda bench: ordinary_log(int(ORDINARY_BYTES * bench.scale), with_oopses=False),
        "MB/s",
        TARGET_ORDINARY,
    ),
    Case("rare", lambda bench: ordinary_log(int(ORDINARY_BYTES * bench.scale), with_oopses=True)),
    Case("few", lambda bench: frame_log(real_frames(), int(LINES * bench.scale)), "lines/s", TARGET_FEW),
    Case("oopses", lambda bench: oops_log(int(LINES * bench.scale))),
    Case("many", lambda bench: many_frames(bench), "lines/s", TARGET_MANY),
)


def many_frames(bench: Bench) -> Iterator[bytes]:
    """The log of the part "many"."""
    assert bench.table is not None
    count = int(LINES * bench.scale)
    return frame_log(kernel_frames(bench.table, min(DISTINCT, count)), count)


def throughput(bench: Bench, cases: Sequence[Case]) -> Iterator[str]:
    """A table of the long logs."""
    yield "| | MB | lines | s (CPU) | MB/s | lines/s | / cat | / grep | peak MB | annotated frame lines | target | |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for case in cases:
        if case.part == "many" and bench.table is None:
            yield f"| {case.part} | skipped: it needs --table, a kernel's table made by `lineinfo build` ||||||||||"
            continue
        log = bench.log(case.part, case.lines(bench))
        options = ("-k", str(bench.table)) if case.part == "many" else bench.samples
        with_frames, changed = bench.annotated_lines(log.path, options)
        commands: dict[str, tuple[Sequence[str], str | None]] = {"ours": (bench.filter(log.path, options), None)}
        commands |= bench.peers(log.path)
        for command, output in bench.peers(log.path).values():
            bench.run(command, output)
        taken = bench.rounds_of(commands, bench.rounds)
        log.path.unlink()
        seconds = median(taken["ours"])
        cpu_seconds = cpu_median(taken["ours"])
        speeds = {"MB/s": log.size / MEGABYTE / seconds, "lines/s": log.lines / seconds}
        ratios = {name: ratio(taken["ours"], taken[name]) for name in ("cat", "grep")}
        peak = max(run.peak for run in taken["ours"])
        is_met = speeds[case.unit] >= case.target if case.target is not None else None
        bench.record(
            case.part,
            bytes=log.size,
            lines=log.lines,
            lines_with_frames=with_frames,
            lines_annotated=changed,
            seconds=seconds,
            megabytes_a_second=speeds["MB/s"],
            lines_a_second=speeds["lines/s"],
            ratio_to_cat=ratios["cat"],
            ratio_to_grep=ratios["grep"],
            peak_bytes=peak,
            target=case.target,
            is_met=is_met,
            runs={name: [run._asdict() for run in runs] for name, runs in taken.items()},
        )
        yield (
            f"| {case.part} | {log.size / MEGABYTE:.1f} | {log.lines} | {seconds:.3f} ({cpu_seconds:.3f}) "
            f"| {speeds['MB/s']:.1f} | {speeds['lines/s']:.0f} "
            f"| {ratios['cat']:.1f} | {ratios['grep']:.1f} | {peak / MEGABYTE:.1f} "
            f"| {changed} of {with_frames} | {f'≥ {case.target:.0f} {case.unit}' if case.target else ''} "
            f"| {verdict(is_met)} |"
        )


def memory(bench: Bench) -> Iterator[str]:
    """Peaks of a log and of a longer one; a run each."""
    yield "| | MB | lines | peak MB | target | |"
    yield "|---|---|---|---|---|---|"
    frames = real_frames()
    peaks: list[int] = []
    for times in (1, LONGER):
        log = bench.log("memory", frame_log(frames, int(LINES * times * bench.scale)))
        run = bench.run(bench.filter(log.path, bench.samples))
        assert run is not None
        log.path.unlink()
        peaks.append(run.peak)
        is_met = run.peak <= TARGET_MEMORY
        bench.record("memory", lines=log.lines, bytes=log.size, is_met=is_met, target=TARGET_MEMORY, **run._asdict())
        yield (
            f"| few | {log.size / MEGABYTE:.1f} | {log.lines} | {run.peak / MEGABYTE:.1f} "
            f"| ≤ {TARGET_MEMORY / MEGABYTE:.0f} MB | {verdict(is_met)} |"
        )
    growth = peaks[1] - peaks[0]
    bench.record("memory", growth=growth, target=TARGET_GROWTH, is_met=growth <= TARGET_GROWTH)
    yield (
        f"| growth | | | {growth / MEGABYTE:+.1f} | ≤ {TARGET_GROWTH / MEGABYTE:.0f} MB "
        f"| {verdict(growth <= TARGET_GROWTH)} |"
    )


def hostile(bench: Bench) -> Iterator[str]:
    """Nanoseconds a byte on top of an empty log.

    Of processors: the time on the wall is as much that of others, in runs that are hardly longer than starting is.
    """
    empty = [
        run for _ in range(2 * bench.rounds) if (run := bench.run(bench.filter(bench.folder / "empty", bench.samples)))
    ]
    yield f"| lines of | frames in {COUNTED_BYTES} bytes | ns a byte | peak MB | target ≤ {TARGET_HOSTILE:.0f} ns |"
    yield "|---|---|---|---|---|"
    for what, unit in hostile_units().items():
        log = bench.log("hostile", hostile_lines(unit))
        runs: list[Run] = []
        for number in range(bench.rounds):
            run = bench.run(bench.filter(log.path, bench.samples), patience=PATIENCE)
            if run is not None:
                runs.append(run)
            if run is None or (number == 0 and run.seconds > PATIENCE_TO_REPEAT):
                break
        log.path.unlink()
        frames = _frames_in(bench, (unit * COUNTED_BYTES)[:COUNTED_BYTES])
        shown = what.replace("|", "\\|")
        if not runs:
            bench.record("hostile", lines_of=what, frames=frames, nanoseconds=None, target=TARGET_HOSTILE, is_met=False)
            yield f"| `{shown}` | {frames} | ended after {PATIENCE:.0f} s | | {verdict(is_met=False)} |"
            continue
        nanoseconds = 1e9 * (cpu_median(runs) - cpu_median(empty)) / log.size
        peak = max(run.peak for run in runs)
        is_met = nanoseconds <= TARGET_HOSTILE
        bench.record(
            "hostile",
            lines_of=what,
            frames=frames,
            nanoseconds=nanoseconds,
            nanoseconds_of_wall_time=1e9 * (median(runs) - median(empty)) / log.size,
            peak_bytes=peak,
            target=TARGET_HOSTILE,
            is_met=is_met,
        )
        yield f"| `{shown}` | {frames} | {nanoseconds:.1f} | {peak / MEGABYTE:.1f} | {verdict(is_met)} |"


def _frames_in(bench: Bench, text: bytes) -> int:
    """How many frames the filter sees; what it prints as JSON is a promise, its modules are none."""
    command = [sys.executable, "-m", "annotate", "--format", "jsonl"]
    done = subprocess.run(command, input=text, check=True, env=bench.environment, capture_output=True)
    return int(json.loads(done.stdout.splitlines()[-1])["summary"]["frames"])


def startup(bench: Bench) -> Iterator[str]:
    """What an empty log takes."""
    empty = bench.folder / "empty"
    commands: dict[str, tuple[Sequence[str], str | None]] = {
        "an empty log": (bench.filter(empty, ()), None),
        "an empty log, with a table and a module": (bench.filter(empty, bench.samples), None),
        "python -c pass": ([sys.executable, "-c", "pass"], None),
    }
    bench.rounds_of(commands, 1)
    taken = bench.rounds_of(commands, 4 * bench.rounds)
    yield "| | ms | / python -c pass | peak MB |"
    yield "|---|---|---|---|"
    for name, runs in taken.items():
        against = ratio(runs, taken["python -c pass"])
        peak = max(run.peak for run in runs)
        bench.record("startup", what=name, seconds=median(runs), ratio_to_python=against, peak_bytes=peak)
        yield f"| {name} | {1000 * median(runs):.1f} | {against:.2f} | {peak / MEGABYTE:.1f} |"


def live(bench: Bench) -> Iterator[str]:
    """From writing a line to reading it back."""
    yield "| through | median ms | maximum ms | target | |"
    yield "|---|---|---|---|---|"
    for means, echo in (("pipes", through_pipes), ("a terminal", through_a_terminal)):
        seconds = echo(bench)
        middle, most = statistics.median(seconds), max(seconds)
        is_met = most <= TARGET_LIVE
        bench.record("live", through=means, median=middle, maximum=most, target=TARGET_LIVE, is_met=is_met)
        yield (
            f"| {means} | {1000 * middle:.2f} | {1000 * most:.2f} | maximum ≤ {1000 * TARGET_LIVE:.0f} ms "
            f"| {verdict(is_met)} |"
        )


def through_pipes(bench: Bench) -> list[float]:
    """Seconds of each line."""
    command = [sys.executable, "-m", "annotate", *bench.samples]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=bench.environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        seconds = _latencies(process.stdin.fileno(), process.stdout.fileno())
        process.stdin.close()
    return seconds


def through_a_terminal(bench: Bench) -> list[float]:
    """Seconds of each line."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # no echo, and every byte as it is
    command = [sys.executable, "-m", "annotate", *bench.samples]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=bench.environment)
    try:
        return _latencies(ours, ours)
    finally:
        process.terminate()
        process.wait()
        os.close(ours)
        os.close(theirs)


def _latencies(to: int, back: int) -> list[float]:
    """Write lines, with and without frames in turn, each when the one before has come back."""
    clock = Clock()
    frames = random.Random(SEED).sample(real_frames(), LIVE_LINES)
    seconds = []
    for number in range(-1, LIVE_LINES):
        text = b"  nothing of interest" if number % 2 else frames[number]
        line = clock.stamp() + text
        start = time.perf_counter()
        os.write(to, line + b"\n")
        came = b""
        while not came.endswith(b"\n"):
            if not select.select([back], [], [], PATIENCE)[0]:
                raise RuntimeError(f"nothing came back for {line!r}")
            came += os.read(back, 1 << 16)
        if number >= 0:  # the one before says that the process is up
            seconds.append(time.perf_counter() - start)
        came = CODES.sub(b"", came)
        if not came.startswith(line) or (number % 2 == 0) is (came == line + b"\n"):
            raise RuntimeError(f"{line!r} came back as {came!r}")
        time.sleep(LIVE_PAUSE)
    return seconds


def report(bench: Bench, parts: Sequence[str]) -> Iterator[str]:
    """All tables, line by line."""
    yield yardstick()
    bench.run(bench.filter(SAMPLES / "x86_64" / "multi.log", bench.samples))  # leaves the bytecode
    if cases := [case for case in CASES if case.part in parts]:
        yield ""
        yield from throughput(bench, cases)
    for name, part in (("memory", memory), ("hostile", hostile), ("startup", startup), ("live", live)):
        if name in parts:
            yield f"\n{name}\n"
            yield from part(bench)
    yield f"\n{yardstick()}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help='a kernel\'s table, for the part "many"')
    parser.add_argument("--parts", default=",".join(PARTS), help="which of the above, with commas (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the sizes above, for a quick look")
    parser.add_argument("--output", choices=("file", "pipe", "null"), default="file")
    parser.add_argument("--folder", type=Path, help="where to make the logs (default: /dev/shm, if there is one)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no parts: {', '.join(sorted(unknown))}")
    shared_memory = Path("/dev/shm")
    parent = options.folder or (shared_memory if os.access(shared_memory, os.W_OK) else None)
    folder = Path(tempfile.mkdtemp(prefix="throughput-", dir=parent))
    bench = Bench(folder, options)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # `timeout`: the logs are removed all the same
    try:
        for line in report(bench, parts):
            print(line, flush=True)
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
    if options.json is not None:
        facts = {"scale": options.scale, "rounds": options.rounds, "output": options.output, "python": sys.version}
        options.json.write_text(json.dumps({**facts, "figures": bench.figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
