"""Shares with intervals: exact where trials are independent, else a bootstrap over the clusters that share their weather."""

from __future__ import annotations

import numpy as np
from scipy import stats

from fabench.analysis.estimate import Estimate, Floats, Ints

__all__ = ["clustered", "exact", "said"]

_DRAWS = 2000


def exact(hits: int, trials: int) -> Estimate:
    """With the interval of Clopper and Pearson (1934)."""
    found = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
    return Estimate(hits / trials, float(found.low), float(found.high))


def clustered(values: Floats, clusters: Ints, seed: int = 0) -> Estimate:
    """The mean of `values` (shares from 0 to 1), with a bootstrap over `clusters`.

    Where every cluster has one value of 0 or 1 the interval is exact; where all values are 0, or all are 1, too, with as many trials as there
    are clusters: a bootstrap would know no doubt there. Of one cluster alone nothing is known.
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
    return Estimate(float(values.mean()), float(low), float(high))


def said(share: Estimate | None) -> str:
    """`1.7 % [0.0, 8.9]`; a dash where it is not known."""
    if share is None:
        return "–"
    return f"{share.value * 100:.1f} % [{share.low * 100:.1f}, {share.high * 100:.1f}]"
