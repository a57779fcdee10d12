"""The loop over images, with predictors that know the answer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="pycocotools is not installed")

from fabench.data import coco, generate_coco
from fabench.data.coco import CocoSet
from fabench.data.files import Image
from fabench.evaluate.detection import evaluate_detection
from fabench.metrics.detection import Detections


@pytest.fixture
def dataset(tmp_path: Path) -> CocoSet:
    generate_coco.write_coco(tmp_path, seed=7, train=0, val=5)
    return coco.find(tmp_path)


class Known:
    """Answers with the objects of the image that it is shown, crowds left out."""

    def __init__(self, dataset: CocoSet, mirrored: bool = False) -> None:
        self.dataset, self.mirrored = dataset, mirrored
        self.index = {dataset.image(index).tobytes(): index for index in range(len(dataset))}
        self.batches: list[int] = []

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        self.batches.append(len(images))
        return [self._answer(self.index[image.tobytes()], image.shape[1]) for image in images]

    def _answer(self, index: int, width: int) -> Detections:
        target = self.dataset.target(index)
        assert target.masks is not None
        single = ~target.crowds
        boxes, labels, masks = target.boxes[single], target.labels[single], target.masks[single]
        if self.mirrored:
            boxes, masks = (
                np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1),
                masks[:, :, ::-1],
            )
        return Detections(boxes, np.linspace(0.9, 0.5, len(boxes)), labels, masks)


def test_the_truth_itself_scores_1_and_its_mirror_image_nearly_0(dataset: CocoSet) -> None:
    found = evaluate_detection(Known(dataset), dataset)
    assert found.masks is not None
    assert (found.boxes.ap, found.masks.ap) == pytest.approx((1.0, 1.0))
    assert (found.images, found.crowds) == (5, 2)
    assert found.instances == found.detections > 5
    mirrored = evaluate_detection(Known(dataset, mirrored=True), dataset)
    assert mirrored.masks is not None
    assert max(mirrored.boxes.ap or 0.0, mirrored.masks.ap or 0.0) < 0.2


def test_batches_limit_and_progress(dataset: CocoSet) -> None:
    known, told = Known(dataset), []
    found = evaluate_detection(known, dataset, batch=2, progress=lambda done, total: told.append((done, total)))
    assert known.batches == [2, 2, 1]
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert found == evaluate_detection(known, dataset)
    few = evaluate_detection(known, dataset, limit=2)
    assert few.images == 2
    assert few.boxes.ap == pytest.approx(1.0)
