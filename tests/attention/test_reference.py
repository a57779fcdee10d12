"""The references against what is independent of them: torch's own operators, autograd, and laws that hold exactly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fabench.attention import reference
from fabench.schema import Case

SOFTMAX, FACTORIZED, SCALED, CAUSAL = reference.FUNCTIONS
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def tensors(case: Case, seed: int = 0) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    heads = (case.batch, case.heads)
    shapes = ((*heads, case.n, case.d_k), (*heads, case.m, case.d_k), (*heads, case.m, case.d_v))
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return q, k, v


def padding(case: Case) -> torch.Tensor:
    """The last third of the keys of the first batch element, and all keys of the last one."""
    mask = torch.zeros(case.batch, case.m, dtype=torch.bool)
    mask[0, case.m - case.m // 3 :] = True
    mask[-1] = True
    return mask


CASE = Case(n=19, m=23, batch=2, heads=3, d_k=5, d_v=7)
cases = st.builds(
    Case, n=st.integers(1, 20), m=st.integers(1, 20), batch=st.integers(1, 2), heads=st.integers(1, 3), d_k=st.integers(1, 6), d_v=st.integers(1, 6)
)  # fmt: skip


def test_dot_product_is_torchs_own_in_float64() -> None:
    q, k, v = tensors(CASE)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=CASE.scale_value)
    torch.testing.assert_close(reference.output(SOFTMAX, q, k, v, CASE), expected, rtol=1e-13, atol=1e-13)


def test_the_map_may_be_cut_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = tensors(CASE)
    grad = torch.randn(2, 3, 19, 7, dtype=torch.float64)
    whole = (reference.output(SOFTMAX, q, k, v, CASE), *reference.gradients(SOFTMAX, q, k, v, grad, CASE))
    monkeypatch.setattr(reference, "_CHUNK_ELEMENTS", 23 * 6 * 4)
    cut = (reference.output(SOFTMAX, q, k, v, CASE), *reference.gradients(SOFTMAX, q, k, v, grad, CASE))
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def plain(function: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, case: Case) -> torch.Tensor:
    if function == SOFTMAX:
        return torch.softmax(q @ k.transpose(-1, -2) * case.scale_value, -1) @ v
    if function == FACTORIZED:
        return q.softmax(-1) @ (k.softmax(-2).transpose(-1, -2) @ v)
    weights = q @ k.transpose(-1, -2) * case.scale_value
    return (weights.tril() if function == CAUSAL else weights) @ v


@given(cases, st.sampled_from(reference.FUNCTIONS))
@settings(deadline=None, max_examples=60)
def test_gradients_are_autograds(case: Case, function: str) -> None:
    q, k, v = (x.requires_grad_() for x in tensors(case))
    output = plain(function, q, k, v, case)
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(reference.output(function, q, k, v, case), output, rtol=1e-11, atol=1e-11)
    expected = torch.autograd.grad(output, (q, k, v), grad)
    for got, wanted in zip(reference.gradients(function, q.detach(), k.detach(), v.detach(), grad, case), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("function", reference.FUNCTIONS)
def test_rows_are_rows_of_the_whole(function: str) -> None:
    q, k, v = tensors(CASE)
    rows = torch.tensor([0, 7, 18])
    grad = torch.randn(2, 3, 3, 7, dtype=torch.float64)
    sparse = torch.zeros(2, 3, 19, 7, dtype=torch.float64)
    sparse[:, :, rows] = grad
    torch.testing.assert_close(
        reference.output(function, q, k, v, CASE, None, rows), reference.output(function, q, k, v, CASE)[:, :, rows]
    )
    dq, dk, dv = reference.gradients(function, q, k, v, grad, CASE, None, rows)
    whole_q, whole_k, whole_v = reference.gradients(function, q, k, v, sparse, CASE)
    torch.testing.assert_close(dq, whole_q[:, :, rows])
    torch.testing.assert_close(dk, whole_k)
    torch.testing.assert_close(dv, whole_v)


@pytest.mark.parametrize("function", reference.FUNCTIONS)
def test_padding_is_as_if_the_keys_were_not_there(function: str) -> None:
    q, k, v = tensors(CASE)
    mask = padding(CASE)
    kept = ~mask[0]
    output = reference.output(function, q, k, v, CASE, mask)
    alone = reference.output(function, q[:1], k[:1][:, :, kept], v[:1][:, :, kept], CASE)
    torch.testing.assert_close(output[:1], alone)
    assert bool((output[-1] == 0).all())
    grad = torch.ones_like(output)
    dq, dk, dv = reference.gradients(function, q, k, v, grad, CASE, mask)
    for gradient in (dk, dv):
        assert bool((gradient[0][:, mask[0]] == 0).all())
        assert bool((gradient[-1] == 0).all())
    assert bool((dq[-1] == 0).all())


@pytest.mark.parametrize("function", reference.FUNCTIONS)
def test_what_is_no_number_stays_none(function: str) -> None:
    q, k, v = tensors(CASE)
    k[0, 0, 2, 1] = torch.nan
    assert bool(reference.output(function, q, k, v, CASE)[0, 0].isnan().any())
    empty = torch.full_like(k, -torch.inf)
    if function == FACTORIZED:
        assert bool((reference.output(function, q, empty, v, CASE) == 0).all())


# The laws of the paper's section 3, which hold exactly for both softmax forms.


@given(cases, st.sampled_from([SOFTMAX, FACTORIZED]), st.integers(0, 99))
@settings(deadline=None, max_examples=80)
def test_outputs_are_averages_of_the_values(case: Case, function: str, seed: int) -> None:
    q, k, v = tensors(case, seed)
    output = reference.output(function, q, k, v, case)
    low, high = v.amin(2, keepdim=True), v.amax(2, keepdim=True)
    assert bool((output >= low - 1e-12).all())
    assert bool((output <= high + 1e-12).all())
    constant = torch.full_like(v, 3.25)
    torch.testing.assert_close(
        reference.output(function, q, k, constant, case), torch.full_like(output, 3.25), rtol=1e-12, atol=0
    )


@given(cases, st.sampled_from([SOFTMAX, FACTORIZED, SCALED]), st.integers(0, 99))
@settings(deadline=None, max_examples=80)
def test_order_of_keys_does_not_matter_and_order_of_queries_is_kept(case: Case, function: str, seed: int) -> None:
    q, k, v = tensors(case, seed)
    output = reference.output(function, q, k, v, case)
    keys = torch.randperm(case.m, generator=torch.Generator().manual_seed(seed))
    queries = torch.randperm(case.n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(reference.output(function, q, k[:, :, keys], v[:, :, keys], case), output, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(
        reference.output(function, q[:, :, queries], k, v, case), output[:, :, queries], rtol=1e-11, atol=1e-12
    )


@given(cases, st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_constants_on_query_rows_and_key_columns_change_nothing(case: Case, seed: int) -> None:
    q, k, v = tensors(case, seed)
    output = reference.output(FACTORIZED, q, k, v, case)
    rows, columns = 5 * torch.randn(case.n, 1, dtype=torch.float64), 5 * torch.randn(1, case.d_k, dtype=torch.float64)
    torch.testing.assert_close(reference.output(FACTORIZED, q + rows, k + columns, v, case), output, rtol=1e-11, atol=1e-12)


def test_one_key_channel_gives_every_position_the_same_output() -> None:
    case = Case(n=9, m=11, d_k=1, d_v=4)
    q, k, v = tensors(case)
    output = reference.output(FACTORIZED, q, k, v, case)
    torch.testing.assert_close(output, output[:, :, :1].expand_as(output))


def test_the_softmax_forms_are_different_functions_and_the_scaling_forms_are_one() -> None:
    case = Case(n=1024, m=1024, d_k=32, d_v=32)
    q, k, v = tensors(case)
    quadratic = reference.output(SOFTMAX, q, k, v, case)
    linear = reference.output(FACTORIZED, q, k, v, case)
    # Section 3 of the facts on the paper: on N(0, 1) inputs of this size the outputs differ by 0.73 in relative norm.
    assert float((quadratic - linear).norm() / quadratic.norm()) == pytest.approx(0.73, abs=0.06)
    scaled = reference.output(SCALED, q, k, v, case)
    torch.testing.assert_close((q @ k.transpose(-1, -2) * case.scale_value) @ v, scaled, rtol=1e-10, atol=1e-10)


def test_a_function_without_reference_is_an_error() -> None:
    q, k, v = tensors(CASE)
    with pytest.raises(KeyError):
        reference.output("mean pooling", q, k, v, CASE)
