"""Tables of real kernels: their answers are those of the debug information that they were made from.

LINEINFO_DEBUG_ROOT and LINEINFO_LOGS are as in ``test_debian_kernel.py``.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from own_process import in_own_process
from table_compare import expected_chain, expected_symbol
from test_debian_kernel import release_of

from annotate.kernel.build import Options, Source, build
from annotate.kernel.images import OpenTable, open_file, open_image
from annotate.kernel.locate import is_kernel_name, module_name
from annotate.model import LinkAddr

if TYPE_CHECKING:
    from annotate.debuginfo.image import DebugImage
    from annotate.tables.versions import TableImage

pytestmark = pytest.mark.own_process

SAMPLES = Path(__file__).resolve().parent.parent / "sample_oopses"
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}

ADDRESSES = 20_000
MODULE_ADDRESSES = 5_000
MODULES = 12
SEED = 1


class World(NamedTuple):
    vmlinux: Path
    modules: list[Path]
    table: Path
    logs: list[Path]
    release: str

    def image(self, path: Path) -> TableImage:
        opened = open_file(str(self.table))
        assert isinstance(opened, OpenTable)
        (found,) = opened.images(module_name(str(path)))
        return found.image


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A table of the vmlinux, of a dozen modules and of those that the logs come with."""
    folder = os.environ.get("LINEINFO_DEBUG_ROOT")
    if not folder:
        pytest.skip("LINEINFO_DEBUG_ROOT is not set: unpack a kernel's debug package and name the folder")
    root = Path(folder)
    kernels = sorted(path for path in root.rglob("vmlinux*") if is_kernel_name(str(path)) and not path.is_symlink())
    if not kernels:
        pytest.skip(f"no vmlinux below {root}")
    everything = sorted(path for path in root.rglob("*.ko") if not path.is_symlink())
    modules = random.Random(SEED).sample(everything, min(MODULES, len(everything)))
    release = open_image(str(kernels[0])).release
    folders = [*sorted(path for path in SAMPLES.iterdir() if path.is_dir())]
    if os.environ.get("LINEINFO_LOGS"):
        folders.append(Path(os.environ["LINEINFO_LOGS"]))
    logs = sorted(log for each in folders for log in each.glob("*.log") if release_of(log) == release)
    modules += sorted({module for log in logs for module in log.parent.glob("*.ko")})
    table = tmp_path_factory.mktemp("table") / "kernel.lineinfo"
    sources = [Source(str(kernels[0]), "", kernels[0].name)]
    sources += [Source(str(path), module_name(str(path)), path.name) for path in modules]
    report = in_own_process(lambda: build(sources, str(table), Options(jobs=2), lambda _done, _total: None))
    assert (report.images, report.left_out) == (len(sources), [])
    return World(kernels[0], modules, table, logs, release)


def compare(debug: DebugImage, image: TableImage, count: int) -> int:
    """Random bytes of code; the number of those with a line."""
    generator = random.Random(SEED)
    sections = [(start, size) for _, start, size in debug.code_sections()]
    places = generator.choices(sections, [size for _, size in sections], k=count)
    with_line = 0
    for start, size in places:
        address = LinkAddr(start + generator.randrange(size))
        symbol = debug.symbol_at(address)
        found = image.symbol_at(address)
        if symbol is not None and not symbol.is_code:
            assert found is None, hex(address)  # a table has no addresses of variables
            continue
        assert expected_symbol(found) == expected_symbol(symbol), hex(address)
        assert image.section_of(address) == debug.section_of(address)
        if symbol is not None:
            chain = image.chain(address, symbol)
            assert chain == expected_chain(debug.chain(address, symbol)), f"{symbol} at {address:#x}"
            with_line += bool(chain)
    assert image.damage == []
    return with_line


def test_random_addresses_of_the_kernel_are_the_same(world: World) -> None:
    with_line = compare(open_image(str(world.vmlinux)).image, world.image(world.vmlinux), ADDRESSES)
    sys.stdout.write(f"{with_line} of {ADDRESSES} addresses of {world.vmlinux} have a line\n")
    # A quarter of the code of x86 is .init.scratch and the like, which no symbol of code names.
    assert with_line > 0.6 * ADDRESSES


def test_random_addresses_of_modules_are_the_same(world: World) -> None:
    each = MODULE_ADDRESSES // max(len(world.modules), 1)
    with_line = sum(compare(open_image(str(path)).image, world.image(path), each) for path in world.modules)
    sys.stdout.write(f"{with_line} of {each * len(world.modules)} addresses of {len(world.modules)} modules\n")
    assert with_line > 0.5 * each * len(world.modules)


def test_symbols_by_name_are_the_same(world: World) -> None:
    debug, image = open_image(str(world.vmlinux)).image, world.image(world.vmlinux)
    groups = list(debug.symbols.by_address())
    symbols = [symbol for group in random.Random(SEED).sample(groups, min(3000, len(groups))) for symbol in group]
    debug.prepare([symbol.name for symbol in symbols])
    code = 0
    for symbol in symbols:
        right = [expected_symbol(found) for found in debug.find(symbol.name) if found.is_code]
        found = image.find(symbol.name)
        if right:
            assert [expected_symbol(each) for each in found] == right
            code += 1
        else:
            assert [each.is_code for each in found] == [False]
    assert 0 < code < len(symbols)


def _annotated(*arguments: str | Path) -> bytes:
    command = [sys.executable, "-m", "annotate", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, check=True, env=ENVIRONMENT, stdin=subprocess.DEVNULL, timeout=120
    )
    return done.stdout


def _without_files(text: bytes) -> list[Any]:
    """The lines of ``--format jsonl`` without the names of the kernel's files."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        for kernel in line.get("summary", line).get("kernels", ()):
            kernel.pop("file")
            kernel.pop("lines", None)
        for frame in line.get("frames", ()):
            frame.pop("detail", None)
    return lines


def test_every_log_comes_out_the_same(world: World, tmp_path: Path) -> None:
    """The logs are copied: beside them may lie modules, which would answer in place of the table."""
    if not world.logs:
        pytest.skip(f"no log of kernel {world.release}")
    debug = ["-k", world.vmlinux, *(part for path in world.modules for part in ("-m", path))]
    annotated = 0
    for number, log in enumerate(world.logs):
        copy = tmp_path / f"{number}.log"
        copy.write_bytes(log.read_bytes())
        right = _annotated(*debug, copy)
        assert _annotated("-k", world.table, copy) == right, log
        assert _without_files(_annotated("--format", "jsonl", "-k", world.table, copy)) == _without_files(
            _annotated("--format", "jsonl", *debug, copy)
        ), log
        annotated += right != copy.read_bytes()
    assert annotated
