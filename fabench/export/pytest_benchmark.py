"""pytest-benchmark's JSON, which `pytest-benchmark compare` and `pytest --benchmark-compare` read; and files of ours read back.

A cell is a benchmark, a sample a round, the calls in it the iterations. `stats` follow pytest-benchmark's own definitions (its quartiles
are methods 2 and 3 of Wikipedia's article on quartiles). `fullname` is the cell's id, so that files of different suites compare.
The format has no word for a cell without a time, and its `machine_id` is blind to the GPU: complete records stand in each benchmark's
`extra_info`, and environments and the records without a time in a table of our own, "fabench", beside the benchmarks.
Its documentation: pytest-benchmark's, and the files that version 5 writes.
"""

from __future__ import annotations

import json
import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from fabench.codec import DecodeError, decode, encode
from fabench.errors import StoreError
from fabench.export.base import Bundle, document, parameters
from fabench.median import median
from fabench.schema import SCHEMA_VERSION, Environment, Record, Timing

__all__ = ["SAYS_ENDINGS", "enclosed", "extra_info", "options", "read", "write"]

SAYS_ENDINGS = False
_OURS = "fabench"
_RECORD = "fabench_record"
_VERSION = 1
_FORM = "5.0.0"  # pytest-benchmark's version whose form this is


def write(bundle: Bundle) -> bytes:
    """One benchmark per cell with a time; everything else in the table of our own."""
    environment = bundle.environment
    return document(
        {
            "machine_info": _machine(environment),
            "commit_info": _commit(environment),
            "benchmarks": [_benchmark(record, timing, bundle) for record, timing in bundle.measured],
            "datetime": None if environment is None else environment.started_at,
            "version": _FORM,
            _OURS: enclosed(bundle.untimed, bundle.environments),
        }
    )


def enclosed(without_time: Sequence[Record], environments: Sequence[Environment]) -> dict[str, Any]:
    """The table of our own: what no benchmark carries."""
    return {"version": _VERSION, "environments": list(map(_plain, environments)), "records": list(map(_plain, without_time))}


def extra_info(record: Record, bundle: Bundle) -> dict[str, Any]:
    """A benchmark's `extra_info`: what to look at, and under "fabench_record" the record itself."""
    known, environment = bundle.facts(record), bundle.origin(record)
    if environment is not None:
        known["environment"] = {
            "suite": environment.suite, "commit": environment.commit, "code_hash": environment.code_hash,
            "cpu": environment.host.get("cpu"), "torch": environment.packages.get("torch"), "started_at": environment.started_at,
        }  # fmt: skip
    return known | {_RECORD: _plain(record)}


def options(timing: Timing) -> dict[str, Any]:
    """A benchmark's `options`: the clock, and what of pytest-benchmark's own settings is known of the cell."""
    return {
        "disable_gc": True, "timer": timing.clock, "min_rounds": None, "max_time": None, "min_time": None,
        "warmup": timing.warmup_calls,
    }  # fmt: skip


def _plain(value: Record | Environment) -> dict[str, Any]:
    """As it is stored."""
    found: dict[str, Any] = json.loads(encode(value))
    return found


def _benchmark(record: Record, timing: Timing, bundle: Bundle) -> dict[str, Any]:
    return {
        "group": None,
        "name": record.cell.id,
        "fullname": record.cell.id,
        "params": parameters(record.cell),
        "param": record.cell.id,
        "extra_info": extra_info(record, bundle),
        "options": options(timing),
        "stats": _stats(timing.samples_s) | {"data": list(timing.samples_s), "iterations": timing.loops},
    }


def _stats(samples: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(samples)
    count, total = len(ordered), math.fsum(ordered)
    mean, deviation = total / count, statistics.stdev(ordered) if count > 1 else 0.0
    q1, q3 = _quartiles(ordered)
    fence = 1.5 * (q3 - q1)
    far = sum(value < mean - deviation or value > mean + deviation for value in ordered)
    outside = sum(value < q1 - fence or value > q3 + fence for value in ordered)
    return {
        "min": ordered[0], "max": ordered[-1], "mean": mean, "stddev": deviation, "rounds": count, "median": median(ordered),
        "iqr": q3 - q1, "q1": q1, "q3": q3, "iqr_outliers": outside, "stddev_outliers": far, "outliers": f"{far};{outside}",
        "ld15iqr": ordered[min(bisect_left(ordered, q1 - fence), count - 1)],
        "hd15iqr": ordered[max(0, bisect_right(ordered, q3 + fence) - 1)],
        "ops": count / total if total else 0.0, "total": total,
    }  # fmt: skip


def _quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    """Of an even count the medians of both halves; of an odd one between the two samples around each quarter, at 1/4 or 3/4."""
    count = len(ordered)
    if count == 1:
        return ordered[0], ordered[0]
    if count % 2 == 0:
        return median(ordered[: count // 2]), median(ordered[count // 2 :])
    quarter = count // 4
    weight, low, high = (0.75, quarter - 1, 3 * quarter) if count % 4 == 1 else (0.25, quarter, 3 * quarter + 1)
    first = (1 - weight) * ordered[low] + weight * ordered[low + 1]
    third = weight * ordered[high] + (1 - weight) * ordered[high + 1]
    return first, third


def _machine(environment: Environment | None) -> dict[str, Any]:
    """pytest-benchmark's keys, null where a run does not store the thing, and the devices that it is blind to."""
    host: Mapping[str, Any] = {} if environment is None else environment.host
    system, _, release = str(host.get("system") or "").partition(" ")
    python = None if environment is None else environment.packages.get("python")
    return {
        "node": None, "processor": host.get("cpu"), "machine": host.get("machine"), "python_compiler": None,
        "python_implementation": None, "python_implementation_version": None, "python_version": python, "python_build": None,
        "release": release or None, "system": system or None,
        "cpu": {"brand_raw": host.get("cpu"), "count": host.get("cores")},
        "devices": {} if environment is None else environment.devices,
    }  # fmt: skip


def _commit(environment: Environment | None) -> dict[str, Any]:
    """The checkout's commit; "unversioned" is pytest-benchmark's word for none. A "+" marks changed files."""
    commit = (environment.commit if environment is not None else None) or "unversioned"
    return {
        "id": commit.removesuffix("+"), "time": None, "author_time": None, "dirty": commit.endswith("+"),
        "project": "fabench", "branch": "(unknown)",
    }  # fmt: skip


def read(data: bytes, name: str) -> tuple[list[Record], list[Environment]]:
    """Records and environments of a file that `write` or the pytest plugin wrote; `name` is what messages call it. Raises StoreError."""
    try:
        found = json.loads(data)
        benchmarks, ours = found["benchmarks"], found[_OURS]
        # In a project's own test run other benchmarks stand beside ours.
        beside = [benchmark["extra_info"] for benchmark in benchmarks]
        stored = [extra[_RECORD] for extra in beside if _RECORD in extra] + ours["records"]
        environments, version = ours["environments"], ours["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StoreError(
            f"{name}: no pytest-benchmark file of fabench; only files with fabench's own records can be read back"
        ) from None
    if version != _VERSION:
        raise StoreError(f"{name}: version {str(version)[:20]} is not known here, only {_VERSION}: use a fabench that is as new")
    try:
        return [_decoded(Record, item) for item in stored], [_decoded(Environment, item) for item in environments]
    except (DecodeError, TypeError, RecursionError) as error:
        raise StoreError(f"{name}: {' '.join(str(error).split())[:200]}") from None


def _decoded(cls: type[Any], item: Any) -> Any:
    version = item.get("schema", SCHEMA_VERSION) if isinstance(item, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise DecodeError(f"schema {str(version)[:20]} is not known here, only {SCHEMA_VERSION}: use a fabench that is as new")
    return decode(cls, item)
