"""Recognition of digits by a small convolutional network with one place for attention.

    8 x 8 -> 3 x 3 convolution, 1 -> C -> 3 x 3, C -> C -> the place (n = 64 positions) -> 3 x 3, C -> 2 C, stride 2 -> mean -> 10 scores

At the place is what the arm says (`fabench.trials.ARMS`). Blocks that have parameters have equally many of them: an attention block has
2 (C + 1) d_k + 2 (C + 1) C, three 1x1 convolutions C -> C have 3 (C + 1) C, and these are equal for d_k = C / 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from fabench.attention.base import load as load_implementation
from fabench.case import Case
from fabench.data import digits
from fabench.data.digits import CLASSES
from fabench.errors import UsageError
from fabench.experiment.training import trained
from fabench.models.blocks import AttentionBlock
from fabench.trials import ARMS, DigitsProtocol, DigitsTrial

__all__ = ["Classification", "Pointwise", "build", "folds", "trial"]

_SIDE = 8
# Different things of one trial are drawn from different seeds, so that a block's weights do not shift the order of the images.
_NETWORK, _BLOCK, _ORDER = 0, 1, 2
_STREAMS = 3


class ImageBatch(NamedTuple):
    """Images [B, 1, 8, 8] in 0..1 and their labels [B]."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, slots=True)
class Classification:
    """Cross entropy, a mean over images."""

    def weight(self, batch: ImageBatch, /) -> torch.Tensor:
        """Images."""
        return torch.tensor(len(batch.labels))

    def loss(self, network: nn.Module, batch: ImageBatch, /) -> torch.Tensor:
        """The mean over the batch."""
        return F.cross_entropy(network(batch.images), batch.labels)


class Pointwise(nn.Module):
    """The control: three 1x1 convolutions with ReLU between, and a residual. No position sees another one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second, self.reprojection = (nn.Conv2d(channels, channels, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> the same."""
        out: torch.Tensor = x + self.reprojection(F.relu(self.second(F.relu(self.first(x)))))
        return out


def build(arm: str, protocol: DigitsProtocol, seed: int) -> tuple[nn.Sequential, int]:
    """The arm's network and the parameters of its block. Networks of one seed are equal outside the block, and at first compute the same.

    Raises UsageError where `d_k` does not give the control as many parameters as attention has.
    """
    channels, dtype = protocol.channels, getattr(torch, protocol.dtype)
    if 2 * protocol.d_k != channels:
        raise UsageError(f"d_k is {protocol.d_k}, must be half of {channels} channels, or parameters differ between the arms")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_stream(seed, _NETWORK))
        head, tail = _head(channels), _tail(channels)
        torch.manual_seed(_stream(seed, _BLOCK))
        block = _block(arm, protocol)
    if not isinstance(block, nn.Identity):
        reprojection = block.reprojection
        assert isinstance(reprojection, nn.Conv2d) and reprojection.bias is not None
        nn.init.zeros_(reprojection.weight)
        nn.init.zeros_(reprojection.bias)
    network = nn.Sequential(head, block, tail).to(dtype)
    return network, sum(parameter.numel() for parameter in block.parameters())


def _stream(seed: int, which: int) -> int:
    return _STREAMS * seed + which


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _head(channels: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(1, channels), *_convolution(channels, channels))


def _tail(channels: int) -> nn.Sequential:
    wide = 2 * channels
    return nn.Sequential(*_convolution(channels, wide, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, CLASSES))


def _block(arm: str, protocol: DigitsProtocol) -> nn.Identity | Pointwise | AttentionBlock:
    if arm not in ARMS["digits"]:
        raise UsageError(f"{arm[:40]!r} is no arm; there are {', '.join(ARMS['digits'])}")
    if arm == "none":
        return nn.Identity()
    if arm == "pointwise":
        return Pointwise(protocol.channels)
    name = arm.removesuffix("_scaling")
    case = Case(
        n=_SIDE * _SIDE, m=_SIDE * _SIDE, heads=protocol.heads, d_k=protocol.d_k // protocol.heads,
        d_v=protocol.channels // protocol.heads, dtype=protocol.dtype, mode="fwd_bwd", scale=protocol.scale,
        normalisation="softmax" if arm == name else "scaling",
    )  # fmt: skip
    core = load_implementation(name).prepare(case, "cpu")
    return AttentionBlock(core, protocol.channels, protocol.d_k, protocol.heads, protocol.channels)


def folds(images: int, count: int) -> list[range]:
    """`count` runs of consecutive image numbers that cover all, whose lengths differ by one at most."""
    ends = [images * number // count for number in range(count + 1)]
    return [range(start, end) for start, end in pairwise(ends)]


def trial(arm: str, seed: int, protocol: DigitsProtocol, progress: Callable[[float], None] = lambda share: None) -> DigitsTrial:
    """Trains and tests the arm on every fold. `progress` is told the share that is done. Raises DataError where the set is not there."""
    began = time.monotonic()
    torch.set_num_threads(protocol.threads)
    data = digits.load()
    images = torch.from_numpy(data.images).to(getattr(torch, protocol.dtype))[:, None]
    labels = torch.from_numpy(data.labels)
    parts = folds(len(labels), protocol.folds)
    wrong: list[int] = []
    test_loss = train_loss = 0.0
    parameters = block_parameters = 0
    for number, part in enumerate(parts):
        network, block_parameters = build(arm, protocol, seed)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        others = [index for other in parts if other != part for index in other]
        train_loss += _train(network, ImageBatch(images[others], labels[others]), protocol, seed) / len(parts)
        with torch.no_grad():
            scores = network.eval()(images[part.start : part.stop])
        truth = labels[part.start : part.stop]
        test_loss += F.cross_entropy(scores, truth, reduction="sum").item() / len(labels)
        wrong += (torch.nonzero(scores.argmax(1) != truth)[:, 0] + part.start).tolist()
        progress((number + 1) / len(parts))
    return DigitsTrial(
        arm=arm, seed=seed, parameters=parameters, block_parameters=block_parameters,
        fold_images=tuple(map(len, parts)), fold_correct=_correct(parts, wrong), wrong=tuple(wrong),
        test_loss=test_loss, train_loss=train_loss, seconds=time.monotonic() - began,
    )  # fmt: skip


def _correct(parts: Sequence[range], wrong: Sequence[int]) -> tuple[int, ...]:
    return tuple(len(part) - sum(index in part for index in wrong) for part in parts)


def _train(network: nn.Module, data: ImageBatch, protocol: DigitsProtocol, seed: int) -> float:
    """Trains, and gives the mean loss of the last epoch's batches."""
    per_epoch = len(data.labels) // protocol.batch
    total = per_epoch * protocol.epochs
    losses = list(trained(network, _batches(data, protocol, seed), total, Classification(), protocol.learning_rate))
    return sum(losses[-per_epoch:]) / per_epoch


def _batches(data: ImageBatch, protocol: DigitsProtocol, seed: int) -> Iterator[ImageBatch]:
    """Every epoch in an order of its own, decided by the seed alone; what is left over of an epoch is dropped."""
    generator = torch.Generator().manual_seed(_stream(seed, _ORDER))
    for _ in range(protocol.epochs):
        order = torch.randperm(len(data.labels), generator=generator)
        for start in range(0, len(order) - protocol.batch + 1, protocol.batch):
            chosen = order[start : start + protocol.batch]
            yield ImageBatch(data.images[chosen], data.labels[chosen])
