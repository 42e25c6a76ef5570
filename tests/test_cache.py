"""Tables by build id: one process makes a table, whatever happens none is wrong, and what is left behind is removed."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fake_world import BUILD_ID, RELEASE, build_kernel, build_module, extent

from annotate.cache import TableCache
from annotate.errors import UnreadableFileError
from annotate.kernel.build import Options, build, sources_in
from annotate.model import LinkAddr
from annotate.tables.versions import open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAM = (sys.executable, "-m", "annotate.cli.lineinfo")
PATIENCE = 120

#: Processes that start at once, and moments at which one is killed.
PROCESSES = 16
MOMENTS = 200


class World:
    """A tree with a kernel and a module, and its table."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self.vmlinux = build_kernel(self.tree / "vmlinux")
        self.module = build_module(self.tree / "kernel" / "crasher.ko", build_id="33" * 20)
        self.table = folder / "right.lineinfo"
        build(list(sources_in(str(self.tree))), str(self.table), Options(), quiet)
        self.bytes = self.table.read_bytes()

    def make(self, path: str) -> None:
        Path(path).write_bytes(self.bytes)


def quiet(_done: int, _total: int) -> None:
    pass


def never(path: str) -> None:
    raise AssertionError(f"made again: {path}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def cache(tmp_path: Path) -> TableCache:
    return TableCache(str(tmp_path / "cache"))


def names(cache: TableCache) -> list[str]:
    return sorted(os.listdir(cache.folder))


def other_table(folder: Path, build_id: str, *, release: str = RELEASE) -> Callable[[str], None]:
    """Makes the table of another kernel."""
    kernel = build_kernel(folder / build_id[:4] / "vmlinux", release=release, build_id=build_id)
    table = folder / f"{build_id[:4]}.other"
    build(list(sources_in(str(kernel))), str(table), Options(), quiet)
    data = table.read_bytes()
    return lambda path: void(Path(path).write_bytes(data))


def void(_value: object) -> None:
    pass


def environment(folder: str | Path) -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(REPOSITORY), "LINEINFO_CACHE": str(folder)}


def run(*arguments: str | Path, folder: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "cache", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(folder),
        timeout=PATIENCE,
    )


# --- what is put in comes out -------------------------------------------------------------------------------------


def test_a_table_is_made_once_and_found_again(world: World, cache: TableCache) -> None:
    assert cache.find(BUILD_ID) is None
    path = cache.add(BUILD_ID, world.make)
    assert path == os.path.join(cache.folder, f"{BUILD_ID}.lineinfo")
    assert Path(path).read_bytes() == world.bytes
    assert cache.add(BUILD_ID, never) == path
    assert TableCache(cache.folder).find(BUILD_ID) == path
    assert cache.notes == []
    assert names(cache) == [f"{BUILD_ID}.lineinfo"]
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(cache.folder).st_mode & 0o777 == 0o700


def test_who_has_a_table_open_keeps_what_it_sees_when_it_is_made_again(world: World, cache: TableCache) -> None:
    path = cache.add(BUILD_ID, world.make)
    assert path is not None

    def make(where: str) -> None:
        build([*sources_in(str(world.vmlinux))], where, Options(), quiet)

    with open(path, "rb") as opened:
        assert cache.add(BUILD_ID, make, lambda _path: False) == path
        assert opened.read() == world.bytes
    assert Path(path).read_bytes() != world.bytes


def test_a_table_that_is_not_enough_is_made_again(world: World, cache: TableCache) -> None:
    path = cache.add(BUILD_ID, world.make)
    assert path is not None
    made: list[str] = []

    def make(where: str) -> None:
        made.append(where)
        world.make(where)

    assert cache.add(BUILD_ID, make, lambda found: found != path) == path
    assert len(made) == 1
    assert os.path.dirname(os.path.dirname(made[0])) == cache.folder


def test_a_table_of_modules_alone_is_found_by_the_build_id_of_one(world: World, cache: TableCache) -> None:
    path = cache.add("33" * 20, lambda where: void(build(list(sources_in(str(world.module))), where, Options(), quiet)))
    assert path is not None
    assert cache.find("33" * 20) == path


def test_a_long_build_id_is_the_one_whose_start_the_table_has(tmp_path: Path, cache: TableCache) -> None:
    build_id = "ab" * 32
    assert cache.add(build_id, other_table(tmp_path, build_id)) is not None
    assert cache.find(build_id) is not None


def test_what_make_raises_is_raised_and_leaves_nothing(cache: TableCache) -> None:
    def make(path: str) -> None:
        Path(path).write_bytes(b"half of it")
        raise UnreadableFileError("vmlinux", "is gone")

    with pytest.raises(UnreadableFileError):
        cache.add(BUILD_ID, make)
    assert names(cache) == []


def test_a_table_of_another_kernel_is_not_kept(tmp_path: Path, cache: TableCache) -> None:
    assert cache.add(BUILD_ID, other_table(tmp_path, "22" * 20)) is None
    assert names(cache) == []
    assert len(cache.notes) == 1
    assert f"expected the table of build id {BUILD_ID}, found that of {'22' * 20}" in cache.notes[0]


@pytest.mark.parametrize("build_id", ["", "a", "../../etc/passwd", "ab/cd", "ABCD", "..", "12 34", "ab" * 65])
def test_what_is_no_build_id_names_no_file(build_id: str, world: World, cache: TableCache) -> None:
    assert cache.find(build_id) is None
    assert cache.add(build_id, world.make) is None
    assert not os.path.exists(cache.folder)


def test_the_folder_is_that_of_the_environment_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINEINFO_CACHE", str(tmp_path / "named"))
    assert TableCache().folder == str(tmp_path / "named")
    monkeypatch.delenv("LINEINFO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    assert TableCache().folder == str(tmp_path / "users" / "lineinfo-annotate")


def test_nothing_is_imported_or_made_by_a_cache_that_is_not_asked() -> None:
    code = "import sys, annotate.cache as c; c.TableCache(); print(len({'platformdirs', 'shutil'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=PATIENCE
    )
    assert done.stdout == "0\n"


def test_who_waited_for_a_lock_whose_file_is_gone_takes_a_new_one(
    cache: TableCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a file without a name keeps nobody away."""
    os.makedirs(cache.folder)
    lock = Path(cache.folder, "some.lock")
    is_waiting, has_it, may_go = threading.Event(), threading.Event(), threading.Event()
    flock = fcntl.flock

    def noticed(descriptor: int, operation: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            is_waiting.set()
        flock(descriptor, operation)

    def take() -> None:
        with cache.locked("some"):
            has_it.set()
            may_go.wait(PATIENCE)

    monkeypatch.setattr(fcntl, "flock", noticed)
    other = threading.Thread(target=take)
    with cache.locked("some"):
        other.start()
        assert is_waiting.wait(PATIENCE)  # it has opened the file
        assert not has_it.is_set()
    try:
        assert has_it.wait(PATIENCE)
        assert lock.exists()
        with pytest.raises(BlockingIOError), cache.locked("some", wait=False):
            pass
    finally:
        may_go.set()
        other.join(PATIENCE)
    assert not lock.exists()


# --- damage -------------------------------------------------------------------------------------------------------


def damage_header(data: bytearray) -> None:
    data[20] ^= 1


def damage_directory(data: bytearray) -> None:
    data[-10] ^= 1


def damage_head(data: bytearray) -> None:
    record = next(open_table(bytes(data), "table").records())
    data[record.offset + 3] ^= 1


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


def cut_all(data: bytearray) -> None:
    del data[:]


def cut_in_header(data: bytearray) -> None:
    del data[20:]


def something_else(data: bytearray) -> None:
    data[:] = b"not a table at all\n" * 9


DAMAGES = (damage_header, damage_directory, damage_head, cut, cut_all, cut_in_header, something_else)


@pytest.mark.parametrize("spoil", DAMAGES, ids=lambda spoil: str(spoil.__name__))
def test_a_damaged_table_is_set_aside_and_made_again(
    world: World, cache: TableCache, spoil: Callable[[bytearray], None]
) -> None:
    path = cache.add(BUILD_ID, world.make)
    assert path is not None
    for number in (1, 2):  # of the damaged ones only the last is kept
        data = bytearray(world.bytes)
        spoil(data)
        Path(path).write_bytes(data)
        assert cache.find(BUILD_ID) is None
        assert names(cache) == [f"{BUILD_ID}.damaged"]
        assert cache.notes[-1].endswith("; set aside"), number
        assert cache.add(BUILD_ID, world.make) == path
        assert Path(path).read_bytes() == world.bytes


def test_of_the_damaged_tables_of_several_kernels_one_is_kept(tmp_path: Path, cache: TableCache) -> None:
    for build_id in ("aa" * 20, "bb" * 20):
        path = cache.add(build_id, other_table(tmp_path, build_id))
        assert path is not None
        Path(path).write_bytes(b"")
        assert cache.find(build_id) is None
    assert names(cache) == [f"{'bb' * 20}.damaged"]


def test_a_table_under_the_name_of_another_is_set_aside(tmp_path: Path, world: World, cache: TableCache) -> None:
    path = cache.add("aa" * 20, other_table(tmp_path, "aa" * 20))
    assert path is not None
    world.make(path)
    assert cache.find("aa" * 20) is None
    assert names(cache) == [f"{'aa' * 20}.damaged"]


def test_a_table_of_another_version_of_the_format_stays_where_it_is(world: World, cache: TableCache) -> None:
    path = cache.add(BUILD_ID, world.make)
    assert path is not None
    data = bytearray(world.bytes)
    data[10:12] = (77).to_bytes(2, "little")
    Path(path).write_bytes(data)
    assert cache.find(BUILD_ID) is None
    assert names(cache) == [f"{BUILD_ID}.lineinfo"]
    assert [entry.images for entry in cache.entries()] == [0]


# --- folders that cannot be used ----------------------------------------------------------------------------------


def test_a_file_in_place_of_the_folder_costs_only_the_cache(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        cache = TableCache(str(folder))
        assert cache.find(BUILD_ID) is None
        assert cache.add(BUILD_ID, world.make) is None
        assert cache.entries() == []
        assert cache.prune(0) == []
        assert cache.known("package-1") == ""
        assert cache.notes != []
        assert all(str(folder) in note for note in cache.notes)


def test_a_folder_that_is_not_there_is_no_reason_to_complain(tmp_path: Path) -> None:
    cache = TableCache(str(tmp_path / "a" / "b"))
    assert (cache.find(BUILD_ID), cache.entries(), cache.prune(0), cache.known("x"), cache.notes) == (
        None,
        [],
        [],
        "",
        [],
    )


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_everybody_may_write_to_is_not_used(world: World, cache: TableCache, mode: int) -> None:
    assert cache.add(BUILD_ID, world.make) is not None
    os.chmod(cache.folder, mode)
    assert cache.find(BUILD_ID) is None
    assert cache.add(BUILD_ID, never) is None
    assert cache.notes == [f"{cache.folder}: everybody may write to it; not used"]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user takes root")
def test_a_folder_of_another_user_is_not_used(world: World, cache: TableCache) -> None:
    assert cache.add(BUILD_ID, world.make) is not None
    os.chown(cache.folder, 12345, -1)
    assert cache.find(BUILD_ID) is None
    assert cache.add(BUILD_ID, never) is None
    assert cache.notes == [f"{cache.folder}: belongs to another user; not used"]


READ_ONLY = """
import os, sys
from annotate.cache import TableCache
cache = TableCache(sys.argv[1])
def never(path):
    raise AssertionError(path)
print(cache.find(sys.argv[2]) is not None, cache.add(sys.argv[2], never) is not None)
print(cache.add("22" * 20, never), cache.prune(0), cache.known("package-1") == "")
print(*cache.notes, sep="\\n")
"""


def test_tables_of_a_read_only_disk_are_found(world: World, cache: TableCache) -> None:
    """On a read-only bind mount in a mount namespace of its own; as another user than root where that cannot be."""
    assert cache.add(BUILD_ID, world.make) is not None
    script = f'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec {sys.executable} -c "$2" "$1" {BUILD_ID}'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", cache.folder, READ_ONLY],
        capture_output=True,
        text=True,
        check=False,
        env=environment("/nowhere"),
        timeout=PATIENCE,
    )
    if done.returncode and ("unshare" in done.stderr or "mount:" in done.stderr):
        pytest.skip(f"no mount namespace: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found, nothing, *notes = done.stdout.splitlines()
    assert (found, nothing) == ("True True", "None [] True")
    assert notes
    assert all("Read-only file system" in note for note in notes)


def test_a_full_disk_costs_only_the_cache(world: World, tmp_path: Path) -> None:
    """A limit of the size of files stands for it."""
    code = (
        "import resource, sys\n"
        "from annotate.cache import TableCache\n"
        "from annotate.kernel.build import Options, build, sources_in\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "cache = TableCache(sys.argv[1])\n"
        "sources = list(sources_in(sys.argv[3]))\n"
        "print(cache.add(sys.argv[2], lambda path: build(sources, path, Options(), lambda *_: None)))\n"
        "print(*cache.notes, sep='\\n')\n"
    )
    folder = tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), BUILD_ID, str(world.tree)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(folder),
        timeout=PATIENCE,
    )
    assert done.stdout.splitlines() == ["None", f"{folder}: no table can be kept there: File too large"]
    assert os.listdir(folder) == []


# --- the least recently used go first -----------------------------------------------------------------------------

KERNELS = [f"{number:02x}" * 20 for number in (0xA1, 0xA2, 0xA3)]


@pytest.fixture
def three(tmp_path: Path, cache: TableCache) -> TableCache:
    """Tables that were used in the order of KERNELS."""
    for build_id in KERNELS:
        path = cache.add(build_id, other_table(tmp_path, build_id, release=f"6.1.{build_id[:2]}"))
        assert path is not None
    for age, build_id in enumerate(reversed(KERNELS), 1):
        then = time.time() - 1000 * age
        os.utime(cache.path_of(build_id), (then, then))
    return cache


def test_entries_say_what_is_there_the_last_used_first(three: TableCache) -> None:
    entries = three.entries()
    assert [entry.build_id for entry in entries] == KERNELS[::-1]
    assert [entry.release for entry in entries] == [f"6.1.{build_id[:2]}" for build_id in KERNELS[::-1]]
    assert [entry.images for entry in entries] == [1, 1, 1]
    assert [entry.size for entry in entries] == [os.path.getsize(entry.path) for entry in entries]


def test_tables_are_found_by_their_release(three: TableCache, tmp_path: Path) -> None:
    assert three.add(BUILD_ID, other_table(tmp_path, BUILD_ID, release="6.1.a2")) is not None
    assert list(three.of_release("6.1.a2")) == [three.path_of(BUILD_ID), three.path_of(KERNELS[1])]
    assert list(three.of_release("6.1.a")) == []


def test_what_was_not_used_for_longest_is_removed_first(three: TableCache) -> None:
    sizes = {entry.build_id: entry.size for entry in three.entries()}
    assert three.find(KERNELS[0]) is not None  # which makes it the last used
    removed = three.prune(sizes[KERNELS[0]] + sizes[KERNELS[2]])
    assert [entry.build_id for entry in removed] == [KERNELS[1]]
    assert [entry.build_id for entry in three.prune(sizes[KERNELS[0]])] == [KERNELS[2]]
    assert [entry.build_id for entry in three.prune(0)] == [KERNELS[0]]
    assert names(three) == []


def test_an_add_keeps_to_the_limit_but_never_removes_what_it_added(world: World, three: TableCache) -> None:
    small = TableCache(three.folder, limit=1)
    assert small.add(BUILD_ID, world.make) is not None
    assert [entry.build_id for entry in small.entries()] == [BUILD_ID]


def test_what_was_remembered_goes_with_its_table(three: TableCache) -> None:
    for name, build_id in zip(("package-1", "package-2"), KERNELS, strict=False):
        with three.work(name):
            three.remember(name, build_id)
    assert [three.known(name) for name in ("package-1", "package-2", "package-3")] == [*KERNELS[:2], ""]
    three.prune(sum(entry.size for entry in three.entries()) - 1)
    assert [three.known(name) for name in ("package-1", "package-2")] == ["", KERNELS[1]]


# --- many processes, and processes that are killed ---------------------------------------------------------------

ONE_OF_MANY = """
import os, sys, time
from annotate.cache import TableCache
from annotate.kernel.build import Options, build, sources_in
folder, build_id, tree, calls, start = sys.argv[1:]
def make(path):
    with open(calls, "a") as file:
        file.write("made\\n")
    time.sleep(0.3)
    build(list(sources_in(tree)), path, Options(), lambda *_: None)
cache = TableCache(folder)
while not os.path.exists(start):
    time.sleep(0.001)
path = cache.add(build_id, make)
with open(path, "rb") as file:
    data = file.read()
assert cache.find(build_id) == path and not cache.notes, cache.notes
sys.stdout.buffer.write(data)
"""


def test_of_processes_that_start_at_once_one_makes_the_table(world: World, cache: TableCache, tmp_path: Path) -> None:
    calls, start = tmp_path / "calls", tmp_path / "start"
    command = (sys.executable, "-c", ONE_OF_MANY, cache.folder, BUILD_ID, str(world.tree), str(calls), str(start))
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment("/nowhere"))
        for _ in range(PROCESSES)
    ]
    start.touch()
    answers = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [error for _, error in answers] == [b""] * PROCESSES
    assert {data for data, _ in answers} == {world.bytes}
    assert calls.read_text() == "made\n"
    assert names(cache) == [f"{BUILD_ID}.lineinfo"]


ONE_THAT_IS_KILLED = """
import os, sys
from annotate.cache import TableCache
from annotate.kernel.build import Options, build, sources_in
folder, build_id, tree = sys.argv[1:]
sources = list(sources_in(tree))
def make(path):
    build(sources, path, Options(), lambda *_: None)
cache = TableCache(folder)
sys.stdin.readline()
print("begun", flush=True)
while True:
    path = cache.add(build_id, make)
    if path is None or cache.find(build_id) != path or cache.notes:
        sys.exit(f"{path} {cache.notes}")
    os.unlink(path)
"""


def test_a_kill_at_any_moment_leaves_no_wrong_table_and_nothing_for_long(world: World, cache: TableCache) -> None:
    """A process adds the table again and again until it is killed; the next one begins with what it left."""
    generator = random.Random(1)
    command = (sys.executable, "-c", ONE_THAT_IS_KILLED, cache.folder, BUILD_ID, str(world.tree))

    def start() -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment("/nowhere"))

    # As long as a table takes, and what comes behind it: on a busy machine nobody gets that far in 50 ms.
    begun = time.monotonic()
    assert cache.add(BUILD_ID, world.make) is not None
    span = max(0.05, 3 * (time.monotonic() - begun))
    os.unlink(cache.path_of(BUILD_ID))
    left = {"part": 0, "lock": 0, "lineinfo": 0}
    waiting = [start(), start()]
    try:
        for _ in range(MOMENTS):
            waiting.append(start())
            process = waiting[0]
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"begun\n"
            time.sleep(generator.uniform(0, span))
            process.kill()
            _, complaint = process.communicate(timeout=PATIENCE)
            assert (process.returncode, complaint) == (-signal.SIGKILL, b"")
            waiting.pop(0)
            for name in names(cache):
                left[name.rpartition(".")[2]] += 1
            path = cache.find(BUILD_ID)
            if path is not None:
                assert Path(path).read_bytes() == world.bytes
    finally:
        for process in waiting:
            process.kill()
            process.communicate(timeout=PATIENCE)
    assert min(left.values()) > MOMENTS // 50, left  # else nobody was killed in the middle of it
    path = cache.add(BUILD_ID, world.make)
    assert path is not None
    assert Path(path).read_bytes() == world.bytes
    assert names(cache) == [f"{BUILD_ID}.lineinfo"]
    assert cache.notes == []


@pytest.mark.parametrize("action", ["add", "prune"])
def test_what_a_killed_process_left_of_another_kernel_is_removed(action: str, world: World, cache: TableCache) -> None:
    assert cache.add(BUILD_ID, world.make) is not None
    part = Path(cache.folder) / f"{'ee' * 20}.part"
    (part / "below").mkdir(parents=True)
    (part / "below" / "vmlinux").write_bytes(b"x")
    (Path(cache.folder) / f"{'ee' * 20}.lock").touch()
    (Path(cache.folder) / f"{'ff' * 20}.lock").touch()
    held = Path(cache.folder) / f"{'dd' * 20}.part"
    with cache.work("dd" * 20):
        assert cache.add(BUILD_ID, never) is not None if action == "add" else cache.prune(1 << 30) == []
        assert held.is_dir()
    assert names(cache) == [f"{BUILD_ID}.lineinfo"]


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_adds_lists_and_prunes(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    path = f"{folder}/{BUILD_ID}.lineinfo"
    assert run("path", folder=folder).stdout == f"{folder}\n"
    assert run("list", folder=folder).stdout == ""
    for _ in range(2):
        done = run("add", world.tree, "--jobs", "1", folder=folder)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")
    assert Path(path).read_bytes() == world.bytes
    os.utime(path, (0, 0))
    size = len(world.bytes)
    done = run("list", folder=folder)
    assert (done.returncode, done.stdout) == (0, f"{BUILD_ID} {size} 1970-01-01T00:00:00Z 2 {RELEASE}\n")
    assert run("prune", folder=folder).stdout == ""
    done = run("prune", "--limit", "0", folder=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{BUILD_ID} {size}\n", "")
    assert os.listdir(folder) == []


def test_a_table_of_the_kernel_alone_is_replaced_by_one_with_modules_and_not_the_other_way_round(
    world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    path = folder / f"{BUILD_ID}.lineinfo"
    for source, images in ((world.vmlinux, 1), (world.tree, 2), (world.vmlinux, 2)):
        assert run("add", source, "--jobs", "1", folder=folder).returncode == 0
        assert open_table(path.read_bytes(), "").count == images


def test_a_table_that_was_made_elsewhere_is_copied_unless_there_is_a_better_one(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    path = folder / f"{BUILD_ID}.lineinfo"
    small = tmp_path / "small.lineinfo"
    build(list(sources_in(str(world.vmlinux))), str(small), Options(), quiet)
    for table, kept in ((small, small.read_bytes()), (world.table, world.bytes), (small, world.bytes)):
        done = run("add", table, folder=folder)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")
        assert path.read_bytes() == kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_table_of_some_functions_or_a_damaged_one_is_not_copied(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    part = tmp_path / "part.lineinfo"
    wanted = frozenset({LinkAddr(extent(world.vmlinux, "first").address)})
    options = Options(only={str(world.vmlinux): wanted})
    build(list(sources_in(str(world.vmlinux))), str(part), options, quiet)
    damaged = tmp_path / "damaged.lineinfo"
    damaged.write_bytes(world.bytes[:100])
    for path, expected in ((part, "has only some functions: name it with -k"), (damaged, "it was cut off")):
        done = run("add", path, folder=folder)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith(f"lineinfo: {path}: ")
        assert expected in done.stderr
    assert not folder.exists()


def test_a_tree_with_several_kernels_becomes_a_table_of_each(tmp_path: Path) -> None:
    """Modules go to the kernel above them, or to that of their release."""
    tree = tmp_path / "debug"
    for release, build_id in (("6.1.1", KERNELS[0]), ("6.1.2", KERNELS[1])):
        build_kernel(tree / "modules" / release / "vmlinux", release=release, build_id=build_id)
        build_module(
            tree / "modules" / release / "kernel" / f"in{release[-1]}.ko",
            release=release,
            build_id=build_id[2:] + "99",
        )
        build_module(tree / "extra" / f"out{release[-1]}.ko", release=release, build_id=build_id[2:] + "98")
    build_module(tree / "extra" / "stray.ko", release="5.5.5", build_id="97" * 20)
    folder = tmp_path / "cache"
    done = run("add", tree, "--jobs", "1", folder=folder)
    assert done.returncode == 1
    assert (
        done.stderr == f"lineinfo: {tree}/extra/stray.ko: is of none of the kernels that were found with it; left out\n"
    )
    for number in (1, 2):
        table = open_table((folder / f"{KERNELS[number - 1]}.lineinfo").read_bytes(), "")
        assert [record.name for record in table.records()] == [b"", f"in{number}".encode(), f"out{number}".encode()]


def test_a_source_without_a_build_id_is_one_sentence(tmp_path: Path) -> None:
    module = build_module(tmp_path / "crasher.ko")
    done = run("add", module, folder=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lineinfo: {module}: has no build id: it cannot be cached; left out\n"


def test_modules_alone_are_a_table_whichever_of_them_has_a_build_id(world: World, tmp_path: Path) -> None:
    build_module(tmp_path / "modules" / "a.ko")
    (tmp_path / "modules" / "b.ko").write_bytes(world.module.read_bytes())
    done = run("add", tmp_path / "modules", "--jobs", "1", folder=tmp_path / "cache")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}/cache/{'33' * 20}.lineinfo\n", "")
    names = [
        record.name for record in open_table((tmp_path / "cache" / f"{'33' * 20}.lineinfo").read_bytes(), "").records()
    ]
    assert names == [b"a", b"b"]


def test_a_source_that_cannot_be_used_does_not_stop_the_others(world: World, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sources: Sequence[Path] = (tmp_path / "empty", tmp_path / "none", world.vmlinux)
    done = run("add", *sources, "--jobs", "1", folder=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (1, f"{tmp_path}/cache/{BUILD_ID}.lineinfo\n")
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [str(path) for path in sources[:2]]


def test_a_cache_that_cannot_be_used_is_one_sentence(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("add", world.vmlinux, "--jobs", "1", folder=tmp_path / "file" / "cache")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "Not a directory" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("prune", "--limit", "much"), ("add", "x", "--jobs", "0")])
def test_wrong_usage_is_status_2(arguments: Sequence[str], tmp_path: Path) -> None:
    done = run(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(("lineinfo", "usage: lineinfo"))
