"""COCO's detection format: a folder of images and one JSON with boxes, polygons and run lengths.

    annotations/instances_val2017.json, val2017/000000000139.jpg

pycocotools reads it, as it does below torchvision's CocoDetection. It takes what it is given: a missing key is a traceback in the middle of
an evaluation, an unknown image is passed over, and an annotation with the id 0 counts as unmatched for ever. So the JSON is checked here
first, and annotations are numbered from 1 anew. Labels are the file's category ids as they stand, gaps included, as torchvision's weights expect.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabench.data.cocofile import checked
from fabench.data.files import Image, read_bytes, read_image, reason
from fabench.data.optional import need
from fabench.errors import DataError

__all__ = ["CocoSet", "Target", "find", "from_masks", "read", "read_image"]

_FALLBACK = "val2017"


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The objects of one image: boxes [K, 4] as x0, y0, x1, y1 in pixels, category ids [K], masks [K, H, W] (None without any), crowds [K]."""

    image_id: int
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_] | None
    crowds: NDArray[np.bool_]


class CocoSet:
    """Images with their objects. `images[i]` belongs to `ids[i]`; `coco` is pycocotools' own object, for its evaluation."""

    def __init__(self, data: Mapping[str, Any], name: str, image: Callable[[int], Image]) -> None:
        """`data`: the JSON's content, `image`: reads the image of an id. Raises DataError, which begins with `name`, for a broken one."""
        self.name = name
        self.coco = _indexed(checked(data, name))
        self.ids: tuple[int, ...] = tuple(sorted(self.coco.imgs))
        self._image = image

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def categories(self) -> Mapping[int, str]:
        """Names by category id."""
        return {key: str(value.get("name", key)) for key, value in sorted(self.coco.cats.items())}

    @property
    def has_masks(self) -> bool:
        """Whether each object has an outline and not only a box."""
        return all(annotation.get("segmentation") for annotation in self.coco.anns.values())

    def image(self, index: int) -> Image:
        """RGB [H, W, 3], 8 bit. Raises DataError where it is broken, or not as large as the JSON says."""
        image_id = self.ids[index]
        said = self.coco.imgs[image_id]
        values = self._image(image_id)
        if values.shape[:2] != (said["height"], said["width"]):
            raise DataError(
                f"{said.get('file_name', image_id)} has {values.shape[1]} x {values.shape[0]} pixels, "
                f"but {self.name} says {said['width']} x {said['height']}"
            )
        return values

    def target(self, index: int) -> Target:
        """The objects of an image, crowds included and marked."""
        image_id = self.ids[index]
        found = self.coco.imgToAnns.get(image_id, [])
        boxes = np.array([annotation["bbox"] for annotation in found], dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = None
        if all(annotation.get("segmentation") for annotation in found):
            size = (self.coco.imgs[image_id]["height"], self.coco.imgs[image_id]["width"])
            masks = np.zeros((len(found), *size), dtype=np.bool_)
            for number, annotation in enumerate(found):
                masks[number] = self.coco.annToMask(annotation)
        return Target(
            image_id,
            boxes,
            np.array([annotation["category_id"] for annotation in found], dtype=np.int64),
            masks,
            np.array([annotation["iscrowd"] for annotation in found], dtype=np.bool_),
        )


def _indexed(data: dict[str, Any]) -> Any:
    api = need("pycocotools.coco", "a COCO data set").COCO()
    api.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how far it is
        api.createIndex()
    return api


def find(root: Path, split: str | None = None) -> CocoSet:
    """The images and objects of a split (val2017, if there is one, or the only split there is). Raises DataError."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder; --data names the one that holds COCO's annotations and images")
    folder = root / "annotations"
    there = sorted(path.stem.removeprefix("instances_") for path in folder.glob("instances_*.json"))
    if not there:
        raise DataError(f"{root} holds no COCO data set: no annotations/instances_*.json in it")
    if split is None:
        if _FALLBACK not in there and len(there) > 1:
            raise DataError(f"{root} has several splits; name one with --split: {', '.join(there[:8])}")
        split = _FALLBACK if _FALLBACK in there else there[0]
    if split not in there:
        raise DataError(f"{root} has no split {split[:40]!r}; there are {', '.join(there[:8])}")
    images = next((path for path in (root / split, root / "images" / split) if path.is_dir()), root / split)
    return read(folder / f"instances_{split}.json", images)


def read(annotations: Path, images: Path) -> CocoSet:
    """A data set from its JSON and its folder of images. Raises DataError where the JSON is broken or an image is missing."""
    try:
        data = json.loads(read_bytes(annotations))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{annotations} is no JSON: {reason(error)}") from None
    names: dict[int, str] = {}
    found = CocoSet(data, str(annotations), lambda image_id: read_image(images / names[image_id]))
    for image_id, said in found.coco.imgs.items():
        if not isinstance(said.get("file_name"), str):
            raise DataError(f"{annotations}: image {image_id} has no file_name")
        names[image_id] = said["file_name"]
    missing = [name for name in names.values() if not (images / name).is_file()]
    if missing:
        raise DataError(
            f"{images / missing[0]} is missing, as {len(missing)} of {len(names)} images that {annotations} names are"
        )
    return found


def from_masks(
    name: str, images: Sequence[Image], masks: Sequence[NDArray[np.bool_]], labels: Sequence[Sequence[int]], categories: Mapping[int, str]
) -> CocoSet:  # fmt: skip
    """A data set in memory: of each image its objects' masks [K, H, W] and category ids [K]. Boxes and areas are the masks'."""
    tools = need("pycocotools.mask", "a COCO data set")
    data: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": key, "name": text} for key, text in categories.items()],
    }
    for number, image in enumerate(images):
        height, width = image.shape[:2]
        data["images"].append({"id": number, "height": height, "width": width, "file_name": f"{name} {number}"})
        for mask, label in zip(masks[number], labels[number], strict=True):
            code = tools.encode(np.asfortranarray(mask, dtype=np.uint8))
            data["annotations"].append({
                "id": len(data["annotations"]), "image_id": number, "category_id": int(label), "iscrowd": 0,
                "segmentation": code, "area": float(tools.area(code)), "bbox": [float(value) for value in tools.toBbox(code)],
            })  # fmt: skip
    return CocoSet(data, name, lambda image_id: images[image_id])
