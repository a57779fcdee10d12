"""Factorized attention, the fastest eager formulation: tiles in the cache, sums unnormalised, a hand-written backward pass.

Paper: "Factorized Attention: Self-Attention with Linear Complexities" (arXiv 1812.01243 v1, section 3; later "Efficient Attention").

    softmax     O = softmax_channels(Q) (softmax_positions(K)^T V)      computes "factorized softmax attention", its own function
    scaling     O = Q (s K^T V)                                         computes "scaled product attention"

    forward     m = max_n K,  l = sum_n exp(K - m),  C = (exp(K - m)^T V) / l,  O = P C  with P = softmax_channels(Q)
    backward    dC = P^T dO,  dQ = P * (dO C^T - rowsum(P * dO C^T)),  dV = W dC,  dK = W * (V dC^T - rowsum(C * dC))
                with W = exp(K - m) / l; l goes into the small C and dC, so W is never normalised
    saved       Q, K, V, C, m and 1/l: nothing that grows with n beyond the inputs

Cost family: linear in n in time and memory. Two paths:

- `_streamed`: tiles with reused buffers, for a CPU's large tensors, which leave the cache between two calls: that is what the
  transcription loses at large n. It recomputes exp in backward. Padding, infinite keys, half precision (read into float32, rounded
  once) and other devices (one tile) take it too.
- `_whole`: a CPU's smaller tensors, where calls count: few of them, exponentials saved instead of Q and K.

Forward, both take the result and a constant, so that memory stays linear across the switch.

Exponentials are first taken without subtracting a maximum, and the sums tell whether that was harmless: far from overflow, and far from
where terms vanish, they have lost no digit. Else the tile is taken again with the maximum, so the result never depends on the check.
It saves two passes over Q and K for ordinary logits, and costs one for others.
"""

from __future__ import annotations

import torch

from fabench.attention._scaled import scaled
from fabench.attention._streamed import streamed_forward, streamed_with_gradients
from fabench.attention._whole import whole_forward, whole_with_gradients
from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 1
MEMORY_ORDER = 1
COMPUTES = {"softmax": "factorized softmax attention", "scaling": "scaled product attention"}

# The largest tensor from which on tiles are taken, without and with gradients. Measured on one core (d = 32 and 64; 1, 8 and 32 heads),
# median of time whole over time in tiles: forward 4 MiB 0.97, 8 MiB 0.98, 16 MiB 1.01, 32 MiB 1.26; forward and backward 4 MiB 0.83,
# 8 MiB 0.87, 16 MiB 0.95, 32 MiB 1.23.
_TILES_FROM_BYTES = {False: 2**23, True: 2**25}


def _fits_whole(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None, differentiate: bool) -> bool:
    """Whether the short path may be tried: CPU, no padding, no half precision, no large tensor."""
    if padding is not None or not q.is_cpu or q.itemsize < 4:
        return False
    return max(q.numel(), k.numel(), v.numel()) * q.itemsize < _TILES_FROM_BYTES[differentiate]


def _softmax_form(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
    """Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v] -> [B, H, N, D_v]."""
    differentiate = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    if _fits_whole(q, k, v, padding, differentiate):
        out = whole_with_gradients(q, k, v) if differentiate else whole_forward(q, k, v)
        if out is not None:
            return out
    return streamed_with_gradients(q, k, v, padding) if differentiate else streamed_forward(q, k, v, padding)


def supports(case: Case, device: str) -> str | None:
    """Runs everything, everywhere."""
    return None


def prepare(case: Case, device: str) -> Core:
    """The core for the case's normalisation."""
    if case.normalisation == "softmax":
        return _softmax_form
    scale = case.scale_value
    return lambda q, k, v, padding: scaled(q, k, v, padding, scale)
