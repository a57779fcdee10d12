"""A queue that stands complete before the device begins with it: calls behind a blocker, each window of them between two events.

Launches are asynchronous. Where the host submits more slowly than the device works, an event pair also holds the time in which the
device had nothing to do. So a queue begins with a kernel that only passes time (`torch.cuda._sleep`), long enough for the host to
submit everything behind it. The event right after that blocker must not have completed when the last call has been submitted; the
device then goes from the blocker through all windows without waiting for the host once. If it has completed, the windows are thrown
away and the blocker is made longer, a few times and up to `_LONGEST_S`; after that the queue is too deep (`Overfull`).

A blocker that the host had to release could deadlock with a call that waits for the device, or with a full launch queue (the driver
holds about 1,024 launches of a stream and then makes the host wait). This one ends by itself, so both only make the submission last
as long as the blocker. That is how they are told from a slow host: it needs its time however long the blocker is.

How long a cycle of `_sleep` is depends on the clock that the device holds (and on some AMD GPUs it is a tick of a fixed counter). It
is measured once with a short one, and then by every blocker, which stands between two events itself. The highest reading counts: a
host that was held up before it launched the blocker lowers one, and a blocker that is too long costs nothing but time.

Nothing in this file has run on hardware yet; tests run it on a double of torch.cuda.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from fabench.devices.base import Batch, Call, Stopwatch, Unfit
from fabench.median import median

__all__ = ["RESOLUTION_S", "Overfull", "Queue", "QueuedWatch", "elapsed_s", "readable", "timing_event", "wait"]

RESOLUTION_S = 0.5e-6  # of events, by CUDA's documentation of cudaEventElapsedTime
PATIENCE_S = 600.0
_POLL_S = 20e-6
_PROBE_CYCLES = 1_000_000  # half a millisecond at 2 GHz, 10 ms where a cycle is a tick of 100 MHz
_SHORTEST_S, _LONGEST_S = 1e-3, 0.5
_FIRST_LAUNCH_S = 50e-6
_MARGIN = 3.0
_TRIES = 4


class Overfull(Exception):
    """The queue was not complete when the device began with it, and why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of each window, and the host's seconds to submit one call while the blocker held the device."""

    windows_s: tuple[float, ...]
    launch_s: float


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One filling of the queue: the blocker between its events, the windows' events, how long each call took to submit, and all together."""

    cycles: int
    opened: torch.cuda.Event
    gate: torch.cuda.Event
    pairs: list[tuple[torch.cuda.Event, torch.cuda.Event]]
    launches_s: list[float]
    submit_s: float
    held: bool


class Queue:
    """The blocker of one device, which learns the device's clock and the host's speed as it goes."""

    def __init__(self) -> None:
        self._sleep_hz: float | None = None
        self._submit_s = _FIRST_LAUNCH_S

    def run(self, call: Call, windows: Sequence[int], flush: Call | None, look: Callable[[], None]) -> Reading:
        """Times `windows`, each of that many calls; `flush` runs before each window and outside it. Raises Overfull."""
        needed_s = _MARGIN * self._submit_s * sum(windows)
        if needed_s > _LONGEST_S and sum(windows) > 1:
            raise Overfull(f"submitting {sum(windows)} calls takes the host {needed_s / _MARGIN:.2g} s")
        hold_s = min(_LONGEST_S, max(_SHORTEST_S, needed_s))
        earlier: tuple[float, float] | None = None
        for _ in range(_TRIES):
            attempt = self._fill(call, windows, flush, round(hold_s * self._speed(look)))
            wait(attempt.pairs[-1][1], look)
            held_s = elapsed_s(attempt.opened, attempt.gate)
            self._sleep_hz = max(self._speed(look), attempt.cycles / held_s)
            if attempt.held:
                self._submit_s = attempt.submit_s / sum(windows)
                return Reading(tuple(elapsed_s(*pair) for pair in attempt.pairs), median(attempt.launches_s))
            if earlier is not None and attempt.submit_s - earlier[0] > 0.5 * (held_s - earlier[1]) > 0:
                raise Overfull(
                    f"submitting {_number(windows)} lasts as long as the blocker: a call waits for the device inside, or the launch queue is full"
                )
            if hold_s >= _LONGEST_S:
                break
            earlier = attempt.submit_s, held_s
            hold_s = min(_LONGEST_S, max(4 * hold_s, _MARGIN * attempt.submit_s))
        raise Overfull(
            f"{_number(windows)} took the host {attempt.submit_s:.2g} s to submit, longer than the blocker held the device"
        )

    def _fill(self, call: Call, windows: Sequence[int], flush: Call | None, cycles: int) -> _Attempt:
        """Submits the blocker and everything behind it. Nothing but the calls stands between the two events of a window."""
        stream = torch.cuda.current_stream()
        opened, gate = timing_event(), timing_event()
        pairs = [(timing_event(), timing_event()) for _ in windows]
        launches: list[float] = []
        opened.record(stream)
        torch.cuda._sleep(cycles)
        gate.record(stream)
        begun = time.perf_counter()
        for (start, end), calls in zip(pairs, windows, strict=True):
            if flush is not None:
                flush()
            start.record(stream)
            for _ in range(calls):
                before = time.perf_counter()
                call()
                launches.append(time.perf_counter() - before)
            end.record(stream)
        submit_s = time.perf_counter() - begun
        return _Attempt(cycles, opened, gate, pairs, launches, submit_s, held=not gate.query())

    def _speed(self, look: Callable[[], None]) -> float:
        """Cycles of a blocker per second, at the highest clock that was seen so far."""
        if self._sleep_hz is None:
            stream = torch.cuda.current_stream()
            start, end = timing_event(), timing_event()
            start.record(stream)
            torch.cuda._sleep(_PROBE_CYCLES)
            end.record(stream)
            wait(end, look)
            self._sleep_hz = _PROBE_CYCLES / elapsed_s(start, end)
        return self._sleep_hz


class QueuedWatch(Stopwatch):
    """Samples by event pairs behind a blocker: several in one queue, fewer where it does not hold so many.

    A sample whose calls don't fit in one queue is taken in several windows, and their sum is the sample. Where not even one call can
    stand behind the blocker, what an event pair reads is no time of the device any more, and the clock is unfit.
    """

    batch = 16
    resolution_s = RESOLUTION_S
    _depth = 128  # windows in one queue; halved when the queue overflows

    def __init__(self, queue: Queue, call: Call, flush: Call | None, look: Callable[[], None]) -> None:
        self._queue, self._call, self._flush, self._look = queue, call, flush, look
        self._calls: int | None = None if flush is None else 1  # in one window at most

    def take(self, loops: int, count: int) -> Batch:
        """Up to `count` samples: as many as fit in one queue, at least one."""
        while True:
            calls = loops if self._calls is None else min(loops, self._calls)
            parts = [calls] * (loops // calls) + [loops % calls] * (loops % calls > 0)
            windows = parts * min(count, max(1, self._depth // len(parts)))
            try:
                return self._read(loops, len(parts), windows)
            except Overfull as why:
                first = min(len(windows), self._depth)
                if first > 1:
                    self._depth = first // 2
                elif calls > 1:
                    self._calls = calls // 2
                else:
                    raise Unfit(str(why)) from None

    def _read(self, loops: int, parts: int, windows: Sequence[int]) -> Batch:
        seconds: list[float] = []
        launches: list[float] = []
        for first in range(0, len(windows), self._depth):
            reading = self._queue.run(self._call, windows[first : first + self._depth], self._flush, self._look)
            seconds += reading.windows_s
            launches.append(reading.launch_s)
        samples = tuple(sum(seconds[first : first + parts]) / loops for first in range(0, len(seconds), parts))
        return Batch(readable(samples), launch_s=self._launch_s(launches), blocked=True)

    def _launch_s(self, launches: Sequence[float]) -> float | None:
        return median(launches)


def wait(event: torch.cuda.Event, look: Callable[[], None]) -> None:
    """Polls until `event` has completed, and lets the driver be looked at meanwhile. Raises TimeoutError after `PATIENCE_S`."""
    end = time.perf_counter() + PATIENCE_S
    while not event.query():
        if time.perf_counter() > end:
            raise TimeoutError(f"the device did not finish what was queued within {PATIENCE_S:g} s")
        look()
        time.sleep(_POLL_S)


def readable(samples_s: Sequence[float]) -> tuple[float, ...]:
    """The samples. Raises Unfit where events read nothing: a time of 0 is no time."""
    if min(samples_s) <= 0:
        raise Unfit("events read 0 s for a whole sample: its calls are too short for them (0.5 us) or run on another stream")
    return tuple(samples_s)


def timing_event() -> torch.cuda.Event:
    """An event that keeps the time at which the device comes to it."""
    return torch.cuda.Event(enable_timing=True)


def elapsed_s(start: torch.cuda.Event, end: torch.cuda.Event) -> float:
    """Seconds between two completed events; their resolution is about 0.5 us."""
    return float(start.elapsed_time(end)) * 1e-3


def _number(windows: Sequence[int]) -> str:
    return "one call" if sum(windows) == 1 else f"{sum(windows)} calls"
