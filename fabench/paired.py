"""One cell of one launch pair, as stored: two fresh processes, base and head, that took turns call by call. One line of `pairs.jsonl`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fabench.median import median
from fabench.schema import Cell, Record

__all__ = ["Paired"]


@dataclass(frozen=True, slots=True)
class Paired:
    """`base_s`, `head_s`: seconds per call of each round, in measured order. `first`: who began the first round; rounds alternate.

    `reason`: why there are no rounds, else None. `base` and `head`: the sides' records (check, memory, what they cost). `disturbed`:
    rounds in which either side was kept from its processor; `repeated`: whether the rounds were taken again because most were.
    """

    cell: Cell
    pair: int
    first: str
    loops: int | None = None
    base_s: tuple[float, ...] = ()
    head_s: tuple[float, ...] = ()
    disturbed: int | None = None
    repeated: bool = False
    reason: str | None = None
    base: Record | None = None
    head: Record | None = None

    @property
    def log_ratio(self) -> float | None:
        """The pair's one number: the median over rounds of log(head / base); None without rounds."""
        if not self.base_s:
            return None
        return median([math.log(head / base) for base, head in zip(self.base_s, self.head_s, strict=True)])
