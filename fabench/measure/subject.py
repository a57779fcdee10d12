"""What is checked, timed and measured: an implementation at a case's scope, with the passes of the case's mode.

fwd        the forward pass, no graph
bwd        the backward pass alone, on a graph built before; gradients are returned, not accumulated
fwd_bwd    both
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from fabench.attention.base import Core, Implementation
from fabench.measure.inputs import Inputs
from fabench.models.blocks import from_case
from fabench.schema import Case

__all__ = ["Subject", "build"]


@dataclass(frozen=True)
class Subject:
    """A forward function of the leaves, and all tensors it differentiates by (leaves, then a module's parameters)."""

    case: Case
    inputs: Inputs
    forward: Callable[[], Any]
    wanted: tuple[torch.Tensor, ...]
    names: tuple[str, ...]
    module: torch.nn.Module | None
    core: Core

    def call(self) -> Callable[[], Any]:
        """The callable that is timed: one pass of the case's mode."""
        return self.call_with(self.upstream())

    def upstream(self) -> torch.Tensor | None:
        """The seeded gradient that is sent back; None in mode fwd."""
        return self.inputs.upstream(self.output_shape) if self.case.needs_gradients else None

    def call_with(self, upstream: torch.Tensor | None) -> Callable[[], Any]:
        """The same with this gradient sent back; None in mode fwd."""
        if upstream is None:
            return self._inference
        if self.case.mode == "fwd_bwd":
            return lambda: torch.autograd.grad(self.forward(), self.wanted, upstream)
        output = self.forward()
        return lambda: torch.autograd.grad(output, self.wanted, upstream, retain_graph=True)

    def _inference(self) -> Any:
        with torch.no_grad():
            return self.forward()

    @property
    def output_shape(self) -> tuple[int, ...]:
        """[B, H, N, D_v] of a core; the input's layout with the output's channels of a module."""
        case = self.case
        if case.scope == "core":
            return (case.batch, case.heads, case.n, case.d_v)
        channels = case.channels if case.reprojection else case.heads * case.d_v
        assert channels is not None
        return (case.batch, case.n, channels) if case.space is None else (case.batch, channels, *case.dimensions)

    @property
    def output_bytes(self) -> int | None:
        """The forward's output; None where only a call can tell."""
        return self.case.element_bytes * math.prod(self.output_shape)

    @property
    def touched_bytes(self) -> int:
        """Inputs, parameters and outputs of one call; with gradients, those of all that it differentiates by too."""
        output = self.case.element_bytes * math.prod(self.output_shape)
        return {"fwd": self.held_bytes + output, "bwd": 2 * self.held_bytes + output}.get(
            self.case.mode, 2 * (self.held_bytes + output)
        )

    def another(self) -> Callable[[], Any]:
        """The same call on copies of all its tensors."""
        inputs = replace(
            self.inputs, leaves=tuple(leaf.detach().clone().requires_grad_(leaf.requires_grad) for leaf in self.inputs.leaves)
        )
        return with_core(self.case, self.core, inputs.leaves[0].device, inputs).call()

    @property
    def held_bytes(self) -> int:
        """Inputs and parameters together."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.wanted)


def build(case: Case, implementation: Implementation, device: str, inputs: Inputs) -> Subject:
    """The implementation at the case's scope; a module's weights are seeded like the inputs."""
    return with_core(case, implementation.prepare(case, device), inputs.leaves[0].device, inputs)


def with_core(case: Case, core: Core, device: torch.device, inputs: Inputs) -> Subject:
    """`core` on its own, or inside the block that the case describes."""
    if case.scope == "core":
        q, k, v = inputs.leaves
        return Subject(case, inputs, lambda: core(q, k, v, inputs.padding), inputs.leaves, ("q", "k", "v"), None, core)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(inputs.seed)
        module = from_case(case, core, torch.device("cpu"))
    module = module.to(device)
    module.requires_grad_(case.needs_gradients)
    (x,) = inputs.leaves
    named = dict(module.named_parameters())
    return Subject(case, inputs, lambda: module(x), (x, *named.values()), ("x", *named), module, core)
