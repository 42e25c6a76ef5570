"""Any bytes as an ELF file are an error of ours or a file that answers, with symbols where they say they are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from elf_writer import ALLOC, EXECINSTR, ElfSpec, SectionSpec, SymbolSpec, write_elf
from random_dwarf import random_program

from annotate.debuginfo.compression import decompress_file
from annotate.errors import AnnotateError
from fuzz.asking import ask_file
from fuzz.targets import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS: Final = (
    b"\x7fELF", b".debug_info", b".debug_line", b".debug_abbrev", b".debug_str", b".text", b".symtab", b".zdebug_info",
    b".opd", b".modinfo", b".gnu_debuglink", b".gnu_debugaltlink", b".mod_lineinfo", b".init.mod_lineinfo", b"GNU\0",
    b"Linux version 6.1.0 ", b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"ZLIB\0\0\0\0",
)  # fmt: skip

#: Bytes of the largest seed: more make each execution slow.
_LARGEST: Final = 12_000


def check(data: bytes) -> None:
    """Compressed files are decompressed first, as those of modules are."""
    with contextlib.suppress(AnnotateError):
        ask_file(decompress_file(data, "fuzzed"))


def seeds() -> Iterator[bytes]:
    """What compilers of many machines made, and what none makes."""
    for path in sorted((FIXTURES / "matrix").iterdir()):
        if path.suffix in (".elf", ".ko") and path.stat().st_size <= _LARGEST:
            yield path.read_bytes()
    code = SectionSpec(".text", bytes(64), flags=ALLOC | EXECINSTR, address=0x1000)
    symbols = [SymbolSpec("first", 0x1000, size=16), SymbolSpec("second", 0x1010)]
    for order in "<>":
        for bits in (32, 64):
            yield write_elf(ElfSpec([code], symbols, bits=bits, byte_order=order))
    for seed in range(4):
        yield random_program(seed)
