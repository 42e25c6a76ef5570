"""Builds the program of this folder with many compilers, as a kernel and as a module are built.

    python tests/matrix/build.py --list
    python tests/matrix/build.py --compiler gcc-arm64 --output FOLDER

A toolchain is a compiler for one machine with the options that the kernel gives it there; a recipe is a set of options
that matter to debug information. Each recipe yields a linked program and a module (``ld -r`` of all objects), and the
module linked once more with every section of code at a place that is known: what a tool says there, it would have to
say of the module. Compressed copies have the same contents, so the same answers are right for them.

Not every recipe is built with every level of optimisation: all versions of DWARF at -O2, all levels with DWARF 5, and
everything else (sections of their own, patchable entries, 64-bit DWARF, position independence, link-time optimisation)
with DWARF 5 at -O2.
"""

from __future__ import annotations

import argparse
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from elftools.elf.elffile import ELFFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAM = Path(__file__).parent / "program"
UNITS = ("fs/main.c", "lib/other.c", "drivers/third.c")

#: What the sources' folder is called in the debug information.
BUILD_FOLDER = "/build/linux-6.1"

#: As the kernel is compiled, and without what needs a library.
COMMON = (
    "-ffreestanding",
    "-fno-pic",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-strict-aliasing",
    "-Iinclude",
)
FIRST_ADDRESS = 0x100000
#: Sections of a module that is placed begin at multiples of this; PA-RISC's branches reach 256 KiB.
DISTANCE = 0x1000


class Toolchain(NamedTuple):
    """A compiler for one machine."""

    name: str
    compiler: tuple[str, ...]
    linker: tuple[str, ...]
    objcopy: str
    addr2line: str

    @property
    def is_clang(self) -> bool:
        """Whether it is clang, else gcc."""
        return self.compiler[0].startswith("clang")

    def missing(self) -> list[str]:
        """The programs that are not installed."""
        return [
            name
            for name in (self.compiler[0], self.linker[0], self.objcopy, self.addr2line)
            if shutil.which(name) is None
        ]


class Recipe(NamedTuple):
    """Options that matter to debug information."""

    name: str
    options: tuple[str, ...]
    link: tuple[str, ...] = ()
    compressions: tuple[str, ...] = ()
    only: str = ""  #: a regular expression: the toolchains (by name) that can build it; all when empty
    makes_module: bool = True
    units: tuple[str, ...] = UNITS
    place: tuple[str, ...] = ()  #: options for linking the module


class Built(NamedTuple):
    """What a recipe yields. ``placed`` is ``module`` linked; ``copies`` are compressed ones."""

    recipe: Recipe
    program: Path
    module: Path | None
    placed: Path | None
    copies: dict[Path, list[Path]]


def _gcc(name: str, target: str, *options: str, linker: tuple[str, ...] = ()) -> Toolchain:
    prefix = f"{target}-" if target else ""
    return Toolchain(
        name,
        (f"{prefix}gcc", *options),
        (f"{prefix}ld", *linker),
        f"{prefix}objcopy",
        f"{prefix}addr2line",
    )


def _clang(name: str, target: str, *options: str, linker: tuple[str, ...] = ()) -> Toolchain:
    compiler = ("clang-19", f"--target={target}", *options)
    return Toolchain(name, compiler, ("ld.lld-19", *linker), "llvm-objcopy-19", "llvm-addr2line-19")


#: By name. The options are those of arch/*/Makefile that change code or relocations.
TOOLCHAINS = {
    toolchain.name: toolchain
    for toolchain in (
        _gcc("gcc-native", ""),
        _gcc("gcc-i386", "", "-m32", linker=("-m", "elf_i386")),
        _gcc("gcc-arm64", "aarch64-linux-gnu"),
        _gcc("gcc-arm", "arm-linux-gnueabihf", "-marm"),
        _gcc("gcc-thumb", "arm-linux-gnueabihf", "-mthumb"),
        _gcc("gcc-riscv64", "riscv64-linux-gnu", "-mno-relax", linker=("--no-relax",)),
        _gcc("gcc-riscv64-relax", "riscv64-linux-gnu", "-mrelax", linker=("--no-relax",)),
        _gcc("gcc-s390x", "s390x-linux-gnu"),
        _gcc("gcc-ppc64le", "powerpc64le-linux-gnu"),
        _gcc("gcc-ppc64", "powerpc64-linux-gnu"),
        _gcc("gcc-ppc64-dots", "powerpc64-linux-gnu", "-mcall-aixdesc"),
        _gcc("gcc-ppc64-elfv2", "powerpc64-linux-gnu", "-mabi=elfv2"),
        _gcc("gcc-ppc", "powerpc-linux-gnu"),
        _gcc("gcc-mips", "mips-linux-gnu", "-mno-abicalls", "-G0"),
        _gcc("gcc-mips64el", "mips64el-linux-gnuabi64", "-mno-abicalls", "-G0"),
        _gcc("gcc-parisc", "hppa-linux-gnu"),
        _gcc("gcc-sparc64", "sparc64-linux-gnu", "-mcmodel=medlow"),
        _gcc("gcc-m68k", "m68k-linux-gnu"),
        _gcc("gcc-alpha", "alpha-linux-gnu"),
        _clang("clang-x86_64", "x86_64-linux-gnu"),
        _clang("clang-arm64", "aarch64-linux-gnu"),
        _clang("clang-arm", "arm-linux-gnueabi", "-march=armv7-a", "-marm"),
        _clang("clang-thumb", "arm-linux-gnueabi", "-march=armv7-a", "-mthumb"),
        _clang("clang-riscv64", "riscv64-linux-gnu", "-mno-relax"),
        # Alignment is left to the linker there, which would take bytes out of a module's functions.
        _clang("clang-riscv64-relax", "riscv64-linux-gnu", "-mrelax", "-falign-functions=2", linker=("--no-relax",)),
        _clang("clang-s390x", "s390x-linux-gnu"),
        _clang("clang-ppc64le", "powerpc64le-linux-gnu"),
        _clang("clang-loongarch64", "loongarch64-linux-gnu", "-mno-relax"),
        _clang("clang-mips64el", "mips64el-linux-gnuabi64", "-mno-abicalls"),
    )
}

#: At -Os its functions call helpers of libgcc to save registers.
_NOT_PPC = r"(?!gcc-ppc$)"

COMPRESSIONS = ("zlib", "zlib-gnu", "zstd")

RECIPES = (
    Recipe("dwarf5", ("-gdwarf-5", "-O2"), compressions=COMPRESSIONS),
    Recipe("dwarf4", ("-gdwarf-4", "-O2"), link=("--emit-relocs",), compressions=("zlib",)),
    Recipe("dwarf3", ("-gdwarf-3", "-gstrict-dwarf", "-O2")),
    Recipe("dwarf2", ("-gdwarf-2", "-O2")),
    Recipe("dwarf2-strict", ("-gdwarf-2", "-gstrict-dwarf", "-O2"), only="gcc"),
    Recipe("dwarf5-O0", ("-gdwarf-5", "-O0")),
    Recipe("dwarf5-Os", ("-gdwarf-5", "-Os"), only=_NOT_PPC),
    Recipe("dwarf5-sections", ("-gdwarf-5", "-O2", "-ffunction-sections"), link=("--emit-relocs",)),
    Recipe("dwarf4-sections", ("-gdwarf-4", "-O2", "-ffunction-sections")),
    Recipe("dwarf5-nops", ("-gdwarf-5", "-O2", "-fpatchable-function-entry=2"), only=r"gcc-|clang-(x86|arm64|riscv)"),
    Recipe(
        "dwarf5-nops-before", ("-gdwarf-5", "-O2", "-fpatchable-function-entry=6,4"), only=r"gcc-|clang-(x86|arm64|ris)"
    ),
    Recipe("dwarf5-64bit", ("-gdwarf-5", "-gdwarf64", "-O2"), only=r".*(native|arm64|x86|64|s390x|alpha)"),
    Recipe("dwarf5-no-views", ("-gdwarf-5", "-gno-variable-location-views", "-Os"), only=_NOT_PPC + "gcc"),
    # CONFIG_DEBUG_INFO_REDUCED. In DWARF 4 gcc then writes lists of ranges that begin with what ends a list.
    Recipe("dwarf5-reduced", ("-gdwarf-5", "-O2", "-fno-var-tracking", "-femit-struct-debug-baseonly"), only="gcc"),
    Recipe("dwarf4-reduced", ("-gdwarf-4", "-O2", "-fno-var-tracking", "-femit-struct-debug-baseonly"), only="gcc"),
    Recipe("dwarf5-gz", ("-gdwarf-5", "-O2", "-gz=zlib")),
    Recipe("dwarf5-aranges", ("-gdwarf-5", "-O2", "-gdwarf-aranges"), only="clang"),
    Recipe(
        "dwarf5-pie",
        ("-gdwarf-5", "-O2", "-fPIE"),
        link=("-pie", "--no-dynamic-linker"),
        only=r".*(native|arm64|s390x|ppc64le|x86_64|riscv64$)",
        makes_module=False,
    ),
    Recipe("dwarf5-lto", ("-gdwarf-5", "-O2", "-flto"), only=r"clang-(x86_64|arm64|arm|riscv64|s390x)$"),
    Recipe("dwarf5-split-units", ("-gdwarf-5", "-O2", "-fdebug-types-section"), only=r".*(native|arm64|x86_64|s390x)"),
)


def recipes_for(toolchain: Toolchain) -> list[Recipe]:
    """The recipes that a toolchain can build."""
    return [recipe for recipe in RECIPES if not recipe.only or re.match(recipe.only, toolchain.name)]


def run(command: list[str], folder: Path) -> None:
    """Run a program, which must succeed without a word. Raises RuntimeError."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def build(toolchain: Toolchain, recipe: Recipe, folder: Path) -> Built:
    """Build a recipe in a folder of its own. Raises RuntimeError with what the compiler said."""
    sources = folder / "sources"
    if not sources.exists():
        shutil.copytree(PROGRAM, sources)
    output = folder / recipe.name
    output.mkdir()
    objects = []
    for unit in recipe.units:
        name = output / (Path(unit).stem + ".o")
        mapping = f"-fdebug-prefix-map={sources}={BUILD_FOLDER}"
        run([*toolchain.compiler, *COMMON, *recipe.options, mapping, "-c", unit, "-o", str(name)], sources)
        objects.append(str(name))
    program = output / "program"
    place = [f"-Ttext={FIRST_ADDRESS:#x}"]
    run([*toolchain.linker, "-e", "start", *place, *recipe.link, "-o", str(program), *objects], folder)
    module = placed = None
    if recipe.makes_module:
        module, placed = output / "module.ko", output / "placed"
        run([*toolchain.linker, "-r", "-o", str(module), *objects], folder)
        place_sections(toolchain, module, placed, recipe.place)
    copies: dict[Path, list[Path]] = {}
    for path in (program, module):
        if path is not None:
            made = [compress(toolchain, path, kind) for kind in recipe.compressions]
            copies[path] = [copy for copy in made if copy is not None]
    return Built(recipe, program, module, placed, copies)


class CodeSection(NamedTuple):
    """A section of code that is not empty."""

    number: int
    name: str
    address: int
    size: int


def code_sections(path: Path) -> list[CodeSection]:
    """All of a file, by pyelftools."""
    with path.open("rb") as file:
        return [
            CodeSection(number, section.name, section["sh_addr"], section["sh_size"])
            for number, section in enumerate(ELFFile(file).iter_sections())
            if section["sh_flags"] & 6 == 6 and section["sh_size"]
        ]


def place_sections(toolchain: Toolchain, module: Path, placed: Path, options: tuple[str, ...] = ()) -> None:
    """Link a module with each section of code at an address of its own. Raises RuntimeError."""
    named_apart = module.with_name("named-apart.ko")
    named_apart.write_bytes(_name_apart(module))
    sections = code_sections(named_apart)
    lines = [
        f"  {section.name} {start:#x} : {{ *({section.name}) }}"
        for section, start in zip(sections, placed_at(sections), strict=True)
    ]
    script = placed.with_suffix(".lds")
    script.write_text("SECTIONS\n{\n" + "\n".join(lines) + "\n}\n")
    files = ["-T", str(script), "-o", str(placed), str(named_apart)]
    run([*toolchain.linker, "-e", "start", *options, *files], placed.parent)


def placed_at(sections: Sequence[CodeSection]) -> list[int]:
    """Where each of a module's sections of code is placed."""
    places = []
    address = FIRST_ADDRESS
    for section in sections:
        places.append(address)
        address += section.size + -section.size % DISTANCE
    return places


def _name_apart(module: Path) -> bytes:
    """The module with sections of one name (PA-RISC's ``ld -r`` leaves those) told apart: ``.text``, ``text``, ..."""
    data = bytearray(module.read_bytes())
    taken: set[str] = set()
    with module.open("rb") as file:
        elf = ELFFile(file)
        order = "<" if elf.little_endian else ">"
        for number, section in enumerate(elf.iter_sections()):
            name = section.name
            if section["sh_flags"] & 4 == 0:
                continue
            while name in taken:
                name = name[1:]
            taken.add(name)
            offset = elf["e_shoff"] + number * elf["e_shentsize"]
            struct.pack_into(order + "I", data, offset, section["sh_name"] + len(section.name) - len(name))
    return bytes(data)


def compress(toolchain: Toolchain, path: Path, kind: str) -> Path | None:
    """A copy with compressed debug sections; None where the objcopy at hand has no such kind. Raises RuntimeError."""
    objcopy = toolchain.objcopy
    if objcopy.startswith("llvm") and kind == "zlib-gnu":
        return None
    copy = path.with_name(f"{path.name}.{kind}")
    run([objcopy, f"--compress-debug-sections={kind}", str(path), str(copy)], path.parent)
    return copy


def build_all(toolchain: Toolchain, folder: Path) -> Iterator[Built]:
    """Every recipe of a toolchain."""
    for recipe in recipes_for(toolchain):
        yield build(toolchain, recipe, folder)


def main() -> None:
    """List what there is, or build all recipes of one toolchain."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--list", action="store_true", help="name toolchains and recipes")
    parser.add_argument("--compiler", choices=sorted(TOOLCHAINS))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.list or not arguments.compiler or not arguments.output:
        for toolchain in TOOLCHAINS.values():
            missing = toolchain.missing()
            state = f"not installed: {', '.join(missing)}" if missing else "installed"
            print(f"{toolchain.name:20} {state:30} {' '.join(recipe.name for recipe in recipes_for(toolchain))}")  # noqa: T201
        return
    arguments.output.mkdir(parents=True)
    for built in build_all(TOOLCHAINS[arguments.compiler], arguments.output.resolve()):
        print(built.program.parent)  # noqa: T201


if __name__ == "__main__":
    main()
