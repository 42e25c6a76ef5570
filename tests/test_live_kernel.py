"""Raw addresses of the kernel that runs here: named by it, and only in lines that it has printed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from fake_world import RELEASE, build_kernel, build_module, extent
from test_places import put, run

from annotate.kernel.live import RunningKernel
from annotate.model import Frame, KernelId, PcKind, RunAddr

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SLIDE = 0xFFFF_FFFF_9C00_0000  # the small kernel is linked low; the grammar wants a kernel's address
MODULE_BASE = 0xFFFF_FFFF_C060_0000
VERSION = "(gcc) #1 SMP"


class Machine:
    """A folder with what a machine shows in /proc and /dev, of a small kernel that was moved."""

    def __init__(self, root: Path) -> None:
        self.root = root
        kernel = build_kernel(root / "vmlinux")
        module = build_module(root / "crasher.ko")
        put(kernel, root, "usr/lib/debug/boot/vmlinux-{r}")
        put(module, root, "usr/lib/debug/lib/modules/{r}/crasher.ko")
        for folder in ("proc", "dev"):
            (root / folder).mkdir()
        (root / "proc/version").write_text(f"Linux version {RELEASE} {VERSION}\n")
        symbols = [(address + SLIDE, kind, name, "") for address, kind, name in _nm(kernel)]
        symbols += [(address + MODULE_BASE, kind, name, "\t[crasher]") for address, kind, name in _nm(module)]
        self.show(symbols)
        self.modules("crasher 16384 0 - Live")
        self.first = extent(kernel, "first")
        self.address = next(address for address, _, name, _ in symbols if name == "first") + self.first.size - 1
        self.crash = next(address for address, _, name, _ in symbols if name == "crash_now") + 2

    def show(self, symbols: Sequence[tuple[int, str, str, str]]) -> None:
        lines = [f"{address:016x} {kind} {name}{module}\n" for address, kind, name, module in symbols]
        (self.root / "proc/kallsyms").write_text("".join(lines))

    def modules(self, crasher: str) -> None:
        (self.root / "proc/modules").write_text(f"{crasher} 0x{MODULE_BASE:016x} (O)\n")

    def prints(self, *records: str) -> None:
        (self.root / "dev/kmsg").write_text("".join(f"{record}\n" for record in records))


def _nm(path: Path) -> list[tuple[int, str, str]]:
    output = subprocess.run(["nm", "-n", path], capture_output=True, check=True, text=True).stdout
    return [
        (int(address, 16), kind, name)
        for address, kind, name in (line.split() for line in output.splitlines() if line[0] != " ")
        if kind in "tT"
    ]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_raw_address_is_answered_when_this_kernel_printed_the_line(machine: Machine) -> None:
    text = f" 0x{machine.address:016x}"
    machine.prints("6,1,500,-;Call Trace:", f"4,2,1000,-;{text}")
    log = f"[    0.000500] Call Trace:\n[    0.001000] {text}\n".encode()
    ran = run(machine.root, log=log)
    assert ran.output.count(b" in first)\n") == 1
    assert b"(fs/first.c:" in ran.output
    # the symbol spelled out by the kernel gives the same line
    spelled = run(machine.root, log=b" %s\n" % machine.first.frame(machine.first.size - 1)).output
    assert spelled.split(b"(fs/")[1].split(b")")[0] == ran.output.split(b"(fs/")[1].split(b" in ")[0]
    assert (ran.status, ran.complaints) == (0, "")


@pytest.mark.parametrize(
    "record",
    [
        "4,2,1000,-; 0x{other:016x}",  # another address
        "12,2,1000,-; 0x{address:016x}",  # a program wrote it
        "4,2,1000,-;before 0x{address:016x}",  # part of another message
        "no record",
        "",
    ],
)
def test_what_this_kernel_did_not_print_is_of_another_boot(record: str, machine: Machine) -> None:
    machine.prints(record.format(address=machine.address, other=machine.address + 1))
    log = f"Call Trace:\n[    0.001000]  0x{machine.address:016x}\n".encode()
    ran = run(machine.root, log=log)
    assert ran.output == log
    assert "nothing in the log says by how much the kernel was moved" in ran.complaints


def test_a_log_of_another_kernel_is_not_asked_of_this_one(machine: Machine) -> None:
    machine.prints(f"4,2,1000,-; 0x{machine.address:016x}")
    log = f"Call Trace:\n 0x{machine.address:016x}\n".encode()
    for banner in (f"Linux version 9.9.9 {VERSION}\n", f"Linux version {RELEASE} (gcc) #2 SMP Fri Nov 1\n"):
        (machine.root / "proc/version").write_text(f"Linux version {RELEASE} (gcc) #1 SMP Thu Oct 31\n")
        assert run(machine.root, log=banner.encode() + log).output == banner.encode() + log


def test_hidden_addresses_are_passed_in_silence(machine: Machine) -> None:
    machine.show([(0, "T", "_text", ""), (0, "T", "first", "")])
    machine.prints(f"4,2,1000,-; 0x{machine.address:016x}")
    log = f"Call Trace:\n 0x{machine.address:016x}\n".encode()
    ran = run(machine.root, log=log)
    assert ran.output == log
    assert "kallsyms" not in ran.complaints


@pytest.mark.parametrize("missing", ["proc/kallsyms", "proc/modules", "dev/kmsg"])
def test_a_file_that_cannot_be_read_is_passed_in_silence(missing: str, machine: Machine) -> None:
    machine.prints(f"4,2,1000,-; 0x{machine.address:016x}")
    (machine.root / missing).unlink()
    log = f"Call Trace:\n 0x{machine.address:016x}\n".encode()
    ran = run(machine.root, log=log)
    assert (b"fs/first.c" in ran.output) is (missing == "proc/modules")
    assert missing.rpartition("/")[2] not in ran.complaints


def test_a_module_is_answered_only_when_it_cannot_have_been_replaced(machine: Machine) -> None:
    machine.prints(f"4,2,1000,-; 0x{machine.crash:016x}", f"4,3,2000,-; 0x{machine.address:016x}")
    log = f"Call Trace:\n 0x{machine.crash:016x}\n 0x{machine.address:016x}\n".encode()
    assert b"crasher.c" not in run(machine.root, log=log).output
    machine.modules("crasher 16384 1 [permanent], Live")
    ran = run(machine.root, log=log)
    assert b"(drivers/crasher.c:" in ran.output
    assert b"(fs/first.c:" in ran.output


FRAME = Frame((0, 0), 0, b"", None, None, b"", b"", RunAddr(0x1010), PcKind.RETURN, True, True, False, "")  # noqa: FBT003


def test_the_name_is_the_first_of_an_address_and_the_size_reaches_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "dev").mkdir()
    (tmp_path / "proc/kallsyms").write_text(
        "0000000000001000 T zz\n0000000000001000 T aa\n0000000000001040 t next\n0000000000001080 D data\n"
        "0000000000002000 T end\n"
    )
    (tmp_path / "dev/kmsg").write_text(
        "4,1,1,-;word 0000000000001010\n4,2,2,-,caller=T1;two\\x0a 0000000000001050\n SUBSYSTEM=pci\n"
    )
    live = RunningKernel(str(tmp_path), KernelId("6.1"))
    named = live.name(FRAME, b"[    1.000000] word 0000000000001010", KernelId())
    assert named is not None
    assert (named.symbol, named.offset, named.size, named.module) == (b"zz", 0x10, 0x40, b"")
    # messages of two lines are two lines of a log; colours and prefixes do not matter
    line = b"<4>\x1b[32m[    1.000000]\x1b[0m[    T1]  0000000000001050"
    named = live.name(FRAME._replace(address=RunAddr(0x1050)), line, KernelId())
    assert named is not None
    assert (named.symbol, named.offset, named.size) == (b"next", 0x10, 0x40)
    for address in (0xFFF, 0x1090, 0x2000, 0x3000):
        assert live.name(FRAME._replace(address=RunAddr(address)), line, KernelId()) is None
    # what is printed later is read on
    with (tmp_path / "dev/kmsg").open("a") as ring:
        ring.write("4,3,3,-;later 0000000000001010\n")
    assert live.name(FRAME, b"later 0000000000001010", KernelId()) is not None
    assert RunningKernel(str(tmp_path), KernelId()).name(FRAME, b"later 0000000000001010", KernelId()) is None
