"""What the figures were measured on, and with what."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Other tools, and how each says its version.
PEERS = {
    "llvm-symbolizer-19": ("--version", "LLVM version"),
    "llvm-gsymutil-19": ("--version", "LLVM version"),
    "eu-addr2line": ("--version", "elfutils"),
    "addr2line": ("--version", "GNU addr2line"),
    "grep": ("--version", "GNU grep"),
    "cat": ("--version", "coreutils"),
}


def yardstick() -> str:
    """How fast this machine is, now."""
    start = time.perf_counter()
    for _ in range(10_000_000):
        pass
    seconds = time.perf_counter() - start
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"load {loads}; ten million turns of an empty loop: {seconds:.2f} s"


def description() -> Iterator[str]:
    """The machine and the other tools, a clause each; one that is missing is named."""
    yield f"{os.cpu_count()} processors, {platform.machine()}"
    yield f"Python {platform.python_version()}"
    for program, (option, sign) in PEERS.items():
        if shutil.which(program) is None:
            yield f"**{program} is missing: it is compared with nothing**"
            continue
        said = subprocess.run([program, option], capture_output=True, text=True, check=False).stdout
        line = next((line for line in said.splitlines() if sign in line), said.partition("\n")[0])
        yield f"{program}: {line.strip()}"
