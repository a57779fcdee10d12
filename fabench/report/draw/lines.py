"""Log-log line charts: bands, guides of known slope, crossovers with their interval, and a strip that says what is missing and why."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fabench.report import words
from fabench.report.blocks import Line, LineChart
from fabench.report.draw.axis import LogAxis, domain, ticks
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.draw.parts import (
    Box, colour, dash, horizontal_axis, label, picture, point, shorten, spread, vertical_axis,
)  # fmt: skip

__all__ = ["curve", "draw", "end_labels"]

WIDTH, HEIGHT = 580.0, 400.0
_ROW, _STRIP_ROWS = 17.0, 5
_LETTER = 6.3


def draw(chart: LineChart) -> Markup:
    """The chart as one SVG."""
    absent = [line for line in chart.lines if line.missing]
    rows = absent[:_STRIP_ROWS]
    xs = [point.x for line in chart.lines for point in line.points] + [gap.x for line in rows for gap in line.missing]
    ys = [end for line in chart.lines for p in line.points for end in (p.y, p.low, p.high) if end]
    low, high = domain(ys, 1.6, 1.6, 30.0)
    limits = [limit for limit in chart.limits if limit.y <= high * 64 and limit.y >= low]
    high = max([high, *(limit.y * 1.5 for limit in limits)])
    strip = _ROW * len(rows) + (10 if rows else 0)
    height = HEIGHT + strip
    y = LogAxis(low, high, height - 46, 12 + strip)
    y_ticks = ticks(y, chart.y_kind)
    left = 16 + _LETTER * max([len(tick.label) for tick in y_ticks], default=0)
    names = max([len(shorten(line.series.name)) for line in chart.lines], default=0)
    box = Box(left, y.end, WIDTH - 12 - _LETTER * names, y.start)
    x = LogAxis(*domain(xs, 1.12, 1.12), box.left, box.right)
    x_ticks = ticks(x, "count", int((box.right - box.left) // (12 + _LETTER * len(words.integer(x.high)))), xs)
    parts = [
        vertical_axis(y, y_ticks, box),
        horizontal_axis(x, x_ticks, box, chart.x_label),
        join(_limit(limit.y, limit.text, y, box) for limit in limits),
        _marks(chart, x, box),
        _guides(chart, x, y, box),
        join(curve(line, x, y) for line in chart.lines),
        end_labels(chart.lines, x, y, box),
        _strip(rows, x, box),
    ]
    return picture(WIDTH, height, chart.summary or chart.title, parts, "lines")


def curve(line: Line, x: LogAxis, y: LogAxis) -> Markup:
    """Band, line and markers of a series."""
    places = [(x.at(p.x), y.at(p.y), p) for p in line.points]
    parts: list[object] = []
    band = [(px, p.low, p.high) for px, _, p in places if p.low is not None and p.high is not None]
    if len(band) > 1 and len(band) == len(places):
        upper = [f"{number(px)} {number(y.inside(end))}" for px, _, end in band]
        lower = [f"{number(px)} {number(y.inside(end))}" for px, end, _ in reversed(band)]
        parts.append(element("path", d="M" + "L".join(upper + lower) + "Z", class_="band"))
    if len(places) > 1:
        path = "M" + "L".join(f"{number(px)} {number(py)}" for px, py, _ in places)
        parts.append(element("path", d=path, class_="l", stroke_dasharray=dash(line.series.style)))
    drawn = [element("g", *parts, class_=colour(line.series.style))]
    return join(drawn + [point(line.series.style, px, py, p.label) for px, py, p in places])


def end_labels(lines: Sequence[Line], x: LogAxis, y: LogAxis, box: Box) -> Markup:
    """Names at the right ends of their lines, moved apart; a short leader shows whose they are."""
    ended = [(line, x.at(line.points[-1].x), y.at(line.points[-1].y)) for line in lines if line.points]
    inner = [place for place in ended if place[1] < box.right - 40]
    outer = [place for place in ended if place[1] >= box.right - 40]
    parts: list[object] = []
    for group in (inner, outer):
        heights = spread([py - (7 if group is inner else 0) for _, _, py in group], 14, box.top + 8, box.bottom - 6)
        for (line, px, py), target in zip(group, heights, strict=True):
            start = max(px + 9, box.right + 3) if group is outer else px + 9
            if abs(target - py) > 9 and group is outer:
                d = f"M{number(px + 6)} {number(py)}L{number(start - 1)} {number(target)}"
                parts.append(element("path", d=d, class_=f"leader {colour(line.series.style)}"))
            parts.append(label(start, target + 4, shorten(line.series.name), f"direct {colour(line.series.style)}"))
    return join(parts)


def _limit(value: float, text: str, y: LogAxis, box: Box) -> Markup:
    place = y.at(value)
    line = element("path", d=f"M{number(box.left)} {number(place)}H{number(box.right)}", class_="limit")
    return join([line, label(box.left + 6, place - 5, text, "halo small")])


def _marks(chart: LineChart, x: LogAxis, box: Box) -> Markup:
    parts: list[object] = []
    for row, mark in enumerate(chart.marks):
        low, high, place = x.inside(mark.x.low), x.inside(mark.x.high), x.inside(mark.x.value)
        parts.append(element("rect", x=low, y=box.top, width=max(1.0, high - low), height=box.bottom - box.top, class_="between"))
        parts.append(element("path", d=f"M{number(place)} {number(box.top)}V{number(box.bottom)}", class_="mark"))
        right = place + _LETTER * len(mark.text) + 8 < box.right
        text_y = box.top + 14 + 15 * row
        parts.append(label(place + (7 if right else -7), text_y, mark.text, "halo small strong", "start" if right else "end"))
    return join(parts)


def _guides(chart: LineChart, x: LogAxis, y: LogAxis, box: Box) -> Markup:
    """A small fan of slopes in the corner that the lines leave free."""
    if not chart.guides:
        return Markup()
    run = min(70.0, (box.right - box.left) * 0.18)
    rises = [-slope * run * y.per_decade / x.per_decade for slope in chart.guides]
    tall = max(rises)
    if tall > (box.bottom - box.top) * 0.45:
        run, rises, tall = run * 0.5, [rise * 0.5 for rise in rises], tall * 0.5
    corners = [(box.left + 12, box.top + 34 + tall), (box.left + 12, box.top + 12 + tall + (box.bottom - box.top) * 0.3)]
    corners.append((box.right - run - 62, box.bottom - 14))
    taken = [(x.at(p.x), y.at(p.y)) for line in chart.lines for p in line.points]
    corner = min(corners, key=lambda place: sum(_near(place, spot, run, tall) for spot in taken))
    parts: list[object] = []
    for slope, rise in zip(chart.guides, rises, strict=True):
        end = (corner[0] + run, corner[1] - rise)
        parts.append(element("path", d=f"M{number(corner[0])} {number(corner[1])}L{number(end[0])} {number(end[1])}", class_="guide"))
        parts.append(label(end[0] + 4, end[1] + 4, f"slope {slope}", "guide-name"))
    return join(parts)


def _near(corner: tuple[float, float], spot: tuple[float, float], run: float, tall: float) -> bool:
    across = corner[0] - 10 <= spot[0] <= corner[0] + run + 56
    return across and corner[1] - tall - 14 <= spot[1] <= corner[1] + 10


def _strip(rows: Sequence[Line], x: LogAxis, box: Box) -> Markup:
    """Above the plot, a row for each series with missing values: a cross at each n, and the reason of the first one in words."""
    parts: list[object] = []
    for index, line in enumerate(rows):
        y = 14 + _ROW * index
        first = min(line.missing, key=lambda gap: gap.x)
        start = x.at(first.x)
        width = _LETTER * (len(shorten(line.series.name, 18)) + len(first.text) + 1) + 14
        words_ = element("tspan", first.text, class_="strong")
        if start - width > 0 or start > WIDTH / 2:
            parts.append(element("text", f"{shorten(line.series.name, 18)} ", words_, x=start - 10, y=y + 4, class_="small", text_anchor="end"))
        else:
            last = max(x.at(gap.x) for gap in line.missing)
            parts.append(element("text", f"{shorten(line.series.name, 18)} ", words_, x=last + 10, y=y + 4, class_="small"))
        parts += [point(line.series.style, x.at(gap.x), y, gap.label, missing=True) for gap in line.missing]
    if rows:
        y = 10 + _ROW * len(rows)
        parts.append(element("path", d=f"M{number(box.left)} {number(y)}H{number(box.right)}", class_="grid"))
    return join(parts)


def logarithmic_middle(low: float, high: float) -> float:
    """Halfway between two values on a log axis."""
    return math.sqrt(low * high)
