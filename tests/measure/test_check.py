"""What a check takes, measured against what the cost model lets a cell have for it."""

import pytest
import torch

from fabench import cost
from fabench.attention import base
from fabench.devices.base import load
from fabench.measure import check, inputs, subject
from fabench.schema import Case, Measure

FORWARD = Case(n=8192, m=8192, heads=2, d_k=32, d_v=32)
TRAINED = Case(n=8192, m=8192, heads=2, d_k=32, d_v=32, mode="fwd_bwd", mask="padding")
MODULE = Case(
    n=8192, m=8192, heads=2, d_k=32, d_v=32, mode="fwd_bwd", scope="module", channels=64, reprojection=True, residual=True, pool=1
)


@pytest.mark.parametrize("case", [FORWARD, TRAINED, MODULE], ids=["fwd", "fwd_bwd with padding", "module"])
@pytest.mark.parametrize("name", ["factorized", "sdpa_flash"])
def test_a_check_takes_no_more_than_was_foreseen(name: str, case: Case) -> None:
    implementation = base.load(name)
    facts = implementation.facts
    function = facts.computes[case.normalisation]
    if implementation.supports(case, "cpu") is not None:
        pytest.skip("not for this case")
    checked = subject.build(case, implementation, "cpu", inputs.make(case, Measure(), torch.device("cpu")))
    rows = check.sampled_rows(case, function, checked.inputs.seed)
    gradient = check.upstream(checked, rows) if case.needs_gradients else None

    def run() -> None:
        result = check.compute(checked, gradient)
        assert check.compare(checked, result, gradient, function, rows).passed

    assert facts.time_order is not None and facts.memory_order is not None
    foreseen = cost.of(case, facts.time_order, facts.memory_order).check_bytes
    assert 0.3 * foreseen < load("cpu").peak(run).delta_bytes <= foreseen
