"""What an experiment's trials say, against scipy and against documents whose every difference is known."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fabench.accuracy import StereoErrors
from fabench.analysis.experiment import beside, conclusion, mean_interval, read
from fabench.environment import collect
from fabench.trialfile import path_of, read_experiment
from fabench.trials import (
    ARMS,
    DigitsExperiment,
    DigitsProtocol,
    DigitsTrial,
    MotorcycleExperiment,
    MotorcycleProtocol,
    MotorcycleTrial,
    PixelErrors,
    StereoReference,
    missing,
)

ENVIRONMENT = collect("experiment", "0", (), {}, {}, {})


def digits_trial(arm: str, seed: int, wrong: tuple[int, ...], loss: float = 0.5) -> DigitsTrial:
    missed = [sum(index // 500 == fold for index in wrong) for fold in range(2)]
    correct = tuple(500 - count for count in missed)
    return DigitsTrial(arm, seed, 100, 10, (500, 500), correct, wrong, loss, 0.1, 1.0)


def digits(counts: dict[str, list[int]], seeds: int | None = None, bound: float = 0.005) -> DigitsExperiment:
    """`counts`: wrong answers of 1,000 per arm and seed; arms without one have 50 wrong."""
    length = max(map(len, counts.values()))
    trials = [
        digits_trial(arm, seed, tuple(range(counts.get(arm, [50] * length)[seed])))
        for seed in range(length)
        for arm in ARMS["digits"]
        if seed < len(counts.get(arm, [50] * length))
    ]
    return DigitsExperiment(DigitsProtocol(seeds=seeds or length, bound=bound), ENVIRONMENT, tuple(trials))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_the_interval_is_scipys_t_interval(values: list[float]) -> None:
    found = mean_interval(values)
    assert found is not None
    error = stats.sem(values)
    expected = (np.mean(values),) * 2 if error == 0 else stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
    assert found.value == pytest.approx(np.mean(values), abs=1e-12)


def test_one_value_has_no_interval() -> None:
    assert mean_interval([0.5]) is None


def test_a_difference_is_the_paired_one() -> None:
    rng = np.random.default_rng(0)
    ease = rng.integers(0, 300, 20)  # seeds differ far more than arms: an unpaired interval would be many times as wide
    first, second = (ease + rng.integers(20, 30, 20) for _ in range(2))
    measure = read(digits({"factorized": first.tolist(), "dot_product": second.tolist()})).measures[0]
    difference = measure.differences[0]
    assert (difference.first, difference.second) == ("factorized", "dot_product")
    paired = stats.ttest_rel(-first / 1000, -second / 1000).confidence_interval(0.95)
    assert (difference.mean.low, difference.mean.high) == pytest.approx((paired.low, paired.high), rel=1e-9)
    unpaired = stats.ttest_ind(-first / 1000, -second / 1000).confidence_interval(0.95)
    assert difference.mean.high - difference.mean.low < (unpaired.high - unpaired.low) / 5
    arm = next(arm for arm in measure.arms if arm.arm == "factorized")
    assert arm.mean is not None
    assert arm.mean.value == pytest.approx(1 - first.mean() / 1000)
    assert arm.deviation == pytest.approx(first.std(ddof=1) / 1000)


@pytest.mark.parametrize(
    ("wrong", "equivalent", "resolved", "words"),
    [
        (
            [50, 51, 49, 50, 50, 51, 49, 50],
            True,
            False,
            "all of it within the +-0.50 points fixed beforehand: equivalent in this",
        ),
        ([52, 53, 51, 52, 52, 53, 51, 52], True, True, "though factorized is resolved as worse"),
        ([40, 41, 39, 40, 40, 41, 39, 40], False, True, "without 0: factorized is better in this experiment"),
        ([20, 80, 40, 65, 30, 70, 49, 50], False, False, "neither equivalence nor a difference is shown"),
    ],
)
def test_every_way_it_can_come_out(wrong: list[int], equivalent: bool, resolved: bool, words: str) -> None:
    reading = read(digits({"factorized": wrong}))
    difference = reading.measures[0].differences[0]
    assert difference.equivalent is equivalent
    assert difference.resolved is resolved
    said = conclusion(reading)
    assert words in said
    assert f"{100 - sum(wrong) / 80:.2f} % with factorized" in said
    assert "95.00 % with dot_product" in said
    assert "Only" not in said


def test_smaller_errors_are_better() -> None:
    def trial(arm: str, seed: int) -> MotorcycleTrial:
        epe = 2.0 + 0.01 * seed + (1.0 if arm == "dot_product" else 0.0)
        errors = PixelErrors(10, StereoErrors(epe, epe / 10, epe / 20))
        return MotorcycleTrial(arm, seed, 100, 10, errors, PixelErrors(8, StereoErrors(epe - 1, 0.0, 0.0)), (1.0,), 1.0)

    protocol = MotorcycleProtocol(seeds=5)
    trials = tuple(trial(arm, seed) for seed in range(5) for arm in ARMS["motorcycle"])
    reading = read(MotorcycleExperiment(protocol, ENVIRONMENT, (), trials))
    assert [measure.key for measure in reading.measures] == ["epe_px", "over_3px", "covered_epe_px", "covered_over_3px"]
    assert reading.measures[0].differences[0].mean.value == pytest.approx(-1)
    assert reading.measures[1].differences[0].mean.value == pytest.approx(-0.1)
    assert [measure.differences[0].bound for measure in reading.measures] == [protocol.bound_px, None, None, None]
    assert reading.measures[1].differences[0].equivalent is None
    assert "the paired difference is -1.000 px" in conclusion(reading)
    assert "factorized is better in this experiment" in conclusion(reading)


def test_only_seeds_with_every_arm_count() -> None:
    whole = digits({"factorized": [50, 52, 51]}, seeds=4)
    torn = replace(whole, trials=whole.trials[:-1])
    reading = read(torn)
    assert reading.seeds == (0, 1)
    assert (reading.planned, reading.lacking) == (4, 1 + len(ARMS["digits"]))
    assert len(reading.measures[0].differences[0].values) == 2
    assert conclusion(reading).endswith("Only 2 of 4 seeds so far.")
    assert missing(torn)[0] == (list(ARMS["digits"])[-1], 2)


@pytest.mark.parametrize("seeds", [0, 1])
def test_too_few_seeds_conclude_nothing(seeds: int) -> None:
    whole = digits({"factorized": [50, 52]}, seeds=4)
    reading = read(replace(whole, trials=whole.trials[: seeds * len(ARMS["digits"])]))
    assert conclusion(reading) == f"{seeds} of 4 seeds are complete: too few for an interval, so nothing is concluded."
    assert all(arm.mean is None for measure in reading.measures for arm in measure.arms)


def test_agreement_counts_answers_that_only_one_arm_got_right() -> None:
    whole = digits({"none": [50, 50]})
    changed = [
        replace(trial, wrong=(1, 2, 700), test_loss=0.25) if (trial.arm, trial.seed) == ("factorized_scaling", 1)
        else replace(trial, wrong=(2, 3)) if trial.arm == "dot_product_scaling" and trial.seed == 1
        else trial
        for trial in whole.trials
    ]  # fmt: skip
    found = read(replace(whole, trials=tuple(changed))).agreement
    assert found is not None
    assert (found.seeds, found.answers, found.differing) == (2, 2000, 3)
    assert math.isclose(found.loss_difference, 0.25)


def test_arms_stand_beside_what_learns_nothing() -> None:
    def errors(epe: float) -> PixelErrors:
        return PixelErrors(10, StereoErrors(epe, 0.5, 0.5))

    starts = {"none": 9.0, "factorized": 5.0, "dot_product": 6.9}  # the last one's interval reaches past 7
    trials = tuple(
        MotorcycleTrial(arm, seed, 100, 10, errors(start + 0.1 * seed), errors(1.0), (1.0,), 1.0)
        for seed in range(3)
        for arm, start in starts.items()
    )
    references = (
        StereoReference("sgbm", "untrained", 0.75, None, errors(0.5)),
        StereoReference("constant", "20 px", 1.0, errors(7.0), errors(7.0)),
    )
    experiment = MotorcycleExperiment(MotorcycleProtocol(seeds=3), ENVIRONMENT, references, trials)
    said = beside(experiment, read(experiment))
    assert said is not None
    assert "sgbm is 0.500 px off on the 75.0 % of the pixels that it answers" in said
    assert said.endswith("constant is 7.000 px off on all of them, and shown to be better: factorized.")
    without = replace(experiment, trials=tuple(trial for trial in trials if trial.arm != "dot_product"))
    assert beside(without, read(without)) is None
    worse = replace(experiment, references=(replace(references[1], all=errors(1.0)),))
    assert (
        beside(worse, read(worse))
        == "Without learning, constant is 1.000 px off on all of them, and no arm is shown to be better."
    )
    assert beside(digits({"none": [50, 50]}), read(digits({"none": [50, 50]}))) is None


@pytest.mark.parametrize(("name", "protocol"), [("digits", DigitsProtocol()), ("motorcycle", MotorcycleProtocol())])
def test_the_stored_experiments_are_whole_and_follow_the_protocol_that_the_code_states(
    name: str, protocol: DigitsProtocol | MotorcycleProtocol
) -> None:
    stored = read_experiment(path_of(Path(__file__).parents[2] / "results", name), name)
    assert stored is not None
    assert stored.protocol == protocol
    assert not missing(stored)
    assert stored.environment.packages["torch"] is not None
    counts = {trial.block_parameters for trial in stored.trials if trial.arm != "none"}
    assert len(counts) == 1  # of arms with a block, equally many in each
    by_seed: dict[int, list[MotorcycleTrial]] = {}
    for trial in stored.trials:
        if isinstance(trial, MotorcycleTrial):
            by_seed.setdefault(trial.seed, []).append(trial)
    if by_seed:
        first = np.array([[trial.losses[0] for trial in arms] for arms in by_seed.values()])
        # Arms of one seed begin as one function and see the same crops: seeds are further apart than they are.
        assert 3 * np.ptp(first, axis=1).max() < np.ptp(first.mean(axis=1))
        assert all(trial.losses[-1] < trial.losses[0] / 2 for arms in by_seed.values() for trial in arms)  # all have learnt
    reading = read(stored)
    assert reading.lacking == 0
    assert "Only" not in conclusion(reading)
