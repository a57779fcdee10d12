"""Predictions before a run: memory by the cost model, seconds by rates, and what would exceed the budget."""

import pytest

from fabench import cost
from fabench.suite import Suite, parse
from fabench.suite.estimate import CellEstimate, estimate, rates

PEAKS = {"cpu": {"copy_bytes_per_s": 1e10, "flop_per_s": {"float32": 1e11}}}


def suite(axes: str = "", rest: str = "") -> Suite:
    return parse(f'[axes]\nimplementation = ["dot_product", "factorized_plain"]\nn = [1024, 65536]\n{axes}\n{rest}'.encode(), "x")


def estimates(asked: Suite, **options: object) -> list[CellEstimate]:
    return estimate(asked.plan("cpu"), asked.measure, asked.budget, **options)  # type: ignore[arg-type]


def test_memory_is_the_cost_models() -> None:
    asked = suite()
    for item, order in zip(estimates(asked), (2, 1, 2, 1), strict=True):
        expected = cost.of(item.cell.case, order, order)
        assert (item.memory_bytes, item.check_bytes) == (expected.total_bytes, expected.check_bytes)


def test_defaults_are_stated_and_measured_rates_used() -> None:
    assert not any(item.measured_rates for item in estimates(suite()))
    assert all(item.measured_rates for item in estimates(suite(), peaks=PEAKS))
    assert not rates("cpu", PEAKS["cpu"], "float16").measured
    for odd in (
        {"copy_bytes_per_s": None},
        {"copy_bytes_per_s": 1e9, "flop_per_s": 3},
        {"copy_bytes_per_s": 0, "flop_per_s": {"float32": 1.0}},
    ):
        assert not rates("cpu", odd, "float32").measured


def test_over_budget() -> None:
    found = estimates(suite("", '[budget]\nmemory = "8 GiB"\ncell = "10 s"'))
    assert [item.over_budget is not None for item in found] == [False, False, True, False]
    assert found[2].over_budget is not None and found[2].over_budget.startswith("memory 32.1 GiB of 8.00 GiB and time ")
    assert all(item.wall_s <= 10 for item in found)


def test_a_skipped_cell_takes_no_time() -> None:
    found = estimates(suite("", "[[skip]]\nwhen = \"family == 'quadratic'\"\nreason = 'slow'"))
    assert [item.wall_s == 0 for item in found] == [True, False, True, False]


def test_a_cell_takes_at_least_its_sampling_and_more_with_n() -> None:
    found = estimates(suite('mode = "fwd_bwd"', "[measure]\nmax_s = 0.4\nwarmup_s = 0.1"))
    assert all(item.wall_s > 0.5 for item in found)
    assert found[2].call_s > 1000 * found[0].call_s / 2 and found[3].call_s == pytest.approx(64 * found[1].call_s, rel=0.1)


def test_a_check_alone_is_shorter() -> None:
    whole, check = (sum(item.wall_s for item in estimates(suite("", rest))) for rest in ("", "[measure]\ncheck_only = true"))
    assert check < whole
