"""The page of results over commits: where times shift, what changed of what is counted, and a chart for each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from fabench import __version__
from fabench.analysis.estimate import Estimate
from fabench.analysis.history import CellHistory, RunName, Series, Step, Turn
from fabench.analysis.shifts import FEWEST
from fabench.report import words
from fabench.report.blocks import Block, Column, Fact, Line, LineChart, Mark, Missing, Point, Report, Section, Table, Text, Value
from fabench.report.blocks import Series as Legend
from fabench.report.formats.base import Bundle, load
from fabench.report.sections.charts import identifier
from fabench.schema import Environment, Record, Status
from fabench.units import format_bytes, format_count

__all__ = ["COLUMNS", "document", "headline", "history_report", "rows", "sentences", "write_history"]

COLUMNS = (
    Column("cell"), Column("runs", "count"), Column("first", "duration"), Column("last", "duration"), Column("last / first", "ratio"),
    Column("shifts of time"), Column("changes of what is counted"),
)  # fmt: skip
_RUNS = (Column("run", "integer"), Column("commit", "code"), Column("began"), Column("from"))
_WORDS = {"peak_bytes": "peak memory", "saved_bytes": "saved for backward", "flop": "FLOPs", "status": "status"}
_MOST_CHARTS, _MOST_MARKS, _MOST_LINES = 24, 6, 50
_METHOD = (
    "Shifts are searched by binary segmentation: scans of t statistics against their permutation distribution, allowing for runs that "
    "resemble their neighbours, and for the number of cells. Runs were not measured in turns: a machine that changed shifts times as code does, mostly "
    "those of many cells at once."
)


def _short(found: CellHistory) -> str:
    case = found.cell.case
    return f"{found.cell.implementation}, n={case.n}, {case.dtype}, {case.mode}"


def _names(series: Series) -> dict[str, str]:
    taken = Counter(map(_short, series.cells))
    return {one.cell.id: words.plain(_short(one) if taken[_short(one)] == 1 else one.cell.id) for one in series.cells}


def _commit(run: RunName) -> str:
    return run.commit[:12] + ("+" if run.commit.endswith("+") and len(run.commit) > 12 else "") if run.commit else "no commit"


def _turn(found: Turn, series: Series) -> str:
    way = "slower" if found.ratio > 1 else "faster"
    return f"{abs(found.ratio - 1):.1%} {way} from run {found.after + 1} on ({_commit(series.runs[found.after])})"


def _step(found: Step, series: Series) -> str:
    shown = {"peak_bytes": format_bytes, "saved_bytes": format_bytes, "flop": format_count}.get(found.quantity)
    old, new = (
        words.status_words(str(value)) if shown is None or isinstance(value, str) else f"{shown(value)}"
        for value in (found.old, found.new)
    )
    if old == new:
        old, new = f"{found.old:,}", f"{found.new:,}"
    return f"{_WORDS[found.quantity]} {old} -> {new} at run {found.after + 1} ({_commit(series.runs[found.after])})"


def sentences(series: Series) -> list[str]:
    """One for each shift and each change, cell by cell."""
    names, said = _names(series), []
    for one in series.cells:
        said += [
            f"{names[one.cell.id]}: {_turn(turn, series)}; the run before was {_commit(series.runs[turn.before])}"
            for turn in one.turns
        ]
        said += [f"{names[one.cell.id]}: {_step(step, series)}" for step in one.steps]
    return [words.plain(one) for one in said]


def headline(found: Sequence[Series]) -> str:
    """One sentence for all."""
    cells = [one for series in found for one in series.cells]
    parts = [
        _count(sum(len(series.runs) for series in found), "run"),
        _count(len({one.cell.id for one in cells}), "cell"),
        *([_count(len(found), "environment")] if len(found) > 1 else []),
    ]
    turns, steps = sum(len(one.turns) for one in cells), sum(len(one.steps) for one in cells)
    short = sum(not one.judged for one in cells)
    more = f"; {short} with fewer than {FEWEST} times, too few to look for shifts" if short else ""
    return f"{', '.join(parts)}: {_count(turns, 'shift')} of time, {_count(steps, 'change')} of what is counted{more}."


def _count(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def rows(series: Series) -> list[tuple[Value, ...]]:
    """The table, a row per cell; see `COLUMNS`."""
    names = _names(series)
    return [_row(names[one.cell.id], one, series) for one in series.cells]


def _row(name: str, found: CellHistory, series: Series) -> tuple[Value, ...]:
    times = [time for _, time in found.times]
    first, last = (times[0].value, times[-1].value) if times else (None, None)
    ratio = None if first is None or last is None or len(times) < 2 else last / first
    turns = "; ".join(_turn(turn, series) for turn in found.turns) or ("none" if found.judged else "too few runs")
    return name, len(found.points), first, last, ratio, turns, "; ".join(_step(step, series) for step in found.steps) or "none"


def history_report(found: Sequence[Series], titles: Sequence[str]) -> Report:
    """The report; `titles` name each series' environment."""
    said = [line for series in found for line in sentences(series)]
    cells = [one for series in found for one in series.cells]
    return Report(
        title="history",
        subtitle=words.plain(" · ".join(titles)),
        setting="",
        headline=headline(found),
        verdict=_METHOD,
        facts=(
            Fact(f"{sum(len(series.runs) for series in found)}", "runs"),
            Fact(f"{sum(len(one.turns) for one in cells)}", "shifts of time"),
            Fact(f"{sum(len(one.steps) for one in cells)}", "changes of what is counted"),
        ),
        sections=(
            Section("changes", "What changed", "", (Text(tuple(said[:_MOST_LINES]) or ("Nothing did.",), bullets=True),)),
            *(_section(index, series, title) for index, (series, title) in enumerate(zip(found, titles, strict=True))),
        ),
    )


def _section(index: int, series: Series, title: str) -> Section:
    names = _names(series)
    shown = sorted(series.cells, key=lambda one: not (one.turns or one.steps))
    charts = [_chart(index, place, one, names[one.cell.id], series) for place, one in enumerate(shown) if one.times]
    runs = [(number, _commit(run), run.started_at, words.plain(run.name)) for number, run in enumerate(series.runs, start=1)]
    blocks: list[Block] = [
        Table(f"history-{index}", "Every cell", COLUMNS, rows(series), filterable=True),
        *charts[:_MOST_CHARTS],
    ]
    if len(charts) > _MOST_CHARTS:
        blocks.append(
            Text((f"{len(charts) - _MOST_CHARTS} more cells have no chart; those that changed come first.",), tone="note")
        )
    blocks.append(Table(f"runs-{index}", "Runs", _RUNS, runs))
    return Section(f"series-{index}", words.plain(title), "Runs in the order in which they began.", tuple(blocks))


def _chart(index: int, place: int, found: CellHistory, name: str, series: Series) -> LineChart:
    points = tuple(
        Point(
            run + 1,
            time.value,
            time.low,
            time.high,
            f"run {run + 1}, {_commit(series.runs[run])}: {words.show_estimate(time, 'duration')}",
        )
        for run, time in found.times
    )
    return LineChart(
        id=identifier("history", index, place),
        title=name,
        x_label="run",
        y_label="Time per call",
        y_kind="duration",
        lines=(Line(Legend("median", 2), points, tuple(_missing(found, series))),),
        marks=tuple(_mark(turn, series) for turn in found.turns[:_MOST_MARKS]),
        summary=words.plain(f"{name}: {'; '.join(_turn(turn, series) for turn in found.turns) or 'no shift'}"),
        note="Bands are the medians' 95 % intervals within a run; runs differ by more.",
        in_order=True,
    )


def _missing(found: CellHistory, series: Series) -> Iterator[Missing]:
    for point in found.points:
        if point.time is None:
            text = "NO MEASUREMENT" if point.status == Status.OK else words.status_words(point.status).upper()
            yield Missing(point.run + 1, text, f"run {point.run + 1}, {_commit(series.runs[point.run])}: {text.lower()}")


def _mark(turn: Turn, series: Series) -> Mark:
    between = Estimate(turn.after + 0.5, turn.before + 1, turn.after + 1)
    return Mark(between, f"{turn.ratio - 1:+.1%}", f"at {_commit(series.runs[turn.after])}")


def write_history(
    found: Sequence[Series], titles: Sequence[str], records: Sequence[Record], environments: Sequence[Environment], folder: Path, name: str
) -> list[Path]:  # fmt: skip
    """Writes `folder/name.html` and `.md` and returns the files. The page carries the records. Raises StoreError."""
    report, bundle = history_report(found, titles), Bundle(records, environments, [], pd.DataFrame())
    return [path for one in ("html", "markdown") for path in load(one)(report, bundle, folder / name)]


def document(found: Sequence[Series], titles: Sequence[str]) -> dict[str, Any]:
    """Everything, as plain JSON values; a cell is called by its id."""
    series = [
        {
            "environment": title,
            "runs": [asdict(run) for run in one.runs],
            "cells": [{**asdict(cell), "cell": cell.cell.id} for cell in one.cells],
            "sentences": sentences(one),
        }
        for one, title in zip(found, titles, strict=True)
    ]
    return {"format": "fabench-history", "version": 1, "fabench": __version__, "headline": headline(found), "series": series}
