"""``--code``: which lines are read, whose code they hold, and that the log stays as it is."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import SAMPLES
from hypothesis import given
from hypothesis import strategies as st

from annotate.log.codebytes import CodeBytes, Machine, read_code
from annotate.log.interrupted import CUES, Interrupted
from annotate.model import LogBlock
from annotate.render.code import CodeRenderer
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions
from annotate.summary import Summary

if TYPE_CHECKING:
    from pathlib import Path

X86 = b"Code: 0f 1f 44 00 00 <0f> 0b c3\n"
KERNEL = b"RIP: 0010:f+0x5/0x10\n"


# Formats.


@pytest.mark.parametrize(
    ("message", "data", "unit", "trap", "machine"),
    [
        (b"Code: 48 8b <0f> 0b", "488b0f0b", 1, 2, Machine.X86_64),
        (b"Code: <0f> 0b", "0f0b", 1, 0, Machine.I386),
        (b"Code: d503201f 910003fd (d4210000) ", "1f2003d5fd030091000021d4", 4, 8, Machine.AARCH64),
        (b"Code: e1a00000 (e7f001f2) ", "0000a0e1f201f0e7", 4, 4, Machine.ARM),
        (b"Code: 4b05 681b b10b 4798 (de02) bd08", "054b1b680bb1984702de08bd", 2, 8, Machine.THUMB),
        (b"Code: 0b5f 4785 (8b22) 0000", "5f0b8547228b0000", 2, 4, Machine.RISCV64),
        (b"Code: 4785 (ff06b783)", "854783b706ff", 2, 2, Machine.RISCV64),
        (b"Code: 7c0802a6 f8010010 <0fe00000> 4e800020 ", "a602087c100001f80000e00f2000804e", 4, 8, Machine.POWERPC64),
        (b"Code: XXXXXXXX XXXXXXXX <0fe00000> XXXXXXXX", "0000e00f", 4, 0, Machine.POWERPC64),
        (b"Code: 8f830000  00000000 <8c620000> 24630004 ", "0000838f000000000000628c04006324", 4, 8, Machine.MIPS32),
    ],
)
def test_what_kernels_print(message: bytes, data: str, unit: int, trap: int, machine: Machine) -> None:
    code = read_code(message)
    assert code is not None
    assert (code.data.hex(), code.unit, code.trap) == (data, unit, trap)
    assert machine in code.machines


@pytest.mark.parametrize(
    "message",
    [
        b"Code: Unable to access opcode bytes at 0xffffffffffffffd6.",
        b"Code: Bad RIP value.",
        b"Code: bad PC value",
        b"Code:",
        b"Code: 48 8b 0f 0b",  # no mark: where it was cut, nobody knows
        b"Code: 48 8b <0f> 0",
        b"Code: 48 8b <0f> 0b <90>",
        b"Code: 48 8b <0f) 0b",
        b"Code: 48 8B <0F> 0B",
        b"Code: 488b <0f0b>",  # half-words of m68k and microMIPS
        b"Code: 48 <0f> 0b90",
        b"Code: 48 (0f) 0b",
        b"Code: \xff <0f>",
        b"Code: " + b"90 " * 1000 + b"<0f>",
        b"Krnl Code: 000000000042e0c2: c0e5000397a3 brasl %r14,00000000004a1008",
        b"init[1]: code: 60000000 <0fe00000>",
        b"Source Code: 48 <0f>",
    ],
)
def test_what_is_none_or_not_whole_is_left_alone(message: bytes) -> None:
    assert read_code(message) is None


@given(st.binary(max_size=200))
def test_no_text_is_too_odd(text: bytes) -> None:
    for message in (text, b"Code: " + text):
        code = read_code(message)
        assert code is None or (0 <= code.trap < len(code.data) and len(code.data) % code.unit == 0)


@given(st.binary(min_size=1, max_size=64), st.data())
def test_bytes_come_out_as_they_are_printed(data: bytes, draw: st.DataObject) -> None:
    trap = draw.draw(st.integers(0, len(data) - 1))
    numbers = [f"<{byte:02x}>" if place == trap else f"{byte:02x}" for place, byte in enumerate(data)]
    assert read_code(f"Code: {' '.join(numbers)}".encode()) == CodeBytes(data, 1, trap, (Machine.X86_64, Machine.I386))


# Whose code it is.


@pytest.mark.parametrize(
    ("messages", "machine", "is_user"),
    [
        ([b"RIP: 0010:vfs_write+0x1/0x2"], Machine.X86_64, False),
        ([b"RIP: 0033:0x7f2f3c1a2b33"], Machine.X86_64, True),
        ([b"RIP: 0010:[<ffffffff8123487f>]  [<ffffffff8123487f>] f+0x1/0x2"], Machine.X86_64, False),
        ([b"RIP: e030:[<ffffffff810013aa>] hypercall_page+0x3aa/0x1000"], Machine.X86_64, False),
        ([b"RIP: 0023:0xf7f3c549"], Machine.X86_64, True),
        ([b"EIP: f+0x3/0x5"], Machine.I386, False),
        ([b"EIP: 0060:[<c0107c7e>]    Not tainted VLI"], Machine.I386, False),
        ([b"EIP: 0073:[<b7f3c549>]"], Machine.I386, True),
        ([b"EIP: 0xb7f3c549"], Machine.I386, True),
        ([b"EIP is at wdev_priv.part.8+0x3/0x5 [wl]"], Machine.I386, False),
        ([b"RIP: 0010:f+0x1/0x2", b"a.out[12]: segfault at 0 ip 000055 sp 00007f error 4 in a.out"], None, True),
        ([b"traps: a.out[12] trap invalid opcode ip:55d0 sp:7ffe error:0 in a.out[55d0+1000]"], None, True),
        ([b"pstate: 60400005 (nZCv daif +PAN -UAO -TCO -DIT -SSBS BTYPE=--)"], Machine.AARCH64, False),
        ([b"pstate: 20001000 (nzCv daif -PAN -UAO -TCO -DIT +SSBS BTYPE=--)"], Machine.AARCH64, True),
        (
            [b"pc : [<ffffff8008083e30>] lr : [<ffffff8008083e2c>] pstate: 60000145"],
            Machine.AARCH64,
            False,
        ),
        ([b"pc : [<c0123456>]    lr : [<c0123450>]    psr: 60000013"], Machine.ARM, False),
        ([b"pc : [<c0123456>]    lr : [<c0123450>]    psr: 60000033"], Machine.THUMB, False),
        ([b"pc : [<00010456>]    lr : [<00010450>]    psr: 60000010"], Machine.ARM, True),
        (
            [b"epc : ffffffff80003d52 ra : ffffffff80003d4e sp : ff20000000013d50"],
            Machine.RISCV64,
            False,
        ),
        ([b"epc : 000000000001054c ra : 0000000000010530 sp : 0000003ffff1cc10"], Machine.RISCV64, True),
        ([b"epc : c0003d52 ra : c0003d4e sp : c1013d50"], Machine.RISCV32, False),
        ([b"NIP:  c000000000c0f234 LR: c000000000c0f230 CTR: 0000000000000000"], Machine.POWERPC64, False),
        ([b"NIP: c00f1234 LR: c00f1230 CTR: 00000000"], Machine.POWERPC32, False),
        (
            [b"NIP:  000000001000f234 LR: 000000001000f230 CTR: 0", b"MSR:  800000000280f033  <SF,VEC,PR>  CR: 2"],
            Machine.POWERPC64,
            True,
        ),
        ([b"epc   : 8576591c mt7615_mcu_add_bss+0xd0/0x3c0 [mt7615_common]"], Machine.MIPS32, False),
        ([b"epc   : ffffffff8112c3f0 f+0x1/0x2", b"Status: 1400fce3\tKX SX UX KERNEL EXL IE "], Machine.MIPS64, False),
        ([b"epc   : 00400a10 0x400a10", b"Status: 0000fc13\tUSER EXL IE "], Machine.MIPS32, True),
        ([b"epc   : 8576591c f+0x1/0x2", b"PrId  : 0001a900 (MIPS I6400)"], Machine.MIPS_R6, False),
        ([b"   ERA: 90000000002210c4 f+0x1/0x2"], Machine.LOONGARCH, False),
        ([b"RIP: 0010:f+0x1/0x2", b"Linux version 6.1 (x) #1"], None, False),
    ],
)
def test_registers_say_whose_code_it_is(messages: list[bytes], machine: Machine | None, *, is_user: bool) -> None:
    interrupted = Interrupted()
    for message in messages:
        assert any(cue in message for cue in CUES), "it would not be read"
        interrupted.observe(message)
    assert interrupted.is_user is is_user
    if machine is not None or b"Linux" in messages[-1]:
        assert interrupted.machine is machine


# The log stays as it is.


def code_renderer() -> CodeRenderer:
    return CodeRenderer(PlainRenderer(RenderOptions()))


def render(*blocks: bytes, log: str = "-") -> bytes:
    renderer = code_renderer()
    return b"".join(renderer.render(log, LogBlock(block)) for block in blocks) + renderer.finish(Summary())


def test_instructions_follow_their_line() -> None:
    assert render(b"[    1.0] " + KERNEL + b"[    1.0] " + X86 + b"[    1.0] RSP: 0018:f\n") == (
        b"[    1.0] "
        + KERNEL
        + b"[    1.0] "
        + X86
        + b"       0:\t0f 1f 44 00 00\t.byte  0x0f, 0x1f, 0x44, 0x00, 0x00\n"
        b"       5:*\t0f 0b         \tud2\t\t<-- trapping instruction\n"
        b"       7:\tc3            \tretq\n"
        b"[    1.0] RSP: 0018:f\n"
    )


def test_code_of_programs_is_left_alone() -> None:
    log = b"RIP: 0033:0x7f2f3c1a2b33\n" + X86
    assert render(log) == log
    assert render(log + KERNEL + X86) != log + KERNEL + X86


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (X86, b"no registers above say of which machine this is: x86-64 or i386"),
        (b"Code: d503201f (d4210000)\n", b"of which machine this is: arm64 or arm or riscv64 or riscv32"),
        (KERNEL + b"Code: d503201f (d4210000)\n", b"of which machine"),
        (b"psr: 60000033\nCode: e1a00000 (e7f001f2)\n", b"of which machine"),  # Thumb has no words
        (b" ERA: 90000000002210c4 f\nCode: 02bffc63 <002a0001>\n", b"no disassembler for loongarch"),
        (b"epc   : 8576591c f\nPrId  : 0001a900 (MIPS I6400)\nCode: 00000000 <002a0001>\n", b"for mips release 6"),
    ],
)
def test_what_is_not_known_is_said_in_one_line(log: bytes, expected: bytes) -> None:
    after = render(log)
    assert after.startswith(log)
    (line,) = after[len(log) :].splitlines()
    assert line.startswith(b"    (not disassembled: ")
    assert expected in line


def test_the_words_of_powerpc_stand_on_two_lines() -> None:
    words = [b"60000000"] * 12 + [b"<0fe00000>"] + [b"4e800020"] * 3
    head = b"NIP:  c000000000c0f234 LR: c000000000c0f230 CTR: 0\n[    2.0] Instruction dump:\n"
    log = head + b"[    2.0] " + b" ".join(words[:8]) + b" \n[    2.0] " + b" ".join(words[8:]) + b" \n"
    after = render(log, b"---[ end trace 0 ]---\n")
    assert after.startswith(log)
    lines = after[len(log) :].splitlines()
    assert len(lines) == 17
    assert lines[12] == b"      30:*\t0fe00000\ttwui   r0, 0\t\t<-- trapping instruction"
    assert lines[-1] == b"---[ end trace 0 ]---"


def test_a_dump_of_powerpc_that_ends_early_is_shown_too() -> None:
    head = b"NIP:  c000000000c0f234 LR: 0 CTR: 0\nInstruction dump:\n"
    words = b"60000000 <4e800020>"
    shown = (
        b"       0:\t60000000\tnop\n       4:*\t4e800020\tblr\t\t<-- trapping instruction",
        b"Oops: 5\n",
    )
    assert render(head + words + b"\n" + shown[1]) == head + words + b"\n" + shown[0] + b"\n" + shown[1]
    assert render(head + words + b"\n") == head + words + b"\n" + shown[0] + b"\n"
    assert render(head + words) == head + words + b"\n" + shown[0]


def test_line_ends_are_those_of_the_log() -> None:
    after = render(KERNEL + X86.replace(b"\n", b"\r\n"))
    assert after.count(b"\r\n") == 4
    assert re.search(rb"\r(?!\n)", after) is None
    unterminated = render(KERNEL + X86[:-1])
    assert unterminated.startswith(KERNEL + X86)
    assert not unterminated.endswith(b"\n")
    assert unterminated + b"\n" == render(KERNEL + X86)


def test_colours_do_not_hide_a_line_and_quotes_do() -> None:
    coloured = b"\x1b[32m[    1.0] \x1b[0m\x1b[33mCode: \x1b[0m\x1b[1m0f 1f 44 00 00 <0f> 0b\x1b[0m\n"
    assert b"ud2" in render(KERNEL + coloured)
    for line in (b'  "msg": "' + X86[:-1] + b'",\n', X86.replace(b"<", b"&lt;").replace(b">", b"&gt;")):
        assert render(KERNEL + line) == KERNEL + line


def test_a_line_that_is_too_long_is_passed_through() -> None:
    long = b"x" * 5000
    log = KERNEL + long + X86
    assert render(log) == log
    assert render(KERNEL, long, X86) == log


def test_what_one_log_says_is_not_believed_in_the_next() -> None:
    renderer = code_renderer()
    renderer.render("a", LogBlock(KERNEL))
    assert b"not disassembled" in renderer.render("b", LogBlock(X86))


@given(st.lists(st.sampled_from([KERNEL, X86, b"RIP: 0033:0x1\n", b"text\n", b"Instruction dump:\n"]), max_size=12))
def test_the_cuts_between_pieces_do_not_matter(lines: list[bytes]) -> None:
    assert render(*lines) == render(b"".join(lines))


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "annotate", *arguments], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )


#: A line of ours: nothing that a kernel prints begins like this.
_OURS = re.compile(rb"    +[0-9a-f]+:\*?\t|    \(not disassembled")


@pytest.mark.parametrize("log", sorted(SAMPLES.glob("*/*.log")), ids=lambda log: f"{log.parent.name}/{log.stem}")
def test_lines_are_added_and_nothing_else(log: Path) -> None:
    plain = run(str(log)).stdout
    shown = run("--code", str(log)).stdout
    lines = shown.splitlines(keepends=True)
    ours = [line for line in lines if _OURS.match(line)]
    assert b"".join(line for line in lines if not _OURS.match(line)) == plain
    # As many marks as kernels' lines of code; what they say of programs stays.
    dumps = 0
    is_user = False
    for line in plain.splitlines():
        if b"RIP: " in line:
            is_user = b"0033:" in line
        dumps += (
            re.search(rb"\] (?:\x1b\[\d+m)*Code: (?:\x1b\[\d+m)*(?!bad)[0-9a-f]{2}", line) is not None and not is_user
        )
    if log.name not in ("dmesg.log", "netconsole-udp.log", "pstore.log"):  # those have other prefixes, too
        assert sum(b":*\t" in line for line in ours) == dumps
    # What is inserted holds no frame: read again, it is as it was.
    again = subprocess.run(
        [sys.executable, "-m", "annotate", "-"], input=b"".join(ours), capture_output=True, check=True
    )
    assert again.stdout == b"".join(ours)


def test_without_capstone_it_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "capstone.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'capstone'\", name='capstone')\n"
    )
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from annotate.cli.annotate import main; main()"
    log = str(SAMPLES / "x86_64" / "p-null_deref.log")
    done = subprocess.run([sys.executable, "-c", script, "--code", log], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.endswith(b"--code needs capstone: pip install 'lineinfo-annotate[disasm]'\n")


def test_json_has_no_place_for_code() -> None:
    done = run("--code", "--format", "jsonl", str(SAMPLES / "x86_64" / "p-null_deref.log"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--format jsonl has no place" in done.stderr


def test_without_the_option_nothing_of_it_is_imported() -> None:
    script = (
        "import sys; from annotate.cli.annotate import main; main(sys.argv[1:]);"
        "assert not {'capstone', 'annotate.disassembly', 'annotate.render.code'} & set(sys.modules)"
    )
    log = str(SAMPLES / "x86_64" / "p-null_deref.log")
    subprocess.run([sys.executable, "-c", script, log], check=True, capture_output=True)
