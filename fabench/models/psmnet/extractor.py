"""Features of one view at a quarter of its size: residual stages, then pooling over windows of four sizes (paper, section 3.2).

firstconv                    3 -> 32, stride 2
layer1, 2, 3, 4              3, 16, 3, 3 residual blocks of 32, 64, 128, 128 channels; layer2 halves the size, layer4 is dilated by 2
branch1 .. branch4           layer4's map averaged over windows of 64, 32, 16, 8, 32 channels each, brought back to its size
lastconv                     layer2's and layer4's maps and the branches, 320 -> 128 -> 32
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from fabench.errors import UsageError
from fabench.models.psmnet.layers import convolution

__all__ = ["FEATURES", "FeatureExtraction", "ResidualBlock", "WindowPool"]

FEATURES = 32
# From branch4 to branch1, the order in which the fusion reads them.
_FUSED = ("branch4", "branch3", "branch2", "branch1")


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, with no ReLU after their sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(convolution(inputs, outputs, 3, stride, dilation), nn.ReLU(inplace=True))
        self.conv2 = convolution(outputs, outputs, 3, 1, dilation)
        self.downsample = None if stride == 1 and inputs == outputs else convolution(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, outputs, H / stride, W / stride]."""
        out: torch.Tensor = self.conv2(self.conv1(x))
        return out + (x if self.downsample is None else self.downsample(x))


def _stage(inputs: int, outputs: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    first = ResidualBlock(inputs, outputs, stride, dilation)
    return nn.Sequential(first, *(ResidualBlock(outputs, outputs, 1, dilation) for _ in range(blocks - 1)))


class WindowPool(nn.Module):
    """Averages over windows of `side` x `side`; on a map smaller than that, over all of it (the paper has no such maps)."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C, H / side, W / side], both rounded down, at least 1.

        Raises UsageError where that leaves one value per channel in training, with which batch normalisation can't begin anything.
        """
        pooled = F.avg_pool2d(x, (min(self.side, x.shape[2]), min(self.side, x.shape[3])))
        if self.training and pooled.numel() == pooled.shape[1]:
            raise UsageError(
                f"one pair of {4 * x.shape[2]}x{4 * x.shape[3]} leaves one value per channel to normalise by in training; "
                "take a batch of at least 2, or a crop with a side of at least 512"
            )
        return pooled


def _branch(side: int) -> nn.Sequential:
    return nn.Sequential(WindowPool(side), convolution(128, 32, 1), nn.ReLU(inplace=True))


class FeatureExtraction(nn.Module):
    """Images [B, 3, H, W] -> features [B, 32, H / 4, W / 4]. `align_corners`: how the branches are brought back to size."""

    def __init__(self, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        first = [convolution(3, 32, 3, 2), convolution(32, 32, 3), convolution(32, 32, 3)]
        self.firstconv = nn.Sequential(*(part for layer in first for part in (layer, nn.ReLU(inplace=True))))
        self.layer1 = _stage(32, 32, 3)
        self.layer2 = _stage(32, 64, 16, stride=2)
        self.layer3 = _stage(64, 128, 3)
        self.layer4 = _stage(128, 128, 3, dilation=2)
        self.branch1, self.branch2, self.branch3, self.branch4 = (_branch(side) for side in (64, 32, 16, 8))
        self.lastconv = nn.Sequential(
            convolution(320, 128, 3), nn.ReLU(inplace=True), nn.Conv2d(128, FEATURES, 1, bias=False)
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """One view's features."""
        raw = self.layer2(self.layer1(self.firstconv(image)))
        deep = self.layer4(self.layer3(raw))
        pooled = [
            F.interpolate(getattr(self, name)(deep), deep.shape[2:], mode="bilinear", align_corners=self.align_corners)
            for name in _FUSED
        ]  # fmt: skip
        fused: torch.Tensor = self.lastconv(torch.cat([raw, deep, *pooled], dim=1))
        return fused
