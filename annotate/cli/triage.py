"""What ``--triage`` needs of the world: the lists of plumbing, and a MAINTAINERS file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from annotate.errors import UnreadableFileError
from annotate.triage.plumbing import Plumbing
from annotate.triage.triager import Triager

if TYPE_CHECKING:
    import argparse

#: The list that comes with this package.
_OWN_LIST = os.path.join(os.path.dirname(os.path.dirname(__file__)), "triage", "plumbing.txt")


def make_triager(options: argparse.Namespace) -> Triager:
    """The triager that the options ask for. Raises AnnotateError for a list that cannot be used."""
    plumbing = Plumbing()
    for path in (_OWN_LIST, *options.plumbing):
        plumbing.add(_content(path), path)
    return Triager(plumbing)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UnreadableFileError(path, f"cannot be read: {error.strerror or error}") from error
