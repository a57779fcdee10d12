"""What became different from one stored state of a suite to another: time by `launches`, everything deterministic by `worse`.

A side is one run of the suite or several (launches). Compared are the cells that both have; the others are named. Of the quantities that
have no noise a change counts where all of head's launches are worse than all of base's:

    status        worse where every launch of base was ok and one of head is not; skipped, or a lost device, is `not measured`
    counted       peak memory, saved bytes, FLOPs, accuracy: `worse`
    exponents     growth beyond what is declared: `powers`
    kernel sheets `sheets.worse`

A time counts where its evidence is better than grade D, and where all launches used the same clock, cache state and threads.
Environments must be equal; with `independent` only what does not depend on them is compared: bytes, FLOPs, statuses, exponents of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace

from fabench.analysis.estimate import Estimate
from fabench.analysis.launches import Launch, Rule, TimeChange, judge
from fabench.analysis.powers import PowerChange, declared, memory_changes, memory_exponents, time_changes, time_powers
from fabench.analysis.sheets import matched
from fabench.analysis.sheets import worse as poorer
from fabench.analysis.sides import Side, Timings, side, timings_of
from fabench.analysis.worse import TOLERANCE_BYTES, Worse, counted, more, worse
from fabench.baseline import Baseline, Coded, Counted
from fabench.schema import Cell, Record, Status
from fabench.sheet import SheetFile

__all__ = ["DEPENDENT", "CellChange", "Comparison", "KernelChange", "against", "compare", "with_kernels"]

# What can't be compared between different environments.
DEPENDENT = ("time", "exponents of time", "accuracy")
# A baseline holds exponents without intervals; memory's are exact, but for which n took part.
_POWER_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class CellChange:
    """`verdict` on time: slower, faster, equivalent, undecided, not measured, or not timed where there is nothing to compare.

    `base` and `head` are the last launch's figures; statuses are the first of a side that is not ok. `notes`: what else a reader should know.
    """

    cell: str
    implementation: str
    n: int
    dtype: str
    mode: str
    verdict: str
    time: TimeChange | None
    reason: str | None
    base_status: str
    head_status: str
    base: Counted
    head: Counted
    worse: tuple[Worse, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelChange:
    """In what a kernel's sheet got worse."""

    key: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All of it. `kernels`: those that got worse, of `kernels_compared`. `left_out`: quantities that were not compared."""

    cells: tuple[CellChange, ...]
    powers: tuple[PowerChange, ...] = ()
    kernels: tuple[KernelChange, ...] = ()
    kernels_compared: int = 0
    only_base: tuple[str, ...] = ()
    only_head: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def worse(self) -> tuple[CellChange, ...]:
        """Cells that are slower, or worse in anything deterministic."""
        return tuple(cell for cell in self.cells if cell.verdict == "slower" or cell.worse)

    @property
    def worse_powers(self) -> tuple[PowerChange, ...]:
        """Series that grow faster than they may."""
        return tuple(one for one in self.powers if one.worse)

    @property
    def anything_worse(self) -> bool:
        """Whether a cell, an exponent or a kernel is worse."""
        return bool(self.worse or self.worse_powers or self.kernels)

    def having(self, verdict: str) -> tuple[CellChange, ...]:
        """Cells with this verdict."""
        return tuple(cell for cell in self.cells if cell.verdict == verdict)


def compare(
    base: Sequence[Launch],
    head: Sequence[Launch],
    rule: Rule | None = None,
    tolerance_bytes: int = TOLERANCE_BYTES,
    *,
    independent: bool = False,
) -> Comparison:
    """Head against base, one launch a side at least; that each side is of one code and all environments comparable is the caller's to know."""
    rule = rule or Rule()
    before, after = _cells(base), _cells(head)
    both = [name for name in before if name in after]
    pairs = {name: (side("base", name, base), side("head", name, head)) for name in both}
    powers = [] if independent else time_powers(base, head, set(both), rule.launches)
    timings = {name: Timings("not timed") if independent else timings_of(*pair) for name, pair in pairs.items()}
    asked = {name: one.launched for name, one in timings.items() if one.launched is not None}
    judged, tested = judge(list(asked.values()), rule, [(one.base, one.head) for one in powers])
    times = dict(zip(asked, judged, strict=True))
    find = _counted_alone(tolerance_bytes) if independent else _everything(tolerance_bytes)
    return Comparison(
        tuple(_change(after[name], *pairs[name], timings[name], times.get(name), rule, find) for name in both),
        (*memory_changes(base, head, set(both)), *time_changes(powers, tested)),
        only_base=_without(before, after),
        only_head=_without(after, before),
        left_out=DEPENDENT if independent else (),
        notes=_apart(base, head) if times else (),
    )


def _cells(launches: Sequence[Launch]) -> dict[str, Cell]:
    return {name: record.cell for launch in launches for name, record in launch.records.items()}


def _without(cells: Iterable[str], others: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in cells if name not in others)


_Find = Callable[[Record, Record], tuple[Worse, ...]]


def _everything(tolerance_bytes: int) -> _Find:
    return lambda base, head: worse(base, head, tolerance_bytes)


def _counted_alone(tolerance_bytes: int) -> _Find:
    return lambda base, head: more(counted(base), counted(head), tolerance_bytes)


def _change(cell: Cell, base: Side, head: Side, timings: Timings, time: TimeChange | None, rule: Rule, find: _Find) -> CellChange:
    verdict, reason = timings.verdict, timings.reason
    if time is not None:
        if reason is not None:
            time = replace(time, verdict=verdict, tripwire=False)
        verdict = time.verdict
        reason = reason or _few(time, rule)
    old, new = base.ended.status, head.ended.status
    notes = [*base.varied, *head.varied]
    if old not in (new, Status.OK):
        notes.append(f"status {_plain(old)} -> {_plain(new)}")
    poor = (*_ended(old, head), *_steady([find(before, after) for before in base.ok for after in head.ok]))
    return _cell_change(cell, verdict, old, head, base.last, poor, notes, time, reason)


def _cell_change(
    cell: Cell, verdict: str, old: str, head: Side, counts: Counted, found: tuple[Worse, ...], notes: Sequence[str],
    time: TimeChange | None = None, reason: str | None = None,
) -> CellChange:  # fmt: skip
    case = cell.case
    return CellChange(
        cell.id, cell.implementation, case.n, case.dtype, case.mode, verdict, time, reason, old, head.ended.status, counts, head.last,
        found, tuple(notes),
    )  # fmt: skip


def _plain(status: str) -> str:
    return status.replace("_", " ")


def _few(time: TimeChange, rule: Rule) -> str | None:
    if time.verdict != "undecided" or min(time.base_launches, time.head_launches) >= rule.launches:
        return None
    bounds = {"nothing": "; nothing says how launches spread", "noise sheet": "; bounds are the noise sheet's"}
    count = f"{time.base_launches} and {time.head_launches} launches, {rule.launches} a side are needed for a verdict"
    return count + bounds.get(time.known_from, "")


def _ended(old: str, head: Side) -> tuple[Worse, ...]:
    """A status that was ok and is not."""
    last = head.ended
    if old != Status.OK or last.status in (Status.OK, Status.SKIPPED) or last.device_lost:
        return ()
    count = sum(record.status != Status.OK for record in head.records)
    share = "" if len(head.records) == 1 else f" in {count} of {len(head.records)} launches"
    return (Worse("status", old, last.status, f"ok -> {_plain(last.status)}{share} ({last.reason})"),)


def _steady(pairs: Sequence[tuple[Worse, ...]]) -> tuple[Worse, ...]:
    """What is worse in every pair of launches, in the words of the last."""
    named = [{one.quantity for one in pair} for pair in pairs]
    return tuple(one for one in pairs[-1] if all(one.quantity in names for names in named)) if pairs else ()


def _apart(base: Sequence[Launch], head: Sequence[Launch]) -> tuple[str, ...]:
    """What the launches' times and numbers mean for a change of time."""
    old, new = (sorted(launch.environment.started_at for launch in side) for side in (base, head))
    found = []
    if old[-1] < new[0] or new[-1] < old[0]:
        first, later = ("base", "head") if old[-1] < new[0] else ("head", "base")
        found.append(
            f"{first} was measured as a whole before {later}: what the machine did in between is part of every change of time"
        )
    if len(old) != len(new):
        found.append(f"{len(old)} and {len(new)} launches: of the side with more, as many as the other has are used for time")
    return tuple(found)


def against(
    baseline: Baseline, head: Sequence[Launch], tolerance_bytes: int = TOLERANCE_BYTES, sheets: SheetFile | None = None
) -> Comparison:
    """Head against a baseline file: what is counted, statuses, exponents of memory, kernels; the file's cells were ok."""
    after = _cells(head)
    found = []
    for name, old in baseline.cells.items():
        if name in after:
            now = side("head", name, head)
            grown = _steady([more(old, counted(record), tolerance_bytes) for record in now.ok])
            poor = (*_ended(Status.OK, now), *grown)
            found.append(_cell_change(after[name], "not timed", Status.OK.value, now, old, poor, now.varied))
    return Comparison(
        tuple(found),
        _grown(baseline, head),
        *_recoded(baseline, sheets),
        only_base=_without(baseline.cells, after),
        only_head=_without((name for name, cell in after.items() if side("head", name, head).ok), baseline.cells),
        left_out=("time", "accuracy"),
    )


def _grown(baseline: Baseline, head: Sequence[Launch]) -> tuple[PowerChange, ...]:
    orders, result = declared(head, "memory"), []
    for (name, setting), now in memory_exponents(head[-1]).items():
        old = baseline.exponents.get(f"{name} · {setting}")
        if old is not None and name in orders:
            beyond = now.value > old + _POWER_TOLERANCE
            result.append(PowerChange(name, setting, "memory", orders[name], Estimate(old, old, old), now, beyond))
    return tuple(result)


def _recoded(baseline: Baseline, sheets: SheetFile | None) -> tuple[tuple[KernelChange, ...], int]:
    """Kernels whose code got worse than the baseline's, and how many were compared."""
    known = [(old, one) for one in (sheets.sheets if sheets else ()) if (old := baseline.kernels.get(one.key)) is not None]
    found = []
    for old, now in known:
        pairs = ((field.name, getattr(old, field.name), getattr(now, field.name)) for field in fields(Coded))
        lines = [
            f"{name.replace('_bytes', ' bytes')}: {a:,} -> {b:,}"
            for name, a, b in pairs
            if a is not None and b is not None and b > a
        ]
        lines += [f"no longer compiles: {now.reason}"] if now.reason is not None and old != Coded() else []
        found += [KernelChange(now.key, tuple(lines))] if lines else []
    return tuple(found), len(known)


def with_kernels(found: Comparison, before: SheetFile, now: SheetFile) -> Comparison:
    """The comparison with what became of kernels' sheets."""
    pairs, unknown = matched(before.sheets, now.sheets)
    changed = [KernelChange(new.key, tuple(lines)) for old, new in pairs if (lines := poorer(old, new))]
    notes = list(found.notes)
    if before.triton != now.triton:
        notes.append(f"kernels were compiled by Triton {before.triton} and {now.triton}")
    if unknown:
        notes.append(f"{len(unknown)} of head's kernels are not in base's sheets")
    return replace(found, kernels=tuple(changed), kernels_compared=len(pairs), notes=tuple(notes))
