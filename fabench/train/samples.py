"""From a data set to batches: a sample is the same whenever it is asked for, since what is random in it follows from seed, epoch and number.

Pairs are cut to a random window, the same in both views, and normalised by ImageNet's mean and deviation, as PSMNet's authors do. Images of
detection are mirrored at random with their boxes and masks; the network itself resizes and normalises them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from fabench.data.coco import CocoSet, Target
from fabench.data.stereo import Pairs
from fabench.errors import DataError, FabenchError, UsageError
from fabench.models.stereo import normalise
from fabench.train.losses import DetectionBatch, StereoBatch

__all__ = ["DetectionSamples", "Samples", "StereoSamples", "loaded", "moved"]

T = TypeVar("T")


class Samples(Protocol):
    """A training set: its length, and batches of samples by number."""

    def __len__(self) -> int: ...

    def batch(self, epoch: int, numbers: Sequence[int]) -> Any:
        """The batch of these samples as they are in `epoch`, on the CPU."""


def _generator(seed: int, epoch: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, number])


class StereoSamples:
    """Crops of pairs, of this height and width, as `StereoBatch`."""

    def __init__(self, pairs: Pairs, crop: tuple[int, int], seed: int) -> None:
        self._pairs, self._crop, self._seed = pairs, crop, seed

    def __len__(self) -> int:
        return len(self._pairs)

    def batch(self, epoch: int, numbers: Sequence[int]) -> StereoBatch:
        """Raises DataError for a pair that is broken, or smaller than the crop."""
        made = [self._one(epoch, number) for number in numbers]
        return StereoBatch(*(torch.stack(values) for values in zip(*made, strict=True)))

    def _one(self, epoch: int, number: int) -> tuple[torch.Tensor, ...]:
        pair = self._pairs[number]
        (height, width), (high, wide) = self._crop, pair.disparity.shape
        if high < height or wide < width:
            raise DataError(
                f"{pair.name} has {wide} x {high} pixels, less than the crop of {width} x {height}; take another --crop"
            )
        draw = _generator(self._seed, epoch, number)
        top, left = int(draw.integers(high - height + 1)), int(draw.integers(wide - width + 1))
        window = slice(top, top + height), slice(left, left + width)
        views = (torch.from_numpy(np.ascontiguousarray(view[window])).permute(2, 0, 1) / 255 for view in (pair.left, pair.right))
        return *(normalise(view) for view in views), torch.from_numpy(np.ascontiguousarray(pair.disparity[window]))


class DetectionSamples:
    """Images with their objects as `DetectionBatch`; crowds, empty boxes and images without any object are left out."""

    def __init__(self, images: CocoSet, classes: int, flip: float, seed: int, limit: int | None = None) -> None:
        """`limit`: only the first so many. Raises DataError where objects have no outlines, and UsageError for categories beyond the network's `classes`."""
        if not images.has_masks:
            raise DataError(f"{images.name} has objects without a segmentation; Mask R-CNN learns from outlines")
        if (most := max(images.categories, default=0)) >= classes:
            raise UsageError(
                f"{images.name} has the category {most}, but the network has {classes} classes; --set classes={most + 1}"
            )
        self._images, self._flip, self._seed = images, flip, seed
        self._numbers = [number for number, image_id in enumerate(images.ids) if _has_object(images, image_id)][:limit]

    def __len__(self) -> int:
        return len(self._numbers)

    def batch(self, epoch: int, numbers: Sequence[int]) -> DetectionBatch:
        """Raises DataError for an image that is broken."""
        made = [self._one(epoch, number) for number in numbers]
        return DetectionBatch([image for image, _ in made], [target for _, target in made])

    def _one(self, epoch: int, number: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        index = self._numbers[number]
        image = torch.from_numpy(self._images.image(index)).permute(2, 0, 1) / 255
        target = _tensors(self._images.target(index))
        if _generator(self._seed, epoch, number).random() < self._flip:
            image = image.flip(2)
            boxes = target["boxes"]
            mirrored = torch.stack([image.shape[2] - boxes[:, 2], boxes[:, 1], image.shape[2] - boxes[:, 0], boxes[:, 3]], dim=1)
            target |= {"boxes": mirrored, "masks": target["masks"].flip(2)}
        return image, target


def _has_object(images: CocoSet, image_id: int) -> bool:
    return any(not one["iscrowd"] and min(one["bbox"][2:]) > 0 for one in images.coco.imgToAnns.get(image_id, []))


def _tensors(target: Target) -> dict[str, torch.Tensor]:
    assert target.masks is not None
    keep = ~target.crowds & (target.boxes[:, 2:] > target.boxes[:, :2]).all(axis=1)
    return {
        "boxes": torch.from_numpy(target.boxes[keep]),
        "labels": torch.from_numpy(target.labels[keep]),
        "masks": torch.from_numpy(target.masks[keep].astype(np.uint8)),
    }


class _Steps(Dataset[Any]):
    """The batches of an epoch's steps, each in its parts. A mistake in the data comes as a value: a loader would wrap it in its traceback."""

    def __init__(self, samples: Samples, epoch: int, steps: Sequence[Sequence[Sequence[int]]]) -> None:
        self._samples, self._epoch, self._steps = samples, epoch, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> Any:
        try:
            return [self._samples.batch(self._epoch, part) for part in self._steps[index]]
        except FabenchError as error:
            return error


def loaded(samples: Samples, epoch: int, steps: Sequence[Sequence[Sequence[int]]], workers: int) -> Iterator[list[Any]]:
    """The parts of each step, read by `workers` processes ahead of time, or where it is asked for without any. Raises DataError."""
    loader: DataLoader[Any] = DataLoader(
        _Steps(samples, epoch, steps), batch_size=None, collate_fn=_as_it_is, num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        generator=torch.Generator(),  # it draws a number for its workers; not from the generator that the network draws from
    )  # fmt: skip
    for found in loader:
        if isinstance(found, FabenchError):
            raise found
        yield found


def _as_it_is(value: T) -> T:
    return value


def moved(batch: Any, device: torch.device) -> Any:
    """A batch, whatever it is made of, with its tensors on `device`."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: moved(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple):
        return type(batch)(*(moved(value, device) for value in batch))
    return [moved(value, device) for value in batch]
