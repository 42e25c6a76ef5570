"""The spellings of a frame: one row each, in the order in which they are tried.

A row is a context: what stands before the frame, which says what the address means. To add one, put it beside its
relatives: into the file of the architecture that prints it, or into ``contexts.py`` if every one does. The fields are
described at ``annotate.model.FrameFormat``; the row's example is a test, and docs/log-formats.md is made of all rows.
"""

from annotate.log.formats.arm import ARM
from annotate.log.formats.contexts import CONTEXTS
from annotate.log.formats.mips import MIPS
from annotate.log.formats.others import OTHERS
from annotate.log.formats.powerpc import POWERPC
from annotate.log.formats.x86 import X86

#: The first row that matches decides; the last is the entry of a trace, which many others look like.
FRAME_FORMATS = (*X86, *ARM, *MIPS, *POWERPC, *OTHERS, *CONTEXTS)

__all__ = ["FRAME_FORMATS"]
