"""What takes hundreds of MB runs in a child: malloc keeps much of what was freed, and the session would hold it."""

from __future__ import annotations

import multiprocessing
import traceback
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

T = TypeVar("T")


def in_own_process(function: Callable[[], T]) -> T:
    """What a function returns in a forked child; it skips or fails the test as it would here."""
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(function, writer))
    child.start()
    writer.close()
    try:
        outcome, value = reader.recv()
    except EOFError:
        outcome, value = "failed", "its process ended before the test did"
    reader.close()
    child.join()
    if outcome == "skipped":
        pytest.skip(value)
    if outcome == "failed":
        pytest.fail(value, pytrace=False)
    returned: T = value
    return returned


def _run(function: Callable[[], object], writer: Connection[tuple[str, object], None]) -> None:
    try:
        writer.send(("returned", function()))
    except pytest.skip.Exception as skipped:
        writer.send(("skipped", str(skipped)))
    except BaseException:  # noqa: BLE001  # the session is told, and goes on
        writer.send(("failed", traceback.format_exc()))
