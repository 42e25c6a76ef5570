"""A step of a trace: a function and, where it is known, its place; inlined calls are steps of their own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.model import Location

#: What compilers put behind the name of a part or a copy of a function.
_SUFFIX = re.compile(
    r"\.(?:isra|constprop|part|cold|clone|llvm|lto_priv|__uniq|localalias|stub|\d)[\w.$]*$|\.(?:cold|stub)$"
)
#: How a system call's own function is called on this or that machine, around the same body.
_SYSCALL = re.compile(
    r"(?:__(?:x64|ia32|x32|arm64|riscv|s390x?|se|do)_(?:compat_)?|ksys_|SyS_|SYSC_|compat_SyS_)(?:sys_)?"
)
#: Where a distribution unpacked the kernel that it built: ``/build/linux-aUcVzY/linux-5.15.0/mm/slub.c``.
_BUILD = re.compile(
    r"/(?:[\w.+~-]+/)*?linux[\w.+~-]*/(?=(?:arch|block|certs|crypto|drivers|fs|include|init|io_uring|ipc|kernel|lib|mm|net"
    r"|rust|samples|security|sound|virt)/)"
)
_UP = re.compile(r"(?:^|(?<=/))(?!\.\.?/)[^/]+/\.\./")


class Step(NamedTuple):
    """One step of a trace. The innermost one of a frame comes first."""

    function: str  #: of the source; empty for an inlined call whose name the text does not give
    symbol: str  #: of the frame that it is in, as printed
    file: str | None
    line: int | None
    is_reliable: bool = True


def bare_name(symbol: str) -> str:
    """A symbol without what compilers add: ``f.isra.0.cold`` is ``f``; so are ``.f`` of powerpc and ``__pfx_f``."""
    name = symbol.lstrip(".")
    end = len(name) + 1
    while len(name) < end:
        end = len(name)
        name = _SUFFIX.sub("", name)
    return name.removeprefix("__pfx_").removeprefix("__cfi_")


def signature_name(symbol: str) -> str:
    """A bare name by which a system call is the same on every machine."""
    return _SYSCALL.sub("sys_", bare_name(symbol), count=1)


def tree_path(file: str) -> str:
    """A path without the folder of a build, ``./`` and ``a/../``: as it is called in MAINTAINERS."""
    if file.startswith("/") and len(file) < 1000:
        file = _BUILD.sub("", file, count=1)
    while file.startswith("./"):
        file = file[2:]
    if "/../" in file and len(file) < 1000:
        before = ""
        while before != file:
            before, file = file, _UP.sub("", file, count=1)
    return file


def steps_of_chain(symbol: str, places: Sequence[Location], *, is_reliable: bool) -> list[Step]:
    """The steps of one frame, from its chain of inlined calls; one without a place where there is none."""
    if not places:
        return [Step(bare_name(symbol), symbol, None, None, is_reliable)]
    last = len(places) - 1
    return [
        Step(
            bare_name(place.function or (symbol if number == last else "")),
            symbol,
            tree_path(place.file) or None,
            place.line if place.line > 0 else None,
            is_reliable,
        )
        for number, place in enumerate(places)
    ]
