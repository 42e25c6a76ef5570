"""``lineinfo emit`` and ``lineinfo embed``: the tables that CONFIG_KALLSYMS_LINEINFO kernels carry, made from DWARF."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from annotate.cli.streams import Output, complain
from annotate.debuginfo.elf import SHT_SYMTAB
from annotate.debuginfo.embed import NewSection, embed_sections, signature_size
from annotate.debuginfo.image import DebugImage
from annotate.debuginfo.upstream_rows import collect_upstream_entries
from annotate.errors import NoDebugInfoError, UnrecognisedFileError, UnsupportedFileError
from annotate.kernel.images import alternate_file_of, debug_file_of, open_elf
from annotate.kernel.output import replacing
from annotate.model import LinkAddr
from annotate.tables import kernel_v2, kernel_v3, kernel_v5
from annotate.tables.kernel_assembly import assemble, write_source
from annotate.tables.kernel_rows import collect_entries

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from annotate.debuginfo.elf import ElfFile
    from annotate.tables.kernel_assembly import Piece
    from annotate.tables.kernel_rows import Entries

PROGRAM = "lineinfo"
COMMANDS = ("emit", "embed")

EXIT_DONE = 0

_LAYOUTS = {"v2": kernel_v2, "v3": kernel_v3}

#: Written at once.
_PIECE = 1 << 20


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the two commands to the parser of ``lineinfo``."""
    emit = commands.add_parser("emit", help="write the table that a kernel embeds, as assembly or as bytes")
    emit.add_argument("file", metavar="FILE", help="a vmlinux or a module, with debug info")
    emit.add_argument("--layout", choices=("v2", "v3", "v5"), required=True, help="the posted version of the layout")
    emit.add_argument("--module", action="store_true", help="FILE is a module (checked; a kernel otherwise)")
    emit.add_argument(
        "--rows",
        choices=("dwarf", "upstream"),
        default="dwarf",
        help="what DWARF says (default), or the rows that the kernel's own host tool picks, for comparison",
    )
    emit.add_argument("--as", dest="form", choices=("asm", "bin"), required=True, help="source for gas, or bytes")
    emit.add_argument(
        "--init", action="store_true", help="with --module --layout v5 --as bin: .init.mod_lineinfo, not .mod_lineinfo"
    )
    emit.add_argument("-o", "--output", metavar="OUT", help="default: standard output")
    embed = commands.add_parser("embed", help="add .mod_lineinfo to a module")
    embed.add_argument("file", metavar="MODULE.ko", help="a module; debug info in it or in a file that it names")
    embed.add_argument("-o", "--output", required=True, metavar="OUT.ko", help="may be MODULE.ko itself")
    embed.add_argument("--layout", choices=("v2", "v3", "v5"), default="v5", help="default: v5")


def run(options: argparse.Namespace) -> int:
    """Run one of the two; return its exit status. Raises AnnotateError, OutputClosedError and OSError (output lost)."""
    return _emit(options) if options.command == "emit" else _embed(options)


class _SectionEntries(NamedTuple):
    name: str
    size: int
    entries: Entries


class _Section(NamedTuple):
    """A section of tables: what goes into it."""

    name: str
    alignment: int
    pieces: Sequence[Piece]


def _emit(options: argparse.Namespace) -> int:
    elf, image = _open(open_elf(options.file))
    if image.is_module is not options.module:
        found = "a module (give --module)" if image.is_module else "a kernel"
        raise UnrecognisedFileError(
            options.file, f"expected a {'module' if options.module else 'kernel'}, found {found}"
        )
    is_upstream = options.rows == "upstream"
    if options.module:
        sections = module_sections(image, elf, options.layout, is_upstream=is_upstream)
    else:
        sections = [kernel_section(image, elf, options.layout, is_upstream=is_upstream)]
    if options.form == "asm":
        text = (
            part
            for section in sections
            for part in write_source(section.name, section.alignment, section.pieces, elf.bits, elf.byte_order)
        )
        _write(options.output, _encoded(text))
        return EXIT_DONE
    wanted = ".init.mod_lineinfo" if options.init else sections[0].name if not options.module else ".mod_lineinfo"
    chosen = next((section for section in sections if section.name == wanted), None)
    if chosen is None:
        raise NoDebugInfoError(options.file, f"expected rows for {wanted}, found none")
    _write(options.output, [assemble(chosen.pieces, elf.byte_order).data])
    return EXIT_DONE


def _embed(options: argparse.Namespace) -> int:
    module = open_elf(options.file)
    elf, image = _open(module)
    sections = module_sections(image, elf, options.layout, is_upstream=False)
    additions = []
    for section in sections:
        assembled = assemble(section.pieces, module.byte_order)
        additions.append(NewSection(section.name, assembled.data, section.alignment, assembled.anchors))
    result = embed_sections(module, additions)
    if signature_size(module.data[:]):
        complain(PROGRAM, f"{options.file}: its signature no longer fits and was left out: sign {options.output} again")
    _write(options.output, [result], like=options.file)
    return EXIT_DONE


def _open(elf: ElfFile) -> tuple[ElfFile, DebugImage]:
    """The DWARF of a file, or of the one that it was split off to; and where it is. No other source will do."""
    split = debug_file_of(elf) if elf.debug_section("line") is None else None
    found = split or elf
    has_symbols = any(section.type == SHT_SYMTAB for section in found.sections)
    return found, DebugImage(found, symbols=None if has_symbols else elf, alternate=alternate_file_of(found))


def kernel_section(image: DebugImage, elf: ElfFile, layout: str, *, is_upstream: bool) -> _Section:
    """The tables of a kernel. Behind ``_etext`` no row would be true: the tables themselves move what is there.

    ``is_upstream`` keeps those rows in v2 and v3, as the host tool did.
    """
    found = {name: image.find(name) for name in (b"_text", b"_etext")}
    if len(found[b"_text"]) != 1:
        raise UnsupportedFileError(image.source, f"expected one symbol _text, found {len(found[b'_text'])}")
    start = found[b"_text"][0].address
    end = found[b"_etext"][0].address if found[b"_etext"] else 1 << 64
    if is_upstream:
        (entries,) = collect_upstream_entries(elf, [(start, end if layout == "v5" else 1 << 64)])
        if not entries.offsets:
            raise NoDebugInfoError(image.source, "expected rows behind _text, found none")
    else:
        entries = collect_entries(image.rows(), start, end, _symbol_between(image), image.source)
        _refuse_damage(image)
    write = kernel_v5.write_vmlinux if layout == "v5" else _LAYOUTS[layout].write_vmlinux
    return _Section(".rodata", 4, write(entries))


def module_sections(image: DebugImage, elf: ElfFile, layout: str, *, is_upstream: bool) -> list[_Section]:
    """The sections with a module's tables, those that would be empty left out. Raises NoDebugInfoError for none."""
    if not image.is_module:
        raise UnrecognisedFileError(image.source, "expected a module (a relocatable ELF file), found a kernel")
    covered = kernel_v5.COVERED if layout == "v5" else {".mod_lineinfo": (".text",)}
    names = [name for names in covered.values() for name in names]
    collected = {one.name: one for one in _entries_of(image, elf, names, is_upstream=is_upstream)}
    if not is_upstream:
        _refuse_damage(image)
    sections = []
    for name, wanted in covered.items():
        present = [collected[section] for section in wanted if section in collected]
        if present and layout == "v5":
            sections.append(_Section(name, kernel_v5.ALIGNMENT, kernel_v5.write_module(present)))
        elif present:
            sections.append(_Section(name, 4, _LAYOUTS[layout].write_module(present[0].entries)))
    if not sections:
        raise NoDebugInfoError(image.source, f"expected line information in {' or '.join(names)}, found none")
    return sections


def _entries_of(
    image: DebugImage, elf: ElfFile, names: Iterable[str], *, is_upstream: bool
) -> Iterator[_SectionEntries]:
    """The entries of those sections that have any."""
    places = []
    for name in names:
        section = elf.section(name)
        start = image.address_in(name, 0)
        if section is not None and start is not None and section.size:
            places.append((name, start, section.size))
    if is_upstream:
        ranges = [(start, start + size) for _, start, size in places]
        for (name, _, size), entries in zip(places, collect_upstream_entries(elf, ranges), strict=True):
            if entries.offsets:
                yield _SectionEntries(name, size, entries)
        return
    rows = list(image.rows())
    for name, start, size in places:
        with suppress(NoDebugInfoError):
            entries = collect_entries(rows, start, start + size, _symbol_between(image), image.source)
            yield _SectionEntries(name, size, entries)


def _refuse_damage(image: DebugImage) -> None:
    """A table from debug info that could be read in part would answer with what stands before the gap."""
    for error in image.damage:
        raise error


def _symbol_between(image: DebugImage) -> Callable[[int, int], bool]:
    def is_between(before: int, address: int) -> bool:
        symbol = image.symbol_at(LinkAddr(address))
        return symbol is None or symbol.address > before

    return is_between


def _encoded(parts: Iterable[str]) -> Iterator[bytes]:
    """Text in pieces worth a write."""
    waiting: list[str] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size > _PIECE:
            yield "".join(waiting).encode()
            waiting.clear()
            size = 0
    yield "".join(waiting).encode()


def _write(path: str | None, parts: Iterable[bytes], like: str = "") -> None:
    """Write to a file, whole or not at all, or to standard output. A new file gets the permissions of ``like``."""
    if path is None:
        output = Output()
        for part in parts:
            output.write(part)
        return
    with replacing(path, path, like) as file:
        file.writelines(parts)
