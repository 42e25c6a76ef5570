"""Every promise of ``docs/reliability.md`` names the tests that hold it, and these are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
TEXT = (TESTS.parent / "docs" / "reliability.md").read_text()
PROMISES = TEXT.partition("## Promises")[2].partition("\n## ")[0]


def functions_of(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_each_promise_names_tests_that_are_there() -> None:
    rows = [line for line in PROMISES.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        _, what, promised, held_by, _ = row.split("|")
        assert what.strip()
        assert promised.strip()
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", held_by)
        assert named, row
        for file, test in named:
            assert test in functions_of(file), f"{file} has no {test}"


def test_each_fault_that_is_tested_stands_in_the_document() -> None:
    """But for the tests of the means: how files are read, and what is kept for whom."""
    means = {
        "test_a_table_that_was_used_meanwhile_is_no_changed_file",
        "test_slices_and_searches_are_those_of_bytes",
        "test_the_descriptor_is_closed_with_the_last_reader",
        "test_a_folder_as_standard_input_is_one_sentence_and_status_1",
        "test_a_linked_folder_in_a_tree_is_not_searched_and_a_linked_file_is_read",
        "test_what_is_kept_is_for_its_owner_alone_whatever_the_umask",
        "test_errors_of_files_are_ours",
        "test_an_interrupted_lookup_is_status_130",
        "test_a_lookup_from_a_closed_standard_input_is_one_sentence_and_status_1",
    }
    found = functions_of("test_faults_files.py") | functions_of("test_faults_streams.py")
    assert {test for test in found if f"::{test}`" not in PROMISES} == means
