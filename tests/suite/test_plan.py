"""From axes to cells: order, union, held totals, defaults, overrides, filters, skips and expectations."""

import hashlib

import pytest

from fabench.errors import SuiteError
from fabench.schema import Case, Measure
from fabench.suite import Budget, Suite, parse

SMALL = b"""
title = "Small"
description = "Two families,\n  two sizes."

[axes]
implementation = ["factorized_plain", "dot_product"]
n = [128, 64]
d_k = 16

[[grid]]
heads = [1, 2]

[[grid]]
n = "64..256x2"

[[grid]]
implementation = "factorized_plain"
scope = "module"
image = "8x8"
pool = [1, 2]

[[skip]]
when = "family == 'quadratic' and n > 128"
reason = "too slow"

[[expect]]
status = "out_of_memory"
when = "family == 'quadratic'"
reason = "the map"

[[expect]]
status = "timed_out"
reason = "slow machines"

[measure]
max_s = "200 ms"
target = 0.05
memory = false

[budget]
memory = "8 GiB"
cell = "5 s"
total = "10 min"
"""
SMALL = SMALL.replace(b"families,\n", b"families,\\n")


def small(where: str | None = None, **overrides: str) -> Suite:
    return parse(SMALL, "small", {key.replace("__", "."): value for key, value in overrides.items()}, where)


def ids(suite: Suite) -> list[str]:
    return [item.cell.id for item in suite.plan("cpu")]


def cases(text: str, **overrides: str) -> list[Case]:
    suite = parse(f'[axes]\nimplementation = "dot_product"\n{text}'.encode(), "x", overrides)
    return [cell.case for cell in suite.cells]


def test_cells_and_their_order() -> None:
    assert ids(small()) == [
        "factorized_plain/cpu/core/softmax/fp32/fwd/n=64,b=1,h=1,dk=16,dv=16",
        "dot_product/cpu/core/softmax/fp32/fwd/n=64,b=1,h=1,dk=16,dv=16",
        "factorized_plain/cpu/core/softmax/fp32/fwd/n=64,b=1,h=2,dk=16,dv=16",
        "dot_product/cpu/core/softmax/fp32/fwd/n=64,b=1,h=2,dk=16,dv=16",
        "factorized_plain/cpu/core/softmax/fp32/fwd/n=128,b=1,h=1,dk=16,dv=16",
        "dot_product/cpu/core/softmax/fp32/fwd/n=128,b=1,h=1,dk=16,dv=16",
        "factorized_plain/cpu/core/softmax/fp32/fwd/n=128,b=1,h=2,dk=16,dv=16",
        "dot_product/cpu/core/softmax/fp32/fwd/n=128,b=1,h=2,dk=16,dv=16",
        "factorized_plain/cpu/core/softmax/fp32/fwd/n=256,b=1,h=1,dk=16,dv=16",
        "dot_product/cpu/core/softmax/fp32/fwd/n=256,b=1,h=1,dk=16,dv=16",
        "factorized_plain/cpu/module/softmax/fp32/fwd/n=8x8,b=1,h=1,dk=16,dv=16,c=16,reprojection,residual",
        "factorized_plain/cpu/module/softmax/fp32/fwd/n=8x8,b=1,h=1,dk=16,dv=16,c=16,reprojection,residual,pool=2",
    ]


def test_settings_and_words() -> None:
    suite = small()
    assert (suite.title, suite.description) == ("Small", "Two families, two sizes.")
    assert suite.budget == Budget(8 * 2**30, 5.0, 600.0)
    assert (suite.measure.max_s, suite.measure.target, suite.measure.memory, suite.measure.warmup_s) == (
        0.2,
        0.05,
        False,
        Measure().warmup_s,
    )


def test_skips_and_expectations() -> None:
    plan = small().plan("cpu")
    assert [(item.cell.implementation, item.cell.case.n, item.skip) for item in plan if item.skip] == [
        ("dot_product", 256, "too slow")
    ]
    linear, quadratic = plan[0].cell, plan[1].cell
    assert small().expects("out_of_memory", quadratic) == "the map"
    assert small().expects("out_of_memory", linear) is None
    assert small().expects("timed_out", linear) == "slow machines"
    assert small().expects("crashed", quadratic) is None


def test_control_characters_never_reach_a_reader() -> None:
    suite = parse(SMALL.replace(b'"too slow"', rb'"too \u001b[31m slow"'), "small")
    assert suite.plan("cpu")[9].skip == r"too \x1b[31m slow"


def test_auto_device_and_duplicates() -> None:
    suite = parse(b'[axes]\nimplementation = "dot_product"\nn = 64\ndevice = ["auto", "cpu", "cuda:1"]', "x")
    assert suite.devices == {"auto", "cpu", "cuda:1"}
    assert [item.cell.device for item in suite.plan("cpu")] == ["cpu", "cuda:1"]
    assert [item.cell.device for item in suite.plan("cuda")] == ["cuda", "cpu", "cuda:1"]


def test_defaults_follow_other_axes() -> None:
    (case,) = cases("n = 64\nd_k = 8")
    assert (case.m, case.d_v, case.channels) == (64, 8, None)
    (case,) = cases('n = 64\nheads = 2\nd_k = 8\nd_v = 16\nscope = "module"')
    assert (case.channels, case.reprojection, case.residual, case.pool) == (32, True, True, 1)
    assert [case.m for case in cases('n = [64, 128]\nm = ["n", 100]')] == [64, 100, 128, 100]
    assert [case.d_v for case in cases('n = 64\nd_v = "d_k, 16"')] == [64, 16]


def test_held_totals() -> None:
    text = "n = [64, 256]\nheads = [1, 4]\n[hold]\ntokens = 1024\nd_k_total = 32\nd_v_total = 64"
    found = [(case.n, case.batch, case.heads, case.d_k, case.d_v) for case in cases(text)]
    assert found == [(64, 16, 1, 32, 64), (64, 16, 4, 8, 16), (256, 4, 1, 32, 64), (256, 4, 4, 8, 16)]


def test_a_grid_replaces_what_is_held_and_the_reverse() -> None:
    assert [case.batch for case in cases("n = 64\n[hold]\ntokens = 128\n[[grid]]\nbatch = 3\n[[grid]]")] == [3, 2]
    assert [case.batch for case in cases("n = 64\nbatch = 3\n[[grid]]\n[grid.hold]\ntokens = 128")] == [2]


def test_overrides_replace_axes_in_every_grid() -> None:
    assert {cell.case.d_k for cell in small(d_k="8,32").cells} == {8, 32}
    assert {(cell.case.n, cell.case.space) for cell in small(n="32..64x2").cells} == {(32, None), (64, None)}
    assert {cell.case.space for cell in small(image="4x4").cells} == {"4x4"}
    assert {cell.implementation for cell in small(implementation="dot_product").cells} == {"dot_product"}
    assert {cell.device for cell in small(device="cuda:0").cells} == {"cuda:0"}


def test_overrides_drop_what_is_held() -> None:
    held = "n = 64\nheads = 4\n[hold]\ntokens = 128\nd_k_total = 32"
    assert [(case.batch, case.d_k) for case in cases(held, batch="5", d_k="16")] == [(5, 16)]
    assert [(case.batch, case.d_k) for case in cases(held, tokens="256", d_k_total="64")] == [(4, 16)]


def test_a_module_suite_can_be_measured_at_scope_core() -> None:
    (case,) = cases('n = 64\nscope = "module"\nreprojection = false', scope="core")
    assert (case.scope, case.reprojection) == ("core", None)


def test_overrides_of_settings() -> None:
    suite = small(
        measure__max_s="0.5", measure__memory="true", measure__threads="2", measure__cache="cold", budget__memory="2 GiB"
    )
    measure = suite.measure
    assert (measure.max_s, measure.memory, measure.threads, measure.cache) == (0.5, True, 2, "cold")
    assert suite.budget == Budget(2 * 2**30, 5.0, 600.0)


def test_where_drops_cells() -> None:
    assert ids(small("n == 64 and heads == 2")) == [
        "factorized_plain/cpu/core/softmax/fp32/fwd/n=64,b=1,h=2,dk=16,dv=16",
        "dot_product/cpu/core/softmax/fp32/fwd/n=64,b=1,h=2,dk=16,dv=16",
    ]
    assert len(small("device == 'cpu'").plan("cpu")) == 12
    with pytest.raises(SuiteError):
        small("device == 'cpu'").plan("cuda")


def test_the_hash_names_the_question() -> None:
    suites = [small(), small("n > 3"), small(n="64"), small(n="128"), parse(SMALL + b"\n", "small")]
    assert len({suite.sha for suite in suites}) == 5
    assert small().sha == small().sha == parse(SMALL, "other name").sha
    assert small().text == SMALL and len(small().sha) == len(hashlib.sha256().hexdigest())
