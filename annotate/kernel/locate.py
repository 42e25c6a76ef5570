"""Where a kernel or a module may be found: candidates in order, each with the reason why it is tried.

To add a place where a distribution keeps debug info, add a row to ``KERNEL_PLACES`` or ``MODULE_TREES``;
``lineinfo doctor`` shows it by itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from annotate.errors import UnreadableFileError
from annotate.filebytes import open_bytes
from annotate.model import KernelId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from annotate.cache import TableCache

#: Endings of module files, longest first; what is cut off leaves the module's name.
MODULE_ENDINGS = tuple(kind + packing for kind in (".ko.debug", ".ko") for packing in ("", ".xz", ".zst", ".gz"))


#: How files of tables are called.
TABLE_ENDING = ".lineinfo"

#: How packages are called that are read without being installed: see ``packages.py``.
PACKAGE_ENDINGS = (".deb", ".rpm")

#: Where distributions put a kernel with debug info, below the root: ``{r}`` is its release.
KERNEL_PLACES = (
    ("usr/lib/debug/lib/modules/{r}/vmlinux", "debug package of Debian, Ubuntu, Fedora"),
    ("usr/lib/debug/boot/vmlinux-{r}", "debug package of Debian, Ubuntu"),
    ("usr/lib/debug/boot/vmlinux-{r}.debug", "debug package of openSUSE"),
    ("usr/lib/debug/usr/lib/modules/{r}/vmlinux", "debug package of Fedora, RHEL"),
    ("usr/lib/debug/usr/lib/modules/{r}/vmlinux.debug", "debug package of openSUSE"),
    ("usr/lib/modules/{r}/vmlinux", "beside the modules"),
    ("usr/lib/modules/{r}/build/vmlinux", "build folder of Arch and of own kernels"),
    ("lib/modules/{r}/vmlinux", "beside the modules"),
    ("lib/modules/{r}/build/vmlinux", "build folder of own kernels"),
    ("lib/modules/{r}/source/vmlinux", "source folder of own kernels"),
    ("boot/vmlinux-{r}", "kernel of own builds"),
)

#: Trees of modules, those with debug info first.
MODULE_TREES = (
    ("usr/lib/debug/lib/modules/{r}", "debug package of Debian, Ubuntu, Fedora"),
    ("usr/lib/debug/usr/lib/modules/{r}", "debug package of Fedora, RHEL, openSUSE"),
    ("usr/lib/modules/{r}", "installed modules"),
    ("lib/modules/{r}", "installed modules"),
)

#: ``.build-id`` links of all distributions.
BUILD_ID_PLACE = "usr/lib/debug/.build-id/{head}/{tail}.debug"

#: Where the symbols of a kernel are without lines: of no use to the filter, but who asks is told so.
SYMBOL_PLACES = ("boot/System.map-{r}", "usr/lib/modules/{r}/System.map", "usr/lib/debug/boot/System.map-{r}")

#: What installs the debug info of a kernel, by ``ID`` or ``ID_LIKE`` of /etc/os-release; ``{r}`` is the release.
INSTALL_COMMANDS = {
    "debian": "apt install linux-image-{r}-dbg",
    "ubuntu": "apt install linux-image-{r}-dbgsym",
    "fedora": "dnf debuginfo-install kernel-core-{r}",
    "rhel": "debuginfo-install kernel-{r}",
    "opensuse": "zypper install kernel-default-debuginfo",
    "suse": "zypper install kernel-default-debuginfo",
    "arch": "DEBUGINFOD_URLS=https://debuginfod.archlinux.org lineinfo-annotate",
}

#: Files of a kernel's source tree: in a folder with all of them, and in those below it, its vmlinux is meant.
_TREE_SIGNS = ("MAINTAINERS", "Kbuild", "init/main.c")
_MOST_PARENTS = 12


#: A kernel of which nothing is known.
UNKNOWN = KernelId()


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
    cache: TableCache | None = None  #: tables that were made before
    root: str | None = None  #: whose standard places are searched; None: none are
    kernel: KernelId = UNKNOWN  #: the kernel of logs that name none


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
    """Finds candidates. Folders are walked once, when first needed.

    ``absent`` is told of every standard place at which there is nothing.
    """

    def __init__(self, places: SearchPlaces, absent: Callable[[Candidate], None] = lambda _candidate: None) -> None:
        self._places = places
        self._absent = absent
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
                    open_bytes(path)
            except UnreadableFileError as error:
                errors.append(error)
            except OSError as error:
                errors.append(UnreadableFileError(path, f"cannot be read: {error.strerror}"))
        return errors

    def named_kernels(self) -> Iterator[Candidate]:
        """Those that the user named, and those in the trees that the user named."""
        return self._candidates("-k", self._places.kernels, is_kernel_name)

    def kernels(self, kernel: KernelId = UNKNOWN) -> Iterator[Candidate]:
        """Files that may be this kernel, or tables that may hold it."""
        yield from self.named_kernels()
        yield from self._beside(is_kernel_name)
        yield from self._cached(kernel)
        for place in self.standard_kernels(kernel):
            if os.path.isfile(place.path):
                yield place
            else:
                self._absent(place)

    def modules(self, name: str, kernel: KernelId = UNKNOWN, build_id: str = "") -> Iterator[Candidate]:
        """Files that may be the module ``name`` (``_`` and ``-`` are the same), or tables that may hold it."""
        wanted = name.replace("-", "_")

        def is_wanted(path: str) -> bool:
            return module_name(path) == wanted

        yield from self._candidates("-m", self._places.modules, is_wanted)
        yield from self._candidates("-k", self._places.kernels, is_wanted)
        yield from self._beside(is_wanted)
        yield from self._cached(kernel)
        for place in self.standard_modules(kernel, build_id):
            if os.path.isdir(place.path):
                for found in self._walk(place.path):
                    if is_wanted(found):
                        yield Candidate(found, place.reason, explicit=False)
            elif os.path.isfile(place.path):
                yield place
            else:
                self._absent(place)

    def _cached(self, kernel: KernelId) -> Iterator[Candidate]:
        """The tables of this kernel that were made before."""
        cache = self._places.cache
        if cache is None:
            return
        build_id = kernel.build_id
        if build_id:
            path = cache.find(build_id)
            if path is not None:
                yield Candidate(path, f"in the cache, build id {build_id}", explicit=False)
        elif release := self._release(kernel):
            for path in cache.of_release(release):
                yield Candidate(path, f"in the cache, kernel {release}", explicit=False)

    def standard_kernels(self, kernel: KernelId) -> Iterator[Candidate]:
        """Every standard place for a kernel, whether there is anything or not."""
        root = self._places.root
        if root is None:
            return
        if build_id_place := self._build_id_place(kernel.build_id):
            yield Candidate(build_id_place, f"link of build id {kernel.build_id}", explicit=False)
        release = self._release(kernel)
        for place, reason in KERNEL_PLACES if release else ():
            yield Candidate(os.path.join(root, place.format(r=release)), reason, explicit=False)
        tree = _kernel_tree()
        if tree is not None:
            yield Candidate(os.path.join(tree, "vmlinux"), "the kernel tree that you are in", explicit=False)

    def standard_modules(self, kernel: KernelId, build_id: str = "") -> Iterator[Candidate]:
        """Every standard place for a module: trees that are searched for it, and the link of its build id."""
        root = self._places.root
        if root is None:
            return
        if build_id_place := self._build_id_place(build_id):
            yield Candidate(build_id_place, f"link of build id {build_id}", explicit=False)
        release = self._release(kernel)
        seen = set()
        for place, reason in MODULE_TREES if release else ():
            path = os.path.join(root, place.format(r=release))
            real = os.path.realpath(path)  # /lib is /usr/lib on most machines
            if real not in seen:
                seen.add(real)
                yield Candidate(path, reason, explicit=False)

    def _build_id_place(self, build_id: str) -> str:
        if len(build_id) < 8 or any(digit not in "0123456789abcdef" for digit in build_id):
            return ""
        return os.path.join(self._places.root or "", BUILD_ID_PLACE.format(head=build_id[:2], tail=build_id[2:]))

    def _release(self, kernel: KernelId) -> str:
        """The release to look for. A log's is anybody's text: it must not lead out of the folders."""
        release = kernel.release or self._places.kernel.release
        return "" if "/" in release or "\0" in release or release in (".", "..") else release

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

    def places_tried(self, kernel: KernelId = UNKNOWN) -> str:
        """The places in words, for messages about nothing found, and what would help."""
        named = [*self._places.kernels, *self._places.modules]
        places = [*named, *(f"beside the log in {folder}" for folder in self._places.beside)]
        places += [f"{folder} (cannot be read)" for folder in self._unreadable]
        release = self._release(kernel)
        if self._places.root is not None and release:
            places.append(f"the standard places for {release}")
            return "tried: " + ", ".join(places) + self.help(kernel)
        return "tried: " + ", ".join(places) if places else "give one with -k or -m"

    def help(self, kernel: KernelId) -> str:
        """What would help, behind such a message; nothing where the standard places are not looked at."""
        release = self._release(kernel)
        if self._places.root is None or not release:
            return ""
        command = install_command(self._places.root, release)
        return f"; '{command}' may bring it" if command else "; 'lineinfo doctor' says more"

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


def install_command(root: str, release: str) -> str:
    """What installs the debug info of a kernel on the machine at ``root``; empty when that is not known."""
    names: dict[str, str] = {}
    try:
        with open(os.path.join(root, "etc/os-release"), encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.strip().partition("=")
                names[key] = value.strip("\"'")
    except OSError:
        return ""
    for name in (names.get("ID", ""), *names.get("ID_LIKE", "").split()):
        for known, command in INSTALL_COMMANDS.items():
            if name == known or name.startswith(known + "-"):
                return command.format(r=release)
    return ""


def _kernel_tree() -> str | None:
    """The kernel's source tree that the current folder is in."""
    try:
        folder = os.getcwd()
    except OSError:
        return None  # it was removed
    for _ in range(_MOST_PARENTS):
        if all(os.path.exists(os.path.join(folder, sign)) for sign in _TREE_SIGNS):
            return folder
        folder, child = os.path.dirname(folder), folder
        if folder == child:
            break
    return None


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except OSError:
        return []  # the log itself may be readable where its folder is not
