"""KITTI 2015 and 2012: PNG images, and sparse disparities as PNG of 16 bit: pixels = value / 256, 0 where unknown.

    [Kitti2015/]training/{image_2,image_3}/000000_10.png, disp_occ_0/000000_10.png      2015
    [Kitti2012/]training/{colored_0,colored_1}/000000_10.png, disp_occ/000000_10.png    2012

Frames 11 have no disparity. `occ` counts pixels that the right camera doesn't see too, `noc` leaves them out; KITTI's own D1-all is of `occ`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fabench.data.files import open_image, write_image
from fabench.data.stereo import Disparity, PairFiles, StereoPairs, existing, first_folder
from fabench.errors import DataError

__all__ = ["find", "read_disparity", "write_disparity"]

_LAYOUTS = {"image_2": ("image_3", "disp_{}_0"), "colored_0": ("colored_1", "disp_{}")}
_STEP = 256.0
_MOST = 2**16 - 1


def find(root: Path, split: str | None = None, non_occluded: bool = False, pixels: Literal["occ", "noc"] = "occ") -> StereoPairs:
    """The pairs of the training part, the only one with ground truth. Raises DataError.

    `non_occluded`: with masks of the pixels that `noc` knows. A part of these pairs for validation is not offered: PSMNet's program takes
    the first 160 of 200 in whatever order its folder lists them.
    """
    if split not in (None, "training"):
        raise DataError(f"KITTI has no split {str(split)[:40]!r} with ground truth; there is training")
    places = ("Kitti2015/training", "Kitti2012/training", "training", ".")
    layout = "colored_0" if any((root / place / "colored_0").is_dir() for place in places) else "image_2"
    base = first_folder(root, places, layout, "KITTI 2015 or 2012")
    right, truths = _LAYOUTS[layout]
    truth = base / truths.format(pixels)
    masks = base / truths.format("noc") if non_occluded else None
    found = [
        PairFiles(
            path.name, base / layout / path.name, base / right / path.name, path, None if masks is None else masks / path.name
        )
        for path in sorted(truth.glob("*.png"))
    ]
    return StereoPairs(existing(found, truth, "disparities of KITTI: no *.png in it"), read_disparity, _known)


def _known(path: Path) -> NDArray[np.bool_]:
    return np.isfinite(read_disparity(path))


def read_disparity(path: Path) -> Disparity:
    """A disparity map in pixels, NaN where it is unknown. Raises DataError for a PNG that has not 16 bits and one channel."""
    mode, values = open_image(path)
    if mode not in ("I;16", "I;16B", "I"):
        raise DataError(f"{path} is an image of mode {mode}; KITTI's disparities are PNG of 16 bits and one channel")
    known = values.astype(np.float32) / np.float32(_STEP)
    return np.where(known > 0, known, np.float32(np.nan))


def write_disparity(path: Path, values: Disparity) -> None:
    """Writes a map in pixels, NaN where unknown, in steps of 1/256 px. Raises ValueError where a disparity has no place in 16 bits."""
    steps = np.round(values.astype(np.float64) * _STEP)
    known = np.isfinite(values)
    if np.any(steps[known] > _MOST) or np.any(steps[known] < 1):
        raise ValueError(f"a disparity in 16 bits is from 1/256 to {_MOST / _STEP:g} px")
    write_image(path, np.where(known, steps, 0).astype(np.uint16))
