"""Networks for an evaluation: built as their checkpoint or the user says, given their weights, and called on images as they lie on disk."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fabench.codec import DecodeError, decode
from fabench.data.files import Image
from fabench.errors import DataError, UsageError
from fabench.evaluate.checkpoint import Checkpoint
from fabench.evaluate.detection import DetectionPredict
from fabench.evaluate.stereo import StereoPredict
from fabench.metrics.detection import Detections
from fabench.models.insertion import load_weights
from fabench.models.stereo import pad, unpad
from fabench.positions import Attention

__all__ = ["built", "detection_predict", "merged", "network_of", "require_task", "stereo_predict"]

# ImageNet's, which PSMNet's images are normalised by; torchvision's detectors do it themselves.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OWN = ("device", "dtype", "seed")  # arguments of a network's `build` that whoever builds it decides
_MASK = 0.5


def merged(build: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a network is built with: a checkpoint's `build`, replaced by options; `attention.d_k` is an option of the attention."""
    chosen = dict(build or {})
    attention = dict(chosen.pop("attention", {}))
    for key, value in options.items():
        where, _, name = key.partition(".")
        if where == "attention" and name:
            attention[name] = value
        else:
            chosen[key] = value
    return chosen | ({"attention": attention} if attention else {})


def network_of(task: str, checkpoint: Checkpoint, build: Mapping[str, Any], device: torch.device) -> Any:
    """The task's network in evaluation mode, with the checkpoint's weights, on `device`. Raises UsageError for arguments that it does not
    know, and DataError for weights of another task or that don't fit."""
    require_task(task, checkpoint)
    network = built(task, build, device)
    try:
        load_weights(network, checkpoint.state)
    except DataError as error:
        raise DataError(f"{checkpoint.path}: {error}") from None
    return network.eval()


def require_task(task: str, checkpoint: Checkpoint) -> None:
    """Raises DataError for weights that say they are another task's."""
    if checkpoint.task not in (None, task):
        raise DataError(f"{checkpoint.path} has the weights of a network for {checkpoint.task}, not for {task}")


def built(task: str, build: Mapping[str, Any], device: torch.device, **decided: Any) -> Any:
    """The task's network with random weights, on `device`; `decided`: what the caller settles and not the user. Raises UsageError for
    arguments that it does not know."""
    make = importlib.import_module(f"fabench.models.{task}").build
    known = [name for name in inspect.signature(make).parameters if name not in _OWN]
    if unknown := [key for key in build if key not in known]:
        raise UsageError(f"a network for {task} is not built with {unknown[0][:40]!r}; there are {', '.join(known)}")
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in build.items()}
    try:
        if "attention" in arguments:
            arguments["attention"] = decode(Attention, asdict(Attention()) | dict(arguments["attention"]), "attention")
        return make(**arguments, **decided, device=str(device))
    except DecodeError as error:
        raise UsageError(str(error)) from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"a network for {task} can't be built with {dict(build)}: {error}") from None


def stereo_predict(network: torch.nn.Module, device: torch.device) -> StereoPredict:
    """Calls PSMNet: views normalised by ImageNet's mean and deviation, padded above and on the right, those of one size as one batch."""

    def predict(lefts: Sequence[Image], rights: Sequence[Image]) -> list[NDArray[np.float32]]:
        answers: dict[int, NDArray[np.float32]] = {}
        for shape in dict.fromkeys(left.shape for left in lefts):
            numbers = [number for number, left in enumerate(lefts) if left.shape == shape]
            views = [pad(_normalised([side[number] for number in numbers], device)) for side in (lefts, rights)]
            with torch.inference_mode():
                found = unpad(network(*views)[-1], *shape[:2])
            answers.update(zip(numbers, found.float().cpu().numpy(), strict=True))
        return [answers[number] for number in range(len(lefts))]

    return predict


def _normalised(images: Sequence[Image], device: torch.device) -> torch.Tensor:
    """[B, 3, H, W] float32."""
    values = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(three, device=device).view(3, 1, 1) for three in (_MEAN, _DEVIATION))
    return (values - mean) / deviation


def detection_predict(network: torch.nn.Module, device: torch.device) -> DetectionPredict:
    """Calls a detector of torchvision's kind: images in 0..1, masks cut at one half."""

    def predict(images: Sequence[Image]) -> list[Detections]:
        tensors = [torch.from_numpy(image.copy()).to(device).permute(2, 0, 1).float() / 255 for image in images]
        with torch.inference_mode():
            found = network(tensors)
        return [_detections(one) for one in found]

    return predict


def _detections(found: Mapping[str, torch.Tensor]) -> Detections:
    masks = (found["masks"][:, 0] > _MASK).cpu().numpy() if "masks" in found else None
    return Detections(found["boxes"].cpu().numpy(), found["scores"].cpu().numpy(), found["labels"].cpu().numpy(), masks)
