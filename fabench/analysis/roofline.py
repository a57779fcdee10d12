"""The roofline: what each cell made of the device's measured peaks (Williams, Waterman and Patterson 2009).

Bytes are the least traffic of the case (each input read once, each output written once), so "effective" bytes per second understate
what a kernel really moved, never overstate it. FLOPs are those that torch counted, or the predicted ones where it counted none
(kernels that its counter can't see). Across different algorithms compare time, never FLOP/s.

What is impossible (`physics`) has no time in the frame; here alone its rates are shown, and marked. Tensors that stay in a hot cache
can be faster than memory: a note says so. Peaks are the measured ones, or the data sheet's where none was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fabench.analysis.frame import IMPOSSIBLE
from fabench.analysis.physics import TOLERANCE, Facts, facts_of
from fabench.schema import Environment

__all__ = ["RooflinePoint", "roofline"]

_COLUMNS = (
    "cell_id", "implementation", "setting", "device", "family", "function", "dtype", "scope", "n", "status", "reason", "time_s",
    "impossible_s", "cache", "flop", "predicted_flop", "compulsory_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """One cell. `flop_source` is "counted" or "predicted". `intensity` in FLOP per byte.

    `copy_share`, `product_share`: of the peaks, None where those are not known. `bound` is what the roofline says limits this
    intensity: "bandwidth" or "compute". `impossible`: its time can't be, `note` says why.
    """

    cell_id: str
    implementation: str
    setting: str
    device: str
    family: str | None
    function: str | None
    dtype: str
    n: int
    bytes_per_s: float
    flop_per_s: float
    flop_source: str
    intensity: float
    copy_share: float | None
    product_share: float | None
    bound: str | None
    impossible: bool
    note: str


def roofline(frame: pd.DataFrame, environment: Environment) -> list[RooflinePoint]:
    """A point for each cell with a time, possible or not, and a known cost."""
    columns: dict[str, list[Any]] = {name: frame[name].tolist() for name in _COLUMNS}
    facts = {device: facts_of([environment], device) for device in set(columns["device"])}
    found = []
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(_COLUMNS, values, strict=True))
        time_s = row["time_s"] if row["time_s"] > 0 else row["impossible_s"]
        if time_s > 0 and math.isfinite(time_s) and row["compulsory_bytes"] > 0:
            found.append(_point(row, time_s, facts[row["device"]]))
    return found


def _point(row: dict[str, Any], time_s: float, facts: Facts) -> RooflinePoint:
    counted = math.isfinite(row["flop"]) and row["flop"] > 0
    flop, traffic = row["flop"] if counted else row["predicted_flop"], row["compulsory_bytes"]
    product, copy = facts.product(row["dtype"], row["scope"]), facts.copy
    bound = None
    if copy is not None and product is not None:
        bound = "bandwidth" if flop / traffic < product.per_s / copy.per_s else "compute"
    copy_share = None if copy is None else traffic / time_s / copy.per_s
    impossible = not row["time_s"] > 0
    note = str(row["reason"]).removeprefix(f"{IMPOSSIBLE}: ") if impossible else ""
    if not impossible and copy is not None and copy_share is not None and copy_share > TOLERANCE:
        note = f"{copy_share:.0%} of {copy.source} copy bandwidth" + (", from a hot cache" if row["cache"] == "hot" else "")
    return RooflinePoint(
        row["cell_id"], row["implementation"], row["setting"], row["device"], row["family"], row["function"], row["dtype"], row["n"],
        bytes_per_s=traffic / time_s, flop_per_s=flop / time_s, flop_source="counted" if counted else "predicted",
        intensity=flop / traffic, copy_share=copy_share, product_share=None if product is None else flop / time_s / product.per_s,
        bound=bound, impossible=impossible, note=note,
    )  # fmt: skip
