"""When a cell is slower than before: verdicts from launch pairs, looked at several times, corrected over all cells.

A launch pair is two fresh processes, base and head, that alternate call by call; it gives one number a cell: the median over its rounds
of log(head / base). All statistics are done on these numbers, never on samples: within a pair rounds share the two processes' luck.

    slower       the one-sided paired t test against "no change" is below its share of `alpha`, and the pairs' median is `min_effect` or more
    faster       the same the other way round
    equivalent   the 95 % interval of the change lies within -/+ `min_effect`
    undecided    none of these; goes on to the next look, and stays so where the budget ends

`alpha` is the chance that any unchanged cell of a suite is called slower: shared out over the looks (Bonferroni), and at each look over the
cells (Holm 1979), all of them, those already decided included. Both shares are valid under any dependence. The median's condition asks for
a change that matters, and keeps a single odd pair from deciding. A spread smaller than `_LEAST_SPREAD` is not believed: a few equal pairs are luck.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from fabench.analysis.estimate import Estimate, Floats, Ints
from fabench.analysis.holm import holm

__all__ = ["Rule", "Verdict", "pairs_needed", "promised", "verdicts"]

_LEAST_SPREAD = 0.002
_MOST_PAIRS = 1000
_LARGEST_EFFECT = 100.0


@dataclass(frozen=True, slots=True)
class Rule:
    """`min_effect`: the smallest relative change that matters (0.05 = 5 %). `looks`: after how many launch pairs it is decided."""

    min_effect: float = 0.05
    alpha: float = 0.05
    looks: tuple[int, ...] = (5, 8, 12)

    def __post_init__(self) -> None:
        if not 0 < self.min_effect < 1:
            raise ValueError(f"min_effect is {self.min_effect}, must lie between 0 and 1 (0.05 = 5 %)")
        if not 0 < self.alpha < 0.5:
            raise ValueError(f"alpha is {self.alpha}, must lie between 0 and 0.5")
        if not self.looks or any(a >= b for a, b in zip((1, *self.looks), self.looks, strict=False)):
            raise ValueError(f"looks are {self.looks}, must grow and start at 2 pairs or more")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One cell. `ratio` of head's time to base's with its 95 % interval; `p` is one-sided, towards the side it lies on, before correction.

    `spread`: standard deviation of a pair's log ratio.
    """

    cell: str
    verdict: str
    ratio: Estimate
    pairs: int
    p: float
    spread: float


def verdicts(pairs: Mapping[str, Sequence[float]], rule: Rule) -> list[Verdict]:
    """The cells' verdicts from their launch pairs so far (log ratios, two at least), in their order.

    Each look has `alpha / len(rule.looks)`, however many have been: stopping early costs nothing.
    """
    data = [np.asarray(values, dtype=np.float64) for values in pairs.values()]
    counts = np.array([len(values) for values in data])
    means = np.array([values.mean() for values in data])
    middles = [float(np.median(values)) for values in data]
    spreads = np.maximum([values.std(ddof=1) for values in data], _LEAST_SPREAD)
    errors = spreads / np.sqrt(counts)
    slower_p = np.asarray(stats.t.sf(means / errors, counts - 1), dtype=np.float64)
    share = rule.alpha / len(rule.looks)
    slower, faster = holm(slower_p, share), holm(1 - slower_p, share)
    halves = stats.t.ppf(0.975, counts - 1) * errors
    bound = math.log1p(rule.min_effect)
    result = []
    for index, cell in enumerate(pairs):
        low, high = float(means[index] - halves[index]), float(means[index] + halves[index])
        if slower[index] and middles[index] >= bound:
            verdict = "slower"
        elif faster[index] and middles[index] <= -bound:
            verdict = "faster"
        elif -bound < low and high < bound:
            verdict = "equivalent"
        else:
            verdict = "undecided"
        p = float(min(slower_p[index], 1 - slower_p[index]))
        ratio = Estimate(math.exp(means[index]), math.exp(low), math.exp(high))
        result.append(Verdict(cell, verdict, ratio, int(counts[index]), p, float(spreads[index])))
    return result


def _powers(effect: float, spread: float, rule: Rule, cells: int, counts: Ints) -> Floats:
    """The chance that a change of `effect` is called slower after `counts` pairs, at the hardest place in Holm's order.

    For normal pairs: the test by the noncentral t distribution, the median's condition by the normal one (a median of normal pairs has
    sqrt(pi / 2) of the mean's error); the smaller of both, since they mostly hold or fail together.
    """
    errors = max(spread, _LEAST_SPREAD) / np.sqrt(counts)
    critical = stats.t.ppf(1 - rule.alpha / len(rule.looks) / cells, counts - 1)
    test = stats.nct.sf(critical, counts - 1, math.log1p(effect) / errors)
    middle = stats.norm.cdf((math.log1p(effect) - math.log1p(rule.min_effect)) / errors / math.sqrt(math.pi / 2))
    return np.minimum(test, middle)


def pairs_needed(spread: float, rule: Rule, cells: int, effect: float, power: float = 0.95) -> int | None:
    """Launch pairs after which a change of `effect` is called slower with this power; None where `_MOST_PAIRS` would not do."""
    counts = np.arange(2, _MOST_PAIRS + 1)
    enough = _powers(effect, spread, rule, cells, counts) >= power
    return int(counts[np.argmax(enough)]) if enough.any() else None


def promised(spread: float, rule: Rule, cells: int, power: float = 0.95) -> float | None:
    """The smallest slow-down that a gate of these looks calls slower with this power; None where even a hundredfold one is not."""
    last = np.array([rule.looks[-1]])

    def lacking(effect: float) -> float:
        return power - float(_powers(effect, spread, rule, cells, last)[0])

    if lacking(_LARGEST_EFFECT) > 0:
        return None
    return float(optimize.brentq(lacking, rule.min_effect, _LARGEST_EFFECT, xtol=1e-5))
