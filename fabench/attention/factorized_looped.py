"""Factorized attention as public code writes it: a Python loop over heads.

Paper: arXiv 1812.01243, section 3 with the heads of its module; the authors' published module loops like this: for each head the
softmax of its keys over the positions, of its queries over the channels, two products, and the heads' results concatenated.

    softmax     O_h = softmax_channels(Q_h) (softmax_positions(K_h)^T V_h)      "factorized softmax attention"
    scaling     O_h = (s Q_h) (K_h^T V_h)                                       "scaled product attention"

Cost family: linear in n in time and memory; per head two softmaxes and two small products, so launches grow with the heads.
"""

from __future__ import annotations

import torch

from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 1
MEMORY_ORDER = 1
COMPUTES = {"softmax": "factorized softmax attention", "scaling": "scaled product attention"}


def _one_head(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, hidden: torch.Tensor | None, scale: float | None
) -> torch.Tensor:
    """One head: Q [B, N, D_k], K [B, M, D_k], V [B, M, D_v] -> [B, N, D_v]; scale None = softmax form."""
    if hidden is not None:
        v = v.masked_fill(hidden, 0)
    if scale is not None:
        return (q * scale) @ (k.transpose(1, 2) @ v)
    if hidden is not None:
        # Finite, so that a batch element without any key has weights that are numbers; its values are all 0.
        k = k.masked_fill(hidden, torch.finfo(k.dtype).min)
    return q.softmax(dim=2) @ (k.softmax(dim=1).transpose(1, 2) @ v)


def supports(case: Case, device: str) -> str | None:
    """Runs everything, everywhere."""
    return None


def prepare(case: Case, device: str) -> Core:
    """The loop over heads for the case's normalisation."""
    scale = None if case.normalisation == "softmax" else case.scale_value

    def core(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        hidden = None if padding is None else padding[:, :, None]
        heads = [_one_head(q[:, head], k[:, head], v[:, head], hidden, scale) for head in range(q.shape[1])]
        return torch.stack(heads, dim=1)

    return core
