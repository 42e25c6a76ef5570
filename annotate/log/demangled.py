"""Demangled names, as tools print those of Rust functions: ``<rnull::NullBlk as kernel::InPlaceModule>::init``."""

from __future__ import annotations

import regex

#: The longest demangled name, and what brackets in it may hold.
_MAX_PATH = 1024
_PATH_WORD = regex.compile(rb"(?r)[\w.$#]{1,1024}")
_PATH_TEXT = regex.compile(rb"(?r)[\w:<>,&*\[\]();#{} '=+.$-]{1,1024}")
_BRACKETS = {b">": b"<", b"}": b"{"}


def name_start(text: bytes, start: int) -> int:
    """Where the demangled name begins that ends, or goes on behind ``::``, at ``start``; ``start`` if it is none."""
    first = max(0, start - _MAX_PATH)
    position = start
    if not text.endswith(b"::", first, position):
        position = _segment_start(text, first, position)
    is_path = False
    while text.endswith(b"::", first, position):
        segment = _segment_start(text, first, position - 2)
        if segment == position - 2:
            return start
        position = segment
        is_path = True
    return start if not is_path or text[position - 1 : position] == b"\\" else position


def _segment_start(text: bytes, first: int, end: int) -> int:
    """Where the part of a path that ends at ``end`` begins: a word, ``{closure#0}``, ``<T as Trait>``, ``Vec<T>``."""
    opening = _BRACKETS.get(text[end - 1 : end])
    start = end
    if opening is not None:
        closing, depth, start = text[end - 1 : end], 0, end
        # A name holds nothing else, so no text is looked through for more than one.
        inside = _PATH_TEXT.match(text, first, end)
        first = end if inside is None else inside.start()
        while start > first:
            start -= 1
            byte = text[start : start + 1]
            if byte == closing and text[start - 1 : start] != b"-":
                depth += 1
            elif byte == opening:
                depth -= 1
                if depth == 0:
                    break
        if depth:
            return end
    word = _PATH_WORD.match(text, first, start)
    return start if word is None else word.start()
