import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabench.analysis.frame import tidy
from fabench.analysis.scaling import Exponent, asymptotic, decompose, exponents
from fabench.schema import Record
from tests import synthetic

SIZES = [256 * 2**power for power in range(9)]


def power_law(power: float, series: int, noise: float, between: float, sizes: list[int], samples: int = 25) -> list[Record]:
    rng = np.random.default_rng(7)
    found = []
    for index in range(series):
        times = {n: 1e-6 * n**power * math.exp(between * rng.standard_normal()) for n in sizes}
        found += synthetic.curve("dot_product", times, noise=noise, samples=samples, seed=index, heads=index + 1)
    return found


def values(found: list[Exponent]) -> list[float]:
    return [one.estimate.value for one in found if one.estimate is not None]


@pytest.mark.parametrize(
    ("noise", "between", "sizes", "samples"),
    [
        (0.03, 0.0, SIZES, 25),
        (0.1, 0.0, SIZES[:5], 10),
        (0.03, 0.005, SIZES, 25),
        (0.02, 0.03, SIZES, 25),
        (0.03, 0.0, SIZES[:3], 25),
    ],
)
def test_intervals_cover_planted_exponents(noise: float, between: float, sizes: list[int], samples: int) -> None:
    found = exponents(tidy(power_law(1.5, 150, noise, between, sizes, samples)))
    estimates = [one.estimate for one in found if one.estimate is not None]
    assert len(estimates) == 150
    assert 0.88 <= np.mean([one.low <= 1.5 <= one.high for one in estimates]) <= 0.99
    assert np.median([one.value for one in estimates]) == pytest.approx(1.5, abs=0.01)


def test_lack_of_fit_widens_the_interval() -> None:
    smooth, rough = (exponents(tidy(power_law(2, 1, 0.01, between, SIZES)))[0].estimate for between in (0.0, 0.1))
    assert smooth is not None and rough is not None
    assert rough.high - rough.low > 4 * (smooth.high - smooth.low)


def test_the_range_is_the_upper_half() -> None:
    assert asymptotic(SIZES) == 5
    assert asymptotic(SIZES[:5]) == asymptotic(SIZES[:6]) == asymptotic(SIZES[:7]) == 4
    assert [asymptotic(SIZES[:count]) for count in range(4)] == [0, 1, 2, 3]


def test_points_are_used_or_left_out_with_the_reason() -> None:
    found = exponents(tidy(synthetic.records(["dot_product"])))[0]
    assert found.used == (512, 1024, 2048, 4096) and found.note == "4 points"
    assert [n for n, _ in found.points] == [256, 512, 1024, 2048, 4096]
    reasons = dict(found.left_out)
    assert reasons[256] == "below the asymptotic range, n < 512"
    assert reasons[8192].startswith("out_of_memory: ") and reasons[16384].startswith("skipped: dot_product ran out")
    assert [pair[:2] for pair in found.local] == [(256, 512), (512, 1024), (1024, 2048), (2048, 4096)]
    assert all(1.9 < slope < 2.1 for *_, slope in found.local)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_points_give_no_exponent(count: int) -> None:
    found = exponents(tidy(synthetic.records(["sdpa"], SIZES[:count])))[0]
    assert found.estimate is None and found.used == () and len(found.points) == count
    assert found.note == f"{count} of the 3 points that an exponent with an interval needs"


def test_memory_exponents_are_those_of_the_closed_form() -> None:
    n = [4096, 16384, 65536]
    dp = [4 * 2 * 8 * size**2 + 4 * 8 * size * 64 for size in n]
    by_hand = np.polyfit(np.log(n), np.log(dp), 1)[0]
    found = {
        one.implementation: one for one in exponents(tidy(synthetic.records(n=n, limit_bytes=10**15, failures=False)), "memory")
    }
    quadratic = found["dot_product"].estimate
    assert quadratic is not None and quadratic.value == pytest.approx(by_hand, abs=1e-12)
    assert quadratic.low < quadratic.value < quadratic.high < quadratic.low + 0.1
    linear = found["factorized_plain"].estimate
    assert linear is not None and linear.value == pytest.approx(1, abs=0.01)


def test_an_exact_power_law_in_memory_has_no_width() -> None:
    frame = tidy(synthetic.records(["sdpa"]))
    frame["delta_bytes"] = 2 * 4 * frame["n"].astype(float) ** 2
    estimate = exponents(frame, "memory")[0].estimate
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2, 2, 2), abs=1e-9)


def test_paper_slopes() -> None:
    # Log-log slopes of the paper's dot-product memory from 64^2 over 128^2 to 256^2.
    floats = {4096: 71303168, 16384: 1090519040, 65536: 17246978048}
    frame = tidy(synthetic.records(["sdpa"], list(floats)))
    frame["delta_bytes"] = [float(value) for value in floats.values()]
    local = exponents(frame, "memory")[0].local
    assert [slope for *_, slope in local] == pytest.approx([1.968, 1.992], abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
def test_scaling_time_changes_no_exponent(factor: float, seed: int) -> None:
    def estimate(scale: float) -> tuple[float, float, float]:
        times = {n: scale * (1e-5 + 1e-8 * n**2) for n in SIZES[:6]}
        found = exponents(tidy(synthetic.curve("sdpa", times, noise=0.05, seed=seed)))[0].estimate
        assert found is not None
        return found.value, found.low, found.high

    assert estimate(factor) == pytest.approx(estimate(1.0), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(power=st.floats(0.2, 3), scale=st.floats(1e-9, 1e-3), count=st.integers(3, 9))
def test_exact_power_laws_come_back(power: float, scale: float, count: int) -> None:
    times = {n: scale * n**power for n in SIZES[:count]}
    assert values(exponents(tidy(synthetic.curve("sdpa", times)))) == pytest.approx([power], abs=1e-9)


def test_decomposition_finds_planted_terms() -> None:
    a, b, c = 3e-4, 2e-7, 5e-10
    found = decompose(tidy(synthetic.curve("sdpa", {n: a + b * n + c * n * n for n in SIZES})))[0]
    assert (found.a_s, found.b_s, found.c_s) == pytest.approx((a, b, c), rel=1e-6)
    n = SIZES[-1]
    total = a + b * n + c * n * n
    assert found.largest_n == n and found.shares == pytest.approx((a / total, b * n / total, c * n * n / total), rel=1e-6)
    assert found.worst is not None and found.worst < 1e-9 and found.note == "9 points"


def test_decomposition_with_noise_keeps_its_signs_and_finds_the_leading_term() -> None:
    for one in decompose(tidy(synthetic.records(failures=False))):
        assert one.a_s is not None and one.b_s is not None and one.c_s is not None and one.shares is not None
        assert min(one.a_s, one.b_s, one.c_s) >= 0 and sum(one.shares) == pytest.approx(1)
        assert one.shares[2 if one.family == "quadratic" else 1] > 0.8


def test_decomposition_of_few_points() -> None:
    assert decompose(tidy(synthetic.records(["sdpa"], SIZES[:3])))[0].note == "3 points, as many as terms"
    found = decompose(tidy(synthetic.records(["sdpa"], SIZES[:2])))[0]
    assert found.shares is None and found.a_s is None and found.note == "2 of the 3 points that three terms need"
