"""Cutting tensors [B, H, N, D] of any strides into tiles that stay in the cache, without copying them.

A slab is a three-dimensional view [G, N, D] of such a tensor: all heads of all batch elements where the strides allow it, else the
heads of one batch element. A tile is a part of a slab: some heads, and of them some positions. The cut depends only on the shapes
and on the number of threads, so equal calls give equal bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch

__all__ = ["Tile", "arranged", "empty_like", "scratch", "slabs", "tiles", "wide", "widened", "workspace"]

Tile: TypeAlias = tuple[slice, slice]

# Elements of a tile per thread. Measured on one core (512 KiB L2, 8 MiB L3, float32, d = 64, n = 1k to 64k, 1 to 32 heads): forward
# time is flat within 3 % from 2^17 to 2^19; below, the calls' own cost shows (2^16: 7 % slower, 2^15: 25 %).
_TILE_ELEMENTS = 2**17


def _foldable(x: torch.Tensor) -> bool:
    batch, heads = x.shape[:2]
    return batch == 1 or heads == 1 or x.stride(0) == heads * x.stride(1)


def _budget(device: torch.device) -> int | None:
    """Elements of a tile, or None where tiles don't pay (a GPU's kernels manage their caches themselves)."""
    return _TILE_ELEMENTS * torch.get_num_threads() if device.type == "cpu" else None


def arranged(x: torch.Tensor) -> torch.Tensor:
    """`x`, or a contiguous copy where its batch elements are smaller than a tile and can't be viewed together."""
    if _foldable(x):
        return x
    budget = _budget(x.device)
    return x.contiguous() if budget is None or x[0].numel() < budget else x


def slabs(*tensors: torch.Tensor) -> Iterator[tuple[slice, list[torch.Tensor]]]:
    """Views [G, N, D] of tensors [B, H, N, D], each with the rows of [B * H] that it covers."""
    batch, heads = tensors[0].shape[:2]
    if batch == 1:
        yield slice(0, heads), [x[0] for x in tensors]
    elif all(_foldable(x) for x in tensors):
        yield slice(0, batch * heads), [x[:, 0] if heads == 1 else x.flatten(0, 1) for x in tensors]
    else:
        for index in range(batch):
            yield slice(index * heads, (index + 1) * heads), [x[index] for x in tensors]


def tiles(groups: int, length: int, width: int, device: torch.device) -> list[Tile]:
    """(heads, positions) of all tiles of a slab [groups, length, width], position after position within the same heads.

    One head at a time where it fills a tile: its rows are contiguous in head-first tensors.
    """
    budget = _budget(device)
    if budget is None or groups * length * width <= budget:
        return [(slice(0, groups), slice(0, length))]
    heads = max(1, min(groups, budget // (length * width)))
    step = max(1, min(length, budget // (heads * width)))
    return [
        (slice(group, min(group + heads, groups)), slice(start, min(start + step, length)))
        for group in range(0, groups, heads)
        for start in range(0, length, step)
    ]


def workspace(cut: list[Tile], width: int, like: torch.Tensor) -> torch.Tensor:
    """One flat buffer that holds any tile of the cut, in the type that sums are kept in."""
    heads, positions = cut[0]
    size = (heads.stop - heads.start) * (positions.stop - positions.start) * width
    return torch.empty(size, dtype=wide(like.dtype), device=like.device)


def scratch(buffer: torch.Tensor, tile: torch.Tensor) -> torch.Tensor:
    """A view of `buffer` with the shape of `tile` [G, N, D] and its order of positions and channels.

    The order matters: elementwise work on tensors of unlike order is several times slower.
    """
    groups, length, width = tile.shape
    flat = buffer[: groups * length * width]
    if tile.stride(1) < tile.stride(2):
        return flat.view(groups, width, length).transpose(1, 2)
    return flat.view(groups, length, width)


def widened(tile: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
    """The tile in the type that sums are kept in: itself, or its copy in the buffer."""
    return tile if tile.dtype == buffer.dtype else scratch(buffer, tile).copy_(tile)


def empty_like(x: torch.Tensor, width: int) -> torch.Tensor:
    """An uninitialised [B, H, N, width] in the memory order of x [B, H, N, D], so that a module's merge of heads is a view."""
    order = sorted(range(4), key=lambda dim: x.stride(dim), reverse=True)
    return torch.empty_permuted((*x.shape[:3], width), order, dtype=x.dtype, device=x.device)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums of `dtype` are kept: float32 for half precision."""
    return torch.float64 if dtype == torch.float64 else torch.float32
