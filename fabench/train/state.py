"""The state of a training between two steps: written into checkpoints, read back, and the old ones cleared away.

A checkpoint is one of `fabench.evaluate.checkpoint`'s, so `fabench evaluate --weights` reads it, with this beside the weights:

    "training": {"recipe", "data", "epoch", "seen", "step", "optimiser", "scaler"}

No generator's state is in it. The order of the data follows from seed and epoch, crops and mirrors from seed, epoch and sample, the learning
rate from epoch and step, and before each step the generators of torch, NumPy and Python are seeded from seed, step and process. So what is
left of them is the seeds and the place: `step` steps done altogether, and `seen` samples of epoch number `epoch`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fabench.errors import DataError, UsageError
from fabench.evaluate.checkpoint import Checkpoint, read, save
from fabench.recipe import Recipe

__all__ = [
    "Place",
    "clear",
    "found_in",
    "latest",
    "name_of",
    "optimiser_of",
    "place_of",
    "restore",
    "seed_step",
    "store",
    "training_of",
]

_PATTERN = "step-????????.pt"
_ENTRIES = {"recipe": dict, "data": dict, "epoch": int, "seen": int, "step": int, "optimiser": dict, "scaler": dict}


@dataclass(frozen=True, slots=True)
class Place:
    """How far a training is: `step` steps done, and `seen` samples of epoch `epoch`, both counted from 0."""

    epoch: int = 0
    seen: int = 0
    step: int = 0


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seeds every generator that a network may draw from in a step."""
    word = int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])
    torch.manual_seed(word)
    random.seed(word)
    np.random.seed(word % 2**32)


def optimiser_of(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Over what learns; the rate is set before each step."""
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(learnt, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    betas = (recipe.momentum, 0.999)
    return torch.optim.Adam(learnt, lr=recipe.learning_rate, betas=betas, weight_decay=recipe.weight_decay)


def name_of(place: Place) -> str:
    """The name of the checkpoint at that place; names sort by step."""
    return f"step-{place.step:08d}.pt"


def found_in(folder: Path) -> list[Path]:
    """The checkpoints of a training's folder, oldest first."""
    return sorted(folder.glob(_PATTERN))


def latest(folder: Path) -> Path:
    """The newest checkpoint. Raises UsageError where there is none."""
    there = found_in(folder)
    if not there:
        raise UsageError(f"{folder} holds no checkpoint to go on from; leave --resume out to begin")
    return there[-1]


def clear(folder: Path) -> None:
    """Removes what a killed process left of checkpoints that it was writing."""
    for part in folder.glob(f"{_PATTERN}.*.part"):
        part.unlink(missing_ok=True)


def store(
    folder: Path, keep: int, task: str, build: Mapping[str, Any], network: nn.Module, optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler, recipe: Recipe, data: Mapping[str, Any], place: Place,
) -> Path:  # fmt: skip
    """Writes a checkpoint whole, and only then removes those beyond the `keep` newest. Raises DataError; all earlier ones then stand."""
    path = folder / name_of(place)
    training = {
        "recipe": asdict(recipe), "data": dict(data), **asdict(place),
        "optimiser": optimiser.state_dict(), "scaler": scaler.state_dict(),
    }  # fmt: skip
    save(path, task, build, network, training=training)
    for old in found_in(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def training_of(path: Path, task: str) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint to go on from, and its training. Raises DataError where it is another task's, or holds only weights."""
    checkpoint = read(path)
    training = checkpoint.content.get("training")
    if checkpoint.task != task or checkpoint.build is None:
        raise DataError(f"{path} is no checkpoint of a training for {task}; start from its weights with --init")
    if not isinstance(training, dict) or any(not isinstance(training.get(name), kind) for name, kind in _ENTRIES.items()):
        raise DataError(f"{path} holds weights and no training to go on with; start from them with --init")
    return checkpoint, training


def place_of(training: Mapping[str, Any]) -> Place:
    """How far it was."""
    return Place(training["epoch"], training["seen"], training["step"])


def restore(path: Path, training: Mapping[str, Any], optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """Gives the optimiser and the scaler their state; settings such as the weight decay stay the recipe's. Raises DataError."""
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimiser.param_groups]
    try:
        optimiser.load_state_dict(training["optimiser"])
        if training["scaler"] and scaler.is_enabled():
            scaler.load_state_dict(training["scaler"])
    except (ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"{path} has the state of an optimiser over other weights: {error}") from None
    for group, own in zip(optimiser.param_groups, settings, strict=True):
        group.update(own)
