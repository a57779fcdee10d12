"""Labels on raw samples: planted drift, levels and outliers are found; series without them are not labelled."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from fabench.analysis.shape import Modes, drift, modes, outliers

Series = NDArray[np.float64]
RUNS = 400
COUNTS = (10, 25, 70)


def lognormal(count: int, rng: np.random.Generator) -> Series:
    return np.exp(0.05 * rng.standard_normal((RUNS, count)))


def tails(count: int, rng: np.random.Generator) -> Series:
    return 1 + 0.01 * np.clip(rng.standard_t(3, (RUNS, count)), -50, None)


def autoregressive(count: int, rng: np.random.Generator) -> Series:
    noise = rng.standard_normal((RUNS, count + 100))
    series: Series = np.exp(0.03 * lfilter([0.75**0.5], [1, -0.5], noise, axis=1)[:, 100:])
    return series


def skewed(count: int, rng: np.random.Generator) -> Series:
    return 3 + rng.exponential(size=(RUNS, count))


def bursts(count: int, rng: np.random.Generator) -> Series:
    return np.where(rng.random((RUNS, count)) < 0.02, 3, 1) * np.exp(0.02 * rng.standard_normal((RUNS, count)))


def at_most(share: float) -> int:
    """The most labels that are no surprise (1 %) where each series gets one with the chance `share`."""
    return int(stats.binom.ppf(0.99, RUNS, share))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("noise", [lognormal, tails, autoregressive, skewed, bursts])
def test_series_of_one_level_without_trend_get_no_label(noise: Callable[[int, np.random.Generator], Series], count: int) -> None:
    series = noise(count, np.random.default_rng(count)).tolist()
    assert sum(drift(samples) is not None for samples in series) <= at_most(0.02)
    assert sum(modes(samples) is not None for samples in series) <= at_most(0.02)


@given(st.lists(st.floats(1e-6, 1e3), max_size=9))
def test_fewer_than_ten_samples_get_no_label(samples: list[float]) -> None:
    assert drift(samples) is None
    assert modes(samples) is None


@given(st.lists(st.floats(0, 1e3) | st.integers(1, 5).map(float), min_size=1, max_size=60))
def test_any_samples_can_be_looked_at_twice_with_the_same_outcome(samples: list[float]) -> None:
    assert drift(samples) == drift(samples)
    assert modes(samples) == modes(samples)
    assert outliers(samples) == outliers(samples[::-1])


def test_samples_that_are_all_alike_have_no_shape() -> None:
    assert drift([1.0] * 50) is None
    assert modes([1.0] * 50) is None
    assert outliers([1.0] * 50).severe == 0


@pytest.mark.parametrize("change", [0.05, 0.3, -0.05, -0.2])
@pytest.mark.parametrize("count", [30, 70, 400])
def test_a_trend_is_found_and_measured(change: float, count: int) -> None:
    rng = np.random.default_rng(count)
    line = 1 + change * np.linspace(0, 1, count)
    found = [drift((line * np.exp(0.01 * rng.standard_normal(count))).tolist()) for _ in range(100)]
    there = [one for one in found if one is not None]
    assert len(there) >= 93
    assert float(np.median([one.change for one in there])) == pytest.approx(change, abs=0.008)
    assert all(0 <= one.p_value < 0.01 for one in there)


def test_a_trend_of_few_samples_is_found_where_nothing_hides_it() -> None:
    found = drift([1 + 0.01 * index for index in range(10)])
    assert found is not None and found.change == pytest.approx(0.09)


def test_outliers_make_no_trend_and_hide_none() -> None:
    level = [1.0, 1.001] * 20
    level[-1] = 50.0
    assert drift(level) is None
    trend = [1 + 0.002 * index for index in range(40)]
    trend[3] = 50.0
    found = drift(trend)
    assert found is not None and found.change == pytest.approx(0.078, rel=0.1)


def test_a_trend_too_small_to_matter_gets_no_label() -> None:
    assert drift([1 + 0.0004 * index for index in range(50)]) is None
    assert drift([1 + 0.0006 * index for index in range(50)]) is not None


def test_significance_is_that_of_mann_and_kendall_where_samples_are_independent() -> None:
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(300):
        samples = 1 + 0.2 * np.linspace(0, 1, 60) + 0.1 * rng.standard_normal(60)
        found, exact = drift(samples.tolist()), stats.kendalltau(np.arange(60), samples).pvalue
        if found is not None:
            seen += 1
            assert found.p_value >= 0.2 * exact
    assert seen > 150


def test_a_level_that_switches_once_is_no_independent_evidence_of_many_samples() -> None:
    # Two states, ten samples each: as likely as not that the second is the slower one.
    rng = np.random.default_rng(1)
    levels = np.repeat(1 + 0.03 * rng.standard_normal((200, 2)), 10, axis=1)
    found = sum(drift((row * np.exp(0.005 * rng.standard_normal(20))).tolist()) is not None for row in levels)
    assert found <= 0.15 * 200


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("count", [30, 70, 200])
def test_two_levels_are_found_and_named(share: float, count: int) -> None:
    rng = np.random.default_rng(count)
    slow = round(share * count)
    found: list[Modes] = []
    for _ in range(100):
        levels = rng.permutation([1.0] * (count - slow) + [1.2] * slow)
        one = modes((levels * np.exp(0.01 * rng.standard_normal(count))).tolist())
        if one is not None:
            found.append(one)
            assert one.switches == np.count_nonzero(np.diff(levels))
    assert len(found) >= 95
    assert all(one.fast_s == pytest.approx(1, abs=0.02) and one.slow_s == pytest.approx(1.2, abs=0.03) for one in found)
    assert {one.slow_share for one in found} == {slow / count}
    assert sum(one.pattern == "alternating" for one in found) >= 0.98 * len(found)


@pytest.mark.parametrize("order", [[1.0, 1.6], [1.6, 1.0]])
def test_a_single_switch_is_told_from_levels_that_come_and_go(order: list[float]) -> None:
    rng = np.random.default_rng(2)
    samples = np.repeat(order, [30, 20]) * np.exp(0.02 * rng.standard_normal(50))
    found = modes(samples.tolist())
    assert found is not None
    assert (found.pattern, found.switches) == ("switched once", 1)
    samples[10], samples[40] = samples[40], samples[10]
    found = modes(samples.tolist())
    assert found is not None
    assert (found.pattern, found.switches) == ("switched once", 5)
    found = modes(np.tile(samples[25:35], 5).tolist())
    assert found is not None
    assert found.pattern == "alternating"


def test_an_outlier_neither_makes_a_level_nor_hides_two() -> None:
    rng = np.random.default_rng(3)
    one_level = np.exp(0.01 * rng.standard_normal(40))
    assert modes([*one_level.tolist(), 5.0, 6.0]) is None
    two_levels = (np.tile([1.0, 1.3], 20) * one_level).tolist()
    assert modes([*two_levels, 100.0]) is not None


def test_levels_that_lie_close_get_no_label() -> None:
    assert modes([1.0, 1.04] * 20) is None
    assert modes([1.0, 1.06] * 20) == Modes(1.0, 1.06, 0.5, 39, "alternating")


@given(st.lists(st.floats(0.5, 2), min_size=4, max_size=80))
def test_outliers_are_tukey_s(samples: list[float]) -> None:
    low, high = np.quantile(samples, [0.25, 0.75]).tolist()
    reach, found = high - low, outliers(samples)
    if reach > 1e-9:
        far = np.maximum(low - np.array(samples), np.array(samples) - high) / reach
        clear = ~np.isclose(far, 1.5) & ~np.isclose(far, 3)
        if clear.all():
            assert found.severe == np.sum(far > 3)
            assert found.mild == np.sum((far > 1.5) & (far <= 3))
            assert found.high == np.sum((np.array(samples) - high) / reach > 1.5)


def test_neighbouring_ticks_of_a_coarse_clock_are_no_outliers() -> None:
    found = outliers([10.0] * 20 + [9.0, 11.0, 11.0] + [12.0, 14.0])
    assert (found.mild, found.severe, found.high) == (1, 1, 2)


def test_shapes_need_nothing_heavy() -> None:
    program = (
        "import sys; import fabench.analysis.shape; sys.exit(bool({'numpy', 'scipy', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
