"""The versions of our tables that are read. Whoever opens a table does it here, and names none of them.

A new version gets a branch in each function, by the number in the file's header. What is made is always the newest:
``encode.py`` and ``writer.py`` import its layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.tables.lineinfo_v1 import KERNEL, MAGIC, MAINTAINERS, MODULE, Record, TableFile, TableImage

if TYPE_CHECKING:
    from annotate.buffer import Buffer

__all__ = ["KERNEL", "MAGIC", "MAINTAINERS", "MODULE", "Record", "TableFile", "TableImage", "open_record", "open_table"]


def open_table(data: Buffer, source: str) -> TableFile:
    """A file of tables of any version; its header and directory are read..

    Raises UnrecognisedFileError, UnsupportedFileError (a version that is not known here), DamagedFileError.
    """
    return TableFile(data, source)


def open_record(file: TableFile, record: Record) -> TableImage:
    """One kernel or module of a file; its head is read. Raises DamagedFileError."""
    return TableImage(file, record)
