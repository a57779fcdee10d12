"""Which cell is next. Pure bookkeeping, no clock and no process: what was planned, what is done, what must be skipped and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import TypeAlias

from fabench.catalogue import facts_of
from fabench.schema import Case, Cell, Record, Status
from fabench.suite import Planned

__all__ = ["Schedule"]

# Out of memory at n, so larger n can only be worse. A time-out says the same about time.
_LIMITS = {
    Status.OUT_OF_MEMORY: "ran out of memory",
    Status.OUT_OF_HOST_MEMORY: "ran out of host memory",
    Status.TIMED_OUT: "timed out",
}


_ALIKE = tuple(field.name for field in fields(Case) if field.name not in ("n", "m", "space", "image"))
_Series: TypeAlias = tuple[object, ...]


def _series(cell: Cell) -> _Series:
    """What stays the same while n grows."""
    return cell.implementation, cell.device, *(getattr(cell.case, name) for name in _ALIKE)


def _size(cell: Cell) -> int:
    return cell.case.n * cell.case.m


def _board(device: str) -> str:
    """The device itself: "cuda" is the first of its kind, as "cuda:0" is."""
    return device if ":" in device else f"{device}:0"


class Schedule:
    """Hands out cells in the planned order; learns from each record which later ones can't run."""

    def __init__(self, planned: Sequence[Planned], done: Iterable[Record]) -> None:
        self._limits: dict[_Series, tuple[Cell, str]] = {}
        self._lost: dict[str, Cell] = {}
        self._out_of_time: str | None = None
        finished = set()
        for record in done:
            if not record.device_lost:  # it may be back by now
                self.learn(record)
                finished.add(record.cell.id)
        self.remaining = [item for item in planned if item.cell.id not in finished]
        self.total = len(planned)

    def learn(self, record: Record) -> None:
        """Remembers the smallest size at which a series hit a limit, and which device is gone."""
        if record.device_lost:
            self._lost.setdefault(_board(record.cell.device), record.cell)
        verb = _LIMITS.get(Status(record.status))
        if verb is None:
            return
        key = _series(record.cell)
        known = self._limits.get(key)
        if known is None or _size(record.cell) < _size(known[0]):
            self._limits[key] = (record.cell, verb)

    def stop(self, reason: str) -> None:
        """Lets every remaining cell be skipped with this reason."""
        self._out_of_time = reason

    def _skip(self, planned: Planned) -> Record | None:
        cell = planned.cell
        if planned.skip is not None:
            return skipped(cell, planned.skip)
        lost = self._lost.get(_board(cell.device))
        if lost is not None:
            reason = f"{lost.device} was lost in {lost.implementation} at n={lost.case.n}, so nothing more is tried on it"
            return replace(skipped(cell, reason), device_lost=True)
        limit = self._limits.get(_series(cell))
        if limit is not None and _size(cell) > _size(limit[0]):
            return skipped(cell, f"{cell.implementation} {limit[1]} at n={limit[0].case.n}, so larger n are not tried")
        return None if self._out_of_time is None else skipped(cell, self._out_of_time)

    def __iter__(self) -> Iterator[tuple[Cell, Record | None]]:
        """Each remaining cell, with its record already where it must be skipped."""
        for planned in self.remaining:
            yield planned.cell, self._skip(planned)


def skipped(cell: Cell, reason: str) -> Record:
    """The record of a cell that is not run. What it would have computed is known all the same."""
    facts = facts_of(cell.implementation)
    return Record(
        cell=cell,
        status=Status.SKIPPED,
        reason=reason,
        function=facts.computes.get(cell.case.normalisation),
        time_order=facts.time_order,
        memory_order=facts.memory_order,
    )
