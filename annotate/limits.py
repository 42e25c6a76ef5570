"""Bounds on what others can make this program do: who writes a log, a debug file, a package, or runs a server.

What something says about itself is checked against its size first; these bound what an intact but hostile one costs.
Each is far above what compilers, kernels and distributions make, and stands here with what they do make.
``docs/security.md`` has them as a table, made from here. The bounds of our own tables are a part of their format and
stand with it, in ``tables/lineinfo_v1/layout.py``.
"""

from __future__ import annotations

# Logs.

#: Bytes of a line; a longer one passes through unread. It bounds what is held back; the longest real line that held
#: frames (a whole /proc/PID/stack on one line) has about 4 000 bytes.
MAX_LINE = 1 << 20

# ELF files and their DWARF.

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

#: Ranges of one list.
MAX_RANGES = 1 << 16

#: Ranges of all lists that are decoded for one unit. Units of a vmlinux have some thousands in all.
MAX_RANGES_OF_UNIT = 1 << 20

# What is compressed.

#: Bytes of a section or a module when decompressed. The largest .debug_info of a distribution's kernel has 0.3 GB.
MAX_DECOMPRESSED = 1 << 31

#: How many times its size deflate can yield; a header that claims more is damaged, and is not believed with memory.
MAX_DEFLATE_RATIO = 1032

#: Bytes that the dictionary of an .xz file may take.
MAX_XZ_MEMORY = 1 << 29

# Packages.

#: Members of a package. Those with the sources of a kernel have 80 000.
MAX_MEMBERS = 1 << 18

#: Bytes of one member. The vmlinux of a distribution has 0.6 GB.
MAX_MEMBER = 1 << 32

#: How many times its size a package may have when it is unpacked; debug info has about 6. Small ones may have 64 MiB.
MAX_EXPANSION = 100

#: Bytes of a name and what describes a member, before its contents.
MAX_DESCRIPTION = 1 << 20

#: Bytes of a tar header that extends another (POSIX pax). Python before 3.11.10, 3.12.6 and 3.13 takes time that grows
#: with their square: 25 s for 200 KB, of which a package has 450 bytes (CVE-2024-6232).
MAX_PAX_HEADER = 1 << 10

#: Bytes of the header of an .rpm, which lists its files.
MAX_RPM_HEADER = 1 << 26

#: Bytes of modules that wait unpacked for the kernel, which teaches a table's codes and comes last in an .rpm. Those
#: that find no room are read in a second pass.
MAX_WAITING = 1 << 31

# Servers.

#: Redirections of one request.
MAX_REDIRECTS = 5

#: Bytes that a server must send within the time of ``DEBUGINFOD_TIMEOUT`` (90 s): debuginfod-client-config(7).
LEAST_PROGRESS = 100 * 1024

# Names of Rust functions.

#: Bytes of a mangled name that is shown demangled; others are shown as they are.
MAX_MANGLED = 4096

#: Calls that demangling one name may take: it may refer back to parts of itself, and so grow without bound. A real one
#: takes a few hundred.
MAX_DEMANGLING = 20_000

# The triage, and what is shown of sources.

#: Steps that are kept of the trace of a report. The longest real one has about 120.
MAX_STEPS = 256

#: Callers whose reports are open at a time.
MAX_OPEN_REPORTS = 64

#: Crashes that are kept of a run; of the others only the number is known.
MAX_CRASHES = 1000

#: Repeats in an expression of MAINTAINERS. The kernel's has three at most.
MAX_REPEATS = 3

#: Bytes of a source file. The longest of a kernel, headers of registers that are generated, have 25 MB and no code.
MAX_SOURCE = 1 << 23
