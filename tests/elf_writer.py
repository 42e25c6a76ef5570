"""ELF files for the tests: written in memory from named tuples, or built by gcc where there is one.

Nothing here is shared with the reader under test: sizes and orders come from the gABI, and ``test_elf.py`` holds what
is written against pyelftools.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

REL, EXEC, DYN = 1, 2, 3
X86_64, I386, AARCH64, S390, POWERPC = 62, 3, 183, 22, 20
PROGBITS, SYMTAB, STRTAB, RELA, NOTE, NOBITS, SHT_REL = 1, 2, 3, 4, 7, 8, 9
WRITE, ALLOC, EXECINSTR = 1, 2, 4
NOTYPE, OBJECT, FUNC, SECTION, FILE, TLS = 0, 1, 2, 3, 4, 6
LOCAL, GLOBAL, WEAK = 0, 1, 2
ABSOLUTE, COMMON = 0xFFF1, 0xFFF2


class SectionSpec(NamedTuple):
    """One section; ``size`` is only given where it is not the length of ``data`` (NOBITS, or a lie)."""

    name: str
    data: bytes = b""
    type: int = PROGBITS
    flags: int = 0
    address: int = 0
    alignment: int = 1
    size: int | None = None
    link: int = 0
    info: int = 0
    entry_size: int = 0


class SymbolSpec(NamedTuple):
    """One symbol; ``section`` is the name of a section or a number such as ABSOLUTE."""

    name: str
    value: int = 0
    section: str | int = ".text"
    type: int = FUNC
    size: int = 0
    binding: int = GLOBAL


class RelocationSpec(NamedTuple):
    """One relocation; ``symbol`` is the index in the symbol table (1 is the first symbol given)."""

    offset: int
    type: int
    symbol: int
    addend: int = 0


class ElfSpec(NamedTuple):
    """A whole file. Section numbers follow ``sections`` from 1 on; the tables come behind them."""

    sections: Sequence[SectionSpec] = ()
    symbols: Sequence[SymbolSpec] | None = None
    relocations: Mapping[str, Sequence[RelocationSpec]] = {}
    bits: int = 64
    byte_order: str = "<"
    type: int = EXEC
    machine: int = X86_64
    relocation_type: int = RELA
    merge_tails: bool = False


def string_table(names: Iterable[str], *, merge_tails: bool = False) -> tuple[bytes, dict[str, int]]:
    """A string table and where each name begins; with ``merge_tails`` one may begin inside another, as linkers do."""
    table = b"\0"
    places = {"": 0}
    for name in sorted(set(names), key=lambda text: -len(text)) if merge_tails else names:
        if name in places:
            continue
        encoded = name.encode() + b"\0"
        found = table.find(encoded) if merge_tails else -1
        if found < 0:
            found = len(table)
            table += encoded
        places[name] = found
    return table, places


def _symbol_bytes(spec: ElfSpec, places: Mapping[str, int], symbol: SymbolSpec) -> bytes:
    numbers = {section.name: index for index, section in enumerate(spec.sections, 1)}
    number = symbol.section if isinstance(symbol.section, int) else numbers[symbol.section]
    info = symbol.binding << 4 | symbol.type
    if spec.bits == 64:
        return struct.pack(spec.byte_order + "IBBHQQ", places[symbol.name], info, 0, number, symbol.value, symbol.size)
    return struct.pack(spec.byte_order + "IIIBBH", places[symbol.name], symbol.value, symbol.size, info, 0, number)


def _relocation_bytes(spec: ElfSpec, relocation: RelocationSpec) -> bytes:
    with_addend = spec.relocation_type == RELA
    if spec.bits == 64:
        info = relocation.symbol << 32 | relocation.type
        layout, addend = ("QQq", (relocation.addend,)) if with_addend else ("QQ", ())
    else:
        info = relocation.symbol << 8 | relocation.type
        layout, addend = ("IIi", (relocation.addend,)) if with_addend else ("II", ())
    return struct.pack(spec.byte_order + layout, relocation.offset, info, *addend)


def write_elf(spec: ElfSpec) -> bytes:
    """The bytes of a file: header, contents, section headers at the end."""
    sections = list(spec.sections)
    numbers = {section.name: index for index, section in enumerate(sections, 1)}
    word = 8 if spec.bits == 64 else 4
    symtab_number = len(sections) + 1 + len(spec.relocations)
    for target, relocations in spec.relocations.items():
        data = b"".join(_relocation_bytes(spec, relocation) for relocation in relocations)
        entry_size = len(_relocation_bytes(spec, RelocationSpec(0, 0, 0)))
        prefix = ".rela" if spec.relocation_type == RELA else ".rel"
        sections.append(
            SectionSpec(
                prefix + target,
                data,
                spec.relocation_type,
                alignment=word,
                link=symtab_number,
                info=numbers[target],
                entry_size=entry_size,
            )
        )
    if spec.symbols is not None:
        strings, places = string_table((symbol.name for symbol in spec.symbols), merge_tails=spec.merge_tails)
        entry_size = 24 if spec.bits == 64 else 16
        rows = bytes(entry_size) + b"".join(_symbol_bytes(spec, places, symbol) for symbol in spec.symbols)
        locals_ = 1 + sum(symbol.binding == LOCAL for symbol in spec.symbols)
        sections.append(
            SectionSpec(
                ".symtab", rows, SYMTAB, alignment=word, link=len(sections) + 2, info=locals_, entry_size=entry_size
            )
        )
        sections.append(SectionSpec(".strtab", strings, STRTAB))
    names, name_places = string_table([section.name for section in sections] + [".shstrtab"])
    sections.append(SectionSpec(".shstrtab", names, STRTAB))

    header_size, row_size = (64, 64) if spec.bits == 64 else (52, 40)
    body = b""
    rows = bytes(row_size)
    layout = spec.byte_order + ("IIQQQQIIQQ" if spec.bits == 64 else "IIIIIIIIII")
    for section in sections:
        body += bytes(-(header_size + len(body)) % max(section.alignment, 1))
        size = len(section.data) if section.size is None else section.size
        rows += struct.pack(
            layout,
            name_places[section.name],
            section.type,
            section.flags,
            section.address,
            header_size + len(body),
            size,
            section.link,
            section.info,
            section.alignment,
            section.entry_size,
        )
        body += section.data
    body += bytes(-(header_size + len(body)) % word)
    ident = b"\x7fELF" + bytes((2 if spec.bits == 64 else 1, 1 if spec.byte_order == "<" else 2, 1)) + bytes(9)
    header = ident + struct.pack(
        spec.byte_order + ("HHIQQQIHHHHHH" if spec.bits == 64 else "HHIIIIIHHHHHH"),
        spec.type,
        spec.machine,
        1,
        0,
        0,
        header_size + len(body),
        0,
        header_size,
        0,
        0,
        row_size,
        len(sections) + 1,
        len(sections),
    )
    return header + body + rows


def note(name: bytes, kind: int, payload: bytes, *, byte_order: str = "<", alignment: int = 4) -> bytes:
    """One note (gABI, "Note Section")."""
    head = struct.pack(byte_order + "III", len(name) + 1, len(payload), kind) + name + b"\0"
    head += bytes(-len(head) % alignment)
    return head + payload + bytes(-len(payload) % alignment)


def tool(name: str) -> str:
    """The path of a program of the machine; the test skips, saying so, where there is none."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(reason=f"{name} is not installed")
    return path


def run_tool(name: str, *arguments: str | Path, text: str = "", folder: Path | None = None) -> str:
    """Run a program, which must succeed, and return what it printed."""
    done = subprocess.run(
        [tool(name), *map(str, arguments)], input=text, capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, f"{name} {arguments}: {done.stderr}"
    return done.stdout


def compile_c(folder: Path, sources: Mapping[str, str], *options: str, output: str) -> Path:
    """Write ``sources`` into ``folder`` and build the .c files among them with gcc, from there; return the result."""
    for name, text in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    units = [name for name in sources if name.endswith((".c", ".s"))]
    run_tool("gcc", *options, "-o", output, *units, folder=folder)
    return folder / output
