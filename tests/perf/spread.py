"""How far a launch pair's number strays when nothing changed, by each way of taking it: what a measure against noise is worth.

A pair's number is a log ratio; its spread is the standard deviation over pairs, of each cell about its own mean, pooled over the cells. Intervals are
a bootstrap over the clusters that share their weather: gates, or launch pairs. A measure is compared with the standard one on the same clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fabench.analysis.estimate import Estimate, Floats, Ints
from tests.perf.launches import Launches
from tests.perf.turns import DESIGNS, Taken

__all__ = ["ROUNDS", "STANDARD", "Numbers", "Spread", "by_disturbance", "of_estimators", "of_rounds", "of_turns", "spreads"]

ROUNDS = (1, 2, 4, 8, 12, 20)
_DRAWS = 1000

Estimator = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Numbers:
    """Pairs' log ratios, [cell, pair], and what cluster each pair is of."""

    ratios: Floats
    clusters: Ints


@dataclass(frozen=True)
class Spread:
    """`pooled` over cells, `middle` the median cell's; `times`: pooled spread over the standard's, None for the standard itself."""

    name: str
    pairs: int
    pooled: Estimate
    middle: float
    times: Estimate | None


def spreads(measures: Mapping[str, Numbers], standard: str) -> list[Spread]:
    """Each measure's spread, and its ratio to the standard's."""
    names = np.unique(np.concatenate([one.clusters for one in measures.values()]))
    rng = np.random.default_rng(0)
    draws = {name: np.empty(_DRAWS) for name in measures}
    columns = {
        name: {cluster: np.flatnonzero(one.clusters == cluster) for cluster in names.tolist()} for name, one in measures.items()
    }
    for draw in range(_DRAWS):
        picked = rng.choice(names, len(names)).tolist()
        for name, one in measures.items():
            draws[name][draw] = _pooled(one.ratios[:, np.concatenate([columns[name][cluster] for cluster in picked])])
    reference = _pooled(measures[standard].ratios)
    found = []
    for name, one in measures.items():
        value = _pooled(one.ratios)
        with np.errstate(divide="ignore", invalid="ignore"):  # few pairs may be drawn all alike
            ratios = draws[name] / draws[standard]
        times = None if name == standard else _estimate(value / reference, ratios)
        middle = float(np.median(one.ratios.std(axis=1, ddof=1)))
        found.append(Spread(name, one.ratios.shape[1], _estimate(value, draws[name]), middle, times))
    return found


def _pooled(ratios: Floats) -> float:
    return float(np.sqrt(np.mean(ratios.var(axis=1, ddof=1))))


def _estimate(value: float, draws: Floats) -> Estimate:
    low, high = np.quantile(draws[np.isfinite(draws)], (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def _of_sides(field: Callable[[Floats], Floats]) -> Estimator:
    return lambda base, head: np.log(field(head) / field(base))


def _trimmed(logs: Floats) -> Floats:
    count = logs.shape[-1]
    return np.asarray(np.sort(logs, axis=-1)[..., count // 5 : count - count // 5].mean(axis=-1))


_SIDES: dict[str, Callable[[Floats], Floats]] = {
    "minimum": lambda seconds: np.asarray(seconds.min(axis=-1)),
    "20th percentile": lambda seconds: np.asarray(np.quantile(seconds, 0.2, axis=-1)),
    "median": lambda seconds: np.asarray(np.median(seconds, axis=-1)),
    "mean": lambda seconds: np.asarray(seconds.mean(axis=-1)),
}
STANDARD = "median of the rounds' ratios"
_ESTIMATORS: dict[str, Estimator] = {
    STANDARD: lambda base, head: np.asarray(np.median(np.log(head / base), axis=-1)),
    "mean of the rounds' ratios": lambda base, head: np.asarray(np.log(head / base).mean(axis=-1)),
    "mean of the middle 60 % of the rounds' ratios": lambda base, head: _trimmed(np.log(head / base)),
    **{f"ratio of each side's {name}": _of_sides(field) for name, field in _SIDES.items()},
}


def of_estimators(launches: Launches) -> dict[str, Numbers]:
    """Each estimator on the same rounds in turns, then between neighbouring launches that were not in turns."""
    found = {name: Numbers(take(launches.base, launches.head).T, launches.gate) for name, take in _ESTIMATORS.items()}
    following = np.flatnonzero(launches.gate[1:] == launches.gate[:-1]) + 1
    for name, field in _SIDES.items():
        ratios = np.log(field(launches.head[following]) / field(launches.base[following - 1]))
        found[f"not in turns: next launch's {name}"] = Numbers(ratios.T, launches.gate[following])
    return found


def of_rounds(launches: Launches) -> dict[str, Numbers]:
    """The standard estimator of the first rounds only."""
    take = _ESTIMATORS[STANDARD]
    return {
        f"{count} rounds": Numbers(take(launches.base[..., :count], launches.head[..., :count]).T, launches.gate)
        for count in ROUNDS
    }


def by_disturbance(launches: Launches) -> list[tuple[str, int, float | None]]:
    """(how many of its rounds were disturbed, cells of pairs, their spread about their cell's mean; None for fewer than two)."""
    away = launches.ratios.T - launches.ratios.mean(axis=1)
    groups = {
        "none": launches.disturbed == 0,
        "1 to 10": (launches.disturbed > 0) & (launches.disturbed <= 10),
        "more than 10, a second time": launches.disturbed > 10,
    }
    return [
        (name, int(mask.sum()), float(np.sqrt(np.mean(away[mask] ** 2))) if mask.sum() > 1 else None)
        for name, mask in groups.items()
    ]


def of_turns(taken: Sequence[Taken]) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """(designs on the same launch pairs, variants of the process)."""
    cells = list(dict.fromkeys(one.cell for one in taken))
    found = {(one.variant, one.design, one.cell, one.pair): one for one in taken}
    pairs = sorted({one.pair for one in taken})

    def numbers(variant: str, take: Callable[[str, int], float]) -> Numbers:
        own = [pair for pair in pairs if all((variant, "standard", cell, pair) in found for cell in cells)]
        return Numbers(np.array([[take(cell, pair) for pair in own] for cell in cells]), np.array(own, dtype=np.intp))

    def wall(variant: str, design: str) -> Callable[[str, int], float]:
        return lambda cell, pair: _number(found[variant, design, cell, pair])

    def cpu(cell: str, pair: int) -> float:
        one = found["standard", "standard", cell, pair]
        return float(np.median(np.log(np.array(one.head_cpu_s) / np.array(one.base_cpu_s))))

    def repeated(cell: str, pair: int) -> float:
        first = found["standard", "standard", cell, pair]
        again = first.disturbed > len(first.base_s) // 2
        return _number(found["standard", "standard again", cell, pair] if again else first)

    def both(cell: str, pair: int) -> float:
        takes = [found["standard", design, cell, pair] for design in ("standard", "standard again")]
        return float(np.median(np.concatenate([np.log(np.array(one.head_s) / np.array(one.base_s)) for one in takes])))

    designs = {design: numbers("standard", wall("standard", design)) for design in _designs(taken)}
    designs |= {
        "processor time in place of wall time": numbers("standard", cpu),
        "disturbed takes repeated": numbers("standard", repeated),
        "40 rounds": numbers("standard", both),
    }
    return designs, {
        variant: numbers(variant, wall(variant, "standard")) for variant in dict.fromkeys(one.variant for one in taken)
    }


def _designs(taken: Sequence[Taken]) -> list[str]:
    there = {one.design for one in taken}
    return [design.name for design in DESIGNS if design.name in there]


def _number(one: Taken) -> float:
    return float(np.median(np.log(np.array(one.head_s) / np.array(one.base_s))))
