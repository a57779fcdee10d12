"""The median of samples and its interval, in plain Python: the measuring side stops by it, and readers quote it.

Order statistics enclose the true median with a chance that is binomial, whatever the distribution (David and Nagaraja 2003, 7.1), if
samples are independent. Samples of a benchmark are not: the state of a host outlasts several of them. What counts is how many
independent ones they are worth, the count over the integrated autocorrelation time of the series 1[x < median].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["autocorrelation_time", "effective_count", "half_width", "median", "median_interval"]

_Z = 1.96
_MIN_SAMPLES = 6  # below, no two order statistics enclose the median with 95 %


def median(samples: Sequence[float]) -> float:
    """Of a non-empty sequence."""
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def autocorrelation_time(samples: Sequence[float]) -> float:
    """How many samples in a row are worth one independent one, for their median; at least 1."""
    count = len(samples)
    middle = median(samples)
    signs = [(value > middle) - (value < middle) for value in samples]
    power = sum(sign * sign for sign in signs)
    if power == 0:
        return 1.0
    tau, lag = 1.0, 1
    while lag < count // 2:
        pair = sum(signs[i] * (signs[i + lag] + (signs[i + lag + 1] if i + lag + 1 < count else 0)) for i in range(count - lag))
        if pair <= 0:
            break
        tau += 2 * pair / power
        lag += 2
    return max(1.0, tau)


def effective_count(samples: Sequence[float]) -> float:
    """The number of independent samples that these are worth."""
    return len(samples) / autocorrelation_time(samples)


def median_interval(samples: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median of samples in measured order; infinite for fewer than six."""
    ordered = sorted(samples)
    count = len(ordered)
    if count < _MIN_SAMPLES:
        return -math.inf, math.inf
    low = max(0, math.floor((count - _Z * math.sqrt(count * autocorrelation_time(samples))) / 2))
    return ordered[low], ordered[count - 1 - low]


def half_width(samples: Sequence[float]) -> float:
    """Relative half-width of the 95 % interval of the median of samples in measured order; infinite for fewer than six."""
    low, high = median_interval(samples)
    return (high - low) / 2 / median(samples) if math.isfinite(high) else math.inf
