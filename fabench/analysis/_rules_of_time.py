"""Rules of `evidence` about the samples and the clocks that took them; the table there says which, and why these bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from fabench.analysis.doubts import Code, Doubt, beyond
from fabench.analysis.physics import Facts, share
from fabench.analysis.shape import drift, modes
from fabench.measured import Timing, Witness
from fabench.median import effective_count, half_width, median, median_interval
from fabench.noise import visible
from fabench.units import format_bytes, format_duration

__all__ = ["clocks", "queued", "sampling"]

_SEEN_TO_REPEAT = 12
_LEAST_SAMPLES = 6
_EVENT_STEP_S, _HOST_STEP_S = 0.5e-6, 0.1e-6
_EVENT_CLOCKS = ("event", "queue", "graph", "batch")
_READING_S = 1e-6  # two readings of two clocks around one window
_EXPLAINED = 2.0  # a clock that the host feeds reads its launches, and the way back to the host


def _percent(value: float) -> str:
    return f"{100 * value:.{2 if value < 0.1 else 3}g} %" if value < 10 else f"{1 + value:.0f}x"


def queued(timing: Timing) -> bool:
    """Whether the device worked through calls that were all there already, so that the host's pace does not show."""
    return timing.blocked is True or "graph" in timing.clock


def _width(samples: Sequence[float]) -> tuple[float, str]:
    """Relative half-width of the median's interval, in words too; where there is none, that of the samples' whole range."""
    width = half_width(samples)
    if math.isfinite(width):
        return width, f"the median is known to ±{_percent(width)} only"
    reach = (max(samples) - min(samples)) / 2 / median(samples)
    return reach, f"samples differ by ±{_percent(reach)}, and have no interval"


def sampling(timing: Timing, facts: Facts) -> Iterator[Doubt]:
    """Noise, count, trend and levels of the samples; warm-up."""
    samples, count = timing.samples_s, len(timing.samples_s)
    width, known = _width(samples)
    if grade := beyond(width, (0.02, "B"), (0.05, "C"), (0.25, "D")):
        yield Doubt(Code.NOISY, known, grade)
    if count < _LEAST_SAMPLES:
        yield Doubt(Code.FEW_SAMPLES, f"{count} samples, too few for an interval", "C")
    elif count < _SEEN_TO_REPEAT:
        yield Doubt(Code.FEW_SAMPLES, f"{count} samples, too few to see whether they repeat each other", "B")
    elif (worth := effective_count(samples)) < _LEAST_SAMPLES:
        yield Doubt(Code.FEW_SAMPLES, f"{count} samples that repeat each other: worth {worth:.1f}", "B")
    if timing.stopped_by == "time":
        yield Doubt(Code.STOPPED_BY_TIME, f"the time for samples was used up at ±{_percent(width)}", "B")
    floor = visible(facts.noise, median(samples))
    if floor is not None and (grade := beyond(floor, (0.1, "B"))):
        yield Doubt(Code.NOISE_FLOOR, f"two cells of this length differ by up to {_percent(floor)} here for no reason", grade)
    trend = drift(samples)
    if trend is not None:
        what = "slower" if trend.change > 0 else "faster"
        grade = beyond(abs(trend.change), (0.1, "C")) or "B"
        yield Doubt(Code.DRIFT, f"samples became {_percent(abs(trend.change))} {what}", grade)
    levels = modes(samples)
    if levels is not None:
        fast, slow = format_duration(levels.fast_s), format_duration(levels.slow_s)
        grade = "C" if 0.25 <= levels.slow_share <= 0.75 else "B"
        yield Doubt(
            Code.TWO_MODES, f"two levels, {fast} and {slow} ({levels.slow_share:.0%} of samples), {levels.pattern}", grade
        )
    if timing.warmup_converged is False:
        yield Doubt(Code.WARM_UP, "calls were still getting faster when the warm-up ended", "B")
    elif timing.warmup_converged is None:
        yield Doubt(Code.WARM_UP, "whether calls had stopped getting faster is not known", "B")


def clocks(timing: Timing, facts: Facts) -> Iterator[Doubt]:
    """The clock's resolution, who feeds it, a second one beside it, and what the cache held."""
    time_s = median(timing.samples_s)
    cold = timing.cache == "cold"
    window_s = time_s if cold else time_s * timing.loops
    step_s = _EVENT_STEP_S if any(name in timing.clock for name in _EVENT_CLOCKS) else _HOST_STEP_S
    if window_s < 10 * step_s:
        yield Doubt(
            Code.RESOLUTION, f"a window of {format_duration(window_s)}, by a clock that steps {format_duration(step_s)}", "C"
        )
    launch = share(timing.launch_s, time_s)
    if launch is not None and launch > 0.8 and not queued(timing):
        yield Doubt(Code.LAUNCH_BOUND, f"submitting a call takes the host {launch:.0%} of its time", "C")
    if timing.blocked is False:
        grade = "C" if launch is None or launch > 0.5 else "B"
        yield Doubt(Code.QUEUE_OPEN, "the device began before the queue was complete", grade)
    if timing.witness is None or not timing.witness.samples_s:
        yield Doubt(Code.ONE_CLOCK, f"timed by {timing.clock} alone", "B")
    else:
        yield from _agreement(timing, timing.witness, time_s)
    if cold and timing.touched_bytes is not None and timing.touched_bytes <= facts.spared_bytes:
        text = f"asked for cold, but buffers of {format_bytes(timing.touched_bytes)} in all stay in the cache"
        yield Doubt(Code.WARM_ROTATION, text, "C")


def _agreement(timing: Timing, witness: Witness, time_s: float) -> Iterator[Doubt]:
    if min(witness.samples_s) <= 0:
        yield Doubt(Code.CLOCKS_DISAGREE, f"{witness.clock} read 0 s or less", "D")
        return
    if witness.paired:
        ratio = median([second / first for first, second in zip(timing.samples_s, witness.samples_s, strict=False)])
        windows = timing.loops if timing.cache == "cold" else 1
        beside = abs(ratio - 1) * time_s * timing.loops / windows
        grade = beyond(abs(ratio - 1), (0.01, "C"), (0.05, "D")) if beside > _READING_S else None
        other_s = ratio * time_s
    else:
        other_s = median(witness.samples_s)
        grade = _apart(timing, witness, time_s, other_s)
    if grade:
        text = f"{timing.clock} says {format_duration(time_s)}, {witness.clock} {format_duration(other_s)}"
        yield Doubt(Code.CLOCKS_DISAGREE, text, grade)


def _apart(timing: Timing, witness: Witness, time_s: float, other_s: float) -> str | None:
    """The grade of two medians from samples of their own."""
    fast, slow = sorted((timing.samples_s, witness.samples_s), key=median)
    faster_s, slower_s = sorted((time_s, other_s))
    launch = share(timing.launch_s, faster_s)
    if launch is not None and launch > 0.8 and slower_s <= faster_s + _EXPLAINED * (timing.launch_s or 0.0):
        return None
    if _interval(slow)[0] <= _interval(fast)[1]:
        return None
    return beyond(slower_s / faster_s - 1, (0.05, "C"), (0.2, "D"))


def _interval(samples: Sequence[float]) -> tuple[float, float]:
    return median_interval(samples) if len(samples) >= _LEAST_SAMPLES else (min(samples), max(samples))
