"""`fabench evaluate` as a user runs it: tables, JSON, exit codes, and every mistake in one line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from fabench.data import generate, generate_coco, pfm
from fabench.data.files import read_image
from fabench.errors import WorkerError
from fabench.evaluate import checkpoint
from fabench.models import stereo
from fabench.positions import Attention
from fabench.sweep.evaluate import evaluated
from tests.cli.conftest import Fabench

BUILD = {"where": "layer4", "attention": {"d_k": 8}, "form": "basic", "max_disparity": 16, "crop": [32, 48]}


@pytest.fixture
def weights(tmp_path: Path) -> str:
    network = stereo.build("layer4", Attention(d_k=8), form="basic", max_disparity=16, crop=(32, 48))
    checkpoint.save(tmp_path / "a.pt", "stereo", BUILD, network)
    return "a.pt"


def test_disparities_of_scene_flow_with_an_empty_pair(fabench: Fabench, tmp_path: Path, weights: str) -> None:
    generate.write_sceneflow(tmp_path / "data", seed=1, train=0, test=2, height=30, width=50, max_disparity=14)
    pfm.write(tmp_path / "data/FlyingThings3D/disparity/TEST/A/0001/left/0006.pfm", np.full((30, 50), 300, np.float32))
    arguments = ("evaluate", "stereo", "--data", "data", "--format", "sceneflow", "--weights", weights)
    shown = fabench(*arguments)
    assert (
        "2 pairs, 1,500 pixels (true disparity below 16 px); left out: 0 without ground truth, 1,500 beyond the limit"
        in shown.stdout
    )
    assert "per pixel of the set   EPE " in shown.stdout
    assert "per batch of 1         EPE " in shown.stdout
    assert "D1 (> 3 px and > 5 %)" in shown.stdout
    assert "1 of 2 pairs have no valid pixel and count in no mean: FlyingThings3D/frames_cleanpass/TEST/A/0001" in shown.stderr
    stored = json.loads(fabench(*arguments, "--json").stdout)
    assert stored["stereo"]["pixels"] == 1500
    assert stored["build"] == BUILD
    assert f"EPE {stored['stereo']['per_pixel']['epe_px']:.3f} px" in shown.stdout


def test_both_figures_of_middlebury(fabench: Fabench, tmp_path: Path, weights: str) -> None:
    generate.write_middlebury(tmp_path / "data", seed=1, scenes=1, height=30, width=50, max_disparity=14)
    arguments = ("evaluate", "stereo", "--data", "data", "--weights", weights, "--non-occluded")
    shown = fabench(*arguments, "--format", "middlebury")
    lines = {line[:22].strip(): line for line in shown.stdout.splitlines()}
    assert "EPE" in lines["per pixel of the set"]
    assert "EPE" in lines["not occluded"]
    pixels = int((read_image(tmp_path / "data/trainingQ/Made0/mask0nocc.png")[..., 0] == 255).sum())
    assert lines["not occluded"].endswith(f" {pixels:,} pixels")
    wrong = fabench(*arguments, "--format", "sceneflow", status=2).stderr.strip()
    assert wrong == "fabench: sceneflow does not say which pixels are occluded; --non-occluded is for kitti and middlebury"


def test_average_precision_of_a_detector(fabench: Fabench, tmp_path: Path) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from fabench.models import detection

    generate_coco.write_coco(tmp_path / "data", seed=1, train=0, val=1)
    path = tmp_path / "bare.pt"
    torch.save(detection.build(input_size=(80, 160)).state_dict(), path)
    size = ("--set", "input_size=[80,160]")
    shown = fabench("evaluate", "detection", "--data", "data", "--weights", "bare.pt", "--format", "coco", *size)
    path.unlink()  # 176 MB
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("1 images, 4 objects, ")
    assert [line.split()[:2] for line in lines[1:]] == [["box", "AP"], ["mask", "AP"]]
    assert "AP50" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stereo"], "--data"),
        (["stereo", "--data", "x"], "--weights"),
        (["speech", "--data", "x", "--weights", "y"], "nothing called 'speech' to evaluate; there are detection, stereo"),
        (["stereo", "--data", "x", "--weights", "y"], "with --format; there are sceneflow, kitti, middlebury"),
        (["stereo", "--data", "x", "--weights", "y", "--format", "coco"], "no data sets in the format 'coco'"),
        (
            ["detection", "--data", "x", "--weights", "y", "--format", "kitti"],
            "no data sets in the format 'kitti'; there are coco",
        ),
        (["stereo", "--data", "x", "--weights", "y", "--format", "kitti", "--batch", "0"], "--batch"),
        (["stereo", "--data", "x", "--weights", "y", "--format", "kitti", "--max-disparity", "-1"], "above 0"),
        (["stereo", "--data", "x", "--weights", "y", "--format", "kitti", "--max-disparity", "inf"], "above 0"),
        (["stereo", "--data", "x", "--weights", "y", "--format", "kitti", "--set", "where"], "has no value"),
    ],
)
def test_a_wrong_word_is_one_line_and_status_2(fabench: Fabench, arguments: list[str], words: str) -> None:
    lines = fabench("evaluate", *arguments, status=2).stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("fabench: ")
    assert words in lines[0]


def test_a_checkpoint_with_code_is_one_line_status_4_and_not_run(fabench: Fabench, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "was here"),)

    generate.write_kitti(tmp_path / "data", seed=1, pairs=1, height=30, width=50, max_disparity=14)
    torch.save({"state_dict": Hostile()}, tmp_path / "hostile.pt")
    result = fabench("evaluate", "stereo", "--data", "data", "--format", "kitti", "--weights", "hostile.pt", status=4)
    assert result.stderr.strip().splitlines() == [
        "fabench: hostile.pt asks for posix.mkdir when it is loaded, which could run code: refused; a checkpoint holds tensors and plain values"
    ]
    assert not (tmp_path / "was here").exists()


def test_a_missing_folder_and_nothing_valid_are_status_4(fabench: Fabench, tmp_path: Path, weights: str) -> None:
    arguments = ("evaluate", "stereo", "--data", "data", "--format", "middlebury", "--weights", weights)
    assert fabench(*arguments, status=4).stderr.startswith("fabench: data is no folder")
    generate.write_middlebury(tmp_path / "data", seed=1, scenes=1, height=30, width=50, max_disparity=14)
    pfm.write(tmp_path / "data/trainingQ/Made0/disp0GT.pfm", np.full((30, 50), np.inf, np.float32))
    shown = fabench(*arguments, status=4)
    assert "0 pixels" in shown.stdout
    assert "EPE" not in shown.stdout
    assert "1 of 1 pairs have no valid pixel" in shown.stderr


def test_too_little_memory_is_one_line_and_no_kill(tmp_path: Path, weights: str) -> None:
    generate.write_kitti(tmp_path / "data", seed=1, pairs=1, height=256, width=512, max_disparity=14)
    request = {
        "task": "stereo", "format": "kitti", "data": str(tmp_path / "data"), "split": None, "weights": str(tmp_path / weights),
        "device": "cpu", "batch": 1, "max_disparity": None, "non_occluded": False, "limit": None, "options": {"max_disparity": 192}, "memory_bytes": 200_000_000,
    }  # fmt: skip
    with pytest.raises(WorkerError, match="out of memory with 1 at a time on cpu; take a smaller --batch"):
        evaluated(request, lambda done, total: None)
