"""Every implementation that is found, against float64: dtypes, forms, shapes, padding, strides, gradients."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fabench.attention import base, reference
from fabench.catalogue import implementations
from fabench.errors import UsageError
from fabench.measure.tolerance import tolerance
from fabench.schema import DTYPES, Case
from tests.attention.test_reference import padding, tensors

EAGER = [name for name, facts in implementations().items() if not facts.compiles]
SHAPE = Case(n=37, m=53, batch=2, heads=3, d_k=8, d_v=8, mode="fwd_bwd")


def compare(name: str, case: Case, *, layout: str = "head first", factor: float = 1.0) -> None:
    """Outputs and gradients of an implementation against the reference, or a reason why there are none."""
    implementation = base.load(name)
    reason = implementation.supports(case, "cpu")
    if reason is not None:
        assert len(reason) > 10
        assert "\n" not in reason
        return
    function = implementation.facts.computes[case.normalisation]
    leaves = [x.to(getattr(torch, case.dtype)) for x in tensors(case)]
    if layout == "position first":
        leaves = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in leaves]
    elif layout == "channel first":
        leaves = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in leaves]
    elif layout == "slice":
        leaves = [torch.cat([x, x], -1)[..., : x.shape[-1]] for x in leaves]
    mask = padding(case) if case.mask == "padding" else None
    q, k, v = (x.detach().requires_grad_() for x in leaves)
    core = implementation.prepare(case, "cpu")
    output = core(q, k, v, mask)
    assert output.dtype == q.dtype
    assert output.shape == (case.batch, case.heads, case.n, case.d_v)
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    gradients = torch.autograd.grad(output, (q, k, v), grad)
    with torch.no_grad():
        torch.testing.assert_close(core(q, k, v, mask), output, rtol=0.02, atol=0.02)
    expected = (
        reference.output(function, q.detach(), k.detach(), v.detach(), case, mask),
        *reference.gradients(function, q.detach(), k.detach(), v.detach(), grad, case, mask),
    )
    for index, (got, wanted) in enumerate(zip((output, *gradients), expected, strict=True)):
        assert bool(torch.isfinite(got).all()), ("output", "dq", "dk", "dv")[index]
        scale, upstream = float(wanted.norm()), float(grad.double().norm())
        if scale <= 1e-10 * upstream:  # zero in exact arithmetic, as with a single key
            scale = upstream
        error = float((got.detach().double() - wanted).norm()) / scale
        limit = factor * tolerance(case, function, gradient=index > 0)
        assert error <= limit, (("output", "dq", "dk", "dv")[index], error, limit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalisation", ["softmax", "scaling"])
@pytest.mark.parametrize("name", EAGER)
def test_dtypes_and_forms(name: str, normalisation: str, dtype: str) -> None:
    compare(name, replace(SHAPE, normalisation=normalisation, dtype=dtype))


@pytest.mark.parametrize("layout", ["position first", "channel first", "slice"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", EAGER)
def test_any_strides(name: str, dtype: str, layout: str) -> None:
    compare(name, replace(SHAPE, dtype=dtype), layout=layout)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("normalisation", ["softmax", "scaling"])
@pytest.mark.parametrize("name", EAGER)
def test_padding(name: str, normalisation: str, dtype: str) -> None:
    compare(name, replace(SHAPE, normalisation=normalisation, mask="padding", dtype=dtype))


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1, "m": 1},
        {"n": 1},
        {"m": 1},
        {"d_k": 1},
        {"d_v": 1},
        {"d_k": 24, "d_v": 40},
        {"heads": 1, "batch": 1},
        {"scale": "1/n"},
        {"scale": "1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", EAGER)
def test_edges(name: str, change: dict[str, object]) -> None:
    compare(name, replace(SHAPE, **change))  # type: ignore[arg-type]


shapes = st.builds(
    Case, n=st.integers(1, 70), m=st.integers(1, 70), batch=st.integers(1, 3), heads=st.integers(1, 4), d_k=st.integers(2, 20),
    d_v=st.integers(1, 20), dtype=st.sampled_from(["float32", "float64"]), mask=st.sampled_from(["none", "padding"]),
    normalisation=st.sampled_from(["softmax", "scaling"]), mode=st.just("fwd_bwd"),
)  # fmt: skip


@given(
    shapes,
    st.sampled_from(["factorized", "factorized_plain", "factorized_looped", "dot_product"]),
    st.sampled_from(["head first", "position first"]),
)
@settings(deadline=None, max_examples=150)
def test_any_shape(case: Case, name: str, layout: str) -> None:
    # Norms of a few sums of terms of either sign can cancel to nothing, and what is relative to them then means nothing.
    assume(case.normalisation == "softmax" or case.n * case.heads * case.d_v >= 32)
    compare(name, case, layout=layout, factor=4)


@pytest.mark.slow
def test_compiled() -> None:
    case = replace(SHAPE, n=64, m=64, batch=1)
    compare("factorized_compiled", case)
    core = base.load("factorized_compiled").prepare(case, "cpu")
    q, k, v = (x.float().requires_grad_() for x in tensors(case))
    output = core(q, k, v, None)
    first = torch.autograd.grad(output, (q, k, v), torch.ones_like(output), retain_graph=True)
    again = torch.autograd.grad(output, (q, k, v), torch.ones_like(output), retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.slow
def test_compiled_survives_sums_over_float16_and_channels_without_keys() -> None:
    # Equal keys and values of one sign: before it is normalised the context is m = 2^17, twice float16's largest number.
    case = Case(n=16, m=2**17, d_k=8, d_v=8, dtype="float16", mode="fwd_bwd")
    core = base.load("factorized_compiled").prepare(case, "cpu")
    q, k, v = (torch.ones(1, 1, rows, 8, dtype=torch.float16, requires_grad=True) for rows in (case.n, case.m, case.m))
    torch.testing.assert_close(core(q, k, v, None), torch.ones(1, 1, 16, 8, dtype=torch.float16))
    hidden = k.detach().clone()
    hidden[..., 3] = -torch.inf
    hidden.requires_grad_()
    output = core(q, hidden, v, None)
    torch.testing.assert_close(output, torch.full_like(output, 7 / 8), rtol=1e-3, atol=0)
    for gradient in torch.autograd.grad(output, (q, hidden, v), torch.ones_like(output)):
        assert bool(torch.isfinite(gradient).all())


def test_implementations_of_one_function_agree_and_names_are_known() -> None:
    for facts in implementations().values():
        assert set(facts.computes.values()) <= set(reference.FUNCTIONS)
        assert facts.time_order in (1, 2) and facts.memory_order is not None
        assert facts.memory_order <= facts.time_order
        assert facts.title.endswith((".", ":")) or len(facts.title) > 20


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no implementation 'nonsense'; there are .*factorized"):
        base.load("nonsense")


@pytest.mark.parametrize("name", ["sdpa_efficient", "sdpa_cudnn"])
def test_backends_that_need_a_gpu_are_unsupported_in_torchs_words(name: str) -> None:
    assert "No viable backend" in (base.load(name).supports(SHAPE, "cpu") or "")


def test_flash_says_why_it_refuses() -> None:
    reason = base.load("sdpa_flash").supports(replace(SHAPE, d_v=16), "cpu")
    assert reason is not None
    assert "same last dimension" in reason
    assert base.load("sdpa_flash").supports(replace(SHAPE, normalisation="scaling"), "cpu") == "sdpa_flash has no scaling form"


def test_another_kernel_than_the_forced_one_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention import SDPBackend

    from fabench.attention import _sdpa

    # As if torch fell back to its math kernel in silence: nothing is forced.
    monkeypatch.setattr(_sdpa, "sdpa_kernel", lambda backends: torch.nn.attention.sdpa_kernel([SDPBackend.MATH]))
    assert base.load("sdpa_flash").supports(SHAPE, "cpu") == "torch ran its math kernel instead"
    monkeypatch.setattr(_sdpa, "sdpa_kernel", lambda backends: torch.nn.attention.sdpa_kernel([SDPBackend.FLASH_ATTENTION]))
    assert (base.load("sdpa_math").supports(SHAPE, "cpu") or "").startswith("torch ran _scaled_dot_product_flash_attention")
