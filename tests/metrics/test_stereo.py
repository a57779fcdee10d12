"""Disparity errors against sums done by hand, from files of the real formats, and against float64 on random maps."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fabench.accuracy import StereoErrors, StereoResult
from fabench.data import kitti, sceneflow
from fabench.data.files import write_image
from fabench.errors import DataError
from fabench.metrics.stereo import DisparityScore

NAN = float("nan")


def score(
    predicted: list[list[float]], truth: list[list[float]], max_disparity: float | None = 192.0, gaps: bool = False
) -> StereoResult:
    found = DisparityScore(max_disparity, gaps)
    found.add(["a"], [np.array(predicted, np.float32)], [np.array(truth, np.float32)])
    return found.result()


def test_by_hand() -> None:
    # errors 0, 1, 4, 10; KITTI's rule spares the 4: it is 2 % of 100 + 4 px
    found = score([[5.0, 11.0], [108.0, 40.0]], [[5.0, 10.0], [104.0, 50.0]])
    assert found.per_pixel == StereoErrors(15 / 4, 2 / 4, 1 / 4)
    assert found.per_batch == found.per_pixel
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("error", "truth", "over", "d1"), [(3.0, 10.0, 0, 0), (3.01, 10.0, 1, 1), (3.01, 60.3, 1, 0), (5.1, 100.0, 1, 1)]
)
def test_outliers_at_their_limits(error: float, truth: float, over: int, d1: int) -> None:
    found = score([[truth + error]], [[truth]], None).per_pixel
    assert found is not None
    assert (found.over_3px, found.d1) == (over, d1)


def test_a_pfm_written_by_hand_in_both_orders_of_bytes(tmp_path: Path) -> None:
    truth = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 300.0]], np.float32)
    prediction = np.array([[1.5, 2.0, 3.0], [10.0, 28.0, 0.0]], np.float32)
    for scale, order in ((b"-1.0", "<"), (b"1.0", ">")):
        rows = struct.pack(f"{order}6f", *truth[1], *truth[0])  # bottom row first
        (tmp_path / "a.pfm").write_bytes(b"Pf\n3 2\n" + scale + b"\n" + rows)
        found = DisparityScore()
        found.add(["a"], [prediction], [sceneflow.read_disparity(tmp_path / "a.pfm")])
        result = found.result()
        assert result.per_pixel == StereoErrors(8.5 / 5, 1 / 5, 1 / 5)  # 300 px is beyond the mask
        assert (result.pixels, result.beyond, result.unknown) == (5, 1, 0)
        # Turned: |10-1| + |28-2| + |0-3| + |1.5-10| + |2-20| = 64.5, and |3-1| + |2-2| + |1.5-3| + |0-10| + |28-20| = 21.5.
        for turned, expected in ((prediction[::-1], 64.5 / 5), (prediction[:, ::-1], 21.5 / 5)):
            flipped = DisparityScore()
            flipped.add(["a"], [turned], [sceneflow.read_disparity(tmp_path / "a.pfm")])
            means = flipped.result().per_pixel
            assert means is not None
            assert means.epe_px == pytest.approx(expected)


def test_a_kitti_png_by_hand(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.array([[0, 256, 512], [2560, 0, 25600]], np.uint16))  # ?, 1, 2 / 10, ?, 100
    found = DisparityScore()
    found.add(["a"], [np.array([[9, 1, 2.5], [14, 9, 104]], np.float32)], [kitti.read_disparity(tmp_path / "a.png")])
    assert found.result().per_pixel == StereoErrors((0 + 0.5 + 4 + 4) / 4, 2 / 4, 1 / 4)
    assert found.result().unknown == 2


def test_the_mask_is_below_192_and_can_be_lifted() -> None:
    truth, predicted = [[191.9, 192.0, 250.0]], [[190.9, 0.0, 0.0]]
    masked, lifted = score(predicted, truth), score(predicted, truth, None)
    assert masked.per_pixel is not None
    assert masked.per_pixel.epe_px == pytest.approx(1.0, abs=1e-4)
    assert (masked.pixels, masked.beyond) == (1, 2)
    assert lifted.per_pixel is not None
    assert lifted.per_pixel.epe_px == pytest.approx((1 + 192 + 250) / 3, abs=1e-4)


def test_per_pixel_and_per_batch_differ_with_unequal_counts_and_that_is_said() -> None:
    found = DisparityScore()
    full, almost_empty = np.full((2, 4), 10.0, np.float32), np.full((2, 4), NAN, np.float32)
    almost_empty[0, 0] = 10.0
    found.add(["a"], [full + 1], [full])  # 8 pixels, 1 px off
    found.add(["b"], [full + 10], [almost_empty])  # 1 pixel, 10 px off
    result = found.result()
    assert result.per_pixel == StereoErrors(18 / 9, 1 / 9, 1 / 9)
    assert result.per_batch == StereoErrors((1 + 10) / 2, 0.5, 0.5)
    assert "EPE 5.500 px instead of 2.000 px" in result.warnings[0]
    # In one batch of two both count by their pixels.
    together = DisparityScore()
    together.add(["a", "b"], [full + 1, full + 10], [full, almost_empty])
    assert together.result().per_batch == together.result().per_pixel == result.per_pixel
    assert together.result().batch == 2


def test_an_empty_pair_counts_in_no_mean_and_is_named() -> None:
    found = DisparityScore()
    truth = np.full((1, 2), 10.0, np.float32)
    found.add(["good"], [truth + 2], [truth])
    found.add(["all unknown"], [truth], [np.full((1, 2), NAN, np.float32)])
    found.add(["all far"], [truth], [truth + 200])
    result = found.result()
    assert result.per_pixel == result.per_batch == StereoErrors(2.0, 0.0, 0.0)
    assert result.empty == ("all unknown", "all far")
    assert result.warnings == ("2 of 3 pairs have no valid pixel and count in no mean: all unknown, all far",)


def test_nothing_valid_is_none_and_not_zero() -> None:
    result = score([[1.0]], [[NAN]])
    assert result.per_pixel is None
    assert result.per_batch is None
    assert result.pixels == 0


def test_gaps_are_a_mistake_or_counted_apart() -> None:
    with pytest.raises(DataError, match="a: the prediction is not finite at 1 of 2 valid pixels"):
        score([[1.0, NAN]], [[1.0, 2.0]])
    result = score([[1.5, NAN, NAN]], [[1.0, 2.0, NAN]], gaps=True)
    assert result.per_pixel == StereoErrors(0.5, 0.0, 0.0)
    assert (result.pixels, result.unanswered, result.unknown) == (1, 1, 1)
    assert "50.0% of the pixels with ground truth have no prediction" in result.warnings[0]
    # Where there is no truth, a prediction may be anything.
    assert score([[1.0, NAN]], [[1.0, NAN]]).pixels == 1


def test_another_size_is_an_error() -> None:
    with pytest.raises(DataError, match=r"a: the prediction has the shape \(1, 2\), its ground truth \(1, 3\)"):
        score([[1.0, 2.0]], [[1.0, 2.0, 3.0]])


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_sums_over_batches_are_the_mean_over_all_pixels(seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    truths: list[NDArray[np.float32]] = []
    predicted: list[NDArray[np.float32]] = []
    for _ in range(5):
        shape = tuple(rng.integers(1, 6, 2))
        truth = rng.uniform(0, 250, shape).astype(np.float32)
        predicted.append((truth + rng.normal(0, 5, shape)).astype(np.float32))
        truths.append(np.where(rng.random(shape) < 0.4, np.float32(NAN), truth))
    found = DisparityScore()
    for start in range(0, 5, batch):
        found.add(["x"] * len(truths[start : start + batch]), predicted[start : start + batch], truths[start : start + batch])
    truth, prediction = (np.concatenate([one.ravel() for one in maps]).astype(float) for maps in (truths, predicted))
    valid = truth < 192
    error = np.abs(prediction - truth)[valid]
    means = found.result().per_pixel
    if not valid.any():
        assert means is None
    else:
        assert means is not None
        assert means.epe_px == pytest.approx(error.mean())
        assert means.over_3px == pytest.approx((error > 3).mean())
        assert means.d1 == pytest.approx(((error > 3) & (error / truth[valid] > 0.05)).mean())


def test_pixels_that_are_not_occluded_are_summed_apart_too() -> None:
    """By hand: errors 1, 4 and 10, of which the middle one is occluded, and a fourth pixel whose truth is beyond the limit."""
    truth, predicted = np.array([[10, 20, 30, 500]], np.float32), np.array([[11, 24, 40, 0]], np.float32)
    seen = np.array([[True, False, True, True]])
    found = DisparityScore()
    found.add(["a"], [predicted], [truth], [seen])
    found.add(["b"], [predicted], [truth], [np.zeros_like(seen)])
    result = found.result()
    assert result.per_pixel == StereoErrors(15 / 3, 2 / 3, 2 / 3)
    assert (result.non_occluded, result.non_occluded_pixels) == (StereoErrors(11 / 2, 1 / 2, 1 / 2), 2)
    without = DisparityScore()
    without.add(["a"], [predicted], [truth])
    assert (without.result().non_occluded, without.result().non_occluded_pixels) == (None, None)
    hidden = DisparityScore()
    hidden.add(["b"], [predicted], [truth], [np.zeros_like(seen)])
    assert (hidden.result().non_occluded, hidden.result().non_occluded_pixels) == (None, 0)
