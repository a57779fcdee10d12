"""Holm's correction for several hypotheses (Scandinavian Journal of Statistics 6, 1979): valid under any dependence between them."""

from __future__ import annotations

import numpy as np

from fabench.analysis.estimate import Floats

__all__ = ["holm"]


def holm(p: Floats, alpha: float) -> list[bool]:
    """Which hypotheses are rejected at family-wise level `alpha`."""
    order = np.argsort(p, kind="stable")
    steps = alpha / np.arange(len(p), 0, -1)
    passed = int(np.argmin(np.append(p[order] <= steps, False)))
    rejected = np.zeros(len(p), dtype=bool)
    rejected[order[:passed]] = True
    return [bool(one) for one in rejected]
