"""What attention adds to a network that exists: the whole network against the same one without, and its blocks alone beside that.

Two things are measured and kept apart. A whole network (scope "network") holds its blocks together; its overhead is its time over that
of the network without attention, of the same image, variant, batch, type and mode, with a bootstrap interval of the two medians. A block
alone (scope "module" with a `network`) is one position's; their times, each as often as a call of the network passes there, are added up
beside what the network's time grew by: they need not agree, for caches and allocators are shared in the one and not in the other.

Maps are arithmetic, never measurements: `positions.map_bytes` where the implementation holds a map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from fabench import positions
from fabench.analysis.curves import DRAWS, log_draws
from fabench.analysis.estimate import Estimate, interval
from fabench.analysis.frame import case_of
from fabench.places import WITHOUT
from fabench.schema import Case

__all__ = ["FEWEST", "NetworkCell", "Networks", "Overhead", "Setting", "networks"]

FEWEST = 6
# Network, device, dtype, mode, batch: cells that may be compared.
Setting: TypeAlias = tuple[str, str, str, str, int]


@dataclass(frozen=True)
class NetworkCell:
    """One cell: a whole network, or a block alone. `row`: its place in the frame.

    `time` is None where none was measured; then `missing` says why ("out_of_memory: ..."). Its ends are a 95 % interval only where the
    samples are enough (`judged`). `memory_bytes`: what the call took at its peak.
    `predicted_bytes`: what arithmetic predicts of that, for a block alone.
    """

    row: int
    implementation: str
    device: str
    family: str | None
    holds_map: bool
    case: Case
    time: Estimate | None
    samples: int
    memory_bytes: float | None
    predicted_bytes: float | None
    missing: str

    @property
    def judged(self) -> bool:
        """Whether there are samples enough for an interval: of five or fewer no two enclose the median with 95 %."""
        return self.time is not None and self.samples >= FEWEST

    @property
    def whole(self) -> bool:
        """Whether it is a network, and not a block alone."""
        return self.case.scope == "network"

    @property
    def bare(self) -> bool:
        """Whether there is no attention in it."""
        return self.case.positions == WITHOUT

    @property
    def setting(self) -> Setting:
        """What it shares with the cells that it may be compared with, beside image and variant."""
        return (str(self.case.network), self.device, self.case.dtype, self.case.mode, self.case.batch)

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of what the network gets."""
        height, width = (int(side) for side in str(self.case.space if self.whole else self.case.image).split("x"))
        return height, width

    @property
    def attention(self) -> tuple[str, int, int, int]:
        """Implementation, heads, d_k over all heads, pooling: what is inserted."""
        return (self.implementation, self.case.heads, self.case.heads * self.case.d_k, self.case.pool or 1)

    @cached_property
    def maps(self) -> tuple[tuple[str, int], ...]:
        """Each position with the bytes of its map, predicted, largest first; none where the implementation holds no map."""
        if not self.holds_map or self.bare:
            return ()
        blocks = positions.blocks(self.case) if self.whole else ()
        found = [(one.name, positions.map_bytes(block)) for one, block in blocks]
        if not self.whole:
            found = [(str(self.case.positions), positions.map_bytes(self.case))]
        return tuple(sorted(found, key=lambda one: -one[1]))


@dataclass(frozen=True, slots=True)
class Overhead:
    """A whole network with attention beside the same without. `ratio`, `added_s`: None where one of the two has no time.

    `span`: the ratio with its interval, None where one of the two has too few samples for one.
    `blocks_s`: the blocks alone, added up as often as each is passed; None where not all of them were measured.
    """

    cell: NetworkCell
    without: NetworkCell | None
    ratio: float | None
    span: Estimate | None
    added_s: float | None
    added_bytes: float | None
    blocks_s: float | None


@dataclass(frozen=True)
class Networks:
    """All cells of networks in the order of the records, and the overhead of each whole network with attention."""

    cells: tuple[NetworkCell, ...] = ()
    overheads: tuple[Overhead, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The networks that occur, in order of appearance."""
        return tuple(dict.fromkeys(str(cell.case.network) for cell in self.cells))


def networks(frame: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0) -> Networks:
    """What the frame says of networks; nothing where it has none. A cell that was measured twice counts with its later record."""
    if "network" not in frame:
        return Networks()
    rows = frame[frame["network"].notna()]
    found = {}
    for row, values in zip(np.flatnonzero(frame["network"].notna()).tolist(), rows.to_dict("records"), strict=True):
        found[str(values["cell_id"])] = _cell(row, values)
    cells = tuple(found.values())
    samples = frame["samples_s"].tolist()
    return Networks(cells, tuple(_overheads(cells, samples, draws, np.random.default_rng(seed))))


def _cell(row: int, values: Mapping[Any, Any]) -> NetworkCell:
    case = case_of({str(name): value for name, value in values.items()})
    time = Estimate(*(float(values[name]) for name in ("time_s", "time_low_s", "time_high_s")))
    measured = values["status"] == "ok" and math.isfinite(time.value)
    why = values["reason"] if values["status"] == "ok" else f"{values['status']}: {values['reason']}"
    return NetworkCell(
        row=row,
        implementation=str(values["implementation"]),
        device=str(values["device"]),
        family=values["family"],
        holds_map=values["memory_order"] == 2,
        case=case,
        time=time if measured else None,
        samples=int(values["samples"]),
        memory_bytes=_known(values["delta_bytes"]),
        predicted_bytes=_known(values["predicted_delta_bytes"]),
        missing="" if measured else str(why or "no time measured"),
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) and value > 0 else None


def _overheads(
    cells: Sequence[NetworkCell], samples: Sequence[tuple[float, ...]], draws: int, rng: np.random.Generator
) -> list[Overhead]:
    bare = {_same_network(cell): cell for cell in cells if cell.whole and cell.bare}
    alone = {(cell.implementation, cell.device, cell.case): cell for cell in cells if not cell.whole}
    found = []
    for cell in cells:
        if not cell.whole or cell.bare:
            continue
        without = bare.get(_same_network(cell))
        old, new = None if without is None else without.time, cell.time
        found.append(
            Overhead(
                cell,
                without,
                ratio=None if old is None or new is None else new.value / old.value,
                span=None if without is None else _span(cell, without, samples, draws, rng),
                added_s=None if old is None or new is None else new.value - old.value,
                added_bytes=_less(cell.memory_bytes, None if without is None else without.memory_bytes),
                blocks_s=_together(cell, alone),
            )
        )
    return found


def _same_network(cell: NetworkCell) -> tuple[object, ...]:
    return (*cell.setting, cell.case.backbone, cell.image)


def _less(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def _span(
    cell: NetworkCell, without: NetworkCell, samples: Sequence[tuple[float, ...]], draws: int, rng: np.random.Generator
) -> Estimate | None:
    if cell.time is None or without.time is None or not (cell.judged and without.judged):
        return None
    ratio = cell.time.value / without.time.value
    drawn = log_draws(samples, [[cell.row], [without.row]], draws, rng)[:, 0]
    low, high = (float(np.exp(edge)) for edge in interval(drawn[0] - drawn[1]))
    return Estimate(ratio, min(low, ratio), max(high, ratio))


def _together(cell: NetworkCell, alone: Mapping[tuple[str, str, Case], NetworkCell]) -> float | None:
    """Seconds of all blocks of a network, each measured by itself, times how often a call passes there."""
    total = 0.0
    for position, case in positions.blocks(cell.case):
        block = alone.get((cell.implementation, cell.device, case))
        if block is None or block.time is None:
            return None
        total += position.views * block.time.value
    return total
