"""Launch pairs of stored gates as arrays, and what they cost.

Only pairs that have every cell are taken: after its first look a gate measures only cells that are still open, which are not any cells.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from fabench.analysis.estimate import Floats, Ints
from fabench.paired import Paired
from fabench.store import Gate, find_gates, read_gate

__all__ = ["LOG", "Costs", "Launches", "Planted", "complete", "costs", "gates_in", "logged", "planted_in", "wall_s"]

LOG = "gates.jsonl"


@dataclass(frozen=True)
class Launches:
    """`base`, `head`: seconds per call, [launch, cell, round]; `gate`: which gate each launch pair is of, counted from 0, in measured order.

    `disturbed`: rounds in which something else had the processor, [launch, cell], NaN where that is not known.
    """

    cells: tuple[str, ...]
    base: Floats
    head: Floats
    gate: Ints
    disturbed: Floats

    @property
    def ratios(self) -> Floats:
        """Each pair's number, as `fabench.paired` has it: the median over rounds of log(head / base), [cell, launch]."""
        return np.asarray(np.median(np.log(self.head / self.base), axis=2).T)


@dataclass(frozen=True)
class Planted:
    """Launch pairs of one cell with work planted beside head's calls: `asked` share, seconds [launch, round]."""

    cell: str
    asked: float
    base: Floats
    head: Floats

    @property
    def ratios(self) -> Floats:
        """As of `Launches`, [launch]."""
        return np.asarray(np.median(np.log(self.head / self.base), axis=1))

    @property
    def measured(self) -> float:
        """What the pairs measured of the work, as a share."""
        return math.expm1(float(np.median(self.ratios)))


@dataclass(frozen=True)
class Costs:
    """Seconds: of starting both sides of a launch pair, and of each cell on one, both sides together."""

    start_s: float
    cells_s: dict[str, float]

    @property
    def pair_s(self) -> float:
        """A launch pair of all cells."""
        return self.start_s + math.fsum(self.cells_s.values())


def gates_in(folder: Path) -> list[Gate]:
    """The A/A gates stored there, oldest first, without those that broke off.

    Where a `LOG` lies beside, those are all that it does not have; else the newest while it runs, and any that ended before its first look.
    """
    found = [read_gate(path) for path in find_gates(folder) if "-gate-" in path.name]
    if (folder.parent / LOG).exists():
        found = [gate for gate in found if logged(gate) is not None]
    elif found and not _over(found[-1]):
        found.pop()
    return [gate for gate in found if _launched(gate.pairs) >= gate.run.looks[0]]


def _launched(pairs: Sequence[Paired]) -> int:
    return max((one.pair + 1 for one in pairs), default=0)


def _over(gate: Gate) -> bool:
    """Whether the gate stands at a look: every cell has as many pairs as a look asks for, or as it had when it was decided."""
    counts = {one.cell.id: 0 for one in gate.pairs}
    for one in gate.pairs:
        counts[one.cell.id] += one.log_ratio is not None
    return all(count in gate.run.looks for count in counts.values())


def complete(gates: Sequence[Gate]) -> Launches:
    """All launch pairs that have every cell. Raises ValueError where gates are of other cells or nothing is complete."""
    cells = tuple(dict.fromkeys(one.cell.id for one in gates[0].pairs)) if gates else ()
    base, head, numbers, disturbed = [], [], [], []
    for number, gate in enumerate(gates):
        by_pair: dict[int, dict[str, Paired]] = {}
        for one in gate.pairs:
            if one.base_s:
                by_pair.setdefault(one.pair, {})[one.cell.id] = one
        if not all(found.keys() <= set(cells) for found in by_pair.values()):
            raise ValueError(f"{gate.path.name} has other cells than {gates[0].path.name}")
        for _, found in sorted(by_pair.items()):
            if len(found) == len(cells):
                base.append([found[cell].base_s for cell in cells])
                head.append([found[cell].head_s for cell in cells])
                numbers.append(number)
                disturbed.append([math.nan if found[cell].disturbed is None else found[cell].disturbed for cell in cells])
    if not base:
        raise ValueError("there is no launch pair with every cell")
    return Launches(cells, np.array(base), np.array(head), np.array(numbers), np.array(disturbed, dtype=np.float64))


def planted_in(folder: Path) -> list[Planted]:
    """What self-tests stored there with work planted in one cell, by effect; several self-tests' pairs of one cell and effect together."""
    found: dict[tuple[str, float], list[Paired]] = {}
    for path in find_gates(folder):
        gate = read_gate(path)
        if gate.run.slow_down and gate.run.slowed is not None:
            pairs = [one for one in gate.pairs if one.cell.id == gate.run.slowed and one.base_s]
            found.setdefault((gate.run.slowed, gate.run.slow_down), []).extend(pairs)
    return [
        Planted(cell, asked, np.array([one.base_s for one in pairs]), np.array([one.head_s for one in pairs]))
        for (cell, asked), pairs in sorted(found.items())
        if pairs
    ]


def logged(gate: Gate) -> dict[str, Any] | None:
    """What `LOG` beside the results says of the gate: its wall time, what ran beside it; None where there is no such line."""
    log = gate.path.parent.parent / LOG
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return next((entry for entry in map(json.loads, lines) if entry["folder"] == gate.path.name), None)


def wall_s(gate: Gate) -> float:
    """From the command's start to its end where that was logged, else from `gate.json`'s time to the last line's."""
    entry = logged(gate)
    if entry is not None:
        return float(entry["wall_s"])
    return (gate.path / "pairs.jsonl").stat().st_mtime - datetime.fromisoformat(gate.run.environment.started_at).timestamp()


def costs(gates: Sequence[Gate]) -> Costs:
    """Means over all gates: a cell takes as long as the side that was longer at it, and what is left over is starting."""
    cells: dict[str, list[float]] = {}
    left_s, launches = 0.0, 0
    for gate in gates:
        taken = [(one.cell.id, _taken_s(one)) for one in gate.pairs]
        for cell, seconds in taken:
            cells.setdefault(cell, []).append(seconds)
        left_s += wall_s(gate) - math.fsum(seconds for _, seconds in taken)
        launches += _launched(gate.pairs)
    return Costs(left_s / launches, {cell: math.fsum(values) / len(values) for cell, values in cells.items()})


def _taken_s(found: Paired) -> float:
    return max((math.fsum(side.phases_s.values()) for side in (found.base, found.head) if side is not None), default=0.0)
