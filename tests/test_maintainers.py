"""The rules of MAINTAINERS, by small entries, by properties, and on a kernel's own file against get_maintainer.pl.

LINEINFO_KERNEL_TREE names a kernel's source tree; its files may be empty but for MAINTAINERS and the tool:
``.ci/fetch-kernel-tree`` makes one.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from annotate.errors import UnrecognisedFileError
from annotate.maintainers import THE_REST, needed_text, read_maintainers
from annotate.model import Subsystem

sys.path.insert(0, str(Path(__file__).parent / "oracle"))

from compare_maintainers import TOOL, compare, draw_files

FILES = 150
SEED = 7

HEAD = b"""List of maintainers
===================

\tM: *Mail* patches to: FullName <address@domain>
\tF: *Files* and directories wildcard patterns.
\t   F:\tdrivers/net/\tall files in and below drivers/net

Maintainers List
----------------

.. note:: When reading this list, please look for the most precise areas
          first.

"""
REST = b"""
THE REST
M:\tLinus Torvalds <torvalds@linux-foundation.org>
L:\tlinux-kernel@vger.kernel.org
S:\tBuried alive in reporters
F:\t*
F:\t*/
"""


def titles(entries: bytes, path: str) -> list[str]:
    return [subsystem.title for subsystem in read_maintainers(entries, "MAINTAINERS").subsystems_of(path)]


def is_matched(*tags: str, path: str) -> bool:
    """Whether an entry with these lines has the file; the one behind it has all that matches ``path`` too."""
    entry = "".join(f"{tag}\n" for tag in tags)
    return "ONE" in titles(f"ONE\n{entry}OTHER\nF:\t{path}\n".encode(), path)


def test_an_entry_is_told_as_it_stands_there() -> None:
    text = (
        HEAD
        + "XFS FILESYSTEM\nM:\tÄ. Önë <one@example.org>\n".encode()
        + b'M: "T. W. O." <two@example.org>\nR:three@example.org\n'
        + b"L:\tlinux-xfs@example.org (moderated)\nL:\tl2@example.org\nS:\tOdd Fixes\nW:\thttp://example.org\n"
        + b"T:\tgit git://example.org/xfs.git for-next\nQ:\tq\nB:\tb\nC:\tc\nP:\tp\nK:\txfs_\nF:\tDocumentation/xfs\n"
        + b"F:\tfs/xfs/\n"
        + REST
    )
    maintainers = read_maintainers(text, "MAINTAINERS")
    assert maintainers.titles == ("XFS FILESYSTEM", THE_REST)
    first, rest = maintainers.subsystems_of("fs/xfs/scrub/dir.c")
    assert first == Subsystem(
        title="XFS FILESYSTEM",
        status="Odd Fixes",
        maintainers=("Ä. Önë <one@example.org>", '"T. W. O." <two@example.org>'),
        reviewers=("three@example.org",),
        lists=("linux-xfs@example.org (moderated)", "l2@example.org"),
        trees=("git git://example.org/xfs.git for-next",),
        why="F: fs/xfs/",
    )
    assert (rest.title, rest.why) == (THE_REST, "F: */")
    assert [each.title for each in maintainers.subsystems_of("Kbuild")] == [THE_REST]


def test_an_entry_may_have_several_statuses() -> None:
    text = b"KVM/powerpc\nS:\tMaintained (64-bit HV)\nS:\tOrphan (32-bit)\nF:\ta/\n"
    (subsystem,) = read_maintainers(text, "MAINTAINERS").subsystems_of("a/b.c")
    assert subsystem.status == "Maintained (64-bit HV), Orphan (32-bit)"


def test_what_an_entry_does_not_say_is_empty() -> None:
    (subsystem,) = read_maintainers(b"ONE\nF:\ta/\n", "MAINTAINERS").subsystems_of("a/b.c")
    assert subsystem == Subsystem("ONE", "", (), (), (), (), "F: a/")


# --- patterns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "matched"),
    [
        ("net/", "net/socket.c", True),
        ("net/", "net/ipv6/netfilter/a.c", True),
        ("net/", "drivers/net/a.c", False),
        ("net/", "network/a.c", False),
        ("net/*", "net/socket.c", True),
        ("net/*", "net/ipv6/a.c", False),
        ("*/net/*", "drivers/net/loopback.c", True),
        ("*/net/*", "drivers/net/bonding/bond_main.c", False),
        ("*/net/*", "net/socket.c", False),
        ("*", "Makefile", True),
        ("*", "init/main.c", False),
        ("*/", "init/main.c", True),
        ("*/", "fs/xfs/a.c", True),
        ("*/", "Makefile", False),
        ("mm/slub.c", "mm/slub.c", True),
        ("mm/slub.c", "mm/slub_def.c", False),
        ("mm/slub.c", "mm/slubxc", False),
        ("net/ife", "net/ife/ife.c", True),
        ("net/ife", "net/ife/a/b.c", True),
        ("include/drm/drm", "include/drm/drm_edid.h", True),
        ("include/drm/drm", "include/drm/drmx/edid.h", False),
        ("drivers/*/*omap*", "drivers/usb/omap.c", True),
        ("drivers/*/*omap*", "drivers/usb/host/omap.c", False),
        ("drivers/*/*/qcom/", "drivers/net/ethernet/qcom/emac/emac.c", True),
        ("drivers/*/qcom/", "drivers/net/ethernet/qcom/emac/emac.c", True),
        ("drivers/*/qcom/", "drivers/qcom/emac.c", False),
        ("arch/*/include/uapi/", "arch/x86/include/uapi/asm/a.h", True),
        ("sound/da9???-codec.[ch]", "sound/da9055-codec.c", True),
        ("sound/da9???-codec.[ch]", "sound/da9055-codec.S", False),
        ("sound/da9???-codec.[ch]", "sound/da90-codec.c", False),
        ("sound/da[79]*.h", "sound/da8.h", False),
        ("a/b?c", "a/b/c", False),
        ("a/[^b].c", "a/c.c", True),
        ("a/[^b].c", "a/b.c", False),
        ("a/[^b]c.c", "a//c.c", False),
        ("a/c++", "a/c++", True),
        ("a/*.c", "a/b.c.old", True),
        ("a/[z-a]*", "a/b", False),
        ("a/[", "a/[", True),
        ("", "a.c", False),
    ],
)
@pytest.mark.parametrize("tag", ["F", "X"])
def test_a_pattern_matches_a_path(tag: str, pattern: str, path: str, *, matched: bool) -> None:
    if tag == "F":
        assert is_matched(f"F:\t{pattern}", path=path) is matched
    else:
        # The same rules; every path is matched otherwise.
        assert is_matched("N:\t.", f"X:\t{pattern}", path=path) is not matched


def test_an_exclusion_is_of_its_own_entry_wherever_it_stands() -> None:
    text = b"ONE\nX:\tnet/ipv6/\nF:\tnet/\nTWO\nF:\tnet/\nTHREE\nN:\tudp\nX:\tnet/ipv6/\n"
    assert titles(text, "net/ipv6/udp.c") == ["TWO"]
    assert titles(text, "net/ipv4/udp.c") == ["ONE", "TWO", "THREE"]


@pytest.mark.parametrize(
    ("expression", "path", "matched"),
    [
        ("imx", "arch/arm/mach-imx/gpc.c", True),
        ("imx", "arch/arm/mach-IMX/gpc.c", False),
        ("[^a-z]tegra", "drivers/soc/tegra/fuse.c", True),
        ("[^a-z]tegra", "drivers/soc/integrator.c", False),
        ("^arch/", "drivers/arch/a.c", False),
        (r"\.S$", "arch/x86/entry.S", True),
        (r"\.S$", "arch/x86/entry.S.c", False),
        ("bcm[9]?6756", "a/bcm6756.c", True),
        ("bcm[9]?6756", "a/bcm96756.c", True),
        ("^.*/vdso/[^/]*getrandom[^/]+$", "arch/x86/entry/vdso/vgetrandom.c", True),
        # not followed: no expression, one of perl alone, one that could take forever
        ("(a", "a", False),
        ("[[:alpha:]]", "a", False),
        ("(a+)+$", "a" * 100 + "b", False),
        ("a*a*a*a*b", "a" * 100, False),
        (".", "a" * 10_000, False),
    ],
)
def test_a_name_pattern_is_searched_for_in_the_path(expression: str, path: str, *, matched: bool) -> None:
    text = f"ONE\nN:\t{expression}\n".encode()
    assert titles(text, path) == (["ONE"] if matched else [])


def test_a_content_pattern_matches_no_path() -> None:
    assert titles(b"ONE\nK:\tnet\nF:\tmm/\n", "net/socket.c") == []


# --- rank ----------------------------------------------------------------------------------------------------------


def test_the_deepest_pattern_comes_first_and_the_rest_last() -> None:
    text = (
        b"ANYWHERE\nF:\t*/ipv6/*\nNAME\nN:\tudp\nTOP\nF:\tnet/\nFOLDER\nF:\tnet/ipv6/\nBARE FOLDER\nF:\tnet/ipv6\n"
        b"LEVEL\nF:\tnet/ipv6/*\nFILE\nF:\tnet/ipv6/udp.c\nDEEP GLOB\nF:\tnet/*/udp*\n"
    )
    ranked = ["LEVEL", "FILE", "DEEP GLOB", "FOLDER", "BARE FOLDER", "TOP", "NAME", "ANYWHERE", THE_REST]
    assert titles(REST + text, "net/ipv6/udp.c") == ranked


def test_of_several_patterns_of_an_entry_the_last_decides() -> None:
    text = b"ONE\nF:\tnet/ipv6/udp.c\nF:\tnet/\nTWO\nF:\tnet/ipv6/\nTHREE\nF:\tnet/ipv6/udp.c\nN:\tudp\n"
    found = read_maintainers(text, "MAINTAINERS").subsystems_of("net/ipv6/udp.c")
    assert [(each.title, each.why) for each in found] == [
        ("TWO", "F: net/ipv6/"), ("ONE", "F: net/"), ("THREE", "N: udp")
    ]  # fmt: skip


# --- the text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"ONE\nS:\tMaintained\nF:\tnet/\n",
        b"ONE\r\nS:\tMaintained\r\nF:\tnet/\r\n",
        b"ONE\nS: Maintained\nF: net/",
        b"ONE\nS:Maintained\nF:net/\n",
        b"some\nwords\nONE\n\nS:\tMaintained\n# net/\n \t\nF:\tnet/  \n",
        b"F:\tlib/\n\nONE\nS:\tMaintained\nF:\tnet/\n",
        b"TWO\nF:\tlib/\nONE\nS:\tMaintained\nF:\tnet/\nTHREE\n",
        b"TWO\nF:\tlib/\nf: net/\nF : net/\nONE\nS:\tMaintained\nF:\tnet/\n",
    ],
)
def test_entries_are_told_apart_however_they_are_written(text: bytes) -> None:
    found = read_maintainers(text, "MAINTAINERS").subsystems_of("net/socket.c")
    assert found == (Subsystem("ONE", "Maintained", (), (), (), (), "F: net/"),)


@pytest.mark.parametrize(
    "text", [b"", b"\n", HEAD, b"ONE\nM:\tSomebody\n", b"ONE\nF:\n", b"F:\tnet/\n", b"\x7fELF\0\0\xff", b"K" * 99]
)
def test_a_file_without_entries_is_one_sentence(text: bytes) -> None:
    with pytest.raises(UnrecognisedFileError) as caught:
        read_maintainers(text, "some/FILE")
    assert str(caught.value) == (
        "some/FILE: expected a kernel's MAINTAINERS file, found no entry in it that names files (F: or N:)"
    )


PIECES = st.sampled_from(
    (b"ONE\n", b"F:\t", b"X:\t", b"N:\t", b"M:", b"net/", *(bytes((byte,)) for byte in b"*?[]^-()\\\n"))
)


@given(st.one_of(st.binary(), st.lists(st.one_of(PIECES, st.binary(max_size=3))).map(b"".join)), st.text(max_size=20))
@example(b"ONE\nN:\t[a--b][[a]\nF:\t[a--b]*[[]?\n", "a")
def test_any_bytes_are_read_or_refused_in_one_sentence(data: bytes, path: str) -> None:
    try:
        maintainers = read_maintainers(data, "FILE")
    except UnrecognisedFileError:
        return
    found = maintainers.subsystems_of(path)
    assert {each.title for each in found} <= set(maintainers.titles)
    needed = read_maintainers(needed_text(data), "FILE")
    assert needed.titles == maintainers.titles
    assert needed.subsystems_of(path) == found


NAMES = st.text("abz0._-+", min_size=1, max_size=6)


@given(st.lists(NAMES, min_size=1, max_size=5), st.lists(NAMES, min_size=1, max_size=3))
def test_a_folder_has_every_file_below_it(folder: list[str], below: list[str]) -> None:
    assert is_matched(f"F:\t{'/'.join(folder)}/", path="/".join(folder + below))
    assert is_matched(f"F:\t{'/'.join(folder)}/*", path="/".join(folder + below)) is (len(below) == 1)
    assert not is_matched("N:\t.", f"X:\t{'/'.join(folder)}/", path="/".join(folder + below))


@given(st.lists(NAMES, min_size=1, max_size=5), st.data())
def test_a_star_stands_for_any_part_of_a_name(names: list[str], data: st.DataObject) -> None:
    starred = []
    for name in names:
        start = data.draw(st.integers(0, len(name)))
        end = data.draw(st.integers(start, len(name)))
        starred.append(f"{name[:start]}*{name[end:]}")
    assert is_matched(f"F:\t{'/'.join(starred)}", path="/".join(names))


# --- a kernel's own file -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree() -> Path:
    folder = os.environ.get("LINEINFO_KERNEL_TREE")
    if not folder:
        pytest.skip("LINEINFO_KERNEL_TREE is not set: name a kernel's source tree, such as .ci/fetch-kernel-tree makes")
    return Path(folder)


def test_every_title_of_a_kernel_is_an_entry(tree: Path) -> None:
    text = (tree / "MAINTAINERS").read_bytes()
    # An entry is a paragraph there, and its title the first line.
    paragraphs = [each.split("\n") for each in re.split(r"\n\n+", text.decode())]
    maintainers = read_maintainers(text, "MAINTAINERS")
    assert maintainers.titles == tuple(
        title for title, *lines in paragraphs if lines and re.match(r"[A-Z]:\t", lines[0])
    )
    assert len(maintainers.titles) > 2000
    assert read_maintainers(needed_text(text), "MAINTAINERS").titles == maintainers.titles


def test_files_of_a_kernel_are_looked_after_by_whom_its_own_tool_names(tree: Path) -> None:
    if shutil.which("perl") is None or not (tree / TOOL).is_file():
        pytest.skip(f"perl is not installed, or {tree} has no {TOOL}")
    paths = draw_files(tree, FILES, SEED)
    assert len(paths) == FILES
    assert [sentence for result in compare(tree, paths, jobs=2) for sentence in result] == []
