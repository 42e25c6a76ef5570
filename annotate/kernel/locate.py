"""Where a kernel or a module may be found: candidates in order, each with the reason why it is tried."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from annotate.errors import UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Endings of module files, longest first; what is cut off leaves the module's name.
MODULE_ENDINGS = tuple(kind + packing for kind in (".ko.debug", ".ko") for packing in ("", ".xz", ".zst", ".gz"))


class Candidate(NamedTuple):
    """A file that may hold what is looked for. An explicit one was named by the user, file by file."""

    path: str
    reason: str
    explicit: bool


class SearchPlaces(NamedTuple):
    """Where to look, in the user's order."""

    kernels: Sequence[str] = ()  #: -k: files or folders
    modules: Sequence[str] = ()  #: -m: files or folders
    beside: Sequence[str] = ()  #: folders of the logs


def module_name(path: str) -> str:
    """The module that a file is for: ``xfs-core.ko.debug`` -> ``xfs_core``; empty for other files."""
    name = os.path.basename(path)
    for ending in MODULE_ENDINGS:
        if name.endswith(ending):
            return name[: -len(ending)].replace("-", "_")
    return ""


def is_kernel_name(path: str) -> bool:
    """Whether a file is called like a kernel with debug info: ``vmlinux``, ``vmlinux-6.1.0``, ``vmlinux.debug``."""
    name = os.path.basename(path)
    return name == "vmlinux" or name.startswith(("vmlinux-", "vmlinux."))


class Locator:
    """Finds candidates. Folders are walked once, when first needed."""

    def __init__(self, places: SearchPlaces) -> None:
        self._places = places
        self._trees: dict[str, list[str]] = {}
        self._unreadable: dict[str, None] = {}  # folders within the trees

    def check(self) -> list[UnreadableFileError]:
        """The places that the user named and that cannot be used at all."""
        errors = []
        for path in (*self._places.kernels, *self._places.modules):
            try:
                if os.path.isdir(path):
                    os.listdir(path)
                else:
                    with open(path, "rb"):
                        pass
            except OSError as error:
                errors.append(UnreadableFileError(path, f"cannot be read: {error.strerror}"))
        return errors

    def kernels(self) -> Iterator[Candidate]:
        """Files that may be the kernel itself."""
        for path in self._places.kernels:
            if os.path.isdir(path):
                for found in self._walk(path):
                    if is_kernel_name(found):
                        yield Candidate(found, f"in {path} (-k)", explicit=False)
            elif not module_name(path):
                yield Candidate(path, "given with -k", explicit=True)
        for folder in self._places.beside:
            for name in _names(folder):
                if is_kernel_name(name):
                    yield Candidate(os.path.join(folder, name), "beside the log", explicit=False)

    def modules(self, name: str) -> Iterator[Candidate]:
        """Files that may be the module ``name`` (``_`` and ``-`` are the same)."""
        wanted = name.replace("-", "_")
        for option, paths in (("-m", self._places.modules), ("-k", self._places.kernels)):
            for path in paths:
                if os.path.isdir(path):
                    for found in self._walk(path):
                        if module_name(found) == wanted:
                            yield Candidate(found, f"in {path} ({option})", explicit=False)
                elif module_name(path) == wanted:
                    yield Candidate(path, f"given with {option}", explicit=True)
        for folder in self._places.beside:
            for entry in _names(folder):
                if module_name(entry) == wanted:
                    yield Candidate(os.path.join(folder, entry), "beside the log", explicit=False)

    def places_tried(self) -> str:
        """The places in words, for messages about nothing found."""
        named = [*self._places.kernels, *self._places.modules]
        places = [*named, *(f"beside the log in {folder}" for folder in self._places.beside)]
        places += [f"{folder} (cannot be read)" for folder in self._unreadable]
        return "tried: " + ", ".join(places) if places else "give one with -k or -m"

    def _walk(self, folder: str) -> list[str]:
        found = self._trees.get(folder)
        if found is None:
            found = self._trees[folder] = sorted(
                os.path.join(parent, name)
                for parent, _, names in os.walk(folder, onerror=self._note_unreadable)
                for name in names
                if module_name(name) or is_kernel_name(name)
            )
        return found

    def _note_unreadable(self, error: OSError) -> None:
        self._unreadable[str(error.filename)] = None


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except OSError:
        return []  # the log itself may be readable where its folder is not
