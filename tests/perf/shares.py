"""Shares with intervals: exact where trials are independent, else a bootstrap over the clusters that share their weather."""

from __future__ import annotations

import numpy as np
from scipy import stats

from fabench.analysis.estimate import Estimate, Floats, Ints

__all__ = ["bounded", "clustered", "exact", "said"]

_DRAWS = 2000
_FEW = 10  # clusters that a bootstrap can't tell anything of: drawn from three alike ones it would know no doubt


def exact(hits: int, trials: int) -> Estimate:
    """With the interval of Clopper and Pearson (1934)."""
    found = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
    return Estimate(hits / trials, float(found.low), float(found.high))


def bounded(found: Estimate, clusters: int) -> Estimate:
    """No narrower than as many trials as there are clusters would be, where those are few.

    Values between 0 and 1 scatter no more than yes and no of the same mean do, so Clopper's and Pearson's interval holds for them too; the
    beta distribution has it for a number of hits that is not whole.
    """
    if clusters >= _FEW:
        return found
    hits = found.value * clusters
    low = float(stats.beta.ppf(0.025, hits, clusters - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(0.975, hits + 1, clusters - hits)) if hits < clusters else 1.0
    return Estimate(found.value, min(found.low, low), max(found.high, high))


def clustered(values: Floats, clusters: Ints, seed: int = 0) -> Estimate:
    """The mean of `values` (shares from 0 to 1), with a bootstrap over `clusters`.

    Where every cluster has one value of 0 or 1 the interval is exact; where all values are 0, or all are 1, too, with as many trials as there
    are clusters: a bootstrap would know no doubt there. Few clusters: see `bounded`. Of one cluster alone nothing is known.
    """
    names, places = np.unique(clusters, return_inverse=True)
    binary = bool(np.all((values == 0) | (values == 1)))
    if binary and (len(names) == len(values) or values.min() == values.max()):
        hits = values.sum() if len(names) == len(values) else values[0] * len(names)
        return exact(round(float(hits)), len(names))
    if len(names) == 1:
        return Estimate(float(values.mean()), 0.0, 1.0)
    sums = np.bincount(places, values)
    sizes = np.bincount(places)
    drawn = np.random.default_rng(seed).integers(0, len(names), (_DRAWS, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return bounded(Estimate(float(values.mean()), float(low), float(high)), len(names))


def said(share: Estimate | None) -> str:
    """`1.7 % [0.0, 8.9]`; a dash where it is not known."""
    if share is None:
        return "–"
    return f"{share.value * 100:.1f} % [{share.low * 100:.1f}, {share.high * 100:.1f}]"
