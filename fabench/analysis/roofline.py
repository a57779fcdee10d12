"""The roofline: what each cell made of the device's measured peaks (Williams, Waterman and Patterson 2009).

Bytes are the least traffic of the case (each input read once, each output written once), so "effective" bytes per second understate
what a kernel really moved, never overstate it. FLOPs are those that torch counted, or the predicted ones where it counted none
(kernels that its counter can't see). Across different algorithms compare time, never FLOP/s.

A rate above a peak is impossible, and a sign that something was mistimed. One exception: tensors that fit into the last-level cache
can be faster than memory when the cache is hot; those are not called impossible on account of bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fabench.schema import Environment

__all__ = ["TOLERANCE", "RooflinePoint", "roofline"]

TOLERANCE = 1.05
# Where the environment does not say how large the last-level cache is.
_CACHE_BYTES = 64 * 2**20
_COLUMNS = (
    "cell_id", "implementation", "setting", "device", "family", "function", "dtype", "n", "status", "time_s", "cache", "flop",
    "predicted_flop", "compulsory_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """One cell. `flop_source` is "counted" or "predicted". `intensity` in FLOP per byte.

    `copy_share`, `product_share`: of the measured peaks, None where those are not known. `bound` is what the roofline says limits
    this intensity: "bandwidth" or "compute". `impossible`: above 1.05 of a peak, `note` says which.
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


@dataclass(frozen=True, slots=True)
class _Peaks:
    copy: float | None
    product: dict[str, float]
    cache_bytes: int


def roofline(frame: pd.DataFrame, environment: Environment) -> list[RooflinePoint]:
    """A point for each cell with a time and a known cost."""
    columns: dict[str, list[Any]] = {name: frame[name].tolist() for name in _COLUMNS}
    peaks = {device: _peaks(environment, device) for device in set(columns["device"])}
    found = []
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(_COLUMNS, values, strict=True))
        if row["status"] == "ok" and row["time_s"] > 0 and row["compulsory_bytes"] > 0:
            found.append(_point(row, peaks[row["device"]]))
    return found


def _peaks(environment: Environment, device: str) -> _Peaks:
    """Peaks of a device; "cuda:1" falls back on "cuda"."""
    known = environment.devices.get(device) or environment.devices.get(device.partition(":")[0]) or {}
    measured = known.get("peaks") or {}
    product = {dtype: float(rate) for dtype, rate in (measured.get("flop_per_s") or {}).items() if rate}
    copy = measured.get("copy_bytes_per_s")
    return _Peaks(float(copy) if copy else None, product, int(known.get("last_level_cache_bytes") or _CACHE_BYTES))


def _point(row: dict[str, Any], peaks: _Peaks) -> RooflinePoint:
    counted = math.isfinite(row["flop"]) and row["flop"] > 0
    flop = row["flop"] if counted else row["predicted_flop"]
    time, traffic = row["time_s"], row["compulsory_bytes"]
    peak = peaks.product.get(row["dtype"])
    copy_share = None if peaks.copy is None else traffic / time / peaks.copy
    product_share = None if peak is None else flop / time / peak
    bound = None
    if peaks.copy is not None and peak is not None:
        bound = "bandwidth" if flop / traffic < peak / peaks.copy else "compute"
    impossible, note = _verdict(row, copy_share, product_share, peaks.cache_bytes)
    return RooflinePoint(
        row["cell_id"], row["implementation"], row["setting"], row["device"], row["family"], row["function"], row["dtype"], row["n"],
        bytes_per_s=traffic / time, flop_per_s=flop / time, flop_source="counted" if counted else "predicted",
        intensity=flop / traffic, copy_share=copy_share, product_share=product_share, bound=bound, impossible=impossible, note=note,
    )  # fmt: skip


def _verdict(row: dict[str, Any], copy_share: float | None, product_share: float | None, cache_bytes: int) -> tuple[bool, str]:
    if product_share is not None and product_share > TOLERANCE:
        return True, f"{product_share:.0%} of the measured matrix-product peak"
    if copy_share is not None and copy_share > TOLERANCE:
        if row["cache"] == "hot" and row["compulsory_bytes"] <= cache_bytes:
            return False, f"{copy_share:.0%} of the measured copy bandwidth, from a hot cache"
        return True, f"{copy_share:.0%} of the measured copy bandwidth"
    return False, ""
