"""Factorized attention as fused Triton kernels, forward and backward: see `fabench.kernels.factorized`.

Paper: arXiv 1812.01243 v1, section 3.

    softmax     O = softmax_channels(Q) (softmax_positions(K)^T V)      computes "factorized softmax attention"
    scaling     O = Q (s K^T V)                                         computes "scaled product attention"

Cost family: linear in n in time and memory; every tensor is read once and written once. Needs a GPU. Under Triton's interpreter
(TRITON_INTERPRET=1) it runs on a CPU too, to be checked; what an interpreter takes says nothing about a kernel, so no cell is timed there.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from fabench.attention.base import Core
from fabench.schema import Case

if TYPE_CHECKING:
    from fabench.kernels.factorized import Plan, Shape
    from fabench.kernels.factorized.tilings import Tiling

__all__ = ["candidates_for", "compile_for", "configuration", "plan_for", "prepare", "supports"]

TIME_ORDER = 1
MEMORY_ORDER = 1
COMPUTES = {"softmax": "factorized softmax attention", "scaling": "scaled product attention"}
COMPILES = True


def supports(case: Case, device: str) -> str | None:
    """Needs Triton, a GPU, and at most 256 channels per head."""
    if importlib.util.find_spec("triton") is None:
        return "needs Triton, which is not installed; torch's CUDA build brings it along"
    if not device.startswith("cuda"):
        return "Triton kernels need a GPU; on a CPU only their interpreter could run them, whose time means nothing"
    from fabench.kernels.factorized import unsupported

    return unsupported(getattr(torch, case.dtype), case.d_k, case.d_v)


def prepare(case: Case, device: str) -> Core:
    """The operator for the case's form. float32 products in full precision."""
    from fabench.kernels.factorized import factorized_attention

    scale = None if case.normalisation == "softmax" else case.scale_value
    return lambda q, k, v, padding: factorized_attention(q, k, v, padding, scale=scale)


def _shape(case: Case, precision: str) -> Shape:
    from fabench.kernels.factorized import Shape

    softmax, masked = case.normalisation == "softmax", case.mask == "padding"
    return Shape(case.batch, case.heads, case.n, case.m, case.d_k, case.d_v, case.dtype, softmax, masked, precision)


def configuration(case: Case, device: str) -> dict[str, str]:
    """The tiles, warps and stages of each kernel that the case launches, and whether they are fixed, tuned or pinned."""
    from fabench.kernels.factorized import Plan, host
    from fabench.kernels.factorized.choice import chosen

    shape, target = _shape(case, "ieee"), host.target_of(torch.device(device))
    choice = chosen(shape, target)
    plan = Plan(shape, target, choice.tilings)
    launches = (*plan.forward, *(plan.backward if case.needs_gradients else ()))
    return choice.labels({one.kernel: one.tiling for one in launches if one.tiling is not None})


def plan_for(case: Case, target: str, precision: str) -> Plan:
    """What the case launches on a target of `fabench.kernels.factorized.TARGETS`. Raises ValueError where there is no kernel for it."""
    from fabench.kernels.factorized import TARGETS, Plan, unsupported
    from fabench.kernels.factorized.choice import chosen

    reason = unsupported(getattr(torch, case.dtype), case.d_k, case.d_v)
    if reason is not None:
        raise ValueError(reason)
    shape = _shape(case, precision)
    return Plan(shape, TARGETS[target], chosen(shape, TARGETS[target]).tilings)


def candidates_for(case: Case, target: str, precision: str) -> list[tuple[str, dict[str, Tiling]]]:
    """Each kernel that the case launches, with each configuration that tuning may give it beside its fixed one."""
    from fabench.kernels.factorized import TARGETS
    from fabench.kernels.factorized.tilings import candidates

    plan = plan_for(case, target, precision)
    launches = (*plan.forward, *(plan.backward if case.needs_gradients else ()))
    return [
        (one.kernel, {one.kernel: candidate})
        for one in launches
        if one.tiling is not None
        for candidate in candidates(one.kernel, plan.shape, TARGETS[target])[1:]
    ]


def compile_for(
    case: Case, target: str, precision: str, compile_one: Callable[..., None], tilings: dict[str, Tiling] | None = None
) -> None:
    """Runs the host's code for the case on tensors without memory; `compile_one` takes each launch. `tilings`: not the chosen ones."""
    from fabench.kernels.factorized import TARGETS, host, launching, on_target

    heads, dtype = (case.batch, case.heads), getattr(torch, case.dtype)
    shapes = ((*heads, case.n, case.d_k), (*heads, case.m, case.d_k), (*heads, case.m, case.d_v))
    q, k, v = (torch.empty(shape, dtype=dtype, device="meta") for shape in shapes)
    padding = torch.empty(case.batch, case.m, dtype=torch.bool, device="meta") if case.mask == "padding" else None
    softmax = case.normalisation == "softmax"
    given = nullcontext() if tilings is None else host.with_tilings(tilings)
    with launching(compile_one), on_target(TARGETS[target]), given:
        output, kept = host.forward(q, k, v, padding, case.scale_value, softmax, precision)
        if case.needs_gradients:
            host.backward(output, q, k, v, padding, kept, case.scale_value, softmax, precision)
