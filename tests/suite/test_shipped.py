"""The suites in suites/: each loads, states its question, fits its budget; quick and paper hold what they promise."""

from pathlib import Path

import pytest

from fabench.catalogue import facts_of, implementations
from fabench.schema import Case
from fabench.suite import Suite, files, load
from fabench.suite.estimate import estimate

FOLDER = Path(__file__).parent.parent.parent / "suites"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))


def shipped(name: str) -> Suite:
    return load(str(FOLDER / f"{name}.toml"))


def test_all_are_there() -> None:
    assert {"quick", "sequence", "image", "video", "heads", "dims", "paper", "gpu", "detection", "stereo"} <= set(NAMES)
    assert files._own_folder().resolve() == FOLDER.resolve()


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_suite(name: str) -> None:
    suite = shipped(name)
    assert suite.text.startswith(b"# Question: ")
    assert suite.title != name and suite.description != name
    plan = suite.plan("cpu")
    families = {facts_of(item.cell.implementation).family for item in plan if item.skip is None} - {None}
    assert families == {"quadratic", "linear"}
    assert suite.budget.total_s is not None and suite.budget.total_s <= 3600
    used = {item.skip for item in plan}
    assert all(rule.reason in used for rule in suite.skips), "a skip that no cell meets"


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_suite_fits_its_own_time(name: str) -> None:
    suite = shipped(name)
    seconds = sum(row.wall_s for row in estimate(suite.plan("cpu"), suite.measure, suite.budget))
    assert name == "gpu" or suite.budget.total_s is None or seconds <= suite.budget.total_s


def test_quick_covers_length_heads_and_width_of_both_families() -> None:
    suite = shipped("quick")
    cells = [item.cell for item in suite.plan("cpu") if item.skip is None]
    assert len(cells) >= 40 and suite.budget.total_s is not None and suite.budget.total_s <= 60
    assert not any(implementations()[cell.implementation].compiles for cell in cells)
    for family in ("quadratic", "linear"):
        mine = [cell.case for cell in cells if implementations()[cell.implementation].family == family]
        for name, least in (("n", 5), ("heads", 4), ("d_k", 4)):
            assert len({getattr(case, name) for case in mine}) >= least, (family, name)
        assert {case.scope for case in mine} == {"core", "module"}


def test_paper_is_version_1s_setting() -> None:
    cells = shipped("paper").plan("cpu")
    for name in ("dot_product", "factorized_plain", "factorized"):
        for mode in ("fwd", "fwd_bwd"):
            for space in ("32x32", "64x64", "128x128", "256x256", "64x64x32"):
                assert any((item.cell.implementation, item.cell.case) == (name, version_1(space, mode)) for item in cells)
    assert {item.cell.case.reprojection for item in cells} == {True, False}
    assert {item.cell.case.normalisation for item in cells} == {"softmax", "scaling"}


def version_1(space: str, mode: str) -> Case:
    n = {"32x32": 1024, "64x64": 4096, "128x128": 16384, "256x256": 65536, "64x64x32": 131072}[space]
    return Case(
        n=n, m=n, heads=1, d_k=32, d_v=64, mode=mode, scale="1/d_k", scope="module", space=space, channels=64,
        reprojection=False, residual=False, pool=1,
    )  # fmt: skip


def test_papers_dot_product_runs_out_of_memory_and_that_is_expected() -> None:
    suite = shipped("paper")
    (over,) = (
        row for row in estimate(suite.plan("cpu"), suite.measure, suite.budget)
        if row.cell.implementation == "dot_product" and row.cell.case == version_1("256x256", "fwd")
    )  # fmt: skip
    assert over.over_budget is not None and over.over_budget.startswith("memory") and over.skip is None
    assert suite.expects("out_of_memory", over.cell) is not None
    fits = [row for row in estimate(suite.plan("cpu"), suite.measure, suite.budget) if row.cell.case.n <= 16384]
    assert not any(row.over_budget and row.over_budget.startswith("memory") for row in fits)


def test_a_cell_without_its_form_costs_its_process_alone() -> None:
    suite = shipped("sequence")
    rows = {row.cell.implementation: row.wall_s for row in estimate(suite.plan("cpu"), suite.measure, suite.budget)}
    assert "softmax" not in implementations()["fla_chunk"].computes
    assert rows["fla_chunk"] < 0.5 < rows["factorized"]
