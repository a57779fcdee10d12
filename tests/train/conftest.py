"""Small trainings: PSMNet's basic form on six pairs of 48 x 80 pixels, by a request as `fabench train` makes it."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fabench.data import generate
from fabench.evaluate import checkpoint
from fabench.recipe import Trained
from fabench.train import trainer
from fabench.train.group import ALONE

Request = Callable[..., dict[str, Any]]


class Small(nn.Module):
    """Stands in for PSMNet where only the training matters: batch normalisation, and draws from every generator there is."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(), nn.Conv2d(8, 3, 1))
        self.max_disparity = 16

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, ...]:
        drawn = random.random() + np.random.rand()
        outputs: torch.Tensor = self.body(torch.cat([left, right], dim=1)) + drawn
        return outputs.unbind(1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings build `Small`."""
    monkeypatch.setattr("fabench.train.start.built", lambda task, build, device, *, seed, dtype: Small(seed))


BUILD = {"form": "basic", "max_disparity": 16, "where": "layer4", "attention.d_k": 8}


def request_of(data: Path, out: Path, changes: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """Two epochs of three steps."""
    small = {"epochs": 2, "batch": 2, "crop": [32, 48], "learning_rate": 1e-3, **(changes or {})}
    return {
        "task": "stereo", "format": "sceneflow", "data": str(data), "split": None, "limit": None, "out": str(out), "every": 100,
        "keep": 3, "resume": None, "init": None, "preset": None, "changes": small, "options": BUILD, "log": None, "device": "cpu",
        "workers": 0, "memory_bytes": None, **others,
    }  # fmt: skip


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs to train on, in Scene Flow's format."""
    folder = tmp_path_factory.mktemp("sceneflow")
    generate.write_sceneflow(folder, seed=1, train=6, test=1, height=48, width=80, max_disparity=14)
    return folder


@pytest.fixture
def request_to(pairs: Path, tmp_path: Path) -> Request:
    return lambda name="out", changes=None, **others: request_of(pairs, tmp_path / name, changes, **others)


def losses(out: Path) -> dict[int, float]:
    """By step, from the log; a later line replaces an earlier one of the same step."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["event"] == "step"}


def train(request: dict[str, Any], steps: int | None = None) -> Trained:
    """To its end, or as a signal would end it after so many steps."""
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1  # once before the first step
        return steps is not None and asked > steps

    return trainer.trained(request, torch.device("cpu"), ALONE, lambda **event: None, stopped)


def weights(path: str | None) -> dict[str, torch.Tensor]:
    assert path is not None
    return dict(checkpoint.read(Path(path)).state)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[key]) for key, value in a.items())
