"""The loop over pairs: what a predictor is given, in which order, and that turning a view changes the numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fabench.accuracy import StereoErrors
from fabench.data import generate, kitti, middlebury, sceneflow
from fabench.data.files import Image
from fabench.data.stereo import StereoPair, StereoPairs
from fabench.errors import DataError
from fabench.evaluate.stereo import evaluate_stereo


@pytest.fixture
def pairs(tmp_path: Path) -> list[StereoPair]:
    generate.write_sceneflow(tmp_path, seed=1, train=5, test=0, height=32, width=64, max_disparity=16)
    return list(sceneflow.find(tmp_path, "train"))


class Known:
    """Answers with the truth plus `off`, and remembers what it was asked."""

    def __init__(self, pairs: Sequence[StereoPair], off: float = 0.0) -> None:
        self.left = {pair.left.tobytes(): pair for pair in pairs}
        self.off = off
        self.batches: list[int] = []

    def __call__(self, lefts: Sequence[Image], rights: Sequence[Image]) -> list[NDArray[np.float32]]:
        self.batches.append(len(lefts))
        found = [self.left[left.tobytes()] for left in lefts]
        for pair, right in zip(found, rights, strict=True):
            np.testing.assert_array_equal(pair.right, right)
        return [np.nan_to_num(pair.disparity) + np.float32(self.off) for pair in found]


def test_a_perfect_and_a_constantly_wrong_predictor(pairs: list[StereoPair]) -> None:
    assert evaluate_stereo(Known(pairs), pairs).per_pixel == StereoErrors(0.0, 0.0, 0.0)
    found = evaluate_stereo(Known(pairs, 2.0), pairs)
    assert found.per_pixel is not None
    assert found.per_pixel.epe_px == pytest.approx(2.0, abs=1e-5)
    assert (found.per_pixel.over_3px, found.pixels, found.pairs) == (0.0, 5 * 32 * 64, 5)


def test_batches_limit_and_progress(pairs: list[StereoPair]) -> None:
    known, told = Known(pairs), []
    found = evaluate_stereo(known, pairs, batch=2, progress=lambda done, total: told.append((done, total)))
    assert known.batches == [2, 2, 1]
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert found.batch == 2
    assert evaluate_stereo(known, pairs, batch=2, limit=3).pairs == 3
    assert evaluate_stereo(known, pairs, limit=99).pairs == 5


@pytest.mark.parametrize(
    ("write", "find"),
    [
        (generate.write_sceneflow, sceneflow.find),
        (generate.write_kitti, kitti.find),
        (generate.write_middlebury, middlebury.find),
    ],
)
def test_the_matcher_sees_what_the_truth_says_and_turned_views_do_not(
    tmp_path: Path, write: Callable[[Path, int], None], find: Callable[[Path], StereoPairs]
) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    write(tmp_path, 4)
    dataset = find(tmp_path)
    matcher = cv2.StereoSGBM.create(minDisparity=0, numDisparities=32, blockSize=5, P1=600, P2=2400)

    def matched(lefts: Sequence[Image], rights: Sequence[Image]) -> list[NDArray[np.float32]]:
        found = (
            matcher.compute(np.ascontiguousarray(a), np.ascontiguousarray(b)) / 16.0 for a, b in zip(lefts, rights, strict=True)
        )
        return [np.where(one > 0, one, np.nan).astype(np.float32) for one in found]

    straight = evaluate_stereo(matched, dataset, gaps=True)
    assert straight.per_pixel is not None
    assert straight.per_pixel.epe_px < 1.5
    assert 0 < straight.unanswered < straight.pixels
    turned = evaluate_stereo(lambda a, b: matched([x[::-1] for x in a], [x[::-1] for x in b]), dataset, gaps=True)
    mirrored = evaluate_stereo(lambda a, b: matched([x[:, ::-1] for x in b], [x[:, ::-1] for x in a]), dataset, gaps=True)
    for wrong in (turned, mirrored):
        assert wrong.per_pixel is not None
        assert wrong.per_pixel.epe_px > 2 * straight.per_pixel.epe_px
    with pytest.raises(DataError, match="not finite"):
        evaluate_stereo(matched, dataset)
