"""`fabench report`: reads run folders, earlier reports or experiments and writes the page, tables and figures anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fabench.cli import _options as o
from fabench.cli._console import notes, safe
from fabench.errors import ExitCode, StoreError, UsageError
from fabench.lines import reason_of
from fabench.schema import Environment, Record
from fabench.store import find_runs, read_run
from fabench.trialfile import read_experiment
from fabench.trials import EXPERIMENTS, Experiment

__all__ = ["command"]


def command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folders, HTML or JSON reports, or experiment-*.json; without any: the latest run."),
    ] = None,
    formats: Annotated[
        str | None, typer.Option("--format", "-f", help="Comma list, e.g. html,markdown; without it: all.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the report's files.")] = None,
    results: o.Results = Path("results"),
    reports: o.Reports = Path("reports"),
) -> int:
    """Write the report of stored runs, or of experiments."""
    from fabench.report import format_names, write_report

    wanted = [part.strip() for part in formats.split(",")] if formats else None
    for part in wanted or []:
        if part not in format_names():
            raise UsageError(f"no format {part[:40]!r}; there are {', '.join(format_names())}")
    if not runs:
        runs = list(find_runs(results))[-1:]
        if not runs:
            raise UsageError(f"no run in {results}; measure one with `fabench sweep quick`, or name a run folder")
    experiments = [one for path in runs if (one := _experiment(path)) is not None]
    if experiments:
        if len(experiments) < len(runs):
            raise UsageError("experiments have pages of their own; name runs and experiments in separate commands")
        return _write_experiments(experiments, reports, name, wanted or list(format_names()))
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


def _experiment(path: Path) -> Experiment | None:
    """The experiment that a file holds; None for what is none. Raises StoreError for a broken one."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    try:
        known = json.loads(path.read_bytes())
    except OSError as error:
        raise StoreError(f"can't read {path}: {reason_of(error)}") from None
    except (ValueError, RecursionError):
        return None
    name = known.get("name") if isinstance(known, dict) and {"protocol", "trials"} <= known.keys() else None
    return read_experiment(path, name) if name in EXPERIMENTS else None


def _write_experiments(found: Sequence[Experiment], reports: Path, name: str | None, formats: Sequence[str]) -> int:
    from fabench.report.experiment import write_experiment_report

    if name is not None and len(found) > 1:
        raise UsageError("--name names the files of one page, and every experiment has its own; leave it out")
    for one in found:
        for file in write_experiment_report(one, reports, name or f"experiment-{one.name}", formats):
            typer.echo(str(file))
    return ExitCode.FINE


def _read(path: Path) -> tuple[list[Record], list[Environment], list[str]]:
    if path.is_file():
        from fabench.report import read_report

        records, environments = read_report(path)
        return list(records), list(environments), []
    run = read_run(path)
    return list(run.records), [run.environment], list(run.warnings)
