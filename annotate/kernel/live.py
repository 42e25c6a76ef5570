"""The kernel that runs here, asked for the symbols of raw addresses: /proc/kallsyms, /proc/modules and /dev/kmsg.

With KASLR an address means something in one boot only, and a log does not say of which boot it is. So an address is
answered only where this very kernel printed the line, word for word: it stands in its ring buffer. All three files
are for root; where one cannot be read nothing is answered, and nothing is said.

Sources: ``s_show()`` (``kernel/kallsyms.c``), ``m_show()`` (``kernel/module/procfs.c``), ``devkmsg_read()``
(``kernel/printk/printk.c``; the format stands in ``Documentation/ABI/testing/dev-kmsg``).
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from annotate.kernel.identify import are_builds_apart
from annotate.log.message import find_message
from annotate.log.visible import visible

if TYPE_CHECKING:
    from annotate.model import Frame, KernelId, RunAddr

#: What a record of the ring is called: level and facility, number, microseconds, flags; continuation lines follow.
_RECORD = re.compile(rb"(?P<priority>\d+),\d+,\d+,[^;\n]*;(?P<text>[^\n]*)")
#: Facility 0 is the kernel's own; others come from programs that write to /dev/kmsg.
_FIRST_FOREIGN_PRIORITY = 8
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")
_LONG_NUMBER = re.compile(rb"[0-9a-f]{8}")

#: Rings have 128 KiB to a few MiB; records are shorter than 8 KiB (``PRINTK_MESSAGE_MAX`` is 2 KiB).
_MAX_RECORDS = 1 << 20
_RECORD_SIZE = 8192


class Named(NamedTuple):
    """A symbol of the running kernel, as kallsyms prints it for an address."""

    symbol: bytes
    offset: int
    size: int
    module: bytes


class RunningKernel:
    """Implements ``annotate.resolve.RunningKernel``. ``root`` is where proc and dev are."""

    def __init__(self, root: str, kernel: KernelId) -> None:
        self._root = root
        self._kernel = kernel
        self._ring: _Ring | None = None
        self._symbols: _Symbols | None = None

    def name(self, frame: Frame, line: bytes, kernel: KernelId) -> Frame | None:
        """The frame with the symbol at its address; None unless this boot printed ``line`` and that is certain."""
        if frame.address is None or not self._may_be(kernel):
            return None
        if self._symbols is None:
            self._symbols = _Symbols(self._root)
        if not self._symbols.are_known:
            return None
        if self._ring is None:
            self._ring = _Ring(os.path.join(self._root, "dev/kmsg"))
        if not self._ring.holds(line):
            return None
        named = self._symbols.at(frame.address)
        if named is None:
            return None
        return frame._replace(symbol=named.symbol, offset=named.offset, size=named.size, module=named.module)

    def _may_be(self, kernel: KernelId) -> bool:
        """Whether a log of this kernel may be of this boot; one that names no kernel may be."""
        if not self._kernel.release:
            return False
        return not kernel.release or (
            kernel.release == self._kernel.release and not are_builds_apart(kernel.version, self._kernel.version)
        )


class _Ring:
    """The messages in the kernel's ring buffer that hold a number as long as an address; read on when asked."""

    def __init__(self, path: str) -> None:
        self._messages: set[bytes] = set()
        try:
            # A fifo or a terminal that someone put there must not stop us either.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def holds(self, line: bytes) -> bool:
        """Whether the kernel printed this line, whatever stands in front of the message."""
        text = visible(line)
        body = line if text is None else text.text
        found = find_message(body)
        message = body[found.start : found.end].strip()
        if message not in self._messages:
            self._read_on()
        return message in self._messages

    def _read_on(self) -> None:
        rest = b""
        for _ in range(_MAX_RECORDS):
            if self._descriptor < 0:
                return
            try:
                data = os.read(self._descriptor, _RECORD_SIZE)  # one record; of a file, as much as there is
            except BrokenPipeError:
                continue  # the next records were overwritten meanwhile
            except OSError:
                return  # BlockingIOError: that was all
            if not data:
                return
            *records, rest = (rest + data).split(b"\n")
            for record in records:
                self._add(record)

    def _add(self, record: bytes) -> None:
        match = _RECORD.match(record)
        if match is None or int(match["priority"]) >= _FIRST_FOREIGN_PRIORITY:
            return
        text = _ESCAPED.sub(lambda escape: bytes((int(escape[1], 16),)), match["text"])
        self._messages.update(line.strip() for line in text.split(b"\n") if _LONG_NUMBER.search(line) is not None)


class _Symbols:
    """/proc/kallsyms. Nothing is known where addresses are hidden (``kptr_restrict``): they are all 0 then."""

    def __init__(self, root: str) -> None:
        entries = []
        for line in _read(os.path.join(root, "proc/kallsyms")).splitlines():
            columns = line.split(maxsplit=3)
            if len(columns) >= 3 and (address := _number(columns[0])):
                module = columns[3].strip(b"[]") if len(columns) > 3 else b""
                entries.append((address, columns[2], module, columns[1]))
        entries.sort(key=lambda entry: entry[0])  # stable: of several at one address the kernel names the first
        self._entries = entries
        self._addresses = [entry[0] for entry in entries]
        self._permanent = _permanent_modules(root)

    @property
    def are_known(self) -> bool:
        """Whether this kernel shows its addresses."""
        return bool(self._entries)

    def at(self, address: RunAddr) -> Named | None:
        """What ``%pS`` prints for an address; None for one outside all code, and in a module that may be gone.

        A module can be removed and another be put in its place, or a newer build of the same, and nothing says when
        that was: only of those that cannot be removed is it certain that the log means them.
        """
        behind = bisect_right(self._addresses, address)
        if behind in (0, len(self._addresses)):
            return None
        start = self._addresses[behind - 1]
        entry = self._entries[bisect_right(self._addresses, start - 1)]
        _, symbol, module, kind = entry
        following = self._entries[behind]
        if kind not in b"tTwW" or following[2] != module or (module and module not in self._permanent):
            return None
        return Named(symbol, address - start, following[0] - start, module)


def _permanent_modules(root: str) -> frozenset[bytes]:
    """Modules without an exit: they stay where they are until the next boot."""
    lines = _read(os.path.join(root, "proc/modules")).splitlines()
    return frozenset(line.split(maxsplit=1)[0] for line in lines if b"[permanent]" in line)


def _number(text: bytes) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
