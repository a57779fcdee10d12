"""What a self-test says against machines whose noise is known."""

import math

import numpy as np
import pytest
from scipy import stats

from fabench.analysis.gate import Rule, promised
from fabench.analysis.selftest import self_test

RULE = Rule()


def pairs(spread: float, effect: float = 0.0, count: int = 30, seed: int = 0) -> list[float]:
    drawn: list[float] = (math.log1p(effect) + spread * np.random.default_rng(seed).standard_normal(count)).tolist()
    return drawn


def machine(spread: float, cells: int = 10) -> dict[str, list[float]]:
    return {f"cell {index}": pairs(spread, seed=index + 1) for index in range(cells)}


def test_a_quiet_machine_promises_and_keeps_what_it_promises() -> None:
    found = self_test(machine(0.02), {("cell 0", 0.1): pairs(0.02, 0.1), ("cell 1", 0.02): pairs(0.02, 0.02)}, RULE, 1, 300)
    assert found.alarms.value <= 0.01
    large, small = found.planted
    assert large.power.value >= 0.95
    assert large.measured == pytest.approx(0.1, abs=0.02)
    assert small.power.value <= 0.2
    assert found.promise is not None
    assert RULE.min_effect < found.promise < 0.1


def test_a_noisy_machine_promises_less() -> None:
    promises = [self_test(machine(spread), {}, RULE, 1, 50).promise for spread in (0.01, 0.03, 0.08)]
    known = [promise for promise in promises if promise is not None]
    assert len(known) == 3
    assert known == sorted(known)
    assert known[-1] > 0.15


def test_a_machine_that_flips_is_seen_to_cry_wolf_or_to_promise_nothing() -> None:
    rng = np.random.default_rng(5)
    flipping = {f"cell {index}": (0.02 * rng.standard_normal(30) + 0.5 * (rng.random(30) < 0.2)).tolist() for index in range(10)}
    promise = self_test(flipping, {}, RULE, 1, 100).promise
    assert promise is None or promise > 0.2


def test_a_biased_side_is_shown() -> None:
    biased = {name: [value + 0.08 for value in values] for name, values in machine(0.01).items()}
    found = self_test(biased, {}, RULE, 1, 100)
    assert found.bias == pytest.approx(0.08, abs=0.01)
    assert found.alarms.value > 0.9, "a gate of these pairs would be wrong, and the self-test says so"


@pytest.mark.parametrize("spread", [0.01, 0.025, 0.05])
def test_what_is_promised_is_found_in_95_of_100(spread: float) -> None:
    effect = promised(spread, RULE, 10)
    assert effect is not None
    once = Rule(RULE.min_effect, RULE.alpha / len(RULE.looks), (RULE.looks[-1],))
    rng = np.random.default_rng(2)
    count = once.looks[-1]
    level = once.alpha / 10
    data = math.log1p(effect) + spread * rng.standard_normal((4000, count))
    p = stats.ttest_1samp(data, 0, axis=1, alternative="greater").pvalue
    seen = float(np.mean((p <= level) & (np.median(data, axis=1) >= math.log1p(once.min_effect))))
    assert 0.93 < seen < 0.97


def test_the_interval_of_a_share_is_clopper_pearsons() -> None:
    found = self_test(machine(0.02), {}, RULE, 1, 40).alarms
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="5 or more pairs"):
        self_test({"a": [0.0] * 4}, {}, RULE, 1)
    with pytest.raises(ValueError, match="same"):
        self_test({"a": [0.0] * 6, "b": [0.0] * 7}, {}, RULE, 1)
