"""What a run does not need it does not import: a filter that stays in the pipe starts often."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLES

#: Runs the filter and then says which modules there are, on standard error.
PROGRAM = """
import sys
before = set(sys.modules)
from annotate.cli.annotate import main
status = main(sys.argv[1:])
print(*sorted(set(sys.modules) - before), file=sys.stderr)
sys.exit(status)
"""

#: By what they are for: none of it is for the plain filter on a pipe. The last row is what the libraries would pull in.
NOT_NEEDED = {
    *("rich", "pygments", "capstone", "html", "elftools", "hypothesis"),
    *(
        "annotate.maintainers",
        "annotate.triage",
        "annotate.render.styled",
        "annotate.render.html",
        "annotate.render.paste",
    ),
    *("annotate.render.links", "annotate.render.terminal", "annotate.render.excerpts", "annotate.render.jsonl"),
    *("annotate.cli.terminal", "annotate.kernel.sources", "annotate.kernel.packages", "annotate.kernel.download"),
    *("asyncio", "dataclasses", "http", "inspect", "json", "logging", "urllib.request", "zipfile"),
}

FOLDER = SAMPLES / "x86_64"


def imported(*arguments: str, log: bytes = b"") -> set[str]:
    environment = {
        **os.environ,
        "LINEINFO_SYSROOT": "/nowhere",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    }
    environment.pop("DEBUGINFOD_URLS", None)
    command = [sys.executable, "-c", PROGRAM, *arguments]
    run = subprocess.run(command, input=log, capture_output=True, check=True, env=environment)
    assert run.stdout.count(b"\n") >= log.count(b"\n")
    return set(run.stderr.decode().splitlines()[-1].split())


def unneeded(modules: set[str]) -> set[str]:
    """Those of the list, by themselves or by a part of theirs."""
    return {name for name in NOT_NEEDED for module in modules if module == name or module.startswith(name + ".")}


@pytest.fixture(scope="module")
def log() -> bytes:
    return (FOLDER / "p-null_deref.log").read_bytes()


def test_the_plain_filter_on_a_pipe_imports_nothing_for_terminals_mails_or_triage(log: bytes) -> None:
    modules = imported("-k", str(next(FOLDER.glob("*.lineinfo"))), log=log)
    assert "annotate.tables.lineinfo_v1.image" in modules, "no frame was answered"
    assert unneeded(modules) == set()


def test_dwarf_needs_none_of_it_either(log: bytes) -> None:
    modules = imported("-m", str(FOLDER / "oopser.ko"), log=log)
    assert "annotate.debuginfo.lineprogram" in modules, "no frame was answered"
    assert unneeded(modules) == set()


def test_what_is_imported_is_seen(log: bytes) -> None:
    """The list would fail if it were of names that are never imported."""
    assert {"rich", "annotate.render.styled"} <= unneeded(imported("--color", "always", log=log))
    assert {"annotate.render.links", "annotate.cli.terminal"} <= unneeded(imported("--links", "always", log=log))
    assert "json" in unneeded(imported("--format", "jsonl", log=b""))


def test_links_and_sources_alone_do_not_need_the_web(log: bytes) -> None:
    modules = imported("--source", str(FOLDER), "--links", "always", log=log)
    assert not {"http", "urllib.request", "socket", "asyncio"} & modules
