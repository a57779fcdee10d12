"""Which cell is next: order, limits learnt from records, resumption."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fabench.schema import Case, Cell, Record, Status
from fabench.suite import Planned
from fabench.sweep.schedule import Schedule


def cell(n: int, implementation: str = "dot_product", **fields: int) -> Cell:
    return Cell(implementation, "cpu", Case(n=n, m=n, **fields))  # type: ignore[arg-type]


def planned(*cells: Cell) -> list[Planned]:
    return [Planned(item, None) for item in cells]


def play(schedule: Schedule, statuses: dict[str, Status]) -> dict[str, Record]:
    """Runs a schedule with scripted outcomes."""
    records = {}
    for item, record in schedule:
        if record is None:
            status = statuses.get(item.id, Status.OK)
            record = Record(item, status, None if status == Status.OK else "scripted")
        schedule.learn(record)
        records[item.id] = record
    return records


def test_after_out_of_memory_larger_n_of_the_same_series_are_skipped_with_that_reason() -> None:
    cells = [cell(1), cell(2), cell(4), cell(8), cell(8, "factorized"), cell(8, heads=2)]
    records = play(Schedule(planned(*cells), []), {cells[1].id: Status.OUT_OF_MEMORY})
    assert [records[item.id].status for item in cells] == ["ok", "out_of_memory", "skipped", "skipped", "ok", "ok"]
    assert records[cells[2].id].reason == "dot_product ran out of memory at n=2, so larger n are not tried"
    assert records[cells[2].id].function == "dot-product softmax attention"


def test_after_a_time_out_larger_n_are_not_tried() -> None:
    cells = [cell(1), cell(2), cell(4)]
    records = play(Schedule(planned(*cells), []), {cells[0].id: Status.TIMED_OUT})
    assert records[cells[2].id].reason == "dot_product timed out at n=1, so larger n are not tried"


def test_smaller_n_still_run_after_a_limit() -> None:
    cells = [cell(8), cell(4)]
    records = play(Schedule(planned(*cells), []), {cells[0].id: Status.OUT_OF_MEMORY})
    assert records[cells[1].id].status == "ok"


def test_out_of_host_memory_is_a_limit_too() -> None:
    cells = [cell(1), cell(2)]
    records = play(Schedule(planned(*cells), []), {cells[0].id: Status.OUT_OF_HOST_MEMORY})
    assert records[cells[1].id].reason == "dot_product ran out of host memory at n=1, so larger n are not tried"


def lost(item: Cell) -> Record:
    return Record(item, Status.CRASHED, "scripted", device_lost=True)


def on(device: str, n: int) -> Cell:
    return replace(cell(n), device=device)


def test_a_lost_device_ends_its_own_cells_under_every_name_and_no_others() -> None:
    cells = [on("cuda", 1), on("cuda:1", 1), on("cuda", 2), on("cuda:0", 2), on("cuda:1", 2), on("cpu", 2)]
    schedule = Schedule([*planned(*cells), Planned(on("cuda", 9), "too slow")], [])
    records = {}
    for item, record in schedule:
        records[item.id] = record or (lost(item) if item == cells[0] else Record(item, "ok"))
        schedule.learn(records[item.id])
    why = "cuda was lost in dot_product at n=1, so nothing more is tried on it"
    assert [(record.status, record.reason) for record in records.values()] == [
        ("crashed", "scripted"), ("ok", None), ("skipped", why), ("skipped", why), ("ok", None), ("ok", None), ("skipped", "too slow"),
    ]  # fmt: skip
    assert [record.device_lost for record in records.values()] == [True, False, True, True, False, False, False]


def test_resuming_asks_a_lost_device_again() -> None:
    cells = [on("cuda", 1), on("cuda", 2), on("cuda", 3)]
    done = [Record(cells[0], "ok"), lost(cells[1]), replace(lost(cells[2]), status="skipped")]
    records = play(Schedule(planned(*cells), done), {})
    assert {key: record.status for key, record in records.items()} == {cells[1].id: "ok", cells[2].id: "ok"}


def test_a_crash_is_no_limit() -> None:
    cells = [cell(1), cell(2)]
    assert play(Schedule(planned(*cells), []), {cells[0].id: Status.CRASHED})[cells[1].id].status == "ok"


def test_the_suites_own_skips_keep_their_reason() -> None:
    records = play(Schedule([Planned(cell(1), "too slow")], []), {})
    assert [(record.status, record.reason) for record in records.values()] == [("skipped", "too slow")]


def test_resuming_measures_what_is_missing_and_remembers_limits() -> None:
    cells = [cell(1), cell(2), cell(4), cell(4, "factorized")]
    done = [Record(cells[0], "ok"), Record(cells[1], "out_of_memory", "scripted")]
    schedule = Schedule(planned(*cells), done)
    assert (schedule.total, len(schedule.remaining)) == (4, 2)
    records = play(schedule, {})
    assert {key: record.status for key, record in records.items()} == {cells[2].id: "skipped", cells[3].id: "ok"}


def test_a_stop_skips_the_rest_with_its_reason() -> None:
    schedule = Schedule(planned(cell(1), cell(2)), [])
    records = []
    for item, record in schedule:
        records.append(record or Record(item, "ok"))
        schedule.stop("time is up")
    assert [(record.status, record.reason) for record in records] == [("ok", None), ("skipped", "time is up")]


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["dot_product", "factorized"])), unique=True), st.data())
def test_every_planned_cell_ends_exactly_once(shapes: list[tuple[int, str]], data: st.DataObject) -> None:
    cells = [cell(n, name) for n, name in shapes]
    outcomes = {item.id: data.draw(st.sampled_from([Status.OK, Status.OUT_OF_MEMORY, Status.CRASHED])) for item in cells}
    half = data.draw(st.integers(0, len(cells)))
    first = play(Schedule(planned(*cells[:half]), []), outcomes)
    rest = play(Schedule(planned(*cells), list(first.values())), outcomes)
    assert first.keys() & rest.keys() == set()
    assert [*first, *rest] == [item.id for item in cells]
    assert all(replace(record, reason="x").cell.id == key for key, record in (first | rest).items() if record.status != "ok")
