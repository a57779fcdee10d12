"""Middlebury: a folder per scene with im0.png, im1.png and disp0.pfm (2014) or disp0GT.pfm (the benchmark's version 3).

Pixels without ground truth are infinite in the file. All known pixels count; the benchmark's mask0nocc.png (255 where both cameras see the
point, 128 where the right one does not, 0 without ground truth) says which of them are not occluded, whose errors the benchmark ranks by.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabench.data import pfm
from fabench.data.files import read_image
from fabench.data.stereo import Disparity, PairFiles, StereoPairs, existing
from fabench.errors import DataError

__all__ = ["find", "read_disparity", "read_visible"]

_TRUTHS = ("disp0GT.pfm", "disp0.pfm")
_MASK, _VISIBLE = "mask0nocc.png", 255


def find(root: Path, split: str | None = None, non_occluded: bool = False) -> StereoPairs:
    """Every scene below `root`, or below its folder `split` (trainingH, additional, ..). Raises DataError.

    `non_occluded`: with the masks of pixels that both cameras see, which each scene must have.
    """
    base = root if split is None else root / split
    if not base.is_dir():
        raise DataError(f"{base} is no folder; --data (and --split below it) name the one that holds Middlebury's scenes")
    found = []
    for left in sorted(base.glob("**/im0.png")):
        scene = left.parent
        truth = next((scene / name for name in _TRUTHS if (scene / name).is_file()), scene / _TRUTHS[-1])
        mask = scene / _MASK if non_occluded else None
        found.append(PairFiles(str(scene.relative_to(base)), left, scene / "im1.png", truth, mask))
    return StereoPairs(existing(found, base, "scenes of Middlebury: no im0.png below it"), read_disparity, read_visible)


def read_visible(path: Path) -> NDArray[np.bool_]:
    """Where both cameras see the point. Raises DataError for an image that is no such mask."""
    values = read_image(path)[..., 0]
    if not np.isin(values, (0, 128, _VISIBLE)).all():
        raise DataError(f"{path} is no mask of Middlebury's: its values are 0, 128 and 255")
    visible: NDArray[np.bool_] = values == _VISIBLE
    return visible


def read_disparity(path: Path) -> Disparity:
    """A disparity map in pixels, NaN where it is unknown. Raises DataError for negative disparities."""
    values = pfm.read(path)
    known = np.isfinite(values)
    if np.any(values[known] < 0):
        raise DataError(f"{path} has negative disparities; Middlebury's are positive, and infinite where unknown")
    return np.where(known, values, np.float32(np.nan))
