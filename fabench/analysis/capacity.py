"""What fits: the largest n that ran, the first that did not and why, and what cards of common sizes should hold (predicted)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pandas as pd

from fabench import cost
from fabench.analysis.frame import CASE_COLUMNS, case_of
from fabench.schema import Case

__all__ = ["LIMITS", "Capacity", "capacities"]

# Decimal gigabytes: what is left of a card of that name once context and rounding are gone is nearer to these than to GiB.
LIMITS: dict[str, int] = {"24 GB": 24 * 10**9, "40 GB": 40 * 10**9, "80 GB": 80 * 10**9}

_COLUMNS = (
    "series",
    "implementation",
    "setting",
    "device",
    "family",
    "function",
    "memory_order",
    "status",
    "reason",
    *CASE_COLUMNS,
)
# A status that says nothing about size.
_NOT_ASKED = "unsupported"


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one series could run. `stopped_*`: the smallest n above `largest_n` that gave no result, None if all ran.

    A skipped cell's reason names the failure behind it. `gaps`: (n, status) of cells below `largest_n` that gave no result.
    `predicted`: (limit, largest n), the arithmetic of `cost.largest_n`; empty where the batch changes with n or m is held.
    """

    implementation: str
    setting: str
    device: str
    family: str | None
    function: str | None
    largest_n: int | None
    stopped_n: int | None
    stopped_status: str | None
    stopped_reason: str | None
    gaps: tuple[tuple[int, str], ...]
    tried: tuple[int, ...]
    predicted: tuple[tuple[str, int], ...]


def capacities(frame: pd.DataFrame) -> list[Capacity]:
    """One per series, in the order of their first records. Whole networks are left out: what fits of them is no question of n alone."""
    columns: dict[str, list[Any]] = {name: frame[name].tolist() for name in _COLUMNS}
    groups: dict[str, dict[int, int]] = {}
    for row, (series, n, scope) in enumerate(zip(columns["series"], columns["n"], columns["scope"], strict=True)):
        if scope == "network":
            continue
        groups.setdefault(series, {})[n] = row
    return [_capacity(columns, sorted(group.items())) for group in groups.values()]


def _capacity(columns: dict[str, list[Any]], points: Sequence[tuple[int, int]]) -> Capacity:
    status, first = columns["status"], points[0][1]
    largest = max((n for n, row in points if status[row] == "ok"), default=None)
    failed = [(n, row) for n, row in points if status[row] != "ok"]
    above = [(n, row) for n, row in failed if (largest is None or n > largest) and status[row] != _NOT_ASKED]
    stopped_n, stopped = above[0] if above else (None, None)
    return Capacity(
        implementation=columns["implementation"][first],
        setting=columns["setting"][first],
        device=columns["device"][first],
        family=columns["family"][first],
        function=columns["function"][first],
        largest_n=largest,
        stopped_n=stopped_n,
        stopped_status=None if stopped is None else status[stopped],
        stopped_reason=None if stopped is None else columns["reason"][stopped],
        gaps=tuple((n, status[row]) for n, row in failed if largest is not None and n < largest),
        tried=tuple(n for n, _ in points),
        predicted=_predicted(columns, [row for _, row in points]),
    )


def _predicted(columns: dict[str, list[Any]], rows: Sequence[int]) -> tuple[tuple[str, int], ...]:
    first = rows[0]
    held_total = len({columns["batch"][row] for row in rows}) > 1
    if columns["family"][first] is None or held_total or any(columns["m"][row] != columns["n"][row] for row in rows):
        return ()
    case = case_of({name: columns[name][first] for name in CASE_COLUMNS})
    # What does not change memory is set alike, so that one search serves many series.
    alike = replace(
        cost.resized(case, 1), normalisation="softmax", scale="1/sqrt(d_k)", mask="none",
        mode="fwd_bwd" if case.needs_gradients else "fwd", dtype="bfloat16" if case.element_bytes == 2 else case.dtype,
    )  # fmt: skip
    return _largest(alike, int(columns["memory_order"][first]))


@cache
def _largest(case: Case, memory_order: int) -> tuple[tuple[str, int], ...]:
    """`cost.largest_n` per limit. Bytes are a polynomial in n unless K is pooled, so its root is tried before the search."""

    def needed(n: int) -> int:
        return cost.of(cost.resized(case, n), 1, memory_order).total_bytes

    one, two, three = (needed(n) for n in (1, 2, 3))
    square = (three - 2 * two + one) // 2
    slope = two - one - 3 * square
    start = one - slope - square
    found = []
    for name, limit in LIMITS.items():
        n = _root(square, slope, start - limit)
        exact = n > 0 and needed(n) <= limit < needed(n + 1)
        found.append((name, n if exact else cost.largest_n(case, 1, memory_order, limit)))
    return tuple(found)


def _root(square: int, slope: int, start: int) -> int:
    """The largest integer n with square n^2 + slope n + start <= 0."""
    if square == 0:
        return -start // slope
    return (math.isqrt(max(0, slope * slope - 4 * square * start)) - slope) // (2 * square)
