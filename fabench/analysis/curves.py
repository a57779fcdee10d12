"""Curves: what one implementation took in one setting, over n. Cells that gave nothing stay beside it, with the reason why.

Whole networks are on no curve: their n is pixels, and of what they take attention is a part. So no fit, crossover or factor sees them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import pandas as pd

from fabench.analysis.estimate import Floats, bootstrap_medians

__all__ = ["COLUMN", "DRAWS", "Curve", "Quantity", "by_setting", "chunks", "curves", "log_draws"]

T = TypeVar("T")
Quantity: TypeAlias = Literal["time", "memory"]

# Memory is what the call itself took at its peak: the baseline holds the inputs, which are the same for all.
COLUMN: dict[Quantity, str] = {"time": "time_s", "memory": "delta_bytes"}
DRAWS = 400
# So many curves at a time: 250 of 8 points and 400 draws are 6.4 MB.
_CHUNK = 250


@dataclass(frozen=True, slots=True)
class Curve:
    """One series. `n` ascending with `values`; `rows` are the positions in the frame that they come from.

    `missing`: (n, why) of the cells without a value. Where an n occurs twice, the later record counts.
    """

    implementation: str
    setting: str
    device: str
    family: str | None
    function: str | None
    n: tuple[int, ...]
    values: tuple[float, ...]
    rows: tuple[int, ...]
    missing: tuple[tuple[int, str], ...]


def curves(frame: pd.DataFrame, quantity: Quantity = "time") -> list[Curve]:
    """All series of the frame, in the order of their first records; also those without any value."""
    groups: dict[str, dict[int, int]] = {}
    for row, (series, n, scope) in enumerate(zip(*(frame[name].tolist() for name in ("series", "n", "scope")), strict=True)):
        if scope == "network":
            continue
        groups.setdefault(series, {})[n] = row
    names = ("implementation", "setting", "device", "family", "function", "status", "reason", COLUMN[quantity])
    columns: dict[str, list[Any]] = {name: frame[name].tolist() for name in names}
    return [_curve(columns, sorted(rows.items()), quantity) for rows in groups.values()]


def _curve(columns: dict[str, list[Any]], points: Sequence[tuple[int, int]], quantity: Quantity) -> Curve:
    values, status, first = columns[COLUMN[quantity]], columns["status"], points[0][1]
    there = [(n, row) for n, row in points if status[row] == "ok" and math.isfinite(values[row]) and values[row] > 0]
    absent = dict(points).keys() - dict(there).keys()
    return Curve(
        implementation=columns["implementation"][first],
        setting=columns["setting"][first],
        device=columns["device"][first],
        family=columns["family"][first],
        function=columns["function"][first],
        n=tuple(n for n, _ in there),
        values=tuple(values[row] for _, row in there),
        rows=tuple(row for _, row in there),
        missing=tuple((n, _why(status[row], columns["reason"][row], quantity)) for n, row in points if n in absent),
    )


def _why(status: str, reason: str | None, quantity: Quantity) -> str:
    if status != "ok":
        return f"{status}: {reason}"
    return reason if reason is not None and quantity == "time" else f"no {quantity} measured"


def by_setting(found: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Curves that may be compared: in the same setting, thus on the same device."""
    groups: dict[str, list[Curve]] = {}
    for curve in found:
        groups.setdefault(curve.setting, []).append(curve)
    return groups


def chunks(items: Sequence[T], per_curve: int = 1) -> Iterator[Sequence[T]]:
    """`items` in parts that fit into memory with their draws; `per_curve` items make up about one curve."""
    size = _CHUNK * per_curve
    return (items[start : start + size] for start in range(0, len(items), size))


def log_draws(
    samples: Sequence[tuple[float, ...]], rows: Sequence[Sequence[int]], draws: int, rng: np.random.Generator
) -> Floats:
    """Logarithms of bootstrap medians for equally long lists of rows: [lists, rows, draws]."""
    width = len(rows[0])
    flat = bootstrap_medians([samples[row] for part in rows for row in part], draws, rng)
    result: Floats = np.log(flat, out=flat).reshape(len(rows), width, draws)
    return result
