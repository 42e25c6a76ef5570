"""The whole job: a log of many oopses, from text to annotated text, beside the kernel's own script.

    python -m bench.stacktrace --vmlinux FILE --modules FOLDER --tree FOLDER [--table FILE] [--rounds N]

``decode_stacktrace.sh`` of the tree (linux-source's package has it) gets the vmlinux and a folder with just the modules
that the log names; then the same without one, which it searches for again and again. The filter gets the same files,
then a table made of them. Each a fresh process, in turn; medians.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from annotate.kernel.locate import module_name
from bench.cold_run import REPOSITORY

SAMPLES = REPOSITORY / "sample_oopses" / "x86_64"
#: Every crash of it goes through a module of its own, which no package has.
LOG = SAMPLES / "multi.log"
MODULE = SAMPLES / "oopser.ko"

#: A round of the script without one module takes minutes.
PATIENCE = 900


class Tool(NamedTuple):
    """A way to do the job."""

    name: str
    command: list[str]
    is_slow: bool = False  #: run once


def tools(folder: Path, options: argparse.Namespace) -> list[Tool]:
    """All ways, on files in ``folder``."""
    modules = folder / "modules"
    modules.mkdir()
    text = LOG.read_bytes()
    for path in sorted(options.modules.rglob("*.ko")):
        if b"[%s]" % module_name(str(path)).encode() in text:
            shutil.copy(path, modules)
    incomplete = folder / "incomplete"
    shutil.copytree(modules, incomplete)
    shutil.copy(MODULE, modules)
    ours = [sys.executable, "-m", "annotate"]
    found = [Tool("lineinfo-annotate, vmlinux and modules", [*ours, "-k", str(options.vmlinux), "-m", str(modules)])]
    if options.table is not None:
        found.append(Tool("lineinfo-annotate, tables", [*ours, "-k", str(options.table), "-m", str(modules)]))
    script = options.tree / "scripts" / "decode_stacktrace.sh" if options.tree is not None else None
    if script is None or not script.exists():
        print("decode_stacktrace.sh is missing: give its tree with --tree\n")
        return found
    call = ["bash", str(script), str(options.vmlinux), "auto"]
    return [
        *found,
        Tool("decode_stacktrace.sh", [*call, str(modules)]),
        Tool("decode_stacktrace.sh, one module missing", [*call, str(incomplete)], is_slow=True),
    ]


def run(tool: Tool, environment: dict[str, str], output: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB; the script's are those of its largest process."""
    with LOG.open("rb") as log, output.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            tool.command, stdin=log, stdout=out, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{tool.name} ended with {process.returncode}")
    return seconds, usage.ru_maxrss / 1000


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmlinux", type=Path, required=True)
    parser.add_argument("--modules", type=Path, required=True, help="a folder tree with the kernel's modules")
    parser.add_argument("--tree", type=Path, help="a kernel tree with scripts/decode_stacktrace.sh")
    parser.add_argument("--table", type=Path, help="a table of the kernel and its modules")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": f"{made}/bytecode", "PYTHONPATH": str(REPOSITORY)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        ways = tools(folder, options)
        taken: dict[str, list[tuple[float, float]]] = {tool.name: [] for tool in ways}
        for number in range(options.rounds + 1):
            for tool in ways:
                if number and not (tool.is_slow and number > 1):  # the first round warms the page cache
                    taken[tool.name].append(run(tool, environment, folder / "output"))
                elif not tool.is_slow and not number:
                    run(tool, environment, folder / "output")
        (ours, *_), *_ = taken.items()
        mine = statistics.median(seconds for seconds, _ in taken[ours])
        lines = LOG.read_bytes().count(b"\n")
        print(f"{LOG.name}: {lines} lines\n")
        print("| | s | times ours | peak MB |\n|---|---|---|---|")
        for name, runs in taken.items():
            seconds = statistics.median(seconds for seconds, _ in runs)
            print(f"| {name} | {seconds:.2f} | {seconds / mine:.1f} | {max(peak for _, peak in runs):.0f} |")


if __name__ == "__main__":
    main()
