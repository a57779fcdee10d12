"""Markdown for step summaries and pull requests: headline, key numbers, and tables with a bounded number of rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fabench.report import words
from fabench.report.blocks import Block, Column, HeatMap, LineChart, Report, Section, Table, Text, Value
from fabench.report.formats.base import Bundle, save, with_ending

__all__ = ["MOST_BYTES", "escape", "render", "write"]

_MOST_ROWS, _MOST_CELLS = 20, 60
_MOST_TEXT = 160
# GitHub refuses step summaries above 1 MiB.
MOST_BYTES = 900_000
_SPECIAL = re.compile(r"[\\`*{}\[\]#|!~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
_OPENING = re.compile(r"^(\s*)(?:([-+=])|(\d+)([.)])(?=\s|$))")
_CHARTS = ("overview", "heads")
# Sections whose drawings are said by their tables alone.
_WHOLE = ("network", "network-cost")


def write(report: Report, bundle: Bundle, stem: Path) -> list[Path]:
    """`stem.md`."""
    return [save(with_ending(stem, ".md"), render(report))]


def escape(value: object) -> str:
    """Text that Markdown shows as it is: no markup, links, mentions or table borders come out of it."""
    shown = _SPECIAL.sub(lambda found: "\\" + found[0], words.plain(value))
    for plain, entity in _ENTITIES.items():
        shown = shown.replace(plain, entity)
    shown = shown.replace("://", "&#58;//").replace("www.", "www&#46;")
    return _OPENING.sub(lambda found: f"{found[1]}\\{found[2]}" if found[2] else f"{found[1]}{found[3]}\\{found[4]}", shown)


def render(report: Report) -> str:
    """The whole text, cut between sections where it would grow too long."""
    parts = [f"# {escape(report.headline)}", f"**{escape(report.title)}** · {escape(report.subtitle)}"]
    parts += [escape(line) for line in (report.verdict, f"Setting: {report.setting}" if report.setting else "") if line]
    parts += ["\n".join(f"- **{escape(fact.value)}** {escape(fact.label)}" for fact in report.facts)] if report.facts else []
    if report.warnings:
        parts.append("\n".join(["**Warnings**", "", *(f"- {escape(line)}" for line in report.warnings[:20])]))
    used = sum(len(part.encode()) for part in parts)
    for section in report.sections:
        text = _section(section)
        used += len(text.encode()) + 2
        if used > MOST_BYTES:
            parts.append("*Cut here: the HTML report has the rest.*")
            break
        parts.append(text)
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: Section) -> str:
    blocks = [_block(block, section.id) for block in section.blocks]
    return "\n\n".join(part for part in (f"## {escape(section.title)}", escape(section.lead), *blocks) if part)


def _block(block: Block, section: str) -> str:
    if isinstance(block, Table):
        most = _MOST_CELLS if block.id == "cells" or section in _WHOLE else _MOST_ROWS
        total = max(len(block.rows), block.total_rows or 0)
        more = f"\n\n*{min(most, len(block.rows)):,} of {total:,} rows.*" if total > most else ""
        note = f"\n\n{escape(block.note)}" if block.note else ""
        return f"### {escape(block.title)}{note}\n\n{_table(block.columns, block.rows[:most])}{more}"
    if isinstance(block, Text):
        return "\n".join(("- " if block.bullets else "") + escape(line) for line in block.lines)
    if section not in _CHARTS:
        return ""
    if isinstance(block, LineChart):
        return f"### {escape(block.title)}\n\n{_pivot(block)}"
    if isinstance(block, HeatMap):
        columns = (Column(f"{block.y_label} \\ {block.x_label}"), *(Column(name, "ratio") for name in block.columns))
        rows: list[tuple[Value, ...]] = [(name, *values) for name, values in zip(block.rows, block.values, strict=True)]
        return f"### {escape(block.title)}\n\n{_table(columns, rows[:_MOST_ROWS])}"
    return ""


def _pivot(chart: LineChart) -> str:
    """One row per n, one column per series; what is missing says why."""
    places: dict[float, dict[str, str]] = {}
    for line in chart.lines:
        for point in line.points:
            places.setdefault(point.x, {})[line.series.name] = words.show(point.y, chart.y_kind)
        for gap in line.missing:
            places.setdefault(gap.x, {})[line.series.name] = gap.text
    names = [line.series.name for line in chart.lines]
    columns = (
        Column("n", "count"),
        *(Column(f"{line.series.name} {line.series.detail}".strip(), "number") for line in chart.lines),
    )
    rows: list[tuple[Value, ...]] = [(n, *(places[n].get(name) for name in names)) for n in sorted(places)]
    return _table(columns, rows[:_MOST_CELLS])


def _table(columns: Sequence[Column], rows: Iterable[Sequence[Value]]) -> str:
    lines = ["| " + " | ".join(escape(column.title) or " " for column in columns) + " |"]
    lines.append("|" + "|".join("---:" if column.numeric else "---" for column in columns) + "|")
    lines += ["| " + " | ".join(_cell(value, column) for value, column in zip(row, columns, strict=True)) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Value, column: Column) -> str:
    shown = words.show(value, column.kind)
    return escape(shown if len(shown) <= _MOST_TEXT or column.kind == "code" else shown[: _MOST_TEXT - 1] + "…")
