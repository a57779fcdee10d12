"""Time per call: warm-up by time, loops by calibration, samples until the median is known well enough.

Sampling stops at the first of: the relative half-width of the median's 95 % interval (order statistics) is at most `target`, after
at least `min_samples`; or `max_s` is used up, after at least three samples unless those would take four times `max_s`. Which of both is
recorded. Samples keep their order; none is dropped.
"""

from __future__ import annotations

import bisect
import gc
import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from fabench.devices.base import Call, Device
from fabench.schema import Measure, Timing

__all__ = ["FirstCall", "half_width", "time_call"]

_Z = 1.96
_MIN_INTERVAL_SAMPLES = 6  # below, no two order statistics enclose the median with 95 %
_PATIENCE = 4


def half_width(ordered: list[float]) -> float:
    """Relative half-width of the 95 % interval of the median of sorted samples; infinite for fewer than six."""
    count = len(ordered)
    if count < _MIN_INTERVAL_SAMPLES:
        return math.inf
    low = max(0, math.floor((count - _Z * math.sqrt(count)) / 2))
    return (ordered[count - 1 - low] - ordered[low]) / 2 / ordered[count // 2]


@dataclass(frozen=True, slots=True)
class FirstCall:
    """The very first call of a process: its seconds, whether it compiled, and whether a compiler's cache spared a part of that."""

    seconds: float
    compiled: bool = False
    cached: bool | None = None


@dataclass
class _Warm:
    seconds: float
    calls: int
    per_call_s: float


def _warm_up(device: Device, call: Call, seconds: float) -> _Warm:
    """Calls for `seconds`, at least once; the last call's time is the estimate that loops are calibrated with."""
    start = time.perf_counter()
    calls, elapsed, last = 0, 0.0, math.inf
    while calls == 0 or elapsed < seconds:
        before = time.perf_counter()
        call()
        device.synchronise()
        after = time.perf_counter()
        last, elapsed, calls = after - before, after - start, calls + 1
    return _Warm(elapsed, calls, last)


def _sample(device: Device, call: Call, loops: int, measure: Measure) -> tuple[list[float], str]:
    samples: list[float] = []
    ordered: list[float] = []
    cold = measure.cache == "cold"
    start = time.perf_counter()
    while True:
        samples.append(device.sample(call, loops, cold))
        bisect.insort(ordered, samples[-1])
        if len(samples) >= measure.min_samples and half_width(ordered) <= measure.target:
            return samples, "target"
        elapsed = time.perf_counter() - start
        if elapsed >= measure.max_s and (len(samples) >= min(3, measure.min_samples) or elapsed >= _PATIENCE * measure.max_s):
            return samples, "time"


def time_call(device: Device, call: Call, measure: Measure, first: FirstCall, on_phase: Callable[[str], None]) -> Timing:
    """Times `call` on `device`; `first` was measured by the check."""
    on_phase("warm-up")
    warm = _warm_up(device, call, measure.warmup_s)
    loops = max(1, math.ceil(measure.min_sample_s / warm.per_call_s)) if warm.per_call_s > 0 else 1
    gc.collect()
    gc.disable()
    on_phase("timing")
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        samples, stopped_by = _sample(device, call, loops, measure)
    finally:
        gc.enable()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return Timing(
        clock=device.clock,
        samples_s=tuple(samples),
        loops=loops,
        warmup_s=warm.seconds,
        warmup_calls=warm.calls,
        stopped_by=stopped_by,
        cache=measure.cache,
        first_call_s=first.seconds,
        compile_s=first.seconds if first.compiled else None,
        compile_cached=first.cached,
        threads=device.describe().get("threads"),
        minor_faults=after.ru_minflt - before.ru_minflt,
        involuntary_switches=after.ru_nivcsw - before.ru_nivcsw,
    )
