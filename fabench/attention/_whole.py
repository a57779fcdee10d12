"""The softmax form on whole tensors, for what a CPU's memory allocator serves again from memory it has.

Instead of Q and K it saves their exponentials, the same size, so that the backward pass computes none again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["whole_forward", "whole_with_gradients"]

Tensor = torch.Tensor


def _parts(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """softmax_channels(Q), exp(K), 1/l [B, H, 1, D_k] and C = exp(K)^T V / l [B, H, D_k, D_v]."""
    key_weights = k.exp()
    inverse = key_weights.sum(-2, keepdim=True).reciprocal_()
    context = torch.matmul(key_weights.transpose(-1, -2), v).mul_(inverse.transpose(-1, -2))
    return q.softmax(-1), key_weights, inverse, context


def whole_forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax_channels(Q) softmax_positions(K)^T V, [B, H, N, D_v], for keys so small that exp needs no shift."""
    weights, _, _, context = _parts(q, k, v)
    return torch.matmul(weights, context)


class _Attend(torch.autograd.Function):
    """`whole_forward` with its backward pass; formulas in the header of `factorized`."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights, key_weights, inverse, context = _parts(q, k, v)
        ctx.save_for_backward(weights, key_weights, v, context, inverse)
        return torch.matmul(weights, context)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, key_weights, v, context, inverse = ctx.saved_tensors
        grad_context = torch.matmul(weights.transpose(-1, -2), grad_out)
        grad_weights = torch.matmul(grad_out, context.transpose(-1, -2))
        grad_q = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        delta = torch.linalg.vecdot(context, grad_context).unsqueeze(-2) * inverse
        grad_context *= inverse.transpose(-1, -2)
        grad_v = torch.matmul(key_weights, grad_context)
        grad_k = torch.matmul(v, grad_context.transpose(-1, -2)).sub_(delta).mul_(key_weights)
        return grad_q, grad_k, grad_v


def whole_with_gradients(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`whole_forward`, differentiable once."""
    out: Tensor = _Attend.apply(q, k, v)
    return out
