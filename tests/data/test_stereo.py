"""Finding and reading pairs: which image belongs to which disparity, in every layout, and what is said of a broken set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.data import generate, kitti, middlebury, pfm, sceneflow
from fabench.data.files import read_image, write_image
from fabench.data.stereo import StereoPair, StereoPairs
from fabench.errors import DataError

H, W = 32, 48


@pytest.fixture
def scene_flow(tmp_path: Path) -> Path:
    generate.write_sceneflow(tmp_path, seed=5, train=3, test=2, height=H, width=W, max_disparity=12)
    return tmp_path


@pytest.fixture
def kitti_2015(tmp_path: Path) -> Path:
    generate.write_kitti(tmp_path, seed=5, pairs=3, height=H, width=W, max_disparity=12)
    return tmp_path


def test_scene_flow_splits_by_folder_and_agrees_with_torchvision(scene_flow: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    ours = [*sceneflow.find(scene_flow, "test"), *sceneflow.find(scene_flow, "train")]  # TEST sorts before TRAIN
    (scene_flow / "SceneFlow").mkdir()
    (scene_flow / "FlyingThings3D").rename(scene_flow / "SceneFlow" / "FlyingThings3D")
    theirs = datasets.SceneFlowStereo(str(scene_flow))
    assert len(theirs) == len(ours) == 5
    for pair, (left, right, disparity) in zip(ours, (theirs[i] for i in range(5)), strict=True):
        np.testing.assert_array_equal(pair.left, np.asarray(left))
        np.testing.assert_array_equal(pair.right, np.asarray(right))
        np.testing.assert_array_equal(pair.disparity, disparity[0])
    assert len(sceneflow.find(scene_flow)) == 2  # below SceneFlow/ too


def test_scene_flow_trains_on_all_parts_but_the_test_part(scene_flow: Path) -> None:
    for subset, place in (("Monkaa", "a_rain"), ("Driving", "15mm/scene_backwards/fast")):
        for source, folder in (("frames_cleanpass", "left"), ("frames_cleanpass", "right"), ("disparity", "left")):
            (scene_flow / subset / source / place).mkdir(parents=True, exist_ok=True)
            origin = scene_flow / "FlyingThings3D" / source / "TRAIN/A/0000" / folder
            (scene_flow / subset / source / place / folder).symlink_to(origin)
    train = [pair.name for pair in sceneflow.find(scene_flow, "train").files]
    assert len(train) == 5
    assert not any("TEST" in name for name in train)


def test_negative_and_infinite_disparities_of_scene_flow(tmp_path: Path) -> None:
    pfm.write(tmp_path / "a.pfm", np.array([[-3.5, np.inf, 2.0]], np.float32))
    np.testing.assert_array_equal(sceneflow.read_disparity(tmp_path / "a.pfm"), np.array([[3.5, np.nan, 2.0]], np.float32))


def test_kitti_frames_11_are_not_paired_with_disparities_of_frames_10(kitti_2015: Path) -> None:
    pairs = kitti.find(kitti_2015)
    assert [pair.name for pair in pairs] == ["000000_10.png", "000001_10.png", "000002_10.png"]
    for number, pair in enumerate(pairs):
        np.testing.assert_array_equal(pair.left, read_image(kitti_2015 / f"training/image_2/{number:06d}_10.png"))


def test_kitti_agrees_with_torchvision_where_only_frames_10_are_there(kitti_2015: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    ours = list(kitti.find(kitti_2015))
    for path in kitti_2015.glob("training/image_*/*_11.png"):
        path.unlink()
    (kitti_2015 / "Kitti2015").mkdir()
    (kitti_2015 / "training").rename(kitti_2015 / "Kitti2015" / "training")
    theirs = datasets.Kitti2015Stereo(str(kitti_2015))
    for index, pair in enumerate(ours):
        left, right, disparity, _ = theirs[index]
        np.testing.assert_array_equal(pair.left, np.asarray(left))
        np.testing.assert_array_equal(pair.right, np.asarray(right))
        np.testing.assert_array_equal(np.nan_to_num(pair.disparity), disparity[0])
    assert len(kitti.find(kitti_2015)) == 3


def test_kitti_without_occluded_pixels_knows_fewer(kitti_2015: Path) -> None:
    for with_them, without in zip(kitti.find(kitti_2015), kitti.find(kitti_2015, pixels="noc"), strict=True):
        known = np.isfinite(without.disparity)
        assert 0 < known.sum() < np.isfinite(with_them.disparity).sum()
        np.testing.assert_array_equal(with_them.disparity[known], without.disparity[known])


def test_kitti_png_is_256_steps_per_pixel_and_0_is_unknown(tmp_path: Path) -> None:
    steps = np.array([[0, 1, 256], [384, 65535, 0]], np.uint16)
    write_image(tmp_path / "a.png", steps)
    expected = np.array([[np.nan, 1 / 256, 1.0], [1.5, 65535 / 256, np.nan]], np.float32)
    np.testing.assert_array_equal(kitti.read_disparity(tmp_path / "a.png"), expected)


@given(st.lists(st.one_of(st.just(np.nan), st.floats(1 / 128, 255.9)), min_size=1, max_size=12))
def test_kitti_png_keeps_disparities_to_half_a_step(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path = tmp_path_factory.mktemp("png") / "a.png"
    written = np.array([values], np.float32)
    kitti.write_disparity(path, written)
    found = kitti.read_disparity(path)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(written))
    np.testing.assert_allclose(found, written, atol=0.5 / 256 + 1e-5)


@pytest.mark.parametrize("value", [0.0, 256.1, -1.0])
def test_kitti_png_has_no_place_for(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="16 bits"):
        kitti.write_disparity(tmp_path / "a.png", np.array([[value]], np.float32))


def test_middlebury_of_both_versions(tmp_path: Path) -> None:
    generate.write_middlebury(tmp_path, seed=5, scenes=2, height=H, width=W, max_disparity=12)
    newer = list(middlebury.find(tmp_path))
    assert [pair.name for pair in newer] == ["trainingQ/Made0", "trainingQ/Made1"]
    assert all(0.3 < np.isfinite(pair.disparity).mean() < 1 for pair in newer)
    scene = tmp_path / "trainingQ/Made1"
    (scene / "disp0GT.pfm").rename(scene / "disp0.pfm")
    older = middlebury.find(tmp_path, "trainingQ")[1]
    np.testing.assert_array_equal(older.disparity, newer[1].disparity)
    pfm.write(scene / "disp0.pfm", np.full((H, W), -1, np.float32))
    with pytest.raises(DataError, match="negative"):
        middlebury.find(tmp_path)[1]


@pytest.mark.parametrize(
    ("find", "words"),
    [(sceneflow.find, "TEST"), (kitti.find, "training/image_2"), (middlebury.find, r"im0\.png")],
)
def test_an_empty_folder_and_none_at_all(tmp_path: Path, find: Callable[[Path], StereoPairs], words: str) -> None:
    with pytest.raises(DataError, match=words):
        find(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        find(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "lost",
    ["frames_cleanpass/TEST/A/0001/right/0006.png", "disparity/TEST/A/0001/left/0006.pfm"],
)
def test_a_missing_partner_is_named(scene_flow: Path, lost: str) -> None:
    (scene_flow / "FlyingThings3D" / lost).unlink()
    with pytest.raises(DataError, match=lost):
        sceneflow.find(scene_flow)


def test_unknown_splits(scene_flow: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'; there are train, test"):
        sceneflow.find(scene_flow, "val")
    with pytest.raises(DataError, match="no split 'testing'"):
        kitti.find(scene_flow, "testing")


def test_sizes_that_differ_name_the_pair_and_both_sizes(scene_flow: Path) -> None:
    pfm.write(scene_flow / "FlyingThings3D/disparity/TEST/A/0000/left/0006.pfm", np.ones((H, W + 1), np.float32))
    with pytest.raises(DataError, match=rf"0000/left/0006\.png: sizes differ: left {W} x {H}, .*disparity {W + 1} x {H}"):
        sceneflow.find(scene_flow)[0]


def test_a_disparity_of_8_bits_is_refused(kitti_2015: Path) -> None:
    write_image(kitti_2015 / "training/disp_occ_0/000000_10.png", np.zeros((H, W), np.uint8))
    with pytest.raises(DataError, match="16 bits"):
        kitti.find(kitti_2015)[0]


def test_a_pair_is_refused_where_its_parts_differ() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(DataError, match="x: sizes differ"):
        StereoPair("x", image, image[:, :2], np.zeros((2, 3), np.float32))


def test_masks_of_occluded_pixels_come_where_they_are_asked_for(tmp_path: Path) -> None:
    generate.write_middlebury(tmp_path, seed=5, scenes=1, height=H, width=W, max_disparity=12)
    assert middlebury.find(tmp_path)[0].visible is None
    (pair,) = middlebury.find(tmp_path, non_occluded=True)
    assert pair.visible is not None
    known = np.isfinite(pair.disparity)
    assert 0 < pair.visible.sum() < known.sum() < known.size
    assert not np.any(pair.visible & ~known)
    path = tmp_path / "trainingQ/Made0/mask0nocc.png"
    mask = np.zeros((H, W), np.uint8)
    mask[3, 7], mask[4, 8] = 255, 128  # 128: known, but hidden from the right camera
    write_image(path, mask)
    visible = middlebury.find(tmp_path, non_occluded=True)[0].visible
    assert visible is not None
    np.testing.assert_array_equal(np.argwhere(visible), [[3, 7]])
    write_image(path, mask + np.uint8(1))
    with pytest.raises(DataError, match=r"mask0nocc\.png is no mask of Middlebury's: its values are 0, 128 and 255"):
        middlebury.find(tmp_path, non_occluded=True)[0]
    write_image(path, mask[1:])
    with pytest.raises(DataError, match=r"Made0: sizes differ: disparity \(32, 48\), its mask \(31, 48\)"):
        middlebury.find(tmp_path, non_occluded=True)[0]
    path.unlink()
    with pytest.raises(DataError, match=r"mask0nocc\.png is missing; .*--non-occluded wants a mask"):
        middlebury.find(tmp_path, non_occluded=True)


def test_kittis_mask_is_what_its_other_maps_know(kitti_2015: Path) -> None:
    both = kitti.find(kitti_2015, non_occluded=True)
    for pair, without in zip(both, kitti.find(kitti_2015, pixels="noc"), strict=True):
        assert pair.visible is not None
        np.testing.assert_array_equal(pair.visible, np.isfinite(without.disparity))
        assert pair.visible.sum() < np.isfinite(pair.disparity).sum()
