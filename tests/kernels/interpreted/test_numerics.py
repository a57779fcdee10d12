"""The kernels against float64: dtypes, forms, masks, shapes, strides, adversarial inputs, many positions."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fabench.kernels.factorized import factorized_attention
from tests.kernels.interpreted.subjects import CASE, LIMITS, NAMES, Case, check, eager, errors, inputs, replace, run, truth

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
        assert mine <= 1.1 * other, (name, mine, other)


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


ADVERSARIAL: dict[str, Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]] = {
    "ramp along n": lambda q, k: (q, torch.linspace(-500, 500, k.shape[2], dtype=k.dtype)[:, None].expand_as(k)),
    "k x 30": lambda q, k: (q, 30 * k),
    "k + 20000": lambda q, k: (q, k + 20000),
    "last key + 80": lambda q, k: (q, torch.cat([k[:, :, :-1], k[:, :, -1:] + 80], 2)),
    "q x 100": lambda q, k: (100 * q, k),
    "-inf keys": lambda q, k: (q, k.masked_fill(torch.arange(k.shape[2])[:, None] % 3 == 1, -torch.inf)),
    "later keys + 60": lambda q, k: (q, torch.where(torch.arange(k.shape[2])[:, None] > 90, k + 60, k)),
    "first tile - 90": lambda q, k: (q, torch.where(torch.arange(k.shape[2])[:, None] < 64, k - 90, k)),
    "one channel of the last key + 200": lambda q, k: (
        q,
        k + 200 * (torch.arange(k.shape[2])[:, None] == k.shape[2] - 1) * (torch.arange(k.shape[3]) == 3),
    ),
    "first part -inf": lambda q, k: (q, k.masked_fill(torch.arange(k.shape[2])[:, None] < 64, -torch.inf)),
    "a channel of -inf": lambda q, k: (q, k.masked_fill(torch.arange(k.shape[3]) == 2, -torch.inf)),
}


@pytest.mark.parametrize(
    ("dtype", "parts"),
    [("float32", "several parts"), ("float64", "several parts"), ("bfloat16", "several parts"), ("bfloat16", "one part")],
)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_inputs_stay_finite_and_right(name: str, dtype: str, parts: str, request: pytest.FixtureRequest) -> None:
    """In bfloat16 K's softmax starts optimistically: in one part, which has three tiles, most of these make it start again."""
    if parts == "several parts":
        request.getfixturevalue("many_parts")
    case = replace(CASE, dtype=dtype, n=150)
    q, k, v, grad = inputs(case)
    q, k = ADVERSARIAL[name](q, k)
    q, k = q.to(v.dtype), k.to(v.dtype)
    right = truth(case, (q, k, v, grad))
    found = errors(run(case, (q, k, v, grad)), right, grad)
    limits = dict.fromkeys(NAMES, {"float32": 1e-5, "float64": 1e-12, "bfloat16": LIMITS["bfloat16"]}[dtype])
    # Where one key has nearly all the weight, dW - delta cancels: dK then has fewer digits, in any order of summation.
    limits["dk"] *= max(10.0, float(grad.double().norm() / right[2].norm())) if dtype == "bfloat16" else 10
    for part, error in zip(NAMES, found, strict=True):
        assert error <= limits[part], (part, error)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_errors_do_not_grow_with_n(dtype: str) -> None:
    found = {}
    for n in (512, 16384):
        case = Case(n=n, m=n, d_k=16, d_v=16, dtype=dtype, mode="fwd_bwd")
        found[n] = check(case)
    assert all(large <= 2 * small for small, large in zip(found[512], found[16384], strict=True)), found


def test_65536_positions() -> None:
    check(Case(n=65536, m=65536, d_k=16, d_v=16, mode="fwd_bwd"))


def test_equal_calls_give_equal_bits(many_parts: None) -> None:
    given_ = inputs(CASE)
    assert all(torch.equal(one, other) for one, other in zip(run(CASE, given_), run(CASE, given_), strict=True))


cases = st.builds(
    Case, n=st.integers(1, 90), m=st.integers(1, 140), batch=st.integers(1, 2), heads=st.integers(1, 3), d_k=st.integers(2, 40),
    d_v=st.integers(1, 40), dtype=st.sampled_from(["float64", "float32"]), normalisation=st.just("softmax"),
    mask=st.sampled_from(["none", "padding"]), mode=st.just("fwd_bwd"),
)  # fmt: skip


@given(cases)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape(many_parts: None, case: Case) -> None:
    check(case, limit=4e-6 if case.dtype == "float32" else 4e-14)
