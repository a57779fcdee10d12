"""Where a series of run medians shifts: binary segmentation, each split by a rank scan against its permutation distribution.

Of T values with ranks r the split after k of them, `_LEAST` <= k <= T - `_LEAST`, has Wilcoxon's statistic, standardised:

    z(k) = |sum of the first k ranks - k (T + 1) / 2| / sqrt(k (T - k) (T + 1) / 12),        scan = max over k (Pettitt 1979 scans likewise)

Ranks, because runs have tails and flip between modes. If nothing shifted every order of the values is as likely as any other, so the scan's
distribution depends on T alone and is drawn once per T (`_DRAWS` seeded permutations). A split that stands is made, and both parts are
searched anew at half its level each, so the chance of any false shift stays below `alpha` whatever is found before (Scott and Knott 1974).

Neighbouring runs on one machine resemble each other, which looks like shifts. So the scan is divided by sqrt((1 + c) / (1 - c)), where c is
the rank correlation of neighbours about the medians of the parts, raised by 3 / T for each cut (what cuts and medians take away from it).
For c parts of `_CUT_AGAIN` values or more are cut once more where they split best, or else a second shift would pass for resemblance.
Simulated at alpha = 5 %, false shifts: up to 4 % of series of independent runs, 9 % where neighbours correlate by 0.5, 16 % in states of the
host that last for three runs (without the division 28-52 % and 33 %). The price is power: a shift of two spreads in the middle of 12, 20, 40
runs is found in 44, 60, 99 % of series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from fabench.analysis.estimate import Floats

__all__ = ["FEWEST", "Shift", "shifts"]

_LEAST = 3
FEWEST = 2 * _LEAST
_DRAWS = 20_000
_CUT_AGAIN, _PER_CUT = 10, 3
_MOST_CORRELATION = 0.9


@dataclass(frozen=True, slots=True)
class Shift:
    """`index`: position of the first value after it. `size`: median after less median before, of the pieces beside it. `p` of its scan."""

    index: int
    size: float
    p: float


def shifts(values: Sequence[float], alpha: float = 0.05, least_size: float = 0.0) -> list[Shift]:
    """The shifts of a series in its order. Those smaller than `least_size` are taken back, the smallest first."""
    data = np.asarray(values, dtype=np.float64)
    found = dict(_search(data, 0, alpha))
    while found:
        placed = _placed(data, found)
        smallest = min(placed, key=lambda one: abs(one.size))
        if abs(smallest.size) >= least_size:
            return placed
        del found[smallest.index]
    return []


def _placed(data: Floats, found: dict[int, float]) -> list[Shift]:
    places = sorted(found)
    middles = [float(np.median(piece)) for piece in np.split(data, places)]
    return [Shift(at, after - before, found[at]) for at, before, after in zip(places, middles, middles[1:], strict=False)]


def _search(data: Floats, start: int, alpha: float) -> list[tuple[int, float]]:
    if len(data) < FEWEST:
        return []
    split, p = _best(data)
    if p > alpha:
        return []
    before, after = _search(data[:split], start, alpha / 2), _search(data[split:], start + split, alpha / 2)
    return [*before, (start + split, p), *after]


def _best(data: Floats) -> tuple[int, float]:
    """The likeliest split and its p."""
    split, value = _split(data)
    value /= math.sqrt(_inflation([piece for part in (data[:split], data[split:]) for piece in _cut_again(part)]))
    null = _null(len(data))
    beyond = len(null) - int(np.searchsorted(null, value - 1e-12))
    return split, (beyond + 1) / (len(null) + 1)


def _split(data: Floats) -> tuple[int, float]:
    """Where the scan is largest, and the scan."""
    scan = _scan(stats.rankdata(data))
    at = int(np.argmax(scan))
    return at + _LEAST, float(scan[at])


def _cut_again(part: Floats) -> list[Floats]:
    if len(part) < _CUT_AGAIN:
        return [part]
    split, _ = _split(part)
    return [part[:split], part[split:]]


def _scan(ranks: Floats) -> Floats:
    """z of every split along the last axis."""
    count = ranks.shape[-1]
    k = np.arange(_LEAST, count - _LEAST + 1)
    sums = np.cumsum(ranks, axis=-1)[..., k - 1]
    result: Floats = np.abs(sums - k * (count + 1) / 2) / np.sqrt(k * (count - k) * (count + 1) / 12)
    return result


@cache
def _null(count: int) -> Floats:
    """The scan's distribution where all orders are alike, sorted."""
    rng = np.random.default_rng(count)
    orders = rng.permuted(np.tile(np.arange(1.0, count + 1), (_DRAWS, 1)), axis=1)
    result: Floats = np.sort(_scan(orders).max(axis=-1))
    return result


def _inflation(pieces: Sequence[Floats]) -> float:
    """By how much the variance of sums grows because neighbours resemble each other; at least 1."""
    residuals = np.concatenate([piece - np.median(piece) for piece in pieces])
    count = len(residuals)
    ranks = stats.rankdata(residuals) - (count + 1) / 2
    power = float(ranks @ ranks)
    seen = float(ranks[1:] @ ranks[:-1]) / power if power > 0 else 0.0
    correlation = min(max(seen + _PER_CUT * (len(pieces) - 1) / count, 0.0), _MOST_CORRELATION)
    return (1 + correlation) / (1 - correlation)
