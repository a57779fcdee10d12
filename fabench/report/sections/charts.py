"""Line charts of one setting, for every section that shows one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from fabench.analysis.crossover import Crossover
from fabench.analysis.curves import Curve
from fabench.analysis.scaling import Exponent
from fabench.report import words
from fabench.report.blocks import Limit, Line, LineChart, Mark, Missing, Point, Series
from fabench.report.readings import Readings

__all__ = ["crossing", "identifier", "line_chart", "series", "short"]

_MOST_LINES, _MOST_POINTS, _MOST_MARKS = 8, 60, 2
_WHAT = {"time": ("Time per call", "duration"), "memory": ("Peak memory of the call", "bytes")}


def identifier(*parts: object) -> str:
    """An id for the page: letters, digits and hyphens only."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(map(str, parts)).lower()).strip("-") or "x"


def short(missing: str) -> str:
    """The words beside a cross: `OUT OF MEMORY`."""
    return words.status_words(missing.partition(":")[0]).upper()


def series(readings: Readings, name: str, detail: str = "") -> Series:
    """A name with its look."""
    return Series(words.plain(name), readings.styles[name], detail)


def crossing(found: Crossover) -> str:
    """`1,490 (1,380–1,610)`, with < or > where the interval is open."""
    if found.n is None:
        return "none in range"
    low = ("< " if found.open_low else "") + words.integer(found.n.low)
    high = ("> " if found.open_high else "") + words.integer(found.n.high)
    return f"{words.integer(found.n.value)} ({low}{words.DASH}{high})"


def line_chart(readings: Readings, setting: str, quantity: Literal["time", "memory"], title: str, key: str) -> LineChart:
    """All implementations of a setting over n, with slopes in the legend and crossovers marked."""
    found = readings.curves_of(setting, quantity)
    shown = [curve for curve in found if curve.n][:_MOST_LINES]
    slopes = {one.implementation: one for one in readings.exponents if one.setting == setting and one.quantity == quantity}
    crossed = _crossed(readings, setting, quantity, [curve.implementation for curve in shown])
    label, kind = _WHAT[quantity]
    lines = tuple(_line(readings, curve, slopes.get(curve.implementation), kind) for curve in shown)
    return LineChart(
        id=identifier(key, quantity),
        title=title,
        subtitle=setting,
        x_label="positions n",
        y_label=label,
        y_kind=kind,
        lines=lines,
        marks=tuple(_mark(one) for one in crossed[:_MOST_MARKS]),
        guides=(1, 2),
        limits=_limits(readings, shown) if quantity == "memory" else (),
        summary=_summary(label, setting, lines, crossed),
        note=_note(found, shown, quantity),
    )


def _crossed(readings: Readings, setting: str, quantity: str, names: Sequence[str]) -> list[Crossover]:
    """Crossings of shown lines, the headline's first."""
    every = readings.crossovers if quantity == "time" else readings.memory_crossovers
    found = [one for one in every if one.setting == setting and one.n is not None and one.first in names and one.second in names]
    linear = readings.headline.linear
    found = [one for one in found if one.second == linear] or found
    return sorted(found, key=lambda one: (one.first != readings.headline.quadratic, one.second != linear, one.first, one.second))


def _mark(found: Crossover) -> Mark:
    assert found.n is not None
    return Mark(found.n, f"n = {crossing(found)}", f"{words.plain(found.after)[:24]} passes {words.plain(found.before)[:24]}")


def _line(readings: Readings, curve: Curve, slope: Exponent | None, kind: str) -> Line:
    part = readings.frame[readings.frame["setting"] == curve.setting]
    lows, highs, samples = (part[name].tolist() for name in ("time_low_s", "time_high_s", "samples"))
    points = []
    for n, value, row in zip(curve.n, curve.values, curve.rows, strict=True):
        where = f"{curve.implementation}, n = {n:,}: {words.show(value, kind)}"
        if kind == "duration":
            spread = f"{words.show(lows[row], kind)}{words.DASH}{words.show(highs[row], kind)}"
            points.append(Point(n, value, lows[row], highs[row], f"{where} (95 % {spread}, {samples[row]} samples)"))
        else:
            points.append(Point(n, value, None, None, where))
    missing = [Missing(n, short(why), words.plain(f"{curve.implementation}, n = {n:,}: {why}")) for n, why in curve.missing]
    missing = [gap for gap in missing if not gap.text.startswith("NO ")]
    detail = ""
    if slope is not None and slope.estimate is not None:
        detail = f"n^{words.show(slope.estimate, 'exponent')}"
    return Line(series(readings, curve.implementation, detail), tuple(_thin(points)), tuple(missing[:_MOST_POINTS]))


def _thin(points: Sequence[Point]) -> Sequence[Point]:
    """Some of very many points, the ends among them."""
    if len(points) <= _MOST_POINTS:
        return points
    step = (len(points) - 1) / (_MOST_POINTS - 1)
    return [points[round(step * index)] for index in range(_MOST_POINTS)]


def _limits(readings: Readings, shown: Sequence[Curve]) -> tuple[Limit, ...]:
    device = shown[0].device if shown else ""
    environment = readings.environment_of(device)
    if environment is None:
        return ()
    known = environment.devices.get(device) or environment.devices.get(device.partition(":")[0]) or {}
    memory = known.get("memory_bytes")
    if not isinstance(memory, (int, float)) or isinstance(memory, bool) or memory <= 0:
        return ()
    return (Limit(float(memory), f"{device} has {words.show(float(memory), 'bytes')}"),)


def _summary(label: str, setting: str, lines: Sequence[Line], crossed: Sequence[Crossover]) -> str:
    parts = [f"{label} over n, both axes logarithmic, {setting}."]
    for line in lines:
        first, last = line.points[0], line.points[-1]
        grows = f" as {line.series.detail}" if line.series.detail else ""
        parts.append(f"{line.series.name} grows{grows} from n = {first.x:,.0f} to {last.x:,.0f}" + _gaps(line))
    parts += [f"{one.after} passes {one.before} at n = {crossing(one)}." for one in crossed[:_MOST_MARKS]]
    return " ".join(parts)


def _gaps(line: Line) -> str:
    if not line.missing:
        return "."
    first = min(line.missing, key=lambda gap: gap.x)
    return f"; {first.text.lower()} at n = {first.x:,.0f}."


def _note(found: Sequence[Curve], shown: Sequence[Curve], quantity: str) -> str:
    parts = [
        "Shading: 95 % interval of the median." if quantity == "time" else "What the call took at its peak, inputs not counted."
    ]
    alike = _alike(shown)
    if len(alike) > 1:
        parts.append(f"Within 5 % of each other wherever both ran: {', '.join(alike)}.")
    hidden = [curve for curve in found if curve not in shown]
    empty = [curve for curve in hidden if not curve.n]
    if empty:
        parts.append(
            "Without any value: "
            + "; ".join(f"{c.implementation} ({c.missing[0][1] if c.missing else 'not measured'})" for c in empty[:4])
            + "."
        )
    if len(hidden) > len(empty):
        parts.append(f"{len(hidden) - len(empty)} further implementations are in the tables.")
    return words.plain(" ".join(parts))


def _alike(shown: Sequence[Curve]) -> list[str]:
    """The first group of curves that lie on each other."""
    for first in shown:
        known = dict(zip(first.n, first.values, strict=True))
        group = [first.implementation]
        for other in shown:
            shared = [(known[n], value) for n, value in zip(other.n, other.values, strict=True) if n in known]
            if other is not first and len(shared) > 1 and all(abs(a - b) <= 0.05 * a for a, b in shared):
                group.append(other.implementation)
        if len(group) > 1:
            return group
    return []
