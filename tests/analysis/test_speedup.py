import numpy as np
import pytest

from fabench.analysis.frame import tidy
from fabench.analysis.speedup import speedups
from tests import synthetic

SIZES = [256, 512, 1024]


def test_factors_stay_within_the_same_function() -> None:
    found = speedups(tidy(synthetic.records()))
    assert found and all(one.same_function for one in found)
    pairs = {(one.implementation, one.baseline) for one in found}
    assert pairs == {("sdpa", "dot_product"), ("factorized_looped", "factorized_plain"), ("experimental", "factorized_plain")}


def test_another_function_is_named_and_only_on_demand() -> None:
    found = speedups(tidy(synthetic.records()), other_function=True)
    assert {one.baseline for one in found} == {"dot_product"}
    other = [one for one in found if one.implementation == "factorized_plain"]
    assert len(other) == 5
    for one in other:
        assert not one.same_function
        assert (one.function, one.baseline_function) == ("factorized softmax attention", "dot-product softmax attention")


def test_families_that_compute_the_same_are_compared() -> None:
    found = speedups(tidy(synthetic.records(normalisations=["scaling"], failures=False)))
    assert ("factorized_plain", "dot_product") in {(one.implementation, one.baseline) for one in found}


def test_the_factor_is_the_ratio_of_medians() -> None:
    slow = synthetic.curve("dot_product", dict.fromkeys(SIZES, 3.0))
    fast = synthetic.curve("sdpa", dict.fromkeys(SIZES[1:], 2.0))
    found = speedups(tidy([*slow, *fast]))
    assert [one.n for one in found] == SIZES[1:]
    for one in found:
        assert (one.ratio.value, one.ratio.low, one.ratio.high) == pytest.approx((1.5, 1.5, 1.5))


def test_intervals_cover() -> None:
    records = []
    for seed in range(150):
        records += synthetic.curve("dot_product", {256: 3.0}, noise=0.1, seed=2 * seed, heads=seed + 1)
        records += synthetic.curve("sdpa", {256: 2.0}, noise=0.1, seed=2 * seed + 1, heads=seed + 1)
    found = speedups(tidy(records))
    assert len(found) == 150
    assert 0.88 <= np.mean([one.ratio.low <= 1.5 <= one.ratio.high for one in found]) <= 0.99


def test_baselines_by_preference_then_by_name() -> None:
    frame = tidy(synthetic.records(failures=False))
    assert {one.baseline for one in speedups(frame, baselines=["sdpa"])} == {"sdpa", "experimental"}
    assert {one.baseline for one in speedups(frame, baselines=())} == {"dot_product", "experimental"}


def test_memory_factors_are_exact() -> None:
    frame = tidy(synthetic.records(["dot_product", "sdpa"], SIZES))
    for one in speedups(frame, "memory"):
        first, second = (
            frame[(frame["implementation"] == name) & (frame["n"] == one.n)]["delta_bytes"].item()
            for name in ("dot_product", "sdpa")
        )
        assert one.ratio.value == one.ratio.low == one.ratio.high == first / second


def test_a_baseline_that_never_ran_is_passed_over() -> None:
    frame = tidy(synthetic.records(["dot_product", "sdpa", "factorized_plain"], [16384], normalisations=["scaling"]))
    assert {(one.implementation, one.baseline) for one in speedups(frame)} == {("sdpa", "factorized_plain")}
