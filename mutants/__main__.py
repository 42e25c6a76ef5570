"""Is each fault that somebody may put into the code noticed by the tests?

    python -m mutants                        # all of them, two at a time, and only the tests that should notice
    python -m mutants --all-tests            # what these do not notice is shown to all other tests, too
    python -m mutants --only 'slide'         # those with this in their name
    python -m mutants --document             # and write what came of it into docs/reliability.md, with --only too

Each fault is put alone into a copy of the repository, which has an environment of its own whose ``annotate`` is the
copy's; the tests run there. The copy without a fault must pass first. A test that does not end counts as one that
notices. The status is 1 when a fault was noticed by nothing, or no longer fits the code.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple

from mutants.document import BEFORE, write
from mutants.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mutants.fault import Fault

ROOT: Final = Path(__file__).resolve().parent.parent
_LEFT_OUT: Final = (".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "*-failures")

#: Seconds for the tests of one fault. The slowest file takes 60 where it passes.
SECONDS: Final = 240
#: A suite without a fault takes longer.
_SECONDS_OF_ALL: Final = 3000

_NOTICED = re.compile(r"^(?:FAILED|ERROR) tests/(?P<test>\S+)", re.MULTILINE)


class Outcome(NamedTuple):
    """What became of a fault. ``noticed_by`` is empty where nothing noticed it."""

    fault: Fault
    noticed_by: str
    seconds: float
    is_unexpected: bool = False  #: only tests noticed it that the fault does not name


class Copy:
    """A copy of the repository into which one fault at a time is put."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repository"
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
        environment = self.root / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
        self._python = environment / "bin" / "python"
        paths = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
        # Lines of a .pth are searched in order; .pth files of the usual environment, which name the original, are not.
        usual = [path for path in sys.path if path.endswith("-packages")]
        Path(paths["purelib"], "copy.pth").write_text("\n".join([str(self.root), *usual]) + "\n")
        command = [str(self._python), "-c", "import annotate; print(annotate.__file__)"]
        found = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.strip()
        if not found.startswith(str(self.root)):
            raise SystemExit(f"the tests would run {found}, not the copy in {self.root}")

    def test(self, files: Sequence[str], seconds: float = SECONDS) -> str:
        """The first test of these files that fails; nothing when all pass."""
        command = [str(self._python), "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-rfE"]
        command += [f"tests/{file}" for file in files]
        # What is compiled stays from run to run: Python knows it by the time of its source, see ``changed``.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        run = subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = run.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, 9)
            run.communicate()
            return f"{files[0]} (does not end)"
        noticed = _NOTICED.search(output)
        if run.returncode not in (0, 1, 2) or (run.returncode and noticed is None):
            raise RuntimeError(f"{' '.join(command)}:\n{output[-2000:]}")
        return noticed["test"] if noticed is not None else ""

    def change(self, fault: Fault) -> tuple[Path, str, float]:
        """Put a fault in; return what ``restore`` needs."""
        path = self.root / "annotate" / fault.file
        text, changed = path.read_text(), path.stat().st_mtime
        path.write_text(text.replace(fault.old, fault.new))
        os.utime(path, (changed, changed + 10))
        return path, text, changed

    def restore(self, path: Path, text: str, changed: float) -> None:
        """Take a fault out again."""
        path.write_text(text)
        os.utime(path, (changed, changed + 20))


def fits(fault: Fault) -> bool:
    """Whether the text that a fault changes stands in the code, once."""
    return (ROOT / "annotate" / fault.file).read_text().count(fault.old) == 1


def judge(fault: Fault, copy: Copy, *, all_tests: bool) -> Outcome:
    """Put a fault in, run the tests, take it out."""
    start = time.monotonic()
    state = copy.change(fault)
    try:
        noticed = copy.test(fault.tests)
        is_unexpected = not noticed and all_tests
        if is_unexpected:
            noticed = copy.test([""], _SECONDS_OF_ALL)
    finally:
        copy.restore(*state)
    return Outcome(fault, noticed, time.monotonic() - start, is_unexpected and bool(noticed))


def judge_all(faults: Sequence[Fault], jobs: int, *, all_tests: bool) -> Iterator[Outcome]:
    """Judge the faults, in their order, so many at a time."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as threads:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            copies.put(Copy(Path(folder, str(number))))
        # The files in one piece for each copy; neighbours in the list are about as slow as each other.
        files = sorted({test for fault in faults for test in fault.tests})

        def without_fault(number: int) -> str:
            copy = copies.get()
            try:
                return copy.test(files[number::jobs], _SECONDS_OF_ALL) if files[number::jobs] else ""
            finally:
                copies.put(copy)

        failed = [test for test in threads.map(without_fault, range(jobs)) if test]
        if failed:
            raise SystemExit(f"without any fault {' and '.join(failed)} fails")

        def one(fault: Fault) -> Outcome:
            copy = copies.get()
            try:
                return judge(fault, copy, all_tests=all_tests)
            finally:
                copies.put(copy)

        yield from threads.map(one, faults)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge faults and print what became of each."""
    parser = argparse.ArgumentParser(description="Put faults into the code, one by one, and see which are noticed.")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    parser.add_argument(
        "--only", action="append", metavar="TEXT", help="the faults with this in their name or file; repeatable"
    )
    parser.add_argument("--all-tests", action="store_true", help="show what is not noticed to all other tests, too")
    parser.add_argument("--document", action="store_true", help="write the table in docs/reliability.md")
    options = parser.parse_args(arguments)
    faults = [
        fault for fault in FAULTS if any(text in fault.name or text in fault.file for text in options.only or [""])
    ]
    unfit = [fault for fault in faults if not fits(fault)]
    for fault in unfit:
        print(f"no longer fits  {fault.file}: {fault.name}")
    start = time.monotonic()
    outcomes = []
    for outcome in judge_all(
        [fault for fault in faults if fault not in unfit], options.jobs, all_tests=options.all_tests
    ):
        outcomes.append(outcome)
        word = "unexpected" if outcome.is_unexpected else "noticed" if outcome.noticed_by else "NOT NOTICED"
        print(f"{word:11} {outcome.seconds:5.1f} s  {outcome.fault.file}: {outcome.fault.name}: {outcome.noticed_by}")
        sys.stdout.flush()
    noticed = sum(bool(outcome.noticed_by) for outcome in outcomes)
    print(f"{noticed} of {len(faults)} faults noticed, in {time.monotonic() - start:.0f} s")
    if options.document:
        found = {outcome.fault: outcome.noticed_by for outcome in outcomes}
        judged = [(fault, found.get(fault, BEFORE)) for fault in FAULTS if fault not in unfit]
        write(ROOT / "docs" / "reliability.md", judged)
    return int(noticed < len(faults))


if __name__ == "__main__":
    sys.exit(main())
