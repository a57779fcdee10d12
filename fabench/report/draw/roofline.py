"""The roofline: achieved rate over arithmetic intensity, under the peaks that were measured on the same device."""

from __future__ import annotations

from fabench.report import words
from fabench.report.blocks import Roofline
from fabench.report.draw.axis import LogAxis, domain, ticks
from fabench.report.draw.curves import curve, end_labels
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.draw.parts import Box, horizontal_axis, label, picture, vertical_axis
from fabench.report.draw.place import Area, Ground, width_of

__all__ = ["draw"]

WIDTH, HEIGHT = 580.0, 400.0


def draw(chart: Roofline) -> Markup:
    """The chart as one SVG."""
    ridge = chart.flop_per_s / chart.bytes_per_s
    xs = [point.x for line in chart.lines for point in line.points]
    ys = [point.y for line in chart.lines for point in line.points]
    x_low, x_high = domain([*xs, ridge], 4.0, 4.0)
    y_low, y_high = domain([*ys, chart.flop_per_s], 2.0, 2.6)
    y = LogAxis(y_low, y_high, HEIGHT - 46, 12)
    y_ticks = ticks(y, "flops", 7)
    box = Box(14 + width_of(max((tick.label for tick in y_ticks), key=len, default="")), 12, WIDTH - 12, HEIGHT - 46)
    x = LogAxis(x_low, x_high, box.left, box.right)
    ground = Ground()
    for line in chart.lines:
        ground.add_curve([(x.at(p.x), y.at(p.y)) for p in line.points])
    roof = _roof(chart, ridge, x, y, ground)
    parts = [
        vertical_axis(y, y_ticks, box),
        horizontal_axis(x, ticks(x, "number", 7), box, "arithmetic intensity, FLOP per byte of least traffic"),
        roof,
        join(curve(line, x, y) for line in chart.lines),
        join(_ring(chart, x, y)),
        end_labels(chart.lines, x, y, box, ground, beside=False),
    ]
    return picture(WIDTH, HEIGHT, chart.summary or chart.title, parts, "roofline")


def _roof(chart: Roofline, ridge: float, x: LogAxis, y: LogAxis, ground: Ground) -> Markup:
    start = max(x.low, y.low / chart.bytes_per_s)
    foot, top = (x.at(start), y.at(start * chart.bytes_per_s)), (x.at(ridge), y.at(chart.flop_per_s))
    ground.add_curve([foot, top, (x.end, top[1])])
    texts = (
        f"measured peak {words.show(chart.flop_per_s, 'flops')}",
        f"copy bandwidth {words.show(chart.bytes_per_s, 'bandwidth')}",
    )
    wide = [width_of(text) for text in texts]
    peak = ground.take(Area(x.end - wide[0] - 4, top[1] + shift, x.end - 4, top[1] + shift + 15) for shift in (-20, 6, -34))
    middle = ((foot[0] + top[0]) / 2, (foot[1] + top[1]) / 2)
    tries = (
        (middle[0] + 14, middle[1] + 6),
        (middle[0] + 14, middle[1] - 4),
        (foot[0] + 8, top[1] - 20),
        (middle[0] + 14, middle[1] + 30),
    )
    copy = ground.take(Area(left, above, left + wide[1], above + 15) for left, above in tries)
    d = f"M{number(foot[0])} {number(foot[1])}L{number(top[0])} {number(top[1])}H{number(x.end)}"
    labels = [label(area.left, area.top + 12, text, "halo small") for area, text in zip((peak, copy), texts, strict=True)]
    return join([element("path", d=d, class_="roof"), *labels])


def _ring(chart: Roofline, x: LogAxis, y: LogAxis) -> list[Markup]:
    """A ring around what exceeds the roof: no machine does that, so the count or the clock is wrong."""
    beyond = [p for line in chart.lines for p in line.points if p.label in chart.impossible]
    rings = [element("circle", cx=x.at(p.x), cy=y.at(p.y), r=9, class_="ring") for p in beyond]
    return [*rings, *(label(x.at(p.x), y.at(p.y) - 13, "above peak", "small strong halo", "middle") for p in beyond[:3])]
