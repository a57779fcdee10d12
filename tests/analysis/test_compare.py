"""What a comparison of stored runs says: time, what is counted, how cells ended, exponents, kernels, baselines."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from fabench.analysis.compare import CellChange, Comparison, against, compare, with_kernels
from fabench.analysis.launches import Launch
from fabench.analysis.powers import memory_exponents
from fabench.analysis.worse import EXACT_BYTES, counted
from fabench.baseline import Baseline, Coded, Counted, depends_on
from fabench.schema import Check, Record, Status, TensorError
from fabench.sheet import KernelSheet, SheetFile
from tests.launched import changed, floor, launches

BASE = launches(5, seed=1)
HEAD = launches(5, seed=2, minute=10, commit="b" * 12)
CELL = next(iter(BASE[0].records))
ANY = BASE[0].records[CELL]


def cell_of(found: Comparison, cell: str = CELL) -> CellChange:
    return next(one for one in found.cells if one.cell == cell)


def everywhere(side: Sequence[Launch], change: Callable[[Record], Record], cell: str = CELL) -> list[Launch]:
    return [replace(one, records={**one.records, cell: change(one.records[cell])}) for one in side]


def heavier(delta: int) -> Callable[[Record], Record]:
    def change(record: Record) -> Record:
        assert record.memory is not None
        return replace(record, memory=replace(record.memory, delta_bytes=record.memory.delta_bytes + delta))

    return change


def saving(count: int | None) -> Callable[[Record], Record]:
    def change(record: Record) -> Record:
        assert record.memory is not None
        return replace(record, memory=replace(record.memory, saved_bytes=count))

    return change


def with_error(error: float) -> Callable[[Record], Record]:
    return lambda record: replace(record, check=Check(True, (TensorError("output", error, error, 1e-5),)))


def ended(status: Status, **more: object) -> Callable[[Launch], Launch]:
    return lambda launch: changed(launch, CELL, status=status.value, **more)


def test_nothing_changed() -> None:
    found = compare(BASE, HEAD)
    assert not found.anything_worse
    assert {cell.verdict for cell in found.cells} <= {"equivalent", "undecided"}
    assert len(found.cells) == len(BASE[0].records)


def test_a_slow_implementation_is_slower_and_the_other_is_not() -> None:
    found = compare(BASE, launches(5, seed=3, minute=10, factors={"sdpa": 1.4}))
    assert {cell.implementation for cell in found.having("slower")} == {"sdpa"}
    assert all(1.2 < cell.time.ratio < 1.6 for cell in found.having("slower") if cell.time)
    assert found.worse == found.having("slower")


def test_one_launch_a_side_leaves_a_factor_of_one_and_a_half_undecided_and_says_what_is_missing() -> None:
    cell = compare(BASE[:1], launches(1, seed=3, minute=10, factors={"sdpa": 1.5})).cells[-1]
    assert cell.verdict == "undecided"
    assert cell.reason == "1 and 1 launches, 5 a side are needed for a verdict; nothing says how launches spread"
    assert cell.time is not None and cell.time.known_from == "nothing"


def test_the_noise_sheet_bounds_one_launch_a_side() -> None:
    base, head = (launches(1, seed=seed, devices=floor(0.25)) for seed in (1, 2))
    cell = compare(base, head).cells[0]
    assert cell.time is not None and cell.time.low is not None and cell.time.high is not None
    assert cell.time.high / cell.time.ratio == pytest.approx(1.25)
    assert cell.time.ratio / cell.time.low == pytest.approx(1.25)


def test_twice_as_slow_trips_with_one_launch_a_side() -> None:
    found = compare(BASE[:1], launches(1, seed=3, minute=10, factors={"sdpa": 2.5}))
    assert {(cell.implementation, cell.time.tripwire) for cell in found.worse if cell.time} == {("sdpa", True)}


@pytest.mark.parametrize(
    ("delta", "tolerance", "worse"),
    [(2**20, 2**20, False), (2**20 + 1, 2**20, True), (EXACT_BYTES, EXACT_BYTES, False), (EXACT_BYTES + 1, EXACT_BYTES, True), (-(2**24), 0, False)],
)  # fmt: skip
def test_peak_memory_has_a_tolerance_and_no_statistics(delta: int, tolerance: int, worse: bool) -> None:
    found = cell_of(compare(BASE[:1], everywhere(HEAD[:1], heavier(delta)), tolerance_bytes=tolerance))
    assert [one.quantity for one in found.worse] == (["peak memory"] if worse else [])


def test_a_peak_that_only_some_launches_have_is_told_and_not_judged() -> None:
    head = [*HEAD[:4], *everywhere(HEAD[4:], heavier(2**24))]
    found = cell_of(compare(BASE, head))
    assert found.worse == ()
    assert any("head's peak memory varied" in note for note in found.notes)


@pytest.mark.parametrize(("old", "new", "worse"), [(100, 101, True), (100, 100, False), (None, 101, False), (100, None, False)])
def test_every_byte_more_for_backward_counts(old: int | None, new: int | None, worse: bool) -> None:
    found = cell_of(compare(everywhere(BASE, saving(old)), everywhere(HEAD, saving(new))))
    assert [one.quantity for one in found.worse] == (["saved bytes"] if worse else [])


def test_every_flop_more_counts() -> None:
    flop = ANY.flop or 0
    found = cell_of(compare(BASE, everywhere(HEAD, lambda record: replace(record, flop=flop + 1))))
    assert [(one.quantity, one.base, one.head) for one in found.worse] == [("FLOPs", flop, flop + 1)]


@pytest.mark.parametrize(("error", "worse"), [(3e-7, False), (9e-7, False), (1.1e-6, True)])
def test_accuracy_counts_where_it_doubled_and_matters(error: float, worse: bool) -> None:
    """2e-7 before, 1e-5 allowed: a tenth of that is 1e-6."""
    found = cell_of(compare(BASE, everywhere(HEAD, with_error(error))))
    assert [one.quantity for one in found.worse] == (["accuracy"] if worse else [])


@pytest.mark.parametrize("status", [Status.INCORRECT, Status.OUT_OF_MEMORY, Status.CRASHED, Status.TIMED_OUT, Status.UNSUPPORTED])
def test_a_cell_that_was_ok_and_is_not_is_worse(status: Status) -> None:
    found = cell_of(compare(BASE, [ended(status)(one) for one in HEAD]))
    assert [(one.quantity, one.base, one.head) for one in found.worse] == [("status", "ok", status.value)]
    assert found.verdict == "not measured", "a wrong result is no verdict on its speed"


def test_one_crash_in_five_launches_is_worse_and_counted() -> None:
    found = cell_of(compare(BASE, [*HEAD[:4], ended(Status.CRASHED)(HEAD[4])]))
    assert [one.text for one in found.worse] == ["ok -> crashed in 1 of 5 launches (for a reason)"]
    assert found.verdict == "undecided"


@pytest.mark.parametrize("gone", [ended(Status.SKIPPED), ended(Status.CRASHED, device_lost=True)])
def test_skipped_and_a_lost_device_are_not_measured_and_not_worse(gone: Callable[[Launch], Launch]) -> None:
    found = cell_of(compare(BASE, [gone(one) for one in HEAD]))
    assert (found.verdict, found.worse) == ("not measured", ())


def test_a_cell_that_works_now_is_neither_worse_nor_unmeasured() -> None:
    found = cell_of(compare([ended(Status.OUT_OF_MEMORY)(one) for one in BASE], HEAD))
    assert (found.verdict, found.worse, found.notes) == ("not timed", (), ("status out of memory -> ok",))


def test_a_cell_that_ended_alike_on_both_sides_says_nothing() -> None:
    found = cell_of(compare([ended(Status.UNSUPPORTED)(one) for one in BASE], [ended(Status.UNSUPPORTED)(one) for one in HEAD]))
    assert (found.verdict, found.worse, found.notes) == ("not timed", (), ())


def test_impossible_times_are_no_times() -> None:
    """A thousandth of the time is far above the peaks: grade D, however much faster it looks."""
    found = cell_of(compare(BASE, launches(5, seed=2, factors={"factorized_plain": 1e-3})))
    assert found.verdict == "not measured"
    assert found.reason is not None and "no measurement" in found.reason


def test_one_impossible_time_among_five_leaves_it_undecided() -> None:
    odd = launches(1, seed=9, minute=14, factors={"factorized_plain": 1e-3})
    found = cell_of(compare(BASE, [*launches(4, seed=2, factors={"factorized_plain": 3.0}), *odd]))
    assert found.verdict == "undecided"
    assert found.reason is not None and found.reason.startswith("1 of 5 times of head")


def test_times_taken_in_different_ways_are_not_compared() -> None:
    def cold(record: Record) -> Record:
        assert record.timing is not None
        samples = tuple(3 * sample for sample in record.timing.samples_s)
        return replace(record, timing=replace(record.timing, cache="cold", samples_s=samples, witness=None))

    found = cell_of(compare(BASE[:1], everywhere(HEAD[:1], cold)))
    assert (found.verdict, found.time is not None and found.time.tripwire) == ("undecided", False)
    assert found.reason is not None and "different ways" in found.reason


def test_cells_of_one_side_are_named() -> None:
    other = launches(1, seed=5, sizes=(2048, 4096, 8192))
    found = compare(BASE[:1], other)
    assert all("n=1024" in cell for cell in found.only_base) and len(found.only_base) == 2
    assert all("n=8192" in cell for cell in found.only_head) and len(found.only_head) == 2
    assert len(found.cells) == 4


def test_what_depends_on_the_environment_is_left_out_when_asked() -> None:
    head = everywhere(launches(5, seed=3, factors={"sdpa": 3.0}), with_error(9e-6))
    found = compare(BASE, everywhere(head, heavier(2**24)), independent=True)
    assert {cell.verdict for cell in found.cells} == {"not timed"}
    assert [one.quantity for cell in found.worse for one in cell.worse] == ["peak memory"]
    assert found.left_out == ("time", "exponents of time", "accuracy")
    assert {one.quantity for one in found.powers} == {"memory"}


def test_a_side_that_was_measured_as_a_whole_before_the_other_is_told() -> None:
    assert any("measured as a whole before" in note for note in compare(BASE, HEAD).notes)
    turns = launches(10, seed=4)
    assert not compare(turns[::2], turns[1::2]).notes


def grown(power: float) -> Callable[[Launch], Launch]:
    """The launch with linear memory turned into a power of n."""

    def change(launch: Launch) -> Launch:
        def one(record: Record) -> Record:
            assert record.memory is not None
            size = round(1e-3 * record.cell.case.n**power) + 1000
            return replace(record, memory=replace(record.memory, delta_bytes=size))

        return replace(launch, records={key: one(record) for key, record in launch.records.items()})

    return change


def test_memory_that_grows_faster_than_declared_is_worse() -> None:
    base = [grown(1.0)(one) for one in launches(1, seed=1, sizes=(1024, 2048, 4096, 8192))]
    head = [grown(2.0)(one) for one in launches(1, seed=2, sizes=(1024, 2048, 4096, 8192))]
    found = compare(base, head, tolerance_bytes=2**40)
    assert [(one.quantity, one.declared) for one in found.powers if one.worse] == [("memory", 1)] * 2
    assert found.anything_worse and not found.worse
    assert not compare(head, head, tolerance_bytes=2**40).anything_worse, "it was as bad before"


def steeper(power: float) -> Callable[[Record], Record]:
    def change(record: Record) -> Record:
        assert record.timing is not None
        factor = (record.cell.case.n / 1024) ** power
        return replace(
            record, timing=replace(record.timing, witness=None, samples_s=tuple(factor * s for s in record.timing.samples_s))
        )

    return change


def steep(side: Sequence[Launch], power: float) -> list[Launch]:
    change = steeper(power)
    return [replace(one, records={key: change(record) for key, record in one.records.items()}) for one in side]


def test_time_that_grows_faster_than_declared_is_worse_with_five_launches_and_not_judged_with_four() -> None:
    sizes = (1024, 2048, 4096, 8192, 16384)
    base, head = launches(5, seed=1, sizes=sizes), steep(launches(5, seed=2, sizes=sizes), 1.0)
    found = compare(base, head)
    worse = [(one.implementation, one.quantity, one.declared) for one in found.powers if one.worse]
    assert ("factorized_plain", "time", 1) in worse
    assert not any(one.quantity == "time" for one in compare(base[:4], head[:4]).powers)
    assert not any(one.worse for one in compare(base, launches(5, seed=3, sizes=sizes)).powers)


def sheet(**changes: object) -> KernelSheet:
    known = KernelSheet("f", "k", "sm_90", "bfloat16", "ieee", 64, 64, 4096, 8, 1, 100, 100, 1000, spills=0, binary_sha="0" * 8)
    return replace(known, **changes)  # type: ignore[arg-type]


def test_kernel_sheets_are_compared_exactly() -> None:
    found = with_kernels(
        compare(BASE[:1], HEAD[:1]), SheetFile("3.7", (sheet(),)), SheetFile("3.8", (sheet(spills=4), sheet(n=1)))
    )
    assert [one.changes for one in found.kernels] == [("spilling instructions: 0 -> 4",)]
    assert found.kernels_compared == 1 and found.anything_worse
    assert any("Triton 3.7 and 3.8" in note for note in found.notes)
    assert any("1 of head's kernels" in note for note in found.notes)


def baseline(launch: Launch) -> Baseline:
    cells = {key: counted(record) for key, record in launch.records.items()}
    powers = {f"{name} · {setting}": one.value for (name, setting), one in memory_exponents(launch).items()}
    return Baseline("synthetic", depends_on(launch.environment), cells, powers)


def test_a_run_is_as_its_own_baseline() -> None:
    found = against(baseline(BASE[0]), HEAD[:1])
    assert not found.anything_worse and len(found.cells) == len(BASE[0].records) and found.powers
    assert found.left_out == ("time", "accuracy")


def test_a_baseline_sees_bytes_statuses_and_exponents() -> None:
    head = [ended(Status.CRASHED)(grown(2.0)(HEAD[0]))]
    known = baseline(grown(1.0)(BASE[0]))
    found = against(known, head, tolerance_bytes=0)
    assert [one.quantity for one in cell_of(found).worse] == ["status"]
    assert sum("peak memory" in [one.quantity for one in cell.worse] for cell in found.cells) == len(found.cells) - 1
    lighter = {key: Counted(one.peak_bytes, one.saved_bytes, (one.flop or 1) - 1) for key, one in known.cells.items()}
    less = against(replace(known, cells=lighter), [grown(1.0)(HEAD[0])])
    assert {one.quantity for cell in less.worse for one in cell.worse} == {"FLOPs"}


def test_a_kernel_that_spills_more_than_the_baselines_is_worse() -> None:
    known = replace(baseline(BASE[0]), kernels={sheet().key: Coded(0, None, 100), "other": Coded(0)})
    found = against(known, HEAD[:1], sheets=SheetFile("3.7", (sheet(spills=4, stack_bytes=8, shared_bytes=100),)))
    assert [one.changes for one in found.kernels] == [("spills: 0 -> 4",)]
    assert found.kernels_compared == 1
    broken = against(known, HEAD[:1], sheets=SheetFile("3.7", (sheet(spills=None, reason="too large"),)))
    assert [one.changes for one in broken.kernels] == [("no longer compiles: too large",)]
    assert not against(known, HEAD[:1]).anything_worse


def test_an_exponent_above_the_baselines_is_worse() -> None:
    known = baseline(BASE[0])
    lower = {series: power - 0.2 for series, power in known.exponents.items()}
    assert all(one.worse for one in against(replace(known, exponents=lower), HEAD[:1]).powers)
