"""Shifts in series of runs, by simulation: how often they are found where there are none, and where there is one, and at which run."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fabench.analysis import shifts as module
from fabench.analysis.estimate import Floats
from fabench.analysis.shifts import FEWEST, shifts

Machine = Callable[[np.random.Generator, int], Floats]


def normal(rng: np.random.Generator, count: int) -> Floats:
    return np.asarray(rng.standard_normal(count))


def heavy_tails(rng: np.random.Generator, count: int) -> Floats:
    return np.asarray(rng.standard_t(3, count))


def flips(rng: np.random.Generator, count: int) -> Floats:
    """Each fifth run is far slower."""
    return np.asarray(rng.standard_normal(count) + 9.0 * (rng.random(count) < 0.2))


def skewed(rng: np.random.Generator, count: int) -> Floats:
    return np.asarray(rng.exponential(1.0, count))


def alike(correlation: float) -> Machine:
    """Neighbours correlate."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        values = rng.standard_normal(count + 20)
        for index in range(1, count + 20):
            values[index] = correlation * values[index - 1] + math.sqrt(1 - correlation**2) * values[index]
        return np.asarray(values[20:])

    return draw


INDEPENDENT: dict[str, Machine] = {"normal": normal, "heavy tails": heavy_tails, "flips": flips, "skewed": skewed}


def false_shifts(machine: Machine, count: int, series: int, alpha: float = 0.05) -> int:
    rng = np.random.default_rng(count)
    return sum(bool(shifts(machine(rng, count).tolist(), alpha)) for _ in range(series))


def beyond_chance(hits: int, trials: int, rate: float) -> bool:
    """Whether so many hits refute that the true rate is `rate` or less."""
    return float(stats.binom.sf(hits - 1, trials, rate)) < 1e-3


@pytest.mark.parametrize("name", INDEPENDENT)
@pytest.mark.parametrize("count", [8, 20, 60])
def test_of_100_series_without_a_shift_5_have_one(name: str, count: int) -> None:
    found = false_shifts(INDEPENDENT[name], count, 400)
    assert not beyond_chance(found, 400, 0.05), found


@pytest.mark.parametrize(("correlation", "most"), [(0.3, 0.1), (0.5, 0.16)])
def test_runs_that_resemble_their_neighbours_are_allowed_for(correlation: float, most: float) -> None:
    for count in (12, 40):
        found = false_shifts(alike(correlation), count, 300)
        assert not beyond_chance(found, 300, most), (count, found)


def test_a_stricter_level_is_kept_too() -> None:
    assert not beyond_chance(false_shifts(normal, 30, 600, alpha=0.01), 600, 0.01)


def test_p_is_the_share_of_all_orders_that_look_as_shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight values have 40,320 orders; these have no correlation to allow for, so the scan is not divided."""
    values = np.array([0.3, -0.4, 0.1, -0.2, 1.9, 1.2, 1.8, 1.1])
    assert module._inflation(values, 4) == 1.0
    monkeypatch.setattr(module, "_WANTED", 400)
    split, p = module._best(values, 0.02)
    scans = module._scan(np.array(list(itertools.permutations(module._drawn_in(values)))))
    exact = float(np.mean(scans >= module._scan(module._drawn_in(values)) - 1e-9))
    assert split == 4
    assert p == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))


def test_a_scan_is_the_largest_of_scipys_t_statistics() -> None:
    values = np.random.default_rng(0).standard_normal(14)
    found = [abs(stats.ttest_ind(values[:split], values[split:]).statistic) for split in range(3, 12)]
    assert float(module._scan(values)) == pytest.approx(max(found))


@pytest.mark.parametrize(("count", "at", "size", "least"), [(20, 10, 3.0, 0.8), (40, 20, 2.0, 0.9), (40, 30, 2.5, 0.9)])
def test_a_shift_is_found_and_placed(count: int, at: int, size: float, least: float) -> None:
    rng = np.random.default_rng(1)
    seen = near = 0
    for _ in range(200):
        values = rng.standard_normal(count) + size * (np.arange(count) >= at)
        places = [one.index for one in shifts(values.tolist())]
        seen += bool(places)
        near += any(abs(place - at) <= 2 for place in places)
    assert not beyond_chance(200 - seen, 200, 1 - least), seen
    assert near >= 0.85 * seen


def test_a_slow_drift_is_found_though_no_step_is_larger_than_a_tenth_of_the_noise() -> None:
    rng = np.random.default_rng(2)
    seen = sum(bool(shifts((rng.standard_normal(60) + 0.06 * np.arange(60)).tolist())) for _ in range(60))
    assert seen >= 54


def test_two_shifts_are_two() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(0, 0.1, 15), rng.normal(1, 0.1, 15), rng.normal(0.4, 0.1, 15)])
    found = shifts(values.tolist())
    assert [one.index for one in found] == [15, 30]
    assert [one.size for one in found] == pytest.approx([1.0, -0.6], abs=0.15)
    assert all(0 < one.p <= 0.05 for one in found)


def test_small_shifts_are_taken_back_and_the_rest_measured_anew() -> None:
    values = [0.0, 0.001] * 8 + [0.011, 0.01] * 8 + [1.0, 1.001] * 8
    assert [one.index for one in shifts(values)] == [16, 32]
    (only,) = shifts(values, least_size=0.05)
    assert only.index == 32
    assert only.size == pytest.approx(1.0005 - 0.0055, abs=1e-3)


def test_one_odd_run_is_no_shift() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(0, 0.01, 20).tolist()
    values[10] += 5
    assert shifts(values, 0.01) == []


@pytest.mark.parametrize("count", range(FEWEST + 2))
def test_few_runs_have_no_shift(count: int) -> None:
    assert shifts([float(index) for index in range(count)], 0.01) == []


@given(st.lists(st.floats(-100, 100), max_size=40))
def test_any_series_is_cut_where_it_says(values: list[float]) -> None:
    found = shifts(values)
    places = [0, *(one.index for one in found), len(values)]
    assert all(later - earlier >= 3 for earlier, later in itertools.pairwise(places)) or not found
    assert shifts(values) == found


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(-5, 5), st.floats(0.1, 10))
def test_units_do_not_matter(seed: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(24) + 2.0 * (np.arange(24) >= 12)
    plain, moved = shifts(values.tolist()), shifts((scale * values + shift).tolist())
    assert [one.index for one in plain] == [one.index for one in moved]
