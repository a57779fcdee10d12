"""How every arm of every experiment is trained: Adam, whose rate rises and falls by one rule, one step after another of `fabench.train`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import nn

from fabench.train.loop import steps
from fabench.train.losses import Objective

__all__ = ["rate_at", "trained"]

Batch = TypeVar("Batch")

_RISE = 0.1


def rate_at(step: int, total: int) -> float:
    """The share of the full rate that step number `step` of `total` takes, from 0: up in a line over a tenth, down by a cosine towards 0."""
    rise = max(1, round(total * _RISE))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, total - rise))) / 2


def trained(
    network: nn.Module, batches: Iterable[Batch], total: int, objective: Objective[Batch], learning_rate: float
) -> Iterator[float]:
    """A step for each of the `total` batches; gives each step's loss. The network ends up trained, still in training mode."""
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(step, total))
    for outcome in steps(network, ([batch] for batch in batches), objective, optimiser):
        schedule.step()
        yield outcome.loss
