"""Where files are looked for: in which order, and why each is tried."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from annotate.kernel.locate import Candidate, Locator, SearchPlaces, is_kernel_name, module_name

if TYPE_CHECKING:
    from pathlib import Path


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("/lib/xfs.ko", "xfs"),
        ("snd-hda-intel.ko", "snd_hda_intel"),
        ("/usr/lib/debug/nf_tables.ko.debug", "nf_tables"),
        ("a.b.ko", "a.b"),
        ("vmlinux", ""),
        ("xfs.ko.txt", ""),
        ("xfs.o", ""),
        ("folder.ko/notes", ""),
    ],
)
def test_a_module_is_called_like_its_file_with_underscores(path: str, module: str) -> None:
    assert module_name(path) == module


@pytest.mark.parametrize("name", ["vmlinux", "vmlinux-6.1.0", "vmlinux.debug", "/boot/vmlinux"])
def test_kernels_are_known_by_their_names(name: str) -> None:
    assert is_kernel_name(name)


@pytest.mark.parametrize("name", ["vmlinuz", "vmlinux2", "my-vmlinux", "vmlinux/xfs.ko", "System.map", ""])
def test_other_names_are_no_kernels(name: str) -> None:
    assert not is_kernel_name(name)


def test_kernels_come_in_the_users_order_then_from_beside_the_log(tmp_path: Path) -> None:
    _touch(
        tmp_path, "tree/b/vmlinux", "tree/a/vmlinux-6.1", "tree/a/notes", "tree/xfs.ko", "logs/vmlinux", "logs/a.log"
    )
    tree, logs = str(tmp_path / "tree"), str(tmp_path / "logs")
    places = SearchPlaces(kernels=("/given/any-name", tree, "/given/xfs.ko", "/given/second"), beside=(logs,))
    assert list(Locator(places).kernels()) == [
        Candidate("/given/any-name", "given with -k", explicit=True),
        Candidate(f"{tree}/a/vmlinux-6.1", f"in {tree} (-k)", explicit=False),
        Candidate(f"{tree}/b/vmlinux", f"in {tree} (-k)", explicit=False),
        Candidate("/given/second", "given with -k", explicit=True),
        Candidate(f"{logs}/vmlinux", "beside the log", explicit=False),
    ]


def test_modules_come_from_m_then_k_then_beside_the_log(tmp_path: Path) -> None:
    _touch(
        tmp_path, "mods/x/snd-hda.ko", "mods/x/snd_hda.ko.debug", "mods/xfs.ko", "tree/snd_hda.ko", "logs/snd-hda.ko"
    )
    mods, tree, logs = (str(tmp_path / name) for name in ("mods", "tree", "logs"))
    places = SearchPlaces(
        kernels=(tree, "/given/snd-hda.ko"), modules=("/m/xfs.ko", "/m/snd_hda.ko", mods), beside=(logs,)
    )
    expected = [
        Candidate("/m/snd_hda.ko", "given with -m", explicit=True),
        Candidate(f"{mods}/x/snd-hda.ko", f"in {mods} (-m)", explicit=False),
        Candidate(f"{mods}/x/snd_hda.ko.debug", f"in {mods} (-m)", explicit=False),
        Candidate(f"{tree}/snd_hda.ko", f"in {tree} (-k)", explicit=False),
        Candidate("/given/snd-hda.ko", "given with -k", explicit=True),
        Candidate(f"{logs}/snd-hda.ko", "beside the log", explicit=False),
    ]
    assert list(Locator(places).modules("snd_hda")) == expected
    assert list(Locator(places).modules("snd-hda")) == expected
    assert list(Locator(places).modules("hda")) == []


def test_without_places_there_are_no_candidates() -> None:
    locator = Locator(SearchPlaces())
    assert list(locator.kernels()) == []
    assert list(locator.modules("xfs")) == []
    assert locator.places_tried() == "give one with -k or -m"
    assert locator.check() == []


def test_the_places_that_were_tried_are_all_named() -> None:
    locator = Locator(SearchPlaces(("/k",), ("/m",), ("logs",)))
    assert locator.places_tried() == "tried: /k, /m, beside the log in logs"


def test_a_tree_is_walked_once(tmp_path: Path) -> None:
    _touch(tmp_path, "vmlinux", "xfs.ko")
    locator = Locator(SearchPlaces(kernels=(str(tmp_path),)))
    assert len(list(locator.kernels())) == 1
    _touch(tmp_path, "deeper/vmlinux", "deeper/xfs.ko")
    assert len(list(locator.kernels())) == 1
    assert len(list(locator.modules("xfs"))) == 1


def test_a_folder_of_a_log_that_cannot_be_listed_offers_nothing(tmp_path: Path) -> None:
    locator = Locator(SearchPlaces(beside=(str(tmp_path / "gone"),)))
    assert list(locator.kernels()) == []
    assert list(locator.modules("xfs")) == []


def test_places_that_cannot_be_used_are_named_each_with_the_reason(tmp_path: Path) -> None:
    _touch(tmp_path, "vmlinux")
    good, gone = str(tmp_path / "vmlinux"), str(tmp_path / "gone")
    below_a_file = os.path.join(good, "x")
    places = SearchPlaces(kernels=(good, str(tmp_path), gone), modules=(below_a_file,))
    assert [str(error) for error in Locator(places).check()] == [
        f"{gone}: cannot be read: No such file or directory",
        f"{below_a_file}: cannot be read: Not a directory",
    ]
