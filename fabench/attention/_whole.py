"""The softmax form on whole tensors, for what a CPU's memory allocator serves again from memory it has.

One path for tensors whose keys need no shift; others go to `_streamed`. Instead of Q and K it saves their exponentials, the same size, so that the backward pass computes none again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from fabench.attention._streamed import is_sound

__all__ = ["exponentials", "whole_forward", "whole_with_gradients"]

Tensor = torch.Tensor


def exponentials(k: Tensor) -> tuple[Tensor, Tensor] | None:
    """exp(K) and 1/l = 1 / its sums over the positions [B, H, 1, D_k]; None where K [B, H, M, D_k] needs a shift first."""
    with torch.no_grad():
        key_weights = k.exp()
        total = key_weights.sum(-2, keepdim=True)
        return (key_weights, total.reciprocal_()) if is_sound(total) else None


def whole_forward(q: Tensor, key_weights: Tensor, inverse: Tensor, v: Tensor) -> Tensor:
    """softmax_channels(Q) C with C = exp(K)^T V / l, [B, H, N, D_v]."""
    context = torch.matmul(key_weights.transpose(-1, -2), v).mul_(inverse.transpose(-1, -2))
    return torch.matmul(q.softmax(-1), context)


class _Attend(torch.autograd.Function):
    """`whole_forward` with its backward pass; formulas in the header of `factorized`."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, key_weights: Tensor, inverse: Tensor) -> Tensor:
        context = torch.matmul(key_weights.transpose(-1, -2), v).mul_(inverse.transpose(-1, -2))
        weights = q.softmax(-1)
        ctx.save_for_backward(weights, key_weights, v, context, inverse)
        return torch.matmul(weights, context)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        weights, key_weights, v, context, inverse = ctx.saved_tensors
        grad_context = torch.matmul(weights.transpose(-1, -2), grad_out)
        grad_weights = torch.matmul(grad_out, context.transpose(-1, -2))
        grad_q = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        delta = torch.linalg.vecdot(context, grad_context).unsqueeze(-2) * inverse
        grad_context *= inverse.transpose(-1, -2)
        grad_v = torch.matmul(key_weights, grad_context)
        grad_k = torch.matmul(v, grad_context.transpose(-1, -2)).sub_(delta).mul_(key_weights)
        return grad_q, grad_k, grad_v, None, None


def whole_with_gradients(q: Tensor, k: Tensor, v: Tensor, key_weights: Tensor, inverse: Tensor) -> Tensor:
    """`whole_forward`, differentiable once in Q, K and V; the exponentials are those of K."""
    out: Tensor = _Attend.apply(q, k, v, key_weights, inverse)
    return out
