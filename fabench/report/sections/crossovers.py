"""Where linear overtakes quadratic: per pair and setting, with interval, or an explicit "not reached"."""

from __future__ import annotations

from fabench.analysis.crossover import Crossover
from fabench.report.blocks import Block, Column, Section, Text, Value
from fabench.report.readings import Readings
from fabench.report.sections.charts import crossing
from fabench.report.sections.order import main_first, tabulate

__all__ = ["section"]

_COLUMNS = (
    Column("quadratic"), Column("linear"), Column("quantity"), Column("crossover n", "count"), Column("95 % interval"),
    Column("ahead below"), Column("ahead above"), Column("both ran from n", "count"), Column("to n", "count"), Column("same function"),
    Column("note"), Column("setting"),
)  # fmt: skip


def section(readings: Readings) -> Section | None:
    """One row per pair, setting and quantity."""
    pairs = main_first(readings, [*readings.crossovers, *readings.memory_crossovers])
    # Of two that met at one n only, no order of before and after can be told.
    found = [one for one in pairs if one.range[0] != one.range[1]]
    note = f"{len(pairs) - len(found)} pairs that both ran at a single n only are not listed." if len(found) < len(pairs) else ""
    lead = "The n from which the linear implementation is ahead. Nothing is extrapolated: no crossing within the range says so."
    blocks: list[Block] = []
    if found:
        blocks.append(tabulate("crossovers", "Crossovers", _COLUMNS, [_row(one) for one in found], note, place=3))
    else:
        blocks.append(
            Text((f"No setting has values of both a quadratic and a linear implementation at two n or more. {note}".strip(),))
        )
    return Section("crossovers", "Crossovers", lead, tuple(blocks))


def _row(found: Crossover) -> tuple[Value, ...]:
    n = None if found.n is None else found.n.value
    span = "not reached" if found.n is None else crossing(found).partition(" ")[2].strip("()")
    same = "yes" if found.same_function else "no, another function"
    below = found.before if found.n is not None else found.after
    return (
        found.first,
        found.second,
        found.quantity,
        n,
        span,
        below or "equal",
        found.after or "equal",
        *found.range,
        same,
        found.note,
        found.setting,
    )
