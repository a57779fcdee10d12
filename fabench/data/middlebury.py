"""Middlebury: a folder per scene with im0.png, im1.png and disp0.pfm (2014) or disp0GT.pfm (the benchmark's version 3).

Pixels without ground truth are infinite in the file. The benchmark's extra mask of occluded pixels is not applied: all known pixels count.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fabench.data import pfm
from fabench.data.stereo import Disparity, PairFiles, StereoPairs, existing
from fabench.errors import DataError

__all__ = ["find", "read_disparity"]

_TRUTHS = ("disp0GT.pfm", "disp0.pfm")


def find(root: Path, split: str | None = None) -> StereoPairs:
    """Every scene below `root`, or below its folder `split` (trainingH, additional, ..). Raises DataError."""
    base = root if split is None else root / split
    if not base.is_dir():
        raise DataError(f"{base} is no folder; --data (and --split below it) name the one that holds Middlebury's scenes")
    found = []
    for left in sorted(base.glob("**/im0.png")):
        scene = left.parent
        truth = next((scene / name for name in _TRUTHS if (scene / name).is_file()), scene / _TRUTHS[-1])
        found.append(PairFiles(str(scene.relative_to(base)), left, scene / "im1.png", truth))
    return StereoPairs(existing(found, base, "scenes of Middlebury: no im0.png below it"), read_disparity)


def read_disparity(path: Path) -> Disparity:
    """A disparity map in pixels, NaN where it is unknown. Raises DataError for negative disparities."""
    values = pfm.read(path)
    known = np.isfinite(values)
    if np.any(values[known] < 0):
        raise DataError(f"{path} has negative disparities; Middlebury's are positive, and infinite where unknown")
    return np.where(known, values, np.float32(np.nan))
