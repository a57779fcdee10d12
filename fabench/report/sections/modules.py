"""Core against module: what the projections around attention add, and how much of a core's gain is left."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fabench.report.blocks import Column, Section, Value
from fabench.report.readings import Readings
from fabench.report.sections.order import tabulate

__all__ = ["section"]

_COLUMNS = (
    Column("implementation"), Column("n", "count"), Column("core", "duration"), Column("module", "duration"), Column("core's share of time", "percent"),
    Column("core memory", "bytes"), Column("module memory", "bytes"), Column("setting of the module"),
)  # fmt: skip
_KEY = ["implementation", "device", "n", "m", "batch", "heads", "d_k", "d_v", "dtype", "mode", "normalisation", "scale", "mask"]
_SHOWN = ["time_s", "delta_bytes", "setting"]


def section(readings: Readings) -> Section | None:
    """One row per cell that was measured both as core and as module."""
    frame = readings.frame
    ran = frame[(frame["status"] == "ok") & frame["pool"].isin((1,)) | (frame["status"] == "ok") & (frame["scope"] == "core")]
    core, module = (ran[ran["scope"] == scope][_KEY + _SHOWN] for scope in ("core", "module"))
    if not len(core) or not len(module):
        return None
    both = module.merge(core, on=_KEY, suffixes=("_module", "_core"), sort=False)
    if not len(both):
        return None
    lead = "A module adds the projections, which are linear in n and the same for all: at small n they dominate and hide what the core gains."
    table = tabulate("modules", "Core and module", _COLUMNS, [_row(row) for row in _rows(both)])
    return Section("modules", "Core against module", lead, (table,))


def _rows(both: pd.DataFrame) -> list[dict[Any, Any]]:
    return list(both.to_dict("records"))


def _row(row: dict[Any, Any]) -> tuple[Value, ...]:
    core, module = float(row["time_s_core"]), float(row["time_s_module"])
    share = core / module if module > 0 else None
    memory = (float(row["delta_bytes_core"]), float(row["delta_bytes_module"]))
    return (row["implementation"], int(row["n"]), core, module, share, *memory, row["setting_module"])
