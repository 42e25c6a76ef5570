"""What the registers of a dump say of the code that was interrupted: whose instructions, and whether a program's.

Sources: ``show_ip()`` and ``show_signal_msg()`` of x86, ``__show_regs()`` of arm64, arm and mips, ``show_regs()`` of
riscv, powerpc and loongarch.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from annotate.log.codebytes import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from annotate.log.codebytes import CodeBytes

#: One of these stands in every line that ``Interrupted.observe`` takes anything from.
CUES = (
    *(b"IP: ", b"IP is at ", b"segfault at ", b" trap ", b"pstate", b"psr", b"PSR: ", b"undefined instruction: pc="),
    *(b"epc", b"unhandled signal ", b"Status", b"PrId", b"NIP", b"MSR: ", b"ERA", b"Linux version "),
)

#: Kernels of 32-bit x86 begin here, unless they were built with another split: those below are then programs' to us.
_I386_KERNEL = 0xC000_0000

#: CPUs of the sixth release of MIPS, in which other instructions have the codes of old ones.
_R6_CPUS = rb"MIPS (?:I6400|I6500|P6600|M6250)"

_HEX = rb"(?:0x)?[0-9a-f]"


class Interrupted:
    """Kept current line by line, in the order of the log."""

    def __init__(self) -> None:
        self.machine: Machine | None = None
        self.is_user = False

    def observe(self, message: bytes) -> None:
        """Take in one message, without its prefix."""
        for pattern, see in _LINES:
            match = pattern.match(message)
            if match is not None:
                see(self, match)
                return

    def machine_of(self, code: CodeBytes) -> Machine | None:
        """Whose instructions a dump that follows holds; None where nothing so far says it, or says two things."""
        return self.machine if self.machine in code.machines else None


def _see_banner(interrupted: Interrupted, _match: re.Match[bytes]) -> None:
    interrupted.machine, interrupted.is_user = None, False


def _see_program(interrupted: Interrupted, _match: re.Match[bytes]) -> None:
    interrupted.is_user = True


def _see_rip(interrupted: Interrupted, match: re.Match[bytes]) -> None:
    interrupted.machine = Machine.X86_64
    interrupted.is_user = int(match["segment"], 16) & 3 == 3


def _see_eip(interrupted: Interrupted, match: re.Match[bytes]) -> None:
    interrupted.machine = Machine.I386
    if match["segment"]:
        interrupted.is_user = int(match["segment"], 16) & 3 == 3
    else:
        interrupted.is_user = match["address"] is not None and int(match["address"], 16) < _I386_KERNEL


def _see_pstate(interrupted: Interrupted, match: re.Match[bytes]) -> None:
    interrupted.machine = Machine.AARCH64
    interrupted.is_user = int(match["state"], 16) & 0xF == 0  # EL0, of either width


def _see_psr(interrupted: Interrupted, match: re.Match[bytes]) -> None:
    state = int(match["state"], 16)
    interrupted.machine = Machine.THUMB if state & 0x20 else Machine.ARM
    interrupted.is_user = state & 0x1F == 0x10


def _see_xpsr(interrupted: Interrupted, _match: re.Match[bytes]) -> None:
    interrupted.machine, interrupted.is_user = Machine.THUMB_M, False


def _see_riscv(interrupted: Interrupted, match: re.Match[bytes]) -> None:
    interrupted.machine = Machine.RISCV64 if len(match["pc"]) > 8 else Machine.RISCV32
    interrupted.is_user = not int(match["pc"], 16) >> (4 * len(match["pc"]) - 1)


def _see_mips(interrupted: Interrupted, match: re.Match[bytes]) -> None:
    interrupted.machine = Machine.MIPS64 if len(match["pc"]) > 8 else Machine.MIPS32
    interrupted.is_user = not int(match["pc"], 16) >> (4 * len(match["pc"]) - 1)


def _see_mips_mode(interrupted: Interrupted, match: re.Match[bytes]) -> None:
    interrupted.is_user = match["mode"] != b"KERNEL"


def _see_mips_r6(interrupted: Interrupted, _match: re.Match[bytes]) -> None:
    interrupted.machine = Machine.MIPS_R6


def _see_nip(interrupted: Interrupted, match: re.Match[bytes]) -> None:
    interrupted.machine = Machine.POWERPC64 if len(match["pc"]) > 8 else Machine.POWERPC32


def _see_msr(interrupted: Interrupted, match: re.Match[bytes]) -> None:
    interrupted.is_user = bool(int(match["state"], 16) & 0x4000)  # PR: problem state


def _see_loongarch(interrupted: Interrupted, _match: re.Match[bytes]) -> None:
    interrupted.machine, interrupted.is_user = Machine.LOONGARCH, False


_LINES: Sequence[tuple[re.Pattern[bytes], Callable[[Interrupted, re.Match[bytes]], None]]] = (
    (re.compile(rb"\s*(?:\w{1,16}: )?RIP: (?P<segment>[0-9a-f]{4}):"), _see_rip),
    (
        re.compile(
            rb"\s*EIP(?:: (?P<segment>[0-9a-f]{4}):\[?|: (?:\[<)?(?:0x)?(?P<address>[0-9a-f]{8})\b|: \S+\+0x| is at )"
        ),
        _see_eip,
    ),
    (re.compile(rb".{0,64}?\bsegfault at [0-9a-f]+ ip |.{0,64}? trap .{1,64}? ip:"), _see_program),
    (re.compile(rb".{0,64}?\bundefined instruction: pc=|.{0,64}?\bunhandled signal "), _see_program),
    (re.compile(rb".{0,128}?\bpstate ?: (?P<state>" + _HEX + rb"{8,16})\b"), _see_pstate),
    (re.compile(rb".{0,128}?\bpsr ?: (?P<state>" + _HEX + rb"{8})\b"), _see_psr),
    (re.compile(rb".{0,128}?\bxPSR: [0-9a-f]{8}\b"), _see_xpsr),
    (
        re.compile(rb"\s*epc ?: (?P<pc>[0-9a-f]{8}|[0-9a-f]{16}) ra ?: [0-9a-f]{8,16} sp ?: "),
        _see_riscv,
    ),
    (re.compile(rb"\s*epc +: (?P<pc>[0-9a-f]{8}|[0-9a-f]{16}) (?!ra)"), _see_mips),
    (
        re.compile(rb"\s*Status ?: [0-9a-f]{8}\b.{0,64}?\b(?P<mode>KERNEL|SUPERVISOR|USER)\b"),
        _see_mips_mode,
    ),
    (re.compile(rb"\s*PrId +: [0-9a-f]{8} \(" + _R6_CPUS), _see_mips_r6),
    (re.compile(rb"\s*NIP: +(?P<pc>[0-9a-f]{8}|[0-9a-f]{16})\b"), _see_nip),
    (re.compile(rb"\s*MSR: +(?P<state>[0-9a-f]{8,16})\b"), _see_msr),
    (re.compile(rb"\s*ERA ?: [0-9a-f]{16}\b"), _see_loongarch),
    (re.compile(rb"Linux version "), _see_banner),
)
