"""What a report says, whatever the format: a pure function of records and environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fabench.report import words
from fabench.report.blocks import Fact, Report, Section
from fabench.report.readings import Readings, read
from fabench.report.sections import (
    accuracy,
    cells,
    crossovers,
    evidence,
    factors,
    fits,
    hardware,
    heads,
    ledger,
    modules,
    network_cost,
    networks,
    overview,
    paper,
    provenance,
    scaling,
    settings,
)  # fmt: skip
from fabench.schema import Environment, Record

__all__ = ["build", "compose"]

_MOST_FACTS = 6
# In the order in which readers want them.
_SECTIONS: tuple[Callable[[Readings], Section | None], ...] = (
    networks.section, network_cost.section, overview.section, evidence.section, scaling.section, crossovers.section, fits.section, ledger.section, heads.section,
    settings.section, factors.section, hardware.section, modules.section, paper.section, accuracy.section, cells.section,
    cells.failures, provenance.section, provenance.method,
)  # fmt: skip


def build(
    records: Sequence[Record],
    environments: Sequence[Environment],
    title: str = "",
    reproduce: Callable[[Record], str] | None = None,
    warnings: Sequence[str] = (),
) -> Report:
    """The report of these records. `reproduce` gives the command that measures a cell again."""
    return compose(
        read(records, environments, reproduce or words.reproduce_with(environments[0].suite if environments else "")),
        title,
        warnings,
    )


def compose(readings: Readings, title: str = "", warnings: Sequence[str] = ()) -> Report:
    """The report of these readings."""
    said = (*network_cost.sentences(readings), *overview.sentences(readings))
    doubt = words.plain(network_cost.doubt(readings) if readings.networks.overheads else readings.headline.doubt)
    return Report(
        title=words.plain(title) or "fabench report",
        subtitle=_subtitle(readings),
        setting=words.plain(network_cost.main_setting(readings) or readings.main or ""),
        headline=said[0],
        verdict=" ".join(part for part in (*said[1:2], doubt) if part),
        facts=_facts(readings),
        sections=tuple(found for found in (make(readings) for make in _SECTIONS) if found is not None),
        warnings=tuple(words.plain(line) for line in (*evidence.alarms(readings), *warnings)),
    )


def _facts(readings: Readings) -> tuple[Fact, ...]:
    """Those of networks, and then the first of attention's own."""
    ours, others = network_cost.facts(readings), overview.facts(readings)
    return (*ours, *others[: max(0, _MOST_FACTS - len(ours))]) if ours else others


def _subtitle(readings: Readings) -> str:
    """Cells, where and when."""
    fine = dict(cells.counts(readings)).get("ok", 0)
    parts = [f"{len(readings.records):,} cells, {fine:,} ok"]
    for one in readings.environments[:1]:
        device = readings.frame["device"].iloc[0] if len(readings.frame) else ""
        known = one.devices.get(device) or {}
        name = known.get("name") if isinstance(known, dict) else None
        parts += [
            str(name or one.host.get("cpu") or ""),
            one.started_at,
            f"torch {one.packages.get('torch')}" if one.packages.get("torch") else "",
        ]
    return words.plain(" · ".join(part for part in parts if part))
