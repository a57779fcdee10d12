"""`factorized` where it could go wrong: both of its paths, tiles, and inputs that break naive softmax code."""

from collections.abc import Callable

import pytest
import torch

from fabench.attention import _tiles, _whole, base, factorized, reference
from fabench.schema import Case
from tests.attention.test_reference import tensors

CASE = Case(n=300, m=300, heads=2, d_k=8, d_v=12)
FUNCTION = "factorized softmax attention"


def ramp(case: Case) -> torch.Tensor:
    return torch.linspace(-500, 500, case.m, dtype=torch.float64)[None, None, :, None]


def last_key(k: torch.Tensor, value: float) -> torch.Tensor:
    k = k.clone()
    k[:, :, -1] = value
    return k


Change = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
ADVERSARIAL: dict[str, Change] = {
    "ramp along n": lambda q, k: (q, k + ramp(CASE)),
    "steep keys": lambda q, k: (q, 30 * k),
    "offset": lambda q, k: (q, k + 20000),
    "negative offset": lambda q, k: (q, k - 20000),
    "minus infinity": lambda q, k: (q, k.masked_fill(torch.arange(CASE.m)[:, None] % 3 == 0, -torch.inf)),
    "one channel empty": lambda q, k: (q, k.masked_fill(torch.arange(CASE.d_k) == 2, -torch.inf)),
    "last key large": lambda q, k: (q, last_key(k, 80.0)),
    "last key small": lambda q, k: (q, last_key(k, -90.0)),
    "sharp queries": lambda q, k: (100 * q, k),
    "large queries": lambda q, k: (q + 5000, k),
}


def _always_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factorized, "_TILES_FROM_BYTES", {False: 0, True: 0})
    monkeypatch.setattr(_tiles, "TILE_ELEMENTS", 256)


@pytest.fixture(params=["whole", "whole, queries in tiles", "tiles"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Takes each of the paths, tiled ones with tiles of a few rows."""
    if request.param == "whole, queries in tiles":
        monkeypatch.setattr(_tiles, "TILE_ELEMENTS", 256)
        monkeypatch.setattr(_whole, "TILE_ELEMENTS", 256)
    if request.param == "tiles":
        _always_in_tiles(monkeypatch)
    name: str = request.param
    return name


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adversarial_inputs_stay_finite_and_right(name: str, dtype: torch.dtype, path: str) -> None:
    q, k, v = tensors(CASE)
    q, k = ADVERSARIAL[name](q, k)
    q, k, v = (x.to(dtype).requires_grad_() for x in (q, k, v))
    core = base.load("factorized").prepare(CASE, "cpu")
    output = core(q, k, v, None)
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = torch.autograd.grad(output, (q, k, v), grad.to(dtype))
    inputs = (q.detach(), k.detach(), v.detach())
    expected = (reference.output(FUNCTION, *inputs, CASE), *reference.gradients(FUNCTION, *inputs, grad.to(dtype), CASE))
    limit = 3e-5 if dtype == torch.float32 else 1e-11
    for label, got, wanted in zip(("output", "dq", "dk", "dv"), (output, *gradients), expected, strict=True):
        assert bool(torch.isfinite(got).all()), label
        # Where a softmax is saturated its gradient cancels to nothing, and what is left is rounding of the upstream gradient.
        scale = max(float(wanted.norm()), 0.1 * float(grad.norm()))
        assert float((got.detach().double() - wanted).norm()) <= limit * scale, label
    with torch.no_grad():
        torch.testing.assert_close(core(q, k, v, None), output, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("normalisation", ["softmax", "scaling"])
def test_gradcheck(normalisation: str, path: str) -> None:
    case = Case(n=9, m=11, heads=2, d_k=3, d_v=4, normalisation=normalisation)
    core = base.load("factorized").prepare(case, "cpu")
    q, k, v = (x.requires_grad_() for x in tensors(case))
    mask = torch.zeros(1, case.m, dtype=torch.bool)
    mask[0, -2:] = True
    assert torch.autograd.gradcheck(lambda q, k, v: core(q, k, v, None), (q, k, v))
    assert torch.autograd.gradcheck(lambda q, k, v: core(q, k, v, mask), (q, k, v))


def test_both_paths_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    core = base.load("factorized").prepare(CASE, "cpu")
    q, k, v = (x.float() for x in tensors(CASE))
    whole = core(q, k, v, None)
    _always_in_tiles(monkeypatch)
    torch.testing.assert_close(core(q, k, v, None), whole, rtol=1e-5, atol=1e-6)


def test_equal_calls_give_equal_bits(path: str) -> None:
    core = base.load("factorized").prepare(CASE, "cpu")
    q, k, v = (x.float() for x in tensors(CASE))
    assert torch.equal(core(q, k, v, None), core(q, k, v, None))


def test_inputs_are_left_alone(path: str) -> None:
    core = base.load("factorized").prepare(CASE, "cpu")
    leaves = [x.float().requires_grad_() for x in tensors(CASE)]
    before = [x.detach().clone() for x in leaves]
    output = core(leaves[0], leaves[1], leaves[2], None)
    grad = torch.ones_like(output)
    torch.autograd.grad(output, leaves, grad)
    assert all(torch.equal(a, b) for a, b in zip(before, leaves, strict=True))
    assert bool((grad == 1).all())


ORDERS: dict[str, Callable[[int, int, int], torch.Tensor]] = {
    "heads first": lambda h, n, d: torch.randn(2, h, n, d),
    "positions first": lambda h, n, d: torch.randn(2, n, h, d).transpose(1, 2),
    "feature map": lambda h, n, d: torch.randn(2, h, d, n).transpose(2, 3),
}


@pytest.mark.parametrize("order", ["heads first", "feature map"])
@pytest.mark.parametrize("differentiate", [False, True])
def test_results_lie_in_memory_as_their_inputs_do(order: str, differentiate: bool, path: str) -> None:
    """A layer before or after would copy them otherwise, which takes longer than the attention."""
    make = ORDERS[order]
    q, k, v = (make(2, 40, d).requires_grad_(differentiate) for d in (8, 8, 6))
    output = base.load("factorized").prepare(CASE, "cpu")(q, k, v, None)
    assert output.stride() == make(2, 40, 6).stride()
    if differentiate:
        gradients = torch.autograd.grad(output, (q, k, v), make(2, 40, 6))
        assert [g.stride() for g in gradients] == [x.stride() for x in (q, k, v)]


@pytest.mark.parametrize("order", ORDERS)
def test_any_memory_order_gives_the_same(order: str, path: str) -> None:
    q, k, v = (ORDERS[order](2, 40, d).double().requires_grad_() for d in (8, 8, 6))
    core = base.load("factorized").prepare(CASE, "cpu")
    output = core(q, k, v, None)
    grad = ORDERS[order](2, 40, 6).double()
    expected = q.softmax(-1) @ (k.softmax(-2).mT @ v)
    torch.testing.assert_close(output, expected)
    for got, wanted in zip(
        torch.autograd.grad(output, (q, k, v), grad), torch.autograd.grad(expected, (q, k, v), grad), strict=True
    ):
        torch.testing.assert_close(got, wanted)
