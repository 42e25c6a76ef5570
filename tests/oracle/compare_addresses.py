"""Compare our chains with an oracle's at random addresses, and say of every difference whose fault it is.

    python tests/oracle/compare_addresses.py --vmlinux FILE --count 20000 --seed 1
    python tests/oracle/compare_addresses.py --module FILE --count 300 --seed 1
    python tests/oracle/compare_addresses.py --modules DIR --sample 100 --count 50000 --seed 1

A vmlinux is asked at addresses uniform over the bytes of its functions and compared with llvm-symbolizer, a module at
offsets of each executable section and compared with eu-addr2line. File and line of every level and the names of
inlined functions are compared; the outermost name is the symbol's and is compared for a vmlinux only. A difference is
put down to the oracle only when the oracle's own answers at other addresses prove it; what is left is UNEXPLAINED.

Addresses are asked in ascending order and by the batch, each batch with a new llvm-symbolizer and a new reader of ours:
both keep what they decoded, and a batch needs only the units that it lies in.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from elfutils import Section, ask_call_site, ask_elfutils, nops_in_front, read_sections, read_symbols
from llvm import Answer, LlvmSymbolizer, Place

from annotate.kernel.images import open_image
from annotate.model import LinkAddr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from annotate.debuginfo.image import DebugImage
    from annotate.model import Location, Symbol

EQUAL = "equal"
BOTH_NONE = "no line: both"
GUESSED_FILE = "no line: both, and the oracle guesses a file (STT_FILE)"
ROW_BEFORE = "the oracle gives the row of the function before; ours is the oracle's at the function's first own row"
NO_OWN_ROW = "the oracle gives the row of the function before; the symbol has none of its own, ours is no line"
OWN_ROW_BEHIND = "the oracle has no row there; ours is the oracle's at the function's first own row"
CALL_SITE = (
    "the oracle gives the row of the function before; ours is the call of the inlined function, as the oracle has it"
)
CALL_SITE_NO_ROW = "the oracle has no row there; ours is the call of the inlined function, as the oracle has it"
ROW_START = "the oracle computes the chain at the start of the row (eu-addr2line)"
PAST_END = "the oracle goes on behind the end of a sequence (eu-addr2line); ours is no line"
PAST_END_OURS = "the oracle goes on behind the end of a sequence (eu-addr2line); ours is the symbol's first row"
UNCLAIMED = "behind the code of the last function before (padding, subsections), in no unit: ours is no line"
PADDING = "the oracle gives the row of the function before for padding that has a name (__pfx_); ours is no line"
NO_SYMBOL = "no symbol there, so no frame can name it; the oracle has a line"
LEFT_OVER_ROW = "OURS IS WRONG: a row that the function before left over on the nops in front of the function"
ON_PADDING = "OURS IS WRONG: a row of the function before for padding that has a name (__pfx_)"
UNEXPLAINED = "UNEXPLAINED"

#: Differences that are not the oracle's fault, as far as is known.
_OURS = frozenset({UNEXPLAINED, LEFT_OVER_ROW, ON_PADDING})

#: What objtool calls the nops in front of a function (tools/objtool/elf.c, elf_create_prefix_symbol()).
_PADDING = "__pfx_"

#: Where the oracle gave no line, so there was nothing to be equal to.
_WITHOUT_LINE = frozenset({BOTH_NONE, GUESSED_FILE, OWN_ROW_BEHIND, NO_SYMBOL})

#: scripts/kallsyms.c, is_ignored_symbol(): what the kernel cannot print.
_LEFT_OUT = ("$", ".L", "__efistub_", "__kvm_nvhe_$", "__kvm_nvhe_.L")

#: Examples that are kept a cause.
_EXAMPLES = 4

#: Addresses that are asked of one llvm-symbolizer: few enough that it stays below 1 GB.
_BATCH = 50_000

Chain = tuple[Place, ...]


class Example(NamedTuple):
    """One compared address."""

    where: str
    ours: Chain
    oracle: Chain

    def __str__(self) -> str:
        return f"{self.where}\n      ours:   {spell(self.ours)}\n      oracle: {spell(self.oracle)}"


class Tally:
    """Counts and examples by cause."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[Example]] = {}

    def count(self, cause: str, example: Example) -> None:
        """Take in one comparison."""
        self.counts[cause] += 1
        kept = self.examples.setdefault(cause, [])
        if cause in _OURS or (cause not in (EQUAL, BOTH_NONE) and len(kept) < _EXAMPLES):
            kept.append(example)

    def add(self, other: Tally) -> None:
        """Take in another tally."""
        for cause, count in other.counts.items():
            self.counts[cause] += count
            kept = self.examples.setdefault(cause, [])
            further = other.examples.get(cause, [])
            kept.extend(further if cause in _OURS else further[: max(0, _EXAMPLES - len(kept))])

    @property
    def total(self) -> int:
        """All comparisons."""
        return self.counts.total()

    @property
    def with_line(self) -> int:
        """Those where the oracle gave a line."""
        return self.total - sum(self.counts[cause] for cause in _WITHOUT_LINE)

    @property
    def unexplained(self) -> int:
        """Differences that are not proven to be the oracle's fault."""
        return sum(self.counts[cause] for cause in _OURS)

    @property
    def agreement(self) -> float:
        """The share of those in which ours is the oracle's answer, proven faults of the oracle left aside."""
        return 1 - self.unexplained / self.with_line if self.with_line else 1.0

    def table(self, title: str) -> str:
        """The counts, then the examples of every cause but equality."""
        lines = [f"{title}: {self.total} compared, the oracle has a line for {self.with_line}"]
        lines += [f"{count:9}  {cause}" for cause, count in self.counts.most_common()]
        lines.append(f"{100 * self.agreement:8.4f} % agree where the oracle has a line and is not proven wrong")
        for cause, examples in self.examples.items():
            if examples:
                lines.append(f"  {cause}:")
                lines += [f"    {example}" for example in examples]
        return "\n".join(lines)


def spell(chain: Chain) -> str:
    """A chain in one line."""
    return " < ".join(f"{place.file}:{place.line} {place.function}" for place in chain) or "no line"


def as_places(chain: Iterable[Location]) -> Chain:
    """Our chain in the oracle's terms."""
    return tuple(Place(location.file, location.line, location.function) for location in chain)


def same(ours: Chain, oracle: Chain) -> bool:
    """Whether every file and line and the names of inlined functions are equal; the outermost name is the symbol's."""
    return [(place.file, place.line) for place in ours] == [(place.file, place.line) for place in oracle] and [
        place.function for place in ours[:-1]
    ] == [place.function for place in oracle[:-1]]


def judge_linked(llvm: LlvmSymbolizer, address: int, start: int, end: int, ours: Chain) -> str:
    """The cause for which our chain of a linked address in a symbol is, or is not, llvm-symbolizer's."""
    answer = llvm.ask((address,))[0]
    own = llvm.behind_nops(address, start, end)
    if own is not None and same(ours, answer.places) and not same(ours, own.places):
        return LEFT_OVER_ROW
    if own is None:
        if answer.has_line and same(ours, answer.places):
            return EQUAL
        own = llvm.own_row(address, start, end)
    if own is None:
        return UNEXPLAINED
    if own == answer:  # the symbol has no row of its own
        if ours:
            return UNEXPLAINED
        if answer.has_line:
            return NO_OWN_ROW
        return GUESSED_FILE if answer.places and answer.places[0].file else BOTH_NONE
    if len(answer.places) > 1 and same(ours, answer.places[1:]):
        return CALL_SITE
    if not same(ours, own.places):
        return UNEXPLAINED
    if same(ours, answer.places):
        return EQUAL
    return ROW_BEFORE if answer.has_line else OWN_ROW_BEHIND


def compare_vmlinux(path: str, count: int, seed: int) -> tuple[Tally, Tally]:
    """Compare at random addresses: (chains, outermost names)."""
    sections = {section.number: section for section in read_sections(path)}
    symbols = read_symbols(path)
    functions = [
        symbol
        for symbol in symbols
        if symbol.type == "FUNC" and symbol.size and symbol.section is not None and sections[symbol.section].is_code
    ]
    ends = list(accumulate(function.size for function in functions))
    generator = random.Random(seed)
    addresses = []
    for _ in range(count):
        byte = generator.randrange(ends[-1])
        index = bisect_right(ends, byte)
        addresses.append(functions[index].value + functions[index].size - (ends[index] - byte))
    addresses.sort()
    names: dict[int, set[str]] = {}
    for symbol in symbols:
        names.setdefault(symbol.value, set()).add(symbol.name)
    chains, outermost = Tally(), Tally()
    for first in range(0, count, _BATCH):
        _compare_batch(path, addresses[first : first + _BATCH], names, chains, outermost)
    return chains, outermost


def _compare_batch(
    path: str, addresses: Sequence[int], names: dict[int, set[str]], chains: Tally, outermost: Tally
) -> None:
    image = open_image(path).image
    with LlvmSymbolizer(path) as llvm:
        llvm.ask(addresses)
        for address in addresses:
            symbol_there = image.symbol_at(LinkAddr(address))
            answer = llvm.ask((address,))[0]
            if symbol_there is None:
                example = Example(f"{address:#x}, no symbol", (), answer.places)
                chains.count(UNEXPLAINED, example)
                continue
            ours = as_places(image.chain(LinkAddr(address), symbol_there))
            name = symbol_there.name.decode()
            example = Example(f"{address:#x} {name}+{address - symbol_there.address:#x}", ours, answer.places)
            code_end = symbol_there.address + symbol_there.st_size if symbol_there.st_size else symbol_there.end
            cause = (
                _judge_padding(ours, answer.places if answer.has_line else ())
                if name.startswith(_PADDING)
                else judge_linked(llvm, address, symbol_there.address, code_end, ours)
            )
            chains.count(cause, example)
            outermost.count(_judge_name(symbol_there, answer, names), example)


def _judge_padding(ours: Chain, oracle: Chain) -> str:
    """Padding is no function's code, so it has no line, whatever row covers it or begins on it."""
    if ours:
        return ON_PADDING
    return PADDING if oracle else BOTH_NONE


def _judge_name(symbol: Symbol, answer: Answer, names: dict[int, set[str]]) -> str:
    """How the symbol that we name for an address compares with the one that llvm-symbolizer names."""
    name = symbol.name.decode()
    oracle = answer.places[-1].function if answer.places else ""
    if name == oracle:
        return EQUAL
    if oracle in names.get(symbol.address, ()):
        return "another of several names of the same address"
    if oracle.startswith(_LEFT_OUT):
        return "the oracle names a symbol that kallsyms leaves out"
    if not symbol.st_size:
        return "ours is a label without a size, which kallsyms prints; the oracle names the function around it"
    if not oracle:
        return "the oracle names none"
    return UNEXPLAINED


def compare_module(path: str, count: int, seed: int) -> Tally:
    """Compare at ``count`` random offsets of each executable section (all offsets of smaller ones)."""
    sections = _code_sections(path)
    return _compare_sections(path, sections, [min(count, section.size) for section in sections], seed)


def compare_modules(paths: Sequence[str], count: int, seed: int) -> Tally:
    """Compare at ``count`` random offsets of these modules, shared out evenly over them, and over the sections of each.

    Most sections of code but ``.text`` are small; offsets uniform over all bytes would leave them out.
    """
    sections = [_code_sections(path) for path in paths]
    shares = share_evenly([sum(section.size for section in each) for each in sections], count)
    tally = Tally()
    for path, each, share in zip(paths, sections, shares, strict=True):
        tally.add(_compare_sections(path, each, share_evenly([section.size for section in each], share), seed))
    return tally


def share_evenly(sizes: Sequence[int], total: int) -> list[int]:
    """Share a total out as evenly as the sizes allow; less than the total only when they hold no more."""
    shares = [0] * len(sizes)
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    for done, index in enumerate(by_size):
        shares[index] = min(sizes[index], total // (len(sizes) - done))
        total -= shares[index]
    return shares


def _code_sections(path: str) -> list[Section]:
    return [section for section in read_sections(path) if section.is_code and section.size and section.type != "NOBITS"]


def _compare_sections(path: str, sections: Sequence[Section], counts: Sequence[int], seed: int) -> Tally:
    image = open_image(path).image
    generator = random.Random(seed)
    tally = Tally()
    for section, count in zip(sections, counts, strict=True):
        offsets = sorted(generator.sample(range(section.size), count))
        judge = ModuleJudge(path, section, image)
        for offset, oracle in zip(offsets, ask_elfutils(path, section.name, offsets), strict=True):
            address = image.address_in(section.name, offset)
            if address is None:
                raise ValueError(f"{path}: {section.name}+{offset:#x} has no address")
            symbol = image.symbol_at(address)
            ours = as_places(image.chain(address, symbol)) if symbol is not None else ()
            cause = judge.cause(offset, symbol, ours, oracle)
            tally.count(cause, Example(f"{path} {section.name}+{offset:#x}", ours, oracle))
    return tally


class ModuleJudge:
    """Finds the cause of a difference in one section of a module."""

    def __init__(self, path: str, section: Section, image: DebugImage) -> None:
        self._path = path
        self._header = section
        self._section = section.name
        self._image = image
        self._rows: tuple[list[LinkAddr], list[int]] | None = None
        self._ends: set[Chain] | None = None

    def cause(self, offset: int, symbol: Symbol | None, ours: Chain, oracle: Chain) -> str:
        """The cause for which our chain of an offset is, or is not, eu-addr2line's."""
        if symbol is not None and symbol.name.startswith(_PADDING.encode()):
            return _judge_padding(ours, oracle)
        if not ours and not oracle:
            return BOTH_NONE
        behind = self._behind_nops(offset, symbol)
        if behind is not None:
            if not same(ours, behind):
                return LEFT_OVER_ROW if same(ours, oracle) else UNEXPLAINED
            return EQUAL if same(ours, oracle) else ROW_BEFORE if oracle else OWN_ROW_BEHIND
        if ours and oracle and same(ours, oracle):
            return EQUAL
        if symbol is None:
            return NO_SYMBOL
        address = self._image.address_in(self._section, offset)
        section_start = self._image.address_in(self._section, 0)
        if address is None or section_start is None:
            return UNEXPLAINED
        run, line = self._run(address)
        first = self._first_own(address, symbol, section_start)
        if not oracle:
            if same(ours, first):
                return OWN_ROW_BEHIND
            site = ask_call_site(self._path, self._section, offset)
            return CALL_SITE_NO_ROW if ours and site is not None and ours[0][:2] == site[:2] else UNEXPLAINED
        if line == 0 or run == section_start:
            # No sequence covers the offset, or one begins with it. eu-addr2line then may say what it says of the last
            # byte that a sequence before covers, be that in another section.
            last = {self._ask(run - 1, section_start)[:1]} if run > section_start else self._ends_of_sections()
            if oracle[0][:2] in {chain[0][:2] for chain in last if chain}:
                if not ours:
                    return UNEXPLAINED if first else PAST_END
                if line or same(ours, first):
                    return PAST_END_OURS
        if section_start < symbol.address and run < symbol.address:
            before = self._ask(symbol.address - 1, section_start)
            if before[:1] and before[0][:2] == oracle[0][:2]:
                if not first:
                    return UNEXPLAINED if ours else NO_OWN_ROW
                if same(ours, first):
                    return ROW_BEFORE
                site = ask_call_site(self._path, self._section, offset)
                if ours and site is not None and ours[0][:2] == site[:2]:
                    return CALL_SITE
        if not ours and symbol.st_size and address >= symbol.address + symbol.st_size and oracle[0].function == "??":
            return UNCLAIMED
        return ROW_START if self._is_chain_of_row_start(run, address, symbol, ours, oracle) else UNEXPLAINED

    def _behind_nops(self, offset: int, symbol: Symbol | None) -> Chain | None:
        """eu-addr2line's chain behind the patchable nops that an offset is among; None when it is not."""
        place = self._image.section_of(symbol.address) if symbol is not None else None
        if place is None or place[0] != self._section or offset - place[1] >= 64:
            return None
        end = place[1] + nops_in_front(self._path, self._header, place[1])
        return ask_elfutils(self._path, self._section, (end,))[0] if offset < end < self._header.size else None

    def _ask(self, address: int, section_start: int) -> Chain:
        return ask_elfutils(self._path, self._section, (address - section_start,))[0]

    def _ends_of_sections(self) -> set[Chain]:
        """eu-addr2line's answers at the last byte of each executable section."""
        if self._ends is None:
            self._ends = {
                ask_elfutils(self._path, section.name, (section.size - 1,))[0]
                for section in read_sections(self._path)
                if section.is_code and section.size
            }
        return self._ends

    def _run(self, address: LinkAddr) -> tuple[int, int]:
        """Where the file and line of an address begin in our rows, and the line; 0 where no sequence covers it."""
        if self._rows is None:
            rows = list(self._image.rows())
            self._rows = [row[0] for row in rows], [row[2] for row in rows]
        index = bisect_right(self._rows[0], address) - 1
        return (self._rows[0][index], self._rows[1][index]) if index >= 0 else (0, 0)

    def _first_own(self, address: LinkAddr, symbol: Symbol, section_start: int) -> Chain:
        """eu-addr2line's chain at the first place behind an address, within its symbol, where our rows change."""
        here = self._run(address)
        for following in range(address + 1, symbol.end):
            there = self._run(LinkAddr(following))
            if there != here and there[1]:
                return self._ask(following, section_start)
        return ()

    def _is_chain_of_row_start(self, run: int, address: LinkAddr, symbol: Symbol, ours: Chain, oracle: Chain) -> bool:
        """Whether the oracle's chain is ours at an earlier byte of the same file and line, frame 0 being equal.

        The innermost name is that of the address itself, "??" in the padding behind a function.
        """
        if not ours or ours[0][:2] != oracle[0][:2]:
            return False
        for earlier in range(address - 1, max(run, symbol.address) - 1, -1):
            chain = as_places(self._image.chain(LinkAddr(earlier), symbol))
            if chain and same((chain[0]._replace(function=oracle[0].function), *chain[1:]), oracle):
                return True
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; the status is 1 when a difference has no explanation."""
    parser = argparse.ArgumentParser(description="Compare chains with llvm-symbolizer or eu-addr2line.")
    parser.add_argument("--vmlinux", action="append", default=[], metavar="FILE")
    parser.add_argument("--module", action="append", default=[], metavar="FILE")
    parser.add_argument(
        "--modules", action="append", default=[], metavar="DIR", help="a random sample of those below it"
    )
    parser.add_argument("--sample", type=int, default=100, help="modules of a folder")
    parser.add_argument(
        "--count",
        type=int,
        default=20000,
        help="addresses a vmlinux, a section of a module, or all modules of a folder",
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    start = time.monotonic()
    unexplained = 0
    for path in options.vmlinux:
        chains, outermost = compare_vmlinux(path, options.count, options.seed)
        sys.stdout.write(chains.table(path) + "\n" + outermost.table("  outermost names") + "\n")
        unexplained += chains.unexplained + outermost.unexplained
    for path in options.module:
        tally = compare_module(path, options.count, options.seed)
        sys.stdout.write(tally.table(path) + "\n")
        unexplained += tally.unexplained
    for folder in options.modules:
        found = sorted(str(path) for path in Path(folder).rglob("*.ko") if not path.is_symlink())
        chosen = random.Random(options.seed).sample(found, min(options.sample, len(found)))
        tally = compare_modules(chosen, options.count, options.seed)
        sys.stdout.write(tally.table(f"{len(chosen)} of {len(found)} modules below {folder}") + "\n")
        unexplained += tally.unexplained
    sys.stdout.write(f"{time.monotonic() - start:.0f} s; at most {_peak(resource.RUSAGE_SELF)} MB here, ")
    sys.stdout.write(f"{_peak(resource.RUSAGE_CHILDREN)} MB in a program that was asked\n")
    return 1 if unexplained else 0


def _peak(who: int) -> int:
    return resource.getrusage(who).ru_maxrss >> 10


if __name__ == "__main__":
    sys.exit(main())
