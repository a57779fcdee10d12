"""Every access of every kernel: inside the tensors, nothing twice, nothing left out, and exactly the bytes of the plan."""

import pytest
import torch

from fabench.kernels.factorized import Plan, Shape, host
from fabench.kernels.factorized.host import target_of
from tests.kernels.interpreted.probe import faults, watched
from tests.kernels.interpreted.subjects import CASE, Case, inputs, padding, replace

CASES = [
    CASE,
    replace(CASE, mask="padding"),
    replace(CASE, normalisation="scaling", mask="padding"),
    replace(CASE, n=1, m=1),
    replace(CASE, n=64, m=128, d_k=24, d_v=40),
    replace(CASE, n=200, m=70, dtype="float16", d_k=40, d_v=8),
    Case(n=70, m=66, d_k=256, d_v=200, dtype="float16", mask="padding"),
    Case(n=70, m=66, d_k=130, d_v=256, dtype="float16", normalisation="scaling"),
    Case(n=70, m=66, d_k=100, d_v=128, dtype="float32"),
]


@pytest.mark.parametrize("parts", ["several parts", "one part"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_every_access(case: Case, parts: str, request: pytest.FixtureRequest) -> None:
    if parts == "several parts":
        request.getfixturevalue("many_parts")
    q, k, v, grad = inputs(case)
    softmax, mask = case.normalisation == "softmax", padding(case)
    with watched() as launches:
        _, kept = host.forward(q, k, v, mask, 0.5, softmax, "ieee")
        host.backward(grad, q, k, v, mask, kept, 0.5, softmax, "ieee")
    shape = Shape(case.batch, case.heads, case.n, case.m, case.d_k, case.d_v, case.dtype, softmax, mask is not None)
    plan = Plan(shape, target_of(torch.device("cpu")))
    planned = [*plan.forward, *plan.backward]
    assert [seen.kernel for seen in launches] == [one.kernel for one in planned]
    for seen, one in zip(launches, planned, strict=True):
        assert faults(seen) == [], seen.kernel
        assert seen.programs == one.programs, seen.kernel
        assert (seen.read_bytes, seen.written_bytes) == (one.read_bytes, one.written_bytes), seen.kernel
