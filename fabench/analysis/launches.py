"""Time of stored runs: each launch gives one number a cell, its log median; both sides' launches are compared by Welch's t test.

A launch is a run of the suite in fresh processes. Base's and head's were not measured in turns, so their difference holds what the machine
did in between: of adjacent runs of the same work 15-25 % on a busy two-core machine. So a verdict asks for much, and is worth little:

    slower       the one-sided Welch test (Biometrika 34, 1947) is below its share of `alpha`, and medians differ by `min_effect` or more
    faster       the same the other way round
    equivalent   the 95 % interval of the change lies within -/+ `min_effect`
    undecided    none of these, or fewer than `launches` on a side

`alpha` is the chance that any unchanged cell is called slower, by Holm over all that is tested, as long as launches are independent: a
machine that was in another mood for all of one side's launches looks like a change, and no test can tell. Of the side with more launches as
many are used as the other has, spread evenly over it: only then is the difference of two equal sides symmetric, however skew or bimodal
launches are. (Simulated, 5 against 20 with a spread of 20 % and 1.6 times as slow in 30 % of launches: 14 % of comparisons alarmed, 5 % so.)
With one launch a side nothing in the data says how launches spread. The environment's noise sheet then bounds the change (`fabench.noise`),
and there is no verdict but one: a factor of `tripwire` or more is called slower, where no launch of head is as fast as any of base and
the bound, if known, is passed too. A spread smaller than `_LEAST_SPREAD` is not believed: a few equal launches are luck.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fabench.analysis.estimate import Floats
from fabench.analysis.holm import holm
from fabench.schema import Environment, Record

__all__ = ["Contrast", "Launch", "Launched", "Rule", "TimeChange", "contrasts", "judge"]

_LEAST_SPREAD = 0.002


@dataclass(frozen=True, slots=True)
class Launch:
    """One run of a suite: its records by cell id. `name` is what messages call it."""

    name: str
    environment: Environment
    records: Mapping[str, Record]


@dataclass(frozen=True, slots=True)
class Rule:
    """`min_effect`: the smallest relative change that matters (0.1 = 10 %). `launches`: a side's least for a verdict."""

    min_effect: float = 0.1
    alpha: float = 0.05
    launches: int = 5
    tripwire: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.min_effect < 1:
            raise ValueError(f"min_effect is {self.min_effect}, must lie between 0 and 1 (0.1 = 10 %)")
        if not 0 < self.alpha < 0.5:
            raise ValueError(f"alpha is {self.alpha}, must lie between 0 and 0.5")
        if self.launches < 2:
            raise ValueError(f"launches is {self.launches}, must be 2 or more")


@dataclass(frozen=True, slots=True)
class Launched:
    """One cell's log medians, a launch each, and by how much two launches of the same work differ at most (log), where a sheet says."""

    base: tuple[float, ...]
    head: tuple[float, ...]
    bound: float | None = None

    @property
    def fewest(self) -> int:
        """Launches of the side that has fewer."""
        return min(len(self.base), len(self.head))


@dataclass(frozen=True, slots=True)
class Contrast:
    """Mean of head minus mean of base with its 95 % interval; `p` one-sided, towards the side it lies on, before correction.

    `more`, `less`: whether the difference stands after correction. `spread`: standard deviation of a launch, pooled.
    """

    difference: float
    low: float
    high: float
    p: float
    spread: float
    more: bool
    less: bool


@dataclass(frozen=True, slots=True)
class TimeChange:
    """`ratio` of head's time to base's (means of log medians); `low`, `high` its 95 % interval, None where nothing bounds it.

    `base_launches`, `head_launches`: those that were used.
    `known_from`: "launches", "noise sheet" or "nothing". `tripwire`: slower by the factor alone. `p` and `spread` as in `Contrast`.
    """

    verdict: str
    ratio: float
    low: float | None
    high: float | None
    base_launches: int
    head_launches: int
    known_from: str
    tripwire: bool = False
    p: float | None = None
    spread: float | None = None


def contrasts(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], alpha: float) -> list[Contrast]:
    """Welch's comparison of each (base, head), two numbers a side at least, corrected over all of them."""
    if not pairs:
        return []
    base, head = ([np.asarray(pair[side], dtype=np.float64) for pair in pairs] for side in (0, 1))
    difference = np.array([after.mean() - before.mean() for before, after in zip(base, head, strict=True)])
    (b, b_df), (h, h_df) = _errors(base), _errors(head)
    error = np.sqrt(b + h)
    freedom = (b + h) ** 2 / (b**2 / b_df + h**2 / h_df)
    p = np.asarray(stats.t.sf(difference / error, freedom), dtype=np.float64)
    half = stats.t.ppf(0.975, freedom) * error
    pooled = np.sqrt((b * (b_df + 1) * b_df + h * (h_df + 1) * h_df) / (b_df + h_df))
    more, less = holm(p, alpha), holm(1 - p, alpha)
    columns = zip(difference.tolist(), half.tolist(), p.tolist(), pooled.tolist(), more, less, strict=True)
    return [Contrast(d, d - w, d + w, min(one, 1 - one), s, up, down) for d, w, one, s, up, down in columns]


def _errors(sides: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Squared standard errors of the means, and their degrees of freedom."""
    counts = np.array([len(values) for values in sides], dtype=np.float64)
    variances = np.maximum([values.var(ddof=1) for values in sides], _LEAST_SPREAD**2)
    return variances / counts, counts - 1


def judge(
    cells: Sequence[Launched], rule: Rule, beside: Sequence[tuple[Sequence[float], Sequence[float]]] = ()
) -> tuple[list[TimeChange], list[Contrast]]:
    """Each cell's verdict, and the contrasts of what else is tested beside them and shares `alpha` with them."""
    cells = [Launched(*_alike(one.base, one.head), one.bound) if one.fewest >= 2 else one for one in cells]
    enough = [one for one in cells if one.fewest >= rule.launches]
    few = [one for one in cells if 2 <= one.fewest < rule.launches]
    tested = contrasts([*((one.base, one.head) for one in enough), *(_alike(*pair) for pair in beside)], rule.alpha)
    known = dict(zip(map(id, enough), tested, strict=False))
    known |= dict(zip(map(id, few), contrasts([(one.base, one.head) for one in few], rule.alpha), strict=True))
    return [_judged(one, known.get(id(one)), rule) for one in cells], tested[len(enough) :]


def _alike(base: Sequence[float], head: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """As many launches of either side, spread evenly over the longer one."""
    count = min(len(base), len(head))
    first, second = (tuple(side[round(index)] for index in np.linspace(0, len(side) - 1, count)) for side in (base, head))
    return first, second


def _judged(launched: Launched, contrast: Contrast | None, rule: Rule) -> TimeChange:
    base, head = len(launched.base), len(launched.head)
    if contrast is None:
        difference = math.fsum(launched.head) / head - math.fsum(launched.base) / base
        bound = launched.bound
        low, high = (None, None) if bound is None else (difference - bound, difference + bound)
        known, p, spread = ("nothing" if bound is None else "noise sheet"), None, None
    else:
        difference, low, high = contrast.difference, contrast.low, contrast.high
        known, p, spread = "launches", contrast.p, contrast.spread
    tripped = False
    verdict = "undecided"
    if contrast is not None and min(base, head) >= rule.launches:
        verdict = _verdict(launched, contrast, math.log1p(rule.min_effect))
    else:
        apart = min(launched.head) > max(launched.base) and (low is None or contrast is not None or low > 0)
        tripped = apart and difference >= math.log(rule.tripwire)
        verdict = "slower" if tripped else "undecided"
    lower, upper = (None if end is None else _ratio(end) for end in (low, high))
    return TimeChange(verdict, _ratio(difference), lower, upper, base, head, known, tripped, p, spread)


def _verdict(launched: Launched, found: Contrast, bound: float) -> str:
    middle = float(np.median(launched.head) - np.median(launched.base))
    if found.more and middle >= bound:
        return "slower"
    if found.less and middle <= -bound:
        return "faster"
    return "equivalent" if -bound < found.low and found.high < bound else "undecided"


def _ratio(log: float) -> float:
    return math.exp(min(log, 700.0))  # beyond, no float holds it; two or three launches may have intervals as wide
