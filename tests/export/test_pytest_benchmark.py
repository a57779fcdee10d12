"""pytest-benchmark's file against pytest-benchmark: its statistics, its `compare`, and the way back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabench.errors import StoreError
from fabench.export import Bundle, load
from fabench.export.pytest_benchmark import read
from fabench.schema import Environment
from tests import synthetic
from tests.export.examples import MEASURED, ONE_SAMPLE, RECORDS, bundle, cell, environment, odd_bundles, ok

WRITE = load("pytest_benchmark").write
TIMES = st.lists(st.floats(min_value=1e-9, max_value=1e4), min_size=1, max_size=60)


def first(asked: Bundle) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WRITE(asked))["benchmarks"][0]
    return found


@settings(max_examples=150, deadline=None)
@given(samples=TIMES | st.lists(st.sampled_from([0.001, 0.002, 0.5]), min_size=1, max_size=30))
def test_statistics_are_pytest_benchmarks_own(samples: list[float]) -> None:
    stats = pytest.importorskip("pytest_benchmark.stats", reason="pytest-benchmark is not installed")
    theirs = stats.Stats()
    for sample in samples:
        theirs.update(sample)
    ours = first(bundle(ok(cell(8), tuple(samples), loops=3)))["stats"]
    assert ours["data"] == samples and ours["iterations"] == 3
    for name, value in theirs.as_dict().items():
        # Where a sample lies on the edge of a class, the last bit of the mean decides.
        if name in ("outliers", "stddev_outliers", "iqr_outliers", "ld15iqr", "hd15iqr") and len(set(samples)) < len(samples):
            continue
        assert ours[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9, abs=1e-18)), name


def test_it_is_told_what_it_is_blind_to() -> None:
    data = json.loads(WRITE(bundle()))
    assert data["machine_info"]["devices"] == {"cpu": {"name": "Example CPU"}}
    assert (data["machine_info"]["system"], data["machine_info"]["release"]) == ("Linux", "6.1.0")
    assert (data["commit_info"]["id"], data["commit_info"]["dirty"]) == ("0123456789ab", True)
    (one, other) = data["benchmarks"]
    assert one["name"] == one["fullname"] == MEASURED.cell.id
    assert one["params"]["n"] == 1024 and one["params"]["implementation"] == "factorized"
    extra = one["extra_info"]
    assert (extra["device"], extra["clock"], extra["peak_bytes"], extra["check_error"]) == (
        "Example CPU",
        "perf_counter",
        5000,
        2e-7,
    )
    assert extra["environment"]["torch"] == "2.13.0"
    assert other["stats"]["rounds"] == 1 and other["stats"]["stddev"] == 0.0


def test_everything_comes_back(tmp_path: Path) -> None:
    records, environments = read(WRITE(bundle()), "file")
    assert {record.cell.id: record for record in records} == {record.cell.id: record for record in RECORDS}
    assert environments == [environment()]


def test_a_whole_sweep_comes_back() -> None:
    records = synthetic.records(n=(256, 1024, 16384), samples=7)
    found, environments = read(WRITE(Bundle(records, (synthetic.environment(),))), "file")
    assert sorted(found, key=lambda record: record.cell.id) == sorted(records, key=lambda record: record.cell.id)
    assert environments == [synthetic.environment()]


@settings(max_examples=60, deadline=None)
@given(asked=odd_bundles())
def test_odd_records_come_back(asked: Bundle) -> None:
    try:
        written = WRITE(asked)
        found, environments = read(written, "file")
    except StoreError as error:
        # What the codec refuses to read anywhere is refused here, in one line.
        assert "\n" not in str(error)
        return
    assert {record.cell.id: record for record in found} == {record.cell.id: record for record in asked.records}
    assert environments == list(asked.environments)


def test_other_benchmarks_may_stand_beside_ours() -> None:
    data = json.loads(WRITE(bundle()))
    data["benchmarks"].append({"name": "test_other", "extra_info": {}, "stats": {}})
    assert len(read(json.dumps(data).encode(), "file")[0]) == len(RECORDS)


def changed(**values: object) -> bytes:
    return json.dumps(json.loads(WRITE(bundle())) | values).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no pytest-benchmark file of fabench"),
        (b"\xff\xfe", "no pytest-benchmark file of fabench"),
        (b"[1, 2]", "no pytest-benchmark file of fabench"),
        (
            b'{"benchmarks": [{"name": "test_x", "extra_info": {}, "stats": {}}], "machine_info": {}}',
            "only files with fabench's own",
        ),
        (b'{"benchmarks": 3, "fabench": {}}', "no pytest-benchmark file of fabench"),
        (b"[" * 100_000, "no pytest-benchmark file of fabench"),
        (changed(fabench={"version": 9, "environments": [], "records": []}), "version 9 is not known"),
        (changed(fabench={"version": 1, "environments": [], "records": [{"status": "ok"}]}), "is missing"),
        (changed(fabench={"version": 1, "environments": [{"schema": 99}], "records": []}), "schema 99 is not known"),
        (changed(fabench={"version": 1, "environments": 7, "records": []}), "file: "),
    ],
)
def test_a_foreign_or_broken_file_is_one_clear_error(data: bytes, words: str) -> None:
    with pytest.raises(StoreError) as error:
        read(data, "file")
    assert words in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 300


def test_its_own_compare_reads_two_files(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    slower = ok(MEASURED.cell, tuple(1.5 * sample for sample in MEASURED.timing.samples_s))  # type: ignore[union-attr]
    for name, records in (("base", (MEASURED, ONE_SAMPLE, RECORDS[2])), ("head", (slower, ONE_SAMPLE))):
        (tmp_path / f"{name}.json").write_bytes(WRITE(bundle(*records)))
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "base.json", "head.json", "--between=median,min"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")} | {"COLUMNS": "300"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "2 tests, 2 sources" in result.stdout
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.startswith("factorized/")}
    assert "+50.0%" in rows[MEASURED.cell.id] and "+0.0%" in rows[ONE_SAMPLE.cell.id]
    plain = subprocess.run(command[:-1], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert plain.stdout.count(MEASURED.cell.id) == 2


def test_environments_survive_with_unknown_commit() -> None:
    unversioned: Environment = replace(environment(), commit=None)
    data = json.loads(WRITE(Bundle((MEASURED,), (unversioned,))))
    assert (data["commit_info"]["id"], data["commit_info"]["dirty"]) == ("unversioned", False)
