"""Options and places that all tests share, and processes for those that take much memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_process import in_own_process

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
    """Run a test that is marked ``own_process`` in one."""
    if pyfuncitem.get_closest_marker("own_process") is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    in_own_process(lambda: pyfuncitem.obj(**arguments))
    return True
