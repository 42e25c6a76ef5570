"""Manual pages and completions: what a shell and a pager make of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_docs import options

from annotate.cli import lineinfo as lineinfo_cli
from annotate.cli import options as filter_cli
from annotate.tables import lineinfo_v1

SHARE = Path(__file__).parent.parent / "share"
PAGES = sorted(SHARE.rglob("*.[15]"))
PARSERS = {"lineinfo-annotate": filter_cli.make_parser, "lineinfo": lineinfo_cli.make_parser}


def need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    return found


def test_every_page_is_there() -> None:
    assert [page.name for page in PAGES] == ["lineinfo-annotate.1", "lineinfo.1", "lineinfo-table.5"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_groff_has_nothing_to_complain_of(page: Path) -> None:
    command = [need("groff"), "-man", "-Tutf8", "-wall", "-z", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    # "cannot break line" is about long options only
    assert [line for line in done.stderr.splitlines() if "break" not in line and "adjust" not in line] == []


@pytest.mark.parametrize("program", PARSERS)
def test_every_option_is_read_in_its_page(program: str) -> None:
    page = SHARE / "man" / "man1" / f"{program}.1"
    command = [need("groff"), "-man", "-Tascii", "-P-cbou", str(page)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    words = set(re.findall(r"--?[a-z][a-z-]*", re.sub(r"[-\u2010]\n\s+", "-", shown)))
    assert sorted(options(PARSERS[program]()) - words - {"--help"}) == []
    for section in ("NAME", "SYNOPSIS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO"):
        assert re.search(rf"(?m)^{section}$", shown), section


def test_the_page_of_the_format_has_the_whole_specification() -> None:
    page = SHARE / "man" / "man5" / "lineinfo-table.5"
    command = [need("groff"), "-man", "-Tascii", "-P-cbou", "-rHY=0", str(page)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert lineinfo_v1.__doc__ is not None
    wanted = re.findall(r"[a-zA-Z]{4,}", lineinfo_v1.__doc__.split("\n", 1)[1])
    assert sorted(set(wanted) - set(re.findall(r"[a-zA-Z]{4,}", shown))) == []


@pytest.mark.parametrize("program", PARSERS)
def test_bash_completes_options_and_files(program: str, tmp_path: Path) -> None:
    completion = SHARE / "bash-completion" / "completions" / program
    (tmp_path / "some-vmlinux").touch()
    function = re.search(r"complete (?:-\S+ \S+ )*-F (\S+)", completion.read_text())
    assert function is not None
    first = "lookup" if program == "lineinfo" else ""

    def complete(*words: str) -> set[str]:
        line = " ".join(f"'{word}'" for word in (program, *words))
        before = words[-2] if len(words) > 1 else program
        script = (
            f"source {completion}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
            f"COMP_LINE=; COMP_POINT=0; {function[1]} {program} '{words[-1]}' '{before}'; "
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            [need("bash"), "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
        )
        return set(done.stdout.split())

    assert "--kernel" in complete(*filter(None, (first, "--k")))
    assert "some-vmlinux" in complete(*filter(None, (first, "-k", "some")))
    if program == "lineinfo":
        assert complete("do") == {"doctor"}


@pytest.mark.parametrize("program", PARSERS)
@pytest.mark.parametrize(
    ("shell", "place"), [("zsh", "zsh/site-functions/_{}"), ("fish", "fish/vendor_completions.d/{}.fish")]
)
def test_other_shells_can_read_theirs(shell: str, place: str, program: str) -> None:
    subprocess.run([need(shell), "-n", str(SHARE / place.format(program))], check=True, timeout=60)
