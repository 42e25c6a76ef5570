"""Function names as people write them: Rust names demangled, all others as they are."""

from __future__ import annotations

import contextlib
import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from annotate.limits import MAX_DEMANGLING, MAX_MANGLED

if TYPE_CHECKING:
    from types import FrameType

#: Both manglings of rustc: v0, and the legacy one that ends in a hash.
_RUST = re.compile(r"_R[A-Za-z0-9_.$]+|_ZN[A-Za-z0-9_.$]+17h[0-9a-f]{16}E(?:\.[\w.]+)?")
_HASH = re.compile(r"::h[0-9a-f]{16}$")


class _TooLongError(BaseException):
    """A name that takes too many steps to read. No Exception: the library catches those."""


@lru_cache(maxsize=1024)
def readable(name: str) -> str:
    """The name, demangled if it is a Rust name and can be."""
    if _RUST.fullmatch(name) is None:
        return name
    # Imported when the first Rust name is met: it takes 10 ms.
    from rust_demangler import demangle

    calls = 0

    def count(_frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal calls
        calls += 1
        if calls > MAX_DEMANGLING:
            raise _TooLongError

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        with contextlib.redirect_stdout(None):  # the library prints what it could read of a name that is none
            text = demangle(name)
    except (
        _TooLongError,
        Exception,
    ):  # the library raises errors of many kinds for what it cannot read: then the name stays as it is
        return name
    finally:
        sys.setprofile(previous)
    text = _HASH.sub("", text)
    return text if 0 < len(text) <= MAX_MANGLED else name
