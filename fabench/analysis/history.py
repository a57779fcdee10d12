"""Results over commits: per cell the medians in order, where they shift (`shifts`), and every exact change of what is counted.

A drift that no single comparison sees, because each of its steps is too small, stands out over many runs. Runs of different environments
are different series: their times have nothing to say to each other. A time whose evidence is of grade D is no point.
`alpha` is the chance that any unchanged cell shows a shift: shared out over all cells that have enough runs (Bonferroni).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from fabench.analysis.estimate import Estimate, median_interval
from fabench.analysis.evidence import GRADES, assess, timed
from fabench.analysis.launches import Launch
from fabench.analysis.physics import facts_of
from fabench.analysis.shifts import FEWEST, shifts
from fabench.analysis.worse import counted
from fabench.baseline import Counted
from fabench.schema import Cell, Record, Status

__all__ = ["CellHistory", "Point", "RunName", "Series", "Step", "Turn", "histories"]


@dataclass(frozen=True, slots=True)
class RunName:
    """A run's commit ("+" where files differed from it; None outside a checkout) and start."""

    name: str
    commit: str | None
    started_at: str


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a cell. `run` counts from 0 in the series. `time` is the median with its interval within the run, in seconds."""

    run: int
    status: str
    time: Estimate | None
    counted: Counted


@dataclass(frozen=True, slots=True)
class Turn:
    """A shift of time: run `after` is the first after it, `before` the last before it. `ratio` of medians of the pieces beside it."""

    before: int
    after: int
    ratio: float
    p: float


@dataclass(frozen=True, slots=True)
class Step:
    """An exact change between two runs. `quantity`: "status" or a field of `Counted`."""

    before: int
    after: int
    quantity: str
    old: int | str
    new: int | str


@dataclass(frozen=True, slots=True)
class CellHistory:
    """One cell. `judged`: whether it has enough times to look for shifts."""

    cell: Cell
    points: tuple[Point, ...]
    judged: bool
    turns: tuple[Turn, ...]
    steps: tuple[Step, ...]

    @property
    def times(self) -> tuple[tuple[int, Estimate], ...]:
        """(run, time) of the points that have one."""
        return tuple((point.run, point.time) for point in self.points if point.time is not None)


@dataclass(frozen=True)
class Series:
    """Runs of one environment in the order in which they began."""

    runs: tuple[RunName, ...]
    cells: tuple[CellHistory, ...]


def histories(groups: Sequence[Sequence[Launch]], alpha: float = 0.05, least_change: float = 0.02) -> list[Series]:
    """One series for each group of launches, which are of one environment each. `least_change`: smaller shifts are not told."""
    ordered = [sorted(group, key=lambda launch: launch.environment.started_at) for group in groups]
    points = [{cell: _points(cell, group) for cell in _cells(group)} for group in ordered]
    judged = sum(_enough(found) for part in points for found in part.values())
    share = alpha / max(1, judged)
    return [
        Series(
            tuple(RunName(launch.name, launch.environment.commit, launch.environment.started_at) for launch in group),
            tuple(_history(cell, part[name], share, least_change) for name, cell in _cells(group).items()),
        )
        for group, part in zip(ordered, points, strict=True)
    ]


def _cells(group: Sequence[Launch]) -> dict[str, Cell]:
    return {name: record.cell for launch in group for name, record in launch.records.items()}


def _points(cell: str, group: Sequence[Launch]) -> list[Point]:
    pairs = [(run, launch, launch.records[cell]) for run, launch in enumerate(group) if cell in launch.records]
    return [Point(run, record.status, _time(launch, record), counted(record)) for run, launch, record in pairs]


def _time(launch: Launch, record: Record) -> Estimate | None:
    timing = timed(record)
    if timing is None or assess(record, facts_of((launch.environment,), record.cell.device)).grade == GRADES[-1]:
        return None
    return median_interval(timing.samples_s)


def _enough(points: Sequence[Point]) -> bool:
    return sum(point.time is not None for point in points) >= FEWEST


def _history(cell: Cell, points: Sequence[Point], alpha: float, least_change: float) -> CellHistory:
    times = [(point.run, point.time.value) for point in points if point.time is not None]
    found = shifts([math.log(value) for _, value in times], alpha, math.log1p(least_change))
    turns = [Turn(times[one.index - 1][0], times[one.index][0], math.exp(one.size), one.p) for one in found]
    return CellHistory(cell, tuple(points), _enough(points), tuple(turns), tuple(_steps(points)))


def _steps(points: Sequence[Point]) -> list[Step]:
    """Each change from one run to the next that knows the quantity."""
    found = [
        Step(old.run, new.run, "status", old.status, new.status)
        for old, new in itertools.pairwise(points)
        if old.status != new.status
    ]
    for one in fields(Counted):
        known = [(p.run, value) for p in points if p.status == Status.OK and (value := getattr(p.counted, one.name)) is not None]
        pairs = itertools.pairwise(known)
        found += [Step(before, after, one.name, old, new) for (before, old), (after, new) in pairs if old != new]
    return sorted(found, key=lambda step: step.after)
