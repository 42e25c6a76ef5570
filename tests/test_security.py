"""What ``docs/security.md`` says of the code, held by its syntax trees."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_layers import modules

REPOSITORY = Path(__file__).parent.parent

#: What runs code or other programs.
FORBIDDEN_MODULES = {
    *("pickle", "marshal", "shelve", "dill", "copyreg", "subprocess", "ctypes", "cffi", "code", "codeop", "pty"),
    *("xmlrpc", "webbrowser", "imp", "runpy", "pydoc", "commands"),
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
FORBIDDEN_METHODS = re.compile(r"(?:system|popen\d?|exec[lv]\w*|spawn\w+|posix_spawnp?|extractall|mktemp)")

#: Bounds elsewhere than in ``annotate/limits.py``, and why: their format's, or a matter of speed or of output.
ELSEWHERE = {
    "annotate.leb128": "the format of LEB128",
    "annotate.log.context": "columns of a table that the log itself announces",
    "annotate.log.demangled": "the grammar",
    "annotate.log.message": "the grammar",
    "annotate.tables.tokens": "our format",
    "annotate.tables.lineinfo_v1.file": "memory for speed",
    "annotate.tables.lineinfo_v1.image": "memory for speed",
    "annotate.tables.lineinfo_v1.layout": "our format; in the table of limits",
    "annotate.tables.kernel_blocks": "the kernel's format",
    "annotate.tables.kernel_v5": "the kernel's format",
    "annotate.debuginfo.dwarf": "what compilers write in front of functions",
    "annotate.memory": "memory for speed",
    "annotate.cache": "our format",
    "annotate.kernel.live": "records of the running kernel",
    "annotate.triage.titles": "how much of a title is read",
    "annotate.triage.triager": "how much is read of a line, and listed of a trace",
    "annotate.render.links": "what terminals take",
    "annotate.render.report_lines": "how far a report is followed",
    "annotate.render.styled": "colours that are kept apart",
    "annotate.render.terminal": "the grammar of colours",
    "annotate.render.triage": "how much is shown",
    "annotate.kernel.locate": "folders above the one we are in",
    "annotate.kernel.debuginfod": "elfutils' format",
    "annotate.kernel.deb": "the format of .deb",
    "annotate.kernel.rpm": "the format of .rpm",
    "annotate.render.plain": "what is shown",
    "annotate.cli.lineinfo": "what is said",
    "annotate.cli.tables": "what is said",
}
BOUND = re.compile(r"_?(?:MAX|MOST|LEAST)_\w+")


def problems(name: str, tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        imported = []
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        found += [f"{name} imports {each}" for each in imported if each.split(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in FORBIDDEN_CALLS:
                found.append(f"{name}:{node.lineno} calls {function.id}()")
            if isinstance(function, ast.Attribute) and FORBIDDEN_METHODS.fullmatch(function.attr):
                found.append(f"{name}:{node.lineno} calls .{function.attr}()")
            if any(keyword.arg == "shell" for keyword in node.keywords):
                found.append(f"{name}:{node.lineno} names a shell")
    return found


def test_nothing_runs_code_or_other_programs() -> None:
    assert len(modules()) > 50
    assert [problem for name, tree in modules().items() for problem in problems(name, tree)] == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from subprocess import run",
        "import os\nos.system('x')",
        "eval('1')",
        "def f():\n    import ctypes.util",
        "archive.extractall('.')",
        "run('x', shell=True)",
    ],
)
def test_what_runs_code_would_be_seen(text: str) -> None:
    assert problems("x", ast.parse(text))


def test_bounds_stand_in_one_place_but_for_those_of_a_format_and_of_speed() -> None:
    holders = {
        name
        for name, tree in modules().items()
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        for each in ast.walk(target)
        if isinstance(each, ast.Name) and BOUND.fullmatch(each.id)
    }
    assert "annotate.limits" in holders
    assert holders - {"annotate.limits"} == set(ELSEWHERE)


def test_every_limit_is_used() -> None:
    tree = modules()["annotate.limits"]
    names = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}  # type: ignore[attr-defined]
    assert len(names) > 15
    used = {
        each.id if isinstance(each, ast.Name) else each.attr
        for name, other in modules().items()
        if name != "annotate.limits"
        for each in ast.walk(other)
        if isinstance(each, (ast.Name, ast.Attribute))
    }
    assert names - used == set()


def test_the_table_of_limits_is_that_of_the_code() -> None:
    run = subprocess.run([sys.executable, str(REPOSITORY / "docs" / "make_limits.py")], capture_output=True, check=True)
    assert (REPOSITORY / "docs" / "security.md").read_bytes() == run.stdout, (
        "stale; renew it with: python docs/make_limits.py > /tmp/security.md && mv /tmp/security.md docs/security.md"
    )


def test_what_a_log_says_of_its_kernel_cannot_steer_a_terminal() -> None:
    log = b"[0.0] Linux version 6.1\x1b]0;title\x07\xc2\x9b31m (a@b) (gcc) #1 SMP\n[1.0] Comm: x\n vfs_write+0x1/0x2\n"
    done = subprocess.run(
        [sys.executable, "-m", "annotate", "-v"], input=log, capture_output=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout == log
    said = done.stderr.decode()
    assert "6.1?]0;title" in said
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)
