"""The noise sheet's arithmetic against simulated machines whose spreads are planted, and the file that keeps it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fabench import noise
from fabench.codec import encode
from fabench.errors import StoreError

NAMES = ("2e-05", "0.0002", "0.002", "0.02")
OF = {"device": "Example CPU", "threads": 1, "settings": {"OMP_NUM_THREADS": "1"}}


def machine(rng: np.random.Generator, launches: int, medians: int, within: float, between: float) -> list[list[float]]:
    """Medians of 2 ms work per launch, on a machine that differs by `between` from process to process and by `within` inside."""
    own = between * rng.standard_normal((launches, 1))
    table: list[list[float]] = (2e-3 * np.exp(own + within * rng.standard_normal((launches, medians)))).tolist()
    return table


@pytest.mark.parametrize(("within", "between"), [(0.01, 0.03), (0.03, 0.01), (0.02, 0.0), (0.0, 0.02)])
def test_planted_spreads_are_recovered(within: float, between: float) -> None:
    found = noise.floor(machine(np.random.default_rng(1), 4000, 3, within, between))
    assert found.within == pytest.approx(within, rel=0.05, abs=1e-12)
    assert found.between == pytest.approx(between, rel=0.05, abs=0.003)
    assert found.duration_s == pytest.approx(2e-3, rel=0.01)


def test_with_many_launches_the_floor_is_its_closed_form() -> None:
    found = noise.floor(machine(np.random.default_rng(2), 20000, 3, 0.01, 0.02))
    spread = math.sqrt(2 * (0.01**2 + 0.02**2))
    assert math.log1p(found.floor) == pytest.approx(1.96 * spread, rel=0.03)
    assert math.log1p(found.seen) == pytest.approx((1.96 + 1.645) * spread, rel=0.03)


@pytest.mark.parametrize(("within", "between"), [(0.01, 0.03), (0.03, 0.01)])
def test_pairs_of_cells_keep_below_the_floor_and_a_difference_as_stated_is_seen(within: float, between: float) -> None:
    rng = np.random.default_rng(3)
    found = noise.floor(machine(rng, 3000, 3, within, between))
    cells = np.log(np.array(machine(rng, 40000, 1, within, between)).reshape(-1, 2))
    differences = cells[:, 0] - cells[:, 1]
    assert np.mean(np.abs(differences) < math.log1p(found.floor)) == pytest.approx(0.95, abs=0.01)
    assert np.mean(differences + math.log1p(found.seen) > math.log1p(found.floor)) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(("within", "between"), [(0.01, 0.03), (0.02, 0.005)])
def test_few_launches_promise_too_little_in_at_most_one_sheet_of_twenty(within: float, between: float) -> None:
    rng = np.random.default_rng(4)
    true = 1.959964 * math.sqrt(2 * (within**2 + between**2))
    low = [math.log1p(noise.floor(machine(rng, 12, 3, within, between)).floor) < true for _ in range(2000)]
    assert 0.02 < np.mean(low) < 0.065  # an upper bound at 95 %: more often would be boastful, never would be useless


@given(st.floats(1.0, 500.0))
def test_the_quantile_of_chi_squared_is_close_and_never_high(df: float) -> None:
    exact = float(stats.chi2.ppf(0.05, df))
    assert noise._chi2_low(df) <= exact * 1.001
    assert df < 8 or noise._chi2_low(df) == pytest.approx(exact, rel=0.005)


def test_the_same_time_again_and_again_has_no_floor() -> None:
    found = noise.floor([[0.002] * 3] * 4)
    assert (found.floor, found.seen, found.within, found.between) == pytest.approx((0.0, 0.0, 0.0, 0.0), abs=1e-12)


class Scripted:
    """Starts launches: each takes `cost_s` of scripted time and answers medians of a machine with planted spreads."""

    def __init__(self, cost_s: float, between: float = 0.02) -> None:
        self.rng = np.random.default_rng(5)
        self.cost_s, self.between, self.now_s = cost_s, between, 0.0
        self.asked: list[Mapping[str, Any] | None] = []

    def launch(self, work: Mapping[str, Any] | None) -> dict[str, Any]:
        self.asked.append(work)
        self.now_s += self.cost_s
        classes = {
            name: [
                {"median_s": float(name) * value / 2e-3, "minor_faults": 3.0, "involuntary_switches": None}
                for value in machine(self.rng, 1, 3, 0.01, self.between)[0]
            ]
            for name in NAMES
        }
        return {"work": {name: [64, 2] for name in NAMES}, "classes": classes, "clock_step_s": 5e-8}

    def sheet(self, seconds: float) -> noise.Sheet:
        return noise.measure(self.launch, "2030-01-01T00:00:00Z", seconds, lambda: self.now_s)


def test_every_launch_does_the_first_ones_work() -> None:
    scripted = Scripted(1.0)
    sheet = scripted.sheet(100.0)
    assert scripted.asked == [None] + [{name: [64, 2] for name in NAMES}] * 11
    assert (sheet.launches, sheet.medians, sheet.clock_step_s) == (12, 3, 5e-8)
    assert tuple(sheet.classes) == NAMES
    for name, one in sheet.classes.items():
        assert one.duration_s == pytest.approx(float(name), rel=0.1)
        assert (one.minor_faults, one.involuntary_switches) == (3.0, None)


@pytest.mark.parametrize(("cost_s", "launches"), [(1.0, 12), (1.9, 10), (4.0, 5), (9.0, 4)])
def test_a_slow_machine_gets_fewer_launches_but_four(cost_s: float, launches: int) -> None:
    scripted = Scripted(cost_s)
    assert scripted.sheet(20.0).launches == launches
    assert launches == 4 or scripted.now_s <= 20.0


def test_the_file_keeps_a_sheet_per_machine_and_replaces_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert noise.recall(OF) is None
    first, second = Scripted(1.0).sheet(100.0), Scripted(1.0, between=0.2).sheet(100.0)
    other = OF | {"threads": 2}
    assert noise.SHELF.remember(OF, first) == tmp_path / "fabench" / "noise.json"
    noise.SHELF.remember(other, first)
    noise.SHELF.remember(OF, second)
    assert noise.recall(OF) == json.loads(encode(second))
    assert noise.recall(other) == json.loads(encode(first))
    assert noise.recall(OF | {"threads": 3}) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"entries": 3}',
        '{"entries": [{"of": {}}]}',
        '{"entries": [{"of": {}, "value": {"launches": "many"}}]}',
        "\x00\xff",
    ],
)
def test_a_broken_file_is_one_line_and_is_written_anew(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = noise.SHELF.path
    file.parent.mkdir()
    file.write_text(text, encoding="latin-1")
    with pytest.raises(StoreError, match=r"noise\.json is no file of noise floors; write it anew with `fabench doctor`$"):
        noise.recall(OF)
    sheet = Scripted(1.0).sheet(100.0)
    noise.SHELF.remember(OF, sheet)
    assert noise.recall(OF) == json.loads(encode(sheet))


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    with pytest.raises(StoreError, match=r"can't write .*XDG_CACHE_HOME"):
        noise.SHELF.remember(OF, Scripted(1.0).sheet(100.0))


def test_a_sheet_holds_for_one_device_and_what_it_ran_under(monkeypatch: pytest.MonkeyPatch) -> None:
    facts, built = {"name": "Example CPU", "threads": 1}, {"torch": "2.14.1"}
    settings = {"OMP_NUM_THREADS": "1", "FABENCH_PROCESSORS": "1"}
    own = noise.identity(facts, built, settings)
    assert "FABENCH_PROCESSORS" not in own["settings"]
    assert own == noise.identity(dict(facts), dict(built), dict(settings))
    others = [
        noise.identity(facts | {"name": "Another"}, built, settings),
        noise.identity(facts | {"threads": 2}, built, settings),
        noise.identity(facts, {"torch": "2.15.0"}, settings),
        noise.identity(facts, built, settings | {"MALLOC_MMAP_MAX_": "0"}),
    ]
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    others.append(noise.identity(facts, built, settings))
    assert own not in others


SHEET = {"classes": {"0.0002": {"floor": 0.04}, "0.002": {"floor": 0.02}, "0.02": {"floor": 0.01}}}


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        (1e-6, 0.04),
        (2e-4, 0.04),
        (2e-3, 0.02),
        (2e-2, 0.01),
        (5.0, 0.01),
        (math.sqrt(2e-4 * 2e-3), 0.03),
        (math.sqrt(2e-3 * 2e-2), 0.015),
    ],
)
def test_between_classes_the_floor_follows_the_logarithm(duration_s: float, expected: float) -> None:
    assert noise.visible(SHEET, duration_s) == pytest.approx(expected)


@given(st.floats(1e-7, 1e3))
def test_the_floor_lies_between_its_classes(duration_s: float) -> None:
    assert 0.01 <= (noise.visible(SHEET, duration_s) or 0.0) <= 0.04


@pytest.mark.parametrize(
    "held", [None, {}, {"classes": {}}, {"classes": {"x": {"floor": 1}}}, {"classes": {"0.002": {}}}, 3, "sheet"]
)
def test_no_sheet_is_unknown_not_zero(held: object) -> None:
    assert noise.visible(held, 2e-3) is None
    assert noise.visible(SHEET, 0.0) is None
