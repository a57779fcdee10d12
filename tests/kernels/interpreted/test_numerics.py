"""The kernels against float64: dtypes, forms, masks, shapes, strides."""

import pytest
import torch

from fabench.kernels.factorized import factorized_attention
from tests.kernels.interpreted.subjects import CASE, NAMES, Case, check, eager, errors, inputs, replace, run, truth

DTYPES = ["float32", "bfloat16", "float16", "float64"]


@pytest.mark.parametrize("mask", ["none", "padding"])
@pytest.mark.parametrize("normalisation", ["softmax", "scaling"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_forms_and_masks(dtype: str, normalisation: str, mask: str, many_parts: None) -> None:
    check(replace(CASE, dtype=dtype, normalisation=normalisation, mask=mask))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("normalisation", ["softmax", "scaling"])
def test_no_worse_than_eager_torch(dtype: str, normalisation: str, many_parts: None) -> None:
    case = replace(CASE, dtype=dtype, normalisation=normalisation, m=500, n=500, batch=1)
    given_ = inputs(case)
    right = truth(case, given_)
    ours, theirs = (errors(results, right, given_[3]) for results in (run(case, given_), eager(case, given_)))
    for name, mine, other in zip(NAMES, ours, theirs, strict=True):
        # The scaling form rounds what torch rounds, as often: in float16 the roundings fall otherwise, for better or worse.
        assert mine <= (1.0 if normalisation == "softmax" else 1.03) * other, (name, mine, other)


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1, "m": 1}, {"n": 1}, {"m": 1}, {"d_k": 1}, {"d_v": 1}, {"d_k": 24, "d_v": 40}, {"d_k": 40, "d_v": 24}, {"d_k": 72, "d_v": 130, "heads": 1},
        {"m": 64}, {"m": 65}, {"n": 64, "m": 128}, {"batch": 1, "heads": 1},
    ],
    ids=str,
)  # fmt: skip
def test_shapes(change: dict[str, int], many_parts: None) -> None:
    check(replace(CASE, **{"mask": "padding", **change}))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("normalisation", ["softmax", "scaling"])
def test_contexts_in_tiles(normalisation: str, dtype: str, many_parts: None) -> None:
    check(Case(n=70, m=130, heads=1, d_k=256, d_v=200, dtype=dtype, normalisation=normalisation, mode="fwd_bwd", mask="padding"))


@pytest.mark.parametrize("layout", ["position first", "channel first", "slice", "expanded"])
def test_any_strides(layout: str, many_parts: None) -> None:
    changed = []
    for x in inputs(CASE):
        if layout == "position first":
            x = x.transpose(1, 2).contiguous().transpose(1, 2)
        elif layout == "channel first":
            x = x.transpose(2, 3).contiguous().transpose(2, 3)
        elif layout == "slice":
            x = torch.cat([x, x], -1)[..., : x.shape[-1]]
        else:
            x = x[:, :1].expand_as(x)
        changed.append(x)
    check(CASE, tuple(changed))


def test_position_first_is_kept() -> None:
    q, k, v, _ = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in inputs(CASE))
    output = factorized_attention(q, k, v)
    assert output.stride() == q.stride()


def test_equal_calls_give_equal_bits(many_parts: None) -> None:
    given_ = inputs(CASE)
    assert all(torch.equal(one, other) for one, other in zip(run(CASE, given_), run(CASE, given_), strict=True))
