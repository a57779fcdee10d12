"""Factorized attention, the formula transcribed: all heads at once, no tricks, gradients by autograd.

Paper: "Factorized Attention: Self-Attention with Linear Complexities" (arXiv 1812.01243 v1, section 3; later "Efficient Attention").

    softmax     O = softmax_channels(Q) (softmax_positions(K)^T V)      computes "factorized softmax attention", its own function
    scaling     O = (s Q) (K^T V)                                       computes "scaled product attention", the same function as
                                                                        the dot product's scaling form, by associativity

Cost family: linear in n in time and memory (n d_k d_v multiply-adds per product and head; a d_k x d_v context per head).
The yardstick of the linear family: what a reader of the paper would write first.
"""

from __future__ import annotations

import torch

from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 1
MEMORY_ORDER = 1
COMPUTES = {"softmax": "factorized softmax attention", "scaling": "scaled product attention"}


def _softmax(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
    """Softmax form; Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v] -> [B, H, N, D_v]."""
    if padding is not None:
        hidden = padding[:, None, :, None]
        # The least finite number and not -inf: where all keys are hidden the weights stay finite, and meet only zeros in V.
        k = k.masked_fill(hidden, torch.finfo(k.dtype).min)
        v = v.masked_fill(hidden, 0)
    context = torch.matmul(k.softmax(dim=-2).transpose(-1, -2), v)
    return torch.matmul(q.softmax(dim=-1), context)


def _scaling(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None, scale: float) -> torch.Tensor:
    """Scaling form; shapes as in the softmax form. A hidden key's term vanishes with its value."""
    if padding is not None:
        v = v.masked_fill(padding[:, None, :, None], 0)
    return torch.matmul(q * scale, torch.matmul(k.transpose(-1, -2), v))


def supports(case: Case, device: str) -> str | None:
    """Runs everything, everywhere."""
    return None


def prepare(case: Case, device: str) -> Core:
    """The core for the case's normalisation."""
    if case.normalisation == "softmax":
        return _softmax
    scale = case.scale_value
    return lambda q, k, v, padding: _scaling(q, k, v, padding, scale)
