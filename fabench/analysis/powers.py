"""Exponents of two sides beside what implementations declare: memory's of one launch a side, time's as one number a launch.

Worse is a series whose head grows faster than declared, its interval above the declared power by more than `MARGIN`, where base's was not.
Memory is exact, so its interval holds lack of fit alone. An exponent of time has a spread between launches that no single fit knows:
the launches' exponents are compared as the cells' times are, and with as few launches there is no verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fabench.analysis.curves import Quantity
from fabench.analysis.estimate import Estimate
from fabench.analysis.frame import tidy
from fabench.analysis.launches import Contrast, Launch
from fabench.analysis.scaling import Exponent, exponents

__all__ = ["MARGIN", "PowerChange", "TimePowers", "declared", "memory_changes", "memory_exponents", "time_changes", "time_powers"]

MARGIN = 0.1
# Intervals of single launches are not used, so few draws do.
_DRAWS = 20


@dataclass(frozen=True, slots=True)
class PowerChange:
    """One series. `declared`: the power of n that the implementation states. `base` is None where base has no such exponent."""

    implementation: str
    setting: str
    quantity: Quantity
    declared: int
    base: Estimate | None
    head: Estimate
    worse: bool


@dataclass(frozen=True, slots=True)
class TimePowers:
    """A series' exponents of time, a launch each."""

    implementation: str
    setting: str
    declared: int
    base: tuple[float, ...]
    head: tuple[float, ...]


def _fits(launch: Launch, cells: Collection[str], quantity: Quantity) -> dict[tuple[str, str], Exponent]:
    """By implementation and setting, of these cells alone: names of settings depend on all cells that are read together."""
    records = [record for cell, record in launch.records.items() if cell in cells]
    frame = tidy(records, (launch.environment,))
    found = exponents(frame, quantity, _DRAWS)
    return {(one.implementation, one.setting): one for one in found if one.estimate is not None}


def declared(launches: Sequence[Launch], quantity: Quantity) -> dict[str, int]:
    """The power of n that each implementation states for the quantity."""
    found: dict[str, int] = {}
    for launch in launches:
        for record in launch.records.values():
            order = record.time_order if quantity == "time" else record.memory_order
            if order is not None:
                found[record.cell.implementation] = order
    return found


def memory_exponents(launch: Launch) -> dict[tuple[str, str], Estimate]:
    """The exponents of memory of one launch, by implementation and setting."""
    fits = _fits(launch, launch.records, "memory")
    return {key: one.estimate for key, one in fits.items() if one.estimate is not None}


def memory_changes(base: Sequence[Launch], head: Sequence[Launch], cells: Collection[str]) -> list[PowerChange]:
    """Of the last launch of each side, over the cells that both have."""
    before, after = _fits(base[-1], cells, "memory"), _fits(head[-1], cells, "memory")
    orders = declared(head, "memory")
    result = []
    for (name, setting), one in after.items():
        known = before.get((name, setting))
        old = None if known is None else known.estimate
        if one.estimate is not None and name in orders:
            result.append(_change(name, setting, "memory", orders[name], old, one.estimate))
    return result


def _change(name: str, setting: str, quantity: Quantity, order: int, base: Estimate | None, head: Estimate) -> PowerChange:
    beyond = head.low > order + MARGIN and not (base is not None and base.low > order + MARGIN)
    return PowerChange(name, setting, quantity, order, base, head, beyond)


def time_powers(base: Sequence[Launch], head: Sequence[Launch], cells: Collection[str], least: int) -> list[TimePowers]:
    """Those series that have an exponent in `least` launches of each side."""
    if min(len(base), len(head)) < least:
        return []
    sides = [[_fits(launch, cells, "time") for launch in side] for side in (base, head)]
    orders = declared(head, "time")
    result = []
    for name, setting in sides[1][0]:
        before, after = (
            tuple(
                one.estimate.value for fits in side if (one := fits.get((name, setting))) is not None and one.estimate is not None
            )
            for side in sides
        )
        if name in orders and min(len(before), len(after)) >= least:
            result.append(TimePowers(name, setting, orders[name], before, after))
    return result


def time_changes(found: Sequence[TimePowers], tested: Sequence[Contrast]) -> list[PowerChange]:
    """What the tests say of them: worse only what also grew from base to head after correction."""
    result = []
    for one, contrast in zip(found, tested, strict=True):
        change = _change(one.implementation, one.setting, "time", one.declared, _mean(one.base), _mean(one.head))
        result.append(change if contrast.more or not change.worse else _as_before(change))
    return result


def _as_before(one: PowerChange) -> PowerChange:
    return PowerChange(one.implementation, one.setting, one.quantity, one.declared, one.base, one.head, False)


def _mean(values: Sequence[float]) -> Estimate:
    """Mean with Student's 95 % interval."""
    middle, half = float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Estimate(middle, middle - half, middle + half)
