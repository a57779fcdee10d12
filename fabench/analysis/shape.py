"""What a median hides: samples that drift, samples with two levels, samples far out. Labels on raw samples, in measured order.

Pure functions in plain Python: the same samples always give the same labels, nothing is dropped, and nothing heavy is imported. A
label needs both: too unlikely by chance, and large enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise

from fabench.median import autocorrelation_time, median

__all__ = ["Drift", "Modes", "Outliers", "drift", "modes", "outliers"]

_MIN_SAMPLES = 10
_DRIFT_MATERIAL = 0.02
_DRIFT_P = 0.01
_MOST_POINTS = 100
_MODES_MATERIAL = 0.05
_MINORITY = 0.1
_SEPARATION = 5.0


@dataclass(frozen=True, slots=True)
class Drift:
    """Samples that became slower or faster. `change`: relative, from the first sample to the last (0.05: 5 % slower at the end).

    `p_value`: the chance of so clear a trend among samples that have none.
    """

    change: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Modes:
    """Two levels, in seconds: the medians of the faster and of the slower samples. `slow_share`: the slower ones' part of all.

    `switches`: how often one sample and the next are on different levels. `pattern`: "switched once" (the levels follow one another:
    a state changed), or "alternating" (they come and go).
    """

    fast_s: float
    slow_s: float
    slow_share: float
    switches: int
    pattern: str


@dataclass(frozen=True, slots=True)
class Outliers:
    """How many samples lie far out (Tukey 1977): `mild` beyond 1.5, `severe` beyond 3 interquartile ranges, each sample counted once.

    `high` of them all are slower than the rest.
    """

    mild: int
    severe: int
    high: int


def drift(samples: Sequence[float]) -> Drift | None:
    """The trend of samples in measured order, or None: fewer than ten, a change of at most 2 %, or not significant at 1 %.

    The size is Theil and Sen's slope, the significance Mann and Kendall's, its variance widened by the autocorrelation time of what the
    trend leaves (as Hamed and Rao 1998). More than a hundred samples are read as the medians of a hundred blocks.
    """
    if len(samples) < _MIN_SAMPLES:
        return None
    points = _blocks(samples)
    count = len(points)
    slope = median([(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(points), 2)])
    rest = [value - slope * index for index, value in enumerate(points)]
    start = median(rest)
    if start <= 0 or abs(change := slope * (count - 1) / start) <= _DRIFT_MATERIAL:
        return None
    score = sum((b > a) - (b < a) for a, b in combinations(points, 2))
    variance = count * (count - 1) * (2 * count + 5) / 18 * autocorrelation_time(rest)
    p_value = math.erfc(max(0, abs(score) - 1) / math.sqrt(2 * variance))
    return Drift(change, p_value) if p_value < _DRIFT_P else None


def modes(samples: Sequence[float]) -> Modes | None:
    """The two levels of samples in measured order, or None where one level explains them."""
    count = len(samples)
    if count < _MIN_SAMPLES:
        return None
    ordered = sorted(samples)
    below = _split(ordered)
    fast, slow = ordered[:below], ordered[below:]
    if min(len(fast), len(slow)) < max(3, _MINORITY * count):
        return None
    fast_s, slow_s = median(fast), median(slow)
    spread = 1.4826 * max(_deviation(fast), _deviation(slow))
    if slow_s - fast_s <= max(_MODES_MATERIAL * fast_s, _SEPARATION * spread):
        return None
    switches = sum((a < slow[0]) != (b < slow[0]) for a, b in pairwise(samples))
    return Modes(fast_s, slow_s, len(slow) / count, switches, "switched once" if switches == 1 else "alternating")


def outliers(samples: Sequence[float]) -> Outliers:
    """Counts of samples far outside the middle half."""
    ordered = sorted(samples)
    quarter, rest = divmod(len(ordered) - 1, 4)
    low, high = ordered[quarter + (rest > 1)], ordered[len(ordered) - 1 - quarter - (rest > 1)]
    reach = high - low
    far = [max(low - value, value - high) for value in ordered]
    severe = sum(distance > 3 * reach for distance in far)
    outside = sum(distance > 1.5 * reach for distance in far)
    return Outliers(outside - severe, severe, sum(value - high > 1.5 * reach for value in ordered))


def _blocks(samples: Sequence[float]) -> list[float]:
    count = len(samples)
    if count <= _MOST_POINTS:
        return list(samples)
    edges = [index * count // _MOST_POINTS for index in range(_MOST_POINTS + 1)]
    return [median(samples[start:end]) for start, end in pairwise(edges)]


def _split(ordered: Sequence[float]) -> int:
    """How many belong to the lower part, where both parts' squared distances from their means add up to least."""
    sums = list(accumulate(ordered))
    count, total = len(ordered), sums[-1]
    return max(range(1, count), key=lambda below: sums[below - 1] ** 2 / below + (total - sums[below - 1]) ** 2 / (count - below))


def _deviation(values: Sequence[float]) -> float:
    """The median absolute deviation from the median."""
    middle = median(values)
    return median([abs(value - middle) for value in values])
