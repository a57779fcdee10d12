"""What holds for every device, whatever is behind it: known durations go in, and a clock must read them.

A test file makes a class of `Contract` whose fixture `rig` says what that device can be given. What it can't is left None, and the
assertions about it are skipped with that reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fabench.devices.base import Call, Device, Stopwatch, Unfit, Work
from fabench.measured import Telemetry
from fabench.median import median


@dataclass(frozen=True)
class Rig:
    """A device, and calls whose time is known.

    `work(s)` takes s seconds. `cached(hot_s, cold_s)` takes the one or the other as its data is cached or not.
    `slow(device_s, host_s)` takes the host longer to submit than the device to do. `waiting(s)` waits for the device inside and does not say
    so. `rising(s)` takes s longer at each call. `allocate(n)` returns a block of n bytes. `pause(s)` passes time on the device's host.

    `reads` makes one number of samples: the median, or on a machine that others disturb, the best of as many as it takes, at most
    `most`. `window_s`: how long a sample should be for a clock that has a constant cost per sample.
    """

    device: Device
    work: Callable[[float], Work]
    pause: Callable[[float], None]
    allocate: Callable[[int], Call]
    durations_s: tuple[float, ...]
    cached: Callable[[float, float], Work] | None = None
    slow: Callable[[float, float], Work] | None = None
    waiting: Callable[[float], Work] | None = None
    rising: Callable[[float], Work] | None = None
    reads: Callable[[tuple[float, ...]], float] = median
    tolerance: float = 0.01
    window_s: float = 5e-3
    samples: int = 5
    most: int = 5

    def loops(self, seconds: float) -> int:
        """Calls that fill a window."""
        return max(1, math.ceil(self.window_s / seconds))

    def is_read(self, seconds: float, watch: Stopwatch, loops: int, tolerance: float | None = None) -> bool:
        """Whether the clock reads this time, from at least `samples` samples."""
        samples: tuple[float, ...] = ()
        limit = seconds * (self.tolerance if tolerance is None else tolerance)
        while len(samples) < self.samples or (len(samples) < self.most and self.reads(samples) > seconds + limit):
            samples += watch.take(loops, self.samples).samples_s
        return abs(self.reads(samples) - seconds) <= limit


def nothing() -> None: ...


class Contract:
    """The assertions. Subclasses have a fixture `rig`."""

    def test_it_is_there_and_says_what_it_is(self, rig: Rig) -> None:
        assert rig.device.missing() is None
        facts = rig.device.describe()
        assert isinstance(facts["name"], str) and facts["name"]
        json.dumps(facts, allow_nan=False)

    def test_every_clock_reads_a_known_time(self, rig: Rig) -> None:
        for clock in rig.device.clocks:
            for seconds in rig.durations_s:
                watch = rig.device.stopwatch(clock, rig.work(seconds), False, nothing)
                assert rig.is_read(seconds, watch, rig.loops(seconds)), clock

    def test_a_flush_is_never_in_the_window(self, rig: Rig) -> None:
        seconds = rig.durations_s[-1]
        watch = rig.device.stopwatch(rig.device.clocks[0], rig.work(seconds), True, nothing)
        assert rig.is_read(seconds, watch, 2)

    def test_cold_and_hot_are_told_apart_by_every_clock(self, rig: Rig) -> None:
        if rig.cached is None:
            pytest.skip("no call of this device has a known time for each state of the cache")
        for clock in rig.device.clocks:
            hot, cold = (rig.device.stopwatch(clock, rig.cached(200e-6, 320e-6), cold, nothing) for cold in (False, True))
            assert rig.is_read(200e-6, hot, 50), clock
            # A window of one call holds what the host's clock costs per window.
            assert rig.is_read(320e-6, cold, 50, rig.tolerance if "host" not in clock else 0.1), clock

    def test_as_many_samples_as_asked_or_fewer(self, rig: Rig) -> None:
        seconds = rig.durations_s[0]
        for clock in rig.device.clocks:
            watch = rig.device.stopwatch(clock, rig.work(seconds), False, nothing)
            assert watch.clock == clock
            assert watch.batch >= 1
            assert len(watch.take(rig.loops(seconds), 1).samples_s) == 1
            assert 1 <= len(watch.take(rig.loops(seconds), watch.batch).samples_s) <= watch.batch

    def test_samples_are_in_the_order_in_which_they_were_taken(self, rig: Rig) -> None:
        if rig.rising is None:
            pytest.skip("no call of this device takes longer each time")
        for clock in rig.device.clocks:
            watch = rig.device.stopwatch(clock, rig.rising(20e-6), False, nothing)
            samples: tuple[float, ...] = ()
            while len(samples) < 6:
                samples += watch.take(3, 6 - len(samples)).samples_s
            assert list(samples) == sorted(set(samples)), clock

    def test_looks_are_outside_the_windows(self, rig: Rig) -> None:
        looks: list[None] = []

        def look() -> None:
            looks.append(None)
            rig.pause(1e-3)

        seconds = rig.durations_s[-1]
        for clock in rig.device.clocks:
            watch = rig.device.stopwatch(clock, rig.work(seconds), False, look)
            assert rig.is_read(seconds, watch, rig.loops(seconds)), clock
        assert looks

    def test_submitting_is_told_apart_from_working(self, rig: Rig) -> None:
        if rig.slow is None:
            pytest.skip("calls of this device are not submitted")
        watch = rig.device.stopwatch(rig.device.clocks[0], rig.slow(60e-6, 250e-6), False, nothing)
        batch = watch.take(20, 1)
        assert batch.blocked is True
        assert rig.reads(batch.samples_s) == pytest.approx(60e-6, rel=rig.tolerance)
        assert batch.launch_s == pytest.approx(250e-6, rel=0.2)

    def test_a_queue_is_called_complete_only_where_it_was(self, rig: Rig) -> None:
        if rig.waiting is None:
            pytest.skip("calls of this device don't wait for it")
        for clock in rig.device.clocks:
            try:
                batch = rig.device.stopwatch(clock, rig.waiting(300e-6), False, nothing).take(3, 1)
            except Unfit as why:
                assert str(why) and "\n" not in str(why)
            else:
                assert batch.blocked is not True, clock
                assert batch.samples_s[0] >= 300e-6 * (1 - rig.tolerance), clock

    def test_work_that_says_that_it_waits_is_timed_and_not_called_queued(self, rig: Rig) -> None:
        if rig.waiting is None:
            pytest.skip("calls of this device don't wait for it")
        work = rig.waiting(2e-3)
        watch = rig.device.stopwatch(rig.device.clocks[0], Work(work.call, synchronises=True), False, nothing)
        batch = watch.take(3, 1)
        assert batch.blocked is False
        assert 2e-3 * (1 - rig.tolerance) <= batch.samples_s[0] <= 2.4e-3

    def test_a_clock_that_it_does_not_have_is_unfit_in_one_line(self, rig: Rig) -> None:
        with pytest.raises(Unfit, match="sundial"):
            rig.device.stopwatch("sundial", rig.work(1e-3), False, nothing)

    def test_what_a_call_raises_is_never_taken_for_a_time(self, rig: Rig) -> None:
        def call() -> None:
            raise ValueError("planted")

        for index, clock in enumerate(rig.device.clocks):
            with pytest.raises(ValueError if index == 0 else (ValueError, Unfit), match="planted"):
                rig.device.stopwatch(clock, Work(call), False, nothing).take(1, 1)

    def test_a_sample_without_a_stopwatch_is_hot_and_by_the_first_clock(self, rig: Rig) -> None:
        seconds = rig.durations_s[-1]
        call = rig.work(seconds).call
        samples = [rig.device.sample(call, rig.loops(seconds))]
        while len(samples) < rig.most and rig.reads(tuple(samples)) > seconds * (1 + rig.tolerance):
            samples.append(rig.device.sample(call, rig.loops(seconds)))
        assert rig.reads(tuple(samples)) == pytest.approx(seconds, rel=rig.tolerance)

    def test_the_peak_is_what_was_allocated(self, rig: Rig) -> None:
        assert rig.device.peak(rig.allocate(2**22)).delta_bytes == 2**22

    def test_the_peak_of_blocks_that_follow_each_other_is_the_larger_one(self, rig: Rig) -> None:
        def call() -> None:
            rig.allocate(2**22)()
            rig.allocate(2**23)()

        assert rig.device.peak(call).delta_bytes == 2**23

    def test_blocks_that_are_held_together_add_up(self, rig: Rig) -> None:
        assert rig.device.peak(lambda: [rig.allocate(2**20)() for _ in range(3)]).delta_bytes == 3 * 2**20

    def test_a_call_without_memory_has_no_peak(self, rig: Rig) -> None:
        assert rig.device.peak(rig.work(rig.durations_s[0]).call).delta_bytes == 0

    def test_an_observer_may_be_looked_at_at_any_time(self, rig: Rig) -> None:
        observer = rig.device.observer()
        observer.look()
        observer.look()
        assert isinstance(observer.finish(), Telemetry)
