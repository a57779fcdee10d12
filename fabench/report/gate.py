"""What a gate says: a sentence per cell, a Markdown summary, and the one JSON document that everything else is rendered from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fabench import __version__
from fabench.analysis.outcome import CellOutcome, Outcome
from fabench.paired import GateRun
from fabench.report import words

__all__ = ["document", "headline", "markdown", "sentence"]

_SHORT = {"float64": "fp64", "float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_MOST_ROWS = 200


def _name(cell: CellOutcome) -> str:
    return words.plain(f"{cell.implementation}, n={cell.n}, {_SHORT.get(cell.dtype, cell.dtype)}, {cell.mode}")


def _change(ratio: float) -> str:
    return f"{abs(ratio - 1):.1%}"


def sentence(cell: CellOutcome) -> str:
    """`factorized, n=4096, fp32, fwd: 8.1 % slower [6.9, 9.4], 12 pairs; factorized changed`, and what else got worse."""
    parts = [_time(cell), *(f"WORSE: {one.text}" for one in cell.worse)]
    return f"{_name(cell)}: {'; '.join(parts)}; {cell.changed}"


def _time(cell: CellOutcome) -> str:
    found = cell.time
    if found is None:
        return words.plain(f"not measured ({cell.reason})")
    low, high = 100 * (found.ratio.low - 1), 100 * (found.ratio.high - 1)
    count = f"{found.pairs} pairs"
    if cell.verdict == "slower":
        return f"{_change(found.ratio.value)} slower [{low:.1f}, {high:.1f}], {count}, confirmed"
    if cell.verdict == "faster":
        return f"{_change(found.ratio.value)} faster [{-high:.1f}, {-low:.1f}], {count}, confirmed"
    if cell.verdict == "equivalent":
        return f"equivalent [{low:+.1f} %, {high:+.1f} %], {count}"
    needed = f"about {cell.needed} pairs would decide" if cell.needed else "no number of pairs would decide at this spread"
    return f"undecided [{low:+.1f} %, {high:+.1f} %], {count}, a pair's spread is {found.spread:.1%}: {needed}"


def headline(found: Outcome, run: GateRun) -> str:
    """One sentence for the whole gate."""
    counts = [
        f"{len(cells)} {verdict}"
        for verdict in ("slower", "faster", "equivalent", "undecided", "not measured")
        if (cells := found.having(verdict))
    ]
    worse = sum(bool(cell.worse) for cell in found.cells)
    more = f", {worse} worse in what is counted" if worse else ""
    return (
        f"{len(found.cells)} cells, {found.launches} launch pairs, {words.plain(run.base.revision)} against "
        f"{words.plain(run.head.revision)}: {', '.join(counts) or 'nothing measured'}{more}."
    )


def markdown(found: Outcome, run: GateRun, promise: str) -> str:
    """Headline, what the gate can promise, what got worse in sentences, and a table of all cells."""
    lines = [
        f"## fabench gate: {'worse' if found.worse else 'nothing worse'}",
        "",
        _escaped(headline(found, run)),
        "",
        _escaped(words.plain(promise)),
        "",
    ]
    lines += [f"- {_escaped(sentence(cell))}" for cell in found.worse]
    lines += [
        "",
        "| cell | verdict | time, head / base | 95 % | pairs | spread | what changed |",
        "|---|---|--:|---|--:|--:|---|",
    ]
    for cell in found.cells[:_MOST_ROWS]:
        time = cell.time
        row = (
            (words.DASH,) * 4
            if time is None
            else (f"{time.ratio.value:.3f}", f"{time.ratio.low:.3f}–{time.ratio.high:.3f}", str(time.pairs), f"{time.spread:.1%}")
        )
        lines.append("| " + " | ".join(_escaped(text) for text in (_name(cell), cell.verdict, *row, cell.changed)) + " |")
    if len(found.cells) > _MOST_ROWS:
        lines.append(f"\n{len(found.cells) - _MOST_ROWS} more cells are in the JSON document.")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def document(found: Outcome, run: GateRun, ended: str | None, promise: str, exit_code: int) -> dict[str, Any]:
    """Everything, as plain JSON values. `ended`: why the gate stopped before all was decided; `promise`: what a self-test showed."""
    return {
        "format": "fabench-gate", "version": 1, "fabench": __version__, "headline": headline(found, run), "exit_code": exit_code,
        "ended": ended, "promise": promise, "launches": found.launches, "run": asdict(run), "cells": [{**asdict(cell), "sentence": sentence(cell)} for cell in found.cells],
    }  # fmt: skip
