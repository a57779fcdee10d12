"""COCO's average precision of anything that finds objects in images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from fabench.accuracy import DetectionResult
from fabench.data.coco import CocoSet
from fabench.data.files import Image
from fabench.metrics.detection import CocoScore, Detections

__all__ = ["DetectionPredict", "evaluate_detection"]

# Images (RGB [H, W, 3] of 8 bit, sizes may differ) -> what is in each, with the data set's category ids as labels.
DetectionPredict: TypeAlias = Callable[[Sequence[Image]], Sequence[Detections]]


def evaluate_detection(
    predict: DetectionPredict, dataset: CocoSet, *, batch: int = 1, limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DetectionResult:  # fmt: skip
    """Average precision over `dataset`, or its first `limit` images, `batch` at a time. Masks are scored where both sides have them.

    `progress` is called with the number done and the total. Raises DataError for a broken image or a detection of no use.
    """
    score = CocoScore(dataset)
    total = len(dataset) if limit is None else min(limit, len(dataset))
    for start in range(0, total, batch):
        numbers = range(start, min(start + batch, total))
        for index, found in zip(numbers, predict([dataset.image(index) for index in numbers]), strict=True):
            score.add(index, found)
        if progress is not None:
            progress(numbers.stop, total)
    return score.result()
