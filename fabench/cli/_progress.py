"""A sweep as the user watches it: a live line on a terminal, plain lines elsewhere, records as JSON on standard output if asked.

Each time comes with its evidence: the grade on the cell's line, all of it in JSON, and at the end what most often lowered a grade.

The display has no thread of its own: it is drawn between phases, never while a cell is being timed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.progress import BarColumn, Progress, TextColumn

from fabench.analysis.evidence import GRADES, Evidence, as_line, assess, common
from fabench.analysis.physics import facts_of
from fabench.cli import _console
from fabench.cli._console import data, notes, safe
from fabench.median import median
from fabench.schema import Environment, Record, Status
from fabench.sweep.run import Ended, Event, Phase, Started
from fabench.units import format_bytes, format_duration

__all__ = ["Show", "counts", "evidence_lines", "outcome"]

_MOST_CODES, _MOST_WARNINGS = 3, 3
_COLOURS = {
    Status.OK: "green",
    Status.UNSUPPORTED: "dim",
    Status.SKIPPED: "dim",
    Status.OUT_OF_MEMORY: "yellow",
    Status.TIMED_OUT: "yellow",
}


def outcome(record: Record, evidence: Evidence) -> str:
    """`3.21 ms, 2.00 MiB, grade B (noisy)` of a cell that was measured, else its status and reason."""
    if record.status != Status.OK:
        return f"{record.status}: {record.reason}"
    parts = []
    if record.timing is not None:
        impossible = evidence.impossible
        parts.append(f"IMPOSSIBLE ({impossible})" if impossible else format_duration(median(record.timing.samples_s)))
    if record.memory is not None:
        parts.append(format_bytes(record.memory.delta_bytes))
    if record.check is not None and record.timing is None:
        parts += [
            f"{error.name} {error.error:.1e} (tolerance {error.tolerance:.1e})"
            for error in record.check.tensors
            if error.error is not None
        ]
    return ", ".join([*parts, *_graded(evidence)])


def _graded(evidence: Evidence) -> list[str]:
    if evidence.grade is None:
        return []
    more = [f"{len(evidence.codes) - _MOST_CODES} more"] if len(evidence.codes) > _MOST_CODES else []
    named = ", ".join([*evidence.codes[:_MOST_CODES], *more])
    return [f"grade {evidence.grade}" + (f" ({named})" if named else "")]


def evidence_lines(found: Sequence[Evidence]) -> list[str]:
    """How many cells have which grade, and the warnings that lowered most of them, each with its advice. Nothing without a time."""
    grades = Counter(evidence.grade for evidence in found)
    said = [f"{grades[grade]} {grade}" for grade in GRADES if grades[grade]]
    lines = [f"evidence: {', '.join(said)}"] if said else []
    for code, count in common(found)[:_MOST_WARNINGS]:
        lines.append(f"  {code.value} in {count} {'cell' if count == 1 else 'cells'}: {code.advice}")
    return lines


def counts(records: Sequence[Record]) -> str:
    """`44 ok, 6 skipped`."""
    found = Counter(record.status for record in records)
    return ", ".join(f"{count} {status}" for status, count in sorted(found.items(), key=lambda item: (item[0] != "ok", item[0])))


class Show:
    """Tells the user what the sweep does."""

    def __init__(
        self, predicted_s: Mapping[str, float], quiet: bool, as_json: bool, environments: Sequence[Environment] = ()
    ) -> None:
        self._predicted, self._environments = dict(predicted_s), environments
        self._quiet, self._json = quiet, as_json
        self._live: Progress | None = None
        self._start = time.monotonic()
        self._spent_predicted = 0.0
        if notes.is_terminal and not notes.is_dumb_terminal and not quiet and not _console.ascii_only():
            columns = (
                TextColumn("{task.completed}/{task.total}"),
                BarColumn(24),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.description}"),
            )
            self._live = Progress(*columns, console=notes, auto_refresh=False, transient=True)
            self._task = self._live.add_task("", total=None, left="")

    def __enter__(self) -> Show:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Shows one event of the sweep."""
        if isinstance(event, Started):
            self._cell = event.cell.id
            self._update(event.number - 1, event.total, self._cell)
        elif isinstance(event, Phase):
            if event.name != "timing":
                self._update(None, None, f"{self._cell} ({event.name})")
        elif isinstance(event, Ended):
            self._ended(event)

    def _update(self, done: int | None, total: int | None, text: str) -> None:
        if self._live is not None:
            self._live.update(self._task, completed=done, total=total, description=safe(text), left=self._left(), refresh=True)

    def _left(self) -> str:
        """Time left: what the cost model predicts for the remaining cells, times how wrong it was so far."""
        remaining = sum(self._predicted.values())
        if not self._spent_predicted:
            return f"about {format_duration(remaining)} left"
        return f"{format_duration(remaining * (time.monotonic() - self._start) / self._spent_predicted)} left"

    def _ended(self, event: Ended) -> None:
        record = event.record
        evidence = assess(record, facts_of(self._environments, record.cell.device))
        self._spent_predicted += self._predicted.pop(record.cell.id, 0.0)
        if self._json:
            data.file.write(as_line(record, evidence) + "\n")
            data.file.flush()
        if not self._quiet:
            colour = "red" if evidence.grade == GRADES[-1] else _COLOURS.get(Status(record.status), "red")
            width = len(str(event.total))
            notes.print(
                f"\\[{event.number:>{width}}/{event.total}] [{colour}]{safe(record.cell.id)}[/]  {safe(outcome(record, evidence))}"
            )
        self._update(event.number, event.total, "")
