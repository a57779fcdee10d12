"""What fits: the largest n that ran, the first that did not and why, and what cards of common sizes should hold (predicted)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pandas as pd

from fabench import cost
from fabench.analysis.frame import case_of
from fabench.schema import Case

__all__ = ["LIMITS", "Capacity", "capacities"]

# Decimal gigabytes: what is left of a card of that name once context and rounding are gone is nearer to these than to GiB.
LIMITS: dict[str, int] = {"24 GB": 24 * 10**9, "40 GB": 40 * 10**9, "80 GB": 80 * 10**9}

# Statuses that say nothing about size.
_NOT_TRIED = ("unsupported",)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one series could run. `stopped_*`: the smallest n above `largest_n` that gave no result, None if all ran.

    `limit_status`, `limit_n`: the first real failure behind skipped cells (a skipped cell's reason names it too). `gaps`: (n, status)
    of cells below `largest_n` that gave no result. `predicted`: (limit, largest n) from `cost.largest_n`, a prediction; empty where
    the batch changes with n.
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
    """One per series, in the order of their first records."""
    rows = frame.drop(columns="samples_s").to_dict("records")
    groups: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["series"], {})[row["n"]] = row  # type: ignore[index]
    return [_capacity(sorted(group.items())) for group in groups.values()]


def _capacity(points: Sequence[tuple[int, dict[str, Any]]]) -> Capacity:
    ran = [n for n, row in points if row["status"] == "ok"]
    largest = ran[-1] if ran else None
    failed = [(n, row) for n, row in points if row["status"] != "ok"]
    above = [(n, row) for n, row in failed if (largest is None or n > largest) and row["status"] not in _NOT_TRIED]
    stopped = above[0][1] if above else None
    first = points[0][1]
    return Capacity(
        implementation=first["implementation"],
        setting=first["setting"],
        device=first["device"],
        family=first["family"],
        function=first["function"],
        largest_n=largest,
        stopped_n=stopped and stopped["n"],
        stopped_status=stopped and stopped["status"],
        stopped_reason=stopped and stopped["reason"],
        gaps=tuple((n, row["status"]) for n, row in failed if largest is not None and n < largest),
        tried=tuple(n for n, _ in points),
        predicted=_predicted([row for _, row in points]),
    )


def _predicted(rows: Sequence[dict[str, Any]]) -> tuple[tuple[str, int], ...]:
    row = rows[0]
    if row["family"] is None or len({other["batch"] for other in rows}) > 1:
        return ()
    case = case_of(row)
    # What does not change memory is set alike, so that one search serves many series.
    alike = replace(
        case, n=1, m=1, space=None, normalisation="softmax", scale="1/sqrt(d_k)", mask="none",
        mode="fwd_bwd" if case.needs_gradients else "fwd", dtype="bfloat16" if case.element_bytes == 2 else case.dtype,
    )  # fmt: skip
    order = int(row["memory_order"])
    return tuple((name, _largest(alike, order, limit)) for name, limit in LIMITS.items())


@cache
def _largest(case: Case, memory_order: int, limit_bytes: int) -> int:
    return cost.largest_n(case, 1, memory_order, limit_bytes)
