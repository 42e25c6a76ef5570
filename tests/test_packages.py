"""Packages are read without being installed: their tables are those of the unpacked tree, and no archive gets its way.

LINEINFO_DEBUG_PACKAGE names a real package of a kernel with debug info, as ``apt-get download linux-image-…-dbg``
brings it. It is compared with what ``dpkg-deb -x`` unpacks.
"""

from __future__ import annotations

import gzip
import lzma
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from fake_world import BUILD_ID, build_kernel, build_module, extent
from package_writer import END, checked, cpio, deb, described_rpm, info, rpm, stripped, tar

from annotate import limits
from annotate.cache import TableCache
from annotate.errors import AnnotateError, DamagedFileError, NoDebugInfoError, UnsupportedFileError
from annotate.kernel.archives import is_package, members
from annotate.kernel.build import Options, build, sources_in
from annotate.kernel.locate import is_kernel_name, module_name
from annotate.kernel.packages import Unpacker, table_of_package, workspace
from annotate.tables.versions import open_record, open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from annotate.kernel.build import Report

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAM = (sys.executable, "-m", "annotate.cli.lineinfo")
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(REPOSITORY)}
PATIENCE = 120

FOLDER = "usr/lib/debug/lib/modules/6.1.0-test"
DAMAGES = 600
KILLS = 40


def quiet(_done: int, _total: int) -> None:
    pass


def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**ENVIRONMENT, **variables},
        timeout=PATIENCE,
    )


def dump(path: Path) -> str:
    done = run("dump", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    return done.stdout


def read(path: Path) -> list[tuple[str, bytes]]:
    """What is wanted of a package."""
    return [
        (member.name, b"".join(member.pieces()))
        for member in members(str(path), lambda name: bool(module_name(name)) or is_kernel_name(name), quiet)
    ]


class World(NamedTuple):
    """An unpacked package: links, other files and two modules beside a kernel."""

    root: Path
    table: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("packages")
    root = folder / "root"
    below = root / FOLDER
    build_kernel(below / "vmlinux")
    build_module(below / "kernel" / "drivers" / "crasher.ko.debug")
    build_module(below / "kernel" / ("a-very-long-folder-" * 8) / "crasher-two.ko", more="y += 7;")
    packed = build_module(below / "kernel" / "packed.ko", more="y += 9;")
    packed.with_suffix(".ko.xz").write_bytes(lzma.compress(packed.read_bytes()))
    packed.unlink()
    (root / "usr/lib/debug/boot").mkdir()
    (root / "usr/lib/debug/boot/vmlinux-6.1.0-test").symlink_to("../lib/modules/6.1.0-test/vmlinux")
    (below / "kernel" / "linked.ko").symlink_to("drivers/crasher.ko.debug")
    (below / "kernel" / "again").mkdir()
    os.link(below / "kernel" / "drivers" / "crasher.ko.debug", below / "kernel" / "again" / "crasher.ko.debug")
    (below / "vmlinux-gdb.py").write_text("# a script\n")
    (root / "usr/share/doc/it").mkdir(parents=True)
    (root / "usr/share/doc/it/copyright").write_text("anybody\n")
    # As the tree is without names that lead to the same file.
    plain = folder / "plain"
    shutil.copytree(root, plain, ignore=lambda _folder, names: [n for n in names if n.startswith(("again", "linked"))])
    shutil.rmtree(plain / "usr/lib/debug/boot")
    (plain / FOLDER / "vmlinux-gdb.py").unlink()
    table = folder / "tree.lineinfo"
    build(list(sources_in(str(plain))), str(table), Options(), quiet)
    return World(root, table)


def need(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not there: install Debian's {'dpkg' if tool == 'dpkg-deb' else 'rpm'}")


def make_deb(root: Path, path: Path, kind: str) -> Path:
    need("dpkg-deb")
    control = root / "DEBIAN"
    control.mkdir(exist_ok=True)
    (control / "control").write_text(
        "Package: linux-image-test-dbg\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
        "Description: a test\n"
    )
    command = ["dpkg-deb", f"-Z{kind}", "--root-owner-group", "-b", str(root), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    shutil.rmtree(control)
    if kind == "zstd" and "unknown compression type" in done.stderr:
        pytest.skip("this dpkg-deb knows no zstd")
    assert done.returncode == 0, done.stderr
    return path


def make_rpm(root: Path, folder: Path, payload: str) -> Path:
    need("rpmbuild")
    spec = folder / "test.spec"
    spec.write_text(
        f"Name: kernel-debuginfo-test\nVersion: 1\nRelease: 1\nSummary: a test\nLicense: MIT\nBuildArch: noarch\n"
        f"AutoReqProv: no\n%description\na test\n%install\nmkdir -p %{{buildroot}}\ncp -a {root}/. %{{buildroot}}/\n"
        "%files\n/usr\n"
    )
    defines = {
        "_topdir": str(folder / "top"),
        "_binary_payload": payload,
        "__os_install_post": "%{nil}",
        "debug_package": "%{nil}",
        "_build_id_links": "none",
        "__arch_install_post": "%{nil}",
        "_binaries_in_noarch_packages_terminate_build": "0",
        "_rpmdir": str(folder),
    }
    options = [part for name, value in defines.items() for part in ("--define", f"{name} {value}")]
    done = subprocess.run(
        ["rpmbuild", "-bb", *options, str(spec)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    (found,) = folder.rglob("*.rpm")
    return found


DEBS = ("xz", "zstd", "gzip", "none")
RPMS = {"xz": "w2.xzdio", "zstd": "w3.zstdio", "gzip": "w6.gzdio", "bzip2": "w6.bzdio", "none": "w.ufdio"}


@pytest.fixture(params=[*(f"deb {kind}" for kind in DEBS), *(f"rpm {kind}" for kind in RPMS)])
def package(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Path:
    sort, kind = str(request.param).split()
    made = tmp_path / "made"
    made.mkdir()
    if sort == "deb":
        return make_deb(world.root, made / "linux-image-test-dbg.deb", kind)
    return make_rpm(world.root, made, RPMS[kind])


# --- honest packages ----------------------------------------------------------------------------------------------


def test_the_table_of_a_package_is_that_of_the_unpacked_tree(package: Path, world: World, tmp_path: Path) -> None:
    assert is_package(str(package))
    output = tmp_path / "out" / "package.lineinfo"
    output.parent.mkdir()
    done = run("build", package, "-o", output, "--jobs", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert dump(output) == dump(world.table)
    assert os.listdir(output.parent) == [output.name]
    file = open_table(output.read_bytes(), "")
    made_from = {record.name: open_record(file, record).made_from for record in file.records()}
    assert made_from[b""] == f"{FOLDER}/vmlinux of {package.name}"
    assert made_from[b"packed"] == f"{FOLDER}/kernel/packed.ko.xz of {package.name}"
    assert set(made_from) == {b"", b"crasher", b"crasher_two", b"packed"}


def test_the_members_are_those_that_dpkg_unpacks(world: World, tmp_path: Path) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "xz")
    subprocess.run(["dpkg-deb", "-x", str(package), str(tmp_path / "x")], check=True, timeout=PATIENCE)
    found = read(package)
    assert len(found) == 5  # the script too
    for name, data in found:
        assert (tmp_path / "x" / name).read_bytes() == data


def test_the_function_of_a_log_can_be_picked_from_a_package(world: World, tmp_path: Path) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "xz")
    log = tmp_path / "log"
    log.write_text("[ 1.0] Call Trace:\n[ 1.0]  crash_now+0x1/0x10 [crasher]\n")
    done = run("build", package, "-o", tmp_path / "out.lineinfo", "--only-frames", log)
    assert (done.returncode, done.stderr) == (0, "")
    file = open_table((tmp_path / "out.lineinfo").read_bytes(), "")
    assert [record.name for record in file.records()] == [b"crasher"]
    assert not list(tmp_path.glob(".unpacked*"))


def test_packages_that_were_split_make_one_table(world: World, tmp_path: Path) -> None:
    packages = []
    for number, part in enumerate(("kernel", "vmlinux")):
        root = tmp_path / f"root{number}" / FOLDER
        root.mkdir(parents=True)
        source = world.root / FOLDER / part
        if source.is_dir():
            shutil.copytree(source, root / part, symlinks=True, ignore=lambda _folder, names: {"again"} & set(names))
        else:
            shutil.copy(source, root / part)
        (tmp_path / str(number)).mkdir()
        packages.append(make_deb(tmp_path / f"root{number}", tmp_path / str(number) / "same-name.deb", "xz"))
    done = run("build", *packages, "-o", tmp_path / "out.lineinfo")
    assert (done.returncode, done.stderr) == (0, "")
    assert dump(tmp_path / "out.lineinfo") == dump(world.table)


@pytest.mark.parametrize(("group", "most_waiting"), [(1, 1 << 30), (1 << 30, 0), (1, 0), (20_000, 10_000)])
def test_a_kernel_comes_first_and_no_module_is_lost(
    group: int, most_waiting: int, world: World, tmp_path: Path
) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "xz")
    folder = tmp_path / "unpacked"
    folder.mkdir()
    seen: list[str] = []
    with Unpacker(str(folder), quiet, group=group, most_waiting=most_waiting) as unpacker:
        for sources in unpacker.groups([str(package)]):
            there = [path for path in folder.rglob("*") if path.is_file()]
            assert {source.path for source in sources} <= set(map(str, there))
            assert not {f"{folder}/a.deb/{name}" for name in seen} & set(map(str, there))
            seen += [source.path.removeprefix(f"{folder}/a.deb/") for source in sources]
    assert seen[0] == f"{FOLDER}/vmlinux"
    assert sorted(seen) == sorted(name for name, data in read(package) if data.startswith((b"\x7fELF", b"\xfd7zXZ")))
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_nothing_is_unpacked_after_the_end(world: World, tmp_path: Path) -> None:
    """Whoever leaves early, as an error in a build does, can remove the folder at once."""
    root = tmp_path / "root"
    shutil.copytree(world.root / FOLDER, root / FOLDER, symlinks=True)
    for number in range(20):
        (root / FOLDER / f"z{number}.ko").write_bytes(b"\x7fELF" + bytes(20_000_000))
    package = make_deb(root, tmp_path / "a.deb", "gzip")
    folder = tmp_path / "unpacked"
    folder.mkdir()
    with Unpacker(str(folder), quiet, most_waiting=0) as unpacker:
        (first,) = next(unpacker.groups([str(package)]))
        assert first.name == ""
    shutil.rmtree(folder)
    assert threading.active_count() == 1
    assert not folder.exists()


def test_a_tree_is_still_a_tree_and_a_package_beside_it_is_added(world: World, tmp_path: Path) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "xz")
    own = build_module(tmp_path / "own" / "mine.ko", more="y += 99;")
    done = run("build", own, package, "-o", tmp_path / "out.lineinfo")
    assert (done.returncode, done.stderr) == (0, "")
    names = [record.name for record in open_table((tmp_path / "out.lineinfo").read_bytes(), "").records()]
    assert names == [b"", *sorted(names[1:])]
    assert {b"mine", b"crasher_two"} <= set(names)


def test_what_cannot_be_used_is_named_by_its_package(tmp_path: Path) -> None:
    root = tmp_path / "root"
    build_kernel(root / FOLDER / "vmlinux")
    (root / FOLDER / "broken.ko").write_bytes(b"\x7fELF, it says")
    package = make_deb(root, tmp_path / "a.deb", "xz")
    done = run("build", package, "-o", tmp_path / "out.lineinfo")
    assert done.returncode == 0
    assert done.stderr.startswith(f"lineinfo: a.deb/{FOLDER}/broken.ko: ")
    assert done.stderr.endswith("; left out\n")


def test_a_package_without_a_kernel_is_one_sentence(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr").mkdir(parents=True)
    (root / "usr" / "vmlinux.txt").write_text("no kernel\n")
    package = make_deb(root, tmp_path / "a.deb", "xz")
    done = run("build", package, "-o", tmp_path / "out.lineinfo")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    with pytest.raises(NoDebugInfoError, match="found none"):
        table_of_package(str(package), TableCache(str(tmp_path / "cache")), Options(), quiet)


@pytest.mark.parametrize("sort", [signal.SIGTERM, signal.SIGINT])
def test_a_build_that_is_ended_leaves_nothing(sort: signal.Signals, world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(world.root, root, symlinks=True)
    (root / FOLDER / "z.ko").write_bytes(b"\x7fELF" + random.Random(1).randbytes(30_000_000))
    package = make_deb(root, tmp_path / "a.deb", "none")
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(
        [*PROGRAM, "build", str(package), "-o", str(folder / "out.lineinfo"), "--jobs", "1"], env=ENVIRONMENT
    )
    deadline = time.monotonic() + PATIENCE
    while not list(folder.glob(".unpacked*/a.deb/**/*.ko*")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(sort)
    assert process.wait(timeout=PATIENCE) in (128 + sort, 130)
    assert os.listdir(folder) == []


def test_a_workspace_is_beside_the_output_or_in_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    with workspace(str(tmp_path / "out")) as folder:
        assert os.path.dirname(folder) == str(tmp_path)
        assert os.stat(folder).st_mode & 0o777 == 0o700
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "other"))
    monkeypatch.setattr("tempfile.tempdir", None)
    with workspace(str(tmp_path / "out")) as folder:
        assert os.path.dirname(folder) == str(tmp_path / "other")
    assert not os.path.exists(folder)


def test_what_a_killed_build_left_is_removed_by_the_next_one_and_nothing_else(tmp_path: Path) -> None:
    abandoned, fresh, target = tmp_path / ".unpacked.old", tmp_path / ".unpacked.new", tmp_path / "precious"
    for folder in (abandoned, fresh, target):
        folder.mkdir()
        (folder / "file").touch()
    (tmp_path / ".unpacked.link").symlink_to(target)
    long_ago = time.time() - 3600
    for folder in (abandoned, target):
        os.utime(folder, (long_ago, long_ago))
    with workspace(str(tmp_path / "out")) as mine:
        os.utime(mine, (long_ago, long_ago))
        with workspace(str(tmp_path / "other")):
            assert os.path.exists(mine)  # in use, however old
    assert sorted(os.listdir(tmp_path)) == [".unpacked.link", ".unpacked.new", "precious"]
    assert (target / "file").exists()


def test_packages_are_asked_like_any_other_file(world: World, tmp_path: Path) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "gzip")
    kept = {"LINEINFO_CACHE": str(tmp_path / "cache")}
    assert run("dump", package, **kept).stdout == dump(world.table)
    told = run("info", package, **kept).stdout
    assert told.startswith(f"{tmp_path}/cache/{BUILD_ID}.lineinfo: ")
    assert told.count(" of a.deb") == 4
    first = extent(world.root / FOLDER / "vmlinux", "first").frame(1).decode()
    asked = run("lookup", "-k", package, first, **kept)
    assert asked.stdout == run("lookup", "-k", world.table, first).stdout
    assert "(fs/first.c:" in asked.stdout
    (tmp_path / "file").touch()
    done = run("info", package, LINEINFO_CACHE=str(tmp_path / "file"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{package}: its table could not be kept: " in done.stderr


# --- packages and the cache ---------------------------------------------------------------------------------------


def test_a_package_is_unpacked_once_for_the_cache(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "xz")
    cache = TableCache(str(tmp_path / "cache"))
    reports: list[Report] = []
    path = table_of_package(str(package), cache, Options(), quiet, reports.append)
    assert path == cache.path_of(BUILD_ID)
    assert dump(Path(path)) == dump(world.table)
    assert [report.images for report in reports] == [4]
    assert sorted(name.rpartition(".")[2] for name in os.listdir(cache.folder)) == ["known", "lineinfo"]
    with monkeypatch.context() as patch:
        patch.setattr("annotate.kernel.packages.members", None)
        assert table_of_package(str(package), TableCache(cache.folder), Options(), quiet) == path
    package.touch()  # another package, as far as can be told
    assert table_of_package(str(package), cache, Options(), quiet, reports.append) == path
    assert len(reports) == 2
    os.unlink(path)
    assert table_of_package(str(package), cache, Options(), quiet, reports.append) == path
    assert len(reports) == 3
    assert cache.notes == []


def test_a_table_of_the_kernel_alone_is_not_taken_for_that_of_its_package(world: World, tmp_path: Path) -> None:
    cache = TableCache(str(tmp_path / "cache"))
    vmlinux = str(world.root / FOLDER / "vmlinux")
    assert cache.add(BUILD_ID, lambda path: build(list(sources_in(vmlinux)), path, Options(), quiet)) is not None
    package = make_deb(world.root, tmp_path / "a.deb", "xz")
    path = table_of_package(str(package), cache, Options(), quiet)
    assert path is not None
    assert open_table(Path(path).read_bytes(), "").count == 4


def test_the_command_takes_packages_into_the_cache(world: World, tmp_path: Path) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "gzip")
    folder = tmp_path / "cache"
    for _ in range(2):
        done = run("cache", "add", package, "--jobs", "1", LINEINFO_CACHE=str(folder))
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{folder}/{BUILD_ID}.lineinfo\n", "")


def test_a_cache_that_cannot_be_used_gives_no_table_of_a_package(world: World, tmp_path: Path) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "gzip")
    (tmp_path / "file").touch()
    cache = TableCache(str(tmp_path / "file"))
    assert table_of_package(str(package), cache, Options(), quiet) is None
    assert len(cache.notes) == 1


ONE_OF_MANY = """
import sys
from annotate.cache import TableCache
from annotate.kernel.build import Options
from annotate.kernel.packages import table_of_package
quiet = lambda *_: None
path = table_of_package(sys.argv[1], TableCache(sys.argv[2]), Options(), quiet, lambda report: print("made"))
print(path)
"""


def test_of_processes_that_start_at_once_one_unpacks(world: World, tmp_path: Path) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "xz")
    command = (sys.executable, "-c", ONE_OF_MANY, str(package), str(tmp_path / "cache"))
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) for _ in range(8)]
    answers = [process.communicate(timeout=PATIENCE)[0].decode().split() for process in processes]
    path = f"{tmp_path}/cache/{BUILD_ID}.lineinfo"
    assert sorted(answers) == [*[[path]] * 7, ["made", path]]


ONE_THAT_IS_KILLED = """
import os, sys
from annotate.cache import TableCache
from annotate.kernel.build import Options
from annotate.kernel.packages import table_of_package
quiet = lambda *_: None
cache = TableCache(sys.argv[2])
sys.stdin.readline()
print("begun", flush=True)
while True:
    path = table_of_package(sys.argv[1], cache, Options(), quiet)
    if path is None or cache.notes:
        sys.exit(f"{path} {cache.notes}")
    os.unlink(path)
"""


def test_a_kill_at_any_moment_leaves_nothing_of_a_package(world: World, tmp_path: Path) -> None:
    package = make_deb(world.root, tmp_path / "a.deb", "none")
    cache = TableCache(str(tmp_path / "cache"))
    command = (sys.executable, "-c", ONE_THAT_IS_KILLED, str(package), cache.folder)
    generator = random.Random(1)
    unpacked = 0
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"begun\n"
        time.sleep(generator.uniform(0, 0.1))
        process.kill()
        process.communicate(timeout=PATIENCE)
        assert process.returncode == -signal.SIGKILL
        unpacked += any(Path(cache.folder).glob("package-*.part/a.deb/**/*.ko*"))
        path = cache.find(BUILD_ID)
        assert path is None or open_table(Path(path).read_bytes(), "").count == 4
    assert unpacked > 1  # else nobody was killed in the middle of it
    path = table_of_package(str(package), cache, Options(), quiet)
    assert path is not None
    assert dump(Path(path)) == dump(world.table)
    assert sorted(name.rpartition(".")[2] for name in os.listdir(cache.folder)) == ["known", "lineinfo"]
    assert cache.notes == []


# --- archives that lie --------------------------------------------------------------------------------------------


ELF = b"\x7fELF" + bytes(60)


def test_packages_made_by_hand_are_read(tmp_path: Path) -> None:
    """So that what follows fails for what is wrong with it."""
    path = tmp_path / "p"
    for data in (
        deb(tar([(info("./x/vmlinux", 64), ELF)])),
        deb(gzip.compress(tar([(info("x/vmlinux", 64), ELF)])), name=b"data.tar.gz/"),
        deb(tar([(info("x/vmlinux", 64), ELF)], tarfile.PAX_FORMAT)),
        rpm(cpio(b"./x/vmlinux", ELF) + END),
        rpm(cpio(b"x/vmlinux", ELF) + END + bytes(400)),
        rpm(gzip.compress(cpio(b"x/vmlinux", ELF)) + bytes(8) + gzip.compress(END)),
    ):
        path.write_bytes(data)
        assert read(path) == [("x/vmlinux", ELF)]


def bomb() -> bytes:
    """Megabytes that become gigabytes of zeros where a name should be."""
    return gzip.compress(bytes(3 << 20))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a tar name that leaves": (lambda: deb(tar([(info("../../etc/vmlinux", 64), ELF)])), "below its root"),
    "an absolute tar name": (lambda: deb(tar([(info("/etc/vmlinux", 64), ELF)])), "below its root"),
    "a tar name that leaves later": (lambda: deb(tar([(info("a/../../b.ko", 64), ELF)])), "below its root"),
    "a tar name in pax that leaves": (
        lambda: deb(tar([(info("a/" * 200 + "../b.ko", 64), ELF)], tarfile.PAX_FORMAT)),
        "below its root",
    ),
    "a device in tar": (lambda: deb(tar([(info("vmlinux", 0, tarfile.CHRTYPE), b"")])), "an ordinary file"),
    "a pipe in tar": (lambda: deb(tar([(info("a.ko", 0, tarfile.FIFOTYPE), b"")])), "an ordinary file"),
    "a sparse file in tar": (lambda: deb(sparse()), "an ordinary file|tar archive"),
    "a tar file larger than any": (lambda: deb(tar_claiming(1 << 33)), "at most"),
    "a tar file that is cut off": (lambda: deb(tar([(info("vmlinux", 64), ELF)])[:540]), "cut off|tar archive"),
    "a tar archive without an end": (lambda: deb(tar([(info("vmlinux", 64), ELF)])[:1024]), "tar archive"),
    "a tar header that is damaged": (lambda: deb(damaged_tar()), "tar archive"),
    "a tar file of size -1": (lambda: deb(sized(-1)), "the size of a file"),
    "a tar file of size -600": (lambda: deb(sized(-600)), "the size of a file"),
    "a tar file of size -1 in pax": (lambda: deb(pax(size="-1")), "the size of a file"),
    "a pax size that is no number": (lambda: deb(pax(**{"GNU.sparse.size": "x"})), "tar archive"),
    "a pax map that is no numbers": (lambda: deb(pax(**{"GNU.sparse.map": "1,x"})), "tar archive"),
    "a pax map that is not there": (
        lambda: deb(pax(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})),
        "tar archive",
    ),
    "a pax text in no encoding": (
        lambda: deb(pax(hdrcharset="?").replace(b"hdrcharset=?", b"hdrcharset=\xff")),
        "tar archive",
    ),
    "a pax header longer than any": (lambda: deb(gzip.compress(pax(comment="1" * 20_000))), "an extended header"),
    "tar headers that announce each other": (
        lambda: deb(gzip.compress(info("long", 0, tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT) * 2000)),
        "tar archive",
    ),
    "no tar archive": (lambda: deb(b"x" * 5000), "tar archive"),
    "an empty tar archive": (lambda: deb(b""), "tar archive"),
    "a tar name of gigabytes": (lambda: deb(gzip.compress(long_name(1 << 26))), "the next file"),
    "a pax header of gigabytes": (lambda: deb(gzip.compress(long_name(1 << 26, b"x"))), "an extended header"),
    "a compressed archive that is cut off": (
        lambda: deb(lzma.compress(tar([(info("vmlinux", 64), ELF)]))[:-20]),
        "end of the compressed data",
    ),
    "compressed data that are damaged": (lambda: deb(damaged_xz()), "compressed data"),
    "an unwanted file that never ends": (
        lambda: deb(lzma.compress(tar_claiming(1 << 32, "usr/a") + bytes(1 << 27))),
        "at most",
    ),
    "an ar size below 0": (lambda: deb(b"x", name=b"other", size=b"-60"), "an ar header"),
    "an ar size that is no number": (lambda: deb(b"x", size=b"1e3"), "an ar header"),
    "an ar size beyond the file": (lambda: deb(tar([]), size=b"99999999"), "cut off"),
    "an ar name of length -1": (lambda: deb(b"x", name=b"#1/-1"), "data.tar"),
    "an ar archive without data": (lambda: deb(b"x", name=b"control.tar"), "data.tar"),
    "an ar archive of many members": (lambda: deb(b"x", name=b"a") + deb(b"x", name=b"a")[8:] * 20, "data.tar"),
    "an ar header that is cut off": (lambda: deb(b"xx", name=b"a") + b"data.tar", "cut off"),
    "a cpio name that leaves": (lambda: rpm(cpio(b"./../vmlinux", ELF) + END), "below its root"),
    "an absolute cpio name": (lambda: rpm(cpio(b"/etc/vmlinux", ELF) + END), "below its root"),
    "a cpio name with a NUL": (lambda: rpm(cpio(b"a\0/vmlinux", ELF) + END), "below its root"),
    "a device in cpio": (lambda: rpm(cpio(b"vmlinux", ELF, mode=0o020644) + END), "an ordinary file"),
    "a cpio name of gigabytes": (
        lambda: rpm(gzip.compress(cpio(b"", name_size=1 << 31) + bytes(1 << 26))),
        "the next file",
    ),
    "a cpio size above its file": (lambda: rpm(cpio(b"vmlinux", ELF, size=5000)), "cut off"),
    "a cpio header with signs": (lambda: rpm(cpio(b"vmlinux", ELF).replace(b"00000040", b"-0000040") + END), "cpio"),
    "a cpio header with spaces": (lambda: rpm(cpio(b"vmlinux", ELF).replace(b"00000040", b"      40") + END), "cpio"),
    "a cpio archive without an end": (lambda: rpm(cpio(b"vmlinux", ELF)), "cpio header"),
    "another kind of cpio": (lambda: rpm(cpio(b"vmlinux", ELF, magic=b"070707")), "cpio header"),
    "zeros without an end": (lambda: rpm(bomb()), "cpio header"),
    "an rpm header of gigabytes": (lambda: rpm(END, entries=1 << 31, size=1 << 31), "cpio header"),
    "an rpm lead alone": (lambda: rpm(b"")[:96], "a header of an rpm package"),
    "an rpm header with another magic": (lambda: rpm(END).replace(b"\x8e\xad\xe8\x01", b"\x8e\xad\xe8\x02"), "header"),
}  # fmt: skip


def tar_claiming(size: int, name: str = "vmlinux") -> bytes:
    return info(name, size).tobuf(tarfile.GNU_FORMAT)


def long_name(size: int, kind: bytes = tarfile.GNUTYPE_LONGNAME) -> bytes:
    return info("long", size, kind).tobuf(tarfile.GNU_FORMAT) + bytes(size) + tar([(info("vmlinux", 64), ELF)])


def sized(size: int) -> bytes:
    """A tar header with any size, in base 256."""
    header = bytearray(info("vmlinux").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size.to_bytes(12, "big", signed=True)
    return checked(header) + bytes(2048)


def pax(**records: str) -> bytes:
    """A tar archive with extended headers that say anything."""
    member = info("vmlinux", 64)
    member.pax_headers = records
    header = member.create_pax_header(member.get_info(), "utf-8")
    return header + ELF + bytes(448) + bytes(1024)


def sparse() -> bytes:
    header = bytearray(info("vmlinux", 64, tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\x0000000000100\0"
    header[483:495] = b"77777777777\0"
    return checked(header) + ELF + bytes(448) + bytes(1024)


def damaged_tar() -> bytes:
    data = bytearray(tar([(info("a.ko", 64), ELF), (info("vmlinux", 64), ELF)]))
    data[1024 + 5] ^= 1
    return bytes(data)


def damaged_xz() -> bytes:
    data = bytearray(lzma.compress(tar([(info("vmlinux", 5000), random.Random(1).randbytes(5000))])))
    data[900] ^= 0x10
    return bytes(data)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_that_lies_is_one_sentence(name: str, tmp_path: Path) -> None:
    make, expected = HOSTILE[name]
    path = tmp_path / "hostile"
    path.write_bytes(make())
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFileError, match=expected) as caught:
            read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert peak < 40 << 20
    done = run("build", path, "-o", tmp_path / "out.lineinfo")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert sorted(os.listdir(tmp_path)) == ["hostile"]


def test_links_of_a_package_are_never_made_or_followed(tmp_path: Path) -> None:
    """A member behind a link that leads out of the package lands below the folder all the same."""
    outside = tmp_path / "outside"
    outside.mkdir()
    kernel = build_kernel(tmp_path / "vmlinux").read_bytes()
    path = tmp_path / "p.deb"
    path.write_bytes(
        deb(
            tar(
                [
                    (info("usr", 0, tarfile.SYMTYPE, str(outside)), b""),
                    (info("usr/vmlinux", len(kernel)), kernel),
                    (info("vmlinux", 0, tarfile.SYMTYPE, "/etc/passwd"), b""),
                    (info("a.ko", 0, tarfile.LNKTYPE, "/etc/passwd"), b""),
                ]
            )
        )
    )
    done = run("build", path, "-o", tmp_path / "out.lineinfo")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(outside.iterdir()) == []
    assert [record.name for record in open_table((tmp_path / "out.lineinfo").read_bytes(), "").records()] == [b""]


def test_more_members_than_any_package_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_MEMBERS", 10)
    for data in (deb(tar([(info(f"{n}.txt"), b"") for n in range(20)])), rpm(cpio(b"a") * 20 + END)):
        path = tmp_path / "p"
        path.write_bytes(data)
        with pytest.raises(DamagedFileError, match="at most 10 files"):
            read(path)


DESCRIBED = (
    (b"/usr", 0o040755, 4096, 1),
    (b"/usr/other.ko", 0o100644, 7, 2),
    (b"/usr/a.ko", 0o100644, 7, 2),
    (b"/usr/vmlinux", 0o100644, 64, 3),
    (b"/usr/link.ko", 0o120777, 4, 4),
)
DESCRIBED_PAYLOAD = (
    stripped(1, b"") + stripped(2, b"1234567") + stripped(4, b"a.ko") + stripped(3, ELF) + END
)  # of names of one file the last has the contents


def test_files_that_only_the_header_of_an_rpm_names_are_read(tmp_path: Path) -> None:
    """As rpm 4.18 wrote a package with a file of 4.5 GB, which was read with the same code."""
    path = tmp_path / "p"
    path.write_bytes(described_rpm(DESCRIBED, DESCRIBED_PAYLOAD))
    assert read(path) == [("usr/a.ko", b"1234567"), ("usr/vmlinux", ELF)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (described_rpm(DESCRIBED, stripped(99, ELF)), "the number of a file"),
        (described_rpm(DESCRIBED, b"07070X-0000001" + bytes(90)), "the number of a file"),
        (described_rpm(DESCRIBED, DESCRIBED_PAYLOAD, tag_1116=struct.pack(">5I", 0, 1, 2, 3, 9)), "IndexError"),
        (described_rpm(DESCRIBED, DESCRIBED_PAYLOAD, tag_1118=b"x" * 5000 + b"\0" * 5), "longer than any"),
        (described_rpm(DESCRIBED, DESCRIBED_PAYLOAD, tag_1096=b"", tag_1095=b""), "struct|error|buffer"),
        (
            described_rpm(DESCRIBED, DESCRIBED_PAYLOAD).replace(struct.pack(">I", 1030), struct.pack(">I", 1117)),
            "twice",
        ),
        (described_rpm([(b"/../vmlinux", 0o100644, 64, 1)], stripped(0, ELF) + END), "below its root"),
        (described_rpm([(b"/vmlinux", 0o100644, 1 << 33, 1)], stripped(0, ELF) + END), "at most"),
        (described_rpm([(b"/vmlinux", 0o100644, 1 << 63, 1)], stripped(0, ELF) + END), "at most"),
        (described_rpm([(b"/other", 0o100644, 1 << 63, 1)], stripped(0, ELF) + END), "cut off"),
        (rpm(stripped(0, ELF)), "LookupError|KeyError"),
        (rpm(stripped(0, ELF), entries=0, size=21), "KeyError"),
    ],
)
def test_a_header_of_an_rpm_that_lies_is_one_sentence(data: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=expected):
        read(path)


def test_zstd_that_cannot_be_read_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression", None)
    monkeypatch.setitem(sys.modules, "backports", None)
    path = tmp_path / "p"
    path.write_bytes(deb(b"\x28\xb5\x2f\xfd" + bytes(20)))
    with pytest.raises(UnsupportedFileError, match=r"install 'lineinfo-annotate\[zstd\]'"):
        read(path)


def test_damage_anywhere_is_an_error_of_ours_or_another_answer(tmp_path: Path) -> None:
    generator = random.Random(7)
    files = [(f"a/{n}.ko", ELF * n) for n in range(1, 5)]
    plain = tar([(info(name, len(data)), data) for name, data in files])
    seeds: Sequence[bytes] = (
        deb(plain),
        deb(lzma.compress(plain)),
        deb(tar([(info(f"{'d/' * 90}{name}", len(data)), data) for name, data in files], tarfile.PAX_FORMAT)),
        rpm(b"".join(cpio(name.encode(), data) for name, data in files) + END),
        rpm(gzip.compress(b"".join(cpio(name.encode(), data) for name, data in files) + END)),
        described_rpm(DESCRIBED, DESCRIBED_PAYLOAD),
    )
    path = tmp_path / "p"
    sentences = []
    for turn in range(DAMAGES):
        data = bytearray(seeds[turn % len(seeds)])
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(len(data))] = generator.choice((0, 0x2D, 0x30, 0x37, 0x39, 0x7F, 0x80, 0xFF))
        if generator.random() < 0.2:
            del data[generator.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            assert len(read(path)) <= 5
        except AnnotateError as error:
            sentences.append(str(error))
    assert len(sentences) > DAMAGES // 4
    assert not [sentence for sentence in sentences if "\n" in sentence]


# --- a real package -----------------------------------------------------------------------------------------------


def test_a_real_package_answers_as_its_unpacked_tree(tmp_path: Path) -> None:
    package = os.environ.get("LINEINFO_DEBUG_PACKAGE")
    if not package:
        pytest.skip("LINEINFO_DEBUG_PACKAGE is not set: name a .deb of a kernel's debug info")
    need("dpkg-deb")
    subprocess.run(["dpkg-deb", "-x", package, str(tmp_path / "tree")], check=True, timeout=600)
    tables = [tmp_path / "tree.lineinfo", tmp_path / "package.lineinfo"]
    for source, table in zip((str(tmp_path / "tree"), package), tables, strict=True):
        subprocess.run([*PROGRAM, "build", source, "-o", str(table)], check=True, env=ENVIRONMENT, timeout=3000)
    shutil.rmtree(tmp_path / "tree")
    commands = [[*PROGRAM, "dump", str(table)] for table in tables]
    first, second = (subprocess.run(c, check=True, capture_output=True, env=ENVIRONMENT).stdout for c in commands)
    assert first == second
    assert len(first) > 1_000_000
