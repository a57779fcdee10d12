"""One operator for torch: what torch.compile, fake tensors, autograd and FLOP counters see of the kernels.

The backward pass is an operator of its own, so that a compiled graph holds both. Differentiable once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from fabench.kernels.factorized import host

__all__ = ["attend"]

Tensor = torch.Tensor
_Four = tuple[Tensor, Tensor, Tensor, Tensor]
_Three = tuple[Tensor, Tensor, Tensor]


def _empty(q: Tensor, k: Tensor, v: Tensor, softmax: bool) -> _Four:
    """Uninitialised results of the forward pass."""
    batch, heads, _, d_k = q.shape
    d_v = v.shape[3]
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    rows = batch * heads
    channels = (rows if softmax else 0, d_k)
    return (
        host.like(q, d_v), q.new_empty(rows, d_k, d_v, dtype=wide), q.new_empty(channels, dtype=wide), q.new_empty(channels, dtype=wide)
    )  # fmt: skip


@torch.library.custom_op("fabench::factorized_attention", mutates_args=())
def attend(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, scale: float, softmax: bool, precision: str) -> _Four:
    """O [B, H, N, D_v], C [B * H, D_k, D_v], 1/l and m [B * H, D_k]. Sizes of 0 give zeros."""
    if q.numel() == 0 or k.numel() == 0 or v.numel() == 0:
        out, context, inverse, reference = _empty(q, k, v, softmax)
        return out.zero_(), context.zero_(), inverse.zero_(), reference.zero_()
    out, kept = host.forward(q, k, v, padding, scale, softmax, precision)
    return out, *kept


@attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, scale: float, softmax: bool, precision: str) -> _Four:
    return _empty(q, k, v, softmax)


@torch.library.custom_op("fabench::factorized_attention_backward", mutates_args=())
def _gradients(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, context: Tensor, inverse: Tensor, reference: Tensor,
    scale: float, softmax: bool, precision: str,
) -> _Three:  # fmt: skip
    if q.numel() == 0 or k.numel() == 0 or v.numel() == 0:
        return torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    return host.backward(grad, q, k, v, padding, host.Kept(context, inverse, reference), scale, softmax, precision)


@_gradients.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, context: Tensor, inverse: Tensor, reference: Tensor,
    scale: float, softmax: bool, precision: str,
) -> _Three:  # fmt: skip
    return host.like(q, q.shape[3]), host.like(k, k.shape[3]), host.like(v, v.shape[3])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: _Four) -> None:
    q, k, v, padding, *ctx.settings = inputs
    ctx.save_for_backward(q, k, v, padding, *output[1:])


def _backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    return *_gradients(grad, *ctx.saved_tensors, *ctx.settings), None, None, None, None


attend.register_autograd(_backward, setup_context=_keep)


@register_flop_formula(torch.ops.fabench.factorized_attention)
def _forward_flop(q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """2 B H (n + m) d_k d_v from the shapes."""
    return int(2 * q[0] * q[1] * (q[2] + k[2]) * q[3] * v[3])


@register_flop_formula(torch.ops.fabench.factorized_attention_backward)
def _backward_flop(grad: Any, q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """4 B H (n + m) d_k d_v: each product of the forward pass gives two."""
    return int(4 * q[0] * q[1] * (q[2] + k[2]) * q[3] * v[3])
