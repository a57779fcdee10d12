"""`fabench history`: results over commits, where times shift, and what changed of what is counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fabench.cli import _options as o
from fabench.cli._console import notes, safe
from fabench.cli._stored import SIDE, Stored, between, read
from fabench.errors import ExitCode, UsageError
from fabench.schema import Environment

if TYPE_CHECKING:
    from fabench.analysis.history import Series

__all__ = ["command"]


def command(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help=f"{SIDE} Without any: all of --results.")] = None,
    alpha: Annotated[float, typer.Option(help="Chance that any cell whose time did not shift is said to have.")] = 0.05,
    least: Annotated[float, typer.Option("--min-effect", help="Smaller shifts are not told (0.02 = 2 %).")] = 0.02,
    name: Annotated[str, typer.Option("--name", help="Name of the page's files.")] = "history",
    results: o.Results = Path("results"),
    reports: o.Reports = Path("reports"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and no page.")] = False,
) -> int:  # fmt: skip
    """Show results over commits: medians in order, shifts of time, changes of memory and FLOPs."""
    if not 0 < alpha < 0.5:
        raise UsageError(f"--alpha is {alpha}, must lie between 0 and 0.5")
    if least < 0:
        raise UsageError(f"--min-effect is {least}, must not be negative")
    stored = [run for text in (runs or [str(results)]) for run in read(text)]
    from fabench.analysis.history import histories
    from fabench.analysis.launches import Launch
    from fabench.report.history import document, headline, sentences, write_history

    groups = _by_environment(stored)
    titles = _titles([group[0].environment for group in groups])
    found = histories([[Launch(run.name, run.environment, run.records) for run in group] for group in groups], alpha, least)
    if as_json:
        typer.echo(json.dumps(document(found, titles), allow_nan=False))
    else:
        _print(found, titles)
    for line in (line for series in found for line in sentences(series)):
        notes.print(safe(line))
    notes.print(f"[bold]{safe(headline(found))}[/]")
    if not as_json:
        records = [record for run in stored for record in run.records.values()]
        for path in write_history(found, titles, records, [run.environment for run in stored], reports, name):
            typer.echo(str(path))
    return ExitCode.FINE


def _by_environment(runs: Sequence[Stored]) -> list[list[Stored]]:
    """Runs whose times may stand in one series: all alike but for the code that they measured."""
    groups: list[list[Stored]] = []
    for run in runs:
        home = next((group for group in groups if not between(group[0].environment, run.environment)), None)
        if home is None:
            groups.append([run])
        else:
            home.append(run)
    return groups


def _titles(environments: Sequence[Environment]) -> list[str]:
    """The devices, and what tells an environment from the first one."""
    titles = []
    for one in environments:
        names = [str(facts.get("name") or device) for device, facts in one.devices.items() if isinstance(facts, dict)]
        apart = [f"{name} {new}" for name, _, new in between(environments[0], one)]
        more = f" and {len(apart) - 3} more" if len(apart) > 3 else ""
        titles.append(" · ".join([", ".join(names) or "no device", *([", ".join(apart[:3]) + more] if apart else [])]))
    return titles


def _print(found: Sequence[Series], titles: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from fabench.report import words
    from fabench.report.history import COLUMNS, rows

    console = Console(width=None if Console().is_terminal else 240, highlight=False)
    for series, title in zip(found, titles, strict=True):
        table = Table(*(column.title for column in COLUMNS), title=safe(title), title_justify="left", box=None, pad_edge=False)
        for row in rows(series):
            table.add_row(*(safe(words.show(value, column.kind)) for value, column in zip(row, COLUMNS, strict=True)))
        console.print(table)
