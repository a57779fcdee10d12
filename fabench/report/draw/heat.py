"""Heat maps of ratios: colours diverge from 1x, every cell says its number, and a missing cell says why."""

from __future__ import annotations

import math

from fabench.report import words
from fabench.report.blocks import HeatMap
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.draw.parts import label, picture
from fabench.report.style import diverging, ink_on

__all__ = ["draw", "position"]

_LETTER = 6.6
_CELL_HEIGHT = 34.0
_WIDTH = 580.0


def position(ratio: float, furthest: float) -> float:
    """A ratio's place between -1 and 1, 0 at 1x."""
    return math.log(ratio) / math.log(furthest) if furthest > 1 else 0.0


def reach(chart: HeatMap) -> float:
    """The ratio (or its inverse) that lies furthest from 1x, at least 2."""
    ratios = [value for row in chart.values for value in row if value]
    return max([2.0, *ratios, *(1 / ratio for ratio in ratios)])


def draw(chart: HeatMap) -> Markup:
    """The map as one SVG, with its scale below."""
    left = 40 + _LETTER * max([len(row) for row in chart.rows], default=1)
    cell = max(46.0, min(96.0, (_WIDTH - 8 - left) / max(1, len(chart.columns))))
    width, top = left + cell * len(chart.columns) + 8, 38.0
    bottom = top + _CELL_HEIGHT * len(chart.rows)
    furthest = reach(chart)
    parts: list[object] = []
    for column, title in enumerate(chart.columns):
        parts.append(label(left + cell * (column + 0.5), top - 8, title, "tick", "middle"))
    for row, title in enumerate(chart.rows):
        parts.append(label(left - 8, top + _CELL_HEIGHT * (row + 0.5) + 4, title, "tick", "end"))
        for column in range(len(chart.columns)):
            place = (left + cell * column, top + _CELL_HEIGHT * row)
            parts.append(_cell(chart, row, column, place, cell, furthest))
    parts.append(label(left + cell * len(chart.columns) / 2, 13, chart.x_label, "name", "middle"))
    middle = (top + bottom) / 2
    parts.append(label(12, middle, chart.y_label, "name", "middle", transform=f"rotate(-90 12 {number(middle)})"))
    parts.append(_scale(chart, left, bottom + 14, max(width, left + 300), furthest))
    return picture(max(width, _WIDTH), bottom + 46, chart.summary or chart.title, parts, "heat")


def _cell(chart: HeatMap, row: int, column: int, place: tuple[float, float], width: float, furthest: float) -> Markup:
    value, (x, y) = chart.values[row][column], place
    centre, base = x + width / 2, y + _CELL_HEIGHT / 2 + 4
    where = f"{chart.y_label} {chart.rows[row]}, {chart.x_label} {chart.columns[column]}"
    size = {"x": x + 1, "y": y + 1, "width": width - 2, "height": _CELL_HEIGHT - 2, "rx": 2}
    if value is None:
        reason = chart.reasons[row][column]
        shown = label(centre, base, reason.partition(":")[0][:10] or words.DASH, "tiny", "middle")
        return element(
            "g",
            element("title", f"{where}: {reason or 'not measured'}"),
            element("rect", class_="none", **size),
            shown,
            class_="pt",
        )
    fill = diverging(position(value, furthest))
    shown = label(
        centre, base, words.show(value, "ratio"), f"inside {'white' if ink_on(fill) == '#ffffff' else 'black'}", "middle"
    )
    title = element("title", f"{where}: {words.show(value, 'ratio')}")
    return element("g", title, element("rect", fill=fill, **size), shown, class_="pt")


def _scale(chart: HeatMap, left: float, top: float, width: float, furthest: float) -> Markup:
    steps = 21
    step = (width - 8 - left) / steps
    parts: list[object] = []
    for index in range(steps):
        fill = diverging(2 * index / (steps - 1) - 1)
        parts.append(element("rect", x=left + step * index, y=top, width=step + 0.5, height=9, fill=fill))
    for share, text, anchor in (
        (0.0, f"1/{words.show(furthest, 'ratio')} {chart.below}", "start"),
        (0.5, "1x", "middle"),
        (1.0, f"{words.show(furthest, 'ratio')} {chart.above}", "end"),
    ):
        parts.append(label(left + (width - 8 - left) * share, top + 23, text, "tick", anchor))
    return join(parts)
