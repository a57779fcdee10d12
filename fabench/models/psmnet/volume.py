"""Both views' features side by side for every disparity, and a disparity from the scores of all (paper, sections 3.3 and 3.5).

A disparity is how far to the left of its place in the left image a point lies in the right one: left pixel x meets right pixel x - d.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

__all__ = ["cost_volume", "expected_disparity"]


def _moved(x: torch.Tensor, start: int, shift: int) -> torch.Tensor:
    """Columns of x [B, C, H, W] from `start` on, as many as fit when they begin at `shift`; 0 before them."""
    width = x.shape[3]
    return F.pad(x[..., start : start + width - shift], (shift, 0))


def cost_volume(left: torch.Tensor, right: torch.Tensor, disparities: int) -> torch.Tensor:
    """[B, C, H, W] twice -> [B, 2 C, disparities, H, W]: at plane d and column x, left at x, then right at x - d; 0 where x < d.

    Built plane by plane and stacked: autograd would copy the whole volume for every slice that is written in place.
    """
    shifts = [min(disparity, left.shape[3]) for disparity in range(disparities)]
    planes = [torch.cat([_moved(left, shift, shift), _moved(right, 0, shift)], dim=1) for shift in shifts]
    return torch.stack(planes, dim=2)


def expected_disparity(scores: torch.Tensor) -> torch.Tensor:
    """Scores [B, D, H, W] of the disparities 0 .. D - 1 -> their mean under a softmax, [B, H, W], in pixels; at least in float32.

    A half-precision mean would be off by whole pixels. The products are added one by one and not as a matrix product, which
    autocast and TF32 would round.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    disparities = torch.arange(scores.shape[1], dtype=scores.dtype, device=scores.device)
    return (scores.softmax(dim=1) * disparities[:, None, None]).sum(dim=1)
