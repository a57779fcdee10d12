"""`fabench list`: what there is to measure."""

from __future__ import annotations

from typing import Annotated

import typer

from fabench.catalogue import devices, implementations
from fabench.cli._console import safe
from fabench.cli._session import measuring
from fabench.errors import ExitCode, SuiteError, UsageError
from fabench.schema import Measure
from fabench.suite import available, load

__all__ = ["command"]


def command(
    what: Annotated[str, typer.Argument(help="suites, implementations, devices or cells.")] = "suites",
    suite: Annotated[str | None, typer.Argument(help="With cells: whose.")] = None,
) -> int:
    """List suites, implementations, devices, or the cells of a suite."""
    lists = {"suites": _suites, "implementations": _implementations, "devices": _devices}
    if what == "cells":
        if suite is None:
            raise UsageError("name a suite: fabench list cells quick")
        for planned in load(suite).plan("cpu"):
            typer.echo(safe(planned.cell.id))
    elif what in lists:
        lists[what]()
    else:
        raise UsageError(f"nothing called {what[:40]!r} to list; there are {', '.join([*lists, 'cells'])}")
    return ExitCode.FINE


def _suites() -> None:
    for name in available():
        try:
            suite = load(name)
            typer.echo(f"{name:<12} {len(suite.plan('cpu')):>5} cells  {safe(suite.title)}")
        except SuiteError as error:
            typer.echo(f"{name:<12} {safe(error)}")


def _implementations() -> None:
    for facts in implementations().values():
        functions = "; ".join(sorted(set(facts.computes.values())))
        typer.echo(f"{facts.name:<22} time n^{facts.time_order} memory n^{facts.memory_order}  {safe(functions)}")


def _devices() -> None:
    with measuring(Measure()) as (server, _):
        for name, facts in server.describe(devices()).items():
            typer.echo(f"{name:<6} {safe(facts.get('name') or 'not here: ' + str(facts['missing']))}")
