"""Coverage-guided fuzzing: ``python -m fuzz TARGET...|all --seconds 30``.

Each target runs under libFuzzer in a process of its own, two at a time. Inputs that break an invariant are written into
a folder (``--failures``), each with what it breaks; the status is 1 when there are some. ``--corpus`` keeps what was
found, to go on from; ``--report FILE`` writes the figures between the marks of that document.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fuzz.cases import ADDRESS_SPACE
from fuzz.engine import MEGABYTES, SECONDS
from fuzz.figures import Document, Figures, add, read_figures, row, table
from fuzz.targets import NAMES, ROOT, load

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A target whose process was ended by a case is started again, but not for ever.
_MOST_STARTS: Final = 5

#: Seconds for which it is worth starting one.
_LEAST_SECONDS: Final = 5

#: Lines of a failure, and bytes of an input, that are printed.
_MOST_LINES: Final = 30
_MOST_SHOWN: Final = 4096


class Campaign(NamedTuple):
    """How long to fuzz, and where to keep what."""

    seconds: int
    seed: int
    corpus: Path
    failures: Path

    def run(self, name: str) -> Figures:
        """Fuzz one target."""
        corpus, failures = self.corpus / name, self.failures / name
        prepare(name, corpus)
        figures = Figures(0)
        for start in range(_MOST_STARTS):
            left = self.seconds - figures.seconds
            if start and left < _LEAST_SECONDS:
                break
            begun = time.monotonic()
            log, status = self._start(name, corpus, failures, max(1, round(left)), self.seed + start)
            kept = [path for path in failures.glob("*") if path.suffix != ".txt"] if failures.is_dir() else []
            figures = add(figures, read_figures(log, time.monotonic() - begun, len(kept)))
            if status and not kept:
                raise RuntimeError(f"{name} ended with status {status}:\n{log[-4000:]}")
        return figures

    def _start(self, name: str, corpus: Path, failures: Path, seconds: int, seed: int) -> tuple[str, int]:
        """One process: what it wrote, and its status."""
        failures.mkdir(parents=True, exist_ok=True)
        words = corpus.with_suffix(".words")
        command = [
            sys.executable, "-m", "fuzz.engine", name, str(failures), str(corpus), f"-dict={words}", f"-seed={seed}",
            f"-max_total_time={seconds}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}",
            f"-artifact_prefix={failures}/", "-print_final_stats=1",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        if not any(failures.iterdir()):
            failures.rmdir()
        elif done.returncode:
            (failures / f"ended-{seed}.txt").write_text(done.stderr[-20_000:])
        return done.stderr, done.returncode


def prepare(name: str, corpus: Path) -> None:
    """Write a target's seeds and words, by what they hold: what was found before stays."""
    target = load(name)
    corpus.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.WORDS)
    corpus.with_suffix(".words").write_text("".join(f'"{word}"\n' for word in words))


def invariant_of(name: str) -> str:
    """The sentence in a target's docstring."""
    return load(name).__doc__.splitlines()[0].removesuffix(".")


def described(path: Path) -> str:
    """A failure with the input, where that is short: all that is left of one found on a machine that is thrown away."""
    data = path.with_suffix("")
    case = data.read_bytes() if data.is_file() else b""
    lines = [str(path), *path.read_text().splitlines()[-_MOST_LINES:]]
    if 0 < len(zlib.compress(case)) <= _MOST_SHOWN:
        lines.append(f"input, zlib and base64: {base64.b64encode(zlib.compress(case)).decode()}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print the figures; the status is 1 when an invariant broke."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz targets, guided by coverage.")
    parser.add_argument(
        "targets", nargs="+", choices=(*NAMES, "all"), metavar="TARGET", help=f"{', '.join(NAMES)}, all"
    )
    parser.add_argument("--seconds", type=int, default=30, help="for each target (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="keep inputs here, and begin with those that are there"
    )
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), metavar="DIR")
    parser.add_argument("--report", type=Path, metavar="FILE", help="a document to write the figures into")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install -e '.[fuzz]'")
    names = list(NAMES) if "all" in options.targets else list(dict.fromkeys(options.targets))
    with tempfile.TemporaryDirectory() as folder:
        corpus = options.corpus or Path(folder)
        campaign = Campaign(options.seconds, options.seed, corpus.resolve(), options.failures.resolve())
        with ThreadPoolExecutor(options.jobs) as pool:
            figures = dict(zip(names, pool.map(campaign.run, names), strict=True))
    rows = {name: row(name, invariant_of(name), options.seed, each) for name, each in figures.items()}
    print(table(rows.values()))
    if options.report is not None:
        note = (
            f"Written on {datetime.now(UTC):%Y-%m-%d}, with atheris {version('atheris')} on Python "
            f"{sys.version.split()[0]}. A case may take {SECONDS} s and {MEGABYTES} MB, and map "
            f"{ADDRESS_SPACE >> 20} MB."
        )
        document = Document(options.report.read_text())
        all_rows = document.rows | rows  # those of targets that were not run stay
        options.report.write_text(document.with_rows(note, [all_rows[name] for name in NAMES if name in all_rows]))
    failed = [name for name in names if figures[name].failures]
    if failed:
        print(*map(described, sorted(options.failures.glob("*/*.txt"))), sep="\n", file=sys.stderr)
        print(f"invariants broke: {', '.join(failed)}; see {options.failures}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
