"""Holds our chains of every address of the matrix's programs and modules against llvm-symbolizer's.

    python tests/matrix/compare.py [--compiler NAME]... [--examples]

A module has no addresses that a tool could be asked for (``tests/oracle/llvm.py``), so it is linked once more with each
section of code at a place that is known, and llvm-symbolizer is asked there: the code and the debug information are the
same, only placed. Every byte of every executable section is compared: path and line of each level, the name of each
level as the debug information has it (the oracle gets a copy without a symbol table), and the symbol that we name
against the functions of the symbol table, read by pyelftools. A compressed copy must give the very same chains.

GNU addr2line, a reader of its own for each machine, is asked as well for some of the linked files, and eu-addr2line,
which takes offsets in sections, for the modules of those machines that it can read.

A difference is put down to a cause only when the oracle's own answers prove it (``judge_linked``, and
``judge_line_zero`` here); all else is UNEXPLAINED.
"""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import sys
import tempfile
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from build import TOOLCHAINS, build, code_sections, placed_at, recipes_for
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

sys.path.insert(0, str(Path(__file__).parent.parent / "oracle"))

from compare_addresses import EQUAL, UNEXPLAINED, Chain, Example, Tally, as_places, compare_module, judge_linked, same
from llvm import LlvmSymbolizer, tree_path
from llvm import Place as Level

from annotate.kernel.images import open_image
from annotate.model import LinkAddr

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Sequence

    from build import Built, Recipe, Toolchain
    from llvm import Answer

    from annotate.debuginfo.image import DebugImage
    from annotate.model import Symbol

LINE_ZERO = "the oracle gives line 0; ours is the nearest line before it, in the same inlined calls"
LINE_ZERO_BEGUN = "the oracle gives line 0 in an inlined call that began behind the nearest line; ours is the call"
LINE_ZERO_ENDED = "the oracle gives line 0; ours is the inlined call that ended behind the nearest line"
LINE_ZERO_ELSEWHERE = "the oracle gives line 0 and no place in the function that it names (padding); ours is no line"
ONLY_LINE_ZERO = "the oracle gives line 0 for all of the function up to there; ours is no line"
NO_CALL_SITE = "the debug information has no call sites (strict DWARF 2): line 0 with both, the oracle names no file"
PADDING = "behind the code of the symbol (padding): neither a function nor, with us, a line"
WRONG_NAME = "OURS IS WRONG: the name of the outermost function"
WRONG_SYMBOL = "OURS IS WRONG: the symbol"
COMPRESSED_DIFFERS = "OURS IS WRONG: a compressed copy has another answer"

#: What proves nothing to be wrong with our chain; anything else fails the test.
_FAULTS = (UNEXPLAINED, WRONG_NAME, WRONG_SYMBOL, COMPRESSED_DIFFERS)

#: The recipes for which GNU addr2line is asked too.
SECOND = ("dwarf5", "dwarf4")

#: The toolchains whose modules eu-addr2line can read (sections of 64-bit files, .debug_aranges, not MIPS).
ELFUTILS = re.compile(r"gcc-(native|arm64|riscv64.*|s390x|ppc64.*|sparc64|alpha)")
EVERY_OFFSET = 1 << 20

_ADDRESS = re.compile(r"0x[0-9a-f]{8,16}")
_PLACE = re.compile(r"(?P<file>.*):(?P<line>\d+|\?)(?: \(discriminator \d+\))?$")


class Result(NamedTuple):
    """What became of one recipe."""

    toolchain: str
    recipe: str
    program: Tally
    module: Tally
    compressed: int  #: addresses of compressed copies that were compared
    chains: set[Chain]  #: all that were equal
    second: tuple[int, int]  #: addresses of the program that GNU addr2line was asked for, and equal ones
    elfutils: Tally  #: offsets of the module itself that eu-addr2line was asked for

    @property
    def counts(self) -> Counter[str]:
        """How many addresses of the program and of the module by cause."""
        return self.program.counts + self.module.counts

    def row(self) -> str:
        """One line of the table."""
        others = "; ".join(f"{count} {cause}" for cause, count in self.counts.most_common() if cause != EQUAL)
        return (
            f"{self.toolchain:18} {self.recipe:18} program {self.program.total:5} module {self.module.total:5} "
            f"equal {self.counts[EQUAL]:6} compressed copies {self.compressed:6} "
            f"addr2line {self.second[1]}/{self.second[0]} "
            f"eu-addr2line {self.elfutils.counts[EQUAL]}/{self.elfutils.total} others: {others or 'none'}"
        )

    @property
    def faults(self) -> list[str]:
        """The differences that are not the oracle's."""
        return [
            f"{self.toolchain} {self.recipe}: {cause}: {example}"
            for tally in (self.program, self.module, self.elfutils)
            for cause in tally.counts
            if cause in _FAULTS or "OURS IS WRONG" in cause
            for example in tally.examples[cause][:3]
        ]


class Functions:
    """The functions of a symbol table by address, read by pyelftools."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            if not isinstance(table, SymbolTableSection):
                raise ValueError(f"{path}: no symbol table")
            descriptors = _descriptors(elf, table)
            self._functions: dict[tuple[int, int], set[str]] = {}
            for symbol in table.iter_symbols():
                if symbol["st_info"]["type"] != "STT_FUNC" or not isinstance(symbol["st_shndx"], int):
                    continue
                section, value = symbol["st_shndx"], symbol["st_value"]
                if elf["e_machine"] == "EM_ARM":
                    value &= ~1
                if elf.get_section(section).name == ".opd":
                    section, value = descriptors[value]
                self._functions.setdefault((section, value), set()).add(symbol.name)
        self._starts = sorted(self._functions)

    def at(self, section: int, value: int) -> set[str]:
        """The names of the last function that starts at or before a place of a section."""
        index = bisect_right(self._starts, (section, value)) - 1
        if index < 0 or self._starts[index][0] != section:
            return set()
        return self._functions[self._starts[index]]


def _descriptors(elf: ELFFile, table: SymbolTableSection) -> dict[int, tuple[int, int]]:
    """Where each function descriptor of .opd (64-bit PowerPC, ELF version 1) leads: (section, value)."""
    opd = elf.get_section_by_name(".opd")
    if opd is None:
        return {}
    if elf["e_type"] != "ET_REL":
        words = struct.iter_unpack(">Q", opd.data())
        base = opd["sh_addr"]
        found = {}
        for index, (word,) in enumerate(words):
            for number, section in enumerate(elf.iter_sections()):
                if section["sh_flags"] & 4 and section["sh_addr"] <= word < section["sh_addr"] + section["sh_size"]:
                    found[base + 8 * index] = number, word
        return found
    relocations = elf.get_section_by_name(".rela.opd")
    if not isinstance(relocations, RelocationSection):
        raise ValueError("a relocatable file whose .opd has no relocations")
    found = {}
    for relocation in relocations.iter_relocations():
        symbol = table.get_symbol(relocation["r_info_sym"])
        if relocation["r_info_type"] == 38:  # R_PPC64_ADDR64
            found[relocation["r_offset"]] = symbol["st_shndx"], symbol["st_value"] + relocation["r_addend"]
    return found


def without_symbols(path: Path) -> Path:
    """A copy whose symbol table no tool finds, so that they print the names of the debug information."""
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        elf = ELFFile(file)
        order = "<" if elf.little_endian else ">"
        for number, section in enumerate(elf.iter_sections()):
            if section["sh_type"] in ("SHT_SYMTAB", "SHT_DYNSYM"):
                struct.pack_into(order + "I", data, elf["e_shoff"] + number * elf["e_shentsize"] + 4, 1)
    copy = path.with_name(f"{path.name}.nosym")
    copy.write_bytes(data)
    return copy


class Place(NamedTuple):
    """One byte of code: where it is in our file, its address there, and where the oracle has it."""

    section: int
    value: int  #: as symbols have it: the offset in a section of a module, else the address
    address: LinkAddr
    oracle: int


def places_of_program(path: Path) -> Iterator[Place]:
    """Every byte of code of a linked file."""
    for section in code_sections(path):
        for address in range(section.address, section.address + section.size):
            yield Place(section.number, address, LinkAddr(address), address)


def places_of_module(path: Path, image: DebugImage, placed: Path) -> Iterator[Place]:
    """Every byte of code of a module. Raises ValueError when it is not as long where it was placed."""
    known = {(section.address, section.size) for section in code_sections(placed)}
    sections = code_sections(path)
    for section, start in zip(sections, placed_at(sections), strict=True):
        if (start, section.size) not in known:
            raise ValueError(f"{path}: {section.name} of {section.size} bytes was not linked as it is: {known}")
        base = image._bases[section.number]
        for offset in range(section.size):
            yield Place(section.number, offset, LinkAddr(base + offset), start + offset)


def open_for(path: Path) -> DebugImage:
    """The image of a file."""
    return open_image(str(path)).image


def chain_at(image: DebugImage, address: LinkAddr) -> tuple[Symbol | None, Chain]:
    """Our symbol and chain."""
    symbol = image.symbol_at(address)
    return symbol, as_places(image.chain(address, symbol)) if symbol is not None else ()


def compare(path: Path, image: DebugImage, places: Iterable[Place], oracle: Path, chains: set[Chain]) -> Tally:
    """Compare one file at these places with what the oracle says of another; add the equal chains to ``chains``."""
    tally = Tally()
    functions = Functions(path)
    asked = list(places)
    with LlvmSymbolizer(str(without_symbols(oracle))) as llvm:
        llvm.ask(place.oracle for place in asked)
        for place in asked:
            answer = llvm.ask((place.oracle,))[0]
            cause, symbol, ours = judge(llvm, place, image, functions)
            where = f"{path.parent.name}/{path.name} section {place.section} {place.value:#x}"
            name = f" {symbol.name.decode()}+{place.address - symbol.address:#x}" if symbol is not None else ""
            tally.count(cause, Example(where + name, ours, answer.places))
            if cause == EQUAL:
                chains.add(answer.places)
    return tally


def judge(
    llvm: LlvmSymbolizer, place: Place, image: DebugImage, functions: Functions
) -> tuple[str, Symbol | None, Chain]:
    """The cause for which our chain of a place is, or is not, the oracle's; our symbol and chain."""
    symbol, ours = chain_at(image, place.address)
    return _cause(llvm, place, symbol, ours, functions), symbol, ours


def _cause(llvm: LlvmSymbolizer, place: Place, symbol: Symbol | None, ours: Chain, functions: Functions) -> str:
    names = functions.at(place.section, place.value)
    answer = llvm.ask((place.oracle,))[0]
    if symbol is None:
        return WRONG_SYMBOL if names else judge_without_symbol(answer)
    if names and symbol.name.decode().lstrip(".") not in {name.lstrip(".") for name in names}:
        return WRONG_SYMBOL
    moved = place.oracle - place.address
    start = symbol.address + moved
    end = start + symbol.st_size if symbol.st_size else symbol.end + moved
    if answer.row[0] and answer.places[0].line == 0:
        return judge_line_zero(llvm, place.oracle, start, ours)
    cause = judge_linked(llvm, place.oracle, start, end, ours)
    if cause == EQUAL and same(ours, answer.places) and ours[-1].function not in ("", answer.places[-1].function):
        return WRONG_NAME
    if cause == UNEXPLAINED and same(_without_call_sites(ours), answer.places):
        return NO_CALL_SITE
    if cause == UNEXPLAINED and not ours and place.oracle >= end and not answer.in_function:
        return PADDING
    return cause


def _without_call_sites(chain: Chain) -> Chain:
    """The chain without the file of levels that have line 0; the innermost has a line."""
    return chain[:1] + tuple(level._replace(file="") if level.line == 0 else level for level in chain[1:])


def judge_without_symbol(answer: Answer) -> str:
    """The cause where neither we nor the symbol table have a function."""
    return UNEXPLAINED if answer.in_function else "no symbol there, so no frame can name it"


def judge_line_zero(llvm: LlvmSymbolizer, address: int, start: int, ours: Chain) -> str:
    """The cause where the oracle says line 0, which stands for code without a line of its own.

    The oracle has the levels and call sites of the address all the same, and those of the last byte before it that has
    a line. What both are in must be ours, at the line of that byte or where the next inner level is called.
    """
    before = address
    while before > start and not (answer := llvm.ask((before - 1,))[0]).has_line:
        if not answer.row[0]:
            break
        before -= 1
    near = llvm.ask((before - 1,))[0]
    if before == start or not near.has_line:
        return UNEXPLAINED if ours else ONLY_LINE_ZERO
    cause, expected = expect_line_zero(llvm.ask((address,))[0].places, near.places)
    return cause if ours == expected else UNEXPLAINED


def expect_line_zero(own: Chain, near: Chain) -> tuple[str, Chain]:
    """The cause and the chain to expect of an address where the oracle says ``own``, with line 0 for the innermost.

    ``near`` is what it says of the last byte before that has a line.
    """
    shared = 0
    for mine, other in zip(_call_sites(own), _call_sites(near), strict=False):
        if mine != other:
            break
        shared += 1
    kept = max(shared, 1)
    if len(own) > kept and own[-kept].line:
        cause, place = LINE_ZERO_BEGUN, own[-kept]
    elif not shared or not near[-kept].line:
        return LINE_ZERO_ELSEWHERE, ()
    else:
        cause, place = LINE_ZERO_ENDED if len(near) > kept else LINE_ZERO, near[-kept]
    return cause, (place._replace(function=own[-kept].function), *own[len(own) - kept + 1 :])


def _call_sites(chain: Chain) -> list[tuple[str, str, int]]:
    """Each function of a chain, outermost first, and where it is called in the one before."""
    places = [("", 0), *((level.file, level.line) for level in reversed(chain[1:]))]
    return [(level.function, *place) for level, place in zip(reversed(chain), places, strict=True)]


def compare_copy(places: Iterable[Place], image: DebugImage, copy: Path, tally: Tally) -> int:
    """Compare a compressed copy with the file itself, at every byte of code; the number of comparisons."""
    other = open_for(copy)
    count = 0
    for place in places:
        ours, copied = chain_at(image, place.address), chain_at(other, place.address)
        count += 1
        if ours != copied:
            tally.count(COMPRESSED_DIFFERS, Example(f"{copy.name} {place.address:#x}", copied[1], ours[1]))
    return count


def ask_addr2line(program: str, path: Path, addresses: Sequence[int]) -> list[Chain]:
    """What the addr2line of binutils for a machine says of a linked file. Raises ValueError when it says too little."""
    text = "".join(f"{address:#x}\n" for address in addresses)
    command = (program, "-a", "-i", "-f", "-e", str(path))
    printed = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    answers: list[list[Level]] = []
    function = ""
    for line in printed.splitlines():
        if _ADDRESS.fullmatch(line):
            answers.append([])
            function = ""
        elif not function:
            function = line
        elif found := _PLACE.match(line):
            if found["line"].isdigit():
                answers[-1].append(Level(tree_path(found["file"]), int(found["line"]), function))
            function = ""
    if len(answers) != len(addresses):
        raise ValueError(f"{path}: {len(addresses)} addresses asked, {len(answers)} answered")
    return [tuple(level for level in answer if level.line or len(answer) > 1) for answer in answers]


def compare_second(toolchain: Toolchain, path: Path, image: DebugImage, places: Sequence[Place]) -> tuple[int, int]:
    """How many chains of a linked file were compared with those of GNU addr2line, and how many are equal.

    It is another program with another reader of DWARF, and made for these machines. Behind the code of a function
    (padding) it goes on with the row before.
    """
    answers = ask_addr2line(toolchain.addr2line, path, [place.address for place in places])
    equal = sum(same(chain_at(image, place.address)[1], answer) for place, answer in zip(places, answers, strict=True))
    return len(places), equal


def compare_built(toolchain: Toolchain, built: Built) -> Result:
    """Compare everything that a recipe yielded. Raises AnnotateError where a file cannot be opened at all."""
    image = open_for(built.program)
    files = [(built.program, image, list(places_of_program(built.program)), built.program)]
    if built.module is not None and built.placed is not None:
        image = open_for(built.module)
        files.append((built.module, image, list(places_of_module(built.module, image, built.placed)), built.placed))
    tallies = []
    compressed = 0
    chains: set[Chain] = set()
    for path, image, places, oracle in files:
        tally = compare(path, image, places, oracle, chains)
        tallies.append(tally)
        for error in image.damage:
            tally.count(UNEXPLAINED, Example(f"{path.name}: {error}", (), ()))
        for copy in built.copies.get(path, ()):
            compressed += compare_copy(places, image, copy, tally)
    module = tallies[1] if tallies[1:] else Tally()
    elfutils = Tally()
    if built.module is not None and built.recipe.name in SECOND and ELFUTILS.fullmatch(toolchain.name):
        elfutils = compare_module(str(built.module), EVERY_OFFSET, 0)
    second = (0, 0)
    if not toolchain.is_clang and built.recipe.name in SECOND:
        second = compare_second(toolchain, *files[0][:3])
    return Result(toolchain.name, built.recipe.name, tallies[0], module, compressed, chains, second, elfutils)


def compare_recipe(toolchain: Toolchain, recipe: Recipe, folder: Path) -> Result:
    """Build and compare."""
    return compare_built(toolchain, build(toolchain, recipe, folder))


def main() -> int:
    """Print a table of all comparisons; the status is 1 when one is not explained."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--compiler", action="append", choices=sorted(TOOLCHAINS), help="of all by default")
    parser.add_argument("--recipe", action="append", help="of all by default")
    parser.add_argument("--examples", action="store_true", help="print examples of every cause")
    arguments = parser.parse_args()
    failed = False
    for name in arguments.compiler or TOOLCHAINS:
        toolchain = TOOLCHAINS[name]
        missing = toolchain.missing()
        if missing:
            print(f"{name}: not installed: {', '.join(missing)}")  # noqa: T201
            continue
        with tempfile.TemporaryDirectory() as folder:
            for recipe in recipes_for(toolchain):
                if arguments.recipe and recipe.name not in arguments.recipe:
                    continue
                try:
                    result = compare_recipe(toolchain, recipe, Path(folder))
                except Exception as error:  # noqa: BLE001  # the table goes on
                    print(f"{name:18} {recipe.name:18} FAILED: {type(error).__name__}: {str(error)[-400:]}")  # noqa: T201
                    failed = True
                    continue
                print(result.row(), flush=True)  # noqa: T201
                if arguments.examples:
                    for tally in (result.program, result.module):
                        for cause, examples in tally.examples.items():
                            for example in examples[:3]:
                                print(f"    {cause}: {example}")  # noqa: T201
                failed = failed or bool(result.faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
