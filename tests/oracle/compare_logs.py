"""Compare what the annotator says of every frame of real logs with oracles, and with what the kernel itself printed.

    python tests/oracle/compare_logs.py --debug-root DIR [--modules PATH]... LOG...

For each frame the symbol is chosen here once more, from eu-readelf's output and the kallsyms rule for sizes, and so is
the address that the frame stands for; llvm-symbolizer (vmlinux) or eu-addr2line (modules) is asked for that address,
and the whole chain is compared. A ``WARNING: ... at FILE:LINE`` or ``kernel BUG at FILE:LINE!`` is the kernel's own
word on its pc: the innermost level of the chain in all that were seen.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from compare_addresses import as_places
from elfutils import Section, Symbol, ask_elfutils, is_module, nops_in_front, read_sections, read_symbols
from llvm import LlvmSymbolizer, Place, tree_path

from annotate.annotator import annotate_all
from annotate.kernel.images import Images, open_image
from annotate.kernel.locate import Locator, SearchPlaces, is_kernel_name, module_name
from annotate.model import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.debuginfo.image import DebugImage
    from annotate.model import Resolution

Chain = tuple[Place, ...]

EQUAL = "equal"
EQUAL_CANDIDATES = "equal: ambiguous, and the candidates are the same"
EQUAL_SETTLED = "equal to one candidate: the log settled which"
OWN_ROW = "equal to the oracle at the function's first own row (it gives the row of the function before, or none)"
ROW_START = "the oracle computes the chain at the start of the row (eu-addr2line)"
BOTH_NONE = "no line: both"
NO_ADDRESS = "the rules name no address for the frame, and no line was given"
RAW_WITHOUT_SLIDE = "a raw address, and neither a line nor a 'Kernel Offset:' in its boot"
UNEXPLAINED = "UNEXPLAINED"

_FRAME = re.compile(
    rb"(?<![\w.$])([A-Za-z_.$][\w.$]*)\+0x([0-9a-f]+)/0x([0-9a-f]+)(?![\w.$])(?: \[([\w-]+)(?: [0-9a-f]{2,64})?\])?"
)
_EXACT = re.compile(
    rb"(?:\b[RE]?IP: (?:[0-9a-f]{4}:)?|\bpc : |\bPC is at |\bWARNING: .* at (?:\S+:\d+ )?|idling at |CFI failure at "
    rb"|\[\d{3}\] \S+ +[\d.]+: |: \()(?:\[<[0-9a-f]+>\] )?$"
)
_PC_LINE = re.compile(rb"(?:\bRIP: (?:[0-9a-f]{4}:)?|\bpc : )(?:\[<[0-9a-f]+>\] )?$")
_ENTRY_BEFORE = re.compile(
    rb"(?:\x1b\[[0-9;]*m|<\d+>|\[[^\]<]*\]|\d+,\d+,\d+,[^;]*;|\d{4}-\d\d-\d\dT\S+|[a-z]+ *:[a-z]+ *:"
    rb"|\d+\)|\d+(?= )|\s)*"
    rb"(?:=> |\[<0>\] )?(?:\[<[0-9a-f]+>\] )?(?:\? )?"
)
_ENTRY_BEHIND = re.compile(rb"(?: \([A-Z]+\))?(?: <[0-9a-f]{16}>)?[\s\"']*(?:\x1b\[[0-9;]*m)*$")
_NEW_DUMP = re.compile(rb" PID: \d+ Comm: |---\[ end ")
_KERNEL_WORD = re.compile(rb"(?P<what>WARNING: [^\n]* at |kernel BUG at )(?P<file>\S+):(?P<line>\d+)(?P<end>!| )")

#: scripts/mksysmap, scripts/kallsyms.c and is_mapping_symbol(): names that kallsyms has not, which end no symbol.
_LEFT_OUT = ("$", ".L", "L0", "__crc_", "__kcfi_typeid_", "__efistub_", "__kvm_nvhe_$", "__kvm_nvhe_.L")

#: Bytes at a symbol's start that may be patchable nops.
_FRONT = 64

_PAGES = (0x1000, 0x4000, 0x10000)


class Candidate(NamedTuple):
    """A symbol that a frame may name: where it starts, and ends for kallsyms."""

    start: int
    end: int
    sizes: frozenset[int]
    st_size: int


class Target(NamedTuple):
    """What the rules make of a frame: an address to look up, in a symbol with code from ``start`` to ``code_end``."""

    address: int
    start: int
    code_end: int


class Binary:
    """A vmlinux or a module for the oracles. Sections of a module lie one behind the other as the loader puts them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_module = is_module(path)
        sections = read_sections(path)
        self._bases = _bases_of_module(sections) if self.is_module else {each.number: each.address for each in sections}
        self._code = {each.number: each for each in sections if each.is_code}
        self._llvm = None if self.is_module else LlvmSymbolizer(path)
        self._modules_answers: dict[tuple[str, int], Chain] = {}
        known = [symbol for symbol in read_symbols(path) if self._is_known(symbol)]
        self._starts = sorted({self._address(symbol) for symbol in known})
        self._code_sizes: dict[int, int] = {}
        self._by_name: dict[str, list[Symbol]] = {}
        for symbol in known:
            start = self._address(symbol)
            self._code_sizes[start] = max(symbol.size, self._code_sizes.get(start, 0))
            self._by_name.setdefault(symbol.name, []).append(symbol)

    def _is_known(self, symbol: Symbol) -> bool:
        if not symbol.name or symbol.name.startswith(_LEFT_OUT) or not symbol.is_defined:
            return False
        if self.is_module and symbol.section not in self._code:
            return False  # data lies behind the code, and only the gaps between code matter
        return symbol.type not in ("FILE", "SECTION")

    def _address(self, symbol: Symbol) -> int:
        base = self._bases[symbol.section] if self.is_module and symbol.section is not None else 0
        return symbol.value + base

    def has(self, name: str) -> bool:
        """Whether a symbol of code has that name."""
        return any(self._is_code(symbol) for symbol in self._by_name.get(name, ()))

    def _is_code(self, symbol: Symbol) -> bool:
        return symbol.section in self._code and symbol.type not in ("OBJECT", "COMMON", "TLS")

    def named(self, name: str) -> list[Candidate]:
        """The functions of that name."""
        return [self._candidate(symbol) for symbol in self._by_name.get(name, ()) if self._is_code(symbol)]

    def candidates(self, name: str, size: int, offset: int) -> list[Candidate]:
        """The symbols of that name and of the size that kallsyms gives them."""
        every = self.named(name)
        fitting = [each for each in every if size in each.sizes]
        if not fitting and self.is_module and len(every) == 1 and offset <= every[0].st_size <= size:
            return every
        return fitting

    def _candidate(self, symbol: Symbol) -> Candidate:
        start = self._address(symbol)
        end = self._end(start)
        sizes = {end - start}
        if self.is_module and end == self._region_end(start):
            sizes |= {end + -end % page - start for page in _PAGES}
        return Candidate(start, end, frozenset(sizes), symbol.size)

    def _region_end(self, address: int) -> int:
        """Where the code that is loaded together with an address ends."""
        is_late = address >= _INIT_REGION
        return max(
            self._bases[index] + section.size
            for index, section in self._code.items()
            if (self._bases[index] >= _INIT_REGION) == is_late
        )

    def _end(self, start: int) -> int:
        position = bisect_right(self._starts, start)
        following = self._starts[position] if position < len(self._starts) else None
        if self.is_module:
            region_end = self._region_end(start)
            return region_end if following is None else min(following, region_end)
        if following is not None:
            return following
        return max(section.address + section.size for section in self._code.values())

    def around(self, address: int) -> Target:
        """An address and the symbol that kallsyms says it is in."""
        position = bisect_right(self._starts, address) - 1
        start = self._starts[position] if position >= 0 else address
        return Target(address, start, self._code_end(start))

    def _code_end(self, start: int) -> int:
        return start + self._code_sizes[start] if self._code_sizes.get(start) else self._end(start)

    def ask(self, target: Target) -> tuple[Chain, Chain, Chain]:
        """The oracle's chain at a target, and two that may have to be expected instead.

        The second is not empty where the target is in front of its function. The third counts where the plain one is
        not ours, and is none or of a row that began before the symbol.
        """
        address, start, end = target
        if self._llvm is not None:
            answer = self._llvm.ask((address,))[0]
            behind = self._llvm.behind_nops(address, start, end)
            own = self._llvm.own_row(address, start, end)
            return (
                answer.places if answer.has_line else (),
                behind.places if behind is not None else (),
                own.places if own is not None and own.has_line else (),
            )
        nops = self._nops(start) if address - start < _FRONT else 0
        return self._ask_module(address), (self._ask_module(start + nops) if address < start + nops else ()), ()

    def _nops(self, address: int) -> int:
        for index, section in self._code.items():
            if 0 <= address - self._bases[index] < section.size:
                return nops_in_front(self.path, section, address - self._bases[index])
        return 0

    def _ask_module(self, address: int) -> Chain:
        for index, section in self._code.items():
            offset = address - self._bases[index]
            if 0 <= offset < section.size:
                key = (section.name, offset)
                if key not in self._modules_answers:
                    self._modules_answers[key] = ask_elfutils(self.path, section.name, (offset,))[0]
                return self._modules_answers[key]
        return ()

    def earlier_in_row(self, target: Target, oracle: Chain) -> list[int]:
        """The addresses before a target for which a module's oracle gives the same chain: it may mean one of them."""
        back = []
        for address in range(target.address - 1, target.start - 1, -1):
            if self._ask_module(address) != oracle:
                break
            back.append(address)
        return back

    def section_of(self, address: int) -> tuple[str, int]:
        """Section of code and offset of an address; no name where there is none."""
        for index, section in self._code.items():
            if 0 <= address - self._bases[index] < section.size:
                return section.name, address - self._bases[index]
        return "", address

    def close(self) -> None:
        """End the oracle."""
        if self._llvm is not None:
            self._llvm.close()


#: Where the initialisation code of a module is put: far from the rest.
_INIT_REGION = 1 << 32


def _bases_of_module(sections: Sequence[Section]) -> dict[int, int]:
    """An address for each executable section, as layout_sections() of kernel/module/main.c would order them."""
    bases = {}
    for is_init, address in ((False, 1 << 24), (True, _INIT_REGION)):
        for section in sections:
            if section.is_code and section.name.startswith(".init") is is_init:
                address += -address % max(section.alignment, 1)  # noqa: PLW2901 - the place moves on
                bases[section.number] = address
                address += section.size  # noqa: PLW2901
    return bases


class Files:
    """The binaries of a debug root and of further modules, opened when first needed."""

    def __init__(self, root: str, modules: Sequence[str]) -> None:
        self._paths: dict[str, str] = {}
        for place in (*modules, root):
            for path in _files(place):
                name = module_name(path) if not is_kernel_name(path) else "vmlinux"
                if name and not os.path.islink(path):
                    self._paths.setdefault(name, path)
        self._open: dict[str, Binary] = {}

    def binary(self, module: str) -> Binary | None:
        """The kernel (no name) or a module."""
        name = module.replace("-", "_") or "vmlinux"
        if name not in self._open and name in self._paths:
            self._open[name] = Binary(self._paths[name])
        return self._open.get(name)

    def close(self) -> None:
        """End the oracles."""
        for binary in self._open.values():
            binary.close()


def _files(place: str) -> list[str]:
    if not os.path.isdir(place):
        return [place]
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names)


class Pc:
    """Decides what the address of each frame stands for, from the raw lines and independently of the grammar."""

    def __init__(self) -> None:
        self._interrupted: tuple[bytes, ...] | None = None

    def observe(self, body: bytes) -> None:
        """Take in a line."""
        if _NEW_DUMP.search(body):
            self._interrupted = None

    def kind(self, body: bytes, match: re.Match[bytes]) -> tuple[str, bool]:
        """``exact``, ``entry`` or ``return``, and whether the frame is an entry of a trace."""
        before = re.sub(rb"\x1b\[[0-9;]*m", b"", body[: match.start()])
        in_trace = _ENTRY_BEFORE.fullmatch(before) is not None and _ENTRY_BEHIND.match(body, match.end()) is not None
        identity = match.groups()
        if _PC_LINE.search(before):
            self._interrupted = identity
        if _EXACT.search(before) or (in_trace and identity == self._interrupted):
            return "exact", in_trace
        if int(match[2], 16) == 0 and not in_trace and not before.endswith((b"<-", b"lr : ")):
            return "entry", in_trace
        return "return", in_trace


def target_of(
    binary: Binary, candidate: Candidate, offset: int, size: int, kind: str, *, doubtful: bool
) -> Target | None:
    """The address that a frame stands for if it means this symbol; None where the offset lies behind the end."""
    start = candidate.start
    code_end = start + candidate.st_size if candidate.st_size else candidate.end
    if offset > size:
        return None
    if kind == "exact" and offset < size:
        return Target(start + offset, start, code_end)
    if kind == "entry":
        return Target(start, start, code_end)
    if offset == 0:
        return binary.around(start - 1)
    if offset == size and doubtful:
        return binary.around(candidate.end)
    return Target(start + offset - 1, start, code_end)


class Report:
    """What was compared."""

    def __init__(self) -> None:
        self.frames = 0
        self.annotated = 0
        self.causes: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.without_line: Counter[str] = Counter()
        self.distinct: dict[tuple[object, ...], str] = {}
        self.examples: dict[str, list[str]] = {}
        self.unseen: list[str] = []
        self.words = 0
        self.word_levels: Counter[str] = Counter()
        self.word_differences: list[str] = []

    def note(self, cause: str, key: tuple[object, ...], text: str) -> None:
        """Count a frame; keep the text of each distinct one that is not plainly equal."""
        self.causes[cause] += 1
        if key not in self.distinct:
            self.distinct[key] = cause
            if cause != EQUAL:
                self.examples.setdefault(cause, []).append(text)

    @property
    def unexplained(self) -> int:
        """Frames whose difference has no known cause."""
        return self.causes[UNEXPLAINED]

    def text(self, examples: int) -> str:
        """The tables; at most so many examples of each known cause."""
        distinct = Counter(self.distinct.values())
        lines = [
            f"frames {self.frames}, distinct {len(self.distinct)}, annotated {self.annotated}, "
            f"seen by a plain expression only {len(self.unseen)}",
            "   frames  distinct  comparison with the oracle",
        ]
        lines += [f"{count:9} {distinct[cause]:9}  {cause}" for cause, count in self.causes.most_common()]
        lines.append("frames without a line, by reason:")
        lines += [f"{count:9}  {reason}" for reason, count in self.missing.most_common()]
        lines.append("frames without a line although their symbol is there:")
        lines += [f"{count:9}  {text}" for text, count in self.without_line.most_common()]
        lines.append(f"the kernel's own WARNING and BUG lines: {self.words}, differing {len(self.word_differences)}")
        lines += [f"{count:9}  equal to {level}" for level, count in self.word_levels.most_common()]
        lines += [f"    {text}" for text in self.word_differences]
        for cause, texts in self.examples.items():
            shown = texts if cause == UNEXPLAINED else texts[:examples]
            lines.append(f"{cause} ({len(texts)} distinct):")
            lines += [f"    {text}" for text in shown]
        lines += [f"not seen by the annotator: {text}" for text in self.unseen]
        return "\n".join(lines)


class Comparer:
    """Annotates logs and compares."""

    def __init__(self, root: str, modules: Sequence[str]) -> None:
        self.report = Report()
        self._files = Files(root, modules)
        self._opened: dict[str, DebugImage] = {}
        places = SearchPlaces(kernels=(root,), modules=tuple(modules))
        self._images = Images(Locator(places), _warn, lambda _: None)

    def close(self) -> None:
        """End the oracles."""
        self._files.close()

    def compare(self, path: str) -> None:
        """Annotate one log and compare every frame of it."""
        with open(path, "rb") as file:
            data = file.read()
        answers = {piece.line.number: piece for piece in annotate_all(data, self._images)}
        context, bug, boot, slides = Pc(), None, 0, _slides(data)
        for number, raw in enumerate(data.split(b"\n"), 1):
            body = raw.rstrip(b"\r")
            context.observe(body)
            line = answers.get(number)
            found = {each.frame.span[0]: each for each in line.resolutions} if line is not None else {}
            word = _KERNEL_WORD.search(body)
            if word is not None and word["end"] == b"!":
                bug = word
            where = f"{os.path.basename(path)}:{number}"
            for match in _FRAME.finditer(body):
                kind, in_trace = context.kind(body, match)
                resolution = found.pop(match.start(), None)
                if resolution is None:
                    self.report.unseen.append(f"{where} {match[0].decode()}")
                    continue
                self._compare_frame(where, body, match, (kind, in_trace), resolution)
                if word is not None and word["end"] == b" " and match.start() == word.end():
                    self._compare_word(where, word, resolution)
                elif bug is not None and _PC_LINE.search(body[: match.start()]):
                    self._compare_word(where, bug, resolution)
                    bug = None
            boot += body.count(b"Linux version ")
            for resolution in found.values():
                self._count(resolution)
                if resolution.frame.symbol:
                    self._compare_name(where, resolution)
                else:
                    self._compare_raw(where, resolution, slides[boot])

    def _count(self, resolution: Resolution) -> None:
        self.report.frames += 1
        if resolution.missing is None:
            self.report.annotated += 1
        else:
            self.report.missing[resolution.missing.name] += 1

    def _compare_frame(
        self, where: str, body: bytes, match: re.Match[bytes], state: tuple[str, bool], resolution: Resolution
    ) -> None:
        self._count(resolution)
        kind, in_trace = state
        name, module = match[1].decode(), (match[4] or b"").decode()
        offset, size = int(match[2], 16), int(match[3], 16)
        doubtful = body[: match.start()].endswith(b"? ")
        ours = as_places(resolution.locations)
        text = f"{where} {match[0].decode()} {kind}{' in a trace' if in_trace else ''}{' ?' if doubtful else ''}"
        binary = self._files.binary(module)
        if binary is not None and binary.has(name) and not ours:
            reason = resolution.missing.name if resolution.missing is not None else "no reason"
            self.report.without_line[f"{match[0].decode()} {kind}{' in a trace' if in_trace else ''}: {reason}"] += 1
        targets: list[Target | None] = []
        if binary is not None:
            candidates = binary.candidates(name, size, offset)
            targets = [target_of(binary, each, offset, size, kind, doubtful=doubtful) for each in candidates]
        self._note(text, (module, name, offset, size, kind, in_trace, doubtful), binary, targets, resolution)

    def _compare_name(self, where: str, resolution: Resolution) -> None:
        """A frame without a size, which a plain expression cannot tell from prose: any function of the name.

        A name alone stands for the function, so its first line is expected; else the grammar's word on the pc is taken.
        """
        frame = resolution.frame
        name, module = frame.symbol.decode("utf-8", "replace"), frame.module.decode("utf-8", "replace")
        kind = "entry" if frame.offset is None else frame.pc.value
        offset = frame.offset or 0
        binary = self._files.binary(module)
        targets: list[Target | None] = []
        if binary is not None:
            targets = [
                target_of(binary, each, offset, each.end - each.start, kind, doubtful=not frame.reliable)
                for each in binary.named(name)
            ]
        text = f"{where} {name}{'' if frame.offset is None else f'+{offset:#x}'} {kind}, without a size"
        self._note(text, (module, name, frame.offset, kind, frame.reliable), binary, targets, resolution)

    def _note(
        self,
        text: str,
        key: tuple[object, ...],
        binary: Binary | None,
        targets: Sequence[Target | None],
        resolution: Resolution,
    ) -> None:
        """Compare with what the oracle says of every target that the frame may mean."""
        ours = as_places(resolution.locations)
        found = [target for target in targets if target is not None]
        cause = UNEXPLAINED
        oracles: list[Chain] = []
        if binary is None or not found:
            cause = UNEXPLAINED if ours or resolution.candidates else NO_ADDRESS
        else:
            judged = [self._judge(binary, target, ours) for target in found]
            oracles = [oracle for _, oracle in judged]
            causes = {cause for cause, _ in judged}
            if resolution.missing is Missing.AMBIGUOUS:
                cause = self._judge_candidates(binary, found, resolution)
            elif len(causes) == 1:
                cause = causes.pop()
            elif EQUAL in causes or OWN_ROW in causes:
                cause = EQUAL_SETTLED
        detail = f"{text}\n        ours:   {_spell(ours) or resolution.missing}"
        detail += "".join(f"\n        oracle: {_spell(oracle) or 'no line'}" for oracle in dict.fromkeys(oracles))
        self.report.note(cause, key, detail)

    def _compare_raw(self, where: str, resolution: Resolution, slide: int | None) -> None:
        """A raw address: as a return address, unless it stands behind RIP."""
        frame, ours = resolution.frame, as_places(resolution.locations)
        text = f"{where} {frame.address or 0:#x}\n        ours:   {_spell(ours) or resolution.missing}"
        kernel = self._files.binary("")
        cause = UNEXPLAINED
        if frame.address is None or slide is None or kernel is None:
            cause = UNEXPLAINED if ours else RAW_WITHOUT_SLIDE
        else:
            exact = frame.format == "instruction_pointer"
            target = kernel.around(frame.address - slide - (0 if exact else 1))
            if kernel.section_of(target.address)[0]:
                cause = self._judge(kernel, target, ours)[0]
            elif not ours:
                cause = NO_ADDRESS
        self.report.note(cause, ("raw", frame.address), text)

    def _judge(self, binary: Binary, target: Target, ours: Chain) -> tuple[str, Chain]:
        oracle, behind, own = binary.ask(target)
        if behind:
            if not _same(ours, behind):
                return UNEXPLAINED, behind
            return (EQUAL if _same(ours, oracle) else OWN_ROW), behind
        if own and _same(ours, own) and not _same(ours, oracle):
            return OWN_ROW, own
        if not oracle:
            return (UNEXPLAINED if ours else BOTH_NONE), oracle
        if _same(ours, oracle):
            return EQUAL, oracle
        if binary.is_module and ours and ours[0][:2] == oracle[0][:2]:
            # Ours at the earliest byte that the oracle gives the same chain for must be that chain.
            image = self._image(binary.path)
            for address in binary.earlier_in_row(target, oracle):
                linked = image.address_in(*binary.section_of(address))
                symbol = image.symbol_at(linked) if linked is not None else None
                if linked is not None and symbol is not None:
                    chain = image.chain(linked, symbol)
                    if _same(as_places(chain), oracle):
                        return ROW_START, oracle
        return UNEXPLAINED, oracle

    def _image(self, path: str) -> DebugImage:
        if path not in self._opened:
            self._opened[path] = open_image(path).image
        return self._opened[path]

    def _judge_candidates(self, binary: Binary, targets: Sequence[Target], resolution: Resolution) -> str:
        theirs = set()
        for target in targets:
            oracle, behind, _ = binary.ask(target)
            theirs.add(_key(behind or oracle))
        ours = {_key(as_places(chain)) for chain in resolution.candidates}
        return EQUAL_CANDIDATES if ours == theirs else UNEXPLAINED

    def _compare_word(self, where: str, word: re.Match[bytes], resolution: Resolution) -> None:
        """The kernel's file and line must be one of the levels of our chain."""
        self.report.words += 1
        said = (tree_path(word["file"].decode()), int(word["line"]))
        levels = [(each.file, each.line) for each in resolution.locations]
        if said in levels:
            level = levels.index(said)
            self.report.word_levels["the innermost level" if level == 0 else f"level {level} of {len(levels)}"] += 1
        else:
            ours = ", ".join(f"{file}:{line}" for file, line in levels) or str(resolution.missing)
            self.report.word_differences.append(f"{where} {word[0].decode()}: ours {ours}")


def _warn(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


def _slides(data: bytes) -> list[int | None]:
    """What KASLR moved each boot of a log by; the first entry is for what stands before the first banner."""
    slides = []
    for boot in data.split(b"Linux version "):
        found = re.search(rb"Kernel Offset: (?:0x([0-9a-f]+) from|disabled)", boot)
        slides.append(None if found is None else int(found[1] or b"0", 16))
    return slides


def _same(ours: Chain, oracle: Chain) -> bool:
    return bool(ours) and _key(ours) == _key(oracle)


def _key(chain: Chain) -> tuple[tuple[str, int, str], ...]:
    """What is compared: the outermost name is the symbol's, whatever name an oracle prefers."""
    return (*chain[:-1], *(last._replace(function="") for last in chain[-1:]))


def _spell(chain: Chain) -> str:
    return " < ".join(f"{place.file}:{place.line} {place.function}" for place in chain)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; the status is 1 when a difference has no explanation."""
    parser = argparse.ArgumentParser(description="Compare the annotation of real logs with oracles.")
    parser.add_argument("--debug-root", required=True, metavar="DIR", help="an unpacked package of debug info")
    parser.add_argument("--modules", action="append", default=[], metavar="PATH", help="further modules")
    parser.add_argument("--examples", type=int, default=6, help="examples printed of each known cause")
    parser.add_argument("logs", nargs="+", metavar="LOG")
    options = parser.parse_args(arguments)
    comparer = Comparer(options.debug_root, options.modules)
    try:
        for log in options.logs:
            comparer.compare(log)
    finally:
        comparer.close()
    sys.stdout.write(comparer.report.text(options.examples) + "\n")
    return 1 if comparer.report.unexplained or comparer.report.word_differences or comparer.report.unseen else 0


if __name__ == "__main__":
    sys.exit(main())
