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
from scipy import stats

from fabench.analysis.estimate import Estimate

__all__ = ["Rule", "Verdict", "pairs_needed", "verdicts"]

_LEAST_SPREAD = 0.002
_MOST_PAIRS = 1000


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

    `spread`: standard deviation of a pair's log ratio. `needed`: pairs that this spread would need to decide, None where decided.
    """

    cell: str
    verdict: str
    ratio: Estimate
    pairs: int
    p: float
    spread: float
    needed: int | None = None


def _summary(values: Sequence[float]) -> tuple[float, float, float, float, int]:
    """Mean, median, standard deviation (at least the least), standard error of the mean, count."""
    data = np.asarray(values, dtype=np.float64)
    spread = max(float(data.std(ddof=1)), _LEAST_SPREAD)
    return float(data.mean()), float(np.median(data)), spread, spread / math.sqrt(len(data)), len(data)


def _holm(p: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected at family-wise level `alpha`."""
    order = sorted(range(len(p)), key=lambda index: p[index])
    rejected = [False] * len(p)
    for rank, index in enumerate(order):
        if p[index] > alpha / (len(p) - rank):
            break
        rejected[index] = True
    return rejected


def verdicts(pairs: Mapping[str, Sequence[float]], rule: Rule) -> list[Verdict]:
    """The cells' verdicts from their launch pairs so far (log ratios, two at least), in their order.

    Looks are counted by `rule`, whatever was looked at: `alpha / len(looks)` holds at each, so that stopping early costs nothing.
    """
    found = [_summary(values) for values in pairs.values()]
    slower_p = [float(stats.t.sf(mean / error, count - 1)) for mean, _, _, error, count in found]
    faster_p = [1 - p for p in slower_p]
    share = rule.alpha / len(rule.looks)
    slower, faster = _holm(slower_p, share), _holm(faster_p, share)
    bound = math.log1p(rule.min_effect)
    result = []
    for index, (cell, (mean, middle, spread, error, count)) in enumerate(zip(pairs, found, strict=True)):
        half = float(stats.t.ppf(0.975, count - 1)) * error
        if slower[index] and middle >= bound:
            verdict = "slower"
        elif faster[index] and middle <= -bound:
            verdict = "faster"
        elif mean - half > -bound and mean + half < bound:
            verdict = "equivalent"
        else:
            verdict = "undecided"
        ratio = Estimate(math.exp(mean), math.exp(mean - half), math.exp(mean + half))
        needed = pairs_needed(spread, rule, len(found)) if verdict == "undecided" else None
        result.append(Verdict(cell, verdict, ratio, count, min(slower_p[index], faster_p[index]), spread, needed))
    return result


def pairs_needed(spread: float, rule: Rule, cells: int, effect: float | None = None, power: float = 0.95) -> int:
    """Launch pairs after which a change of `effect` (twice `min_effect` if not given) is called slower with this power.

    For a normal spread of the pairs; the hardest place in Holm's order. `_MOST_PAIRS` where no more would do.
    """
    change = math.log1p(2 * rule.min_effect if effect is None else effect)
    level = rule.alpha / len(rule.looks) / cells
    bound = math.log1p(rule.min_effect)
    for count in range(2, _MOST_PAIRS):
        error = max(spread, _LEAST_SPREAD) / math.sqrt(count)
        critical = max(float(stats.t.ppf(1 - level, count - 1)) * error, bound)
        if stats.norm.cdf((change - critical) / error) >= power:
            return count
    return _MOST_PAIRS
