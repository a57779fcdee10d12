"""What came of a gate: each cell's verdict with its reasons, what changed beside time, and whether anything is worse.

Time is judged by `gate.verdicts` on launch pairs; what is deterministic is compared by `worse`, between the sides' records of the last pair.

A cell without rounds is `not measured`, which is no verdict on its speed: a wrong result, a crash, a head without such a cell. It is
`not compared` where that is no fault of the change: base has no such cell yet, or neither side can do it.

What could make a difference is told apart by hashes: the implementation's source, its program (the source without comments), the harness
that measures it, and the packages that each side ran with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fabench.analysis.gate import Rule, Verdict, pairs_needed, verdicts
from fabench.analysis.worse import TOLERANCE_BYTES, Worse, worse
from fabench.paired import GateRun, Paired
from fabench.schema import Record, Status
from fabench.units import format_bytes

__all__ = ["CellOutcome", "Outcome", "outcome"]

_MOST_PACKAGES = 3


@dataclass(frozen=True, slots=True)
class CellOutcome:
    """`verdict`: slower, faster, equivalent, undecided, not measured or not compared. `changed`: what differs between the sides, in words.

    `causes`: the same in one word each: implementation, comments, harness, dependencies, planted; nothing where nothing differs.

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
    causes: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """What the cell is to whoever waits for a green light: worse, not measured, undecided, not compared, or fine."""
        if self.verdict == "slower" or self.worse:
            return "worse"
        return self.verdict if self.verdict in ("not measured", "undecided", "not compared") else "fine"


@dataclass(frozen=True, slots=True)
class Outcome:
    """All cells in their order. `launches`: launch pairs that were run."""

    cells: tuple[CellOutcome, ...]
    launches: int

    @property
    def worse(self) -> tuple[CellOutcome, ...]:
        """Slower cells, and those with anything deterministic that got worse."""
        return tuple(cell for cell in self.cells if cell.outcome == "worse")

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
        reason = None if verdict is not None else _why(run, rows)
        grown = worse(last.base, last.head, memory_tolerance_bytes)
        causes = _causes(run, last.cell.implementation, name)
        told.append(
            CellOutcome(
                name, last.cell.implementation, case.n, case.dtype, case.mode,
                _unmeasured(run, last) if verdict is None else verdict.verdict, verdict,
                grown, _changed(causes, last.cell.implementation),
                reason=reason, needed=_needed(verdict, rule, len(cells)), causes=tuple(causes),
            )
        )  # fmt: skip
    return Outcome(tuple(told), max((found.pair + 1 for found in pairs), default=0))


def _ratios(found: Iterable[Paired]) -> list[float]:
    return [ratio for one in found if (ratio := one.log_ratio) is not None]


def _needed(found: Verdict | None, rule: Rule, cells: int) -> int | None:
    if found is None or found.verdict != "undecided":
        return None
    return pairs_needed(found.spread, rule, cells, 2 * rule.min_effect)


def _unmeasured(run: GateRun, last: Paired) -> str:
    """The verdict of a cell without rounds."""
    name = last.cell.implementation
    fresh = run.base.implementations.get(name) is None and run.head.implementations.get(name) is not None
    before, after = (None if record is None else record.status for record in (last.base, last.head))
    unable = before == Status.UNSUPPORTED and after in (Status.OK, Status.UNSUPPORTED)
    return "not compared" if fresh or unable else "not measured"


def _why(run: GateRun, rows: Sequence[Paired]) -> str:
    """Why there is no verdict on time: the last reason; memory that would do for one side alone is said."""
    last = next((one for one in reversed(rows) if one.reason), None)
    if last is None or last.reason is None:
        return "too few pairs"
    limits = [record.memory_limit_bytes for record in (last.base, last.head) if record is not None and _too_large(record)]
    if limits and limits[0] is not None:
        return f"{last.reason}; both sides are held at once, so each may take {format_bytes(limits[0])}, half of the budget"
    return last.reason


def _too_large(record: Record) -> bool:
    return record.status == Status.OUT_OF_MEMORY and record.cell.device == "cpu"


def _causes(run: GateRun, implementation: str, cell: str) -> dict[str, str]:
    """What could make a difference, from the hashes, in words."""
    found = {}
    base, head = run.base.implementations.get(implementation), run.head.implementations.get(implementation)
    programs = run.base.programs.get(implementation), run.head.programs.get(implementation)
    if base != head and programs[0] is not None and programs[0] == programs[1]:
        found["comments"] = f"only comments of {implementation} changed"
    elif base != head:
        found["implementation"] = f"{implementation} changed"
    if run.base.harness != run.head.harness:
        found["harness"] = "the harness changed"
    if packages := _packages(run):
        found["dependencies"] = packages
    if run.slow_down and run.slowed in (None, cell):
        found["planted"] = f"{run.slow_down:.0%} more work planted"
    return found


def _changed(causes: dict[str, str], implementation: str) -> str:
    said = list(causes.values())
    if causes.keys() & {"harness", "dependencies"} and not causes.keys() & {"implementation", "comments"}:
        said.append(f"{implementation} did not")
    return ", ".join(said) or "nothing that it runs changed"


def _packages(run: GateRun) -> str | None:
    """What differs between the packages that the sides ran with, or would if each had its own; None where nothing does."""
    if run.base_packages is None or run.head_packages is None:
        files = " and ".join(run.dependencies)
        return f"{files} changed, and both ran with the packages installed here" if files else None
    old, new = run.base_packages, run.head_packages
    apart = [
        f"{name} {old.get(name, 'not there')} -> {new.get(name, 'not there')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if not apart:
        return None
    more = f" and {len(apart) - _MOST_PACKAGES} more" if len(apart) > _MOST_PACKAGES else ""
    return f"dependencies changed: {', '.join(apart[:_MOST_PACKAGES])}{more}"
