import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fabench import cost
from fabench.analysis.frame import COLUMNS, case_of, tidy
from fabench.schema import Case, Cell, Check, Record, TensorError
from tests import synthetic


def row(record: Record) -> dict[str, Any]:
    return {str(name): value for name, value in tidy([record]).iloc[0].to_dict().items()}


def test_a_row_says_everything_of_its_record() -> None:
    record = synthetic.records(["dot_product"], [1024], samples=25)[0]
    found, case = row(record), record.cell.case
    assert record.timing is not None and record.memory is not None
    assert found["cell_id"] == record.cell.id and found["status"] == "ok" and found["reason"] is None
    assert found["family"] == "quadratic" and found["function"] == "dot-product softmax attention" and found["kind"] == "sequence"
    assert found["series"] == f"dot_product · {found['setting']}"
    ordered = sorted(record.timing.samples_s)
    assert (found["time_s"], found["time_low_s"], found["time_high_s"]) == (ordered[12], ordered[7], ordered[17])
    assert found["time_min_s"] == ordered[0] and found["samples"] == 25
    assert found["iqr_s"] == pytest.approx(ordered[18] - ordered[6])
    assert found["samples_s"] == record.timing.samples_s
    predicted = cost.of(case, 2, 2)
    assert found["predicted_delta_bytes"] == predicted.working_bytes == found["delta_bytes"] == record.memory.delta_bytes
    assert found["predicted_flop"] == predicted.flop and found["compulsory_bytes"] == predicted.compulsory_bytes
    assert math.isnan(found["predicted_saved_bytes"]) and math.isnan(found["process_bytes"])
    assert found["wall_s"] == 0.3 and found["loops"] >= 1 and found["stopped_by"] == "target"


def test_only_ok_cells_have_a_time() -> None:
    frame = tidy(synthetic.records())
    ok = frame["status"] == "ok"
    assert frame["time_s"].notna().equals(ok)
    assert set(frame.loc[~ok, "samples"]) == {0} and frame.loc[~ok, "reason"].notna().all()
    record = synthetic.records(["sdpa"], [256])[0]
    assert math.isnan(row(replace(record, status="crashed", reason="after timing"))["time_s"])


def test_the_worst_tensor_is_the_nearest_to_its_tolerance() -> None:
    record = synthetic.records(["sdpa"], [256])[0]
    tensors = (TensorError("output", 1e-3, 1e-2, 1e-2), TensorError("dq", 5e-4, 1e-2, 1e-3))
    found = row(replace(record, check=Check(True, tensors)))
    assert (found["error"], found["tolerance"]) == (5e-4, 1e-3)
    broken = (*tensors, TensorError("dk", None, None, 2e-3))
    found = row(replace(record, check=Check(False, broken), status="incorrect", reason="dk is not finite"))
    assert math.isnan(found["error"]) and found["tolerance"] == 2e-3


def test_a_record_of_a_killed_cell_takes_its_facts_from_the_others() -> None:
    good = synthetic.records(["sdpa"], [256])[0]
    killed = Record(Cell("sdpa", "cpu", Case(n=512, m=512, heads=8)), "timed_out", "no answer within 60 s")
    alone = Record(Cell("unheard", "cpu", Case(n=512, m=512, heads=8)), "timed_out", "no answer within 60 s")
    frame = tidy([good, killed, alone])
    assert frame["family"].tolist() == ["quadratic", "quadratic", None]
    assert frame["function"].tolist() == [good.function, good.function, None]
    assert frame["predicted_flop"].notna().tolist() == [True, True, False]


@pytest.mark.parametrize("scope", ["core", "module"])
def test_the_case_comes_back_from_its_row(scope: str) -> None:
    for record in synthetic.records(scopes=[scope], n=[256]):
        assert case_of(row(record)) == record.cell.case
    image = Case(n=64, m=64, space="8x8", dtype="float16", scale="1/n")
    assert case_of(row(synthetic.measured(Cell("sdpa", "cpu", image), [1.0]))) == image


def test_no_records_make_an_empty_frame() -> None:
    frame = tidy([])
    assert len(frame) == 0 and tuple(frame.columns) == COLUMNS


def test_ten_thousand_records_are_quick() -> None:
    found = synthetic.many(10_000)
    start = time.perf_counter()
    frame = tidy(found)
    assert time.perf_counter() - start < 20  # a step that grew with the square of their number would take minutes
    assert len(frame) == 10_000 and np.isfinite(frame["predicted_flop"]).all()
