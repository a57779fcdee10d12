"""A gate as stored: what was compared with what (`gate.json`), and one line of `pairs.jsonl` for each cell of each launch pair.

A launch pair is two fresh processes, base and head, that took turns call by call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fabench.median import median
from fabench.schema import SCHEMA_VERSION, Cell, Environment, Record

__all__ = ["GateRun", "Paired", "Sources"]


@dataclass(frozen=True, slots=True)
class Sources:
    """What one side ran: the commit ("+" where files differ from it), and hashes of what decides a number; see `fabench.sources`.

    `implementations`: of the source; `programs`: of the same without comments and layout, which no machine runs.
    """

    commit: str
    revision: str
    harness: str
    implementations: dict[str, str | None]
    programs: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateRun:
    """What a gate compares, and by which rule. `dependencies`: files that state them and differ. `base_packages` and `head_packages`:
    versions of all packages of the sides' own environments; None where both ran in the one that `environment` describes.

    `slow_down`: work planted beside head's calls as a share of their time, in the cell called `slowed` or in all; 0 but in a self-test.
    """

    base: Sources
    head: Sources
    environment: Environment
    seed: int
    min_effect: float
    alpha: float
    looks: tuple[int, ...]
    slow_down: float = 0.0
    slowed: str | None = None
    dependencies: tuple[str, ...] = ()
    base_packages: dict[str, str] | None = None
    head_packages: dict[str, str] | None = None
    schema: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Paired:
    """`base_s`, `head_s`: seconds per call of each round, in measured order. `first`: who began the first round; rounds alternate.

    `reason`: why there are no rounds, else None. `base` and `head`: the sides' records (check, memory, what they cost). `disturbed`:
    rounds in which either side was kept from its processor (None where calls do not run on one); `repeated`: whether the rounds were taken again because most were.
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
