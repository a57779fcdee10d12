"""The charts of a report, whatever the format: raw values with their looks and words; `draw` and matplotlib make pictures of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from fabench.analysis.estimate import Estimate
from fabench.position_cost import PositionCost

__all__ = [
    "Bar", "BarChart", "BarGroup", "Chart", "DotChart", "DotRow", "HeatMap", "Limit", "Line", "LineChart", "Mark", "Missing", "NetworkDrawing",
    "Place", "Plot", "Point", "Roofline", "Series",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """A name in a legend: its style (see `style`), and a fitted value beside it."""

    name: str
    style: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A mark on a line, with its interval; `label` is what hovering or the keyboard tells."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A place on the x axis where there is no value, and why: `text` is short (OUT OF MEMORY), `label` says it all."""

    x: float
    text: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve, and where on the x axis it has no value."""

    series: Series
    points: tuple[Point, ...]
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical mark with an interval, a crossover: `text` says where, `detail` who passes whom."""

    x: Estimate
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """A horizontal line: what the device has."""

    y: float
    text: str


@dataclass(frozen=True)
class LineChart:
    """Log-log lines with bands, guides of given slopes, marks, and what is missing. `summary` is read out for the chart.

    `in_order`: x counts runs, on an even axis, and the y axis is as narrow as the values are.
    """

    id: str
    title: str
    x_label: str
    y_label: str
    y_kind: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    guides: tuple[int, ...] = ()
    limits: tuple[Limit, ...] = ()
    subtitle: str = ""
    summary: str = ""
    note: str = ""
    in_order: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a group, beside its prediction; without a `value`, `missing` says why. `above`: a word over the value,
    or beside what is missing.

    `low`, `high`: the value's interval.
    """

    series: Series
    value: float | None
    predicted: float | None = None
    missing: str = ""
    label: str = ""
    low: float | None = None
    high: float | None = None
    above: str = ""


@dataclass(frozen=True, slots=True)
class BarGroup:
    """Bars that share a place on the x axis."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class BarChart:
    """Groups of bars over a log axis; with `linear` over an even one from 0, where the bars' lengths can be compared."""

    id: str
    title: str
    x_label: str
    y_label: str
    y_kind: str
    groups: tuple[BarGroup, ...]
    limits: tuple[Limit, ...] = ()
    subtitle: str = ""
    summary: str = ""
    note: str = ""
    linear: bool = False

    @property
    def series(self) -> tuple[Series, ...]:
        """Each series once, in order of appearance."""
        return tuple(dict.fromkeys(bar.series for group in self.groups for bar in group.bars))


@dataclass(frozen=True)
class HeatMap:
    """Ratios over two axes; colours diverge from 1x. A None cell has no value; `reasons` says why, where known."""

    id: str
    title: str
    x_label: str
    y_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    reasons: tuple[tuple[str, ...], ...]
    above: str
    below: str
    subtitle: str = ""
    summary: str = ""
    note: str = ""


@dataclass(frozen=True)
class Roofline:
    """Achieved FLOP/s over FLOP/B, under the measured roof. Points beyond it are impossible and marked so."""

    id: str
    title: str
    bytes_per_s: float
    flop_per_s: float
    lines: tuple[Line, ...]
    impossible: frozenset[str] = field(default_factory=frozenset)
    subtitle: str = ""
    summary: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class DotRow:
    """Values that belong together, one for each repetition, and their mean with its interval, where there is one."""

    series: Series
    values: tuple[float, ...]
    labels: tuple[str, ...]
    mean: Estimate | None


@dataclass(frozen=True)
class DotChart:
    """A row of dots for each series over an even axis, its mean and interval beneath. `band`: a range that is marked, and what it is.

    `limits`: values of others, as lines across.
    """

    id: str
    title: str
    x_label: str
    x_kind: str
    rows: tuple[DotRow, ...]
    band: tuple[float, float, str] | None = None
    limits: tuple[Limit, ...] = ()
    subtitle: str = ""
    summary: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A place for attention in a drawn network: what a block there must cost, and the series that have one.

    `quadratic_missing`, `linear_missing`: why that family's block alone has no value, in the words of a missing bar.
    """

    cost: PositionCost
    blocks: tuple[Series, ...] = ()
    quadratic_missing: str = ""
    linear_missing: str = ""


@dataclass(frozen=True)
class NetworkDrawing:
    """A network for inputs of `height` x `width` pixels with all its places for attention; `variant` is its backbone or form."""

    id: str
    title: str
    network: str
    variant: str
    height: int
    width: int
    places: tuple[Place, ...]
    subtitle: str = ""
    summary: str = ""
    note: str = ""

    @property
    def series(self) -> tuple[Series, ...]:
        """Each series that has a block somewhere, once, in order of appearance."""
        return tuple(dict.fromkeys(series for place in self.places for series in place.blocks))


Plot: TypeAlias = LineChart | BarChart | HeatMap | Roofline
Chart: TypeAlias = Plot | NetworkDrawing | DotChart
