"""What a COCO JSON must say before it is used: every id known, every size right, every outline closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabench.errors import DataError

__all__ = ["checked"]

_FAR = 1e12  # no coordinate or area is that large; not a number and infinity aren't below it either


def checked(data: Any, name: str) -> dict[str, Any]:
    """`data` with its annotations numbered from 1 and `iscrowd` in each. Raises DataError, which begins with `name`, for the first mistake."""
    if not isinstance(data, Mapping) or any(
        not isinstance(data.get(key), list) for key in ("images", "annotations", "categories")
    ):
        raise DataError(f"{name} is no COCO detection file: it has the lists images, annotations and categories")
    images = _by_id(data["images"], f"{name}: image")
    for image_id, image in images.items():
        if not all(_whole(image.get(side)) and image[side] > 0 for side in ("height", "width")):
            raise DataError(f"{name}: image {image_id} has no height and width in whole pixels")
    categories = _by_id(data["categories"], f"{name}: category")
    annotations = []
    for number, annotation in enumerate(data["annotations"], start=1):
        where = f"{name}: annotation {annotation.get('id', number) if isinstance(annotation, Mapping) else number}"
        if not isinstance(annotation, Mapping):
            raise DataError(f"{where} is no table")
        image_id = _id(annotation.get("image_id"))
        if image_id not in images:
            raise DataError(f"{where} is of image {_short(annotation.get('image_id'))}, which the file does not have")
        if _id(annotation.get("category_id")) not in categories:
            raise DataError(f"{where} has the category {_short(annotation.get('category_id'))}, which the file does not have")
        _check_object(annotation, images[image_id], where)
        annotations.append({**annotation, "id": number, "iscrowd": int(bool(annotation.get("iscrowd", 0)))})
    return {**data, "annotations": annotations}


def _by_id(entries: list[Any], what: str) -> dict[Any, Mapping[str, Any]]:
    found: dict[Any, Mapping[str, Any]] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or _id(entry.get("id")) is None:
            raise DataError(f"{what} number {number} has no id")
        if entry["id"] in found:
            raise DataError(f"{what} {entry['id']} is there twice")
        found[entry["id"]] = entry
    return found


def _check_object(annotation: Mapping[str, Any], image: Mapping[str, Any], where: str) -> None:
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_number, box)) or min(box[2:]) < 0:
        raise DataError(f"{where} has the bbox {_short(box)}; it is x, y, width, height in pixels")
    if not _number(annotation.get("area")):
        raise DataError(f"{where} has no area, which decides whether it counts as small, medium or large")
    outline = annotation.get("segmentation")
    if not outline:
        return
    if isinstance(outline, list):
        for polygon in outline:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(map(_number, polygon)):
                raise DataError(f"{where} has the polygon {_short(polygon)}; it is x, y, x, y, .. of at least three corners")
        return
    size = [image["height"], image["width"]]
    if not isinstance(outline, Mapping) or "counts" not in outline:
        raise DataError(f"{where} has a segmentation that is neither polygons nor run lengths")
    if outline.get("size") != size:
        raise DataError(f"{where} has run lengths for {_short(outline.get('size'))}, but its image is {size} (height, width)")
    counts = outline["counts"]
    if isinstance(counts, list):
        if not all(_whole(count) and count >= 0 for count in counts) or sum(counts) != size[0] * size[1]:
            raise DataError(f"{where} has run lengths that don't add up to its image's {size[0] * size[1]} pixels")
    elif not isinstance(counts, str | bytes):
        raise DataError(f"{where} has run lengths that are neither numbers nor COCO's compressed text")
    elif not _spans(counts if isinstance(counts, bytes) else counts.encode(), size[0] * size[1]):
        raise DataError(f"{where} has compressed run lengths that don't add up to its image's {size[0] * size[1]} pixels")


def _spans(text: bytes, pixels: int) -> bool:
    """Whether compressed run lengths add up to `pixels`. pycocotools decodes them in C and trusts them.

    As its maskApi.c documents: each number in groups of 5 bits, low ones first, from the character 48 on; bit 5 says that more follow, bit 4
    of the last group is the sign; from the fourth number on, the difference from the last but one is stored.
    """
    counts: list[int] = []
    value = shift = 0
    for byte in text:
        group = byte - 48
        if not 0 <= group < 64 or shift > 30:
            return False
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        if counts[-1] < 0:
            return False
        value = shift = 0
    return shift == 0 and sum(counts) == pixels


def _id(value: Any) -> int | None:
    return value if _whole(value) else None


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
