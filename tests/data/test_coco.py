"""COCO sets: the same objects as torchvision's loader and the drawn pixels show, and a clear line for every kind of broken file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="pycocotools is not installed")

from pycocotools import mask as tools

from fabench.data import coco, generate_coco
from fabench.data.cocofile import checked
from fabench.data.files import write_image
from fabench.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    generate_coco.write_coco(tmp_path, seed=2, train=2, val=4)
    return tmp_path


def tiny(**changes: Any) -> dict[str, Any]:
    """One image of 4 x 6, one object; `changes` replace keys of the object."""
    item = {
        "id": 0,
        "image_id": 7,
        "category_id": 3,
        "bbox": [1, 1, 2, 2],
        "area": 4.0,
        "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]],
    }
    return {
        "images": [{"id": 7, "height": 4, "width": 6, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "square"}],
        "annotations": [{**item, **changes}],
    }


def test_torchvision_loads_the_same_images_and_objects(root: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    ours = coco.find(root)
    theirs = datasets.CocoDetection(str(root / "val2017"), str(root / "annotations/instances_val2017.json"))
    assert len(ours) == len(theirs) == 4
    for index in range(4):
        image, objects = theirs[index]
        np.testing.assert_array_equal(ours.image(index), np.asarray(image))
        target = ours.target(index)
        assert target.labels.tolist() == [one["category_id"] for one in objects]
        assert target.crowds.tolist() == [bool(one["iscrowd"]) for one in objects]
        assert target.masks is not None
        for box, mask, one in zip(target.boxes, target.masks, objects, strict=True):
            x, y, width, height = one["bbox"]
            np.testing.assert_allclose(box, [x, y, x + width, y + height], rtol=1e-5)
            np.testing.assert_array_equal(mask, theirs.coco.annToMask(one))


def test_masks_lie_on_the_drawn_pixels_and_flips_do_not(root: Path) -> None:
    dataset = coco.find(root)
    for index in range(len(dataset)):
        image, target = dataset.image(index).astype(int), dataset.target(index)
        drawn = (image.min(axis=2) < 90) | (image.max(axis=2) >= 130)  # the ground has neither
        assert target.masks is not None
        shown = np.logical_or.reduce(target.masks)
        overlap = (shown & drawn).sum() / (shown | drawn).sum()
        assert overlap > 0.9
        assert max((turned & drawn).sum() / (turned | drawn).sum() for turned in (shown[::-1], shown[:, ::-1])) < 0.7 * overlap
        for mask, box, crowd in zip(target.masks, target.boxes, target.crowds, strict=True):
            rows, columns = np.nonzero(mask)
            inside = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, inside, atol=0 if crowd else 1.01)


def test_areas_are_those_of_the_outlines(root: Path) -> None:
    dataset = coco.find(root)
    found = list(dataset.coco.anns.values())
    assert {one["category_id"] for one in found} <= set(generate_coco.CATEGORIES)
    assert any(len(one["segmentation"]) == 2 and not one["iscrowd"] for one in found)
    assert any(one["iscrowd"] for one in found)
    for one in found:
        pixels = float(dataset.coco.annToMask(one).sum())
        assert one["area"] == pytest.approx(pixels, abs=0 if one["iscrowd"] else 0.1 * pixels + 4)


def test_the_split_is_val2017_or_the_only_one_or_must_be_named(root: Path) -> None:
    assert len(coco.find(root)) == 4
    assert len(coco.find(root, "train2017")) == 2
    with pytest.raises(DataError, match="no split 'test'; there are train2017, val2017"):
        coco.find(root, "test")
    (root / "annotations/instances_val2017.json").rename(root / "annotations/instances_other.json")
    with pytest.raises(DataError, match="several splits; name one with --split: other, train2017"):
        coco.find(root)
    (root / "annotations/instances_other.json").unlink()
    assert len(coco.find(root)) == 2


def test_compressed_run_lengths_and_objects_without_outline() -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 1
    code = tools.encode(np.asfortranarray(mask))
    text = {"size": [4, 6], "counts": code["counts"].decode()}
    dataset = coco.CocoSet(tiny(segmentation=text), "x", lambda _: np.zeros((4, 6, 3), np.uint8))
    masks = dataset.target(0).masks
    assert masks is not None
    np.testing.assert_array_equal(masks[0], mask)
    assert dataset.has_masks
    bare = coco.CocoSet(tiny(segmentation=[]), "x", lambda _: np.zeros((4, 6, 3), np.uint8))
    assert not bare.has_masks
    assert bare.target(0).masks is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: [], "lists images, annotations and categories"),
        (lambda data: {**data, "categories": {}}, "lists images, annotations and categories"),
        (lambda data: {**data, "images": data["images"] * 2}, "image 7 is there twice"),
        (lambda data: {**data, "images": [{"id": 7, "height": 4}]}, "no height and width"),
        (lambda data: {**data, "images": [{"height": 4, "width": 6}]}, "has no id"),
        (lambda data: {**data, "annotations": [3]}, "annotation 1 is no table"),
        (lambda data: tiny(image_id=8), "annotation 0 is of image 8, which the file does not have"),
        (lambda data: tiny(category_id="3"), "has the category '3', which the file does not have"),
        (lambda data: tiny(category_id=[3]), "has the category"),
        (lambda data: tiny(bbox=[1, 1, 2]), "has the bbox"),
        (lambda data: tiny(bbox=[1, 1, -2, 2]), "has the bbox"),
        (lambda data: tiny(bbox=[1, 1, float("nan"), 2]), "has the bbox"),
        (lambda data: tiny(bbox=[1, 1, 10**400, 2]), "has the bbox"),
        (lambda data: tiny(area=None), "has no area"),
        (lambda data: tiny(segmentation=[[1, 1, 3, 3]]), "three corners"),
        (lambda data: tiny(segmentation=[[1, 1, 3, 1, 3]]), "three corners"),
        (lambda data: tiny(segmentation="outline"), "neither polygons nor run lengths"),
        (lambda data: tiny(segmentation={"size": [6, 4], "counts": [24]}), r"its image is \[4, 6\]"),
        (lambda data: tiny(segmentation={"size": [4, 6], "counts": [20]}), "don't add up"),
        (lambda data: tiny(segmentation={"size": [4, 6], "counts": [30, -6]}), "don't add up"),
        (lambda data: tiny(segmentation={"size": [4, 6], "counts": "~~~~"}), "don't add up"),
        (lambda data: tiny(segmentation={"size": [4, 6], "counts": "Pd?`n1`Ue]"}), "don't add up"),
        (lambda data: tiny(segmentation={"size": [4, 6], "counts": 24}), "neither numbers nor"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file_and_the_entry(spoil: Callable[[dict[str, Any]], Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        checked(spoil(tiny()), "some.json")
    assert str(caught.value).startswith("some.json")
    assert "\n" not in str(caught.value)


def test_any_mask_that_pycocotools_packs_is_accepted_and_of_another_size_refused() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(side) for side in rng.integers(1, 60, 2))
        mask = np.asfortranarray(rng.random((height, width)) < rng.random(), dtype=np.uint8)
        counts = tools.encode(mask)["counts"].decode()
        for size, good in (([height, width], True), ([height, width + 1], False)):
            data = tiny(segmentation={"size": size, "counts": counts})
            data["images"][0].update(height=size[0], width=size[1])
            if good:
                checked(data, "x")
            else:
                with pytest.raises(DataError, match="don't add up"):
                    checked(data, "x")


def test_broken_files(root: Path) -> None:
    path = root / "annotations/instances_val2017.json"
    data = json.loads(path.read_text())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"instances_val2017\.json is no JSON"):
        coco.find(root)
    path.write_bytes(whole)
    first = data["images"][0]["file_name"]
    (root / "val2017" / first).unlink()
    with pytest.raises(DataError, match=f"{first} is missing, as 1 of 4 images"):
        coco.find(root)
    write_image(root / "val2017" / first, np.zeros((10, 11, 3), np.uint8))
    with pytest.raises(DataError, match=rf"{first} has 11 x 10 pixels, but .* says 160 x 80"):
        coco.find(root).image(0)
    (root / "val2017" / first).write_bytes(b"no image")
    with pytest.raises(DataError, match=f"{first} is no image that can be read"):
        coco.find(root).image(0)
    del data["images"][0]["file_name"]
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="has no file_name"):
        coco.find(root)


def test_folders_that_hold_no_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no annotations/instances_\*\.json"):
        coco.find(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        coco.find(tmp_path / "none")
