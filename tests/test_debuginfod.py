"""Debug files from debuginfod servers: Debian's real one, and one that does everything wrong. All on loopback."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from elf_writer import NOTE, ElfSpec, SectionSpec, note, tool, write_elf
from fake_world import build_module
from hostile_server import MODIFIED, HostileServer, Visit, closed_port, wait_until

from annotate.debuginfo.elf import ElfFile
from annotate.kernel.debuginfod import Client, Options, is_build_id, options_from_environment, shared_cache
from annotate.kernel.download import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[[Visit], None]

BUILD_ID = "0123456789abcdef" * 2 + "89abcdef"
OTHER_ID = "f" * 40


def elf(build_id: str = BUILD_ID, size: int = 300_000) -> bytes:
    """A file of that build id with so many bytes in it, no two kilobytes of which are the same."""
    notes = note(b"GNU", 3, bytes.fromhex(build_id))
    filling = random.Random(1).randbytes(size)
    sections = (SectionSpec(".note.gnu.build-id", notes, NOTE, alignment=4), SectionSpec(".debug_str", filling))
    return write_elf(ElfSpec(sections=sections))


FILE = elf()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("DEBUGINFOD_"):
            monkeypatch.delenv(name)


class Asking:
    """A client with everything it said. Its limits are only against hanging unless a test is about them."""

    def __init__(self, cache: Path, *urls: str, **options: Any) -> None:
        self.cache = cache
        self.notes: list[str] = []
        self.progress: list[tuple[int, int | None]] = []
        chosen = Options(urls=urls, timeout=60)._replace(**options)
        self.client = Client(
            chosen, str(cache), progress=lambda *step: self.progress.append(step), note=self.notes.append
        )

    def find(self, build_id: str = BUILD_ID) -> bytes:
        """What is in the file that is found."""
        path = self.client.find_debuginfo(build_id)
        assert path is not None, self.client.tried
        assert path == str(self.cache / build_id / "debuginfo")
        assert self.client.tried == []
        assert os.stat(path).st_mode & 0o077 == 0
        return Path(path).read_bytes()

    def miss(self, build_id: str = BUILD_ID) -> str:
        """Why nothing is found."""
        assert self.client.find_debuginfo(build_id) is None
        assert self.client.tried
        return "\n".join(self.client.tried)

    def files(self) -> list[str]:
        """What is in the cache, with sizes."""
        return sorted(
            f"{path.relative_to(self.cache)} {path.stat().st_size}" for path in self.cache.rglob("*") if path.is_file()
        )


MISS_FILE = f"{BUILD_ID}/debuginfo 0"
FOUND_FILE = f"{BUILD_ID}/debuginfo {len(FILE)}"


def good(visit: Visit) -> None:
    visit.file(FILE)


def has_nothing(visit: Visit) -> None:
    visit.head(404, content_length=0)


# What a server may do


def _headers_a_byte_at_a_time(visit: Visit) -> None:
    visit.trickle(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000, 0.05)


def _continues_for_ever(visit: Visit) -> None:
    for _ in itertools.count():
        visit.trickle(b"HTTP/1.1 100 Continue\r\n\r\n", 0.05)


def _body_a_byte_at_a_time(visit: Visit) -> None:
    visit.head(content_length=len(FILE))
    visit.trickle(FILE, 0.05)


def _chunk_size_a_byte_at_a_time(visit: Visit) -> None:
    visit.head(transfer_encoding="chunked")
    visit.trickle(b"1" * 10_000, 0.05)


def _trailers_for_ever(visit: Visit) -> None:
    visit.head(transfer_encoding="chunked")
    visit.write(b"%x\r\n%s\r\n0\r\n" % (len(FILE), FILE))
    visit.trickle(b"X-A: b\r\n" * 10_000, 0.05)


def _endless_body(visit: Visit) -> None:
    visit.head()
    for _ in itertools.count():
        visit.write(bytes(20_000))
        if visit.server.is_closing.wait(0.01):
            return


def _too_much_is_announced(visit: Visit) -> None:
    visit.head(content_length=len(FILE) + 1)
    visit.write(FILE)


def _too_little_is_announced(visit: Visit) -> None:
    visit.head(content_length=len(FILE) - 1000)
    visit.write(FILE)


def _ends_early_without_a_length(visit: Visit) -> None:
    visit.head()
    visit.write(FILE[:-1000])


def _ends_within_a_chunk(visit: Visit) -> None:
    visit.head(transfer_encoding="chunked")
    visit.write(b"%x\r\n%s" % (len(FILE), FILE[:1000]))


def _section_behind_the_end(visit: Visit) -> None:
    sections = (
        SectionSpec(".note.gnu.build-id", note(b"GNU", 3, bytes.fromhex(BUILD_ID)), NOTE, alignment=4),
        SectionSpec(".debug_info", b"cut", size=1 << 20),
    )
    visit.file(write_elf(ElfSpec(sections=sections)))


def _resets_at_once(visit: Visit) -> None:
    visit.reset()


def _hangs_up_at_once(visit: Visit) -> None:
    pass


def _redirects_in_a_circle(visit: Visit) -> None:
    visit.head(302, location=visit.asked.path, content_length=0)


def _redirects_to_a_file(visit: Visit) -> None:
    visit.head(302, location="file:///etc/passwd", content_length=0)


class Bad(NamedTuple):
    answer: Answer
    words: str
    options: dict[str, int] = {}  # noqa: RUF012  # never changed
    requests: int = 1


_QUICK = {"timeout": 1}

BAD = {
    "silent": Bad(Visit.sleep, "timed out: 0 bytes in 1 s, expected 100 KiB", _QUICK),
    "slow headers": Bad(_headers_a_byte_at_a_time, "timed out: ", _QUICK),
    "continues for ever": Bad(_continues_for_ever, "timed out: ", _QUICK),
    "slow body": Bad(_body_a_byte_at_a_time, "timed out: ", _QUICK),
    "slow chunk size": Bad(_chunk_size_a_byte_at_a_time, "timed out: ", _QUICK),
    "trailers for ever": Bad(_trailers_for_ever, "timed out: ", _QUICK),
    "endless, by size": Bad(_endless_body, "larger than the limit of 500 KiB", {"max_size": 512_000}),
    "endless, by time": Bad(_endless_body, "not complete after 1 s", {"max_time": 1}),
    "large": Bad(good, "larger than the limit of 1.5 KiB", {"max_size": 1536}),
    "406": Bad(lambda visit: visit.head(406), "larger than the limit of 1 MiB", {"max_size": 1 << 20}),
    "huge": Bad(lambda visit: visit.head(content_length=1 << 60), "1073741824 GiB are to come"),
    "too much announced": Bad(_too_much_is_announced, "broke off after 293.4 KiB of 293.4 KiB", requests=3),
    "too little announced": Bad(_too_little_is_announced, "sent something else: damaged at"),
    "ends early": Bad(_ends_early_without_a_length, "sent something else: damaged at"),
    "ends within a chunk": Bad(_ends_within_a_chunk, "broke off in the middle of a chunk", requests=3),
    "section behind the end": Bad(_section_behind_the_end, "section .debug_info ends behind the file's"),
    "wrong build id": Bad(
        lambda visit: visit.file(elf(OTHER_ID)), f"expected build id {BUILD_ID}, found build id {OTHER_ID}"
    ),
    "no build id": Bad(lambda visit: visit.file(write_elf(ElfSpec(sections=()))), "found no build id"),
    "a page": Bad(lambda visit: visit.file(b"<html>Welcome"), "expected an ELF file, found text ('<html>"),
    "nothing": Bad(lambda visit: visit.file(b""), "expected an ELF file, found an empty one"),
    "compressed": Bad(
        lambda visit: visit.file(b"\x1f\x8b\x08\0", content_encoding="gzip"), "sent Content-Encoding 'gzip', not asked"
    ),
    "circle": Bad(_redirects_in_a_circle, "redirected more than 5 times", requests=6),
    "redirect to a file": Bad(_redirects_to_a_file, "expected http or https, was redirected to 'file:///etc/passwd'"),
    "redirect to control characters": Bad(
        lambda visit: visit.head(302, location="gopher://a/\x1b[31mred"), r"was redirected to 'gopher://a/\x1b[31mred'"
    ),
    "redirect to a bad port": Bad(lambda visit: visit.head(302, location="http://a:port/"), "HTTP failed: "),
    "redirect to nowhere": Bad(lambda visit: visit.head(302), "302 Found"),
    "500": Bad(lambda visit: visit.head(500), "500 Internal Server Error", requests=3),
    "unknown status": Bad(lambda visit: visit.head(799), ": 799"),
    "partial unasked": Bad(lambda visit: visit.head(206, content_range="bytes 0-1/2"), "206 Partial Content"),
    "reset": Bad(_resets_at_once, "broke off: ", requests=3),
    "hangs up": Bad(_hangs_up_at_once, "broke off: ", requests=3),
    "no HTTP": Bad(lambda visit: visit.write(b"\x1b[31mSSH-2.0\r\n\r\n"), r"HTTP failed: '\x1b[31mSSH-2.0"),
    "too many headers": Bad(lambda visit: visit.write(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200), "HTTP failed: "),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_bad_server_does_is_said_and_the_next_one_is_asked(name: str, tmp_path: Path) -> None:
    bad = BAD[name]
    with HostileServer(bad.answer) as server, HostileServer(good) as next_server:
        asking = Asking(tmp_path, server.url, **bad.options)
        said = asking.miss()
        assert said.startswith(f"{server.url}: ")
        assert bad.words in said
        assert "\x1b" not in said
        assert len(said) < 400
        assert len(server.asked) == bad.requests
        assert asking.files() == []  # no miss is remembered either
        if not {"timeout", "max_time"} & set(bad.options) and name != "large":  # else the next one may fall short, too
            assert Asking(tmp_path, server.url, next_server.url, **bad.options).find() == FILE
            assert len(next_server.asked) == 1


def test_after_a_silent_server_the_next_one_is_asked(tmp_path: Path) -> None:
    with HostileServer(Visit.sleep) as server, HostileServer(good) as next_server:
        assert Asking(tmp_path, server.url, next_server.url, timeout=5).find() == FILE


def test_a_file_is_downloaded_once(tmp_path: Path) -> None:
    with HostileServer(good) as server:
        asking = Asking(tmp_path, server.url + "/some/where/")
        assert asking.find() == FILE
        assert [asked.path for asked in server.asked] == [f"/some/where/buildid/{BUILD_ID}/debuginfo"]
        assert server.asked[0].headers["accept-encoding"] == "identity"
        assert asking.progress[-1] == (len(FILE), len(FILE))
        assert [done for done, _ in asking.progress] == sorted({done for done, _ in asking.progress})
        assert asking.find() == FILE
        assert asking.client.find_debuginfo(BUILD_ID.upper()) == str(tmp_path / BUILD_ID / "debuginfo")
        assert Asking(tmp_path, server.url).find() == FILE
        assert Asking(tmp_path).find() == FILE
        assert len(server.asked) == 1
        assert asking.files() == [FOUND_FILE]
        assert any(server.url in sentence for sentence in asking.notes)


def test_the_file_that_runs_is_another_one(tmp_path: Path) -> None:
    with HostileServer(good) as server:
        asking = Asking(tmp_path, server.url)
        assert asking.client.find_executable(BUILD_ID) == str(tmp_path / BUILD_ID / "executable")
        assert server.asked[0].path == f"/buildid/{BUILD_ID}/executable"


@pytest.mark.parametrize("header", [None, str(len(FILE)), "17", "-1", "many", "9" * 30])
def test_without_a_length_the_size_is_what_debuginfod_says(header: str | None, tmp_path: Path) -> None:
    def answer(visit: Visit) -> None:
        visit.head(**({} if header is None else {"x_debuginfod_size": header}))
        visit.write(FILE)

    with HostileServer(answer) as server:
        asking = Asking(tmp_path, server.url)
        assert asking.find() == FILE
        assert asking.progress[-1] == (len(FILE), len(FILE) if header == str(len(FILE)) else None)


def test_chunks_are_put_together(tmp_path: Path) -> None:
    def answer(visit: Visit) -> None:
        visit.head(transfer_encoding="chunked")
        for start in range(0, len(FILE), 7001):
            piece = FILE[start : start + 7001]
            visit.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        visit.write(b"0\r\n\r\n")

    with HostileServer(answer) as server:
        assert Asking(tmp_path, server.url).find() == FILE


def test_what_is_used_is_kept_by_elfutils_cleaning(tmp_path: Path) -> None:
    with HostileServer(good) as server:
        asking = Asking(tmp_path, server.url)
        asking.find()
        found = tmp_path / BUILD_ID / "debuginfo"
        os.utime(found, (1_000_000_000, 1_000_000_000))
        asking.find()
        assert found.stat().st_atime > 1_500_000_000
        assert found.stat().st_mtime == 1_000_000_000


def test_a_proxy_that_the_environment_names_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(good) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert Asking(tmp_path, "http://debuginfod.invalid").find() == FILE
        assert proxy.asked[0].path == f"http://debuginfod.invalid/buildid/{BUILD_ID}/debuginfo"


# Several servers


def test_the_first_that_has_it_wins(tmp_path: Path) -> None:
    with HostileServer(has_nothing) as first, HostileServer(good) as second, HostileServer(good) as third:
        assert Asking(tmp_path, first.url, second.url, third.url).find() == FILE
        assert (len(first.asked), len(second.asked), len(third.asked)) == (1, 1, 0)


def test_a_server_that_cannot_be_reached_is_passed_over_and_not_asked_again(tmp_path: Path) -> None:
    with closed_port() as dead, HostileServer(has_nothing) as server:
        asking = Asking(tmp_path, dead, server.url)
        said = asking.miss().splitlines()
        assert said == [f"{dead}: cannot be reached: Connection refused", f"{server.url}: 404 Not Found"]
        assert asking.files() == []
        assert asking.miss().splitlines()[0] == f"{dead}: not asked again: cannot be reached: Connection refused"
        assert asking.files() == []
        assert len(server.asked) == 2


def test_a_silent_server_costs_its_time_once(tmp_path: Path) -> None:
    with HostileServer(Visit.sleep) as server:
        asking = Asking(tmp_path, server.url, timeout=1)
        assert "timed out" in asking.miss()
        assert "not asked again: timed out" in asking.miss(OTHER_ID)
        assert len(server.asked) == 1


def test_a_server_that_is_too_slow_for_one_large_file_is_asked_for_others(tmp_path: Path) -> None:
    with HostileServer(_endless_body) as server:
        asking = Asking(tmp_path, server.url, max_time=1)
        assert "not complete" in asking.miss()
        server.answer = lambda visit: visit.file(elf(OTHER_ID))
        assert asking.find(OTHER_ID) == elf(OTHER_ID)


def _without_a_length(visit: Visit) -> None:
    visit.head()
    visit.write(FILE)


@pytest.mark.parametrize("answer", [good, _without_a_length])
def test_the_largest_download_is_one_of_the_limit_to_the_byte(answer: Callable[[Visit], None], tmp_path: Path) -> None:
    with HostileServer(answer) as server:
        asking = Asking(tmp_path, server.url, max_size=len(FILE) - 1)
        assert "larger than the limit of 293.4 KiB" in asking.miss()
        assert asking.files() == []
        assert Asking(tmp_path, server.url, max_size=len(FILE)).find() == FILE


@pytest.mark.parametrize("url", ["file:///usr/lib/debug", "ftp://127.0.0.1/", "/usr/lib/debug", "gopher:x", "http:/x"])
def test_other_urls_are_refused(url: str, tmp_path: Path) -> None:
    with HostileServer(has_nothing) as server:
        asking = Asking(tmp_path, url, server.url)
        assert asking.miss().splitlines()[0] == f"{url}: expected a URL of http or https"
        assert asking.files() == []


def test_no_server_is_named(tmp_path: Path) -> None:
    assert "DEBUGINFOD_URLS is empty" in Asking(tmp_path).miss()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "0", "xyz", "../../etc/passwd", "00/..", "0g", "ab" * 65, "ab\n", "\u0661\u0662", "\x1b["]
)
def test_what_is_no_build_id_becomes_neither_a_path_nor_a_url(text: str, tmp_path: Path) -> None:
    with HostileServer(good) as server:
        said = Asking(tmp_path, server.url).miss(text)
        assert said.startswith("expected a build id of 1 to 64 bytes in hex, found ")
        assert said.isprintable()
        assert server.asked == []
    assert not is_build_id(text)
    assert list(tmp_path.iterdir()) == []


# Redirects and secrets


def test_a_redirect_is_followed_without_the_password(tmp_path: Path) -> None:
    with HostileServer(good) as other:

        def answer(visit: Visit) -> None:
            if visit.asked.path.startswith("/again"):
                visit.head(307, location=f"{other.url}/file", content_length=0)
            else:
                visit.head(301, location="/again", content_length=0)

        with HostileServer(answer) as server:
            asking = Asking(tmp_path, server.url.replace("//", "//user:s%20cret@"))
            assert asking.find() == FILE
            assert [asked.headers.get("authorization") for asked in server.asked] == ["Basic dXNlcjpzIGNyZXQ="] * 2
            assert [asked.path for asked in other.asked] == ["/file"]
            assert "authorization" not in other.asked[0].headers
            other.answer = has_nothing
            said = asking.miss(OTHER_ID)
            assert said == f"{server.url}: 404 Not Found"
            assert "cret" not in said + "".join(asking.notes)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody signed, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = path.with_name("key.pem")
    command = [
        tool("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=127.0.0.1",
        "-days",
        "3650",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


def test_https_is_checked(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HostileServer(good, context) as server:
        said = Asking(tmp_path, server.url).miss()
        assert "cannot be reached: " in said
        assert "certificate verify failed" in said
        assert server.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert Asking(tmp_path, server.url).find() == FILE


# Broken off and gone on with


def _breaks_off_at(*places: int, **headers: object) -> Answer:
    """A server that hangs up when so much of the file was sent, and understands ranges."""
    left = list(places)

    def answer(visit: Visit) -> None:
        if not left:
            visit.ranged(FILE, **headers)
            return
        place, start = left.pop(0), visit.start()
        more = {"content_range": f"bytes {start}-{len(FILE) - 1}/{len(FILE)}"} if start else {}
        visit.head(206 if start else 200, content_length=len(FILE) - start, **more, **headers)
        visit.write(FILE[start:place])

    return answer


@pytest.mark.parametrize("headers", [{"etag": '"one"'}, {"last_modified": MODIFIED}], ids=str)
def test_a_download_that_broke_off_is_gone_on_with(headers: dict[str, object], tmp_path: Path) -> None:
    with HostileServer(_breaks_off_at(100_000, 200_000, **headers)) as server:
        asking = Asking(tmp_path, server.url)
        assert asking.find() == FILE
        assert server.ranges() == [None, "bytes=100000-", "bytes=200000-"]
        assert {asked.headers.get("if-range") for asked in server.asked[1:]} == set(headers.values())
        assert asking.files() == [FOUND_FILE]


def test_a_later_run_goes_on_as_well(tmp_path: Path) -> None:
    with HostileServer(_breaks_off_at(100_000, etag='"one"')) as server:
        asking = Asking(tmp_path, server.url, retries=0)
        assert "broke off after 97.7 KiB of 293.4 KiB" in asking.miss()
        assert f"{BUILD_ID}/.debuginfo.part 100000" in asking.files()
        assert len(asking.files()) == 2
        again = Asking(tmp_path, server.url, retries=0)
        assert again.find() == FILE
        assert server.ranges() == [None, "bytes=100000-"]
        assert again.progress[0][0] > 100_000
        assert again.progress[-1] == (len(FILE), len(FILE))
        assert again.files() == [FOUND_FILE]


def test_a_connection_that_is_reset_in_the_middle_is_gone_on_with(tmp_path: Path) -> None:
    def answer(visit: Visit) -> None:
        if len(visit.server.asked) > 1:
            visit.ranged(FILE, etag='"one"')
            return
        visit.head(content_length=len(FILE), etag='"one"')
        visit.write(FILE[:100_000])
        # A reset overtakes what was not read yet.
        wait_until(lambda: bool(asking.progress) and asking.progress[-1][0] == 100_000)
        visit.reset()

    with HostileServer(answer) as server:
        asking = Asking(tmp_path, server.url)
        assert asking.find() == FILE
        assert server.ranges() == [None, "bytes=100000-"]
        assert any("broke off: Connection reset by peer; trying again" in sentence for sentence in asking.notes)


def test_an_interruption_keeps_what_came(tmp_path: Path) -> None:
    def interrupt(done: int, _total: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with HostileServer(lambda visit: visit.ranged(FILE, etag='"one"')) as server:
        client = Client(Options(urls=(server.url,), timeout=60), str(tmp_path), progress=interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.find_debuginfo(BUILD_ID)
        asking = Asking(tmp_path, server.url)
        assert asking.find() == FILE
        first, second = server.ranges()
        assert first is None
        assert second is not None
        assert int(second.removeprefix("bytes=").removesuffix("-")) > 100_000
        assert asking.files() == [FOUND_FILE]


@pytest.mark.parametrize("headers", [{}, {"etag": 'W/"weak"'}], ids=str)
def test_what_may_have_changed_is_begun_anew(headers: dict[str, object], tmp_path: Path) -> None:
    with HostileServer(_breaks_off_at(100_000, **headers)) as server:
        asking = Asking(tmp_path, server.url, retries=0)
        asking.miss()
        assert asking.files() == []
        assert asking.find() == FILE
        assert server.ranges() == [None, None]


def _range_is_ignored(visit: Visit) -> None:
    visit.file(FILE, etag='"one"')


def _range_is_refused(visit: Visit) -> None:
    if visit.start():
        visit.head(416, content_length=0)
    else:
        visit.file(FILE)


def _file_has_changed(visit: Visit) -> None:
    visit.ranged(FILE, etag='"two"')


def _another_range(visit: Visit) -> None:
    if visit.start():
        visit.head(206, content_length=5, content_range=f"bytes 0-4/{len(FILE)}", etag='"one"')
        visit.write(FILE[:5])
    else:
        visit.file(FILE)


def _another_size(visit: Visit) -> None:
    if visit.start():
        visit.head(
            206, content_length=5, content_range=f"bytes {visit.start()}-{visit.start() + 4}/{visit.start() + 5}"
        )
        visit.write(FILE[:5])
    else:
        visit.file(FILE)


@pytest.mark.parametrize(
    "answer", [_range_is_ignored, _range_is_refused, _file_has_changed, _another_range, _another_size]
)
def test_a_server_that_cannot_go_on_sends_all_of_it(answer: Answer, tmp_path: Path) -> None:
    with HostileServer(_breaks_off_at(100_000, etag='"one"')) as server:
        assert "broke off" in Asking(tmp_path, server.url, retries=0).miss()
        server.answer = answer
        assert Asking(tmp_path, server.url, retries=0).find() == FILE
        assert server.ranges()[1] == "bytes=100000-"
        assert len(server.asked) == (2 if answer is _range_is_ignored else 3)


def test_the_beginning_from_one_server_is_not_the_beginning_from_another(tmp_path: Path) -> None:
    with HostileServer(_breaks_off_at(100_000, etag='"one"')) as first, HostileServer(good) as second:
        assert Asking(tmp_path, first.url, second.url, retries=0).find() == FILE
        assert second.ranges() == [None]


@pytest.mark.parametrize("origin", ["", "{}", "[1, 2, 3]", '["u", "v"]', "null", "\x00"])
def test_a_beginning_of_nobody_knows_what_is_begun_anew(origin: str, tmp_path: Path) -> None:
    part = tmp_path / BUILD_ID / ".debuginfo.part"
    part.parent.mkdir()
    part.write_bytes(b"garbage" * 100)
    part.with_name(".debuginfo.part.origin").write_text(origin)
    with HostileServer(good) as server:
        asking = Asking(tmp_path, server.url)
        assert asking.find() == FILE
        assert server.ranges() == [None]
        assert asking.files() == [FOUND_FILE]


def test_a_damaged_beginning_is_found_out(tmp_path: Path) -> None:
    with HostileServer(_breaks_off_at(100_000, etag='"one"')) as server:
        asking = Asking(tmp_path, server.url, retries=0)
        asking.miss()
        part = tmp_path / BUILD_ID / ".debuginfo.part"
        part.write_bytes(bytes(100_000))
        assert "sent something else" in asking.miss()
        assert asking.files() == []
        assert asking.find() == FILE


def test_a_download_that_only_lacks_its_name_is_not_asked_for(tmp_path: Path) -> None:
    with HostileServer(_breaks_off_at(100_000, etag='"one"')) as server:
        asking = Asking(tmp_path, server.url, retries=0)
        asking.miss()
        (tmp_path / BUILD_ID / ".debuginfo.part").write_bytes(FILE)
        assert asking.find() == FILE
        assert len(server.asked) == 1


def test_old_beginnings_are_removed(tmp_path: Path) -> None:
    for build_id, age in (("aa", 25), ("bb", 23)):
        folder = tmp_path / build_id
        folder.mkdir()
        for name in (".debuginfo.part", ".debuginfo.part.origin", "debuginfo"):
            (folder / name).write_bytes(b"x")
            os.utime(folder / name, (time.time() - age * 3600,) * 2)
    (tmp_path / "cache_miss_s").write_text("600\n")
    with HostileServer(good) as server:
        asking = Asking(tmp_path, server.url)
        assert asking.find() == FILE
        assert asking.files() == sorted(
            (
                FOUND_FILE,
                "aa/debuginfo 1",
                "bb/.debuginfo.part 1",
                "bb/.debuginfo.part.origin 1",
                "bb/debuginfo 1",
                "cache_miss_s 4",
            )
        )


# Answers that are remembered


def test_what_no_server_has_is_not_asked_for_again_for_a_while(tmp_path: Path) -> None:
    with HostileServer(has_nothing) as first, HostileServer(has_nothing) as second:
        asking = Asking(tmp_path, first.url, second.url)
        assert asking.miss() == f"{first.url}: 404 Not Found\n{second.url}: 404 Not Found"
        assert asking.files() == [MISS_FILE]
        first.answer = good
        assert "debuginfo: no server had it " in asking.miss()
        assert "no server had it " in Asking(tmp_path, first.url).miss()
        assert (len(first.asked), len(second.asked)) == (1, 1)
        miss = tmp_path / BUILD_ID / "debuginfo"
        os.utime(miss, (time.time() - 590,) * 2)
        assert "no server had it 59" in asking.miss()
        os.utime(miss, (time.time() - 601,) * 2)
        assert asking.find() == FILE
        assert (len(first.asked), len(second.asked)) == (2, 1)


def test_a_miss_that_is_still_one_holds_anew(tmp_path: Path) -> None:
    with HostileServer(has_nothing) as server:
        asking = Asking(tmp_path, server.url)
        asking.miss()
        miss = tmp_path / BUILD_ID / "debuginfo"
        os.utime(miss, (time.time() - 1000,) * 2)
        assert "404" in asking.miss()
        assert "no server had it" in asking.miss()
        assert len(server.asked) == 2


def test_cache_miss_s_says_for_how_long(tmp_path: Path) -> None:
    with HostileServer(has_nothing) as server:
        asking = Asking(tmp_path, server.url)
        (tmp_path / "cache_miss_s").write_text("0\n")
        assert ["404" in asking.miss(), "404" in asking.miss()] == [True, True]
        (tmp_path / "cache_miss_s").write_text("5000")
        os.utime(tmp_path / BUILD_ID / "debuginfo", (time.time() - 4000,) * 2)
        assert "no server had it" in asking.miss()
        (tmp_path / "cache_miss_s").write_text("soon")
        assert "404" in asking.miss()
        assert len(server.asked) == 3


def test_a_miss_without_permissions_is_one_of_an_older_elfutils(tmp_path: Path) -> None:
    miss = tmp_path / BUILD_ID / "debuginfo"
    miss.parent.mkdir()
    miss.touch(0o000)
    with HostileServer(good) as server:
        asking = Asking(tmp_path, server.url)
        assert "no server had it" in asking.miss()
        os.utime(miss, (time.time() - 1000,) * 2)
        assert asking.find() == FILE


@pytest.mark.parametrize("content", [b"not what it says", elf(OTHER_ID), FILE[:-1]])
def test_a_wrong_file_in_the_cache_is_replaced(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / BUILD_ID / "debuginfo"
    path.parent.mkdir()
    path.write_bytes(content)
    with HostileServer(good) as server:
        asking = Asking(tmp_path, server.url)
        assert asking.find() == FILE
        assert any("not used: " in sentence for sentence in asking.notes)


# Disks and processes

_CHILD = """
import json, os, resource, sys
from annotate.kernel import debuginfod, download
order = json.loads(sys.argv[1])
if order["file_size"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"], order["file_size"]))
if order["user"]:
    os.setuid(order["user"])
client = debuginfod.Client(debuginfod.Options(urls=(order["url"],), timeout=60), order["cache"])
print("ready", flush=True)
print(json.dumps([client.find_debuginfo(order["build_id"]), client.tried]))
"""


def _child(cache: Path, url: str, *, file_size: int = 0, user: int = 0) -> subprocess.Popen[str]:
    order = {"cache": str(cache), "url": url, "build_id": BUILD_ID, "file_size": file_size, "user": user}
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps(order)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _answer_of(child: subprocess.Popen[str]) -> tuple[str | None, list[str]]:
    output, errors = child.communicate(timeout=120)
    assert errors == ""
    path, tried = json.loads(output.splitlines()[-1])
    return path, tried


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    with HostileServer(_breaks_off_at(etag='"one"')) as server:
        path, tried = _answer_of(_child(tmp_path, server.url, file_size=100_000))
        assert path is None
        assert tried == [f"{tmp_path}/{BUILD_ID}/debuginfo: cannot be written: File too large"]
        asking = Asking(tmp_path, server.url)
        assert asking.files() == []
        assert asking.find() == FILE


def test_a_cache_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with HostileServer(good) as server:
        said = Asking(tmp_path / "file" / "cache", server.url).miss()
        assert "cannot be written: Not a directory" in said
        assert server.asked == []


def test_a_read_only_cache_is_read() -> None:
    with contextlib.ExitStack() as stack:
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # others may look into it
        server = stack.enter_context(HostileServer(good))
        Asking(cache, server.url).find()
        found = cache / BUILD_ID / "debuginfo"
        found.chmod(0o444)
        found.parent.chmod(0o555)
        cache.chmod(0o555)
        user = 0 if os.getuid() else 65534
        try:
            assert _answer_of(_child(cache, server.url, user=user)) == (str(found), [])
            found.parent.chmod(0o755)
            found.unlink()
            found.parent.chmod(0o555)
            path, tried = _answer_of(_child(cache, server.url, user=user))
        finally:
            for folder in (cache, found.parent):
                folder.chmod(0o755)
        assert path is None
        assert tried == [f"{found.parent}/.debuginfo.part: cannot be written: Permission denied"]
        assert len(server.asked) == 1


def _in_pieces(pause: float) -> Answer:
    def answer(visit: Visit) -> None:
        start = visit.start()
        more = {"content_range": f"bytes {start}-{len(FILE) - 1}/{len(FILE)}"} if start else {}
        visit.head(206 if start else 200, content_length=len(FILE) - start, etag='"one"', **more)
        for place in range(start, len(FILE), 10_000):
            visit.write(FILE[place : place + 10_000])
            time.sleep(pause)

    return answer


def test_eight_processes_at_once_download_it_once(tmp_path: Path) -> None:
    with HostileServer(_in_pieces(0.05)) as server:
        children = [_child(tmp_path, server.url) for _ in range(8)]
        answers = [_answer_of(child) for child in children]
        assert answers == [(str(tmp_path / BUILD_ID / "debuginfo"), [])] * 8
        assert server.ranges() == [None]
        asking = Asking(tmp_path)
        assert asking.find() == FILE
        assert asking.files() == [FOUND_FILE]


def test_a_process_that_comes_no_further_is_not_waited_for(tmp_path: Path) -> None:
    part = tmp_path / BUILD_ID / ".debuginfo.part"
    part.parent.mkdir()
    with HostileServer(good) as server:
        with part.open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            asking = Asking(tmp_path, server.url, timeout=1)
            assert "another process that downloads it has come no further" in asking.miss()
            assert server.asked == []
            assert any("another process downloads it" in sentence for sentence in asking.notes)
        assert Asking(tmp_path, server.url).find() == FILE


def test_a_file_that_was_finished_before_the_lock_came_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, found = tmp_path / ".debuginfo.part", tmp_path / "debuginfo"
    path.write_bytes(FILE)
    lock = fcntl.flock

    def finished_meanwhile(descriptor: int, operation: int) -> None:
        if not found.exists():
            path.rename(found)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", finished_meanwhile)
    part = Part.lock(str(path))
    assert part is not None
    with part:
        assert part.size == 0
        part.clear()
    assert found.read_bytes() == FILE


def test_killed_at_any_moment_it_leaves_no_wrong_file(tmp_path: Path) -> None:
    moments = random.Random(20260801)
    found = tmp_path / BUILD_ID / "debuginfo"
    killed = 0
    with HostileServer(_in_pieces(0.01)) as server:
        for _ in range(30):
            child = _child(tmp_path, server.url)
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0, 0.25))
            child.kill()
            output, _ = child.communicate(timeout=60)
            if output:
                assert json.loads(output)[0] == str(found)
            killed += not output
            if found.exists():
                assert found.read_bytes() == FILE
                found.unlink()
        asking = Asking(tmp_path, server.url)
        assert asking.find() == FILE
        assert asking.files() == [FOUND_FILE]
    assert killed
    assert any(server.ranges())


# Debian's own server and client


class Real(NamedTuple):
    """Debian's server, and what it has: build id -> path."""

    url: str
    files: dict[str, Path]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Debian's server over a program, its separate debug file, and a module."""
    if shutil.which("debuginfod") is None:
        pytest.skip("debuginfod is not installed")
    folder = tmp_path_factory.mktemp("real")
    served = folder / "served"
    module = build_module(served / "crasher.ko", build_id=OTHER_ID)
    source = folder / "a.c"
    source.write_text("int main(void) { return 0; }\n")
    program, debug = served / "program", served / "program.debug"
    for step in (
        (tool("gcc"), "-g", "-Wl,--build-id", source, "-o", program),
        (tool("objcopy"), "--only-keep-debug", program, debug),
        (tool("strip"), program),
    ):
        subprocess.run(step, check=True, capture_output=True, timeout=60)
    files = {ElfFile(path.read_bytes(), str(path)).build_id: path for path in (debug, module)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "debuginfod",
        "-F",
        "-p",
        str(port),
        "-d",
        str(folder / "index.sqlite"),
        "-t",
        "0",
        "-g",
        "0",
        str(served),
    ]
    with (folder / "log").open("wb") as log:
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: all(_has(f"{url}/buildid/{build_id}/debuginfo") for build_id in files))
        yield Real(url, files)
    finally:
        server.terminate()
        server.wait(60)


def _has(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=30) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _debuginfod_find(cache: Path, url: str, build_id: str, kind: str = "debuginfo") -> str | None:
    """The path that elfutils' client prints."""
    environment = {"PATH": os.environ["PATH"], "DEBUGINFOD_URLS": url, "DEBUGINFOD_CACHE_PATH": str(cache)}
    command = [tool("debuginfod-find"), kind, build_id]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode == 0) is bool(done.stdout)
    return done.stdout.strip() or None


def test_debians_server_sends_what_elfutils_client_gets(real: Real, tmp_path: Path) -> None:
    for build_id, path in real.files.items():
        asking = Asking(tmp_path / "ours", real.url)
        assert asking.find(build_id) == path.read_bytes()
        assert asking.progress[-1] == (path.stat().st_size,) * 2
        theirs = _debuginfod_find(tmp_path / "theirs", real.url, build_id)
        assert theirs == str(tmp_path / "theirs" / build_id / "debuginfo")
        assert Path(theirs).read_bytes() == path.read_bytes()


def test_debians_server_sends_the_program(real: Real, tmp_path: Path) -> None:
    (build_id,) = (key for key, path in real.files.items() if path.name == "program.debug")
    path = Asking(tmp_path / "ours", real.url).client.find_executable(build_id)
    theirs = _debuginfod_find(tmp_path / "theirs", real.url, build_id, "executable")
    assert path is not None
    assert theirs is not None
    assert Path(path).read_bytes() == Path(theirs).read_bytes()
    assert Path(path).read_bytes() == (next(iter(real.files.values())).with_name("program")).read_bytes()


def test_debians_server_holds_the_size_limit_itself(real: Real, tmp_path: Path) -> None:
    build_id = next(iter(real.files))
    assert "larger than the limit of 100 bytes" in Asking(tmp_path, real.url, max_size=100).miss(build_id)


def test_elfutils_client_takes_our_cache(real: Real, tmp_path: Path) -> None:
    missing = "ee" * 20
    asking = Asking(tmp_path, real.url)
    for build_id in real.files:
        asking.find(build_id)
    assert asking.miss(missing) == f"{real.url}: 404 Not Found"
    with HostileServer(good) as server:
        for build_id in real.files:
            assert _debuginfod_find(tmp_path, server.url, build_id) == str(tmp_path / build_id / "debuginfo")
        assert _debuginfod_find(tmp_path, server.url, missing) is None
        assert server.asked == []


def test_we_take_elfutils_clients_cache(real: Real, tmp_path: Path) -> None:
    missing = "ee" * 20
    for build_id in real.files:
        assert _debuginfod_find(tmp_path, real.url, build_id)
    assert _debuginfod_find(tmp_path, real.url, missing) is None
    with HostileServer(good) as server:
        asking = Asking(tmp_path, server.url)
        for build_id, path in real.files.items():
            assert asking.find(build_id) == path.read_bytes()
        assert "no server had it" in asking.miss(missing)
        assert server.asked == []


# What the environment says


def test_the_environment_is_read_as_elfutils_reads_it() -> None:
    assert options_from_environment({}) == Options((), 90, 0, 0, 2, 600)
    environment = {
        "DEBUGINFOD_URLS": " https://a/  http://b/\nhttps://a/ ",
        "DEBUGINFOD_TIMEOUT": "5",
        "DEBUGINFOD_MAXSIZE": " 1000 ",
        "DEBUGINFOD_MAXTIME": "60",
        "DEBUGINFOD_RETRY_LIMIT": "0",
    }
    assert options_from_environment(environment) == Options(("https://a/", "http://b/"), 5, 60, 1000, 0, 600)
    environment = {"DEBUGINFOD_TIMEOUT": "-1", "DEBUGINFOD_MAXSIZE": "lots", "DEBUGINFOD_RETRY_LIMIT": ""}
    assert options_from_environment(environment) == Options((), 0, 0, 0, 2, 600)


def test_the_shared_cache_is_where_elfutils_has_it(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert shared_cache(home) == f"{tmp_path}/.cache/debuginfod_client"
    assert shared_cache({**home, "XDG_CACHE_HOME": "/x"}) == "/x/debuginfod_client"
    assert shared_cache({**home, "DEBUGINFOD_CACHE_PATH": "/y"}) == "/y"
    (tmp_path / ".debuginfod_client_cache").mkdir()
    assert shared_cache({**home, "XDG_CACHE_HOME": "/x"}) == f"{tmp_path}/.debuginfod_client_cache"


def test_no_http_is_imported_before_a_server_is_asked(tmp_path: Path) -> None:
    script = (
        "import sys; from annotate.kernel.debuginfod import Client, Options;"
        f"Client(Options(), {str(tmp_path)!r}).find_debuginfo('ab');"
        "print(sorted({'urllib.request', 'http.client', 'ssl', 'socket', 'json', 'shutil'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
