"""What came of a gate: each cell's verdict with its reasons, what changed beside time, and whether anything is worse.

Time is judged by `gate.verdicts` on launch pairs; what is deterministic is compared by `worse`, between the sides' records of the last pair.

A cell without rounds is `not measured`, which is no verdict on its speed: a wrong result, a crash, a side without such a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fabench.analysis.gate import Rule, Verdict, pairs_needed, verdicts
from fabench.analysis.worse import TOLERANCE_BYTES, Worse, worse
from fabench.paired import GateRun, Paired

__all__ = ["CellOutcome", "Outcome", "outcome"]


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
                worse(last.base, last.head, memory_tolerance_bytes), _changed(run, last.cell.implementation, name),
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
