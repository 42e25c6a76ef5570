"""Any text as MAINTAINERS is an error of ours or entries, and what it names for a path stands in it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from annotate import maintainers
from annotate.errors import AnnotateError

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS: Final = (
    b"THE REST\n", b"F:\t", b"X:\t", b"N:\t", b"K:\t", b"M:\t", b"R:\t", b"L:\t", b"T:\tgit ", b"S:\tMaintained\n",
    b"net/ipv6/", b"*/", b"[^a-z]", b"(?i)", b"\n\n", b"?", b"*", b"\\b",
)  # fmt: skip

_PATHS: Final = (
    "net/ipv6/ip6_output.c",
    "fs/read_write.c",
    "drivers/net/a/b.c",
    "MAINTAINERS",
    "",
    "a\nb",
    "/",
    "../x",
)


def check(data: bytes) -> None:
    """A few paths are asked for, and the first line as one."""
    first, _, text = data.partition(b"\n")
    with contextlib.suppress(AnnotateError):
        entries = maintainers.read_maintainers(text, "fuzzed")
        words = text.decode("utf-8", "surrogateescape")
        for path in (*_PATHS, first.decode("utf-8", "surrogateescape")):
            found = entries.subsystems_of(path)
            assert list(entries.subsystems_of(path)) == list(found), "asked again, it says something else"
            for subsystem in found:
                assert subsystem.title.strip() in words, subsystem
                assert subsystem.why.partition(":")[2].strip() in words, subsystem


def seeds() -> Iterator[bytes]:
    """A small file with each kind of line."""
    entries = (
        b"List of maintainers\n-------------------\n\n",
        b"NETWORKING [IPv4/IPv6]\nM:\tA B <a@b.c>\nR:\tC <c@d.e>\nL:\tn@v.org\nS:\tMaintained\n"
        b"T:\tgit git://git.kernel.org/net.git\nF:\tnet/ipv4/\nF:\tnet/ipv6/\nX:\tnet/ipv6/x*\n\n",
        b"FILESYSTEMS (VFS)\nM:\tD <d@e.f>\nF:\tfs/*\nF:\tinclude/fs.h\nN:\tread_?write\nK:\tvfs_\n\n",
        b"THE REST\nM:\tE <e@f.g>\nS:\tBuried alive in reporters\nF:\t*\nF:\t*/\n",
    )
    yield b"fs/open.c\n" + b"".join(entries)
    for entry in entries[1:]:
        yield b"drivers/net/x.c\n" + entry
