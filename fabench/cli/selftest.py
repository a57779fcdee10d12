"""`fabench selftest`: this code against itself, and against itself with work planted, in launch pairs; what a gate can promise here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabench import noise
from fabench.cli import _options as o
from fabench.cli._console import notes, safe
from fabench.cli._gating import Rules, cells_of, launch_pairs, request, rule_from
from fabench.cli._session import Session, open_session
from fabench.environment import child_settings
from fabench.errors import ExitCode, StoreError, UsageError, WorkerError
from fabench.kept import Shelf
from fabench.median import median
from fabench.paired import Paired
from fabench.schema import Cell
from fabench.store import Gate, GateFolder, read_gate
from fabench.suite import Suite, load
from fabench.sweep.worktree import Tree, top_of, working_tree

if TYPE_CHECKING:
    from fabench.analysis.selftest import SelfTest

__all__ = ["command", "identity", "kept_here", "shelf"]


def command(
    suite: Annotated[str, typer.Option("--suite", help="A suite's name or file.")] = "ci",
    pairs: Annotated[int, typer.Option("--pairs", min=5, help="Launch pairs of unchanged code.")] = 20,
    effects: Annotated[str, typer.Option(help="Planted slow-downs, as shares.")] = "0.02,0.05,0.1,0.2",
    planted: Annotated[int, typer.Option("--planted", min=5, help="Launch pairs of each planted slow-down.")] = 10,
    cell: Annotated[str | None, typer.Option("--cell", help="The id of the cell that is slowed down; one in the middle if not given.")] = None,
    min_effect: o.MinEffect = 0.05, alpha: o.Alpha = 0.05, looks: o.Looks = "5,8,12",
    seed: Annotated[int | None, typer.Option(help="Of the order of sides; drawn if not given, and recorded.")] = None,
    where: o.Where = None, settings: o.Set = None, results: o.Results = Path("results"), wait: o.Wait = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:  # fmt: skip
    """Measure how often a gate on this machine would cry wolf, and which slow-downs it finds."""
    rule = rule_from(min_effect, alpha, looks)
    asked = _shares(effects)
    wanted = load(suite, o.overrides(settings), where)
    tree = working_tree(top_of(Path.cwd()))
    with ExitStack() as stack:
        session = stack.enter_context(open_session(wanted, wait))
        cells = cells_of(session)
        if cell is not None and cell not in {one.id for one in cells}:
            raise UsageError(f"--cell {cell[:80]!r} is none of the suite's cells; `fabench list cells {wanted.name}` lists them")
        try:
            unchanged = _pairs(wanted, session, tree, cells, seed, rule, pairs, results)
            middle = _middle(unchanged.pairs)
            slowed = cell or middle
            found = {
                effect: _pairs(wanted, session, tree, [one for one in cells if one.id == slowed], seed, rule, planted, results, effect, slowed)
                for effect in asked
            }  # fmt: skip
        except KeyboardInterrupt:
            notes.print(f"[bold red]fabench:[/] interrupted; the pairs so far are in {safe(results)}")
            return ExitCode.INTERRUPTED
    return _told(wanted, session, rule, unchanged, slowed, found, as_json)


def _shares(text: str) -> list[float]:
    try:
        shares = [float(part) for part in text.split(",") if part]
    except ValueError:
        shares = [math.nan]
    if any(not 0 < share < 10 for share in shares):
        raise UsageError(f"--effects {text[:40]!r} is no list of shares; write for example 0.05,0.1")
    return shares


def _pairs(
    suite: Suite, session: Session, tree: Tree, cells: Sequence[Cell], seed: int | None, rule: Rules, count: int, results: Path,
    slow_down: float = 0.0, slowed: str | None = None,
) -> Gate:  # fmt: skip
    """`count` launch pairs of the same code, stored like a gate's."""
    run = replace(request(suite, session, tree, tree, cells, seed, rule), slow_down=slow_down, slowed=slowed)
    folder = GateFolder.create(results, run, suite.text, "selftest")
    notes.print(
        f"{count} launch pairs of {len(cells)} cells, " + (f"{slow_down:.0%} planted" if slow_down else "nothing changed")
    )
    try:
        launch_pairs(suite, run, tree, tree, cells, folder, session, lambda ratios: set(), (count,), math.inf)
    finally:
        folder.close()
    return read_gate(folder.path)


def _ratios(pairs: Sequence[Paired]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in pairs:
        if (ratio := one.log_ratio) is not None:
            found.setdefault(one.cell.id, []).append(ratio)
    return found


def _middle(pairs: Sequence[Paired]) -> str:
    """The cell whose call takes as long as the middle one's. Raises WorkerError where none was measured."""
    times = {one.cell.id: median(one.base_s) for one in pairs if one.base_s}
    if not times:
        why = next((one.reason for one in pairs if one.reason), "no reason known")
        raise WorkerError(f"no cell of the suite could be measured ({why}); run `fabench check` on it first")
    return sorted(times, key=lambda name: times[name])[len(times) // 2]


def shelf() -> Shelf[SelfTest]:
    """Where self-tests are kept."""
    from fabench.analysis.selftest import SelfTest

    return Shelf("selftest.json", SelfTest, "self-tests", "fabench selftest")


def identity(suite: Suite, session: Session) -> dict[str, Any]:
    """What a self-test holds for: machine, device, settings and torch as a noise sheet, and the suite."""
    of = noise.identity(session.devices[session.device], session.built, child_settings(suite.measure))
    return of | {"suite": suite.sha, "where": suite.where}


def _told(
    suite: Suite, session: Session, rule: Rules, unchanged: Gate, slowed: str, planted: Mapping[float, Gate], as_json: bool
) -> int:
    from fabench.analysis.gate import Rule
    from fabench.analysis.selftest import self_test

    ratios = _ratios(unchanged.pairs)
    full = max(len(values) for values in ratios.values())
    whole = {name: values for name, values in ratios.items() if len(values) == full}
    for name in sorted({one.cell.id for one in unchanged.pairs} - whole.keys()):
        notes.print(f"[yellow]warning:[/] {safe(name)} could not be measured in every pair, and is left out")
    changed = {(slowed, effect): _ratios(found.pairs).get(slowed, []) for effect, found in planted.items()}
    try:
        result = self_test(whole, {key: values for key, values in changed.items() if values}, Rule(*rule), unchanged.run.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    result = replace(result, suite=suite.name, measured_at=unchanged.run.environment.started_at)
    if as_json:
        typer.echo(json.dumps(asdict(result) | {"promise": result.promise}))
    for line in lines(result):
        notes.print(safe(line))
    try:
        notes.print(f"kept in {safe(shelf().remember(identity(suite, session), result))}")
    except StoreError as error:
        notes.print(f"[yellow]warning:[/] {safe(error)}")
    return ExitCode.FINE


def kept_here(of_machine: Mapping[str, Any]) -> list[tuple[SelfTest, str]]:
    """Self-tests that are kept of this machine and device, whatever their suite and threads, each with what a gate makes of it.

    `of_machine`: the device's `noise.identity`. Raises StoreError for a file that is broken.
    """
    found = []
    for of, known in shelf().entries():
        if all(of.get(name) == of_machine[name] for name in _MACHINE):
            found.append((known, _use(of, known, of_machine)))
    return found


_MACHINE = ("machine", "device", "uuid")


def _use(of: Mapping[str, Any], known: SelfTest, of_machine: Mapping[str, Any]) -> str:
    """Why a gate does not take it, as far as that can be told without its suite's settings; "" where it may."""
    if of.get("torch") != of_machine["torch"]:
        return f"measured with torch {of.get('torch')}, this is {of_machine['torch']}"
    try:
        suite = None if known.suite is None else load(known.suite)
    except UsageError:
        suite = None
    if suite is None or suite.sha != of.get("suite"):
        return "of another text, other settings or a filter: gates of the plain suite do not take it"
    return ""


def lines(found: SelfTest) -> list[str]:
    """The self-test in words."""
    alarms = found.alarms
    said = [
        f"false alarms: {alarms.value:.1%} of gates [{alarms.low:.1%}, {alarms.high:.1%}], {found.gates} drawn from {found.pairs} launch pairs"
    ]
    for one in found.planted:
        power = one.power
        said.append(
            f"{one.asked:.0%} planted in {one.cell}: measured {one.measured:+.1%}, called slower in {power.value:.0%} "
            f"of gates [{power.low:.0%}, {power.high:.0%}], {one.pairs} launch pairs"
        )
    worst = max(found.promises, key=lambda one: math.inf if one.effect is None else one.effect)
    least = "nothing" if worst.effect is None else f"{worst.effect:.1%}"
    said.append(f"found in 95 of 100 gates in every cell: {least} or more (a pair of {worst.cell} spreads by {worst.spread:.1%})")
    return said
