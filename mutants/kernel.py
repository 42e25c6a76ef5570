"""Faults in what finds, keeps and fetches files: ``annotate/kernel/`` and ``cache.py``."""

from __future__ import annotations

from mutants.fault import Fault

FAULTS = (
    Fault(
        "kernels whose build ids begin alike are the same",
        "kernel/images.py",
        "if opened.image.build_id.startswith(kernel.build_id):",
        "if opened.image.build_id.startswith(kernel.build_id[:4]):",
        "a short id is enough to tell two kernels apart, nearly always",
        ("test_images.py", "test_places.py"),
    ),
    Fault(
        "a release fits those that begin with it",
        "kernel/images.py",
        "opened.release and kernel.release != opened.release:",
        "opened.release and not opened.release.startswith(kernel.release):",
        "6.1.0-5 is not 6.1.0-56",
        ("test_images.py", "test_places.py"),
    ),
    Fault(
        "debug info is looked at before tables",
        "kernel/locate.py",
        "for is_table_turn in (True, False):",
        "for is_table_turn in (False, True):",
        "both give the same answers, one of them late",
        ("test_images.py", "test_locate.py", "test_places.py"),
    ),
    Fault(
        "the release of a log may lead out of its folder",
        "kernel/locate.py",
        'return "" if "/" in release or "\\0" in release or release in (".", "..") else release',
        "return release",
        "a log is anybody's text",
        ("test_places.py", "test_locate.py"),
    ),
    Fault(
        "a table is written to its place while it is made",
        "cache.py",
        "os.replace(made, path)",
        """with open(made, "rb") as source, open(path, "ab") as target:
                os.chmod(path, 0o600)
                target.truncate(0)
                target.write(source.read())""",
        "a copy looks like a rename until the process is killed, or another one reads",
        ("test_cache.py",),
    ),
    Fault(
        "two processes make a table at once",
        "cache.py",
        "with self.locked(build_id):\n                path",
        "with contextlib.nullcontext():\n                path",
        "one process needs no lock",
        ("test_cache.py",),
    ),
    Fault(
        "a lock on a file that is gone is held for one",
        "cache.py",
        "if _is_same(descriptor, path):\n                    break",
        "if descriptor:\n                    break",
        "whoever had the lock removes the file",
        ("test_cache.py",),
    ),
    Fault(
        "what a server sends is of the build id that it was asked for",
        "kernel/debuginfod.py",
        "if elf.build_id != build_id:",
        "if not elf.build_id:",
        "a check for being there in place of one for being the same",
        ("test_debuginfod.py",),
    ),
    Fault(
        "a download may be larger than its limit",
        "kernel/download.py",
        "_check_size(url, part, part.size + len(data), limits)",
        "_check_size(url, part, part.size, limits)",
        "the piece at hand is not counted",
        ("test_debuginfod.py",),
    ),
    Fault(
        "credentials go to every server that is redirected to",
        "kernel/download.py",
        "allowed = credentials if _server(here) == _server(shown) else {}",
        "allowed = credentials",
        "the first server is nearly always the last",
        ("test_debuginfod.py",),
    ),
    Fault(
        "files of a package may lead out of its folder",
        "kernel/members.py",
        'if ".." in parts or "" in parts or',
        'if "" in parts or',
        "no package of a distribution has such names",
        ("test_packages.py",),
    ),
    Fault(
        "a file of a tar archive may have a size below 0",
        "kernel/deb.py",
        "if info.size < 0:",
        "if info.size < -1:",
        "tarfile takes it, and nobody writes it",
        ("test_packages.py",),
    ),
    Fault(
        "a tar header that extends another may have any size",
        "kernel/deb.py",
        "if info.type in _PAX_TYPES and info.size > limits.MAX_PAX_HEADER:",
        "if info.type in _PAX_TYPES and info.size > limits.MAX_DESCRIPTION:",
        "it is a bound all the same, and only some Pythons take long",
        ("test_packages.py",),
    ),
    Fault(
        "a list of files may come twice in the header of an .rpm",
        "kernel/rpm.py",
        "if tag in texts or tag in numbers:",
        "if tag in numbers:",
        "what comes last is as good as what comes first",
        ("test_packages.py",),
    ),
    Fault(
        "the build id of the running kernel is that of any log of its release",
        "kernel/identify.py",
        "if version and version == here else named",
        "if version else named",
        "a kernel that was built again has the same release",
        ("test_places.py", "test_live_kernel.py", "test_images.py"),
    ),
)
