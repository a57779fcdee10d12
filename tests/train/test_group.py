"""Processes that train together: what torchrun says of them, and that two of them take the step of one with the joint batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fabench.errors import UsageError
from fabench.evaluate import checkpoint
from fabench.train.group import ALONE, Group, group_of
from fabench.train.loop import step
from tests.train.conftest import losses, request_of
from tests.train.test_loop import LOSS, Matcher, batch, gradients, nearly


@pytest.fixture(scope="module")
def together(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two processes' results: one step, and two epochs of one step of five pairs, of which the set's sixth is left out."""
    folder = tmp_path_factory.mktemp("ranks")
    request = request_of(pairs, folder / "out", {"batch": 5, "accumulate": 1}, every=1)
    (folder / "request.json").write_text(json.dumps(request))
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-m", "tests.train.ranks", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    running = [subprocess.Popen([*command, rank], cwd=root, env=environment, stderr=subprocess.PIPE, text=True) for rank in "01"]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return folder


def test_two_processes_have_the_joint_batchs_loss_and_gradient(together: Path) -> None:
    """Five valid pairs in uneven shares, one of the processes' parts without a valid pixel."""
    alone = Matcher()
    outcome = step(alone, [batch(6)], LOSS, torch.optim.SGD(alone.parameters(), lr=0.1))
    first, second = (torch.load(together / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for one in (first, second):
        assert one["loss"] == pytest.approx(outcome.loss, rel=1e-5)
        assert one["weight"] == outcome.weight
        assert nearly(one["gradients"], gradients(alone))
    assert all(torch.equal(value, second["weights"][key]) for key, value in first["weights"].items())
    assert nearly(list(first["weights"].values()), list(alone.state_dict().values()))


def test_only_the_first_process_writes_and_speaks(together: Path) -> None:
    first, second = (json.loads((together / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (first["steps"], second["steps"]) == (2, 2)
    assert first["loss"] == second["loss"] == losses(together / "out")[2]
    assert first["said"] == ["start", "step", "saved", "step", "saved", "end"]
    assert (second["said"], second["checkpoint"]) == ([], first["checkpoint"])
    assert sorted(path.name for path in (together / "out").iterdir()) == ["log.jsonl", "step-00000001.pt", "step-00000002.pt"]


def test_each_sample_counts_once_and_the_log_counts_them_all(together: Path) -> None:
    lines = [json.loads(line) for line in (together / "out/log.jsonl").read_text().splitlines()]
    assert lines[0]["processes"] == 2
    assert [line["weight"] for line in lines if line["event"] == "step"] == [5 * 32 * 48] * 2
    stored = checkpoint.read(together / "out/step-00000001.pt").content["training"]
    assert (stored["epoch"], stored["seen"]) == (0, 5)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ALONE),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, ALONE),
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Group(5, 8, 1)),
    ],
)
def test_what_torchrun_says(environment: dict[str, str], expected: Group) -> None:
    assert group_of(environment) == expected
    assert expected.writes == (expected.rank == 0)


@pytest.mark.parametrize("environment", [{"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "x"}, {"WORLD_SIZE": "0"}])
def test_what_torchrun_never_says(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="torchrun"):
        group_of(environment)


def test_a_gpu_for_each_process_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    words: Any = {word: Group(5, 8, 1).device_word(word) for word in ("auto", "cuda", "cuda:3", "cpu")}
    assert words == {"auto": "cuda:1", "cuda": "cuda:1", "cuda:3": "cuda:3", "cpu": "cpu"}
    assert ALONE.device_word("auto") == "auto"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert Group(5, 8, 1).device_word("auto") == "cpu"
