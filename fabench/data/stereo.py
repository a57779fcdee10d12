"""Pairs of images with their disparity, whatever format they lie in.

Pairs are matched by name. torchvision's loaders match the sorted lists by position: of KITTI, whose image folders hold frames 10 and 11 and
whose disparity folder holds frame 10 alone, they put most images beside another one's disparity; they also merge Scene Flow's training and
test parts, and demand Middlebury's official scene names. So the files are found here, and torchvision's readers serve the tests as a second
opinion on what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fabench.data.files import Image, read_image
from fabench.errors import DataError

__all__ = ["Disparity", "PairFiles", "Pairs", "StereoPair", "StereoPairs", "existing", "first_folder"]

Disparity = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class StereoPair:
    """Both views [H, W, 3], 8 bit RGB, and the left one's disparity [H, W] in pixels, NaN where it is unknown.

    A point at column x of the left view is at column x - disparity of the right one. `visible`: where the right view shows the point too,
    as a data set's mask says; None without one.
    """

    name: str
    left: Image
    right: Image
    disparity: Disparity
    visible: NDArray[np.bool_] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not (self.left.shape == self.right.shape == (*self.disparity.shape, 3)):
            sizes = ", ".join(
                f"{what} {values.shape[1]} x {values.shape[0]}"
                for what, values in (("left", self.left), ("right", self.right), ("disparity", self.disparity))
            )
            raise DataError(f"{self.name}: sizes differ: {sizes} pixels")
        if self.visible is not None and self.visible.shape != self.disparity.shape:
            raise DataError(f"{self.name}: sizes differ: disparity {self.disparity.shape}, its mask {self.visible.shape}")


class Pairs(Protocol):
    """Anything that pairs can be taken from by number; a list of them too."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> StereoPair: ...


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where a pair lies. `name` is short and says which one it is."""

    name: str
    left: Path
    right: Path
    disparity: Path
    visible: Path | None = None


class StereoPairs:
    """Pairs on disk, each read when it is asked for. `read_disparity` gives a map with NaN where it is unknown; `read_visible` a mask."""

    def __init__(
        self, files: Sequence[PairFiles], read_disparity: Callable[[Path], Disparity],
        read_visible: Callable[[Path], NDArray[np.bool_]] | None = None,
    ) -> None:  # fmt: skip
        self.files = tuple(files)
        self._read_disparity, self._read_visible = read_disparity, read_visible

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> StereoPair:
        """Reads a pair. Raises DataError where a file is broken or the sizes differ."""
        one = self.files[index]
        visible = None if one.visible is None or self._read_visible is None else self._read_visible(one.visible)
        return StereoPair(
            one.name, read_image(one.left), read_image(one.right), self._read_disparity(one.disparity), visible=visible
        )

    def __iter__(self) -> Iterator[StereoPair]:
        return (self[index] for index in range(len(self)))


def first_folder(root: Path, below: Sequence[str], holding: str, what: str) -> Path:
    """The first of root/below that holds the folder `holding`. Raises DataError that says what was looked for."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder; --data names the one that holds {what}")
    for name in below:
        if (root / name / holding).is_dir():
            return root / name
    raise DataError(f"{root} holds no {what}: no folder {' or '.join(str(Path(name) / holding) for name in below)} in it")


def existing(files: Sequence[PairFiles], where: Path, what: str) -> tuple[PairFiles, ...]:
    """The pairs, all of whose files are there. Raises DataError that names the first missing file, or says that there are no pairs."""
    if not files:
        raise DataError(f"{where} holds no {what}")
    wanted = [path for one in files for path in (one.left, one.right, one.disparity, one.visible) if path is not None]
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more files)" if len(missing) > 1 else ""
        raise DataError(
            f"{missing[0]} is missing{more}; a pair is a left image, a right image and a disparity of one name, and --non-occluded wants a mask"
        )
    return tuple(files)
