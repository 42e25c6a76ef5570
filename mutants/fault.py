"""What a fault is: one slip of a pen in one file."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A change of ``old``, which stands once in ``file``, to ``new``."""

    name: str
    file: str  #: below ``annotate/``
    old: str
    new: str
    why: str  #: how a person comes to make it
    tests: tuple[str, ...]  #: files below ``tests/`` that are to notice, the one that should first in front
