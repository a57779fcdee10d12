"""Gates drawn anew from stored launch pairs: fabench's own rule on pairs drawn with replacement, look by look, as the command does.

Whole pairs are drawn, all cells of one, so that what a pair did to all cells stays together. A cell that is decided is measured no further; its pairs
stay in the correction. A change is put into one cell, each in turn: as a shift of its log ratios, which is simulated, or from pairs with real work planted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fabench.analysis.estimate import Estimate, Floats, Ints
from fabench.analysis.gate import Rule, verdicts
from tests.perf.launches import Costs, Launches, Planted
from tests.perf.shares import bounded, exact

__all__ = ["Replayed", "Tally", "replay", "replays"]

_OUTER = 60  # times that the stored gates are drawn anew


@dataclass(frozen=True)
class Replayed:
    """One gate: the last verdict of each cell, and the launch pairs of each."""

    verdicts: tuple[str, ...]
    pairs: tuple[int, ...]

    @property
    def launches(self) -> int:
        """Launch pairs of the gate."""
        return max(self.pairs)


@dataclass(frozen=True)
class Tally:
    """Many gates. `alarms`: those that called a cell slower in which nothing changed; `seen`: those that called the changed one slower.

    `undecided`: share of cells left undecided. `wall_s`: expected, by what launch pairs cost.
    """

    gates: int
    alarms: Estimate
    seen: Estimate | None
    undecided: float
    launches: float
    most_launches: int
    wall_s: float


def replay(ratios: Floats, rule: Rule) -> Replayed:
    """One gate of these log ratios, [cell, pair], as many pairs as the last look has."""
    names = [str(index) for index in range(len(ratios))]
    counts = dict.fromkeys(names, 0)
    open_ = set(names)
    found = []
    for look in rule.looks:
        counts |= dict.fromkeys(open_, look)
        found = verdicts({name: ratios[index, : counts[name]].tolist() for index, name in enumerate(names)}, rule)
        open_ = {one.cell for one in found if one.verdict == "undecided"}
        if not open_:
            break
    return Replayed(tuple(one.verdict for one in found), tuple(counts.values()))


def replays(
    launches: Launches, rule: Rule, costs: Costs, gates: int, effect: float = 0.0, planted: Sequence[Planted] = (),
    swapped: bool = False, seed: int = 0,
) -> Tally:  # fmt: skip
    """So many gates. Alarms and power have intervals over the stored gates that the pairs are of; see `_interval`.

    `swapped`: base and head change places in half of the pairs, all cells of one together. Of the same code that is no change, and takes away
    what the stored pairs lean to one side by chance; it would also hide it if a side were really favoured.
    """
    rng = np.random.default_rng(seed)
    found = _drawn(launches, rule, gates, effect, planted, rng, swapped)
    cells_s = np.array([costs.cells_s[cell] for cell in launches.cells])
    changed = effect > 0 or bool(planted)
    alarms, seen = _hits(found)
    outer = [
        _hits(_drawn(_resampled(launches, rng), rule, max(1, gates // 20), effect, planted, rng, swapped)) for _ in range(_OUTER)
    ]
    independent, stored = max(1, launches.ratios.shape[1] // rule.looks[-1]), len(np.unique(launches.gate))
    walls_s = [one.launches * costs.start_s + float(np.dot(one.pairs, cells_s)) for _, one in found]
    return Tally(
        gates,
        _interval(alarms, [one for one, _ in outer], independent, stored),
        _interval(seen, [one for _, one in outer], independent, stored) if changed else None,
        float(np.mean([[verdict == "undecided" for verdict in one.verdicts] for _, one in found])),
        float(np.mean([one.launches for _, one in found])),
        max(one.launches for _, one in found),
        math.fsum(walls_s) / len(walls_s),
    )


def _resampled(launches: Launches, rng: np.random.Generator) -> Launches:
    """Stored gates drawn with replacement, with all their launch pairs."""
    numbers = np.unique(launches.gate)
    rows = np.concatenate([np.flatnonzero(launches.gate == number) for number in rng.choice(numbers, len(numbers))])
    return Launches(launches.cells, launches.base[rows], launches.head[rows], launches.gate[rows], launches.disturbed[rows])


def _drawn(
    launches: Launches, rule: Rule, gates: int, effect: float, planted: Sequence[Planted], rng: np.random.Generator, swapped: bool
) -> list[tuple[int | None, Replayed]]:
    """Gates with the cell that was changed in them, None where none was."""
    ratios, last = launches.ratios, rule.looks[-1]
    found: list[tuple[int | None, Replayed]] = []
    for number in range(gates):
        pairs: Ints = rng.integers(0, ratios.shape[1], last)
        data = ratios[:, pairs] * (rng.choice([-1.0, 1.0], last) if swapped else 1.0)
        cell = None
        if planted:
            slowed = planted[number % len(planted)]
            cell = launches.cells.index(slowed.cell)
            data[cell] = rng.choice(slowed.ratios, last)
        elif effect:
            cell = number % len(launches.cells)
            data[cell] += math.log1p(effect)
        found.append((cell, replay(data, rule)))
    return found


def _hits(found: Sequence[tuple[int | None, Replayed]]) -> tuple[float, float]:
    """Shares of gates that call an unchanged cell slower, and the changed one."""
    alarms = [any(verdict == "slower" and at != cell for at, verdict in enumerate(one.verdicts)) for cell, one in found]
    seen = [cell is not None and one.verdicts[cell] == "slower" for cell, one in found]
    return float(np.mean(alarms)), float(np.mean(seen))


def _interval(value: float, outer: Sequence[float], independent: int, stored: int) -> Estimate:
    """From gates drawn of stored gates drawn anew; each of those shares is of fewer gates, which makes the interval rather too wide.

    Where all of them agree on 0 or 1, the exact one for as many gates as the stored pairs make without using any twice. Of few stored gates no
    narrower than `bounded` has it.
    """
    if len(set(outer)) == 1 and value in (0.0, 1.0):
        return exact(round(value * independent), independent)
    low, high = np.quantile(outer, (0.025, 0.975))
    return bounded(Estimate(value, min(float(low), value), max(float(high), value)), stored)
