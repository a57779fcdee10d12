"""What each measure against noise does: launch pairs of the same code, whose turns are taken in several ways on the same two processes.

Designs share their launch pair, so that its luck is the same for all of them, and are taken in random order. Variants are settings of the process itself;
each has launch pairs of its own, in turns with the others'. Stored are seconds per call by the wall and by the processor's clock of every turn.
"""

from __future__ import annotations

import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fabench.schema import Cell, Job, Measure, from_json, to_json
from fabench.sweep.duet import ROUNDS, Side

__all__ = ["DESIGNS", "VARIANTS", "Design", "Taken", "Variant", "read", "take"]

_KEPT_BACK = 0.8  # as in `fabench.sweep.duet`
_TIMEOUT_S = 60.0
_SERVER = (sys.executable, "-m", "fabench.measure.server")
_UNPINNED = "import os; os.environ.pop('FABENCH_PROCESSORS', None); from fabench.measure.server import main; main()"


@dataclass(frozen=True)
class Design:
    """How turns are taken. `turn_s`: of calls in a turn, one call where it takes as long; `single_s`: from here on one call and none discarded.

    `run`: turns that a side has in a row before the other one has as many. `pause_s`: before each turn.
    """

    name: str
    turn_s: float = 2e-3
    single_s: float = 5e-3
    run: int = 1
    pause_s: float = 0.0


DESIGNS = (
    Design("standard"),
    Design("standard again"),
    Design("one call a turn", turn_s=0.0, single_s=0.0),
    Design("8 ms of calls a turn", turn_s=8e-3, single_s=16e-3),
    Design("four blocks", run=ROUNDS // 4),
    Design("one side after the other", run=ROUNDS),
    Design("20 ms pause before each turn", pause_s=0.02),
)


@dataclass(frozen=True)
class Variant:
    """Settings of both sides' processes; `measure` replaces the suite's, `environment` is added, `command` starts them."""

    name: str
    measure: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = _SERVER


VARIANTS = (
    Variant("standard"),
    Variant("malloc as it is", {"allocator": "system"}),
    Variant("huge pages for malloc", environment={"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
    Variant("two threads", {"threads": 2}),
    Variant("not pinned to a processor", command=(sys.executable, "-c", _UNPINNED)),
)


@dataclass(frozen=True)
class Taken:
    """All turns of one cell on one launch pair by one design: seconds per call, and of the processor's time. `disturbed` as in `Paired`."""

    cell: str
    pair: int
    variant: str
    design: str
    loops: int
    base_s: tuple[float, ...]
    head_s: tuple[float, ...]
    base_cpu_s: tuple[float, ...]
    head_cpu_s: tuple[float, ...]
    disturbed: int


def read(file: Path) -> list[Taken]:
    """What `take` kept."""
    return [from_json(Taken, line) for line in file.read_text(encoding="utf-8").splitlines()]


def take(
    cells: Sequence[Cell], measure: Measure, tree: Path, pairs: int, variants: Sequence[Variant], file: Path, seed: int,
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    """Appends all turns to `file`; pairs that are there already are not measured again."""
    done = {(one.pair, one.variant) for one in read(file)} if file.exists() else set()
    for pair in range(pairs):
        order = random.Random(f"{seed}/{pair}")
        for variant in order.sample(list(variants), len(variants)):
            if (pair, variant.name) in done:
                continue
            tell(f"pair {pair + 1} of {pairs}: {variant.name}")
            found = list(_launch(cells, replace(measure, witness=False, **variant.measure), tree, variant, pair, order))
            with file.open("a", encoding="utf-8") as lines:  # all of a launch pair or nothing, so that a broken one is repeated
                lines.writelines(to_json(one) + "\n" for one in found)


@contextmanager
def _added(settings: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _launch(
    cells: Sequence[Cell], measure: Measure, tree: Path, variant: Variant, pair: int, order: random.Random
) -> Iterator[Taken]:
    with _added(variant.environment):
        sides = [Side(name, tree, measure, command=variant.command) for name in ("base", "head")]
        try:
            for side in sides:
                side.spawn()
            for side in sides:
                side.start()
            yield from _cells(cells, measure, sides, variant, pair, order)
        finally:
            for side in sides:
                side.close()


def _cells(
    cells: Sequence[Cell], measure: Measure, sides: Sequence[Side], variant: Variant, pair: int, order: random.Random
) -> Iterator[Taken]:
    for cell in cells:
        mixed = order.sample(sides, 2)
        for side in mixed:
            side.begin(Job(cell, measure), _TIMEOUT_S)
        for side in mixed:
            side.prepared()
        call_s = max(min(side.ping(1, 0).seconds for _ in range(3)) for side in mixed)
        designs = list(DESIGNS) if variant is VARIANTS[0] else list(DESIGNS[:1])
        for design in order.sample(designs, len(designs)):
            yield _turns(mixed, cell.id, pair, variant.name, design, call_s)
        for side in mixed:
            side.finish()


def _turns(sides: Sequence[Side], cell: str, pair: int, variant: str, design: Design, call_s: float) -> Taken:
    single = call_s >= design.single_s
    loops, discard = (1, 0) if single else (max(1, math.ceil(design.turn_s / call_s)), 1)
    wall: dict[str, list[float]] = {side.name: [] for side in sides}
    cpu: dict[str, list[float]] = {side.name: [] for side in sides}
    kept_back: dict[str, list[bool]] = {side.name: [] for side in sides}
    for number in range(ROUNDS // design.run):
        for side in sides if number % 2 == 0 else reversed(sides):
            for _ in range(design.run):
                if design.pause_s:
                    time.sleep(design.pause_s)
                pong = side.ping(loops, discard)
                wall[side.name].append(pong.seconds / loops)
                cpu[side.name].append(pong.cpu_s / loops)
                kept_back[side.name].append(pong.cpu_s < _KEPT_BACK * pong.seconds)
    disturbed = sum(map(any, zip(*kept_back.values(), strict=True)))
    walls, cpus = (tuple(tuple(found[name]) for name in ("base", "head")) for found in (wall, cpu))
    return Taken(cell, pair, variant, design.name, loops, walls[0], walls[1], cpus[0], cpus[1], disturbed)
