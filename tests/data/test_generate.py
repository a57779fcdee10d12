"""Generated scenes against geometry, and OpenCV's matcher, which knows nothing of how they were made."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fabench.data import generate, generate_coco, sceneflow
from fabench.data.scene import render


def sampled(image: NDArray[np.uint8], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each row at fractional columns."""
    low = np.clip(np.floor(x).astype(int), 0, image.shape[1] - 2)
    part = np.clip(x - low, 0, 1)[..., None]
    rows = np.arange(image.shape[0])[:, None]
    found: NDArray[np.float64] = (1 - part) * image[rows, low] + part * image[rows, low + 1]
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_right_view_shows_the_left_view_shifted_by_the_disparity(seed: int) -> None:
    scene = render(np.random.default_rng(seed), 64, 128, 24.0)
    x = np.arange(128, dtype=np.float32)[None] + np.zeros((64, 1), np.float32)
    off = {}
    for sign in (-1, 1):
        error = np.abs(sampled(scene.right, x + sign * scene.left_disparity) - scene.left).mean(axis=-1)
        off[sign] = float(np.median(error[scene.seen]))
        if sign == -1:
            hidden = float(np.median(error[~scene.seen]))
    assert off[-1] < 2 < 20 < off[1]
    assert hidden > 20
    assert (x - scene.left_disparity)[scene.seen].min() >= 0  # what is left of the right view is not seen in it
    back = np.abs(sampled(scene.left, x + scene.right_disparity) - scene.right).mean(axis=-1)
    assert np.median(back) < 2
    assert 0 < scene.left_disparity.min() <= scene.left_disparity.max() < 24


def test_opencv_finds_the_disparity_and_a_flip_loses_it(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    generate.write_sceneflow(tmp_path, seed=3, train=0, test=2)
    matcher = cv2.StereoSGBM.create(minDisparity=0, numDisparities=32, blockSize=5, P1=600, P2=2400)
    for pair in sceneflow.find(tmp_path):
        found = matcher.compute(pair.left[..., ::-1].copy(), pair.right[..., ::-1].copy()) / 16.0
        answered = found > 0
        assert answered.mean() > 0.5
        medians = [float(np.median(np.abs(found - truth)[answered])) for truth in
                   (pair.disparity, pair.disparity[::-1], pair.disparity[:, ::-1])]  # fmt: skip
        assert medians[0] < 0.5
        assert min(medians[1:]) > 2 * medians[0]


@pytest.mark.parametrize(
    "write", [generate.write_sceneflow, generate.write_kitti, generate.write_middlebury, generate_coco.write_coco]
)
def test_equal_seeds_give_equal_files_and_others_do_not(tmp_path: Path, write: Callable[..., None]) -> None:
    sums = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write(tmp_path / folder, seed)
        files = sorted(path for path in (tmp_path / folder).rglob("*") if path.is_file())
        sums.append([(str(path.relative_to(tmp_path / folder)), hashlib.sha256(path.read_bytes()).digest()) for path in files])
    assert sums[0] == sums[1]
    assert [name for name, _ in sums[0]] == [name for name, _ in sums[2]]
    assert sums[0] != sums[2]


def test_a_view_too_narrow_for_the_disparity() -> None:
    with pytest.raises(ValueError, match="half of the width"):
        render(np.random.default_rng(0), 32, 40, 24.0)
