"""Kernels and modules are found where each distribution puts them, each log's own and no other's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import pytest
from fake_world import BUILD_ID, RELEASE, build_kernel, build_module, extent

from annotate.kernel.identify import are_builds_apart, running, with_build_id
from annotate.kernel.locate import KERNEL_PLACES, Locator, SearchPlaces, install_command
from annotate.model import KernelId

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE = 30

BANNER = f"Linux version {RELEASE} (gcc) #1 SMP\n".encode()


class Files(NamedTuple):
    """A small kernel, its module, and a line with a frame of each."""

    kernel: Path
    module: Path
    frame: bytes
    module_frame: bytes


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    kernel = build_kernel(folder / "vmlinux")
    module = build_module(folder / "crasher.ko")
    first, crash = extent(kernel, "first"), extent(module, "crash_now")
    return Files(kernel, module, b" %s\n" % first.frame(first.size - 1), b" %s [crasher]\n" % crash.frame(2))


class Ran(NamedTuple):
    """What a run left behind."""

    status: int
    output: bytes
    complaints: str


def run(root: Path | str, *arguments: str | Path, log: bytes = b"", program: str = "annotate", **more: str) -> Ran:
    environment: Mapping[str, str] = {
        "LC_ALL": "C.UTF-8",
        "LINEINFO_SYSROOT": str(root),
        "LINEINFO_CACHE": f"{root}/cache",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        **more,
    }
    command = [sys.executable, "-m", program, *map(str, arguments)]
    done = subprocess.run(command, input=log, capture_output=True, env=environment, timeout=PATIENCE, check=False)
    return Ran(done.returncode, done.stdout, done.stderr.decode())


def put(file: Path, root: Path, *places: str) -> None:
    for place in places:
        path = root / place.format(r=RELEASE)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, path)


#: Where a kernel and its modules are, in the shapes of the distributions' packages.
LAYOUTS = {
    "Debian": ("usr/lib/debug/boot/vmlinux-{r}", "usr/lib/debug/lib/modules/{r}/kernel/drivers/crasher.ko"),
    "Debian, link": ("usr/lib/debug/lib/modules/{r}/vmlinux", "usr/lib/debug/lib/modules/{r}/extra/crasher.ko"),
    "Ubuntu": ("usr/lib/debug/boot/vmlinux-{r}", "usr/lib/debug/lib/modules/{r}/kernel/drivers/crasher.ko.debug"),
    "Fedora": (
        "usr/lib/debug/lib/modules/{r}/vmlinux",
        "usr/lib/debug/lib/modules/{r}/kernel/drivers/crasher.ko.debug",
    ),
    "Fedora, merged": (
        "usr/lib/debug/usr/lib/modules/{r}/vmlinux",
        "usr/lib/debug/usr/lib/modules/{r}/kernel/drivers/crasher.ko.debug",
    ),
    "openSUSE": ("usr/lib/debug/boot/vmlinux-{r}.debug", "usr/lib/debug/usr/lib/modules/{r}/kernel/crasher.ko.debug"),
    "openSUSE, merged": (
        "usr/lib/debug/usr/lib/modules/{r}/vmlinux.debug",
        "usr/lib/debug/usr/lib/modules/{r}/kernel/crasher.ko.debug",
    ),
    "Arch": ("usr/lib/modules/{r}/build/vmlinux", "usr/lib/modules/{r}/kernel/crasher.ko"),
    "own build": ("lib/modules/{r}/build/vmlinux", "lib/modules/{r}/extra/crasher.ko"),
    "own build, source": ("lib/modules/{r}/source/vmlinux", "lib/modules/{r}/updates/crasher.ko"),
    "beside the modules": ("lib/modules/{r}/vmlinux", "lib/modules/{r}/updates/crasher.ko"),
    "boot": ("boot/vmlinux-{r}", "usr/lib/modules/{r}/updates/crasher.ko"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_distributions_files_are_found_without_an_option(name: str, files: Files, tmp_path: Path) -> None:
    kernel, module = LAYOUTS[name]
    put(files.kernel, tmp_path, kernel)
    put(files.module, tmp_path, module)
    ran = run(tmp_path, log=BANNER + files.frame + files.module_frame)
    assert b" (fs/first.c:" in ran.output
    assert b" [crasher] (drivers/crasher.c:" in ran.output
    assert (ran.status, ran.complaints) == (0, "")


def test_every_place_of_a_kernel_is_in_a_layout() -> None:
    used = {kernel for kernel, _ in LAYOUTS.values()}
    assert {place for place, _ in KERNEL_PLACES} - used == {"usr/lib/modules/{r}/vmlinux"}  # /lib is /usr/lib there


@pytest.mark.parametrize("packing", ["xz", "gz"])
def test_packed_modules_are_found(packing: str, files: Files, tmp_path: Path) -> None:
    put(files.module, tmp_path, "lib/modules/{r}/extra/crasher.ko")
    packed = tmp_path / f"lib/modules/{RELEASE}/extra/crasher.ko"
    subprocess.run([packing, str(packed)] if packing == "xz" else ["gzip", str(packed)], check=True)
    ran = run(tmp_path, log=BANNER + files.module_frame)
    assert b" [crasher] (drivers/crasher.c:" in ran.output


def test_a_build_id_leads_to_its_link(tmp_path: Path) -> None:
    kernel = build_kernel(tmp_path / "vmlinux", build_id=BUILD_ID)
    first = extent(kernel, "first")
    put(kernel, tmp_path, f"usr/lib/debug/.build-id/{BUILD_ID[:2]}/{BUILD_ID[2:]}.debug")
    log = b"CPU: 0 PID: 7 Comm: x Not tainted 9.9.9 #1 %s\n %s\n" % (BUILD_ID.encode(), first.frame(first.size - 1))
    assert b" (fs/first.c:" in run(tmp_path, log=log).output


def test_places_are_tried_in_order_and_those_of_the_user_first(files: Files, tmp_path: Path) -> None:
    for place, _ in KERNEL_PLACES:
        put(files.kernel, tmp_path, place)
    (tmp_path / "logs").mkdir()
    put(files.kernel, tmp_path, "logs/vmlinux", "given/vmlinux")
    places = SearchPlaces((str(tmp_path / "given"),), (), (str(tmp_path / "logs"),), root=str(tmp_path))
    found = [Path(place.path) for place in Locator(places).kernels(KernelId(RELEASE))]
    standard = [tmp_path / place.format(r=RELEASE) for place, _ in KERNEL_PLACES]
    assert found == [tmp_path / "given/vmlinux", tmp_path / "logs/vmlinux", *standard]


@pytest.mark.parametrize("release", ["../../etc", "/etc", "..", ".", "a/b", "a\0b"])
def test_a_release_does_not_lead_out_of_the_folders(release: str, tmp_path: Path) -> None:
    locator = Locator(SearchPlaces(root=str(tmp_path)))
    assert list(locator.standard_kernels(KernelId(release))) == []
    assert list(locator.standard_modules(KernelId(release), "../../../../etc/passwd")) == []


# The right kernel and no other.


def test_a_log_of_a_kernel_that_is_not_here_passes_through_with_what_to_install(files: Files, tmp_path: Path) -> None:
    put(files.kernel, tmp_path, "usr/lib/debug/boot/vmlinux-{r}")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=debian\n")
    log = b"Linux version 5.0.0 (gcc) #1 SMP\n" + files.frame + files.module_frame
    ran = run(tmp_path, log=log)
    assert (ran.status, ran.output) == (0, log)
    assert ran.complaints.count("\n") == 1
    assert "1 in the kernel and 1 in its modules" in ran.complaints
    assert "'apt install linux-image-5.0.0-dbg' may bring it" in ran.complaints


def test_a_kernel_of_the_same_release_but_another_build_is_not_used(files: Files, tmp_path: Path) -> None:
    put(files.kernel, tmp_path, "usr/lib/debug/boot/vmlinux-{r}")
    log = BANNER.replace(b"#1 SMP", b"#2 SMP") + files.frame
    ran = run(tmp_path, log=log)
    assert ran.output == log
    assert "of another build" in ran.complaints
    explicit = run(tmp_path, "-k", files.kernel, log=log)
    assert b" (fs/first.c:" in explicit.output
    assert "used because it was given" in explicit.complaints


def test_a_kernel_with_another_build_id_is_not_used(tmp_path: Path) -> None:
    kernel = build_kernel(tmp_path / "vmlinux", build_id=BUILD_ID)
    put(kernel, tmp_path, "usr/lib/debug/boot/vmlinux-{r}")
    first = extent(kernel, "first")
    other = "2" * len(BUILD_ID)
    log = b"CPU: 0 PID: 7 Comm: x Not tainted %s #1 %s\n %s\n" % (
        RELEASE.encode(),
        other.encode(),
        first.frame(first.size - 1),
    )
    ran = run(tmp_path, log=log)
    assert ran.output == log
    assert f"the log's is {other}" in ran.complaints


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("(a@b) (gcc) #1 SMP Debian 6.1.1", "(a@b) (gcc) #1 SMP  Debian 6.1.1", False),
        ("(a@b) (gcc) #1 SMP Debian 6.1.1", "(a@b) (gcc) #1 SMP Debian 6.1.2", True),
        ("(a@b) (gcc) #1 SMP", "(a@b) (gcc) #2 SMP", True),
        ("#1  Debian 6.1.1", "(a@b) (gcc) #1 SMP Debian 6.1.1", False),
        ("", "(a@b) (gcc) #1 SMP", False),
        ("(a@b) (gcc) ", "(a@b) (gcc) #1 SMP", False),
    ],
)
def test_builds_are_told_apart_by_what_follows_their_number(one: str, other: str, *, apart: bool) -> None:
    assert are_builds_apart(one, other) is apart
    assert are_builds_apart(other, one) is apart


# The kernel that runs here.


def _running_in(root: Path, version: str) -> None:
    (root / "proc").mkdir(parents=True, exist_ok=True)
    (root / "proc/version").write_text(f"Linux version {RELEASE} (gcc) {version}\n")
    (root / "sys/kernel").mkdir(parents=True, exist_ok=True)
    name = (4).to_bytes(4, "little") + (20).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"GNU\0"
    (root / "sys/kernel/notes").write_bytes(b"\4\0\0\0\1\0\0\0\1\0\0\0Xen\0\0\0\0\0" + name + bytes.fromhex(BUILD_ID))


def test_the_running_kernel_is_that_of_proc_and_sys(tmp_path: Path) -> None:
    assert running(str(tmp_path)) == KernelId()
    _running_in(tmp_path, "#1 SMP")
    here = running(str(tmp_path))
    assert (here.release, here.version, here.build_id) == (RELEASE, "(gcc) #1 SMP", BUILD_ID)
    named = KernelId(RELEASE, "(gcc) #1 SMP")
    assert with_build_id(named, here).build_id == BUILD_ID
    assert with_build_id(named._replace(version="(gcc) #2 SMP"), here).build_id == ""
    assert with_build_id(KernelId("5.0.0", "(gcc) #1 SMP"), here).build_id == ""


def test_a_log_that_names_no_kernel_is_asked_of_the_one_that_runs_or_is_named(files: Files, tmp_path: Path) -> None:
    put(files.kernel, tmp_path, "usr/lib/debug/boot/vmlinux-{r}")
    assert run(tmp_path, log=files.frame).output == files.frame
    assert b" (fs/first.c:" in run(tmp_path, "-r", RELEASE, log=files.frame).output
    _running_in(tmp_path, "#1 SMP")
    assert b" (fs/first.c:" in run(tmp_path, log=files.frame).output
    assert run(tmp_path, "-r", "5.0.0", log=files.frame).output == files.frame


def test_the_build_id_of_the_running_kernel_is_that_of_its_own_logs(tmp_path: Path) -> None:
    kernel = build_kernel(tmp_path / "vmlinux", build_id=BUILD_ID)
    first = extent(kernel, "first")
    put(kernel, tmp_path, f"usr/lib/debug/.build-id/{BUILD_ID[:2]}/{BUILD_ID[2:]}.debug")
    log = BANNER + b" %s\n" % first.frame(first.size - 1)
    assert run(tmp_path, log=log).output == log
    _running_in(tmp_path, "#1 SMP")
    assert b" (fs/first.c:" in run(tmp_path, log=log).output
    _running_in(tmp_path, "#2 SMP")
    assert run(tmp_path, log=log).output == log


@pytest.mark.parametrize(
    ("os_release", "command"),
    [
        ("ID=debian", "apt install linux-image-6.9-dbg"),
        ('ID=ubuntu\nID_LIKE="debian"', "apt install linux-image-6.9-dbgsym"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"', "apt install linux-image-6.9-dbgsym"),
        ("ID=fedora", "dnf debuginfo-install kernel-core-6.9"),
        ('ID="rhel"\nID_LIKE="fedora"', "debuginfo-install kernel-6.9"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"', "zypper install kernel-default-debuginfo"),
        ("ID=arch", "DEBUGINFOD_URLS=https://debuginfod.archlinux.org lineinfo-annotate"),
        ("ID=plan9", ""),
    ],
)
def test_what_installs_debug_info_is_the_distributions_own_command(
    os_release: str, command: str, tmp_path: Path
) -> None:
    assert install_command(str(tmp_path), "6.9") == ""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(os_release + "\n")
    assert install_command(str(tmp_path), "6.9") == command


# The doctor.


def test_the_doctor_lists_every_place_with_its_verdict(files: Files, tmp_path: Path) -> None:
    put(files.kernel, tmp_path, "usr/lib/debug/boot/vmlinux-{r}")
    put(files.module, tmp_path, "usr/lib/debug/lib/modules/{r}/crasher.ko")
    ran = run(tmp_path, "doctor", RELEASE, program="annotate.cli.lineinfo")
    assert (ran.status, ran.complaints) == (0, "")
    text = ran.output.decode()
    for place, reason in KERNEL_PLACES:
        assert f"{tmp_path / place.format(r=RELEASE)} ({reason})" in text
    assert f"  fits: {tmp_path}/usr/lib/debug/boot/vmlinux-{RELEASE} (" in text
    assert f"  1 modules: {tmp_path}/usr/lib/debug/lib/modules/{RELEASE} (" in text
    assert f"  would be used: {tmp_path}/usr/lib/debug/boot/vmlinux-{RELEASE}, dwarf" in text


def test_the_doctor_knows_the_cache_system_map_and_the_running_kernel(files: Files, tmp_path: Path) -> None:
    _running_in(tmp_path, "#1 SMP")
    put(files.kernel, tmp_path, "boot/System.map-{r}")
    cached = run(tmp_path, "cache", "add", files.kernel, program="annotate.cli.lineinfo")
    assert cached.status == 0
    text = run(tmp_path, "doctor", program="annotate.cli.lineinfo").output.decode()
    assert f"  fits: {tmp_path}/cache/{BUILD_ID}.lineinfo (in the cache, build id {BUILD_ID})" in text
    assert f"  would be used: {tmp_path}/cache/{BUILD_ID}.lineinfo, table" in text
    assert f"  symbols without lines, not used: {tmp_path}/boot/System.map-{RELEASE} (System.map)" in text
    assert f"  cannot be read, or hides its addresses: {tmp_path}/proc/kallsyms" in text
    for address, verdict in (("0" * 16, "cannot be read"), ("ffffffff81000000", "names the raw addresses")):
        (tmp_path / "proc/kallsyms").write_text(f"{'0' * 16} A fixed_percpu_data\n{address} T _text\n")
        text = run(tmp_path, "doctor", program="annotate.cli.lineinfo").output.decode()
        assert f"  {verdict}" in text
    assert "proc/kallsyms" not in run(tmp_path, "doctor", "6.9.9", program="annotate.cli.lineinfo").output.decode()


def test_the_doctor_takes_a_log_and_says_why_nothing_fits(files: Files, tmp_path: Path) -> None:
    put(files.kernel, tmp_path, "usr/lib/debug/boot/vmlinux-{r}")
    log = tmp_path / "oops.log"
    log.write_bytes(BANNER.replace(b"#1 SMP", b"#2 SMP") + files.frame)
    ran = run(tmp_path, "doctor", log, program="annotate.cli.lineinfo")
    assert ran.status == 1
    text = ran.output.decode()
    assert f"  of another build of {RELEASE}: (gcc) #1 SMP: {tmp_path}/usr/lib/debug/boot/vmlinux-{RELEASE}" in text
    assert "  nothing fits" in text


def test_the_doctor_says_whether_a_server_can_be_asked(tmp_path: Path) -> None:
    def servers(*arguments: str, urls: str = "") -> list[str]:
        doctor = run(tmp_path, "doctor", *arguments, program="annotate.cli.lineinfo", DEBUGINFOD_URLS=urls)
        text = doctor.output.decode()
        return [line.strip() for line in text.splitlines() if "asked" in line or ("build id" in line and "but" in line)]

    url = "http://127.0.0.1:9/"
    asked, unknown = f"would be asked: {url} (DEBUGINFOD_URLS)", "but not for this kernel: its build id is not known"
    assert servers(RELEASE) == ["no server would be asked: DEBUGINFOD_URLS is not set"]
    assert servers(RELEASE, urls=url) == [asked, unknown]
    _running_in(tmp_path, "#1 SMP")
    assert servers(urls=url) == [asked]


def test_every_place_and_its_verdict_are_said_with_v(files: Files, tmp_path: Path) -> None:
    put(build_kernel(tmp_path / "x/vmlinux", release="6.9.9"), tmp_path, KERNEL_PLACES[1][0])
    put(files.kernel, tmp_path, KERNEL_PLACES[-1][0])
    log = BANNER + files.frame
    complaints = run(tmp_path, "-v", log=log).complaints
    for number, (place, reason) in enumerate(KERNEL_PLACES):
        verdict = "opened" if number in (1, len(KERNEL_PLACES) - 1) else "absent"
        assert f"tried {tmp_path / place.format(r=RELEASE)} ({reason}): {verdict}" in complaints
    assert f"using {tmp_path / KERNEL_PLACES[-1][0].format(r=RELEASE)}" in complaints


# The cache.


def test_what_was_put_into_the_cache_answers_when_the_debug_info_is_gone(files: Files, tmp_path: Path) -> None:
    _running_in(tmp_path, "#1 SMP")
    kernel = build_kernel(tmp_path / "vmlinux", build_id=BUILD_ID)
    put(kernel, tmp_path, "usr/lib/debug/lib/modules/{r}/vmlinux")
    put(files.module, tmp_path, "usr/lib/debug/lib/modules/{r}/crasher.ko")
    added = run(tmp_path, "cache", "add", "--jobs", "1", program="annotate.cli.lineinfo")
    assert (added.status, added.complaints) == (0, "")
    shutil.rmtree(tmp_path / "usr")
    first = extent(kernel, "first")
    log = BANNER + b" %s\n" % first.frame(first.size - 1) + files.module_frame
    ran = run(tmp_path, "-v", log=log)
    assert b" (fs/first.c:" in ran.output
    assert b" [crasher] (drivers/crasher.c:" in ran.output
    assert "in the cache" in ran.complaints


def test_without_a_source_and_a_kernel_to_find_the_cache_says_so(tmp_path: Path) -> None:
    ran = run(tmp_path, "cache", "add", program="annotate.cli.lineinfo")
    assert (ran.status, ran.output) == (1, b"")
    assert ran.complaints.startswith("lineinfo: cache add: nothing of any kernel is here: ")


def test_a_package_is_taken_as_a_kernel_and_unpacked_once(files: Files, tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not here")
    tree = tmp_path / "tree"
    put(build_kernel(tmp_path / "vmlinux", build_id=BUILD_ID), tree, "usr/lib/debug/boot/vmlinux-{r}")
    put(files.module, tree, "usr/lib/debug/lib/modules/{r}/crasher.ko")
    (tree / "DEBIAN").mkdir()
    control = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    (tree / "DEBIAN/control").write_text(control)
    package = tmp_path / "x.deb"
    subprocess.run(["dpkg-deb", "-b", str(tree), str(package)], check=True, capture_output=True)
    first = extent(tmp_path / "vmlinux", "first")
    log = BANNER + b" %s\n" % first.frame(first.size - 1) + files.module_frame
    for _ in range(2):
        ran = run(tmp_path, "-k", package, log=log)
        assert b" (fs/first.c:" in ran.output
        assert b" [crasher] (drivers/crasher.c:" in ran.output
        assert (ran.status, ran.complaints) == (0, "")
    package.write_bytes(package.read_bytes()[:-100])
    damaged = run(tmp_path, "-k", package, log=log)
    assert damaged.status == 1
    assert str(package) in damaged.complaints


# Servers.


class _Server(BaseHTTPRequestHandler):
    """Has one debug file."""

    file = b""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        is_there = self.path == f"/buildid/{BUILD_ID}/debuginfo"
        self.send_response(200 if is_there else 404)
        self.send_header("Content-Length", str(len(self.file) if is_there else 0))
        self.end_headers()
        self.wfile.write(self.file if is_there else b"")

    def log_message(self, *_arguments: object) -> None:
        pass


def test_a_server_is_asked_by_build_id_when_nothing_is_here_and_the_user_does_not_object(tmp_path: Path) -> None:
    kernel = build_kernel(tmp_path / "vmlinux", build_id=BUILD_ID)
    first = extent(kernel, "first")
    log = b"CPU: 0 PID: 7 Comm: x Not tainted %s #1 %s\n %s\n" % (
        RELEASE.encode(),
        BUILD_ID.encode(),
        first.frame(first.size - 1),
    )
    _Server.file = kernel.read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            servers = {
                "DEBUGINFOD_URLS": f"http://127.0.0.1:{server.server_port}",
                "DEBUGINFOD_CACHE_PATH": str(tmp_path / "debuginfod"),
            }
            assert run(tmp_path, "--no-debuginfod", log=log, **servers).output == log
            assert _Server.asked == []
            for _ in range(2):
                assert b" (fs/first.c:" in run(tmp_path, log=log, **servers).output
            assert _Server.asked == [f"/buildid/{BUILD_ID}/debuginfo"]
        finally:
            server.shutdown()
            thread.join()
