"""Bencher Metric Format: {benchmark: {measure: {value, lower_value, upper_value}}}, for `bencher run --adapter json`.

`latency` is in nanoseconds, as Bencher has it: the median with its 95 % interval. Measures of our own, by slug: `peak-memory`,
`call-memory` (what the call took over its baseline), `saved-memory` (bytes), `energy` (J). The format has no word for a cell without a
time, and the memory of such a cell is left out with it: a measure that comes and goes would start a history of its own.
Its documentation: bencher.dev, reference, "Bencher Metric Format (BMF)".
"""

from __future__ import annotations

from fabench.export.base import Bundle, document, point
from fabench.schema import Record, Timing

__all__ = ["SAYS_ENDINGS", "write"]

SAYS_ENDINGS = False
_NS = 1e9


def write(bundle: Bundle) -> bytes:
    """One benchmark per cell with a time."""
    return document({record.cell.id: _measures(record, timing) for record, timing in bundle.measured})


def _measures(record: Record, timing: Timing) -> dict[str, dict[str, float]]:
    middle = point(timing)
    latency = {"value": middle.median_s * _NS}
    if middle.low_s is not None and middle.high_s is not None:
        latency |= {"lower_value": middle.low_s * _NS, "upper_value": middle.high_s * _NS}
    memory, telemetry = record.memory, record.telemetry
    plain = {
        "peak-memory": None if memory is None else memory.peak_bytes,
        "call-memory": None if memory is None else memory.delta_bytes,
        "saved-memory": None if memory is None else memory.saved_bytes,
        "energy": None if telemetry is None else telemetry.energy_j,
    }
    return {"latency": latency} | {name: {"value": value} for name, value in plain.items() if value is not None}
