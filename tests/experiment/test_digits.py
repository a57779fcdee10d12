"""Recognition of digits: what the arms share and what they differ in, and that a trial is decided by its arm and seed."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fabench.data import digits as data
from fabench.data.digits import Digits
from fabench.errors import UsageError
from fabench.experiment import digits
from fabench.models.blocks import AttentionBlock
from fabench.trials import ARMS, DigitsProtocol, DigitsTrial

PROTOCOL = DigitsProtocol(folds=2, epochs=1, batch=16)
ARM_NAMES = list(ARMS["digits"])
WITH_BLOCK = [arm for arm in ARM_NAMES if arm != "none"]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[Digits]:
    """A small set: noisy images of ten patterns, in an order of its own."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 96)
    images = (rng.random((10, 8, 8)) > 0.5)[labels] * 0.8 + 0.2 * rng.random((96, 8, 8))
    found = Digits(images, labels)
    monkeypatch.setattr(data, "load", lambda: found)
    threads = torch.get_num_threads()
    yield found
    torch.set_num_threads(threads)


def made(arm: str, seed: int = 0, protocol: DigitsProtocol = PROTOCOL) -> DigitsTrial:
    return replace(digits.trial(arm, seed, protocol), seconds=0.0)


def test_blocks_have_equal_parameters() -> None:
    counts = {arm: digits.build(arm, DigitsProtocol(), 0)[1] for arm in ARM_NAMES}
    channels, d_k = DigitsProtocol().channels, DigitsProtocol().d_k
    assert {counts[arm] for arm in WITH_BLOCK} == {2 * (channels + 1) * d_k + 2 * (channels + 1) * channels}
    assert counts["none"] == 0
    whole = {
        arm: sum(parameter.numel() for parameter in digits.build(arm, DigitsProtocol(), 0)[0].parameters()) for arm in ARM_NAMES
    }
    assert {whole[arm] - counts[arm] for arm in ARM_NAMES} == {whole["none"]}


def test_another_d_k_would_break_that_and_is_refused() -> None:
    with pytest.raises(UsageError, match="d_k is 4, must be half of 16 channels"):
        digits.build("none", replace(PROTOCOL, d_k=4), 0)


def test_first_weights_are_equal_outside_the_block_and_all_arms_begin_as_one_function() -> None:
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    networks = {arm: digits.build(arm, PROTOCOL, 7)[0].eval() for arm in ARM_NAMES}
    for network in networks.values():
        for part in (0, 2):
            for one, other in zip(network[part].parameters(), networks["none"][part].parameters(), strict=True):
                assert torch.equal(one, other)
        torch.testing.assert_close(network(x), networks["none"](x), rtol=1e-12, atol=1e-12)
    keys = [network[1].keys.weight for network in networks.values() if isinstance(network[1], AttentionBlock)]
    assert len(keys) == 4
    assert all(torch.equal(one, keys[0]) for one in keys)
    next_seed = digits.build("none", PROTOCOL, 8)[0]
    assert not torch.equal(next(next_seed.parameters()), next(networks["none"].parameters()))


@pytest.mark.parametrize("arm", WITH_BLOCK)
def test_only_attention_mixes_positions(arm: str) -> None:
    block = digits.build(arm, PROTOCOL, 0)[0][1]
    assert isinstance(block.reprojection, nn.Conv2d)
    nn.init.normal_(block.reprojection.weight)
    x = torch.randn(1, PROTOCOL.channels, 8, 8, dtype=torch.float64)
    moved = x.clone()
    moved[..., 0, 0] += 1
    elsewhere = (block(moved) - block(x))[..., 1:, 1:].abs().max().item()
    assert elsewhere == 0 if arm == "pointwise" else elsewhere > 1e-6


def test_one_function_in_two_arms_learns_the_same_up_to_rounding() -> None:
    first, second = made("factorized_scaling"), made("dot_product_scaling")
    assert first.wrong == second.wrong
    assert first.test_loss == pytest.approx(second.test_loss, rel=1e-9)
    assert first.train_loss == pytest.approx(second.train_loss, rel=1e-5)
    assert made("factorized").test_loss != pytest.approx(made("dot_product").test_loss, rel=1e-9)


def test_equal_seeds_give_equal_trials_and_others_don_t() -> None:
    torch.manual_seed(3)
    first = made("factorized", 1)
    torch.manual_seed(4)
    assert made("factorized", 1) == first
    assert made("factorized", 2).test_loss != first.test_loss


def test_folds_are_runs_that_cover_every_image_once() -> None:
    found = digits.folds(1797, 5)
    assert [index for part in found for index in part] == list(range(1797))
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_no_image_is_tested_by_a_network_that_learnt_it(monkeypatch: pytest.MonkeyPatch, few: Digits) -> None:
    seen: list[set[tuple[float, ...]]] = []

    def watched(network: nn.Module, found: digits.ImageBatch, protocol: DigitsProtocol, seed: int) -> float:
        seen.append({tuple(image.flatten().tolist()) for image in found.images})
        return 0.0

    monkeypatch.setattr(digits, "_train", watched)
    made("none")
    for learnt, part in zip(seen, digits.folds(len(few.labels), 2), strict=True):
        tested = {tuple(few.images[index].flatten().tolist()) for index in part}
        assert not learnt & tested
        assert len(learnt) + len(tested) == len(few.labels)


def test_counts_are_of_the_images_listed_as_wrong() -> None:
    trial = made("none", protocol=replace(PROTOCOL, epochs=2))
    assert trial.fold_images == (48, 48)
    assert sum(trial.fold_correct) == 96 - len(trial.wrong)
    assert trial.fold_correct[0] == 48 - sum(index < 48 for index in trial.wrong)
    assert trial.accuracy == pytest.approx(1 - len(trial.wrong) / 96, rel=1e-12)
    assert len(set(trial.wrong)) == len(trial.wrong)


def test_what_can_be_learnt_is_learnt() -> None:
    assert made("factorized", protocol=replace(PROTOCOL, epochs=16)).accuracy > 0.8


def test_progress_ends_at_one() -> None:
    told: list[float] = []
    digits.trial("none", 0, PROTOCOL, told.append)
    assert told == [0.5, 1.0]


def test_an_unknown_arm_is_refused() -> None:
    with pytest.raises(UsageError, match="'linear' is no arm; there are none, pointwise"):
        digits.build("linear", PROTOCOL, 0)
