from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fabench.report import build
from fabench.report.blocks import BarChart, Chart, HeatMap, LineChart, Report, Roofline, Table
from fabench.report.readings import Readings
from fabench.schema import STATUSES, Record
from tests import synthetic

ORDER = [
    "overview", "evidence", "scaling", "crossovers", "fits", "ledger", "heads", "settings", "speedups", "roofline", "modules", "paper", "accuracy", "cells",
    "failures", "environment", "method",
]  # fmt: skip


def table(report: Report, key: str) -> Table:
    return next(block for part in report.sections for block in part.blocks if isinstance(block, Table) and block.id == key)


def charts(report: Report) -> list[Chart]:
    kinds = (LineChart, BarChart, HeatMap, Roofline)
    return [block for part in report.sections for block in part.blocks if isinstance(block, kinds)]


def column(found: Table, title: str) -> list[object]:
    place = [one.title for one in found.columns].index(title)
    return [row[place] for row in found.rows]


def test_the_sections_come_in_the_order_that_readers_want(report: Report) -> None:
    assert [part.id for part in report.sections] == ORDER


def test_the_headline_says_numbers_from_the_data(report: Report, readings: Readings) -> None:
    assert readings.headline.crossover is not None and readings.headline.crossover.n is not None
    assert f"n = {readings.headline.crossover.n.value:,.0f}" in report.headline
    assert report.facts[0].value == f"n = {readings.headline.crossover.n.value:,.0f}"
    assert report.setting == readings.main and not report.headline.startswith("core")


def test_the_first_screen_has_time_memory_and_the_bars(report: Report) -> None:
    time, memory, bars = report.sections[0].blocks[:3]
    assert isinstance(time, LineChart) and isinstance(memory, LineChart) and isinstance(bars, BarChart)
    assert time.marks and time.guides == (1, 2) and all(point.low is not None for point in time.lines[0].points)
    assert all(line.series.detail.startswith("n^") for line in time.lines[:2])
    words = {bar.missing for group in bars.groups for bar in group.bars if bar.value is None}
    assert "OUT OF MEMORY" in words | {gap.text for line in memory.lines for gap in line.missing}
    assert all(bar.predicted for group in bars.groups for bar in group.bars)


def test_every_status_is_shown_with_its_reason(report: Report, records: Sequence[Record]) -> None:
    failures = table(report, "failures")
    said = set(zip(column(failures, "status"), column(failures, "reason"), strict=True))
    assert said == {(record.status, record.reason) for record in records if record.status != "ok"}
    assert {status for status, _ in said} | {"ok"} == set(STATUSES)


def test_every_cell_has_a_row_and_a_command_of_its_own(report: Report, records: Sequence[Record]) -> None:
    cells = table(report, "cells")
    commands = column(cells, "measure it again")
    assert len(cells.rows) == len(set(commands)) == len(records)
    assert all(str(command).startswith("fabench sweep quick --implementation ") for command in commands)


def test_one_interval_for_one_number(report: Report, readings: Readings) -> None:
    said = readings.headline.crossover
    assert said is not None and said in readings.crossovers
    assert all(one in readings.exponents for one in readings.headline.exponents)


def test_charts_are_bounded_however_many_settings_there_are() -> None:
    wide = synthetic.records(
        heads=(1, 2, 4, 8), d=(8, 16, 32), modes=("fwd", "bwd"), dtypes=("float32", "float16"), n=(256, 512, 1024), samples=6
    )
    found = build(wide, [synthetic.environment()])
    assert len(charts(found)) <= 12 + 6
    assert len(table(found, "capacities").rows) == 4 * 3 * 2 * 2 * 5
    assert len({chart.id for chart in charts(found)}) == len(charts(found))


def test_a_factor_across_functions_names_both(report: Report) -> None:
    across = table(report, "across")
    assert {"it computes", "baseline computes"} <= {one.title for one in across.columns}
    assert all(
        mine != theirs for mine, theirs in zip(column(across, "it computes"), column(across, "baseline computes"), strict=True)
    )


def test_errata_stand_beside_the_papers_values(report: Report) -> None:
    text = next(part for part in report.sections if part.id == "paper").blocks[-1]
    assert "412 GMACC" in str(text) and len(table(report, "paper-expected").rows) == 5


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_records_make_a_report_too(count: int) -> None:
    records = synthetic.records(("dot_product",), n=(256,))[:count]
    found = build(records, [])
    assert found.headline and [part.id for part in found.sections][-2:] == ["environment", "method"]


def test_only_failures_make_a_report_too() -> None:
    records = [
        replace(synthetic.ended(record.cell, "crashed", "killed by signal 9"), function=None, time_order=None, memory_order=None)
        for record in synthetic.records(n=(256, 512))
    ]
    found = build(records, [synthetic.environment()])
    assert "No setting has a time" in found.headline and len(table(found, "failures").rows) == 5
