"""The charts with matplotlib: the same content, looks and ticks as the SVG ones. Only `formats.figures` imports this."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from fabench.report import words
from fabench.report.blocks import BarChart, HeatMap, Line, LineChart, Plot, Roofline, Series
from fabench.report.draw.axis import EvenAxis, LogAxis, domain, ticks, zero_ticks
from fabench.report.draw.heat import position, reach
from fabench.report.style import PALETTE, diverging, ink_on, look

__all__ = ["figure_bytes"]

_MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "down": "v", "cross": "P"}
_RAISED = str.maketrans("0123456789.-", "⁰¹²³⁴⁵⁶⁷⁸⁹·⁻")
_POWER = re.compile(r"n\^(-?[\d.]+)")
_GREY, _FAINT, _WARN = "#565e6c", "#e6e8ec", "#9a3412"
_SETTINGS: Any = {
    "svg.hashsalt": "fabench", "svg.fonttype": "none", "pdf.fonttype": 42, "text.parse_math": False, "font.size": 8.5, "axes.titlesize": 9.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": _GREY,
    "axes.labelcolor": _GREY, "xtick.color": _GREY, "ytick.color": _GREY, "axes.grid": True, "grid.color": _FAINT, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 7.5, "lines.linewidth": 1.5, "lines.markersize": 4.5, "hatch.linewidth": 0.6,
    "figure.dpi": 200, "savefig.dpi": 200,
}  # fmt: skip
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "fabench"},
    "pdf": {"CreationDate": None, "Creator": "fabench", "Producer": None},
}


def figure_bytes(chart: Plot, endings: Sequence[str]) -> dict[str, bytes]:
    """The chart as files of these kinds."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that the font lacks show as boxes
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        figure = _figure(chart)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not for every file
        found = {}
        for ending in endings:
            file = io.BytesIO()
            figure.savefig(file, format=ending, metadata=_METADATA[ending])
            found[ending] = file.getvalue()
        return found


def _figure(chart: Plot) -> Figure:
    size = (7.4, 3.1) if isinstance(chart, BarChart) else (5.0, 4.1)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(f"{chart.title}\n", loc="left")
    axes.text(0, 1.025, chart.subtitle, transform=axes.transAxes, fontsize=7, color=_GREY)
    if isinstance(chart, LineChart):
        _lines(axes, chart)
    elif isinstance(chart, BarChart):
        _bars(axes, chart)
    elif isinstance(chart, HeatMap):
        _heat(axes, chart)
    else:
        _roofline(axes, chart)
    return figure


def _raised(text: str) -> str:
    return _POWER.sub(lambda found: "n" + found[1].translate(_RAISED), text)


def _colour(series: Series) -> str:
    return PALETTE[look(series.style).colour][0]


def _log(axes: Axes, which: str, low: float, high: float, kind: str, data: Sequence[float] = ()) -> None:
    axis, limits = (axes.xaxis, axes.set_xlim) if which == "x" else (axes.yaxis, axes.set_ylim)
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    limits(low, high)
    marks = ticks(LogAxis(low, high, 0, 1), kind, 7, data)
    axis.set_major_locator(FixedLocator([mark.value for mark in marks]))
    axis.set_major_formatter(FixedFormatter([mark.label for mark in marks]))
    axis.set_minor_locator(NullLocator())


def _from_zero(axes: Axes, high: float, kind: str) -> None:
    axes.set_ylim(0, high)
    marks = zero_ticks(EvenAxis(0, high, 0, 1), kind)
    axes.yaxis.set_major_locator(FixedLocator([mark.value for mark in marks]))
    axes.yaxis.set_major_formatter(FixedFormatter([mark.label for mark in marks]))


def _curve(axes: Axes, line: Line) -> None:
    style, colour = look(line.series.style), _colour(line.series)
    x, y = [p.x for p in line.points], [p.y for p in line.points]
    dashes = (0, tuple(part / 1.6 for part in style.dash)) if style.dash else "solid"
    label = _raised(f"{line.series.name}  {line.series.detail}".strip())
    marker = _MARKERS[style.marker]
    axes.plot(
        x, y, color=colour, linestyle=dashes, marker=marker, markeredgecolor="white", markeredgewidth=0.5, label=label, zorder=3
    )
    band = [(p.x, p.low, p.high) for p in line.points if p.low is not None and p.high is not None]
    if len(band) == len(line.points) > 1:
        axes.fill_between(*zip(*band, strict=True), color=colour, alpha=0.2, linewidth=0)  # type: ignore[arg-type]


def _lines(axes: Axes, chart: LineChart) -> None:
    xs = [p.x for line in chart.lines for p in line.points] + [gap.x for line in chart.lines for gap in line.missing]
    low, high = domain([p.y for line in chart.lines for p in line.points], 1.6, 1.6, 30.0)
    high = max([high, *(limit.y * 1.6 for limit in chart.limits if limit.y < high * 64)])
    absent = [line for line in chart.lines if line.missing][:5]
    rise = (high / low) ** 0.055
    for line in absent:
        high *= rise
        first = min(line.missing, key=lambda gap: gap.x)
        inner = first.x > (min(xs) * max(xs)) ** 0.5
        axes.plot(
            [gap.x for gap in line.missing], [high] * len(line.missing), "x", color=_colour(line.series), markersize=4.5, mew=1.5
        )
        high *= 1 if inner else rise
        text: Any = {
            "xytext": (-6 if inner else 0, 0),
            "textcoords": "offset points",
            "ha": "right" if inner else "left",
            "va": "center",
            "fontsize": 6.5,
        }
        axes.annotate(f"{line.series.name} {first.text}"[:60], (first.x if inner else min(xs), high), **text)
    high *= rise if absent else 1
    for line in chart.lines:
        _curve(axes, line)
    for limit in (limit for limit in chart.limits if low < limit.y < high):
        axes.axhline(limit.y, color=_WARN, linestyle=(0, (5, 3)), linewidth=0.9)
        axes.text(min(xs), limit.y * 1.06, limit.text, fontsize=6.5, va="bottom")
    for mark in chart.marks:
        axes.axvspan(mark.x.low, mark.x.high, color=_GREY, alpha=0.18, linewidth=0)
        axes.axvline(mark.x.value, color=_GREY, linestyle=(0, (2, 2)), linewidth=0.9, label=f"{mark.text}\n{mark.detail}")
    x_low, x_high = domain(xs, 1.12, 1.12)
    _log(axes, "x", x_low, x_high, "count", xs)
    _log(axes, "y", low, high, chart.y_kind)
    _guides(axes, chart, (x_low, x_high), (low, high))
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.figure.legend(loc="outside lower left", ncols=2, handlelength=3.2)


def _guides(axes: Axes, chart: LineChart, across: tuple[float, float], up: tuple[float, float]) -> None:
    """Two short slopes in the lower right corner."""
    run = (across[1] / across[0]) ** 0.15
    start = (across[1] / run**1.9, up[0] * (up[1] / up[0]) ** 0.05)
    for slope in chart.guides:
        end = (start[0] * run, start[1] * run**slope)
        axes.plot([start[0], end[0]], [start[1], end[1]], color=_GREY, linewidth=0.8)
        axes.annotate(f"slope {slope}", end, xytext=(3, 0), textcoords="offset points", fontsize=6.5, color=_GREY, va="center")


def _bars(axes: Axes, chart: BarChart) -> None:
    values = [value for group in chart.groups for bar in group.bars for value in (bar.value, bar.predicted) if value]
    low, high = (0.0, max(values, default=1.0) * 1.16) if chart.linear else domain(values, 3.0, 3.0, 100.0)
    floor = high * 0.02 if chart.linear else low * 1.25
    slot = 0.84 / max(len(group.bars) for group in chart.groups)
    hollow = any(bar.predicted for group in chart.groups for bar in group.bars)
    middle, width = (0.25, 0.46) if hollow else (0.5, 0.84)
    seen: set[Series] = set()
    for place, group in enumerate(chart.groups):
        for index, bar in enumerate(group.bars):
            left, colour = place + slot * (index - len(group.bars) / 2), _colour(bar.series)
            name = None if bar.series in seen else bar.series.name
            seen.add(bar.series)
            at = left + slot * middle
            axes.bar(at, bar.value or low, slot * width, color=colour, label=name, alpha=1 if bar.value else 0)
            if bar.predicted:
                box: Any = {"facecolor": "none", "edgecolor": colour, "linewidth": 0.8, "linestyle": (0, (2.5, 1.5))}
                axes.bar(left + slot * 0.74, bar.predicted, slot * 0.44, **box)
            if bar.low is not None and bar.high is not None:
                axes.plot([at, at], [bar.low, bar.high], color="#15181e", linewidth=0.9)
            text: Any = {"fontsize": 5.5, "ha": "center", "va": "bottom", "weight": "bold"}
            if not bar.value:
                lost = "\n".join(part for part in (bar.missing, bar.above) if part)
                axes.text(at, floor, lost, rotation=90, multialignment="left", **text)
            elif bar.above:
                axes.text(at, max(bar.value, bar.high or 0), bar.above, **text)
    if chart.linear:
        _from_zero(axes, high, chart.y_kind)
    else:
        _log(axes, "y", low, high, chart.y_kind)
    axes.set_xticks(range(len(chart.groups)), [group.title for group in chart.groups])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    title = "solid: measured, hollow: predicted" if hollow else None
    legend = axes.figure.legend(loc="outside lower left", ncols=4, title=title, title_fontsize=7.5, alignment="left")
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)


def _heat(axes: Axes, chart: HeatMap) -> None:
    furthest = reach(chart)
    pixels = np.zeros((len(chart.rows), len(chart.columns), 3))
    for row, values in enumerate(chart.values):
        for column, value in enumerate(values):
            colour = "#f4f5f7" if value is None else diverging(position(value, furthest))
            pixels[row, column] = mpl.colors.to_rgb(colour)
            text = words.show(value, "ratio") if value is not None else chart.reasons[row][column].partition(":")[0] or words.DASH
            axes.text(column, row, text, ha="center", va="center", color=ink_on(colour), fontsize=7.5 if value else 5.5)
    axes.imshow(pixels, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.set_xticks(range(len(chart.columns)), chart.columns)
    axes.set_yticks(range(len(chart.rows)), chart.rows)
    axes.set_xlabel(f"{chart.x_label}    (above 1x, blue: {chart.above}; below, orange: {chart.below})")
    axes.set_ylabel(chart.y_label)


def _roofline(axes: Axes, chart: Roofline) -> None:
    ridge = chart.flop_per_s / chart.bytes_per_s
    x_low, x_high = domain([*(p.x for line in chart.lines for p in line.points), ridge], 4.0, 4.0)
    y_low, y_high = domain([*(p.y for line in chart.lines for p in line.points), chart.flop_per_s], 2.0, 2.6)
    axes.plot(
        [x_low, ridge, x_high], [x_low * chart.bytes_per_s, chart.flop_per_s, chart.flop_per_s], color="#15181e", linewidth=1.4
    )
    peaks = f"measured: {words.show(chart.flop_per_s, 'flops')}, {words.show(chart.bytes_per_s, 'bandwidth')}"
    axes.text(x_high, chart.flop_per_s * 1.08, peaks, ha="right", va="bottom", fontsize=6.5)
    for line in chart.lines:
        _curve(axes, line)
        for p in (p for p in line.points if p.label in chart.impossible):
            axes.plot([p.x], [p.y], "o", markersize=11, markerfacecolor="none", markeredgecolor=_WARN, markeredgewidth=1.4)
            axes.annotate("above peak", (p.x, p.y), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=6.5)
    _log(axes, "x", x_low, x_high, "number")
    _log(axes, "y", y_low, y_high, "flops")
    axes.set_xlabel("arithmetic intensity, FLOP per byte of least traffic")
    axes.figure.legend(loc="outside lower left", ncols=2, handlelength=3.2)
