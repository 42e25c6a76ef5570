"""The list of faults does not rot. Whether each is noticed, ``python -m mutants`` finds out, in some minutes."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from mutants.__main__ import fits
from mutants.document import BEFORE, BEGIN, END, write
from mutants.fault import Fault
from mutants.faults import FAULTS

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_still_fits_the_code_and_leaves_python(fault: Fault) -> None:
    assert fits(fault), f"{fault.file} holds not once: {fault.old}"
    text = (ROOT / "annotate" / fault.file).read_text()
    changed = ast.dump(ast.parse(text.replace(fault.old, fault.new)))
    assert changed != ast.dump(ast.parse(text))
    assert fault.tests
    assert [test for test in fault.tests if not (ROOT / "tests" / test).is_file()] == []


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 40
    assert len({(fault.file, fault.old) for fault in FAULTS}) == len(FAULTS)


def test_there_are_faults_in_every_room() -> None:
    """A room is a folder of ``annotate/``, or a module beside them that decides something."""
    rooms = {Path(fault.file).parts[0] for fault in FAULTS}
    assert {"log", "debuginfo", "tables", "kernel", "render", "cli"} <= rooms
    assert {"resolve.py", "symbols.py", "leb128.py", "memory.py", "reader.py", "annotator.py", "summary.py"} <= rooms


def rows_of_document() -> list[tuple[str, str, str]]:
    text = (ROOT / "docs" / "reliability.md").read_text()
    section = text[text.index(BEGIN) : text.index(END)]
    return re.findall(r"^\| (.+) \| `(.+)` \| (.+) \|$", section, re.MULTILINE)


def test_the_document_has_all_faults_and_what_noticed_each() -> None:
    rows = rows_of_document()
    assert [(name, file) for name, file, _ in rows] == [(fault.name, fault.file) for fault in FAULTS], (
        "stale; renew it with: python -m mutants --document --only NAME"
    )
    for name, _, noticed in rows:
        match = re.fullmatch(r"(?P<test>test_\w+), `(?P<file>test_\w+\.py)`|.* \(does not end\)", noticed)
        assert match is not None, f"{name}: {noticed}"
        if match["test"]:
            assert f"def {match['test']}(" in (ROOT / "tests" / match["file"]).read_text(), f"{name}: {noticed}"


def test_a_table_is_written_between_its_marks_alone(tmp_path: Path) -> None:
    path = tmp_path / "some.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nbehind\n")
    fault = Fault("a fault", "a.py", "1", "2", "it happens", ("test_a.py",))
    write(path, [(fault, "test_a.py::test_that[some | case]"), (fault, "")])
    assert path.read_text().splitlines() == [
        "before",
        BEGIN,
        "2 faults, 1 of them noticed.",
        "",
        "| fault | in | noticed first by |",
        "|---|---|---|",
        "| a fault | `a.py` | test_that, `test_a.py` |",
        "| a fault | `a.py` | nothing |",
        END,
        "behind",
    ]


def test_what_was_not_judged_stays_as_it_was_in_the_table(tmp_path: Path) -> None:
    path = tmp_path / "some.md"
    path.write_text(f"{BEGIN}\n{END}\n")
    first, second = (Fault(name, "a.py", "1", "2", "it happens", ("test_a.py",)) for name in ("a | fault", "another"))
    write(path, [(first, "test_a.py::test_that")])
    write(path, [(first, BEFORE), (second, "test_b.py::test_this")])
    whole = path.read_text()
    assert "2 faults, 2 of them noticed." in whole
    assert "| a / fault | `a.py` | test_that, `test_a.py` |\n| another | `a.py` | test_this, `test_b.py` |" in whole
    write(path, [(first, BEFORE), (second, BEFORE)])
    assert path.read_text() == whole
