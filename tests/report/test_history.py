"""The history's page and sentences."""

import itertools
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from fabench.analysis.history import Series, histories
from fabench.analysis.launches import Launch
from fabench.report import read_html
from fabench.report.blocks import LineChart, Table
from fabench.report.draw import lines
from fabench.report.history import COLUMNS, document, headline, history_report, rows, sentences, write_history
from fabench.schema import Status
from tests.analysis.test_history import AT, COUNT, commits
from tests.launched import changed

RUNS = commits(COUNT, at=AT)
CELL = next(iter(RUNS[0].records))


def broken() -> list[Launch]:
    return [*RUNS[:3], changed(RUNS[3], CELL, status=Status.OUT_OF_MEMORY.value), *RUNS[4:]]


def found() -> list[Series]:
    return histories([broken()])


def charts() -> list[LineChart]:
    report = history_report(found(), ["here"])
    return [block for section in report.sections for block in section.blocks if isinstance(block, LineChart)]


def test_a_shift_names_size_run_and_commits() -> None:
    (series,) = found()
    said = [line for line in sentences(series) if "sdpa" in line]
    assert len(said) == 3
    assert all("slower from run" in line and "the run before was" in line for line in said)
    assert any(f"from run {AT + 1} on ({AT:012x})" in line for line in said)
    assert "status ok -> out of memory at run 4" in " ".join(sentences(series))


def test_the_headline_counts() -> None:
    assert headline(found()) == "24 runs, 6 cells: 3 shifts of time, 2 changes of what is counted."
    assert headline(histories([RUNS[:3]])) == (
        "3 runs, 6 cells: no shifts of time, no changes of what is counted; 6 with fewer than 6 times, too few to look for shifts."
    )


def test_rows_have_a_value_for_every_column() -> None:
    table = rows(found()[0])
    assert len(table) == 6 and all(len(row) == len(COLUMNS) for row in table)
    assert {row[5] for row in rows(histories([RUNS[:3]])[0])} == {"too few runs"}


def test_charts_of_changed_cells_come_first_and_mark_the_shift_between_its_runs() -> None:
    shown = charts()
    assert [bool(chart.marks) for chart in shown] == sorted([bool(chart.marks) for chart in shown], reverse=True) or shown[
        0
    ].lines[0].missing
    marked = [chart for chart in shown if chart.marks]
    assert len(marked) == 3
    for chart in marked:
        (mark,) = chart.marks
        assert (mark.x.low, mark.x.high) == (mark.x.value - 0.5, mark.x.value + 0.5)
    (gap,) = [gap for chart in shown for line in chart.lines for gap in line.missing]
    assert (gap.x, gap.text) == (4, "OUT OF MEMORY")


def test_runs_are_evenly_spaced_and_ticks_are_whole() -> None:
    chart = next(chart for chart in charts() if chart.marks)
    svg = ElementTree.fromstring(str(lines.draw(chart)))
    places = [float(node.get("cx", "nan")) for node in svg.iter("circle")]
    assert len(places) == COUNT
    steps = [later - earlier for earlier, later in itertools.pairwise(places)]
    assert steps == pytest.approx([steps[0]] * len(steps), abs=0.2)
    ticks = [node.text or "" for node in svg.iter("text") if node.get("class") == "tick"]
    numbers = [text for text in ticks if text.isdigit()]
    assert len(numbers) >= 5
    assert sum("s" in text for text in ticks) >= 3, "a narrow range has marks too"


def test_the_page_says_it_and_gives_the_records_back(tmp_path: Path) -> None:
    runs = broken()
    records = [record for run in runs for record in run.records.values()]
    environments = [run.environment for run in runs]
    page, text = write_history(found(), ["here"], records, environments, tmp_path, "history")
    assert read_html(page) == (records, environments)
    assert f"({AT:012x})" in page.read_text(encoding="utf-8")
    assert "slower from run" in text.read_text(encoding="utf-8")


def test_an_empty_history_is_a_page_too(tmp_path: Path) -> None:
    empty = [replace(RUNS[0], records={})]
    assert "no cells" in headline(histories([empty]))
    assert write_history(histories([empty]), ["here"], [], [], tmp_path, "x")


def test_the_document_is_strict_json() -> None:
    again = json.loads(json.dumps(document(found(), ["here"]), allow_nan=False))
    (series,) = again["series"]
    assert len(series["runs"]) == COUNT and {cell["cell"] for cell in series["cells"]} == set(RUNS[0].records)
    assert sum(len(cell["turns"]) for cell in series["cells"]) == 3


def test_tables_are_named_apart() -> None:
    report = history_report([*found(), *found()], ["here", "there"])
    names = [block.id for section in report.sections for block in section.blocks if isinstance(block, (Table, LineChart))]
    assert len(set(names)) == len(names)
