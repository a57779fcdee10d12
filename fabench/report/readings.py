"""Everything that is read out of the records, once, for all sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from fabench.analysis.capacity import Capacity, capacities
from fabench.analysis.crossover import Crossover, crossovers
from fabench.analysis.curves import Curve, curves
from fabench.analysis.evidence import Evidence
from fabench.analysis.frame import assess_all, tidy
from fabench.analysis.headline import Headline, headline
from fabench.analysis.network import Networks, networks
from fabench.analysis.paper import PaperRow, compare
from fabench.analysis.roofline import RooflinePoint, roofline
from fabench.analysis.scaling import Decomposition, Exponent, decompose, exponents
from fabench.analysis.speedup import Speedup, speedups
from fabench.report.style import assign
from fabench.schema import Environment, Record

__all__ = ["Readings", "read"]


@dataclass(frozen=True)
class Readings:
    """Records, environments, and what the analyses made of them. `main` is the setting of the first screen, None without records.

    `evidence` is that of each record. `styles` gives every implementation its look. `orders` are the declared powers of n: (time, memory).
    `networks`: whole networks, in which n has another meaning, so that no other reading takes part in them, and their blocks alone.
    """

    records: Sequence[Record]
    environments: Sequence[Environment]
    evidence: Sequence[Evidence]
    frame: pd.DataFrame
    headline: Headline
    main: str | None
    styles: Mapping[str, int]
    families: Mapping[str, str | None]
    orders: Mapping[str, tuple[int | None, int | None]]
    exponents: Sequence[Exponent]
    decompositions: Sequence[Decomposition]
    crossovers: Sequence[Crossover]
    memory_crossovers: Sequence[Crossover]
    capacities: Sequence[Capacity]
    speedups: Sequence[Speedup]
    across: Sequence[Speedup]
    roofline: Sequence[RooflinePoint]
    paper: Sequence[PaperRow]
    networks: Networks
    reproduce: Callable[[Record], str]

    def curves_of(self, setting: str, quantity: str) -> list[Curve]:
        """The curves of one setting, the main pair first."""
        part = self.frame[self.frame["setting"] == setting]
        found = curves(part, "memory" if quantity == "memory" else "time")
        pair = (self.headline.quadratic, self.headline.linear)
        return sorted(found, key=lambda curve: (curve.implementation not in pair, not curve.n, self.styles[curve.implementation]))

    def environment_of(self, device: str) -> Environment | None:
        """The first environment that knows the device."""
        names = (device, device.partition(":")[0])
        return next((found for found in self.environments if any(name in found.devices for name in names)), None)


def read(records: Sequence[Record], environments: Sequence[Environment], reproduce: Callable[[Record], str]) -> Readings:
    """All readings of the records."""
    evidence = assess_all(records, environments)
    frame = tidy(records, environments, evidence)
    attention = frame[frame["scope"] != "network"].reset_index(drop=True)
    said = headline(attention)
    orders = _orders(records)
    families = _families(orders, (said.quadratic, said.linear))
    return Readings(
        records=records,
        environments=environments,
        evidence=evidence,
        frame=frame,
        headline=said,
        main=said.setting or _busiest(attention),
        styles=assign(families),
        families=families,
        orders=orders,
        exponents=_agreed([*exponents(attention, "time"), *exponents(attention, "memory")], said.exponents),
        decompositions=decompose(attention),
        crossovers=_agreed(crossovers(attention), [one for one in (said.crossover, *said.others) if one]),
        memory_crossovers=crossovers(attention, "memory"),
        capacities=capacities(attention),
        speedups=_agreed(speedups(attention), [said.speedup] if said.speedup else []),
        across=_agreed(
            [found for found in speedups(attention, other_function=True) if not found.same_function],
            [said.speedup] if said.speedup else [],
        ),
        roofline=_roofline(attention, environments),
        paper=compare(attention),
        networks=networks(frame),
        reproduce=reproduce,
    )


_Found = TypeVar("_Found", Exponent, Crossover, Speedup)
_IDENTITY = ("first", "second", "implementation", "baseline", "setting", "quantity", "n")


def _agreed(found: Sequence[_Found], said: Sequence[_Found]) -> list[_Found]:
    """`found`, with what the headline said in its place: its bootstrap drew other numbers, and a reader must meet one interval only."""
    known = {_identity(one): one for one in said}
    return [known.get(_identity(one), one) for one in found]


def _identity(found: object) -> tuple[object, ...]:
    """Names, setting, quantity; for a factor also its n."""
    values = (getattr(found, name, None) for name in _IDENTITY)
    return tuple(value for value in values if isinstance(value, (str, int)))


def _orders(records: Sequence[Record]) -> dict[str, tuple[int | None, int | None]]:
    found: dict[str, tuple[int | None, int | None]] = {}
    for record in records:
        name = record.cell.implementation
        if record.time_order is not None or name not in found:
            found[name] = (record.time_order, record.memory_order)
    return found


def _families(orders: Mapping[str, tuple[int | None, int | None]], first: Sequence[str | None]) -> dict[str, str | None]:
    """Families by name: the headline's pair first, which gets the plainest looks, then by name."""
    names = [name for name in first if name in orders] + sorted(name for name in orders if name not in first)
    return {name: {2: "quadratic", 1: "linear"}.get(orders[name][0] or 0) for name in names if name is not None}


def _busiest(frame: pd.DataFrame) -> str | None:
    """The setting with most times; the first of equals."""
    if not len(frame):
        return None
    ran = frame[frame["status"] == "ok"]
    counts = (ran if len(ran) else frame)["setting"].value_counts(sort=False)
    return str(counts.idxmax())


def _roofline(frame: pd.DataFrame, environments: Sequence[Environment]) -> list[RooflinePoint]:
    """Each device's cells against the first environment that knows it."""
    found: list[RooflinePoint] = []
    left = frame
    for environment in environments:
        known = (
            left["device"].map(lambda name, seen=environment.devices: name in seen or name.partition(":")[0] in seen).astype(bool)
        )
        found += roofline(left[known], environment)
        left = left[~known]
    return found
