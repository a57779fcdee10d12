"""What a training starts with: its samples, its recipe, its network, and the state of an earlier one that it goes on with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fabench.accuracy import FORMATS
from fabench.data.stereo import Pairs, StereoPair
from fabench.errors import DataError, UsageError
from fabench.evaluate.checkpoint import read
from fabench.evaluate.networks import built, merged, require_task
from fabench.models.insertion import load_weights
from fabench.recipe import Recipe, recipe_of
from fabench.train import state
from fabench.train.losses import DetectionLoss, Objective, StereoLoss
from fabench.train.precision import DTYPES, require, require_planes, scaler_for
from fabench.train.samples import DetectionSamples, Samples, StereoSamples

__all__ = ["Start", "started"]

# The part of a set that is for training, where no other is asked for.
_SPLITS = {"sceneflow": "train", "kitti": "training", "middlebury": None, "coco": "train2017"}
_PRESET = "paper"


@dataclass(slots=True)
class Start:
    """Everything that steps are made of. `data`: what says whether a set is the same. `notes`: what a reader of the log has to know.
    `checkpoint`: what it goes on from; None at a beginning."""

    task: str
    recipe: Recipe
    build: dict[str, Any]
    data: dict[str, Any]
    samples: Samples
    objective: Objective[Any]
    network: Any
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    place: state.Place
    notes: list[str]
    checkpoint: Path | None


def started(request: Mapping[str, Any], device: torch.device) -> Start:
    """From a request (see `fabench.train.server`). Raises FabenchError for whatever the user can mend."""
    task, resume = request["task"], request["resume"]
    if request["format"] not in FORMATS.get(task, ()):
        raise UsageError(f"{task} has no data sets in the format {request['format']}")
    notes: list[str] = []
    path: Path | None = None
    place = state.Place()
    if resume is not None:
        path = state.latest(Path(request["out"])) if resume == "latest" else Path(resume)
        checkpoint, earlier = state.training_of(path, task)
        recipe = recipe_of(task, _PRESET, request["changes"], earlier["recipe"])
        before = recipe_of(task, _PRESET, {}, earlier["recipe"])
        if before.optimiser != recipe.optimiser:
            raise UsageError(
                f"{path} has the state of {before.optimiser}; --resume can't go on with {recipe.optimiser}, --init can"
            )
        notes += _changes(before, recipe)
        build = _same_build(path, dict(checkpoint.build or {}), request["options"])
    else:
        recipe = recipe_of(task, request["preset"] or _PRESET, request["changes"])
        build = merged(None, request["options"])
    require(recipe.precision, device)
    # The data before the network: finding that a folder is wrong should not take one.
    found, split = _found(request)
    dtype = str(DTYPES[recipe.precision]).removeprefix("torch.")
    network = built(task, build, device, seed=recipe.weights_seed, dtype=dtype)
    require_planes(network, recipe.precision, device)
    samples, objective = _samples(task, found, recipe, network, request["limit"])
    data = {"format": request["format"], "split": split, "samples": len(samples)}
    optimiser, scaler = state.optimiser_of(recipe, network), scaler_for(recipe.precision, device)
    if path is not None:
        _same_data(path, earlier["data"], data)
        load_weights(network, checkpoint.state)
        state.restore(path, earlier, optimiser, scaler)
        place = state.place_of(earlier)
        _no_later(Path(request["out"]), place)
    elif request["init"] is not None:
        notes += _initialise(task, network, Path(request["init"]))
    if recipe.accumulate > 1 and any(isinstance(module, _BatchNorm) for module in network.modules()):
        notes.append(f"batch normalisation sees each of the {recipe.accumulate} parts of a batch by itself")
    return Start(task, recipe, build, data, samples, objective, network, optimiser, scaler, place, notes, path)


def _no_later(out: Path, place: state.Place) -> None:
    later = [path for path in state.found_in(out) if path.name > state.name_of(place)]
    if later:
        raise UsageError(f"{out} holds later checkpoints ({later[-1].name}); name another folder with --out, or --resume latest")


def _found(request: Mapping[str, Any]) -> tuple[Any, str | None]:
    split = request["split"] or _SPLITS[request["format"]]
    return importlib.import_module(f"fabench.data.{request['format']}").find(Path(request["data"]), split), split


@dataclass(frozen=True, slots=True)
class _First:
    """The first `count` pairs of a set."""

    pairs: Pairs
    count: int

    def __len__(self) -> int:
        return min(self.count, len(self.pairs))

    def __getitem__(self, index: int, /) -> StereoPair:
        return self.pairs[index]


def _samples(task: str, found: Any, recipe: Recipe, network: nn.Module, limit: int | None) -> tuple[Samples, Objective[Any]]:
    if task == "detection":
        classes: Any = network.roi_heads.box_predictor.cls_score  # type: ignore[union-attr]
        return DetectionSamples(found, classes.out_features, recipe.flip, recipe.augmentation_seed, limit), DetectionLoss()
    pairs = found if limit is None else _First(found, limit)
    assert recipe.crop is not None
    height, width = recipe.crop
    most: Any = network.max_disparity
    return StereoSamples(pairs, (height, width), recipe.augmentation_seed), StereoLoss(most)


def _changes(before: Recipe, after: Recipe) -> list[str]:
    names = [name for name in Recipe.__slots__ if getattr(before, name) != getattr(after, name)]
    return [f"{name} is {getattr(after, name)} from here on, and was {getattr(before, name)}" for name in names]


def _same_build(path: Path, build: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    if merged(build, options) != build:
        raise UsageError(
            f"{path} has a network that is built with {build}; --set can't change it on the way: start anew with --init"
        )
    return build


def _same_data(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if dict(before) != dict(now):
        raise DataError(f"{path} was trained on {_said(before)}, and this is {_said(now)}; start anew on it with --init")


def _said(data: Mapping[str, Any]) -> str:
    return f"{data.get('samples')} samples of {data.get('format')} ({data.get('split') or 'all'})"


def _initialise(task: str, network: Any, path: Path) -> list[str]:
    """The weights of a file where they fit; ImageNet's, as torchvision keeps them, are those of a detector's backbone."""
    checkpoint = read(path)
    require_task(task, checkpoint)
    target, weights = network, dict(checkpoint.state)
    if task == "detection" and "fc.weight" in weights:
        target, weights = network.backbone.body, {key: value for key, value in weights.items() if not key.startswith("fc.")}
    try:
        loaded = load_weights(target, weights, shared=True)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    notes = [f"starts from the weights of {path}" + (", for the backbone alone" if target is not network else "")]
    if loaded.fresh:
        notes.append(f"{len(loaded.fresh)} tensors of attention are not in them and begin at random, such as {loaded.fresh[0]}")
    if loaded.dropped:
        notes.append(f"{len(loaded.dropped)} tensors of attention in them have no place here, such as {loaded.dropped[0]}")
    return notes
