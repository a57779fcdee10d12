"""`fabench gate`: is anything slower than at another revision? Both are measured here and now, in turns; nothing stored is trusted for time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fabench.cli import _options as o
from fabench.cli import _verdict as v
from fabench.cli._console import notes, safe
from fabench.cli._gating import Rules, cells_of, in_own_environments, launch_pairs, request, rule_from, same_sources
from fabench.cli._session import Session, open_session
from fabench.cli.selftest import identity, shelf
from fabench.errors import ExitCode, StoreError, UsageError
from fabench.store import Gate, GateFolder, find_gates, read_gate
from fabench.suite import Suite, asked_again, load
from fabench.sweep.worktree import checked_out, top_of, working_tree
from fabench.units import parse_duration

if TYPE_CHECKING:
    from fabench.analysis.outcome import Outcome

__all__ = ["command"]


def command(
    base: Annotated[str | None, typer.Option("--base", help="The revision to compare with, e.g. origin/main.")] = None,
    head: Annotated[str | None, typer.Option("--head", help="A revision to compare, in place of the working tree.")] = None,
    suite: Annotated[str, typer.Option("--suite", help="A suite's name or file; this checkout's.")] = "ci",
    min_effect: o.MinEffect = 0.05, alpha: o.Alpha = 0.05, looks: o.Looks = "5,8,12",
    budget: Annotated[str, typer.Option(help="Time after which no further launch pair is begun.")] = "15 min",
    seed: Annotated[int | None, typer.Option(help="Of the order of sides; drawn if not given, and recorded.")] = None,
    memory: v.Memory = None, exact: v.Exact = False,
    where: o.Where = None, settings: o.Set = None,
    inconclusive: v.Inconclusive = "pass", advisory: v.Advisory = False,
    own: Annotated[
        bool, typer.Option("--own-environments", help="Run each side with the packages that its own pyproject.toml states.")
    ] = False,
    environment_command: Annotated[
        str | None, typer.Option("--environment-command", metavar="COMMAND", help="Makes an environment in place of venv and pip: COMMAND CHECKOUT FOLDER.")
    ] = None,
    resume: Annotated[str | None, typer.Option("--resume", metavar="GATE", help="Go on with this gate's folder (or `latest`).")] = None,
    results: o.Results = Path("results"),
    summary: v.Summary = None, junit: v.JUnit = None, annotations: v.Annotations = False, as_json: v.AsJson = False,
    wait: o.Wait = False,
) -> int:  # fmt: skip
    """Compare the working tree with another revision, in turns, and fail where something is slower or takes more memory."""
    outputs = v.outputs(inconclusive, advisory, summary, junit, annotations, as_json)
    tolerance, total_s = v.tolerance(memory, exact), _duration("--budget", budget)
    rule = rule_from(min_effect, alpha, looks)
    if environment_command is not None and not own:
        raise UsageError("--environment-command makes the sides' own environments; give --own-environments with it")
    top = top_of(Path.cwd())
    earlier = None if resume is None else _earlier(resume, results)
    if earlier is not None:
        wanted = asked_again(earlier.suite_text, earlier.run.environment.suite, earlier.run.environment.overrides)
        base, head = (
            earlier.run.base.commit,
            None if earlier.run.head.revision == working_tree(top).revision else earlier.run.head.commit,
        )
    elif base is None:
        raise UsageError("name the revision to compare with, for example: fabench gate --base origin/main")
    else:
        wanted = load(suite, o.overrides(settings), where)
    with ExitStack() as stack:
        base_tree = stack.enter_context(checked_out(top, base))
        head_tree = working_tree(top) if head is None else stack.enter_context(checked_out(top, head))
        if own or (earlier is not None and earlier.run.base_packages is not None):
            base_tree, head_tree = in_own_environments(base_tree, head_tree, environment_command)
        session = stack.enter_context(open_session(wanted, wait))
        cells = cells_of(session)
        promise = _promise(wanted, session, rule)
        if earlier is None:
            run = request(wanted, session, base_tree, head_tree, cells, seed, rule)
            folder = GateFolder.create(results, run, wanted.text, "gate")
        else:
            run, folder = earlier.run, GateFolder(earlier.path)
            same_sources(run, base_tree, head_tree, cells)
            folder.open()
        stack.callback(folder.close)
        try:
            ended = launch_pairs(
                wanted, run, base_tree, head_tree, cells, folder, session, _decide(rule), run.looks, total_s,
                () if earlier is None else earlier.pairs,
            )  # fmt: skip
        except KeyboardInterrupt:
            notes.print(f"[bold red]fabench:[/] interrupted; go on with: fabench gate --resume {safe(folder.path)}")
            return ExitCode.INTERRUPTED
    return _told(read_gate(folder.path), ended, promise, tolerance, outputs)


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _decide(rule: Rules) -> Callable[[Mapping[str, Sequence[float]]], set[str]]:
    from fabench.analysis.gate import Rule, verdicts

    return lambda ratios: {one.cell for one in verdicts(ratios, Rule(*rule)) if one.verdict == "undecided"}


def _promise(suite: Suite, session: Session, asked: Rules) -> str:
    """What a self-test of this suite showed here, in words. Raises UsageError for a threshold that this machine can't resolve.

    A gate whose cells find twice the threshold in less than 95 of 100 would mostly say "undecided", and is not worth its time.
    """
    from fabench.analysis.gate import Rule, pairs_needed, promised

    try:
        known = shelf().recall(identity(suite, session))
    except StoreError as error:
        return f"what this gate can promise here is not known: {error}"
    if known is None:
        return "what this gate can promise here is not known; `fabench selftest` measures it"
    rule, count = Rule(*asked), len(known.promises)
    worst = max(known.promises, key=lambda one: one.spread)
    effect = promised(worst.spread, rule, count)
    if effect is None or effect > 2 * rule.min_effect:
        needed = pairs_needed(worst.spread, rule, count, 2 * rule.min_effect)
        advice = (
            f"--looks {_looks_to(needed)} would find {2 * rule.min_effect:.0%}"
            if needed
            else "no number of launch pairs would do"
        )
        least = "nothing" if effect is None else f"{effect:.1%}"
        raise UsageError(
            f"--min-effect {rule.min_effect:g} is too fine for this machine: {worst.cell} spreads by {worst.spread:.1%} from pair to "
            f"pair, so {least} is what is found in 95 of 100 gates; {advice}, or give a larger --min-effect"
        )
    said = f"promised here: {effect:.1%} or more is found in 95 of 100 gates in every cell"
    if (known.min_effect, known.alpha, known.looks) != asked:
        return said
    alarms = known.alarms
    return f"{said}; false alarms in {alarms.value:.1%} of gates [{alarms.low:.1%}, {alarms.high:.1%}] (self-test of {known.pairs} launch pairs)"


def _looks_to(pairs: int) -> str:
    """Three looks that end at so many pairs."""
    return ",".join(str(max(2, round(pairs * share))) for share in (0.4, 0.7)) + f",{pairs}"


def _earlier(resume: str, results: Path) -> Gate:
    if resume != "latest":
        return read_gate(Path(resume))
    found = [path for path in find_gates(results) if "-gate-" in path.name]
    if not found:
        raise UsageError(f"no gate to resume in {results}; start one with `fabench gate --base REV`")
    return read_gate(found[-1])


def _told(found: Gate, ended: str | None, promise: str, tolerance_bytes: int, outputs: v.Outputs) -> int:
    from fabench.analysis.outcome import outcome
    from fabench.report.gate import document, headline, sentences

    result = outcome(found.run, found.pairs, tolerance_bytes)
    code = _code(result, outputs.fail_undecided)
    warnings = (*found.warnings, *([f"not all was decided: {ended}"] if ended else []))
    told = document(result, found.run, (promise, *warnings), ended, tolerance_bytes, outputs.ending(code))
    outputs.print(told)
    for line in sentences(result):
        notes.print(safe(line))
    notes.print(f"[bold]{safe(headline(result, found.run))}[/]")
    notes.print(safe(promise))
    for warning in warnings:
        notes.print(f"[yellow]warning:[/] {safe(warning)}")
    outputs.write(told)
    notes.print(f"pairs: {safe(found.path)}")
    return outputs.leave(code)


def _code(result: Outcome, fail_undecided: bool) -> ExitCode:
    """A gate that compared nothing has measured nothing, whoever's fault that is."""
    if result.worse:
        return ExitCode.FAILED
    if result.having("not measured") or all(cell.time is None for cell in result.cells):
        return ExitCode.NOT_MEASURED
    return ExitCode.UNDECIDED if fail_undecided and result.having("undecided") else ExitCode.FINE
