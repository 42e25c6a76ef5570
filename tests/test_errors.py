"""What our errors say is one sentence for a terminal, whoever's words are in it, in whatever process."""

from __future__ import annotations

import pickle

import pytest
from elf_writer import ElfSpec, SectionSpec, write_elf

from annotate.debuginfo.elf import ElfFile
from annotate.errors import AnnotateError, DamagedFileError, DownloadError


def test_the_words_of_a_file_do_not_steer_a_terminal() -> None:
    compressed = SectionSpec(".\x1b]0;title\x07\n", b"\0" * 24, flags=0x800)
    elf = ElfFile(write_elf(ElfSpec([compressed])), "fi\rle")
    with pytest.raises(AnnotateError) as caught:
        elf.read(elf.sections[1])
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(r"fi\rle: section .\x1b]0;title\x07\n is compressed with method 0")
    assert caught.value.source == "fi\rle"


@pytest.mark.parametrize("text", ["plain", "größer", "a\udcff", "\x9b31m", "a\u202eb", "tab\t"])
def test_what_prints_stays_and_what_does_not_is_written_out(text: str) -> None:
    error = DownloadError(text, f"sent {text}", status=404)
    assert str(error).isprintable()
    assert error.problem.isprintable()
    assert (str(error) == f"{text}: sent {text}") is text.isprintable()
    assert error.source == text


def test_an_error_is_the_same_in_another_process() -> None:
    error = DamagedFileError("file", ".debug\x1b", 5, "one", "two\n")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.source, again.section) == (str(error), "file", ".debug\x1b")
    assert str(again) == r"file: damaged at .debug\x1b+0x5: expected one, found two\n"
