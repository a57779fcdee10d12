"""The planted work against closed forms, and the comparison of stop-watches on a scripted clock. Nothing here is timed for real."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.perf.accuracy import Row, compare, main, table
from tests.perf.planted import NOISES, HostClock, Noise, Planted, ScriptedClock, call_cost_s
from tests.perf.stopwatches import STOPWATCHES, missing

HERE = [name for name in STOPWATCHES if missing(name) is None]


@pytest.mark.parametrize("name", list(NOISES))
def test_the_median_of_a_noise_is_its_closed_form(name: str) -> None:
    factors = NOISES[name].factors(np.random.default_rng(1), 200_000)
    assert np.median(factors) == pytest.approx(NOISES[name].median, abs=4e-4)


def test_the_autoregressive_noise_repeats_itself_as_planted() -> None:
    logs = np.log(NOISES["ar1"].factors(np.random.default_rng(2), 200_000))
    assert np.std(logs) == pytest.approx(0.02, rel=0.02)
    for lag in (1, 2, 3):
        assert np.corrcoef(logs[:-lag], logs[lag:])[0, 1] == pytest.approx(0.7**lag, abs=0.02)


def test_bursts_last_as_planted() -> None:
    inside = NOISES["bursts"].factors(np.random.default_rng(3), 200_000) > 1.15
    assert np.mean(inside) == pytest.approx(0.02 / 0.22, rel=0.05)
    assert np.sum(inside) / np.sum(inside[1:] & ~inside[:-1]) == pytest.approx(5.0, rel=0.05)


def test_a_call_takes_what_was_drawn_and_short_calls_share_a_millisecond() -> None:
    clock = ScriptedClock()
    drawn = Noise(lambda rng, count: np.arange(1.0, count + 1), 1.0)
    work = Planted(clock, 2.5e-4, drawn, 0)
    times = []
    for _ in range(9):
        before = clock.now()
        work()
        times.append(clock.now() - before - 1e-7)  # two looks
    assert times == pytest.approx([2.5e-4] * 4 + [5e-4] * 4 + [7.5e-4], abs=1e-9)


def test_the_cost_of_a_call_is_calibrated_and_small() -> None:
    assert call_cost_s(ScriptedClock()) == pytest.approx(5e-8, rel=0.01)  # one look before the spin, and none after it
    assert call_cost_s(HostClock()) >= 0


@pytest.mark.parametrize("duration_s", [2e-4, 2e-2])
def test_every_stopwatch_finds_the_truth_of_mild_noise(duration_s: float) -> None:
    rows = compare(ScriptedClock(), HERE, ["lognormal"], [duration_s], 4, 0.01)
    assert [row.tool for row in rows] == HERE
    for row in rows:
        assert row.error < 0.015
        assert row.cost_s >= row.setup_s >= 0
        assert row.coverage is None or row.tool == "fabench"
    assert rows[0].coverage is not None
    assert rows[0].coverage >= 0.5


def test_a_scripted_clock_is_gone_after_the_comparison() -> None:
    before = HostClock().now()
    compare(ScriptedClock(), ["fabench"], ["lognormal"], [2e-3], 1, 0.01)
    assert before < HostClock().now() < before + 60


def test_the_table_says_what_was_simulated() -> None:
    row = Row("fabench", "ar1", 2e-3, 2e-3, 200, 0.004, 0.011, -0.001, 0.945, 0.15, 0.1, 0.3)
    shown = table([row], "scripted", 0.01)
    assert "simulated, nothing was measured" in shown
    assert "| ar1 | 2.00 ms | fabench | 0.40% | 1.10% | -0.10% | 94.5% | 150 ms | 100 ms | 300 ms |" in shown
    assert "| fabench | 0.40% | 94.5% (94.5%) | 150 ms | 100 ms | 300 ms |" in shown
    assert "measured on the host's clock" in table([row], "host", 0.01)


def test_the_script_writes_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    arguments = [
        "--runs",
        "2",
        "--clock",
        "scripted",
        "--durations",
        "2ms",
        "--noises",
        "bursts",
        "--tools",
        "fabench",
        "--json",
        str(file),
    ]
    assert main(arguments) == 0
    assert "| bursts | 2.00 ms | fabench |" in capsys.readouterr().out
    held = json.loads(file.read_text())
    assert held["simulated"] is True
    (row,) = held["rows"]
    assert row["truth_s"] == pytest.approx(2e-3 * NOISES["bursts"].median, rel=1e-3)
    assert math.isfinite(row["cost_at_width_s"])


@pytest.mark.parametrize("arguments", [["--tools", "sundial"], ["--noises", "x"], ["--durations", "2 parsec"], ["--runs", "0"]])
def test_a_wrong_word_is_a_line_and_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
