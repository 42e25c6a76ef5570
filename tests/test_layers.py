"""Which room may import from which, and which may touch the world. ARCHITECTURE.md draws the house."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "annotate"

#: From the ground up; a room imports from lower floors and from itself.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("annotate", "annotate.errors", "annotate.model", "annotate.leb128", "annotate.buffer", "annotate.limits"),
    ("annotate.log", "annotate.symbols", "annotate.maintainers", "annotate.debuginfo", "annotate.tables"),
    ("annotate.resolve", "annotate.summary", "annotate.memory", "annotate.triage", "annotate.disassembly"),
    ("annotate.reader", "annotate.lookahead"),
    ("annotate.annotator", "annotate.lookup"),
    ("annotate.render",),
    ("annotate.filebytes",),
    ("annotate.cache",),
    ("annotate.kernel",),
    ("annotate.cli",),
    ("annotate.__main__",),
)

#: Rooms of one floor that may use each other all the same: debug info yields symbols, and makes tables.
ALLOWED_NEIGHBOURS = {("annotate.debuginfo", "annotate.symbols"), ("annotate.debuginfo", "annotate.tables")}

#: Rooms that open, look around, wait or print. All others are bytes in, values out.
WORLDLY = ("annotate.filebytes", "annotate.cache", "annotate.kernel", "annotate.cli", "annotate.__main__")
FORBIDDEN_MODULES = {"os", "sys", "subprocess", "socket", "time", "pathlib", "io", "mmap", "tempfile", "shutil"}
FORBIDDEN_CALLS = {"open", "print", "input"}
#: sys.byteorder is a fact about the machine, sys.setprofile counts calls; neither is the world.
ALLOWED_MODULES = {("annotate.symbols", "sys"), ("annotate.render.names", "sys")}


class Import(NamedTuple):
    importer: str
    imported: str
    line: int


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


@cache
def modules() -> dict[str, ast.Module]:
    return {module_name(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str, tree: ast.Module) -> list[Import]:
    """Every import, those inside functions and under TYPE_CHECKING too.

    But for the names that the package itself shows to type checkers: it stands on the ground and names what is above,
    and importing it imports nothing of that (``test_importing_the_package_imports_no_room``).
    """
    found = []
    for node in ast.walk(tree):
        if name == PACKAGE.name and isinstance(node, ast.ImportFrom) and _is_for_types(tree, node.lineno):
            continue
        if isinstance(node, ast.Import):
            found += [Import(name, alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
            known = set(modules())
            found += [Import(name, full if full in known else module, node.lineno) for full in names]
    return found


def room(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2])


def floor(name: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room(name) in rooms:
            return number
    pytest.fail(f"{name} stands in no room: add it to FLOORS and to ARCHITECTURE.md")


def test_every_module_imports_only_from_the_floors_below_it() -> None:
    wrong = []
    seen = 0
    for name, tree in modules().items():
        for found in imports(name, tree):
            if not found.imported.startswith("annotate"):
                continue
            seen += 1
            same_room = room(found.importer) == room(found.imported)
            neighbours = (room(found.importer), room(found.imported)) in ALLOWED_NEIGHBOURS
            if not (same_room or neighbours or floor(found.imported) < floor(found.importer)):
                wrong.append(f"{found.importer}:{found.line} imports {found.imported}, which is not below it")
    assert seen > 50
    assert wrong == []


def test_an_import_that_points_up_would_be_seen() -> None:
    tree = ast.parse("def f():\n    from annotate.cli import streams\n")
    (found,) = imports("annotate.resolve", tree)
    assert found == Import("annotate.resolve", "annotate.cli.streams", 2)
    assert floor(found.imported) > floor(found.importer)


def test_no_circle_of_imports() -> None:
    trees = modules()
    edges = {name: {found.imported for found in imports(name, tree)} & set(trees) for name, tree in trees.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for imported in edges[name]:
                visit(imported, (*path, name))
            done.add(name)

    for name in trees:
        visit(name, ())
    assert done == set(trees)


def test_pure_rooms_do_not_touch_the_world() -> None:
    wrong = []
    pure = {name: tree for name, tree in modules().items() if not name.startswith(WORLDLY)}
    assert len(pure) > 15
    for name, tree in pure.items():
        wrong += [
            f"{name}:{found.line} imports {found.imported}"
            for found in imports(name, tree)
            if found.imported.split(".")[0] in FORBIDDEN_MODULES
            and (name, found.imported) not in ALLOWED_MODULES
            and not _is_for_types(tree, found.line)
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
                wrong.append(f"{name}:{node.lineno} calls {node.func.id}()")
    assert wrong == []


def _is_for_types(tree: ast.Module, line: int) -> bool:
    return any(
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        and node.lineno < line <= (node.end_lineno or 0)
        for node in tree.body
    )


def test_importing_the_package_imports_no_room() -> None:
    script = "import sys, annotate; print(*(name for name in sys.modules if name.startswith('annotate.')))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=PACKAGE.parent)
    assert run.stdout.split() == []


def test_every_room_is_drawn_in_the_architecture_document() -> None:
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text()
    missing = [
        path.name
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py") and f"{path.name}" not in text
    ]
    assert missing == []
