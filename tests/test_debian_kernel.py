"""Real kernels against other tools: our answers are those of llvm-symbolizer and elfutils, their known faults aside.

LINEINFO_DEBUG_ROOT names the folder into which a package of debug info was unpacked, such as Debian's
linux-image-VERSION-dbg (``dpkg-deb -x``); any version will do. LINEINFO_LOGS may name a folder with further logs
(``*.log``) and modules (``*.ko``). Logs are compared when they are of the kernel that was found.
"""

from __future__ import annotations

import os
import random
import re
import sys
from pathlib import Path

import pytest

from annotate.kernel.images import open_image
from annotate.kernel.locate import is_kernel_name
from annotate.model import LinkAddr

sys.path.insert(0, str(Path(__file__).parent / "oracle"))

from compare_addresses import Tally, compare_module, compare_vmlinux
from compare_logs import Comparer
from elfutils import missing_programs, read_symbols
from llvm import find_program

pytestmark = pytest.mark.own_process

SAMPLES = Path(__file__).parent.parent / "sample_oopses"

ADDRESSES = 20_000
MODULES = 10
OFFSETS = 300
PADDINGS = 2_000
SEED = 1

#: A release as the kernel prints it: in its banner, or behind "Comm: x Not tainted" where a log begins later.
_RELEASE = re.compile(rb"Linux version (\S+) |\bComm: .{1,64}ainted.{0,80}? (\d+\.\d+\S*) #\d")


@pytest.fixture(scope="module")
def debug_root() -> Path:
    folder = os.environ.get("LINEINFO_DEBUG_ROOT")
    if not folder:
        pytest.skip("LINEINFO_DEBUG_ROOT is not set: unpack a kernel's debug package and name the folder")
    missing = missing_programs() + ([] if find_program() else ["llvm-symbolizer"])
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return Path(folder)


@pytest.fixture(scope="module")
def vmlinux(debug_root: Path) -> Path:
    found = sorted(path for path in debug_root.rglob("vmlinux*") if is_kernel_name(str(path)) and not path.is_symlink())
    if not found:
        pytest.skip(f"no vmlinux below {debug_root}")
    return found[0]


def release_of(log: Path) -> str:
    """The release of the first kernel that a log names, empty when it names none."""
    match = _RELEASE.search(log.read_bytes())
    return (match[1] or match[2]).decode() if match is not None else ""


def test_random_addresses_of_the_kernel_agree(vmlinux: Path) -> None:
    chains, outermost = compare_vmlinux(str(vmlinux), ADDRESSES, SEED)
    sys.stdout.write(chains.table(str(vmlinux)) + "\n" + outermost.table("outermost names") + "\n")
    assert chains.total == ADDRESSES
    assert chains.with_line > 0.9 * ADDRESSES
    assert chains.unexplained == 0
    assert chains.agreement >= 0.9999
    assert outermost.unexplained == 0


def test_offsets_of_modules_agree(debug_root: Path) -> None:
    modules = sorted(path for path in debug_root.rglob("*.ko") if not path.is_symlink())
    if not modules:
        pytest.skip(f"no module below {debug_root}")
    tally = Tally()
    for module in random.Random(SEED).sample(modules, min(MODULES, len(modules))):
        tally.add(compare_module(str(module), OFFSETS, SEED))
    sys.stdout.write(tally.table(f"{MODULES} modules") + "\n")
    assert tally.with_line > 0
    assert tally.unexplained == 0


def test_padding_with_a_name_has_no_line_and_its_end_is_the_function(
    debug_root: Path, vmlinux: Path, tmp_path: Path
) -> None:
    paddings = [symbol for symbol in read_symbols(str(vmlinux)) if re.fullmatch(r"__pfx_\w+", symbol.name)]
    if not paddings:
        pytest.skip("no __pfx_ symbols: a kernel before 6.2 or of another machine than x86")
    opened = open_image(str(vmlinux))
    for padding in paddings:
        for address in (LinkAddr(padding.value), LinkAddr(padding.value + padding.size - 1)):
            symbol = opened.image.symbol_at(address)
            assert symbol is not None
            assert opened.image.chain(address, symbol) == (), padding
    log = tmp_path / "paddings.log"
    chosen = random.Random(SEED).sample(paddings, min(PADDINGS, len(paddings)))
    frames = sorted({f" ? {padding.name}+{padding.size:#x}/{padding.size:#x}\n" for padding in chosen})
    log.write_text(f"Linux version {opened.release} (a@b) #1\n" + "".join(frames))
    comparer = Comparer(str(debug_root), [])
    try:
        comparer.compare(str(log))
    finally:
        comparer.close()
    report = comparer.report
    sys.stdout.write(report.text(examples=3) + "\n")
    assert report.frames == len(frames)
    assert report.annotated > 0.9 * len(frames)
    assert report.unexplained == 0


def test_every_frame_of_real_logs_agrees(debug_root: Path, vmlinux: Path) -> None:
    folders = [*sorted(path for path in SAMPLES.iterdir() if path.is_dir())]
    if os.environ.get("LINEINFO_LOGS"):
        folders.append(Path(os.environ["LINEINFO_LOGS"]))
    release = open_image(str(vmlinux)).release
    logs = sorted(log for folder in folders for log in folder.glob("*.log") if release_of(log) == release)
    if not logs:
        pytest.skip(f"no log of kernel {release}")
    modules = sorted({str(module) for log in logs for module in log.parent.glob("*.ko")})
    comparer = Comparer(str(debug_root), modules)
    try:
        for log in logs:
            comparer.compare(str(log))
    finally:
        comparer.close()
    report = comparer.report
    sys.stdout.write(report.text(examples=3) + "\n")
    assert report.frames > 0
    assert report.unexplained == 0
    assert report.unseen == []
    assert report.word_differences == []
