"""Blocks of a report as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fabench.report import words
from fabench.report.blocks import (
    BarChart,
    Block,
    Chart,
    Column,
    DotChart,
    HeatMap,
    Line,
    LineChart,
    NetworkDrawing,
    Place,
    Roofline,
    Section,
    Series,
    Table,
    Text,
    Value,
)  # fmt: skip
from fabench.report.draw import bars, detection, dots, heat, lines, roofline, stereo
from fabench.report.draw.markup import Markup, element, join, powers
from fabench.report.draw.network import shape
from fabench.report.draw.parts import swatch
from fabench.report.page.tables import table

__all__ = ["section"]


def section(found: Section) -> Markup:
    """A section: charts stand side by side, everything else below each other."""
    parts: list[object] = [element("h2", found.title, id=f"{found.id}-heading")]
    if found.lead:
        parts.append(element("p", found.lead, class_="lead"))
    pair: list[Chart] = []
    for block in found.blocks:
        if isinstance(block, (LineChart, HeatMap, Roofline)):
            pair.append(block)
            continue
        parts += [*_grid(pair), _block(block)]
        pair = []
    parts += _grid(pair)
    return element("section", *parts, id=f"section-{found.id}", aria_labelledby=f"{found.id}-heading", class_=found.id)


def _grid(charts: Sequence[Chart]) -> list[Markup]:
    if not charts:
        return []
    return [element("div", *(_figure(chart, "only" if len(charts) == 1 else None) for chart in charts), class_="grid")]


def _block(block: Block) -> Markup:
    if isinstance(block, Table):
        return table(block)
    if isinstance(block, Text):
        return _text(block)
    return element("div", _figure(block), class_="block")


def _text(block: Text) -> Markup:
    kind = "block" + (f" tone-{block.tone}" if block.tone != "plain" else "")
    if block.bullets:
        return element("ul", *(element("li", powers(line)) for line in block.lines), class_=kind)
    return join(element("p", powers(line), class_=kind) for line in block.lines)


def _figure(chart: Chart, kind: str | None = None) -> Markup:
    """Title, legend, plot, note, and the values as a table. One stop of the tab key: arrow keys read the points."""
    svg, series = _drawn(chart)
    title = element("h3", chart.title, element("span", chart.subtitle, class_="sub"), id=f"{chart.id}-title")
    parts: list[object] = [element("figcaption", title)]
    if series:
        hollow = isinstance(chart, BarChart) and any(bar.predicted for group in chart.groups for bar in group.bars)
        parts.append(
            element(
                "ul",
                *(_entry(one, isinstance(chart, (BarChart, NetworkDrawing))) for one in series),
                bars.key(hollow),
                class_="legend",
            )
        )
    hint = f"{chart.title}: arrow keys read the values"
    parts.append(element("div", svg, class_="plot", tabindex="0", role="group", aria_label=hint))
    if chart.note:
        parts.append(element("p", chart.note, class_="note"))
    columns, rows = values(chart)
    listed = element("details", element("summary", "Values as a table"), _values(chart, columns, rows))
    return element("figure", *parts, listed, id=chart.id, class_=kind, aria_labelledby=f"{chart.id}-title")


def _drawn(chart: Chart) -> tuple[Markup, Sequence[Series]]:
    if isinstance(chart, LineChart):
        return lines.draw(chart), [line.series for line in chart.lines]
    if isinstance(chart, Roofline):
        return roofline.draw(chart), [line.series for line in chart.lines]
    if isinstance(chart, BarChart):
        return bars.draw(chart), chart.series
    if isinstance(chart, DotChart):
        return dots.draw(chart), ()
    if isinstance(chart, NetworkDrawing):
        return {"detection": detection, "stereo": stereo}[chart.network].draw(chart), chart.series
    return heat.draw(chart), ()


def _entry(series: Series, block: bool) -> Markup:
    picture = bars.square(series) if block else swatch(series)
    detail = element("span", powers(series.detail), class_="detail") if series.detail else ""
    return element("li", picture, element("span", series.name), detail)


def _values(chart: Chart, columns: Sequence[Column], rows: Iterable[Sequence[Value]]) -> Markup:
    heads = [element("th", column.title, scope="col", class_="num" if column.numeric else None) for column in columns]
    body = [
        element(
            "tr",
            *(
                element("td", words.show(value, column.kind), class_="num" if column.numeric else None)
                for value, column in zip(row, columns, strict=True)
            ),
        )
        for row in rows
    ]
    grid = element(
        "table", element("thead", element("tr", *heads)), element("tbody", *body), aria_label=f"Values of {chart.title}"
    )
    return element("div", grid, class_="scroll", tabindex="0", role="region", aria_label=f"Values of {chart.title}")


def values(chart: Chart) -> tuple[tuple[Column, ...], list[tuple[Value, ...]]]:
    """What a chart shows, as rows."""
    columns: tuple[Column, ...]
    if isinstance(chart, LineChart):
        columns = (
            Column("series"),
            Column(chart.x_label if chart.in_order else "n", "count"),
            Column(chart.y_label, chart.y_kind),
            Column("low", chart.y_kind),
            Column("high", chart.y_kind),
            Column("missing"),
        )
        return columns, [row for line in chart.lines for row in _line_rows(line.series.name, line)]
    if isinstance(chart, Roofline):
        columns = (Column("series"), Column("FLOP/B", "number"), Column("rate", "flops"), Column("point"))
        return columns, [(line.series.name, point.x, point.y, point.label) for line in chart.lines for point in line.points]
    if isinstance(chart, BarChart):
        columns = (
            Column(chart.x_label),
            Column("series"),
            Column("measured", chart.y_kind),
            Column("predicted", chart.y_kind),
            Column("missing"),
        )
        return columns, [
            (
                group.title,
                bar.series.name,
                bar.value,
                bar.predicted,
                ", ".join(filter(None, (bar.missing, bar.missing and bar.above))),
            )
            for group in chart.groups
            for bar in group.bars
        ]
    if isinstance(chart, DotChart):
        columns = (Column("row"), Column("each", chart.x_kind), Column("which"), Column("mean", chart.x_kind))
        return columns, [
            (row.series.name, value, label, row.mean)
            for row in chart.rows
            for value, label in zip(row.values, row.labels, strict=True)
        ]
    if isinstance(chart, NetworkDrawing):
        columns = (
            Column("position"), Column("map"), Column("n", "count"), Column("n × n map", "decimal"), Column("dot product bytes", "decimal"),
            Column("dot product MAC", "mac"), Column("factorized bytes", "decimal"), Column("factorized MAC", "mac"), Column("blocks in this run"),
            Column("missing"),
        )  # fmt: skip
        return columns, [_place_row(place) for place in chart.places]
    columns = (Column(chart.y_label), *(Column(name, "ratio") for name in chart.columns))
    return columns, [(name, *row) for name, row in zip(chart.rows, chart.values, strict=True)]


def _place_row(place: Place) -> tuple[Value, ...]:
    cost, names = place.cost, ", ".join(series.name for series in place.blocks)
    families = (cost.dot_product_bytes, cost.dot_product_mac, cost.factorized_bytes, cost.factorized_mac)
    lost = (f"dot product: {place.quadratic_missing}", f"factorized: {place.linear_missing}")
    missing = "; ".join(text.lower() for text in lost if not text.endswith(": "))
    return (cost.position.name, shape((*cost.space, cost.position.channels)), cost.n, cost.map_bytes, *families, names, missing)


def _line_rows(name: str, line: Line) -> list[tuple[Value, ...]]:
    rows: list[tuple[float, tuple[Value, ...]]] = [(p.x, (name, p.x, p.y, p.low, p.high, "")) for p in line.points]
    rows += [(gap.x, (name, gap.x, None, None, None, gap.text.lower())) for gap in line.missing]
    return [row for _, row in sorted(rows, key=lambda item: item[0])]
