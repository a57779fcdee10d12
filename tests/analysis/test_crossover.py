import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabench.analysis.crossover import Crossover, crossovers
from fabench.analysis.frame import tidy
from fabench.schema import Record
from tests import synthetic

SIZES = [256 * 2**power for power in range(7)]


def pair(
    quadratic: dict[int, float], linear: dict[int, float], noise: float = 0.0, seed: int = 0, heads: int = 1
) -> list[Record]:
    first = synthetic.curve("dot_product", quadratic, noise=noise, seed=2 * seed, heads=heads)
    return [*first, *synthetic.curve("factorized_plain", linear, noise=noise, seed=2 * seed + 1, heads=heads)]


def power(scale: float, exponent: float, sizes: list[int] = SIZES) -> dict[int, float]:
    return {n: scale * n**exponent for n in sizes}


def only(found: list[Record]) -> Crossover:
    (result,) = crossovers(tidy(found))
    return result


def test_power_laws_cross_where_they_must() -> None:
    found = only(pair(power(1e-9, 2), power(1.5e-6, 1)))
    assert found.n is not None and found.status == "crossed" and found.crossings == 1
    assert (found.n.value, found.n.low, found.n.high) == pytest.approx((1500, 1500, 1500))
    assert (found.first, found.second, found.before, found.after) == (
        "dot_product",
        "factorized_plain",
        "dot_product",
        "factorized_plain",
    )
    assert found.range == (256, 16384) and found.reached_share == 1 and not found.open_low and not found.open_high
    assert not found.same_function and found.note == "one crossing at n = 256 to 16,384"


def test_intervals_cover_planted_crossovers() -> None:
    found = []
    for seed in range(150):
        found += pair(power(1e-9, 2), power(1.5e-6, 1), noise=0.05, seed=seed, heads=seed + 1)
    results = [one.n for one in crossovers(tidy(found)) if one.n is not None]
    assert len(results) == 150
    assert 0.88 <= np.mean([one.low <= 1500 <= one.high for one in results]) <= 0.99


@pytest.mark.parametrize(("scale", "ahead"), [(1e-7, "factorized_plain"), (1e-3, "dot_product")])
def test_not_reached_says_who_is_ahead(scale: float, ahead: str) -> None:
    found = only(pair(power(1e-9, 2), power(scale, 1), noise=0.02))
    assert found.status == "not_reached" and found.n is None and found.crossings == 0 and found.reached_share == 0
    assert found.before == found.after == ahead and found.note == f"{ahead} is ahead at n = 256 to 16,384"


def test_several_crossings_take_the_last() -> None:
    linear = power(1e-6, 1)
    factors = dict(zip(SIZES, (2.0, 0.5, 2.0, 2.0, 0.5, 0.5, 0.5), strict=True))
    found = only(pair({n: factors[n] * linear[n] for n in SIZES}, linear))
    assert found.status == "several" and found.crossings == 3 and found.n is not None
    assert found.n.value == pytest.approx(math.sqrt(2048 * 4096))
    assert (found.before, found.after) == ("factorized_plain", "dot_product")
    assert found.note == "the last of 3 crossings at n = 256 to 16,384"


def test_a_crossing_at_the_end_has_an_open_interval() -> None:
    linear = power(1e-6, 1, SIZES[:4])
    quadratic = {n: linear[n] * factor for n, factor in zip(SIZES[:4], (0.5, 0.6, 0.7, 1.005), strict=True)}
    found = only(pair(quadratic, linear, noise=0.2, seed=4))
    share = found.reached_share
    assert 0 < share < 1
    if found.n is not None:
        assert found.open_high and found.n.high == pytest.approx(2048) and not found.open_low


def test_a_crossing_at_the_start_is_open_below() -> None:
    linear = power(1e-6, 1, SIZES[:4])
    quadratic = {n: linear[n] * factor for n, factor in zip(SIZES[:4], (0.99, 1.5, 2.0, 3.0), strict=True)}
    results = [only(pair(quadratic, linear, noise=0.2, seed=seed)) for seed in range(8)]
    reached = [one for one in results if one.n is not None]
    assert reached and all(one.open_low and not one.open_high for one in reached)
    assert all(one.n is not None and one.n.low == pytest.approx(256) for one in reached)


def test_equal_curves_have_nobody_ahead() -> None:
    found = only(pair(power(1e-6, 1), power(1e-6, 1)))
    assert found.status == "not_reached" and found.before is found.after is None and found.note.startswith("equal at")


def test_one_shared_n_and_none() -> None:
    found = only(pair(power(1e-9, 2, SIZES[:2]), power(1e-6, 1, SIZES[1:3])))
    assert found.range == (512, 512) and found.status == "not_reached" and found.after == "dot_product"
    assert crossovers(tidy(pair(power(1e-9, 2, SIZES[:2]), power(1e-6, 1, SIZES[2:])))) == []


def test_only_the_same_setting_and_device_is_compared() -> None:
    first = synthetic.curve("dot_product", power(1e-9, 2), heads=1)
    assert crossovers(tidy([*first, *synthetic.curve("factorized_plain", power(1e-6, 1), heads=2)])) == []
    assert crossovers(tidy([*first, *synthetic.curve("factorized_plain", power(1e-6, 1), device="cuda")])) == []


def test_pairs_across_families_and_within_on_demand() -> None:
    frame = tidy(synthetic.records(failures=False))
    names = {(one.first, one.second) for one in crossovers(frame)}
    assert len(names) == 6 and all(first in ("dot_product", "sdpa") for first, _ in names)
    everyone = crossovers(frame, within_family=True)
    assert len(everyone) == 10
    same = next(one for one in everyone if {one.first, one.second} == {"dot_product", "sdpa"})
    assert same.same_function and same.status == "not_reached" and same.after == "sdpa"


def test_memory_is_compared_without_noise() -> None:
    frame = tidy(synthetic.records(["dot_product", "factorized_plain"], n=[16, 32, 64, 128], d=[512]))
    frame.loc[frame["implementation"] == "dot_product", "delta_bytes"] = frame["n"].astype(float) ** 2
    frame.loc[frame["implementation"] != "dot_product", "delta_bytes"] = 50.0 * frame["n"]
    (found,) = crossovers(frame, "memory")
    assert found.n is not None and found.quantity == "memory"
    assert (found.n.value, found.n.low, found.n.high) == pytest.approx((50, 50, 50))


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(1e-3, 1e3), cross=st.floats(300, 12000), seed=st.integers(0, 50))
def test_common_scaling_moves_no_crossover(factor: float, cross: float, seed: int) -> None:
    def place(scale: float) -> tuple[float, float, float]:
        found = only(pair(power(scale * 1e-9, 2), power(scale * cross * 1e-9, 1), noise=0.03, seed=seed))
        assert found.n is not None
        return found.n.value, found.n.low, found.n.high

    assert place(factor) == pytest.approx(place(1.0), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(ratios=st.lists(st.floats(0.1, 10), min_size=1, max_size=8), seed=st.integers(0, 9))
def test_every_outcome_is_consistent(ratios: list[float], seed: int) -> None:
    sizes = [64 * 2**step for step in range(len(ratios))]
    linear = power(1e-6, 1, sizes)
    found = only(pair({n: linear[n] * ratio for n, ratio in zip(sizes, ratios, strict=True)}, linear, noise=0.1, seed=seed))
    assert (found.n is None) == (found.status == "not_reached") == (found.crossings == 0)
    assert 0 <= found.reached_share <= 1
    if found.n is not None:
        assert sizes[0] * 0.999 <= found.n.low <= found.n.value <= found.n.high <= sizes[-1] * 1.001
        assert found.before != found.after
