"""The runner of the fuzzers' cases sees one that breaks the rule, and blames none for what was there before it."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from annotate.leb128 import read_uleb
from fuzz.cases import Failure, Limits, Report, add_options, fuzz, run

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent


class Asked(NamedTuple):
    """A case that is a function, and keeps its failure as a text."""

    question: Callable[[], str]

    def ask(self) -> str:
        return self.question()

    def keep(self, stem: Path, head: str, failure: Failure) -> None:
        stem.with_suffix(".txt").write_text(f"{head}\n{failure.kind}")


def answers() -> str:
    return "answers"


def fails() -> str:
    raise KeyError


def test_an_answer_is_the_outcome() -> None:
    assert run(Asked(answers)) == "answers"


def test_an_exception_is_named_with_our_line_that_raised_it() -> None:
    def ask() -> str:
        return str(read_uleb(b"", 0))

    outcome = run(Asked(ask))
    assert isinstance(outcome, Failure)
    assert outcome.kind == "IndexError"
    name, function, line = outcome.place.split(":")
    assert (name, function, line.isdecimal()) == ("leb128.py", "read_uleb", True)
    assert "in ask" in outcome.text


def test_a_case_that_takes_too_long_is_ended() -> None:
    def ask() -> str:
        for _ in range(30):
            with contextlib.suppress(Exception):  # as a reader does that swallows too much
                time.sleep(1)
        return "answers"

    outcome = run(Asked(ask), Limits(seconds=0.1))
    assert isinstance(outcome, Failure)
    assert outcome.kind == "OverTimeError"


#: A process that holds so many MB, or did a moment ago, runs a case that takes so many.
_MEMORY = """
import sys
sys.path.insert(0, sys.argv[1])
from fuzz.cases import Failure, run

held, gone, taken = (int(each) << 20 for each in sys.argv[2:])
holding = b"\\1" * held
going = b"\\1" * gone
del going

class Asked:
    def ask(self):
        return "answers" if b"\\1" * taken else "nothing"

outcome = run(Asked())
print(outcome.kind if isinstance(outcome, Failure) else outcome, len(holding) >> 20)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux lets a process forget its peak")
@pytest.mark.parametrize(
    ("held", "gone", "taken", "word"),
    [
        (0, 0, 600, "memory"),
        (600, 0, 600, "memory"),
        (0, 700, 600, "memory"),
        (600, 0, 400, "answers"),
        (600, 700, 1, "answers"),
    ],
)
def test_what_a_case_takes_is_counted_and_not_what_was_held_before(held: int, gone: int, taken: int, word: str) -> None:
    command = [sys.executable, "-c", _MEMORY, str(ROOT), str(held), str(gone), str(taken)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{word} {held}\n"


def test_the_first_failure_of_a_kind_is_kept_and_all_are_counted(tmp_path: Path) -> None:
    report = Report(5, tmp_path / "failures")
    for number in range(3):
        report.take(Asked(fails), number)
    report.take(Asked(answers), 3)
    assert [path.name for path in (tmp_path / "failures").iterdir()] == ["seed-5-case-0.txt"]
    assert (tmp_path / "failures" / "seed-5-case-0.txt").read_text() == "seed: 5\ncase: 0\nKeyError"
    lines = str(report).splitlines()
    assert lines[0].startswith("seed 5: 4 cases in ")
    assert [line.split() for line in lines[1:]] == [
        ["3", "BREAKS", "THE", "RULE"], ["1", "answers"], ["3", "FAILURE", "KeyError", "at"],
    ]  # fmt: skip


def test_the_status_says_whether_a_case_failed_and_one_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)  # the test session goes on after it

    def case_of(number: int) -> Asked:
        return Asked(fails if number == 7 else answers)

    parser = argparse.ArgumentParser()
    add_options(parser, str(tmp_path / "failures"))
    assert fuzz(case_of, parser.parse_args(["--seconds", "0"])) == 0
    assert fuzz(case_of, parser.parse_args(["--replay", "6"])) == 0
    assert capsys.readouterr().out.endswith("answers\n")
    assert fuzz(case_of, parser.parse_args(["--replay", "7", "--seed", "2"])) == 1
    assert "KeyError" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "failures").iterdir()] == ["seed-2-case-7.txt"]
    assert fuzz(case_of, parser.parse_args(["--seconds", "0.2"])) == 1
    assert "FAILURE KeyError" in capsys.readouterr().out
