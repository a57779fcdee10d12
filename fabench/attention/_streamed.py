"""The softmax form tile by tile: any size, any strides, padding, infinite keys, half precision with float32 sums.

Saves Q, K, V, the context, m and 1/l: nothing that grows with n beyond the inputs. Formulas in the header of `factorized`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from fabench.attention._tiles import Workspace, blocks, empty_like, taking_part, wide

__all__ = ["attend", "is_sound", "streamed_forward", "streamed_with_gradients"]

Tensor = torch.Tensor

# Sums of unshifted exponentials between these have lost nothing: their largest term is far from overflow, and what is small beside it
# is still far from the subnormal numbers.
_SMALLEST, _LARGEST = 1e-13, 1e25
# A term below this is lost beside the maximum's exp(0) = 1. Without a floor exp makes subnormal numbers, ten times slower.
_FLOOR = -80.0


def is_sound(sums: Tensor) -> bool:
    """Whether exponentials with these sums needed no shift. False for NaN.

    Only asked on a CPU: elsewhere reading a result back would wait for the device.
    """
    if not sums.is_cpu:
        return False
    low, high = torch.aminmax(sums)
    return low.item() >= _SMALLEST and high.item() <= _LARGEST


def _finite(reference: Tensor) -> Tensor:
    """A maximum that can be subtracted: 0 where no key is finite."""
    return reference.masked_fill(reference == -torch.inf, 0.0)


def _exp(x: Tensor, shift: Tensor | None, out: Tensor) -> Tensor:
    """exp(x - shift) into `out`."""
    if shift is None:
        return torch.exp(x, out=out)
    return torch.sub(x, shift, out=out).clamp_(min=_FLOOR).exp_()


def _masked_sum(weights: Tensor, keep: Tensor | None) -> Tensor:
    """Sums over the positions [G, 1, D_k] of weights [G, n, D_k], with those of padding set to 0."""
    if keep is not None:
        weights.mul_(keep)
    return weights.sum(1, keepdim=True)


class _KeySums:
    """Sums of exp(K - m) and exp(K - m)^T V over the tiles of a block, with a running maximum m where one is needed."""

    def __init__(self, context: Tensor) -> None:
        """`context` [G, D_k, D_v] receives the second sum."""
        self.context = context
        self.total: Tensor | None = None  # l [G, 1, D_k]
        self.reference: Tensor | None = None  # m [G, 1, D_k]; None = 0

    def add(self, k: Tensor, v: Tensor, keep: Tensor | None, weights: Tensor) -> None:
        """Add a tile K [G, n, D_k], V [G, n, D_v]; keep [G, n, 1] is 0 at padding, else 1. Spoils `weights`."""
        total = self._unshifted(k, keep, weights) if self.reference is None else None
        if total is None:
            if keep is not None:
                k = torch.add(k, keep.log(), out=weights)
            self._raise_reference(k.amax(1, keepdim=True))
            assert self.reference is not None
            total = _masked_sum(_exp(k, _finite(self.reference), weights), keep)
            total = total if self.total is None else self.total + total
        if self.total is None:
            torch.bmm(weights.transpose(1, 2), v, out=self.context)
        else:
            torch.baddbmm(self.context, weights.transpose(1, 2), v, out=self.context)
        self.total = total

    def _unshifted(self, k: Tensor, keep: Tensor | None, weights: Tensor) -> Tensor | None:
        """The sums with exp(K) added, or None if K needs a shift first."""
        if not k.is_cpu:
            return None
        total = _masked_sum(torch.exp(k, out=weights), keep)
        total = total if self.total is None else total.add_(self.total)
        return total if is_sound(total) else None

    def _raise_reference(self, top: Tensor) -> None:
        """Raise m to at least `top`, and rescale the sums so far."""
        if self.total is None:
            self.reference = top
            return
        old = torch.zeros_like(top) if self.reference is None else self.reference
        self.reference = torch.maximum(old, top)
        factor = (old - _finite(self.reference)).exp_()
        self.total *= factor
        self.context *= factor.transpose(1, 2)

    def finish(self) -> tuple[Tensor, Tensor]:
        """Normalise the context; 1/l and m, both [G, 1, D_k] and both 0 for a channel without any key."""
        assert self.total is not None
        empty = self.total == 0
        if self.reference is not None:
            empty |= self.reference == -torch.inf
        inverse = self.total.reciprocal().masked_fill_(empty, 0.0)
        self.context *= inverse.transpose(1, 2)
        return inverse, torch.zeros_like(inverse) if self.reference is None else _finite(self.reference)


def _contexts(k: Tensor, v: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """C [B * H, D_k, D_v], 1/l and m [B * H, 1, D_k] (None = 0 everywhere) of K [B, H, M, D_k] and V [B, H, M, D_v]."""
    rows, d_k, d_v = k.shape[0] * k.shape[1], k.shape[3], v.shape[3]
    context = torch.empty((rows, d_k, d_v), dtype=wide(k.dtype), device=k.device)
    inverse, reference = context.new_empty(rows, 1, d_k), context.new_empty(rows, 1, d_k)
    space, shifted = Workspace(k), False
    keep = taking_part(padding, k)
    for part, tiles in blocks(k, v) if keep is None else blocks(k, v, keep):
        sums = _KeySums(context[part])
        for k_tile, v_tile, *hidden in tiles:
            wide_k, wide_v = space.widened("keys", k_tile), space.widened("values", v_tile)
            sums.add(wide_k, wide_v, hidden[0] if hidden else None, space.like("weights", k_tile))
        inverse[part], reference[part] = sums.finish()
        shifted |= sums.reference is not None
    return context, inverse, reference if shifted else None


def _query_weights(tile: Tensor, space: Workspace) -> tuple[Tensor, Tensor | None]:
    """softmax_channels of a tile [G, n, D_k]; a second result [G, n, 1] is what its rows are still to be multiplied by."""
    q, weights = space.widened("queries", tile), space.like("weights", tile)
    if q.is_cpu:
        total = torch.exp(q, out=weights).sum(-1, keepdim=True)
        if is_sound(total):
            return weights, total.reciprocal_()
    return torch.softmax(q, -1, out=weights), None


def attend(q: Tensor, context: Tensor) -> Tensor:
    """O = softmax_channels(Q) C, [B, H, N, D_v], for Q [B, H, N, D_k] and C [B * H, D_k, D_v]."""
    out, space = empty_like(q, context.shape[2]), Workspace(q)
    for part, tiles in blocks(q, out):
        for q_tile, out_tile in tiles:
            weights, factor = _query_weights(q_tile, space)
            result = space.target("out", out_tile)
            torch.bmm(weights, context[part], out=result)
            if factor is not None:
                result.mul_(factor)
            if result is not out_tile:
                out_tile.copy_(result)
    return out


def _softmax_gradient(grad: Tensor, weights: Tensor, out: Tensor) -> None:
    """weights * (grad - rowsum(weights * grad)) into `out`, all [G, n, D]; spoils `grad`."""
    if out.dtype == grad.dtype and out.is_contiguous():
        torch.ops.aten._softmax_backward_data.out(grad, weights, -1, grad.dtype, grad_input=out)
        return
    grad -= torch.linalg.vecdot(grad, weights).unsqueeze(-1)
    if out.dtype == grad.dtype:
        torch.mul(grad, weights, out=out)
    else:
        out.copy_(grad.mul_(weights))


def _query_gradients(q: Tensor, context: Tensor, grad_out: Tensor) -> tuple[Tensor, Tensor]:
    """dQ [B, H, N, D_k] and dC [B * H, D_k, D_v] for an upstream gradient [B, H, N, D_v]."""
    grad_q, grad_context, space = torch.empty_like(q), torch.empty_like(context), Workspace(q)
    for part, tiles in blocks(q, grad_out, grad_q):
        target, transposed = grad_context[part], context[part].transpose(1, 2)
        for index, (q_tile, out_tile, grad_tile) in enumerate(tiles):
            weights, factor = _query_weights(q_tile, space)
            if factor is not None:
                weights.mul_(factor)
            upstream = space.widened("out", out_tile)
            if index == 0:
                torch.bmm(weights.transpose(1, 2), upstream, out=target)
            else:
                torch.baddbmm(target, weights.transpose(1, 2), upstream, out=target)
            grad_weights = torch.bmm(upstream, transposed, out=space.like("inner", q_tile))
            _softmax_gradient(grad_weights, weights, grad_tile)
    return grad_q, grad_context


def _key_gradients(
    k: Tensor, v: Tensor, padding: Tensor | None, saved: tuple[Tensor, Tensor, Tensor | None], grad_context: Tensor
) -> tuple[Tensor, Tensor]:
    """dK [B, H, M, D_k] and dV [B, H, M, D_v] from dC [B * H, D_k, D_v]; saved: C, 1/l and m of the forward pass."""
    context, inverse, reference = saved
    delta = torch.linalg.vecdot(context, grad_context).unsqueeze(1) * inverse
    grad_context = grad_context * inverse.transpose(1, 2)
    grad_k, grad_v, space = torch.empty_like(k), torch.empty_like(v), Workspace(k)
    keep = taking_part(padding, k)
    for part, tiles in blocks(k, v, grad_k, grad_v) if keep is None else blocks(k, v, grad_k, grad_v, keep):
        small, transposed, mean = grad_context[part], grad_context[part].transpose(1, 2), delta[part]
        shift = None if reference is None else reference[part]
        for k_tile, v_tile, grad_k_tile, grad_v_tile, *hidden in tiles:
            weights = _exp(space.widened("keys", k_tile), shift, space.like("weights", k_tile))
            if hidden:
                weights.mul_(hidden[0])
            wide_v = space.widened("values", v_tile)
            inner = torch.bmm(wide_v, transposed, out=space.like("inner", k_tile)).sub_(mean)
            result_k, result_v = space.target("inner", grad_k_tile), space.target("values", grad_v_tile)
            torch.mul(inner, weights, out=result_k)
            torch.bmm(weights, small, out=result_v)
            if result_v is not grad_v_tile:
                grad_k_tile.copy_(result_k)
                grad_v_tile.copy_(result_v)
    return grad_k, grad_v


class _Attend(torch.autograd.Function):
    """`streamed_forward` with its backward pass."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None) -> Tensor:
        context, inverse, reference = _contexts(k, v, padding)
        ctx.save_for_backward(q, k, v, padding, context, inverse, reference)
        return attend(q, context)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, padding, context, inverse, reference = ctx.saved_tensors
        grad_q, grad_context = _query_gradients(q, context, grad_out)
        grad_k, grad_v = _key_gradients(k, v, padding, (context, inverse, reference), grad_context)
        return grad_q, grad_k, grad_v, None


def streamed_forward(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None) -> Tensor:
    """softmax_channels(Q) softmax_positions(K)^T V, [B, H, N, D_v], of Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v]."""
    return attend(q, _contexts(k, v, padding)[0])


def streamed_with_gradients(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None) -> Tensor:
    """`streamed_forward`, differentiable once."""
    out: Tensor = _Attend.apply(q, k, v, padding)
    return out
