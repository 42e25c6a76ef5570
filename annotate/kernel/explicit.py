"""Kernels that a program names file by file: nothing is searched for, asked of servers or kept in a cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from annotate.kernel.images import Images
from annotate.kernel.locate import Locator, SearchPlaces, module_name

if TYPE_CHECKING:
    from collections.abc import Callable


def _ignore(_sentence: str) -> None:
    return


def open_kernel(
    *paths: str | os.PathLike[str], warn: Callable[[str], None] = _ignore, note: Callable[[str], None] = _ignore
) -> Images:
    """The images of a kernel and its modules, to be asked by an ``Annotator``.

    Each path is a table (``lineinfo build``), a vmlinux or a module with debug info or embedded tables, or a folder, in
    which all of these are looked for when they are needed. Files stay mapped as long as the result lives; it may be
    used for any number of logs, by one thread.

    ``warn`` is told, once, when a file is used for the log of another release; a build id that contradicts is never
    used. ``note`` is told what was opened. Raises AnnotateError when a file cannot be used at all; a module is opened
    when it is first asked for, and a damaged one is then a ``Missing`` with the reason as its detail.
    """
    texts = [os.fspath(path) for path in paths]
    modules = [path for path in texts if module_name(path)]
    kernels = [path for path in texts if not module_name(path)]
    images = Images(Locator(SearchPlaces(kernels, modules)), warn, note)
    for error in images.open_explicit():
        raise error
    return images
