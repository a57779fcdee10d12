"""Networks on the axes of a suite: whole and block by block, none just once, what is refused, and what a plan says of memory."""

from typing import Any

import pytest

from fabench import positions
from fabench.errors import SuiteError
from fabench.suite import Suite, parse
from fabench.suite.estimate import CellEstimate, estimate

TEXT = b"""
[axes]
implementation = ["dot_product", "factorized"]
network = "detection"
image = "128x160"
positions = ["none", "fpn3", "fpn"]
scope = ["network", "module"]
heads = [1, 2]
pool = [1, 2]
"""


def suite(text: bytes = TEXT, where: str | None = None, **overrides: str) -> Suite:
    return parse(text, "x", {key.replace("__", "."): value for key, value in overrides.items()}, where)


def planned(**overrides: Any) -> list[str]:
    return [item.cell.id for item in suite(**overrides).plan("cpu")]


def estimates(found: Suite) -> list[CellEstimate]:
    return estimate(found.plan("cpu"), found.measure, found.budget)


def test_a_network_without_attention_is_one_cell() -> None:
    found = suite().plan("cpu")
    bare = [item.cell for item in found if item.cell.case.positions == "none"]
    assert [cell.id for cell in bare] == ["none/cpu/network/detection/resnet50/none/fp32/fwd/image=128x160,b=1"]
    assert all(item.cell.implementation != "none" for item in found if item.cell not in bare)
    assert planned(implementation="none") == [bare[0].id]
    assert planned(implementation="factorized", positions="none") == [bare[0].id]  # the same, whoever is asked


def test_blocks_are_those_of_the_whole_networks() -> None:
    cells = [item.cell for item in suite().plan("cpu")]
    whole = [cell for cell in cells if cell.case.scope == "network" and cell.case.positions != "none"]
    alone = {cell for cell in cells if cell.case.scope == "module"}
    assert len(whole) == 2 * 2 * 2 * 2 and len(alone) == 5 * 2 * 2 * 2
    blocks = {(cell.implementation, block) for cell in whole for _, block in positions.blocks(cell.case)}
    assert blocks == {(cell.implementation, cell.case) for cell in alone}
    assert [cell.case.space for cell in alone if cell.case.positions == "fpn1"] == ["32x40"] * 8


def test_filters_know_networks() -> None:
    def count(where: str) -> int:
        return len(suite(where=where).plan("cpu"))

    assert count("network == 'detection' and modules == 5") == 8
    assert count("modules == 0 and implementation == 'none'") == 1
    assert count("positions == 'fpn1' and image == '128x160'") == 8
    assert count("backbone == 'resnet50'") == 17
    assert count("family == 'quadratic' and pool == 2 and scope == 'network'") == 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"positions": "layer4"}, "override positions: positions: 'layer4' is no position in detection"),
        ({"positions": "res9"}, "override positions: 'res9' is not known"),
        ({"backbone": "basic"}, "override backbone: backbone is 'basic'"),
        ({"mode": "bwd"}, "override mode: mode bwd"),
        ({"image": "130x160"}, "multiples of 32"),
        ({"n": "64"}, "override n: is no input of a network"),
        ({"heads": "3"}, "cannot be divided by 3 heads"),
        ({"d_v": "8"}, "override d_v: follows from the positions"),
        ({"mask": "padding"}, "override mask: follows from the positions"),
        ({"scope": "core"}, "override scope: scope is core"),
        ({"implementation": "none", "positions": "fpn"}, "asks for no cell"),
    ],
)
def test_what_is_refused(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError) as refused:
        suite(**overrides)
    assert words in str(refused.value)


def test_networks_axes_elsewhere_are_refused() -> None:
    core = b"[axes]\nimplementation = 'factorized'\nn = 64\n"
    for line, words in ((b"positions = 'fpn'", "belongs to a network"), (b"scope = 'network'", "no network is named")):
        with pytest.raises(SuiteError, match=words):
            suite(core + line)
    with pytest.raises(SuiteError, match="asks for no cell"):
        suite(core.replace(b"factorized", b"none"))


def test_a_plan_says_what_arithmetic_predicts_of_the_map() -> None:
    found = estimates(
        suite(image="896x1280", positions="fpn1", pool="1", heads="1", budget__memory="8GiB", implementation="dot_product")
    )
    (whole,) = (row for row in found if row.cell.case.scope == "network")
    assert whole.memory_bytes > 2 * 20.55e9
    assert whole.over_budget is not None and "one map at fpn1 takes 20.55 GB" in whole.over_budget
    linear = estimates(suite(image="896x1280", positions="fpn1", implementation="factorized", heads="1", budget__memory="8GiB"))
    assert not any(row.over_budget and "memory" in row.over_budget for row in linear)


def test_a_plan_knows_that_a_network_takes_longer_with_more_blocks() -> None:
    rows = {
        row.cell.case.positions: row for row in estimates(suite(image="480x640", scope="network", heads="1", pool="1", implementation="dot_product"))
    }  # fmt: skip
    assert 0 < rows["none"].call_s < rows["fpn3"].call_s < rows["fpn"].call_s
    step = estimates(suite(image="480x640", scope="network", positions="none", mode="fwd_bwd"))[0]
    assert step.call_s > rows["none"].call_s and step.memory_bytes > rows["none"].memory_bytes
