"""hyperfine's --export-json: results with command, mean, stddev, median, user, system, min, max, times, exit_codes, parameters.

`command` is the cell's id, a `time` is a sample: seconds per call. `user` and `system` are null: the split is not known per call.
`parameters` are texts, as hyperfine's own. The format has no word for a cell without a time (hyperfine itself stops at a failure).
Its documentation: the README of sharkdp/hyperfine, and the files that it writes.
"""

from __future__ import annotations

import statistics
from typing import Any

from fabench.export.base import Bundle, document, parameters
from fabench.median import median
from fabench.schema import Record, Timing

__all__ = ["SAYS_ENDINGS", "write"]

SAYS_ENDINGS = False


def write(bundle: Bundle) -> bytes:
    """One result per cell with a time."""
    return document({"results": [_result(record, timing) for record, timing in bundle.measured]})


def _result(record: Record, timing: Timing) -> dict[str, Any]:
    times = timing.samples_s
    return {
        "command": record.cell.id,
        "mean": statistics.fmean(times),
        "stddev": statistics.stdev(times) if len(times) > 1 else None,
        "median": median(times),
        "user": None,
        "system": None,
        "min": min(times),
        "max": max(times),
        "times": list(times),
        "exit_codes": [0] * len(times),
        "parameters": {name: str(value) for name, value in parameters(record.cell).items()},
    }
