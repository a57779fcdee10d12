"""Factorized attention as fused Triton kernels, forward and backward: see `fabench.kernels.factorized`.

Paper: arXiv 1812.01243 v1, section 3.

    softmax     O = softmax_channels(Q) (softmax_positions(K)^T V)      computes "factorized softmax attention"
    scaling     O = Q (s K^T V)                                         computes "scaled product attention"

Cost family: linear in n in time and memory; every tensor is read once and written once. Needs a GPU. Under Triton's interpreter
(TRITON_INTERPRET=1) it runs on a CPU too, to be checked; what an interpreter takes says nothing about a kernel, so no cell is timed there.
"""

from __future__ import annotations

import importlib.util

import torch

from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 1
MEMORY_ORDER = 1
COMPUTES = {"softmax": "factorized softmax attention", "scaling": "scaled product attention"}
COMPILES = True


def supports(case: Case, device: str) -> str | None:
    """Needs Triton, a GPU, and at most 256 channels per head."""
    if importlib.util.find_spec("triton") is None:
        return "needs Triton, which is not installed; torch's CUDA build brings it along"
    if not device.startswith("cuda"):
        return "Triton kernels need a GPU; on a CPU only their interpreter could run them, whose time means nothing"
    from fabench.kernels.factorized import unsupported

    return unsupported(getattr(torch, case.dtype), case.d_k, case.d_v)


def prepare(case: Case, device: str) -> Core:
    """The operator for the case's form. float32 products in full precision."""
    from fabench.kernels.factorized import factorized_attention

    scale = None if case.normalisation == "softmax" else case.scale_value
    return lambda q, k, v, padding: factorized_attention(q, k, v, padding, scale=scale)
