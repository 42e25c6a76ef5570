"""Every location that stands in the annotated samples is confirmed by another tool.

Those of the samples' own module by eu-addr2line, wherever elfutils are installed. Those of kernels and their modules
where LINEINFO_DEBUG_ROOT has the debug kernel that a sample is of: ``test_debian_kernel.py`` compares what that kernel
answers with llvm-symbolizer and eu-addr2line, frame by frame, and here the annotated samples, which were made with the
table beside them, are held against that kernel byte by byte.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLES
from test_cli_annotate import COMMAND, ENVIRONMENT
from test_debian_kernel import debug_root, release_of, vmlinux

from annotate.kernel.images import open_image

sys.path.insert(0, str(Path(__file__).parent / "oracle"))

from compare_logs import EQUAL, EQUAL_SETTLED, OWN_ROW, ROW_START, Comparer
from elfutils import missing_programs

__all__ = ["debug_root", "vmlinux"]  # fixtures

#: What the comparison says of a location that the oracle gives too.
CONFIRMED = (EQUAL, EQUAL_SETTLED, OWN_ROW, ROW_START)


def golden_lines(log: Path) -> dict[int, bytes]:
    """The lines of a sample that hold an annotation, by number."""
    found = {}
    for line in log.with_suffix(".annotated").read_bytes().splitlines():
        number, _, text = line.partition(b": ")
        found[int(number)] = text
    return found


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_every_line_of_the_samples_module_is_that_of_another_tool(arch: str, tmp_path: Path) -> None:
    missing = missing_programs()
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    comparer = Comparer(str(tmp_path), [str(SAMPLES / arch / "oopser.ko")])
    printed = 0
    try:
        for log in sorted((SAMPLES / arch).glob("*.log")):
            comparer.compare(str(log))
            printed += sum(
                len(re.findall(rb" \[oopser(?: [0-9a-f]+)?\] \((?!\?)[^ ()]+:\d+", text))
                - len(re.findall(rb" \[oopser[^]]*\] \([^()]* or ", text))
                for text in golden_lines(log).values()
            )
    finally:
        comparer.close()
    report = comparer.report
    assert report.unexplained == 0, report.text(examples=3)
    assert report.unseen == []
    assert report.annotated == sum(report.causes[cause] for cause in CONFIRMED)
    # What was compared is what was printed: names without a bracket come on top.
    assert report.annotated >= printed > 50


def test_every_line_of_the_samples_is_that_of_the_debug_kernel(debug_root: Path, vmlinux: Path) -> None:
    release = open_image(str(vmlinux)).release
    logs = [log for log in sorted(SAMPLES.glob("*/*.log")) if release_of(log) == release]
    if not logs:
        pytest.skip(f"no sample of kernel {release}")
    compared = 0
    for log in logs:
        with log.open("rb") as file:
            done = subprocess.run(
                [*COMMAND, "-k", str(debug_root), "-m", str(log.parent / "oopser.ko")],
                stdin=file,
                capture_output=True,
                check=True,
                env={**os.environ, **ENVIRONMENT},
            )
        lines = [line.rstrip(b"\r") for line in done.stdout.split(b"\n")]
        for number, text in golden_lines(log).items():
            assert lines[number - 1] == text, f"{log.name}:{number}"
            compared += 1
    assert compared > 500
