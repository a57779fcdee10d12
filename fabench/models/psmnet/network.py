"""The networks: 3D convolutions over the cost volume, in a plain chain or in three hourglasses with an output each (paper, section 3.4).

Module names follow the published weights: dres0 and dres1 begin, dres2, 3, 4 are further residual parts or hourglasses, classify and
classif1, 2, 3 score the disparities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional as F

from fabench.errors import UsageError
from fabench.models.psmnet.extractor import FEATURES, FeatureExtraction
from fabench.models.psmnet.layers import convolution3d, initialise, transposed3d
from fabench.models.psmnet.volume import cost_volume, expected_disparity

__all__ = ["MULTIPLE", "Basic", "Hourglass", "PSMNet", "StackedHourglass"]

# A quarter at first, then twice halved: sides and max_disparity must be multiples of this.
MULTIPLE = 16


def _residual() -> nn.Sequential:
    return nn.Sequential(convolution3d(32, 32), nn.ReLU(inplace=True), convolution3d(32, 32))


def _scorer() -> nn.Sequential:
    return nn.Sequential(convolution3d(32, 32), nn.ReLU(inplace=True), nn.Conv3d(32, 1, 3, padding=1, bias=False))


class PSMNet(nn.Module, ABC):
    """What both forms share: from the images to the aggregated volume, and from scores to disparities.

    `attention` holds blocks by position; "volume" is applied to the aggregated volume [B, 32, D / 4, H / 4, W / 4].
    """

    def __init__(self, max_disparity: int, align_corners: bool) -> None:
        super().__init__()
        if max_disparity < MULTIPLE or max_disparity % MULTIPLE:
            raise UsageError(f"max_disparity is {max_disparity}, must be a multiple of {MULTIPLE}")
        self.max_disparity, self.align_corners = max_disparity, align_corners
        self.feature_extraction = FeatureExtraction(align_corners)
        self.dres0 = nn.Sequential(
            convolution3d(2 * FEATURES, 32), nn.ReLU(inplace=True), convolution3d(32, 32), nn.ReLU(inplace=True)
        )  # fmt: skip
        self.dres1 = _residual()
        self.attention = nn.ModuleDict()

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Disparities [B, H, W] of the left image in pixels, one per output in training and the last alone otherwise.

        `left`, `right`: [B, 3, H, W], rectified, normalised. Raises UsageError for sizes that are no multiples of 16.
        """
        height, width = left.shape[2:]
        if height % MULTIPLE or width % MULTIPLE:
            raise UsageError(f"the images are {height}x{width}, but sides must be multiples of {MULTIPLE}; pad them")
        volume = cost_volume(self.feature_extraction(left), self.feature_extraction(right), self.max_disparity // 4)
        begun = self.dres0(volume)
        begun = self.dres1(begun) + begun
        for block in self.attention.values():
            begun = block(begun)
        scores = self.scores(begun)
        kept = scores if self.training else scores[-1:]
        size = (self.max_disparity, height, width)
        return tuple(expected_disparity(self._enlarged(part, size)) for part in kept)

    def _enlarged(self, scores: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
        return F.interpolate(scores, size, mode="trilinear", align_corners=self.align_corners).squeeze(1)

    @abstractmethod
    def scores(self, begun: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """[B, 32, D / 4, H / 4, W / 4] -> scores [B, 1, D / 4, H / 4, W / 4], one per output."""


class Basic(PSMNet):
    """Five residual parts in a row, one output."""

    def __init__(self, max_disparity: int = 192, align_corners: bool = False) -> None:
        super().__init__(max_disparity, align_corners)
        self.dres2, self.dres3, self.dres4 = _residual(), _residual(), _residual()
        self.classify = _scorer()
        initialise(self)

    def scores(self, begun: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One output."""
        for part in (self.dres2, self.dres3, self.dres4):
            begun = part(begun) + begun
        return (self.classify(begun),)


class Hourglass(nn.Module):
    """Down to a half and a quarter and up again, with shortcuts inside and from the hourglasses before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.conv1 = nn.Sequential(convolution3d(channels, wide, stride=2), nn.ReLU(inplace=True))
        self.conv2 = convolution3d(wide, wide)
        self.conv3 = nn.Sequential(convolution3d(wide, wide, stride=2), nn.ReLU(inplace=True))
        self.conv4 = nn.Sequential(convolution3d(wide, wide), nn.ReLU(inplace=True))
        self.conv5 = transposed3d(wide, wide)
        self.conv6 = transposed3d(wide, channels)

    def forward(
        self, x: torch.Tensor, going_down: torch.Tensor | None, going_up: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x, and the half-size maps on the first hourglass's way down and the last one's way up -> the output, and its own two such maps."""
        down = self.conv2(self.conv1(x))
        down = F.relu(down if going_up is None else down + going_up, inplace=True)
        up = self.conv5(self.conv4(self.conv3(down)))
        up = F.relu(up + (down if going_down is None else going_down), inplace=True)
        return self.conv6(up), down, up


class StackedHourglass(PSMNet):
    """Three hourglasses; each output's scores add to those before."""

    def __init__(self, max_disparity: int = 192, align_corners: bool = False) -> None:
        super().__init__(max_disparity, align_corners)
        self.dres2, self.dres3, self.dres4 = Hourglass(32), Hourglass(32), Hourglass(32)
        self.classif1, self.classif2, self.classif3 = _scorer(), _scorer(), _scorer()
        initialise(self)

    def scores(self, begun: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Three outputs. The way down is always the first hourglass's, the way up the previous one's."""
        first, down, up = self.dres2(begun, None, None)
        first = first + begun
        second, _, up = self.dres3(first, down, up)
        second = second + begun
        third, _, _ = self.dres4(second, down, up)
        third = third + begun
        score1 = self.classif1(first)
        score2 = self.classif2(second) + score1
        return score1, score2, self.classif3(third) + score2
