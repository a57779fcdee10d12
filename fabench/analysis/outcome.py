"""What came of a gate: each cell's verdict with its reasons, what changed beside time, and whether anything is worse.

Time is judged by `gate.verdicts` on launch pairs. What is deterministic is compared directly, by rules and no statistics, between the
sides' records of the last pair:

    peak memory     worse where head's call takes more than `memory_tolerance_bytes` over base's (allocator bytes, the same in every run)
    saved bytes     worse where more is kept for backward
    FLOPs           worse where more are counted
    accuracy        worse where the error against float64 is twice base's and above a tenth of its tolerance

A cell without rounds is `not measured`, which is no verdict on its speed: a wrong result, a crash, a side without such a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fabench.analysis.gate import Rule, Verdict, pairs_needed, verdicts
from fabench.paired import GateRun, Paired
from fabench.schema import Record
from fabench.units import format_bytes, format_count

__all__ = ["EXACT_BYTES", "TOLERANCE_BYTES", "CellOutcome", "Outcome", "Worse", "outcome"]

TOLERANCE_BYTES = 2**20
EXACT_BYTES = 4096
_ERROR_FACTOR, _ERROR_SHARE = 2.0, 0.1


@dataclass(frozen=True, slots=True)
class Worse:
    """Something deterministic that got worse. `quantity`: "peak memory", "saved bytes", "FLOPs" or "accuracy"."""

    quantity: str
    base: float
    head: float
    text: str


@dataclass(frozen=True, slots=True)
class CellOutcome:
    """`verdict`: slower, faster, equivalent, undecided or not measured. `changed`: what differs between the sides, in words.

    `needed`: launch pairs that this cell's spread would need to see twice the smallest change that matters; None where decided or
    where no number would do.
    """

    cell: str
    implementation: str
    n: int
    dtype: str
    mode: str
    verdict: str
    time: Verdict | None
    worse: tuple[Worse, ...]
    changed: str
    reason: str | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All cells in their order. `launches`: launch pairs that were run."""

    cells: tuple[CellOutcome, ...]
    launches: int

    @property
    def worse(self) -> tuple[CellOutcome, ...]:
        """Slower cells, and those with anything deterministic that got worse."""
        return tuple(cell for cell in self.cells if cell.verdict == "slower" or cell.worse)

    def having(self, verdict: str) -> tuple[CellOutcome, ...]:
        """Cells with this verdict."""
        return tuple(cell for cell in self.cells if cell.verdict == verdict)


def rule_of(run: GateRun) -> Rule:
    """The rule that the gate was asked to decide by."""
    return Rule(run.min_effect, run.alpha, run.looks)


def outcome(run: GateRun, pairs: Sequence[Paired], memory_tolerance_bytes: int = TOLERANCE_BYTES) -> Outcome:
    """The outcome of the pairs so far."""
    rule = rule_of(run)
    cells: dict[str, list[Paired]] = {}
    for found in pairs:
        cells.setdefault(found.cell.id, []).append(found)
    ratios = {name: _ratios(found) for name, found in cells.items()}
    decided = {one.cell: one for one in verdicts({name: values for name, values in ratios.items() if len(values) >= 2}, rule)}
    told = []
    for name, rows in cells.items():
        last, verdict = rows[-1], decided.get(name)
        case = last.cell.case
        why = next((one.reason for one in reversed(rows) if one.reason), "too few pairs")
        told.append(
            CellOutcome(
                name, last.cell.implementation, case.n, case.dtype, case.mode,
                "not measured" if verdict is None else verdict.verdict, verdict,
                _worse(last.base, last.head, memory_tolerance_bytes), _changed(run, last.cell.implementation, name),
                reason=None if verdict is not None else why, needed=_needed(verdict, rule, len(cells)),
            )
        )  # fmt: skip
    return Outcome(tuple(told), max((found.pair + 1 for found in pairs), default=0))


def _ratios(found: Iterable[Paired]) -> list[float]:
    return [ratio for one in found if (ratio := one.log_ratio) is not None]


def _needed(found: Verdict | None, rule: Rule, cells: int) -> int | None:
    if found is None or found.verdict != "undecided":
        return None
    return pairs_needed(found.spread, rule, cells, 2 * rule.min_effect)


def _changed(run: GateRun, implementation: str, cell: str) -> str:
    """What could make a difference, from the hashes: kernels, harness, dependencies, or nothing."""
    base, head = run.base.implementations.get(implementation), run.head.implementations.get(implementation)
    parts = []
    if base != head:
        parts.append(f"{implementation} changed")
    if run.base.harness != run.head.harness:
        parts.append("the harness changed")
    if run.dependencies:
        parts.append(f"{' and '.join(run.dependencies)} changed (both ran with head's packages)")
    if run.slow_down and run.slowed in (None, cell):
        parts.append(f"{run.slow_down:.0%} more work planted")
    return ", ".join(parts) or "nothing that it runs changed"


def _worse(base: Record | None, head: Record | None, tolerance_bytes: int) -> tuple[Worse, ...]:
    if base is None or head is None:
        return ()
    found: list[Worse] = []
    if base.memory is not None and head.memory is not None:
        old, new = base.memory.delta_bytes, head.memory.delta_bytes
        if new - old > tolerance_bytes:
            found.append(Worse("peak memory", old, new, f"peak memory {format_bytes(old)} -> {format_bytes(new)}"))
        if base.memory.saved_bytes is not None and head.memory.saved_bytes is not None:
            old, new = base.memory.saved_bytes, head.memory.saved_bytes
            if new > old:
                found.append(Worse("saved bytes", old, new, f"saved for backward {format_bytes(old)} -> {format_bytes(new)}"))
    if base.flop is not None and head.flop is not None and head.flop > base.flop:
        text = f"{format_count(base.flop, 'FLOP')} -> {format_count(head.flop, 'FLOP')}"
        found.append(Worse("FLOPs", base.flop, head.flop, text))
    return tuple(found) + _less_accurate(base, head)


def _less_accurate(base: Record, head: Record) -> tuple[Worse, ...]:
    if base.check is None or head.check is None:
        return ()
    before = {tensor.name: tensor.error for tensor in base.check.tensors}
    for tensor in head.check.tensors:
        old, new = before.get(tensor.name), tensor.error
        if old is not None and new is not None and new > _ERROR_FACTOR * old and new > _ERROR_SHARE * tensor.tolerance:
            return (Worse("accuracy", old, new, f"error of {tensor.name} against float64 {old:.1e} -> {new:.1e}"),)
    return ()
