"""What a report says of the evidence: grades and warnings with their cells and advice, and impossible times by that word only."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fabench.analysis.doubts import Code
from fabench.report import Report, build, read_report, write_report
from fabench.report.blocks import Roofline, Section, Table
from fabench.schema import Record
from fabench.units import format_duration
from tests import synthetic

ENVIRONMENTS = [synthetic.environment()]
IMPOSSIBLE_S = 1.2345e-7


@pytest.fixture(scope="module")
def found() -> list[Record]:
    """One impossible cell, two without a second clock (and why), one on a descended clock, some that ended without a time."""
    records = synthetic.records(noise=0.002)
    assert all(record.timing is not None for record in records[:3])
    first, second, third = (replace(record.timing) for record in records[:3] if record.timing is not None)
    records[0] = replace(records[0], timing=replace(first, samples_s=(IMPOSSIBLE_S,) * 25, witness=None))
    records[1] = replace(records[1], timing=replace(second, witness=None))
    records[2] = replace(
        records[2], timing=replace(third, ladder=("better: the call waits inside",), compile_s=0.25, launch_s=3e-6)
    )
    return records


@pytest.fixture(scope="module")
def said(found: Sequence[Record]) -> Report:
    return build(found, ENVIRONMENTS)


def section(report: Report, key: str) -> Section:
    return next(part for part in report.sections if part.id == key)


def table(report: Report, key: str) -> Table:
    return next(block for part in report.sections for block in part.blocks if isinstance(block, Table) and block.id == key)


def column(found: Table, title: str) -> list[object]:
    place = [one.title for one in found.columns].index(title)
    return [row[place] for row in found.rows]


def test_it_stands_right_after_the_overview(said: Report) -> None:
    assert [part.id for part in said.sections[:2]] == ["overview", "evidence"]


def test_grades_add_up(said: Report, found: Sequence[Record]) -> None:
    grades = table(said, "grades")
    timed = sum(record.timing is not None for record in found)
    assert column(grades, "grade") == ["A", "B", "C", "D"] and sum(map(int, map(str, column(grades, "cells")))) == timed
    assert column(grades, "cells")[3] == 1 and grades.note.startswith(f"{len(found) - timed} cells gave no time")
    assert Counter(column(table(said, "cells"), "evidence"))["D"] == 1


def test_every_warning_names_its_cells_and_what_to_do(said: Report) -> None:
    warnings = table(said, "evidence")
    assert column(warnings, "warning")[0] == "impossible"
    row = dict(
        zip([one.title for one in warnings.columns], warnings.rows[column(warnings, "warning").index("one_clock")], strict=True)
    )
    assert row["cells"] == 2 and row["leaves at best"] == "B" and row["what to do"] == Code.ONE_CLOCK.advice
    assert (
        row["which"] == "dot_product n = 256, 512"
        and row["for example"] == "dot_product, n = 256 (IMPOSSIBLE): timed by perf_counter alone"
    )
    cells = table(said, "cells")
    named = sum("one_clock" in str(codes).split(", ") for codes in column(cells, "warnings"))
    assert named == 2, "the filter that the name leads to finds the same cells"


def test_clocks_descents_and_what_went_on_beside(said: Report) -> None:
    assert (("perf_counter", "none", "", "hot", 2)) in table(said, "clocks").rows
    assert table(said, "ladder").rows == [("better", "the call waits inside", "perf_counter", 1)]
    beside = {row[1]: row[2:] for row in table(said, "telemetry").rows}
    assert beside["own processor time, of wall time"][:2] == ("99 %", "99 %")
    assert beside["page faults per sample"][:2] == ("0", "0") and "SM clock" not in beside


def test_ranges_of_a_gpu() -> None:
    said = build(synthetic.records(devices=("cuda",)), ENVIRONMENTS)
    beside = {row[1]: row[2:4] for row in table(said, "telemetry").rows}
    assert beside["SM clock"] == ("1.75 GHz", "1.75 GHz") or beside["SM clock"] == ("1.76 GHz", "1.76 GHz")
    assert beside["power"] == ("420 W", "420 W") and beside["temperature"] == ("51 °C", "51 °C")
    assert beside["other processes on the device"] == ("0", "0")


def test_columns_for_what_is_no_part_of_the_time(said: Report) -> None:
    cells = table(said, "cells")
    assert column(cells, "compile")[2] == 0.25 and column(cells, "launch")[2] == 3e-6
    assert [one.kind for one in cells.columns if one.title == "evidence"] == ["grade"]


def test_an_impossible_time_is_shown_with_that_word_only(said: Report, found: Sequence[Record], tmp_path: Path) -> None:
    cells = table(said, "cells")
    assert (
        column(cells, "status")[0] == "IMPOSSIBLE" and column(cells, "time")[0] is None and column(cells, "95 % low")[0] is None
    )
    failures = table(said, "failures")
    assert failures.rows[0][0] == "IMPOSSIBLE" and "impossible: " in str(column(failures, "reason")[0])
    assert any("IMPOSSIBLE" in line for line in said.warnings)
    time = section(said, "overview").blocks[0]
    assert next(gap.text for line in time.lines if line.series.name == "dot_product" for gap in line.missing) == "IMPOSSIBLE"  # type: ignore[union-attr]
    shown = format_duration(IMPOSSIBLE_S)
    text = write_report(found, ENVIRONMENTS, tmp_path, "x", ["markdown"])[0].read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if shown in line]
    assert lines and all("impossible" in line.lower() for line in lines)


def test_the_roofline_rings_it_and_calls_no_rate_of_it_the_best(said: Report) -> None:
    (chart,) = [block for block in section(said, "roofline").blocks if isinstance(block, Roofline)]
    assert len(chart.impossible) == 1
    detail = next(line.series.detail for line in chart.lines if line.series.name == "dot_product")
    assert float(detail.split()[1]) < 105


def test_the_verdict_says_what_speaks_against_it(said: Report) -> None:
    assert "1 time is left out as impossible." in said.verdict
    assert not any("left out as impossible" in str(block) for block in section(said, "overview").blocks)


def test_scripted_cells_are_announced() -> None:
    said = build(synthetic.records(devices=("null",)), ENVIRONMENTS)
    assert said.warnings[0].startswith("Cells from a scripted device: ")
    assert "scripted" in said.verdict


def test_json_carries_the_evidence_and_reads_back_without_it(found: list[Record], tmp_path: Path) -> None:
    path = write_report(found, ENVIRONMENTS, tmp_path, "x", ["json"])[0]
    data = json.loads(path.read_text(encoding="utf-8"))
    first = data["records"][0]["evidence"]
    assert first["grade"] == "D" and first["warnings"][0]["code"] == "impossible" and first["warnings"][0]["advice"]
    assert {record["evidence"]["grade"] for record in data["records"]} >= {"A", "B", "D", None}
    assert {"grades", "evidence", "clocks", "ladder", "telemetry"} <= data["readings"].keys()
    assert read_report(path) == (found, ENVIRONMENTS)


def test_csv_carries_grade_and_codes(found: Sequence[Record], tmp_path: Path) -> None:
    path = write_report(found, ENVIRONMENTS, tmp_path, "x", ["csv"])[0]
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert rows[0]["grade"] == "D" and rows[0]["warnings"].startswith("impossible, ") and rows[0]["time_s"] == ""
    assert (
        rows[1]["grade"] == "B"
        and "one_clock" in rows[1]["warnings"].split(", ")
        and float(rows[0]["impossible_s"]) == pytest.approx(IMPOSSIBLE_S)
    )


def test_a_warnings_name_leads_to_its_cells(found: Sequence[Record], tmp_path: Path) -> None:
    page = write_report(found, ENVIRONMENTS, tmp_path, "x", ["html"])[0].read_text(encoding="utf-8")
    assert '<a href="#cells?one_clock">one_clock</a>' in page and 'id="cells"' in page
