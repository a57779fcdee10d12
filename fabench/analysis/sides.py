"""One cell's launches on one side of a comparison: how they ended, what was counted, and which of their times are measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fabench.analysis.evidence import GRADES, assess, timed
from fabench.analysis.launches import Launch, Launched
from fabench.analysis.physics import facts_of
from fabench.analysis.worse import counted
from fabench.baseline import Counted
from fabench.median import median
from fabench.noise import visible
from fabench.schema import Record, Status
from fabench.units import format_bytes

__all__ = ["Side", "Timings", "side", "timings_of"]


@dataclass(frozen=True, slots=True)
class Side:
    """`name` is "base" or "head". `logs`: log medians of the launches whose time is a measurement; `doubts`: why the others' is none.

    `timed`: launches that gave a time at all. `settings`: how these were timed. `noise`: the device's sheet, as stored.
    """

    name: str
    records: tuple[Record, ...]
    logs: tuple[float, ...]
    timed: int
    doubts: tuple[str, ...]
    settings: frozenset[str]
    noise: object

    @property
    def ok(self) -> tuple[Record, ...]:
        """The records with status ok."""
        return tuple(record for record in self.records if record.status == Status.OK)

    @property
    def ended(self) -> Record:
        """The first record that is not ok, or the last one."""
        return next((record for record in self.records if record.status != Status.OK), self.records[-1])

    @property
    def last(self) -> Counted:
        """What the last ok launch counted."""
        return counted(self.ok[-1]) if self.ok else Counted()

    @property
    def varied(self) -> tuple[str, ...]:
        """A peak that differed between launches, which it never should: in words."""
        peaks = sorted({found.peak_bytes for record in self.ok if (found := counted(record)).peak_bytes is not None})
        if len(peaks) < 2:
            return ()
        return (f"{self.name}'s peak memory varied between launches, {format_bytes(peaks[0])} to {format_bytes(peaks[-1])}",)


@dataclass(frozen=True, slots=True)
class Timings:
    """What can be said of a cell's time: its launches, or the verdict without any. With `reason` there is no other than `verdict`."""

    verdict: str
    reason: str | None = None
    launched: Launched | None = None


def side(name: str, cell: str, launches: Sequence[Launch]) -> Side:
    """The cell on one side; of launches without it nothing is said."""
    records, logs, doubts, settings = [], [], [], set()
    noise: object = None
    for launch in launches:
        record = launch.records.get(cell)
        if record is None:
            continue
        records.append(record)
        timing, facts = timed(record), facts_of((launch.environment,), record.cell.device)
        noise = facts.noise or noise
        if timing is None:
            continue
        evidence = assess(record, facts)
        threads = "" if timing.threads is None else f", {timing.threads} threads"
        settings.add(f"{timing.clock}, {timing.cache} cache{threads}")
        if evidence.grade == GRADES[-1]:
            doubts.append(evidence.warnings[0].text)
        else:
            logs.append(math.log(median(timing.samples_s)))
    return Side(name, tuple(records), tuple(logs), len(logs) + len(doubts), tuple(doubts), frozenset(settings), noise)


def timings_of(base: Side, head: Side) -> Timings:
    """Whether the cell's times can be compared."""
    if not base.timed or (not base.ok and not head.timed):
        return Timings("not timed")
    if not head.timed:
        ended = head.ended
        why = "has no time" if ended.status == Status.OK else f"{ended.status.replace('_', ' ')}: {ended.reason}"
        return Timings("not measured", f"head: {why}")
    for one in (base, head):
        if not one.logs:
            return Timings("not measured", f"{one.name}'s time is no measurement: {one.doubts[0]}")
    launched = Launched(base.logs, head.logs, _bound(base, head))
    if len(base.settings | head.settings) > 1:
        ways = [" and ".join(sorted(one.settings)) for one in (base, head)]
        return Timings("undecided", f"timed in different ways: base by {ways[0]}; head by {ways[1]}", launched)
    for one in (base, head):
        if one.doubts:
            said = f"{len(one.doubts)} of {one.timed} times of {one.name} are no measurement: {one.doubts[0]}"
            return Timings("undecided", said, launched)
    return Timings("undecided", None, launched)


def _bound(base: Side, head: Side) -> float | None:
    """By how much (log) two launches of the same work differ at most, as the noise sheet says; the larger one of two."""
    found = [visible(one.noise, math.exp(one.logs[-1])) for one in (base, head)]
    known = [value for value in found if value is not None]
    return math.log1p(max(known)) if known else None
