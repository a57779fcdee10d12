"""Does the interval hold the truth as often as it says, through the whole of sampling? Simulated, with a clock that is scripted.

Every scenario is measured 250 times, with seeds of its own: calls of 1 ms, the default second of budget. What the sampling may see
differs from what a fixed number of samples would show: it stops where its own interval is narrow.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from fabench.measured import Timing
from fabench.median import median, median_interval
from tests.measure.scripted import Scripted, timed

Generator = np.random.Generator
Series = NDArray[np.float64]

RUNS = 250
CALL_S = 1e-3
WARM_UP = {"warmup_s": 0.02, "warmup_max_s": 0.5}
MOST = 3000  # more samples than the budget holds


def lognormal(sigma: float) -> Callable[[Generator], Series]:
    return lambda rng: np.exp(sigma * rng.standard_normal(MOST))


def tails(rng: Generator) -> Series:
    return 1 + 0.01 * np.clip(rng.standard_t(3, MOST), -50, None)


def autoregressive(phi: float, sigma: float) -> Callable[[Generator], Series]:
    def series(rng: Generator) -> Series:
        noise = rng.standard_normal(MOST + 100)
        return np.exp(sigma * math.sqrt(1 - phi * phi) * lfilter([1], [1, -phi], noise)[100:])

    return series


def states(sigma: float) -> Callable[[Generator], Series]:
    """Levels that last 5 to 20 samples each, with less noise inside."""

    def series(rng: Generator) -> Series:
        levels = np.repeat(rng.standard_normal(MOST), rng.integers(5, 21, MOST))[rng.integers(0, 20) :][:MOST]
        return np.exp(sigma * levels + 0.005 * rng.standard_normal(MOST))

    return series


def bursts(rng: Generator) -> Series:
    return np.where(rng.random(MOST) < 0.02, 3, 1) * lognormal(0.02)(rng)


# Name: noise (median 1, or what the next says), and the share of runs whose median must be within 1 % of the truth (None: too noisy).
SCENARIOS: dict[str, tuple[Callable[[Generator], Series], float, float | None]] = {
    "lognormal 1 %": (lognormal(0.01), 1.0, 0.99),
    "lognormal 3 %": (lognormal(0.03), 1.0, 0.93),
    "lognormal 5 %": (lognormal(0.05), 1.0, None),
    "t3 tails": (tails, 1.0, 0.99),
    "AR 0.5, 1 %": (autoregressive(0.5, 0.01), 1.0, 0.99),
    "AR 0.5, 3 %": (autoregressive(0.5, 0.03), 1.0, None),
    "AR 0.8, 1 %": (autoregressive(0.8, 0.01), 1.0, 0.95),
    "AR 0.8, 3 %": (autoregressive(0.8, 0.03), 1.0, None),
    "states 1 %": (states(0.01), 1.0, 0.93),
    "states 3 %": (states(0.03), 1.0, None),
    "bursts": (bursts, math.exp(0.02 * stats.norm.ppf(0.5 / 0.98)), 0.95),
}


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of timings would collect garbage before each, which takes far longer than they do."""
    monkeypatch.setattr("fabench.measure.timing.gc.collect", lambda: 0)


def steady() -> Iterator[float]:
    return itertools.repeat(CALL_S)


def measure(noise: Callable[[Generator], Series], seed: int, target: float, max_s: float = 1.0) -> Timing:
    device = Scripted(iter((CALL_S * noise(np.random.default_rng(seed))).tolist()))
    return timed(device, device.calls(steady()), target=target, max_s=max_s, min_sample_s=CALL_S / 2, **WARM_UP)


def covers(found: Timing, truth: float) -> bool:
    low, high = median_interval(found.samples_s)
    return low <= CALL_S * truth <= high


def near(found: Timing, truth: float) -> bool:
    return abs(median(found.samples_s) / CALL_S / truth - 1) <= 0.01


def at_least(share: float, runs: int = RUNS) -> int:
    """The fewest successes that are no surprise (1 %) where each of `runs` succeeds with the chance `share`."""
    return int(stats.binom.ppf(0.01, runs, share))


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_interval_covers_the_truth(name: str) -> None:
    noise, truth, within = SCENARIOS[name]
    found = [measure(noise, seed, 0.02) for seed in range(RUNS)]
    assert sum(covers(one, truth) for one in found) >= at_least(0.93)
    assert {one.stopped_by for one in found} <= {"target", "time"}
    if within is not None:
        assert sum(near(one, truth) for one in found) >= at_least(within)


@pytest.mark.parametrize("name", ["lognormal 3 %", "AR 0.5, 3 %", "AR 0.8, 3 %", "states 1 %", "bursts"])
def test_a_target_of_one_percent_is_kept(name: str) -> None:
    noise, truth, _ = SCENARIOS[name]
    found = [measure(noise, seed, 0.01) for seed in range(RUNS)]
    assert sum(covers(one, truth) for one in found) >= at_least(0.93)
    assert sum(near(one, truth) for one in found) >= at_least(0.93)


def test_what_the_budget_does_not_reach_is_said() -> None:
    noise, truth, _ = SCENARIOS["AR 0.8, 3 %"]
    found = [measure(noise, seed, 0.01, max_s=0.1) for seed in range(RUNS)]
    by_time = [one for one in found if one.stopped_by == "time"]
    assert len(by_time) > 0.85 * RUNS
    assert sum(covers(one, truth) for one in by_time) >= at_least(0.93, len(by_time))
    for one in by_time:
        low, high = median_interval(one.samples_s)
        assert (high - low) / 2 > 0.01 * median(one.samples_s)


def test_clocks_that_ramp_are_waited_for() -> None:
    found = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        noise = (CALL_S * lognormal(0.02)(rng)).tolist()
        device = Scripted(iter(()))

        def taken(device: Scripted = device, noise: list[float] = noise) -> Iterator[float]:
            for value in noise:
                yield value * (1 + 0.3 * max(0.0, 1 - device.now / (0.3 * WARM_UP["warmup_max_s"])))

        device.script = clock = taken()
        found.append(timed(device, device.calls(clock), min_sample_s=CALL_S / 2, **WARM_UP))
    assert sum(one.warmup_converged is True for one in found) >= at_least(0.97)
    # The ramp lasts 0.15 s; at its last sixth, calls are less than 5 % slower than in the end.
    assert all(0.12 <= one.warmup_s <= 0.2 for one in found)
    assert sum(covers(one, 1.0) for one in found) >= at_least(0.93)
    assert sum(near(one, 1.0) for one in found) >= at_least(0.97)


@pytest.mark.parametrize("sigma", [0.01, 0.05])
def test_steady_calls_pay_for_no_more_warm_up_than_asked(sigma: float) -> None:
    found = []
    for seed in range(RUNS):
        device = Scripted(iter((CALL_S * lognormal(sigma)(np.random.default_rng(seed))).tolist()))
        found.append(timed(device, device.calls(steady()), min_sample_s=CALL_S / 2, warmup_s=0.05, warmup_max_s=0.5))
    assert all(one.warmup_converged for one in found)
    assert sum(one.warmup_s <= 0.05 + 2 * CALL_S for one in found) >= at_least(0.9)
