"""Worlds for tests: kernels and modules made from dicts, the sample logs, and a small real kernel made with gcc.

The dict world implements the two protocols of ``annotate.resolve``, so that everything from scanning to rendering runs
without a file. Every path in it holds ``@@``, which stands in no log: so insertions can be told from the log's text.
"""

from __future__ import annotations

import re
import subprocess
import zlib
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from elftools.elf.elffile import ELFFile

from annotate.model import LinkAddr, Location, Missing, Symbol
from annotate.resolve import Absence, KernelImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from annotate.model import KernelId
    from annotate.resolve import Chain

SAMPLES = Path(__file__).resolve().parent.parent / "sample_oopses"

#: A frame as it looks to somebody who knows nothing of the grammar.
NAIVE_FRAME = re.compile(
    rb"(?P<symbol>[A-Za-z_.$][A-Za-z0-9_.$]*)\+0x(?P<offset>[0-9a-f]+)/0x(?P<size>[0-9a-f]+)"
    rb"(?: \[(?P<module>[A-Za-z0-9_-]+)(?: [0-9a-f]+)?\])?"
)

#: What the dict world's renderers insert.
INSERTION = re.compile(rb" \([^()\n]*@@[^()\n]*\)")


def sample_logs() -> list[Path]:
    """Every sample log. Without any the tests that run on them would prove nothing."""
    logs = sorted(SAMPLES.rglob("*.log"))
    assert len(logs) >= 2, f"no logs below {SAMPLES}"
    return logs


def places(*texts: str) -> Chain:
    """``places("a.h:1 in helper", "b.c:2")``: a chain, innermost first; none at all for no text."""
    found: list[Location] = []
    for text in texts:
        place, _, function = text.partition(" in ")
        file, _, line = place.rpartition(":")
        found.append(Location(file, int(line), function, inlined=len(found) < len(texts) - 1))
    return tuple(found)


class FakeImage:
    """A kernel or a module made of symbols with rows. Implements ``annotate.resolve.KernelImage``."""

    is_partial = False
    arch = "x86_64"

    def __init__(self, *, is_module: bool = False, calls: Mapping[int, int] | None = None) -> None:
        self._is_module = is_module
        self.source = "the dict"
        self._calls = calls or {}
        self._symbols: dict[bytes, list[Symbol]] = {}
        self._by_address: list[Symbol] = []
        self._rows: dict[Symbol, list[tuple[int, Chain]]] = {}
        self.prepared: list[frozenset[bytes]] = []

    @property
    def is_module(self) -> bool:
        return self._is_module

    def add(self, symbol: Symbol, rows: Mapping[int, Chain]) -> FakeImage:
        """One symbol and its rows by offset; an empty chain is a row without a line."""
        self._symbols.setdefault(symbol.name, []).append(symbol)
        self._by_address.append(symbol)
        self._by_address.sort(key=lambda known: known.address)
        self._rows[symbol] = sorted((symbol.address + offset, chain) for offset, chain in rows.items())
        return self

    def prepare(self, names: Iterable[bytes]) -> None:
        self.prepared.append(frozenset(names))

    def find(self, name: bytes) -> Sequence[Symbol]:
        return self._symbols.get(name, [])

    def symbol_at(self, address: LinkAddr) -> Symbol | None:
        position = bisect_right(self._by_address, address, key=lambda symbol: symbol.address) - 1
        if position < 0 or self._by_address[position].end <= address:
            return None
        return self._by_address[position]

    def chain(self, address: LinkAddr, symbol: Symbol) -> Chain:
        rows = self._rows[symbol]
        position = bisect_right([start for start, _ in rows], int(address)) - 1
        return rows[position][1] if position >= 0 else ()

    def call_target(self, address: LinkAddr) -> LinkAddr | None:
        target = self._calls.get(address)
        return None if target is None else LinkAddr(target)


def function(name: str, address: int, size: int, sizes: Sequence[int] = ()) -> Symbol:
    """An ordinary function; ``sizes`` where a kernel may print others than ``size``."""
    return Symbol(
        name.encode(), LinkAddr(address), size, tuple(sizes) or (size,), size, is_code=True, ends_section=False
    )


def variable(name: str, address: int, size: int) -> Symbol:
    """A symbol that is no code."""
    return function(name, address, size)._replace(is_code=False)


class Question(NamedTuple):
    """What a FakeImages was asked."""

    module: bytes
    build_id: bytes
    release: str


class FakeImages:
    """Images by (module, release). Implements ``annotate.resolve.ImageSource``.

    An image under release ``""`` answers for every release.
    """

    def __init__(self, images: Mapping[tuple[str, str], FakeImage]) -> None:
        self._images = images
        self.questions: list[Question] = []

    def image_for(self, module: bytes, build_id: bytes, kernel: KernelId) -> KernelImage | Absence:
        self.questions.append(Question(module, build_id, kernel.release))
        name = module.decode()
        found = self._images.get((name, kernel.release)) or self._images.get((name, ""))
        if found is not None:
            return found
        return Absence(Missing.NO_MODULE if module else Missing.NO_KERNEL, "tried: the dict")


def world_of(log: bytes) -> FakeImages:
    """A world in which the frames of a log have every sort of answer, the sort decided by a hash of the name.

    Of 16 names, one is not there, one is a variable, one stands twice with different lines, one has no lines and one
    has inlined calls; the others have a line every four bytes at their start.
    """
    sizes: dict[tuple[str, bytes], set[int]] = {}
    for match in NAIVE_FRAME.finditer(log):
        module = (match["module"] or b"").decode()
        sizes.setdefault((module, match["symbol"]), set()).add(int(match["size"], 16))
    images: dict[tuple[str, str], FakeImage] = {("", ""): FakeImage()}
    address = 0x1000
    for (module, name), all_sizes in sorted(sizes.items()):
        image = images.setdefault((module, ""), FakeImage(is_module=bool(module)))
        sort = zlib.crc32(name) % 16
        for size in sorted(all_sizes):
            for copy in range(0 if sort == 0 else 2 if sort == 2 else 1):
                symbol = Symbol(name, LinkAddr(address), size, (size,), size, is_code=sort != 1, ends_section=False)
                image.add(symbol, _rows(f"@@{copy}/{name.decode()}.c", sort, size))
                address += size + 0x100
    return FakeImages(images)


def _rows(path: str, sort: int, size: int) -> dict[int, Chain]:
    if sort == 3:
        return {}
    offsets = range(0, min(size, 0x200), 4)
    if sort == 4:
        return {offset: places(f"@@.h:{offset + 1} in helper", f"{path}:{offset + 1}") for offset in offsets}
    return {offset: places(f"{path}:{offset + 1}") for offset in offsets}


# A small kernel made with a compiler, for everything that opens files.

RELEASE = "6.1.0-test"
BUILD_ID = "1111111111111111111111111111111111111111"

#: The call of twice() stands on line 102 of fs/second.c, that of second() on line 203 of fs/first.c.
KERNEL_SOURCE = """
__attribute__((used)) const char banner[] = "Linux version %s (gcc) #1 SMP";
#line 10 "include/linux/twice.h"
static inline __attribute__((always_inline)) int twice(int x)
{
    volatile int y = x;
    return y * 2;
}
#line 100 "fs/second.c"
__attribute__((noinline)) int second(int x)
{
    return twice(x) + 1;
}
#line 200 "fs/first.c"
__attribute__((noinline)) int first(int x)
{
    volatile int y = x;
    y += second(y);
    return y + 3;
}
int table[4] = {1};
#line 300 "init/main.c"
void start(void)
{
    volatile int z = first(1);
    for (;;)
        z += table[1];
}
"""

MODULE_SOURCE = """
__attribute__((section(".modinfo"), used)) static const char vermagic[] = "vermagic=%s SMP";
#line 20 "drivers/crasher.c"
__attribute__((noinline)) int crash_now(int x)
{
    volatile int y = x;
    y += 4;%s
    return y + 1;
}
__attribute__((noinline)) int crash_later(int x)
{
    volatile int y = crash_now(x);
    return y + 2;
}
"""

_FLAGS = ("-O1", "-fno-asynchronous-unwind-tables", "-fno-pie", "-fno-stack-protector", "-fcf-protection=none")


def _compile(source: str, output: Path, *options: str) -> Path:
    flags = [flag for flag in _FLAGS if not flag.startswith("-fcf") or _is_x86()]
    command = ["gcc", "-x", "c", "-", "-o", str(output), *flags, *options]
    subprocess.run(command, input=source.encode(), check=True, cwd=output.parent, capture_output=True, timeout=60)
    return output


def _is_x86() -> bool:
    machine = subprocess.run(["gcc", "-dumpmachine"], check=True, capture_output=True, timeout=60).stdout
    return machine.startswith(b"x86_64")


def build_kernel(
    path: Path, *options: str, release: str = RELEASE, build_id: str = BUILD_ID, source: str = KERNEL_SOURCE
) -> Path:
    """A linked program that looks like a vmlinux; ``options`` go to gcc (default ``-g``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    link = ("-nostdlib", "-static", "-no-pie", "-Wl,-e,start", f"-Wl,--build-id=0x{build_id}")
    return _compile(source % release, path, *link, *(options or ("-g",)))


def build_module(path: Path, *, release: str = RELEASE, more: str = "", build_id: str = "") -> Path:
    """A relocatable file that looks like a module; ``more`` code makes it one of another build."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _compile(MODULE_SOURCE % (release, more), path, "-c", "-g")
    if build_id:
        part = path.with_suffix(".o")
        path.rename(part)
        link = ["ld", "-r", f"--build-id=0x{build_id}", str(part), "-o", str(path)]
        subprocess.run(link, check=True, capture_output=True, timeout=60)
    return path


class Extent(NamedTuple):
    """A function of a built file: what the kernel would print as its size, and where it is linked."""

    name: str
    address: int
    size: int

    def frame(self, offset: int) -> bytes:
        """``name+0xOFFSET/0xSIZE``."""
        return f"{self.name}+{offset:#x}/{self.size:#x}".encode()


def extent(path: Path, name: str) -> Extent:
    """What ``nm`` says of a function that is not the last of its section."""
    lines = subprocess.run(["nm", "-n", str(path)], check=True, capture_output=True, timeout=60).stdout.decode()
    rows = [line.split() for line in lines.splitlines() if len(line.split()) == 3]
    code = [(int(address, 16), symbol) for address, kind, symbol in rows if kind in "tT"]
    start = next(address for address, symbol in code if symbol == name)
    return Extent(name, start, min(address for address, _ in code if address > start) - start)


def line_table(path: Path) -> dict[int, tuple[str, int]]:
    """What pyelftools reads: address -> file and line of every byte that a line program covers."""
    table: dict[int, tuple[str, int]] = {}
    with path.open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info()
        for unit in dwarf.iter_CUs():
            program = dwarf.line_program_for_CU(unit)
            assert program is not None
            version, folders = program["version"], program["include_directory"]
            row: tuple[int, str, int] | None = None
            for entry in program.get_entries():
                state = entry.state
                if state is None:
                    continue
                if row is not None:
                    table.update((address, row[1:]) for address in range(row[0], state.address))
                if state.end_sequence:
                    row = None
                    continue
                named = program["file_entry"][state.file - (version < 5)]
                folder = folders[named.dir_index - (version < 5)] if version >= 5 or named.dir_index else b""
                joined = b"/".join(part for part in (folder, named.name) if part).decode()
                row = state.address, joined, state.line
    return table
