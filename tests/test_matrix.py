"""Chains for every machine, by gcc and clang, in DWARF 2 to 5: those of llvm-symbolizer, at every byte of code.

``LINEINFO_MATRIX=full`` builds everything that the installed compilers can (five minutes); else a few combinations are
built. The files in fixtures/matrix need no compiler: with them every machine is proven everywhere.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.image import DebugImage
from annotate.model import LinkAddr

sys.path.insert(0, str(Path(__file__).parent / "matrix"))

from build import RECIPES, TOOLCHAINS, build, recipes_for
from compare import ELFUTILS, NO_CALL_SITE, SECOND, compare, compare_recipe, open_for, places_of_program
from compare_addresses import EQUAL
from elfutils import missing_programs
from llvm import find_program

if TYPE_CHECKING:
    from build import Recipe

FIXTURES = Path(__file__).parent / "fixtures" / "matrix"
STORED = sorted(FIXTURES.glob("*.json"))

IS_FULL = os.environ.get("LINEINFO_MATRIX") == "full"
#: What is built when the full matrix is not asked for.
REDUCED = {
    "gcc-native": ("dwarf5", "dwarf4-sections", "dwarf2", "dwarf4-reduced"),
    "clang-x86_64": ("dwarf5",),
    "gcc-arm64": ("dwarf5-nops",),
    "gcc-riscv64-relax": ("dwarf5-sections",),
    "gcc-thumb": ("dwarf4",),
    "gcc-s390x": ("dwarf5-Os",),
    "gcc-ppc64": ("dwarf5",),
}

SOURCES = {"include/linux/helpers.h", "fs/main.c", "lib/other.c", "drivers/third.c", "drivers/third.h"}

#: The share of bytes that must be equal, and not only explained: nops in front of every function cost most.
LEAST_EQUAL = 0.75


def chosen(toolchain: str) -> list[Recipe]:
    return [recipe for recipe in recipes_for(TOOLCHAINS[toolchain]) if IS_FULL or recipe.name in REDUCED[toolchain]]


@pytest.mark.parametrize("name", TOOLCHAINS if IS_FULL else REDUCED)
def test_every_byte_of_code_has_the_chain_that_llvm_symbolizer_gives(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = TOOLCHAINS[name].missing() + ([] if find_program() else ["llvm-symbolizer"])
    missing += missing_programs()
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    recipes = chosen(name)
    assert recipes
    for recipe in recipes:
        result = compare_recipe(TOOLCHAINS[name], recipe, tmp_path)
        if IS_FULL:
            with capsys.disabled():
                print("\n" + result.row(), end="", flush=True)  # noqa: T201
        assert not result.faults, "\n".join(result.faults)
        total = result.program.total + result.module.total
        assert result.program.total > 1000
        assert result.module.total > 1000 or not recipe.makes_module
        assert result.compressed >= 1000 * len(recipe.compressions)
        if recipe.name in SECOND and not TOOLCHAINS[name].is_clang:
            assert result.second[1] > 0.99 * result.second[0] > 1000
        if recipe.name in SECOND and ELFUTILS.fullmatch(name):
            assert result.elfutils.counts[EQUAL] > 0.95 * result.elfutils.total > 1000
        if recipe.name == "dwarf2-strict":  # no chain of several levels can be equal: it has no call sites
            assert result.counts[EQUAL] + result.counts[NO_CALL_SITE] > 0.9 * total
            assert result.counts[NO_CALL_SITE] > 500
        else:
            assert result.counts[EQUAL] > LEAST_EQUAL * total
            assert max(map(len, result.chains)) >= 4
            names = {level.function for chain in result.chains for level in chain}
            assert {"innermost", "middle", "looping", "bounded", "work", "third", "complain"} <= names
        files = {level.file for chain in result.chains for level in chain}
        assert files <= SOURCES
        assert files == SOURCES or recipe.name in ("dwarf2-strict", "dwarf5-lto")


def test_an_answer_that_belongs_elsewhere_is_told(tmp_path: Path) -> None:
    toolchain = TOOLCHAINS["gcc-native"]
    missing = toolchain.missing() + ([] if find_program() else ["llvm-symbolizer"])
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    path = build(toolchain, next(recipe for recipe in RECIPES if recipe.name == "dwarf5"), tmp_path).program
    places = list(places_of_program(path))
    moved = [place._replace(oracle=place.oracle + 8) for place in places]
    right, wrong = (compare(path, open_for(path), each, path, set()) for each in (places, moved))
    assert right.unexplained == 0
    assert wrong.unexplained > len(places) / 4


def test_recipes_are_chosen_by_names_that_there_are() -> None:
    names = {recipe.name for recipe in RECIPES}
    assert len(names) == len(RECIPES)
    for toolchain, recipes in REDUCED.items():
        assert set(recipes) == {recipe.name for recipe in chosen(toolchain)} or IS_FULL
        assert set(recipes) <= names
    assert all(any(recipe in recipes_for(toolchain) for toolchain in TOOLCHAINS.values()) for recipe in RECIPES)


@pytest.mark.parametrize("path", STORED, ids=lambda path: str(path.stem))
def test_a_stored_file_has_the_stored_chains(path: Path) -> None:
    answers: dict[str, Any] = json.loads(path.read_text())
    image = DebugImage(ElfFile(path.with_suffix("").read_bytes(), path.stem))
    assert image.is_module == path.stem.endswith(".ko")
    compared = 0
    for section, first, end, names, number in answers["stretches"]:
        expected = answers["chains"][number]
        for value in range(first, end):
            address = LinkAddr(image._bases[section] + value if image.is_module else value)
            where = f"section {section} {value:#x}"
            symbol = image.symbol_at(address)
            if symbol is None:
                assert not names, where
                assert not expected, where
                continue
            if names:
                assert symbol.name.decode().lstrip(".") in {name.lstrip(".") for name in names}, where
            chain = image.chain(address, symbol)
            assert [f"{level.file}:{level.line} {level.function}" for level in chain] == expected, where
            compared += bool(expected)
    assert compared > 250
    assert max(map(len, answers["chains"])) >= 3
    assert sum(answers["left_out"].values()) < compared / 4
    assert image.damage == []


def test_every_machine_has_stored_files_of_both_kinds() -> None:
    machines: dict[tuple[int, int, str], set[bool]] = {}
    for path in STORED:
        elf = ElfFile(path.with_suffix("").read_bytes(), path.stem)
        machines.setdefault((elf.machine, elf.bits, elf.byte_order), set()).add(elf.type == 1)
    assert all(kinds == {True, False} for kinds in machines.values())
    # e_machine of i386, m68k, mips, parisc, ppc, ppc64, s390, arm, sparc64, x86-64, arm64, riscv, loongarch, alpha
    assert {machine for machine, _, _ in machines} == {3, 4, 8, 15, 20, 21, 22, 40, 43, 62, 183, 243, 258, 0x9026}
    assert {(21, 64, "<"), (21, 64, ">"), (8, 32, ">"), (8, 64, "<")} <= set(machines)
