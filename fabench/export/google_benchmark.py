"""Google Benchmark's JSON (json_schema_version 1), for its compare.py and for whoever else reads it.

A sample is an iteration row (`iterations` = calls in it, times in ns per call); mean, median and stddev follow as aggregates; memory is
in counters. `cpu_time` must be there and repeats `real_time`, because processor time is not taken sample by sample; what was taken over
the whole sampling, per call, is the counter `cpu_mean_ns`.

A cell without a time is a row with `error_occurred` and `error_message`. Google's own writer gives such a row times of 0, which its
compare.py takes for measured (its overall mean becomes 0). Here the row has no time at all; it is an aggregate with a name of its own,
"error", since compare.py expects times in every other row and in all rows of a name.
Its documentation: docs/tools.md and docs/user_guide.md of google/benchmark.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from fabench.export.base import Bundle, document
from fabench.median import median
from fabench.schema import Environment, Record, Timing

__all__ = ["SAYS_ENDINGS", "write"]

SAYS_ENDINGS = True
_NS = 1e9


def write(bundle: Bundle) -> bytes:
    """Every cell: its samples and their aggregates, or its error."""
    rows = [row for index, record in enumerate(bundle.records) for row in _rows(record, index, bundle)]
    return document({"context": _context(bundle.environment), "benchmarks": rows})


def _context(environment: Environment | None) -> dict[str, Any]:
    known = {} if environment is None else {
        "date": environment.started_at, "num_cpus": environment.host.get("cores"), "cpu": environment.host.get("cpu"),
        "cpu_scaling_enabled": _scaling(environment.host.get("governor")),
        "torch": environment.packages.get("torch"), "suite": environment.suite, "commit": environment.commit,
        "code_hash": environment.code_hash,
    }  # fmt: skip
    fixed = {"executable": "fabench", "caches": [], "load_avg": [], "library_build_type": "release", "json_schema_version": 1}
    return {name: value for name, value in known.items() if value is not None} | fixed


def _scaling(governor: object) -> bool | None:
    return None if governor is None else governor != "performance"


def _rows(record: Record, index: int, bundle: Bundle) -> Iterator[dict[str, Any]]:
    timing = bundle.timed(record)
    head = {"family_index": index, "per_family_instance_index": 0, "run_name": record.cell.id}
    if timing is None:
        error = {
            "run_type": "aggregate",
            "aggregate_name": "error",
            "error_occurred": True,
            "error_message": bundle.ending(record),
        }
        yield {"name": f"{record.cell.id}_error", **head, **error}
        return
    count = len(timing.samples_s)
    head |= {"repetitions": count, "threads": timing.threads or 1}
    counters = _counters(bundle.facts(record), timing)
    for number, sample_s in enumerate(timing.samples_s):
        row = {"run_type": "iteration", "repetition_index": number, "iterations": timing.loops, **_times(sample_s)}
        yield {"name": record.cell.id, **head, **row, **counters}
    for name, value_s in _aggregates(timing).items():
        row = {"run_type": "aggregate", "aggregate_name": name, "aggregate_unit": "time", "iterations": count, **_times(value_s)}
        yield {"name": f"{record.cell.id}_{name}", **head, **row}


def _times(seconds: float) -> dict[str, Any]:
    return {"real_time": seconds * _NS, "cpu_time": seconds * _NS, "time_unit": "ns"}


def _aggregates(timing: Timing) -> dict[str, float]:
    samples = timing.samples_s
    if len(samples) < 2:
        return {}
    return {"mean": statistics.fmean(samples), "median": median(samples), "stddev": statistics.stdev(samples)}


def _counters(known: dict[str, Any], timing: Timing) -> dict[str, Any]:
    counters: dict[str, Any] = {
        name: known[name] for name in ("peak_bytes", "delta_bytes", "saved_bytes", "energy_j", "flop") if name in known
    }
    if timing.cpu_s is not None:
        counters["cpu_mean_ns"] = timing.cpu_s / (len(timing.samples_s) * timing.loops) * _NS
    return counters
