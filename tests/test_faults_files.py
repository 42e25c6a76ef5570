"""What the disk and other programs do to the files that are read: no fault ends the filter, changes a byte of the log,
or yields a line that is not right.

``docs/reliability.md`` has a row for each.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from conftest import SAMPLES
from test_cli_annotate import COMMAND, ENVIRONMENT, PATIENCE, run

from annotate.annotator import Annotator, LogFacts
from annotate.cache import TableCache
from annotate.errors import AnnotateError, ChangedFileError, UnreadableFileError
from annotate.filebytes import FileBytes, open_bytes
from annotate.kernel.images import Images, OpenTable, debug_file_of, open_elf, open_file
from annotate.kernel.locate import Locator, SearchPlaces
from annotate.render.plain import PlainRenderer
from annotate.render.renderer import RenderOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINEINFO = (sys.executable, "-m", "annotate.cli.lineinfo")
FOLDER = SAMPLES / "x86_64"
MODULE = FOLDER / "oopser.ko"
TABLE = next(FOLDER.glob("*.lineinfo"))
LOG = (FOLDER / "multi.log").read_bytes()
ANNOTATION = re.compile(rb" \([^()\n]+:\d+[^()\n]*\)")

FIRST = b"[    1.0] RIP: 0010:oopser_null_deref+0x11/0x20 [oopser]\n"


def module_frames() -> list[bytes]:
    """The distinct frames of the module in all samples, as lines of a trace."""
    found: dict[bytes, None] = {}
    for log in sorted(FOLDER.glob("*.log")):
        for frame in re.findall(rb"oopser_\w+\+0x[0-9a-f]+/0x[0-9a-f]+ \[oopser\b[^]]*\]", log.read_bytes()):
            found[b" " + re.sub(rb"\[.*\]", b"[oopser]", frame) + b"\n"] = None
    return list(found)


def annotated(log: bytes, places: SearchPlaces) -> tuple[list[bytes], Images]:
    """The lines of a log as the filter writes them, and the images that answered."""
    images = Images(Locator(places), lambda _: None, lambda _: None)
    annotator = Annotator(images, LogFacts(ahead=lambda position: (log[position:],)))
    renderer = PlainRenderer(RenderOptions())
    pieces = [*annotator.feed(log), *annotator.flush()]
    return b"".join(renderer.render("-", piece) for piece in pieces).splitlines(keepends=True), images


@pytest.fixture(scope="module")
def right() -> list[bytes]:
    """The log as it comes out when nothing is wrong."""
    lines, _ = annotated(LOG, SearchPlaces([str(TABLE)], [str(MODULE)]))
    assert sum(map(bool, map(ANNOTATION.search, lines))) > 100
    return lines


def assert_right_or_bare(lines: list[bytes], right: list[bytes], log: bytes = LOG) -> None:
    """Every line is as it was, or as it is when nothing is wrong."""
    for line, good, bare in zip(lines, right, log.splitlines(keepends=True), strict=True):
        assert line in (good, bare)


# A file that changes while it is in use.


def cut_off(path: Path) -> None:
    os.truncate(path, 100)


def overwrite(path: Path) -> None:
    """As ``cp`` does it: the same file, other bytes."""
    size = path.stat().st_size
    path.write_bytes(b"\xa5" * size)


def touch_one_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5")


CHANGES: tuple[Callable[[Path], None], ...] = (cut_off, overwrite, touch_one_byte)


class Live:
    """The filter behind a pipe that stays open."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )

    @staticmethod
    def _of(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None
        return stream

    def ask(self, line: bytes) -> bytes:
        """What comes out for a line."""
        stdin = self._of(self.process.stdin)
        stdin.write(line)
        stdin.flush()
        return self._of(self.process.stdout).readline()

    def finish(self) -> tuple[int, str]:
        """Status and complaints."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        assert output == b""
        return self.process.returncode, errors.decode()


@contextmanager
def live(*arguments: str | Path) -> Iterator[Live]:
    filter_ = Live(*arguments)
    try:
        yield filter_
    finally:
        filter_.process.kill()
        filter_.process.wait()
        for stream in (filter_.process.stdin, filter_.process.stdout, filter_.process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize("change", CHANGES)
def test_a_debug_file_that_changes_while_in_use_costs_lines_and_is_named_once(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    module = Path(shutil.copy(MODULE, tmp_path))
    frames = module_frames()
    with live("-m", MODULE) as good:
        right = {frame: good.ask(frame) for frame in frames}
        assert "while it was in use" not in good.finish()[1]
    with live("-m", module) as filter_:
        assert filter_.ask(frames[0]) == right[frames[0]] != frames[0]
        change(module)
        answers = {frame: filter_.ask(frame) for frame in frames}
        status, errors = filter_.finish()
    assert status == 0
    assert all(answers[frame] in (frame, right[frame]) for frame in frames)
    assert answers[frames[0]] == right[frames[0]]  # it was read before
    bare = [frame for frame in frames if answers[frame] == frame]
    assert bare
    (sentence,) = (line for line in errors.splitlines() if "while it was in use" in line)
    assert str(module) in sentence
    assert "Traceback" not in errors


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_that_changes_while_in_use_costs_lines_and_is_named(
    change: Callable[[Path], None], tmp_path: Path, right: list[bytes]
) -> None:
    table = Path(shutil.copy(TABLE, tmp_path))
    opened = open_file(str(table))
    assert isinstance(opened, OpenTable)
    images = Images(Locator(SearchPlaces([str(table)])), lambda _: None, lambda _: None)
    facts = LogFacts(ahead=lambda position: (LOG[position:],))
    annotator = Annotator(images, facts)
    renderer = PlainRenderer(RenderOptions())
    half = LOG.index(b"\n", len(LOG) // 2) + 1
    pieces = annotator.feed(LOG[:half])
    change(table)
    pieces += [*annotator.feed(LOG[half:]), *annotator.flush()]
    lines = b"".join(renderer.render("-", piece) for piece in pieces).splitlines(keepends=True)
    assert_right_or_bare(lines, right)
    (used,) = images.used
    if change is not touch_one_byte:
        assert all(str(table) in str(damage) for damage in used.image.damage)
        assert used.image.damage


@pytest.mark.parametrize("original", [MODULE, TABLE])
def test_a_file_that_is_renamed_over_one_in_use_changes_nothing(
    original: Path, tmp_path: Path, right: list[bytes]
) -> None:
    path = Path(shutil.copy(original, tmp_path))
    option = {"-m": [str(path)], "-k": [str(TABLE)]} if original is MODULE else {"-m": [str(MODULE)], "-k": [str(path)]}
    images = Images(Locator(SearchPlaces(option["-k"], option["-m"])), lambda _: None, lambda _: None)
    annotator = Annotator(images, LogFacts(ahead=lambda position: (LOG[position:],)))
    renderer = PlainRenderer(RenderOptions())
    half = LOG.index(b"\n", len(LOG) // 2) + 1
    pieces = annotator.feed(LOG[:half])
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    other.rename(path)
    pieces += [*annotator.feed(LOG[half:]), *annotator.flush()]
    assert b"".join(renderer.render("-", piece) for piece in pieces).splitlines(keepends=True) == right


def test_a_table_that_was_used_meanwhile_is_no_changed_file(tmp_path: Path) -> None:
    """Every look-up in the cache sets its time."""
    table = Path(shutil.copy(TABLE, tmp_path))
    opened = open_file(str(table))
    assert isinstance(opened, OpenTable)
    os.utime(table)
    damage = [found.image.damage for found in opened.all_images() if [*found.image.rows()]]
    assert damage == [[]] * len(damage) != []


def test_a_build_from_a_file_that_changes_writes_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from annotate.kernel.build import Options, build, sources_in  # noqa: PLC0415

    module = Path(shutil.copy(MODULE, tmp_path))
    reads = 0
    read = FileBytes.__getitem__

    def read_and_write(self: FileBytes, piece: slice) -> bytes:
        nonlocal reads
        reads += 1
        if reads == 30:
            touch_one_byte(module)
        return read(self, piece)

    monkeypatch.setattr(FileBytes, "__getitem__", read_and_write)
    with pytest.raises(AnnotateError, match=r"oopser\.ko: .*while it was in use"):
        build(list(sources_in(str(module))), str(tmp_path / "out.lineinfo"), Options(), lambda _done, _total: None)
    assert reads >= 30
    assert [path.name for path in tmp_path.iterdir()] == ["oopser.ko"]


# A disk that fails, and reads that are short.


@pytest.mark.parametrize(
    "places", [SearchPlaces([str(TABLE)]), SearchPlaces((), [str(MODULE)])], ids=["table", "dwarf"]
)
def test_a_disk_that_fails_at_any_read_costs_lines_only(places: SearchPlaces, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    left = -1

    def failing(descriptor: int, size: int, offset: int) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, size, offset)

    left = sys.maxsize
    log = b"".join(module_frames()) if places.modules else LOG
    good, _ = annotated(log, places)
    monkeypatch.setattr(os, "pread", failing)
    left = sys.maxsize
    annotated(log, places)
    count = sys.maxsize - left
    assert count > 20
    for number in range(0, count, max(1, count // 60)):
        left = number
        lines, images = annotated(log, places)
        assert_right_or_bare(lines, good, log)
        reasons = [str(damage) for used in images.used for damage in used.image.damage]
        assert all("Input/output error" in reason for reason in reasons)
        assert reasons or not images.used or lines == good


def test_short_reads_yield_the_same(right: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    sizes = (1, 7, 4096, 3)
    calls = 0

    def short(descriptor: int, size: int, offset: int) -> bytes:
        nonlocal calls
        calls += 1
        return pread(descriptor, min(size, max(sizes[calls % 4], size // 3)), offset)

    monkeypatch.setattr(os, "pread", short)
    lines, _ = annotated(LOG, SearchPlaces([str(TABLE)], [str(MODULE)]))
    assert lines == right
    assert calls > 100


def test_slices_and_searches_are_those_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = (b"a" * 300 + b"needle\0" + b"b" * 70_000 + b"needle") * 2
    path.write_bytes(content)
    data = open_bytes(str(path))
    data.watch()
    assert len(data) == len(content)
    size = len(content)
    for start, end in ((0, 0), (0, 5), (5, 2), (298, 310), (size - 3, size + 9), (size + 1, size + 2), (0, size)):
        assert data[start:end] == content[start:end]
        for wanted in (b"needle", b"\0", b"absent", b"ab", b"bn", b"a" * 301):
            assert data.find(wanted, start, end) == content.find(wanted, start, end), (wanted, start, end)


def test_the_descriptor_is_closed_with_the_last_reader(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    data = open_bytes(str(path))
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del data
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_log_on_a_failing_disk_is_one_sentence_and_status_1() -> None:
    result = run("/proc/self/mem")  # a file whose first page cannot be read: EIO
    assert (result.status, result.output) == (1, b"")
    assert result.complaints == ["lineinfo-annotate: /proc/self/mem: cannot be read further: Input/output error"]


def test_a_folder_as_standard_input_is_one_sentence_and_status_1(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    done = subprocess.run(
        COMMAND, stdin=descriptor, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE, check=False
    )
    os.close(descriptor)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"directory" in done.stderr  # Python's own words: it does not start with such an input


# A full disk.


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_build_on_a_full_disk_leaves_the_old_table_and_nothing_else(jobs: str, tmp_path: Path) -> None:
    output = tmp_path / "t.lineinfo"
    output.write_bytes(b"old")
    done = subprocess.run(
        [*LINEINFO, "build", str(MODULE), "-o", str(output), "--jobs", jobs],
        capture_output=True,
        env=ENVIRONMENT,
        timeout=3 * PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 1
    assert done.stderr.decode() == f"lineinfo: {output}: cannot be written: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t.lineinfo"]
    assert output.read_bytes() == b"old"


def test_a_cache_on_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [*LINEINFO, "cache", "add", str(MODULE), "--jobs", "1"],
        capture_output=True,
        env={**ENVIRONMENT, "LINEINFO_CACHE": str(tmp_path / "cache")},
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 1
    assert done.stderr.decode() == f"lineinfo: {tmp_path / 'cache'}: no table can be kept there: File too large\n"
    assert list((tmp_path / "cache").iterdir()) == []


def test_output_into_a_file_that_may_not_grow_is_one_sentence_and_status_1(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with output.open("wb") as file:
        result = run(log=LOG, stdout=file, preexec_fn=small_files)
    assert result.status == 1
    assert result.errors == ["lineinfo-annotate: output lost: File too large"]
    assert output.read_bytes() == LOG[:20_000]


# What is no regular file is not opened: a pipe would be waited for, a device has no end.


@contextmanager
def no_file(kind: str, path: Path) -> Iterator[None]:
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(path.name)  # a loop
    yield


KINDS = ("a pipe", "a device", "a loop")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["-k", "-m"])
@pytest.mark.parametrize("name", ["vmlinux", "x.lineinfo", "oopser.ko", "x.deb"])
def test_what_is_no_file_is_refused_and_the_log_passes(option: str, name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with no_file(kind, path):
        result = run(option, path, log=FIRST)
    assert (result.status, result.output) == (1, FIRST)
    assert any(str(path) in line for line in result.complaints)
    assert not any("Traceback" in line for line in result.complaints)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_in_a_tree_and_beside_the_log_is_passed_over(kind: str, tmp_path: Path) -> None:
    for folder in (tmp_path / "tree", tmp_path / "beside"):
        folder.mkdir()
        for name in ("vmlinux", "oopser.ko", "x.lineinfo"):
            with no_file(kind, folder / name):
                pass
    log = tmp_path / "beside" / "log"
    log.write_bytes(FIRST)
    (tmp_path / "tree" / "zzz").mkdir()
    shutil.copy(MODULE, tmp_path / "tree" / "zzz")
    result = run("-k", tmp_path / "tree", log)
    assert result.status == 0
    assert ANNOTATION.sub(b"", result.output) == FIRST != result.output


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_in_the_cache_is_set_aside(kind: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    build_id = "ab" * 20
    with no_file(kind, tmp_path / f"{build_id}.lineinfo"):
        cache = TableCache(str(tmp_path))
        assert cache.find(build_id) is None
        assert cache.entries() == []
        assert cache.notes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("section", [".gnu_debuglink", ".gnu_debugaltlink"])
def test_a_debug_file_that_names_no_file_does_not_hang(section: str, kind: str, tmp_path: Path) -> None:
    if shutil.which("objcopy") is None:
        pytest.skip("no objcopy: install binutils")
    target = tmp_path / "target"
    module = tmp_path / "oopser.ko"
    content = tmp_path / "content"
    for name in (b"target", str(target).encode(), b"../" * 30 + str(target).encode()[1:]):
        content.write_bytes(name + b"\0" * (4 - len(name) % 4) + bytes(20))
        command = ["objcopy", f"--add-section={section}={content}", str(MODULE), str(module)]
        if section == ".gnu_debuglink":
            command[1:1] = ["--strip-debug"]
        subprocess.run(command, check=True)
        with no_file(kind, target):
            result = run("-m", module, log=FIRST)
        target.unlink()
        assert result.status in (0, 1)
        assert ANNOTATION.sub(b"", result.output) == FIRST


def test_a_file_that_is_removed_while_its_debug_file_is_looked_for_is_no_error(tmp_path: Path) -> None:
    if shutil.which("objcopy") is None:
        pytest.skip("no objcopy: install binutils")
    debug, module = tmp_path / "oopser.debug", tmp_path / "oopser.ko"
    shutil.copy(MODULE, debug)
    command = ["objcopy", "--strip-debug", f"--add-gnu-debuglink={debug}", str(MODULE), str(module)]
    subprocess.run(command, check=True)
    elf = open_elf(str(module))
    module.unlink()
    found = debug_file_of(elf)
    assert found is not None
    assert found.source == str(debug)


def test_a_tree_with_links_in_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "up").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "self").symlink_to(".")
    shutil.copy(MODULE, tmp_path / "tree" / "sub")
    result = run("-k", tmp_path / "tree", log=FIRST)
    assert result.status == 0
    assert ANNOTATION.sub(b"", result.output) == FIRST != result.output


def test_a_linked_folder_in_a_tree_is_not_searched_and_a_linked_file_is_read(tmp_path: Path) -> None:
    """A folder that leads out of a tree could be the whole disk; links to files are how distributions name theirs."""
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(MODULE, outside)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "folder").symlink_to(outside)
    assert run("-k", tree, log=FIRST).output == FIRST
    (tree / "oopser.ko").symlink_to(outside / "oopser.ko")
    assert run("-k", tree, log=FIRST).output != FIRST


def test_more_files_than_a_process_may_have_open(tmp_path: Path) -> None:
    """Each is open as long as it may be asked again; the soft limit is raised to the hard one."""
    frame = re.escape(FIRST.split(b" [oopser]")[0].split(b":")[-1])
    log = b""
    for number in range(80):
        (tmp_path / f"oopser{number}.ko").symlink_to(MODULE)
        log += FIRST.replace(b"[oopser]", b"[oopser%d]" % number)
    result = run("-m", tmp_path, log=log, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 4096)))
    assert (result.status, result.complaints) == (0, [])
    assert len(re.findall(frame + rb" \[oopser\d+\] \(", result.output)) == 80
    few = run("-m", tmp_path, log=log, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
    assert ANNOTATION.sub(b"", few.output) == log
    assert any("Too many open files" in line for line in few.complaints)


# The clock.


@pytest.mark.parametrize("years", [-30, 30])
def test_a_clock_that_jumps_changes_no_answer_of_the_cache(years: int, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    opened = open_file(str(TABLE))
    assert isinstance(opened, OpenTable)
    build_id = next(opened.all_images()).image.build_id
    kept, other = tmp_path / f"{build_id}.lineinfo", tmp_path / f"{'ab' * 20}.lineinfo"
    shutil.copy(TABLE, kept)
    shutil.copy(TABLE, other)
    there = time.time() + years * 365 * 86400
    os.utime(kept, (there, there))
    cache = TableCache(str(tmp_path))
    assert cache.find(build_id) == str(kept)
    assert abs(kept.stat().st_mtime - time.time()) < 3600  # a use sets its time right
    os.utime(other, (there, there))
    removed = [entry.build_id for entry in cache.prune(kept.stat().st_size)]
    assert len(removed) == 1  # whichever it is: one has room
    cache.prune(0, keep=build_id)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".lineinfo"] in ([kept.name], [])


@pytest.mark.parametrize("years", [-30, 30])
def test_that_no_server_had_a_file_does_not_hold_for_ever_when_the_clock_jumps(years: int, tmp_path: Path) -> None:
    from annotate.kernel.debuginfod import Client, Options  # noqa: PLC0415

    build_id = "ab" * 20
    missed = tmp_path / build_id / "debuginfo"
    missed.parent.mkdir()
    missed.touch()
    client = Client(Options(urls=("http://[::1]:9/",), timeout=5.0, retries=0), str(tmp_path))
    assert client.find_debuginfo(build_id) is None
    assert "no server had it" in client.tried[0]
    there = time.time() + years * 365 * 86400
    os.utime(missed, (there, there))
    assert client.find_debuginfo(build_id) is None
    assert "no server had it" not in client.tried[0]  # the server was asked again


# Who may read what is kept.


def test_what_is_kept_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    done = subprocess.run(
        [*LINEINFO, "cache", "add", str(MODULE), "--jobs", "1"],
        capture_output=True,
        env={**ENVIRONMENT, "LINEINFO_CACHE": str(tmp_path / "cache")},
        timeout=PATIENCE,
        check=True,
        preexec_fn=lambda: os.umask(0) and None,
    )
    table = Path(os.fsdecode(done.stdout.strip()))
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    assert stat.S_IMODE(table.parent.stat().st_mode) == 0o700
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_errors_of_files_are_ours(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="expected a file, found a folder"):
        open_bytes(str(tmp_path))
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    data = open_bytes(str(path))
    os.truncate(path, 4)
    assert data[:4] == b"0123"
    with pytest.raises(ChangedFileError, match="was cut off while it was in use"):
        data[2:6]
