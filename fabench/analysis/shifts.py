"""Where a series of run medians shifts: binary segmentation, each split by a scan of t statistics against its permutation distribution.

    scan = max over k of |t(k)|,    t(k): Student's two-sample statistic of the first k values and the others, `_LEAST` at least on either side

Values further than `_FAR` robust spreads (1.4826 median absolute deviations) from the median are drawn in to there, so that a few odd runs
neither make a shift nor hide one. If nothing shifted every order of the values is as likely as any other: the scan is compared with those
of seeded permutations of the same values. A scan that stands says that something shifted; where, is said by the smallest sum of distances
from two medians. Both parts are searched anew at half the level each, so the chance of any false shift stays below `alpha` whatever is
found before (binary segmentation: Scott and Knott 1974).

Neighbouring runs on one machine resemble each other, which looks like shifts. So the scan is divided by sqrt((1 + c) / (1 - c)), where c is
the rank correlation of neighbours, of what is left after
- the medians of the parts, those of `_CUT_AGAIN` values or more cut once more where they split best, raised by 3 / T for each cut; or
- a straight line, raised by 4 / T (what fitting takes away from a correlation),
whichever leaves less: a second shift or a drift must not pass for resemblance.

Simulated at alpha = 5 % with 12-80 runs, false shifts: 2-5 % of series of independent runs (normal, t with 3 degrees, 20 % of runs 1.6 times
as long); 8-10 % where neighbours correlate by 0.3, 10-16 % by 0.5, up to 16 % in states of the host that last for three runs (without the
division 15-26, 28-52, 33 %). Found: a shift of two spreads in the middle of 12, 24, 40 runs in 59, 92, 99 % of series, one of three spreads
in the last four of 24 runs in 95 %, a drift of half a spread a run over 24 runs in all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fabench.analysis.estimate import Floats, Ints

__all__ = ["FEWEST", "Shift", "shifts"]

_LEAST = 3
FEWEST = 2 * _LEAST
_FAR = 2.5
# Permutations are drawn in parts, until `_WANTED` of them lie beyond the level.
_DRAWS, _MOST_DRAWS, _WANTED = 500, 200_000, 20
_CUT_AGAIN, _PER_CUT, _PER_LINE = 10, 3, 4
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
    split, p = _best(data, alpha)
    if p > alpha:
        return []
    before, after = _search(data[:split], start, alpha / 2), _search(data[split:], start + split, alpha / 2)
    return [*before, (start + split, p), *after]


def _best(data: Floats, alpha: float) -> tuple[int, float]:
    """The likeliest split and its p."""
    split = _place(data)
    drawn_in = _drawn_in(data)
    value = float(_scan(drawn_in)) / math.sqrt(_inflation(data, split)) - 1e-9
    rng = np.random.default_rng(len(data))
    beyond = draws = 0
    # Few permutations are enough to see that nothing is there.
    while draws < _MOST_DRAWS and beyond <= max(10.0, 2 * alpha * draws):
        orders = rng.permuted(np.tile(drawn_in, (_DRAWS, 1)), axis=1)
        beyond, draws = beyond + int((_scan(orders) >= value).sum()), draws + _DRAWS
        if draws * alpha >= _WANTED:
            break
    return split, (beyond + 1) / (draws + 1)


def _drawn_in(data: Floats) -> Floats:
    middle = np.median(data)
    reach = _FAR * 1.4826 * float(np.median(np.abs(data - middle)))
    result: Floats = np.clip(data, middle - reach, middle + reach) if reach > 0 else data
    return result


def _place(data: Floats) -> int:
    """The split whose two medians are nearest to their values."""
    count = len(data)
    first = np.arange(_LEAST, count - _LEAST + 1)
    before = np.arange(count) < first[:, None]
    medians = np.where(before, _medians(data, before, first)[:, None], _medians(data, ~before, count - first)[:, None])
    distances = np.abs(data - medians).sum(axis=1)
    return _LEAST + int(np.argmax(distances <= distances.min() * (1 + 1e-9)))  # the first of those that are equal


def _medians(data: Floats, chosen: NDArray[np.bool_], counts: Ints) -> Floats:
    """Of each row's chosen values, `counts` of them."""
    ordered = np.sort(np.where(chosen, data, np.inf), axis=1)
    rows = np.arange(len(counts))
    result: Floats = (ordered[rows, (counts - 1) // 2] + ordered[rows, counts // 2]) / 2
    return result


def _scan(values: Floats) -> Floats:
    """The largest |t| of all splits along the last axis."""
    count = values.shape[-1]
    k = np.arange(_LEAST, count - _LEAST + 1)
    centred = values - values.mean(axis=-1, keepdims=True)
    total = (centred**2).sum(axis=-1, keepdims=True)
    between = np.cumsum(centred, axis=-1)[..., k - 1] ** 2 * (1 / k + 1 / (count - k))
    within = np.maximum(total - between, 1e-12 * total)
    shares = np.divide(between, within, out=np.zeros_like(between), where=within > 0)
    result: Floats = np.sqrt(shares.max(axis=-1) * (count - 2))
    return result


def _inflation(data: Floats, split: int) -> float:
    """By how much the variance of sums grows because neighbours resemble each other; at least 1."""
    count = len(data)
    pieces = [piece for part in (data[:split], data[split:]) for piece in _cut_again(part)]
    levels = _neighbours(np.concatenate([piece - np.median(piece) for piece in pieces])) + _PER_CUT * (len(pieces) - 1) / count
    at = np.arange(count) - (count - 1) / 2
    line = _neighbours(data - data.mean() - at * (at @ data) / (at @ at)) + _PER_LINE / count
    correlation = min(max(min(levels, line), 0.0), _MOST_CORRELATION)
    return (1 + correlation) / (1 - correlation)


def _cut_again(part: Floats) -> list[Floats]:
    if len(part) < _CUT_AGAIN:
        return [part]
    split = _place(part)
    return [part[:split], part[split:]]


def _neighbours(residuals: Floats) -> float:
    """Rank correlation of each value with the next."""
    ranks = stats.rankdata(residuals) - (len(residuals) + 1) / 2
    power = float(ranks @ ranks)
    return float(ranks[1:] @ ranks[:-1]) / power if power > 0 else 0.0
