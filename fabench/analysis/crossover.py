"""Crossover: the n from which one implementation is ahead of another in the same setting on the same device, with its interval.

The two median curves are compared at the n that both ran; between neighbouring n each is a straight line in log-log, so the crossing
is where the difference of logs, linear in log n, passes zero. Nothing is extrapolated: no sign change in the range is the answer
"not_reached", with the side that is ahead throughout. Each bootstrap draw of the medians gives its own crossing; the 2.5 % and 97.5 %
quantiles of these are the interval. A draw without a crossing counts as one beyond that end of the range, so the interval may be
open there (a percentile interval for a possibly infinite root, compare Fieller 1954).

The interval knows the noise within a cell's process only, not what differs from process to process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from fabench.analysis.curves import DRAWS, Curve, Quantity, by_setting, chunks, curves, log_draws
from fabench.analysis.estimate import Estimate, Floats, Ints, interval

__all__ = ["Crossover", "crossovers"]


@dataclass(frozen=True, slots=True)
class Crossover:
    """Where `second` and `first` change places. `first` is the quadratic one where the families differ.

    `status`: "crossed" (once), "several" (`n` is the last of `crossings`), "not_reached" (`n` is None). `before` and `after` are the
    names of who is ahead (faster, or smaller) below and above `n`; throughout where it is not reached; None where both are equal.
    `range`: smallest and largest n that both ran. `open_low`, `open_high`: the interval goes on beyond this end of the range, where
    `n.low` or `n.high` is the end itself. `reached_share`: share of bootstrap draws with a crossing inside the range.
    """

    first: str
    second: str
    setting: str
    device: str
    quantity: Quantity
    first_function: str | None
    second_function: str | None
    status: str
    n: Estimate | None
    open_low: bool
    open_high: bool
    before: str | None
    after: str | None
    range: tuple[int, int]
    crossings: int
    reached_share: float
    note: str

    @property
    def same_function(self) -> bool:
        """Whether both compute the same function; if not, the crossover compares costs, not equal results."""
        return self.first_function is not None and self.first_function == self.second_function


@dataclass(frozen=True, slots=True)
class _Pair:
    first: Curve
    second: Curve
    shared: tuple[int, ...]


def crossovers(
    frame: pd.DataFrame, quantity: Quantity = "time", *, within_family: bool = False, draws: int = DRAWS, seed: int = 0
) -> list[Crossover]:
    """Each quadratic with each linear implementation; with `within_family`, also all other pairs. Pairs without a shared n are left out."""
    pairs = [pair for group in by_setting(curves(frame, quantity)).values() for pair in _pairs(group, within_family)]
    samples = frame["samples_s"].tolist()
    rng = np.random.default_rng(seed)
    lengths: dict[int, list[int]] = {}
    for index, pair in enumerate(pairs):
        lengths.setdefault(len(pair.shared), []).append(index)
    results: dict[int, Crossover] = {}
    for _, members in sorted(lengths.items()):
        for part in chunks(members):
            results.update(zip(part, _compare([pairs[index] for index in part], quantity, samples, draws, rng), strict=True))
    return [results[index] for index in range(len(pairs))]


def _pairs(group: Sequence[Curve], within_family: bool) -> list[_Pair]:
    found = []
    for first, second in combinations(group, 2):
        if first.family == "linear" and second.family == "quadratic":
            first, second = second, first
        shared = tuple(sorted(set(first.n) & set(second.n)))
        if shared and (within_family or {first.family, second.family} == {"linear", "quadratic"}):
            found.append(_Pair(first, second, shared))
    return found


def _compare(
    pairs: Sequence[_Pair], quantity: Quantity, samples: Sequence[tuple[float, ...]], draws: int, rng: np.random.Generator
) -> list[Crossover]:
    x = np.log([pair.shared for pair in pairs])
    difference = np.log(_values(pairs, "first")) - np.log(_values(pairs, "second"))
    if quantity == "time":
        noise = _noise(pairs, samples, draws, rng)
    else:
        noise = difference[:, :, None]
    place, ahead, count = _last_crossing(x, difference)
    places, aheads, counts = _last_crossing(x[:, None, :], np.swapaxes(noise, 1, 2))
    # Without a crossing in a draw it lies beyond the range: below if the draw ends as the medians do, above if not.
    beyond = np.where(aheads == ahead[:, None], -math.inf, math.inf)
    reached = (counts > 0) & (aheads == ahead[:, None])
    low, high = interval(np.where(reached, places, beyond))
    share = (counts > 0).mean(axis=1)
    equal = (difference == 0).all(axis=1)
    return [
        _result(pair, quantity, *row)
        for pair, row in zip(
            pairs, zip(*(a.tolist() for a in (place, low, high, ahead, count, share, equal)), strict=True), strict=True
        )
    ]


def _noise(pairs: Sequence[_Pair], samples: Sequence[tuple[float, ...]], draws: int, rng: np.random.Generator) -> Floats:
    """Draws of the difference, [pairs, n, draws]; a curve that is in several pairs is drawn once."""
    rows = [tuple(part) for side in ("first", "second") for part in _rows(pairs, side)]
    places = {part: place for place, part in enumerate(dict.fromkeys(rows))}
    drawn = log_draws(samples, list(places), draws, rng)
    index = np.array([places[part] for part in rows])
    result: Floats = drawn[index[: len(pairs)]] - drawn[index[len(pairs) :]]
    return result


def _values(pairs: Sequence[_Pair], side: str) -> Floats:
    return np.array([_picked(getattr(pair, side), "values", pair.shared) for pair in pairs], dtype=np.float64)


def _rows(pairs: Sequence[_Pair], side: str) -> list[list[int]]:
    return [_picked(getattr(pair, side), "rows", pair.shared) for pair in pairs]


def _picked(curve: Curve, name: str, shared: Sequence[int]) -> list[int]:
    if curve.n == shared:
        return list(getattr(curve, name))
    known = dict(zip(curve.n, getattr(curve, name), strict=True))
    return [known[n] for n in shared]


def _last_crossing(x: Floats, difference: Floats) -> tuple[Floats, Ints, Ints]:
    """Along the last axis: log n of the last sign change (NaN if none), whether `second` is ahead at the end (0, 1), and how many."""
    sign = difference >= 0
    ahead = sign[..., -1].astype(np.intp)
    if difference.shape[-1] == 1:
        return np.full(ahead.shape, math.nan), ahead, np.zeros_like(ahead)
    change = sign[..., 1:] != sign[..., :-1]
    count = change.sum(axis=-1)
    last = (change.shape[-1] - 1 - np.argmax(change[..., ::-1], axis=-1))[..., None]
    x = np.broadcast_to(x, difference.shape)
    left, right = (np.take_along_axis(difference, last + step, -1)[..., 0] for step in (0, 1))
    start, stop = (np.take_along_axis(x, last + step, -1)[..., 0] for step in (0, 1))
    fall = left - right
    place = start + (stop - start) * left / np.where(fall == 0, 1.0, fall)
    return np.where(count > 0, place, math.nan), ahead, count


def _result(
    pair: _Pair, quantity: Quantity, place: float, low: float, high: float, ahead: int, count: int, share: float, equal: bool
) -> Crossover:
    first, second, ends = pair.first, pair.second, (pair.shared[0], pair.shared[-1])
    names = (first.implementation, second.implementation)
    estimate = None
    if count:
        value = math.exp(place)
        inside = [math.exp(min(max(edge, math.log(ends[0])), math.log(ends[1]))) for edge in (low, high)]
        estimate = Estimate(value, min(inside[0], value), max(inside[1], value))
    status = "not_reached" if not count else "crossed" if count == 1 else "several"
    after = None if equal else names[ahead]
    before = after if not count else names[1 - ahead]
    return Crossover(
        *names, first.setting, first.device, quantity, first.function, second.function, status, estimate,
        open_low=bool(count) and low == -math.inf, open_high=bool(count) and high == math.inf, before=before, after=after,
        range=ends, crossings=count, reached_share=share, note=_note(status, ends, count, after, equal, share),
    )  # fmt: skip


def _note(status: str, ends: tuple[int, int], count: int, after: str | None, equal: bool, share: float) -> str:
    where = f"n = {ends[0]:,} to {ends[1]:,}" if ends[0] != ends[1] else f"n = {ends[0]:,}"
    if equal:
        return f"equal at {where}"
    if status == "not_reached":
        return f"{after} is ahead at {where}" + (f"; a crossing in {share:.0%} of the draws" if share >= 0.005 else "")
    return f"the last of {count} crossings at {where}" if status == "several" else f"one crossing at {where}"
