"""The loop of a gate: launch pairs until every cell is decided, the looks are used up, or the time is.

Each pair starts both sides anew: what one launch does to a process (where its code and data lie, what malloc does) is part of the noise,
and children of one fork server share it. Only cells that are still open are measured again. How to decide is told from outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from fabench.errors import WorkerError
from fabench.paired import Paired
from fabench.schema import Cell, Job, Measure
from fabench.sweep.duet import Side, duet

__all__ = ["MOST_FAILURES", "Decide", "gate"]

# A cell that could not be measured in so many pairs is given up: once may be an accident.
MOST_FAILURES = 2

Sides = Callable[[], tuple[Side, Side]]
Decide = Callable[[Mapping[str, Sequence[float]]], set[str]]


class _Cell:
    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.ratios: list[float] = []
        self.failures = 0

    def add(self, found: Paired) -> None:
        if found.log_ratio is None:
            self.failures += 1
        else:
            self.ratios.append(found.log_ratio)


def gate(
    cells: Sequence[Cell],
    sides: Sides,
    measure: Measure,
    looks: Sequence[int],
    decide: Decide,
    keep: Callable[[Paired], None],
    tell: Callable[[str], None],
    *,
    seed: int,
    cell_s: float,
    limit_bytes: int | None = None,
    total_s: float | None = None,
    done: Sequence[Paired] = (),
) -> str | None:
    """Runs launch pairs of `cells`; each `Paired` is kept (stored) at once. `decide` gives the cells that are still open at a look.

    `limit_bytes` is what each side's cell may hold. `done`: pairs of an interrupted gate, which are not measured again. Returns why it
    ended before everything was decided, or None.
    """
    states = {cell.id: _Cell(cell) for cell in cells}
    number = 0
    for found in done:
        if found.cell.id in states:
            states[found.cell.id].add(found)
            number = max(number, found.pair + 1)
    start = time.monotonic()
    open_ = set(states)
    for look in looks:
        while waiting := [state for state in states.values() if state.cell.id in open_ and _lacks(state, look)]:
            if total_s is not None and time.monotonic() - start > total_s:
                return f"the budget of {total_s:g} s was used up"
            _pair(number, waiting, sides, measure, keep, tell, seed, cell_s, limit_bytes)
            number += 1
        measured = {name: state.ratios for name, state in states.items() if len(state.ratios) >= 2}
        open_ = decide(measured) & {name for name, state in states.items() if state.failures < MOST_FAILURES}
        if not open_:
            break
    return None


def _lacks(state: _Cell, look: int) -> bool:
    return len(state.ratios) < look and state.failures < MOST_FAILURES


def _pair(
    number: int, waiting: Sequence[_Cell], sides: Sides, measure: Measure, keep: Callable[[Paired], None],
    tell: Callable[[str], None], seed: int, cell_s: float, limit_bytes: int | None,
) -> None:  # fmt: skip
    """One launch of both sides, and every waiting cell on it. A side that does not start is a failure of each of them."""
    base, head = sides()
    try:
        try:
            for side in (base, head):  # both import torch at once
                side.spawn()
            for side in (base, head):
                side.start()
        except WorkerError as error:
            for state in waiting:
                lost = Paired(state.cell, number, base.name, reason=str(error))
                state.add(lost)
                keep(lost)
            return
        for state in waiting:
            job = Job(state.cell, measure, limit_bytes, limit_bytes)
            told = partial(_announce, tell, f"pair {number + 1}, {state.cell.id}")
            found = duet(base, head, job, number, seed, cell_s, told)
            state.add(found)
            keep(found)
    finally:
        base.close()
        head.close()


def _announce(tell: Callable[[str], None], where: str, what: str) -> None:
    tell(f"{where}: {what}")
