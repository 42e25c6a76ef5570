"""Which files are taken: those that fit the log; and what is said of those that do not."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from fake_world import BUILD_ID, RELEASE, build_kernel, build_module, extent

from annotate.cli.lineinfo import main as lineinfo
from annotate.debuginfo.elf import ElfFile
from annotate.debuginfo.image import DebugImage
from annotate.errors import NoDebugInfoError, UnreadableFileError, UnrecognisedFileError
from annotate.kernel.identify import release_of
from annotate.kernel.images import Images, open_image
from annotate.kernel.locate import Locator, SearchPlaces
from annotate.model import KernelId, Missing
from annotate.resolve import Absence

if TYPE_CHECKING:
    from pathlib import Path

_OTHER_ID = "2" * 40


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """right/vmlinux and right/crasher.ko of one release; other/ the same of another release and build."""
    folder = tmp_path_factory.mktemp("files")
    build_kernel(folder / "right" / "vmlinux")
    build_module(folder / "right" / "crasher.ko", build_id=BUILD_ID)
    build_kernel(folder / "other" / "vmlinux", release="6.9.9", build_id=_OTHER_ID)
    build_module(folder / "other" / "crasher.ko", release="6.9.9", build_id=_OTHER_ID)
    build_kernel(folder / "bare" / "vmlinux", "-g0")
    return folder


class _World:
    """Images over some places, with everything they said."""

    def __init__(
        self, *, kernels: tuple[Path, ...] = (), modules: tuple[Path, ...] = (), beside: tuple[Path, ...] = ()
    ) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []
        named = [tuple(map(str, paths)) for paths in (kernels, modules, beside)]
        places = SearchPlaces(named[0], named[1], named[2])
        self.images = Images(Locator(places), self.warnings.append, self.notes.append)

    def ask(self, module: str = "", release: str = "", build_id: str = "", module_id: str = "") -> str | Absence:
        """The path of the image that is taken, or why there is none."""
        answer = self.images.image_for(module.encode(), module_id.encode(), KernelId(release, build_id=build_id))
        return answer if isinstance(answer, Absence) else answer.source

    def refused(self, module: str = "", release: str = "", build_id: str = "", module_id: str = "") -> Absence:
        answer = self.ask(module, release, build_id, module_id)
        assert isinstance(answer, Absence)
        return answer


def test_files_say_which_kernel_they_are_of(files: Path) -> None:
    kernel, module = open_image(str(files / "right/vmlinux")), open_image(str(files / "right/crasher.ko"))
    assert (kernel.release, kernel.image.build_id, kernel.image.is_module) == (RELEASE, BUILD_ID, False)
    assert (module.release, module.image.build_id, module.image.is_module) == (RELEASE, BUILD_ID, True)
    assert open_image(str(files / "other/vmlinux")).release == "6.9.9"


def test_a_file_that_says_nothing_of_a_kernel_has_no_release(files: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    data = (files / "right/vmlinux").read_bytes().replace(b"Linux version", b"Other version")
    plain.write_bytes(data)
    assert release_of(ElfFile(data, "plain")) == ""
    assert open_image(str(plain)).release == ""


def test_a_kernel_of_the_logs_release_is_taken_from_beside_the_log(files: Path) -> None:
    world = _World(beside=(files / "right",))
    assert world.ask(release=RELEASE) == str(files / "right/vmlinux")
    assert world.ask("crasher", release=RELEASE) == str(files / "right/crasher.ko")
    assert world.warnings == []
    used = [opened.path for opened in world.images.used]
    assert used == [str(files / "right/vmlinux"), str(files / "right/crasher.ko")]


@pytest.mark.parametrize(("module", "missing"), [("", Missing.NO_KERNEL), ("crasher", Missing.NO_MODULE)])
def test_a_file_of_another_release_beside_the_log_is_refused(files: Path, module: str, missing: Missing) -> None:
    world = _World(beside=(files / "other",))
    absence = world.refused(module, release=RELEASE)
    assert absence.missing is missing
    assert str(files / "other") in absence.detail
    assert "6.9.9" in absence.detail
    assert RELEASE in absence.detail
    assert world.images.used == []


def test_a_fitting_file_behind_one_that_does_not_fit_is_found(files: Path) -> None:
    world = _World(kernels=(files,))
    assert world.ask(release=RELEASE) == str(files / "right/vmlinux")
    assert world.ask(release="6.9.9") == str(files / "other/vmlinux")
    assert world.ask("crasher", release=RELEASE) == str(files / "right/crasher.ko")
    assert world.warnings == []


def test_an_explicit_kernel_of_another_release_is_used_with_one_warning(files: Path) -> None:
    path = files / "other/vmlinux"
    world = _World(kernels=(path,))
    assert world.ask(release=RELEASE) == str(path)
    assert world.ask(release=RELEASE) == str(path)
    assert len(world.warnings) == 1
    for word in (str(path), "6.9.9", RELEASE):
        assert word in world.warnings[0]


def test_the_warning_is_not_repeated_when_the_log_tells_its_build_id_later(files: Path) -> None:
    world = _World(kernels=(files / "other/vmlinux",))
    world.ask(release=RELEASE)
    world.ask(release=RELEASE, build_id=_OTHER_ID)
    assert len(world.warnings) == 1


def test_an_explicit_module_of_another_release_is_used_with_one_warning(files: Path) -> None:
    path = files / "other/crasher.ko"
    world = _World(modules=(path,))
    assert world.ask("crasher", release=RELEASE) == str(path)
    assert len(world.warnings) == 1


@pytest.mark.parametrize("explicit", [True, False])
def test_another_build_id_is_refused_explicit_or_not(files: Path, *, explicit: bool) -> None:
    world = _World(kernels=(files / "right/vmlinux",)) if explicit else _World(beside=(files / "right",))
    absence = world.refused(release=RELEASE, build_id=_OTHER_ID)
    assert absence.missing is Missing.BUILD_ID_DIFFERS
    assert BUILD_ID in absence.detail
    assert _OTHER_ID in absence.detail
    assert world.images.used == []


@pytest.mark.parametrize("place", [0, 4, 8, 20, 39])
def test_build_ids_that_differ_in_one_digit_are_of_different_builds(files: Path, place: int) -> None:
    other = BUILD_ID[:place] + "2" + BUILD_ID[place + 1 :]
    world = _World(kernels=(files / "right" / "vmlinux",), modules=(files / "right" / "crasher.ko",))
    assert world.refused(release=RELEASE, build_id=other).missing is Missing.BUILD_ID_DIFFERS
    assert world.refused("crasher", release=RELEASE, module_id=other).missing is Missing.BUILD_ID_DIFFERS
    assert world.ask(release=RELEASE, build_id=BUILD_ID) == str(files / "right" / "vmlinux")


@pytest.mark.parametrize("release", [RELEASE[:-1], RELEASE + "x", RELEASE + "-1", RELEASE[1:], RELEASE.upper()])
def test_releases_of_which_one_is_a_part_of_the_other_are_different(files: Path, release: str) -> None:
    """6.1.0-5 is another kernel than 6.1.0-56."""
    world = _World(beside=(files / "right",))
    assert world.refused(release=release).missing is Missing.NO_KERNEL
    assert world.refused("crasher", release=release).missing is Missing.NO_MODULE


def test_the_build_id_in_a_module_bracket_decides_for_modules(files: Path) -> None:
    world = _World(modules=(files / "right/crasher.ko",))
    assert world.ask("crasher", module_id=BUILD_ID) == str(files / "right/crasher.ko")
    assert world.ask("crasher", module_id=BUILD_ID[:12]) == str(files / "right/crasher.ko")
    assert world.refused("crasher", module_id=_OTHER_ID).missing is Missing.BUILD_ID_DIFFERS


def test_the_build_id_of_the_kernel_says_nothing_of_modules(files: Path) -> None:
    world = _World(beside=(files / "right",))
    assert world.ask("crasher", release=RELEASE, build_id=_OTHER_ID) == str(files / "right/crasher.ko")


def test_a_build_id_that_fits_is_found_behind_one_that_does_not(files: Path) -> None:
    world = _World(kernels=(files,))
    assert world.ask(release="", build_id=BUILD_ID) == str(files / "right/vmlinux")
    assert world.ask(release="", build_id=_OTHER_ID) == str(files / "other/vmlinux")


def test_a_log_that_names_no_kernel_takes_what_is_there(files: Path) -> None:
    assert _World(beside=(files / "other",)).ask() == str(files / "other/vmlinux")


def test_module_names_with_dashes_are_those_with_underscores(files: Path, tmp_path: Path) -> None:
    dashed = tmp_path / "big-crasher.ko"
    dashed.write_bytes((files / "right/crasher.ko").read_bytes())
    world = _World(modules=(tmp_path,))
    assert world.ask("big_crasher") == str(dashed)
    assert world.ask("big-crasher") == str(dashed)
    assert world.refused("crasher").missing is Missing.NO_MODULE


def test_a_module_given_with_k_answers_for_its_frames(files: Path) -> None:
    """``-k`` takes every file that can answer; the locator offers it, so it must not be refused for being a module."""
    path = files / "right/crasher.ko"
    assert _World(kernels=(path,)).ask("crasher", release=RELEASE) == str(path)


def test_a_module_does_not_pass_for_a_kernel(files: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "vmlinux"
    wrong.write_bytes((files / "right/crasher.ko").read_bytes())
    world = _World(beside=(tmp_path,))
    assert str(wrong) in world.refused().detail
    (error,) = _World(kernels=(wrong,)).images.open_explicit()
    assert isinstance(error, UnrecognisedFileError)
    assert str(wrong) in str(error)


def test_a_kernel_does_not_pass_for_a_module(files: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "crasher.ko"
    wrong.write_bytes((files / "right/vmlinux").read_bytes())
    assert str(wrong) in _World(modules=(wrong,)).refused("crasher").detail


def test_a_file_without_debug_info_is_told_from_no_file(files: Path) -> None:
    absence = _World(beside=(files / "bare",)).refused()
    assert absence.missing is Missing.NO_TABLE
    assert str(files / "bare/vmlinux") in absence.detail


def test_nothing_to_try_says_what_to_give(tmp_path: Path) -> None:
    assert _World().refused() == Absence(Missing.NO_KERNEL, "give one with -k or -m")
    assert str(tmp_path) in _World(beside=(tmp_path,)).refused("crasher").detail


def test_explicit_kernels_are_opened_at_once_and_everything_wrong_is_told(files: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes"
    text.write_text("no kernel")
    gone = tmp_path / "gone"
    world = _World(kernels=(files / "right/vmlinux", text, files / "bare/vmlinux", gone))
    errors = world.images.open_explicit()
    assert {error.source: type(error) for error in errors} == {
        str(gone): UnreadableFileError,
        str(text): UnrecognisedFileError,
        str(files / "bare/vmlinux"): NoDebugInfoError,
    }
    assert len(errors) == 3
    assert world.ask() == str(files / "right/vmlinux")


def test_a_file_is_opened_once_and_every_try_is_noted(files: Path) -> None:
    world = _World(kernels=(files / "right/vmlinux",))
    assert world.images.open_explicit() == []
    for release in ("", RELEASE, "6.9.9"):
        world.ask(release=release)
    tries = [note for note in world.notes if note.startswith("tried ")]
    assert len(tries) == 1
    assert str(files / "right/vmlinux") in tries[0]
    assert "given with -k" in tries[0]
    assert [note for note in world.notes if note.startswith("using ")] == [
        f"using {files / 'right/vmlinux'} (given with -k): dwarf"
    ]


def test_an_answer_is_an_image_that_can_be_asked(files: Path) -> None:
    world = _World(kernels=(files / "right/vmlinux",))
    image = world.images.image_for(b"", b"", KernelId())
    assert isinstance(image, DebugImage)
    first = extent(files / "right/vmlinux", "first")
    (symbol,) = image.find(b"first")
    assert (symbol.address, symbol.size, symbol.is_code) == (first.address, first.size, True)


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"text\n" * 9, b"\0" * 100])
def test_a_file_that_is_no_elf_file_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(content)
    (error,) = _World(kernels=(path,)).images.open_explicit()
    assert str(error).startswith(f"{path}: ")


def test_what_a_module_embeds_is_asked_only_when_there_is_nothing_better(files: Path, tmp_path: Path) -> None:
    embedded, table = tmp_path / "bare" / "crasher.ko", tmp_path / "crasher.lineinfo"
    embedded.parent.mkdir()
    assert lineinfo(["embed", str(files / "right/crasher.ko"), "-o", str(embedded)]) == 0
    subprocess.run(["strip", "-g", embedded], check=True)
    assert lineinfo(["build", str(files / "right/crasher.ko"), "-o", str(table), "--jobs", "1"]) == 0
    with_dwarf = files / "right/crasher.ko"
    alone = _World(modules=(embedded,))
    assert alone.ask("crasher") == str(embedded)
    assert [note for note in alone.notes if note.startswith("using ")] == [
        f"using {embedded} (given with -m): embedded v5"
    ]
    assert _World(modules=(embedded, with_dwarf)).ask("crasher") == str(with_dwarf)
    assert _World(modules=(embedded, with_dwarf, table)).ask("crasher") == str(table)
