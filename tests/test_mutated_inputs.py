"""Mutated tables, ELF files and logs, thousands of each: a wrong answer is worse than none, and the log stays the log.

Each case is made from ``SEED`` and its number alone, and runs within the fuzzers' bounds of time and memory
(``fuzz/cases.py``). 1 000 of each kind are run; LINEINFO_MUTATIONS=10000 runs more.

The tables are those of the samples with ``@@/`` in front of every path, so what was inserted can be told from the log.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from fake_world import INSERTION, NAIVE_FRAME, SAMPLES, build_kernel, build_module, sample_logs
from table_writer import KERNEL, MAINTAINERS, read_table, symbol_names, write_table

sys.path.insert(0, str(Path(__file__).parent.parent))

from annotate import resolve
from annotate.annotator import Annotator, LogFacts
from annotate.kernel.images import Images, OpenTable, open_file
from annotate.kernel.locate import Locator, SearchPlaces
from annotate.memory import Memory
from annotate.model import AnnotatedLine, LinkAddr, Missing
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions
from annotate.tables.lineinfo_v1 import TableFile, TableImage
from fuzz import damage, tables
from fuzz.cases import Failure, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from annotate.annotator import Piece
    from annotate.model import Frame, Location, Resolution, Symbol
    from annotate.resolve import ImageSource, KernelImage

CASES = int(os.environ.get("LINEINFO_MUTATIONS", "1000"))
SEED = 1

TABLE = SAMPLES / "x86_64" / "6.1.0-56-cloud-amd64.lineinfo"
GOLDEN = Path(__file__).parent / "fixtures" / "tables" / "gcc-native.lineinfo"


class WrongError(Exception):
    """What must not be came out."""


class Question(NamedTuple):
    """A case for ``fuzz.cases.run``."""

    question: Callable[[], str]

    def ask(self) -> str:
        return self.question()

    def keep(self, stem: Path, head: str, failure: Failure) -> None:
        raise NotImplementedError


def run_all(question_of: Callable[[int], Callable[[], str]], count: int = CASES) -> Counter[str]:
    """Ask all cases; what came of how many. The first that breaks the rule fails the test, by its number."""
    outcomes: Counter[str] = Counter()
    for number in range(count):
        outcome = run(Question(question_of(number)))
        assert not isinstance(outcome, Failure), f"case {number} of seed {SEED}: {outcome.kind}\n{outcome.text}"
        outcomes[outcome] += 1
    return outcomes


def quiet(_sentence: str) -> None:
    """Nobody reads it."""


def images_of(*kernels: Path) -> Images:
    return Images(Locator(SearchPlaces(kernels=[str(path) for path in kernels])), quiet, quiet)


def annotate(
    log: bytes, images: ImageSource, *, slide: int | None = None, memory: Memory | None = None
) -> tuple[list[Piece], bytes]:
    """The pieces of a log, and the output."""
    annotator = Annotator(images, LogFacts(slide, ahead=lambda position: (log[position:],)), memory)
    renderer = PlainRenderer(RenderOptions())
    pieces = [*annotator.feed(log), *annotator.flush()]
    return pieces, b"".join([renderer.render("log", piece) for piece in pieces])


def is_annotated(output: bytes, log: bytes) -> bool:
    """Whether it is the log with insertions. The log holds no bracket behind a blank; names of functions may."""
    lines, others = output.split(b"\n"), log.split(b"\n")
    return len(lines) == len(others) and all(map(_has_only_insertions, lines, others))


def _has_only_insertions(output: bytes, line: bytes) -> bool:
    start = output.find(b" (")
    if start < 0:
        return output == line
    ends = [place for place in range(start, len(output)) if output[place : place + 1] == b")"]
    return line.startswith(output[:start]) and any(
        _has_only_insertions(output[end + 1 :], line[start:]) for end in ends
    )


def marked(path: Path) -> bytes:
    """A table whose paths all begin with ``@@/``."""
    spec = read_table(path.read_bytes())
    return write_table(
        spec._replace(
            images=[
                image
                if image.kind == MAINTAINERS
                else image._replace(
                    paths=[b"\n".join(b"@@/" + line for line in body.split(b"\n")) for body in image.paths]
                )
                for image in spec.images
            ]
        )
    )


# --- tables ------------------------------------------------------------------------------------------------------


class Excerpt(NamedTuple):
    """Some lines of a log, and what the undamaged table says of each frame in them."""

    log: bytes
    answers: dict[tuple[int, int], Resolution]  #: by number of the line and start of the frame


class Table(NamedTuple):
    """An undamaged table that is asked for what excerpts hold."""

    data: bytes
    excerpts: list[Excerpt]
    blocks: list[tuple[int, int]]  #: start and end of every packed block of functions


def frames_of(data: bytes) -> list[bytes]:
    """A line of a trace for some offsets in every function of a table; some name it, some say ``?``."""
    lines = []
    file = TableFile(data, "undamaged")
    for number, spec in enumerate(read_table(data).images):
        if spec.kind == MAINTAINERS:
            continue
        image = TableImage(file, file.record(number))
        module = b" [" + spec.name + b"]" if image.is_module else b""
        for name in dict.fromkeys(symbol_names(spec)):
            for symbol in image.find(name):
                if not re.fullmatch(rb"[A-Za-z_][\w.]*", name):
                    continue
                for offset in {0, 1, symbol.size // 3, symbol.size // 2, symbol.size}:
                    mark = b"? " if offset % 3 == 0 else b""
                    lines.append(b"[    1.000000]  %b%b+%#x/%#x%b" % (mark, name, offset, symbol.size, module))
                lines.append(b"           <...>-61      [000] d..2.     1.000000: => " + name)
    return lines


def answers_of(pieces: Sequence[Piece]) -> dict[tuple[int, int], Resolution]:
    return {
        (piece.line.number, resolution.frame.span[0]): resolution
        for piece in pieces
        if isinstance(piece, AnnotatedLine)
        for resolution in piece.resolutions
    }


@pytest.fixture(scope="module")
def all_tables(tmp_path_factory: pytest.TempPathFactory) -> list[Table]:
    """That of the sample logs, with frames of them, and a small one, with frames of all that is in it."""
    found = []
    real = sorted({line for log in sample_logs() for line in log.read_bytes().split(b"\n") if NAIVE_FRAME.search(line)})
    for path, lines in ((TABLE, real), (GOLDEN, frames_of(GOLDEN.read_bytes()))):
        generator = random.Random(path.name)
        data = marked(path)
        intact = tmp_path_factory.mktemp("intact") / "intact.lineinfo"
        intact.write_bytes(data)
        images = images_of(intact)
        excerpts = []
        for _ in range(40):
            log = b"".join(line + b"\n" for line in generator.sample(lines, min(len(lines), 40)))
            pieces, output = annotate(log, images)
            assert INSERTION.sub(b"", output) == log
            excerpts.append(Excerpt(log, answers_of(pieces)))
        assert sum(bool(answer.locations) for excerpt in excerpts for answer in excerpt.answers.values()) > 400
        found.append(Table(data, excerpts, _blocks(data)))
    return found


def _blocks(data: bytes) -> list[tuple[int, int]]:
    file = TableFile(data, "undamaged")
    found = []
    for record in file.records():
        if record.kind != MAINTAINERS:
            image = TableImage(file, record)
            offsets = [image._starts[0] + offset for offset in image._block_offsets]
            found += list(pairwise(offsets))
    return found


def mutated_table(table: Table, generator: random.Random) -> bytes:
    """As the fuzzer damages it; or pieces of the same size change places; or whole blocks do."""
    data = table.data
    kind = generator.randrange(6)
    if kind == 0:
        size = 1 << generator.randrange(10)
        first, second = sorted(generator.randrange(len(data)) for _ in range(2))
        size = min(size, second - first, len(data) - second)
        middle = data[first + size : second]
        return data[:first] + data[second : second + size] + middle + data[first : first + size] + data[second + size :]
    if kind == 1 and len(table.blocks) > 1:
        (first, first_end), (second, second_end) = sorted(generator.sample(table.blocks, 2))
        middle = data[first_end:second]
        return data[:first] + data[second:second_end] + middle + data[first:first_end] + data[second_end:]
    return tables.damaged_bytes(data, generator)


def check_answer(found: Resolution, right: Resolution | None) -> None:
    """What is printed is what the undamaged table prints, or one of several possibilities that it prints."""
    printed = {found.locations, *found.candidates} - {()}
    if not printed:
        return
    if right is None:
        raise WrongError(f"a frame that was none: {found}")
    if found.locations and found.locations != right.locations:
        raise WrongError(f"{found.locations}, not {right.locations or right.candidates}: {found.frame}")
    if not printed <= {right.locations, *right.candidates}:
        raise WrongError(f"{found.candidates}, not {right.locations or right.candidates}: {found.frame}")


def test_a_damaged_table_prints_what_the_undamaged_one_prints_or_nothing(
    all_tables: list[Table], tmp_path: Path
) -> None:
    """This is of damage: a forged table, whose checksums fit, may say what it likes (see the next test)."""
    path = tmp_path / "damaged.lineinfo"

    def question_of(number: int) -> Callable[[], str]:
        generator = random.Random(f"{SEED}:{number}")
        table = generator.choice(all_tables)
        excerpt = generator.choice(table.excerpts)
        data = mutated_table(table, generator)

        def ask() -> str:
            path.unlink(missing_ok=True)  # what is mapped stays what it was
            path.write_bytes(data)
            images = images_of(path)
            pieces, output = annotate(excerpt.log, images)
            if INSERTION.sub(b"", output) != excerpt.log:
                raise WrongError("another log came out")
            answers = answers_of(pieces)
            for place, found in answers.items():
                check_answer(found, excerpt.answers.get(place))
            right = sum(bool(answer.locations) for answer in excerpt.answers.values())
            here = sum(bool(answer.locations) for answer in answers.values())
            is_named = any(opened.image.damage for opened in images.used) or any(
                answer.missing in (Missing.NO_KERNEL, Missing.NO_MODULE) for answer in answers.values()
            )
            if here < right and not is_named:
                raise WrongError(f"{here} of {right} answers, and no damage is named")
            return "all answers" if here == right else "some answers" if here else "no answer"

        return ask

    outcomes = run_all(question_of)
    assert set(outcomes) == {"all answers", "some answers", "no answer"}


def test_a_forged_table_changes_no_byte_of_the_log(all_tables: list[Table], tmp_path: Path) -> None:
    """Its checksums were made to fit, so its answers may be any. (The small table: a large one takes long to forge.)"""
    path = tmp_path / "forged.lineinfo"
    table = all_tables[1]
    damager = tables.Damager([tables.Original(table.data, "undamaged")], SEED)
    forged = [case for number in range(3 * CASES) if (case := damager.case(number)).is_repaired][:CASES]

    def question_of(number: int) -> Callable[[], str]:
        case = forged[number]
        # Lines with a bracket behind a blank are left out: what is inserted has no mark here.
        log = b"".join(
            line
            for line in table.excerpts[number % 40].log.splitlines(keepends=True)
            if b" (" not in line and b"<...>" not in line
        )

        def ask() -> str:
            path.unlink(missing_ok=True)
            path.write_bytes(case.data)
            _, output = annotate(log, images_of(path))
            if not is_annotated(output, log):
                raise WrongError("another log came out")
            return "annotated" if output != log else "as it was"

        return ask

    outcomes = run_all(question_of, len(forged))
    assert set(outcomes) == {"annotated", "as it was"}


# --- ELF files ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elf_originals(tmp_path_factory: pytest.TempPathFactory) -> list[damage.Original]:
    paths = [SAMPLES / "x86_64" / "oopser.ko", SAMPLES / "arm64" / "oopser.ko"]
    if shutil.which("gcc"):
        folder = tmp_path_factory.mktemp("built")
        paths += [build_kernel(folder / "vmlinux"), build_module(folder / "crasher.ko")]
    return [damage.Original(str(path)) for path in paths]


def log_of(original: damage.Original) -> bytes:
    """Frames in all functions of a file, and raw addresses of it; no bracket behind a blank."""
    opened = open_file(original.path)
    assert not isinstance(opened, OpenTable)
    image = opened.image
    module = b" [module]" if image.is_module else b""
    lines = []
    for name in original.names:
        for symbol in image.find(name):
            if symbol.is_code and re.fullmatch(rb"[A-Za-z_][\w.]*", name):
                lines += [
                    b"[    1.000000]  %b+%#x/%#x%b" % (name, offset, symbol.size, module)
                    for offset in sorted({0, 1, symbol.size // 2, symbol.size})
                ]
                lines.append(b"[    1.000000] RIP: 0010:0x%016x" % (symbol.address + 3 | 0xFFFFFFFF << 32))
    assert lines
    return b"\n".join(lines[:80]) + b"\n"


def test_a_damaged_elf_file_changes_no_byte_of_the_log(elf_originals: list[damage.Original], tmp_path: Path) -> None:
    damager = damage.Damager(elf_originals, SEED)
    logs = {original.path: log_of(original) for original in elf_originals}
    module = tmp_path / "module.ko"
    kernel = tmp_path / "vmlinux"

    def question_of(number: int) -> Callable[[], str]:
        case = damager.case(number)
        log = logs[case.original.path]
        path = kernel if case.original.path.endswith("vmlinux") else module

        def ask() -> str:
            path.unlink(missing_ok=True)
            path.write_bytes(case.data)
            places = SearchPlaces(modules=[str(path)]) if path is module else SearchPlaces(kernels=[str(path)])
            images = Images(Locator(places), quiet, quiet)
            _, output = annotate(log, images, slide=0)
            if not is_annotated(output, log):
                raise WrongError("another log came out")
            return "annotated" if output != log else "as it was"

        return ask

    outcomes = run_all(question_of)
    assert set(outcomes) == {"annotated", "as it was"}


# --- logs --------------------------------------------------------------------------------------------------------


class Insertion(NamedTuple):
    """One text that was inserted, and where in the log."""

    text: str
    line: bytes  #: without its line end
    position: int  #: in the line
    before: bytes  #: all of the log in front of the line


def insertions(output: bytes) -> Iterator[Insertion]:
    """What was inserted into a log that holds no mark; the lines are those of the log."""
    before = b""
    for line in output.splitlines(keepends=True):
        body = INSERTION.sub(b"", line)
        shift = 0
        for match in INSERTION.finditer(line):
            text = match[0][2:-1].decode("utf-8", "surrogateescape")
            yield Insertion(text, body.rstrip(b"\n"), match.start() - shift, before)
            shift += len(match[0])
        before += body


class World:
    """The table of the samples, asked by whoever knows nothing of the rules but the numbers in the text."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        file = TableFile(data, "undamaged")
        spec = read_table(data).images[0]
        assert spec.kind == KERNEL
        self.image = TableImage(file, file.record(0))
        self.images = images_of(path)
        rows = list(self.image.rows())
        self._starts = [address for address, _, _ in rows]
        self._rows = rows
        self._outputs: dict[bytes, bytes] = {}
        self.symbols: dict[bytes, tuple[Symbol, ...]] = {name: self.image.find(name) for name in symbol_names(spec)}

    def row(self, address: int) -> tuple[str, int]:
        """File and line of the row that covers an address."""
        low, high = 0, len(self._starts)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._starts[middle] <= address else (low, middle)
        return self._rows[low - 1][1:] if low else ("", 0)

    def texts(self, name: bytes, offset: int, size: int) -> set[str]:
        """What may be inserted for a sized frame of the kernel, whatever its address means."""
        found = set()
        for symbol in self.symbols.get(name, ()):
            if size in symbol.sizes and offset <= size:
                address = symbol.address + offset
                found |= {self._text(address, symbol), self._text(address - 1, symbol)}
                if offset == 0:
                    found.add(self._text_at(address - 1))
                if offset == size:
                    found.add(self._text_at(address))
        return found - {""}

    def _text_at(self, address: int) -> str:
        symbol = self.image.symbol_at(LinkAddr(address))
        if symbol is None or not (text := self._text(address, symbol)):
            return ""
        return f"{text} in {symbol.name.decode()}"  # another function than the one that is printed

    def texts_at(self, address: int) -> set[str]:
        """The same for an address."""
        return {self._text_at(address), self._text_at(address - 1)} - {""}

    def _text(self, address: int, symbol: Symbol) -> str:
        """A chain as it is written; its innermost place is that of the row."""
        chain = self.image.chain(LinkAddr(address), symbol)
        if not chain:
            return ""
        assert (chain[0].file, chain[0].line) == self.row(address), hex(address)
        return ", ".join(map(_written, chain))

    def alone(self, inserted: Insertion, before: bytes) -> str:
        """What is inserted at a place of a line that comes alone, or behind the one before it."""
        output = self._annotated(before + inserted.line + b"\n")
        last = [found for found in insertions(output) if found.before == before]
        return next((found.text for found in last if found.position == inserted.position), "")

    def _annotated(self, log: bytes) -> bytes:
        output = self._outputs.get(log)
        if output is None:
            output = self._outputs[log] = annotate(log, self.images)[1]
        return output

    def forget(self) -> None:
        """What came out for lines alone is asked for again."""
        self._outputs.clear()


def _written(place: Location) -> str:
    name = f" in {place.function}" if place.inlined else ""
    return f"{place.file}:{place.line}{name}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    path = tmp_path_factory.mktemp("world") / "marked.lineinfo"
    path.write_bytes(marked(TABLE))
    return World(path)


def mutated_line(line: bytes, others: Sequence[bytes], generator: random.Random) -> bytes:
    """One change within or right around a frame of a line."""
    match = generator.choice(list(NAIVE_FRAME.finditer(line)))
    start, end = max(0, match.start() - 6), min(len(line), match.end() + 6)
    place = generator.randrange(start, end)
    kind = generator.randrange(10)
    if kind == 0:
        return line[:place] + bytes((line[place] ^ 1 << generator.randrange(8),)) + line[place + 1 :]
    if kind < 3:  # another digit: a frame that says something else
        digits = [
            at for at in range(match.start("offset"), match.end("size")) if line[at : at + 1] in b"0123456789abcdef"
        ]
        place = generator.choice(digits)
        return line[:place] + generator.choice(b"0123456789abcdef").to_bytes(1, "big") + line[place + 1 :]
    if kind == 3:
        return line[:place]
    if kind == 4:
        return line[:place] + line[place + generator.randrange(1, 5) :]
    if kind == 5:
        return line[:place] + line[start:place] + line[place:]
    if kind == 6:
        return line[:place] + b"\n" + line[place:]
    other = generator.choice(others)
    theirs = generator.choice(list(NAIVE_FRAME.finditer(other)))
    if kind == 7:  # the name of one frame, the numbers of another
        return line[: match.end("symbol")] + other[theirs.end("symbol") :]
    if kind == 8:
        return line[:place] + other[generator.randrange(theirs.start(), theirs.end()) :]
    return line[: match.start()] + other[theirs.start() : theirs.end()] + line[match.start() :]


def mutated_log(logs: Sequence[list[bytes]], generator: random.Random) -> bytes:
    """Up to forty lines of a sample from where a frame is, some of them changed."""
    lines = generator.choice(logs)
    with_frame = [number for number, line in enumerate(lines) if NAIVE_FRAME.search(line)]
    first = max(0, generator.choice(with_frame) - generator.randrange(8))
    some = lines[first : first + generator.randrange(3, 40)]
    changeable = [number for number, line in enumerate(some) if NAIVE_FRAME.search(line)]
    others = [some[number] for number in changeable]
    for number in generator.sample(changeable, min(len(changeable), generator.choice((1, 1, 2, 4)))):
        some[number] = mutated_line(some[number], others, generator)
    return b"\n".join(some) + generator.choice((b"\n", b"\n", b""))


def naive_frame(line: bytes, position: int) -> re.Match[bytes] | None:
    """The frame that ends where something was inserted, by the naive expression."""
    return next((match for match in NAIVE_FRAME.finditer(line[:position]) if match.end() == position), None)


def slides(log: bytes, world: World) -> set[int]:
    """What the log may be taken to say of where the kernel was moved: printed, or an address beside a symbol."""
    found = {int(digits, 16) for digits in re.findall(rb"Kernel Offset: 0x([0-9a-f]+)", log)}
    for line in log.split(b"\n"):
        addresses = [int(digits, 16) for digits in re.findall(rb"\b[0-9a-f]{16}\b", line)]
        for match in NAIVE_FRAME.finditer(line) if addresses else ():
            for symbol in world.symbols.get(match["symbol"], ()):
                found |= {address - symbol.address - int(match["offset"], 16) for address in addresses}
    return found


def check_insertion(inserted: Insertion, log: bytes, world: World) -> str:
    """Hold what was inserted against what the text in front of it says; which kind of proof there is."""
    parts = set(inserted.text.split(" or "))
    match = naive_frame(inserted.line, inserted.position)
    if match is not None and match["module"] is None and not inserted.line[: match.start()].endswith(b":"):
        allowed = world.texts(match["symbol"], int(match["offset"], 16), int(match["size"], 16))
        outermost = {text.rpartition(", ")[2] for text in allowed} | {text.partition(" in ")[0] for text in allowed}
        if not parts <= (allowed if len(parts) == 1 else allowed | outermost):
            raise WrongError(f"{inserted.text!r}, expected one of {allowed} for {inserted.line!r}")
        alone = world.alone(inserted, b"")
        # What other lines have a part in: of several functions one was called by the next, and the pc of a dump.
        is_pc = re.search(rb"(?:IP|pc|PC)\b[^\n]*" + re.escape(match[0]), inserted.before) is not None
        if inserted.text != alone and " or " not in alone and not is_pc:
            raise WrongError(f"{inserted.text!r}, {alone!r} for {inserted.line!r} alone")
        return "by numbers"
    raw = re.search(rb"(?<![0-9a-f])([0-9a-f]{16})[\])>]*$", inserted.line[: inserted.position])
    if raw is not None:
        addresses = {int(raw[1], 16) - slide for slide in slides(log, world)}
        if not parts <= {text for address in addresses for text in world.texts_at(address)}:
            raise WrongError(f"{inserted.text!r} for {inserted.line!r}, slides {slides(log, world)}")
        return "by address"
    # Spellings that the naive expression does not know, and frames that were broken over two lines.
    _, _, line_before = inserted.before.removesuffix(b"\n").rpartition(b"\n")
    if inserted.text not in (world.alone(inserted, b""), world.alone(inserted, line_before + b"\n")):
        raise WrongError(f"{inserted.text!r} for {inserted.line!r} is not the answer of that line alone")
    return "alone"


def test_a_mutated_frame_is_answered_for_what_it_then_says_or_not_at_all(world: World) -> None:
    logs = [log.read_bytes().split(b"\n") for log in sample_logs() if log.parent.name == "x86_64"]
    original = {line for log in logs for line in log}
    proofs: Counter[str] = Counter()

    def question_of(number: int) -> Callable[[], str]:
        log = mutated_log(logs, random.Random(f"{SEED}:{number}"))
        assert b"@@" not in log

        def ask() -> str:
            _, output = annotate(log, world.images, memory=Memory())
            if INSERTION.sub(b"", output) != log:
                raise WrongError("another log came out")
            is_answered = False
            for inserted in insertions(output):
                proof = check_insertion(inserted, log, world)
                is_changed = inserted.line not in original
                is_answered |= is_changed
                proofs[proof + (", mutated" if is_changed else "")] += 1
            return "a mutated line has an answer" if is_answered else "none has"

        return ask

    outcomes = run_all(question_of)
    assert set(outcomes) == {"a mutated line has an answer", "none has"}
    assert proofs["by numbers, mutated"] > CASES / 4
    assert proofs["alone"] > CASES / 10


# --- would a wrong answer be seen? -------------------------------------------------------------------------------


def test_the_answers_of_a_reader_that_takes_every_checksum_for_right_are_seen(
    all_tables: list[Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(file: TableFile, offset: int, size: int, _crc: int, _what: str) -> bytes:
        return file._data[offset : offset + size]

    monkeypatch.setattr(TableFile, "read", read)
    with pytest.raises(AssertionError, match="WrongError"):
        test_a_damaged_table_prints_what_the_undamaged_one_prints_or_nothing(all_tables, tmp_path)


@pytest.mark.parametrize("slip", [-1, 1, 8])
def test_answers_for_another_address_are_seen(world: World, monkeypatch: pytest.MonkeyPatch, slip: int) -> None:
    """Both the annotator's own and those of a line alone are wrong then; the numbers in the text are not."""
    locate = resolve._locate

    def slipped(frame: Frame, image: KernelImage, symbol: Symbol) -> tuple[Location, ...]:
        if frame.offset is not None and 1 < frame.offset + slip < symbol.size:
            frame = frame._replace(offset=frame.offset + slip)
        return locate(frame, image, symbol)

    monkeypatch.setattr(resolve, "_locate", slipped)
    world.forget()
    with pytest.raises(AssertionError, match="expected one of"):
        test_a_mutated_frame_is_answered_for_what_it_then_says_or_not_at_all(world)
    world.forget()
