"""How a network is trained: presets, the single values that replace theirs, and what a training says of itself at its end.

The training process stores the effective recipe in every checkpoint and in the log, and the parent, which holds no torch, reads them
back (`fabench.codec`).

    paper     as "Factorized Attention" trains (arXiv 1812.01243 v1, sections 4.1 and 4.3): Mask R-CNN 24 epochs of 64 images on 32 GPUs
              with a rate of 1.25e-4, a tenth of it from epoch 18 on and a hundredth from 21; PSMNet 100 epochs of 24 pairs with 2e-3, Adam.
              The rate of detection is as printed; the optimiser is not printed: SGD with momentum 0.9 and weight decay 1e-4 are Mask
              R-CNN's own (He et al., ICCV 2017). A weighted sum of smooth L1, and a limit of 192 px, are the network's (`fabench.models.stereo`).
    psmnet    as PSMNet's authors train on Scene Flow (Chang and Chen, CVPR 2018, section 4.2, and their program): 10 epochs of 12 pairs
              with Adam and a constant 1e-3; the last, smaller batch of an epoch is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fabench.codec import DecodeError, decode
from fabench.errors import UsageError

__all__ = ["OPTIMISERS", "PRECISIONS", "PRESETS", "Recipe", "Trained", "recipe_of"]

OPTIMISERS = ("adam", "sgd")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a training does with its network and its data.

    `batch`: pairs or images of one optimisation step, over all processes; each process takes its share in `accumulate` parts.
    `learning_rate`: divided by 10 whenever `milestones` epochs are done, and rising from 0 over the first `warm_up` steps.
    `momentum`: SGD's, or Adam's first beta; Adam's second is 0.999. `clip_norm`: the longest gradient; None is any.
    `drop_last`: leaves out an epoch's last batch where it is smaller. `crop`: height and width that a pair is cut to; None for detection.
    `flip`: how often an image of detection is mirrored. `order_seed`, `augmentation_seed`, `weights_seed`: of the data's order, of crops
    and mirrors, and of the initial weights and whatever the network itself draws in training.
    """

    preset: str
    epochs: int
    batch: int
    optimiser: str
    learning_rate: float
    accumulate: int = 1
    milestones: tuple[int, ...] = ()
    warm_up: int = 0
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float | None = None
    precision: str = "fp32"
    drop_last: bool = True
    crop: tuple[int, ...] | None = None
    flip: float = 0.0
    order_seed: int = 0
    augmentation_seed: int = 0
    weights_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("order_seed", "augmentation_seed", "weights_seed", "warm_up", "weight_decay"):
            _require(0 <= getattr(self, name) < 2**63, name, getattr(self, name), "0 or more")
        _require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "above 0")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 to below 1")
        _require(0 <= self.flip <= 1, "flip", self.flip, "from 0 to 1")
        _require(self.clip_norm is None or 0 < self.clip_norm < math.inf, "clip_norm", self.clip_norm, "above 0")
        _require(self.optimiser in OPTIMISERS, "optimiser", self.optimiser, f"one of {', '.join(OPTIMISERS)}")
        _require(self.precision in PRECISIONS, "precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        rising = all(0 < a < b for a, b in zip((0.5, *self.milestones), self.milestones, strict=False))
        _require(rising, "milestones", list(self.milestones), "rising numbers of epochs")
        whole = self.crop is None or (len(self.crop) == 2 and all(side > 0 and side % 16 == 0 for side in self.crop))
        _require(whole, "crop", self.crop and list(self.crop), "a height and a width in multiples of 16")

    def rate(self, epoch: int, step: int) -> float:
        """The learning rate of a step, counted from 0 over the whole training, in an epoch, counted from 0."""
        rate = self.learning_rate / 10.0 ** sum(epoch >= milestone for milestone in self.milestones)
        return rate * (step + 1) / self.warm_up if step < self.warm_up else rate


def _require(right: bool, name: str, value: object, must: str) -> None:
    if not right:
        raise ValueError(f"{name} is {value if not isinstance(value, str) else repr(value[:40])}, must be {must}")


PRESETS: dict[str, dict[str, Recipe]] = {
    "detection": {
        "paper": Recipe(
            "paper", epochs=24, batch=64, optimiser="sgd", learning_rate=1.25e-4, milestones=(18, 21), weight_decay=1e-4, flip=0.5
        ),
    },
    "stereo": {
        "paper": Recipe("paper", epochs=100, batch=24, optimiser="adam", learning_rate=2e-3, crop=(256, 512)),
        "psmnet": Recipe("psmnet", epochs=10, batch=12, optimiser="adam", learning_rate=1e-3, crop=(256, 512), drop_last=False),
    },
}  # fmt: skip


def recipe_of(task: str, preset: str, changes: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> Recipe:
    """A preset of the task, or `base` as it was stored, with `changes`. Raises UsageError for unknown words and values out of range."""
    if preset not in PRESETS[task]:
        raise UsageError(f"{task} has no preset {preset[:40]!r}; there are {', '.join(PRESETS[task])}")
    start = dict(base) if base is not None else asdict(PRESETS[task][preset])
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in (start | dict(changes)).items()}
    if task == "detection" and values.get("crop") is not None:
        raise UsageError("detection has no crop: its images are resized as the network says (--set input_size=[480,640])")
    if task == "stereo" and values.get("flip"):
        raise UsageError("stereo has no flip: a mirrored pair has its views the wrong way round")
    try:
        return decode(Recipe, values)
    except DecodeError as error:
        raise UsageError(str(error).removeprefix("Recipe: ")) from None


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training ended. `checkpoint`: the last one written, None where there is none. `steps` and `epochs` are those done altogether;
    `loss`: of the last step, None without any. `interrupted`: a signal stopped it, and it can go on from the checkpoint."""

    task: str
    steps: int
    epochs: int
    loss: float | None
    checkpoint: str | None
    interrupted: bool
