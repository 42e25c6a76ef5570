"""What the lines so far say about their kernel, their boot and their trace.

Sources: ``linux_banner`` (``init/version-timestamp.c``), ``dump_stack_print_info()`` (``lib/dump_stack.c``),
``dump_kernel_offset()`` (``arch/x86/kernel/setup.c``; arm64 alike).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import regex

from annotate.model import Frame, KernelId, PcKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BANNER = regex.compile(rb"\bLinux version (?P<release>[^\s]{1,256}) (?P<version>\([^\n]{0,1024}?#[0-9][^\n]*)")
_CPU_LINE = regex.compile(
    rb"\bCPU: \d+ (?:UID: \d+ )?PID: \d+ Comm: .{0,64}?(?:Not tainted|Tainted: [A-Z \[\]=,_]{1,512}?) +"
    rb"(?P<release>[^\s]{1,256}) (?P<version>#\d[^\r\n]*)"
)
_BUILD_ID_AT_END = regex.compile(rb"(?<= )(?P<build_id>[0-9a-f]{40})$")
_OFFSET = regex.compile(rb"\bKernel Offset: (?:0x(?P<offset>[0-9a-f]{1,16}) from 0x|(?P<disabled>disabled))")


class Facts(NamedTuple):
    """What holds for one line of a log."""

    boot: int = 0  #: counts the banners before it
    kernel: KernelId = KernelId()  #: the kernel that wrote it
    slide: int | None = None  #: the KASLR offset of its boot, None while unknown


class LogContext:
    """Facts of one log, kept current line by line: ``facts`` are those of the line observed last.

    ``slides`` are the KASLR offsets of all boots where the log was read ahead: panics print theirs at the very end.
    """

    def __init__(self, slides: Sequence[int | None] = (), kernel: KernelId | None = None) -> None:
        self._slides = slides
        self._pc: tuple[bytes, int, int | None, bytes] | None = None
        self._is_branch_next = False
        self.facts = Facts(0, kernel or KernelId(), slides[0] if slides else None)

    def observe(self, body: bytes) -> None:
        """Take in one line."""
        if b"Linux version " in body:
            match = _BANNER.search(body)
            if match is not None:
                self._start_boot(match)
        elif b" PID: " in body:
            match = _CPU_LINE.search(body)
            if match is not None:
                self._pc = None
                self._see_cpu_line(match)
        elif b"Kernel Offset: " in body:
            self.facts = self.facts._replace(slide=_slide_of(body, self.facts.slide))
        elif b"---[ end " in body:
            self._pc = None
        elif b"Last Breaking-Event" in body:
            self._is_branch_next = True

    def _start_boot(self, match: regex.Match[bytes]) -> None:
        boot = self.facts.boot + 1
        slide = self._slides[boot] if boot < len(self._slides) else None
        self._pc = None
        self.facts = Facts(boot, KernelId(_text(match["release"]), _text(match["version"])), slide)

    def _see_cpu_line(self, match: regex.Match[bytes]) -> None:
        release, version = _text(match["release"]), _text(match["version"])
        build_id = _BUILD_ID_AT_END.search(match["version"])
        known = self.facts.kernel if self.facts.kernel.release == release else KernelId(release, version)
        if build_id is not None:
            known = known._replace(build_id=_text(build_id["build_id"]))
        if known != self.facts.kernel:
            self.facts = self.facts._replace(kernel=known)

    def place(self, frames: Iterable[Frame]) -> list[Frame]:
        """Let the trace around them correct what the frames of one line mean on their own.

        A trace entry that repeats the interrupted instruction pointer (``RIP:``, ``pc :``) of the dump above it is that
        pc, not a return address. Nor is the entry behind ``Last Breaking-Event-Address:`` one: it is the branch that
        was taken last (``show_last_breaking_event()``, ``arch/s390/kernel/dumpstack.c``).
        """
        placed = []
        for frame in frames:
            identity = (frame.symbol, frame.offset, frame.size, frame.module)
            pc = frame.pc
            if frame.format in ("instruction_pointer", "program_counter"):
                self._pc = identity
            elif frame.in_trace and pc is PcKind.RETURN and (identity == self._pc or self._is_branch_next):
                pc = PcKind.EXACT
            self._is_branch_next = False
            placed.append(frame if pc is frame.pc else frame._replace(pc=pc))
        return placed


def read_ahead(lines: Iterable[bytes]) -> list[int | None]:
    """The KASLR offset of what stands before the first banner, then of each boot; None where none is printed.

    ``lines`` are those that hold ``Linux version`` or ``Kernel Offset:``, in order.
    """
    slides: list[int | None] = [None]
    for line in lines:
        if _BANNER.search(line) is not None:
            slides.append(None)
        else:
            slides[-1] = _slide_of(line, slides[-1])
    return slides


def _slide_of(line: bytes, otherwise: int | None) -> int | None:
    match = _OFFSET.search(line)
    if match is None:
        return otherwise
    return 0 if match["disabled"] else int(match["offset"], 16)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
