"""Factors: how much faster (or smaller) each implementation is than a baseline, n by n, with a bootstrap interval.

Factors compare implementations of the SAME function. Across functions a factor compares costs, not ways to the same result, so it is
given only on demand, and then carries both functions' names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fabench.analysis.curves import DRAWS, Curve, Quantity, by_setting, chunks, curves, log_draws
from fabench.analysis.estimate import Estimate, interval

__all__ = ["BASELINES", "Speedup", "speedups"]

# The plain form of each family, in order of preference; without any of them, the first by name.
BASELINES = ("dot_product", "factorized_plain", "factorized")


@dataclass(frozen=True, slots=True)
class Speedup:
    """`ratio` = the baseline's value / the implementation's: above 1 the implementation is faster (or smaller)."""

    implementation: str
    baseline: str
    setting: str
    device: str
    n: int
    quantity: Quantity
    ratio: Estimate
    function: str | None
    baseline_function: str | None

    @property
    def same_function(self) -> bool:
        """Whether both compute the same function."""
        return self.function is not None and self.function == self.baseline_function


@dataclass(frozen=True, slots=True)
class _Point:
    curve: Curve
    baseline: Curve
    place: int
    baseline_place: int


def speedups(
    frame: pd.DataFrame,
    quantity: Quantity = "time",
    *,
    baselines: Sequence[str] = BASELINES,
    other_function: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Speedup]:
    """Every implementation against the baseline of its setting and function at each n that both ran.

    The baseline is the first of `baselines` that was measured there, else the first by name. With `other_function` there is one
    baseline per setting, whatever it computes.
    """
    points = []
    for group in by_setting(curves(frame, quantity)).values():
        for part in [group] if other_function else _by_function(group):
            points += _points(part, baselines)
    samples = frame["samples_s"].tolist()
    rng = np.random.default_rng(seed)
    found = []
    for part_points in chunks(points, 8):
        found += _ratios(part_points, quantity, samples, draws, rng)
    return found


def _by_function(group: Sequence[Curve]) -> list[list[Curve]]:
    functions: dict[str, list[Curve]] = {}
    for curve in group:
        if curve.function is not None:
            functions.setdefault(curve.function, []).append(curve)
    return list(functions.values())


def _points(group: Sequence[Curve], baselines: Sequence[str]) -> list[_Point]:
    measured = sorted((curve for curve in group if curve.n), key=lambda curve: curve.implementation)
    if not measured:
        return []
    named = {curve.implementation: curve for curve in measured}
    baseline = next((named[name] for name in baselines if name in named), measured[0])
    places = {n: place for place, n in enumerate(baseline.n)}
    return [
        _Point(curve, baseline, place, places[n])
        for curve in group
        if curve is not baseline
        for place, n in enumerate(curve.n)
        if n in places
    ]


def _ratios(
    points: Sequence[_Point], quantity: Quantity, samples: Sequence[tuple[float, ...]], draws: int, rng: np.random.Generator
) -> list[Speedup]:
    ratio = np.array([p.baseline.values[p.baseline_place] / p.curve.values[p.place] for p in points])
    low = high = ratio
    if quantity == "time":
        ours = log_draws(samples, [[p.curve.rows[p.place]] for p in points], draws, rng)[:, 0]
        theirs = log_draws(samples, [[p.baseline.rows[p.baseline_place]] for p in points], draws, rng)[:, 0]
        low, high = (np.exp(edge) for edge in interval(theirs - ours))
    estimates = zip(ratio.tolist(), np.minimum(low, ratio).tolist(), np.maximum(high, ratio).tolist(), strict=True)
    return [
        Speedup(
            p.curve.implementation, p.baseline.implementation, p.curve.setting, p.curve.device, p.curve.n[p.place], quantity,
            Estimate(*estimate), p.curve.function, p.baseline.function,
        )
        for p, estimate in zip(points, estimates, strict=True)
    ]  # fmt: skip
