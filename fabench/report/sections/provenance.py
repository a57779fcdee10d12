"""Where and with what it was measured, and how: what a reader needs to trust or to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabench.report import words
from fabench.report.blocks import Block, Column, Section, Table, Text, Value
from fabench.report.readings import Readings
from fabench.schema import Environment

__all__ = ["method", "section"]

_MOST = 8
_KINDS = (("_bytes_per_s", "bandwidth"), ("_bytes", "bytes"), ("_s", "duration"))


def section(readings: Readings) -> Section | None:
    """A table per environment."""
    shown = readings.environments[:_MOST]
    blocks: list[Block] = [_table(one, index, len(readings.environments)) for index, one in enumerate(shown)]
    if not blocks:
        blocks.append(Text(("No environment was given with these records.",), tone="warning"))
    if len(readings.environments) > _MOST:
        blocks.append(
            Text((f"{len(readings.environments) - _MOST:,} further environments are in the data of this report.",), tone="note")
        )
    return Section("environment", "Environment and provenance", "Where these numbers come from.", tuple(blocks))


def _table(found: Environment, index: int, count: int) -> Table:
    known: dict[str, Any] = {
        "suite": found.suite or None, "suite hash": found.suite_hash or None, "overrides": ", ".join(found.overrides) or None,
        "started at": found.started_at, "fabench": found.fabench, "commit": found.commit, "code hash": found.code_hash,
    }  # fmt: skip
    rows = [("run", name, _shown(name, value)) for name, value in known.items() if value is not None]
    for part, values in (
        ("host", found.host),
        ("packages", found.packages),
        ("devices", found.devices),
        ("settings", found.settings),
    ):
        rows += [(part, name, _shown(name, value)) for name, value in _flat(values) if value is not None]
    title = "Environment" + (f" {index + 1} of {count}" if count > 1 else "")
    return Table(
        f"environment-{index + 1}", title, (Column("part"), Column("what"), Column("value")), rows[:300], total_rows=len(rows)
    )


def _flat(values: Mapping[str, Any], prefix: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and depth < 5:
            found += _flat(value, f"{prefix}{key}.", depth + 1)
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _shown(name: str, value: Any) -> Value:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if ".flop_per_s" in name:
            return words.show(float(value), "flops")
        kind = next((kind for ending, kind in _KINDS if name.endswith(ending)), None)
        return words.show(float(value), kind) if kind else words.plain(value)
    if isinstance(value, (list, tuple)):
        return words.plain(", ".join(map(str, value)))
    return words.plain(value)


_METHOD = (
    "Check: before anything is timed, the result is compared with a float64 reference of the same function; a cell beyond its tolerance is "
    "marked incorrect and gives no time.",
    "Time: samples of one or more calls each, on tensors drawn from N(0, 1) with a fixed seed, until the 95 % interval of the median is narrow "
    "enough or the budget is used up. Before them calls run until they stop getting faster, at least for a given time and at most for a bound. "
    "All samples are kept, in measured order; none is dropped.",
    "Interval of a time: order statistics of the samples, as wide as samples that repeat each other (autocorrelation) make it. It knows the "
    "noise within one process, not what differs from process to process: that is the noise floor, which fabench doctor measures.",
    "Clocks: a device's clocks form a ladder, best first. A clock that can't time some work says why, and the next one is taken. On a GPU: events "
    "around calls that stand in a queue behind a blocker, a replayed graph, several calls to a pair of events, and last the host's clock. A second "
    "clock times the same work, around the same calls or with samples of its own; where both differ, the cell is marked.",
    "Evidence: each time has a grade from A (every rule passed, and what could hide a fault is known) to D (not a measurement of this work), the "
    "worst that any of its warnings leaves. The warnings are a closed list with fixed bounds: noise, trend and levels of the samples, warm-up, "
    "clocks, cache, throttling, load from others, physics, the check's margin, memory. No time is dropped for its grade, but one that is impossible, "
    "above 1.05 of a peak for bytes and FLOPs that can't be left out, is used in no reading and shown with that word only.",
    "Outside the time, each in a column of its own: the host's time to launch a call, the first call, compiling, tuning.",
    "Memory: a pass of its own. What the allocator held at its peak during the call, less what it held before: inputs and weights are not counted. "
    "Its ledger says what the bytes are: inputs, parameters, output, kept for backward, workspace, and a residual that no line explains.",
    "Exponent: the slope of log value over log n by least squares, over the upper half of the swept range on the log scale and at least four points. "
    "Its 95 % interval adds the medians' bootstrap and the lack of fit.",
    "Crossover: where the two median curves, straight in log-log between neighbouring n, cross. Its 95 % interval comes from bootstrapped medians; "
    "\u201cbelow\u201d or \u201cabove\u201d mark an interval that is open at an end of the range. Nothing is extrapolated.",
    "Factor: the baseline's median divided by the implementation's, with a bootstrap interval. Same function means equal results up to rounding. "
    "Softmax factorized attention computes another function than softmax attention; with scaling both are equal by associativity.",
    "Predicted: arithmetic from the shape alone, never a measurement. Percent of peak: of peaks measured on the same device, or its data sheet's where none was measured.",
    "Every cell ran in a process of its own. KiB, MiB and GiB are powers of 1024; GB is 10\u2079 bytes.",
)


def method(readings: Readings) -> Section:
    """How everything was measured, and what the words mean."""
    caches = sorted({record.timing.cache for record in readings.records if record.timing is not None})
    clocks = sorted({record.timing.clock for record in readings.records if record.timing is not None})
    here = (f"Here: clock {', '.join(clocks)}; cache {', '.join(caches)}.",) if clocks else ()
    return Section("method", "Method", "", (Text(tuple(words.plain(line) for line in (*_METHOD, *here)), bullets=True),))
