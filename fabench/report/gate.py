"""What a gate says: a sentence per cell, a headline, and the one JSON document that summary, JUnit and annotations are rendered from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fabench.analysis.outcome import CellOutcome, Outcome
from fabench.paired import GateRun
from fabench.report import words
from fabench.report.verdicts import Ending, Finding, frame, names, percent, together

__all__ = ["COLUMNS", "document", "headline", "sentences"]

COLUMNS = ("cell", "verdict", "time, head / base", "95 %", "pairs", "spread", "worse", "what changed")
_VERDICTS = ("slower", "faster", "equivalent", "undecided", "not measured", "not compared")


def sentences(found: Outcome) -> list[str]:
    """One for each cell that is worse or not as before: `factorized, n=4096, fp32, fwd: 8.1 % slower [6.9, 9.4], 12 pairs, confirmed; ...`."""
    called = names(found.cells)
    many = together([cell.reason for cell in found.cells if not cell.worse])
    told = [cell for cell in found.cells if cell.worse or (cell.verdict != "equivalent" and cell.reason not in many)]
    said = [f"{called[cell.cell]}: {_sentence(cell)}" for cell in told]
    for reason, count in many.items():
        verdict = next(cell.verdict for cell in found.cells if cell.reason == reason)
        said.append(f"{count} cells {verdict} ({reason})")
    return [words.plain(one) for one in said]


def _sentence(cell: CellOutcome) -> str:
    return "; ".join([_time(cell), *(f"WORSE: {one.text}" for one in cell.worse), cell.changed])


def _time(cell: CellOutcome) -> str:
    found = cell.time
    if found is None:
        return f"{cell.verdict} ({cell.reason})"
    low, high = 100 * (found.ratio.low - 1), 100 * (found.ratio.high - 1)
    count = f"{found.pairs} pairs"
    if cell.verdict == "slower":
        return f"{percent(found.ratio.value - 1)} slower [{low:.1f}, {high:.1f}], {count}, confirmed"
    if cell.verdict == "faster":
        return f"{percent(found.ratio.value - 1)} faster [{-high:.1f}, {-low:.1f}], {count}, confirmed"
    bounds = f"[{low:+.1f} %, {high:+.1f} %], {count}"
    if cell.verdict == "equivalent":
        return f"equivalent {bounds}"
    needed = f"about {cell.needed} pairs would decide" if cell.needed else "no number of pairs would decide at this spread"
    return f"undecided {bounds}, a pair's spread is {percent(found.spread)}: {needed}"


def headline(found: Outcome, run: GateRun) -> str:
    """One sentence for the whole gate."""
    counts = [f"{len(cells)} {verdict}" for verdict in _VERDICTS if (cells := found.having(verdict))]
    worse = sum(bool(cell.worse) for cell in found.cells)
    more = f", {worse} worse in what is counted" if worse else ""
    return words.plain(
        f"{_count(len(found.cells), 'cell')}, {_count(found.launches, 'launch pair')}, {run.head.revision} against "
        f"{run.base.revision}: {', '.join(counts) or 'nothing measured'}{more}."
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def document(
    found: Outcome, run: GateRun, remarks: Sequence[str], ended: str | None, tolerance_bytes: int, ending: Ending
) -> dict[str, Any]:
    """Everything, as plain JSON values. `ended`: why the gate stopped before all was decided; `remarks`: what holds for all of it."""
    called = names(found.cells)
    findings = [Finding(cell.cell, cell.outcome, f"{called[cell.cell]}: {_sentence(cell)}") for cell in found.cells]
    title = f"gate {run.environment.suite}".strip()
    rows = [_row(called[cell.cell], cell) for cell in found.cells]
    return frame("fabench-gate", title, headline(found, run), ending, findings, remarks, COLUMNS, rows) | {
        "ended": ended, "launches": found.launches, "memory_tolerance_bytes": tolerance_bytes, "run": asdict(run),
        "cells": [asdict(cell) for cell in found.cells],
    }  # fmt: skip


def _row(name: str, cell: CellOutcome) -> tuple[str, ...]:
    time = cell.time
    figures = (
        (words.DASH,) * 4
        if time is None
        else (
            f"{time.ratio.value:.3f}",
            f"{time.ratio.low:.3f}{words.DASH}{time.ratio.high:.3f}",
            str(time.pairs),
            percent(time.spread),
        )
    )
    poor = words.plain("; ".join(one.text for one in cell.worse)) or words.DASH
    return name, cell.verdict, *figures, poor, words.plain(cell.changed)
