"""Networks as measured: whole ones beside the same without attention, blocks alone apart from that, and OUT OF MEMORY where a bar is missing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from fabench import position_cost
from fabench.analysis.network import NetworkCell, Overhead, Setting
from fabench.places import POSITIONS, parse
from fabench.report import words
from fabench.report.blocks import Bar, BarChart, BarGroup, Block, Column, Fact, Section, Series, Table, Text, Value
from fabench.report.readings import Readings
from fabench.report.sections.charts import identifier, short
from fabench.report.sections.naming import NAMES, block_names, choice, image, map_of, series_of, setting

__all__ = ["doubt", "facts", "main_setting", "section", "sentences"]

_MOST_SHOWN, _MOST_GROUPS = 4, 9
_WHOLE = (
    Column("network"), Column("input"), Column("positions"), Column("implementation"), Column("status", "status"), Column("time", "duration"),
    Column("without attention", "duration"), Column("over none", "ratio"), Column("more", "duration"), Column("blocks alone, together", "duration"),
    Column("peak memory", "bytes"), Column("more than none", "bytes"), Column("blocks at least, predicted", "bytes"), Column("largest map, predicted", "decimal"), Column("at"), Column("setting"),
)  # fmt: skip
_ALONE = (
    Column("network"), Column("position"), Column("input"), Column("implementation"), Column("n", "count"), Column("status", "status"), Column("time", "duration"),
    Column("peak memory", "bytes"), Column("predicted", "bytes"), Column("map, predicted", "decimal"), Column("setting"),
)  # fmt: skip
_LEAD = (
    "The whole network is what a user waits for; a block alone is what attention takes of that. They are measured apart and never added "
    "to each other. Where memory did not suffice the bar says so, with the map that arithmetic predicts."
)


def section(readings: Readings) -> Section | None:
    """Bars for each network, setting and input, then all of it as tables."""
    cells = readings.networks.cells
    if not cells:
        return None
    blocks: list[Block] = []
    said = sentences(readings)
    if said:
        blocks.append(Text(said, bullets=True))
    shown = _shown(cells)
    for where, variant, size in shown[:_MOST_SHOWN]:
        whole = [one for one in cells if one.whole and (one.setting, one.case.backbone, one.image) == (where, variant, size)]
        alone = [one for one in cells if not one.whole and (one.setting, one.image) == (where, size)]
        blocks += _charts(readings, where, variant, size, whole, alone)
    if len(shown) > _MOST_SHOWN:
        blocks.append(Text((f"{len(shown) - _MOST_SHOWN} further inputs and settings are in the tables.",), tone="note"))
    blocks += _tables(readings)
    return Section("network-cost", "Networks: time and memory", _LEAD, tuple(blocks))


def _shown(cells: Sequence[NetworkCell]) -> list[tuple[Setting, str | None, tuple[int, int]]]:
    """What gets bars: every setting, variant and input of a whole network, the largest inputs first; blocks alone join theirs."""
    found = dict.fromkeys((one.setting, one.case.backbone, one.image) for one in cells if one.whole)
    joined = {(where, size) for where, _, size in found}
    found |= dict.fromkeys(
        (one.setting, None, one.image) for one in cells if not one.whole and (one.setting, one.image) not in joined
    )
    return sorted(found, key=lambda one: -one[2][0] * one[2][1])


def _charts(
    readings: Readings, where: Setting, variant: str | None, size: tuple[int, int], whole: Sequence[NetworkCell], alone: Sequence[NetworkCell]
) -> list[Block]:  # fmt: skip
    series = series_of(readings, [*whole, *alone])
    ratios = {id(one.cell): one for one in readings.networks.overheads}
    blocks: list[Block] = []
    for cells, quantity in itertools.product((whole, alone), ("time", "memory")):
        groups = [
            BarGroup(
                title,
                tuple(_bar(one, series[None if one.bare else one.attention], quantity, ratios.get(id(one))) for one in part),
            )
            for title, part in _groups(cells)
        ]
        if not groups or not any(bar.value or bar.missing for group in groups for bar in group.bars):
            continue
        blocks.append(_chart(where, variant, size, groups, quantity, is_whole=cells is whole))
    return blocks


def _chart(
    where: Setting, variant: str | None, size: tuple[int, int], groups: Sequence[BarGroup], quantity: str, *, is_whole: bool
) -> BarChart:
    what = "Whole network" if is_whole else "Block alone"
    name = NAMES[where[0]] + (f", {variant}" if is_whole and variant else "")
    title = f"{what}: {'time per call' if quantity == 'time' else 'peak memory of the call'}"
    note = {
        (
            True,
            "time",
        ): "Over each value: the ratio to no attention. Whiskers: 95 % interval of the median, from six samples on, where it is wide enough to be seen.",
        (True, "memory"): "What the call took at its peak, weights and input not counted.",
        (False, "time"): "One block by itself, on the map of its position.",
        (False, "memory"): "Hollow: what the formula predicts for an eager implementation.",
    }[is_whole, quantity]
    left = len(groups) - _MOST_GROUPS
    return BarChart(
        id=identifier("network", "whole" if is_whole else "alone", quantity, *where, variant or "", *size),
        title=title,
        subtitle=words.plain(f"{name}, input {image(size)} · {setting(where)}"),
        x_label="positions with attention" if is_whole else "position",
        y_label="Time per call" if quantity == "time" else "Peak memory of the call",
        y_kind="duration" if quantity == "time" else "bytes",
        groups=tuple(groups[:_MOST_GROUPS]),
        summary=words.plain(f"{title}, {name}, input {image(size)}. " + " ".join(bar.label + "." for group in groups for bar in group.bars)),
        note=note + (f" {left} more choices of positions are in the table." if left > 0 else ""),
        linear=is_whole,
    )  # fmt: skip


def _groups(cells: Sequence[NetworkCell]) -> list[tuple[str, list[NetworkCell]]]:
    """Cells by their choice of positions: none, then few before many, each in the order of the network."""
    found: dict[str, list[NetworkCell]] = {}
    for cell in cells:
        found.setdefault(str(cell.case.positions), []).append(cell)
    network = str(cells[0].case.network) if cells else ""

    def order(word: str) -> tuple[int, list[int]]:
        every = POSITIONS[network]
        chosen = parse(network, word)
        return len(chosen), [every.index(one) for one in chosen]

    return [(choice(network, word), found[word]) for word in sorted(found, key=order)]


def _bar(cell: NetworkCell, series: Series, quantity: str, overhead: Overhead | None) -> Bar:
    where = f"{series.name}, {choice(str(cell.case.network), str(cell.case.positions))}, {image(cell.image)}"
    if quantity == "memory":
        value, expected = cell.memory_bytes, cell.predicted_bytes
        missing = "" if value else short(cell.missing) if cell.missing else "NOT MEASURED"
        label = f"{where}: {words.show(value, 'bytes') if value else cell.missing or 'not measured'}"
        label += "" if expected is None else f", predicted {words.show(expected, 'bytes')}"
        return Bar(series, value, expected, missing, words.plain(label), above="" if value else map_of(cell))
    time = cell.time
    if time is None:
        told = ", ".join(text for text in (f"{where}: {cell.missing}", map_of(cell)) if text)
        return Bar(series, None, None, short(cell.missing), words.plain(told), above=map_of(cell))
    ratio = None if overhead is None else overhead.ratio
    label = f"{where}: {words.show(_time(cell), 'duration')}{_counted(cell)}"
    label += "" if overhead is None or ratio is None else f", {words.show(overhead.span or ratio, 'ratio')} of no attention"
    above = "" if ratio is None else words.show(ratio, "ratio")
    low, high = (time.low, time.high) if cell.judged else (None, None)
    return Bar(series, time.value, None, "", words.plain(label), low, high, above)


def _time(cell: NetworkCell) -> Value:
    """With its interval, where there is one."""
    return cell.time if cell.time is None or cell.judged else cell.time.value


def _counted(cell: NetworkCell) -> str:
    return "" if cell.judged else f" ({cell.samples} sample{'' if cell.samples == 1 else 's'}, too few for an interval)"


def _status(cell: NetworkCell) -> str:
    return cell.missing.partition(":")[0] or "ok"


def _tables(readings: Readings) -> list[Block]:
    cells, names = readings.networks.cells, block_names(readings.networks.cells)
    overheads = {id(one.cell): one for one in readings.networks.overheads}
    whole: list[tuple[Value, ...]] = []
    alone: list[tuple[Value, ...]] = []
    for cell in cells:
        network, name = str(cell.case.network), "none" if cell.bare else names[cell.attention]
        place, size = cell.maps[0] if cell.maps else (None, None)
        if not cell.whole:
            figures = (cell.case.n, _status(cell), _time(cell), cell.memory_bytes, cell.predicted_bytes, size)
            alone.append((NAMES[network], cell.case.positions, image(cell.image), name, *figures, setting(cell.setting)))
            continue
        found = overheads.get(id(cell))
        bare = None if found is None or found.without is None else _time(found.without)
        more = (None,) * 3 if found is None else (found.span or found.ratio, found.added_s, found.blocks_s)
        figures_ = (
            _time(cell),
            bare,
            *more,
            cell.memory_bytes,
            None if found is None else found.added_bytes,
            _least(readings, cell),
            size,
            place,
        )
        called = f"{NAMES[network]}, {cell.case.backbone}"
        chosen = choice(network, str(cell.case.positions))
        whole.append((called, image(cell.image), chosen, name, _status(cell), *figures_, setting(cell.setting)))
    blocks: list[Block] = []
    if whole:
        note = (
            "Blocks alone, together: each block's own time, times how often a call passes there; it need not equal what the network's time grew "
            "by. Blocks at least: what they hold at the call's peak; the network may reach its own peak elsewhere."
        )
        blocks.append(Table("network-overheads", "Whole networks, with and without attention", _WHOLE, whole, note))
    if alone:
        note = "Map: predicted, where the implementation holds one; an eager dot product holds two of them at its peak."
        blocks.append(Table("network-blocks", "Blocks alone", _ALONE, alone, note))
    return blocks


def _least(readings: Readings, cell: NetworkCell) -> int | None:
    """What the blocks of a network take at least at the call's peak, by arithmetic."""
    return position_cost.of_network(cell.case, *readings.orders[cell.implementation]).working_bytes or None


def _main(readings: Readings, network: str) -> list[Overhead]:
    """What the headline is about: the largest input with an interval, most positions, of the setting that comes first; the plainest of each kind."""
    found = [one for one in readings.networks.overheads if one.cell.case.network == network]
    if not found:
        return []

    first = found[0].cell
    alike = [one for one in found if (one.cell.setting, one.cell.case.backbone) == (first.setting, first.case.backbone)]
    judged = {(one.cell.image, one.cell.case.positions) for one in alike if one.span is not None}

    def rank(one: Overhead) -> tuple[bool, int, int]:
        case = one.cell.case
        return (one.cell.image, case.positions) in judged, case.n, len(parse(network, str(case.positions)))

    top = max(rank(one) for one in alike)
    places = next(one.cell.case.positions for one in alike if rank(one) == top)
    best = sorted(
        (one for one in alike if rank(one) == top and one.cell.case.positions == places), key=lambda one: one.cell.attention[1:]
    )
    by_family = {(one.cell.family, one.cell.holds_map): one for one in reversed(best)}
    return sorted(by_family.values(), key=lambda one: (one.ratio is None, one.cell.family != "linear"))


def sentences(readings: Readings) -> tuple[str, ...]:
    """One for each network: what attention adds at its largest input, and what did not fit."""
    names = block_names(readings.networks.cells)
    said = []
    for network in readings.networks.names:
        found = _main(readings, network)
        if not found:
            continue
        cell = found[0].cell
        chosen = choice(network, str(cell.case.positions))
        said.append(
            words.plain(
                f"{NAMES[network]} at {image(cell.image)}: "
                + "; ".join(_told(one, names[one.cell.attention], chosen) for one in found)
                + "."
            )
        )
    return tuple(said)


def _told(one: Overhead, name: str, chosen: str) -> str:
    cell = one.cell
    if cell.time is None:
        return f"{name} there is {words.status_words(_status(cell))}" + (f" ({map_of(cell)})" if cell.maps else "")
    if one.ratio is None:
        return f"{name} attention at {chosen} takes {words.show(_time(cell), 'duration')}, with nothing to compare it with"
    return f"{name} attention at {chosen} takes {words.show(one.span or one.ratio, 'ratio')} the time of none"


def doubt(readings: Readings) -> str:
    """What the evidence says against the times of the headline; "" for nothing."""
    said = [one for network in readings.networks.names for one in _main(readings, network)]
    cells = {id(cell): cell for one in said for cell in (one.cell, one.without) if cell is not None and cell.time is not None}
    grades = readings.frame["grade"].tolist()
    poor = sum(grades[cell.row] in ("C", "D") for cell in cells.values())
    few = sum(not cell.judged for cell in cells.values())
    parts = [f"{poor} {'is' if poor == 1 else 'are'} graded C or D"] if poor else []
    parts += [f"{few} {'has' if few == 1 else 'have'} too few samples for an interval"] if few else []
    return f"Of the {len(cells)} times of networks behind this, {' and '.join(parts)}." if parts else ""


def main_setting(readings: Readings) -> str:
    """The setting of the headline."""
    found = [one.cell for network in readings.networks.names for one in _main(readings, network)[:1]]
    return "; ".join(dict.fromkeys(f"{cell.case.backbone} · {setting(cell.setting)}" for cell in found))


def facts(readings: Readings) -> tuple[Fact, ...]:
    """The same as key numbers."""
    names = block_names(readings.networks.cells)
    found = []
    for network in readings.networks.names:
        for one in _main(readings, network):
            cell, family = one.cell, one.cell.family or ""
            where = (
                f"{NAMES[network]} at {image(cell.image)}, {names[cell.attention]} at {choice(network, str(cell.case.positions))}"
            )
            if one.ratio is not None:
                found.append(Fact(words.show(one.ratio, "ratio"), words.plain(f"the time of none: {where}"), family))
            elif cell.time is None:
                found.append(Fact(words.status_words(_status(cell)), words.plain(f"{where}; {map_of(cell)}".strip("; ")), family))
    return tuple(found)
