"""Google Benchmark's and hyperfine's files: their documented forms, and the tools themselves where they are installed.

compare.py is in Debian's libbenchmark-tools; FABENCH_GBENCH_COMPARE names one elsewhere. hyperfine's own scripts are in no package, so
its form is compared with a file that hyperfine writes.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fabench.export import load
from fabench.median import median
from tests.export.examples import MEASURED, ONE_SAMPLE, RECORDS, bundle, ok

COMPARE = Path(os.environ.get("FABENCH_GBENCH_COMPARE", "/usr/share/benchmark/compare.py"))
TIMES = {"real_time", "cpu_time", "time_unit", "iterations"}


def google(*records: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(load("google_benchmark").write(bundle(*records)))
    return found


def test_googles_form() -> None:
    data = google()
    assert data["context"]["json_schema_version"] == 1
    assert data["context"]["num_cpus"] == 2 and data["context"]["cpu_scaling_enabled"] is True
    for row in data["benchmarks"]:
        assert row["run_type"] in ("iteration", "aggregate")
        assert row["name"] == row["run_name"] + (f"_{row['aggregate_name']}" if row["run_type"] == "aggregate" else "")
        if row.get("error_occurred"):
            assert row["error_message"] and not TIMES & set(row)
        else:
            assert set(row) >= TIMES and row["time_unit"] == "ns" and row["threads"] == 1


def test_googles_iterations_aggregates_and_counters() -> None:
    rows = [row for row in google()["benchmarks"] if row["run_name"] == MEASURED.cell.id]
    assert MEASURED.timing is not None
    samples = MEASURED.timing.samples_s
    iterations = [row for row in rows if row["run_type"] == "iteration"]
    assert [row["real_time"] for row in iterations] == pytest.approx([sample * 1e9 for sample in samples])
    assert [row["repetition_index"] for row in iterations] == list(range(len(samples)))
    assert {row["iterations"] for row in iterations} == {2} and {row["peak_bytes"] for row in iterations} == {5000}
    assert iterations[0]["cpu_mean_ns"] == pytest.approx(0.02 / 20 * 1e9)
    found = {row["aggregate_name"]: row["real_time"] / 1e9 for row in rows if row["run_type"] == "aggregate"}
    assert found == pytest.approx(
        {"mean": statistics.mean(samples), "median": median(samples), "stddev": statistics.stdev(samples)}
    )


def test_googles_compare_reads_two_files_with_cells_that_failed(tmp_path: Path) -> None:
    if not COMPARE.exists():
        pytest.skip(f"no {COMPARE} (Debian: libbenchmark-tools)")
    slower = ok(MEASURED.cell, tuple(2 * sample for sample in MEASURED.timing.samples_s))  # type: ignore[union-attr]
    gone = RECORDS[2]
    measured_here = ok(gone.cell)
    for name, records in (("base", (MEASURED, ONE_SAMPLE, measured_here)), ("head", (slower, ONE_SAMPLE, gone))):
        (tmp_path / f"{name}.json").write_bytes(load("google_benchmark").write(bundle(*records)))
    command = [sys.executable, str(COMPARE), "--no-color", "benchmarks", str(tmp_path / "base.json"), str(tmp_path / "head.json")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.startswith("factorized/")}
    assert rows[f"{MEASURED.cell.id}_median"][1] == "+1.0000"
    assert float(rows[f"{MEASURED.cell.id}_pvalue"][1]) < 0.05
    assert rows[ONE_SAMPLE.cell.id][1] == "+0.0000"
    assert not any(name.startswith(gone.cell.id) for name in rows)


def test_hyperfines_form(tmp_path: Path) -> None:
    ours = json.loads(load("hyperfine").write(bundle()))["results"]
    assert [result["command"] for result in ours] == [MEASURED.cell.id, ONE_SAMPLE.cell.id]
    one, single = ours
    assert len(one["times"]) == len(one["exit_codes"]) == 10 and one["median"] == median(one["times"])
    assert one["stddev"] == pytest.approx(statistics.stdev(one["times"])) and single["stddev"] is None
    assert all(isinstance(value, str) for value in one["parameters"].values())
    keys = {"command", "mean", "stddev", "median", "user", "system", "min", "max", "times", "exit_codes", "parameters"}
    assert set(one) == keys
    tool = os.environ.get("FABENCH_HYPERFINE") or shutil.which("hyperfine")
    if tool is None:
        pytest.skip("compared with the documented form only: hyperfine is not installed")
    written = tmp_path / "theirs.json"
    command = [tool, "--shell=none", "-r", "2", "-L", "n", "1", "true {n}", "--export-json", str(written)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    (theirs,) = json.loads(written.read_text())["results"]
    assert set(theirs) - {"memory_usage_byte"} == keys
    assert all(type(theirs[key]) is type(one[key]) for key in keys - {"user", "system"})
