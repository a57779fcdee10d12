"""flash-linear-attention's chunked kernels, for comparison: causal linear attention, where the package is installed.

Computes O_i = s sum_{j <= i} (q_i . k_j) v_j, "causal scaled product attention": each position sees the ones before it, so it is another
function than the scaling form of this paper (arXiv 1812.01243, section 3), whose positions all see all others. It is what a user finds
who looks for a fused linear attention (https://github.com/fla-org/flash-linear-attention, `fla.ops.linear_attn`), of the same cost
family: linear in n in time and memory, with a state of d_k x d_v kept for every chunk. Needs a GPU. Never run here so far.
"""

from __future__ import annotations

import importlib.util

import torch

from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 1
MEMORY_ORDER = 1
COMPUTES = {"scaling": "causal scaled product attention"}
COMPILES = True


def supports(case: Case, device: str) -> str | None:
    """Needs the package, a GPU, as many keys as queries, no padding, and more positions than heads."""
    if importlib.util.find_spec("fla") is None:
        return "needs flash-linear-attention, which is not installed; pip install flash-linear-attention"
    if not device.startswith("cuda"):
        return "flash-linear-attention's Triton kernels need a GPU"
    if case.mask != "none" or case.m != case.n:
        return "causal attention here takes as many keys as queries, and no padding"
    if case.n < case.heads:
        return "flash-linear-attention takes fewer positions than heads for a wrong memory order, and refuses them"
    return None


def prepare(case: Case, device: str) -> Core:
    """Q, K, V [B, H, N, D] go in as views [B, N, H, D]; the package copies what is not contiguous, as it would for its users."""
    from fla.ops.linear_attn import chunk_linear_attn  # type: ignore[import-not-found, unused-ignore]

    scale = case.scale_value

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        out, _ = chunk_linear_attn(*(x.transpose(1, 2) for x in (q, k, v)), scale=scale, normalize=False)
        result: torch.Tensor = out.transpose(1, 2)
        return result

    return attend
