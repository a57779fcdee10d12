"""Time per call: warm-up until calls stop getting faster, the best clock that fits, loops by calibration, samples until the median is known.

**Warm-up** takes one call, `warmup_s`, or what the device needs to rise from idle, whichever lasts longest. What more is needed is seen in
the samples: at each look, windows of an eighth at their beginning are warm-up as long as one is slower than all after it, by more than
both scatter, until the warm-up has lasted `warmup_max_s`. So steady calls pay for no warm-up, and slow
starts for what they need: a fixed time is too much for the one and too little for the other.

**Loops** make a sample last `min_sample_s` and ten steps of the clock. The host's time per call may mislead (launches that wait for
each other, a cold cache), so the clock's first sample may correct them.

**Sampling** stops at the first of: the half-width of the median's 95 % interval is at most `target`; or `max_s` is used up, after at
least twelve samples (fewer can't show that they repeat each other) unless those would take four times `max_s`. Which of both is recorded.
Stopping by luck is guarded against:
- The interval knows that samples repeat each other (`fabench.median`).
- The first look at it is after `min_samples` and 70 samples, or 85 % of `max_s` where that is less. States of the host that last
  longer than the sampling can't be seen in it: simulated with states of 5 to 20 samples, 1 % apart, the interval covers the true
  median in 96 % of the runs if there is time for 70 samples before the first look, in 85 % if for 33, and in 59 % if for 10.
- Each further look has a quarter more samples: looking after each one would stop where the width happens to be small.

Samples keep their order; none is dropped but at the beginning, and what is dropped there counts as warm-up.
"""

from __future__ import annotations

import gc
import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fabench.devices.base import Batch, Device, Stopwatch, Unfit, Work
from fabench.measured import Telemetry, Timing, Witness
from fabench.median import half_width, median
from fabench.schema import Measure

__all__ = ["FirstCall", "time_call"]

_FASTER = 0.01  # relative: what counts as getting faster
_FASTER_OF_FEW = 0.05  # the same for a few calls
_FEW = 6  # calls whose ranks say little
_CLEAR = 2.0  # standard deviations: one steady beginning in forty is taken for a slow one
_WINDOWS = 8  # of the samples, when warm-up is looked for
_FEWEST_SETTLED = 4  # samples that can show whether calls got faster
_STEPS = 10  # of the clock, in one sample at least
_CALIBRATIONS = 3
_MOST_GROWTH = 1000
_SEEN = 70  # samples before the first look at the interval
_UNSEEN_SHARE = 0.85  # of max_s, after which the first look comes in any case
_NEXT_LOOK = 1.25
_FEWEST = 12
_PATIENCE = 4
_WITNESS_SAMPLES = (3, 7)  # fewest worth taking, and most
_WITNESS_SHARE = 0.1  # of max_s


@dataclass(frozen=True, slots=True)
class FirstCall:
    """The very first call of a process: its seconds, whether it compiled, whether a compiler's cache spared a part of that, and tuning."""

    seconds: float
    compiled: bool = False
    cached: bool | None = None
    autotune_s: float | None = None


@dataclass
class _Samples:
    """What the batches of one stopwatch add up to."""

    loops: int
    seconds: list[float] = field(default_factory=list)
    witness: list[float] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    switches: list[int] = field(default_factory=list)
    launches: list[float] = field(default_factory=list)
    blocked: bool | None = None
    largest: int = 0
    stopped_by: str = "time"
    warmup_s: float = 0.0
    warmup_calls: int = 0
    settled: bool | None = None

    def settle(self, most_s: float) -> bool:
        """Moves what is warm-up at the beginning to the warm-up, which may last until `most_s`; whether there was any."""
        seconds, cut = self.seconds, 0
        if len(seconds) < _FEWEST_SETTLED:
            return False
        window = max(1, len(seconds) // _WINDOWS)
        faster = _faster(seconds[:window], seconds[window:])
        while faster and self.warmup_s < most_s:
            self.warmup_s += self.loops * math.fsum(seconds[cut : cut + window])
            cut += window
            faster = len(seconds) - cut >= 2 * window and _faster(seconds[cut : cut + window], seconds[cut + window :])
        self.settled = not faster
        self.warmup_calls += self.loops * cut
        for series in (self.seconds, self.witness, self.faults, self.switches):
            del series[:cut]
        return cut > 0

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


def _warm_up(device: Device, work: Work, measure: Measure) -> tuple[float, int, float]:
    """Calls in groups of about one sample, each waited for: their seconds, their number, and what one took at the end."""
    start = device.now_s()
    least_s = max(measure.warmup_s, device.least_warmup_s)
    ends: list[float] = []
    groups: list[float] = []
    calls, group = 0, 1
    while not ends or ends[-1] < least_s:
        before = device.now_s()
        for _ in range(group):
            work.call()
        device.synchronise()
        after = device.now_s()
        calls += group
        groups.append((after - before) / group)
        ends.append(after - start)
        group = max(1, math.floor(min(measure.min_sample_s, least_s / 3) / groups[-1])) if groups[-1] > 0 else group
    late = [one for one, end in zip(groups, ends, strict=True) if end >= 2 / 3 * ends[-1]]
    return ends[-1], calls, median(late)


def _faster(earlier: Sequence[float], recent: Sequence[float]) -> bool:
    """Whether calls became faster, by more than they scatter (Mann and Whitney 1947, normal approximation) and by more than would matter.

    A few are faster only where all of them are, and clearly.
    """
    few = len(earlier) < _FEW
    if median(recent) >= (1 - (_FASTER_OF_FEW if few else _FASTER)) * median(earlier):
        return False
    if few:
        return max(recent) < min(earlier)
    ordered, m, n = sorted(recent), len(earlier), len(recent)
    slower = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in earlier) / 2
    return slower - m * n / 2 > _CLEAR * math.sqrt(m * n * (m + n + 1) / 12)


def _calibrated(watch: Stopwatch, loops: int, measure: Measure) -> tuple[int, Batch]:
    """The loops that make a sample long enough, and the first sample with them; up to three samples with others are calibration."""
    wanted_s = max(measure.min_sample_s, _STEPS * (watch.resolution_s or 0.0))
    batch = watch.take(loops, 1)
    for _ in range(_CALIBRATIONS):
        found_s = batch.samples_s[0] * loops
        if wanted_s / 2 <= found_s and (loops == 1 or found_s <= 2 * wanted_s):
            break
        growth = min(_MOST_GROWTH, wanted_s / found_s) if found_s > 0 else _STEPS
        loops = max(1, math.ceil(loops * growth))
        batch = watch.take(loops, 1)
    return loops, batch


def _sample(device: Device, watch: Stopwatch, loops: int, measure: Measure, warmed_s: float) -> _Samples:
    start = device.now_s()
    loops, first = _calibrated(watch, loops, measure)
    found, look, taken = _Samples(loops, warmup_s=warmed_s), 0, 1
    found.add(first)
    began = device.now_s() - first.samples_s[0] * loops
    while True:
        count, elapsed = len(found.seconds), device.now_s() - start
        seen = count >= max(_SEEN, measure.min_samples) or elapsed >= _UNSEEN_SHARE * measure.max_s
        over = elapsed >= measure.max_s
        looks = count >= measure.min_samples and (over or (seen and count >= look))
        ends = over and (count >= min(_FEWEST, measure.min_samples) or elapsed >= _PATIENCE * measure.max_s)
        if (looks or ends) and found.settle(measure.warmup_max_s):
            continue
        if looks:
            look = math.ceil(_NEXT_LOOK * count)
            if half_width(found.seconds) <= measure.target:
                found.stopped_by = "target"
                return found
        if ends:
            return found
        one_s = max(1e-9, (device.now_s() - began) / taken)
        left = max(1, math.floor((measure.max_s - elapsed) / one_s))
        wanted = max(look, measure.min_samples, min(_SEEN, math.ceil(_UNSEEN_SHARE * measure.max_s / one_s))) - count
        batch = watch.take(loops, min(watch.batch, left, max(1, wanted)))
        taken += len(batch.samples_s)
        found.add(batch)


def _measure(
    device: Device, work: Work, measure: Measure, loops: int, warmed_s: float, look: Callable[[], None]
) -> tuple[Stopwatch, _Samples, list[str]]:
    """Samples by the best clock that can time the work, and why the better ones can't. Raises Unfit where none can."""
    wanted = device.clocks if measure.clock == "auto" else (measure.clock,)
    if measure.clock not in ("auto", *device.clocks):
        raise Unfit(f"{device.name} has no clock {measure.clock!r}; there are {', '.join(device.clocks)}")
    reasons: list[str] = []
    for clock in wanted:
        try:
            watch = device.stopwatch(clock, work, measure.cache == "cold", look)
            return watch, _sample(device, watch, loops, measure, warmed_s), reasons
        except Unfit as error:
            reasons.append(f"{clock}: {error}")
    raise Unfit("; ".join(reasons))


def _second_clock(device: Device, watch: Stopwatch, work: Work, found: _Samples, measure: Measure) -> Witness | None:
    """The same work by another clock: read beside the first one's samples, or a few samples of the lowest rung that fits.

    The lowest, because it shares least with the first: on a GPU that is the host's clock, without events and without a queue. None where
    even a few samples would take more than a tenth of `max_s`.
    """
    if not measure.witness:
        return None
    if watch.witness is not None and found.witness:
        return Witness(watch.witness, tuple(found.witness), found.loops, paired=True)
    fewest, most = _WITNESS_SAMPLES
    affordable = math.floor(_WITNESS_SHARE * measure.max_s / max(1e-9, found.loops * median(found.seconds)))
    if affordable < fewest:
        return None
    for clock in reversed(device.clocks):
        if clock != watch.clock:
            try:
                other = device.stopwatch(clock, work, measure.cache == "cold", lambda: None)
                return Witness(clock, other.take(found.loops, min(most, affordable)).samples_s, found.loops, paired=False)
            except Unfit:
                continue
    return None


def time_call(
    device: Device, work: Work, measure: Measure, first: FirstCall, on_phase: Callable[[str], None]
) -> tuple[Timing, Telemetry]:
    """Times `work` on `device`, and what went on beside; `first` was measured by the check. Raises Unfit where no clock can time it."""
    on_phase("warm-up")
    gc.collect()  # before the warm-up: a device that waits for it lowers its clocks
    gc.disable()
    try:
        warmed_s, warmed_calls, per_call_s = _warm_up(device, work, measure)
        loops = max(1, math.ceil(measure.min_sample_s / per_call_s)) if per_call_s > 0 else 1
        on_phase("timing")
        observer = device.observer()
        wall, cpu = time.perf_counter(), time.process_time()
        watch, found, ladder = _measure(device, work, measure, loops, warmed_s, observer.look)
    finally:
        gc.enable()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    telemetry = observer.finish()
    timing = Timing(
        clock=watch.clock,
        samples_s=tuple(found.seconds),
        loops=found.loops,
        warmup_s=found.warmup_s,
        warmup_calls=warmed_calls + found.warmup_calls,
        warmup_converged=found.settled,
        stopped_by=found.stopped_by,
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
        witness=_second_clock(device, watch, work, found, measure),
        threads=device.describe().get("threads"),
        minor_faults=tuple(found.faults) if found.faults else None,
        involuntary_switches=tuple(found.switches) if found.switches else None,
        cpu_s=cpu,
        wall_s=wall,
    )
    return timing, telemetry
