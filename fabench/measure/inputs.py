"""The tensors of a case: seeded N(0, 1), the same for every implementation of the case.

What a network gets is made up too: images of noise in 0..1 and, to train on, rectangles with labels and masks; for stereo a plane of
noise, seen by the right camera 16 pixels further left.

Not zeros (they draw less power and let clocks rise) and no outliers (denormal results make the CPU's exp ten times slower): the
distribution is part of what a number means. The seed is drawn from the shape, so a cell measured alone gets the tensors it gets in a sweep.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch

from fabench.schema import Case, Measure

__all__ = ["OBJECTS", "Inputs", "make"]


_DISPARITY = 16
OBJECTS, _CLASSES = 32, 91


@dataclass(frozen=True)
class Inputs:
    """Leaves (q, k, v at scope core; x at scope module; images or both views of a network), the padding mask [B, M] (True = padding) and
    the upstream gradient's seed.

    `targets`: what a network is trained on: of each image boxes [T, 4], labels [T] and masks [T, H, W], or the disparities [B, H, W].
    """

    leaves: tuple[torch.Tensor, ...]
    padding: torch.Tensor | None
    seed: int
    targets: tuple[torch.Tensor, ...] = ()

    def upstream(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A seeded N(0, 1) gradient for an output of `shape`."""
        return _normal(shape, self.leaves[0].dtype, self.leaves[0].device, self.seed + 1)


def _normal(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, seed: int) -> torch.Tensor:
    generator = torch.Generator(device=device).manual_seed(seed)
    # Drawn in float32 and rounded, so that every dtype sees (nearly) the same numbers; float64 draws its own digits.
    drawn = torch.float64 if dtype == torch.float64 else torch.float32
    return torch.randn(shape, generator=generator, device=device, dtype=drawn).to(dtype)


def _padding(case: Case, device: torch.device, seed: int) -> torch.Tensor | None:
    """Between none and half of each batch element's last keys are padding."""
    if case.mask == "none":
        return None
    generator = torch.Generator().manual_seed(seed)
    kept = torch.randint((case.m + 1) // 2, case.m + 1, (case.batch, 1), generator=generator)
    return (torch.arange(case.m)[None, :] >= kept).to(device)


def _of_network(case: Case, dtype: torch.dtype, device: torch.device, seed: int) -> Inputs:
    height, width = case.dimensions
    shape = (case.batch, 3, height, width)
    if case.network == "stereo":
        left = _normal(shape, dtype, device, seed)
        truth = torch.full((case.batch, height, width), float(_DISPARITY), device=device)
        return Inputs((left, left.roll(-_DISPARITY, 3)), None, seed, (truth,) if case.needs_gradients else ())
    images = torch.rand(shape, generator=torch.Generator(device=device).manual_seed(seed), device=device).to(dtype)
    targets = [tensor for number in range(case.batch) for tensor in _rectangles(height, width, seed + number)]
    return Inputs((images,), None, seed, tuple(tensor.to(device) for tensor in targets) if case.needs_gradients else ())


def _rectangles(height: int, width: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Objects of an image: boxes of a quarter to half of each side, labels, and masks that fill them."""
    generator = torch.Generator().manual_seed(seed)
    share, place = torch.rand(2, OBJECTS, 2, generator=generator)
    sides = torch.tensor([width, height])
    size = (0.25 + share / 4) * sides
    start = place * (sides - size)
    boxes = torch.cat([start, start + size], 1)
    x, y = torch.arange(width), torch.arange(height)
    inside = [(at >= boxes[:, axis, None]) & (at < boxes[:, axis + 2, None]) for axis, at in enumerate((x, y))]
    masks = inside[1][:, :, None] & inside[0][:, None, :]
    return boxes, torch.randint(1, _CLASSES, (OBJECTS,), generator=generator), masks.to(torch.uint8)


def make(case: Case, measure: Measure, device: torch.device) -> Inputs:
    """The inputs of `case`: Q [B,H,N,D_k], K [B,H,M,D_k], V [B,H,M,D_v], or X [B,N,C] / [B,C,*space]."""
    dtype: torch.dtype = getattr(torch, case.dtype)
    shape = f"{case.n},{case.m},{case.batch},{case.heads},{case.d_k},{case.d_v},{case.space},{case.channels}"
    if case.scope == "network":
        return _of_network(
            case, dtype, device, measure.seed * 1_000_003 + zlib.crc32(f"{case.network},{case.batch},{case.space}".encode())
        )
    seed = measure.seed * 1_000_003 + zlib.crc32(shape.encode())
    if case.scope == "module":
        assert case.channels is not None
        if case.space is None:
            layout: tuple[int, ...] = (case.batch, case.n, case.channels)
        else:
            layout = (case.batch, case.channels, *case.dimensions)
        leaves: tuple[torch.Tensor, ...] = (_normal(layout, dtype, device, seed),)
    else:
        heads = (case.batch, case.heads)
        shapes = ((*heads, case.n, case.d_k), (*heads, case.m, case.d_k), (*heads, case.m, case.d_v))
        leaves = tuple(_normal(shape, dtype, device, seed + 10 * index) for index, shape in enumerate(shapes))
    for leaf in leaves:
        leaf.requires_grad_(case.needs_gradients)
    return Inputs(leaves, _padding(case, device, seed + 100), seed)
