"""github-action-benchmark, tool `customSmallerIsBetter`: a list of name, unit, value, range and extra.

Its own pytest reader judges by the mean; here the value is the median. The unit is always ms: the action compares numbers without
looking at units, so one that followed the size would alarm by itself. It has no word for a cell without a time.
Its documentation: the README of benchmark-action/github-action-benchmark.
"""

from __future__ import annotations

from typing import Any

from fabench.export.base import Bundle, document, point
from fabench.schema import Record, Timing

__all__ = ["SAYS_ENDINGS", "write"]

SAYS_ENDINGS = False
_MS = 1e3


def write(bundle: Bundle) -> bytes:
    """One entry per cell with a time."""
    return document([_entry(record, timing, bundle) for record, timing in bundle.measured])


def _entry(record: Record, timing: Timing, bundle: Bundle) -> dict[str, Any]:
    middle = point(timing)
    entry: dict[str, Any] = {"name": record.cell.id, "unit": "ms", "value": middle.median_s * _MS}
    if middle.low_s is not None and middle.high_s is not None:
        entry["range"] = f"{middle.low_s * _MS:.4g} .. {middle.high_s * _MS:.4g}"
    entry["extra"] = "\n".join(f"{name}: {value}" for name, value in bundle.facts(record).items())
    return entry
