"""Debug info that is spread over files or sections: dwz, and line programs that no unit names."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from annotate.kernel.images import open_image

if TYPE_CHECKING:
    from pathlib import Path

HEADER = """
struct many { int a, b, c, d, e, f, g, h; char name[100]; struct many *next; };
static inline __attribute__((always_inline)) int shared_helper(int x) { volatile int y = x; return y + 1; }
"""
SOURCE = """
#include "shared.h"
int %(name)s(int x) { struct many m = {x}; return shared_helper(m.a) * 3; }
void _start(void) { %(name)s(1); for (;;); }
"""
ASSEMBLY = """
        .text
        .globl bare
        .type bare, @function
        .file 1 "arch/x86/lib/bare.S"
bare:
        .loc 1 10
        nop
        .loc 1 11
        ret
        .size bare, .-bare
        .section .note.GNU-stack,"",@progbits
"""


def run(*command: str, cwd: Path) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, cwd=cwd, check=True, timeout=60, capture_output=True, text=True).stdout


def lines_of(path: Path, name: str) -> dict[int, list[tuple[str, int, str]]]:
    """The chain at every byte of a function."""
    image = open_image(str(path)).image
    (symbol,) = image.find(name.encode())
    return {
        offset: [
            (place.file, place.line, place.function)
            for place in image.chain(type(symbol.address)(symbol.address + offset), symbol)
        ]
        for offset in range(symbol.st_size)
    }


@pytest.mark.parametrize("version", ["4", "5"])
def test_names_that_dwz_moved_to_another_file_are_found_there(version: str, tmp_path: Path) -> None:
    (tmp_path / "shared.h").write_text(HEADER)
    flags = ("-O2", f"-gdwarf-{version}", "-nostdlib", "-static", "-fno-stack-protector")
    for name in ("first", "second"):
        (tmp_path / f"{name}.c").write_text(SOURCE % {"name": name})
        run("gcc", *flags, f"{name}.c", "-o", name, cwd=tmp_path)
    before = {name: lines_of(tmp_path / name, name) for name in ("first", "second")}
    assert {place[2] for place in before["first"][8]} >= {"first"}
    assert any(place[2] == "shared_helper" for chain in before["first"].values() for place in chain)
    run("dwz", "-m", "common.debug", "first", "second", cwd=tmp_path)
    assert ".gnu_debugaltlink" in run("readelf", "-SW", "first", cwd=tmp_path)
    assert (tmp_path / "common.debug").exists()
    assert {name: lines_of(tmp_path / name, name) for name in ("first", "second")} == before


def test_assembly_with_lines_and_no_debug_info_entries_has_its_lines(tmp_path: Path) -> None:
    (tmp_path / "shared.h").write_text(HEADER)
    (tmp_path / "first.c").write_text(SOURCE % {"name": "first"})
    (tmp_path / "bare.s").write_text(ASSEMBLY)
    run("as", "bare.s", "-o", "bare.o", cwd=tmp_path)
    # Newer assemblers describe the function in .debug_info on their own.
    parts = ("info", "aranges", "abbrev")
    unwanted = [f"--remove-section={kind}.debug_{part}" for kind in ("", ".rela") for part in parts]
    run("objcopy", *unwanted, "bare.o", cwd=tmp_path)
    assert ".debug_info" not in run("readelf", "-SW", "bare.o", cwd=tmp_path)
    run("gcc", "-O2", "-g", "-c", "-fno-stack-protector", "first.c", "-o", "first.o", cwd=tmp_path)
    run("ld", "bare.o", "first.o", "-o", "linked", cwd=tmp_path)
    places = lines_of(tmp_path / "linked", "bare")
    assert places == {0: [("arch/x86/lib/bare.S", 10, "")], 1: [("arch/x86/lib/bare.S", 11, "")]}
    rows = run("readelf", "--debug-dump=decodedline", "linked", cwd=tmp_path).splitlines()
    address = open_image(str(tmp_path / "linked")).image.find(b"bare")[0].address
    assert any(row.split()[:3] == ["bare.S", "10", hex(address)] for row in rows)
    assert any(
        place[2] == "shared_helper" for chain in lines_of(tmp_path / "linked", "first").values() for place in chain
    )
