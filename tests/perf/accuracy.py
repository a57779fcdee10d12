"""How right stop-watches are: work of known duration under planted noise, measured by fabench and by others.

    python -m tests.perf.accuracy [--runs 200] [--clock host|scripted] [--durations 20us,2ms] [--noises ar1] [--tools fabench,torch] [--json FILE]

On the host's clock the work spins for real: leave the machine alone meanwhile. On the scripted clock time passes only as planted, so what
is seen are the procedures alone, without the machine; such tables say that they are simulated. Stop-watches take turns in random order.

Columns, over all runs of a row: `error`, the median of |median / truth - 1|; `worst 5 %`, its 95 % quantile; `bias`, the median of
median / truth - 1; `coverage`, how often the 95 % interval held the truth; `cost`, seconds per cell, of which `set-up` (warm-up and
calibration) is no sampling; `cost at +-W`, what a cell would cost if 95 % of its medians were to lie within W of their middle: set-up as it is,
sampling times (scatter / W)^2, where scatter is half the range that the central 95 % of the seen medians take. That asks all alike, whether or
not they give an interval; for few runs it says little. Where samples repeat each other it flatters whoever takes fewer than repeat: their
scatter does not grow as the formula supposes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from fabench.units import format_duration, parse_duration
from tests.perf.planted import NOISES, Clock, HostClock, Planted, ScriptedClock, call_cost_s
from tests.perf.stopwatches import STOPWATCHES, Reading, missing

__all__ = ["Row", "compare", "main", "table"]

_DURATIONS = "20us,200us,2ms,20ms,200ms"


@dataclass(frozen=True)
class Row:
    """One stop-watch on one kind of work; see the module's header. None where it can't be said."""

    tool: str
    noise: str
    duration_s: float
    truth_s: float
    runs: int
    error: float
    worst_error: float
    bias: float
    coverage: float | None
    cost_s: float
    setup_s: float
    cost_at_width_s: float | None


def compare(
    clock: Clock,
    tools: Sequence[str],
    noises: Sequence[str],
    durations_s: Sequence[float],
    runs: int,
    width: float,
    seed: int = 0,
) -> list[Row]:
    """A row for each tool, noise and duration."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    with clock.instead() if isinstance(clock, ScriptedClock) else contextlib.nullcontext():
        cost_s = call_cost_s(clock)
        for noise in noises:
            for duration_s in durations_s:
                print(f"{noise}, {format_duration(duration_s)}: {runs} runs of {len(tools)} stop-watches", file=sys.stderr)
                truth_s = duration_s * NOISES[noise].median + cost_s
                found: dict[str, list[tuple[Reading, float]]] = {tool: [] for tool in tools}
                for _ in range(runs):
                    for tool in rng.permutation(list(tools)).tolist():
                        work = Planted(clock, duration_s, NOISES[noise], int(rng.integers(2**32)))
                        start = clock.now()
                        reading = STOPWATCHES[tool](work)
                        found[tool].append((reading, clock.now() - start))
                rows += [_row(tool, noise, duration_s, truth_s, found[tool], width) for tool in tools]
    return rows


def _row(tool: str, noise: str, duration_s: float, truth_s: float, found: list[tuple[Reading, float]], width: float) -> Row:
    ratios = np.array([reading.median_s / truth_s for reading, _ in found])
    covered = [low <= truth_s <= high for low, high in (reading.interval_s for reading, _ in found if reading.interval_s)]
    costs_s = np.array([seconds for _, seconds in found])
    sampled_s = np.array([reading.sampled_s for reading, _ in found])
    setup_s = float(np.mean(costs_s - sampled_s))
    at_width = None
    if len(found) > 1:
        low, high = np.quantile(np.log(ratios), (0.025, 0.975))
        scatter = float(high - low) / 2
        at_width = float(setup_s + np.mean(sampled_s) * (scatter / width) ** 2)
    errors = np.abs(ratios - 1)
    return Row(
        tool, noise, duration_s, truth_s, len(found),
        error=float(np.median(errors)),
        worst_error=float(np.quantile(errors, 0.95)),
        bias=float(np.median(ratios) - 1),
        coverage=float(np.mean(covered)) if covered else None,
        cost_s=float(np.mean(costs_s)),
        setup_s=setup_s,
        cost_at_width_s=at_width,
    )  # fmt: skip


def table(rows: Sequence[Row], clock: str, width: float) -> str:
    """Markdown: every row, then each tool over all of them."""
    source = "time passed as scripted: simulated, nothing was measured" if clock == "scripted" else "measured on the host's clock"
    lines = [
        f"Work of known duration, {rows[0].runs} runs a row; {source}.",
        "",
        f"| noise | work | stop-watch | error | worst 5 % | bias | coverage | cost | set-up | cost at ±{width:.1%} |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.noise} | {format_duration(row.duration_s)} | {row.tool} | {row.error:.2%} | {row.worst_error:.2%} | {row.bias:+.2%} "
        f"| {_share(row.coverage)} | {format_duration(row.cost_s)} | {format_duration(row.setup_s)} | {format_duration(row.cost_at_width_s)} |"
        for row in rows
    ]
    lines += [
        "",
        "| stop-watch | largest error of a row | coverage, mean (least) | cost, mean | set-up, mean | cost at width, mean |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for tool in dict.fromkeys(row.tool for row in rows):
        own = [row for row in rows if row.tool == tool]
        coverage = [row.coverage for row in own if row.coverage is not None]
        at_width = [row.cost_at_width_s for row in own if row.cost_at_width_s is not None]
        lines.append(
            f"| {tool} | {max(row.error for row in own):.2%} "
            f"| {f'{_share(math.fsum(coverage) / len(coverage))} ({_share(min(coverage))})' if coverage else '–'} "
            f"| {format_duration(math.fsum(row.cost_s for row in own) / len(own))} "
            f"| {format_duration(math.fsum(row.setup_s for row in own) / len(own))} "
            f"| {format_duration(math.fsum(at_width) / len(at_width) if at_width else None)} |"
        )
    return "\n".join(lines)


def _share(part: float | None) -> str:
    return "–" if part is None else f"{part:.1%}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; notes go to standard error."""
    parser = argparse.ArgumentParser(prog="python -m tests.perf.accuracy", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--clock", choices=("host", "scripted"), default="host")
    parser.add_argument("--durations", default=_DURATIONS, help=f"comma-separated; {_DURATIONS}")
    parser.add_argument("--noises", default=",".join(NOISES))
    parser.add_argument("--tools", default=",".join(STOPWATCHES))
    parser.add_argument("--width", type=float, default=0.01, help="half-width that costs are compared at; 0.01 = 1 %%")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    given = parser.parse_args(arguments)
    try:
        durations_s = [parse_duration(text) for text in given.durations.split(",")]
    except ValueError as error:
        parser.error(str(error))
    noises, tools = given.noises.split(","), given.tools.split(",")
    wanted: list[tuple[list[str], list[str]]] = [(noises, list(NOISES)), (tools, list(STOPWATCHES))]
    for names, known in wanted:
        for name in names:
            if name not in known:
                parser.error(f"{name!r} is not known; there are {', '.join(known)}")
    for reason in filter(None, map(missing, tools)):
        print(reason, file=sys.stderr)
    tools = [tool for tool in tools if missing(tool) is None]
    if given.runs < 1 or not tools:
        parser.error("there is nothing to run")
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # as in a cell's process, whose collector need not walk what was imported
    clock: Clock = ScriptedClock() if given.clock == "scripted" else HostClock()
    rows = compare(clock, tools, noises, durations_s, given.runs, given.width)
    print(table(rows, clock.name, given.width))
    if given.json is not None:
        facts = {"clock": clock.name, "simulated": clock.name == "scripted", "width": given.width, "machine": platform.machine()}
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        given.json.write_text(
            json.dumps(facts | versions | {"rows": [asdict(row) for row in rows]}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
