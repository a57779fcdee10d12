"""What a network is trained towards: a loss that is a mean over things that count, and how many those are.

`fabench.train.loop` weighs the parts of a batch by that number, so that several parts, or several processes, give the joint batch's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import nn

from fabench.models import stereo
from fabench.positions import MAX_DISPARITY

__all__ = ["DetectionBatch", "DetectionLoss", "Objective", "StereoBatch", "StereoLoss"]

Batch = TypeVar("Batch", contravariant=True)


class Objective(Protocol[Batch]):
    """A loss and its weight."""

    def weight(self, batch: Batch, /) -> torch.Tensor:
        """How many things the loss of this batch is a mean over: an integer tensor [], known before the network is called."""

    def loss(self, network: nn.Module, batch: Batch, /) -> torch.Tensor:
        """The mean [] over those things; 0 without any."""


class StereoBatch(NamedTuple):
    """Normalised views [B, 3, H, W] and the left one's disparity [B, H, W] in pixels, NaN where it is unknown."""

    left: torch.Tensor
    right: torch.Tensor
    disparity: torch.Tensor


@dataclass(frozen=True, slots=True)
class StereoLoss:
    """PSMNet's: smooth L1 of every output, weighted 0.5, 0.7, 1.0, over pixels whose disparity is known and below `max_disparity`."""

    max_disparity: int = MAX_DISPARITY

    def weight(self, batch: StereoBatch, /) -> torch.Tensor:
        """Pixels that count."""
        return (batch.disparity < self.max_disparity).sum()  # NaN is below nothing

    def loss(self, network: nn.Module, batch: StereoBatch, /) -> torch.Tensor:
        """In float32, whatever the network computes in: half a pixel is lost in a bfloat16 disparity of 100."""
        outputs = network(batch.left, batch.right)
        return stereo.loss([output.float() for output in outputs], batch.disparity, max_disparity=self.max_disparity)


class DetectionBatch(NamedTuple):
    """Images [3, H, W] in 0..1 and, of each, the table of `boxes`, `labels` and `masks` that torchvision's detectors learn from."""

    images: Sequence[torch.Tensor]
    targets: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class DetectionLoss:
    """Mask R-CNN's: classes, boxes and masks of the heads, objectness and boxes of the proposals, added up, a mean over images.

    torchvision's losses are means over sampled proposals, of which images may have different numbers, so parts of a batch give its mean
    only nearly: each proposal counts by the number of its part.
    """

    def weight(self, batch: DetectionBatch, /) -> torch.Tensor:
        """Images."""
        return torch.tensor(len(batch.images), device=batch.images[0].device)

    def loss(self, network: nn.Module, batch: DetectionBatch, /) -> torch.Tensor:
        """The sum of torchvision's losses."""
        losses: dict[str, torch.Tensor] = network(list(batch.images), list(batch.targets))
        return torch.stack([value.float() for value in losses.values()]).sum()
