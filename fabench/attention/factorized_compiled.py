"""Factorized attention through torch.compile: the transcription with its normaliser folded into the context, fused by Inductor.

Paper: arXiv 1812.01243 v1, section 3. With E = exp(K - max_n K) and l = sum_n E:

    softmax     O = softmax_channels(Q) ((E^T V) / l)      computes "factorized softmax attention"
    scaling     O = Q (s K^T V)                            computes "scaled product attention"

Dividing the small context instead of the weights spares a pass over [M, D_k] and rounds less; before the division it may be as large
as m max |V|, so float16 takes the keys' side in float32. A channel whose keys are all -inf contributes 0, as in the reference.
Cost family: linear in n in time and memory. The first call compiles, seconds that are recorded apart; every shape compiles its own code (dynamic=False).
"""

from __future__ import annotations

import shutil

import torch

from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 1
MEMORY_ORDER = 1
COMPUTES = {"softmax": "factorized softmax attention", "scaling": "scaled product attention"}
COMPILES = True
OPAQUE = True


def _softmax(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
    """Softmax form; Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v] -> [B, H, N, D_v]."""
    if padding is not None:
        hidden = padding[:, None, :, None]
        k = k.masked_fill(hidden, torch.finfo(k.dtype).min)
        v = v.masked_fill(hidden, 0)
    if k.dtype == torch.float16:
        k, v = k.float(), v.float()
    top = k.amax(dim=-2, keepdim=True).detach()
    weights = torch.exp(k - top.masked_fill(top == -torch.inf, 0))
    total = weights.sum(dim=-2).unsqueeze(-1)
    context = torch.matmul(weights.transpose(-1, -2), v) / total.masked_fill(total == 0, 1)
    return torch.matmul(q.softmax(dim=-1), context.to(q.dtype))


def _scaling(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None, scale: float) -> torch.Tensor:
    """Scaling form; shapes as in the softmax form."""
    if padding is not None:
        v = v.masked_fill(padding[:, None, :, None], 0)
    return torch.matmul(q, torch.matmul(k.transpose(-1, -2), v) * scale)


def supports(case: Case, device: str) -> str | None:
    """Needs a C++ compiler on a CPU, Triton on a GPU."""
    if device.startswith("cpu") and not any(shutil.which(name) for name in ("g++", "c++", "clang++")):
        return "torch.compile needs a C++ compiler on a CPU; install g++"
    return None


def prepare(case: Case, device: str) -> Core:
    """A fresh compiled function for the case's shapes."""
    import torch._functorch.config
    import torch._inductor.config

    # A graph that is kept is walked backwards again and again; donated buffers would be gone after the first time.
    torch._functorch.config.donated_buffer = False
    torch._inductor.config.compile_threads = 1  # no pool of processes inside a cell's process
    if case.normalisation == "softmax":
        return torch.compile(_softmax, dynamic=False, fullgraph=True)
    scale = case.scale_value
    return torch.compile(lambda q, k, v, padding: _scaling(q, k, v, padding, scale), dynamic=False, fullgraph=True)
