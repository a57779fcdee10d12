"""How much faster: factors within one function, and, kept apart and named, factors across functions."""

from __future__ import annotations

from collections.abc import Sequence

from fabench.analysis.speedup import Speedup
from fabench.report.blocks import Block, Column, Section, Text, Value
from fabench.report.readings import Readings
from fabench.report.sections.order import main_first, tabulate

__all__ = ["section"]

_SAME = (
    Column("implementation"), Column("baseline"), Column("n", "count"), Column("times as fast (95 %)", "ratio"), Column("function"), Column("setting"),
)  # fmt: skip
_ACROSS = (
    Column("implementation"), Column("baseline"), Column("n", "count"), Column("times as fast (95 %)", "ratio"),
    Column("it computes"), Column("baseline computes"), Column("setting"),
)  # fmt: skip


def section(readings: Readings) -> Section | None:
    """Two tables: same function, other function. Every n of the main setting, the largest n of all others."""
    same, across = (_kept(readings, found) for found in (readings.speedups, readings.across))
    if not same and not across:
        return None
    blocks: list[Block] = []
    if same:
        rows: list[tuple[Value, ...]] = [
            (one.implementation, one.baseline, one.n, one.ratio, one.function, one.setting) for one in same
        ]  # fmt: skip
        blocks.append(
            tabulate("speedups", "Same function: equal results, other time", _SAME, rows, _note(readings.speedups, same), place=2)
        )
    else:
        blocks.append(Text(("No two implementations of one function ran at the same n.",)))
    if across:
        rows = [
            (
                one.implementation,
                one.baseline,
                one.n,
                one.ratio,
                one.function or "unknown",
                one.baseline_function or "unknown",
                one.setting,
            )
            for one in across
        ]
        title = "Other function: compares costs, not ways to an equal result"
        blocks.append(tabulate("across", title, _ACROSS, rows, _note(readings.across, across), place=2))
    lead = "A factor above 1x means faster than the baseline. Only factors within one function compare ways to the same result."
    return Section("speedups", "Speedups", lead, tuple(blocks))


def _kept(readings: Readings, found: Sequence[Speedup]) -> list[Speedup]:
    largest: dict[tuple[str, str], int] = {}
    for one in found:
        key = (one.implementation, one.setting)
        largest[key] = max(largest.get(key, 0), one.n)
    return main_first(
        readings, [one for one in found if one.setting == readings.main or one.n == largest[one.implementation, one.setting]]
    )


def _note(found: Sequence[Speedup], kept: Sequence[Speedup]) -> str:
    if len(found) == len(kept):
        return ""
    return f"Every n of the main setting, the largest n of all others: {len(kept):,} of {len(found):,} factors."
