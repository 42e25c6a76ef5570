"""Insert ``(file:line)`` behind every frame of a Linux kernel log.

The command line lives in ``annotate.cli``; ``annotate.annotator`` is the file to read first.
"""

__version__ = "0.1.0.dev0"
