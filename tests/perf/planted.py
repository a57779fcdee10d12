"""Work whose true median is known: it lasts as long as a seeded noise says, on the host's clock or on a scripted one.

A call spins until its time is over, so nothing but the planted noise and the machine's own disturbs it. A value of the noise holds for one
call, or for as many short ones as fill a millisecond, because what disturbs a machine does not come and go within microseconds. The
true median is the duration times the median of the noise's distribution, known in closed form, plus what a call costs beside its spin,
which is calibrated on the same clock.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, signal, stats

__all__ = ["NOISES", "Clock", "HostClock", "Noise", "Planted", "ScriptedClock", "call_cost_s"]

_BLOCK_S = 1e-3
_CHUNK = 8192
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """Factors on a call's duration: a seeded generator of the next `count`, and the median of their distribution."""

    factors: Callable[[np.random.Generator, int], Floats]
    median: float


_SIGMA, _PHI = 0.02, 0.7
_BODY, _ENTER, _LEAVE, _BURST = 0.01, 0.02, 0.2, 1.3


def _lognormal(rng: np.random.Generator, count: int) -> Floats:
    return np.asarray(np.exp(_SIGMA * rng.standard_normal(count)))


def _autoregressive(rng: np.random.Generator, count: int) -> Floats:
    steps = rng.standard_normal(count)
    steps[1:] *= math.sqrt(1 - _PHI**2)  # from the first value on, all have the same distribution
    return np.asarray(np.exp(_SIGMA * signal.lfilter([1.0], [1.0, -_PHI], steps)))


def _bursts(rng: np.random.Generator, count: int) -> Floats:
    """Now and then a burst in which everything takes 1.3 times as long; it lasts five values on average."""
    chances = rng.random(count).tolist()
    inside = chances[0] < _ENTER / (_ENTER + _LEAVE)
    states = np.empty(count, dtype=bool)
    for index, chance in enumerate(chances):
        if index:
            inside = chance >= _LEAVE if inside else chance < _ENTER
        states[index] = inside
    return np.asarray(np.exp(_BODY * rng.standard_normal(count)) * np.where(states, _BURST, 1.0))


def _bursts_median() -> float:
    share = _ENTER / (_ENTER + _LEAVE)

    def above_half(x: float) -> float:
        body, burst = (float(stats.norm.cdf(math.log(x / level) / _BODY)) for level in (1.0, _BURST))
        return (1 - share) * body + share * burst - 0.5

    return float(optimize.brentq(above_half, 0.9, 1.3))


NOISES = {
    "lognormal": Noise(_lognormal, 1.0),
    "ar1": Noise(_autoregressive, 1.0),
    "bursts": Noise(_bursts, _bursts_median()),
}


class Clock(Protocol):
    """A clock that work can spend time on."""

    name: str

    def now(self) -> float:
        """Seconds."""
        ...

    def spend(self, until: float) -> None:
        """Returns as soon as the clock shows `until`."""
        ...


class HostClock:
    """time.perf_counter, spun on."""

    name = "host"

    def __init__(self) -> None:
        self.now = time.perf_counter

    def spend(self, until: float) -> None:
        """Spins."""
        now = time.perf_counter
        while now() < until:
            pass


class ScriptedClock:
    """Time passes only as it is spent, and by a step for each look."""

    name = "scripted"
    _STEP_S = 5e-8

    def __init__(self) -> None:
        self._now = 1000.0

    def now(self) -> float:
        """Seconds."""
        self._now += self._STEP_S
        return self._now

    def spend(self, until: float) -> None:
        """At once."""
        self._now = max(self._now, until)

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Everything that reads time.perf_counter reads this clock."""
        with mock.patch.object(time, "perf_counter", self.now):
            yield


class Planted:
    """A call of about `duration_s`, with noise from `seed`."""

    def __init__(self, clock: Clock, duration_s: float, noise: Noise, seed: int) -> None:
        self._clock = clock
        rng = np.random.default_rng(seed)
        held = max(1, round(_BLOCK_S / duration_s))

        def draw() -> list[float]:
            drawn: list[float] = (duration_s * noise.factors(rng, _CHUNK)).tolist()
            return drawn

        def more(times: list[float]) -> Iterator[float]:
            while True:
                for seconds in times:
                    yield from itertools.repeat(seconds, held)
                times = draw()

        self._times = more(draw())  # drawn before the first call, which would take longer else

    def __call__(self) -> None:
        start = self._clock.now()
        self._clock.spend(start + next(self._times))


def call_cost_s(clock: Clock) -> float:
    """What a call costs beside its spin: the last look, the call itself, and the loop around it."""
    steady = Noise(lambda rng, count: np.ones(count), 1.0)
    duration_s, count = 2e-5, 500
    work = Planted(clock, duration_s, steady, 0)
    costs = []
    for _ in range(21):
        start = clock.now()
        for _ in range(count):
            work()
        costs.append((clock.now() - start) / count - duration_s)
    return min(costs)  # what nothing else disturbed
