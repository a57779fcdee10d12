"""A cell's samples handed to pytest-benchmark, as the rounds of a benchmark of its own.

pytest-benchmark has no public way to take times that something else measured: this builds the object that its fixture would have
built (`stats.Metadata`, versions 4 and 5) and adds it to its session's list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from fabench.export.base import Bundle, parameters
from fabench.export.pytest_benchmark import extra_info, options
from fabench.schema import Record, Timing

__all__ = ["keep"]


@dataclass(frozen=True)
class _Fixture:
    """What `Metadata` reads of a fixture. Names are those of `fabench export --format pytest_benchmark`, so that both compare."""

    name: str
    fullname: str
    param: str
    params: dict[str, Any]
    extra_info: dict[str, Any]
    group: str | None = None
    cprofile_stats: None = None
    has_error: bool = False


def keep(config: pytest.Config, record: Record, timing: Timing, bundle: Bundle) -> None:
    """Adds the cell to pytest-benchmark's session; nothing where that plugin is not there."""
    session = getattr(config, "_benchmarksession", None)
    if session is None:
        return
    from pytest_benchmark.stats import Metadata

    name = record.cell.id
    fixture = _Fixture(name, name, name, parameters(record.cell), extra_info(record, bundle))
    benchmark: Any = Metadata(fixture, iterations=timing.loops, options=options(timing))  # type: ignore[no-untyped-call]
    for sample_s in timing.samples_s:
        benchmark.stats.update(sample_s)
    session.benchmarks.append(benchmark)
