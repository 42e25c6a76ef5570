"""Which tag of which published tree a kernel was built from, where that is certain.

A release alone seldom says it: ``6.8.0-45-generic`` is no v6.8 but some later stable version with patches on top, and
a kernel of one's own may hold anything behind its tag (``-00012-g...``, ``+``). Nor do the kernels of distributions
say it that name the stable version: Debian and Fedora put patches on top, which move lines in some files. Of those
there is no tag, for lines would be wrong; Debian shows the sources of its packages with the patches in them.
Sources: ``scripts/setlocalversion``, ``linux_banner``, and how Debian numbers packages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from annotate.model import KernelId

_MAINLINE, _STABLE, _NEXT = "torvalds", "stable", "next"
_REPOSITORIES = {_MAINLINE: "torvalds/linux.git", _STABLE: "stable/linux.git", _NEXT: "next/linux-next.git"}

_NUMBERS = r"(?P<series>\d{1,2}\.\d{1,3})\.(?P<sublevel>\d{1,4})"
#: A kernel.org kernel; what follows the numbers must be nothing else.
_OWN_RELEASE = re.compile(_NUMBERS + r"(?:-(?P<candidate>rc\d{1,2}))?")
_NEXT_RELEASE = re.compile(r"\d{1,2}\.\d{1,3}\.0(?:-rc\d{1,2})?-(?P<tag>next-\d{8})")
#: In the version: ``#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-07-12)``; ``6.18~rc3-1~exp1``, ``6.12-1~exp1`` too.
_DEBIAN_VERSION = re.compile(
    r"\bDebian (?P<package>(?P<series>\d{1,2}\.\d{1,3})(?:\.(?P<sublevel>\d{1,4}))?(?:~(?P<candidate>rc\d{1,2}))?"
    r"-\d{1,3}[\w.+~]{0,40})(?= |$)"
)


class Tag(NamedTuple):
    """Where the sources of a kernel are published."""

    name: str  #: ``v6.1.192``
    repository: str  #: below https://git.kernel.org/pub/scm/linux/kernel/git/


def tag_of(kernel: KernelId) -> Tag | None:
    """The tag whose lines are the kernel's; None where it is not certain."""
    found = _NEXT_RELEASE.fullmatch(kernel.release)
    if found is not None:
        return Tag(found["tag"], _REPOSITORIES[_NEXT])
    found = _OWN_RELEASE.fullmatch(kernel.release)
    if found is None or _DEBIAN_VERSION.search(kernel.version):
        return None
    return _tag(found["series"], int(found["sublevel"]), found["candidate"])


def package_version(kernel: KernelId) -> str:
    """The version of the distribution's package, ``6.1.192-2``; empty where the log does not say it."""
    found = _DEBIAN_VERSION.search(kernel.version)
    if found is None or not kernel.release.startswith((found["series"] + ".", found["series"] + "-")):
        return ""
    return found["package"]


def _tag(series: str, sublevel: int, candidate: str | None) -> Tag | None:
    if candidate is not None:
        return None if sublevel else Tag(f"v{series}-{candidate}", _REPOSITORIES[_MAINLINE])
    return Tag(f"v{series}.{sublevel}" if sublevel else f"v{series}", _REPOSITORIES[_STABLE])
