"""A small COCO data set from a seed: discs, squares and triangles on a textured ground, in exactly the format of the real one.

Objects stand apart, so each is wholly seen. Category ids have gaps, as COCO's have. Outlines are polygons, every third object is in two
parts, and some images end with a crowd of dots, whose outline is run lengths, as COCO stores its crowds.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabench.data.files import Image, write_bytes, write_image

__all__ = ["CATEGORIES", "write_coco"]

CATEGORIES = {1: "disc", 3: "square", 18: "triangle"}
_CORNERS = {1: 24, 3: 4, 18: 3}
_CELL = 40  # pixels; an object or a crowd has a cell to itself
_Polygon = NDArray[np.float64]


def write_coco(
    root: Path, seed: int, train: int = 8, val: int = 4, height: int = 80, width: int = 160, crowds: bool = True
) -> None:
    """`root`/train2017, val2017 and annotations/instances_*.json with so many images. Equal seeds give equal files."""
    rng = np.random.default_rng(seed)
    for split, count in (("train2017", train), ("val2017", val)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for _ in range(count):
            number = 100 + 7 * len(images)  # ids are no positions
            name = f"{number:012d}.png"
            pixels, objects = _draw(rng, height, width, crowds and len(images) % 2 == 1)
            write_image(root / split / name, pixels)
            images.append({"id": number, "file_name": name, "height": height, "width": width, "license": 1})
            for one in objects:
                annotations.append({"id": 1000 + len(annotations), "image_id": number, **one})
        content = {
            "info": {"description": f"made up from seed {seed}, no real images", "version": "1.0"},
            "licenses": [{"id": 1, "name": "CC0"}],
            "images": images,
            "annotations": annotations,
            "categories": [{"id": key, "name": name, "supercategory": "shape"} for key, name in CATEGORIES.items()],
        }
        write_bytes(root / "annotations" / f"instances_{split}.json", json.dumps(content).encode())


def _draw(rng: np.random.Generator, height: int, width: int, crowd: bool) -> tuple[Image, list[dict[str, Any]]]:
    """An image and its annotations without ids."""
    pixels = rng.integers(90, 130, (height, width, 3)).astype(np.uint8)
    places = [(row, column) for row in range(height // _CELL) for column in range(width // _CELL)]
    chosen = [places[index] for index in rng.permutation(len(places))[: max(2, len(places) // 2)]]
    objects: list[dict[str, Any]] = []
    for number, (row, column) in enumerate(chosen):
        middle = np.array([(column + 0.5) * _CELL, (row + 0.5) * _CELL])
        colour = rng.integers(0, 60, 3) + 195 * rng.integers(0, 2, 3)
        if crowd and number == len(chosen) - 1:
            objects.append(_dots(rng, pixels, middle, colour))
            continue
        category = int(rng.choice(list(CATEGORIES)))
        radius = rng.uniform(0.2, 0.45) * _CELL
        middle = middle + rng.uniform(-1, 1, 2) * (_CELL / 2 - radius)
        parts = [_outline(category, middle, radius, rng.uniform(0, 2 * math.pi))]
        if number % 3 == 1:
            parts = [_outline(category, middle + shift, radius * 0.45, 0.0) for shift in ([-radius / 2, 0.0], [radius / 2, 0.0])]
        for part in parts:
            _fill(pixels, part, colour)
        corners = np.concatenate(parts)
        low, high = corners.min(axis=0), corners.max(axis=0)
        objects.append({
            "category_id": category, "iscrowd": 0, "area": round(sum(map(_area, parts)), 2),
            "bbox": [round(float(value), 2) for value in (*low, *(high - low))],
            "segmentation": [[round(float(value), 2) for value in part.ravel()] for part in parts],
        })  # fmt: skip
    return pixels, objects


def _outline(category: int, middle: _Polygon, radius: float, turn: float) -> _Polygon:
    angles = turn + 2 * math.pi * np.arange(_CORNERS[category]) / _CORNERS[category]
    return middle + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _fill(pixels: Image, polygon: _Polygon, colour: NDArray[np.int64]) -> None:
    """Colours the pixels whose middle lies in a convex polygon with corners in the order of growing angle."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    inside = np.ones(pixels.shape[:2], dtype=np.bool_)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        inside &= (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) >= 0
    pixels[inside] = colour


def _area(polygon: _Polygon) -> float:
    x, y = polygon.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _dots(rng: np.random.Generator, pixels: Image, middle: _Polygon, colour: NDArray[np.int64]) -> dict[str, Any]:
    mask = np.zeros(pixels.shape[:2], dtype=np.bool_)
    x0, y0 = (middle - _CELL / 2).astype(int)
    mask[y0 + 4 : y0 + _CELL - 4 : 4, x0 + 4 : x0 + _CELL - 4 : 4] = rng.random((8, 8)) < 0.7
    mask[y0 + 4, x0 + 4] = True
    pixels[mask] = colour
    rows, columns = np.nonzero(mask)
    return {
        "category_id": 1, "iscrowd": 1, "area": float(mask.sum()),
        "bbox": [float(columns.min()), float(rows.min()), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1)],
        "segmentation": {"counts": _run_lengths(mask), "size": list(mask.shape)},
    }  # fmt: skip


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's: column by column, the first run is of zeros."""
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = [int(run) for run in np.diff([0, *ends, flat.size])]
    return [0, *runs] if flat[0] else runs
