from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.log.message import LineKind, find_message, kind_of

PREFIXED = [
    (b"[   24.680000] ", b""),
    (b"[ 1528.977945][ T1040] ", b"T1040"),
    (b"[    4.667556] [    T905] ", b"T905"),
    (b"[Fri Dec 22 12:26:24 2023] ", b""),
    (b"[  +0.000000] ", b""),
    (b"2023-12-22T12:26:24,559615-08:00 ", b""),
    (b"[17159596.699613 <    0.000000>] ", b""),
    (b"kern  :warn  : [    1.000000] ", b""),
    (b"<4>[    1.688869] ", b""),
    (b"Nov 19 12:34:38 host kernel: ", b""),
    (b"Nov 19 12:34:38 host kernel[1]: [   24.680001] ", b""),
    (b"2024-02-10T01:10:25.123456  [   24.680001] ", b""),
    (b"\t[   24.680001] ", b""),
    (b"* [   24.680001] ", b""),
    (b"   1397 [   24.680001] ", b""),
    (b"dmesg.txt:1397:[   24.680001] ", b""),
    (b"qemu: [   24.680001][   T12] ", b"T12"),
    (b"(XEN) [   24.680001] ", b""),
    (b"Jun 20 14:37:37 xz-x1 kernel: [   10.000000] ", b""),
    (b"4,1010,511831616,-;", b""),
    (b"6,339,5140900,-,caller=T12;", b"T12"),
    (b"> > > [   36.600000][    C3] ", b"C3"),
    (b"** 4418 printk messages dropped ** [   96.040000] ", b""),
    (b"host login: [   10.600000] ", b""),
    (b"", b""),
]

MESSAGES = [
    (b"BUG: kernel NULL pointer dereference, address: 0000000000000000", LineKind.TITLE),
    (b"WARNING: CPU: 0 PID: 7 at mm/vmalloc.c:2873 __vmalloc_node_range+0x769/0x970", LineKind.TITLE),
    (b"INFO: task init:1 blocked for more than 143 seconds.", LineKind.TITLE),
    (b"rcu: INFO: rcu_preempt self-detected stall on CPU", LineKind.TITLE),
    (b"Kernel panic - not syncing: Fatal exception", LineKind.TITLE),
    (b"watchdog: BUG: soft lockup - CPU#0 stuck for 5s! [sh:715]", LineKind.TITLE),
    (b"watchdog: CPU5: Watchdog detected hard LOCKUP on cpu 5", LineKind.TITLE),
    (b"NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", LineKind.TITLE),
    (b"NMI watchdog: Perf NMI watchdog permanently disabled", LineKind.OTHER),
    (b"watchdog: Delayed init of the lockup detector failed: -19", LineKind.OTHER),
    (b"Data abort info:", LineKind.REGISTERS),
    (b"Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000", LineKind.TITLE),
    (b"CPU 0 Unable to handle kernel paging request at virtual address 00000044, epc == 8576591c", LineKind.TITLE),
    (b"Oops[#1]:", LineKind.TITLE),
    (b"swapper/4(0): Oops [#1]", LineKind.TITLE),
    (b"kworker/1:0: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP)", LineKind.TITLE),
    (b"usercopy: Kernel memory overwrite attempt detected to SLUB object 'x' (offset 0, size 8)!", LineKind.TITLE),
    (b"Call Trace:", LineKind.TRACE),
    (b"Call trace:", LineKind.TRACE),
    (b"Allocated by task 12:", LineKind.TRACE),
    (b" <TASK>", LineKind.MARKER),
    (b" </IRQ>", LineKind.MARKER),
    (b"------------[ cut here ]------------", LineKind.MARKER),
    (b"---[ end trace 0000000000000000 ]---", LineKind.MARKER),
    (b"RAX: 0000000000000001 RBX: 0000000000000100 RCX: 0000000000000100", LineKind.REGISTERS),
    (b"FS:  0000000000000000(0000) GS:ff13f1ee1ef00000(0000) knlGS:0000000000000000", LineKind.REGISTERS),
    (b"PKRU: 55555554", LineKind.REGISTERS),
    (b"x29: ffff80000b3abd10 x28: ffff0000c0b10000 x27: 0000000000000000", LineKind.REGISTERS),
    (b"Code: 8b 35 c4 00 63 3f <48> c7 c7", LineKind.CODE),
    (b"Modules linked in: oopser(OE) tun nf_tables", LineKind.MODULES),
    (b"CPU: 1 PID: 798 Comm: exe Tainted: G           OE      6.1.0-56-cloud-amd64 #1", LineKind.CONTEXT),
    (b" vfs_write+0x1c6/0xff0", LineKind.OTHER),
    (b"x86: Booting SMP configuration:", LineKind.OTHER),
    (b"last_pfn = 0x1ffd3 max_arch_pfn = 0x10000000000", LineKind.OTHER),
    (b"", LineKind.OTHER),
]


@pytest.mark.parametrize(("prefix", "caller"), PREFIXED)
@pytest.mark.parametrize("message", [message for message, _ in MESSAGES])
def test_a_message_begins_behind_every_prefix(prefix: bytes, caller: bytes, message: bytes) -> None:
    found = find_message(prefix + message)
    # a prefix may take in one blank of what follows it, never more
    assert (prefix + message)[found.start :].strip() == message.strip()
    assert found.caller == caller


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b'         "msg": "', b'"'),  # dmesg -J
        (b'   "msg": "[    1.000000][  T12] ', b'"\r'),
        (b'\t"MESSAGE" : "', b'",'),  # journalctl -o json-pretty
        (b'         "msg": "', b""),  # cut off
    ],
)
@pytest.mark.parametrize("message", [message for message, _ in MESSAGES])
def test_a_message_that_json_holds_ends_in_front_of_its_quote(before: bytes, behind: bytes, message: bytes) -> None:
    body = before + message + behind
    found = find_message(body)
    assert body[found.start : found.end].strip() == message.strip()
    assert found.caller == (b"T12" if b"T12" in before else b"")


@pytest.mark.parametrize(("message", "kind"), MESSAGES)
def test_kinds(message: bytes, kind: LineKind) -> None:
    assert kind_of(message) is kind


@given(st.binary(max_size=200))
def test_any_bytes_have_a_message(body: bytes) -> None:
    found = find_message(body)
    assert 0 <= found.start <= found.end <= len(body)
    kind_of(body)
