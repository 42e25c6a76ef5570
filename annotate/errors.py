"""Everything that this package raises on purpose.

    AnnotateError
    +-- UnreadableFileError     the file system said no: missing, permission, is a directory
    +-- ChangedFileError        it was written to, or cut off, while it was in use
    +-- UnrecognisedFileError   readable, but none of the formats that were expected
    +-- UnsupportedFileError    the right format, with a feature that is not handled
    +-- DamagedFileError        the right format, but what it says about itself cannot be true
    +-- NoDebugInfoError        an intact ELF file without line information
    +-- DownloadError           a server did not send a file, or sent one that cannot be used
        +-- ServerSilentError           it cannot be reached, or is too slow
        +-- InterruptedDownloadError    it broke off

A damaged *file* raises; a *log* never does. A question without an answer (no such symbol, no line at an
address) is not an error either: it is a ``Missing`` value, see ``annotate.model``.

Each message is one sentence that names the file, what was expected and what was found. Part of it may be a damaged
file's own words (the name of a section, of a member): what does not print is written out.
"""

from __future__ import annotations


class AnnotateError(Exception):
    """Root of all errors below; ``str()`` of it is a sentence for a user."""

    def __init__(self, source: str, problem: str) -> None:
        problem = _printable(problem)
        super().__init__(f"{_printable(source)}: {problem}")
        self.source = source
        self.problem = problem

    def __reduce__(self) -> tuple[object, ...]:
        """How it is sent to another process: ``args`` are not what ``__init__`` takes."""
        return _again, (type(self), self.args, self.__dict__)


def _printable(text: str) -> str:
    r"""The text with ``\x1b`` and the like for what could steer a terminal or end the line."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def _again(kind: type[AnnotateError], arguments: tuple[object, ...], state: dict[str, object]) -> AnnotateError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class UnreadableFileError(AnnotateError):
    """The operating system refused to open or read ``source``."""


class ChangedFileError(AnnotateError):
    """``source`` is no longer the file that was opened: what was read of it before holds, no more is read."""


class UnrecognisedFileError(AnnotateError):
    """``source`` holds something else than a file of the expected kinds."""


class UnsupportedFileError(AnnotateError):
    """``source`` is of a known kind but uses a feature that is not handled."""


class NoDebugInfoError(AnnotateError):
    """``source`` is an intact ELF file that carries no line information."""


class DownloadError(AnnotateError):
    """The server at URL ``source`` did not send the file that was asked for.

    ``status`` is its HTTP answer, 0 where there was none or where it is not the point.
    """

    def __init__(self, source: str, problem: str, *, status: int = 0) -> None:
        super().__init__(source, problem)
        self.status = status


class ServerSilentError(DownloadError):
    """The server cannot be reached or did not answer in time: it is not worth asking again for now."""


class InterruptedDownloadError(DownloadError):
    """The transfer broke off, or the server was out of order: the same question may be answered the next time."""


class DamagedFileError(AnnotateError):
    """``source`` contradicts itself or ends too early.

    ``section`` and ``offset`` (bytes from the start of that section, or of the file where ``section`` is
    empty) say where.
    """

    def __init__(self, source: str, section: str, offset: int, expected: str, found: str) -> None:
        place = f"{section}+{offset:#x}" if section else f"offset {offset:#x}"
        super().__init__(source, f"damaged at {place}: expected {expected}, found {found}")
        self.section = section
        self.offset = offset
        self.expected = expected
        self.found = found
