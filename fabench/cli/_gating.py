"""What `gate` and `selftest` do alike: two checkouts, a stored request, launch pairs of their cells."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from fabench.cli._console import notes, safe
from fabench.cli._session import Session, say
from fabench.environment import child_settings, collect
from fabench.errors import NotComparable, UsageError
from fabench.paired import GateRun, Paired, Sources
from fabench.schema import Cell
from fabench.sources import harness_hash, implementation_hash, package_of, program_hash
from fabench.store import GateFolder
from fabench.suite import Suite
from fabench.sweep.duet import Side, server_command
from fabench.sweep.environments import own_environment
from fabench.sweep.gate import Decide, gate
from fabench.sweep.worktree import Tree, dependencies_changed

__all__ = ["Rules", "cells_of", "in_own_environments", "launch_pairs", "request", "rule_from", "same_sources", "sources"]

Rules: TypeAlias = tuple[float, float, tuple[int, ...]]  # min_effect, alpha, looks: see `analysis.gate.Rule`


def rule_from(min_effect: float, alpha: float, looks: str) -> Rules:
    """The rule as it was asked for. Raises UsageError for one that can't be."""
    from fabench.analysis.gate import Rule

    try:
        rule = (min_effect, alpha, tuple(int(part) for part in looks.split(",")))
    except ValueError:
        raise UsageError(f"--looks {looks[:40]!r} is no list of whole numbers; write for example 5,8,12") from None
    try:
        Rule(*rule)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return rule


def sources(tree: Tree, cells: Sequence[Cell]) -> Sources:
    """The hashes of what a checkout runs for these cells."""
    package = package_of(tree.path)
    names = sorted({cell.implementation for cell in cells})
    return Sources(
        tree.commit, tree.revision, harness_hash(package),
        {name: implementation_hash(package, name) for name in names}, {name: program_hash(package, name) for name in names},
    )  # fmt: skip


def request(
    suite: Suite, session: Session, base: Tree, head: Tree, cells: Sequence[Cell], seed: int | None, rule: Rules
) -> GateRun:  # fmt: skip
    """What is to be compared, to be stored before anything is measured. `rule`: min_effect, alpha, looks."""
    settings = {key: value for key, value in child_settings(suite.measure).items() if not key.startswith("FABENCH_")}
    environment = collect(suite.name, suite.sha, suite.asked, session.devices, session.built, settings)
    chosen = random.SystemRandom().randrange(2**31) if seed is None else seed
    return GateRun(
        sources(base, cells), sources(head, cells), environment, chosen, *rule,
        dependencies=tuple(dependencies_changed(base.path, head.path)),
        base_packages=base.packages, head_packages=head.packages,
    )  # fmt: skip


def same_sources(run: GateRun, base: Tree, head: Tree, cells: Sequence[Cell]) -> None:
    """Raises NotComparable where the checkouts are not those that an interrupted gate began with."""
    for old, tree, packages in ((run.base, base, run.base_packages), (run.head, head, run.head_packages)):
        if tree.packages != packages:
            raise NotComparable(
                f"the packages of {tree.revision}'s environment are others than when this gate began; start a new one"
            )
        new = sources(tree, cells)
        if (new.harness, new.implementations) != (old.harness, old.implementations):
            raise NotComparable(
                f"{tree.revision} is not what this gate began with ({old.commit[:12]}); start a new one without --resume"
            )


def in_own_environments(base: Tree, head: Tree, command: str | None) -> tuple[Tree, Tree]:
    """Both checkouts, each with an environment of its own, which may be the same one. Raises WorkerError where one can't be made."""
    found = []
    for name, tree in (("base", base), ("head", head)):
        own = own_environment(name, tree.path, command, say)
        found.append(replace(tree, python=own.python, packages=own.packages))
    same = found[0].python == found[1].python
    say(
        "both sides state the same dependencies: one environment serves both" if same else "each side runs in its own environment"
    )
    return found[0], found[1]


def cells_of(session: Session) -> list[Cell]:
    """The cells that are measured: what a suite skips is skipped here too. Raises UsageError where none is left."""
    cells = [planned.cell for planned in session.planned if planned.skip is None]
    if not cells:
        raise UsageError("the suite skips all of its cells; nothing is left to compare")
    return cells


def launch_pairs(
    suite: Suite, run: GateRun, base: Tree, head: Tree, cells: Sequence[Cell], folder: GateFolder, session: Session,
    decide: Decide, looks: Sequence[int], total_s: float, done: Sequence[Paired] = (),
) -> str | None:  # fmt: skip
    """Runs and stores launch pairs; see `fabench.sweep.gate.gate`. A cell that a side does not have is stored as such and not run."""
    session.server.close()  # the sides have servers of their own, and nothing else may run beside them
    measured = []
    for cell in cells:
        lacking = [
            name
            for name, side in (("base", run.base), ("head", run.head))
            if side.implementations.get(cell.implementation) is None
        ]
        if not lacking:
            measured.append(cell)
        elif not any(one.cell == cell for one in done):
            folder.append(Paired(cell, 0, "base", reason=f"{' and '.join(lacking)} has no {cell.implementation}"))
    # Both hold the cell at once.
    limit = None if session.limit_bytes is None else session.limit_bytes // 2
    measure = replace(suite.measure, witness=False)

    def sides() -> tuple[Side, Side]:
        slowed = Side("head", head.path, measure, run.slow_down, run.slowed, server_command(head.python))
        return Side("base", base.path, measure, command=server_command(base.python)), slowed

    return gate(
        measured, sides, measure, looks, decide, folder.append, _tell,
        seed=run.seed, cell_s=suite.budget.cell_s, limit_bytes=limit, total_s=None if math.isinf(total_s) else total_s, done=done,
    )  # fmt: skip


def _tell(text: str) -> None:
    if notes.is_terminal:
        notes.print(safe(text), end="\r", overflow="crop", no_wrap=True)
