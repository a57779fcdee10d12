"""Grouped bars over a log axis: what was measured, beside a hollow bar of what was predicted, and words where a bar is missing."""

from __future__ import annotations

from fabench.report import words
from fabench.report.blocks import Bar, BarChart, Limit, Series
from fabench.report.draw.axis import EvenAxis, LogAxis, Tick, domain, ticks, zero_ticks
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.draw.parts import Box, colour, label, picture, vertical_axis

__all__ = ["draw", "key", "square"]

WIDTH, HEIGHT = 1180.0, 330.0
_LETTER = 6.3
_LEAST_WHISKER = 3.0


def draw(chart: BarChart) -> Markup:
    """The chart as one SVG."""
    limits, y, y_ticks = _axis(chart)
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


def _axis(chart: BarChart) -> tuple[list[Limit], LogAxis, list[Tick]]:
    """The limits that are near enough to be shown, the axis, and its ticks."""
    values = [v for group in chart.groups for bar in group.bars for v in (bar.value, bar.predicted, bar.high) if v]
    if chart.linear:
        even = EvenAxis(0, max(values, default=1.0) * 1.16, HEIGHT - 50, 14)
        return [limit for limit in chart.limits if limit.y <= even.high], even, zero_ticks(even, chart.y_kind)
    low, high = domain(values, 3.0, 2.6, 100.0)
    limits = [limit for limit in chart.limits if low < limit.y <= high * 64]
    y = LogAxis(low, max([high, *(limit.y * 2.5 for limit in limits)]), HEIGHT - 50, 14)
    return limits, y, ticks(y, chart.y_kind, 6)


def _bar(bar: Bar, left: float, slot: float, y: LogAxis, box: Box, kind: str) -> Markup:
    width = slot * (0.42 if bar.predicted is not None else 0.8)
    start = left + slot * 0.06
    parts: list[object] = [element("title", bar.label)]
    top = box.bottom
    if bar.value:
        top = y.inside(bar.value)
        parts.append(element("rect", x=start, y=top, width=width, height=box.bottom - top, class_="bar", rx=1.5))
    else:
        lines = [(text, kind) for text, kind in ((bar.missing, "small strong halo"), (bar.above, "small halo")) if text]
        first = start + width / 2 + 4 - 6.5 * (len(lines) - 1)
        parts += [_upright(text, first + 13 * at, box, kind) for at, (text, kind) in enumerate(lines)]
    if bar.predicted:
        expected = y.inside(bar.predicted)
        parts.append(
            element("rect", x=start + width + 1, y=expected, width=width, height=box.bottom - expected, class_="hollow", rx=1.5)
        )
        top = min(top, expected)
    if bar.low is not None and bar.high is not None:
        ends = (y.inside(bar.low), y.inside(bar.high))
        if ends[0] - ends[1] >= _LEAST_WHISKER:
            d = f"M{number(start + width / 2)} {number(ends[0])}V{number(ends[1])}"
            parts.append(element("path", d=d, class_="whisker"))
            top = min(top, ends[1])
    if bar.above and bar.value:
        parts.append(label(left + slot / 2, top - 17, bar.above, "small strong halo", "middle"))
    if bar.value:
        shown = words.show(bar.value, kind)
        if len(shown) * 5.6 <= slot + 4:
            parts.append(label(left + slot / 2, top - 5, shown, "value halo", "middle"))
    return element("g", *parts, class_=f"pt {colour(bar.series.style)}")


def _upright(text: str, x: float, box: Box, kind: str) -> Markup:
    """Text that stands on the axis."""
    return label(x, box.bottom - 7, text, kind, transform=f"rotate(-90 {number(x)} {number(box.bottom - 7)})")


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
