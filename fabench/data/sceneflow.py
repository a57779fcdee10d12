"""Scene Flow (FlyingThings3D, Monkaa, Driving): PNG images, PFM disparities.

    [SceneFlow/]FlyingThings3D/frames_cleanpass/{TRAIN,TEST}/A/0000/{left,right}/0006.png
    [SceneFlow/]FlyingThings3D/disparity/{TRAIN,TEST}/A/0000/left/0006.pfm
    [SceneFlow/]{Monkaa,Driving}/frames_cleanpass/.../{left,right}/*.png, disparity/.../left/*.pfm

The test part is FlyingThings3D's TEST (4,370 pairs); the training part is everything else (35,454). The paper uses the clean pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from fabench.data import pfm
from fabench.data.stereo import Disparity, PairFiles, StereoPairs, existing
from fabench.errors import DataError

__all__ = ["find", "read_disparity"]

_PARTS = {"train": (("FlyingThings3D", "TRAIN"), ("Monkaa", ""), ("Driving", "")), "test": (("FlyingThings3D", "TEST"),)}
_FRAMES = {"clean": "frames_cleanpass", "final": "frames_finalpass"}


def find(root: Path, split: str | None = None, frames: Literal["clean", "final"] = "clean") -> StereoPairs:
    """The pairs of the `test` (without a split) or `train` part that lies below `root`. Raises DataError."""
    split = split or "test"
    if split not in _PARTS:
        raise DataError(f"Scene Flow has no split {split[:40]!r}; there are {', '.join(_PARTS)}")
    if not root.is_dir():
        raise DataError(f"{root} is no folder; --data names the one that holds Scene Flow")
    base = root / "SceneFlow" if (root / "SceneFlow").is_dir() else root
    found: list[PairFiles] = []
    for subset, part in _PARTS[split]:
        images = base / subset / _FRAMES[frames] / part
        truths = base / subset / "disparity" / part
        for left in sorted(images.glob("**/left/*.png")):
            inside = left.relative_to(images)
            right = images / inside.parent.parent / "right" / inside.name
            found.append(PairFiles(str(left.relative_to(base)), left, right, truths / inside.with_suffix(".pfm")))
    first = " or ".join(str(Path(subset, _FRAMES[frames], part)) for subset, part in _PARTS[split])
    return StereoPairs(existing(found, base, f"{split} pairs of Scene Flow: no left/*.png below {first}"), read_disparity)


def read_disparity(path: Path) -> Disparity:
    """A disparity map in pixels, NaN where it is not finite. Some releases count leftwards as negative: the size is what is meant."""
    values = np.abs(pfm.read(path))
    return np.where(np.isfinite(values), values, np.float32(np.nan))
