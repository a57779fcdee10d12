"""Dot-product attention with its n x m map materialised: the eager code people write.

Paper: arXiv 1812.01243, section 3, D(Q, K, V) = rho(Q K^T) V; the non-local block's core.

    softmax     O = softmax_keys(s Q K^T) V      computes "dot-product softmax attention"
    scaling     O = (s Q K^T) V                  computes "scaled product attention"

Cost family: quadratic in n in time and memory. The scalar goes onto Q (n d_k products instead of n m, and no copy of the map), so
the forward pass holds two maps at its peak, scores beside weights.
"""

from __future__ import annotations

import torch

from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 2
MEMORY_ORDER = 2
COMPUTES = {"softmax": "dot-product softmax attention", "scaling": "scaled product attention"}


def supports(case: Case, device: str) -> str | None:
    """Runs everything, everywhere, memory permitting."""
    return None


def prepare(case: Case, device: str) -> Core:
    """The core for the case's normalisation: Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v] -> [B, H, N, D_v]."""
    scale, softmax = case.scale_value, case.normalisation == "softmax"

    def core(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        if padding is not None:
            v = v.masked_fill(padding[:, None, :, None], 0)
        weights = torch.matmul(q * scale, k.transpose(-1, -2))
        if softmax:
            if padding is not None:
                # In place: the product is ours alone. Finite, so that a row without any key has weights that are numbers
                # (its values are all 0).
                weights = weights.masked_fill_(padding[:, None, None, :], torch.finfo(weights.dtype).min)
            weights = weights.softmax(dim=-1)
        return torch.matmul(weights, v)

    return core
