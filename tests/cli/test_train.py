"""`fabench train` as a user runs it: to its end, on two processes, interrupted, and every mistake in one line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fabench.data import generate
from tests.cli.conftest import Fabench, command

SMALL = ["--crop", "32x48", "--batch", "2", "--set", "form=basic", "--set", "max_disparity=16"]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    generate.write_sceneflow(tmp_path / "data", seed=1, train=4, test=1, height=48, width=64, max_disparity=14)
    return ["train", "stereo", "--data", "data", "--format", "sceneflow", *SMALL]


def test_a_training_and_an_evaluation_of_its_checkpoint(fabench: Fabench, tmp_path: Path, arguments: list[str]) -> None:
    more = [
        "--epochs",
        "1",
        "--set",
        "where=layer4",
        "--set",
        "attention.d_k=8",
        "--lr",
        "0.001",
        "--seed",
        "3",
        "--order-seed",
        "4",
    ]
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    shown = fabench(*arguments, *more, "--every", "1", "--log", "curves")
    assert shown.stdout.startswith("2 steps, the last with the loss ")
    assert shown.stdout.endswith("; checkpoint training/step-00000002.pt\n")
    assert shown.stderr.splitlines()[0] == "2 steps per epoch, 1 epochs, on cpu"
    assert shown.stderr.splitlines()[1:] == [f"step {step}: training/step-0000000{step}.pt" for step in (1, 2)]
    begun = json.loads((tmp_path / "training/log.jsonl").read_text().splitlines()[0])["recipe"]
    assert (begun["learning_rate"], begun["order_seed"], begun["augmentation_seed"], begun["weights_seed"]) == (0.001, 4, 3, 3)
    assert list((tmp_path / "curves").glob("events.out.tfevents.*"))
    found = fabench(
        "evaluate", "stereo", "--data", "data", "--format", "sceneflow", "--weights", "training/step-00000002.pt", "--json"
    )
    assert json.loads(found.stdout)["build"]["attention"] == {"d_k": 8}
    again = fabench(*arguments, status=2).stderr
    assert again.startswith("fabench: training holds the checkpoints of a training; go on with it by --resume latest")


def test_two_processes_of_torchrun(tmp_path: Path, arguments: list[str]) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "fabench"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "NO_COLOR": "1"}
    result = subprocess.run(
        [*torchrun, *arguments, "--batch", "4", "--epochs", "1", "--device", "cpu", "--json"],
        capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()  # of the first process alone
    assert json.loads(line)["steps"] == 1
    begun = json.loads((tmp_path / "training/log.jsonl").read_text().splitlines()[0])
    assert (begun["processes"], begun["steps_per_epoch"]) == (2, 1)


def test_an_interruption_leaves_a_checkpoint_and_the_status_130(tmp_path: Path, arguments: list[str]) -> None:
    with subprocess.Popen(
        command(*arguments, "--epochs", "1000", "--every", "1"), cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any(line.startswith("step 1:") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "interrupted; go on with --resume latest"
    path = out.rpartition("checkpoint ")[2].strip()
    assert (tmp_path / path).is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stereo"], "--data"),
        (["speech", "--data", "x"], "nothing called 'speech' to train; there are detection, stereo"),
        (["stereo", "--data", "x"], "with --format; there are sceneflow, kitti, middlebury"),
        (["stereo", "--data", "x", "--format", "coco"], "no data sets in the format 'coco'"),
        (["detection", "--data", "x", "--preset", "psmnet"], "detection has no preset 'psmnet'; there are paper"),
        (["detection", "--data", "x", "--resume", "latest", "--preset", "paper"], "leave --preset and --init out"),
        (["detection", "--data", "x", "--milestones", "18;21"], "--milestones is '18;21', must be whole numbers"),
        (["detection", "--data", "x", "--crop", "big"], "--crop is 'big', must be whole numbers"),
        (["detection", "--data", "x", "--keep", "0"], "--keep"),
        (["detection", "--data", "x", "--set", "where"], "has no value"),
    ],
)
def test_a_wrong_word_is_one_line_and_status_2(fabench: Fabench, arguments: list[str], words: str) -> None:
    lines = fabench("train", *arguments, status=2).stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("fabench: ")
    assert words in lines[0]


def test_a_missing_folder_is_status_4(fabench: Fabench) -> None:
    shown = fabench("train", "stereo", "--data", "nowhere", "--format", "kitti", status=4)
    assert shown.stderr.strip() == "fabench: nowhere is no folder; --data names the one that holds KITTI 2015 or 2012"
