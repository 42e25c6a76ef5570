"""The front doors: options, streams and exit statuses. They wire the world to the idea and decide nothing themselves.

    annotate.py  lineinfo-annotate, the filter
    lineinfo.py  lineinfo, the tables
    streams.py   reading logs and writing output, live and in bulk

A new command goes into ``lineinfo.py``, a new option of the filter into ``annotate.py``.
"""
