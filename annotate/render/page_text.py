"""Bytes of a log -> text of a page: what does not print is written out, and nothing is markup."""

from __future__ import annotations

import re
from html import escape

import regex

_COLOUR = re.compile(rb"\x1b\[[\d;]{0,32}[mK]")
_ORDINARY = re.compile(rb"[\t -~]*")

#: Controls, what turns the direction of the text or takes no room, and bytes that are no UTF-8.
_UNPRINTED = regex.compile(r"[[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]--[\t]]", regex.VERSION1)


def page_text(data: bytes) -> str:
    r"""The bytes as HTML, without colours; ``\x1b`` and the like, set apart, for what does not print."""
    if _ORDINARY.fullmatch(data) is not None:
        return escape(data.decode("ascii"))
    text = _COLOUR.sub(b"", data).decode("utf-8", "surrogateescape")
    return _UNPRINTED.sub(_written_out, escape(text))


def page_words(text: str) -> str:
    """Text of another source as HTML; bytes that were no UTF-8 stand in it as lone surrogates."""
    return page_text(text.encode("utf-8", "surrogateescape"))


def _written_out(match: regex.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"<i>\\x{code - 0xDC00:02x}</i>"
    return f"<i>\\x{code:02x}</i>" if code < 0x80 else f"<i>\\u{code:04x}</i>"
