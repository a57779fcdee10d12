"""`fabench export`: stored results in a form that another tool reads, on standard output or in a file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from fabench.cli._console import notes, safe
from fabench.errors import ExitCode, FabenchError, StoreError, UsageError
from fabench.export import Bundle, formats, load
from fabench.export.verdicts import is_verdicts
from fabench.export.verdicts import load as load_form
from fabench.export.verdicts import read as read_verdicts
from fabench.schema import Environment, Record
from fabench.store import find_runs, read_run
from fabench.suite import Suite, parse
from fabench.suite import load as load_suite

__all__ = ["command"]


def command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Run folders, HTML or JSON reports, pytest-benchmark files of fabench, or the JSON document of one gate or "
            "comparison; without any: the latest run."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--format", "-f", help=f"One of {', '.join(formats())}.")] = "",
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to write; - is standard output.")] = "-",
    results: Annotated[Path, typer.Option("--results", help="Folder of run folders.")] = Path("results"),
) -> int:
    """Write stored results for another tool: CI, a benchmark service, pytest-benchmark."""
    if not name:
        raise UsageError(f"name a format with --format; there are {', '.join(formats())}")
    wanted = load(name.replace("-", "_"))
    if not runs:
        runs = list(find_runs(results))[-1:]
        if not runs:
            raise UsageError(f"no run in {results}; measure one with `fabench sweep quick`, or name a run folder")
    if (verdicts := _verdicts(runs)) is not None:
        _write(load_form(name.replace("-", "_"))(read_verdicts(verdicts, str(runs[0]))), output)
        return ExitCode.FINE
    bundle = _bundle([_read(path) for path in runs])
    if not bundle.records:
        raise StoreError(f"{', '.join(map(str, runs))}: no records to export")
    left_out = [] if wanted.says_endings else bundle.untimed
    if len(left_out) == len(bundle.records):
        raise StoreError(f"no cell has a time, so there is nothing to export as {name}: {bundle.counted(left_out)}")
    _write(wanted.write(bundle), output)
    if left_out:
        notes.print(f"cells without a time have no place in {safe(name)} and are left out: {bundle.counted(left_out)}")
    return ExitCode.FINE


def _verdicts(runs: Sequence[Path]) -> bytes | None:
    """The bytes of a gate's or a comparison's document; None for anything else. Raises UsageError for one among others."""
    found = [data for path in runs if path.suffix.lower() == ".json" and path.is_file() and is_verdicts(data := _bytes(path))]
    if found and len(runs) > 1:
        raise UsageError("verdicts are exported one document at a time; name one file")
    return found[0] if found else None


@dataclass(frozen=True)
class _Source:
    records: list[Record]
    environments: list[Environment]
    suite: Suite | None = None
    warnings: list[str] = field(default_factory=list)


def _read(path: Path) -> _Source:
    """A run folder, a report, or a pytest-benchmark file of ours."""
    if not path.is_file():
        run = read_run(path)
        return _Source(list(run.records), [run.environment], _suite(run.environment, run.suite_text), list(run.warnings))
    if path.suffix.lower() == ".json" and (data := _bytes(path)) and b'"fabench-report"' not in data[:1000]:
        from fabench.export import pytest_benchmark

        records, environments = pytest_benchmark.read(data, str(path))
    else:
        from fabench.report import read_report

        records, environments = read_report(path)
    return _Source(records, environments, _suite(environments[0], None) if len(environments) == 1 else None)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror or type(error).__name__}") from None


def _suite(environment: Environment, text: bytes | None) -> Suite | None:
    """The suite as the run asked for it, from its own copy or by its name; None where it can't be had. It says which statuses it expects."""
    asked = dict(item.partition("=")[::2] for item in environment.overrides)
    where = asked.pop("where", None)
    with contextlib.suppress(FabenchError):
        suite = load_suite(environment.suite, asked, where) if text is None else parse(text, environment.suite, asked, where)
        return suite if suite.sha == environment.suite_hash else None
    return None


def _bundle(sources: Iterable[_Source]) -> Bundle:
    """All sources as one. Of a cell that several of them measured, the last record stands."""
    records: dict[str, Record] = {}
    expected: dict[str, str] = {}
    origins: dict[str, Environment] = {}
    environments: list[Environment] = []
    replaced = 0
    for source in sources:
        environments += source.environments
        for warning in source.warnings:
            notes.print(f"[yellow]warning:[/] {safe(warning)}")
        for record in source.records:
            cell = record.cell.id
            replaced += cell in records
            records[cell] = record
            expected.pop(cell, None)
            origins.pop(cell, None)
            if source.suite is not None and (reason := source.suite.expects(record.status, record.cell)) is not None:
                expected[cell] = reason
            if len(source.environments) == 1:
                origins[cell] = source.environments[0]
    if replaced:
        notes.print(f"[yellow]warning:[/] {replaced} cells were measured more than once: the last time stands")
    return Bundle(tuple(records.values()), tuple(environments), expected, origins)


def _write(data: bytes, output: str) -> None:
    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    from fabench.report.formats.base import save

    save(Path(output), data)
