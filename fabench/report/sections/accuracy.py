"""Accuracy: the largest error against float64 of each series, beside what was allowed."""

from __future__ import annotations

from fabench.report.blocks import Column, Section, Text, Value
from fabench.report.readings import Readings
from fabench.report.sections.order import tabulate

__all__ = ["section"]

_COLUMNS = (
    Column("implementation"), Column("function"), Column("cells checked", "count"), Column("incorrect", "count"), Column("worst error", "number"),
    Column("allowed", "number"), Column("share of allowed", "percent"), Column("at n", "count"), Column("setting"),
)  # fmt: skip


def section(readings: Readings) -> Section | None:
    """One row per series: the cell nearest to (or furthest beyond) its tolerance."""
    frame = readings.frame
    checked = frame[frame["tolerance"] > 0]
    lead = "Relative error ‖x − ref‖ / ‖ref‖ against a float64 reference of the same function, checked before anything is timed."
    if not len(checked):
        return Section("accuracy", "Accuracy", lead, (Text(("No cell was checked.",)),)) if len(frame) else None
    names = ("series", "implementation", "setting", "function", "status", "error", "tolerance", "n")
    columns = [checked[name].tolist() for name in names]
    groups: dict[str, list[tuple[Value, ...]]] = {}
    for series, *rest in zip(*columns, strict=True):
        groups.setdefault(series, []).append(tuple(rest))
    rows = [_row(group) for group in groups.values()]
    rows.sort(key=lambda row: (row[3] == 0, row[-1] != readings.main))
    return Section("accuracy", "Accuracy", lead, (tabulate("accuracy", "Error against float64", _COLUMNS, rows),))


def _row(cells: list[tuple[Value, ...]]) -> tuple[Value, ...]:
    """From (implementation, setting, function, status, error, tolerance, n)."""
    wrong = sum(cell[3] == "incorrect" for cell in cells)
    worst = max(cells, key=lambda cell: _beyond(cell[4], cell[5]))
    name, setting, function, _, error, allowed, n = worst
    known = isinstance(error, float) and error == error
    share = _beyond(error, allowed) if known else None
    return (name, function, len(cells), wrong, error if known else "not finite", allowed, share, n, setting)


def _beyond(error: Value, allowed: Value) -> float:
    assert isinstance(error, (int, float)) and isinstance(allowed, (int, float))
    return error / allowed if error == error else float("inf")
