"""Factorized attention, the fastest eager formulation: tiles in the cache, sums unnormalised, a hand-written backward pass.

Paper: "Factorized Attention: Self-Attention with Linear Complexities" (arXiv 1812.01243 v1, section 3; later "Efficient Attention").

    softmax     O = softmax_channels(Q) (softmax_positions(K)^T V)      computes "factorized softmax attention", its own function
    scaling     O = Q (s K^T V)                                         computes "scaled product attention"

    forward     m = max_n K,  l = sum_n exp(K - m),  C = (exp(K - m)^T V) / l,  O = P C  with P = softmax_channels(Q)
    backward    dC = P^T dO,  dQ = P * (dO C^T - rowsum(P * dO C^T)),  dV = W dC,  dK = W * (V dC^T - rowsum(C * dC))
                with W = exp(K - m) / l; l goes into the small C and dC, so W is never normalised
    saved       Q, K, V, C, m and 1/l: nothing that grows with n beyond the inputs

Cost family: linear in n in time and memory. On a CPU positions are cut into tiles with reused buffers: fresh tensors of many megabytes
cost a page fault every 4 KiB, which is what the plain transcription loses at large n. Other devices get one tile.
A tile whose logits all lie within +-30 needs no maximum: exp neither overflows nor vanishes there, and sums of such terms lose no digit.
Every other tile takes the exact path, so the result never depends on the check; it costs one read of the tile and saves two passes.
Half precision is read into float32, and stays there until the result is rounded once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from fabench.attention._scaled import scaled
from fabench.attention._tiles import arranged, empty_like, scratch, slabs, tiles, wide, widened, workspace
from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 1
MEMORY_ORDER = 1
COMPUTES = {"softmax": "factorized softmax attention", "scaling": "scaled product attention"}

_SAFE = 30.0
# A term below this is lost beside the maximum's exp(0) = 1. Without a floor exp makes subnormal numbers, ten times slower.
_FLOOR = -80.0

Tensor = torch.Tensor


def _is_safe(x: Tensor) -> bool:
    """Whether exp needs no shift here. Only asked on a CPU, where reading a result back is no synchronisation."""
    if x.device.type != "cpu":
        return False
    low, high = torch.aminmax(x)
    return -_SAFE <= low.item() and high.item() <= _SAFE


def _finite(reference: Tensor) -> Tensor:
    """A maximum that can be subtracted: 0 where there is no finite key."""
    return reference.masked_fill(reference == -torch.inf, 0.0)


def _shifted_exp(x: Tensor, reference: Tensor | None, out: Tensor) -> Tensor:
    """exp(x - reference) into `out`; None = no shift needed."""
    if reference is None:
        return torch.exp(x, out=out)
    return torch.sub(x, reference, out=out).clamp_(min=_FLOOR).exp_()


class _KeySums:
    """Sums of exp(K - m) and exp(K - m)^T V over the tiles of G heads, with a running maximum m where one is needed."""

    def __init__(self, context: Tensor) -> None:
        """`context` [G, D_k, D_v] receives the second sum."""
        self.context = context
        self.total: Tensor | None = None  # [G, 1, D_k]
        self.reference: Tensor | None = None  # m [G, 1, D_k]; None = 0
        self.padded = False

    def add(self, k: Tensor, v: Tensor, keep: Tensor | None, buffer: Tensor) -> None:
        """Add a tile K [G, N, D_k], V [G, N, D_v]; keep [G, N, 1] is 0 where a key is padding and 1 elsewhere."""
        weights = scratch(buffer, k)
        if _is_safe(k):
            if self.reference is not None:
                self._raise_reference(torch.zeros_like(self.reference))
        else:
            if keep is not None:
                k = torch.add(k, keep.log(), out=weights)
            self._raise_reference(k.amax(1, keepdim=True))
        _shifted_exp(k, None if self.reference is None else _finite(self.reference), weights)
        if keep is not None:
            weights.mul_(keep)
            self.padded = True
        total = weights.sum(1, keepdim=True)
        if self.total is None:
            self.total = total
            torch.bmm(weights.transpose(1, 2), v, out=self.context)
        else:
            self.total += total
            torch.baddbmm(self.context, weights.transpose(1, 2), v, out=self.context)

    def _raise_reference(self, top: Tensor) -> None:
        """Raise m to at least `top`, and scale the sums so far accordingly."""
        if self.total is None:
            self.reference = top
            return
        old = torch.zeros_like(top) if self.reference is None else self.reference
        self.reference = torch.maximum(old, top)
        factor = (old - _finite(self.reference)).exp_()
        self.total *= factor
        self.context *= factor.transpose(1, 2)

    def finish(self) -> Tensor:
        """Normalise the context; returns 1/l [G, 1, D_k], 0 for a channel without any key."""
        assert self.total is not None
        inverse = self.total.reciprocal()
        if self.reference is not None:
            inverse.masked_fill_(self.reference == -torch.inf, 0.0)
        if self.padded:
            inverse.masked_fill_(self.total == 0, 0.0)
        self.context *= inverse.transpose(1, 2)
        return inverse


def _contexts(k: Tensor, v: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """C [B * H, D_k, D_v], 1/l and m [B * H, 1, D_k] (None = 0 everywhere) of K [B, H, M, D_k] and V [B, H, M, D_v]."""
    rows, d_k, d_v = k.shape[0] * k.shape[1], k.shape[3], v.shape[3]
    context = torch.empty((rows, d_k, d_v), dtype=wide(k.dtype), device=k.device)
    inverses, references, shifted = [], [], False
    for covered, (k_slab, v_slab) in slabs(k, v):
        cut = tiles(*k_slab.shape[:2], max(d_k, d_v), k.device)
        buffer = workspace(cut, d_k, k)
        v_buffer = buffer if v.dtype == buffer.dtype else workspace(cut, d_v, v)
        for heads, positions in cut:
            if positions.start == 0:
                sums = _KeySums(context[covered][heads])
            k_tile = widened(k_slab[heads, positions], buffer)
            hidden = None if keep is None else keep[covered][heads, positions]
            sums.add(k_tile, widened(v_slab[heads, positions], v_buffer), hidden, buffer)
            if positions.stop == k.shape[2]:
                inverses.append(sums.finish())
                references.append(sums.reference)
                shifted |= sums.reference is not None
    inverse = inverses[0] if len(inverses) == 1 else torch.cat(inverses)
    if not shifted:
        return context, inverse, None
    zero = torch.zeros_like
    parts = [zero(inverses[i]) if part is None else _finite(part) for i, part in enumerate(references)]
    return context, inverse, torch.cat(parts)


def _query_weights(q: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor | None]:
    """softmax over channels of a tile [G, N, D_k] in the buffer; with a second result [G, N, 1], still to be divided by it."""
    q = widened(q, buffer)
    weights = scratch(buffer, q)
    if _is_safe(q):
        torch.exp(q, out=weights)
        return weights, weights.sum(-1, keepdim=True)
    return torch.softmax(q, -1, out=weights) if q is not weights else weights.copy_(q.softmax(-1)), None


def _attend(q: Tensor, context: Tensor) -> Tensor:
    """O = softmax_channels(Q) C for Q [B, H, N, D_k] and C [B * H, D_k, D_v]."""
    d_k, d_v = context.shape[1:]
    out = empty_like(q, d_v)
    for covered, (q_slab, out_slab) in slabs(q, out):
        cut = tiles(*q_slab.shape[:2], max(d_k, d_v), q.device)
        buffer = workspace(cut, d_k, q)
        product = None if q.dtype == buffer.dtype else workspace(cut, d_v, q)
        for heads, positions in cut:
            weights, total = _query_weights(q_slab[heads, positions], buffer)
            target = out_slab[heads, positions]
            result = target if product is None else scratch(product, target)
            torch.bmm(weights, context[covered][heads], out=result)
            if total is not None:
                result.div_(total)
            if result is not target:
                target.copy_(result)
    return out


def _query_gradients(q: Tensor, context: Tensor, grad_out: Tensor) -> tuple[Tensor, Tensor]:
    """dQ [B, H, N, D_k] and dC [B * H, D_k, D_v] for an upstream gradient [B, H, N, D_v]."""
    d_k, d_v = context.shape[1:]
    grad_q, grad_context = torch.empty_like(q), torch.empty_like(context)
    transposed = context.transpose(1, 2)
    for covered, (q_slab, out_slab, grad_slab) in slabs(q, grad_out, grad_q):
        cut = tiles(*q_slab.shape[:2], max(d_k, d_v), q.device)
        buffer, inner = workspace(cut, d_k, q), workspace(cut, d_k, q)
        out_buffer = buffer if q.dtype == buffer.dtype else workspace(cut, d_v, q)
        for heads, positions in cut:
            weights, total = _query_weights(q_slab[heads, positions], buffer)
            if total is not None:
                weights.mul_(total.reciprocal_())
            upstream = widened(out_slab[heads, positions], out_buffer)
            target = grad_context[covered][heads]
            if positions.start == 0:
                torch.bmm(weights.transpose(1, 2), upstream, out=target)
            else:
                torch.baddbmm(target, weights.transpose(1, 2), upstream, out=target)
            grad_weights = torch.bmm(upstream, transposed[covered][heads], out=scratch(inner, weights))
            _softmax_gradient(grad_weights, weights, grad_slab[heads, positions])
    return grad_q, grad_context


def _softmax_gradient(grad: Tensor, weights: Tensor, out: Tensor) -> None:
    """weights * (grad - rowsum(weights * grad)) into `out`; both inputs are ours to spoil."""
    if out.is_contiguous() and out.dtype == grad.dtype:
        torch.ops.aten._softmax_backward_data.out(grad, weights, -1, grad.dtype, grad_input=out)
        return
    grad -= (grad * weights).sum(-1, keepdim=True)
    if out.dtype == grad.dtype:
        torch.mul(grad, weights, out=out)
    else:
        out.copy_(grad.mul_(weights))


def _key_gradients(k: Tensor, v: Tensor, keep: Tensor | None, saved: list[Tensor | None], grad_context: Tensor) -> tuple[Tensor, Tensor]:
    """dK [B, H, M, D_k] and dV [B, H, M, D_v] from dC [B * H, D_k, D_v]; saved: C, 1/l and m of the forward pass."""
    context, inverse, reference = saved
    assert context is not None and inverse is not None
    delta = (context * grad_context).sum(-1).unsqueeze(1) * inverse
    grad_context = grad_context * inverse.transpose(1, 2)
    transposed = grad_context.transpose(1, 2)
    grad_k, grad_v = torch.empty_like(k), torch.empty_like(v)
    d_k, d_v = k.shape[3], v.shape[3]
    for covered, (k_slab, v_slab, grad_k_slab, grad_v_slab) in slabs(k, v, grad_k, grad_v):
        cut = tiles(*k_slab.shape[:2], max(d_k, d_v), k.device)
        buffer, inner = workspace(cut, d_k, k), workspace(cut, d_k, k)
        half = k.dtype != buffer.dtype
        v_buffer = workspace(cut, d_v, v) if half else buffer
        for heads, positions in cut:
            k_tile = widened(k_slab[heads, positions], buffer)
            shift = None if reference is None else reference[covered][heads]
            weights = _shifted_exp(k_tile, shift, scratch(buffer, k_tile))
            if keep is not None:
                weights.mul_(keep[covered][heads, positions])
            v_tile = widened(v_slab[heads, positions], v_buffer)
            grad_weights = scratch(inner, k_tile)
            torch.baddbmm(delta[covered][heads], v_tile, transposed[covered][heads], beta=-1, out=grad_weights)
            target_k, target_v = grad_k_slab[heads, positions], grad_v_slab[heads, positions]
            result_v = v_tile if half else target_v
            torch.bmm(weights, grad_context[covered][heads], out=result_v)
            if half:
                target_v.copy_(result_v)
                target_k.copy_(grad_weights.mul_(weights))
            else:
                torch.mul(weights, grad_weights, out=target_k)
    return grad_k, grad_v


def _keep(padding: Tensor | None, like: Tensor) -> Tensor | None:
    """1 where a key takes part and 0 where it is padding, [B * H, M, 1], for padding [B, M]."""
    if padding is None:
        return None
    taking_part = (~padding).to(wide(like.dtype))
    return taking_part[:, None].expand(-1, like.shape[1], -1).reshape(-1, like.shape[2], 1)


class _Attend(torch.autograd.Function):
    """The softmax form with its backward pass; see the module's header for the formulas."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None) -> Tensor:
        q, k, v = arranged(q), arranged(k), arranged(v)
        context, inverse, reference = _contexts(k, v, _keep(padding, k))
        ctx.save_for_backward(q, k, v, padding, context, inverse, reference)
        return _attend(q, context)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, padding, *saved = ctx.saved_tensors
        grad_q, grad_context = _query_gradients(q, saved[0], arranged(grad_out))
        grad_k, grad_v = _key_gradients(k, v, _keep(padding, k), saved, grad_context)
        return grad_q, grad_k, grad_v, None


def _softmax_form(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None) -> Tensor:
    """Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v] -> [B, H, N, D_v]."""
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return _Attend.apply(q, k, v, padding)  # type: ignore[no-any-return]
    q, k, v = arranged(q), arranged(k), arranged(v)
    return _attend(q, _contexts(k, v, _keep(padding, k))[0])


def supports(case: Case, device: str) -> str | None:
    """Runs everything, everywhere."""
    return None


def prepare(case: Case, device: str) -> Core:
    """The core for the case's normalisation."""
    if case.normalisation == "softmax":
        return _softmax_form
    scale = case.scale_value
    return lambda q, k, v, padding: scaled(q, k, v, padding, scale)
