"""Paths of debug info -> paths in the kernel tree.

A kernel is named by ``fs/read_write.c`` whatever folder it was built in. Debug info names files in many ways:
absolute (``/build/linux-6.1.192/arch/x86/entry/entry_64.S``), relative to an out-of-tree build folder
(``../../../fs/read_write.c``), already mapped (``fs/read_write.c`` in the relative folder
``debian/build/build_amd64``), with ``./``, ``//`` and ``..``. Everything here is text; no file is looked at.

The root of the tree is what a unit's own directories agree on: nearly every unit includes something from
``include/linux`` or ``arch/<arch>/include``, so the part before those is a root. Searching a path for the first name
that looks like a top-level directory would cut ``/usr/src/linux/mm/a.c`` at ``usr``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Directories at the top of a kernel tree.
TOP_LEVEL = frozenset(
    [
        "arch",
        "block",
        "certs",
        "crypto",
        "drivers",
        "fs",
        "include",
        "init",
        "io_uring",
        "ipc",
        "kernel",
        "lib",
        "mm",
        "net",
        "rust",
        "samples",
        "scripts",
        "security",
        "sound",
        "tools",
        "usr",
        "virt",
    ]
)

#: What follows a tree's root in the directories of a unit. ``tools/include/linux`` and the like are no roots.
_BELOW_ROOT = re.compile(
    r"(?P<root>.*?)/(?:include/(?:linux|uapi|asm-generic|vdso|generated|net|trace)|arch/[^/]+/(?:include|kernel|mm|lib))(?:/.*)?"
)
_NOT_ROOTS = re.compile(r".*/(?:tools(?:/[^/]+)*|usr|uapi|arch/[^/]+)|")


def fold(path: str) -> str:
    """Remove ``.``, ``//`` and ``name/..`` as text; leading ``..`` stay."""
    if "//" not in path and "./" not in path and not path.endswith(("/", "/.", "/..")) and path not in (".", ".."):
        return path
    is_absolute = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part == ".." and is_absolute and not parts:
            continue
        elif part not in ("", "."):
            parts.append(part)
    return ("/" if is_absolute else "") + "/".join(parts)


def join(folder: str, name: str) -> str:
    """``name`` as seen from ``folder``; an absolute name stands for itself."""
    if name.startswith("/") or not folder:
        return name
    return f"{folder.rstrip('/')}/{name}" if name else folder


def tree_roots(comp_dir: str, directories: Iterable[str]) -> tuple[str, ...]:
    """The absolute folders that hold a kernel tree (sources, or the output of a build elsewhere), longest first.

    ``directories`` are a unit's directory table, each taken as seen from ``comp_dir``.
    """
    roots = set()
    for directory in directories:
        path = fold(join(comp_dir, directory))
        if path.startswith("/"):
            match = _BELOW_ROOT.fullmatch(path)
            if match is not None and not _NOT_ROOTS.fullmatch(match["root"]):
                roots.add(match["root"])
    # A driver's own include/linux is no tree of its own.
    roots -= {
        root
        for root in roots
        for other in roots
        if root.startswith(other + "/") and root[len(other) + 1 :].split("/", 1)[0] in TOP_LEVEL
    }
    return tuple(sorted(roots, key=lambda root: (-len(root), root)))


def tree_path(directory: str, name: str, comp_dir: str, roots: Sequence[str]) -> str:
    """The path to show for a file: within the kernel tree where it lies in one, else as the debug info names it."""
    given = join(directory, name)
    path = fold(given)
    if not path.startswith("/"):
        if not path.startswith("../") and path.split("/", 1)[0] in TOP_LEVEL:
            return path
        path = fold(join(comp_dir, given))
        if not path.startswith("/"):
            return _below_mapped_folder(path, fold(comp_dir))
    for root in roots:
        if path.startswith(root + "/"):
            below = path[len(root) + 1 :]
            if below.split("/", 1)[0] in TOP_LEVEL:
                return below
    return _below_common_folder(path, fold(comp_dir))


def _below_mapped_folder(path: str, comp_dir: str) -> str:
    """A relative path: what is below the (equally mapped) folder of the build is in the tree."""
    if path.startswith(comp_dir + "/"):
        return path[len(comp_dir) + 1 :]
    return path


def _below_common_folder(path: str, comp_dir: str) -> str:
    """An absolute path in no known tree: a folder above the build's may be the tree (Debian's ``debian/build/x``)."""
    folder = comp_dir if comp_dir.startswith("/") else ""
    while folder and folder != "/usr":  # what lies below that is the compiler's own
        if path.startswith(folder + "/"):
            below = path[len(folder) + 1 :]
            if below.split("/", 1)[0] in TOP_LEVEL and "/" in below:
                return below
        folder = folder.rpartition("/")[0]
    return path
