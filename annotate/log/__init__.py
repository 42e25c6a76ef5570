"""Logs: bytes in, lines, frames and facts about the kernel out.

    scan.py     chunks of bytes -> lines of interest, and blocks that pass through
    grammar.py  one line -> the frames in it
    context.py  what the lines so far say about their kernel, boot and trace

Nothing here opens a file or knows of one.
"""
