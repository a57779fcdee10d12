"""One table of all records, one row each, from which every other reading starts.

Missing numbers are NaN and missing texts None; the analyses never pass either on. A measured time exists only where the status is
ok and the evidence does not call it impossible: such a time, with everything that goes with it, is missing here like one that was
never taken, `reason` says why ("impossible: ..."), and `impossible_s` keeps it for those who show it as what it is. So no reading can
take it for fast. `predicted_*` and `compulsory_bytes` come from `fabench.cost`: arithmetic, not measurement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from fabench import cost
from fabench.analysis.estimate import Floats, median_intervals
from fabench.analysis.evidence import Evidence, assess, timed
from fabench.analysis.physics import Facts, facts_of
from fabench.analysis.settings import kind, settings
from fabench.schema import Case, Cell, Environment, Record

__all__ = ["CASE_COLUMNS", "COLUMNS", "IMPOSSIBLE", "assess_all", "case_of", "tidy"]

IMPOSSIBLE = "impossible"

CASE_COLUMNS = tuple(field.name for field in fields(Case))
_TEXT_TAIL = ("function", "setting", "series", "status", "reason", "configuration", "started_at")
_IDENTITY = ("cell_id", "implementation", "device", *CASE_COLUMNS, "kind", "family", "time_order", "memory_order", *_TEXT_TAIL)
_TIME = ("time_s", "time_low_s", "time_high_s", "time_min_s", "iqr_s")
_TAKEN = ("loops", "stopped_by", "cache", "clock", "launch_s", "compile_s", "autotune_s", "first_call_s")
_TIMING = ("samples", *_TAKEN, "impossible_s", "grade", "warnings", "samples_s")
_MEMORY = (
    "delta_bytes", "peak_bytes", "baseline_bytes", "input_bytes", "output_bytes", "saved_bytes", "reserved_bytes", "process_bytes",
    "rss_peak_bytes",
)  # fmt: skip
_PREDICTED = ("predicted_delta_bytes", "predicted_saved_bytes", "predicted_flop", "compulsory_bytes")
_OTHER = ("flop", "error", "tolerance", "wall_s", *_PREDICTED)
COLUMNS = (*_IDENTITY, *_TIME, *_TIMING, *_MEMORY, *_OTHER)

# Columns that hold objects (texts, flags, tuples), with None where there is nothing; all others hold numbers.
_OBJECTS = {
    "cell_id", "implementation", "device", "dtype", "mode", "normalisation", "scale", "mask", "scope", "space", "reprojection",
    "residual", "network", "positions", "backbone", "image", "kind", "family", "stopped_by", "cache", "clock", "grade", "warnings", "samples_s", *_TEXT_TAIL,
}  # fmt: skip
_INTEGERS = {"n", "m", "batch", "heads", "d_k", "d_v", "samples"}
_FAMILY = {2: "quadratic", 1: "linear", None: None}

_cost = cache(cost.of)


def assess_all(records: Sequence[Record], environments: Sequence[Environment]) -> list[Evidence]:
    """The evidence of each record, by what the first environment that knows its device says."""
    known: dict[str, Facts] = {}
    for device in {record.cell.device for record in records}:
        known[device] = facts_of(environments, device)
    return [assess(record, known[record.cell.device]) for record in records]


def tidy(
    records: Sequence[Record], environments: Sequence[Environment] = (), evidence: Sequence[Evidence] | None = None
) -> pd.DataFrame:
    """The records as a table, in their order; see `COLUMNS`. `samples_s` keeps the raw samples, in measured order.

    `evidence` is that of the records, where the caller has it already. Without environments there are no peaks, and nothing is impossible.
    """
    judged = assess_all(records, environments) if evidence is None else evidence
    cells = [record.cell for record in records]
    columns = _identity(records, cells)
    columns |= _timing(records, judged)
    columns["reason"] = [
        reason if one.impossible is None else f"{IMPOSSIBLE}: {one.impossible}"
        for reason, one in zip(columns["reason"], judged, strict=True)
    ]
    columns |= _fields([record.memory for record in records], _MEMORY)
    columns |= _checks(records)
    columns["flop"] = [record.flop for record in records]
    columns["wall_s"] = [record.phases_s.get("total") for record in records]
    columns |= _predictions(cells, columns["time_order"], columns["memory_order"])
    return pd.DataFrame({name: _column(name, columns[name]) for name in COLUMNS})


def _column(name: str, values: Any) -> Any:
    if name in _OBJECTS:
        return pd.Series(values, dtype=object)
    return np.array(values, dtype=np.int64 if name in _INTEGERS else np.float64)


def _fields(owners: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: [None if owner is None else getattr(owner, name) for owner in owners] for name in names}


def _identity(records: Sequence[Record], cells: Sequence[Cell]) -> dict[str, Any]:
    columns = _fields([cell.case for cell in cells], CASE_COLUMNS)
    columns["cell_id"] = [cell.id for cell in cells]
    columns["implementation"] = [cell.implementation for cell in cells]
    columns["device"] = [cell.device for cell in cells]
    columns["kind"] = [kind(cell.case) for cell in cells]
    columns |= _facts(records)
    columns["setting"] = settings(cells)
    columns["configuration"] = [_told(record.configuration) for record in records]
    columns["series"] = [f"{cell.implementation} · {setting}" for cell, setting in zip(cells, columns["setting"], strict=True)]
    return columns | _fields(records, ("status", "reason", "started_at"))


def _told(configuration: dict[str, str] | None) -> str | None:
    return None if not configuration else "; ".join(f"{name}: {value}" for name, value in configuration.items())


def _facts(records: Sequence[Record]) -> dict[str, Any]:
    """Orders and function. A record that the parent had to write may lack them: then those of the implementation's others."""
    orders: dict[str, tuple[int | None, int | None]] = {}
    functions: dict[tuple[str, str], str] = {}
    for record in records:
        if record.time_order is not None:
            orders[record.cell.implementation] = (record.time_order, record.memory_order)
        if record.function is not None:
            functions[record.cell.implementation, record.cell.case.normalisation] = record.function
    known = [orders.get(record.cell.implementation, (None, None)) for record in records]
    return {
        "time_order": [time for time, _ in known],
        "memory_order": [memory for _, memory in known],
        "family": [_FAMILY.get(time) for time, _ in known],
        "function": [functions.get((record.cell.implementation, record.cell.case.normalisation)) for record in records],
    }


def _timing(records: Sequence[Record], evidence: Sequence[Evidence]) -> dict[str, Any]:
    taken = [timed(record) for record in records]
    timings = [None if one.impossible is not None else timing for timing, one in zip(taken, evidence, strict=True)]
    there = np.array([position for position, timing in enumerate(timings) if timing is not None], dtype=np.intp)
    samples = [timing.samples_s for timing in timings if timing is not None]
    summary = np.full((len(records), len(_TIME)), np.nan)
    if samples:
        summary[there, :3] = median_intervals(samples)
        summary[there, 3:] = _spread(samples)
    columns: dict[str, Any] = {name: summary[:, index] for index, name in enumerate(_TIME)}
    columns |= _fields(taken, _TAKEN)
    columns["impossible_s"] = [
        float(np.median(timing.samples_s)) if timing is not None and one.impossible is not None else None
        for timing, one in zip(taken, evidence, strict=True)
    ]
    columns["grade"] = [one.grade for one in evidence]
    columns["warnings"] = [", ".join(one.codes) or None for one in evidence]
    columns["samples_s"] = [() if timing is None else timing.samples_s for timing in timings]
    columns["samples"] = [len(values) for values in columns["samples_s"]]
    return columns


def _spread(samples: Sequence[Sequence[float]]) -> Floats:
    """Smallest sample and interquartile range of each cell: [cells, 2]."""
    result = np.empty((len(samples), 2))
    groups: dict[int, list[int]] = {}
    for position, values in enumerate(samples):
        groups.setdefault(len(values), []).append(position)
    for positions in groups.values():
        table = np.array([samples[position] for position in positions])
        quartiles = np.quantile(table, [0.25, 0.75], axis=1)
        result[positions] = np.column_stack([table.min(axis=1), quartiles[1] - quartiles[0]])
    return result


def _checks(records: Sequence[Record]) -> dict[str, Any]:
    """The tensor that came nearest to its tolerance or went furthest beyond. No error where one is not finite."""
    worst: list[tuple[float | None, float | None]] = []
    for record in records:
        tensors = record.check.tensors if record.check is not None else ()
        ranked = [(math.inf if t.error is None else t.error / (t.tolerance or 1.0), t.error, t.tolerance) for t in tensors]
        worst.append(max(ranked, key=lambda item: item[0])[1:] if ranked else (None, None))
    return {"error": [error for error, _ in worst], "tolerance": [tolerance for _, tolerance in worst]}


def _predictions(cells: Sequence[Cell], time: Sequence[int | None], memory: Sequence[int | None]) -> dict[str, Any]:
    """A network's cost does not follow from its shape: see `position_cost` for that of its blocks."""
    known = [
        None if t is None or m is None or cell.case.scope == "network" else _cost(cell.case, t, m)
        for cell, t, m in zip(cells, time, memory, strict=True)
    ]
    found = _fields(known, ("working_bytes", "saved_bytes", "flop", "compulsory_bytes"))
    return dict(zip(_PREDICTED, found.values(), strict=True))


def case_of(row: dict[str, Any]) -> Case:
    """The case of a row (`frame.iloc[i].to_dict()`), back from its columns."""
    values = {name: row[name] for name in CASE_COLUMNS}
    for name, value in values.items():
        if isinstance(value, float):
            values[name] = None if math.isnan(value) else int(value)
    return Case(**values)
