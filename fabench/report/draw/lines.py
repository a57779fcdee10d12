"""Log-log line charts: bands, guides of known slope, crossovers with their interval, and a strip that says what is missing and why."""

from __future__ import annotations

from collections.abc import Sequence

from fabench.report import words
from fabench.report.blocks import Line, LineChart, Mark
from fabench.report.draw.axis import EvenAxis, LogAxis, domain, even_ticks, ticks
from fabench.report.draw.curves import coinciding, curve, end_labels
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.draw.parts import Box, horizontal_axis, label, picture, point, shorten, vertical_axis
from fabench.report.draw.place import Area, Ground, width_of

__all__ = ["HEIGHT", "WIDTH", "draw"]

WIDTH, HEIGHT = 580.0, 400.0
_ROW, _STRIP_ROWS = 17.0, 5
_NARROW = 4.0


def draw(chart: LineChart) -> Markup:
    """The chart as one SVG."""
    absent = [line for line in chart.lines if line.missing][:_STRIP_ROWS]
    xs = [p.x for line in chart.lines for p in line.points] + [gap.x for line in absent for gap in line.missing]
    room = (1.03, 1.03, 1.25) if chart.in_order else (1.6, 1.6, 30.0)
    low, high = domain([end for line in chart.lines for p in line.points for end in (p.y, p.low, p.high) if end], *room)
    limits = [limit for limit in chart.limits if low <= limit.y <= high * 64]
    high = max([high, *(limit.y * 1.6 for limit in limits)])
    narrow = chart.in_order and high < _NARROW * low
    y_ticks = (even_ticks if narrow else ticks)(LogAxis(low, high, 0, 1), chart.y_kind)
    left = 14 + width_of(max((tick.label for tick in y_ticks), key=len, default=""))
    names = max([len(shorten(line.series.name)) for line in chart.lines], default=0)
    right = WIDTH - 12 - 6.9 * names
    x = _counted(xs, left, right) if chart.in_order else LogAxis(*domain(xs, 1.12, 1.12), left, right)
    strip, top = _strip(absent, x)
    box = Box(left, top + 12, right, top + HEIGHT - 46)
    y = LogAxis(low, high, box.bottom, box.top)
    most = int((right - left) // (14 + width_of(words.integer(x.high))))
    x_ticks = even_ticks(x, "count", most) if chart.in_order else ticks(x, "count", most, xs)
    ground = Ground()
    for line in chart.lines:
        ground.add_curve([(x.at(p.x), y.at(p.y)) for p in line.points])
    for mark in chart.marks:
        ground.add_curve([(x.inside(mark.x.value), box.top), (x.inside(mark.x.value), box.bottom)])
    for limit in limits:
        ground.add_curve([(left, y.at(limit.y)), (right, y.at(limit.y))])
    ends = end_labels(chart.lines, x, y, box, ground)
    parts = [
        vertical_axis(y, y_ticks, box),
        horizontal_axis(x, x_ticks, box, chart.x_label),
        join(_limit(limit.y, limit.text, y, box, ground) for limit in limits),
        join(_mark(mark, x, box) for mark in chart.marks),
        join(_mark_label(mark, x, box, ground) for mark in chart.marks),
        _guides(chart, x, y, box, ground),
        join(curve(line, x, y, *turn) for line, turn in zip(chart.lines, coinciding(chart.lines, x, y), strict=True)),
        ends,
        strip,
    ]
    return picture(WIDTH, box.bottom + 46, chart.summary or chart.title, parts, "lines")


def _counted(xs: Sequence[float], left: float, right: float) -> EvenAxis:
    return EvenAxis(min(xs, default=1.0) - 0.5, max(xs, default=1.0) + 0.5, left, right)


def _limit(value: float, text: str, y: LogAxis, box: Box, ground: Ground) -> Markup:
    place, width = y.at(value), width_of(text)
    starts = (box.left + 6, (box.left + box.right - width) / 2, box.right - width - 6)
    spot = ground.take(Area(start, place - 17, start + width, place - 3) for start in starts)
    line = element("path", d=f"M{number(box.left)} {number(place)}H{number(box.right)}", class_="limit")
    return join([line, label(spot.left, place - 5, text, "halo small")])


def _mark(mark: Mark, x: LogAxis, box: Box) -> Markup:
    """A crossover's line and interval."""
    low, high, place = x.inside(mark.x.low), x.inside(mark.x.high), x.inside(mark.x.value)
    tall = box.bottom - box.top
    between = element("rect", x=low, y=box.top, width=max(1.5, high - low), height=tall, class_="between")
    return join([between, element("path", d=f"M{number(place)} {number(box.top)}V{number(box.bottom)}", class_="mark")])


def _mark_label(mark: Mark, x: LogAxis, box: Box, ground: Ground) -> Markup:
    """Beside the line its n in bold, over who passes whom."""
    place, width = x.inside(mark.x.value), max(width_of(mark.text, 6.8), width_of(mark.detail)) + 4
    starts = [start for start in (place + 8, place - 8 - width) if start >= box.left - 4 and start + width <= box.right + 60]
    tops = (box.bottom - 40, box.top + 2, box.bottom - 76, box.top + 38, box.bottom - 112, box.top + 74)
    spot = ground.take(Area(start, top, start + width, top + 33) for top in tops for start in starts or [box.left])
    at, anchor = (spot.left, "start") if spot.left > place else (spot.right, "end")
    head = label(at, spot.top + 13, mark.text, "halo strong", anchor)
    return join([head, label(at, spot.top + 27, mark.detail, "halo small", anchor)])


def _guides(chart: LineChart, x: LogAxis, y: LogAxis, box: Box, ground: Ground) -> Markup:
    """A small fan of slopes where the lines leave room."""
    if not chart.guides:
        return Markup()
    steep = max(chart.guides) * y.per_decade / x.per_decade * -1
    run = min(64.0, (box.right - box.left) * 0.18, (box.bottom - box.top) * 0.34 / max(steep, 0.01))
    rises = [-slope * run * y.per_decade / x.per_decade for slope in chart.guides]
    wide, tall = run + 46, max(rises) + 16
    tops = [box.top + (box.bottom - box.top - tall) * share for share in (0.02, 0.96, 0.12, 0.24, 0.84, 0.36, 0.5)]
    room = box.right - wide - 16 - box.left
    starts = [box.left + 10 + room * share for share in (0.0, 1.0, 0.2, 0.8, 0.4, 0.6)]
    spot = ground.take(Area(start, top, start + wide, top + tall) for top in tops for start in starts)
    foot = (spot.left, spot.bottom - 8)
    parts: list[object] = []
    for slope, rise in zip(chart.guides, rises, strict=True):
        end = (foot[0] + run, foot[1] - rise)
        parts.append(element("path", d=f"M{number(foot[0])} {number(foot[1])}L{number(end[0])} {number(end[1])}", class_="guide"))
        parts.append(label(end[0] + 4, end[1] + 4, f"slope {slope}", "guide-name"))
    return join(parts)


def _strip(lines: Sequence[Line], x: LogAxis) -> tuple[Markup, float]:
    """Above the plot a row for each series with missing values, and how tall all are: a cross at each n, and what happened in words.

    The words stand left of the first cross, or, where there is no room, on a line of their own.
    """
    parts: list[object] = []
    y = 12.0
    for line in lines:
        name, happened = f"{shorten(line.series.name)} ", _happened(line)
        start, width = x.at(min(gap.x for gap in line.missing)) - 11, width_of(name + happened, 7.6)
        if start - width < 0:
            start, y = max(width, min(start, WIDTH - 4)), y + _ROW - 1
        words_ = element("tspan", happened, class_="strong")
        place = y + 4 if start >= width and start == x.at(min(gap.x for gap in line.missing)) - 11 else y - _ROW + 5
        parts.append(element("text", name, words_, x=float(start), y=float(place), class_="small", text_anchor="end"))
        parts += [point(line.series.style, x.at(gap.x), y, gap.label, missing=True) for gap in line.missing]
        y += _ROW
    if lines:
        parts.append(element("path", d=f"M{number(x.start)} {number(y - 3)}H{number(x.end)}", class_="rule"))
    return join(parts), y - 8 if lines else 0.0


def _happened(line: Line) -> str:
    """What happened, each thing once, in the order of n: `OUT OF MEMORY, SKIPPED`."""
    found = list(dict.fromkeys(gap.text for gap in sorted(line.missing, key=lambda gap: gap.x)))
    return ", ".join(found) if len(found) < 3 else f"{found[0]}, {found[1]}, ..."
