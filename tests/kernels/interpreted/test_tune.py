"""Every candidate computes the same, and tuning keeps the one that a scripted clock calls faster."""

import math

import pytest
import torch

from fabench.kernels.factorized import TARGETS, Shape, host
from fabench.kernels.factorized.tilings import Tiling, candidates, tiling
from fabench.kernels.factorized.tune import best, timed
from tests.kernels.interpreted.subjects import CASE, check, replace

KERNELS = ("key_contexts", "attend", "query_gradients", "key_gradients")
SHAPE = Shape(1, 2, 200, 200, 16, 16, "bfloat16")
TARGET = TARGETS["sm_90"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_candidate_is_right(kernel: str, dtype: str) -> None:
    case = replace(CASE, dtype=dtype, mask="padding", batch=1)
    for one in candidates(kernel, replace_shape(dtype), TARGET)[1:]:
        with host.with_tilings({kernel: one}):
            check(case)


def replace_shape(dtype: str) -> Shape:
    return Shape(1, CASE.heads, CASE.n, CASE.m, CASE.d_k, CASE.d_v, dtype, masked=True)


def test_each_candidate_of_each_kernel_is_timed_once() -> None:
    calls = []

    def seconds(call: object) -> float:
        calls.append(call)
        return 1.0 / len(calls)

    found = list(timed(SHAPE, torch.device("cpu"), seconds))
    expected = [(kernel, one) for kernel in KERNELS for one in candidates(kernel, SHAPE, TARGET)]
    assert [(kernel, one) for kernel, one, _, _ in found] == expected
    assert [time for _, _, time, _ in found] == [1.0 / (1 + index) for index in range(len(found))]
    assert all(reason is None for *_, reason in found)


def test_a_candidate_that_dies_is_not_taken_and_says_why() -> None:
    def seconds(call: object) -> float:
        raise RuntimeError("out of\nresource")

    found = list(timed(SHAPE, torch.device("cpu"), seconds))
    assert {(time, reason) for *_, time, reason in found} == {(math.inf, "out of resource")}
    assert best({one: time for kernel, one, time, _ in found if kernel == "attend"}) == tiling("attend", SHAPE, TARGET)


def test_only_what_is_clearly_faster_takes_the_place_of_the_fixed() -> None:
    fixed, other = Tiling(64, 64, 64, 4, 2), Tiling(32, 64, 64, 4, 2)
    assert best({fixed: 1.0, other: 0.98}) == fixed
    assert best({fixed: 1.0, other: 0.96}) == other
    assert best({fixed: math.inf, other: 0.5}) == other
