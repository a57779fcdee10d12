"""Samples: crops and mirrors against the images they were cut from, and the same ones whenever they are asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from fabench.data import coco, generate_coco, sceneflow
from fabench.data.stereo import StereoPair
from fabench.errors import DataError, UsageError
from fabench.train.losses import StereoBatch
from fabench.train.samples import DetectionSamples, StereoSamples, loaded, moved

MEAN = torch.tensor((0.485, 0.456, 0.406))[:, None, None]
DEVIATION = torch.tensor((0.229, 0.224, 0.225))[:, None, None]


def place_of(pair: StereoPair, disparity: torch.Tensor) -> tuple[int, int]:
    """Where a crop was cut, from the truth alone."""
    windows = np.lib.stride_tricks.sliding_window_view(pair.disparity, disparity.shape)
    ((top, left),) = np.argwhere((windows == disparity.numpy()).all(axis=(2, 3)))
    return int(top), int(left)


def test_a_crop_is_the_same_window_of_both_views_and_the_truth(pairs: Path) -> None:
    found = sceneflow.find(pairs, "train")
    samples = StereoSamples(found, (32, 48), seed=3)
    places = set()
    for epoch in range(3):
        batch = samples.batch(epoch, [4, 1])
        assert (batch.left.shape, batch.disparity.shape) == ((2, 3, 32, 48), (2, 32, 48))
        for row, number in enumerate((4, 1)):
            pair = found[number]
            top, left = place_of(pair, batch.disparity[row])
            places.add((number, top, left))
            for view, image in ((batch.left, pair.left), (batch.right, pair.right)):
                shown = (view[row] * DEVIATION + MEAN) * 255
                np.testing.assert_allclose(shown.permute(1, 2, 0).numpy(), image[top : top + 32, left : left + 48], atol=1e-3)
    assert len(places) > 3  # epochs and samples differ in their windows


def test_a_sample_is_the_same_whenever_it_is_asked_for(pairs: Path) -> None:
    found = sceneflow.find(pairs, "train")
    one = StereoSamples(found, (32, 48), seed=3).batch(2, [5])
    again = StereoSamples(found, (32, 48), seed=3).batch(2, [0, 5])
    assert torch.equal(one.left[0], again.left[1])
    other = StereoSamples(found, (32, 48), seed=4).batch(2, [5])
    assert not torch.equal(one.left, other.left)


def test_crops_reach_every_edge(pairs: Path) -> None:
    found = sceneflow.find(pairs, "train")
    samples = StereoSamples(found, (46, 78), seed=0)
    places = {place_of(found[0], samples.batch(epoch, [0]).disparity[0]) for epoch in range(60)}
    assert places == {(top, left) for top in range(3) for left in range(3)}


def test_workers_give_the_same_in_the_same_order_and_say_what_is_wrong(pairs: Path) -> None:
    samples = StereoSamples(sceneflow.find(pairs, "train"), (32, 48), seed=3)
    steps = [[[0, 3], [2]], [[1]], [[5, 4]]]
    plain, ahead = (list(loaded(samples, 1, steps, workers)) for workers in (0, 2))
    assert [[len(part.left) for part in parts] for parts in plain] == [[2, 1], [1], [2]]
    for one, two in zip(plain, ahead, strict=True):
        for a, b in zip(one, two, strict=True):
            assert isinstance(b, StereoBatch)
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    small = StereoSamples(sceneflow.find(pairs, "train"), (64, 48), seed=3)
    for workers in (0, 1):
        with pytest.raises(DataError, match="less than the crop of 48 x 64; take another --crop") as caught:
            list(loaded(small, 0, steps, workers))
        assert "\n" not in str(caught.value)


@pytest.fixture
def shapes(tmp_path: Path) -> coco.CocoSet:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    generate_coco.write_coco(tmp_path, seed=2, train=4, val=1)
    return coco.find(tmp_path, "train2017")


def test_objects_come_with_boxes_labels_and_masks_without_crowds(shapes: coco.CocoSet) -> None:
    samples = DetectionSamples(shapes, 91, flip=0.0, seed=0)
    assert len(samples) == 4
    batch = samples.batch(0, range(4))
    crowds = 0
    for index, (image, target) in enumerate(zip(batch.images, batch.targets, strict=True)):
        truth = shapes.target(index)
        crowds += int(truth.crowds.sum())
        np.testing.assert_allclose(image.permute(1, 2, 0).numpy() * 255, shapes.image(index), atol=1e-3)
        np.testing.assert_array_equal(target["boxes"].numpy(), truth.boxes[~truth.crowds])
        np.testing.assert_array_equal(target["labels"].numpy(), truth.labels[~truth.crowds])
        assert truth.masks is not None
        np.testing.assert_array_equal(target["masks"].numpy(), truth.masks[~truth.crowds])
    assert crowds > 0


def test_a_mirrored_image_has_its_objects_where_they_now_are(shapes: coco.CocoSet) -> None:
    straight, mirrored = (DetectionSamples(shapes, 91, flip=flip, seed=0).batch(0, range(4)) for flip in (0.0, 1.0))
    for one, two, before, after in zip(straight.images, mirrored.images, straight.targets, mirrored.targets, strict=True):
        assert torch.equal(two, one.flip(-1))
        assert not torch.equal(two, one)
        for box, mask, old in zip(after["boxes"], after["masks"], before["masks"], strict=True):
            columns = np.flatnonzero(mask.numpy().any(axis=0))
            assert abs(columns[0] - box[0]) <= 1
            assert abs(columns[-1] + 1 - box[2]) <= 1
            assert torch.equal(mask, old.flip(-1))
    half = DetectionSamples(shapes, 91, flip=0.5, seed=0)
    turned = [torch.equal(half.batch(epoch, [0]).images[0], mirrored.images[0]) for epoch in range(40)]
    assert 8 < sum(turned) < 32


def test_images_without_objects_are_left_out_and_wrong_sets_refused(shapes: coco.CocoSet) -> None:
    first = shapes.ids[0]
    for one in shapes.coco.imgToAnns[first]:
        one["bbox"][2] = 0.0
    assert len(DetectionSamples(shapes, 91, flip=0.0, seed=0)) == 3
    assert len(DetectionSamples(shapes, 91, flip=0.0, seed=0, limit=2)) == 2
    with pytest.raises(UsageError, match="the category 18, but the network has 18 classes; --set classes=19"):
        DetectionSamples(shapes, 18, flip=0.0, seed=0)
    shapes.coco.imgToAnns[first][0]["segmentation"] = []
    with pytest.raises(DataError, match="Mask R-CNN learns from outlines"):
        DetectionSamples(shapes, 91, flip=0.0, seed=0)


def test_batches_are_moved_whole() -> None:
    batch = StereoBatch(*(torch.zeros(1) for _ in range(3)))
    nested: Sequence[object] = [batch, {"boxes": torch.zeros(2)}]
    found = moved(nested, torch.device("meta"))
    assert isinstance(found[0], StereoBatch)
    assert {value.device.type for value in (*found[0], found[1]["boxes"])} == {"meta"}
