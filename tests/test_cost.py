"""The cost model against the paper's published figures, typed in here as numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench import cost
from fabench.schema import Case

# v1, figure 4's setting: c = d_v = 64, d_k = 32, one head, float32.
FIGURE_4 = [
    # n, DP bytes, FA bytes, DP operations as printed, FA operations as printed, DP MAC, FA MAC
    (1_024, 5_242_880, 1_056_768, 0.2097e9, 0.02517e9, 0.10905e9, 0.012583e9),
    (4_096, 71_303_168, 4_202_496, 3.2548e9, 0.10066e9, 1.6442e9, 0.050332e9),
    (16_384, 1_090_519_040, 16_785_408, 51.674e9, 0.40265e9, 25.904e9, 0.20133e9),
    (65_536, 17_246_978_048, 67_117_056, 825.17e9, 1.61061e9, 412.85e9, 0.80531e9),
    (131_072, 68.854e9, 134.226e6, 3299.6e9, 3.2212e9, 1650.3e9, 1.6106e9),
]


def module(n: int, reprojection: bool, mode: str = "fwd") -> Case:
    return Case(
        n=n, m=n, d_k=32, d_v=64, scope="module", channels=64, reprojection=reprojection, residual=False, pool=1, mode=mode
    )  # fmt: skip


@pytest.mark.parametrize(("n", "dp_bytes", "fa_bytes", "dp_ops", "fa_ops", "dp_mac", "fa_mac"), FIGURE_4)
def test_v1_figures(n: int, dp_bytes: float, fa_bytes: float, dp_ops: float, fa_ops: float, dp_mac: float, fa_mac: float) -> None:
    assert 4 * cost.paper_floats(n, 32, 64, 2) == pytest.approx(dp_bytes, rel=1e-5)
    assert 4 * cost.paper_floats(n, 32, 64, 1) == pytest.approx(fa_bytes, rel=1e-5)
    assert cost.paper_operations(n, 32, 64, 2) == pytest.approx(dp_ops, rel=3e-4)
    assert cost.paper_operations(n, 32, 64, 1) == pytest.approx(fa_ops, rel=3e-4)
    assert cost.of(module(n, reprojection=False), 2, 2).mac == pytest.approx(dp_mac, rel=5e-5)
    assert cost.of(module(n, reprojection=False), 1, 1).mac == pytest.approx(fa_mac, rel=5e-5)


@pytest.mark.parametrize(("n", "dp_bytes", "fa_bytes"), [row[:3] for row in FIGURE_4[:4]])
def test_saved_bytes_are_v1_memory_plus_weights(n: int, dp_bytes: int, fa_bytes: int) -> None:
    weights = 4 * 64 * (32 + 32 + 64 + 64)
    assert cost.of(module(n, True, "fwd_bwd"), 2, 2).saved_bytes == dp_bytes + weights
    assert cost.of(module(n, True, "fwd_bwd"), 1, 1).saved_bytes == fa_bytes + weights


def test_heads_lower_the_linear_cost_and_raise_the_quadratic_memory() -> None:
    few, many = Case(n=4096, m=4096, heads=1, d_k=512, d_v=512), Case(n=4096, m=4096, heads=8, d_k=64, d_v=64)
    assert cost.of(few, 1, 1).mac == 8 * cost.of(many, 1, 1).mac
    assert cost.of(few, 2, 2).mac == cost.of(many, 2, 2).mac
    assert cost.of(many, 2, 2).working_bytes > 7 * cost.of(few, 2, 2).working_bytes


def test_detection_block_at_fpn1() -> None:
    # Table of section 3: 224 x 320 x 256, d_k = 64, d_v = 256: 9.395 G and 1,651 G true MAC, a 20.55 GB map.
    case = Case(
        n=224 * 320, m=224 * 320, d_k=64, d_v=256, scope="module", channels=256, reprojection=False, residual=False, pool=1,
        space="224x320", mode="fwd_bwd",
    )  # fmt: skip
    assert cost.of(case, 1, 1).mac / 3 == pytest.approx(9.395e9, rel=1e-3)  # fwd_bwd is three passes
    assert cost.of(case, 2, 2).mac / 3 == pytest.approx(1651e9, rel=1e-3)
    assert 4 * case.n**2 == pytest.approx(20.55e9, rel=1e-3)


@given(st.integers(1, 4096), st.integers(1, 16), st.integers(1, 128), st.integers(1, 128), st.sampled_from([1, 2]))
def test_largest_n_is_the_last_that_fits(limit_kib: int, heads: int, d_k: int, d_v: int, order: int) -> None:
    case = Case(n=1, m=1, heads=heads, d_k=d_k, d_v=d_v)
    limit = limit_kib * 1024
    found = cost.largest_n(case, order, order, limit)

    def needs(n: int) -> int:
        return cost.of(Case(n=n, m=n, heads=heads, d_k=d_k, d_v=d_v), order, order).total_bytes

    assert needs(found + 1) > limit
    assert found == 0 or needs(found) <= limit
