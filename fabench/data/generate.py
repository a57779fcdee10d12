"""Small data sets from a seed, in exactly the formats of the real ones: for tests, and to try a command without the real data.

Equal seeds give equal files. The stereo scenes are rendered from disparities that are known exactly (`fabench.data.scene`). They look like
nothing in the world: a figure on them says that a program works, and nothing of how well it sees.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fabench.data import kitti, pfm
from fabench.data.files import write_bytes, write_image
from fabench.data.scene import Scene, render

__all__ = ["write_kitti", "write_middlebury", "write_sceneflow"]

_KNOWN = 0.3  # share of pixels that a laser scanner reaches, below the horizon


def write_sceneflow(
    root: Path, seed: int, train: int = 4, test: int = 2, height: int = 64, width: int = 128, max_disparity: float = 24.0
) -> None:
    """`root`/FlyingThings3D with `train` and `test` pairs: clean pass, and the disparities of both views."""
    rng = np.random.default_rng(seed)
    base = root / "FlyingThings3D"
    for part, count in (("TRAIN", train), ("TEST", test)):
        for number in range(count):
            scene = render(rng, height, width, max_disparity)
            place = Path(part, "A", f"{number:04d}")
            for side, image, disparity in (
                ("left", scene.left, scene.left_disparity),
                ("right", scene.right, scene.right_disparity),
            ):
                write_image(base / "frames_cleanpass" / place / side / "0006.png", image)
                pfm.write(base / "disparity" / place / side / "0006.pfm", disparity)


def write_kitti(root: Path, seed: int, pairs: int = 2, height: int = 64, width: int = 128, max_disparity: float = 24.0) -> None:
    """`root`/training as KITTI 2015: frames 10 with sparse disparities, once with and once without occluded pixels, and frames 11 without."""
    rng = np.random.default_rng(seed)
    base = root / "training"
    for number in range(pairs):
        for frame in (10, 11):
            scene = render(rng, height, width, max_disparity)
            name = f"{number:06d}_{frame}.png"
            write_image(base / "image_2" / name, scene.left)
            write_image(base / "image_3" / name, scene.right)
            if frame == 10:
                known = rng.random((height, width)) < _KNOWN
                known[: height // 3] = False
                for folder, shown in (("disp_occ_0", known), ("disp_noc_0", known & scene.seen)):
                    kitti.write_disparity(base / folder / name, np.where(shown, scene.left_disparity, np.float32(np.nan)))
                # The right view's, which only loaders of both views read.
                kitti.write_disparity(base / "disp_occ_1" / name, scene.right_disparity)


def write_middlebury(
    root: Path, seed: int, scenes: int = 2, height: int = 64, width: int = 128, max_disparity: float = 24.0
) -> None:
    """`root`/trainingQ as the benchmark's version 3: points beyond the right view's edge have no ground truth, hidden ones are in the mask."""
    rng = np.random.default_rng(seed)
    for number in range(scenes):
        scene = render(rng, height, width, max_disparity)
        folder = root / "trainingQ" / f"Made{number}"
        write_image(folder / "im0.png", scene.left)
        write_image(folder / "im1.png", scene.right)
        known = scene.seen | (np.arange(width) >= scene.left_disparity)
        pfm.write(folder / "disp0GT.pfm", np.where(known, scene.left_disparity, np.float32(np.inf)))
        write_image(folder / "mask0nocc.png", np.where(scene.seen, 255, np.where(known, 128, 0)).astype(np.uint8))
        write_bytes(folder / "calib.txt", _calibration(scene, max_disparity).encode())


def _calibration(scene: Scene, max_disparity: float) -> str:
    height, width = scene.left_disparity.shape
    camera = f"[{width}.0 0 {width / 2}; 0 {width}.0 {height / 2}; 0 0 1]"
    return f"cam0={camera}\ncam1={camera}\ndoffs=0\nbaseline=100.0\nwidth={width}\nheight={height}\nndisp={int(np.ceil(max_disparity))}\n"
