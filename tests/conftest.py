"""Options and places that all tests share, and processes for those that take much memory."""

from __future__ import annotations

import multiprocessing
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SAMPLES = Path(__file__).parent.parent / "sample_oopses"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the expected outputs anew instead of comparing with them; say in the commit why they changed",
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is marked ``own_process`` in a child: what it took and freed would else stay with the session."""
    if pyfuncitem.get_closest_marker("own_process") is None:
        return None
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=_run_in_child, args=(pyfuncitem, writer))
    child.start()
    writer.close()
    try:
        outcome, text = reader.recv()
    except EOFError:
        outcome, text = "failed", "its process ended before the test did"
    child.join()
    if outcome == "skipped":
        pytest.skip(text)
    if outcome == "failed":
        pytest.fail(text, pytrace=False)
    return True


def _run_in_child(item: pytest.Function, writer: Connection[tuple[str, str], None]) -> None:
    names = item._fixtureinfo.argnames
    try:
        item.obj(**{name: item.funcargs[name] for name in names})
    except pytest.skip.Exception as skipped:
        writer.send(("skipped", str(skipped)))
    except BaseException:  # noqa: BLE001  # the session is told, and goes on
        writer.send(("failed", traceback.format_exc()))
    else:
        writer.send(("passed", ""))
