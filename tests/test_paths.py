from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.debuginfo.paths import TOP_LEVEL, fold, join, tree_path, tree_roots

# --- fold and join -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "folded"),
    [
        ("fs/read_write.c", "fs/read_write.c"),
        ("./fs/read_write.c", "fs/read_write.c"),
        ("fs//read_write.c", "fs/read_write.c"),
        ("arch/x86/kernel/../../../fs/a.c", "fs/a.c"),
        ("../../../fs/read_write.c", "../../../fs/read_write.c"),
        ("a/../../b", "../b"),
        ("a/b/..", "a"),
        ("a/.", "a"),
        ("a/", "a"),
        ("a..b/c...d", "a..b/c...d"),
        (".hidden/a./b.", ".hidden/a./b."),
        ("/usr/src/linux/./mm//a.c", "/usr/src/linux/mm/a.c"),
        ("/a/../../b", "/b"),
        ("/..", "/"),
        ("/", "/"),
        ("", ""),
        (".", ""),
        ("..", ".."),
    ],
)
def test_dots_and_doubled_slashes_are_folded(path: str, folded: str) -> None:
    assert fold(path) == folded


parts = st.lists(st.sampled_from(["", ".", "..", "...", "a", "b.c", "linux", " ", ".git", "x."]), max_size=10)
paths = parts.map("/".join)


@given(paths)
def test_folding_an_absolute_path_is_what_posixpath_does(path: str) -> None:
    # POSIX gives exactly two leading slashes a meaning of their own, and normpath keeps them; a debug path has none.
    absolute = "/" + path.lstrip("/")
    assert fold(absolute) == posixpath.normpath(absolute)


@given(paths)
def test_folding_a_relative_path_is_what_posixpath_does(path: str) -> None:
    relative = path.lstrip("/")
    expected = posixpath.normpath(relative)
    assert fold(relative) == ("" if expected == "." else expected)


@given(paths)
def test_folding_twice_is_folding_once(path: str) -> None:
    once = fold(path)
    assert fold(once) == once


@pytest.mark.parametrize(
    ("folder", "name", "joined"),
    [
        ("/linux", "fs/a.c", "/linux/fs/a.c"),
        ("/linux/", "fs/a.c", "/linux/fs/a.c"),
        ("/linux", "/build/a.c", "/build/a.c"),
        ("", "fs/a.c", "fs/a.c"),
        ("/linux", "", "/linux"),
        ("include", "linux/mm.h", "include/linux/mm.h"),
    ],
)
def test_names_are_joined_to_their_folder(folder: str, name: str, joined: str) -> None:
    assert join(folder, name) == joined


# --- roots -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comp_dir", "directories", "roots"),
    [
        ("/usr/src/linux", ["./include/linux", "mm"], ("/usr/src/linux",)),
        ("/home/me/out", ["/home/me/linux/include/linux", "./arch/x86/include/generated/asm", "./include/generated"],
         ("/home/me/linux", "/home/me/out")),
        ("/home/me/linux/out", ["../include/linux", "include/generated/uapi"],
         ("/home/me/linux/out", "/home/me/linux")),
        ("/b/linux-6.1", ["/b/linux-6.1/arch/arm64/kernel"], ("/b/linux-6.1",)),
        ("debian/build/build_amd64", ["include/linux", "arch/x86/include/asm"], ()),
        # The C library's headers and those of tools/ name no kernel tree.
        ("/b/linux", ["/usr/include/linux", "/b/linux/tools/include/linux", "/b/linux/tools/perf/arch/x86/include"],
         ()),
        ("/b/linux", ["/b/linux/include/uapi/linux", "/b/linux/arch/x86/include/uapi/asm"], ("/b/linux",)),
        ("", [], ()),
    ],
)  # fmt: skip
def test_roots_are_what_stands_before_the_directories_that_every_unit_includes(
    comp_dir: str, directories: list[str], roots: tuple[str, ...]
) -> None:
    assert tree_roots(comp_dir, directories) == roots


# --- paths in the tree -------------------------------------------------------------------------------------------

DEBIAN = "debian/build/build_amd64_none_cloud-amd64"
DEBIAN_ROOT = "/build/reproducible-path/linux-6.1.192"
HEADERS = "/usr/src/linux-headers-6.1.0-56"

#: (comp_dir, directories of the unit, directory of the file, name, shown)
CASES = [
    # Built in its own tree.
    ("/usr/src/linux", ["mm", "./include/linux"], "mm", "a.c", "mm/a.c"),
    ("/usr/src/linux", ["./include/linux"], "", "mm/a.c", "mm/a.c"),
    ("/usr/src/linux", ["/usr/src/linux/include/linux"], "/usr/src/linux/mm", "a.c", "mm/a.c"),
    ("/usr/src/linux", [], "/usr/src/linux/mm", "a.c", "mm/a.c"),
    ("/usr/src/linux", ["./include/linux"], "./include/linux", "mm.h", "include/linux/mm.h"),
    ("/usr/src/linux", ["./include/linux"], "./arch/x86/include/asm", "page.h", "arch/x86/include/asm/page.h"),
    ("/home/net/kernel/linux", ["./include/linux"], "/home/net/kernel/linux/drivers//net", "a.c", "drivers/net/a.c"),
    ("/home/net/kernel/linux", [], "/home/net/kernel/linux/fs", "a.c", "fs/a.c"),
    ("/arch/linux", ["/arch/linux/include/linux"], "/arch/linux/fs", "a.c", "fs/a.c"),
    # Folded.
    ("/l", ["include/linux"], "arch/x86/kvm/../../../virt/kvm", "kvm_main.c", "virt/kvm/kvm_main.c"),
    ("/l", ["include/linux"], "drivers/gpu/drm/amd/amdgpu/../display/dc", "dc.c",
     "drivers/gpu/drm/amd/display/dc/dc.c"),
    ("/l", ["include/linux"], "./fs/./ext4//", "inode.c", "fs/ext4/inode.c"),
    # Built elsewhere (O=): absolute, and relative to the folder of the build.
    ("/home/me/out", ["/home/me/linux/include/linux"], "/home/me/linux/fs", "read_write.c", "fs/read_write.c"),
    ("/home/me/out", ["/home/me/linux/include/linux"], "./include/generated", "utsrelease.h",
     "include/generated/utsrelease.h"),
    ("/home/me/out", ["/home/me/linux/include/linux", "./include/generated"], "/home/me/out/include/generated", "x.h",
     "include/generated/x.h"),
    ("/home/me/linux/out/x86", ["../../include/linux"], "../../fs", "read_write.c", "fs/read_write.c"),
    ("/home/me/linux/out", ["../include/linux", "include/generated"], "../init", "main.c", "init/main.c"),
    ("/home/me/linux/out", ["../include/linux"], "", "../fs/read_write.c", "fs/read_write.c"),
    # Debian: C units have a relative, remapped comp_dir; units of assembly an absolute one.
    (DEBIAN, ["mm", "include/linux"], "mm", "page_alloc.c", "mm/page_alloc.c"),
    (DEBIAN, ["../../../include/linux"], "../../../fs", "read_write.c", "fs/read_write.c"),
    (DEBIAN, [], "", "../../../fs/read_write.c", "fs/read_write.c"),
    (DEBIAN, ["include/generated"], "./include/generated", "utsrelease.h", "include/generated/utsrelease.h"),
    (f"{DEBIAN_ROOT}/{DEBIAN}", [f"{DEBIAN_ROOT}/arch/x86/include/asm"], f"{DEBIAN_ROOT}/arch/x86/entry", "entry_64.S",
     "arch/x86/entry/entry_64.S"),
    (f"{DEBIAN_ROOT}/{DEBIAN}", [], f"{DEBIAN_ROOT}/arch/x86/entry", "entry_64.S", "arch/x86/entry/entry_64.S"),
    (f"{DEBIAN_ROOT}/{DEBIAN}", [], "./arch/x86/include/generated/asm", "x.h", "arch/x86/include/generated/asm/x.h"),
    # A module outside the tree: its own files as the debug info names them, the kernel's headers in the tree.
    (HEADERS + "-cloud-amd64", [HEADERS + "-common/include/linux"], "/build/oopser/crash", "warn.c",
     "/build/oopser/crash/warn.c"),
    (HEADERS + "-cloud-amd64", [HEADERS + "-common/include/linux"], HEADERS + "-common/include/linux", "slab.h",
     "include/linux/slab.h"),
    (HEADERS + "-cloud-amd64", [HEADERS + "-common/include/linux"], HEADERS + "-common/arch/x86/include/asm", "x.h",
     "arch/x86/include/asm/x.h"),
    (HEADERS + "-cloud-amd64", [HEADERS + "-common/include/linux"], "./include/generated", "autoconf.h",
     "include/generated/autoconf.h"),
    ("/lib/modules/6.1/build", ["/lib/modules/6.1/build/include/linux"], "/home/me/drivers/mine", "a.c",
     "/home/me/drivers/mine/a.c"),
    # The compiler's own headers are in no tree, wherever the kernel was built.
    ("/usr/src/linux", ["./include/linux"], "/usr/lib/gcc/aarch64-linux-gnu/12/include", "arm_neon.h",
     "/usr/lib/gcc/aarch64-linux-gnu/12/include/arm_neon.h"),
    ("/home/me/linux", ["./include/linux"], "/usr/lib/gcc/aarch64-linux-gnu/12/include", "arm_neon.h",
     "/usr/lib/gcc/aarch64-linux-gnu/12/include/arm_neon.h"),
    # A header folder of a driver is no root.
    ("/l", ["include/linux", "/l/drivers/staging/lustre/include/linux"], "/l/drivers/staging/lustre/include/linux",
     "x.h", "drivers/staging/lustre/include/linux/x.h"),
    # Nothing known.
    ("", [], "", "a.c", "a.c"),
    ("", [], "", "/a.c", "/a.c"),
]  # fmt: skip


@pytest.mark.parametrize(("comp_dir", "directories", "directory", "name", "shown"), CASES)
def test_a_file_is_shown_by_its_path_in_the_kernel_tree(
    comp_dir: str, directories: list[str], directory: str, name: str, shown: str
) -> None:
    assert tree_path(directory, name, comp_dir, tree_roots(comp_dir, directories)) == shown


folders = st.sampled_from(["/usr/src/linux", "/home/me/net/linux", "/b", "/virt/fs/lib"])
below = st.lists(st.sampled_from(["mm", "net", "x86", "a-b", "kernel"]), max_size=3)


@given(
    folders,
    st.sampled_from(sorted(TOP_LEVEL)),
    below,
    st.sampled_from(["absolute", "relative", "dotted", "out of tree"]),
)
def test_a_file_of_the_tree_is_shown_the_same_however_it_is_named(
    root: str, top: str, folder: list[str], spelling: str
) -> None:
    path = "/".join([top, *folder])
    comp_dir, directory, include = {
        "absolute": (root, f"{root}/{path}", f"{root}/include/linux"),
        "relative": (root, path, "include/linux"),
        "dotted": (root, f"./{path}/.", "./include/linux"),
        "out of tree": (f"{root}/out/build", f"../../{path}", "../../include/linux"),
    }[spelling]
    assert tree_path(directory, "file.c", comp_dir, tree_roots(comp_dir, [directory, include])) == f"{path}/file.c"
