"""The median of samples and its interval, in plain Python: the measuring side stops by it, and readers quote it.

Order statistics enclose the true median with a chance that is binomial, whatever the distribution (David and Nagaraja 2003, 7.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["half_width", "median"]

_Z = 1.96
_MIN_SAMPLES = 6  # below, no two order statistics enclose the median with 95 %


def median(samples: Sequence[float]) -> float:
    """Of a non-empty sequence."""
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def half_width(samples: Sequence[float]) -> float:
    """Relative half-width of the 95 % interval of the median of samples in measured order; infinite for fewer than six."""
    ordered = sorted(samples)
    count = len(ordered)
    if count < _MIN_SAMPLES:
        return math.inf
    low = max(0, math.floor((count - _Z * math.sqrt(count)) / 2))
    return (ordered[count - 1 - low] - ordered[low]) / 2 / ordered[count // 2]
