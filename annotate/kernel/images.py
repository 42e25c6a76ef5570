"""Opens candidates, checks that they fit the log, keeps them.

Implements ``annotate.resolve.ImageSource``.
"""

from __future__ import annotations

import itertools
import os
import time
import zlib
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from annotate.debuginfo.compression import decompress_file, is_compressed
from annotate.debuginfo.elf import SHT_SYMTAB, ElfFile
from annotate.debuginfo.embedded import EmbeddedImage, table_sections
from annotate.debuginfo.image import DebugImage
from annotate.errors import AnnotateError, NoDebugInfoError, UnreadableFileError, UnrecognisedFileError
from annotate.filebytes import open_bytes
from annotate.kernel.identify import are_builds_apart, kernel_of, with_build_id
from annotate.kernel.locate import Candidate
from annotate.model import KernelId, Missing
from annotate.resolve import Absence
from annotate.tables import versions
from annotate.tables.versions import TableImage, open_record, open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from annotate.buffer import Buffer
    from annotate.filebytes import FileBytes
    from annotate.kernel.locate import Locator
    from annotate.tables.versions import TableFile


Image = DebugImage | TableImage | EmbeddedImage

_Image_co = TypeVar("_Image_co", bound=Image, covariant=True)


#: Build ids of SHA-1 and MD5 have 40 and 32 digits; a part of one is not asked for elsewhere.
_SHORTEST_ID = 32

#: Bytes of a file that are read at once for its checksum.
_PIECE = 1 << 20


class OpenFile(NamedTuple, Generic[_Image_co]):
    """An image and what its file says about itself."""

    path: str
    image: _Image_co
    release: str
    version: str = ""  #: of a kernel, as its banner has it


def kind_of(image: Image) -> str:
    """Where an image's lines come from: ``table``, ``dwarf``, ``embedded v3``."""
    if isinstance(image, EmbeddedImage):
        return f"embedded {image.layout}"
    return "table" if isinstance(image, TableImage) else "dwarf"


class OpenTable:
    """A file of tables: many images, each opened when it is asked for."""

    def __init__(self, path: str, file: TableFile) -> None:
        self.path = path
        self.file = file
        self._images: dict[int, OpenFile[TableImage]] = {}

    def images(self, module: str) -> Iterator[OpenFile[TableImage]]:
        """The images of a module (of the kernel when ``module`` is empty), one for each build. Raises AnnotateError."""
        kind = versions.MODULE if module else versions.KERNEL
        name = module.replace("-", "_").encode("utf-8", "surrogateescape")
        yield from map(self.image, self.file.find(kind, name))

    def all_images(self) -> Iterator[OpenFile[TableImage]]:
        """All images, the kernel first. Raises AnnotateError."""
        return (self.image(record) for record in self.file.records() if record.kind != versions.MAINTAINERS)

    def only_image(self) -> Iterator[OpenFile[TableImage]]:
        """The image, when there is no other."""
        images = [record for record in self.file.records() if record.kind != versions.MAINTAINERS]
        return map(self.image, images if len(images) == 1 else ())

    def image(self, record: versions.Record) -> OpenFile[TableImage]:
        """The image of one record. Raises AnnotateError."""
        opened = self._images.get(record.offset)
        if opened is None:
            image = open_record(self.file, record)
            opened = self._images[record.offset] = OpenFile(self.path, image, image.release)
        return opened


def open_file(path: str) -> OpenFile[Image] | OpenTable:
    """Open a file, and those that it points to, and read what it is. Raises AnnotateError."""
    data = _open_bytes(path)
    if _is_table(data):
        return OpenTable(path, open_table(data, path))
    elf = _read_elf(data, path)
    try:
        return _open_debug_image(path, elf)
    except NoDebugInfoError as error:
        return _open_embedded(path, elf, error)


def is_table(path: str) -> bool:
    """Whether a file begins as a file of tables does; one that cannot be read, or is a folder, is none."""
    try:
        return _is_table(_open_bytes(path))
    except AnnotateError:
        return False


def _is_table(data: FileBytes) -> bool:
    return data[: len(versions.MAGIC)] == versions.MAGIC


def open_image(path: str) -> OpenFile[DebugImage]:
    """The same for a file that holds one image: a kernel or a module with debug info. Raises AnnotateError."""
    return _open_debug_image(path, open_elf(path))


def _open_debug_image(path: str, elf: ElfFile) -> OpenFile[DebugImage]:
    symbols = None
    if elf.debug_section("line") is None:
        split = debug_file_of(elf)
        if split is not None:
            elf, symbols = split, elf
            if any(section.type == SHT_SYMTAB for section in split.sections):
                symbols = None
    image = DebugImage(elf, symbols=symbols, alternate=alternate_file_of(elf))
    kernel = kernel_of(symbols or elf)
    return OpenFile(path, image, kernel.release, kernel.version)


def _open_embedded(path: str, elf: ElfFile, without: NoDebugInfoError) -> OpenFile[EmbeddedImage]:
    """The tables that the kernel itself would use; ``without`` is what is said of a file that has none either."""
    try:
        kernel = kernel_of(elf)
        return OpenFile(path, EmbeddedImage(elf), kernel.release, kernel.version)
    except NoDebugInfoError as error:
        # Tables that cannot be trusted say why.
        raise (error if table_sections(elf) else without) from None


def open_elf(path: str) -> ElfFile:
    """Open an ELF file; a compressed one is read whole. Raises AnnotateError."""
    return _read_elf(_open_bytes(path), path)


def _open_bytes(path: str) -> FileBytes:
    try:
        return open_bytes(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableFileError(path, f"cannot be read: {reason}") from None


def _read_elf(data: FileBytes, path: str) -> ElfFile:
    data.watch()
    return ElfFile(decompress_file(data[:], path) if is_compressed(data[:8]) else data, path)


def debug_file_of(elf: ElfFile) -> ElfFile | None:
    """The file that ``.gnu_debuglink`` names, where GDB looks for it; None when it is not there or of another build."""
    link = elf.debug_link()
    if link is None:
        return None
    name, checksum = link
    folder = os.path.dirname(os.path.abspath(elf.source))
    for path in (
        os.path.join(folder, name),
        os.path.join(folder, ".debug", name),
        f"/usr/lib/debug{folder}/{name}",
    ):
        if os.path.isfile(path) and not _is_same(path, elf.source):
            found = open_elf(path)
            same_build = elf.build_id and elf.build_id == found.build_id
            if same_build or _checksum(found.data) == checksum:
                return found
    return None


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False  # one of them has been removed since


def _checksum(data: Buffer) -> int:
    checksum = 0
    for start in range(0, len(data), _PIECE):
        checksum = zlib.crc32(data[start : start + _PIECE], checksum)
    return checksum


def alternate_file_of(elf: ElfFile) -> ElfFile | None:
    """The file that ``.gnu_debugaltlink`` names (dwz); None when it is not there or of another build id."""
    link = elf.alternate_link()
    if link is None:
        return None
    name, build_id = link
    path = os.path.join(os.path.dirname(os.path.realpath(elf.source)), name)
    if not os.path.isfile(path):
        return None
    found = open_elf(path)
    return found if found.build_id == build_id else None


def fits(opened: OpenFile[Image], kernel: KernelId) -> str:
    """Why an image is not of this kernel; empty when nothing says so. A build id, where both are known, decides."""
    if kernel.build_id and opened.image.build_id:
        if opened.image.build_id.startswith(kernel.build_id):
            return ""
        return f"build id {opened.image.build_id}, the log's is {kernel.build_id}"
    if kernel.release and opened.release and kernel.release != opened.release:
        return f"of kernel {opened.release}, the log is of {kernel.release}"
    if are_builds_apart(kernel.version, opened.version):
        return f"of another build of {kernel.release}: {opened.version}"
    return ""


class Fetch(Protocol):
    """Gets debug files by build id from elsewhere: see ``debuginfod.py``."""

    @property
    def tried(self) -> Sequence[str]:
        """Why the last one was not to be had, a sentence a server."""

    def find_debuginfo(self, build_id: str) -> str | None:
        """The path of the debug file."""


class Images:
    """The images of one run.

    ``warn`` gets sentences that the user should see once, ``note`` those for ``-v``.
    """

    def __init__(
        self,
        locator: Locator,
        warn: Callable[[str], None],
        note: Callable[[str], None],
        fetch: Fetch | None = None,
        here: KernelId | None = None,
    ) -> None:
        self._locator = locator
        self._fetch = fetch
        self._here = here or KernelId()  # the kernel that runs here: its build id is known where a log's is not
        self._warn = warn
        self._note = note
        self._warned: set[str] = set()
        self._opened: dict[str, OpenFile[Image] | OpenTable | AnnotateError] = {}
        self._answers: dict[tuple[bytes, bytes, str, str, str], Image | Absence] = {}
        self.used: list[OpenFile[Image]] = []  #: those that were taken
        self.misfits: set[str] = set()  #: releases of logs that are answered from another kernel's file, as was asked

    def open_explicit(self) -> list[AnnotateError]:
        """Open every kernel file that the user named; return what is wrong with those that cannot be used."""
        errors: list[AnnotateError] = list(self._locator.check())
        broken = {error.source for error in errors}
        for candidate in self._locator.named_kernels():
            if candidate.explicit and candidate.path not in broken:
                opened = self._open(candidate)
                if isinstance(opened, AnnotateError):
                    errors.append(opened)
                elif isinstance(opened, OpenFile) and opened.image.is_module:
                    errors.append(
                        UnrecognisedFileError(candidate.path, "expected a kernel, found a module: give it with -m")
                    )
        return errors

    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> Image | Absence:
        """See ``annotate.resolve.ImageSource``."""
        key = (module, build_id, kernel.release, kernel.version, kernel.build_id)
        answer = self._answers.get(key)
        if answer is None:
            kernel = with_build_id(kernel, self._here)
            answer = self._answers[key] = self._choose(module, build_id, kernel)
        return answer

    def maintainers_text(self) -> tuple[bytes, str] | None:
        """The MAINTAINERS text of the first table that carries one, and that table's path.

        Of a table in use, or else of one that the user named: a log that others have annotated asks none for lines.
        Nothing of it is read before. Raises AnnotateError when it is damaged.
        """
        named = [candidate.path for candidate in self._locator.named_kernels() if candidate.explicit]
        for path in (*(used.path for used in self.used), *named):
            opened = self._opened.get(path)
            text = opened.file.maintainers() if isinstance(opened, OpenTable) else None
            if text is not None:
                return text, path
        return None

    def _choose(self, module: bytes, build_id: bytes, kernel: KernelId) -> Image | Absence:
        name = module.decode("utf-8", "surrogateescape")
        wanted_id = (build_id or (b"" if module else kernel.build_id.encode())).decode("ascii", "replace")
        candidates = self._locator.modules(name, kernel, wanted_id) if module else self._locator.kernels(kernel)
        missing = Missing.NO_MODULE if module else Missing.NO_KERNEL
        tried: list[str] = []
        given: tuple[Candidate, OpenFile[Image]] | None = None  # by the user, though it is of another release
        embedded: tuple[Candidate, OpenFile[Image]] | None = None
        if self._fetch is not None and len(wanted_id) >= _SHORTEST_ID:
            candidates = itertools.chain(candidates, self._fetched(wanted_id, tried))
        for candidate, opened in self._openings(candidates, name):
            if isinstance(opened, AnnotateError):
                if isinstance(opened, NoDebugInfoError):
                    missing = Missing.NO_TABLE
                tried.append(str(opened))
            elif opened.image.is_module is not bool(module):
                if not module or not candidate.explicit:
                    tried.append(f"{candidate.path}: is {'a module' if opened.image.is_module else 'no module'}")
            elif unfit := fits(opened, kernel._replace(build_id=wanted_id)):
                if wanted_id and opened.image.build_id:
                    missing = Missing.BUILD_ID_DIFFERS
                else:
                    given = given or ((candidate, opened) if candidate.explicit else None)
                tried.append(f"{candidate.path}: {unfit}")
            elif isinstance(opened.image, EmbeddedImage):
                embedded = embedded or (candidate, opened)  # as right as the tool that made it: anything else is better
            else:
                return self._take(candidate, opened)
        if embedded is not None:
            return self._take(*embedded)
        if given is not None:
            candidate, opened = given
            self.misfits.add(kernel.release)
            apart = f" of another build ({kernel.version})" if kernel.release == opened.release else ""
            self._warn_once(
                f"{candidate.path}: is of kernel {opened.release}, the log of {kernel.release}{apart}; "
                "used because it was given"
            )
            return self._take(candidate, opened)
        if not tried:
            return Absence(missing, self._locator.places_tried(kernel))
        return Absence(missing, "tried: " + "; ".join(tried) + self._locator.help(kernel))

    def _fetched(self, build_id: str, tried: list[str]) -> Iterator[Candidate]:
        """What servers have of a build id; they are asked when all that is here was tried."""
        assert self._fetch is not None
        path = self._fetch.find_debuginfo(build_id)
        if path is not None:
            yield Candidate(path, f"debuginfod has build id {build_id}", explicit=False)
        else:
            tried += self._fetch.tried

    def _openings(
        self, candidates: Iterable[Candidate], module: str
    ) -> Iterator[tuple[Candidate, OpenFile[Image] | AnnotateError]]:
        """What each candidate holds: one image, or those of a table that are of the module."""
        for candidate in candidates:
            opened = self._open(candidate)
            if not isinstance(opened, OpenTable):
                yield candidate, opened
                continue
            try:
                for image in opened.images(module):
                    yield candidate, image
            except AnnotateError as error:
                yield candidate, error

    def _warn_once(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            self._warn(sentence)

    def _take(self, candidate: Candidate, opened: OpenFile[Image]) -> Image:
        if opened not in self.used:
            self.used.append(opened)
            self._note(f"using {candidate.path} ({candidate.reason}): {kind_of(opened.image)}")
        return opened.image

    def _open(self, candidate: Candidate) -> OpenFile[Image] | OpenTable | AnnotateError:
        opened = self._opened.get(candidate.path)
        if opened is None:
            start = time.perf_counter()
            try:
                opened = open_file(candidate.path)
            except AnnotateError as error:
                opened = error
            except MemoryError:
                opened = UnreadableFileError(candidate.path, "cannot be read: not enough memory")
            self._opened[candidate.path] = opened
            result = str(opened) if isinstance(opened, AnnotateError) else "opened"
            self._note(
                f"tried {candidate.path} ({candidate.reason}): {result}, {1000 * (time.perf_counter() - start):.1f} ms"
            )
        return opened
