"""`fabench sweep`: measures a suite, stores every cell as it ends, and writes the report."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from fabench.analysis.evidence import assess
from fabench.analysis.physics import facts_of
from fabench.cli import _options as o
from fabench.cli._console import error, notes, safe
from fabench.cli._progress import Show, counts, evidence_lines
from fabench.cli._session import Session, open_session
from fabench.environment import child_settings, collect, differences
from fabench.errors import ExitCode, NotComparable, StoreError, UsageError
from fabench.noise import visible
from fabench.schema import Environment, Record, Status
from fabench.store import Run, RunFolder, find_runs, read_run
from fabench.suite import Suite, asked_again, load
from fabench.suite.estimate import estimate
from fabench.sweep.run import failures, sweep
from fabench.sweep.schedule import Schedule
from fabench.units import format_bytes, format_duration

__all__ = ["command"]


def command(
    suite: Annotated[str | None, typer.Argument(help="A suite's name (`fabench list suites`) or the path of a TOML file.")] = None,
    n: o.N = None, m: o.M = None, image: o.Image = None, video: o.Video = None, batch: o.Batch = None, heads: o.Heads = None,
    d_k: o.DK = None, d_v: o.DV = None, dtype: o.Dtype = None, mode: o.Mode = None, normalisation: o.Normalisation = None,
    scale: o.Scale = None, mask: o.Mask = None, scope: o.Scope = None, channels: o.Channels = None,
    reprojection: o.Reprojection = None, residual: o.Residual = None, pool: o.Pool = None,
    network: o.Network = None, positions: o.Positions = None, backbone: o.Backbone = None,
    implementation: o.Implementation = None, device: o.Device = None, where: o.Where = None, settings: o.Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells with predicted time and memory, and measure nothing.")] = False,
    resume: Annotated[str | None, typer.Option("--resume", metavar="RUN", help="Measure what this run folder (or `latest`) lacks.")] = None,
    wait: o.Wait = False, results: o.Results = Path("results"), reports: o.Reports = Path("reports"),
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write the report at the end.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Records as JSON lines on standard output, each with its evidence.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the last lines.")] = False,
) -> int:  # fmt: skip
    """Measure a suite: time, memory and correctness of every cell, then the report."""
    chosen = o.overrides(
        settings, n=n, m=m, image=image, video=video, batch=batch, heads=heads, d_k=d_k, d_v=d_v, dtype=dtype, mode=mode,
        normalisation=normalisation, scale=scale, mask=mask, scope=scope, channels=channels, reprojection=reprojection,
        residual=residual, pool=pool, network=network, positions=positions, backbone=backbone, implementation=implementation,
        device=device,
    )  # fmt: skip
    earlier = None
    if resume is not None:
        if chosen or where is not None:
            raise UsageError("--resume goes on with the run as it was asked for; leave the other options out")
        earlier, wanted = _earlier(resume, results, suite)
    elif suite is None:
        raise UsageError("name a suite, for example: fabench sweep quick (`fabench list suites` lists them)")
    else:
        wanted = load(suite, chosen, where)
    if dry_run:
        return _dry_run(wanted, results)
    return _measure(wanted, earlier, results, reports if report else None, as_json, quiet, wait)


def _earlier(resume: str, results: Path, suite: str | None) -> tuple[Run, Suite]:
    """The run to go on with, and its suite as it was asked for then."""
    if resume == "latest":
        runs = [path for path in find_runs(results) if suite is None or f"-{suite}-" in path.name]
        if not runs:
            raise UsageError(f"no run to resume in {results}; start one with `fabench sweep SUITE`")
        path = runs[-1]
    else:
        path = Path(resume)
    run = read_run(path)
    stored = asked_again(run.suite_text, run.environment.suite, run.environment.overrides)
    if suite is not None and load(suite, stored.overrides, stored.where).sha != stored.sha:
        raise NotComparable(f"suite {suite} is not the one that {path} was measured with; start a new run without --resume")
    return run, stored


def _dry_run(suite: Suite, results: Path) -> int:
    """Lists the cells; asks the cost model only, at the rates that the latest run here measured, if there is one."""
    planned = suite.plan("cpu" if "auto" in suite.devices else min(suite.devices))
    known = _known_devices(results)
    rows = estimate(planned, suite.measure, suite.budget, {name: facts.get("peaks") or {} for name, facts in known.items()})
    floors: list[float] = []
    for row in rows:
        cell = f"{safe(row.cell.id)}  "
        if row.skip is not None:
            typer.echo(f"{cell}skipped: {safe(row.skip)}")
        else:
            over = f"  over budget: {row.over_budget}" if row.over_budget else ""
            typer.echo(f"{cell}{format_duration(row.wall_s)}  {format_bytes(row.memory_bytes)}{over}")
            floor = visible(known.get(row.cell.device, {}).get("noise"), row.call_s)
            floors += [] if floor is None else [floor]
    source = "rates of the latest run" if all(row.measured_rates for row in rows) else "assumed rates"
    total = format_duration(sum(row.wall_s for row in rows))
    notes.print(f"{len(rows)} cells, about {total}; predicted by the cost model from {source}, nothing was measured")
    notes.print(_seen(floors))
    return ExitCode.FINE


def _seen(floors: list[float]) -> str:
    """Which differences between cells of these durations are more than noise here, by the latest run's noise sheet."""
    if not floors:
        return "which differences between cells can be seen here is not known: run `fabench doctor`, then a sweep"
    low, high = f"{min(floors):.1%}", f"{max(floors):.1%}"
    return f"differences between two cells below {low if low == high else f'{low} to {high}'} can't be told from noise here"


def _known_devices(results: Path) -> dict[str, Any]:
    """What the latest run that can be read says of its devices."""
    for path in reversed(find_runs(results)):
        with contextlib.suppress(StoreError):
            return dict(read_run(path).environment.devices)
    return {}


def _environment(suite: Suite, session: Session, earlier: Run | None) -> Environment:
    """This run's environment, with measured peaks; on resume, the earlier run's if it is the same in all that counts."""
    settings = {key: value for key, value in child_settings(suite.measure).items() if not key.startswith("FABENCH_")}
    current = collect(suite.name, suite.sha, suite.asked, session.devices, session.built, settings)
    if earlier is None:
        for name, facts in session.devices.items():
            if "missing" not in facts:
                facts["peaks"] = dict(session.server.rates(name))
        return collect(suite.name, suite.sha, suite.asked, session.devices, session.built, settings)
    changed = differences(earlier.environment, current)
    if changed:
        more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
        raise NotComparable(f"can't resume {earlier.path}: {'; '.join(changed[:3])}{more}; start a new run without --resume")
    return earlier.environment


@contextlib.contextmanager
def _folder(session: Session, suite: Suite, earlier: Run | None, environment: Environment, results: Path) -> Iterator[RunFolder]:
    if earlier is None:
        folder = RunFolder.create(results, environment, suite.text, session.device)
    else:
        folder = RunFolder(earlier.path)
        folder.open()
    try:
        yield folder
    finally:
        folder.close()


def _measure(
    suite: Suite, earlier: Run | None, results: Path, reports: Path | None, as_json: bool, quiet: bool, wait: bool
) -> int:
    done = list(earlier.records) if earlier is not None else []
    path: Path | None = None
    try:
        with open_session(suite, wait) as session:
            environment = _environment(suite, session, earlier)
            with _folder(session, suite, earlier, environment, results) as folder:
                path = folder.path
                schedule = Schedule(session.planned, done)
                with Show(_predicted(schedule, suite, environment), quiet, as_json, [environment]) as show:
                    sweep(suite, schedule, session.server, session.limit_bytes, folder.append, show)
    except KeyboardInterrupt:
        if path is not None:
            stored = len(read_run(path).records)
            error(f"interrupted; {stored} cells are stored. Go on with: fabench sweep --resume {shlex.quote(str(path))}")
            return ExitCode.INTERRUPTED
        raise
    return _close(suite, path, reports)


def _predicted(schedule: Schedule, suite: Suite, environment: Environment) -> dict[str, float]:
    """Seconds that the cost model expects each remaining cell to take."""
    peaks = {name: facts.get("peaks") or {} for name, facts in environment.devices.items()}
    return {row.cell.id: row.wall_s for row in estimate(schedule.remaining, suite.measure, suite.budget, peaks)}


def _close(suite: Suite, path: Path, reports: Path | None) -> int:
    """The last lines: headline, counts, warnings, paths; and the exit code."""
    run = read_run(path)
    records = list(run.records)
    written: list[Path] = []
    if reports is not None and records:
        from fabench.report import write_report

        written = write_report(records, [run.environment], reports, path.name, warnings=run.warnings)
        _headline(records, run.environment)
    notes.print(safe(counts(records)))
    for line in evidence_lines([assess(record, facts_of([run.environment], record.cell.device)) for record in records]):
        notes.print(safe(line))
    for warning in run.warnings:
        notes.print(f"[yellow]warning:[/] {safe(warning)}")
    failed = failures(records, suite)
    for record in failed[:5]:
        notes.print(f"[red]{safe(record.status)}[/] {safe(record.cell.id)}: {safe(record.reason)}")
    if len(failed) > 5:
        notes.print(f"and {len(failed) - 5} more, in the report")
    notes.print(f"results: {safe(path)}")
    for file in (path for path in written if path.suffix == ".html"):
        notes.print(f"report:  {safe(file)}  (and {len(written) - 1} tables and figures beside it)")
    return _exit_code(records, failed)


def _headline(records: list[Record], environment: Environment) -> None:
    from fabench.analysis.frame import tidy
    from fabench.analysis.headline import headline

    notes.print(f"\n[bold]{safe(' '.join(headline(tidy(records, [environment])).sentences))}[/]\n")


def _exit_code(records: list[Record], failed: list[Record]) -> int:
    if failed:
        return ExitCode.FAILED
    if not any(record.status == Status.OK for record in records):
        return ExitCode.NOT_MEASURED
    return ExitCode.FINE
