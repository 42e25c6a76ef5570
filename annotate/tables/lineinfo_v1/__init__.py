r"""Tables of our own, version 1: a kernel and its modules in one file. This text is the format's specification.

All numbers are little-endian; u16, u32 and u64 are unsigned. ULEB and SLEB are LEB128 numbers (DWARF 5 section 7.6)
of at most ten bytes. CRCs are CRC-32 as zlib has it. "Packed" is a ULEB with the size of the data, then the data as a
raw deflate stream (RFC 1951). A *column* of n numbers is one byte w, from 1 to 8, and w times n bytes: the lowest
byte of each, then the second byte of each, and so on.

File::

    0   8 bytes  93 4c 4e 49 4e 46 4f 0a ("\x93LNINFO\n")
    8   u16      byte order mark: feff
    10  u16      version: 1
    12  u32      number of images
    16  u64      size of the file
    24  u64      where the directory is
    32  u32      size of the directory
    36  u32      CRC of the directory
    40  u32      size of the strings in the directory
    44  u32      CRC of the 44 bytes before

The directory holds a record for each image, in the order of kind, name and build id; the strings, each ended by a
NUL; and the codes: a ULEB with their number, then for each the distance (ULEB), the rank (ULEB) and the lines (SLEB)
that its byte stands for in a stream. Names of files and functions are bytes, UTF-8 as a rule. A record::

    0   u64      where the image is
    8   u32      size of the image
    12  u32      size of its head
    16  u32      CRC of its head
    20  u32      its name, from the start of the strings; empty for the kernel itself
    24  u8       kind: 0 a kernel, 1 a module, 2 the text of a MAINTAINERS file (packed, all of it head)
    25  u8       size of the build id, 0 when it has none
    26  22 bytes the build id, then zeros

The head of an image is these ULEBs: flags (1: chains of inlined calls, else only innermost locations; 2: symbols were
left out); shift: all distances of code below are in units of ``1 << shift`` bytes; first address; end of the code;
numbers of entries, symbols, stretches with a line, inlined functions, paths, blocks, blocks of names, blocks of
paths; sizes of the blocks, the blocks of names, those of paths, the fingerprints, the fingerprints of data; CRCs of
the fingerprints of both kinds; inlined functions a block, paths a block; release, architecture, source (from the
start of the strings); the number of sections of code, and for each its name (from the start of the strings), its
address (from the first address, an SLEB) and its size. Then the indexes: for each block four u32, the distance of its
first address from the image's, where it begins in the blocks, its CRC, the number of symbols before it; for each
block of names and each of paths two u32, where it begins and its CRC. Behind the head follow, one behind the other:
blocks, blocks of names, blocks of paths, fingerprints, fingerprints of data.

An *entry* is an address at which symbols of code begin, and the code up to the next entry or the end of the code. An
entry without a symbol is code that no symbol names. A *block* is packed: ULEBs with the number of its entries and of
the inlined functions that were met before it; a ULEB with the size of the text, and the text: the symbols of each
entry, the one that kallsyms would choose first, separated by NULs, and the entries by line feeds; columns with the
distance of each entry from the one before (0 for the first), the sizes of the streams, files (numbers of paths),
lines, numbers of inlined functions that are met for the first time; a ULEB with the size of the extras, and the
extras; the streams.

The kernel prints behind the slash the distance to the next symbol, which is the distance to the next entry. Where it
is not, or may be another, there is an extra. Extras are of ULEBs: index of the entry in the block, kind, and for kind
0 (sizes): index of the symbol in the entry, its ELF size, whether nothing follows it in its section (1), number of
sizes, sizes; for kind 1 (direct calls of functions whose name others have too): number of calls, for each the return
address's distance in bytes from the entry, and an SLEB with the call's target from the image's first address.

A *stream* says for each byte of its entry which line it is of and through which inlined calls. It is a series of
tokens, each of which begins a stretch of code at a distance from the one before, or from the entry. What comes before
the first token has no line. The reader keeps the calls met so far in this entry, most recent first; at the start that
is the entry's function alone, with the entry's file and line. A call is of an inlined function (which has a file and
a usual first line) and knows in which call it is, from where it was called, and its own last line. A token of a call
makes it the most recent. Its *rank* is its place in the list, 0 for the most recent. The byte a token begins with:

    0 to 239  one of the codes: distance, rank, and what is to be added to the call's last line
    240       the most recent call: distance (ULEB), lines to add (SLEB)
    241       distance, rank (ULEBs), lines to add (SLEB)
    242       a new call inside the most recent one: distance (ULEB), name (ULEB), call line, line (SLEBs)
    243       new calls, each inside the one before: distance, rank of the call that the first is in, number of calls
              less 1 (ULEBs); for each name (ULEB), call line (SLEB); line (SLEB)
    244       as 243, with the file of the call behind each name (ULEB): 0 that of what it is called in, else a path + 1
    245       in another file than the call's: distance, rank, path, line (ULEBs). The call's last line stays as it is
    246       no line: distance (ULEB)

A *name* is 0 for the inlined function that is the next to be met for the first time, 2 * number + 1, or 2 * how many
were met from it on (2 for the newest). The call line of the first new call is from the last line of what it is in,
the others' are from the usual first line of what they are in, which becomes that one's last line; the line of the
stretch is from the usual first line of the innermost. New calls come to the front of the list in their order, the
innermost ends up first.

Without chains a "call" is a file: its name is empty, what it is in means nothing, and its call line is 0.

A block of names is packed: the names, separated by line feeds, a column of files, a column of usual first lines. A
block of paths is packed: the paths, separated by line feeds. Fingerprints: for each symbol of code, in the order of
the blocks, the low 16 bits of the CRC of its name (u16), so the blocks that may have a name are found without reading
them. Fingerprints of data, of symbols that are no code: a ULEB b, 2^b + 1 u32, and u16s. The CRCs of the names are
sorted; the top b bits of one choose the bucket, from the u32 of that number to the next, and the low 16 bits stand in
it.

Example, the body of a stream, with code 0 = (4, 0, 1) and code 1 = (3, 1, 0), of a function in file 7 at line 100,
where inlined function 5 is the next new one and has the usual first line 20::

    f0 00 00         240: from the entry on, the function itself, line 100
    00               code 0: from 4 on, line 101
    f2 02 00 00 01   242: from 6 on, function 5, called at line 101 + 0, at line 20 + 1
    01               code 1: from 9 on, back in the function, line 101

A MAINTAINERS text is lines, ended by line feeds: of each entry its title, and of its tags those that say who looks
after which files (M, R, L, S, T, F, X, N, K), as they stand in the kernel's file.

Bounds, so that a hostile file costs no more than an honest one: what is packed has at most 1 MiB (a MAINTAINERS text
16 MiB), an entry at most 16384 calls, shift is at most 4, and blocks follow each other in their index.

The format is frozen with its first release: a change makes a new version, in a folder of its own.
"""

from __future__ import annotations

from annotate.tables.lineinfo_v1.file import TableFile
from annotate.tables.lineinfo_v1.image import TableImage
from annotate.tables.lineinfo_v1.layout import KERNEL, MAGIC, MAINTAINERS, MODULE, VERSION, Head, Record

__all__ = ["KERNEL", "MAGIC", "MAINTAINERS", "MODULE", "VERSION", "Head", "Record", "TableFile", "TableImage"]
