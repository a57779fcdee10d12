"""The roofline: achieved rate over arithmetic intensity, under the peaks that were measured on the same device."""

from __future__ import annotations

from fabench.report import words
from fabench.report.blocks import Roofline
from fabench.report.draw.axis import LogAxis, domain, ticks
from fabench.report.draw.curves import curve, end_labels
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.draw.parts import Box, horizontal_axis, label, picture, vertical_axis

__all__ = ["draw"]

WIDTH, HEIGHT = 580.0, 400.0


def draw(chart: Roofline) -> Markup:
    """The chart as one SVG."""
    ridge = chart.flop_per_s / chart.bytes_per_s
    xs = [point.x for line in chart.lines for point in line.points]
    ys = [point.y for line in chart.lines for point in line.points]
    x_low, x_high = domain([*xs, ridge], 2.0, 4.0)
    y_low, y_high = domain([*ys, chart.flop_per_s], 2.0, 2.6)
    y = LogAxis(y_low, y_high, HEIGHT - 46, 12)
    y_ticks = ticks(y, "flops", 7)
    names = max([len(line.series.name[:24]) for line in chart.lines], default=0)
    box = Box(16 + 6.3 * max([len(tick.label) for tick in y_ticks], default=0), 12, WIDTH - 12 - min(150, 6.3 * names), HEIGHT - 46)
    x = LogAxis(x_low, x_high, box.left, box.right)
    parts = [
        vertical_axis(y, y_ticks, box),
        horizontal_axis(x, ticks(x, "number", 7), box, "arithmetic intensity, FLOP per byte of least traffic"),
        _roof(chart, ridge, x, y),
        join(curve(line, x, y) for line in chart.lines),
        join(_ring(chart, x, y)),
        end_labels(chart.lines, x, y, box),
    ]
    return picture(WIDTH, HEIGHT, chart.summary or chart.title, parts, "roofline")


def _roof(chart: Roofline, ridge: float, x: LogAxis, y: LogAxis) -> Markup:
    start = max(x.low, y.low / chart.bytes_per_s)
    foot = (x.at(start), y.at(start * chart.bytes_per_s))
    top = (x.at(ridge), y.at(chart.flop_per_s))
    d = f"M{number(foot[0])} {number(foot[1])}L{number(top[0])} {number(top[1])}H{number(x.end)}"
    peak = label(x.end - 4, top[1] - 7, f"measured peak {words.show(chart.flop_per_s, 'flops')}", "halo small", "end")
    lower = y.at(max(y.low, chart.flop_per_s / 30))
    spot = (x.at(min(ridge, max(x.low, y.low * 2 / chart.bytes_per_s))), lower)
    bandwidth = label(max(x.start + 6, spot[0] + 6), y.end + 14, f"copy bandwidth {words.show(chart.bytes_per_s, 'bandwidth')}", "halo small")
    return join([element("path", d=d, class_="roof"), peak, bandwidth])


def _ring(chart: Roofline, x: LogAxis, y: LogAxis) -> list[Markup]:
    """A ring around what exceeds the roof: no machine does that, so the count or the clock is wrong."""
    beyond = [p for line in chart.lines for p in line.points if p.label in chart.impossible]
    rings = [element("circle", cx=x.at(p.x), cy=y.at(p.y), r=9, class_="ring") for p in beyond]
    return [*rings, *(label(x.at(p.x), y.at(p.y) - 13, "above peak", "small strong halo", "middle") for p in beyond[:3])]
