"""Every benchmark, one after the other, on a real kernel; the tables go into docs/benchmarks.md.

    python -m bench [--parts stacktrace,cold,tables,long,growth,patterns] [--rounds N] [--write]

The kernel is Debian's current cloud kernel (``.ci/fetch-debug-kernel``) or that of ``--root``; the kernel tree with
``decode_stacktrace.sh`` that of ``.ci/fetch-kernel-tree`` or of ``--tree``. Peers that are missing are named. All of it
takes about half an hour on two idle cores; on busy ones only the ratios mean something.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.cold_run import REPOSITORY
from bench.machine import description, yardstick

DOCUMENT = REPOSITORY / "docs" / "benchmarks.md"


class Part(NamedTuple):
    """A section of the document: a program and its arguments, in which files are named."""

    name: str
    arguments: str


_KERNEL = "--vmlinux {vmlinux} --rounds {rounds}"
_MODULES = "--modules {modules} --table {table}"

PARTS = (
    Part("stacktrace", f"bench.stacktrace {_KERNEL} {_MODULES} --tree {{tree}}"),
    Part("cold", f"bench.cold_run {_KERNEL}"),
    Part("tables", f"bench.tables {_KERNEL} --parts size,build,lookup,filter --tree-table {{table}}"),
    Part(
        "long",
        "bench.throughput --table {kernel_table} --rounds {rounds} "
        "--parts ordinary,rare,few,oopses,many,memory,startup,live",
    ),
    Part("hostile", "bench.throughput --parts hostile --rounds 1 --scale 0.25"),
    Part("patterns", "bench.patterns --megabytes 0.25 --rounds 2"),
    Part("growth", f"bench.growth {_KERNEL} {_MODULES}"),
)


def main() -> int:
    """Run the parts; print, and with ``--write`` keep, what they say."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ",".join(part.name for part in PARTS)
    parser.add_argument("--parts", default=names, help=f"of {names}; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--root", type=Path, help="a debug package, unpacked")
    parser.add_argument("--tree", type=Path, help="a kernel tree")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT.name}")
    options = parser.parse_args()
    wanted = options.parts.split(",")
    if unknown := set(wanted) - {part.name for part in PARTS}:
        parser.error(f"no parts: {', '.join(sorted(unknown))}")
    root = options.root or _fetched("fetch-debug-kernel")
    tree = options.tree or _fetched("fetch-kernel-tree")
    debug = root / "usr/lib/debug"
    vmlinux = next(path for path in sorted((debug / "boot").glob("vmlinux-*")) if path.is_file())
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "vmlinux": vmlinux,
            "modules": debug / "lib/modules" / vmlinux.name.removeprefix("vmlinux-") / "kernel",
            "tree": tree,
            "table": _table(Path(folder, "cloud.lineinfo"), vmlinux, debug / "lib/modules"),
            "kernel_table": _table(Path(folder, "kernel.lineinfo"), vmlinux),
            "rounds": options.rounds,
        }
        for part in PARTS:
            if part.name in wanted:
                output = _run(part.arguments.format(**files))
                section = f"{_shown(part)}\n\n{output.strip()}\n"
                print(f"## {part.name}\n\n{section}", flush=True)
                if options.write:  # at once: what comes later may fail, or be ended
                    _write(part.name, section)
    if options.write:
        facts = [f"Debian's {vmlinux.name}", *description(), f"{options.rounds} rounds", f"at the end: {yardstick()}"]
        _write("machine", "".join(f"- {fact}\n" for fact in facts))
    return 0


def _fetched(script: str) -> Path:
    done = subprocess.run([REPOSITORY / ".ci" / script], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} brought nothing; give --root and --tree")
    return Path(done.stdout.strip())


def _table(path: Path, *sources: Path) -> Path:
    command = [sys.executable, "-m", "annotate.cli.lineinfo", "build", *map(str, sources), "-o", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def _run(arguments: str) -> str:
    command = [sys.executable, "-m", *arguments.split()]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY).stdout


def _shown(part: Part) -> str:
    """The command as a reader would give it."""
    names = {name: name.upper() for name in ("vmlinux", "modules", "tree", "table", "kernel_table", "rounds")}
    words = "python -m " + part.arguments.format(**names)
    return "    " + re.sub(r"(.{60,100}?) (?=--)", r"\1 \\\n        ", words)


def _write(name: str, section: str) -> None:
    """Replace what stands between the markers of a section."""
    begin, end = f"<!-- {name}: begin, made by python -m bench -->\n", f"<!-- {name}: end -->"
    before, found, rest = DOCUMENT.read_text().partition(begin)
    if not found:
        raise SystemExit(f"{DOCUMENT}: expected {begin.strip()!r}")
    DOCUMENT.write_text(before + begin + section + "\n" + end + rest.partition(end)[2])


if __name__ == "__main__":
    os.chdir(REPOSITORY)
    sys.exit(main())
