"""PNG, SVG and PDF of the main charts, for papers and slides, in the colours, dashes and markers of the page.

matplotlib is imported when the first figure is drawn. Equal input gives equal bytes: no dates, no random ids.
"""

from __future__ import annotations

from pathlib import Path

from fabench.report.blocks import BarChart, HeatMap, LineChart, Plot, Report, Roofline
from fabench.report.formats.base import Bundle, safe_name, save, with_ending

__all__ = ["ENDINGS", "charts", "write"]

ENDINGS = ("png", "svg", "pdf")
_SECTIONS = ("overview", "network-cost", "heads", "roofline")


def charts(report: Report) -> list[Plot]:
    """The charts worth a file of their own."""
    kinds = (LineChart, BarChart, HeatMap, Roofline)
    return [block for part in report.sections if part.id in _SECTIONS for block in part.blocks if isinstance(block, kinds)]


def write(report: Report, bundle: Bundle, stem: Path) -> list[Path]:
    """`stem-<chart>.png`, `.svg` and `.pdf` for each main chart."""
    found = charts(report)
    if not found:
        return []
    from fabench.report.draw.plot import figure_bytes

    return [
        save(with_ending(stem, f"-{safe_name(chart.id)}.{ending}"), data)
        for chart in found
        for ending, data in figure_bytes(chart, ENDINGS).items()
    ]  # fmt: skip
