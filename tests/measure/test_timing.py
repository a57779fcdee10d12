"""Time per call against a device whose clock is scripted."""

import gc
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.devices.base import Unfit
from fabench.median import half_width
from tests.measure.scripted import Scripted, timed


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabench.measure.timing.gc.collect", lambda: 0)


def steady(seconds: float) -> Iterator[float]:
    return itertools.repeat(seconds)


def noisy(seconds: float, sigma: float, seed: int = 0) -> Iterator[float]:
    return iter((seconds * np.exp(sigma * np.random.default_rng(seed).standard_normal(20_000))).tolist())


def test_a_steady_clock_stops_at_the_first_look() -> None:
    device = Scripted(steady(0.01))
    result = timed(device, device.calls(steady(0.01)), min_samples=10, max_s=100.0)
    assert result.stopped_by == "target"
    assert result.samples_s == (0.01,) * 70
    assert result.loops == 1
    assert result.first_call_s == 0.5
    assert result.compile_s is None


def test_the_first_look_comes_late_in_the_budget_and_after_as_many_samples_as_asked() -> None:
    device = Scripted(steady(0.02))
    assert 42 <= len(timed(device, device.calls(steady(0.02)), max_s=1.0).samples_s) <= 45
    assert len(timed(device, device.calls(steady(0.01)), max_s=1.0, min_samples=48).samples_s) == 48
    assert len(timed(device, device.calls(steady(0.01)), max_s=10.0, min_samples=200).samples_s) == 200


def test_looks_are_a_quarter_apart() -> None:
    # Too wide at 70 samples and narrow enough soon after: sampling still goes on to the next look.
    for seed in range(20):
        device = Scripted(noisy(1e-3, 0.06, seed))
        result = timed(device, device.calls(steady(1e-3)), min_sample_s=5e-4, max_s=10.0)
        looks = [70]
        while looks[-1] < len(result.samples_s):
            looks.append(-(-looks[-1] * 5 // 4))
        assert len(result.samples_s) in looks
        assert half_width(result.samples_s) <= 0.02
        assert all(half_width(result.samples_s[:look]) > 0.02 for look in looks[:-1])


def test_a_noisy_clock_stops_when_the_time_is_up() -> None:
    device = Scripted(itertools.cycle([0.01, 0.02]))
    result = timed(device, device.calls(steady(0.01)), target=0.001, max_s=3.0)
    assert result.stopped_by == "time"
    assert 195 <= len(result.samples_s) <= 205


def test_samples_keep_their_order() -> None:
    script = [0.5, 0.1, 0.9, 0.3, 0.2, 0.8, 0.05]
    device = Scripted(itertools.chain(script, steady(0.4)))
    result = timed(device, device.calls(steady(0.4)), target=1e-6, max_s=3.0, min_samples=7)
    assert list(result.samples_s[:7]) == script


def test_slow_calls_get_twelve_samples_but_not_more_than_patience_allows() -> None:
    device = Scripted(steady(0.2))
    assert len(timed(device, device.calls(steady(0.2)), max_s=1.0).samples_s) == 12
    device = Scripted(steady(0.2))
    assert len(timed(device, device.calls(steady(0.2)), max_s=1.0, min_samples=7).samples_s) == 7
    device = Scripted(steady(1.2))
    assert len(timed(device, device.calls(steady(1.2)), max_s=1.0).samples_s) == 4
    device = Scripted(steady(50.0))
    assert len(timed(device, device.calls(steady(50.0)), max_s=1.0).samples_s) == 1


def test_no_warm_up_is_shorter_than_the_device_needs() -> None:
    device = Scripted(steady(1e-3))
    device.least_warmup_s = 0.1
    assert 0.1 <= timed(device, device.calls(steady(1e-3)), warmup_s=0.01).warmup_s <= 0.102
    device = Scripted(steady(1e-3))
    assert timed(device, device.calls(steady(1e-3)), warmup_s=0.01).warmup_s <= 0.012


def test_batches_are_as_large_as_the_queue_and_end_at_the_look() -> None:
    device = Scripted(steady(1e-3), batch=32)
    result = timed(device, device.calls(steady(1e-3)))
    assert [count for _, _, count, _ in device.asked] == [1, 32, 32, 5]
    assert len(result.samples_s) == 70
    assert result.queued == 32


def test_a_batch_does_not_exceed_the_time_that_is_left() -> None:
    device = Scripted(itertools.cycle([0.01, 0.02]), batch=1000)
    result = timed(device, device.calls(steady(0.01)), target=0.001, max_s=1.0)
    assert result.stopped_by == "time"
    assert 0.99 <= sum(result.samples_s) <= 1.1


# Loops


def test_short_calls_are_grouped() -> None:
    device = Scripted(steady(1e-5))
    result = timed(device, device.calls(steady(1e-5)), min_sample_s=1e-3)
    assert 99 <= result.loops <= 101
    assert {loops for _, loops, _, _ in device.asked} == {result.loops}


@pytest.mark.parametrize("host_s", [5e-5, 1e-6, 0.0])
def test_the_clock_corrects_what_the_host_took_a_call_for(host_s: float) -> None:
    device = Scripted(steady(5e-6))
    # On a host that takes no time at all no warm-up would end: the first call takes all of it.
    calls = itertools.chain([0.2], steady(0.0)) if host_s == 0 else steady(host_s)
    result = timed(device, device.calls(calls), min_sample_s=1e-3, witness=False)
    assert 100 <= result.loops <= 400
    assert len({loops for _, loops, _, _ in device.asked[len(device.asked) - len(result.samples_s) :]}) == 1
    assert sum(count for _, loops, count, _ in device.asked if loops == result.loops) == len(result.samples_s)


def test_a_sample_lasts_ten_steps_of_its_clock() -> None:
    device = Scripted(steady(1e-5), resolution_s=1e-3)
    assert timed(device, device.calls(steady(1e-5)), min_sample_s=1e-3).loops * 1e-5 >= 0.0099


def test_a_clock_that_reads_nothing_ends_all_the_same() -> None:
    device = Scripted(steady(0.0))
    calls = device.calls(steady(1e-3))

    def call() -> None:
        calls()

    result = timed(device, call, max_s=0.0)
    assert set(result.samples_s) == {0.0}
    assert result.stopped_by == "time"


# Warm-up


def test_warm_up_lasts_as_asked_and_runs_once_at_least() -> None:
    device = Scripted(steady(0.01))
    result = timed(device, device.calls(steady(0.01)), warmup_s=0.1)
    assert 0.1 <= result.warmup_s <= 0.12
    assert result.warmup_converged is True
    device = Scripted(steady(0.01))
    assert timed(device, device.calls(steady(0.01)), warmup_s=0.0).warmup_calls == 1


@pytest.mark.parametrize("call_s", [0.15, 1.2])
def test_a_slow_call_is_made_once(call_s: float) -> None:
    device = Scripted(steady(call_s))
    result = timed(device, device.calls(steady(call_s)), warmup_s=0.1, warmup_max_s=0.5)
    assert result.warmup_calls == 1
    assert result.warmup_converged is True


def test_whether_very_few_samples_are_warm_is_not_known() -> None:
    device = Scripted(steady(5.0))
    assert timed(device, device.calls(steady(5.0)), max_s=1.0).warmup_converged is None


def test_samples_that_get_faster_are_warm_up_until_they_no_longer_do() -> None:
    ramp = [1e-3 * (2 - index / 150) for index in range(150)]
    device = Scripted(itertools.chain(ramp, steady(1e-3)))
    result = timed(device, device.calls(steady(1e-3)), warmup_max_s=0.5, target=1e-6, max_s=3.0)
    assert result.warmup_converged is True
    dropped = result.warmup_calls - 1
    assert 100 <= dropped <= 200
    assert result.warmup_s == pytest.approx(1e-3 + sum([*ramp, *[1e-3] * 50][:dropped]))
    assert list(result.samples_s[:10]) == pytest.approx([*ramp, *[1e-3] * 100][dropped : dropped + 10])


def test_a_slow_beginning_does_not_count_towards_the_samples_that_are_wanted() -> None:
    device = Scripted(itertools.chain([2e-3] * 16, steady(1e-3)))
    result = timed(device, device.calls(steady(1e-3)), max_s=1.0)
    assert result.samples_s == (1e-3,) * 70
    assert (result.warmup_calls, result.warmup_converged) == (17, True)


def test_calls_that_never_settle_end_the_warm_up_at_its_bound() -> None:
    device = Scripted(1e-3 * (2 - index / 400) for index in range(400))
    result = timed(device, device.calls(steady(1e-3)), warmup_max_s=0.1, target=1e-6, max_s=0.3)
    assert result.warmup_converged is False
    assert 0.1 <= result.warmup_s <= 0.15


def test_calls_that_get_slower_are_warm() -> None:
    device = Scripted(1e-3 * 1.01**index for index in itertools.count())
    result = timed(device, device.calls(steady(1e-3)), max_s=0.2)
    assert result.warmup_converged is True
    assert result.warmup_calls == 1


def test_few_samples_need_a_clear_difference() -> None:
    device = Scripted(itertools.chain([0.0202, 0.0201], steady(0.02)))
    result = timed(device, device.calls(steady(0.02)), max_s=0.3)
    assert (result.warmup_calls, result.warmup_converged) == (1, True)
    device = Scripted(itertools.chain([0.04, 0.03], steady(0.02)))
    result = timed(device, device.calls(steady(0.02)), max_s=0.3)
    assert (result.warmup_calls, result.warmup_converged) == (3, True)
    assert set(result.samples_s) == {0.02}


@given(st.lists(st.floats(0.5e-3, 2e-3), min_size=1, max_size=60), st.floats(0.0, 0.2))
def test_what_is_dropped_is_a_beginning_and_counts_as_warm_up(script: list[float], most_s: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fabench.measure.timing.gc.collect", lambda: 0)
        device = Scripted(itertools.cycle(script))
        result = timed(device, device.calls(steady(1e-3)), warmup_max_s=most_s, max_s=0.3, min_sample_s=1e-6, witness=False)
    dropped = result.warmup_calls - 1
    series = list(itertools.islice(itertools.cycle(script), dropped + len(result.samples_s)))
    assert list(result.samples_s) == pytest.approx(series[dropped:])
    assert result.warmup_s == pytest.approx(1e-3 + sum(series[:dropped]))


def test_loops_begin_with_the_warm_part_not_with_the_last_call() -> None:
    device = Scripted(steady(1e-4))
    cold = itertools.chain([0.03], steady(1e-4))
    late = (0.05 if index == 1500 else seconds for index, seconds in enumerate(cold))
    result = timed(device, device.calls(late), min_sample_s=1e-3)
    assert result.loops == 10


# Clocks


def test_a_clock_that_can_t_time_the_work_is_passed_over_with_its_reason() -> None:
    device = Scripted(steady(1e-3), clocks=("first", "second"), unfit=("first",))
    result = timed(device, device.calls(steady(1e-3)), witness=False)
    assert result.clock == "second"
    assert result.ladder == ("first: it times nothing",)


def test_a_clock_that_fails_while_it_samples_is_passed_over_too() -> None:
    def breaks() -> Iterator[float]:
        yield from [1e-3] * 20
        raise Unfit("the queue stood still")

    device = Scripted(breaks(), clocks=("first", "second"))
    original = device.stopwatch

    def stopwatch(clock, work, cold, look):  # type: ignore[no-untyped-def]
        if clock == "second":
            device.script = steady(2e-3)
        return original(clock, work, cold, look)

    device.stopwatch = stopwatch  # type: ignore[method-assign]
    result = timed(device, device.calls(steady(1e-3)), witness=False)
    assert (result.clock, result.ladder) == ("second", ("first: the queue stood still",))
    assert set(result.samples_s) == {2e-3}


def test_no_clock_that_fits_is_an_error_with_every_reason() -> None:
    device = Scripted(steady(1e-3), clocks=("first", "second"), unfit=("first", "second"))
    with pytest.raises(Unfit, match="first: it times nothing; second: it times nothing"):
        timed(device, device.calls(steady(1e-3)))


def test_a_clock_that_the_device_does_not_have_is_an_error() -> None:
    device = Scripted(steady(1e-3))
    with pytest.raises(Unfit, match="cpu has no clock 'sundial'; there are scripted"):
        timed(device, device.calls(steady(1e-3)), clock="sundial")


def test_cold_is_passed_on_and_recorded() -> None:
    device = Scripted(steady(0.01))
    assert timed(device, device.calls(steady(0.01)), cache="cold").cache == "cold"
    assert all(cold for _, _, _, cold in device.asked)


def test_the_second_clock_takes_a_few_samples_of_the_same_work() -> None:
    device = Scripted(steady(1e-3), clocks=("first", "second", "third"), unfit=("second",))
    witness = timed(device, device.calls(steady(1e-3))).witness
    assert witness is not None
    assert (witness.clock, witness.samples_s, witness.paired) == ("third", (1e-3,) * 7, False)
    assert timed(device, device.calls(steady(1e-3)), witness=False).witness is None


@given(st.floats(1e-4, 2.0), st.floats(0.05, 2.0))
def test_the_second_clock_takes_a_tenth_of_the_budget_at_most(call_s: float, max_s: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fabench.measure.timing.gc.collect", lambda: 0)
        device = Scripted(steady(call_s), clocks=("first", "second"))
        witness = timed(device, device.calls(steady(call_s)), max_s=max_s).witness
    taken = sum(loops * count for clock, loops, count, _ in device.asked if clock == "second")
    assert taken * call_s <= 0.1 * max_s * 1.0001
    assert witness is None or len(witness.samples_s) >= 3
    assert (witness is None) == (taken == 0)


def test_garbage_is_collected_again_after_an_error() -> None:
    device = Scripted(iter([]))
    with pytest.raises((StopIteration, RuntimeError)):
        timed(device, device.calls(iter([])))
    assert gc.isenabled()
