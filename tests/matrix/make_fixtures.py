"""Writes tests/fixtures/matrix: a module and a linked file of every toolchain, and what llvm-symbolizer says of them.

    python tests/matrix/make_fixtures.py [--compiler NAME]...

With them the suite proves every machine where no compiler is installed. The answers in the .json files are the
oracle's: what it says of every byte of code (of a module: where it was placed, see ``build.py``), in stretches. Bytes
for which it is proven wrong or has line 0 (``compare.py`` names the causes) are left out, and counted there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build import TOOLCHAINS, Recipe, build, run
from compare import Functions, judge, open_for, places_of_module, places_of_program, without_symbols
from compare_addresses import BOTH_NONE, EQUAL
from llvm import LlvmSymbolizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from build import Toolchain
    from compare import Place

FOLDER = Path(__file__).parent.parent / "fixtures" / "matrix"
LARGEST = 30_000

#: Without what describes variables, which is the larger part and is not read.
_SMALL = {False: ("-fno-var-tracking", "-gno-variable-location-views"), True: ()}
_LEFT_OUT = (".comment", ".note*", ".debug_frame", ".eh_frame")

#: One for each machine and ABI, and clang where it differs (it writes no .debug_aranges, and indexes of addresses).
FIXTURES = (
    *("gcc-native", "gcc-i386", "gcc-arm64", "gcc-thumb", "gcc-riscv64-relax", "gcc-s390x", "gcc-ppc64le", "gcc-ppc64"),
    *("gcc-ppc64-dots", "gcc-ppc", "gcc-mips", "gcc-mips64el", "gcc-parisc", "gcc-sparc64", "gcc-m68k", "gcc-alpha"),
    *("clang-x86_64", "clang-arm64", "clang-arm", "clang-riscv64-relax", "clang-s390x", "clang-ppc64le"),
    "clang-loongarch64",
)
UNITS: tuple[str, ...] = ("fs/small.c", "drivers/third.c")

#: Modules with DWARF 5, linked files with DWARF 4.
VERSIONS = {"ko": "-gdwarf-5", "elf": "-gdwarf-4"}


def expected(path: Path, places: Iterable[Place], oracle: Path) -> dict[str, Any]:
    """The oracle's answers: stretches of (section, first, end, symbol, index of the chain) and the chains."""
    image = open_for(path)
    functions = Functions(path)
    chains: dict[tuple[str, ...], int] = {}
    stretches: list[list[Any]] = []
    left_out: Counter[str] = Counter()
    asked = list(places)
    with LlvmSymbolizer(str(without_symbols(oracle))) as llvm:
        llvm.ask(place.oracle for place in asked)
        for place in asked:
            cause = judge(llvm, place, image, functions)[0]
            if cause not in (EQUAL, BOTH_NONE):
                left_out[cause] += 1
                continue
            levels = llvm.ask((place.oracle,))[0].places if cause == EQUAL else ()
            chain = tuple(f"{level.file}:{level.line} {level.function}" for level in levels)
            number = chains.setdefault(chain, len(chains))
            names = sorted(functions.at(place.section, place.value))
            row = [place.section, place.value, place.value + 1, names, number]
            if stretches and stretches[-1][:1] + stretches[-1][2:] == [place.section, place.value, names, number]:
                stretches[-1][2] += 1
            else:
                stretches.append(row)
    return {"chains": [list(chain) for chain in chains], "stretches": stretches, "left_out": dict(left_out)}


def make(toolchain: Toolchain, folder: Path) -> None:
    """Write the files of one toolchain. Raises RuntimeError when one is too large."""
    for suffix, version in VERSIONS.items():
        options = (version, "-O2", *_SMALL[toolchain.is_clang])
        place: tuple[str, ...] = ()
        units = UNITS
        if "riscv" in toolchain.name and suffix == "ko":
            # A relocation for every difference of two addresses: one unit is as large as three elsewhere.
            units, place = UNITS[1:], ("--unresolved-symbols=ignore-all",)
        recipe = Recipe(f"fixture-{suffix}", options, link=("-N", *place), units=units, place=place)
        built = build(toolchain, recipe, folder)
        source = built.module if suffix == "ko" else built.program
        if source is None or built.placed is None:
            raise RuntimeError("the recipe makes no module")
        path = FOLDER / f"{toolchain.name}.{suffix}"
        remove = [f"--remove-section={name}" for name in _LEFT_OUT]
        remove += [f"--remove-section=.rel{kind}{name}" for name in _LEFT_OUT for kind in ("", "a")]
        run([toolchain.objcopy, "--wildcard", *remove, str(source), str(path)], folder)
        if path.stat().st_size > LARGEST:
            raise RuntimeError(f"{path.name}: {path.stat().st_size} bytes")
        if suffix == "ko":
            places, oracle = places_of_module(path, open_for(path), built.placed), built.placed
        else:
            places, oracle = places_of_program(path), source
        answers = {"recipe": [*toolchain.compiler, *options], **expected(path, places, oracle)}
        (FOLDER / f"{path.name}.json").write_text(_spell(answers))
    for copy in FOLDER.glob("*.nosym"):
        copy.unlink()


def _spell(answers: dict[str, Any]) -> str:
    """JSON with a line for each chain and stretch, so that changes can be read."""
    parts = []
    for key, value in answers.items():
        if key in ("chains", "stretches"):
            rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            parts.append(f"{json.dumps(key)}: [\n{rows}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{" + ",\n".join(parts) + "}\n"


def main() -> None:
    """Make the fixtures of all toolchains that are installed, or of some."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--compiler", action="append", choices=sorted(TOOLCHAINS))
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in arguments.compiler or FIXTURES:
        missing = TOOLCHAINS[name].missing()
        if missing:
            print(f"{name}: not installed: {', '.join(missing)}")  # noqa: T201
            continue
        with tempfile.TemporaryDirectory() as folder:
            make(TOOLCHAINS[name], Path(folder))


if __name__ == "__main__":
    main()
