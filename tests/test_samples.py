"""Every sample log comes out as its golden file says: with nothing but what lies beside it.

The golden files hold the annotated lines only, each with its number; everything else must come out unchanged, which is
checked against the log itself. What ``--triage`` says behind it is a golden file of its own. ``pytest --update-golden``
writes them anew.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLES

MAINTAINERS = Path(__file__).parent / "fixtures" / "triage" / "MAINTAINERS"
LOGS = sorted(SAMPLES.glob("*/*.log"))


def annotate(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "annotate", *arguments], capture_output=True, check=True, stdin=subprocess.DEVNULL
    )


def test_there_are_samples_of_more_than_one_architecture() -> None:
    assert {log.parent.name for log in LOGS} >= {"x86_64", "arm64"}


@pytest.mark.parametrize("log", LOGS, ids=lambda log: f"{log.parent.name}/{log.stem}")
def test_sample_comes_out_as_its_golden_file_says(log: Path, *, update_golden: bool) -> None:
    before = log.read_bytes().split(b"\n")
    after = annotate(str(log)).stdout.split(b"\n")
    assert len(after) == len(before)
    changed = [
        b"%d: %s" % (number, line.rstrip(b"\r"))
        for number, (line, original) in enumerate(zip(after, before, strict=True), 1)
        if line != original
    ]
    golden = log.with_suffix(".annotated")
    text = b"\n".join(changed) + b"\n"
    if update_golden:
        golden.write_bytes(text)
    assert golden.read_bytes() == text


@pytest.mark.parametrize("log", LOGS, ids=lambda log: f"{log.parent.name}/{log.stem}")
def test_the_triage_of_a_sample_is_as_its_golden_file_says(log: Path, *, update_golden: bool) -> None:
    annotated = annotate(str(log)).stdout
    output = annotate("--triage", "--maintainers", str(MAINTAINERS), str(log)).stdout
    assert output.startswith(annotated)
    text = output[len(annotated) :].lstrip(b"\n")
    golden = log.with_suffix(".triage")
    if update_golden:
        golden.write_bytes(text)
    assert golden.read_bytes() == text


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_the_quick_start_annotates_real_frames(arch: str) -> None:
    """The main job, on a machine that has no debug info of any kernel: the module beside the log is found."""
    output = annotate(str(SAMPLES / arch / "p-null_deref.log")).stdout
    assert b"oopser_null_deref" in output
    assert b"[oopser] (/build/oopser/crash/mm.c:29)" in output


def test_every_sample_is_described() -> None:
    table = (SAMPLES / "README.md").read_text()
    assert [log.name for log in LOGS if f"`{log.parent.name}/{log.name}`" not in table] == []
