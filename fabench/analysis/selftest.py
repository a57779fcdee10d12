"""What a gate can promise on this machine: how often it cries wolf, and the smallest slow-down that it finds.

From launch pairs of the same code (A against A), and pairs with a known amount of real work planted beside one cell's calls. A gate is
simulated by drawing launch pairs with replacement, whole pairs (all cells of one), so that what a pair did to all cells stays together;
the drawn pairs go through the same looks and rule as a real gate's. Shares come with exact binomial intervals of the simulation, which
do not contain that the pairs themselves are few: `pairs` says how many there were.

    false alarms    gates that call any unchanged cell slower
    power           gates that call the cell with planted work slower, per effect
    promise         per cell, the smallest change that its spread lets a gate of these looks find in 95 of 100: see `gate.promised`

A planted effect is what the pairs measured of it, not what was asked for: real work can't be cut to the percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fabench.analysis.estimate import Estimate
from fabench.analysis.gate import Rule, promised, verdicts

__all__ = ["Planted", "Promise", "SelfTest", "self_test"]

_GATES = 1000


@dataclass(frozen=True, slots=True)
class Planted:
    """Pairs with planted work: what was asked for, what they measured (median), and the share of simulated gates that called it slower."""

    cell: str
    asked: float
    measured: float
    pairs: int
    power: Estimate


@dataclass(frozen=True, slots=True)
class Promise:
    """One cell: the standard deviation of a pair's log ratio, and the smallest slow-down found in 95 of 100 gates, None where none is."""

    cell: str
    spread: float
    effect: float | None


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What gates of this rule can do. `alarms`: share of simulated gates with a false alarm. `bias`: largest |median log ratio| of a cell against itself.

    `suite` and `measured_at`: what was asked, and when; None where that is not known.
    """

    pairs: int
    gates: int
    min_effect: float
    alpha: float
    looks: tuple[int, ...]
    alarms: Estimate
    bias: float
    planted: tuple[Planted, ...]
    promises: tuple[Promise, ...]
    suite: str | None = None
    measured_at: str | None = None

    @property
    def promise(self) -> float | None:
        """What holds for every cell; None where a cell promises nothing."""
        effects = [one.effect for one in self.promises]
        return None if None in effects else max(effect for effect in effects if effect is not None)


def self_test(
    unchanged: Mapping[str, Sequence[float]],
    planted: Mapping[tuple[str, float], Sequence[float]],
    rule: Rule,
    seed: int,
    gates: int = _GATES,
) -> SelfTest:
    """From log ratios: `unchanged` per cell, the same launch pairs in all; `planted` per cell and effect that was asked for.

    Raises ValueError for fewer pairs than the first look, or cells with other pairs than the rest.
    """
    names = list(unchanged)
    counts = {len(values) for values in unchanged.values()}
    if len(counts) != 1 or min(counts) < rule.looks[0]:
        raise ValueError(f"a self-test needs the same {rule.looks[0]} or more pairs of every cell, there are {sorted(counts)}")
    data = np.array([unchanged[name] for name in names])
    rng = np.random.default_rng(seed)
    alarms = sum("slower" in _gate(names, _drawn(data, rule, rng), rule).values() for _ in range(gates))
    found = [_power(names, data, cell, asked, values, rule, rng, gates) for (cell, asked), values in planted.items()]
    spreads = data.std(axis=1, ddof=1)
    return SelfTest(
        data.shape[1], gates, rule.min_effect, rule.alpha, rule.looks, _share(alarms, gates), float(np.abs(np.median(data, axis=1)).max()), tuple(found),
        tuple(Promise(name, float(spread), promised(float(spread), rule, len(names))) for name, spread in zip(names, spreads, strict=True)),
    )  # fmt: skip


def _drawn(data: np.ndarray, rule: Rule, rng: np.random.Generator) -> np.ndarray:
    """As many pairs as the last look has, with replacement: [cells, pairs]."""
    return np.asarray(data[:, rng.integers(0, data.shape[1], rule.looks[-1])])


def _power(
    names: Sequence[str], data: np.ndarray, cell: str, asked: float, values: Sequence[float], rule: Rule, rng: np.random.Generator, gates: int
) -> Planted:  # fmt: skip
    index, changed, seen = names.index(cell), np.asarray(values), 0
    for _ in range(gates):
        drawn = _drawn(data, rule, rng)
        drawn[index] = changed[rng.integers(0, len(changed), rule.looks[-1])]
        seen += _gate(names, drawn, rule)[cell] == "slower"
    return Planted(cell, asked, math.expm1(float(np.median(changed))), len(changed), _share(seen, gates))


def _gate(names: Sequence[str], pairs: np.ndarray, rule: Rule) -> dict[str, str]:
    """Each cell's verdict where it is decided first, or at the last look."""
    final = dict.fromkeys(names, "undecided")
    for look in rule.looks:
        for one in verdicts(dict(zip(names, pairs[:, :look].tolist(), strict=True)), rule):
            if final[one.cell] == "undecided":
                final[one.cell] = one.verdict
        if "undecided" not in final.values():
            break
    return final


def _share(hits: int, trials: int) -> Estimate:
    """With its exact interval (Clopper and Pearson 1934)."""
    found = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
    return Estimate(hits / trials, float(found.low), float(found.high))
