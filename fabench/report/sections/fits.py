"""What fits: the largest n that ran, the first that did not and why, and what cards of common sizes should hold."""

from __future__ import annotations

from fabench.analysis.capacity import LIMITS, Capacity
from fabench.report import words
from fabench.report.blocks import Column, Section, Value
from fabench.report.readings import Readings
from fabench.report.sections.order import main_first, tabulate

__all__ = ["section"]


def section(readings: Readings) -> Section | None:
    """One row per series."""
    if not readings.capacities:
        return None
    columns = (
        Column("implementation"), Column("largest n that ran", "count"), Column("first that did not", "count"), Column("status", "status"),
        *(Column(f"predicted for {name}", "count") for name in LIMITS), Column("gaps below"), Column("reason"), Column("setting"),
    )  # fmt: skip
    rows = [_row(one) for one in main_first(readings, readings.capacities)]
    note = "Predicted n come from the cost model (inputs and peak within the limit, nothing else on the card). They are not measurements."
    lead = "The largest n that ran here, the first that was tried and did not, and what the formulas predict for common cards."
    return Section("fits", "What fits, and what does not", lead, (tabulate("capacities", "Largest n", columns, rows, note),))


def _row(found: Capacity) -> tuple[Value, ...]:
    predicted = dict(found.predicted)
    gaps = ", ".join(f"{n:,} ({words.status_words(status)})" for n, status in found.gaps) or "none"
    status = found.stopped_status or ("all ran" if found.largest_n is not None else "nothing ran")
    sizes = (found.largest_n, found.stopped_n, status)
    return (
        found.implementation,
        *sizes,
        *(predicted.get(name) for name in LIMITS),
        gaps,
        found.stopped_reason or "",
        found.setting,
    )
