from __future__ import annotations

import csv
import io
import json
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.errors import StoreError, UsageError
from fabench.report import Report, format_names, write_report
from fabench.report.formats import base, figures, markdown
from fabench.report.formats.base import Bundle
from fabench.report.formats.csv import guard
from fabench.schema import Record
from tests import synthetic
from tests.report import hostile

ENVIRONMENTS = [synthetic.environment()]


def test_every_format_keeps_the_contract(records: Sequence[Record], tmp_path: Path) -> None:
    assert format_names() == ("csv", "figures", "html", "json", "markdown")
    few = synthetic.records(n=(256, 1024), samples=6)
    for name in format_names():
        if name != "figures":
            paths = write_report(few, ENVIRONMENTS, tmp_path / name, "run", [name])
            assert paths and all(path.parent == tmp_path / name and path.name.startswith("run.") for path in paths)
            assert sorted(tmp_path.joinpath(name).iterdir()) == sorted(paths), "no temporary file is left"
            assert stat.S_IMODE(paths[0].stat().st_mode) & 0o600 == 0o600


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no format 'pdf'; there are csv, "):
        write_report([], [], tmp_path, "x", ["pdf"])


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/abs", "..", ".", "", "a/b\\c", "nul", "CON.html", "x\x00y", "-rf", *hostile.TEXTS]
)
def test_no_name_leaves_the_folder(name: str, tmp_path: Path) -> None:
    path = write_report([], [], tmp_path / "in", name, ["markdown"])[0]
    assert path.parent == tmp_path / "in" and path.exists() and list(tmp_path.iterdir()) == [tmp_path / "in"]


@given(st.text())
def test_safe_names(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}", base.safe_name(name))


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="can't write") as raised:
        write_report([], [], tmp_path / "file", "x", ["markdown"])
    assert "\n" not in str(raised.value)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = base.save(tmp_path / "x.md", "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StoreError, match="No space left"):
        base.save(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


# ---- csv ----


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def test_csv_has_a_row_for_each_cell(records: Sequence[Record], tmp_path: Path) -> None:
    found = rows(write_report(records, ENVIRONMENTS, tmp_path, "x", ["csv"])[0])
    assert [row["cell_id"] for row in found] == [record.cell.id for record in records]
    assert [row["delta_bytes"] for row in found] == ["" if r.memory is None else str(r.memory.delta_bytes) for r in records]


def test_csv_has_no_formula(tmp_path: Path) -> None:
    path = write_report(hostile.records(), [hostile.environment()], tmp_path, "x", ["csv"])[0]
    found = rows(path)
    assert len(found) == 30 and not any(
        value[:1] in "=+-@\t\r" for row in found for value in row.values() if value and not _number(value)
    )


def _number(value: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", value) is not None


@given(st.text())
def test_guarded_text_never_starts_a_formula(text: str) -> None:
    assert (
        guard(text).lstrip()[:1] not in ("=", "+", "-", "@")
        and "\n" not in guard(text)
        and guard(text).strip("' ") in guard("x" + text)
    )


# ---- markdown ----


def test_markdown_is_bounded_and_says_the_headline(report: Report, bundle: Bundle, tmp_path: Path) -> None:
    text = markdown.write(report, bundle, tmp_path / "x")[0].read_text(encoding="utf-8")
    assert text.startswith("# factorized_plain overtakes dot_product at n = ") and "OUT OF MEMORY" in text
    assert len(text) < 120_000 and "*20 of 80 rows.*" in text


def test_markdown_of_many_records_stays_small(tmp_path: Path) -> None:
    path = write_report(synthetic.many(2000, samples=6), ENVIRONMENTS, tmp_path, "x", ["markdown"])[0]
    assert path.stat().st_size < markdown.MOST_BYTES


def test_markdown_rows_have_as_many_cells_as_their_head(tmp_path: Path) -> None:
    text = write_report(hostile.records(), [hostile.environment()], tmp_path, "x", ["markdown"])[0].read_text(encoding="utf-8")
    width = 0
    for line in text.splitlines():
        borders = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) if line.startswith("|") else 0
        assert not width or borders in (0, width)
        width = borders
    assert (
        "<" not in text.replace("&lt;", "") and not re.search(r"(?<!\\)\]\(", text) and "http://" not in text and "@" not in text
    )


@given(st.text())
def test_escaped_text_has_no_markup(text: str) -> None:
    shown = markdown.escape(text)
    bare = re.sub(r"\\[\\`*_{}\[\]#|!~$+=.)-]", "", shown)
    assert not re.search(r"[<>`*\[\]|#!~@]", re.sub(r"&#?\w+;", "", bare)) and "\n" not in shown


# ---- json, figures ----


def test_json_is_strict_and_has_the_readings(records: Sequence[Record], tmp_path: Path) -> None:
    text = write_report(records, ENVIRONMENTS, tmp_path, "x", ["json"])[0].read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=pytest.fail)
    assert {"exponents", "crossovers", "capacities", "accuracy", "paper-expected"} <= data["readings"].keys()
    columns = [column["title"] for column in data["readings"]["exponents"]["columns"]]
    assert set(data["readings"]["exponents"]["rows"][0][columns.index("exponent of n (95 %)")]) == {"value", "low", "high"}


RECORDS = synthetic.records(n=(256, 1024, 16384), samples=6)


@pytest.fixture
def only_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One chart is enough to see what holds for each."""
    every = figures.charts
    monkeypatch.setattr(figures, "charts", lambda report: every(report)[:1])


def test_every_kind_of_chart_becomes_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = figures.charts
    monkeypatch.setattr(figures, "ENDINGS", ("svg",))
    monkeypatch.setattr(figures, "charts", lambda report: [chart for chart in every(report) if "memory" not in chart.id])
    wide = synthetic.records(("dot_product", "factorized_plain"), n=(256, 1024, 4096), heads=(1, 8), d=(16, 64), samples=6)
    names = {path.name for path in write_report(wide, ENVIRONMENTS, tmp_path, "run", ["figures"])}
    assert names == {f"run-{chart}.svg" for chart in ("overview-time", "overview-bars", "heads-time", "roofline-main")}


@pytest.mark.usefixtures("only_time")
def test_figures_are_files_that_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_report(RECORDS, ENVIRONMENTS, tmp_path / "a", "run", ["figures"])
    monkeypatch.setattr(figures, "ENDINGS", ("svg", "pdf"))
    again = write_report(RECORDS, ENVIRONMENTS, tmp_path / "b", "run", ["figures"])
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert [path.suffix for path in first] == [".png", ".svg", ".pdf"]
    assert all(path.read_bytes().startswith(starts[path.suffix]) and path.stat().st_size > 4000 for path in first)
    assert [path.read_bytes() for path in first[1:]] == [path.read_bytes() for path in again]


@pytest.mark.usefixtures("only_time")
def test_figures_take_any_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "ENDINGS", ("svg",))
    found = write_report(hostile.records()[:18], [hostile.environment()], tmp_path, "odd", ["figures"])
    assert len(found) == 1 and b"<script" not in found[0].read_bytes() and b"<dc:date" not in found[0].read_bytes()
