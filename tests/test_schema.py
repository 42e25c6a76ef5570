"""The JSON Schema of ``--format jsonl``: what is printed fits it, nothing is printed that it does not name."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLES
from fake_world import places
from jsonschema import Draft202012Validator, ValidationError

from annotate.log.grammar import find_frames
from annotate.model import AnnotatedLine, LogLine, Missing, PcKind, Resolution
from annotate.render.jsonl import JsonLinesRenderer

DOCS = Path(__file__).parent.parent / "docs"
SCHEMA: dict[str, Any] = json.loads((DOCS / "lineinfo-annotate.schema.json").read_text())
LOGS = sorted(SAMPLES.glob("*/*.log"))


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with no room for fields that it does not name. Scripts see the open one: fields may be added."""
    strict = copy.deepcopy(schema)
    for definition in strict["$defs"].values():
        if "properties" in definition:
            definition["additionalProperties"] = False
    return strict


VALIDATOR = Draft202012Validator(closed(SCHEMA))


def check(output: bytes) -> list[Any]:
    objects = [json.loads(line) for line in output.splitlines()]
    for each in objects:
        VALIDATOR.validate(each)
    return objects


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: f"{log.parent.name}/{log.stem}")
def test_what_is_printed_for_the_samples_fits(log: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "annotate", "--format", "jsonl", str(log)],
        capture_output=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    objects = check(run.stdout)
    assert [*objects[-1]] == ["summary"]
    assert all("frames" in each for each in objects[:-1])
    assert len(objects) > 1


_FILE = places("fs/read_write.c:637 in ksys_write")
_BODIES = (
    b" ksys_write+0x6b/0xf0",
    b" ? ksys_write+0x6b/0xf0 [a_module 0123456789abcdef]",
    b"pc : \xff ksys_write+0x6b/0xf0",
    b" [<ffffffff81000000>] ksys_write+0x6b/0xf0",
    b"RIP: 0010:0xffffffff81000000",
    b" ksys_write+0x6b/0xf0 (fs/read_write.c:637)",
)


@pytest.mark.parametrize("body", _BODIES)
@pytest.mark.parametrize("missing", [None, *Missing])
def test_every_answer_fits(body: bytes, missing: Missing | None) -> None:
    line = LogLine(1, body, b"\n")
    frames = find_frames(line)
    assert frames
    candidates = (_FILE, ()) if missing is Missing.AMBIGUOUS else ()
    answers = [
        Resolution(frame, (), None)
        if frame.annotated
        else Resolution(frame, () if missing else _FILE, missing, candidates)
        for frame in frames
    ]
    check(JsonLinesRenderer().render("-", AnnotatedLine(line, answers)))


def test_the_promised_triage_fits() -> None:
    subsystem = {"title": "NETWORKING", "status": "Maintained", "maintainers": [], "lists": [], "why": "F: net/ipv6/"}
    crash = {
        "title": "KASAN: use-after-free in ip6_send_skb",
        "line": 12,
        "frame": "ip6_send_skb",
        "why": "the report names it",
        "file": "net/ipv6/ip6_output.c",
        "location_line": 1748,
        "files": ["net/ipv6/ip6_output.c"],
        "subsystems": [subsystem],
        "signature": "9f3c",
    }
    unknown = {**dict.fromkeys(crash), "title": "Kernel panic", "line": 3}
    summary = {"lines": 1, "frames": 0, "annotated": 0, "missing": {}, "kernels": [], "triage": [crash, unknown]}
    VALIDATOR.validate({"summary": summary})


def _broken() -> list[tuple[str, Any]]:
    frame = json.loads(
        JsonLinesRenderer().render(
            "-",
            AnnotatedLine(
                LogLine(1, _BODIES[0], b"\n"), [Resolution(find_frames(LogLine(1, _BODIES[0], b""))[0], _FILE, None)]
            ),
        )
    )["frames"][0]
    changes: list[tuple[str, dict[str, Any]]] = [
        ("a field that is not named", {"colour": "red"}),
        ("a word that is none", {"missing": "lost", "locations": []}),
        ("neither a location nor a reason", {"locations": []}),
        ("a location and a reason", {"missing": "no-line"}),
        ("candidates of what is not ambiguous", {"candidates": [[], []]}),
        ("a span of one number", {"span": [1]}),
        ("an address as text", {"address": "ffffffff81000000"}),
    ]
    return [(why, {"log": "-", "line": 1, "text": "", "frames": [{**frame, **change}]}) for why, change in changes]


@pytest.mark.parametrize("value", [pytest.param(value, id=why) for why, value in _broken()])
def test_what_is_wrong_does_not_fit(value: Any) -> None:
    with pytest.raises(ValidationError):
        VALIDATOR.validate(value)


def test_words_are_those_of_the_program() -> None:
    assert SCHEMA["$defs"]["missing"]["enum"] == [missing.value for missing in Missing]
    assert SCHEMA["$defs"]["frame"]["properties"]["pc"]["enum"] == [kind.value for kind in PcKind]


def properties() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for definition in SCHEMA["$defs"].values():
        for name, value in definition.get("properties", {}).items():
            found.setdefault(name, []).append(value)
    return found


def documented() -> set[str]:
    """The fields in the tables of the document, but for the words of ``missing``."""
    text = (DOCS / "json.md").read_text()
    tables = re.findall(r"\| field \| \|\n\|---\|---\|\n((?:\|.*\n)+)", text)
    assert len(tables) >= 6
    cells = [row.split(" | ")[0] for table in tables for row in table.splitlines()]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_field_is_described() -> None:
    assert [
        name for name, values in properties().items() if not all(value.get("description") for value in values)
    ] == []


def test_schema_and_document_name_the_same_fields() -> None:
    text = (DOCS / "json.md").read_text()
    assert documented() - set(properties()) == set()
    assert [name for name in properties() if f"`{name}`" not in text and f'"{name}"' not in text] == []
