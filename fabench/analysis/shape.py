"""What a median hides: samples that drift, samples with two levels, samples far out. Labels on raw samples, in measured order.

Pure functions in plain Python: the same samples always give the same labels, nothing is dropped, and nothing heavy is imported. A
label needs both: too unlikely by chance, and large enough to matter.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise

from fabench.median import autocorrelation_time, median

__all__ = ["Drift", "Modes", "Outliers", "drift", "modes", "outliers"]

_FEWEST = 10
_TO_DEVIATION = 1.4826  # a normal distribution's deviation, from its median absolute deviation
_DRIFT_MATERIAL = 0.02
_DRIFT_P = 0.01
_MOST_POINTS = 100
_MOST_CORRELATION = 0.95
_MODES_MATERIAL = 0.05
_MINORITY = 0.1
_SEPARATION = 4.0  # of the levels, in deviations inside them, for many samples; few need more
_SEPARATION_OF_ONE = 50.0
_OUTERMOST = 20  # one in so many, on each side
_BETWEEN = 0.05  # of the samples, at most, in the middle third between the levels
_STRAY = 0.05  # of the samples, at most, that are on the other level before or after a single switch


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
    """The trend of samples in measured order, or None: fewer than ten, a change of at most 2 %, or a p-value of 0.01 and more.

    The size is Theil and Sen's slope, the significance Mann and Kendall's. Its variance is widened by the autocorrelation time of what
    the trend leaves (as Hamed and Rao 1998), and it is judged by Student's distribution for as many degrees of freedom as there are
    independent samples, less the two of a line. More than a hundred samples are read as the medians of a hundred blocks.
    """
    if len(samples) < _FEWEST:
        return None
    points = _blocks(samples)
    count = len(points)
    score = _score(points)
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    if math.erfc(abs(score) / deviation / math.sqrt(2)) >= _DRIFT_P:
        return None  # not even if no sample repeated another; spares most series the pairs below
    slope = median([(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(points), 2)])
    rest = [value - slope * index for index, value in enumerate(points)]
    start = median(rest)
    if start <= 0 or abs(change := slope * (count - 1) / start) <= _DRIFT_MATERIAL:
        return None
    time = max(autocorrelation_time(rest), _neighbours_time(rest))
    p_value = _two_sided(max(0, abs(score) - 1) / deviation / math.sqrt(time), count / time - 2)
    return Drift(change, p_value) if p_value < _DRIFT_P else None


def modes(samples: Sequence[float]) -> Modes | None:
    """The two levels of samples in measured order, or None where one level explains them: fewer than ten, or not both levels clear.

    Each level has a tenth of the samples and three at least; the split is the one that leaves the least squares within both (the
    outermost twentieth counts as its neighbours do, so that no outlier decides). Both are clear if they are 5 % apart, and four
    deviations inside them (with ten samples, nine: among few, two parts always look apart); and if hardly a sample lies in the middle
    between them, as some do where one level has a long tail. Two neighbouring readings of a clock whose step is 5 % of a sample look
    the same.
    """
    count = len(samples)
    if count < _FEWEST:
        return None
    ordered = sorted(samples)
    fewest = max(3, math.ceil(_MINORITY * count))
    below = _split(ordered, fewest)
    fast, slow = ordered[:below], ordered[below:]
    fast_s, slow_s = median(fast), median(slow)
    apart, middle = slow_s - fast_s, (fast_s + slow_s) / 2
    levels = [value > middle for value in samples]
    if not fewest <= sum(levels) <= count - fewest:  # outliers that borrowed from the other level, to be enough
        return None
    deviation = _TO_DEVIATION * max(_deviation(fast), _deviation(slow))
    if apart <= max(_MODES_MATERIAL * fast_s, (_SEPARATION + _SEPARATION_OF_ONE / count) * deviation):
        return None
    if sum(fast_s + apart / 3 < value < slow_s - apart / 3 for value in samples) > _BETWEEN * count:
        return None
    pattern = "switched once" if _single_switch(levels) else "alternating"
    return Modes(fast_s, slow_s, sum(levels) / count, sum(a != b for a, b in pairwise(levels)), pattern)


def outliers(samples: Sequence[float]) -> Outliers:
    """Counts of samples far outside the middle half; none among fewer than four.

    Where the middle half is one value, as a coarse clock's may be, the smallest step between samples stands for the range.
    """
    if len(samples) < 4:
        return Outliers(0, 0, 0)
    ordered = sorted(samples)
    low, high = _quantile(ordered, 0.25), _quantile(ordered, 0.75)
    reach = high - low or min((b - a for a, b in pairwise(ordered) if b > a), default=0.0)
    mild = severe = slower = 0
    for value in ordered:
        distance = max(low - value, value - high)
        severe += distance > 3 * reach
        mild += 1.5 * reach < distance <= 3 * reach
        slower += value - high > 1.5 * reach
    return Outliers(mild, severe, slower)


def _blocks(samples: Sequence[float]) -> list[float]:
    count = len(samples)
    if count <= _MOST_POINTS:
        return list(samples)
    edges = [index * count // _MOST_POINTS for index in range(_MOST_POINTS + 1)]
    return [median(samples[start:end]) for start, end in pairwise(edges)]


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two samples beside it, in proportion."""
    place = share * (len(ordered) - 1)
    index = math.floor(place)
    above = ordered[min(index + 1, len(ordered) - 1)]
    return ordered[index] + (place - index) * (above - ordered[index])


def _score(points: Sequence[float]) -> int:
    """Mann and Kendall's: pairs that rise less pairs that fall."""
    before: list[float] = []
    score = 0
    for value in points:
        left, right = bisect_left(before, value), bisect_right(before, value)
        score += left + right - len(before)
        before.insert(right, value)
    return score


def _neighbours_time(rest: Sequence[float]) -> float:
    """The autocorrelation time that the rank correlation of neighbours stands for, if all further ones follow from it.

    Steadier than a sum over lags where samples are few. What a line leaves correlates by about (2 + 4 r) / n too little.
    """
    ordered, count = sorted(rest), len(rest)
    ranks = [bisect_left(ordered, value) + bisect_right(ordered, value) - count for value in rest]
    power = sum(rank * rank for rank in ranks)
    if power == 0:
        return 1.0
    found = sum(a * b for a, b in pairwise(ranks)) / power
    correlation = min(_MOST_CORRELATION, max(0.0, found + (2 + 4 * found) / count))
    return (1 + correlation) / (1 - correlation)


def _split(ordered: Sequence[float], fewest: int) -> int:
    """How many belong to the lower part, `fewest` in each, where both parts' squared distances from their means add up to least."""
    count = len(ordered)
    outermost = max(1, count // _OUTERMOST)
    low, high = ordered[outermost], ordered[-1 - outermost]
    sums = list(accumulate(min(max(value, low), high) - low for value in ordered))
    total = sums[-1]
    return max(
        range(fewest, count - fewest + 1),
        key=lambda below: sums[below - 1] ** 2 / below + (total - sums[below - 1]) ** 2 / (count - below),
    )


def _single_switch(levels: Sequence[bool]) -> bool:
    """Whether nearly all samples before some moment are on one level and nearly all after it on the other."""
    count, slow = len(levels), sum(levels)
    # Slow ones after the moment, and fast ones before it, if it goes from slow to fast; the rest if the other way round.
    wrong = [slow - before + (moment - before) for moment, before in enumerate(accumulate(levels, initial=0))]
    return min(*wrong, count - max(wrong)) <= _STRAY * count


def _two_sided(t: float, freedom: float) -> float:
    """The chance of Student's t so far out or further, by a normal deviate that matches it (Wallace 1959); at least one degree."""
    f = max(1.0, freedom)
    deviate = (8 * f + 1) / (8 * f + 3) * math.sqrt(f * math.log1p(t * t / f))
    return math.erfc(deviate / math.sqrt(2))


def _deviation(values: Sequence[float]) -> float:
    """The median absolute deviation from the median."""
    middle = median(values)
    return median([abs(value - middle) for value in values])
