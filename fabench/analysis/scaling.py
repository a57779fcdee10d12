"""Scaling exponents: the slope of log time (or memory) over log n, where n is large, with an interval that covers lack of fit.

Range. Overheads bend the lower end of a curve, so the slope is taken over the upper half of the swept range on the log scale,
n >= sqrt(n_min n_max), extended downwards to four points where there are four. Three points are the least; with two there is a slope
but no way to see how badly a power law fits, so none is given.

Interval. Ordinary least squares in log-log. Two sources of error are added draw by draw:
- the medians', from their exact bootstrap (`estimate`);
- lack of fit: what the residuals hold beyond that. Its variance is tau^2 = max(0, (RSS - E[RSS from the medians alone]) / (p - 2)),
  the moment estimator of random-effects meta-regression (DerSimonian and Laird 1986; Thompson and Sharp 1999); it enters as
  t(p - 2) * tau / sqrt(Sxx), so that few points give wide intervals. (A wild bootstrap of so few residuals covers too little: with
  three points about half of what it says, because a straight line leaves one pattern of residuals, orthogonal to the slope's error.)
  In simulation the intervals cover the true slope in 92-98 % of series with four or more points, and with three in 87-98 %: least
  where cells differ far more from each other than their samples do.
Memory is deterministic: its interval comes from lack of fit alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats

from fabench.analysis.curves import DRAWS, Curve, Quantity, chunks, curves, log_draws
from fabench.analysis.estimate import Estimate, Floats, interval

__all__ = ["Decomposition", "Exponent", "asymptotic", "decompose", "exponents"]

_LEAST, _WANTED = 3, 4


@dataclass(frozen=True, slots=True)
class Exponent:
    """The power of n that a series grows with. `estimate` is None where `note` says why.

    `points`: (n, value) of all that was measured; `used`: the n of the fit; `left_out`: (n, why) of all others.
    `local`: (n, next n, slope between them).
    """

    implementation: str
    setting: str
    device: str
    family: str | None
    function: str | None
    quantity: Quantity
    estimate: Estimate | None
    points: tuple[tuple[int, float], ...]
    used: tuple[int, ...]
    left_out: tuple[tuple[int, str], ...]
    local: tuple[tuple[int, int, float], ...]
    note: str


def asymptotic(n: Sequence[int]) -> int:
    """How many of the ascending `n`, counted from the largest, belong to the fit."""
    if not n:
        return 0
    upper = sum(size * size >= n[0] * n[-1] for size in n)
    return min(len(n), max(upper, _WANTED))


def exponents(frame: pd.DataFrame, quantity: Quantity = "time", draws: int = DRAWS, seed: int = 0) -> list[Exponent]:
    """One per series of the frame (`frame.tidy`), in the order of their first records."""
    found = curves(frame, quantity)
    samples = frame["samples_s"].tolist()
    rng = np.random.default_rng(seed)
    estimates: dict[int, Estimate] = {}
    for points, members in _by_points(found).items():
        for part in chunks(members):
            used = [found[index] for index in part]
            x = np.log([curve.n[-points:] for curve in used])
            y = np.log([curve.values[-points:] for curve in used])
            noise = None if quantity == "memory" else log_draws(samples, [curve.rows[-points:] for curve in used], draws, rng)
            estimates.update(zip(part, _fit(x, y, noise, draws), strict=True))
    return [_exponent(curve, quantity, estimates.get(index)) for index, curve in enumerate(found)]


def _by_points(found: Sequence[Curve]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for index, curve in enumerate(found):
        points = asymptotic(curve.n)
        if points >= _LEAST:
            groups.setdefault(points, []).append(index)
    return dict(sorted(groups.items()))


def _fit(x: Floats, y: Floats, noise: Floats | None, draws: int) -> list[Estimate]:
    """Slopes of series with equally many points; `noise` [series, points, draws] are draws of y."""
    points = x.shape[1]
    centred = x - x.mean(axis=1, keepdims=True)
    spread = (centred**2).sum(axis=1)
    weights = centred / spread[:, None]
    slope = (weights * y).sum(axis=1)
    residuals = y - y.mean(axis=1, keepdims=True) - slope[:, None] * centred
    excess = (residuals**2).sum(axis=1)
    moved = np.repeat(slope[:, None], draws, axis=1)
    if noise is not None:
        leverage = 1 / points + centred**2 / spread[:, None]
        excess = excess - ((1 - leverage) * noise.var(axis=2)).sum(axis=1)
        moved = np.einsum("sp,spd->sd", weights, noise)
    error = np.sqrt(np.maximum(excess, 0) / (points - 2) / spread)
    quantiles = (np.arange(draws) + 0.5) / draws
    low, high = interval(moved + error[:, None] * stats.t.ppf(quantiles, points - 2))
    low, high = np.minimum(low, slope), np.maximum(high, slope)
    return [Estimate(*row) for row in np.column_stack([slope, low, high]).tolist()]


def _exponent(curve: Curve, quantity: Quantity, estimate: Estimate | None) -> Exponent:
    used = curve.n[len(curve.n) - asymptotic(curve.n) :] if estimate is not None else ()
    note = f"{len(used)} points" + (", 1 degree of freedom for lack of fit" if len(used) == _LEAST else "")
    if estimate is None:
        note = f"{len(curve.n)} of the {_LEAST} points that an exponent with an interval needs"
    left_out = [(n, f"below the asymptotic range, n < {used[0]}") for n in curve.n if used and n < used[0]]
    return Exponent(
        curve.implementation, curve.setting, curve.device, curve.family, curve.function, quantity, estimate,
        points=tuple(zip(curve.n, curve.values, strict=True)), used=used, left_out=tuple(sorted([*left_out, *curve.missing])),
        local=_local(curve), note=note,
    )  # fmt: skip


def _local(curve: Curve) -> tuple[tuple[int, int, float], ...]:
    pairs = zip(curve.n, curve.n[1:], curve.values, curve.values[1:], strict=False)
    return tuple((n, after, math.log(high / low) / math.log(after / n)) for n, after, low, high in pairs)


@dataclass(frozen=True, slots=True)
class Decomposition:
    """t = a + b n + c n^2 with a, b, c >= 0. `shares` are the three terms' at `largest_n`; `worst` the largest relative residual.

    The three are None where `note` says why. With three points the fit goes through all of them and `worst` says nothing.
    """

    implementation: str
    setting: str
    device: str
    family: str | None
    function: str | None
    a_s: float | None
    b_s: float | None
    c_s: float | None
    shares: tuple[float, float, float] | None
    largest_n: int | None
    worst: float | None
    note: str


def decompose(frame: pd.DataFrame) -> list[Decomposition]:
    """Overhead, linear and quadratic part of every series' time.

    Non-negative least squares (Lawson and Hanson 1974) on relative errors: each point counts by its ratio to the fit, not by its size.
    """
    return [_decompose(curve) for curve in curves(frame, "time")]


def _decompose(curve: Curve) -> Decomposition:
    identity = (curve.implementation, curve.setting, curve.device, curve.family, curve.function)
    if len(curve.n) < _LEAST:
        note = f"{len(curve.n)} of the {_LEAST} points that three terms need"
        return Decomposition(*identity, None, None, None, None, curve.n[-1] if curve.n else None, None, note)
    scale = curve.n[-1]
    x, t = np.array(curve.n) / scale, np.array(curve.values)
    terms = np.vander(x, 3, increasing=True)
    coefficients, _ = optimize.nnls(terms / t[:, None], np.ones(len(t)))
    worst = float(np.abs(terms @ coefficients / t - 1).max())
    a, b, c = coefficients.tolist()
    total = a + b + c
    shares = (a / total, b / total, c / total)
    note = f"{len(t)} points" + (", as many as terms" if len(t) == _LEAST else "")
    return Decomposition(*identity, a, b / scale, c / scale**2, shares, scale, worst, note)
