"""Pieces of patterns that the rows share. All match visible text: no colours, no escapes, no annotations."""

from __future__ import annotations

from annotate.model import Spelling

#: C and assembler names, with the suffixes that compilers append (.cold, .isra.0, .constprop.0, .llvm.1234).
NAME = rb"[A-Za-z_.$][\w.$]*+"
#: One that is matched backwards, as what stands before a frame is.
NAME_BACK = rb"[\w.$]{1,512}+"
#: Where a name may begin.
NAME_START = rb"(?<![\w.$\\])"
HEX = rb"[0-9a-f]{1,16}+"
#: The bracket of a module, with its build id (CONFIG_STACKTRACE_BUILD_ID).
MODULE = rb"(?: \[(?P<module>[\w-]{1,64}+)(?: (?P<build_id>[0-9a-f]{2,64}+))?+\])?+"
#: The same where the module is another function's.
MODULE_BRACKET = rb"(?: \[[\w-]{1,64}(?: [0-9a-f]{2,64})?\])?"

OLD_ADDRESS = rb"\[<[0-9a-f]{8,16}>\]"
PLAIN_ADDRESS = rb"[0-9a-f]{8,16}"
#: An address that only a kernel has: the top bit is set. Hashed pointers of 64-bit kernels have their upper half zero
#: (ptr_to_id(), lib/vsprintf.c), user space lies in the lower half, on 32-bit machines mostly in the lower two quarters
#: (what lies above finds no symbol). All ones end the old stack traces (ULONG_MAX, struct stack_trace until 5.2).
HIGH = rb"(?!f{8}(?:f{8})?\b)[89a-f][0-9a-f]{7}(?:[0-9a-f]{8})?+(?!\w)"
#: An address of a machine whose kernels may be linked low; the first page is nobody's.
LOW = rb"(?!0{5}(?:0{8})?[0-9a-f]{3}\b)(?:[0-9a-f]{8}){1,2}+(?!\w)"

#: What stands before an entry of a trace: the start of the line, or the end of a logger's prefix.
ENTRY_START = rb"(?:(?:^|[\n\r\]>;|\"'`]|\xe2\x94\x82)[ \t]*+|(?:[:}]|\d:\d\d)[ \t]{2,}+)"
#: The end of a logger's prefix where nothing but a blank follows, for entries that could be nothing else.
PREFIX_END = rb"(?:\bkernel(?:\[\d{1,8}\])?:|:\w{1,7} {1,3}:|\blogin:|[+-]\d\d:?\d\d) "
#: The start of an entry where only a blank makes the difference between an entry and other text.
BLANK_START = (
    rb"(?:(?:^|[\n\r>;|\"'`]|\xe2\x94\x82|\[ {0,8}(?:[TC]\d{1,8}|\d{1,8}:[^\]\s]{1,32})\])[ \t]++"
    rb"|(?:[\]:]|\d:\d\d)[ \t]{2,}+)"
)
#: What makes a line end behind an entry: marks of the unwinder, closing quotes; the next line of a JSON string.
ENTRY_END = rb"(?: ?\((?:[A-Z]{1,8}|unreliable)\))?(?: <[0-9a-f]{8,16}>)?[ \t\r\f\v\"',;}`\\]*+(?:$|\n)"
#: The same for what is no entry in front of more text: in C, a comma or a semicolon follows.
ALONE_END = rb"(?![,;])" + ENTRY_END

#: What follows a label that only a kernel prints: a frame however it is spelled.
LABELLED = (Spelling.SIZED, Spelling.OFFSET, Spelling.ADDRESS)
