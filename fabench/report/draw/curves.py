"""Curves with bands and markers, told apart even where they coincide, and their names at their ends."""

from __future__ import annotations

from collections.abc import Sequence

from fabench.report.blocks import Line
from fabench.report.draw.axis import LogAxis
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.draw.parts import Box, colour, dash, label, point, shorten, spread
from fabench.report.draw.place import Area, Ground

__all__ = ["coinciding", "curve", "end_labels"]

_NEAR = 3.0


def curve(line: Line, x: LogAxis, y: LogAxis, turn: int = 0, turns: int = 1) -> Markup:
    """Band, line and markers. Of `turns` curves that coincide each draws every so many-th marker, so that all shapes show."""
    style = line.series.style
    places = [(x.at(p.x), y.at(p.y)) for p in line.points]
    parts: list[object] = [_band(line, x, y)]
    if len(places) > 1:
        path = "M" + "L".join(f"{number(px)} {number(py)}" for px, py in places)
        parts.append(element("path", d=path, class_="l", stroke_dasharray=dash(style)))
    points = [
        point(style, px, py, p.label, shown=index % turns == turn or len(places) < turns)
        for index, ((px, py), p) in enumerate(zip(places, line.points, strict=True))
    ]
    return join([element("g", *parts, class_=colour(style)), *points])


def _band(line: Line, x: LogAxis, y: LogAxis) -> Markup:
    ends = [(x.at(p.x), p.low, p.high) for p in line.points if p.low is not None and p.high is not None]
    if len(ends) < 2 or len(ends) < len(line.points):
        return Markup()
    upper = [f"{number(px)} {number(y.inside(high))}" for px, _, high in ends]
    lower = [f"{number(px)} {number(y.inside(low))}" for px, low, _ in reversed(ends)]
    return element("path", d="M" + "L".join(upper + lower) + "Z", class_="band")


def coinciding(lines: Sequence[Line], x: LogAxis, y: LogAxis) -> list[tuple[int, int]]:
    """For each line its turn among those that it coincides with, and how many these are."""
    groups: list[list[int]] = []
    for index, line in enumerate(lines):
        home = next((group for group in groups if _same(lines[group[0]], line, y)), None)
        if home is None:
            groups.append([index])
        else:
            home.append(index)
    turns = {member: (turn, len(group)) for group in groups for turn, member in enumerate(group)}
    return [turns[index] for index in range(len(lines))]


def _same(first: Line, second: Line, y: LogAxis) -> bool:
    known = {p.x: p.y for p in first.points}
    shared = [(known[p.x], p.y) for p in second.points if p.x in known]
    return len(shared) > 1 and all(abs(y.at(a) - y.at(b)) < _NEAR for a, b in shared)


def end_labels(lines: Sequence[Line], x: LogAxis, y: LogAxis, box: Box, ground: Ground, beside: bool = True) -> Markup:
    """Names at the right ends of their lines, moved apart; a leader shows whose a moved one is. Not `beside`: all inside the plot."""
    ended = [(line, x.at(line.points[-1].x), y.at(line.points[-1].y)) for line in lines if line.points]
    outer = [place for place in ended if beside and place[1] >= box.right - 40]
    parts: list[object] = []
    heights = spread([py for _, _, py in outer], 14, box.top + 4, box.bottom - 4)
    for (line, px, py), target in zip(outer, heights, strict=True):
        start = max(px + 10, box.right + 4)
        if abs(target - py) > 6:
            d = f"M{number(px + 6)} {number(py)}L{number(start - 2)} {number(target)}"
            parts.append(element("path", d=d, class_=f"leader {colour(line.series.style)}"))
        parts.append(label(start, target + 4, shorten(line.series.name), "direct"))
    for line, px, py in (place for place in ended if place not in outer):
        width = 6.9 * len(shorten(line.series.name))
        sides = (
            (px + 9, -8),
            (px - width / 2, -24),
            (px + 9, 4),
            (px - width / 2, 9),
            (px - width - 9, -8),
            (px - width - 9, -20),
        )
        tries = [(left, py + shift + more) for more in (0, 14, -14, 28, -28) for left, shift in sides]
        inside = [(left, top) for left, top in tries if left + width <= box.right + (30 if beside else 0) and top > box.top - 10]
        spot = ground.take(Area(left, top, left + width, top + 15) for left, top in inside or tries)
        parts.append(label(spot.left, spot.top + 12, shorten(line.series.name), "direct"))
    return join(parts)
