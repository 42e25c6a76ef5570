"""The answers of an image on their way into a table: symbol by symbol, as tokens.

A token ends the stretch before it: it says how far on the next one begins and what answers there. Which call a stretch
is in is said by how recently the symbol last was in it (0: still the same), so most tokens are three small numbers and
the same few hundred triples make up two thirds of them. Those are packed into one integer each; what does not fit, and
what brings in a new call, stands in a column of its own.

The format that comes of it is described in ``lineinfo_v1``. This module is what its writer and those who make the
tokens (``debuginfo/generate.py``) share.
"""

from __future__ import annotations

from array import array

#: A step is packed as ``(distance << RANK_BITS | rank) << LINE_BITS | lines + LINE_BIAS``.
RANK_BITS, LINE_BITS = 8, 24
LINE_BIAS = 1 << LINE_BITS - 1
MAX_RANK = (1 << RANK_BITS) - 1
MAX_DISTANCE = (1 << 20) - 1


#: The kinds of tokens that are not packed. Each is a run of numbers, the first of which is its kind:
#: STEP       distance, rank, lines: too large to be packed
#: ENTER      distance, rank of the call that the first new one is in, number of new calls, for each, outermost first:
#:            index into ``names``, file of the call as an index into ``paths`` (-1: that of what it is called in), line
#:            of the call (of the first: from the last line of what it is in); then the line of the stretch
#: ELSEWHERE  distance, rank, index into ``paths``, line: a row in another file than that of its function
#: NOTHING    distance: code without a line
STEP, ENTER, ELSEWHERE, NOTHING = range(4)


class Tokens:
    """The tokens of a number of entries, as columns that pass cheaply from one process to another.

    Entry ``i`` owns ``counts[i]`` of ``steps``; a negative one stands for the run of numbers that begins at
    ``special[-1 - step]``. ``files`` and ``lines`` are the file (index into ``paths``) and line of the entry's function
    itself where its code begins. ``names`` are the inlined functions: name, and file as an index into ``paths``.
    """

    __slots__ = ("counts", "files", "lines", "names", "paths", "rows", "special", "steps")

    def __init__(self) -> None:
        self.counts = array("L")
        self.files = array("L")
        self.lines = array("L")
        self.steps = array("q")
        self.special = array("q")
        self.names: list[tuple[bytes, int]] = []
        self.paths: list[str] = []
        self.rows = 0  #: stretches with a line
