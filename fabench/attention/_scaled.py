"""Scaling form for `factorized`: two products, the scalar on the small context between them."""

from __future__ import annotations

import torch

__all__ = ["scaled"]


def scaled(q, k, v, padding, scale):
    if padding is not None:
        v = v.masked_fill(padding[:, None, :, None], 0)
    return torch.matmul(q, torch.matmul(k.transpose(-1, -2), v) * scale)
