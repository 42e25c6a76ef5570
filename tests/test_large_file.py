"""A vmlinux of more than 4 GiB: stored files with debug sections and tables moved behind the holes of a sparse file."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from elftools.elf.elffile import ELFFile

from annotate.errors import DamagedFileError
from annotate.kernel.images import open_image

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parent / "fixtures" / "matrix"
ROOT = Path(__file__).resolve().parent.parent

GIB = 1 << 30
#: The first section that is moved to one of these ends behind it: no number of 31 or 32 bits holds all of its offsets.
BOUNDARIES = (2 * GIB, 4 * GIB)
STRADDLE = 64
SECTION_HEADERS = 5 * GIB

#: What a reader may hold of the large file beyond what it holds of the small one: a fraction of the smallest hole.
MORE_KB = 32 * 1024

#: Prints every chain of a file and the most memory that the process held, mapped pages that were touched included.
SCRIPT = """
import json, sys
from annotate.kernel.images import open_image

image = open_image(sys.argv[1]).image
chains = []
for section in image._elf.sections:
    if section.is_code:
        for address in range(section.address, section.address + section.size):
            symbol = image.symbol_at(address)
            chain = image.chain(address, symbol) if symbol is not None else ()
            chains.append((symbol.name.decode() if symbol is not None else "", *(tuple(level) for level in chain)))
rows = [tuple(row) for row in image.rows()]
damage = [str(error) for error in image.damage]
try:
    with open("/proc/self/status") as status:
        peak = next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)
except OSError:
    peak = 0
print(json.dumps({"chains": chains, "rows": rows, "damage": damage, "peak": peak}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a file may have holes, and addresses are wide enough to map one of 5 GiB."""
    if sys.maxsize < 1 << 40:
        pytest.skip("this Python maps no file of 5 GiB")
    probe = tmp_path / "probe"
    with probe.open("wb") as file:
        file.truncate(64 << 20)
    if os.stat(probe).st_blocks * 512 > 1 << 20:
        pytest.skip("the file system has no sparse files")
    try:
        os.truncate(probe, 6 * GIB)
    except OSError as error:
        pytest.skip(f"the file system has no files of 6 GiB: {error.strerror}")
    probe.unlink()
    yield tmp_path
    for path in tmp_path.iterdir():
        path.unlink()  # what copies or archives the folder later may not know of holes


def make_large(source: Path, path: Path, first: int) -> list[tuple[int, int]]:
    """Write a copy of a linked file with its debug sections and tables spread over the boundaries, in turns.

    ``first`` says which boundary the first section goes to. Returns the places: (offset, size).
    """
    data = bytearray(source.read_bytes())
    order = "<" if data[5] == 1 else ">"
    header = struct.Struct(order + "16sHHIQQQIHHHHHH")
    row = struct.Struct(order + "IIQQQQIIQQ")
    fields = list(header.unpack_from(data))
    assert data[4] == 2
    assert fields[11] == row.size
    rows = [list(row.unpack_from(data, fields[6] + number * row.size)) for number in range(fields[12])]
    names = rows[fields[13]][4]
    free = [boundary - STRADDLE for boundary in BOUNDARIES]
    moved: list[tuple[int, int, bytes]] = []
    for each in rows:
        name = bytes(data[names + each[0] : data.index(0, names + each[0])]).decode()
        if not name.startswith(".debug_") and name not in (".symtab", ".strtab", ".shstrtab"):
            continue
        _, _, _, _, offset, size, *_ = each
        side = (len(moved) + first) % len(BOUNDARIES)
        place = free[side]
        free[side] += size + 4096
        moved.append((place, offset, bytes(data[offset : offset + size])))
        each[4] = place
    for _, offset, content in moved:
        data[offset : offset + len(content)] = bytes(len(content))
    fields[6] = SECTION_HEADERS
    header.pack_into(data, 0, *fields)
    with path.open("wb") as file:
        file.write(data)
        for place, _, content in moved:
            file.seek(place)
            file.write(content)
        file.seek(SECTION_HEADERS)
        file.write(b"".join(row.pack(*each) for each in rows))
    return [(place, len(content)) for place, _, content in moved]


def read_in_a_process(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("first", range(len(BOUNDARIES)))
@pytest.mark.parametrize("name", ["clang-x86_64.elf", "gcc-native.elf", "gcc-s390x.elf"])
def test_sections_behind_two_and_four_gib_give_the_same_chains_and_the_holes_are_not_read(
    name: str, first: int, folder: Path
) -> None:
    source, path = FIXTURES / name, folder / "vmlinux"
    places = make_large(source, path, first)
    assert path.stat().st_size > SECTION_HEADERS
    assert path.stat().st_blocks * 512 < 1 << 20
    for boundary in BOUNDARIES:
        assert any(place < boundary < place + size for place, size in places)
        assert any(boundary < place < boundary + GIB for place, _ in places)
    with source.open("rb") as small, path.open("rb") as large:
        # Another reader finds in it what was in the small file: the file is as it should be.
        for ours, theirs in zip(ELFFile(small).iter_sections(), ELFFile(large).iter_sections(), strict=True):
            assert (ours.name, ours.data()) == (theirs.name, theirs.data())
    expected, found = read_in_a_process(source), read_in_a_process(path)
    assert found["damage"] == expected["damage"] == []
    assert found["rows"] == expected["rows"]
    assert found["chains"] == expected["chains"]
    assert sum(len(chain) > 2 for chain in found["chains"]) > 50
    assert found["peak"] <= expected["peak"] + MORE_KB


def test_a_large_file_that_is_cut_is_said_to_be(folder: Path) -> None:
    path = folder / "vmlinux"
    make_large(FIXTURES / "clang-x86_64.elf", path, 0)
    os.truncate(path, SECTION_HEADERS)
    with pytest.raises(DamagedFileError, match=r"vmlinux: damaged at offset 0x140000000: .*truncated"):
        open_image(str(path))
