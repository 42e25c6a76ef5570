"""One target under libFuzzer (atheris), in a process of its own.

    python -m fuzz.engine TARGET FAILURES FLAG...

A case may take ``SECONDS`` and ``MEGABYTES``; libFuzzer ends the process of one that takes more. One that breaks its
invariant is kept, once for each place where one broke, and fuzzing goes on.
"""
# ruff: noqa: PLC0415 (atheris is not there everywhere, and what is to be watched must be imported under it)

from __future__ import annotations

import hashlib
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fuzz.cases import ADDRESS_SPACE, Failure, failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECONDS: Final = 10
MEGABYTES: Final = 1024


class Keeper:
    """Runs inputs and writes those that fail into a folder, one for each place."""

    def __init__(self, check: Callable[[bytes], None], folder: Path) -> None:
        self._check = check
        self._folder = folder
        self._seen: set[tuple[str, str]] = set()

    def __call__(self, data: bytes) -> None:
        """Check an input; nothing but the limits ends the process."""
        try:
            self._check(data)
        except Exception as error:  # noqa: BLE001  # every exception is what this looks for
            failure = failure_of(error)
            if failure.key not in self._seen:
                self._seen.add(failure.key)
                self._keep(data, failure)

    def _keep(self, data: bytes, failure: Failure) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        stem = self._folder / f"fails-{hashlib.sha256(data).hexdigest()[:16]}"
        stem.write_bytes(data)
        stem.with_suffix(".txt").write_text(f"{failure.kind} {failure.place}\n\n{failure.text}")


def main(arguments: Sequence[str]) -> None:
    """Fuzz until libFuzzer has enough."""
    name, failures, *flags = arguments
    import atheris

    with atheris.instrument_imports(include=["annotate"]):
        from fuzz.targets import load

        target = load(name)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    atheris.Setup([name, *flags], Keeper(target.check, Path(failures)))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
