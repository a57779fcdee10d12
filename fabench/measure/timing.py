"""Time per call: the best clock that fits, warm-up until calls stop getting faster, loops by calibration, samples until the median is known.

Sampling stops at the first of: the relative half-width of the median's 95 % interval is at most `target`, after at least
`min_samples`; or `max_s` is used up, after at least three samples unless those would take four times `max_s`. Which of both is
recorded. Samples keep their order; none is dropped.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fabench.devices.base import Batch, Device, Stopwatch, Unfit, Work
from fabench.measured import Telemetry, Timing, Witness
from fabench.median import half_width, median
from fabench.schema import Measure

__all__ = ["FirstCall", "time_call"]

_PATIENCE = 4
_WITNESS_SAMPLES = 7


@dataclass(frozen=True, slots=True)
class FirstCall:
    """The very first call of a process: its seconds, whether it compiled, whether a compiler's cache spared a part of that, and tuning."""

    seconds: float
    compiled: bool = False
    cached: bool | None = None
    autotune_s: float | None = None


@dataclass
class _Warm:
    seconds: float
    calls: int
    per_call_s: float
    converged: bool | None


@dataclass
class _Samples:
    """What the batches of one stopwatch add up to."""

    seconds: list[float] = field(default_factory=list)
    witness: list[float] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    switches: list[int] = field(default_factory=list)
    launches: list[float] = field(default_factory=list)
    blocked: bool | None = None
    largest: int = 0

    def add(self, batch: Batch) -> None:
        self.seconds += batch.samples_s
        self.witness += batch.witness_s
        self.faults += batch.minor_faults
        self.switches += batch.involuntary_switches
        self.largest = max(self.largest, len(batch.samples_s))
        if batch.launch_s is not None:
            self.launches.append(batch.launch_s)
        if batch.blocked is not None:
            self.blocked = batch.blocked and self.blocked is not False


def _warm_up(device: Device, work: Work, measure: Measure) -> _Warm:
    """Calls for `warmup_s`, at least once; the last call's time is the estimate that loops are calibrated with."""
    start = device.now_s()
    calls, elapsed, last = 0, 0.0, math.inf
    while calls == 0 or elapsed < measure.warmup_s:
        before = device.now_s()
        work.call()
        device.synchronise()
        after = device.now_s()
        last, elapsed, calls = after - before, after - start, calls + 1
    return _Warm(elapsed, calls, last, None)


def _choose(
    device: Device, work: Work, measure: Measure, loops: int, look: Callable[[], None]
) -> tuple[Stopwatch, Batch, list[str]]:
    """The best clock that can time the work, its first sample, and why the better ones can't. Raises Unfit where none can."""
    wanted = device.clocks if measure.clock == "auto" else (measure.clock,)
    if measure.clock not in ("auto", *device.clocks):
        raise Unfit(f"{device.name} has no clock {measure.clock!r}; there are {', '.join(device.clocks)}")
    reasons: list[str] = []
    for clock in wanted:
        try:
            watch = device.stopwatch(clock, work, measure.cache == "cold", look)
            return watch, watch.take(loops, 1), reasons
        except Unfit as error:
            reasons.append(f"{clock}: {error}")
    raise Unfit("; ".join(reasons))


def _sample(device: Device, watch: Stopwatch, loops: int, first: Batch, measure: Measure) -> tuple[_Samples, str]:
    found = _Samples()
    found.add(first)
    start = device.now_s()
    spent = first.samples_s[0] * loops
    while True:
        count = len(found.seconds)
        if count >= measure.min_samples and half_width(found.seconds) <= measure.target:
            return found, "target"
        elapsed = spent + device.now_s() - start
        if elapsed >= measure.max_s and (count >= min(3, measure.min_samples) or elapsed >= _PATIENCE * measure.max_s):
            return found, "time"
        left = max(1, math.floor((measure.max_s - elapsed) / max(1e-9, loops * median(found.seconds))))
        found.add(watch.take(loops, min(watch.batch, left, max(1, measure.min_samples - count))))


def _second_clock(device: Device, watch: Stopwatch, work: Work, loops: int, found: _Samples, measure: Measure) -> Witness | None:
    """The same work by another clock: read beside the first one's samples, or a few samples of the next rung that fits."""
    if not measure.witness:
        return None
    if watch.witness is not None and found.witness:
        return Witness(watch.witness, tuple(found.witness), loops, paired=True)
    for clock in device.clocks:
        if clock != watch.clock:
            try:
                other = device.stopwatch(clock, work, measure.cache == "cold", lambda: None)
                return Witness(clock, other.take(loops, _WITNESS_SAMPLES).samples_s, loops, paired=False)
            except Unfit:
                continue
    return None


def time_call(
    device: Device, work: Work, measure: Measure, first: FirstCall, on_phase: Callable[[str], None]
) -> tuple[Timing, Telemetry]:
    """Times `work` on `device`, and what went on beside; `first` was measured by the check. Raises Unfit where no clock can time it."""
    on_phase("warm-up")
    warm = _warm_up(device, work, measure)
    loops = max(1, math.ceil(measure.min_sample_s / warm.per_call_s)) if warm.per_call_s > 0 else 1
    gc.collect()
    gc.disable()
    on_phase("timing")
    observer = device.observer()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        watch, batch, ladder = _choose(device, work, measure, loops, observer.look)
        found, stopped_by = _sample(device, watch, loops, batch, measure)
    finally:
        gc.enable()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    telemetry = observer.finish()
    witness = _second_clock(device, watch, work, loops, found, measure)
    timing = Timing(
        clock=watch.clock,
        samples_s=tuple(found.seconds),
        loops=loops,
        warmup_s=warm.seconds,
        warmup_calls=warm.calls,
        warmup_converged=warm.converged,
        stopped_by=stopped_by,
        cache=measure.cache,
        first_call_s=first.seconds,
        compile_s=first.seconds if first.compiled else None,
        compile_cached=first.cached,
        autotune_s=first.autotune_s,
        launch_s=median(found.launches) if found.launches else None,
        ladder=tuple(ladder),
        queued=found.largest if watch.batch > 1 else None,
        blocked=found.blocked,
        touched_bytes=watch.touched_bytes,
        witness=witness,
        threads=device.describe().get("threads"),
        minor_faults=tuple(found.faults) if found.faults else None,
        involuntary_switches=tuple(found.switches) if found.switches else None,
        cpu_s=cpu,
        wall_s=wall,
    )
    return timing, telemetry
