"""Each target's invariant holds for its seeds and for what once broke it, and a broken reader breaks it.

``tests/fixtures/fuzz/TARGET/`` holds the inputs that were found. All of it runs without atheris, but for one test.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import random
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from annotate.annotator import Annotator
from annotate.debuginfo.image import DebugImage
from annotate.debuginfo.lineprogram import LineRows, plain_rows
from annotate.kernel.archives import members
from annotate.model import LinkAddr
from annotate.render.plain import PlainRenderer
from annotate.tables.kernel_blocks import BlockTable
from annotate.triage.triager import Triager
from fuzz import __main__ as program
from fuzz import engine, figures, targets
from fuzz.__main__ import Campaign
from fuzz.figures import Document, Figures
from fuzz.targets import (
    debug_info,
    debuginfod,
    elf,
    kernel_table,
    line_program,
    lineinfo_table,
    log_text,
    packages,
    triage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from annotate.debuginfo.lineheader import LineProgram
    from annotate.debuginfo.lineprogram import PlainRow
    from annotate.kernel.members import Member
    from annotate.model import AnnotatedLine, LogBlock, Repeats

ROOT = Path(__file__).parent.parent
KEPT = Path(__file__).parent / "fixtures" / "fuzz"

#: Seconds of the one real run.
TASTE = 2

every_target = pytest.mark.parametrize("name", targets.NAMES)


# --- the invariants hold ------------------------------------------------------------------------------------------


@every_target
def test_every_seed_keeps_the_invariant(name: str) -> None:
    target = targets.load(name)
    seeds = set(target.seeds())
    assert len(seeds) >= 4
    for data in seeds:
        target.check(data)


@every_target
def test_a_few_bytes_and_every_word_keep_the_invariant(name: str) -> None:
    target = targets.load(name)
    for data in (b"", b"\0", b"\xff" * 40, bytes(range(256)), *target.WORDS):
        target.check(data)


@pytest.mark.parametrize("path", sorted(KEPT.rglob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_broke_an_invariant_once_keeps_it_now(path: Path) -> None:
    targets.load(path.parent.name).check(path.read_bytes())


@every_target
def test_a_target_says_its_invariant_in_one_sentence(name: str) -> None:
    sentence = program.invariant_of(name)
    assert 20 < len(sentence) < 120
    assert "|" not in sentence
    assert (targets.load(name).__doc__ or "").startswith(f"{sentence}.")


def test_every_module_of_a_target_is_one() -> None:
    modules = {path.stem for path in (ROOT / "fuzz" / "targets").glob("*.py")} - {"__init__"}
    assert modules == set(targets.NAMES)


# --- and break ----------------------------------------------------------------------------------------------------


def breaks(check: Callable[[bytes], None], seeds: list[bytes]) -> None:
    """Some seed must fail now."""
    with pytest.raises(AssertionError):  # noqa: PT012  # one of many
        for data in seeds:
            check(data)


def test_a_changed_byte_of_a_log_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = PlainRenderer.render

    def render(self: PlainRenderer, log: str, piece: AnnotatedLine | LogBlock | Repeats) -> bytes:
        return original(self, log, piece).replace(b"\r", b"")

    monkeypatch.setattr(PlainRenderer, "render", render)
    breaks(log_text.check, [b"\1\2some text\r\nand more\r\n"])


def test_a_line_of_json_that_is_no_line_of_the_log_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotate.render.jsonl._text", lambda _data: "of another log")
    breaks(log_text.check, list(log_text.seeds())[:3])


def test_a_cut_that_makes_a_difference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Annotator.feed
    monkeypatch.setattr(Annotator, "feed", lambda self, chunk: original(self, chunk[:1] + chunk[2:]))
    breaks(log_text.check, [b"\1\2some text and more"])
    breaks(triage.check, list(triage.seeds())[:3])


def test_a_crash_in_no_line_of_the_log_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Triager.crashes
    monkeypatch.setattr(
        Triager, "crashes", lambda *given: tuple(crash._replace(line=9999) for crash in original(*given))
    )
    breaks(triage.check, list(triage.seeds())[:1])


def test_a_title_that_could_steer_a_terminal_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.targets.triage.triage_text", lambda _crashes: b"triage: \x1b[31m\n")
    breaks(triage.check, list(triage.seeds())[:1])


def test_a_symbol_that_is_not_there_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = DebugImage.symbol_at
    monkeypatch.setattr(DebugImage, "symbol_at", lambda self, address: original(self, LinkAddr(address + 1)))
    breaks(elf.check, list(elf.seeds()))


def test_a_row_that_is_read_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(program: LineProgram) -> Iterator[PlainRow]:
        return ((place, file, line + 1) for place, file, line in plain_rows(program))

    monkeypatch.setattr("fuzz.targets.line_program.plain_rows", rows)
    breaks(line_program.check, list(line_program.seeds()))


def test_a_program_that_answers_otherwise_in_parts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = LineRows.find

    def find(self: LineRows, address: int) -> tuple[int, int] | None:
        found = original(self, address)
        return found if self._decoder is None or found is None else (found[0] + 1, found[1])

    monkeypatch.setattr(LineRows, "find", find)
    breaks(line_program.check, list(line_program.seeds()))


def test_a_table_that_answers_otherwise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = DebugImage.chain
    monkeypatch.setattr(DebugImage, "chain", lambda self, address, symbol: original(self, address, symbol)[-1:])
    breaks(debug_info.check, list(debug_info.seeds()))


def test_a_table_that_changes_its_mind_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(range(1000))
    monkeypatch.setattr("fuzz.targets.lineinfo_table.ask", lambda *_: next(said))
    breaks(lineinfo_table.check, list(lineinfo_table.seeds()))


def test_a_look_up_against_the_kernels_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = BlockTable.find
    monkeypatch.setattr(BlockTable, "find", lambda self, offset, minimum=0: original(self, offset + 1, minimum))
    breaks(kernel_table.check, list(kernel_table.seeds()))


def test_a_member_of_another_size_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def larger(*asked: Any) -> Iterator[Member]:
        return (member._replace(size=member.size + 1) for member in members(*asked))

    monkeypatch.setattr("fuzz.targets.packages.members", larger)
    breaks(packages.check, list(packages.seeds()))


def test_a_file_of_another_build_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotate.kernel.debuginfod._check", lambda *_: None)
    breaks(debuginfod.check, list(debuginfod.seeds()))


# --- the runner ---------------------------------------------------------------------------------------------------


def test_pieces_of_an_input_come_back() -> None:
    pieces = [b"one", b"", b"three" * 1000, b"the rest"]
    assert targets.split_pieces(targets.join_pieces(7, pieces), 4) == (7, pieces)
    assert targets.split_pieces(b"", 3) == (0, [b"", b"", b""])
    assert targets.split_pieces(b"\1\xff\xff\0", 2) == (1, [b"\0", b""])


def test_of_inputs_that_fail_alike_the_first_is_kept(tmp_path: Path) -> None:
    def check(data: bytes) -> None:
        if data.startswith(b"bad"):
            raise KeyError(data)

    keeper = engine.Keeper(check, tmp_path / "failures")
    for data in (b"good", b"bad 1", b"bad 2"):
        keeper(data)
    name = f"fails-{hashlib.sha256(b'bad 1').hexdigest()[:16]}"
    assert sorted(path.name for path in (tmp_path / "failures").iterdir()) == [name, f"{name}.txt"]
    assert (tmp_path / "failures" / name).read_bytes() == b"bad 1"
    assert "KeyError: b'bad 1'" in (tmp_path / "failures" / f"{name}.txt").read_text()


LOG = """INFO: seed corpus: files: 38 min: 1b max: 11848b total: 281338b rss: 90Mb
#39	INITED cov: 1200 ft: 3100 corp: 37/274Kb exec/s: 19 rss: 95Mb
#64	NEW    cov: 1204 ft: 3110 corp: 38/280Kb lim: 11848 exec/s: 21 rss: 95Mb L: 6000/11848 MS: 1 ChangeBit-
#128	pulse  cov: 1204 ft: 3110 corp: 38/280Kb lim: 11848 exec/s: 21 rss: 95Mb
"""


def test_figures_are_those_that_libfuzzer_names() -> None:
    assert figures.read_figures(LOG, 10, 1) == Figures(10, 128, 38, 1204, 1)
    assert figures.read_figures(f"{LOG}stat::number_of_executed_units: 150\n", 10, 0) == Figures(10, 150, 38, 1204, 0)
    assert figures.read_figures("nothing", 3, 0) == Figures(3)
    assert figures.add(Figures(10, 128, 38, 1204, 1), Figures(5, 22, 40, 1100, 2)) == Figures(15, 150, 40, 1204, 2)
    assert figures.row("elf", "It holds", 7, Figures(10, 1280, 38, 1204)) == (
        "| `elf` | It holds | 7 | 10 | 1 280 | 128 | 38 | 1 204 | 0 |"
    )


def test_a_report_replaces_the_rows_of_what_ran_and_nothing_else() -> None:
    table = figures.table(["| `a` | x | 1 |", "| `b` | y | 2 |"])
    before = f"# Title\n\n{figures.BEGIN}\nold\n\n{table}\n{figures.END}\nmore\n"
    document = Document(before)
    assert document.rows == {"a": "| `a` | x | 1 |", "b": "| `b` | y | 2 |"}
    assert document.with_rows("old", document.rows.values()) == before
    after = Document(document.with_rows("new", ["| `b` | z | 3 |"]))
    assert after.rows == {"b": "| `b` | z | 3 |"}
    with pytest.raises(ValueError, match="fuzz:end"):
        Document(f"{figures.BEGIN}\n")


def test_the_document_has_a_row_for_each_target() -> None:
    rows = Document((ROOT / "docs" / "reliability.md").read_text()).rows
    assert set(targets.NAMES) <= set(rows)
    for name in targets.NAMES:
        assert f"| {program.invariant_of(name)} |" in rows[name]


def test_a_target_that_a_case_ended_goes_on_for_the_rest_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[tuple[int, int]] = []
    clock = iter((0.0, 12.0, 12.0, 100.0))

    def start(_self: Campaign, _name: str, _corpus: Path, failures: Path, seconds: int, seed: int) -> tuple[str, int]:
        starts.append((seconds, seed))
        failures.mkdir(parents=True, exist_ok=True)
        (failures / "timeout-1").touch()
        return LOG, 70 if len(starts) == 1 else 0

    monkeypatch.setattr(Campaign, "_start", start)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    campaign = Campaign(100, 7, tmp_path / "corpus", tmp_path / "failures")
    assert campaign.run("packages") == Figures(100, 256, 38, 1204, 1)
    assert starts == [(100, 7), (88, 8)]
    assert len(list((tmp_path / "corpus" / "packages").iterdir())) == len(set(packages.seeds()))
    assert (tmp_path / "corpus" / "packages.words").read_text().count("\n") == len(packages.WORDS)


def test_a_target_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Campaign, "_start", lambda *_: ("no such module", 1))
    with pytest.raises(RuntimeError, match=r"packages ended with status 1:\nno such module"):
        Campaign(100, 7, tmp_path / "corpus", tmp_path / "failures").run("packages")


def test_a_run_finds_what_breaks_and_says_so(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install -e '.[fuzz]' (Python 3.11 to 3.13, x86-64 Linux)")
    command = [
        sys.executable,
        "-m",
        "fuzz",
        "packages",
        "--seconds",
        str(TASTE),
        "--failures",
        str(tmp_path / "failures"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    cells = done.stdout.splitlines()[-1].split("|")
    assert cells[1].strip() == "`packages`"
    assert int(cells[5].replace(" ", "")) > len(list(packages.seeds()))
    assert int(cells[8].replace(" ", "")) > 50
    assert not (tmp_path / "failures" / "packages").exists()


def test_a_failure_is_printed_with_its_input_where_that_is_short(tmp_path: Path) -> None:
    """The machine of a continuous integration is gone when its log is read."""
    report = tmp_path / "fails-1.txt"
    report.write_text("ValueError place\n\nTraceback\n")
    report.with_suffix("").write_bytes(b"case" * 10_000)
    *lines, encoded = program.described(report).splitlines()
    assert lines == [str(report), "ValueError place", "", "Traceback"]
    assert zlib.decompress(base64.b64decode(encoded.rpartition(" ")[2])) == b"case" * 10_000
    report.with_suffix("").write_bytes(random.Random(1).randbytes(5000))
    assert program.described(report).splitlines() == lines
