"""What a kernel's table is made of, in order, and its two forms: the bytes, and source text for gas.

Both are made from the same pieces, so what an assembler makes of the text are the bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LETTERS = {2: "H", 4: "I"}
_DIRECTIVES = {2: ".short", 4: ".long"}

#: Values of a line of source.
_A_LINE = 16


class Numbers(NamedTuple):
    """Numbers of ``width`` bytes (2 or 4); ``label`` is a global symbol, none when empty."""

    label: str
    width: int
    values: Sequence[int]


class Data(NamedTuple):
    """Bytes, not aligned."""

    label: str
    data: bytes


class Strings(NamedTuple):
    """NUL-terminated strings, not aligned."""

    label: str
    strings: Sequence[bytes]


class Anchor(NamedTuple):
    """64 bits that hold the run-time address of a section: a relocation."""

    section: str


Piece = Numbers | Data | Strings | Anchor


class Assembled(NamedTuple):
    """Bytes of a section; ``anchors`` are (offset, section) of the relocations that it wants."""

    data: bytes
    anchors: Sequence[tuple[int, str]]


def size_of(pieces: Sequence[Piece], start: int = 0) -> int:
    """Where the last piece ends when the first may begin at ``start``."""
    position = start
    for piece in pieces:
        if isinstance(piece, Numbers):
            position += -position % piece.width + piece.width * len(piece.values)
        elif isinstance(piece, Data):
            position += len(piece.data)
        elif isinstance(piece, Strings):
            position += sum(len(string) + 1 for string in piece.strings)
        else:
            position += -position % 8 + 8
    return position


def assemble(pieces: Sequence[Piece], byte_order: str) -> Assembled:
    """The bytes of the pieces, one behind the other, each at its alignment; anchors are zero."""
    result = bytearray()
    anchors = []
    for piece in pieces:
        if isinstance(piece, Numbers):
            result += bytes(-len(result) % piece.width)
            result += struct.pack(f"{byte_order}{len(piece.values)}{_LETTERS[piece.width]}", *piece.values)
        elif isinstance(piece, Data):
            result += piece.data
        elif isinstance(piece, Strings):
            result += b"".join(string + b"\0" for string in piece.strings)
        else:
            result += bytes(-len(result) % 8)
            anchors.append((len(result), piece.section))
            result += bytes(8)
    return Assembled(bytes(result), anchors)


def write_source(section: str, alignment: int, pieces: Sequence[Piece], bits: int, byte_order: str) -> Iterator[str]:
    """Source for gas of any target, a few lines at a time.

    ``bits`` and ``byte_order`` only matter for anchors: a 32-bit target relocates the low half of one.
    """
    for name in dict.fromkeys(piece.section for piece in pieces if isinstance(piece, Anchor)):
        # Empty, so that the anchor binds to this file's own section symbol: ``ld -r`` merges it with the module's.
        yield f'\t.section {name}, "ax"\n'
    yield f'\t.section {section}, "a"\n\t.balign {alignment}\n'
    for piece in pieces:
        if isinstance(piece, Anchor):
            zero = "\t.long 0\n"
            word = f"\t.long {piece.section}\n"
            half = word + zero if byte_order == "<" else zero + word
            yield "\t.balign 8\n" + (f"\t.quad {piece.section}\n" if bits == 64 else half)
            continue
        if isinstance(piece, Numbers):
            yield f"\t.balign {piece.width}\n"
        if piece.label:
            yield f"\t.globl {piece.label}\n{piece.label}:\n"
        if isinstance(piece, Numbers):
            yield from _lines(_DIRECTIVES[piece.width], piece.values)
        elif isinstance(piece, Data):
            yield from _lines(".byte", piece.data)
        else:
            for string in piece.strings:
                yield f'\t.asciz "{_escaped(string)}"\n'


def _lines(directive: str, values: Sequence[int]) -> Iterator[str]:
    for start in range(0, len(values), _A_LINE):
        yield f"\t{directive} {','.join(map(hex, values[start : start + _A_LINE]))}\n"


def _escaped(string: bytes) -> str:
    r"""As gas reads it back: ``\`` and ``"`` behind a ``\``, what is not printable ASCII in octal."""
    return "".join(
        f"\\{byte:03o}" if byte < 0x20 or byte > 0x7E else "\\" + chr(byte) if byte in b'\\"' else chr(byte)
        for byte in string
    )
