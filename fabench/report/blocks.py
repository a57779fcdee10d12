"""What a report is made of, whatever the format: sections of text, tables and charts.

Values are raw (base units, `Estimate`s, None for unknown); a column's or an axis's `kind` says how `words.show` writes them.
Text is plain text everywhere: each format escapes it in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fabench.analysis.estimate import Estimate
from fabench.position_cost import PositionCost

__all__ = [
    "Bar", "BarChart", "BarGroup", "Block", "Chart", "Column", "Fact", "HeatMap", "Limit", "Line", "LineChart", "Mark", "Missing",
    "NetworkDrawing", "Place", "Plot", "Point", "Report", "Roofline", "Section", "Series", "Table", "Text", "Value",
]  # fmt: skip

Value: TypeAlias = "str | int | float | bool | Estimate | None"


@dataclass(frozen=True, slots=True)
class Text:
    """Paragraphs, or with `bullets` a list. `tone`: "plain", "note" (small), "warning"."""

    lines: tuple[str, ...]
    bullets: bool = False
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `kind`: text, code, status, grade, filter, count, integer, number, duration, bytes, ratio, percent, rate.

    A "filter" is a text that all cells have in whose row it stands; where a format can, it leads to them.
    """

    title: str
    kind: str = "text"

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers: aligned right, sorted by size."""
        return self.kind not in ("text", "code", "status", "grade", "filter")


@dataclass(frozen=True)
class Table:
    """Rows of raw values. `id` is unique in a report. `total_rows` counts what the rows were taken from, if they are a part of it."""

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Value, ...]]
    note: str = ""
    total_rows: int | None = None
    filterable: bool = False


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
Chart: TypeAlias = Plot | NetworkDrawing
Block: TypeAlias = Text | Table | Chart


@dataclass(frozen=True)
class Section:
    """A headed part of a report."""

    id: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """A key number of the first screen."""

    value: str
    label: str
    family: str = ""


@dataclass(frozen=True)
class Report:
    """All that is said. `facts` are the key numbers; the first section is the first screen."""

    title: str
    subtitle: str
    setting: str
    headline: str
    verdict: str
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()
