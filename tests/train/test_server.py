"""The training process itself: killed in the middle and gone on, ended by a signal, and left by its parent."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fabench.evaluate import checkpoint
from tests.train.conftest import Request, losses, same, train, weights


@contextmanager
def server(request: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """With as many threads as this process has: sums of other threads round otherwise."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(
        [sys.executable, "-m", "fabench.train.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    return (json.loads(line) for line in process.stdout)


def until_step(process: subprocess.Popen[str], step: int) -> None:
    assert any(event["event"] == "step" and event["step"] == step for event in said(process))


def test_killed_and_gone_on_has_the_losses_of_an_uninterrupted_training(request_to: Request, tmp_path: Path) -> None:
    """PSMNet with attention; the kill -9 falls somewhere after the fourth of six steps: in the fifth, or in writing a checkpoint."""
    whole = train(request_to("whole"))
    with server(request_to("cut", every=1, keep=2)) as process:
        until_step(process, 4)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    left = sorted((tmp_path / "cut").glob("step-????????.pt"))
    assert 3 <= int(left[-1].stem.removeprefix("step-")) < 6
    end = train(request_to("cut", resume="latest"))
    assert len(set(losses(tmp_path / "whole").values())) == 6
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert same(weights(end.checkpoint), weights(whole.checkpoint))


def test_a_signal_ends_it_after_the_step_in_hand_with_a_checkpoint(request_to: Request, tmp_path: Path) -> None:
    with server(request_to(changes={"epochs": 1000})) as process:
        until_step(process, 1)
        process.send_signal(signal.SIGTERM)
        *_, end = said(process)
        assert process.wait() == 0
    assert end["event"] == "result"
    assert end["value"]["interrupted"]
    assert 1 <= end["value"]["steps"] < 50
    assert end["value"]["checkpoint"] == str(tmp_path / f"out/step-{end['value']['steps']:08d}.pt")
    assert checkpoint.read(Path(end["value"]["checkpoint"])).content["training"]["step"] == end["value"]["steps"]


def test_a_parent_that_is_gone_ends_it_with_a_checkpoint(request_to: Request, tmp_path: Path) -> None:
    with server(request_to(changes={"epochs": 1000})) as process:
        until_step(process, 1)
        assert process.stdout is not None
        process.stdout.close()
        process.wait()
    assert list((tmp_path / "out").glob("step-????????.pt"))
