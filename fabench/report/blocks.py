"""What a report is made of, whatever the format: sections of text, tables and charts.

Values are raw (base units, `Estimate`s, None for unknown); a column's or an axis's `kind` says how `words.show` writes them.
Text is plain text everywhere: each format escapes it in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fabench.analysis.estimate import Estimate
from fabench.report.charts import (
    Bar,
    BarChart,
    BarGroup,
    Chart,
    DotChart,
    DotRow,
    HeatMap,
    Limit,
    Line,
    LineChart,
    Mark,
    Missing,
    NetworkDrawing,
    Place,
    Plot,
    Point,
    Roofline,
    Series,
)

__all__ = [
    "Bar", "BarChart", "BarGroup", "Block", "Chart", "Column", "DotChart", "DotRow", "Fact", "HeatMap", "Limit", "Line", "LineChart", "Mark", "Missing",
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
