"""The pictures in the documents show what the program prints today."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import SAMPLES

DOCS = Path(__file__).parent.parent / "docs"
PICTURES = sorted(DOCS.glob("terminal-*.svg"))
RENEW = "stale; renew it with: python docs/make_screenshots.py"


def shown(picture: str) -> str:
    """The text of a picture, row by row, without blanks: where a row is wrapped does not matter."""
    rows: dict[float, str] = {}
    for element in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in element.attrib:
            rows.setdefault(float(element.attrib["y"]), "")
            rows[float(element.attrib["y"])] += element.text or ""
    return re.sub(r"\s", "", "".join(text for _, text in sorted(rows.items())))


def test_there_is_one_for_a_dark_and_one_for_a_light_terminal() -> None:
    assert [picture.name for picture in PICTURES] == ["terminal-dark.svg", "terminal-light.svg"]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_shows_what_the_sample_is_known_to_give(picture: Path) -> None:
    """The golden file of the sample, which the picture is not made from."""
    text = shown(picture.read_text(encoding="utf-8"))
    golden = (SAMPLES / "x86_64" / "p-null_deref.annotated").read_text(encoding="utf-8").splitlines()
    lines = [re.sub(r"\s", "", line.partition(": ")[2]) for line in golden[1:-1]]
    assert len(lines) > 10
    assert [line for line in lines if line not in text] == [], RENEW
    assert "http" not in re.sub(r'xmlns="[^"]*"|<!--.*?-->', "", html.unescape(picture.read_text(encoding="utf-8")))


def test_the_script_makes_them(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(DOCS / "make_screenshots.py"), str(tmp_path)], check=True)
    made_with = f"with rich {version('rich')} -->"
    for picture in PICTURES:
        committed = picture.read_text(encoding="utf-8")
        made = (tmp_path / picture.name).read_text(encoding="utf-8")
        assert shown(made) == shown(committed), RENEW
        # Another version of rich may draw the same in another way.
        if made_with in committed:
            assert made == committed, RENEW
