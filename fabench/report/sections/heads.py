"""Heads and widths: how the ratio between the main pair moves with them, as heat maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fabench.report import words
from fabench.report.blocks import Block, HeatMap, Section
from fabench.report.readings import Readings
from fabench.report.sections.charts import identifier

__all__ = ["section"]

_ALIKE = (
    "device", "m", "batch", "dtype", "mode", "normalisation", "scale", "mask", "scope", "kind", "reprojection", "residual", "pool",
)  # fmt: skip
_MOST = 12
_QUANTITIES = (("time", "time_s", "Time"), ("memory", "delta_bytes", "Memory"))


def section(readings: Readings) -> Section | None:
    """Heat maps at the largest n that the pair ran in most widths, if heads or width were swept at all."""
    said = readings.headline
    if said.setting is None or said.quadratic is None or said.linear is None:
        return None
    part = _alike(readings.frame, said.setting, (said.quadratic, said.linear))
    if part["heads"].nunique() * part["d_k"].nunique() < 2:
        return None
    n = _best_n(part)
    if n is None:
        return None
    part = part[part["n"] == n]
    blocks: list[Block] = [
        _map(part, quantity, column, title, n, (said.quadratic, said.linear)) for quantity, column, title in _QUANTITIES
    ]
    lead = (
        f"{said.quadratic} divided by {said.linear} at n = {n:,}: above 1x the linear one is ahead. "
        "Linear attention gets cheaper with heads at a fixed total width (d_k d_v / h), the map's memory grows with them."
    )
    return Section("heads", "Heads and widths", words.plain(lead), tuple(blocks))


def _alike(frame: pd.DataFrame, setting: str, pair: Sequence[str]) -> pd.DataFrame:
    """Rows of the pair that differ from the main setting in heads and widths only; m goes with n."""
    rows = frame[frame["implementation"].isin(pair)]
    model = rows[rows["setting"] == setting].iloc[0]
    held = [name for name in _ALIKE if not (name == "m" and model["m"] == model["n"])]
    keep = pd.Series(True, index=rows.index)
    for name in held:
        keep &= rows[name].isna() if pd.isna(model[name]) else rows[name] == model[name]
    rows = rows[keep]
    if model["m"] == model["n"]:
        rows = rows[rows["m"] == rows["n"]]
    return rows[rows["d_k"] == rows["d_v"]] if model["d_k"] == model["d_v"] else rows


def _best_n(part: pd.DataFrame) -> int | None:
    """The largest of the n at which most widths have times of both."""
    ran = part[part["time_s"] > 0]
    names: dict[tuple[int, int, int], set[str]] = {}
    for n, heads, width, name in zip(*(ran[column].tolist() for column in ("n", "heads", "d_k", "implementation")), strict=True):
        names.setdefault((n, heads, width), set()).add(name)
    counts = Counter(n for (n, _, _), both in names.items() if len(both) == 2)
    return max(counts, key=lambda n: (counts[n], n), default=None)


def _map(part: pd.DataFrame, quantity: str, column: str, title: str, n: int, pair: tuple[str, str]) -> HeatMap:
    rows = part[["implementation", "heads", "d_k", "status", "reason", column]].to_dict("records")
    cells: dict[tuple[int, int, str], dict[Any, Any]] = {(row["heads"], row["d_k"], row["implementation"]): row for row in rows}
    heads = sorted({key[0] for key in cells})[:_MOST]
    widths = sorted({key[1] for key in cells})[:_MOST]
    found = [[_ratio(cells, h, d, column, pair) for d in widths] for h in heads]
    return HeatMap(
        id=identifier("heads", quantity),
        title=f"{title}: {pair[0]} / {pair[1]}",
        subtitle=f"n = {n:,}",
        x_label="width per head d",
        y_label="heads",
        columns=tuple(map(str, widths)),
        rows=tuple(map(str, heads)),
        values=tuple(tuple(value for value, _ in row) for row in found),
        reasons=tuple(tuple(reason for _, reason in row) for row in found),
        above="linear ahead",
        below="quadratic ahead",
        summary=words.plain(f"{title} of {pair[0]} divided by that of {pair[1]} at n = {n:,}, by heads and width per head."),
    )


def _ratio(
    cells: dict[tuple[int, int, str], dict[Any, Any]], heads: int, width: int, column: str, pair: tuple[str, str]
) -> tuple[float | None, str]:
    rows = [cells.get((heads, width, name)) for name in pair]
    for name, row in zip(pair, rows, strict=True):
        if row is None:
            return None, ""
        if row["status"] != "ok":
            return None, f"{words.status_words(str(row['status']))}: {name}"
        if column == "time_s" and row["reason"]:
            return None, words.plain(f"{row['reason']} ({name})")
    first, second = (float(row[column]) if row is not None else 0.0 for row in rows)
    return (first / second, "") if first > 0 and second > 0 else (None, "not measured")
