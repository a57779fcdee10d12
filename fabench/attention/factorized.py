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

from fabench.attention._tiles import arranged, empty_like, scratch, slabs, tiles, wide, workspace
from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 1
MEMORY_ORDER = 1
COMPUTES = {"softmax": "factorized softmax attention", "scaling": "scaled product attention"}

_SAFE = 30.0
# Below this a term is lost beside a maximum of exp(0) = 1; without the floor exp makes subnormal numbers, ten times slower.
_FLOOR = -80.0


def _is_safe(x: torch.Tensor) -> bool:
    """Whether exp needs no shift here. Only asked on a CPU, where reading a result back costs no synchronisation."""
    if x.device.type != "cpu":
        return False
    low, high = torch.aminmax(x)
    return -_SAFE <= low.item() and high.item() <= _SAFE


def _widened(tile: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
    """The tile in the type sums are kept in: itself, or a copy in the buffer."""
    return tile if tile.dtype == buffer.dtype else scratch(buffer, tile).copy_(tile)


def _softmax(tile: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Softmax over the channels of [G, N, D], in whichever order they lie."""
    if tile.stride(1) < tile.stride(2):
        torch.softmax(tile.transpose(1, 2), 1, out=out.transpose(1, 2))
        return out
    return torch.softmax(tile, -1, out=out)


class _KeySums:
    """Running sums of exp(K - m) and exp(K - m)^T V over the tiles of some heads, G of them."""

    def __init__(self, context: torch.Tensor) -> None:
        """Fill `context` [G, D_k, D_v]."""
        self.context = context
        self.total: torch.Tensor | None = None
        self.reference: torch.Tensor | None = None  # m [G, 1, D_k]; None while no tile needed one

    def add(self, k: torch.Tensor, v: torch.Tensor, keep: torch.Tensor | None, buffer: torch.Tensor) -> None:
        """Add the tile K [G, N, D_k], V [G, N, D_v] of the sums' type; keep [G, N, 1] is 0 where a key is padding, else 1."""
        weights = scratch(buffer, k)
        if _is_safe(k):
            if self.reference is not None:
                self._raise_to(torch.zeros_like(self.reference))
            if self.reference is None:
                torch.exp(k, out=weights)
            else:
                _shifted_exp(k, self.reference, weights)
        else:
            top = (k if keep is None else k + keep.log()).amax(1, keepdim=True)
            self._raise_to(top)
            assert self.reference is not None
            _shifted_exp(k if keep is None else torch.add(k, keep.log(), out=weights), _finite(self.reference), weights)
        if keep is not None:
            weights.mul_(keep)
        total = weights.sum(1, keepdim=True)
        if self.total is None:
            self.total = total
            torch.bmm(weights.transpose(1, 2), v, out=self.context)
        else:
            self.total += total
            torch.baddbmm(self.context, weights.transpose(1, 2), v, out=self.context)
