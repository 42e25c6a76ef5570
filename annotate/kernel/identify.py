"""Which kernel it is: of a file, from what the build left in it; of this machine, from /proc and /sys."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from annotate.model import KernelId

if TYPE_CHECKING:
    from annotate.debuginfo.elf import ElfFile

#: ``linux_banner`` (``init/version-timestamp.c``) and a module's ``vermagic`` (``include/linux/vermagic.h``).
_BANNER = re.compile(rb"Linux version (?P<release>[^\s%\0]{1,256}) (?P<version>\([^\0\n]{1,2048})")
_VERMAGIC = re.compile(rb"(?:^|\0)vermagic=(?P<release>[^\s\0]{1,256})")

_NUMBER = re.compile(r"#\d")

#: A note of /sys/kernel/notes: sizes of name and description, type 3, the name.
_BUILD_ID_NOTE = re.compile(rb"\x04\0\0\0(?P<size>[\x08-\x40])\0\0\0\x03\0\0\0GNU\0", re.DOTALL)


def kernel_of(elf: ElfFile) -> KernelId:
    """The kernel that a vmlinux is, or whose release a module was built for; nothing where it does not say."""
    modinfo = elf.section(".modinfo")
    if modinfo is not None and modinfo.type != 8:
        match = _VERMAGIC.search(elf.read(modinfo))
        if match is not None:
            return KernelId(match["release"].decode("utf-8", "replace"))
    rodata = elf.section(".rodata")
    if rodata is not None and rodata.type != 8 and not modinfo:
        # Found by a substring search first: 1 ms on a vmlinux, 15 times faster than the expression.
        data, start, end = elf.span(rodata)
        position = data.find(b"Linux version ", start, end)
        found = KernelId()
        while position >= 0:
            match = _BANNER.match(data[position : position + 2400])
            if match is not None:
                release, version = (match[name].decode("utf-8", "replace") for name in ("release", "version"))
                if _NUMBER.search(version) is not None:
                    return KernelId(release, version)
                # What was linked before the number of the build was known stays in some, in front of the banner.
                found = KernelId(release)
            position = data.find(b"Linux version ", position + 1, end)
        return found
    return KernelId()


def release_of(elf: ElfFile) -> str:
    """The release of ``kernel_of``."""
    return kernel_of(elf).release


def are_builds_apart(version: str, other: str) -> bool:
    """Whether two version strings are of different builds: both have number and date behind their ``#``, and differ.

    Lines of a dump print the number alone, or what a distribution makes of it; that tells nothing apart.
    """
    if not (version.startswith("(") and other.startswith("(")):
        return False
    build, other_build = version.partition("#")[2].split(), other.partition("#")[2].split()
    return bool(build) and bool(other_build) and build != other_build


def running(root: str = "/") -> KernelId:
    """The kernel that runs here; nothing is known where ``root`` has no /proc (a container's files, a test's)."""
    match = _BANNER.match(_read(os.path.join(root, "proc/version")))
    if match is None:
        return KernelId()
    notes = _read(os.path.join(root, "sys/kernel/notes"))
    note = _BUILD_ID_NOTE.search(notes)
    build_id = notes[note.end() : note.end() + note["size"][0]].hex() if note is not None else ""
    return KernelId(
        match["release"].decode("utf-8", "replace"),
        match["version"].decode("utf-8", "replace").strip(),
        os.uname().machine,
        build_id,
    )


def with_build_id(named: KernelId, running_here: KernelId) -> KernelId:
    """What a log says of its kernel, and the build id of the one that runs here if release and version are the same.

    The version is what follows ``#`` in the banner: the number and the date of the build.
    """
    if named.build_id or not running_here.build_id or named.release != running_here.release:
        return named
    version, here = named.version.partition("#")[2].split(), running_here.version.partition("#")[2].split()
    return named._replace(build_id=running_here.build_id) if version and version == here else named


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 16)
    except OSError:
        return b""
