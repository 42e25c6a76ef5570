"""Compressed sections, compressed files and split debug info give the answers of the plain file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import shutil
import struct
import subprocess
import zlib
from typing import TYPE_CHECKING

import pytest
from elf_writer import ElfSpec, SectionSpec, write_elf
from fake_world import build_kernel, build_module

from annotate.debuginfo.compression import (
    CompressedSection,
    decompress_file,
    decompress_section,
    decompressed,
)
from annotate.debuginfo.elf import SHF_COMPRESSED, ElfFile
from annotate.errors import DamagedFileError, NoDebugInfoError, UnsupportedFileError
from annotate.kernel.images import open_image
from annotate.limits import MAX_DECOMPRESSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from annotate.model import Location

CONTENTS = b"contents of a section, " * 100


def build(kind: str, path: Path) -> Path:
    return build_kernel(path, "-g") if kind == "kernel" else build_module(path)


def answers(path: Path) -> dict[tuple[bytes, int], tuple[Location, ...]]:
    """The chain at every fourth byte of every function of a file."""
    image = open_image(str(path)).image
    found = {}
    for name in (b"first", b"second", b"start", b"crash_now", b"crash_later"):
        for symbol in image.find(name):
            for offset in range(0, symbol.size, 4):
                found[name, offset] = image.chain(type(symbol.address)(symbol.address + offset), symbol)
    return found


def objcopy(*arguments: str | Path, program: str = "objcopy") -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    subprocess.run([program, *arguments], check=True, timeout=60)


@pytest.mark.parametrize("method", ["zlib", "zlib-gnu", "zstd"])
@pytest.mark.parametrize("kind", ["kernel", "module"])
def test_compressed_debug_sections_give_the_same_answers(kind: str, method: str, tmp_path: Path) -> None:
    plain = build(kind, tmp_path / "plain.ko")
    packed = tmp_path / "packed.ko"
    program = "objcopy" if method == "zlib-gnu" else "llvm-objcopy-19"
    objcopy(f"--compress-debug-sections={method}", plain, packed, program=program)
    elf = ElfFile(packed.read_bytes(), "packed")
    if method == "zlib-gnu":
        assert elf.section(".zdebug_info") is not None
    else:
        info = elf.section(".debug_info")
        assert info is not None
        assert info.flags & SHF_COMPRESSED
    expected = answers(plain)
    assert any(expected.values())
    assert answers(packed) == expected


@pytest.mark.parametrize("ending", ["gz", "xz", "zst"])
def test_a_compressed_module_gives_the_same_answers(ending: str, tmp_path: Path) -> None:
    plain = build_module(tmp_path / "crasher.ko")
    data = plain.read_bytes()
    packed = tmp_path / f"crasher.ko.{ending}"
    if ending == "zst":
        zstd = pytest.importorskip("backports.zstd", reason="no zstd in this Python")
        packed.write_bytes(zstd.compress(data))
    else:
        packed.write_bytes(gzip.compress(data) if ending == "gz" else lzma.compress(data))
    expected = answers(plain)
    assert any(expected.values())
    assert answers(packed) == expected


def test_split_debug_info_is_found_by_its_link(tmp_path: Path) -> None:
    whole = build_kernel(tmp_path / "whole", "-g")
    expected = answers(whole)
    stripped, debug = tmp_path / "vmlinux", tmp_path / "vmlinux.debug"
    objcopy("--only-keep-debug", whole, debug)
    objcopy("--strip-debug", whole, stripped)
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", stripped], check=True, cwd=tmp_path, timeout=60)
    assert any(expected.values())
    assert answers(stripped) == expected
    (tmp_path / ".debug").mkdir()
    debug.rename(tmp_path / ".debug" / debug.name)
    assert answers(stripped) == expected


def test_split_debug_info_without_symbols_takes_those_of_the_file_that_links_to_it(tmp_path: Path) -> None:
    whole = build_kernel(tmp_path / "whole", "-g")
    expected = answers(whole)
    stripped, debug = tmp_path / "vmlinux", tmp_path / "vmlinux.debug"
    objcopy("--only-keep-debug", whole, debug)
    objcopy("--remove-section=.symtab", "--remove-section=.strtab", debug, program="llvm-objcopy-19")
    objcopy("--strip-debug", whole, stripped)
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", stripped], check=True, cwd=tmp_path, timeout=60)
    assert any(expected.values())
    assert answers(stripped) == expected


def test_split_debug_info_of_another_build_is_not_taken(tmp_path: Path) -> None:
    whole = build_kernel(tmp_path / "whole", "-g", "-Wl,--build-id=none")
    stripped, debug = tmp_path / "vmlinux", tmp_path / "vmlinux.debug"
    objcopy("--only-keep-debug", whole, debug)
    objcopy("--strip-debug", whole, stripped)
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", stripped], check=True, cwd=tmp_path, timeout=60)
    debug.write_bytes(debug.read_bytes() + b"\0")
    with pytest.raises(NoDebugInfoError):
        open_image(str(stripped))


def section(data: bytes, *, is_old: bool = False) -> CompressedSection:
    return CompressedSection("file", ".debug_info", data, "<", 64, is_old)


def header(method: int, size: int) -> bytes:
    return struct.pack("<IIQQ", method, 0, size, 1)


def test_both_forms_of_zlib_sections_are_read() -> None:
    packed = zlib.compress(CONTENTS)
    assert decompress_section(section(header(1, len(CONTENTS)) + packed)) == CONTENTS
    old = b"ZLIB" + struct.pack(">Q", len(CONTENTS)) + packed
    assert decompress_section(section(old, is_old=True)) == CONTENTS


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_compression_header_of_any_class_and_byte_order_is_read(bits: int, byte_order: str) -> None:
    """Elf32_Chdr has no reserved word between type and size (gABI, "Section Compression")."""
    fields = (1, len(CONTENTS), 8) if bits == 32 else (1, 0, len(CONTENTS), 8)
    data = struct.pack(byte_order + ("III" if bits == 32 else "IIQQ"), *fields) + zlib.compress(CONTENTS)
    spec = ElfSpec([SectionSpec(".debug_str", data, flags=SHF_COMPRESSED)], bits=bits, byte_order=byte_order)
    elf = ElfFile(write_elf(spec), "file")
    (found,) = [each for each in elf.sections if each.name == ".debug_str"]
    assert elf.read(found) == CONTENTS
    assert elf.size_of(found) == len(CONTENTS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header(1, len(CONTENTS) + 1) + zlib.compress(CONTENTS), "2301 bytes when decompressed"),
        (header(1, len(CONTENTS) - 1) + zlib.compress(CONTENTS), "2299 bytes when decompressed"),
        (header(1, len(CONTENTS)) + zlib.compress(CONTENTS)[:40], "when decompressed"),
        (header(1, len(CONTENTS)) + b"\xff" * 40, "compressed contents"),
        (header(1, 1 << 40) + zlib.compress(CONTENTS), "at most"),
        (header(2, MAX_DECOMPRESSED + 1) + b"(\xb5/\xfd", "at most"),
        (b"\1\0\0", "a compression header of 24 bytes"),
    ],
)
def test_a_damaged_compressed_section_is_named(data: bytes, message: str) -> None:
    with pytest.raises(DamagedFileError, match=rf"file: damaged at \.debug_info.*{message}"):
        decompress_section(section(data))


def test_an_old_form_without_its_mark_is_damage() -> None:
    with pytest.raises(DamagedFileError, match="'ZLIB' and a size"):
        decompress_section(section(b"ZLIX" + bytes(20), is_old=True))


def test_a_method_that_is_not_known_is_named() -> None:
    with pytest.raises(UnsupportedFileError, match=r"\.debug_info is compressed with method 9"):
        decompress_section(section(header(9, 10) + b"x"))


def test_damage_shows_when_the_file_is_opened() -> None:
    data = write_elf(ElfSpec([SectionSpec(".debug_line", header(1, 5) + b"junk", flags=SHF_COMPRESSED)]))
    elf = ElfFile(data, "vmlinux")
    line = elf.section(".debug_line")
    assert line is not None
    with pytest.raises(DamagedFileError, match=r"vmlinux: damaged at \.debug_line"):
        elf.read(line)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_compressed_file_that_ends_early_is_damage(pack: object) -> None:
    assert callable(pack)
    packed = pack(CONTENTS)
    assert decompress_file(packed, "file") == CONTENTS
    with pytest.raises(DamagedFileError, match="file"):
        decompress_file(packed[:-20], "file")


def test_a_file_that_is_not_compressed_is_left_as_it_is() -> None:
    assert decompress_file(b"\x7fELF...", "file") == b"\x7fELF..."


# --- streams ------------------------------------------------------------------------------------------------------


def zstd_compress(data: bytes) -> bytes:
    zstd = pytest.importorskip("backports.zstd", reason="no zstd in this Python")
    packed: bytes = zstd.compress(data)
    return packed


STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstd_compress,
    "bz2": bz2.compress,
    "plain": bytes,
}


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("size", [7, 4096, 1 << 22])
def test_a_stream_is_decompressed_in_pieces_of_bounded_size(kind: str, size: int) -> None:
    data = random.Random(1).randbytes(20_000) + bytes(3 << 20)
    packed = STREAMS[kind](data)
    if kind == "plain" and size == 7:
        packed = data = data[:20_000]
    pieces = list(decompressed(cut(packed, size), "x"))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= max(1 << 20, size)


@pytest.mark.parametrize("kind", [kind for kind in STREAMS if kind != "plain"])
@pytest.mark.parametrize("size", [7, 1 << 10, 1 << 22])
def test_one_stream_may_follow_another_and_nothing_else_may(kind: str, size: int) -> None:
    packed = STREAMS[kind](b"first" * 1000)
    two = packed + bytes(8) + STREAMS[kind](b"second")
    assert b"".join(decompressed(cut(two, size), "x")) == b"first" * 1000 + b"second"
    with pytest.raises(DamagedFileError, match="something else behind it"):
        list(decompressed(cut(packed + b"more of it", size), "x"))
    with pytest.raises(DamagedFileError, match="the end of the compressed data"):
        list(decompressed(cut(packed[:-1], size), "x"))


def test_an_empty_stream_is_empty() -> None:
    assert list(decompressed(iter(()), "x")) == []
