"""The words that more than one room speaks. Values only: nothing here reads, decides or prints.

All records are immutable named tuples. A frozen dataclass would say the same, but importing ``dataclasses`` (it pulls
in ``inspect``, ``ast`` and ``dis``) costs 13 ms of a filter whose whole cold run is about 150 ms, and building one
takes three times as long.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, NewType

if TYPE_CHECKING:
    from collections.abc import Sequence

#: An address as the running kernel printed it: KASLR slide and module base included.
RunAddr = NewType("RunAddr", int)

#: An address as the linker assigned it. In a module (a relocatable file) every allocated section gets a base of
#: its own first, the way the kernel's module loader would lay them out: see ``debuginfo/module_layout.py``.
LinkAddr = NewType("LinkAddr", int)


class LogLine(NamedTuple):
    """One line of a log; ``body + ending`` is the input, byte for byte."""

    number: int  #: counts from 1 within its log
    body: bytes
    ending: bytes  #: ``\\n``, ``\\r\\n``, any number of ``\\r`` before ``\\n``, or nothing at the end of the input


class LogBlock(NamedTuple):
    """A run of bytes in which nothing is of interest; it passes through untouched."""

    data: bytes


class LogPassage(NamedTuple):
    """Whole lines that are to be read one by one; the last one of a log may have no line end."""

    number: int  #: of its first line
    data: bytes
    before: bytes  #: the line before it without its line end, or the last few thousand bytes of that


class PcKind(Enum):
    """What an address stands for; decided by the grammar, used once, in ``resolve.py``."""

    RETURN = "return"  #: behind a call: the line asked for is the call's, one byte earlier
    EXACT = "exact"  #: an instruction pointer: looked up as it is
    ENTRY = "entry"  #: a function pointer printed as such: the function's first own line


class Spelling(Enum):
    """How much of a frame the kernel writes out."""

    SIZED = "name+0x1/0x2"  #: as ``%pS`` and ``%pB`` print it; a frame wherever it stands
    OFFSET = "name+0x1"  #: of any size
    DECIMAL = "name+1"  #: tools that print offsets in decimal
    ADDRESS = "0xffffffff81000000"  #: as ``%pS`` prints what it has no symbol for; only a kernel's, the top bit is set
    DIGITS = "ffffffff81000000"  #: such an address without 0x
    LOW_DIGITS = "00000000004402f0"  #: any address, for machines whose kernels are linked low
    NAME = "name"  #: as ``%ps`` prints it: the function, no place in it
    IDENTIFIER = "some_name"  #: such a name that no word of a text looks like


class FrameFormat(NamedTuple):
    """One spelling of a frame: a row of the grammar.

    ``before`` is a pattern for what stands right before the frame. It is matched backwards from there, so it needs no
    knowledge of any prefix, sees nothing of the frame, and a name in it is a ``NAME_BACK``. All patterns see visible
    text. ``cue`` are bytes that a line of this format holds; a cheap test before the pattern. ``printed_by``
    names the kernel function the format comes from. ``takes`` says which spellings may follow; the more a row takes,
    the less may its ``before`` match in other text. An annotation goes behind ``closing``, and ``behind`` must follow.
    """

    name: str
    arches: str
    cue: bytes
    before: bytes
    pc: PcKind
    printed_by: str
    example: bytes
    takes: tuple[Spelling, ...] = (Spelling.SIZED,)
    closing: bytes = b""
    behind: bytes = b""


class Frame(NamedTuple):
    """One frame in one line. All positions are byte offsets into ``LogLine.body``."""

    span: tuple[int, int]  #: the symbol through the closing of size, or the bare address
    end: int  #: behind the module bracket: where an annotation goes
    symbol: bytes  #: empty for a bare address
    offset: int | None  #: None for a bare address, and for a name alone
    size: int | None  #: None where the text gives no size
    module: bytes  #: empty for the kernel itself
    build_id: bytes  #: as printed in the module bracket (hex), or empty
    address: RunAddr | None  #: a raw address that stands for this frame
    pc: PcKind
    reliable: bool
    in_trace: bool  #: an entry of a stack trace, as opposed to a mention in running text
    annotated: bool  #: the text already names a location behind this frame
    format: str


class KernelId(NamedTuple):
    """What is known of a kernel; empty strings where nothing is known, never a guess."""

    release: str = ""
    version: str = ""
    arch: str = ""
    build_id: str = ""


class Symbol(NamedTuple):
    """A symbol as kallsyms knows it."""

    name: bytes
    address: LinkAddr
    size: int  #: distance to the next kallsyms symbol: what the kernel prints behind the slash
    sizes: tuple[int, ...]  #: every size that a kernel may print for it (the last symbol of a module has several)
    st_size: int  #: the ELF symbol's own size; 0 for much assembly
    is_code: bool
    ends_section: bool  #: nothing follows in its section, so in memory anything may

    @property
    def end(self) -> LinkAddr:
        """First address behind the symbol, padding included."""
        return LinkAddr(self.address + self.size)


class Location(NamedTuple):
    """A place in the source. In a chain, innermost first; all but the last are inlined calls."""

    file: str
    line: int
    function: str
    inlined: bool


class Missing(Enum):
    """Why a frame has no line. The value is the word of the JSON output, ``sentence`` the one for people."""

    NO_KERNEL = "no-kernel"
    NO_MODULE = "no-module"
    NO_TABLE = "no-table"
    NO_SYMBOL = "no-symbol"
    SIZE_DIFFERS = "size-differs"
    BUILD_ID_DIFFERS = "build-id-differs"
    AMBIGUOUS = "ambiguous"
    HASHED = "hashed"
    NO_LINE = "no-line"
    NO_OFFSET = "no-offset"
    DATA = "data"
    CORRUPT = "corrupt"

    @property
    def sentence(self) -> str:
        """One clause that completes 'N frames: ...'."""
        return _SENTENCES[self]


_SENTENCES = {
    Missing.NO_KERNEL: "no vmlinux or table of this kernel",
    Missing.NO_MODULE: "no file of this module",
    Missing.NO_TABLE: "no debug info",
    Missing.NO_SYMBOL: "no such symbol, or an address outside all of them",
    Missing.SIZE_DIFFERS: "the symbol has another size: the file is of another build",
    Missing.BUILD_ID_DIFFERS: "the file has another build id",
    Missing.AMBIGUOUS: "several functions have this name and size",
    Missing.HASHED: "the address is hashed or masked",
    Missing.NO_LINE: "the debug info names no line there",
    Missing.NO_OFFSET: "a raw address, and nothing in the log says by how much the kernel was moved (KASLR)",
    Missing.DATA: "a variable, not code",
    Missing.CORRUPT: "the offset lies behind the end of the symbol",
}


class Resolution(NamedTuple):
    """The answer for one frame: exactly one of ``locations`` and ``missing`` is set.

    With ``missing`` AMBIGUOUS, ``candidates`` holds the chain of every function that it may be. ``detail`` says for
    people what was tried; it never decides anything.
    """

    frame: Frame
    locations: tuple[Location, ...]
    missing: Missing | None
    candidates: tuple[tuple[Location, ...], ...] = ()
    detail: str = ""


class AnnotatedLine(NamedTuple):
    """All that a renderer ever sees of a line.

    Where ``remembered`` is set, what is written for the line from ``head`` on is wanted there: it will come again.
    """

    line: LogLine
    resolutions: Sequence[Resolution]
    head: int = 0
    remembered: Remembered | None = None
    kernel: KernelId = KernelId()  #: the kernel that wrote it, as far as the log has said


class Callee(NamedTuple):
    """What an entry of a trace says to the entry below it: the function that was called there.

    ``address`` is None where it cannot be told; an entry that ``is_skipped`` (``?``) says nothing, and what the entry
    above it said holds on.
    """

    address: LinkAddr | None = None
    is_skipped: bool = False


UNKNOWN_CALLEE = Callee()
SKIPPED_CALLEE = Callee(is_skipped=True)


class Remembered:
    """A line that was answered and comes again, from behind its stamp: see ``memory.py``."""

    __slots__ = ("callee", "is_open", "is_ready", "key", "lead", "tally", "text")

    def __init__(self, lead: bytes, key: bytes) -> None:
        self.lead = lead  #: the end of the stamp, where it is not in the head
        self.key = key  #: what stood behind the stamp
        self.text = b""  #: what is written behind the head; a renderer's to say
        self.tally = NOTHING_COUNTED  #: what it adds to the counts of frames
        self.callee = UNKNOWN_CALLEE
        self.is_open = False  #: the next line may complete its last frame
        self.is_ready: bool = False  #: it is answered


class Repeats(NamedTuple):
    """Consecutive lines, each a head that is written as it is, and behind it a line that was answered before."""

    heads: list[bytes]
    lines: list[Remembered]


class Tally(NamedTuple):
    """What some lines add to the counts of frames."""

    frames: int = 0
    annotated: int = 0
    causes: tuple[tuple[str, Missing, str], ...] = ()  #: module, why there is no line, and what was tried


NOTHING_COUNTED = Tally()

#: A line that holds no frame: all of it stands in front of this.
QUIET = Remembered(b"", b"")
QUIET.is_ready = True


class Subsystem(NamedTuple):
    """An entry of MAINTAINERS, and why it is named."""

    title: str
    status: str  #: ``Maintained``, ``Supported``, ...; several are joined by commas; empty where the entry says none
    maintainers: tuple[str, ...]  #: the values of ``M:``, as they stand there
    reviewers: tuple[str, ...]  #: of ``R:``
    lists: tuple[str, ...]  #: of ``L:``
    trees: tuple[str, ...]  #: of ``T:``
    why: str  #: the pattern that matched: ``F: net/ipv6/``


class Crash(NamedTuple):
    """One report in a log, as triage sees it. What is not known is None or empty."""

    title: str  #: ``KASAN: use-after-free in ip6_send_skb``
    line: int  #: at which it begins, from 1
    frame: str | None  #: the name of the function that matters
    file: str | None
    location_line: int | None
    why: str  #: why that frame, as a clause for people
    files: tuple[str, ...]  #: along the trace, each once, innermost first
    subsystems: tuple[Subsystem, ...]  #: the best one first
    signature: str  #: equal for crashes with the same reliable frames; empty where there is none
    log: str = ""  #: the name of the log, as given
