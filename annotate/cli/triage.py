"""What ``--triage`` needs of the world: the lists of plumbing, and a MAINTAINERS file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from annotate.cli.streams import read_file
from annotate.errors import AnnotateError
from annotate.maintainers import read_maintainers
from annotate.triage.plumbing import Plumbing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.maintainers import Maintainers
    from annotate.model import Crash

#: The list that comes with this package.
_OWN_LIST = os.path.join(os.path.dirname(os.path.dirname(__file__)), "triage", "plumbing.txt")


def read_plumbing(paths: Sequence[str]) -> Plumbing:
    """The list that comes with this package, and the user's. Raises AnnotateError for one that cannot be used."""
    plumbing = Plumbing()
    for path in (_OWN_LIST, *paths):
        plumbing.add(read_file(path), path)
    return plumbing


def named_maintainers(path: str) -> Maintainers:
    """The MAINTAINERS file that the user named. Raises AnnotateError when it cannot be used."""
    return read_maintainers(read_file(path), path)


def found_maintainers(carried: tuple[bytes, str] | None) -> Maintainers | None:
    """That which a table carries, else that of the kernel tree which one stands in; None where there is none.

    Raises AnnotateError for a table's that cannot be used.
    """
    if carried is not None:
        return read_maintainers(*carried)
    if not os.path.exists("Kconfig"):
        return None  # many a project has a file of that name
    try:
        return read_maintainers(read_file("MAINTAINERS"), "MAINTAINERS")
    except AnnotateError:
        return None


def remark(crashes: Sequence[Crash], maintainers: Maintainers | None, overflow: int) -> str:
    """What the triage lacks, in a sentence; empty where it lacks nothing."""
    sentences = []
    if overflow:
        sentences.append(f"{overflow} more crashes are not shown.")
    if maintainers is None and any(crash.file is not None and not crash.file.startswith("/") for crash in crashes):
        sentences.append("--maintainers FILE, a kernel's MAINTAINERS, would name the subsystems.")
    return " ".join(sentences)
