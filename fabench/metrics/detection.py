"""COCO's average precision of boxes and masks, by pycocotools, whose prints are kept off standard output.

What it does to detections, so that a reader knows: at most 100 per image and category count, those of the highest scores; each takes the
free object of its category with the largest overlap; objects marked as crowds may be taken by any number and count neither way; precision
is read at 101 recalls from 0 to 1. Boxes and masks are scored apart, each by its own overlap and its own area.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabench.accuracy import CocoScores, DetectionResult
from fabench.data.coco import CocoSet
from fabench.data.optional import need
from fabench.errors import DataError

__all__ = ["CocoScore", "Detections"]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in an image: boxes [K, 4] as x0, y0, x1, y1 in pixels, scores [K], category ids [K], masks [K, H, W] or None."""

    boxes: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    labels: NDArray[np.integer[Any]]
    masks: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes)
        lengths = [len(self.scores), len(self.labels), *([] if self.masks is None else [len(self.masks)])]
        if self.boxes.shape != (count, 4) or any(length != count for length in lengths):
            raise ValueError(f"{count} boxes of shape {self.boxes.shape}, but scores, labels (and masks) of {lengths}")


class CocoScore:
    """Collects detections image by image. Masks are kept as run lengths."""

    def __init__(self, dataset: CocoSet) -> None:
        self._set = dataset
        self._tools = need("pycocotools.mask", "average precision")
        self._seen: list[int] = []
        self._boxes: list[dict[str, Any]] = []
        self._masks: list[dict[str, Any]] = []
        self._with_masks = dataset.has_masks
        self._unknown = 0

    def add(self, index: int, found: Detections) -> None:
        """The detections in image `index` of the set. Raises DataError for numbers that aren't finite and masks of another size."""
        image_id = self._set.ids[index]
        if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
            raise DataError(f"image {image_id}: a detection's box or score is not finite")
        self._seen.append(image_id)
        self._unknown += sum(int(label) not in self._set.coco.cats for label in found.labels)
        if found.masks is None:
            self._with_masks = False
        for number in range(len(found.boxes)):
            x0, y0, x1, y1 = map(float, found.boxes[number])
            one = {"image_id": image_id, "category_id": int(found.labels[number]), "score": float(found.scores[number])}
            width, height = x1 - x0, y1 - y0
            self._boxes.append({**one, "bbox": [x0, y0, width, height], "area": width * height, "iscrowd": 0})
            if self._with_masks and found.masks is not None:
                self._masks.append({**one, **self._outline(image_id, found.masks[number]), "iscrowd": 0})

    def _outline(self, image_id: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
        said = self._set.coco.imgs[image_id]
        if mask.shape != (said["height"], said["width"]):
            raise DataError(f"image {image_id}: a mask of {mask.shape}, but the image is {(said['height'], said['width'])}")
        code = self._tools.encode(np.asfortranarray(mask, dtype=np.uint8))
        return {"segmentation": code, "area": float(self._tools.area(code))}

    def result(self) -> DetectionResult:
        """The scores over the images added so far."""
        objects = [one for image_id in self._seen for one in self._set.coco.imgToAnns.get(image_id, [])]
        crowds = sum(one["iscrowd"] for one in objects)
        return DetectionResult(
            images=len(self._seen), instances=len(objects) - crowds, crowds=crowds,
            empty_images=sum(not self._set.coco.imgToAnns.get(image_id) for image_id in self._seen),
            detections=len(self._boxes), unknown=self._unknown, boxes=self._scores("bbox", self._boxes),
            masks=self._scores("segm", self._masks) if self._with_masks and self._seen else None,
        )  # fmt: skip

    def _scores(self, kind: str, found: Sequence[dict[str, Any]]) -> CocoScores:
        answers = need("pycocotools.coco", "average precision").COCO()
        answers.dataset = {
            "images": self._set.coco.dataset["images"],
            "categories": self._set.coco.dataset["categories"],
            "annotations": [{**one, "id": number} for number, one in enumerate(found, start=1)],
        }
        with contextlib.redirect_stdout(io.StringIO()):
            answers.createIndex()
            scorer = need("pycocotools.cocoeval", "average precision").COCOeval(self._set.coco, answers, kind)
            scorer.params.imgIds = sorted(self._seen)
            scorer.evaluate()
            scorer.accumulate()
            scorer.summarize()
        # pycocotools says -1 where there is nothing to average over.
        values = [None if value < 0 else float(value) for value in scorer.stats]
        return CocoScores(**dict(zip((field.name for field in fields(CocoScores)), values, strict=True)))
