"""A link leads to the very line or is none; whatever debug info says, it is one URI."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.model import KernelId, Location
from annotate.render.links import TEMPLATES, Linker, is_of_kernel, template_named
from annotate.render.trees import Tag, package_version, tag_of

STABLE, MAINLINE, NEXT = "stable/linux.git", "torvalds/linux.git", "next/linux-next.git"
DEBIAN = "#1 SMP PREEMPT_DYNAMIC Debian {} (2026-07-12)"

#: Releases and versions as kernels print them, and the tag that they were made from.
TAGS = [
    ("6.12.0", "#1 SMP", Tag("v6.12", STABLE)),
    ("6.12.7", "#1 SMP", Tag("v6.12.7", STABLE)),
    ("6.18.0-rc3", "#1 SMP", Tag("v6.18-rc3", MAINLINE)),
    ("6.19.0-rc4-next-20260105", "#1 SMP", Tag("next-20260105", NEXT)),
    # all that is something else than a tag, or that may be: patches on top move lines
    ("6.1.0-56-cloud-amd64", DEBIAN.format("6.1.192-2"), None),
    ("6.12.0", DEBIAN.format("6.12-1~exp1"), None),
    ("6.17.4-200.fc42.x86_64", "#1 SMP PREEMPT_DYNAMIC Mon Oct 20", None),
    ("6.18.0-0.rc3.29.fc44.x86_64", "#1 SMP", None),
    ("6.8.0-45-generic", "#45-Ubuntu SMP PREEMPT_DYNAMIC", None),
    ("6.8.0-1015-aws", "#16-Ubuntu SMP", None),
    ("6.1.0-56-cloud-amd64", "#1 SMP", None),
    ("5.10.0-30-amd64", DEBIAN.format("6.1.192-2"), None),
    ("6.1.0-56-cloud-amd64", "#1 Debian 6.1.192", None),
    ("6.18.0-rc3-00012-g1234567890ab", "#1 SMP", None),
    ("6.18.0-rc3-syzkaller-00012-g1234567890ab", "#0 PREEMPT", None),
    ("6.18.0-rc3+", "#1 SMP", None),
    ("6.12.7-dirty", "#1 SMP", None),
    ("6.12.7-mine", "#1 SMP", None),
    ("6.12.7-arch1-1", "#1 SMP", None),
    ("6.18.0-0.rc3.20251031gitd127176862a9.31.fc44.x86_64", "#1 SMP", None),
    ("6.19.0-rc4-next-20260105-00003-gabcdef", "#1 SMP", None),
    ("5.14.0-427.13.1.el9_4.x86_64", "#1 SMP", None),
    ("6.4.0-150600.23.60-default", "#1 SMP", None),
    ("6.1.112-122.189.amzn2023.x86_64", "#1 SMP", None),
    ("6.1.99-android14-11-g1234567890ab", "#1 SMP", None),
    ("6.12.7-rc1", "#1 SMP", None),  # a candidate of a stable version has no tag in a tree that stays
    ("", "", None),
]


@pytest.mark.parametrize(("release", "version", "tag"), TAGS)
def test_tags(release: str, version: str, tag: Tag | None) -> None:
    assert tag_of(KernelId(release, version)) == tag


@pytest.mark.parametrize(
    ("release", "version", "package"),
    [
        ("6.1.0-56-cloud-amd64", "#1  Debian 6.1.192-2", "6.1.192-2"),
        ("6.1.0-56-cloud-amd64", "(debian-kernel@lists.debian.org) " + DEBIAN.format("6.1.192-2"), "6.1.192-2"),
        ("6.1.0-56-cloud-amd64", "#1  Debian 6.1.192-2 " + "5e" * 20, "6.1.192-2"),  # STACKTRACE_BUILD_ID
        ("6.12.6-amd64", DEBIAN.format("6.12.6-1~bpo12+1"), "6.12.6-1~bpo12+1"),
        ("6.18-rc3-amd64", DEBIAN.format("6.18~rc3-1~exp1"), "6.18~rc3-1~exp1"),
        ("5.10.0-30-amd64", DEBIAN.format("6.1.192-2"), ""),
        ("6.1.0-56-cloud-amd64", "#1 Debian 6.1.192", ""),
        ("6.12.7", "#1 SMP", ""),
    ],
)
def test_versions_of_packages(release: str, version: str, package: str) -> None:
    assert package_version(KernelId(release, version)) == package


KERNEL = KernelId("6.1.0-56-cloud-amd64", DEBIAN.format("6.1.192-2"))
MAINLINE_KERNEL = KernelId("6.12.7", "#1 SMP")


def uri(
    template: str,
    file: str = "fs/read_write.c",
    line: int = 582,
    kernel: KernelId = KERNEL,
    misfits: tuple[str, ...] = (),
) -> str:
    files = {"fs/read_write.c": "/src/linux 6/fs/read_write.c", "/build/mod/a.c": "/build/mod/a.c"}
    linker = Linker([template_named(template)], files.get, "my host", lambda kernel: kernel.release in misfits)
    return linker.uri(Location(file, line, "f", inlined=False), kernel)


def test_the_named_templates() -> None:
    assert uri("file") == "file://my%20host/src/linux%206/fs/read_write.c"
    assert uri("vscode") == "vscode://file/src/linux%206/fs/read_write.c:582"
    assert uri("debian") == "https://sources.debian.org/src/linux/6.1.192-2/fs/read_write.c/#L582"
    assert uri("web", kernel=MAINLINE_KERNEL) == (
        "https://git.kernel.org/pub/scm/linux/kernel/git/stable/linux.git/tree/fs/read_write.c?h=v6.12.7#n582"
    )


def test_a_template_of_ones_own() -> None:
    assert uri("https://example.org/{version}/{path}:{line}") == "https://example.org/6.1.192-2/fs/read_write.c:582"
    assert uri("x-tree:{release}:{path}") == "x-tree:6.1.0-56-cloud-amd64:fs/read_write.c"


@pytest.mark.parametrize(
    ("template", "file", "line", "kernel"),
    [
        ("web", "fs/read_write.c", 582, KernelId("6.8.0-45-generic")),
        ("web", "fs/read_write.c", 582, KernelId()),
        ("web", "fs/read_write.c", 582, KERNEL),
        ("debian", "fs/read_write.c", 582, MAINLINE_KERNEL),
        ("web", "fs/read_write.c", 0, MAINLINE_KERNEL),
        ("web", "/build/mod/a.c", 1, MAINLINE_KERNEL),
        ("debian", "/build/mod/a.c", 1, KERNEL),
        ("file", "/etc/passwd", 1, KERNEL),
        ("vscode", "fs/elsewhere.c", 1, KERNEL),
        ("x-a:{version}", "fs/read_write.c", 1, KernelId("6.12.7")),
        ("x-a:{release}", "fs/read_write.c", 1, KernelId()),
        ("x-a:{path}", "fs/" + "a" * 4096, 1, KERNEL),
    ],
)
def test_where_something_is_not_known_there_is_no_link(template: str, file: str, line: int, kernel: KernelId) -> None:
    assert uri(template, file, line, kernel) == ""


def test_no_tree_for_lines_of_another_kernel() -> None:
    for template, kernel in (("debian", KERNEL), ("web", MAINLINE_KERNEL)):
        assert uri(template, kernel=kernel, misfits=("6.9.9",)) != ""
        assert uri(template, kernel=kernel, misfits=(kernel.release,)) == ""


def test_that_a_kernel_s_lines_are_another_s_may_be_found_out_later() -> None:
    misfits: set[str] = set()
    linker = Linker([TEMPLATES["debian"]], lambda _: None, "", lambda kernel: kernel.release in misfits)
    place = Location("fs/a.c", 1, "f", inlined=False)
    assert linker.uri(place, KERNEL)
    misfits.add(KERNEL.release)
    assert linker.uri(place, KERNEL) == ""


def test_the_first_template_that_can_be_filled_is_taken() -> None:
    linker = Linker([TEMPLATES["file"], TEMPLATES["debian"]], {"fs/a.c": "/src/fs/a.c"}.get, "h", lambda _: False)
    assert linker.uri(Location("fs/a.c", 1, "f", inlined=False), KERNEL) == "file://h/src/fs/a.c"
    assert linker.uri(Location("fs/b.c", 1, "f", inlined=False), KERNEL).startswith("https://sources.debian.org/")


@pytest.mark.parametrize(
    "file",
    [
        *("oopser/main.c", "main.c", "/fs/a.c", "fs", "../fs/a.c", "fs/../../x.c", "fs//a.c", "./fs/a.c", "", "?"),
        *("include/generated/asm-offsets.h", "arch/x86/include/generated/asm/syscalls_64.h", "<built-in>"),
    ],
)
def test_what_is_not_in_the_published_tree(file: str) -> None:
    assert not is_of_kernel(file)
    assert uri("debian", file) == ""


@pytest.mark.parametrize(
    "text", ["", "web ", "no scheme", "https://x/ {path}", "ab:\x1b", "ab:{paht}", "ab:{}", "ab:é"]
)
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected .*, found "):
        template_named(text)


@given(st.text(max_size=30), st.integers(1, 10**6))
def test_a_hostile_path_is_one_part_of_one_uri(name: str, line: int) -> None:
    file = f"fs/{name}"
    link = uri("web", file, line, MAINLINE_KERNEL)
    if not is_of_kernel(file):
        assert link == ""
        return
    assert re.fullmatch(r"[A-Za-z0-9:/?#%=._~-]+", link)
    parts = urlsplit(link)
    assert (parts.hostname, parts.query, parts.fragment) == ("git.kernel.org", "h=v6.12.7", f"n{line}")
    assert unquote_to_bytes(parts.path.partition("/tree/")[2]) == file.encode("utf-8", "surrogateescape")
