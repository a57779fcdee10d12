"""Histories: series by environment, shifts at the run that they were planted at, exact changes, and no shift where nothing happened."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from scipy import stats

from fabench.analysis.history import CellHistory, Series, Step, histories
from fabench.analysis.launches import Launch
from fabench.schema import Status
from tests.launched import changed, launches

COUNT, AT = 24, 14


def commits(count: int, seed: int = 0, at: int | None = None, factor: float = 1.2, spread: float = 0.02) -> list[Launch]:
    """A run per commit; from run `at` on sdpa is slower."""
    before, after = (launches(count, seed, spread=spread, factors={"sdpa": slow}) for slow in (1.0, factor))
    chosen = [old if at is None or index < at else new for index, (old, new) in enumerate(zip(before, after, strict=True))]
    return [replace(one, environment=replace(one.environment, commit=f"{index:012x}")) for index, one in enumerate(chosen)]


def of(series: Series, implementation: str) -> list[CellHistory]:
    return [one for one in series.cells if one.cell.implementation == implementation]


@pytest.mark.parametrize("order", [1, -1])
def test_a_change_is_found_at_its_commit_in_whatever_order_runs_are_given(order: int) -> None:
    (series,) = histories([commits(COUNT, at=AT)[::order]])
    for one in of(series, "sdpa"):
        (turn,) = one.turns
        assert abs(turn.after - AT) <= 1 and turn.before == turn.after - 1
        assert turn.ratio == pytest.approx(1.2, rel=0.05)
    assert all(not one.turns for one in of(series, "factorized_plain"))
    assert series.runs[AT].commit == f"{AT:012x}"


def test_a_drift_of_one_percent_a_run_is_found() -> None:
    drifting = [
        replace(launches(1, index, minute=index, factors={"sdpa": 1.01**index})[0], name=f"run {index}") for index in range(COUNT)
    ]
    (series,) = histories([drifting])
    assert all(one.turns and all(turn.ratio > 1 for turn in one.turns) for one in of(series, "sdpa"))


def test_of_100_histories_without_a_change_5_show_one_in_any_cell() -> None:
    trials = 60
    alarms = sum(any(one.turns for one in histories([commits(16, seed, spread=0.1)])[0].cells) for seed in range(trials))
    assert stats.binom.sf(alarms - 1, trials, 0.05) > 1e-3, alarms


def test_smaller_shifts_than_asked_for_are_not_told() -> None:
    (series,) = histories([commits(COUNT, at=AT)], least_change=0.3)
    assert not any(one.turns for one in series.cells)


def test_environments_are_series_of_their_own() -> None:
    found = histories([commits(3), commits(8, seed=1)])
    assert [len(series.runs) for series in found] == [3, 8]
    assert not any(one.judged for one in found[0].cells)
    assert all(one.judged for one in found[1].cells)


def first(found: Sequence[Launch]) -> str:
    return next(iter(found[0].records))


def test_every_byte_that_changes_is_told_at_its_run() -> None:
    runs = commits(4)
    cell = first(runs)
    memory = runs[0].records[cell].memory
    assert memory is not None
    runs[2] = changed(runs[2], cell, memory=replace(memory, delta_bytes=memory.delta_bytes + 1))
    one = next(one for one in histories([runs])[0].cells if one.cell.id == cell)
    size = memory.delta_bytes
    assert one.steps == (Step(1, 2, "peak_bytes", size, size + 1), Step(2, 3, "peak_bytes", size + 1, size))


def test_statuses_change_and_bytes_are_compared_across_the_gap() -> None:
    runs = commits(4)
    cell = first(runs)
    runs[1] = changed(runs[1], cell, status=Status.CRASHED.value)
    one = next(one for one in histories([runs])[0].cells if one.cell.id == cell)
    assert [(step.quantity, step.old, step.new) for step in one.steps] == [
        ("status", "ok", "crashed"),
        ("status", "crashed", "ok"),
    ]
    assert [run for run, _ in one.times] == [0, 2, 3]


def test_impossible_times_are_no_points() -> None:
    runs = [*commits(3), launches(1, 9, minute=50, factors={"factorized_plain": 1e-3})[0]]
    (series,) = histories([runs])
    assert all([run for run, _ in one.times] == [0, 1, 2] for one in of(series, "factorized_plain"))
    assert all(len(one.points) == 4 for one in series.cells)
