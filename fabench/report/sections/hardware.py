"""Against the hardware: the roofline with peaks measured on the same device, or else its data sheet's, and what is impossible."""

from __future__ import annotations

from collections.abc import Sequence

from fabench.analysis.physics import facts_of
from fabench.analysis.roofline import RooflinePoint
from fabench.report import words
from fabench.report.blocks import Block, Column, Line, Point, Roofline, Section, Text, Value
from fabench.report.readings import Readings
from fabench.report.sections.charts import series
from fabench.report.sections.order import main_first, tabulate

__all__ = ["section"]

_COLUMNS = (
    Column("implementation"), Column("n", "count"), Column("verdict"), Column("least traffic", "bandwidth"), Column("of copy peak", "percent"), Column("rate", "flops"),
    Column("of product peak", "percent"), Column("FLOP", "text"), Column("FLOP/B", "number"), Column("limited by"),
    Column("setting"),
)  # fmt: skip


def section(readings: Readings) -> Section | None:
    """A chart of the main setting, and the best cell of each series in a table."""
    if not readings.roofline:
        return None
    blocks: list[Block] = []
    chart = _chart(readings)
    if chart is not None:
        blocks.append(chart)
    else:
        blocks.append(
            Text(
                ("No roofline is drawn: the environment holds no peaks for the main setting's device and dtype.",),
                tone="note",
            )
        )
    rows = [_row(one) for one in main_first(readings, _best(readings))]
    impossible = sum(one.impossible for one in readings.roofline)
    note = "The best cell of each series, and every impossible one. " + (
        f"{impossible:,} cells exceed what is possible: a time or a count must be wrong. Their rates stand here only."
        if impossible
        else "No cell exceeds what is possible."
    )
    blocks.append(tabulate("roofline", "Percent of peaks", _COLUMNS, rows, note))
    lead = "Traffic is the least there is (inputs read once, output written once). Across algorithms compare time, never FLOP/s."
    return Section("roofline", "Roofline", lead, tuple(blocks))


def _share(found: RooflinePoint) -> float:
    return max(found.copy_share or 0.0, found.product_share or 0.0)


def _best(readings: Readings) -> list[RooflinePoint]:
    best: dict[tuple[str, str], RooflinePoint] = {}
    for one in (point for point in readings.roofline if not point.impossible):
        key = (one.implementation, one.setting)
        if key not in best or _share(one) > _share(best[key]):
            best[key] = one
    chosen = {id(one) for one in best.values()}
    return [one for one in readings.roofline if id(one) in chosen or one.impossible]


def _reached(found: Sequence[RooflinePoint]) -> str:
    shares = [_share(one) for one in found if not one.impossible]
    return f"best {words.show(max(shares), 'percent')} of a peak" if shares else "IMPOSSIBLE throughout"


def _row(found: RooflinePoint) -> tuple[Value, ...]:
    verdict = f"IMPOSSIBLE: {found.note}" if found.impossible else found.note or "plausible"
    rates = (found.bytes_per_s, found.copy_share, found.flop_per_s, found.product_share, found.flop_source, found.intensity)
    return (found.implementation, found.n, verdict, *rates, found.bound or "unknown", found.setting)


def _chart(readings: Readings) -> Roofline | None:
    here = [one for one in readings.roofline if one.setting == readings.main]
    if not here:
        return None
    facts = facts_of(readings.environments, here[0].device)
    copy, product = facts.copy, facts.product(here[0].dtype, "core")
    if copy is None or product is None:
        return None
    by_name: dict[str, list[RooflinePoint]] = {}
    for one in here:
        by_name.setdefault(one.implementation, []).append(one)
    names = sorted(by_name, key=lambda name: readings.styles[name])[:8]
    lines = tuple(
        Line(
            series(readings, name, _reached(by_name[name])),
            tuple(map(_point, by_name[name])),
        )
        for name in names
    )
    return Roofline(
        id="roofline-main", title="Roofline", subtitle=readings.main or "", bytes_per_s=copy.per_s, flop_per_s=product.per_s, lines=lines,
        impossible=frozenset(_point(one).label for one in here if one.impossible),
        summary="Achieved FLOP per second over FLOP per byte, under the device's peaks. " + " ".join(f"{line.series.name}: {line.series.detail}." for line in lines),
        note=f"Points of a line go along n. The roof: {copy.source} copy bandwidth and {product.source} matrix product.",
    )  # fmt: skip


def _point(found: RooflinePoint) -> Point:
    rate, share = words.show(found.flop_per_s, "flops"), words.show(_share(found), "percent")
    label = (
        f"{found.implementation}, n = {found.n:,}: {rate}, {found.intensity:.3g} FLOP/B, {share} of the nearest peak {found.note}"
    )
    return Point(found.intensity, found.flop_per_s, label=words.plain(label.strip()))
