"""The softmax form on whole tensors, for what a CPU's memory allocator serves again from memory it has.

For keys whose exponentials need no shift; others go to `_streamed`. Instead of Q and K it saves their exponentials, the same size, so
that the backward pass computes none again. Batch and heads are one axis throughout: at a thousand positions each call counts, and
`bmm` on three axes takes five calls fewer than `matmul` on four.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from fabench.attention._streamed import attend, is_sound
from fabench.attention._tiles import TILE_ELEMENTS

__all__ = ["whole_forward", "whole_with_gradients"]

Tensor = torch.Tensor


def _channels_first(x: Tensor) -> bool:
    """Whether the positions of x [G, N, D] lie side by side in memory, as in an image's feature map."""
    return x.stride(1) < x.stride(2)


def _softmax(x: Tensor) -> Tensor:
    """Over the channels of x [G, N, D], in its memory order."""
    return x.transpose(1, 2).softmax(1).transpose(1, 2) if _channels_first(x) else x.softmax(-1)


def _softmax_gradient(grad: Tensor, weights: Tensor) -> Tensor:
    """The gradient of `_softmax` at its result `weights` [G, N, D], in the memory order of both."""
    if not _channels_first(weights):
        out: Tensor = torch._softmax_backward_data(grad, weights, -1, weights.dtype)
        return out
    out = torch._softmax_backward_data(grad.transpose(1, 2), weights.transpose(1, 2), 1, weights.dtype)
    return out.transpose(1, 2)


def _times(rows: Tensor, matrix: Tensor, like: Tensor) -> Tensor:
    """rows [G, N, D] times matrix [G, D, E], in the memory order of `like` [G, N, *].

    A layer that reads the product in another order than its own inputs copies it first, which takes longer than all attention did.
    """
    groups, length, width = rows.shape[0], rows.shape[1], matrix.shape[2]
    out = (
        rows.new_empty(groups, width, length).transpose(1, 2) if _channels_first(like) else rows.new_empty(groups, length, width)
    )
    return torch.bmm(rows, matrix, out=out)


def _exponentials(k: Tensor) -> tuple[Tensor, Tensor] | None:
    """exp(K) and 1/l [G, 1, D_k], l its sums over the positions; None where K [G, M, D_k] needs a shift first."""
    key_weights = k.exp()
    total = key_weights.sum(1, keepdim=True)
    return (key_weights, total.reciprocal_()) if is_sound(total) else None


def _context(key_weights: Tensor, inverse: Tensor, v: Tensor) -> Tensor:
    """C = exp(K)^T V / l, [G, D_k, D_v], of V [G, M, D_v]."""
    return torch.bmm(key_weights.transpose(1, 2), v).mul_(inverse.transpose(1, 2))


def whole_forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor | None:
    """softmax_channels(Q) C, [B, H, N, D_v], of Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v]; None if K needs a shift."""
    found = _exponentials(k.flatten(0, 1))
    if found is None:
        return None
    context = _context(*found, v.flatten(0, 1))
    del found  # its memory, still in the cache, serves the next line
    if q.numel() > TILE_ELEMENTS:  # else the softmax of all queries would be the only tensor beside the result that grows with n
        return attend(q, context)
    queries = q.flatten(0, 1)
    return _times(_softmax(queries), context, queries).view(*q.shape[:3], -1)


class _Attend(torch.autograd.Function):
    """`whole_forward` with its backward pass; formulas in the header of `factorized`."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, key_weights: Tensor, inverse: Tensor) -> Tensor:
        values, weights = v.flatten(0, 1), _softmax(q.flatten(0, 1))
        context = _context(key_weights, inverse, values)
        ctx.save_for_backward(weights, key_weights, values, context, inverse)
        ctx.batch = q.shape[0]
        return _times(weights, context, weights).view(*q.shape[:3], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        weights, key_weights, values, context, inverse = ctx.saved_tensors
        upstream = grad_out.flatten(0, 1)
        grad_context = torch.bmm(weights.transpose(1, 2), upstream)
        grad_q = _softmax_gradient(_times(upstream, context.transpose(1, 2), weights), weights)
        delta = torch.linalg.vecdot(context, grad_context).unsqueeze(1) * inverse
        grad_context *= inverse.transpose(1, 2)
        grad_v = _times(key_weights, grad_context, values)
        grad_k = _times(values, grad_context.transpose(1, 2), key_weights).sub_(delta).mul_(key_weights)
        split = (ctx.batch, -1)
        return grad_q.unflatten(0, split), grad_k.unflatten(0, split), grad_v.unflatten(0, split), None, None


def whole_with_gradients(q: Tensor, k: Tensor, v: Tensor) -> Tensor | None:
    """`whole_forward`, differentiable once."""
    found = _exponentials(k.detach().flatten(0, 1))
    if found is None:
        return None
    out: Tensor = _Attend.apply(q, k, v, *found)
    return out
