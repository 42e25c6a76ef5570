"""Images over the tables that kernels and modules carry: what is answered, and what is known to be wrong and is not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from elf_writer import (
    ABSOLUTE,
    ALLOC,
    DYN,
    EXECINSTR,
    LOCAL,
    NOBITS,
    NOTYPE,
    REL,
    SECTION,
    ElfSpec,
    RelocationSpec,
    SectionSpec,
    SymbolSpec,
    write_elf,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.embedded import EmbeddedImage
from annotate.errors import AnnotateError, DamagedFileError, NoDebugInfoError, UnsupportedFileError
from annotate.model import LinkAddr, Location

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BASE = 0xFFFFFFFF81000000
TEXT_SIZE = 0x1000

#: A stream of v3: a.c:10 at 0, b.h:3 at 0x40, a.c:11 at 0x48, nothing at 0x100, a.c:50 at 0x200, and a row behind
#: _etext.
STREAM = bytes.fromhex("00 0a 40 01 79 08 7f 08 b8 01 02 00 80 02 7e 27 80 20 00 01")
NAMES = b"./fs/x/../a.c\0include/b.h\0"


def words(*values: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(values)}I", *values)


class Kernel:
    """A vmlinux with a table, each part of which can be replaced."""

    def __init__(self, order: str = "<", bits: int = 64) -> None:
        self.order = order
        self.bits = bits
        self.base = BASE if bits == 64 else 0xC0008000
        self.parts = {
            "num_entries": words(6, order=order),
            "num_files": words(2, order=order),
            "num_blocks": words(1, order=order),
            "block_addrs": words(0, order=order),
            "block_offsets": words(0, order=order),
            "data_size": words(len(STREAM), order=order),
            "data": STREAM,
            "file_offsets": words(0, 14, order=order),
            "filenames_size": words(len(NAMES), order=order),
            "filenames": NAMES,
        }
        self.end: int | None = TEXT_SIZE
        self.symbols: list[SymbolSpec] = [
            SymbolSpec("alpha", self.base, size=0x40),
            SymbolSpec("beta", self.base + 0x40, size=0xC0),
            SymbolSpec("__pfx_gamma", self.base + 0x100),
            SymbolSpec("gamma", self.base + 0x110, size=0x200),
            SymbolSpec("delta", self.base + 0x310),
        ]
        self.rodata_type = 1

    def data(self) -> bytes:
        rodata = b""
        symbols = [*self.symbols, SymbolSpec("_text", self.base, type=NOTYPE)]
        if self.end is not None:
            symbols.append(SymbolSpec("_etext", self.base + self.end, ABSOLUTE, NOTYPE))
        for name, data in self.parts.items():
            rodata += bytes(-len(rodata) % 4)
            symbols.append(SymbolSpec(f"lineinfo_{name}", self.base + 0x4000 + len(rodata), ".rodata", NOTYPE))
            rodata += data
        text = SectionSpec(".text", bytes(TEXT_SIZE), flags=ALLOC | EXECINSTR, address=self.base)
        init = SectionSpec(".init.text", bytes(TEXT_SIZE), flags=ALLOC | EXECINSTR, address=self.base + 0x1000)
        tables = SectionSpec(
            ".rodata", rodata, self.rodata_type, ALLOC, self.base + 0x4000, size=len(rodata), alignment=4
        )
        return write_elf(ElfSpec([text, init, tables], symbols, bits=self.bits, byte_order=self.order))

    def image(self) -> EmbeddedImage:
        return EmbeddedImage(ElfFile(self.data(), "vmlinux"))


def answer(image: EmbeddedImage, address: int) -> tuple[str, int] | None:
    symbol = image.symbol_at(LinkAddr(address))
    assert symbol is not None
    chain = image.chain(LinkAddr(address), symbol)
    assert len(chain) < 2
    return chain[0][:2] if chain else None


@pytest.mark.parametrize(("order", "bits"), [("<", 64), (">", 64), ("<", 32), (">", 32)])
def test_a_kernel_answers_by_its_own_rule(order: str, bits: int) -> None:
    kernel = Kernel(order, bits)
    image = kernel.image()
    base = kernel.base
    assert image.layout == "v3"
    assert not image.is_module
    assert image.damage == []
    assert answer(image, base) == ("fs/a.c", 10)  # its path is folded
    assert answer(image, base + 0x3F) == ("fs/a.c", 10)
    assert answer(image, base + 0x47) == ("include/b.h", 3)
    assert answer(image, base + 0x48) == ("fs/a.c", 11)
    (beta,) = image.find(b"beta")
    assert image.chain(LinkAddr(base + 0x48), beta) == (Location("fs/a.c", 11, "", inlined=False),)


def test_what_begins_before_its_symbol_is_of_another_function() -> None:
    image = Kernel().image()
    assert answer(image, BASE + 0x10F) is None  # padding in front of a function
    assert answer(image, BASE + 0x118) is None  # gamma, in which nothing begins before 0x200
    assert answer(image, BASE + 0x200) == ("fs/a.c", 50)
    assert answer(image, BASE + 0x30F) == ("fs/a.c", 50)
    assert answer(image, BASE + 0x310) is None  # delta


def test_nothing_is_trusted_behind_the_end_of_text() -> None:
    kernel = Kernel()
    kernel.symbols.append(SymbolSpec("start_kernel", BASE + 0x1000, ".init.text"))
    stale = BASE + 0x1300
    assert answer(kernel.image(), stale) is None
    kernel.end = None  # without _etext: up to the end of the section that _text is in
    assert answer(kernel.image(), stale) is None
    kernel.end = 0x2000
    kernel.symbols[-1] = SymbolSpec("start_kernel", BASE + 0x1200, ".init.text")
    assert answer(kernel.image(), stale) == ("fs/a.c", 51)


def test_rows_end_where_trust_does() -> None:
    rows = list(Kernel().image().rows())
    assert rows == [
        (BASE, "fs/a.c", 10),
        (BASE + 0x40, "include/b.h", 3),
        (BASE + 0x48, "fs/a.c", 11),
        (BASE + 0x100, "", 0),
        (BASE + 0x200, "fs/a.c", 50),
        (BASE + TEXT_SIZE, "", 0),
    ]


def test_addresses_and_sections() -> None:
    image = Kernel().image()
    assert image.section_of(LinkAddr(BASE)) is None
    assert image.address_in(".text", 5) == BASE + 5
    assert image.address_in(".text", TEXT_SIZE + 1) is None
    assert image.address_in(".nothing", 0) is None
    assert image.symbol_at(LinkAddr(BASE + 0x4000)) is None
    assert image.arch == "x86_64"
    image.prepare([b"alpha", b"beta"])
    assert [symbol.address for symbol in image.find(b"alpha")] == [BASE]


def test_a_kernel_without_a_table() -> None:
    plain = ElfFile(write_elf(ElfSpec([SectionSpec(".text", bytes(8), flags=ALLOC | EXECINSTR)], [])), "vmlinux")
    with pytest.raises(NoDebugInfoError, match="without one"):
        EmbeddedImage(plain)
    empty = Kernel()
    empty.parts["num_entries"] = words(0)
    with pytest.raises(NoDebugInfoError, match="empty"):
        empty.image()
    split = Kernel()
    split.rodata_type = NOBITS
    with pytest.raises(NoDebugInfoError, match="without one"):
        split.image()


def test_an_empty_table_at_the_end_of_a_section() -> None:
    # The stub of a first link: all counts are 0, and the empty arrays' symbols are where the next section begins.
    kernel = Kernel()
    kernel.parts = {
        name: words(0) if len(data) == 4 and "block_" not in name else b"" for name, data in kernel.parts.items()
    }
    with pytest.raises(NoDebugInfoError, match="empty"):
        kernel.image()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("num_entries", words(7)),
        ("num_blocks", words(2)),
        ("num_blocks", words(0xFFFFFFFF)),
        ("num_files", words(0xFFFFFFFF)),
        ("data_size", words(0xFFFFFFFF)),
        ("filenames_size", words(0x10000)),
        ("block_offsets", words(500)),
        ("file_offsets", words(0, 500)),
    ],
)
def test_a_damaged_kernel_table_is_an_error(name: str, data: bytes) -> None:
    kernel = Kernel()
    kernel.parts[name] = data
    with pytest.raises(DamagedFileError):
        kernel.image()


def test_symbols_that_are_missing_or_two() -> None:
    kernel = Kernel()
    del kernel.parts["file_offsets"]
    with pytest.raises(DamagedFileError, match="one symbol lineinfo_file_offsets"):
        kernel.image()
    kernel = Kernel()
    kernel.symbols.append(SymbolSpec("_text", BASE + 8))
    with pytest.raises(DamagedFileError, match="one symbol _text"):
        kernel.image()


def test_a_kernel_table_that_can_be_read_in_two_ways() -> None:
    kernel = Kernel()
    stream = bytes.fromhex("00 0a 40 00 02 08 00 02")
    kernel.parts |= {"num_entries": words(3), "data_size": words(len(stream)), "data": stream}
    with pytest.raises(UnsupportedFileError, match="as v2 and as v3"):
        kernel.image()


def test_calls_are_told_as_from_any_image() -> None:
    kernel = Kernel()
    data = bytearray(kernel.data())
    text = ElfFile(bytes(data), "vmlinux").section(".text")
    assert text is not None
    place = text.offset + 0x10
    data[place : place + 5] = b"\xe8" + struct.pack("<i", 0x2B)
    image = EmbeddedImage(ElfFile(bytes(data), "vmlinux"))
    assert image.call_target(LinkAddr(BASE + 0x15)) == BASE + 0x40
    assert image.call_target(LinkAddr(BASE + 0x16)) is None
    assert image.call_target(LinkAddr(BASE - 100)) is None


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_kernel_with_changed_bytes_is_an_error_or_an_answer(data: st.DataObject) -> None:
    kernel = Kernel()
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(sorted(kernel.parts)))
        part = bytearray(kernel.parts[name])
        part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
        kernel.parts[name] = bytes(part)
    try:
        image = kernel.image()
    except AnnotateError:
        return
    for offset in range(0, TEXT_SIZE, 37):
        answer(image, BASE + offset)
    list(image.rows())


# --- modules -----------------------------------------------------------------------------------------------------


def v3_table(last: int, *, header: int = 48, name: bytes = b"fs/a.c") -> bytes:
    """a.c:7 at 0, a.c:9 at 0x10, a.c:8 at ``last``."""
    data = bytes.fromhex("00 07 10 00 02") + struct.pack("<BB", last - 0x10 & 0x7F | 0x80, last - 0x10 >> 7)
    data += bytes.fromhex("00 7f")
    assert len(data) == 9
    head = words(3, 1, 1, header, 8, header + 8, 9, header + 20, 4, header + 24, len(name) + 1)
    return head + bytes(header - 44) + words(0, 0) + data + bytes(3) + words(0) + name + b"\0"


def v5_table(sections: Sequence[tuple[int, int]]) -> bytes:
    """One sub-table a section, which is (size, last offset)."""
    result = words(len(sections), 0)
    place = 8 + 16 * len(sections)
    tables = b""
    for size, last in sections:
        table = v3_table(last, header=44)
        result += bytes(8) + words(size, place + len(tables) + -len(tables) % 4)
        tables += bytes(-len(tables) % 4) + table
    return result + tables


TEXT, EXIT, INIT = 0x400, 0x100, 0x100


def module(
    tables: Mapping[str, bytes], anchors: Mapping[str, Sequence[str]] | None = None, alignment: int = 1
) -> ElfFile:
    """A module; ``anchors`` says to which section each descriptor of a table is relocated."""
    code = {".text": TEXT, ".exit.text": EXIT, ".init.text": INIT}
    sections = [SectionSpec(name, bytes(size), flags=ALLOC | EXECINSTR, alignment=16) for name, size in code.items()]
    # An odd section in front: with an alignment of 1 the tables lie unaligned.
    sections.append(SectionSpec(".odd", bytes(3), flags=ALLOC))
    sections += [SectionSpec(name, data, flags=ALLOC, alignment=alignment) for name, data in tables.items()]
    symbols = [SymbolSpec("", 0, name, SECTION, binding=LOCAL) for name in code]
    symbols += [SymbolSpec(name[1:].replace(".", "_"), 0, name, size=size) for name, size in code.items()]
    relocations = {
        table: [RelocationSpec(8 + 16 * index, 1, list(code).index(name) + 1) for index, name in enumerate(names)]
        for table, names in (anchors or {}).items()
    }
    return ElfFile(write_elf(ElfSpec(sections, symbols, relocations, type=REL)), "some.ko")


def test_a_module_of_v3_answers_for_its_text_alone() -> None:
    image = EmbeddedImage(module({".mod_lineinfo": v3_table(0x380)}))
    assert (image.layout, image.is_module) == ("v3", True)
    text, leave = image.address_in(".text", 0), image.address_in(".exit.text", 0)
    assert text is not None
    assert leave is not None
    assert answer(image, text + 0x3FF) == ("fs/a.c", 8)
    assert leave > text
    assert answer(image, leave) is None  # the kernel would inherit the last row of .text
    assert image.section_of(LinkAddr(text + 4)) == (".text", 4)
    assert image.call_target(text) is None


def test_of_a_tool_that_does_not_relocate_the_front_is_not_believed() -> None:
    # Rows of .exit.text and .init.text lie on the first 0x100 bytes of .text; one of their ends may be at 0x100.
    image = EmbeddedImage(module({".mod_lineinfo": v3_table(0x380)}))
    text = image.address_in(".text", 0)
    assert text is not None
    assert [answer(image, text + offset) for offset in (0, 0x10, 0x100, 0x37F)] == [None] * 4
    assert answer(image, text + 0x380) == ("fs/a.c", 8)
    assert list(image.rows()) == [(text + 0x380, "fs/a.c", 8), (text + TEXT, "", 0)]


def test_a_table_that_says_where_rows_end_is_believed() -> None:
    table = v3_table(0x380)
    assert table.count(bytes.fromhex("00 7f")) == 1
    image = EmbeddedImage(module({".mod_lineinfo": table.replace(bytes.fromhex("00 7f"), bytes.fromhex("01 00"))}))
    text = image.address_in(".text", 0)
    assert text is not None
    assert [answer(image, text + offset) for offset in (0, 0x10, 0x380)] == [("fs/a.c", 7), ("fs/a.c", 9), None]
    assert list(image.rows()) == [(text, "fs/a.c", 7), (text + 0x10, "fs/a.c", 9), (text + 0x380, "", 0)]


def test_a_collapsed_module_table_answers_nothing_and_says_why() -> None:
    elf = module({".mod_lineinfo": v3_table(0x200)})
    with pytest.raises(NoDebugInfoError, match=r"ends at \.text\+0x200 of 0x400 bytes: made without relocations"):
        EmbeddedImage(elf)


def test_a_table_whose_names_were_not_relocated_answers_nothing() -> None:
    with pytest.raises(NoDebugInfoError, match="names no source file"):
        EmbeddedImage(module({".mod_lineinfo": v3_table(0x380, name=b"linux-6.1.192")}))


def test_a_module_of_v5_answers_for_each_of_its_sections() -> None:
    tables = {".mod_lineinfo": v5_table([(TEXT, 0x200), (EXIT, 0x90)]), ".init.mod_lineinfo": v5_table([(INIT, 0xA0)])}
    anchors = {".mod_lineinfo": [".text", ".exit.text"], ".init.mod_lineinfo": [".init.text"]}
    image = EmbeddedImage(module(tables, anchors, alignment=8))
    assert image.layout == "v5"
    for name, last in ((".text", 0x200), (".exit.text", 0x90), (".init.text", 0xA0)):
        start = image.address_in(name, 0)
        assert start is not None
        answers = [answer(image, start + offset) for offset in (0, 0x10, last - 1, last)]
        assert answers == [("fs/a.c", 7), ("fs/a.c", 9), ("fs/a.c", 9), ("fs/a.c", 8)]
    assert len([row for row in image.rows() if row[1]]) == 9
    addresses = [row[0] for row in image.rows()]
    assert addresses == sorted(addresses)


def test_anchors_without_relocations_answer_nothing() -> None:
    image = EmbeddedImage(module({".mod_lineinfo": v5_table([(TEXT, 0x200), (EXIT, 0x90)])}))
    start = image.address_in(".text", 0)
    assert start is not None
    assert answer(image, start) is None
    assert list(image.rows()) == []


def test_modules_without_a_table_or_with_two_kinds() -> None:
    for elf in (module({}), module({".mod_lineinfo": b""})):
        with pytest.raises(NoDebugInfoError, match="without one"):
            EmbeddedImage(elf)
    with pytest.raises(DamagedFileError, match="a table of v3, found v5"):
        EmbeddedImage(module({".mod_lineinfo": v3_table(0x380), ".init.mod_lineinfo": v5_table([(INIT, 0x90)])}))
    with pytest.raises(DamagedFileError):
        EmbeddedImage(module({".mod_lineinfo": b"nothing of the kind"}))
    no_text = SectionSpec(".mod_lineinfo", v3_table(0x380), flags=ALLOC)
    with pytest.raises(DamagedFileError, match=r"a section \.text"):
        EmbeddedImage(ElfFile(write_elf(ElfSpec([no_text], [], type=REL)), "some.ko"))


def test_a_linked_file_is_asked_for_symbols_not_sections() -> None:
    sections = [SectionSpec(".mod_lineinfo", v3_table(0x380), flags=ALLOC)]
    with pytest.raises(NoDebugInfoError, match="without one"):
        EmbeddedImage(ElfFile(write_elf(ElfSpec(sections, [], type=DYN)), "some.so"))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["v3", "v5"]), st.data())
def test_a_module_with_changed_bytes_is_an_error_or_an_answer(layout: str, data: st.DataObject) -> None:
    table = bytearray(v3_table(0x380) if layout == "v3" else v5_table([(TEXT, 0x200), (EXIT, 0x90)]))
    for _ in range(data.draw(st.integers(1, 4))):
        table[data.draw(st.integers(0, len(table) - 1))] = data.draw(st.integers(0, 255))
    anchors = {".mod_lineinfo": [".text", ".exit.text"]} if layout == "v5" else {}
    try:
        image = EmbeddedImage(module({".mod_lineinfo": bytes(table)}, anchors))
    except AnnotateError:
        return
    start = image.address_in(".text", 0)
    assert start is not None
    for offset in range(0, TEXT, 37):
        answer(image, start + offset)
    list(image.rows())
