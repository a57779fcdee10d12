"""Every rule on the same launch pairs, in two readings.

    interleaved    base and head of the same launch pairs, measured in turns: what a tool would see if it measured as fabench does
    as stored      base of one gate, head of a later one: how a stored baseline is used

A change is put into one cell, each in turn: head's seconds multiplied, which is simulated, or a launch's rounds with real work planted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fabench.analysis.estimate import Estimate, Floats, Ints
from tests.perf.launches import Launches, Planted
from tests.perf.rules import Rule
from tests.perf.shares import clustered

__all__ = ["READINGS", "Unit", "alarms", "power", "power_planted", "units"]

READINGS = ("interleaved", "as stored")


@dataclass(frozen=True)
class Unit:
    """One comparison: the launches of base and of head, and the stored gate that they belong to (head's next one, as stored)."""

    base: Ints
    head: Ints
    cluster: int


def units(launches: Launches, count: int, reading: str) -> list[Unit]:
    """All comparisons of `count` launches a side; no launch is on one side of two. Gates too short for one are taken together."""
    numbers = np.unique(launches.gate)
    fewest = min(int(np.count_nonzero(launches.gate == number)) for number in numbers)
    together = -(-count // fewest)
    groups = [
        np.flatnonzero(np.isin(launches.gate, numbers[start : start + together]))
        for start in range(0, len(numbers) - together + 1, together)
    ]
    found: list[Unit] = []
    for at, group in enumerate(groups):
        other = group if reading == "interleaved" else groups[at + 1] if at + 1 < len(groups) else np.array([], dtype=np.intp)
        for start in range(0, min(len(group), len(other)) - count + 1, count):
            found.append(Unit(group[start : start + count], other[start : start + count], at))
    return found


def _clusters(found: list[Unit]) -> Ints:
    return np.array([one.cluster for one in found])


def alarms(launches: Launches, rule: Rule, reading: str) -> Estimate | None:
    """The share of comparisons that alarm in any cell, when nothing changed; None where there are too few launches for one."""
    found = units(launches, rule.launches, reading)
    if not found:
        return None
    hits = [bool(rule.alarms(launches.base[one.base], launches.head[one.head]).any()) for one in found]
    return clustered(np.array(hits, dtype=np.float64), _clusters(found))


def power(launches: Launches, rule: Rule, reading: str, effect: float) -> Estimate | None:
    """The share of comparisons that alarm in a cell whose head is slowed by calculation, over all cells."""
    found = units(launches, rule.launches, reading)
    if not found:
        return None
    shares = []
    for one in found:
        base, head = launches.base[one.base], launches.head[one.head]
        if rule.joint:
            hits = [bool(rule.alarms(base, changed)[cell]) for cell, changed in _each_slowed(head, effect)]
        else:
            hits = rule.alarms(base, head * (1 + effect)).tolist()
        shares.append(float(np.mean(hits)))
    return clustered(np.array(shares), _clusters(found))


def _each_slowed(head: Floats, effect: float) -> Iterator[tuple[int, Floats]]:
    for cell in range(head.shape[1]):
        changed = head.copy()
        changed[:, cell] *= 1 + effect
        yield cell, changed


def power_planted(launches: Launches, planted: Sequence[Planted], rule: Rule, reading: str, seed: int = 0) -> Estimate | None:
    """The share of comparisons that alarm in the cell with planted work, whose launches are put in the place of the gates'; over all such cells.

    Interleaved, both sides come from the planted pairs; as stored, only head does. Each comparison has planted launches drawn at random,
    without repeats inside it; so the interval, over the gates, does not contain that the planted launches are few.
    """
    found = units(launches, rule.launches, reading)
    if not found or any(len(one.base) < rule.launches for one in planted):
        return None
    rng = np.random.default_rng(seed)
    shares = [np.mean([_found(launches, one, slowed, rule, reading, rng) for slowed in planted]) for one in found]
    return clustered(np.array(shares), _clusters(found))


def _found(launches: Launches, unit: Unit, slowed: Planted, rule: Rule, reading: str, rng: np.random.Generator) -> bool:
    cell = launches.cells.index(slowed.cell)
    base, head = launches.base[unit.base], launches.head[unit.head]
    rows = rng.choice(len(slowed.base), rule.launches, replace=False)
    head[:, cell] = slowed.head[rows]
    if reading == "interleaved":
        base[:, cell] = slowed.base[rows]
    if rule.joint:
        return bool(rule.alarms(base, head)[cell])
    return bool(rule.alarms(base[:, [cell]], head[:, [cell]])[0])
