"""What the lines so far say about their kernel, their boot and their trace.

Sources: ``linux_banner`` (``init/version-timestamp.c``), ``dump_stack_print_info()`` (``lib/dump_stack.c``),
``dump_kernel_offset()`` (``arch/x86/kernel/setup.c``; arm64 alike), ``print_modules()`` (``kernel/module/main.c``),
``m_show()`` (``kernel/module/procfs.c``).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import regex

from annotate.model import Frame, KernelId, PcKind

if TYPE_CHECKING:
    from collections.abc import Sequence

_BANNER = regex.compile(rb"\bLinux version (?P<release>[^\s]{1,256}) (?P<version>\([^\n]{0,1024}?#[0-9][^\n]*)")
_CPU_LINE = regex.compile(
    rb"\bCPU: \d+ (?:UID: \d+ )?PID: \d+ Comm: .{0,64}?(?:Not tainted|Tainted: (?P<taint>[A-Z \[\]=,_]{1,512}?)) +"
    rb"(?P<release>[^\s]{1,256}) (?P<version>#\d[^\r\n]*)"
)
_BUILD_ID_AT_END = regex.compile(rb" (?P<build_id>[0-9a-f]{40})")
_OFFSET = regex.compile(rb"\bKernel Offset: (?:0x(?P<offset>[0-9a-f]{1,16}) from 0x|(?P<disabled>disabled))")
_MODULES = regex.compile(rb"\bModules linked in:(?P<names>[^\[\n]*+)")
_HEX = regex.compile(rb"0x[0-9a-f]{1,16}")

#: The columns of /proc/modules: name, size, users, by whom, state, base.
_STATES = (b"Live", b"Loading")
_MAX_COLUMNS = 4096

#: The ends of releases and the words in register dumps that only one architecture has.
_ARCHES = (
    (b"RIP: 0010:", "x86_64"),
    (b"EIP: ", "i386"),
    (b"pstate: ", "aarch64"),
    (b"psr: ", "arm"),
    (b"Krnl PSW", "s390x"),
    (b"IAOQ", "parisc"),
    (b"TSTATE: ", "sparc64"),
    (b"[BLINK", "arc"),
    (b" ERA: ", "loongarch64"),
    (b"NIP ", "powerpc"),
    (b"NIP: ", "powerpc"),
    (b"scause", "riscv"),
)
_RELEASES = (
    (("-amd64", ".x86_64", "-x86_64"), "x86_64"),
    (("-arm64", ".aarch64", "-aarch64"), "aarch64"),
    ((".s390x", "-s390x"), "s390x"),
    ((".ppc64le", "-ppc64le", "-powerpc64le"), "powerpc"),
    (("-riscv64", ".riscv64"), "riscv"),
    (("-armmp", "-armmp-lpae", ".armv7hl"), "arm"),
    (("-686", "-686-pae", ".i686"), "i386"),
)


#: One of these stands in every line that ``LogContext.observe`` takes anything from.
CUES = (
    *(b" PID: ", b"Linux version ", b"Kernel Offset: ", b"---[ end ", b"Last Breaking-Event"),
    *(b"Modules linked in:", b" Live 0x"),
)


def may_tell(body: bytes) -> bool:
    """A cheap test: false where ``LogContext.observe`` takes nothing from the line."""
    return any(map(body.__contains__, CUES))


#: Formats of the instruction pointer in a register dump. It decides what the entries of the trace below it mean.
PROGRAM_COUNTERS = frozenset({"instruction_pointer", "program_counter"})


class Bound(Enum):
    """What a line is to the dump of registers and trace around it."""

    NONE = 0
    BEGIN = 1
    END = 2


class Facts(NamedTuple):
    """What the answers for one line of a log depend on."""

    boot: int = 0  #: counts the banners before it
    kernel: KernelId = KernelId()  #: the kernel that wrote it


class Boot:
    """All that the lines of one boot say about their kernel. Empty where they say nothing."""

    __slots__ = ("arch", "build_ids", "kernel", "modules", "slide", "taint")

    def __init__(self, kernel: KernelId) -> None:
        self.kernel = kernel
        self.arch = _arch_of(kernel.release)
        self.slide: int | None = None  #: the KASLR offset that the kernel printed
        self.taint = ""  #: as the last dump prints it
        self.modules: dict[str, int | None] = {}  #: loaded ones, with their base where it is printed
        self.build_ids: dict[str, str] = {}  #: of modules, as their frames print them


class LogContext:
    """Facts of one log, kept current line by line: ``facts`` are those of the line observed last."""

    def __init__(self, kernel: KernelId | None = None) -> None:
        self.facts = Facts(0, kernel or KernelId())
        self.boots = [Boot(self.facts.kernel)]
        #: The interrupted instruction pointer of the dump that is being read, as it is spelled; None outside.
        self.pc_text: bytes | None = None
        self._pc: tuple[object, ...] | None = None
        self.is_branch_next = False

    @property
    def slide(self) -> int | None:
        """The KASLR offset that the current boot has printed so far."""
        return self.boots[-1].slide

    def observe(self, body: bytes) -> Bound:
        """Take in one line."""
        if b"Linux version " in body:
            match = _BANNER.search(body)
            if match is not None:
                self._start_boot(match)
        elif b" PID: " in body:
            match = _CPU_LINE.search(body)
            if match is not None:
                self._forget_pc()
                self._see_cpu_line(match)
                return Bound.BEGIN
        elif b"Kernel Offset: " in body:
            match = _OFFSET.search(body)
            if match is not None:
                self.boots[-1].slide = 0 if match["disabled"] else int(match["offset"], 16)
        elif b"---[ end " in body:
            self._forget_pc()
            return Bound.END
        elif b"Last Breaking-Event" in body:
            self.is_branch_next = True
        elif b"Modules linked in:" in body:
            match = _MODULES.search(body)
            if match is not None:
                for word in match["names"].split():
                    self.boots[-1].modules.setdefault(_text(word.partition(b"(")[0]))
        elif b" Live 0x" in body:
            self._see_loaded(body[:_MAX_COLUMNS].split())
        return Bound.NONE

    def _start_boot(self, match: regex.Match[bytes]) -> None:
        self._forget_pc()
        self.facts = Facts(self.facts.boot + 1, KernelId(_text(match["release"]), _text(match["version"])))
        self.boots.append(Boot(self.facts.kernel))

    def _see_cpu_line(self, match: regex.Match[bytes]) -> None:
        release, version = _text(match["release"]), _text(match["version"])
        build_id = _BUILD_ID_AT_END.fullmatch(match["version"][-41:])
        known = self.facts.kernel if self.facts.kernel.release == release else KernelId(release, version)
        if build_id is not None:
            known = known._replace(build_id=_text(build_id["build_id"]))
        if known != self.facts.kernel:
            self.facts = self.facts._replace(kernel=known)
        boot = self.boots[-1]
        boot.kernel = known
        boot.arch = boot.arch or _arch_of(release)
        boot.taint = _text(match["taint"] or b"").strip()

    def _see_loaded(self, columns: Sequence[bytes]) -> None:
        state = next((number for number, word in enumerate(columns) if word in _STATES), 0)
        if state >= 4 and columns[-1] != columns[state] and _HEX.fullmatch(columns[state + 1]) is not None:
            self.boots[-1].modules[_text(columns[state - 4])] = int(columns[state + 1], 16) or None

    def _forget_pc(self) -> None:
        self._pc = self.pc_text = None

    def place(self, frames: list[Frame], body: bytes) -> list[Frame]:
        """Let the trace around them correct what the frames of one line, ``body``, mean on their own.

        A trace entry that repeats the interrupted instruction pointer (``RIP:``, ``pc :``) of the dump above it is that
        pc, not a return address. Nor is the entry behind ``Last Breaking-Event-Address:`` one: it is the branch that
        was taken last (``show_last_breaking_event()``, ``arch/s390/kernel/dumpstack.c``).
        """
        if len(frames) == 1 and self._pc is None and not self.is_branch_next:
            (only,) = frames
            if only.in_trace and not only.build_id and only.format not in PROGRAM_COUNTERS:
                return frames  # most entries of most traces
        boot = self.boots[-1]
        if not boot.arch and frames and not frames[0].in_trace:
            boot.arch = next((arch for word, arch in _ARCHES if word in body), "")
        placed = []
        for frame in frames:
            identity = (frame.symbol or frame.address, frame.offset, frame.size, frame.module)
            pc = frame.pc
            if frame.build_id:
                boot.build_ids[_text(frame.module)] = _text(frame.build_id)
            if frame.format in PROGRAM_COUNTERS:
                self._pc = identity
                self.pc_text = frame.symbol or b"%x" % (frame.address or 0)
            elif frame.in_trace and pc is PcKind.RETURN and (identity == self._pc or self.is_branch_next):
                pc = PcKind.EXACT
            self.is_branch_next = False
            placed.append(frame if pc is frame.pc else frame._replace(pc=pc))
        return placed


def _arch_of(release: str) -> str:
    return next((arch for endings, arch in _RELEASES if release.endswith(endings)), "")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
