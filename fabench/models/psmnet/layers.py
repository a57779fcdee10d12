"""Convolutions with batch normalisation, in two and three dimensions, and how they start."""

from __future__ import annotations

from torch import nn

__all__ = ["convolution", "convolution3d", "initialise", "transposed3d"]


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, without bias, then batch normalisation."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(outputs)
    )  # fmt: skip


def convolution3d(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 x 3 convolution without bias, then batch normalisation."""
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm3d(outputs))


def transposed3d(inputs: int, outputs: int) -> nn.Sequential:
    """Doubles all three sides, then batch normalisation."""
    return nn.Sequential(
        nn.ConvTranspose3d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False), nn.BatchNorm3d(outputs)
    )  # fmt: skip


def initialise(network: nn.Module) -> None:
    """He's normal initialisation by the outputs for convolutions; transposed ones and normalisations keep torch's."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
