"""Further settings, a bounded number of them as charts; the tables hold all."""

from __future__ import annotations

from typing import Literal

from fabench.report.blocks import Block, Section
from fabench.report.readings import Readings
from fabench.report.sections.charts import line_chart

__all__ = ["section"]

_MOST = 6
_QUANTITIES: tuple[tuple[Literal["time", "memory"], str], ...] = (("time", "Time"), ("memory", "Memory"))


def section(readings: Readings) -> Section | None:
    """Time and memory of the settings nearest to the main one."""
    ran = readings.frame[readings.frame["status"] == "ok"]
    counts = ran.groupby("setting", sort=False)["n"].nunique()
    others = {str(name): int(count) for name, count in counts.items() if name != readings.main}
    if readings.main is None or not others:
        return None
    main = set(readings.main.split(" · "))
    order = sorted(others, key=lambda name: (others[name] < 2, len(main.symmetric_difference(name.split(" · ")))))
    blocks: list[Block] = []
    for index, name in enumerate(order[:_MOST]):
        for chart in (
            line_chart(readings, name, q, f"{title}: {_difference(name, main)}", f"setting-{index + 1}")
            for q, title in _QUANTITIES
        ):
            if chart.lines:
                blocks.append(chart)
    left = len(others) - min(len(others), _MOST)
    lead = "The settings that differ least from the main one." + (
        f" {left:,} further settings are in the tables." if left else ""
    )
    return Section("settings", "Other settings", lead, tuple(blocks))


def _difference(name: str, main: set[str]) -> str:
    return " · ".join(part for part in name.split(" · ") if part not in main) or name
