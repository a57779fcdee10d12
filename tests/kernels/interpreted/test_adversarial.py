"""Inputs that break a careless softmax: ramps, offsets, outliers, -inf, and what makes an optimistic walk start again."""

from collections.abc import Callable

import pytest
import torch

from tests.kernels.interpreted.subjects import CASE, LIMITS, NAMES, errors, inputs, replace, run, truth

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
