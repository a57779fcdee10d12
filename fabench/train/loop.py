"""One optimisation step, and steps in a row: for any network, objective and source of batches.

    for outcome in steps(network, ([batch] for batch in loader), StereoLoss(), optimiser):
        print(outcome.loss)

A step may get its batch in parts (gradient accumulation) and on several processes (DistributedDataParallel): its gradient is the joint
batch's, for each part's mean counts by its weight. Batch normalisation alone sees the difference: in training it normalises each part
by itself, so a network with it learns nearly, not exactly, the same.

Nothing is taken from a step whose loss or gradient is not finite: it raises before the weights change. Only in fp16, whose scaled
gradients overflow now and then by design, such a step is left out and the scale halved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from fabench.errors import TrainingError
from fabench.train.losses import Objective
from fabench.train.precision import autocast

__all__ = ["Outcome", "step", "steps"]

Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did. `loss`: the joint batch's mean before the step. `gradient`: the gradient's 2-norm, unscaled, before it was clipped;
    None where it overflowed in fp16 and the step was left out. `weight`: how many things counted, over all parts and processes."""

    loss: float
    gradient: float | None
    weight: int


def steps(
    network: nn.Module, batches: Iterable[Sequence[Batch]], objective: Objective[Batch], optimiser: torch.optim.Optimizer, *,
    precision: str = "fp32", scaler: torch.amp.GradScaler | None = None, clip_norm: float | None = None,
) -> Iterator[Outcome]:  # fmt: skip
    """A step for each batch, given in its parts, with the network in training mode. See `step`."""
    network.train()
    for parts in batches:
        yield step(network, parts, objective, optimiser, precision=precision, scaler=scaler, clip_norm=clip_norm)


def step(
    network: nn.Module, parts: Sequence[Batch], objective: Objective[Batch], optimiser: torch.optim.Optimizer, *,
    precision: str = "fp32", scaler: torch.amp.GradScaler | None = None, clip_norm: float | None = None,
) -> Outcome:  # fmt: skip
    """Moves the weights once, towards a smaller loss on all `parts`, which lie on the network's device.

    A DistributedDataParallel network is stepped by every process with its own parts. `clip_norm`: the longest that the gradient may be.
    Raises TrainingError where loss or gradient is not finite; the weights are then those of before, on every process.
    """
    device = next(network.parameters()).device
    joint = isinstance(network, DistributedDataParallel)
    scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
    optimiser.zero_grad()
    weights = torch.stack([objective.weight(part) for part in parts])
    total = _summed(weights.sum(), joint)
    mean = torch.zeros((), device=device)
    for number, part in enumerate(parts):
        # The processes' gradients meet once, in the last part's backward.
        waits = isinstance(network, DistributedDataParallel) and number < len(parts) - 1
        with network.no_sync() if waits else nullcontext():  # type: ignore[operator]
            with autocast(precision, device):
                loss = objective.loss(network, part)
            share = loss * (weights[number] / total.clamp(min=1))
            # DistributedDataParallel takes the mean of the processes' gradients, and theirs are shares already.
            scaler.scale(share * distributed.get_world_size() if joint else share).backward()
        mean += share.detach()
    found = _summed(mean, joint).item()
    if not math.isfinite(found):
        raise TrainingError(f"the loss is {found}")
    gradient = _stepped(network, optimiser, scaler, clip_norm)
    return Outcome(found, gradient, int(total.item()))


def _summed(value: torch.Tensor, joint: bool) -> torch.Tensor:
    if joint:
        distributed.all_reduce(value)
    return value


def _stepped(
    network: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler, clip_norm: float | None
) -> float | None:
    """The gradient's norm, after the step."""
    parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
    scaler.unscale_(optimiser)
    norm = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    length = float(norm.item())
    if not math.isfinite(length) and not scaler.is_enabled():
        raise TrainingError(f"the gradient's norm is {length}")
    if clip_norm is not None and length > clip_norm:
        clip_grads_with_norm_(parameters, clip_norm, norm)
    scaler.step(optimiser)
    scaler.update()
    if math.isfinite(length):
        return length
    if scaler.get_scale() < 1:
        raise TrainingError(f"the gradient's norm is {length}, however little the loss is scaled")
    return None
