"""Where a kernel or a module may be found: candidates in order, each with the reason why it is tried."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from annotate.errors import UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Endings of module files, longest first; what is cut off leaves the module's name.
MODULE_ENDINGS = tuple(kind + packing for kind in (".ko.debug", ".ko") for packing in ("", ".xz", ".zst", ".gz"))


#: How files of tables are called.
TABLE_ENDING = ".lineinfo"


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


def is_table_name(path: str) -> bool:
    """Whether a file is called like one of tables."""
    return path.endswith(TABLE_ENDING)


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
        """Files that may be the kernel itself, or tables that may hold it."""
        yield from self._candidates("-k", self._places.kernels, is_kernel_name)
        yield from self._beside(is_kernel_name)

    def modules(self, name: str) -> Iterator[Candidate]:
        """Files that may be the module ``name`` (``_`` and ``-`` are the same), or tables that may hold it."""
        wanted = name.replace("-", "_")

        def is_wanted(path: str) -> bool:
            return module_name(path) == wanted

        yield from self._candidates("-m", self._places.modules, is_wanted)
        yield from self._candidates("-k", self._places.kernels, is_wanted)
        yield from self._beside(is_wanted)

    def _candidates(self, option: str, paths: Sequence[str], is_wanted: Callable[[str], bool]) -> Iterator[Candidate]:
        """Tables come first: the user made them, and they answer at once."""
        for is_table_turn in (True, False):
            for path in paths:
                if os.path.isdir(path):
                    for found in self._walk(path):
                        if is_table_name(found) if is_table_turn else is_wanted(found):
                            yield Candidate(found, f"in {path} ({option})", explicit=False)
                elif is_table_name(path) is is_table_turn and (not module_name(path) or is_wanted(path)):
                    yield Candidate(path, f"given with {option}", explicit=True)

    def _beside(self, is_wanted: Callable[[str], bool]) -> Iterator[Candidate]:
        for is_wanted_now in (is_table_name, is_wanted):
            for folder in self._places.beside:
                for name in _names(folder):
                    if is_wanted_now(name):
                        yield Candidate(os.path.join(folder, name), "beside the log", explicit=False)

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
                if module_name(name) or is_kernel_name(name) or is_table_name(name)
            )
        return found

    def _note_unreadable(self, error: OSError) -> None:
        self._unreadable[str(error.filename)] = None


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except OSError:
        return []  # the log itself may be readable where its folder is not
