"""The interval of the median: closed forms, and coverage on series whose median is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from fabench.median import autocorrelation_time, effective_count, half_width, interval_rank, median, median_interval, student

positive = st.floats(1e-6, 1e3)


def autoregressive(phi: float, shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """Stationary, normal, mean 0, deviation 1, neighbours correlated by `phi`."""
    noise = np.random.default_rng(seed).standard_normal((shape[0], shape[1] + 200))
    series: NDArray[np.float64] = lfilter([math.sqrt(1 - phi * phi)], [1, -phi], noise, axis=1)[:, 200:]
    return series


def time_of_signs(phi: float) -> float:
    """Of an autoregressive series: neighbours' signs are correlated by 2/pi asin(rho) (Van Vleck and Middleton 1966)."""
    return 1 + 2 * sum(2 / math.pi * math.asin(phi**lag) for lag in range(1, 400))


@given(st.lists(positive, min_size=1))
def test_median_is_numpy_s(samples: list[float]) -> None:
    assert median(samples) == pytest.approx(float(np.median(samples)), rel=1e-12)


@given(st.lists(positive, min_size=1, max_size=5))
def test_fewer_than_six_samples_have_no_interval(samples: list[float]) -> None:
    assert median_interval(samples) == (-math.inf, math.inf)
    assert half_width(samples) == math.inf


def test_no_samples_have_no_interval_and_count_for_none() -> None:
    assert median_interval([]) == (-math.inf, math.inf)
    assert effective_count([]) == 0


@pytest.mark.parametrize("count", range(20, 2000, 7))
def test_ranks_of_independent_samples_cover_as_the_binomial_distribution_says(count: int) -> None:
    rank = interval_rank(count, 1.0)
    assert rank is not None
    assert 1 - 2 * stats.binom.cdf(rank, count, 0.5) >= 0.9495
    assert 1 - 2 * stats.binom.cdf(rank + 2, count, 0.5) < 0.95


@pytest.mark.parametrize("count", range(6, 20))
def test_a_short_series_has_its_range_for_an_interval(count: int) -> None:
    samples = list(range(count, 0, -1))
    samples[1::2] = samples[1::2][::-1]  # up and down, so that nothing seems to repeat
    outer = int(count >= 16)
    assert median_interval(samples) == (1 + outer, count - outer)
    assert interval_rank(count, count / 3.001) == outer
    assert interval_rank(count, count / 2.999) is None


@pytest.mark.parametrize("freedom", [5, 6, 8, 12, 30, 200])
def test_student_is_scipy_s(freedom: int) -> None:
    assert student(freedom) == pytest.approx(float(stats.t.ppf(0.975, freedom)), abs=0.003)


@given(st.integers(1, 400), st.floats(1, 400))
def test_a_longer_time_never_narrows_and_independent_samples_are_needed(count: int, time: float) -> None:
    time = min(time, float(count))
    rank, free = interval_rank(count, time), interval_rank(count, 1.0)
    assert rank is None or (free is not None and 0 <= rank <= free < count / 2)
    if count / time < (3 if count < 20 else 5.9):
        assert rank is None


@given(st.lists(positive, min_size=6, max_size=80), st.floats(0.1, 10))
def test_interval_holds_the_median_and_scales_with_the_samples(samples: list[float], factor: float) -> None:
    low, high = median_interval(samples)
    assert low <= median(samples) <= high
    assert 1 <= autocorrelation_time(samples) <= len(samples)
    assert autocorrelation_time([2.0**20 * value for value in samples]) == autocorrelation_time(samples)


def test_samples_that_are_all_alike_have_no_width() -> None:
    assert half_width([0.5] * 10) == 0
    assert autocorrelation_time([0.5] * 10) == 1
    assert half_width([0.0] * 10) == math.inf


def test_a_quantised_clock_gives_one_of_its_ticks() -> None:
    ticks = np.round(np.random.default_rng(0).normal(10, 0.4, 50)).tolist()
    assert median_interval(ticks) == (10, 10)


def test_two_levels_are_both_in_the_interval_and_alternating_is_no_correlation() -> None:
    alternating = [1.0, 2.0] * 20
    assert median_interval(alternating) == (1, 2)
    assert autocorrelation_time(alternating) == 1
    assert autocorrelation_time([1.0] * 20 + [2.0] * 20) > 10


@pytest.mark.parametrize("lasting", [1, 2, 5, 10])
def test_time_of_states_that_last(lasting: int) -> None:
    states = np.repeat(np.random.default_rng(lasting).random((200, 2000 // lasting)), lasting, axis=1)
    times = [autocorrelation_time(series) for series in states.tolist()]
    assert lasting * 0.95 <= float(np.median(times)) <= lasting * 1.35


@pytest.mark.parametrize("phi", [0.5, 0.8])
def test_time_of_autoregressive_series(phi: float) -> None:
    times = [autocorrelation_time(series) for series in autoregressive(phi, (200, 2000), seed=1).tolist()]
    assert 0.95 <= float(np.median(times)) / time_of_signs(phi) <= 1.35


# Of 1000 series, with at least four standard errors (0.7 %) of room; the sign test alone covers in the third column.
@pytest.mark.parametrize(
    ("phi", "count", "least", "alone"),
    [(0.0, 20, 0.95, 0.99), (0.0, 100, 0.94, 0.98), (0.5, 30, 0.92, 0.88), (0.5, 100, 0.94, 0.84), (0.8, 100, 0.93, 0.64), (0.8, 200, 0.93, 0.62)],
)  # fmt: skip
def test_coverage_with_and_without_correlation(phi: float, count: int, least: float, alone: float) -> None:
    series = (autoregressive(phi, (1000, count), seed=count) + 100).tolist()
    rank = interval_rank(count, 1.0)
    assert rank is not None
    found = [median_interval(samples) for samples in series]
    assert np.mean([low <= 100 <= high for low, high in found]) >= least
    assert np.mean([sorted(samples)[rank] <= 100 <= sorted(samples)[-1 - rank] for samples in series]) <= alone


# Of 2000 series; the sign test's own interval covers in the last column.
@pytest.mark.parametrize(
    ("phi", "count", "least", "alone"),
    [(0.0, 12, 0.98, 1.0), (0.5, 12, 0.96, 0.9), (0.7, 12, 0.93, 0.82), (0.0, 16, 0.98, 1.0), (0.5, 16, 0.96, 0.92), (0.7, 16, 0.93, 0.84)],
)  # fmt: skip
def test_a_short_series_covers_although_its_samples_repeat_each_other(phi: float, count: int, least: float, alone: float) -> None:
    rank = int(stats.binom.ppf(0.025, count, 0.5)) - 1
    series = (autoregressive(phi, (2000, count), seed=5) + 100).tolist()
    found = [median_interval(samples) for samples in series]
    assert np.mean([low <= 100 <= high for low, high in found]) >= least
    assert np.mean([sorted(samples)[rank] <= 100 <= sorted(samples)[-1 - rank] for samples in series]) <= alone
    assert np.mean([math.isinf(low) for low, _ in found]) <= 0.4  # not by having no interval


def test_what_little_correlation_independent_samples_seem_to_have_costs_little_width() -> None:
    series = (np.random.default_rng(3).standard_normal((500, 70)) + 100).tolist()
    rank = interval_rank(70, 1.0)
    assert rank is not None
    alone = sum(sorted(samples)[-1 - rank] - sorted(samples)[rank] for samples in series)
    found = sum(high - low for low, high in map(median_interval, series))
    assert found / alone <= 1.25
