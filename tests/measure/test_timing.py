"""The stop-watch against a device whose clock is scripted."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fabench.devices.base import Batch, Call, Device, Peak, Stopwatch, Work
from fabench.measure import timing
from fabench.median import half_width
from fabench.schema import Measure


class Scripted(Device):
    """Answers samples from a script; time passes only as scripted."""

    clocks = ("scripted",)

    def __init__(self, script: Iterator[float]) -> None:
        super().__init__("cpu")
        self.script = script
        self.now = 0.0
        self.asked: list[tuple[int, bool]] = []

    def missing(self) -> str | None:
        return None

    def prepare(self, measure: Measure) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {"threads": 1}

    def synchronise(self) -> None: ...

    def stopwatch(self, clock: str, work: Work, cold: bool, look: Callable[[], None]) -> Stopwatch:
        return _Watch(self, cold)

    def peak(self, call: Call) -> Peak:
        return Peak(0)

    def rates(self) -> dict[str, Any]:
        return {}


class _Watch(Stopwatch):
    clock = "scripted"

    def __init__(self, device: Scripted, cold: bool) -> None:
        self.device, self.cold = device, cold

    def take(self, loops: int, count: int) -> Batch:
        samples = []
        for _ in range(count):
            self.device.asked.append((loops, self.cold))
            samples.append(next(self.device.script))
            self.device.now += samples[-1] * loops
        return Batch(tuple(samples))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scripted, float], Call]:
    """Makes the module's clock the device's; returns a call that takes scripted time in the warm-up."""

    def wind(device: Scripted, call_s: float) -> Call:
        monkeypatch.setattr("fabench.measure.timing.time.perf_counter", lambda: device.now)

        def call() -> None:
            device.now += call_s

        return call

    return wind


def measured(device: Scripted, call: Call, **settings: Any) -> Any:
    phases: list[str] = []
    result, _ = timing.time_call(device, Work(call), Measure(**settings), timing.FirstCall(0.5), phases.append)
    assert phases == ["warm-up", "timing"]
    return result


def test_a_steady_clock_stops_at_the_target_with_the_fewest_samples(clock: Any) -> None:
    device = Scripted(itertools.repeat(0.01))
    result = measured(device, clock(device, 0.01), min_samples=10, max_s=100.0)
    assert result.stopped_by == "target"
    assert result.samples_s == (0.01,) * 10
    assert result.loops == 1
    assert result.first_call_s == 0.5
    assert result.compile_s is None


def test_a_noisy_clock_stops_when_the_time_is_up(clock: Any) -> None:
    device = Scripted(itertools.cycle([0.01, 0.02]))
    result = measured(device, clock(device, 0.01), target=0.001, max_s=3.0)
    assert result.stopped_by == "time"
    assert 195 <= len(result.samples_s) <= 205


def test_samples_keep_their_order(clock: Any) -> None:
    script = [0.5, 0.1, 0.9, 0.3, 0.2, 0.8, 0.05]
    device = Scripted(itertools.chain(script, itertools.repeat(0.4)))
    result = measured(device, clock(device, 0.4), target=1e-6, max_s=3.0, min_samples=7)
    assert list(result.samples_s[:7]) == script


def test_slow_calls_get_three_samples_but_not_more_than_patience_allows(clock: Any) -> None:
    device = Scripted(itertools.repeat(1.2))
    assert len(measured(device, clock(device, 1.2), max_s=1.0).samples_s) == 3
    device = Scripted(itertools.repeat(50.0))
    assert len(measured(device, clock(device, 50.0), max_s=1.0).samples_s) == 1


def test_short_calls_are_grouped(clock: Any) -> None:
    device = Scripted(itertools.repeat(1e-5))
    result = measured(device, clock(device, 1e-5), min_sample_s=1e-3)
    assert 99 <= result.loops <= 101
    assert {loops for loops, _ in device.asked} == {result.loops}


def test_warm_up_lasts_as_asked_and_runs_once_at_least(clock: Any) -> None:
    device = Scripted(itertools.repeat(0.01))
    result = measured(device, clock(device, 0.01), warmup_s=0.1)
    assert 0.1 <= result.warmup_s <= 0.12
    device = Scripted(itertools.repeat(5.0))
    assert measured(device, clock(device, 5.0), warmup_s=0.1).warmup_calls == 1


def test_cold_is_passed_on_and_recorded(clock: Any) -> None:
    device = Scripted(itertools.repeat(0.01))
    assert measured(device, clock(device, 0.01), cache="cold").cache == "cold"
    assert all(cold for _, cold in device.asked)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=5))
def test_too_few_samples_have_no_interval(samples: list[float]) -> None:
    assert math.isinf(half_width(samples))


@pytest.mark.parametrize("count", [6, 7, 10, 25, 50, 200])
def test_the_interval_covers_the_median_at_least_as_often_as_it_says(count: int) -> None:
    # The order statistics that half_width takes, and the exact (binomial) chance that they enclose the median.
    width = half_width([float(index + 1) for index in range(count)])
    middle = float(count // 2 + 1)
    ranks = round(2 * width * middle)
    low = (count - 1 - ranks) // 2
    coverage = 1 - 2 * float(stats.binom.cdf(low, count, 0.5))
    assert coverage >= 0.93
