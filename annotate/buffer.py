"""What the readers of debug files and tables ask of the bytes of a file: slices, a size, and a search."""

from __future__ import annotations

from typing import Protocol


class Buffer(Protocol):
    """The bytes of a file. ``bytes`` is one; ``annotate.filebytes`` has one that reads when it is asked.

    A slice is a copy, shorter where the file ends before it does. Each may raise AnnotateError.
    """

    def __len__(self) -> int:
        """How many bytes it has."""

    def __getitem__(self, piece: slice, /) -> bytes:
        """Some of them."""

    def find(self, wanted: bytes, start: int, end: int, /) -> int:
        """Where ``wanted`` first stands within ``start`` to ``end``; -1 where it does not."""
