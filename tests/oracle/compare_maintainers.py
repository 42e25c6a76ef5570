"""Compare who we say looks after the files of a kernel with what the kernel's own scripts/get_maintainer.pl says.

    python tests/oracle/compare_maintainers.py TREE [--files N] [--seed N] [--jobs N]

TREE is a kernel's source tree, whose files may be empty. Each file is asked about twice: once for the very lines of
the entries, in their order, and once for people, lists, trees and statuses as the tool spells them. It is told to use
no git and no .mailmap, and to leave nothing out. Four rules of its own are known:

- Entries that rank alike come in the order of a perl hash, another in each run. Where the order differs from ours, the
  tool is asked up to ``_ORDERS`` times more: a pair that it has in both orders is a tie.
- It reads the people that a devicetree binding (.yaml) names in its text. They are no matter of its path.
- Where a list has a name in front of its address (``L: Name <address>``), it prints neither.
- Linus Torvalds ("chief penguin") is never written to as a person, only named in the entries.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from annotate.maintainers import read_maintainers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.maintainers import Maintainers
    from annotate.model import Subsystem

TOOL = "scripts/get_maintainer.pl"

_OPTIONS = ("--no-git", "--no-git-fallback", "--no-git-blame", "--no-mailmap", "--no-remove-duplicates", "--s")
_SEPARATOR = "|"
_IN_FILE = " (in file)"
_CHIEF_PENGUIN = "torvalds@linux-foundation.org"

#: One tie in two thousand shows the other order alone in so many runs and the first: a difference then that is none.
_ORDERS = 10

_ADDRESS = re.compile(r'(?:"?(?P<name>[^<>"]*?)"? *)<(?P<mail>[^<>\s]+)>|(?P<bare>\S+@\S+)')


class Person(NamedTuple):
    """Someone or some list to write to; lists have no name."""

    name: str
    mail: str


class Entry(NamedTuple):
    """The lines of an entry that are compared, by tag, as they stand in MAINTAINERS."""

    title: str
    values: tuple[tuple[str, tuple[str, ...]], ...]


class Answer(NamedTuple):
    """What is said of one file."""

    entries: list[Entry]
    people: set[Person]
    trees: set[str]
    statuses: set[str]
    titles: set[str]


_TAGS = "SMRLT"


def ask_tool(tree: Path, path: str) -> Answer:
    """What get_maintainer.pl says of a file."""
    people, trees, statuses, titles = _run(
        tree, path, "--scm", "--status", "--subsystem", "--roles", "--separator", _SEPARATOR
    ).splitlines()
    return Answer(
        _ask_entries(tree, path),
        {_person(each) for each in people.split(_SEPARATOR) if not each.endswith(_IN_FILE) and each[0] != " "},
        *(set(line.split(_SEPARATOR)) for line in (trees, statuses, titles)),
    )


def _ask_entries(tree: Path, path: str) -> list[Entry]:
    entries = []
    for text in _run(tree, path, f"--letters={_TAGS}").strip().split("\n\n"):
        title, *lines = text.split("\n")
        entries.append(Entry(title, tuple((tag, _values(lines, tag)) for tag in _TAGS)))
    return entries


def _values(lines: Sequence[str], tag: str) -> tuple[str, ...]:
    return tuple(line[2:].strip() for line in lines if line.startswith(f"{tag}:"))


def _run(tree: Path, path: str, *options: str) -> str:
    command = ("perl", TOOL, *_OPTIONS, *options, "-f", path)
    return subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True).stdout


def _person(text: str) -> Person:
    match = _ADDRESS.match(text)
    if match is None:
        return Person("", text)
    return Person(match["name"] or "", match["mail"] or match["bare"])


def our_answer(subsystems: Sequence[Subsystem]) -> Answer:
    """What we say of a file, in the same words."""
    entries = [
        Entry(
            each.title,
            tuple(
                zip(
                    _TAGS,
                    (_statuses(each), each.maintainers, each.reviewers, each.lists, each.trees),
                    strict=True,
                )
            ),
        )
        for each in subsystems
    ]
    people = {_person(who) for each in subsystems for who in (*each.maintainers, *each.reviewers)}
    people |= {_person(each) for subsystem in subsystems for each in subsystem.lists if "@" in each.split()[0]}
    return Answer(
        entries,
        {person for person in people if person.mail != _CHIEF_PENGUIN},
        {tree for each in subsystems for tree in each.trees},
        {status for each in subsystems for status in _statuses(each)},
        {each.title for each in subsystems},
    )


def _statuses(subsystem: Subsystem) -> tuple[str, ...]:
    return tuple(subsystem.status.split(", ")) if subsystem.status else ()


def differences(tree: Path, maintainers: Maintainers, path: str) -> list[str]:
    """Where the answers for a file differ, a sentence each; none where they agree."""
    theirs = ask_tool(tree, path)
    ours = our_answer(maintainers.subsystems_of(path))
    found = []
    for what in ("people", "trees", "statuses", "titles"):
        we, they = getattr(ours, what), getattr(theirs, what)
        if we != they:
            found.append(f"{path}: {what}: only ours {sorted(we - they)}, only the tool's {sorted(they - we)}")
    if sorted(ours.entries) != sorted(theirs.entries):
        both = (*ours.entries, *theirs.entries)
        apart = [each for each in both if (each in ours.entries) != (each in theirs.entries)]
        found.append(f"{path}: entries that one of both has: {apart}")
    elif ours.entries != theirs.entries:
        found += [f"{path}: order: the tool has {b!r} before {a!r}" for a, b in _out_of_order(tree, path, ours, theirs)]
    return found


def _out_of_order(tree: Path, path: str, ours: Answer, theirs: Answer) -> list[tuple[str, str]]:
    """The pairs of titles, in our order, that the tool has never in that order."""
    order = [entry.title for entry in theirs.entries]
    pairs = list(combinations([entry.title for entry in ours.entries], 2))
    for _ in range(_ORDERS):
        pairs = [(a, b) for a, b in pairs if order.index(b) < order.index(a)]
        if not pairs:
            break
        order = [entry.title for entry in _ask_entries(tree, path)]
    return [(a, b) for a, b in pairs if order.index(b) < order.index(a)]


def draw_files(tree: Path, count: int, seed: int) -> list[str]:
    """Some files of a tree, by their paths in it; the same for the same seed."""
    paths = sorted(
        os.path.relpath(os.path.join(parent, name), tree) for parent, _, names in os.walk(tree) for name in names
    )
    return random.Random(seed).sample(paths, min(count, len(paths)))


def compare(tree: Path, paths: Sequence[str], jobs: int) -> list[list[str]]:
    """The differences of each file."""
    maintainers = read_maintainers((tree / "MAINTAINERS").read_bytes(), str(tree / "MAINTAINERS"))
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda path: differences(tree, maintainers, path), paths))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; the status is 1 when anything differs."""
    parser = argparse.ArgumentParser(description="Compare who looks after files with get_maintainer.pl.")
    parser.add_argument("tree", type=Path, metavar="TREE", help="a kernel's source tree")
    parser.add_argument("--files", type=int, default=2000, metavar="N", help="how many are drawn; default: 2000")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs of the tool at once; default: 2")
    options = parser.parse_args(arguments)
    results = compare(options.tree, draw_files(options.tree, options.files, options.seed), options.jobs)
    wrong = [sentence for result in results for sentence in result]
    equal = sum(not result for result in results)
    sys.stdout.write("".join(f"{sentence}\n" for sentence in wrong))
    sys.stdout.write(f"{equal} of {len(results)} files equal, {len(results) - equal} differ\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
