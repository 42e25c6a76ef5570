"""Faults in the tables: ``annotate/tables/``."""

from __future__ import annotations

from mutants.fault import Fault

_V1 = ("test_lineinfo_v1.py", "test_hostile_tables.py")

FAULTS = (
    Fault(
        "a block of a table is used whatever its checksum",
        "tables/lineinfo_v1/file.py",
        "if len(data) != size or zlib.crc32(data) != crc:",
        "if len(data) != size:",
        "a check that is left out while looking for something else",
        ("test_hostile_tables.py",),
    ),
    Fault(
        "tables of later versions are read as this one",
        "tables/lineinfo_v1/file.py",
        "and version != VERSION:",
        "and version < VERSION:",
        "what is new is thought to be compatible",
        ("test_lineinfo_v1.py",),
    ),
    Fault(
        "a table that was cut off is read",
        "tables/lineinfo_v1/file.py",
        "if file_size != size:",
        "if file_size < size:",
        "< for !=",
        _V1,
    ),
    Fault(
        "signed numbers of a stream lose a bit",
        "tables/lineinfo_v1/stream.py",
        "return value - (2 << shift + 6 if byte & 0x40 else 0)",
        "return value - (1 << shift + 6 if byte & 0x40 else 0)",
        "the sign is the bit that is taken away twice",
        _V1,
    ),
    Fault(
        "a stretch begins a byte late",
        "tables/lineinfo_v1/stream.py",
        "distance, rank, more = codes[code]\n                    left -= distance\n                    if left < 0:",
        "distance, rank, more = codes[code]\n                    left -= distance\n                    if left <= 0:",
        "off by one",
        _V1,
    ),
    Fault(
        "the most recent call is the first of the list",
        "tables/lineinfo_v1/stream.py",
        "slot = recent[~_read_uleb(data)]",
        "slot = recent[_read_uleb(data)]",
        "a list read from the wrong end",
        _V1,
    ),
    Fault(
        "the end of a block is counted in bytes, not in instructions",
        "tables/lineinfo_v1/image.py",
        "(addresses[number + 1] << head.shift) if number + 1",
        "addresses[number + 1] if number + 1",
        "on x86 a unit is a byte",
        _V1,
    ),
    Fault(
        "the first address of a block is in the block before",
        "tables/lineinfo_v1/image.py",
        "number = bisect_right(self._block_addresses, address - head.first >> head.shift) - 1",
        "number = bisect_right(self._block_addresses, (address - head.first >> head.shift) - 1) - 1",
        "off by one at the boundary of two blocks",
        _V1,
    ),
    Fault(
        "a symbol contains its end",
        "tables/lineinfo_v1/image.py",
        "symbol is not None and address < symbol.end else None",
        "symbol is not None and address <= symbol.end else None",
        "off by one",
        _V1,
    ),
    Fault(
        "a path of the second block of paths is looked for in the first",
        "tables/lineinfo_v1/image.py",
        "start = self._starts[2] + self._path_index[2 * number]",
        "start = self._starts[2] + self._path_index[0]",
        "small tables have one block of paths",
        ("test_lineinfo_v1.py", "test_lineinfo_v1_kept.py", "test_build.py"),
    ),
    Fault(
        "an old name is written as one before it",
        "tables/encode.py",
        "distance = len(numbers) - number",
        "distance = len(numbers) - number - 1",
        "off by one: the newest is one back, not none",
        ("test_lineinfo_v1.py", "test_build.py"),
    ),
    Fault(
        "a column is a byte too narrow for its largest number",
        "tables/encode.py",
        "(max(values, default=0).bit_length() + 7) // 8",
        "max(values, default=0).bit_length() // 8",
        "rounding down what should be rounded up",
        ("test_lineinfo_v1.py", "test_build.py"),
    ),
    Fault(
        "of two kernel rows at one address the first counts",
        "tables/kernel_rows.py",
        "if offset < offsets[-1]:\n                return",
        "if offset <= offsets[-1]:\n                return",
        "off by one in what is left out",
        ("test_kernel_tables.py", "test_kernel_embed.py", "test_kernel_emit.py"),
    ),
)
