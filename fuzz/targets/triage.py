"""Any text has the same crashes however it is cut, each in a line of it, and they are printable, also as JSON."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Final

from fake_world import world_of

from annotate.annotator import Annotator, LogFacts
from annotate.cli.triage import read_plumbing
from annotate.maintainers import read_maintainers
from annotate.render import make_renderer
from annotate.render.renderer import RenderOptions
from annotate.render.triage import triage_text
from annotate.summary import Summary
from annotate.triage.triager import Triager
from fuzz.targets import FIXTURES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from annotate.model import Crash

WORDS: Final = (
    b"BUG: KASAN: use-after-free in ", b"BUG: unable to handle page fault for address: ", b"kernel BUG at fs/a.c:1!\n",
    b"WARNING: CPU: 0 PID: 1 at ", b"INFO: task a:1 blocked for more than 143 seconds.\n", b"CPU: 1 PID: 2 Comm: a\n",
    b"Call Trace:\n", b" <TASK>\n", b" </TASK>\n", b"RIP: 0010:", b"---[ end trace 0123456789abcdef ]---\n",
    b"------------[ cut here ]------------\n", b"[    1.000000][    T1] ", b"[    1.000000][   C3] ", b" [inline]",
    b" fs/a.c:12", b"Allocated by task 1:\n", b"Freed by task 1:\n", b"? ", b"vfs_write+0x1c6/0xff0", b" [ext4]",
    b"unregister_netdevice: waiting for lo to become free", b"which lock already depends on the new lock.\n",
    b"rcu: INFO: rcu_preempt self-detected stall on CPU\n", b"refcount_t: underflow; use-after-free.\n", b"\r\n",
    b"watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:1]\n", b"Kernel panic - not syncing: ", b"(fs/a.c:1)",
)  # fmt: skip

_PLUMBING: Final = read_plumbing(())
_MAINTAINERS: Final = read_maintainers((FIXTURES / "triage" / "MAINTAINERS").read_bytes(), "MAINTAINERS")
_LOG: Final = "a.log"
_SIGNATURE: Final = re.compile(r"(?:[0-9a-f]{16})?")


def check(data: bytes) -> None:
    """The first two bytes decide where the rest is cut."""
    log = data[2:]
    crashes = triage([log], log)
    assert triage(_cut(log, random.Random(data[:2])), log) == crashes, "the cuts make a difference"
    lines = log.count(b"\n") + 1
    for crash in crashes:
        assert 1 <= crash.line <= lines, f"line {crash.line} of {lines}"
        assert crash.title, "no title"
        assert crash.why, "no reason"
        assert _SIGNATURE.fullmatch(crash.signature), crash.signature
    text = triage_text(crashes).decode()
    assert text.replace("\n", "").isprintable(), "it is not printable"
    assert len(text.splitlines()) == text.count("\n"), "a line end of another kind"
    summary = Summary()
    summary.crashes = crashes
    (line,) = make_renderer("jsonl", RenderOptions()).finish(summary).splitlines()
    told = json.loads(line)["summary"]["triage"]
    assert [each["title"] for each in told] == [crash.title for crash in crashes]


def triage(chunks: Iterable[bytes], log: bytes) -> tuple[Crash, ...]:
    """The crashes as the front door finds them, with a world that knows half of the frames."""
    annotator = Annotator(world_of(log), LogFacts())
    triager = Triager(_PLUMBING)
    for chunk in chunks:
        for piece in annotator.feed(chunk):
            triager.take(_LOG, piece)
    for piece in annotator.flush():
        triager.take(_LOG, piece)
    return triager.crashes(_MAINTAINERS)


def _cut(log: bytes, generator: random.Random) -> Iterator[bytes]:
    longest = generator.choice((8, 60, 500))
    position = 0
    while position < len(log):
        size = generator.randrange(1, longest + 1)
        yield log[position : position + size]
        position += size


def seeds() -> Iterator[bytes]:
    """The reports that the picker is tested with."""
    for path in sorted((ROOT / "tests" / "triage").glob("*.log")):
        yield b"\1\2" + path.read_bytes()[:4000]
