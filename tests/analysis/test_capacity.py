from dataclasses import replace

import pytest

from fabench import cost
from fabench.analysis.capacity import LIMITS, Capacity, capacities
from fabench.analysis.frame import tidy
from fabench.schema import Case, Record, Status
from tests import synthetic


def only(found: list[Record]) -> Capacity:
    (result,) = capacities(tidy(found))
    return result


def with_statuses(statuses: list[str]) -> list[Record]:
    sizes = [256 * 2**power for power in range(len(statuses))]
    return [
        record if status == "ok" else synthetic.ended(record.cell, status, f"why {status}")
        for record, status in zip(synthetic.records(["sdpa"], sizes), statuses, strict=True)
    ]


def test_a_curve_that_ran_out_of_memory() -> None:
    found = only(synthetic.records(["dot_product"]))
    assert (found.largest_n, found.stopped_n, found.stopped_status) == (4096, 8192, "out_of_memory")
    assert found.stopped_reason is not None and "can't allocate" in found.stopped_reason
    assert found.gaps == () and found.tried == synthetic.N


def test_a_curve_that_ran_throughout() -> None:
    found = only(synthetic.records(["sdpa"]))
    assert (found.largest_n, found.stopped_n, found.stopped_status, found.stopped_reason) == (16384, None, None, None)


@pytest.mark.parametrize("status", [status for status in Status if status not in ("ok", "unsupported")])
def test_every_way_to_stop_is_told(status: Status) -> None:
    found = only(with_statuses(["ok", status.value, "skipped"]))
    assert (found.largest_n, found.stopped_n, found.stopped_status, found.stopped_reason) == (256, 512, status, f"why {status}")


def test_unsupported_says_nothing_about_size() -> None:
    assert only(with_statuses(["ok", "unsupported"])).stopped_n is None
    assert only(with_statuses(["unsupported", "unsupported"])).largest_n is None


def test_gaps_below_the_largest_are_kept_apart() -> None:
    found = only(with_statuses(["ok", "crashed", "ok", "timed_out"]))
    assert (found.largest_n, found.stopped_n, found.gaps) == (1024, 2048, ((512, "crashed"),))


def test_nothing_ran() -> None:
    found = only(with_statuses(["out_of_memory", "skipped"]))
    assert (found.largest_n, found.stopped_n, found.gaps) == (None, 256, ())


@pytest.mark.parametrize("scope", ["core", "module"])
@pytest.mark.parametrize("mode", ["fwd", "bwd"])
@pytest.mark.parametrize(("dtype", "normalisation"), [("float32", "softmax"), ("float16", "scaling")])
def test_predictions_are_those_of_the_cost_model(scope: str, mode: str, dtype: str, normalisation: str) -> None:
    shape = {"scopes": [scope], "modes": [mode], "dtypes": [dtype], "normalisations": [normalisation]}
    found = synthetic.records(n=[256, 512], failures=False, **shape)  # type: ignore[arg-type]
    cases = {record.cell.implementation: record.cell.case for record in found}
    for one in capacities(tidy(found)):
        order = synthetic.TRUTH[one.implementation].memory_order
        expected = [(name, cost.largest_n(cases[one.implementation], 1, order, limit)) for name, limit in LIMITS.items()]
        assert list(one.predicted) == expected and expected[0][1] < expected[2][1]


def test_pooled_keys_are_predicted_by_search() -> None:
    case = Case(n=64, m=64, scope="module", channels=64, reprojection=True, residual=False, pool=2, space="8x8")
    cell = replace(synthetic.records(["dot_product"], [64])[0].cell, case=case)
    found = only([synthetic.measured(cell, [1.0])])
    assert dict(found.predicted)["24 GB"] == cost.largest_n(case, 2, 2, 24 * 10**9)


def test_no_prediction_where_more_than_n_changes() -> None:
    held = [record for batch in (1, 2, 4) for record in synthetic.records(["sdpa"], [4096 // batch], batch=[batch])]
    assert only(held).predicted == ()
    cell = synthetic.records(["sdpa"], [64])[0].cell
    cross = [synthetic.measured(replace(cell, case=replace(cell.case, m=77)), [1.0])]
    assert only(cross).predicted == ()
