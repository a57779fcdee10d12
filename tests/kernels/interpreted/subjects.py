"""Inputs, the kernels' results for them, and the truth."""

from dataclasses import replace
from typing import Any

import torch

from fabench.attention import base, reference
from fabench.kernels.factorized import factorized_attention
from fabench.schema import Case

Tensors = tuple[torch.Tensor, ...]
NAMES = ("output", "dq", "dk", "dv")
CASE = Case(n=75, m=150, batch=2, heads=3, d_k=16, d_v=16, mode="fwd_bwd")


def inputs(case: Case, seed: int = 0) -> Tensors:
    """Q, K, V and dO, N(0, 1), in the case's dtype."""
    generator = torch.Generator().manual_seed(seed)
    heads, dtype = (case.batch, case.heads), getattr(torch, case.dtype)
    shapes = ((*heads, case.n, case.d_k), (*heads, case.m, case.d_k), (*heads, case.m, case.d_v), (*heads, case.n, case.d_v))
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)


def padding(case: Case) -> torch.Tensor | None:
    """The last third of the keys of the first batch element, and every key of the last one where there are two."""
    if case.mask != "padding":
        return None
    mask = torch.zeros(case.batch, case.m, dtype=torch.bool)
    mask[0, case.m - case.m // 3 :] = True
    if case.batch > 1:
        mask[-1] = True
    return mask


def run(case: Case, given: Tensors, precision: str = "ieee") -> Tensors:
    """O, dQ, dK and dV of the kernels."""
    scale = None if case.normalisation == "softmax" else case.scale_value
    return _with_gradients(lambda q, k, v: factorized_attention(q, k, v, padding(case), scale=scale, precision=precision), given)


def eager(case: Case, given: Tensors) -> Tensors:
    """O, dQ, dK and dV of the transcription in torch."""
    core = base.load("factorized_plain").prepare(case, "cpu")
    return _with_gradients(lambda q, k, v: core(q, k, v, padding(case)), given)


def _with_gradients(call: Any, given: Tensors) -> Tensors:
    q, k, v = (x.detach().requires_grad_() for x in given[:3])
    output = call(q, k, v)
    return (output.detach(), *torch.autograd.grad(output, (q, k, v), given[3]))


def truth(case: Case, given: Tensors) -> Tensors:
    """O, dQ, dK and dV in float64."""
    function = "factorized softmax attention" if case.normalisation == "softmax" else "scaled product attention"
    q, k, v, grad = given
    mask = padding(case)
    return (reference.output(function, q, k, v, case, mask), *reference.gradients(function, q, k, v, grad, case, mask))


def errors(got: Tensors, wanted: Tensors, grad: torch.Tensor) -> list[float]:
    """Relative errors in norm; NaN and Inf are infinite. A gradient that is 0 in exact arithmetic is compared with dO."""
    found = []
    for ours, right in zip(got, wanted, strict=True):
        scale = float(right.norm())
        if scale <= 1e-10 * float(grad.double().norm()):
            scale = float(grad.double().norm())
        finite = bool(torch.isfinite(ours).all())
        found.append(float((ours.double() - right).norm()) / scale if finite else float("inf"))
    return found


# Unit roundoff of what is written, a little above; sums are wider.
LIMITS = {"float64": 1e-14, "float32": 2e-6, "bfloat16": 8e-3, "float16": 1e-3}


def check(case: Case, given: Tensors | None = None, limit: float | None = None, **options: Any) -> list[float]:
    """Asserts that the kernels are right; the errors."""
    given = inputs(case) if given is None else given
    found = errors(run(case, given, **options), truth(case, given), given[3])
    for name, error in zip(NAMES, found, strict=True):
        assert error <= (LIMITS[case.dtype] if limit is None else limit), (name, error, case.label)
    return found


__all__ = [
    "CASE",
    "LIMITS",
    "NAMES",
    "Case",
    "Tensors",
    "check",
    "eager",
    "errors",
    "inputs",
    "padding",
    "replace",
    "run",
    "truth",
]
