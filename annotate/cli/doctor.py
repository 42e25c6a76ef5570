"""``lineinfo doctor``: what would be used for a kernel, every place looked at, and what to install."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from annotate.annotator import Annotator, LogFacts
from annotate.cache import TableCache
from annotate.cli.streams import TextOutput
from annotate.errors import AnnotateError, UnreadableFileError
from annotate.kernel.debuginfod import options_from_environment
from annotate.kernel.identify import running, with_build_id
from annotate.kernel.images import Images, OpenTable, fits, kind_of, open_file
from annotate.kernel.locate import SYMBOL_PLACES, Locator, SearchPlaces, install_command, module_name
from annotate.model import KernelId, Missing
from annotate.resolve import Absence

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from annotate.kernel.locate import Candidate
    from annotate.resolve import KernelImage

COMMANDS = ("doctor",)

EXIT_DONE, EXIT_NOTHING = 0, 1


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    doctor = commands.add_parser("doctor", help="what would be used for a kernel, and every place looked at")
    doctor.add_argument(
        "what", nargs="?", metavar="RELEASE|LOG", help="a release, or a log that names one; default: what runs here"
    )


def run(options: argparse.Namespace) -> int:
    """Print what is found for each kernel; status 1 when there is nothing for one. Raises AnnotateError, OSError."""
    root = os.environ.get("LINEINFO_SYSROOT") or "/"
    here = running(root)
    beside: tuple[str, ...] = ()
    if options.what is None:
        kernels = [here]
    elif os.path.isfile(options.what):
        kernels = _kernels_of(options.what) or [here]
        beside = (os.path.dirname(options.what) or ".",)
    else:
        kernels = [here if options.what == here.release else KernelId(options.what)]
    locator = Locator(SearchPlaces(beside=beside, cache=TableCache(), root=root, kernel=here))
    output = TextOutput()
    status = EXIT_DONE
    for kernel in kernels:
        lines, is_found = _report(kernel, here, locator, root)
        output.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        status = status if is_found else EXIT_NOTHING
    return status


class _Nothing:
    """An image source of a log that is only read for what it says of its kernels."""

    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> KernelImage | Absence:
        """None."""
        return Absence(Missing.NO_MODULE if module else Missing.NO_KERNEL, "")


def _kernels_of(log: str) -> list[KernelId]:
    """The kernels that a log names, in order."""
    try:
        with open(log, "rb") as file:
            annotator = Annotator(_Nothing(), LogFacts())
            while data := file.read(1 << 16):
                annotator.feed(data)
            annotator.flush()
    except OSError as error:
        raise UnreadableFileError(log, f"cannot be read: {error.strerror}") from error
    return list(dict.fromkeys(boot.kernel for boot in annotator.context.boots if boot.kernel.release))


def _report(kernel: KernelId, here: KernelId, locator: Locator, root: str) -> tuple[list[str], bool]:
    """What is said of one kernel, and whether there is anything for it."""
    name = kernel.release or "an unknown kernel"
    lines = [f"{name}{f', build id {kernel.build_id}' if kernel.build_id else ''}"]
    if kernel.version:
        lines.append(f"  {kernel.version}")
    looked_at = dict.fromkeys([*locator.kernels(kernel), *locator.standard_kernels(kernel)])
    lines += [f"  {_verdict(place, kernel)}: {place.path} ({place.reason})" for place in looked_at]
    for place in locator.standard_modules(kernel):
        lines.append(f"  {_count(place.path)}: {place.path} ({place.reason})")
    lines += _symbols_alone(kernel, here, root)
    lines += _servers(with_build_id(kernel, here).build_id)
    images = Images(locator, lambda _: None, lambda _: None)
    answer = images.image_for(b"", b"", kernel)
    if not isinstance(answer, Absence):
        (used,) = images.used
        lines.append(
            f"  would be used: {used.path}, {kind_of(used.image)}, build id {used.image.build_id or 'unknown'}"
        )
        return lines, True
    command = install_command(root, kernel.release) if kernel.release else ""
    lines.append(f"  nothing fits; to install: {command}" if command else "  nothing fits")
    return lines, False


def _verdict(place: Candidate, kernel: KernelId) -> str:
    if not os.path.exists(place.path):
        return "absent"
    try:
        opened = open_file(place.path)
        if isinstance(opened, OpenTable):
            images = list(opened.images(""))
            if not images:
                return "no kernel in it"
            opened = images[0]
    except AnnotateError as error:
        return error.problem
    return fits(opened, kernel) or "fits"


def _count(folder: str) -> str:
    if not os.path.isdir(folder):
        return "absent"
    count = sum(bool(module_name(name)) for _, _, names in os.walk(folder) for name in names)
    return f"{count} modules"


def _symbols_alone(kernel: KernelId, here: KernelId, root: str) -> Iterator[str]:
    """What names functions and has no lines."""
    for place in SYMBOL_PLACES if kernel.release and "/" not in kernel.release else ():
        path = os.path.join(root, place.format(r=kernel.release))
        yield f"  {'symbols without lines, not used' if os.path.isfile(path) else 'absent'}: {path} (System.map)"
    if kernel == here and here.release:
        path = os.path.join(root, "proc/kallsyms")
        shown = _shows_addresses(path)
        verdict = "names the raw addresses of this boot" if shown else "cannot be read, or hides its addresses"
        yield f"  {verdict}: {path} (the kernel that runs here)"


def _shows_addresses(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return any(line.partition(b" ")[0].strip(b"0") for line in file.readlines(1 << 16))
    except OSError:
        return False


def _servers(build_id: str) -> Iterator[str]:
    urls = options_from_environment(os.environ).urls
    yield from (f"  would be asked: {url} (DEBUGINFOD_URLS)" for url in urls)
    if not urls:
        yield "  no server would be asked: DEBUGINFOD_URLS is not set"
    elif not build_id:
        yield "  but not for this kernel: its build id is not known"
