"""A taste of ``fuzz/damage.py``: 300 damaged files, and proof that it sees and shrinks a case that breaks the rule."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz import cases, damage

if TYPE_CHECKING:
    import random

SAMPLES = Path(__file__).parent.parent / "sample_oopses"
CASES = 300
SEED = 1


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[damage.Original]:
    paths = [str(SAMPLES / "x86_64" / "oopser.ko"), str(SAMPLES / "arm64" / "oopser.ko")]
    if shutil.which("gcc"):
        paths += damage.build(tmp_path_factory.mktemp("built"))
    return [damage.Original(path) for path in paths]


def test_damaged_files_give_an_error_of_ours_or_an_answer(originals: list[damage.Original]) -> None:
    damager = damage.Damager(originals, SEED)
    report = cases.Report(SEED, None)
    for number in range(CASES):
        case = damager.case(number)
        outcome = report.take(case, number)
        assert not isinstance(outcome, cases.Failure), f"case {number}: {damage.describe(case, outcome)}"
    assert report.outcomes.total() == CASES
    assert report.outcomes["answers"] > 0
    assert report.outcomes["answers, and damage was named"] > 0
    assert report.outcomes["not opened: DamagedFileError"] > 0


def test_intact_files_answer(originals: list[damage.Original]) -> None:
    for original in originals:
        assert original.names
        case = damage.Case(original, (), len(original.data), 1)
        assert cases.run(case) == "answers", original.path


def test_a_case_is_made_from_seed_and_number_alone(originals: list[damage.Original]) -> None:
    damager = damage.Damager(originals, SEED)
    forwards = [damager.case(number).data for number in range(20)]
    assert [damager.case(number).data for number in reversed(range(20))] == forwards[::-1]
    assert damage.Damager(originals, SEED + 1).case(0).data != forwards[0]


def test_another_exception_is_seen_and_the_case_made_smaller(
    originals: list[damage.Original], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def ask(data: bytes, _original: damage.Original, _generator: random.Random) -> str:
        if data[100] == 7:
            raise KeyError("a bug")
        return "answers"

    monkeypatch.setattr(damage, "ask_everything", ask)
    patches = (damage.Patch(40, b"\1\2"), damage.Patch(96, b"\0\0\0\0\7\0"), damage.Patch(300, b"\5"))
    case = damage.Case(originals[0], patches, len(originals[0].data) - 5, 3)
    report = cases.Report(SEED, tmp_path / "failures")
    outcome = report.take(case, 3)
    assert isinstance(outcome, cases.Failure)
    assert outcome.kind == "KeyError"
    assert damage.minimise(case, outcome) == damage.Case(
        originals[0], (damage.Patch(100, b"\7"),), len(originals[0].data), 3
    )
    kept = sorted(path.name for path in (tmp_path / "failures").iterdir())
    assert kept == ["seed-1-case-3.elf", "seed-1-case-3.txt"]
    assert "FAILURE KeyError" in str(report)
