"""The scaling form for `factorized`: O = Q (s K^T V), two products with the scalar on the small context between them.

In single and double precision the two products are all there is to do. CPUs without half-precision arithmetic take up to twenty
times as long for a product in half precision as in float32 (measured), so there the tiles are read into float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from fabench.attention._tiles import Workspace, blocks, empty_like, taking_part, wide

__all__ = ["scaled"]

Tensor = torch.Tensor


def _sum_of_products(x: Tensor, y: Tensor, keep: Tensor | None) -> Tensor:
    """x^T y over all positions, [B * H, D, E], for x [B, H, N, D] and y [B, H, N, E] in half precision; keep as a factor of y."""
    total = torch.empty((x.shape[0] * x.shape[1], x.shape[3], y.shape[3]), dtype=wide(x.dtype), device=x.device)
    space = Workspace(x)
    for part, tiles in blocks(x, y) if keep is None else blocks(x, y, keep):
        for index, (x_tile, y_tile, *hidden) in enumerate(tiles):
            wide_x, wide_y = space.widened("x", x_tile), space.widened("y", y_tile)
            if hidden:
                wide_y.mul_(hidden[0])
            torch.baddbmm(total[part], wide_x.transpose(1, 2), wide_y, beta=int(index > 0), out=total[part])
    return total


def _product(x: Tensor, small: Tensor, keep: Tensor | None = None) -> Tensor:
    """x times small [B * H, D, E] for x [B, H, N, D] in half precision, rounded once; keep as a factor of its rows."""
    out, space = empty_like(x, small.shape[2]), Workspace(x)
    for part, tiles in blocks(x, out) if keep is None else blocks(x, out, keep):
        for x_tile, out_tile, *hidden in tiles:
            result = torch.bmm(space.widened("x", x_tile), small[part], out=space.like("out", out_tile))
            out_tile.copy_(result.mul_(hidden[0]) if hidden else result)
    return out


class _ScaledHalf(torch.autograd.Function):
    """Q (s K^T V) in half precision with float32 sums."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, scale: float) -> Tensor:
        context = _sum_of_products(k, v, taking_part(padding, k)).mul_(scale)
        ctx.save_for_backward(q, k, v, padding, context)
        ctx.scale = scale
        return _product(q, context)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, padding, context = ctx.saved_tensors
        grad_context = _sum_of_products(q, grad_out, None).mul_(ctx.scale)
        keep = taking_part(padding, k)
        grad_k = _product(v, grad_context.transpose(1, 2), keep)
        return _product(grad_out, context.transpose(1, 2)), grad_k, _product(k, grad_context, keep), None, None


def scaled(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, scale: float) -> Tensor:
    """Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v] -> [B, H, N, D_v]."""
    if q.device.type == "cpu" and q.dtype in (torch.float16, torch.bfloat16):
        out: Tensor = _ScaledHalf.apply(q, k, v, padding, scale)
        return out
    if padding is not None:
        v = v.masked_fill(padding[:, None, :, None], 0)
    return torch.matmul(q, torch.matmul(k.transpose(-1, -2), v) * scale)
