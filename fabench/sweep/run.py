"""The loop of a sweep: every planned cell ends as one stored record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fabench.environment import available_bytes
from fabench.schema import Cell, Job, Record, Status
from fabench.suite import Suite
from fabench.sweep.executor import Executor
from fabench.sweep.schedule import Schedule

__all__ = ["Ended", "Event", "Phase", "Started", "failures", "memory_limit", "sweep"]


@dataclass(frozen=True, slots=True)
class Started:
    """A cell begins; `number` counts from 1 over all planned cells."""

    cell: Cell
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class Phase:
    """The running cell entered a phase."""

    name: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A record was kept."""

    record: Record
    number: int
    total: int


Event: TypeAlias = Started | Phase | Ended


def memory_limit(suite: Suite, available_bytes: int | None) -> int | None:
    """The suite's budget, or four fifths of what the machine has free if that is less: a cell must not take the machine along."""
    limits = [suite.budget.memory_bytes, None if available_bytes is None else available_bytes * 4 // 5]
    return min((limit for limit in limits if limit is not None), default=None)


# glibc's aligned blocks leave holes of a few bytes less than the next such block needs, so that freed memory is not used again: a call
# that holds 3 GiB grew the heap beyond 8 GiB, now and then. The kernel therefore refuses later than a cell must stop, and the cell
# compares what it held with its limit.
_HOLES = 2
_OF_AVAILABLE = 0.9


def _address_space(limit_bytes: int | None, available_bytes: int | None, compared: bool = True) -> int | None:
    """At how many bytes the kernel refuses a cell that may hold `limit_bytes`: twice that, if the machine has it.

    The limit itself where no memory pass is to come that would compare.
    """
    if limit_bytes is None or not compared:
        return limit_bytes
    spare = limit_bytes if available_bytes is None else int(_OF_AVAILABLE * available_bytes)
    return max(limit_bytes, min(_HOLES * limit_bytes, spare))


def sweep(
    suite: Suite,
    schedule: Schedule,
    executor: Executor,
    limit_bytes: int | None,
    keep: Callable[[Record], None],
    tell: Callable[[Event], None],
) -> list[Record]:
    """Runs what is left of `schedule` and returns its records. Each is kept (stored) before the next cell starts."""
    records: list[Record] = []
    compared = suite.measure.memory and not suite.measure.check_only
    start = time.monotonic()
    number = schedule.total - len(schedule.remaining)
    for cell, record in schedule:
        number += 1
        if record is None:
            tell(Started(cell, number, schedule.total))
            job = Job(cell, suite.measure, limit_bytes, _address_space(limit_bytes, available_bytes(), compared))
            record = executor.run(job, suite.budget.cell_s, lambda name: tell(Phase(name)))
        keep(record)
        schedule.learn(record)
        records.append(record)
        tell(Ended(record, number, schedule.total))
        total_s = suite.budget.total_s
        if total_s is not None and time.monotonic() - start > total_s:
            schedule.stop(f"the suite's time budget of {total_s:g} s was used up")
    return records


def failures(records: list[Record], suite: Suite) -> list[Record]:
    """Records whose status is a failure of the sweep: not ok, not an honest refusal, and not expected by the suite."""
    fine = {Status.OK, Status.UNSUPPORTED, Status.SKIPPED}
    return [record for record in records if record.status not in fine and suite.expects(record.status, record.cell) is None]
