"""Grouped bars over a log axis: what was measured, beside a hollow bar of what was predicted, and words where a bar is missing."""

from __future__ import annotations

from fabench.report import words
from fabench.report.blocks import Bar, BarChart, Series
from fabench.report.draw.axis import LogAxis, domain, ticks
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.draw.parts import Box, colour, label, picture, vertical_axis

__all__ = ["draw", "key", "square"]

WIDTH, HEIGHT = 1180.0, 330.0
_LETTER = 6.3


def draw(chart: BarChart) -> Markup:
    """The chart as one SVG."""
    bars = [bar for group in chart.groups for bar in group.bars]
    values = [value for bar in bars for value in (bar.value, bar.predicted) if value]
    low, high = domain(values, 3.0, 2.6, 100.0)
    limits = [limit for limit in chart.limits if low < limit.y <= high * 64]
    high = max([high, *(limit.y * 2.5 for limit in limits)])
    y = LogAxis(low, high, HEIGHT - 50, 14)
    y_ticks = ticks(y, chart.y_kind, 6)
    box = Box(16 + _LETTER * max([len(tick.label) for tick in y_ticks], default=0), 14, WIDTH - 8, HEIGHT - 50)
    parts: list[object] = [vertical_axis(y, y_ticks, box)]
    for limit in limits:
        place = number(y.at(limit.y))
        parts.append(element("path", d=f"M{number(box.left)} {place}H{number(box.right)}", class_="limit"))
        parts.append(label(box.left + 6, y.at(limit.y) - 5, limit.text, "halo small"))
    room = (box.right - box.left) / max(1, len(chart.groups))
    slot = min(74.0, room * 0.86 / max([len(group.bars) for group in chart.groups], default=1))
    for index, group in enumerate(chart.groups):
        centre = box.left + room * (index + 0.5)
        start = centre - slot * len(group.bars) / 2
        parts += [_bar(bar, start + slot * place, slot, y, box, chart.y_kind) for place, bar in enumerate(group.bars)]
        parts.append(label(centre, box.bottom + 17, group.title, "tick", "middle"))
    parts.append(element("path", d=f"M{number(box.left)} {number(box.bottom)}H{number(box.right)}", class_="axis"))
    parts.append(label((box.left + box.right) / 2, box.bottom + 38, chart.x_label, "name", "middle"))
    return picture(WIDTH, HEIGHT, chart.summary or chart.title, parts, "bars")


def _bar(bar: Bar, left: float, slot: float, y: LogAxis, box: Box, kind: str) -> Markup:
    width = slot * (0.42 if bar.predicted is not None else 0.8)
    start = left + slot * 0.06
    parts: list[object] = [element("title", bar.label)]
    top = box.bottom
    if bar.value:
        top = y.inside(bar.value)
        parts.append(element("rect", x=start, y=top, width=width, height=box.bottom - top, class_="bar", rx=1.5))
    else:
        middle = start + width / 2
        turn = f"rotate(-90 {number(middle + 4)} {number(box.bottom - 7)})"
        parts.append(label(middle + 4, box.bottom - 7, bar.missing, "small strong halo", transform=turn))
    if bar.predicted:
        expected = y.inside(bar.predicted)
        parts.append(
            element("rect", x=start + width + 1, y=expected, width=width, height=box.bottom - expected, class_="hollow", rx=1.5)
        )
        top = min(top, expected)
    if bar.value:
        shown = words.show(bar.value, kind)
        if len(shown) * 5.6 <= slot + 4:
            parts.append(label(left + slot / 2, top - 5, shown, "value halo", "middle"))
    return element("g", *parts, class_=f"pt {colour(bar.series.style)}")


def square(series: Series) -> Markup:
    """A legend's picture: the bar's colour."""
    shape = element("rect", x=1, y=2, width=11, height=11, class_="bar", rx=1.5)
    return element(
        "svg", shape, class_=f"swatch {colour(series.style)}", viewBox="0 0 13 15", width=13, height=15, aria_hidden="true"
    )


def key(predicted: bool) -> Markup:
    """What solid and hollow bars mean, for the legend."""
    if not predicted:
        return Markup()
    solid = element("rect", x=1, y=2, width=11, height=11, class_="bar", rx=1.5)
    hollow = element("rect", x=1, y=2, width=11, height=11, class_="hollow", rx=1.5)
    parts = []
    for shape, meaning in ((solid, "measured"), (hollow, "predicted from the formula")):
        picture_ = element("svg", shape, class_="swatch c6", viewBox="0 0 13 15", width=13, height=15, aria_hidden="true")
        parts.append(element("li", picture_, element("span", meaning)))
    return join(parts)
