"""What was read of a file and is kept for the next look-up, within bounds."""

from __future__ import annotations

from typing import Generic, TypeVar

_Piece = TypeVar("_Piece")


class Kept(Generic[_Piece]):
    """Pieces of a file by where they are; those asked for longest ago go first. ``most`` is a number of bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0
        self._pieces: dict[int, tuple[_Piece, int]] = {}  # the one asked for last stands last

    @property
    def count(self) -> int:
        """How many pieces are kept."""
        return len(self._pieces)

    def get(self, place: int) -> _Piece | None:
        """The piece, None when it is not kept."""
        kept = self._pieces.get(place)
        if kept is None:
            return None
        if 4 * self.size > 3 * self.most:
            # Only then is the order of any use; keeping it takes a twentieth of the time of a look-up.
            del self._pieces[place]
            self._pieces[place] = kept
        return kept[0]

    def add(self, place: int, piece: _Piece, size: int) -> None:
        """Keep a piece that takes so many bytes. The last one is kept whatever its size."""
        self.size += size
        while self.size > self.most and self._pieces:
            _, dropped = self._pieces.pop(next(iter(self._pieces)))
            self.size -= dropped
        self._pieces[place] = piece, size
