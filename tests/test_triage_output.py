"""``--triage`` as users and scripts see it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLES

from annotate.cli.triage import found_maintainers
from annotate.errors import UnrecognisedFileError
from annotate.maintainers import needed_text
from annotate.model import Crash, Subsystem
from annotate.render.triage import triage_text

MAINTAINERS = Path(__file__).parent / "fixtures" / "triage" / "MAINTAINERS"
OOPS = (
    b"BUG: kernel NULL pointer dereference, address: 0000000000000000\nRIP: 0010:ip_one+0x1/0x20 (net/ipv4/ip.c:12)\n"
    b"Call Trace:\n tcp_two+0x1/0x20 (net/ipv4/tcp.c:34)\n"
)
REMARK = b"--maintainers FILE, a kernel's MAINTAINERS, would name the subsystems.\n"


def run(*arguments: str, log: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "annotate", "--no-debuginfod", *arguments],
        input=log,
        capture_output=True,
        check=False,
        cwd=cwd,
    )


def summary(*arguments: str, log: bytes = b"") -> dict[str, Any]:
    lines = run("--format", "jsonl", *arguments, log=log).stdout.splitlines()
    found: dict[str, Any] = json.loads(lines[-1])["summary"]
    return found


def test_text() -> None:
    done = run("--triage", "--maintainers", str(MAINTAINERS), log=OOPS)
    assert done.stderr == b""
    assert (
        done.stdout
        == OOPS
        + (
            b"\ntriage: 1 crash\n\nNULL pointer dereference in ip_one (line 1)\n"
            b"  frame      ip_one, net/ipv4/ip.c:12: where the instruction pointer was\n"
            b"  files      net/ipv4/ip.c, net/ipv4/tcp.c\n"
            b"  subsystem  NETWORKING [IPv4/IPv6] (Maintained): F: net/ipv4/\n"
            b"               M: Routing Maintainer <routing@example.org>\n"
            b"               L: netdev@example.org\n"
            b"               T: git git://git.example.org/net.git\n"
            b"  subsystem  NETWORKING [GENERAL] (Maintained): F: net/\n"
            b"               M: Net Maintainer <net@example.org>\n"
            b"               L: netdev@example.org\n"
            b"               T: git git://git.example.org/net.git\n"
            b"  signature  "
        )
        + done.stdout[-17:]
    )


@pytest.mark.parametrize("log", [b"", b"no end", b"an end\n", b"\n", OOPS[:-1], OOPS])
def test_the_log_is_not_changed_and_an_empty_line_stands_between(log: bytes) -> None:
    plain = run(log=log).stdout
    assert plain == log
    text = run("--triage", log=log).stdout
    assert text.startswith(log)
    between = text[len(log) :].partition(b"triage: ")[0]
    assert between == (b"" if not log else b"\n" if log.endswith(b"\n") else b"\n\n")


def test_without_a_crash_one_line_says_so() -> None:
    assert run("--triage", log=b"hello\n").stdout == b"hello\n\ntriage: no crashes\n"


def test_json() -> None:
    assert "triage" not in summary(log=OOPS)
    (crash,) = summary("--triage", "--maintainers", str(MAINTAINERS), log=OOPS)["triage"]
    entries = crash.pop("subsystems")
    signature = crash.pop("signature")
    assert len(signature) == 16
    assert int(signature, 16) >= 0
    assert crash == {
        "log": "-",
        "title": "NULL pointer dereference in ip_one",
        "line": 1,
        "frame": "ip_one",
        "file": "net/ipv4/ip.c",
        "location_line": 12,
        "why": "where the instruction pointer was",
        "files": ["net/ipv4/ip.c", "net/ipv4/tcp.c"],
    }
    assert [entry["title"] for entry in entries][-1] == "THE REST"
    assert entries[0] == {
        "title": "NETWORKING [IPv4/IPv6]",
        "status": "Maintained",
        "maintainers": ["Routing Maintainer <routing@example.org>"],
        "reviewers": [],
        "lists": ["netdev@example.org"],
        "trees": ["git git://git.example.org/net.git"],
        "why": "F: net/ipv4/",
    }


def test_json_of_what_is_not_known() -> None:
    (crash,) = summary("--triage", log=b"Oops: 0000 [#1] SMP\nRIP: 0010:nowhere_known+0x1/0x20\n")["triage"]
    assert crash["frame"] == "nowhere_known"
    assert [crash[name] for name in ("file", "location_line", "subsystems")] == [None, None, None]
    assert summary("--triage", log=b"")["triage"] == []


def test_a_module_from_elsewhere_is_in_no_entry() -> None:
    log = str(SAMPLES / "x86_64" / "o-warn.log")
    (crash,) = summary("--triage", "--maintainers", str(MAINTAINERS), log)["triage"]
    assert (crash["file"], crash["subsystems"]) == ("/build/oopser/crash/warn.c", [])


def test_crashes_of_several_logs_name_theirs(tmp_path: Path) -> None:
    names = []
    for name in ("one.log", "two.log"):
        (tmp_path / name).write_bytes(OOPS)
        names.append(str(tmp_path / name))
    assert [crash["log"] for crash in summary("--triage", *names)["triage"]] == names
    text = run("--triage", *names).stdout
    assert b"one.log:1, " in text
    assert b"two.log:1)" in text


def test_where_no_file_names_maintainers_one_line_says_what_would() -> None:
    assert run("--triage", log=OOPS).stdout.endswith(b"\n\n" + REMARK)


def test_the_file_of_the_tree_that_one_stands_in_is_taken(tmp_path: Path) -> None:
    (tmp_path / "MAINTAINERS").write_bytes(MAINTAINERS.read_bytes())
    assert run("--triage", log=OOPS, cwd=tmp_path).stdout.endswith(REMARK)
    (tmp_path / "Kconfig").touch()
    assert b"NETWORKING [IPv4/IPv6]" in run("--triage", log=OOPS, cwd=tmp_path).stdout
    (tmp_path / "MAINTAINERS").write_bytes(b"Jane Doe <jane@example.org>\n")
    done = run("--triage", log=OOPS, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(REMARK)


@pytest.mark.parametrize("option", ["--maintainers", "--plumbing"])
def test_a_file_that_cannot_be_used_is_named_and_the_log_still_comes_out(option: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    for text in (None, b"( not a pattern )\n"):
        if text is not None:
            bad.write_bytes(text)
        done = run("--triage", option, str(bad), log=OOPS)
        assert done.stdout.startswith(OOPS)
        assert done.returncode == 1
        (sentence,) = done.stderr.splitlines()
        assert str(bad).encode() in sentence


def test_what_a_table_carries_comes_before_the_tree_that_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Kconfig").touch()
    (tmp_path / "MAINTAINERS").write_bytes(b"OF THE TREE\nM:\ta@example.org\nF:\tnet/\n")
    carried = (needed_text(MAINTAINERS.read_bytes()), "a.lineinfo")
    for text, title in ((carried, "NETWORKING [GENERAL]"), (None, "OF THE TREE")):
        found = found_maintainers(text)
        assert found is not None
        assert found.subsystems_of("net/socket.c")[0].title == title
    with pytest.raises(UnrecognisedFileError, match=r"a\.lineinfo"):
        found_maintainers((b"nothing", "a.lineinfo"))


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"[of ours]\nip_one\n")
    (crash,) = summary("--triage", "--plumbing", str(tmp_path / "mine"), log=OOPS)["triage"]
    assert (crash["frame"], crash["why"]) == ("tcp_two", "first frame below 1 of of ours")


ENTRY = Subsystem("A", "Maintained", ("m@example.org",), ("r@example.org",), ("l@example.org",), ("git x",), "F: a/")


def test_no_line_is_wider_than_a_terminal_unless_a_word_is() -> None:
    crash = Crash(
        "t", 1, "f", "a/b.c", 1, "why " * 60, tuple(f"some/file_{n}.c" for n in range(20)), (ENTRY,) * 9, "0" * 16
    )
    lines = triage_text([crash]).decode().splitlines()
    assert max(map(len, lines)) <= 96
    assert sum(" subsystem " in line for line in lines) == 3


def test_crashes_alike_are_one_with_all_lines() -> None:
    crash = Crash("t", 1, "f", "a/b.c", 1, "why", ("a/b.c",), (), "0" * 16)
    text = triage_text([crash._replace(line=line) for line in range(1, 12)]).decode()
    assert "triage: 11 crashes" in text
    assert "t (lines 1, 2, 3, 4, 5, 6, 7, 8 and 3 more)" in text
    unsigned = [crash._replace(signature="", line=line) for line in (1, 2)]
    assert triage_text(unsigned).decode().count("why") == 2


def test_nothing_in_a_crash_steers_a_terminal() -> None:
    crash = Crash("\x1b[31mt\u202e", 1, "f\udc9b", "a\n.c", 1, "w", (), (), "")
    text = triage_text([crash])
    assert b"\x1b" not in text
    assert "\u202e" not in text.decode()
    assert len(text.splitlines()) == 4


def test_a_table_that_was_named_is_asked_though_the_log_has_its_lines_already(tmp_path: Path) -> None:
    table = tmp_path / "a.lineinfo"
    module = SAMPLES / "x86_64" / "oopser.ko"
    command = [sys.executable, "-m", "annotate.cli.lineinfo", "build", str(module), "-o", str(table)]
    subprocess.run([*command, "--maintainers", str(MAINTAINERS)], check=True)
    (crash,) = summary("--triage", "-k", str(table), log=OOPS)["triage"]
    assert crash["subsystems"][0]["why"].startswith("F: net/")
