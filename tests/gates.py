"""Gates made by hand: launch pairs with known ratios, and what the sides ran."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from fabench.paired import GateRun, Paired, Sources
from fabench.schema import Case, Cell, Memory, Record, Status
from tests import synthetic

SOURCES = Sources("0" * 40, "v1", "harness", {"factorized": "f1", "dot_product": "d1"}, {"factorized": "p1", "dot_product": "q1"})
# Five pairs that differ by a little: log ratios around nought, with mean and median 0.
JITTER = (-0.004, -0.002, 0.0, 0.002, 0.004)


def cell(n: int = 4096, implementation: str = "factorized", heads: int = 2) -> Cell:
    return Cell(implementation, "cpu", Case(n=n, m=n, heads=heads, d_k=8, d_v=8))


def run(head: Sources | None = None, **changes: object) -> GateRun:
    head = head or replace(SOURCES, revision="the working tree")
    known = replace(synthetic.environment(), suite="ci")
    return replace(GateRun(SOURCES, head, known, 7, 0.05, 0.05, (5, 8, 12)), **changes)  # type: ignore[arg-type]


def ok(where: Cell, peak_bytes: int = 10**6) -> Record:
    return Record(where, Status.OK, function="f", memory=Memory(0, peak_bytes, peak_bytes, 0, 0, saved_bytes=0), flop=10**6)


def pairs(
    where: Cell, ratio: float = 1.0, jitter: Sequence[float] = JITTER, peaks: tuple[int, int] = (10**6, 10**6)
) -> list[Paired]:
    """Launch pairs whose log ratios are log(ratio) + jitter."""
    return [
        Paired(
            where, number, "base", 1, (0.001,) * 20, (0.001 * ratio * math.exp(odd),) * 20, 0,
            base=ok(where, peaks[0]), head=ok(where, peaks[1]),
        )
        for number, odd in enumerate(jitter)
    ]  # fmt: skip


def failed(where: Cell, reason: str, base: Record | None = None, head: Record | None = None) -> list[Paired]:
    return [Paired(where, number, "base", reason=reason, base=base, head=head) for number in range(2)]


def ended(where: Cell, status: Status, reason: str, limit_bytes: int | None = None) -> Record:
    return Record(where, status, reason, memory_limit_bytes=limit_bytes)
