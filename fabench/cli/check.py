"""`fabench check`: every cell of a suite against float64, nothing timed and nothing stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from fabench.cli import _options as o
from fabench.cli._console import notes, safe
from fabench.cli._progress import Show, counts
from fabench.cli._session import open_session
from fabench.errors import ExitCode
from fabench.schema import Record, Status
from fabench.suite import load
from fabench.sweep.run import failures, sweep
from fabench.sweep.schedule import Schedule

__all__ = ["command"]


def command(
    suite: o.SuiteName = "quick",
    n: o.N = None, heads: o.Heads = None, d_k: o.DK = None, d_v: o.DV = None, dtype: o.Dtype = None, mode: o.Mode = None,
    normalisation: o.Normalisation = None, mask: o.Mask = None, scope: o.Scope = None,
    implementation: o.Implementation = None, device: o.Device = None, where: o.Where = None, settings: o.Set = None,
    wait: o.Wait = False,
    as_json: Annotated[bool, typer.Option("--json", help="Records as JSON lines on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the last lines.")] = False,
) -> int:  # fmt: skip
    """Check outputs and gradients against float64, without timing."""
    chosen = o.overrides(
        settings, n=n, heads=heads, d_k=d_k, d_v=d_v, dtype=dtype, mode=mode, normalisation=normalisation, mask=mask, scope=scope,
        implementation=implementation, device=device,
    )  # fmt: skip
    wanted = load(suite, chosen, where)
    wanted = replace(wanted, measure=replace(wanted.measure, check_only=True))
    records: list[Record] = []
    with open_session(wanted, wait) as session, Show({}, quiet, as_json) as show:
        sweep(wanted, Schedule(session.planned, []), session.server, session.limit_bytes, records.append, show)
    notes.print(safe(counts(records)))
    if failures(records, wanted):
        return ExitCode.FAILED
    return ExitCode.FINE if any(record.status == Status.OK for record in records) else ExitCode.NOT_MEASURED
