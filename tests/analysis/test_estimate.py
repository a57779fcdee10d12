import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench import median as plain
from fabench.analysis.estimate import Estimate, bootstrap_medians, interval, median_interval, median_intervals


def zigzag(count: int) -> list[float]:
    """1 to `count` so that no sample is like its neighbour: high, low, high, low."""
    low, high = list(range(1, count // 2 + 1)), list(range(count // 2 + 1, count + 1))
    return [float(value) for pair in itertools.zip_longest(high, low) for value in pair if value is not None]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_bootstrap_medians_are_those_of_all_resamples(count: int) -> None:
    values = [2.0**power for power in zigzag(count)]
    exact = Counter(float(np.median(resample)) for resample in itertools.product(values, repeat=count))
    draws = 40_000
    seen = Counter(bootstrap_medians([values], draws, np.random.default_rng(1))[0].tolist())
    assert set(seen) <= set(exact)
    for median, times in exact.items():
        share = times / count**count
        assert seen[median] / draws == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / draws) + 0.006)


def test_bootstrap_medians_of_many_cells_keep_their_order() -> None:
    samples = [[1.0] * 7, [2.0] * 4, [3.0] * 7, [4.0]] * 100
    drawn = bootstrap_medians(samples, 5, np.random.default_rng(0))
    assert drawn.shape == (400, 5)
    assert drawn[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0] * 100
    assert (drawn == drawn[:, :1]).all()


def test_bootstrap_is_seeded_and_cells_are_independent() -> None:
    samples = [zigzag(25)] * 2
    one, two = (bootstrap_medians(samples, 2000, np.random.default_rng(3)) for _ in range(2))
    assert (one == two).all()
    assert abs(float(np.mean((one[0] - one[0].mean()) * (one[1] - one[1].mean()))) / one[0].std() / one[1].std()) < 0.1


def test_a_cell_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="no median"):
        bootstrap_medians([[1.0], []], 10, np.random.default_rng(0))


# Ranks of the interval's ends, from tables of the sign test (two-sided 5 %); of fewer than 20 the range, from 16 on without the outermost.
@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(6, 1, 6), (8, 1, 8), (9, 1, 9), (15, 1, 15), (16, 2, 15), (19, 2, 18), (20, 6, 15), (25, 8, 18), (50, 18, 33)],
)
def test_median_interval_has_the_ranks_of_the_sign_test(count: int, low: int, high: int) -> None:
    assert median_interval(zigzag(count)) == Estimate((count + 1) / 2, low, high)


def test_few_samples_give_their_range() -> None:
    assert median_interval([3.0]) == Estimate(3.0, 3.0, 3.0)
    assert median_interval([3.0, 1.0, 2.0]) == Estimate(2.0, 1.0, 3.0)


def test_median_interval_covers() -> None:
    samples = np.random.default_rng(0).lognormal(sigma=0.3, size=(2000, 21))
    found = median_intervals(list(samples))
    assert np.mean((found[:, 1] <= 1) & (found[:, 2] >= 1)) == pytest.approx(0.973, abs=0.015)


def test_samples_that_repeat_each_other_are_worth_one() -> None:
    states = [float(value) for value in zigzag(10)]
    assert median_interval(states * 10) == Estimate(5.5, 4, 7)
    assert median_interval([value for value in states for _ in range(10)]) == Estimate(5.5, 3, 8)
    assert median_interval([1.0] * 10 + [2.0] * 10) == Estimate(1.5, 1.0, 2.0)


@given(st.lists(st.lists(st.integers(1, 50) | st.floats(1e-6, 1e3), min_size=1, max_size=40), min_size=1, max_size=8))
def test_many_cells_have_the_interval_that_sampling_stopped_by(samples: list[list[float]]) -> None:
    for values, (middle, low, high) in zip(samples, median_intervals(samples).tolist(), strict=True):
        stopped_by = plain.median_interval(values)
        assert (low, high) == (stopped_by if math.isfinite(stopped_by[0]) else (min(values), max(values)))
        assert middle == plain.median(values)


@pytest.mark.parametrize("lasting", [1, 4, 10])
def test_bootstrap_spreads_as_wide_as_medians_of_such_samples_do(lasting: int) -> None:
    rng = np.random.default_rng(lasting)
    samples = np.repeat(rng.standard_normal((400, 200 // lasting)), lasting, axis=1) + 100
    true_spread = float(np.std(np.median(samples, axis=1)))
    typical = float(np.median(bootstrap_medians(list(samples), 200, rng).std(axis=1)))
    assert 0.95 <= typical / true_spread <= 1.4


def ends(draws: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    return [float(edge) for edge in interval(draws)]


def test_interval_takes_draws_and_stands_infinite_ones() -> None:
    assert ends(np.arange(1.0, 401.0)) == [10, 391]
    assert ends(np.array([-math.inf] * 20 + [1.0] * 360 + [math.inf] * 20)) == [-math.inf, math.inf]
    assert ends(np.array([-math.inf] * 2 + [1.0] * 396 + [math.inf] * 2)) == [1, 1]
    assert ends(np.array([3.0])) == [3, 3]
