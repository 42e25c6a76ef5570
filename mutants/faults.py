"""All faults, in the order of the rooms."""

from __future__ import annotations

from mutants import debuginfo, kernel, log, output, resolve, tables

FAULTS = (*log.FAULTS, *resolve.FAULTS, *debuginfo.FAULTS, *tables.FAULTS, *kernel.FAULTS, *output.FAULTS)
