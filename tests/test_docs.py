"""Documents that fail when they stop being true."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLES

from annotate import __version__
from annotate.cli import lineinfo as lineinfo_cli
from annotate.cli import options as filter_cli
from annotate.model import Missing
from annotate.render import RENDERERS

REPOSITORY = Path(__file__).parent.parent


def test_the_before_and_after_of_the_readme_is_what_the_program_prints() -> None:
    text = (REPOSITORY / "README.md").read_text()
    block = re.search(r"<!-- generated: before-after -->\n```\n(.*?)```\n```\n(.*?)```\n<!-- end -->", text, re.DOTALL)
    assert block is not None
    before, after = (part.splitlines() for part in block.groups())
    assert len(before) == len(after) >= 3
    log = SAMPLES / "x86_64" / "p-null_deref.log"
    original = log.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    run = subprocess.run([sys.executable, "-m", "annotate", str(log)], capture_output=True, check=True)
    annotated = run.stdout.decode("utf-8", "surrogateescape").splitlines()
    for old, new in zip(before, after, strict=True):
        assert old in original
        assert new in annotated
        assert annotated[original.index(old)] == new


def options(parser: argparse.ArgumentParser) -> set[str]:
    found = {max(action.option_strings, key=len) for action in parser._actions if action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found |= options(command)
    return found


@pytest.mark.parametrize("parser", [filter_cli.make_parser(), lineinfo_cli.make_parser()], ids=lambda p: p.prog)
def test_every_option_stands_in_the_manual(parser: argparse.ArgumentParser) -> None:
    text = (REPOSITORY / "docs" / "commands.md").read_text()
    assert [
        option for option in sorted(options(parser)) if f"`{option}" not in text and f", {option}" not in text
    ] == []


def test_every_reason_for_a_miss_stands_in_the_description_of_the_json_output() -> None:
    text = (REPOSITORY / "docs" / "json.md").read_text()
    assert [missing.value for missing in Missing if f"| `{missing.value}` |" not in text] == []
    assert all(missing.sentence for missing in Missing)


def test_every_output_format_is_described() -> None:
    text = (REPOSITORY / "docs" / "formats.md").read_text()
    assert [name for name in RENDERERS if re.search(rf"(?m)^\| `{name}`", text) is None] == []


def test_links_between_documents_lead_somewhere() -> None:
    checked = 0
    for document in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
            checked += 1
    assert checked > 3


def test_the_table_of_log_formats_is_that_of_the_grammar() -> None:
    run = subprocess.run(
        [sys.executable, str(REPOSITORY / "docs" / "make_log_formats.py")], capture_output=True, check=True
    )
    assert (REPOSITORY / "docs" / "log-formats.md").read_bytes() == run.stdout, (
        "stale; renew it with: python docs/make_log_formats.py > docs/log-formats.md"
    )


def test_the_excerpt_of_the_manual_is_that_of_the_sample() -> None:
    text = (REPOSITORY / "docs" / "formats.md").read_text()
    block = re.search(r"<!-- generated: paste -->\n```\n(.*?)```\n<!-- end -->", text, re.DOTALL)
    assert block is not None
    assert block[1] == (SAMPLES / "x86_64" / "p-null_deref.paste").read_text()


def test_the_changelog_has_this_version_on_top() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    found = re.search(r"(?m)^## (\S+) - \d{4}-\d\d-\d\d$", text)
    assert found is not None
    assert found[1] == __version__
