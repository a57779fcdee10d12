"""The networks of a run drawn, and what a block at each place must cost, beside the accuracy that the paper published for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fabench import position_cost
from fabench.analysis.network import NetworkCell
from fabench.analysis.published import DETECTION, NOTES, STEREO, retuning_share
from fabench.places import BACKBONES, POSITIONS, parse
from fabench.position_cost import PositionCost
from fabench.positions import Attention
from fabench.report import words
from fabench.report.blocks import Block, Column, NetworkDrawing, Place, Section, Table, Text, Value
from fabench.report.draw.network import shape, told
from fabench.report.readings import Readings
from fabench.report.sections.charts import identifier, short
from fabench.report.sections.naming import NAMES, choice, image, series_of

__all__ = ["section"]

_MOST_SIZES = 4
_FIRST = (Column("input"), Column("position"), Column("map"), Column("n", "count"))
_PREDICTED = (
    Column("n × n map, predicted", "decimal"), Column("DP bytes, predicted", "decimal"), Column("FA bytes, predicted", "decimal"),
    Column("DP MAC, predicted", "mac"), Column("FA MAC, predicted", "mac"), Column("parameters", "count"),
)  # fmt: skip
_ACCURACY = {"detection": "paper's box / mask AP", "stereo": "paper's EPE, px"}
_LEAD = (
    "Where attention can go, by the paper's names, and what a block there must cost. All costs in the drawing and its table are predicted "
    "from sizes alone, in decimal units as the paper's; what was measured stands below. Accuracy is the paper's, from its own training: none was measured here."
)
_COUNTED = (
    "Bytes: what a backward pass needs, without weights, as v1 counts them. Operations: true multiply-accumulates of a forward pass, without the "
    "reprojection, as in the paper's table."
)


def section(readings: Readings) -> Section | None:
    """A drawing and a table for each network that has a cell in the run."""
    blocks: list[Block] = []
    for network in readings.networks.names:
        cells = [cell for cell in readings.networks.cells if cell.case.network == network]
        blocks += [_drawing(readings, network, cells), _table(network, cells), *_notes(network)]
    return Section("network", "Attention in networks", _LEAD, tuple(blocks)) if blocks else None


def _sizes(cells: Sequence[NetworkCell]) -> list[tuple[int, int]]:
    """The inputs of the run, largest first."""
    found = sorted({cell.image for cell in cells}, key=lambda size: -size[0] * size[1])
    return found[:_MOST_SIZES]


def _inserted(cells: Sequence[NetworkCell]) -> tuple[Attention, int, str]:
    """The attention that most cells have, their batch and type."""
    found = Counter((cell.attention[1:3], cell.case.batch, cell.case.dtype) for cell in cells if not cell.bare)
    if not found:
        return Attention(), 1, "float32"
    ((heads, d_k), batch, dtype), _ = found.most_common(1)[0]
    return Attention(d_k=d_k, heads=heads), batch, dtype


def _asked(attention: Attention, batch: int, dtype: str) -> str:
    return f"d_k = {attention.d_k}, {attention.heads} head{'' if attention.heads == 1 else 's'}, {dtype}, batch {batch}"


def _drawing(readings: Readings, network: str, cells: Sequence[NetworkCell]) -> NetworkDrawing:
    size, (attention, batch, dtype) = _sizes(cells)[0], _inserted(cells)
    costs = position_cost.table(network, "all", attention, *size, batch=batch, dtype=dtype)
    variant = next((str(cell.case.backbone) for cell in cells if cell.whole), BACKBONES[network][0])
    series = series_of(readings, cells)
    places = []
    for cost in costs:
        here = [cell for cell in cells if not cell.bare and cost.position in parse(network, str(cell.case.positions))]
        at_size = [cell for cell in here if not cell.whole and cell.image == size and cell.case.pool == 1 and cell.time is None]
        missing = {cell.family: short(cell.missing) for cell in at_size if cell.family == "linear" or cell.holds_map}
        blocks = tuple(one for key, one in series.items() if key is not None and any(cell.attention == key for cell in here))
        places.append(Place(cost, blocks, missing.get("quadratic", ""), missing.get("linear", "")))
    return NetworkDrawing(
        id=identifier("network", network),
        title=f"{NAMES[network]}, input {image(size)}",
        network=network,
        variant=variant,
        height=size[0],
        width=size[1],
        places=tuple(places),
        subtitle=_asked(attention, batch, dtype),
        summary=words.plain(f"{NAMES[network]} with {len(places)} places for attention. " + ". ".join(map(told, places))),
        note=f"Predicted, not measured. {_COUNTED}",
    )


def _table(network: str, cells: Sequence[NetworkCell]) -> Table:
    attention, batch, dtype = _inserted(cells)
    rows: list[tuple[Value, ...]] = []
    for size in _sizes(cells):
        costs = position_cost.table(network, "all", attention, *size, batch=batch, dtype=dtype)
        rows += [_row(size, network, "none", [])]
        rows += [_row(size, network, cost.position.name, [cost]) for cost in costs]
        if network == "detection":
            level = [cost for cost in costs if cost.position.name.startswith("fpn")]
            rows += [_row(size, network, "fpn", level), _row(size, network, "all", costs)]
    columns = (*_FIRST, Column(f"{_ACCURACY[network]}, FA"), Column(f"{_ACCURACY[network]}, non-local"), *_PREDICTED)
    note = (
        f"DP: dot product, FA: factorized; {_asked(attention, batch, dtype)}. {_COUNTED} Accuracy: the paper's own figures, none measured here, "
        "with their source: v1 is arXiv 1812.01243 v1, blog the first author's of December 2019."
    )
    return Table(
        f"network-positions-{network}", f"{NAMES[network]}: predicted costs beside the paper's accuracy", columns, rows, note
    )


def _row(size: tuple[int, int], network: str, positions: str, costs: Sequence[PositionCost]) -> tuple[Value, ...]:
    """One position, or several together: then there is no one map."""
    one = costs[0] if len(costs) == 1 else None
    said = ("linear", "quadratic") if costs else (None, None)
    name = choice(network, positions) + ("" if one is None or one.position.views == 1 else ", each view")
    accuracy = (_accuracy(network, positions, said[0]), _accuracy(network, positions, said[1]) if costs else None)
    return (
        image(size), name, None if one is None else shape((*one.space, one.position.channels)), None if one is None else one.n, *accuracy,
        None if one is None else one.map_bytes, *(sum(values) if costs else None for values in (
            [cost.dot_product_bytes for cost in costs], [cost.factorized_bytes for cost in costs], [cost.dot_product_mac for cost in costs],
            [cost.factorized_mac for cost in costs], [cost.parameters for cost in costs],
        )),
    )  # fmt: skip


def _accuracy(network: str, positions: str, family: str | None) -> str | None:
    """The paper's figure for attention of this family there, with its source; None where it has none."""
    if network == "detection":
        found = [
            f"{one.box:.1f} / {one.mask:.1f} [{one.source}]" if one.box is not None and one.mask is not None else f"out of memory [{one.source}]"
            for one in DETECTION
            if (one.positions, one.family) == (positions, family)
        ]  # fmt: skip
    else:
        found = [
            f"out of memory [{one.source}]" if one.epe_px is None else f"{one.epe_px:g} [{one.source}, {one.what}]"
            for one in STEREO
            if (one.positions, one.family) == (positions, family)
        ]
    return "; ".join(found) or None


def _notes(network: str) -> list[Block]:
    if network == "detection":
        return [Text(("Further accuracy figures of the paper, none measured here:",)), Text(NOTES[network], bullets=True)]
    published, tuned, attended = (one.epe_px for one in STEREO[:3])
    assert published is not None and tuned is not None and attended is not None
    text = (
        f"Of the paper's way from {published:g} to {attended:g} px, {words.show(retuning_share(), 'percent')} is its re-tuned training without any attention "
        f"({tuned:g} px); attention's own part is {tuned - attended:.3f} px. The paper's figures, none measured here."
    )
    layer4 = POSITIONS["stereo"][0]
    passes = f"The block after {layer4.name} runs {layer4.views} times in a call, once for each view; costs are those of one."
    return [Text((text, passes), bullets=True, tone="warning")]
