"""The stereo experiment: training and test share no pixel and no scene point, arms share all but the block, a trial is decided by arm and seed."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fabench.data.packaged import stereo_motorcycle
from fabench.data.stereo import StereoPair
from fabench.errors import UsageError
from fabench.models.stereo import normalise
from fabench.train.losses import StereoLoss
from fabench.trials import ARMS, MotorcycleProtocol, MotorcycleTrial

pytest.importorskip("cv2", reason="OpenCV is not installed")
from fabench.experiment import motorcycle
from fabench.experiment.training import trained

TINY = MotorcycleProtocol(
    form="basic",
    reduction=1,
    max_disparity=16,
    train_columns=80,
    margin=16,
    crop_height=32,
    crop_width=48,
    shift=4,
    batch=2,
    steps=3,
    d_k=8,
)
ARM_NAMES = list(ARMS["motorcycle"])


def scene(height: int = 48, width: int = 160, seed: int = 0) -> StereoPair:
    """Random dots, the left view's upper half 4 px and its lower half 11 px from the right view's; some disparities unknown."""
    rng = np.random.default_rng(seed)
    right = rng.integers(0, 256, (height, width + 16, 3), dtype=np.uint8)
    disparity = np.where(np.arange(height)[:, None] < height // 2, 4.0, 11.0).repeat(width, axis=1).astype(np.float32)
    columns = np.arange(width)[None, :] - disparity.astype(int)
    left = right[np.arange(height)[:, None], columns % (width + 16)]
    disparity[rng.random((height, width)) < 0.1] = np.nan
    return StereoPair("dots", left, right[:, :width].copy(), disparity)


@pytest.fixture(autouse=True)
def dots(monkeypatch: pytest.MonkeyPatch) -> Iterator[StereoPair]:
    pair = scene()
    monkeypatch.setattr(motorcycle, "stereo_motorcycle", lambda: pair)
    threads = torch.get_num_threads()
    yield pair
    torch.set_num_threads(threads)


def made(arm: str, seed: int = 0, protocol: MotorcycleProtocol = TINY) -> MotorcycleTrial:
    return replace(motorcycle.trial(arm, seed, protocol), seconds=0.0)


def read_in_training(protocol: MotorcycleProtocol, size: tuple[int, int], seed: int) -> tuple[set[int], set[int]]:
    """Columns of the left and the right view that any crop of the seed holds."""
    left: set[int] = set()
    right: set[int] = set()
    for step in motorcycle.corners((size[0], protocol.train_columns), protocol, seed):
        for at in step:
            assert 0 <= at.row <= size[0] - protocol.crop_height
            left |= set(range(at.column, at.column + protocol.crop_width))
            right |= set(range(at.column + at.shift, at.column + at.shift + protocol.crop_width))
    return left, right


@given(seed=st.integers(0, 10_000), shift=st.integers(0, 32))
@settings(max_examples=20, deadline=None)
def test_no_tested_point_was_seen_in_training(seed: int, shift: int) -> None:
    """Of the protocol that is run, on the real pair's size, for the crops that are drawn."""
    protocol, (height, width) = replace(MotorcycleProtocol(), shift=shift), (250, 370)  # of the real pair, reduced
    left, right = read_in_training(protocol, (height, width), seed)
    assert min(left | right) >= 0
    assert max(left | right) < protocol.train_columns
    read = set(range(protocol.read_from, width))
    assert not read & left
    assert not read & right
    # A point at column x of the left view lies at x - d of the right view, 0 <= d < max_disparity.
    seen = left | {column + disparity for column in right for disparity in range(protocol.max_disparity)}
    tested_by = read | {column + disparity for column in read for disparity in range(protocol.max_disparity)}
    assert not seen & {column for column in tested_by if column >= protocol.read_from}
    assert protocol.read_from - (protocol.train_columns - 1) > protocol.max_disparity
    assert protocol.test_from - protocol.max_disparity >= protocol.read_from  # every tested point's partner is read


def test_training_sees_nothing_right_of_its_part(dots: StereoPair) -> None:
    before = made("factorized")
    for values in (dots.left, dots.right, dots.disparity):
        values[:, TINY.train_columns :] = values[:, TINY.train_columns :][::-1].copy()
    after = made("factorized")
    assert after.losses == before.losses
    assert after.all != before.all


def test_the_test_reads_nothing_left_of_its_part(dots: StereoPair) -> None:
    network = motorcycle.build("factorized", TINY, 0).eval()
    _, before = motorcycle.parts(dots, TINY)
    expected = motorcycle._predicted(network, before)
    for values in (dots.left, dots.right, dots.disparity):
        values[:, : TINY.read_from] = 77
    _, after = motorcycle.parts(dots, TINY)
    np.testing.assert_array_equal(motorcycle._predicted(network, after), expected)
    np.testing.assert_array_equal(motorcycle.tested(after, TINY), motorcycle.tested(before, TINY))


def test_tested_columns_are_those_whose_partners_are_read(dots: StereoPair) -> None:
    known = np.isfinite(motorcycle.tested(motorcycle.parts(dots, TINY).test, TINY))
    assert not known[:, :16].any()
    np.testing.assert_array_equal(known[:, 16:], np.isfinite(dots.disparity[:, TINY.test_from :]))
    assert made("none").all.pixels == known.sum()


def test_a_reduced_pair_has_means_and_knows_no_edges() -> None:
    columns = np.arange(7) * 4
    left = np.repeat(np.arange(5, dtype=np.uint8)[:, None] * 40 + columns.astype(np.uint8), 3).reshape(5, 7, 3)
    disparity = np.full((5, 7), 10, np.float32)
    disparity[0, 1], disparity[2, 2], disparity[2:4, 4:6] = np.nan, 13, ((12, 13), (13, 14))
    found = motorcycle.reduced(StereoPair("steps", left, left[::-1].copy(), disparity), 2)
    assert found.left[..., 0].tolist() == [[22, 30, 38], [102, 110, 118]]
    assert found.right[..., 0].tolist() == [[142, 150, 158], [62, 70, 78]]
    np.testing.assert_array_equal(found.disparity, [[np.nan, 5, 5], [5, np.nan, 6.5]])
    whole = motorcycle.reduced(scene(), 1)
    np.testing.assert_array_equal(whole.left, scene().left)
    np.testing.assert_array_equal(whole.disparity, scene().disparity)


@pytest.mark.parametrize("seed", range(3))
def test_a_moved_right_view_still_matches(dots: StereoPair, seed: int) -> None:
    """In random dots a left pixel equals the right one at its disparity: also after the right view was moved and both were mirrored."""
    part = motorcycle.parts(dots, TINY).training
    compared = 0
    for batch in motorcycle.batches(part, TINY, seed):
        assert batch.disparity.shape == (2, 32, 48)
        for left, right, disparity in zip(*batch, strict=True):
            assert not (disparity < 0).any()
            for row, column in torch.nonzero(torch.isfinite(disparity)).tolist():
                partner = column - int(disparity[row, column])
                if partner >= 0:
                    assert torch.equal(left[:, row, column], right[:, row, partner])
                    compared += 1
    assert compared > 2000


def test_crops_are_decided_by_the_seed_alone_and_use_all_they_may() -> None:
    many = replace(TINY, steps=400)
    drawn = [at for step in motorcycle.corners((48, 80), many, 1) for at in step]
    assert drawn == [at for step in motorcycle.corners((48, 80), many, 1) for at in step]
    assert drawn != [at for step in motorcycle.corners((48, 80), many, 2) for at in step]
    assert {at.shift for at in drawn} == set(range(-4, 5))
    assert {at.mirrored for at in drawn} == {False, True}
    assert {at.row for at in drawn} == set(range(17))
    left, right = read_in_training(many, (48, 80), 1)
    assert left | right == set(range(80))


def test_arms_share_all_but_the_block() -> None:
    networks = {arm: motorcycle.build(arm, TINY, 3).eval() for arm in ARM_NAMES}
    plain = networks["none"].state_dict()
    for network in networks.values():
        state = network.state_dict()
        assert all(torch.equal(state[key], value) for key, value in plain.items())
    added = [networks[arm].state_dict() for arm in ("factorized", "dot_product")]
    for key in added[0].keys() - plain.keys():
        assert torch.equal(added[0][key], added[1][key])
    views = normalise(torch.rand(2, 1, 3, 32, 48))
    expected = networks["none"](*views)[-1]
    for network in networks.values():
        torch.testing.assert_close(network(*views)[-1], expected)


def test_parameters_are_the_papers() -> None:
    whole = MotorcycleProtocol()
    counts = {arm: sum(parameter.numel() for parameter in motorcycle.build(arm, whole, 0).parameters()) for arm in ARM_NAMES}
    assert counts == {"none": 5_224_768, "factorized": 5_274_304, "dot_product": 5_274_304}


def test_equal_seeds_give_equal_trials_and_arms_differ() -> None:
    torch.manual_seed(1)
    first = made("factorized")
    torch.manual_seed(2)
    assert made("factorized") == first
    other = made("dot_product")
    assert other.losses[0] == pytest.approx(first.losses[0], rel=1e-6)  # the identity at first
    assert other.losses[1:] != first.losses[1:]
    assert made("factorized", 1).losses != first.losses


@pytest.mark.parametrize("seed", [0, 1])
def test_arms_of_the_whole_protocol_begin_as_one_function(seed: int) -> None:
    """On the real pair, with the networks and crops that the stored experiment has: their first losses are equal."""
    pytest.importorskip("skimage", reason="scikit-image, which has the pair, is not installed")
    whole = MotorcycleProtocol()
    training = motorcycle.parts(motorcycle.reduced(stereo_motorcycle(), whole.reduction), whole).training
    first = {
        arm: next(
            trained(
                motorcycle.build(arm, whole, seed),
                motorcycle.batches(training, whole, seed),
                whole.steps,
                StereoLoss(whole.max_disparity),
                whole.learning_rate,
            )
        )
        for arm in ARM_NAMES
    }
    assert first["factorized"] == pytest.approx(first["none"], rel=1e-6)
    assert first["dot_product"] == pytest.approx(first["none"], rel=1e-6)


def test_references_answer_the_same_pixels(dots: StereoPair) -> None:
    sgbm, constant = motorcycle.references(TINY)
    trial = made("none")
    assert constant.all is not None
    assert (constant.all.pixels, constant.covered.pixels) == (trial.all.pixels, trial.covered.pixels)
    assert sgbm.covered.pixels == trial.covered.pixels
    assert sgbm.coverage == trial.covered.pixels / trial.all.pixels
    truth = motorcycle.tested(motorcycle.parts(dots, TINY).test, TINY)
    median = np.nanmedian(dots.disparity[:, : TINY.train_columns])
    assert constant.all.errors.epe_px == pytest.approx(np.nanmean(np.abs(truth - median)), rel=1e-6)


def test_semi_global_matching_finds_the_dots() -> None:
    sgbm, _ = motorcycle.references(TINY)
    assert sgbm.coverage > 0.3
    assert sgbm.covered.errors.epe_px < 1
    assert sgbm.all is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"margin": 15}, "margin is 15, below 16: points of the test could be seen in training"),
        ({"train_columns": 128}, "tests begin at column 160, but the pair has 160"),
        ({"crop_width": 80}, "crops are 32x80, moved by up to 4, but the training part is only 48x80"),
    ],
)
def test_a_protocol_that_can_t_be_is_refused(changed: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        made("none", protocol=replace(TINY, **changed))  # type: ignore[arg-type]


def test_progress_rises_to_one() -> None:
    told: list[float] = []
    motorcycle.trial("none", 0, TINY, told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_an_unknown_arm_is_refused() -> None:
    with pytest.raises(UsageError, match="'linear' is no arm; there are none, factorized, dot_product"):
        motorcycle.build("linear", TINY, 0)
