"""What is kept between steps: generators by their seeds, settings that stay the recipe's, and checkpoints beyond those that stay."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from fabench.errors import DataError
from fabench.recipe import PRESETS, recipe_of
from fabench.train import state
from fabench.train.state import Place
from tests.train.conftest import Small


def drawn() -> tuple[float, float, float]:
    return float(torch.rand(())), random.random(), float(np.random.rand())


def test_every_generator_follows_from_seed_step_and_process() -> None:
    found = {}
    for seed, step, rank in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**62, 10**9, 7)):
        state.seed_step(seed, step, rank)
        found[seed, step, rank] = drawn()
        drawn()
        state.seed_step(seed, step, rank)
        assert drawn() == found[seed, step, rank]
    for one in zip(*found.values(), strict=True):
        assert len(set(one)) == len(found)


def test_old_checkpoints_go_only_after_the_new_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Small(0)
    recipe = PRESETS["stereo"]["paper"]
    optimiser, scaler = state.optimiser_of(recipe, network), torch.amp.GradScaler("cpu", enabled=False)

    def store(step: int, keep: int) -> Path:
        return state.store(tmp_path, keep, "stereo", {}, network, optimiser, scaler, recipe, {}, Place(0, step, step))

    for step in (1, 2, 30):
        store(step, keep=2)
    assert [path.name for path in state.found_in(tmp_path)] == ["step-00000002.pt", "step-00000030.pt"]
    assert state.latest(tmp_path).name == "step-00000030.pt"

    def refuse(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(DataError, match="No space left on device"):
            store(31, keep=1)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000002.pt", "step-00000030.pt"]
    store(31, keep=1)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000031.pt"]


def test_optimisers_are_what_the_recipe_says_over_what_learns() -> None:
    network = Small(0)
    network.body[0].weight.requires_grad_(False)
    for task, kind in (("stereo", torch.optim.Adam), ("detection", torch.optim.SGD)):
        made = state.optimiser_of(PRESETS[task]["paper"], network)
        assert type(made) is kind
        (group,) = made.param_groups
        assert len(group["params"]) == len(list(network.parameters())) - 1
    assert (group["momentum"], group["weight_decay"]) == (0.9, 1e-4)
    (group,) = state.optimiser_of(recipe_of("stereo", "psmnet", {}), network).param_groups
    assert group["betas"] == (0.9, 0.999)


def test_a_state_over_other_weights_is_refused(tmp_path: Path) -> None:
    network = Small(0)
    optimiser = state.optimiser_of(PRESETS["stereo"]["paper"], network)
    other = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]).state_dict()
    with pytest.raises(DataError, match=r"a\.pt has the state of an optimiser over other weights"):
        state.restore(Path("a.pt"), {"optimiser": other, "scaler": {}}, optimiser, torch.amp.GradScaler("cpu", enabled=False))
