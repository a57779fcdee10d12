"""`fabench compare`: what became different between stored results, or between a baseline file and a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabench.baseline import depends_on, parse
from fabench.cli import _verdict as v
from fabench.cli._console import notes, safe
from fabench.cli._stored import SIDE, Stored, between, of_one_code, read, read_sheets
from fabench.errors import ExitCode, NotComparable, StoreError, UsageError
from fabench.lines import reason_of
from fabench.sheet import SheetFile

if TYPE_CHECKING:
    from fabench.analysis.compare import Comparison
    from fabench.analysis.launches import Launch, Rule

__all__ = ["command"]

_LONGEST = 80


def command(
    sides: Annotated[list[str], typer.Argument(metavar="BASE HEAD", help=f"{SIDE} With --baseline: HEAD alone.")],
    baseline: Annotated[Path | None, typer.Option("--baseline", help="Compare with this file; see `fabench baseline`.")] = None,
    kernels: Annotated[
        tuple[Path, Path] | None, typer.Option("--kernels", help="Kernel sheets of BASE and HEAD; else kernels.json in the folders.")
    ] = None,
    min_effect: Annotated[float, typer.Option(help="The smallest change of time that matters (0.1 = 10 %).")] = 0.1,
    alpha: Annotated[float, typer.Option(help="Chance that any unchanged cell is called slower.")] = 0.05,
    memory: v.Memory = None, exact: v.Exact = False,
    independent: Annotated[
        bool, typer.Option("--independent", help="Different environments: compare what does not depend on them.")
    ] = False,
    inconclusive: v.Inconclusive = "pass", advisory: v.Advisory = False,
    summary: v.Summary = None, junit: v.JUnit = None, annotations: v.Annotations = False, as_json: v.AsJson = False,
) -> int:  # fmt: skip
    """Compare stored results: what is counted exactly, time only from many launches a side."""
    wanted = v.outputs(inconclusive, advisory, summary, junit, annotations, as_json)
    if len(sides) != (2 if baseline is None else 1):
        raise UsageError("name BASE and HEAD, or one run with --baseline FILE")
    rule, tolerance = _rule(min_effect, alpha), v.tolerance(memory, exact)
    base = [] if baseline is not None else read(sides[0])
    head = read(sides[-1])
    for name, side in (("BASE", base), ("HEAD", head)):
        of_one_code(name, side)
    if baseline is None:
        found = _stored(base, head, rule, tolerance, independent)
    else:
        found = _against(baseline, head, tolerance, independent)
    if not found.cells:
        raise NotComparable(f"no cell of {sides[0] if baseline is None else baseline} is in {sides[-1]}")
    if baseline is None or kernels is not None:
        found = _with_kernels(found, kernels, base, head)
    names = (_label(sides[0], base) if baseline is None else str(baseline), _label(sides[-1], head))
    return _told(found, names, wanted)


def _label(text: str, runs: Sequence[Stored]) -> str:
    return text if len(text) <= _LONGEST else f"{len(runs)} runs from {runs[0].name} on"


def _rule(min_effect: float, alpha: float) -> Rule:
    from fabench.analysis.launches import Rule

    try:
        return Rule(min_effect, alpha)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _launches(runs: Sequence[Stored]) -> list[Launch]:
    from fabench.analysis.launches import Launch

    return [Launch(run.name, run.environment, run.records) for run in runs]


def _stored(base: Sequence[Stored], head: Sequence[Stored], rule: Rule, tolerance: int, independent: bool) -> Comparison:
    from fabench.analysis.compare import compare

    old, new = base[0].environment, head[0].environment
    apart = between(old, new)
    _allowed(apart, independent)
    found = compare(_launches(base), _launches(head), rule, tolerance, independent=bool(apart))
    said = [*found.notes]
    if old.suite_hash != new.suite_hash:
        said.append("the suite changed: only cells that are in both are compared")
    if old.code_hash == new.code_hash:
        said.append("the measuring code is the same on both sides")
    return replace(found, notes=tuple(said))


def _against(file: Path, head: Sequence[Stored], tolerance: int, independent: bool) -> Comparison:
    from fabench.analysis.compare import against

    try:
        known = parse(file.read_bytes(), str(file))
    except OSError as error:
        raise StoreError(f"can't read {file}: {reason_of(error)}; write one with `fabench baseline save RUN {file}`") from None
    sheets = None if head[-1].kernels is None else read_sheets(head[-1].kernels)
    now = depends_on(head[0].environment)
    if known.kernels and sheets is not None:
        now["kernels.triton"] = sheets.triton
    elif known.kernels:
        now |= {name: value for name, value in known.environment.items() if name == "kernels.triton"}
    names = sorted(known.environment.keys() | now.keys())
    _allowed([(n, known.environment.get(n), now.get(n)) for n in names if known.environment.get(n) != now.get(n)], independent)
    found = against(known, _launches(head), tolerance, sheets)
    missing = bool(known.kernels) and sheets is None
    return replace(found, notes=("the run has no kernels.json: kernels are not compared",)) if missing else found


def _allowed(apart: Sequence[tuple[str, Any, Any]], independent: bool) -> None:
    """Shows what differs. Raises NotComparable where that was not asked for."""
    if not apart:
        return
    width = max(len(name) for name, _, _ in apart)
    for name, old, new in apart:
        notes.print(f"  {safe(name):<{width}}  {safe(_text(old))}  ->  {safe(_text(new))}")
    if not independent:
        raise NotComparable(
            f"the environments differ in {len(apart)} fields; --independent compares what does not depend on them"
        )


def _text(value: Any) -> str:
    return "not there" if value is None else str(value)[:60]


def _with_kernels(
    found: Comparison, given: tuple[Path, Path] | None, base: Sequence[Stored], head: Sequence[Stored]
) -> Comparison:
    from fabench.analysis.compare import with_kernels

    files: tuple[Path | None, Path | None] = given or (base[-1].kernels, head[-1].kernels)
    sheets: list[SheetFile] = [read_sheets(file) for file in files if file is not None]
    if len(sheets) == 2:
        return with_kernels(found, *sheets)
    if sheets:
        return replace(found, notes=(*found.notes, "kernels.json is on one side only: kernels are not compared"))
    return found


def _told(found: Comparison, names: tuple[str, str], wanted: v.Outputs) -> int:
    from fabench.report.compare import document, headline, remarks, sentences

    code = _code(found, wanted.fail_undecided)
    told = document(found, *names, wanted.ending(code))
    if not wanted.as_json:
        _table(found)
    wanted.print(told)
    for line in sentences(found):
        notes.print(safe(line))
    notes.print(f"[bold]{safe(headline(found, *names))}[/]")
    for line in remarks(found):
        notes.print(f"note: {safe(line)}")
    wanted.write(told)
    return wanted.leave(code)


def _code(found: Comparison, fail_undecided: bool) -> ExitCode:
    if found.anything_worse:
        return ExitCode.FAILED
    if found.having("not measured"):
        return ExitCode.NOT_MEASURED
    return ExitCode.UNDECIDED if fail_undecided and found.having("undecided") else ExitCode.FINE


def _table(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    from fabench.report.compare import COLUMNS, rows

    table = Table(*COLUMNS, box=None, pad_edge=False)
    for row in rows(found):
        table.add_row(*map(safe, row))
    Console(width=None if Console().is_terminal else 240, highlight=False).print(table)
