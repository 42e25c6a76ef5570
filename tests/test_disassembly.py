"""Instructions as binutils shows them: the same boundaries, the same names, the same numbers.

The code is what gcc ships for each machine (libgcc), windows of it cut out as a kernel would, and the ``Code:`` lines
of the samples.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import SAMPLES
from hypothesis import given
from hypothesis import strategies as st

from annotate.disassembly import MACHINES, Disassembler
from annotate.log.codebytes import CodeBytes, Machine, read_code
from annotate.log.message import find_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Target(NamedTuple):
    machine: Machine
    tools: str  #: in front of the names of gcc and objdump
    unit: int
    before: int  #: numbers that the kernel prints before the trap
    behind: int  #: and from it on
    options: tuple[str, ...] = ()  #: of gcc, for machines of which there is no library: our program is compiled then
    words_are_swapped: bool = False  #: objdump prints the bytes of a word in the order of a big-endian memory


TARGETS = (
    Target(Machine.X86_64, "x86_64-linux-gnu-", 1, 42, 22),
    Target(Machine.I386, "x86_64-linux-gnu-", 1, 42, 22, ("-m32", "-march=i686")),
    Target(Machine.AARCH64, "aarch64-linux-gnu-", 4, 4, 1),
    Target(Machine.ARM, "arm-linux-gnueabihf-", 4, 4, 1, ("-marm",)),  # libgcc is all Thumb there
    Target(Machine.THUMB, "arm-linux-gnueabihf-", 2, 4, 2),
    Target(Machine.RISCV64, "riscv64-linux-gnu-", 2, 10, 2),
    Target(Machine.RISCV32, "riscv64-linux-gnu-", 2, 10, 2, ("-march=rv32imac", "-mabi=ilp32")),
    Target(Machine.POWERPC32, "powerpc-linux-gnu-", 4, 12, 4, words_are_swapped=True),
    Target(Machine.POWERPC64, "powerpc64-linux-gnu-", 4, 12, 4, words_are_swapped=True),
    Target(Machine.POWERPC64, "powerpc64le-linux-gnu-", 4, 12, 4),
    Target(Machine.MIPS32, "mips-linux-gnu-", 4, 3, 6),
    Target(Machine.MIPS64, "mips64el-linux-gnuabi64-", 4, 3, 6),
)

#: Of many kinds: loops, switches, shifts, 64-bit sums, calls, bytes, atomics.
PROGRAM = r"""
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned char u8;
struct node { struct node *next, *prev; u32 key; u64 value; u8 name[13]; short flags; };
extern void trace(const char *, ...);
extern int busy(void);

u32 hash(const u8 *text, int size)
{
    u32 h = 2166136261u;
    while (size--) { h ^= *text++; h *= 16777619u; h = h << 5 | h >> 27; }
    return h;
}

void insert(struct node **head, struct node *one)
{
    struct node **at = head;
    while (*at && (*at)->key < one->key) at = &(*at)->next;
    one->next = *at;
    one->prev = *at ? (*at)->prev : 0;
    if (*at) (*at)->prev = one;
    *at = one;
    one->flags |= 0x40;
}

int kind(int c, u64 *sum)
{
    switch (c) {
    case 1: *sum += c; return 7;
    case 2: *sum -= 3; return 9;
    case 3: *sum <<= c; return 1;
    case 4: *sum *= 31; return 4;
    case 7: *sum >>= 9; return 2;
    case 8: *sum ^= ~0ull >> c; return -4;
    default: trace("odd %d", c); return -22;
    }
}

u64 divide(u64 a, u64 b, int *left)
{
    u64 q = 0;
    for (int i = 63; i >= 0; i--)
        if ((a >> i) >= b) { a -= b << i; q |= 1ull << i; }
    *left = (int)a;
    return q;
}

void sort(short *a, int n)
{
    for (int i = 1; i < n; i++) {
        short x = a[i];
        int j = i;
        for (; j > 0 && a[j - 1] > x; j--) a[j] = a[j - 1];
        a[j] = x;
    }
}

int locked(volatile int *lock)
{
    int tries = 0;
    while (__sync_lock_test_and_set(lock, 1))
        if (++tries > 1000 || busy()) return -11;
    __sync_synchronize();
    return __sync_fetch_and_add(lock, tries);
}

u32 pack(struct node *n, int count)
{
    u32 out = 0;
    for (int i = 0; i < count; i++) {
        n[i].value = (u64)n[i].key * n[i].flags;
        n[i].name[i % 13] = (u8)(out >> 3);
        out += __builtin_clz(n[i].key | 1) + (signed char)n[i].name[2];
        out -= n[i].flags < 0 ? hash(n[i].name, 13) : 0;
    }
    trace("%u %llu %p", out, n->value, n);
    return out % 1009;
}
"""

#: Windows a machine; one has about 15 instructions.
WINDOWS = 400


class Instruction(NamedTuple):
    """As objdump prints it."""

    address: int
    data: bytes
    text: str


_PRINTED = re.compile(r"\s*([0-9a-f]+):\t((?:[0-9a-f]{2}|[0-9a-f]{4}|[0-9a-f]{8})(?: [0-9a-f]+)*) *\t(.*)")


def objdump(target: Target, *arguments: str) -> list[list[Instruction]]:
    """Stretches of instructions without a gap."""
    run = subprocess.run([f"{target.tools}objdump", "-w", *arguments], capture_output=True, text=True, check=True)
    stretches: list[list[Instruction]] = [[]]
    for line in run.stdout.splitlines():
        match = _PRINTED.match(line)
        if match is None or match[3].startswith(("(bad)", ".inst", ".word", ".long", ".short", ".byte", "udf")):
            if stretches[-1]:
                stretches.append([])
            continue
        data = b"".join(int(part, 16).to_bytes(len(part) // 2, "little") for part in match[2].split())
        found = Instruction(int(match[1], 16), data[::-1] if target.words_are_swapped else data, match[3])
        if stretches[-1] and stretches[-1][-1].address + len(stretches[-1][-1].data) != found.address:
            stretches.append([])
        stretches[-1].append(found)
    return stretches


# What both print -> what is compared: a name, and the numbers of the operands.

#: Other names of the same instruction, by what objdump prints; where its numbers say the same in another way, none are.
_OTHER_NAMES: dict[str, dict[str, str]] = {
    "x86": {"xchg %ax,%ax": "nop", "data16": "", "cs": "", "rex.W": "", "bnd": ""},
    "arm64": {"b.cc": "b.lo", "b.cs": "b.hs"},
    "arm": {"neg": "rsb", "negs": "rsbs", "stmdb": "push", "ldmia": "pop", "stmia": "stm", "ldm": "pop"},
    "riscv": {"sext.w": "addw", "li": "add", "ret": "jr", "zext.b": "and"},
    "powerpc": {
        "xxmr": "xxlor",
        "not": "nor",
        "mr": "or",
        "hwsync": "sync",
        # of the halves of the vector registers, which have names of their own
        "mtvrwa": "mtvsrwa",
        "mtfprwa": "mtvsrwa",
        "mtfprwz": "mtvsrwz",
        "mtvrd": "mtvsrd",
        "mtfprd": "mtvsrd",
        "mfvrd": "mfvsrd",
        "mffprd": "mfvsrd",
        "mfvrwz": "mfvsrwz",
        "mffprwz": "mfvsrwz",
    },
    "mips": {"ror": "rotr", "nor": "not", "dnegu": "dsubu"},
}
#: The same rotation, with the numbers of another spelling.
_ROTATIONS = {"clrrwi": "rlwinm", "srwi": "rlwinm", "slwi": "rlwinm", "srdi": "rldicl", "sldi": "rldicr"}
_ROTATIONS["clrrdi"] = "rldicr"

_FAMILIES: dict[Machine, str] = {
    Machine.X86_64: "x86",
    Machine.I386: "x86",
    Machine.AARCH64: "arm64",
    Machine.ARM: "arm",
    Machine.THUMB: "arm",
    Machine.RISCV64: "riscv",
    Machine.RISCV32: "riscv",
    Machine.POWERPC32: "powerpc",
    Machine.POWERPC64: "powerpc",
    Machine.MIPS32: "mips",
    Machine.MIPS64: "mips",
}


def name_of(family: str, text: str) -> str:
    others = _OTHER_NAMES[family]
    text = " ".join(text.split())
    if text in others:
        return others[text]
    words = text.split()
    while len(words) > 1 and others.get(words[0]) == "":
        words = words[1:]
    name = others.get(words[0], words[0])
    if family == "arm":
        name = name.removesuffix(".n").removesuffix(".w")
        shift = re.search(r", (lsl|lsr|asr|ror|rrx)\b", text)
        if name in ("mov", "movs") and shift is not None:
            name = shift[1] + name[3:]
        for ending, other in (("cc", "lo"), ("cs", "hs")):
            name = name.removesuffix(ending) + other if name.endswith(ending) and name != "bics" else name
        name = others.get(name, name)
    elif family == "riscv":
        name = name.removeprefix("c.").removesuffix("16sp").removesuffix("4spn").removesuffix("sp")
        name = re.sub(r"^(add|sll|srl|sra|and|or|xor|csrs)i(w?)$", r"\1\2", name)
        name = others.get(name, name)
    elif family == "mips" and name in ("addiu", "daddiu", "ori"):
        name = "li" if re.search(r"zero,", text) else name
    elif family == "powerpc":
        dotted = "." if name.endswith(".") else ""
        plain = name.removesuffix(".").removesuffix("+").removesuffix("-")
        name = _ROTATIONS.get(others.get(plain, plain), others.get(plain, plain)) + dotted
    return name


def is_same_name(family: str, ours: str, theirs: str) -> bool:
    """Whether two instructions are called the same; of x86, but for the letter that says how wide it is."""
    names = [name_of(family, text) for text in (ours, theirs)]
    if family != "x86":
        return names[0] == names[1]
    variants = [{name, re.sub(r"[bwlq]$", "", name)} for name in names]
    return bool(variants[0] & variants[1])


_NUMBER = re.compile(r"(?<![\w.%])(-?)(0x[0-9a-f]+|\d+)(?![\w.])")


def numbers_of(family: str, text: str) -> Counter[int] | None:
    """All but zeros, which are left out by one or the other, and places, which are counted from elsewhere."""
    if "<" in text or re.search(r"\d\.\d|c1_fcsr|4\*cr", text):
        return None
    if family == "powerpc" and text.split()[0].removesuffix(".") in _ROTATIONS:
        return None
    if family == "riscv" and text.startswith("zext.b"):
        return None
    text = re.split(r"//|@|\s#\s|\s;", " ".join(text.split()).partition(" ")[2])[0]
    found = Counter(
        int(sign + number, 0) % (1 << 32) for sign, number in _NUMBER.findall(re.sub(r"[$#](?=-?\d)", "", text))
    )
    del found[0]
    if family == "x86":
        del found[1]  # a scale, or a shift by one
    return found


def windows(target: Target, count: int, folder: Path) -> list[tuple[CodeBytes, list[Instruction]]]:
    """Pieces of libgcc as a kernel would print them, each with what objdump says of it."""
    compiler = f"{target.tools}gcc"
    if shutil.which(compiler) is None or shutil.which(f"{target.tools}objdump") is None:
        pytest.skip(f"no {compiler} and its objdump to compare with")
    if target.options:
        library = str(folder / "program.o")
        options = (*target.options, "-O2", "-c", "-x", "c", "-", "-o", library)
        subprocess.run([compiler, *options], input=PROGRAM, text=True, check=True)
    else:
        library = subprocess.run(
            [compiler, "-print-libgcc-file-name"], capture_output=True, text=True, check=True
        ).stdout.strip()
    return cut(target, objdump(target, "-d", library), count)


def cut(target: Target, stretches: list[list[Instruction]], count: int) -> list[tuple[CodeBytes, list[Instruction]]]:
    before, behind = target.before * target.unit, target.behind * target.unit
    chosen = random.Random(20)
    found: list[tuple[CodeBytes, list[Instruction]]] = []
    usable = [stretch for stretch in stretches if sum(len(one.data) for one in stretch) > 2 * (before + behind)]
    while usable and len(found) < count:
        stretch = chosen.choice(usable)
        trap = chosen.choice(stretch)
        data = b"".join(one.data for one in stretch)
        place = trap.address - stretch[0].address
        if place < before or place + behind > len(data):
            continue
        begin = trap.address - before
        inside = [
            one for one in stretch if begin <= one.address and one.address + len(one.data) <= begin + before + behind
        ]
        moved = [_moved(one, begin) for one in inside]
        found.append((CodeBytes(data[place - before : place + behind], target.unit, before, ()), moved))
    return found


def _moved(one: Instruction, begin: int) -> Instruction:
    """As it stands in a window that begins at an address: a place is one in the window."""
    text = re.sub(r"\s(?:#|//|@|;)\s.*", "", one.text)
    text = re.sub(r"\b([0-9a-f]+) <[^>]*>", lambda match: f"<{int(match[1], 16) - begin}>", text)
    return one._replace(address=one.address - begin, text=text)


def place_in(text: str) -> int | None:
    """The place that an instruction of a window names, of those that binutils has worked out."""
    match = re.search(r"<(-?\d+)>", text)
    return None if match is None else int(match[1]) % (1 << 32)


def compare(target: Target, code: CodeBytes, expected: list[Instruction]) -> Counter[str]:
    """Count what is the same; fail on what is not."""
    family = _FAMILIES[target.machine]
    truth = {one.address: one for one in expected}
    counts: Counter[str] = Counter()
    for row in Disassembler(target.machine).rows(code):
        if row.text.startswith((".byte", ".short", ".word")):
            counts["not shown"] += 1
            continue
        assert row.start in truth, f"no instruction begins at {row.start}: {row.text}"
        one = truth[row.start]
        assert row.end == row.start + len(one.data), f"{one.text} is of another length"
        if target.machine is Machine.THUMB and row.start < code.trap + 4:
            conditional = one.text.split()[0]  # an IT that stands before the window is not seen
            if re.search(r"(?:eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)(?:\.[nw])?$", conditional):
                counts["conditional"] += 1
                continue
        assert is_same_name(family, row.text, one.text), f"{row.text!r} is {one.text!r}"
        counts["names"] += 1
        place = place_in(one.text)
        # Not literals of arm, pages, and the calls of arm64 that objdump takes from relocations.
        is_place = family != "arm" and not row.text.startswith("adrp") and one.data != b"\0\0\0\x94"
        if place is not None and is_place:
            number = int(re.findall(r"-?(?:0x[0-9a-f]+|\d+)", row.text)[-1], 0)
            named = number + row.start if family == "riscv" else number
            assert named % (1 << 32) == place, f"{row.text!r} at {row.start} is {one.text!r}"
            counts["places"] += 1
        numbers = numbers_of(family, one.text)
        if numbers is not None:
            assert numbers_of(family, row.text) == numbers, f"{row.text!r} is {one.text!r}"
            counts["numbers"] += 1
    return counts


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.tools + target.machine.value)
def test_windows_of_real_code_read_as_objdump_reads_the_whole(target: Target, tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for code, expected in windows(target, WINDOWS, tmp_path):
        counts += compare(target, code, expected)
    print(dict(counts))  # noqa: T201 - shown with -rP
    assert counts["names"] > WINDOWS


#: What kernels use and libraries do not.
PRIVILEGED = """
pvalidate; rmpadjust; psmash; rmpupdate; serialize; tlbsync; invlpgb; tdcall; seamcall; clac; stac; swapgs; rdtscp
xgetbv; xsetbv; vmcall; vmmcall; vmlaunch; vmresume; vmxoff; vmrun; vmload; vmsave; stgi; clgi; monitor; mwait; wbinvd
wbnoinvd; rdsspq %rax; incsspq %rax; saveprevssp; setssbsy; clrssbsy (%rax); wrssq %rax,(%rdx); wrussq %rax,(%rdx)
enqcmds (%rax),%rbx; movdir64b (%rax),%rbx; movdiri %rax,(%rbx); invpcid (%rax),%rdx; invept (%rax),%rdx
xsaves (%rax); xsavec64 (%rax); xsaveopt64 (%rax); xrstors64 (%rax); clwb (%rax); clflushopt (%rax); tpause %eax
umonitor %rax; rdpid %rax; rdpkru; wrpkru; encls; endbr64; rdfsbase %rax; wrgsbase %rax; rdseed %rax; rdrand %rax
ud1 %eax,%edx; ud1 0x40(%rax),%eax; ud1 0x1234(%r9,%rbx,4),%r10; addr32 ud1 0x2(%eax),%eax; ud0 %eax,%edx; ud2; int3
hlt; sysretq; iretq; lgdt (%rax); lidt (%rax); lldt %ax; ltr %ax; verw 0x12(%rip); invlpg (%rax); fxsave64 (%rax)
movq %rax,%cr4; movq %db7,%rax; rdpmc; wrmsr; rdmsr; lock cmpxchg16b (%rax); lock xadd %rax,(%rbx); pause; sti; cli
crc32q %rax,%rbx; popcnt %rax,%rbx; tzcnt %rax,%rbx; notrack jmp *%rax; rep movsb; rep stosq
in (%dx),%al; out %al,$0x80
"""


def test_instructions_that_only_kernels_use_have_the_length_that_objdump_says(tmp_path: Path) -> None:
    """One that is not known is shown as bytes; a wrong length would spoil all that follows."""
    target = TARGETS[0]
    if shutil.which(f"{target.tools}as") is None:
        pytest.skip("no assembler to compare with")
    output = str(tmp_path / "code.o")
    subprocess.run([f"{target.tools}as", "-o", output], input=PRIVILEGED, text=True, check=True)
    (stretch,) = (stretch for stretch in objdump(target, "-d", output) if stretch)
    assert len(stretch) > 90
    unknown = set()
    for one in stretch:
        code = CodeBytes(one.data + b"\xf4", 1, 0, ())
        row = Disassembler(Machine.X86_64).rows(code)[0]
        name = one.text.split()[0]
        if row.text.startswith(".byte"):
            unknown.add(name)
            assert row.end in (len(one.data), len(code.data)), f"{one.text} is of another length"
        else:
            assert row.end == len(one.data), f"{one.text} is of another length"
            assert is_same_name("x86", row.text, one.text.removeprefix("addr32 ")), f"{row.text!r} is {one.text!r}"
            assert numbers_of("x86", row.text) == numbers_of("x86", one.text), f"{row.text!r} is {one.text!r}"
    assert unknown <= {
        *("pvalidate", "rmpadjust", "psmash", "rmpupdate", "serialize", "tlbsync", "invlpgb", "tdcall", "seamcall"),
        "enqcmds",
    }


BINARIES = {
    Machine.X86_64: ("objdump", "-m", "i386:x86-64"),
    Machine.AARCH64: ("aarch64-linux-gnu-objdump", "-m", "aarch64"),
}


def code_lines() -> list[tuple[Machine, CodeBytes]]:
    """Each dump of the samples once, those of programs too."""
    found: dict[tuple[Machine, CodeBytes], None] = {}
    for folder, machine in (("x86_64", Machine.X86_64), ("arm64", Machine.AARCH64)):
        for log in sorted(SAMPLES.glob(f"{folder}/*.log")):
            for line in log.read_bytes().splitlines():
                code = read_code(line[find_message(line).start :])
                if code is not None:
                    assert machine in code.machines
                    found[machine, code] = None
    return list(found)


@pytest.mark.parametrize("machine", BINARIES)
def test_the_code_lines_of_the_samples_read_as_objdump_reads_them(machine: Machine, tmp_path: Path) -> None:
    """objdump is given the bytes from the first instruction on that is certain."""
    tool, *options = BINARIES[machine]
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} to compare with")
    family = _FAMILIES[machine]
    compared = 0
    for _, code in (pair for pair in code_lines() if pair[0] is machine):
        rows = Disassembler(machine).rows(code)
        start = next(row.start for row in rows if not row.text.startswith(".byte"))
        (tmp_path / "code").write_bytes(code.data)
        arguments = ("-D", "-w", "-z", "-b", "binary", *options, f"--start-address={start}", str(tmp_path / "code"))
        run = subprocess.run([tool, *arguments], capture_output=True, text=True, check=True)
        printed = {int(match[1], 16): match for match in map(_PRINTED.match, run.stdout.splitlines()) if match}
        for row in rows:
            if row.start >= start and not row.text.startswith((".byte", ".word")):
                match = printed[row.start]
                assert bytes.fromhex("".join(match[2].split())).hex() == code.printed(row.start, row.end).replace(
                    " ", ""
                )
                assert is_same_name(family, row.text, match[3]), f"{row.text!r} is {match[3]!r}"
                assert numbers_of(family, row.text) == numbers_of(family, match[3]), f"{row.text!r} is {match[3]!r}"
                compared += 1
        if machine is Machine.X86_64:
            assert sum(row.is_trap for row in rows) == 1
    assert compared > 20


# Alignment.


def rows_of(text: str, machine: Machine = Machine.X86_64) -> list[tuple[int, str]]:
    code = read_code(b"Code: " + text.encode())
    assert code is not None
    return [(row.start, row.text) for row in Disassembler(machine).rows(code)]


def test_what_cannot_be_aligned_is_shown_as_bytes() -> None:
    """The first byte is the end of an instruction, or the beginning of ``c5 31 c0 ...`` and the like."""
    rows = rows_of("c5 31 c0 31 db 31 c9 31 d2 31 f6 31 ff 31 ed 45 31 c0 45 31 c9 <0f> 0b 90")
    shown = [(place, text) for place, text in rows if not text.startswith(".byte")]
    assert rows[0] == (0, ".byte  0xc5, 0x31, 0xc0, 0x31, 0xdb, 0x31, 0xc9, 0x31")
    assert shown[-4:] == [(15, "xorl   %r8d, %r8d"), (18, "xorl   %r9d, %r9d"), (21, "ud2"), (23, "nop")]
    assert {place for place, _ in shown} <= {*range(1, 15, 2), 15, 18, 21, 23}


def test_an_instruction_begins_at_the_mark_whatever_stands_before() -> None:
    # b8 takes the next four bytes if it is an instruction, but then none begins at the mark
    assert rows_of("b8 <0f> 0b") == [(0, ".byte  0xb8"), (1, "ud2")]


def test_nothing_is_guessed_behind_what_is_no_instruction() -> None:
    # 06 is none in 64-bit code; where the next one begins is not known
    assert rows_of("<0f> 0b 06 90 90") == [(0, "ud2"), (2, ".byte  0x06, 0x90, 0x90")]
    assert rows_of("<06> 90") == [(0, ".byte  0x06, 0x90")]
    assert rows_of("<06> 90", Machine.I386) == [(0, "pushl  %es"), (1, "nop")]


def test_a_cut_instruction_at_the_end_is_shown_as_bytes() -> None:
    assert rows_of("<0f> 0b 48 8b 1d 2b") == [(0, "ud2"), (2, ".byte  0x48, 0x8b, 0x1d, 0x2b")]


def test_an_unknown_word_costs_itself_alone() -> None:
    rows = rows_of("d503201f ffffffff (d4210000)", Machine.AARCH64)
    assert rows == [(0, "nop"), (4, ".word  0xffffffff"), (8, "brk    #0x800")]


@pytest.mark.parametrize(
    ("machine", "word", "shown"),
    [
        (Machine.MIPS32, "4d062129", ".word  0x4d062129"),  # msub.d, by objdump
        (Machine.MIPS64, "7cc8f001", ".word  0x7cc8f001"),  # dext a4,a2,0x0,0x3f
        (Machine.MIPS64, "7c423e02", ".word  0x7c423e02"),  # dext v0,v0,0x38,0x8
        (Machine.POWERPC64, "429f0005", ".word  0x429f0005"),  # bcl 20,4*cr7+so,.+4
        (Machine.POWERPC64, "4e800020", "blr"),
        (Machine.POWERPC64, "42400008", "bdz    8"),
    ],
)
def test_what_capstone_misreads_is_shown_as_a_word(machine: Machine, word: str, shown: str) -> None:
    assert rows_of(f"<{word}>", machine) == [(0, shown)]


def test_instructions_of_two_words_are_not_taken_for_two() -> None:
    """``pld r3,0x12345678(r4)`` of Power ISA 3.1 is 04001234 e4645678."""
    rows = rows_of("60000000 <04001234> e4645678 60000000", Machine.POWERPC64)
    assert [text for _, text in rows] == ["nop", ".word  0x04001234", ".word  0xe4645678", "nop"]


def test_the_condition_of_an_it_is_shown() -> None:
    # objdump -m arm -M force-thumb: it eq; moveq r0, #1; bx lr
    rows = rows_of("4603 4603 4603 bf08 (2001) 4770", Machine.THUMB)
    assert [" ".join(text.split()) for _, text in rows[-3:]] == ["it eq", "moveq r0, #1", "bx lr"]


@st.composite
def dumps(draw: Callable[..., object]) -> tuple[Machine, CodeBytes]:
    machine = draw(st.sampled_from(sorted(MACHINES, key=lambda machine: machine.value)))
    assert isinstance(machine, Machine)
    unit = next((target.unit for target in TARGETS if target.machine is machine), 1 if machine is Machine.I386 else 2)
    if machine is Machine.THUMB_M:
        unit = 2
    numbers = draw(st.integers(1, 64))
    assert isinstance(numbers, int)
    data = draw(st.binary(min_size=numbers * unit, max_size=numbers * unit))
    trap = draw(st.integers(0, numbers - 1))
    assert isinstance(data, bytes)
    assert isinstance(trap, int)
    return machine, CodeBytes(data, unit, trap * unit, ())


@given(dumps())
def test_a_listing_holds_every_byte_once_and_marks_the_trap_alone(dump: tuple[Machine, CodeBytes]) -> None:
    machine, code = dump
    rows = Disassembler(machine).rows(code)
    assert [row.start for row in rows] == [0, *(row.end for row in rows[:-1])]
    assert rows[-1].end == len(code.data)
    assert [row.start for row in rows if row.is_trap] == [code.trap]
    assert " ".join(code.printed(row.start, row.end) for row in rows) == code.printed(0, len(code.data))
