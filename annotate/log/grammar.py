"""One line -> the frames in it.

What the kernel prints of a frame is recognised on its own (``name+0xOFFSET/0xSIZE [module build-id]``, as ``%pS`` and
``%pB`` print it, see ``__sprint_symbol()`` of ``kernel/kallsyms.c``) or only where it stands (a name, an address).
What stands before it says what the address means: each row of ``FRAME_FORMATS`` (``annotate/log/formats/``) is one
such context. Rows for what is recognised on its own are matched backwards from there, so no row knows anything about
timestamps, levels or quoting in front of it; the others are searched for. A row is only tried where its cue stands in
the line. A line yields every frame that it holds.

Everything is matched against the text as a reader sees it (``visible.py``), and led back to the raw line at the end.

``re`` and ``regex`` side by side: a match with ``re`` takes a third of the time (0.45 us against 1.6 us for an entry of
a trace), and only ``regex`` can match backwards.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import regex

from annotate.log.demangled import name_start
from annotate.log.formats import FRAME_FORMATS
from annotate.log.formats.fragments import HEX, HIGH, LOW, MODULE, NAME, NAME_START
from annotate.log.visible import names_location, visible
from annotate.model import Frame, FrameFormat, LogLine, PcKind, RunAddr, Spelling

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is recognised on its own: a name with an offset. Without a size it is a frame in few places only.
_NUMBERS = (
    rb"\+(?:0x(?P<offset>"
    + HEX
    + rb")(?:/0x(?P<size>"
    + HEX
    + rb"))?+|(?P<decimal>\d{1,7}+))(?P<end>)(?![\w.$]|=$)"
    + MODULE
)
_ATOM = re.compile(NAME_START + rb"(?P<symbol>" + NAME + rb")" + _NUMBERS)
#: The same in a line with a demangled name, which may end in a bracket: ``drop_in_place::<T>``, ``{closure#0}``.
_ATOM_OF_PATHS = re.compile(rb"(?P<symbol>" + NAME_START + NAME + rb"|(?<=[>}]))" + _NUMBERS)
#: And what ``%pS`` prints of an address that no symbol holds.
_ADDRESS = re.compile(rb"(?P<frame>0x(?<![\w.$+/-]0x)(?P<address>" + HIGH + rb"))(?![.$/-])")

#: Digits that may be an address, where a row says so.
_DIGITS = re.compile(rb"(?P<frame>(?P<address>[0-9a-f]{8,}+))")
_HIGH = re.compile(HIGH)
_LOW = re.compile(LOW)
#: A name that is a frame where a row says so.
_NAMES = {
    Spelling.NAME: NAME_START + rb"(?P<frame>(?P<symbol>" + NAME + rb"))" + MODULE,
    Spelling.IDENTIFIER: NAME_START + rb"(?P<frame>(?P<symbol>(?=[A-Za-z.$]*+[\d_])" + NAME + rb"))" + MODULE,
}

#: By far the most common line: an entry of a trace behind the prefix of the kernel, of syslog, of ``/dev/kmsg`` or of
#: a mail. No other row can match that, so it need not be tried; a test holds that the long way leads to the same.
_COMMON = re.compile(
    rb"(?:> ?){0,8}+(?:<\d{1,3}>|\d{1,3},\d{1,20},\d{1,20},[-c+](?:,caller=[TC]\d{1,8})?+;"
    rb"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})?+ [\w.-]{1,64}+ kernel: (?=\[ {0,8}\d{1,10}\.))?+"
    rb"(?:\[ {0,8}\d{1,10}\.\d{1,9}\](?: ?\[ {0,8}[TC]\d{1,8}\])?+)?+[ \t]*+"
    rb"(?:\[<(?P<address>[0-9a-f]{16})>\] ?)?+(?P<stale>\? )?+(?P<symbol>"
    + NAME
    + rb")\+0x(?P<offset>"
    + HEX
    + rb")/0x(?P<size>"
    + HEX
    + rb")"
    + MODULE
)

#: An address that ``%pS`` prints where no symbol holds it.
HIGH_ADDRESS = re.compile(rb"0x[89a-f][0-9a-f]{7}")

#: What may follow a frame without a size behind a label.
_LABELLED_END = re.compile(rb"[\s)>\"',;`\\]|$")

#: The mark of a trace entry that is pt_regs' own pc (dump_backtrace_entry(), arch/arm64/kernel/stacktrace.c, 6.12).
_INTERRUPTED = re.compile(rb" \([A-Z]{0,8}P[A-Z]{0,8}\)")

#: A location that stands behind a frame already, and is no annotation: syzbot's ``a/b.c:12``, drgn's
#: ``in f at a/b.c:12:3``.
_LOCATION = re.compile(
    rb" [\w./+-]{1,4096}\.(?:[chS]|cc|rs):\d{1,9}\b|\) in [\w.]{1,512} at [\w./+-]{1,4096}:\d{1,9}\b"
)

#: Addresses beside a symbol. Those of 32-bit kernels are taken only where ``%lx`` prints them: ``[<...>]`` may be a
#: hash there (``%p``), and nothing tells.
_ADDRESS_BEFORE = regex.compile(
    rb"(?r)(?:\[<(?P<address>[0-9a-f]{16})>\]|\[(?P<address>[89a-f][0-9a-f]{15})\]"
    rb"|(?:\b(?:NIP|LR)|\[[0-9a-f]{8,16}\]) \[(?P<address>[0-9a-f]{16}|[0-9a-f]{8})\]"
    rb"|\b(?:epc|ErrEPC|ERA|ra) {0,4}: (?P<address>[0-9a-f]{16}|[0-9a-f]{8})) ?(?:\? ?)?"
)
_ADDRESS_BEHIND = re.compile(rb" <(?P<address>[0-9a-f]{16})>")
_OLD_ADDRESS_BEFORE = regex.compile(rb"(?r)\[<[0-9a-f]{8}>\] ?(?:\? ?)?")
_BRACKET_BEFORE = regex.compile(rb"(?r)/0x[0-9a-f]{1,16} \[[\w-]{1,64}(?: [0-9a-f]{2,64})?\][ \t]*(?:\? ?)?")
#: Kernels before 2.6.27 print ``:module:function``.
_MODULE_BEFORE = regex.compile(rb"(?r)(?<=[\s>]):(?P<module>[A-Za-z][\w-]{0,63}):")

#: What is no context of any row: a function that running text mentions, such as ``print_track()`` of ``mm/slub.c``.
#: An offset of 0 makes it a function pointer (hints, handlers, callbacks), else it is taken for a return address.
MENTION = "mention"

#: Formats whose line is one entry of a stack trace whatever stands behind the frame.
_TRACES = frozenset(
    {
        *("event_stack", "process_stack", "address_entry"),
        *("entry_without_size", "entry_with_decimal_offset", "perf_entry"),
    }
)
_SHORTEST_NAME = 3  #: of an entry that has neither size nor label: ``a+0x1`` is arithmetic


class _Row:
    """A row and its patterns: compiled when a line first holds its cue, as all take longer than reading an oops."""

    __slots__ = ("_before", "_behind", "_names", "cue", "format", "is_trace", "name")

    def __init__(self, row: FrameFormat) -> None:
        self.format = row
        self.name = row.name
        self.cue = row.cue
        self.is_trace = row.name in _TRACES
        self._before: regex.Pattern[bytes] | None = None
        self._behind: re.Pattern[bytes] | None = None
        self._names: re.Pattern[bytes] | None = None

    def match_before(self, text: bytes, end: int) -> regex.Match[bytes] | None:
        """What stands before a frame that is recognised on its own."""
        if self._before is None:
            self._before = regex.compile(b"(?r)(?:" + self.format.before + b")")
        return self._before.match(text, 0, end)

    def match_behind(self, text: bytes, start: int) -> re.Match[bytes] | None:
        """What has to stand behind it."""
        if self._behind is None:
            self._behind = re.compile(self.format.closing + b"(?=" + self.format.behind + b")")
        return self._behind.match(text, start)

    def names(self, text: bytes) -> Iterator[re.Match[bytes]]:
        """The names in a text that have behind them what this row asks for."""
        if self._names is None:
            row = self.format
            self._names = re.compile(_NAMES[row.takes[0]] + row.closing + b"(?=" + row.behind + b")")
        return self._names.finditer(text)


_ALL_ROWS = tuple(map(_Row, FRAME_FORMATS))


#: Bytes above which a line is not asked for each cue as a whole: no row sees further than ``_REACH`` from its frame.
_LONG = 1 << 13
_REACH = 1 << 11
_MANY = 64

#: Cues that stand in so many lines that they tell nothing.
_COMMON_CUES = (b"", b"] ", b": (")


class _Rows:
    """The rows that take some spellings."""

    def __init__(self, *spellings: Spelling) -> None:
        self._all = [(row.cue, row) for row in _ALL_ROWS if set(spellings) & set(row.format.takes)]
        self._common = [(cue, row) for cue, row in self._all if cue in _COMMON_CUES]
        self._cues: re.Pattern[bytes] | None = None

    def __iter__(self) -> Iterator[_Row]:
        return (row for _, row in self._all)

    def cued(self, text: bytes) -> list[_Row]:
        """Those whose cue stands in a text. Most lines hold none: one search (0.5 us) says so, not 36 (5 us)."""
        if len(text) > _LONG:
            return [row for cue, row in self._all if cue in text]  # a third of the time, once the text is long
        if self._cues is None:
            cues = {cue for cue, _ in self._all if cue not in _COMMON_CUES}
            self._cues = re.compile(b"|".join(map(re.escape, sorted(cues))))
        rows = self._common if self._cues.search(text) is None else self._all
        return [row for cue, row in rows if cue in text]

    def cued_near(self, text: bytes, mark: bytes) -> list[_Row] | _Rows:
        """The same for frames that hold ``mark``: all, where few frames of a long text are sooner asked one by one."""
        return self if len(text) > _LONG and text.count(mark) < _MANY else self.cued(text)


_SIZED = _Rows(Spelling.SIZED)
_SIZELESS = _Rows(Spelling.OFFSET)
_DECIMAL = _Rows(Spelling.DECIMAL)
_ADDRESSES = _Rows(Spelling.ADDRESS)
_DIGITS_ALONE = _Rows(Spelling.DIGITS, Spelling.LOW_DIGITS)
_NAMES_ALONE = _Rows(Spelling.NAME, Spelling.IDENTIFIER)


def _least(cues: set[bytes]) -> tuple[bytes, ...]:
    """Those that hold no other one."""
    return tuple(sorted(cue for cue in cues if not any(other in cue for other in cues - {cue})))


_PLAIN_CUES = _least({row.cue for rows in (_DIGITS_ALONE, _NAMES_ALONE) for row in rows})
#: Where a mark may be spelled otherwise: see ``visible.py``.
_CODES = (b"\x1b", b"\\", b"&", b"=20", b"=09", b"=3D", b"=C2=A0", b"\xc2\xa0")

#: A line that holds none of these, no ``+`` and no ``0x`` with a high address behind it holds no frame.
CUES = (*_PLAIN_CUES, *_CODES)


def may_hold_frame(body: bytes) -> bool:
    """Whether there is any reason to ask ``find_frames``; false only where it finds nothing."""
    if _has_cue(body):
        return True
    seen = visible(body) if any(map(body.__contains__, _CODES)) else None
    return seen is not None and _has_cue(seen.text)


def _has_cue(text: bytes) -> bool:
    return b"+" in text or any(map(text.__contains__, _PLAIN_CUES)) or HIGH_ADDRESS.search(text) is not None


def find_frames(line: LogLine) -> list[Frame]:
    """Every frame of a line, left to right."""
    body = line.body
    common = _COMMON.fullmatch(body)
    if common is not None:
        return [_common_frame(common)]
    seen = visible(body)
    if seen is None:
        frames = list(_frames(body, frozenset(), is_whole=bool(line.ending)))
    elif not seen.annotated and (common := _COMMON.fullmatch(seen.text)) is not None:
        frames = [_common_frame(common)]
    else:
        frames = list(_frames(seen.text, seen.annotated, is_whole=bool(line.ending)))
    if len(frames) > 1:
        frames.sort(key=_start)
    if seen is None:
        return frames
    return [
        frame._replace(span=(seen.raw_start(frame.span[0]), seen.raw_end(frame.span[1])), end=seen.raw_end(frame.end))
        for frame in frames
    ]


def _start(frame: Frame) -> int:
    return frame.span[0]


def _common_frame(match: re.Match[bytes]) -> Frame:
    symbol, offset, size, module, build_id = match.group("symbol", "offset", "size", "module", "build_id")
    address = match["address"]
    return Frame(
        (match.start("symbol"), match.end("size")),
        match.end(),
        symbol,
        int(offset, 16),
        int(size, 16),
        module or b"",
        build_id or b"",
        None if address is None else _unhashed(address),
        PcKind.RETURN,
        match["stale"] is None,
        in_trace=True,
        annotated=False,
        format="trace_entry",
    )


class _Place(NamedTuple):
    """Where a frame stands, as far as the row that it belongs to decides."""

    row: _Row
    in_trace: bool
    end: int  #: where an annotation goes
    module: bytes = b""
    address: RunAddr | None = None


def _frames(text: bytes, annotated: frozenset[int], *, is_whole: bool) -> Iterator[Frame]:
    """Every frame of a text; ``is_whole`` if its end is that of its line."""
    if b"+" in text:
        rows = _SIZED.cued_near(text, b"/0x") if b"/0x" in text else []
        others: dict[bool, list[_Row] | _Rows] = {}
        for match in (_ATOM_OF_PATHS if b"::" in text else _ATOM).finditer(text):
            if match["size"] is not None:
                frame = _sized(text, match, rows, annotated)
            else:
                is_decimal = match["decimal"] is not None
                if is_decimal not in others:
                    others[is_decimal] = (_DECIMAL if is_decimal else _SIZELESS).cued_near(text, b"+")
                # An offset at the end of a line that is not whole may have been cut; a size would not fit then.
                is_cut = match.end() == len(text) and not is_whole
                frame = None if is_cut else _sizeless(text, match, others[is_decimal], annotated)
            if frame is not None:
                yield frame
    if b"0x" in text:
        matches = list(_ADDRESS.finditer(text))
        rows = _ADDRESSES.cued_near(text, b"0x") if matches else []
        for match in matches:
            place = _place(text, *match.span(), rows, is_sized=False)
            if place is not None and (place.row.name != "trace_entry" or _is_entry(text, match)):
                yield _bare_frame(text, match, place, annotated)
    rows = _DIGITS_ALONE.cued(text)
    for match in _DIGITS.finditer(text) if rows else ():
        if len(match["frame"]) not in (8, 16):
            continue
        place = _place(text, *match.span(), rows, is_sized=False)
        if place is not None and _may_be_kernels(match, place.row):
            yield _bare_frame(text, match, place, annotated)
    taken: set[int] = set()
    for row in _NAMES_ALONE.cued(text):
        for match in row.names(text):
            if match.start() not in taken and row.match_before(text, match.start()) is not None:
                taken.add(match.start())
                yield _bare_frame(text, match, _Place(row, row.is_trace, match.end()), annotated)


def _may_be_kernels(match: re.Match[bytes], row: _Row) -> bool:
    """Whether digits may be an address of the kernel, and no others follow."""
    pattern = _LOW if Spelling.LOW_DIGITS in row.format.takes else _HIGH
    return pattern.match(match.string, match.start()) is not None


def _sized(text: bytes, match: re.Match[bytes], rows: list[_Row] | _Rows, annotated: frozenset[int]) -> Frame | None:
    """A name with an offset and a size: a frame wherever it stands."""
    start, end = match.span()
    begin = start
    symbol, module = match["symbol"], match["module"]
    if not symbol or text.endswith(b"::", 0, start):
        start = begin = name_start(text, start)
        if start == match.start():
            return None
        symbol = text[start : match.end("symbol")]
    elif text.endswith(b":", 0, start):
        if not module and (prefix := _MODULE_BEFORE.match(text, 0, start)) is not None:
            begin, module = prefix.start(), prefix["module"]
    place = _place(text, begin, end, rows, is_sized=True)
    row, in_trace = (None, False) if place is None else (place.row.format, place.in_trace)
    offset = int(match["offset"], 16)
    return Frame(
        (start, match.end("end")),
        end,
        symbol,
        offset,
        int(match["size"], 16),
        module or b"",
        match["build_id"] or b"",
        _printed_address(text, begin, end),
        _meaning(text, end, row, offset, in_trace=in_trace),
        not text.endswith((b"? ", b"?"), 0, begin),
        in_trace,
        _is_annotated(text, match.end("end"), end, annotated),
        MENTION if row is None else row.name,
    )


def _meaning(text: bytes, end: int, row: FrameFormat | None, offset: int, *, in_trace: bool) -> PcKind:
    """What the address of a frame means: what its row says, unless a mark behind it says otherwise."""
    if row is None and offset == 0:
        return PcKind.ENTRY
    if (in_trace or row is None) and _INTERRUPTED.match(text, end) is not None:
        return PcKind.EXACT
    if row is None or (row.name == "kprobe_hit" and text.startswith(b" <- ", end)):
        return PcKind.RETURN  # print_kretprobe_event(): where the function returns to
    return row.pc


def _sizeless(text: bytes, match: re.Match[bytes], rows: list[_Row] | _Rows, annotated: frozenset[int]) -> Frame | None:
    """A name with an offset alone: a frame behind a label, and alone in its line."""
    start, end = match.span()
    if text.startswith((b"/", b"+", b"-"), match.end("end")) or text.endswith((b"::", b">", b"}"), 0, start):
        return None
    decimal = match["decimal"]
    place = _place(text, start, end, rows, is_sized=False)
    if place is None:
        return None
    row = place.row.format
    if Spelling.SIZED not in row.takes and len(match["symbol"]) < _SHORTEST_NAME:
        return None
    offset = int(match["offset"], 16) if decimal is None else int(decimal)
    pc = _meaning(text, end, row, offset, in_trace=place.in_trace)
    if place.in_trace and offset == 0:
        pc = PcKind.ENTRY  # tools print where a CPU was, too; a call is never what stands before a function
    return Frame(
        (start, match.end("end")),
        place.end,
        match["symbol"],
        offset,
        None,
        match["module"] or place.module,
        match["build_id"] or b"",
        place.address or _printed_address(text, start, end),
        pc,
        not text.endswith((b"? ", b"?"), 0, start),
        place.in_trace,
        _is_annotated(text, match.end("end"), place.end, annotated),
        row.name,
    )


def _bare_frame(text: bytes, match: re.Match[bytes], place: _Place, annotated: frozenset[int]) -> Frame:
    """A name or an address alone."""
    row = place.row.format
    start, end = match.span("frame")
    names = match.groupdict()
    symbol = names.get("symbol")
    return Frame(
        (start, end),
        place.end,
        symbol or b"",
        None,
        None,
        names.get("module") or b"",
        names.get("build_id") or b"",
        _printed_address(text, start, end) if symbol else RunAddr(int(names["address"], 16)),
        row.pc,
        not text.endswith((b"? ", b"?", b"? [<", b"?[<"), 0, start),
        place.in_trace,
        _is_annotated(text, end, place.end, annotated),
        row.name,
    )


def _is_entry(text: bytes, match: re.Match[bytes]) -> bool:
    """Whether an address alone in a line is an entry of a trace, and not a number of a list."""
    start, end = match.span()
    if text.startswith((b",", b";"), end):
        return False
    return len(match["address"]) == 16 or _OLD_ADDRESS_BEFORE.match(text, 0, start) is not None


def _place(text: bytes, start: int, end: int, rows: list[_Row] | _Rows, *, is_sized: bool) -> _Place | None:
    """The row that a frame at ``start`` to ``end`` belongs to; None where there is none."""
    if isinstance(rows, _Rows):
        rows = rows.cued(text[max(0, start - _REACH) : end + _REACH])
    for row in rows:
        before = row.match_before(text, start)
        if before is None:
            continue
        if row.name == "trace_entry":
            # Behind another frame's module bracket nothing is an entry.
            if row.match_behind(text, end) is None or _BRACKET_BEFORE.match(text, 0, start) is not None:
                return None
            return _Place(row, in_trace=True, end=end)
        if not row.format.behind and not row.format.closing:
            if is_sized or _LABELLED_END.match(text, end) is not None:
                return _Place(row, row.is_trace, end)
            continue
        match = row.match_behind(text, end)
        if match is not None:
            module = match.groupdict().get("module") or b""
            address = before.groupdict().get("address")
            raw = None if address is None else RunAddr(int(address, 16))
            return _Place(row, row.is_trace, match.end(), module, raw)
    return None


def _printed_address(text: bytes, start: int, end: int) -> RunAddr | None:
    """A raw address that is printed beside a symbol; hashed and masked ones are none."""
    match = _ADDRESS_BEFORE.match(text, 0, start) or _ADDRESS_BEHIND.match(text, end)
    if match is None:
        return None
    return _unhashed(match["address"])


def _unhashed(digits: bytes) -> RunAddr | None:
    """An address; None for a hash, whose upper half is zero where addresses have 64 bits."""
    address = int(digits, 16)
    return RunAddr(address) if address >> 32 or len(digits) == 8 else None


def _is_annotated(text: bytes, end: int, stop: int, annotated: frozenset[int]) -> bool:
    """Whether a location stands behind a frame that ends at ``end``, its module's bracket at ``stop``."""
    if annotated and any(position in annotated for position in range(end, stop + 1)):
        return True
    return _LOCATION.match(text, stop) is not None or (text.startswith(b" (", stop) and names_location(text, stop))
