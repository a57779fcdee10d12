"""Dots in rows: every value of every row, so that nothing hides behind a mean, and beneath them the mean with its interval."""

from __future__ import annotations

import math

from fabench.report import words
from fabench.report.blocks import DotChart, DotRow
from fabench.report.draw.axis import EvenAxis
from fabench.report.draw.markup import Markup, element, number
from fabench.report.draw.parts import Box, colour, label, marker, picture
from fabench.report.draw.place import width_of

__all__ = ["draw"]

WIDTH, ROW = 1000.0, 58.0
_TOP, _BELOW = 26.0, 48.0
_MOST_TICKS = 7
_APART = 7.0  # dots nearer than this are stacked


def draw(chart: DotChart) -> Markup:
    """The chart as one SVG."""
    height = _TOP + ROW * len(chart.rows) + _BELOW
    left = 18 + max((width_of(row.series.name, 6.9) for row in chart.rows), default=0)
    box = Box(left, _TOP, WIDTH - 150, height - _BELOW)
    low, high = _range(chart)
    x = EvenAxis(low, high, box.left, box.right)
    parts: list[object] = []
    if chart.band is not None:
        start, end, text = chart.band
        parts.append(
            element(
                "rect",
                x=x.inside(start),
                y=box.top,
                width=x.inside(end) - x.inside(start),
                height=box.bottom - box.top,
                class_="zone",
            )
        )
        parts.append(label((x.inside(start) + x.inside(end)) / 2, box.top - 8, text, "tick", "middle"))
    parts += _axis(chart, x, box)
    for limit in chart.limits:
        place = x.at(limit.y)
        parts.append(element("path", d=f"M{number(place)} {number(box.top)}V{number(box.bottom)}", class_="limit"))
        parts.append(label(place, box.top - 8, limit.text, "small halo", "middle"))
    for index, row in enumerate(chart.rows):
        parts += _row(chart, row, x, box, box.top + ROW * (index + 0.5))
    return picture(WIDTH, height, chart.summary or chart.title, parts, "dots")


def _range(chart: DotChart) -> tuple[float, float]:
    """From the smallest to the largest of all that is shown, with room at both ends."""
    values = [value for row in chart.rows for value in row.values]
    values += [end for row in chart.rows if row.mean is not None for end in (row.mean.low, row.mean.high)]
    values += [limit.y for limit in chart.limits] + list(chart.band[:2] if chart.band else ())
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _axis(chart: DotChart, x: EvenAxis, box: Box) -> list[Markup]:
    step = _step((x.high - x.low) / _MOST_TICKS)
    parts = []
    for turn in range(math.ceil(x.low / step), math.floor(x.high / step) + 1):
        place = x.at(turn * step)
        zero = "axis" if turn == 0 else "rule"
        parts.append(element("path", d=f"M{number(place)} {number(box.top)}V{number(box.bottom)}", class_=zero))
        parts.append(label(place, box.bottom + 17, words.show(turn * step, chart.x_kind), "tick", "middle"))
    parts.append(element("path", d=f"M{number(box.left)} {number(box.bottom)}H{number(box.right)}", class_="axis"))
    parts.append(label((box.left + box.right) / 2, box.bottom + 37, chart.x_label, "name", "middle"))
    return parts


def _step(least: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is at least so large."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(one for one in (power, 2 * power, 5 * power, 10 * power) if one >= least * (1 - 1e-9))


def _row(chart: DotChart, row: DotRow, x: EvenAxis, box: Box, middle: float) -> list[Markup]:
    """Name, dots above the row's middle, mean and interval below it, and the mean in figures on the right."""
    style = row.series.style
    parts = [label(box.left - 10, middle + 4, row.series.name, "small strong", "end")]
    taken: list[tuple[float, int]] = []
    for value, text in zip(row.values, row.labels, strict=True):
        place = x.at(value)
        used = {level for other, level in taken if abs(other - place) < _APART}
        level = next(free for free in range(len(row.values)) if free not in used)
        taken.append((place, level))
        dot = element("circle", cx=place, cy=middle - 5 - min(level, 3) * 5.5, r=3.4, class_="dot")
        parts.append(
            element(
                "g",
                element("title", f"{row.series.name}, {text}: {words.show(value, chart.x_kind)}"),
                dot,
                class_=f"pt {colour(style)}",
            )
        )
    if row.mean is not None:
        low, high, place = x.at(row.mean.low), x.at(row.mean.high), middle + 9
        line = element("path", d=f"M{number(low)} {number(place)}H{number(high)}", class_="mean")
        told = f"{row.series.name}, mean: {words.show_estimate(row.mean, chart.x_kind)}"
        parts.append(
            element("g", element("title", told), line, marker(style, x.at(row.mean.value), place), class_=f"pt {colour(style)}")
        )
        parts.append(label(box.right + 12, middle, words.show(row.mean.value, chart.x_kind), "small strong"))
        parts.append(label(box.right + 12, middle + 15, words.interval(row.mean, chart.x_kind), "tick"))
    return parts
