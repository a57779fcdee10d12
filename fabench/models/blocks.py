"""Attention blocks: 1x1 projections, heads, a core, and optionally a reprojection and a residual.

    FactorizedAttention     the paper's module (section 3); takes the official module's state_dict and gives its output
    DotProductAttention     the non-local block, with or without max-pooling of K and V by 2x2

For sequences [B, N, C], images [B, C, H, W] and volumes [B, C, T, H, W]. A head is a contiguous slice of channels, as in the official
code. Any core of `fabench.attention` fits in: core(q, k, v, padding) with head-first [B, H, N, D].
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional as F

from fabench.attention.base import Core, load
from fabench.schema import Case

__all__ = ["AttentionBlock", "DotProductAttention", "FactorizedAttention", "from_case"]

_Projection: TypeAlias = "nn.Linear | nn.Conv2d | nn.Conv3d"
_PROJECTIONS = {1: nn.Linear, 2: nn.Conv2d, 3: nn.Conv3d}


def _project(dims: int, inputs: int, outputs: int) -> _Projection:
    """A 1x1 convolution with bias, or a Linear for sequences."""
    if dims == 1:
        return nn.Linear(inputs, outputs)
    return nn.Conv2d(inputs, outputs, 1) if dims == 2 else nn.Conv3d(inputs, outputs, 1)


class AttentionBlock(nn.Module):
    """X -> Q, K, V -> core -> heads side by side -> (reprojection) -> (+ X).

    `key_channels` and `value_channels` count over all heads. `dims`: 1 sequences, 2 images, 3 volumes. `pool` max-pools K and V by
    this factor along the last two position axes. Raises ValueError for channels that the heads don't divide, and for a residual whose
    channels don't match.
    """

    def __init__(
        self, core: Core, in_channels: int, key_channels: int, head_count: int, value_channels: int, *,
        dims: int = 2, reprojection: bool = True, residual: bool = True, pool: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        _require(in_channels, key_channels, head_count, value_channels, dims, pool)
        if residual and not reprojection and value_channels != in_channels:
            raise ValueError(
                f"a residual without reprojection needs value_channels = in_channels, not {value_channels} and {in_channels}"
            )
        self.core, self.head_count, self.dims = core, head_count, dims
        self.pool, self.residual = pool, residual
        self.keys = _project(dims, in_channels, key_channels)
        self.queries = _project(dims, in_channels, key_channels)
        self.values = _project(dims, in_channels, value_channels)
        self.reprojection = _project(dims, value_channels, in_channels) if reprojection else None

    def forward(self, x: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """The block's output in the layout of `x`; `padding` [B, N] is True where a position takes no part as a key.

        Raises ValueError for padding with pooled keys: a pooled key stands for positions of both kinds.
        """
        if padding is not None and self.pool != 1:
            raise ValueError(f"padding says which positions take part, but pool={self.pool} merges them into keys; take pool=1")
        queries = self._heads(self.queries(x))
        keys = self._heads(self._pooled(self.keys(x)))
        values = self._heads(self._pooled(self.values(x)))
        out = self._joined(self.core(queries, keys, values, padding), x)
        if self.reprojection is not None:
            out = self.reprojection(out)
        return out + x if self.residual else out

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool == 1:
            return x
        if self.dims == 1:
            return F.max_pool1d(x.transpose(1, 2), self.pool).transpose(1, 2)
        if self.dims == 2:
            return F.max_pool2d(x, self.pool)
        return F.max_pool3d(x, (1, self.pool, self.pool))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, D] or [B, D, *space] -> [B, H, N, D / H], a view."""
        if self.dims == 1:
            return x.reshape(*x.shape[:2], self.head_count, -1).transpose(1, 2)
        return x.flatten(2).reshape(x.shape[0], self.head_count, x.shape[1] // self.head_count, -1).transpose(2, 3)

    def _joined(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """[B, H, N, D] -> the layout of x, heads side by side in the channels."""
        if self.dims == 1:
            return out.transpose(1, 2).flatten(2)
        joined = out.transpose(2, 3).flatten(1, 2)
        return joined.reshape(*joined.shape[:2], *x.shape[2:])


def _require(in_channels: int, key_channels: int, head_count: int, value_channels: int, dims: int, pool: int) -> None:
    if dims not in _PROJECTIONS:
        raise ValueError(f"dims is {dims}, must be 1 (sequences), 2 (images) or 3 (volumes)")
    if min(in_channels, key_channels, head_count, value_channels, pool) < 1:
        raise ValueError("channels, heads and pool must be at least 1")
    for name, channels in (("key_channels", key_channels), ("value_channels", value_channels)):
        if channels % head_count:
            raise ValueError(
                f"{name} {channels} is not divisible by {head_count} heads: {channels % head_count} channels would be lost"
            )


class FactorizedAttention(AttentionBlock):
    """The paper's module; by default exactly the official one (softmax form, reprojection, residual), whose state_dict it loads.

    Raises ValueError for one key channel per head in the softmax form, the default `core`: the queries' softmax over a single channel
    is always 1, so the queries would be dead.
    """

    def __init__(
        self, in_channels: int, key_channels: int, head_count: int, value_channels: int, *,
        dims: int = 2, reprojection: bool = True, residual: bool = True, core: Core | None = None,
    ) -> None:  # fmt: skip
        if core is None and key_channels == head_count:
            raise ValueError(
                f"key_channels {key_channels} for {head_count} heads leaves one channel per head, whose softmax is always 1: "
                "the queries would have no effect; take more key_channels or fewer heads"
            )
        super().__init__(
            core or _default_core("factorized"), in_channels, key_channels, head_count, value_channels,
            dims=dims, reprojection=reprojection, residual=residual,
        )  # fmt: skip


class DotProductAttention(AttentionBlock):
    """The non-local block: softmax(Q K^T / sqrt(d_k)) V with a map over all pairs of positions; `pool=2` quarters its cost."""

    def __init__(
        self, in_channels: int, key_channels: int, head_count: int, value_channels: int, *,
        dims: int = 2, reprojection: bool = True, residual: bool = True, pool: int = 1, core: Core | None = None,
    ) -> None:  # fmt: skip
        head_channels = key_channels // max(1, head_count)
        super().__init__(
            core or _default_core("dot_product", d_k=max(1, head_channels)), in_channels, key_channels, head_count, value_channels,
            dims=dims, reprojection=reprojection, residual=residual, pool=pool,
        )  # fmt: skip


def _default_core(name: str, d_k: int = 64) -> Core:
    return load(name).prepare(Case(n=1, m=1, d_k=d_k), "cpu")


def from_case(case: Case, core: Core, device: torch.device) -> AttentionBlock:
    """The block that a case of scope "module" describes, around `core`, with default initialisation in the case's dtype."""
    assert case.channels is not None
    assert case.pool is not None
    block = AttentionBlock(
        core, case.channels, case.heads * case.d_k, case.heads, case.heads * case.d_v,
        dims=len(case.dimensions), reprojection=bool(case.reprojection), residual=bool(case.residual), pool=case.pool,
    )  # fmt: skip
    dtype: torch.dtype = getattr(torch, case.dtype)
    return block.to(device=device, dtype=dtype)
