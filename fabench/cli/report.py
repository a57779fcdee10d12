"""`fabench report`: reads run folders or earlier reports and writes the page, tables and figures anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fabench.cli import _options as o
from fabench.cli._console import notes, safe
from fabench.errors import ExitCode, StoreError, UsageError
from fabench.schema import Environment, Record
from fabench.store import find_runs, read_run

__all__ = ["command"]


def command(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, HTML or JSON reports; without any: the latest run.")
    ] = None,
    formats: Annotated[
        str | None, typer.Option("--format", "-f", help="Comma list, e.g. html,markdown; without it: all.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the report's files.")] = None,
    results: o.Results = Path("results"),
    reports: o.Reports = Path("reports"),
) -> int:
    """Write the report of stored runs."""
    from fabench.report import format_names, write_report

    wanted = [part.strip() for part in formats.split(",")] if formats else None
    for part in wanted or []:
        if part not in format_names():
            raise UsageError(f"no format {part[:40]!r}; there are {', '.join(format_names())}")
    if not runs:
        runs = list(find_runs(results))[-1:]
        if not runs:
            raise UsageError(f"no run in {results}; measure one with `fabench sweep quick`, or name a run folder")
    records: list[Record] = []
    environments: list[Environment] = []
    warnings: list[str] = []
    for path in runs:
        found, known, said = _read(path)
        records += found
        environments += known
        warnings += said
    if not records:
        raise StoreError(f"{', '.join(map(str, runs))}: no records to report")
    for warning in warnings:
        notes.print(f"[yellow]warning:[/] {safe(warning)}")
    for file in write_report(records, environments, reports, name or runs[0].stem, wanted, warnings=warnings):
        typer.echo(str(file))
    return ExitCode.FINE


def _read(path: Path) -> tuple[list[Record], list[Environment], list[str]]:
    if path.is_file():
        from fabench.report import read_report

        records, environments = read_report(path)
        return list(records), list(environments), []
    run = read_run(path)
    return list(run.records), [run.environment], list(run.warnings)
