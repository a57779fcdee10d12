"""A time that can't be is no time: every reading says what it would say had the cell never ended."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from fabench.analysis.crossover import crossovers
from fabench.analysis.curves import curves
from fabench.analysis.frame import tidy
from fabench.analysis.headline import headline
from fabench.analysis.roofline import roofline
from fabench.analysis.scaling import decompose, exponents
from fabench.analysis.speedup import speedups
from fabench.schema import Record
from tests import synthetic

ENVIRONMENTS = [synthetic.environment()]
PLACES = [("dot_product", 4096), ("factorized_plain", 16384), ("factorized_plain", 1024), ("sdpa", 256)]


def spoilt(name: str, n: int, spoil: Callable[[Record], Record]) -> list[Record]:
    """Records, one of which is spoilt."""
    found = synthetic.records(["dot_product", "sdpa", "factorized_plain"])
    return [spoil(record) if (record.cell.implementation, record.cell.case.n) == (name, n) else record for record in found]


def fast(record: Record) -> Record:
    """A hundred thousand times as fast as it is."""
    assert record.timing is not None
    return replace(record, timing=replace(record.timing, samples_s=tuple(value / 1e5 for value in record.timing.samples_s)))


def lost(record: Record) -> Record:
    return replace(record, status="crashed", reason="lost", timing=None)


READINGS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "exponents": lambda frame: [(one.estimate, one.used, one.points, one.local) for one in exponents(frame)],
    "decompose": decompose,
    "crossovers": crossovers,
    "speedups": speedups,
    "across": lambda frame: speedups(frame, other_function=True),
    "curves": lambda frame: [(one.n, one.values) for one in curves(frame)],
    "headline": lambda frame: [(one.setting, one.linear, one.crossover, one.speedup, one.others) for one in [headline(frame)]],
}


@pytest.mark.parametrize(("name", "n"), PLACES)
@pytest.mark.parametrize("reading", READINGS)
def test_no_reading_of_time_knows_it(reading: str, name: str, n: int) -> None:
    impossible, gone = (tidy(spoilt(name, n, spoil), ENVIRONMENTS) for spoil in (fast, lost))
    assert READINGS[reading](impossible) == READINGS[reading](gone)


@pytest.mark.parametrize(("name", "n"), PLACES)
def test_its_row_says_why_and_keeps_everything_else(name: str, n: int) -> None:
    records = spoilt(name, n, fast)
    frame = tidy(records, ENVIRONMENTS)
    before = tidy(spoilt(name, n, lambda record: record), ENVIRONMENTS)
    place = next(i for i, record in enumerate(records) if (record.cell.implementation, record.cell.case.n) == (name, n))
    row, old = frame.iloc[place], before.iloc[place]
    assert row["reason"].startswith("impossible: ") and "% of the measured" in row["reason"]
    assert all(math.isnan(row[column]) for column in ("time_s", "time_low_s", "time_high_s", "time_min_s", "iqr_s"))
    assert row["samples_s"] == () and row["samples"] == 0 and row["grade"] == "D" and "impossible" in row["warnings"]
    assert row["impossible_s"] == pytest.approx(old["time_s"] / 1e5) and row["status"] == "ok"
    assert row["delta_bytes"] == old["delta_bytes"] and row["error"] == old["error"]
    assert frame.drop(index=place)["impossible_s"].isna().all()


def test_a_curve_gives_the_reason_for_time_and_none_for_memory() -> None:
    frame = tidy(spoilt("sdpa", 256, fast), ENVIRONMENTS)
    (time,) = [curve for curve in curves(frame) if curve.implementation == "sdpa"]
    (memory,) = [curve for curve in curves(frame, "memory") if curve.implementation == "sdpa"]
    assert [(n, why.partition(":")[0]) for n, why in time.missing] == [(256, "impossible")]
    assert 256 in memory.n and memory.missing == ()


def test_the_headline_says_what_was_left_out_and_never_that_it_did_not_run() -> None:
    said = headline(tidy(spoilt("dot_product", 4096, fast), ENVIRONMENTS))
    assert said.doubt.endswith("1 time is left out as impossible.") and said.sentences[-1] == said.doubt
    assert 4096 not in said.only_linear_n and said.speedup is not None and said.speedup.n == 2048


def graded(count: int, pick: Sequence[int]) -> str:
    """The headline's doubt where the cells of these n of both curves have no second clock that agrees."""
    from fabench.measured import Witness

    found = []
    for record in synthetic.records(["dot_product", "factorized_plain"], [256, 512, 1024][:count], noise=0.001):
        assert record.timing is not None
        if record.cell.case.n in pick:
            other = Witness("other", tuple(1.03 * value for value in record.timing.samples_s), record.timing.loops, paired=True)
            record = replace(record, timing=replace(record.timing, witness=other))
        found.append(record)
    return headline(tidy(found, ENVIRONMENTS)).doubt


def test_the_headline_says_how_many_of_its_times_are_graded_c_or_d() -> None:
    assert graded(3, []) == ""
    assert graded(3, [512]) == "Of the 6 times behind this, 2 are graded C or D (clocks disagree 2)."


def test_scripted_times_are_no_measurement() -> None:
    frame = tidy(synthetic.records(["dot_product", "factorized_plain"], devices=["null"]), ENVIRONMENTS)
    assert set(frame.loc[frame["time_s"] > 0, "grade"]) == {"D"}
    assert headline(frame).sentences[-1] == "These times are scripted: nothing was measured."


def test_the_roofline_alone_shows_it_and_marks_it() -> None:
    frame = tidy(spoilt("sdpa", 256, fast), ENVIRONMENTS)
    marked = [point for point in roofline(frame, ENVIRONMENTS[0]) if point.impossible]
    assert [(point.implementation, point.n) for point in marked] == [("sdpa", 256)]
    assert marked[0].product_share is not None and marked[0].product_share > 100 and "would be" in marked[0].note


def test_without_peaks_nothing_is_impossible() -> None:
    assert tidy(spoilt("sdpa", 256, fast))["impossible_s"].isna().all()
