"""Cutting tensors [B, H, N, D] of any strides into tiles that stay in the cache, without copying them.

A slab is a three-dimensional view [G, N, D] of such a tensor: all heads of all batch elements where the strides allow it, else the
heads of one batch element. A block is some heads of a slab with all their positions, a tile some positions of a block. The cut
depends only on the shapes and on the number of threads, so equal calls give equal bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch

__all__ = ["TILE_ELEMENTS", "Tile", "Workspace", "blocks", "empty_like", "foldable", "taking_part", "wide"]

Tile: TypeAlias = tuple[torch.Tensor, ...]

# Elements of a tile per thread. Measured on one core (512 KiB L2, 8 MiB L3, float32, d = 64, n = 16k and 64k, 8 and 32 heads), plain
# time over this time: 2^15 1.05 to 1.09, 2^16 1.22 to 1.28, 2^17 1.32 to 1.38, 2^18 1.35 to 1.41, 2^19 1.33 to 1.40.
TILE_ELEMENTS = 2**18


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums of `dtype` are kept: float32 for half precision."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def foldable(x: torch.Tensor) -> bool:
    """Whether batch and heads of x [B, H, N, D] can be viewed as one axis."""
    batch, heads = x.shape[:2]
    return batch == 1 or heads == 1 or x.stride(0) == heads * x.stride(1)


def _slabs(tensors: tuple[torch.Tensor, ...]) -> Iterator[tuple[int, list[torch.Tensor]]]:
    """Slabs of tensors of equal batch and heads, each with its first row on the folded axis [B * H]."""
    batch, heads = tensors[0].shape[:2]
    if batch == 1:
        yield 0, [x[0] for x in tensors]
    elif all(foldable(x) for x in tensors):
        yield 0, [x[:, 0] if heads == 1 else x.flatten(0, 1) for x in tensors]
    else:
        for index in range(batch):
            yield index * heads, [x[index] for x in tensors]


def blocks(*tensors: torch.Tensor) -> Iterator[tuple[slice, list[Tile]]]:
    """All blocks of tensors [B, H, N, D] (D may differ): its rows on the axis [B * H], and its tiles in the order of the positions.

    A tile has one view [G, n, D] per tensor. A block has one head where a head fills a tile: its rows are contiguous in head-first
    tensors. A GPU's kernels manage their caches themselves: there a slab is one tile.
    """
    width = max(x.shape[3] for x in tensors)
    budget = TILE_ELEMENTS * torch.get_num_threads()
    for first, slab in _slabs(tensors):
        groups, length = slab[0].shape[:2]
        heads, step = groups, length
        if slab[0].device.type == "cpu" and groups * length * width > budget:
            heads = max(1, min(groups, budget // (length * width)))
            step = max(1, budget // (heads * width))
        for start in range(0, groups, heads):
            part = [x[start : start + heads] for x in slab]
            rows = slice(first + start, first + start + part[0].shape[0])
            yield rows, list(zip(*(x.split(step, 1) for x in part), strict=True))


class Workspace:
    """Buffers that are used again for every tile, in the type that sums are kept in."""

    def __init__(self, like: torch.Tensor) -> None:
        self._dtype, self._device = wide(like.dtype), like.device
        self._views: dict[tuple[str, int, int, int, bool], torch.Tensor] = {}
        self._flat: dict[str, torch.Tensor] = {}

    def like(self, name: str, tile: torch.Tensor) -> torch.Tensor:
        """The buffer `name` with the shape of `tile` [G, N, D] and its order of positions and channels.

        The order matters: elementwise work on tensors of unlike order is several times slower.
        """
        groups, length, width = tile.shape
        key = (name, groups, length, width, tile.stride(1) < tile.stride(2))
        if key not in self._views:
            size = groups * length * width
            if name not in self._flat or self._flat[name].numel() < size:
                self._flat[name] = torch.empty(size, dtype=self._dtype, device=self._device)
            flat = self._flat[name][:size]
            order = (groups, width, length) if key[-1] else (groups, length, width)
            self._views[key] = flat.view(order).transpose(1, 2) if key[-1] else flat.view(order)
        return self._views[key]

    def widened(self, name: str, tile: torch.Tensor) -> torch.Tensor:
        """The tile itself if it has the type that sums are kept in, else its copy in the buffer `name`."""
        return tile if tile.dtype == self._dtype else self.like(name, tile).copy_(tile)

    def target(self, name: str, tile: torch.Tensor) -> torch.Tensor:
        """Where to compute what belongs into `tile`: there, or in the buffer `name`, to be rounded into it."""
        return tile if tile.dtype == self._dtype else self.like(name, tile)


def empty_like(x: torch.Tensor, width: int) -> torch.Tensor:
    """An uninitialised [B, H, N, width] in the memory order of x [B, H, N, D], so that a module's merge of heads is a view."""
    order = sorted(range(4), key=x.stride().__getitem__, reverse=True)
    return torch.empty_permuted((*x.shape[:3], width), order, dtype=x.dtype, device=x.device)


def taking_part(padding: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor | None:
    """1 where a key takes part and 0 where it is padding, [B, H, M, 1] (a view), for padding [B, M] and keys [B, H, M, D]."""
    if padding is None:
        return None
    return (~padding).to(wide(like.dtype))[:, None, :, None].expand(-1, like.shape[1], -1, -1)
