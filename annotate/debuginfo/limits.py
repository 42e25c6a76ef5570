"""Bounds on what a file can make the readers do. Each is far above what compilers write, and stands here with both.

What a file says about itself is checked against the file first; these bound what an intact but hostile file costs.
"""

from __future__ import annotations

#: Section headers. -ffunction-sections modules reach some thousands.
MAX_SECTIONS = 1 << 20

#: Bytes of a section's name, the rest is cut off: without closing NULs each would be all the rest of the table.
MAX_SECTION_NAME = 1024

#: Bytes of one unit of .debug_info. The largest of a Debian vmlinux has 0.6 MB.
MAX_UNIT = 1 << 26

#: Bytes of one abbreviation table. The largest has some 10 KB.
MAX_ABBREVIATIONS = 1 << 20

#: Bytes of one line program, which also bounds its rows, about 70 bytes each in memory. The largest has 0.3 MB.
MAX_LINE_PROGRAM = 1 << 24

#: Entries of .debug_info inside each other; inlined calls inside each other are a part of it. Compilers reach about 40.
MAX_DEPTH = 1000

#: Entries that are followed for one name (DW_AT_abstract_origin and DW_AT_specification); real chains have three.
MAX_REFERENCES = 32

#: Ranges of one list, and of all lists that are decoded for one unit. Units of a vmlinux have some thousands in all.
MAX_RANGES = 1 << 16
MAX_RANGES_OF_UNIT = 1 << 20
