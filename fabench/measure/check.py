"""Every result against float64, before it is timed.

Linear functions are compared whole. What has an n x m map, as causal functions have in their reference, is compared on sampled query
rows (first, last, seeded others) where the whole map would exceed `_MAP_ELEMENTS`: its reference is then n_rows x m, in chunks, so that a check never costs quadratic memory.
Gradients stay exact with sampled rows: the upstream gradient is zero on all other rows, so dK and dV depend on the sampled rows only.

A module is compared with the same block in float64, weights copied. With pooling, projections and pooling run in the case's dtype
and only the core in float64: two nearly equal maxima may swap under rounding, which moves a gradient without being an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fabench.attention import reference
from fabench.attention.base import Core
from fabench.measure.inputs import Inputs
from fabench.measure.subject import Subject, with_core
from fabench.measure.tolerance import WORST_FACTOR, tolerance
from fabench.schema import Case, Check, TensorError

__all__ = ["Result", "compare", "compute", "describe_failure", "passes", "sampled_rows"]

_MAP_ELEMENTS = 2**22
_MIN_ROWS = 32
_ZERO = 1e-10  # a gradient this small against the upstream gradient is zero in exact arithmetic


@dataclass(frozen=True)
class Result:
    """What an implementation returned: the output, then the gradients in the order of `Subject.names`."""

    tensors: tuple[torch.Tensor, ...]


def sampled_rows(case: Case, function: str, seed: int) -> torch.Tensor | None:
    """Indices of the query rows that are compared, or None for all."""
    elements = case.batch * case.heads * case.n * case.m
    if not function.startswith(("dot-product", "causal")) or elements <= _MAP_ELEMENTS:
        return None
    count = min(case.n, max(_MIN_ROWS, _MAP_ELEMENTS // (case.batch * case.heads * case.m)))
    inner = torch.randperm(max(0, case.n - 2), generator=torch.Generator().manual_seed(seed))[: count - 2] + 1
    return torch.cat([torch.tensor([0]), inner.sort().values, torch.tensor([case.n - 1])])


def _positions_last(tensor: torch.Tensor, case: Case) -> torch.Tensor:
    """[..., N] with positions last, for an output of any scope."""
    if case.scope == "core" or case.space is None:
        return tensor.transpose(-1, -2)
    return tensor.flatten(2)


def upstream(subject: Subject, rows: torch.Tensor | None) -> torch.Tensor:
    """The gradient that is sent back: seeded N(0, 1), zero outside `rows`."""
    gradient = subject.inputs.upstream(subject.output_shape)
    if rows is None:
        return gradient
    kept = torch.zeros(subject.case.n, dtype=torch.bool, device=gradient.device)
    kept[rows.to(gradient.device)] = True
    _positions_last(gradient, subject.case).masked_fill_(~kept, 0)
    return gradient


def compute(subject: Subject, gradient: torch.Tensor | None) -> Result:
    """Runs the subject once: its output, and its gradients if the mode has any."""
    if gradient is None:
        with torch.no_grad():
            return Result((subject.forward(),))
    output = subject.forward()
    gradients = torch.autograd.grad(output, subject.wanted, gradient)
    return Result((output.detach(), *gradients))


class _Reference(torch.autograd.Function):
    """The float64 reference as a differentiable core, so that a whole module can stand around it."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: Any, case: Case, function: str, rows: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.rest = (padding, case, function, rows)
        values = reference.output(function, q.double(), k.double(), v.double(), case, padding, rows)
        if rows is None:
            return values.to(q.dtype)
        output = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype, device=q.device)
        output[..., rows.to(q.device), :] = values.to(q.dtype)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        q, k, v = ctx.saved_tensors
        padding, case, function, rows = ctx.rest
        (gradient,) = gradients
        given = gradient if rows is None else gradient[..., rows.to(q.device), :]
        dq, dk, dv = reference.gradients(function, q.double(), k.double(), v.double(), given.double(), case, padding, rows)
        if rows is not None:
            dq = torch.zeros_like(q, dtype=torch.float64).index_copy_(-2, rows.to(q.device), dq)
        return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), None, None, None, None


def _reference_core(case: Case, function: str, rows: torch.Tensor | None) -> Core:
    apply: Callable[..., torch.Tensor] = _Reference.apply

    def core(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        return apply(q, k, v, padding, case, function, rows)

    return core


def _reference_subject(subject: Subject, function: str, rows: torch.Tensor | None) -> Subject:
    dtype = subject.inputs.leaves[0].dtype if subject.case.pool not in (None, 1) else torch.float64
    leaves = tuple(leaf.detach().to(dtype).requires_grad_(leaf.requires_grad) for leaf in subject.inputs.leaves)
    inputs = Inputs(leaves, subject.inputs.padding, subject.inputs.seed)
    twin = with_core(subject.case, _reference_core(subject.case, function, rows), leaves[0].device, inputs)
    if twin.module is None or subject.module is None:
        return twin
    twin.module.to(dtype).load_state_dict(subject.module.state_dict())
    return Subject(twin.case, inputs, twin.forward, (leaves[0], *twin.module.parameters()), twin.names, twin.module, twin.core)


def compare(
    subject: Subject,
    result: Result,
    gradient: torch.Tensor | None,
    function: str,
    rows: torch.Tensor | None,
    sigma: float | None = None,
) -> Check:
    """Compares what `compute` returned with the float64 reference. `sigma`: of the softmax's argument, where inputs are not N(0, 1)."""
    case = subject.case
    twin = _reference_subject(subject, function, rows)
    expected = compute(twin, None if gradient is None else gradient.to(twin.inputs.leaves[0].dtype))
    scale = None if gradient is None else float(gradient.double().norm())
    names = ("output",) if gradient is None else ("output", *(f"d{name}" for name in subject.names))
    errors = []
    for name, got, wanted in zip(names, result.tensors, expected.tensors, strict=True):
        output = name == "output"
        if output and rows is not None:
            picked = rows.to(got.device)
            got, wanted = (_positions_last(tensor, case).index_select(-1, picked) for tensor in (got, wanted))
        limit = tolerance(case, function, not output, sigma)
        errors.append(_error(name, got, wanted, limit, scale if not output else None, len(rows) if rows is not None else None))
    return Check(passed=passes(errors), tensors=tuple(errors))


def _error(
    name: str, got: torch.Tensor, wanted: torch.Tensor, limit: float, scale: float | None, rows: int | None
) -> TensorError:
    got, wanted = got.detach().double(), wanted.detach().double()
    if got.shape != wanted.shape or not bool(torch.isfinite(got).all()):
        return TensorError(name, None, None, limit, rows)
    norm, highest = float(wanted.norm()), float(wanted.abs().max())
    if scale is not None and norm <= _ZERO * scale:
        norm = highest = scale
    difference = got - wanted
    if norm == 0:
        norm = highest = 1.0
    return TensorError(name, float(difference.norm()) / norm, float(difference.abs().max()) / highest, limit, rows)


def _passes(error: TensorError) -> bool:
    if error.error is None or error.worst is None:
        return False
    return error.error <= error.tolerance and error.worst <= WORST_FACTOR * error.tolerance


def passes(errors: Sequence[TensorError]) -> bool:
    """Whether all are within their tolerances."""
    return all(_passes(error) for error in errors)


def describe_failure(tensors: Sequence[TensorError]) -> str:
    """One line about the first tensor that fails."""
    for error in tensors:
        if error.error is None or error.worst is None:
            return f"{error.name} has NaN, Inf or a wrong shape"
        if not _passes(error):
            return f"{error.name} is off float64 by {error.error:.2g} (largest element {error.worst:.2g}); tolerance {error.tolerance:.2g}"
    return "passed"
