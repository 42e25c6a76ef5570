"""Opens candidates, checks that they fit the log, keeps them.

Implements ``annotate.resolve.ImageSource``.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.image import DebugImage
from annotate.errors import AnnotateError, NoDebugInfoError, UnreadableFileError, UnrecognisedFileError
from annotate.kernel.identify import release_of
from annotate.model import KernelId, Missing
from annotate.resolve import Absence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from annotate.kernel.locate import Candidate, Locator


class OpenFile(NamedTuple):
    """An image and what its file says about itself."""

    path: str
    image: DebugImage
    release: str


def open_image(path: str) -> OpenFile:
    """Map a file and read what it is. Raises AnnotateError."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableFileError(path, f"cannot be read: {reason}") from None
    elf = ElfFile(data, path)
    return OpenFile(path, DebugImage(elf), release_of(elf))


class Images:
    """The images of one run.

    ``warn`` gets sentences that the user should see once, ``note`` those for ``-v``.
    """

    def __init__(self, locator: Locator, warn: Callable[[str], None], note: Callable[[str], None]) -> None:
        self._locator = locator
        self._warn = warn
        self._note = note
        self._warned: set[str] = set()
        self._opened: dict[str, OpenFile | AnnotateError] = {}
        self._answers: dict[tuple[bytes, bytes, str, str], DebugImage | Absence] = {}
        self.used: dict[str, OpenFile] = {}  #: path -> file, for those that were taken

    def open_explicit(self) -> list[AnnotateError]:
        """Open every kernel file that the user named; return what is wrong with those that cannot be used."""
        errors: list[AnnotateError] = list(self._locator.check())
        broken = {error.source for error in errors}
        for candidate in self._locator.kernels():
            if candidate.explicit and candidate.path not in broken:
                opened = self._open(candidate)
                if isinstance(opened, AnnotateError):
                    errors.append(opened)
                elif opened.image.is_module:
                    errors.append(
                        UnrecognisedFileError(candidate.path, "expected a kernel, found a module: give it with -m")
                    )
        return errors

    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> DebugImage | Absence:
        """See ``annotate.resolve.ImageSource``."""
        key = (module, build_id, kernel.release, kernel.build_id)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = self._choose(module, build_id, kernel)
        return answer

    def _choose(self, module: bytes, build_id: bytes, kernel: KernelId) -> DebugImage | Absence:
        name = module.decode("utf-8", "surrogateescape")
        candidates: Iterable[Candidate] = self._locator.modules(name) if module else self._locator.kernels()
        wanted_id = (build_id or (b"" if module else kernel.build_id.encode())).decode("ascii", "replace")
        missing = Missing.NO_MODULE if module else Missing.NO_KERNEL
        tried = []
        for candidate in candidates:
            opened = self._open(candidate)
            if isinstance(opened, AnnotateError):
                if isinstance(opened, NoDebugInfoError):
                    missing = Missing.NO_TABLE
                tried.append(str(opened))
            elif opened.image.is_module is not bool(module):
                tried.append(f"{candidate.path}: is {'a module' if opened.image.is_module else 'no module'}")
            elif wanted_id and opened.image.build_id and not opened.image.build_id.startswith(wanted_id):
                missing = Missing.BUILD_ID_DIFFERS
                tried.append(f"{candidate.path}: build id {opened.image.build_id}, the log's is {wanted_id}")
            elif kernel.release and opened.release and kernel.release != opened.release:
                if candidate.explicit:
                    self._warn_once(
                        f"{candidate.path}: is of kernel {opened.release}, the log of {kernel.release}; "
                        "used because it was given"
                    )
                    return self._take(candidate, opened)
                tried.append(f"{candidate.path}: of kernel {opened.release}, the log is of {kernel.release}")
            else:
                return self._take(candidate, opened)
        return Absence(missing, "tried: " + "; ".join(tried) if tried else self._locator.places_tried())

    def _warn_once(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            self._warn(sentence)

    def _take(self, candidate: Candidate, opened: OpenFile) -> DebugImage:
        if candidate.path not in self.used:
            self.used[candidate.path] = opened
            self._note(f"using {candidate.path} ({candidate.reason})")
        return opened.image

    def _open(self, candidate: Candidate) -> OpenFile | AnnotateError:
        opened = self._opened.get(candidate.path)
        if opened is None:
            start = time.perf_counter()
            try:
                opened = open_image(candidate.path)
            except AnnotateError as error:
                opened = error
            self._opened[candidate.path] = opened
            result = str(opened) if isinstance(opened, AnnotateError) else "opened"
            self._note(
                f"tried {candidate.path} ({candidate.reason}): {result}, {1000 * (time.perf_counter() - start):.1f} ms"
            )
        return opened
