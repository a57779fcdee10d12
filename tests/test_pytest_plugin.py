"""The pytest plugin, in sessions of its own: mostly before a measuring side that plays every ending, once before the real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from fabench.export.pytest_benchmark import read
from fabench.sweep.lock import exclusive
from tests.cli.conftest import TINY

pytest_plugins = ("pytester",)

REGISTERED = any(point.value == "fabench.pytest_plugin" for point in entry_points(group="pytest11"))
PLUGIN = [] if REGISTERED else ["-p", "fabench.pytest_plugin"]
# n says how the stand-in lets a cell end.
ENDINGS = {64: "ok", 65: "incorrect", 66: "unsupported", 67: "crash", 68: "ok", 69: "out_of_memory"}
SUITE = """
title = "Endings"
[axes]
implementation = "factorized"
device = "cpu"
n = {n}
heads = 2
d_k = 8
[[expect]]
status = "out_of_memory"
reason = "as the paper says"
[budget]
cell = "{cell}"
"""
STAND_IN = """
import json, os, pathlib, sys, time
from fabench.schema import Case, Cell, Check, Job, Memory, Record, TensorError, Timing, from_json, to_json
ENDINGS = {endings}
def say(text):
    sys.stdout.write("\\n" + text + "\\n"); sys.stdout.flush()
pathlib.Path("started").open("a").write(f"{{os.getpid()}}\\n")
say('{{"event": "ready", "torch": "0"}}')
for line in sys.stdin:
    request = json.loads(line)
    say(json.dumps({{"event": "started", "pid": 2**22 + 12345}}))
    if request["kind"] == "describe":
        devices = {{name: {{"missing": "none here"}} if name != "cpu" else {{"name": "Stand-in"}} for name in request["devices"]}}
        say(json.dumps({{"event": "answer", "value": devices}}))
    else:
        job = from_json(Job, json.dumps(request["job"]))
        ending, check = ENDINGS.get(job.cell.case.n, "hang"), Check(True, (TensorError("output", 1e-7, 1e-7, 1e-5),))
        if ending == "hang":
            pathlib.Path("hanging").touch()
            time.sleep(60)
        if ending == "crash":
            say('{{"event": "ended", "code": -11}}')
            continue
        timing = None if job.measure.check_only else Timing(
            "perf_counter", (0.002, 0.001, 0.003, 0.001, 0.002, 0.001, 0.002), 4, 0.1, 9, "target", "hot", 0.1)
        memory = Memory(100, 5000, 4900, 50, 50)
        record = Record(job.cell, "ok", check=check, timing=timing, memory=memory)
        if ending != "ok":
            record = Record(job.cell, ending, "because " + ending)
        say('{{"event": "answer", "value": ' + to_json(record) + "}}")
    say('{{"event": "ended", "code": 0}}')
"""
CONFTEST = """
import functools, sys
from fabench.pytest_plugin import measuring
measuring.ForkServer = functools.partial(measuring.ForkServer, command=(sys.executable, "stand_in.py"))
"""


@pytest.fixture
def place(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose measuring side is the stand-in."""
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CI", "true")  # pytest then writes reasons in full
    pytester.makepyfile(stand_in=STAND_IN.format(endings=ENDINGS))
    pytester.makeconftest(CONFTEST)
    (pytester.path / "suites").mkdir()
    suite(pytester, sorted(ENDINGS))
    return pytester


def suite(place: pytest.Pytester, n: list[int], name: str = "ci", cell: str = "20 s", more: str = "") -> None:
    (place.path / "suites" / f"{name}.toml").write_text(SUITE.format(n=n, cell=cell) + more)


def cell_id(n: int) -> str:
    return f"factorized/cpu/core/softmax/fp32/fwd/n={n},b=1,h=2,dk=8,dv=8"


def run(place: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return place.runpytest_subprocess(*PLUGIN, *arguments, timeout=120)


def starts(place: pytest.Pytester) -> list[int]:
    path = place.path / "started"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_the_entry_point_is_declared() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"fabench": "fabench.pytest_plugin"}


def test_it_costs_other_sessions_nothing() -> None:
    program = "import sys, fabench.pytest_plugin; sys.exit(', '.join(n for n in sys.modules if n.startswith('fabench.')))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == "fabench.pytest_plugin"


def test_every_ending_is_an_outcome_with_its_reason(place: pytest.Pytester) -> None:
    result = run(place, "suites/ci.toml", "-rA", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=2, skipped=1, xfailed=1)
    text = result.stdout.str()
    for line in (
        f"PASSED suites/ci.toml::{cell_id(64)}",
        f"FAILED suites/ci.toml::{cell_id(65)} - Failed: incorrect: because incorrect",
        f"FAILED suites/ci.toml::{cell_id(67)} - Failed: crashed: in start: killed by SIGSEGV",
        f"XFAIL suites/ci.toml::{cell_id(69)} - out of memory: because out_of_memory (expected: as the paper says)",
    ):
        assert line in text
    assert "because unsupported" in text and "Traceback" not in text
    (pid,) = starts(place)  # one server for all cells, the crash included
    assert gone(pid)


def test_a_time_out_fails_and_its_series_ends(place: pytest.Pytester) -> None:
    suite(place, [64, 70, 71], cell="1 s")
    result = run(place, "suites/ci.toml", "-rA")
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    assert f"FAILED suites/ci.toml::{cell_id(70)} - Failed: timed out: not done after 1 s (in start)" in result.stdout.str()


def test_a_larger_n_is_not_tried_after_out_of_memory_nor_anything_after_the_time_budget(place: pytest.Pytester) -> None:
    suite(place, [69, 75])
    result = run(place, "suites/ci.toml", "-rs")
    result.assert_outcomes(skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["*factorized ran out of memory at n=69, so larger n are not tried"])
    suite(place, [64, 68], more='total = "1 us"\n')
    result = run(place, "suites/ci.toml", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*the suite's time budget of 1e-06 s was used up"])


def test_samples_are_pytest_benchmarks_rounds(place: pytest.Pytester) -> None:
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    result = run(
        place,
        "suites/ci.toml",
        "--benchmark-only",
        "--benchmark-json=cells.json",
        "--benchmark-columns=min,median,rounds,iterations",
    )
    result.stdout.fnmatch_lines([f"{cell_id(64)} *1.0000 (1.0)*2.0000 (1.0)*7 *4"])
    data = json.loads((place.path / "cells.json").read_text())
    assert [benchmark["fullname"] for benchmark in data["benchmarks"]] == [cell_id(64), cell_id(68)]
    (one, _) = data["benchmarks"]
    assert one["stats"]["data"] == [0.002, 0.001, 0.003, 0.001, 0.002, 0.001, 0.002] and one["stats"]["iterations"] == 4
    extra = one["extra_info"]
    assert (extra["device"], extra["clock"], extra["peak_bytes"], extra["check_error"]) == (
        "Stand-in",
        "perf_counter",
        5000,
        1e-7,
    )
    assert extra["environment"]["suite"] == "ci" and one["params"]["n"] == 64
    records, (environment,) = read((place.path / "cells.json").read_bytes(), "cells.json")
    assert sorted(record.status for record in records) == ["crashed", "incorrect", "ok", "ok", "out_of_memory", "unsupported"]
    assert environment.devices == {"cpu": {"name": "Stand-in"}} and environment.settings["OMP_NUM_THREADS"]


def test_saved_runs_compare(place: pytest.Pytester) -> None:
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    suite(place, [64])
    run(place, "suites/ci.toml", "--benchmark-autosave").assert_outcomes(passed=1)
    result = run(place, "suites/ci.toml", "--benchmark-compare", "--benchmark-compare-fail=median:5%")
    assert result.ret == 0 and f"{cell_id(64)} (NOW)" in result.stdout.str() and f"{cell_id(64)} (0001" in result.stdout.str()
    (saved,) = (place.path / ".benchmarks").rglob("0001_*.json")
    saved.write_text(saved.read_text().replace('"median": 0.002', '"median": 0.001'))
    result = run(place, "suites/ci.toml", "--benchmark-compare", "--benchmark-compare-fail=median:5%")
    assert result.ret != 0 and "Performance has regressed" in result.stdout.str() + result.stderr.str()


def test_benchmark_switches(place: pytest.Pytester) -> None:
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    suite(place, [64, 65])
    place.makepyfile(test_plain="def test_plain(): pass")
    run(place, "suites/ci.toml", "test_plain.py", "--benchmark-only").assert_outcomes(passed=1, failed=1, skipped=1)
    run(place, "suites/ci.toml", "test_plain.py", "--benchmark-skip").assert_outcomes(passed=1, skipped=2)
    result = run(place, "suites/ci.toml", "--benchmark-disable", "--benchmark-json=none.json")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["fabench: 2 cells were checked, not timed: --benchmark-disable"])
    assert "Median" not in result.stdout.str() and not (place.path / "none.json").exists()


def test_without_pytest_benchmark_they_are_plain_tests(place: pytest.Pytester) -> None:
    suite(place, [64, 65])
    result = run(place, "-p", "no:benchmark", "suites/ci.toml", "--junitxml=cells.xml")
    result.assert_outcomes(passed=1, failed=1)
    assert '<property name="median_s" value="0.002"' in (place.path / "cells.xml").read_text()


def test_beside_each_other_cells_are_checked_and_not_timed(place: pytest.Pytester) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    suite(place, [64, 65, 68])
    for others in ([], ["-p", "no:benchmark"]):
        result = run(place, *others, "suites/ci.toml", "-n", "2", "--junitxml=cells.xml")
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["fabench: 3 cells were checked, not timed: pytest-xdist runs tests beside each other*-n 0"])
        assert "median_s" not in (place.path / "cells.xml").read_text()
    assert all(map(gone, starts(place)))


def test_collecting_starts_nothing_and_names_cells(place: pytest.Pytester) -> None:
    result = run(place, "suites/ci.toml", "--collect-only", "-q")
    assert result.stdout.str().splitlines()[:2] == [f"suites/ci.toml::{cell_id(64)}", f"suites/ci.toml::{cell_id(65)}"]
    assert starts(place) == []
    run(place, f"suites/ci.toml::{cell_id(68)}").assert_outcomes(passed=1)
    run(place, "suites/ci.toml", "-k", "fp32 and not factorized").assert_outcomes(deselected=6)


def test_no_other_file_is_touched(place: pytest.Pytester) -> None:
    place.makepyfile(test_plain="def test_plain(): pass")
    (place.path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    (place.path / "broken.toml").write_text("= no toml")
    run(place).assert_outcomes(passed=1)
    run(place, ".", "suites").assert_outcomes(passed=1)
    run(place, "pyproject.toml").stderr.fnmatch_lines(["ERROR: not found: *pyproject.toml"])  # pytest's own word
    assert starts(place) == []


def test_a_project_may_list_its_suites(place: pytest.Pytester) -> None:
    suite(place, [64])
    (place.path / "suites" / "notes.txt").write_text("")
    place.makeini("[pytest]\nfabench_suites =\n    suites/*.toml\n")
    run(place).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[axes]\nn = 0\n", "axes.n"),
        ("[axes\n", "is no TOML"),
        ("[axes]\nimplementation = 'flash_attention_9'\nn = 64\n", "flash_attention_9"),
    ],
)
def test_a_mistake_in_a_suite_is_one_line(place: pytest.Pytester, text: str, words: str) -> None:
    (place.path / "suites" / "wrong.toml").write_text(text)
    result = run(place, "suites/wrong.toml")
    result.assert_outcomes(errors=1)
    (line,) = (line for line in result.stdout.str().splitlines() if words in line and "ERROR" not in line)
    assert line.startswith("wrong.toml: ") and "Traceback" not in result.stdout.str()


def test_a_device_is_chosen_where_the_suite_leaves_it_open(place: pytest.Pytester) -> None:
    (place.path / "suites" / "open.toml").write_text(SUITE.format(n=[64], cell="20 s").replace('device = "cpu"\n', ""))
    result = run(place, "suites/open.toml", "-rA")
    result.assert_outcomes(passed=1)
    assert f"PASSED suites/open.toml::{cell_id(64)}" in result.stdout.str()
    (pid,) = starts(place)
    assert gone(pid)


def test_a_measuring_side_that_does_not_start_fails_the_cell(place: pytest.Pytester) -> None:
    place.makepyfile(stand_in="raise SystemExit('no torch here')")
    suite(place, [64])
    result = run(place, "suites/ci.toml", "-rA")
    result.assert_outcomes(failed=1)
    assert "WorkerError: the measuring side did not start: no torch here" in result.stdout.str()


def test_an_interruption_ends_the_measuring_side_and_keeps_what_is_done(place: pytest.Pytester) -> None:
    suite(place, [64, 70])
    command = [sys.executable, "-m", "pytest", *PLUGIN, "suites/ci.toml", "--junitxml=cells.xml"]
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # a child of a background job would ignore it
    try:
        process = subprocess.Popen(command, cwd=place.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        deadline = time.monotonic() + 60
        while not (place.path / "hanging").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output and "1 passed" in output
    (pid,) = starts(place)
    assert gone(pid)


def test_real_cells_are_measured_and_this_process_holds_no_torch(place: pytest.Pytester) -> None:
    place.makeconftest(
        "import sys\ndef pytest_sessionfinish():\n    print('HEAVY', {'torch', 'numpy', 'pandas', 'scipy'} & set(sys.modules))\n"
    )
    (place.path / "suites" / "tiny.toml").write_text(TINY.replace("n = [64, 128, 256]", "n = 64"))
    arguments = [] if not _has_benchmark() else ["--benchmark-json=cells.json"]
    result = run(place, "suites/tiny.toml", "-s", *arguments)
    result.assert_outcomes(passed=2)
    assert "HEAVY set()" in result.stdout.str()
    if arguments:
        records, (environment,) = read((place.path / "cells.json").read_bytes(), "cells.json")
        assert [record.status for record in records] == ["ok", "ok"] and environment.packages["torch"]
        assert all(record.check is not None and record.check.passed for record in records)


def _has_benchmark() -> bool:
    return any(point.name == "benchmark" for point in entry_points(group="pytest11"))


def test_a_device_that_another_fabench_uses_is_not_timed_on(place: pytest.Pytester) -> None:
    suite(place, [64])
    with exclusive({"cpu": {}}, lambda text: None):
        result = run(place, "suites/ci.toml")
        assert result.ret == 1
        result.stdout.fnmatch_lines("*cpu is in use by another fabench*")
    assert run(place, "suites/ci.toml").ret == 0
