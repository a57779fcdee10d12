"""The one way to write a choice of positions, and cases of scope "network": what they refuse, their labels, their blocks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench import cost, position_cost, positions
from fabench.errors import UsageError
from fabench.places import BACKBONES, NETWORKS, POSITIONS, parse, written
from fabench.positions import Attention, network_case
from fabench.schema import Case, Cell, from_json, to_json

NAMES = {network: [position.name for position in POSITIONS[network]] for network in NETWORKS}


@given(st.sampled_from(NETWORKS).flatmap(lambda network: st.tuples(st.just(network), st.sets(st.sampled_from(NAMES[network])))))
def test_a_choice_is_read_back_and_has_one_text(choice: tuple[str, set[str]]) -> None:
    network, names = choice
    text = written(network, parse(network, sorted(names)))
    assert {position.name for position in parse(network, text)} == names
    assert "," not in text
    assert text == written(network, parse(network, "+".join(sorted(names, reverse=True)) or "none"))


def test_how_choices_are_written() -> None:
    for words, text in (
        ("fpn1,fpn2,fpn3,fpn4,fpn5", "fpn"), ("fpn2+res3", "res3+fpn2"), ("fpn,res4,res3", "all"), ("none", "none"), ("none,fpn1", "fpn1"),
    ):  # fmt: skip
        assert written("detection", parse("detection", words)) == text
    assert written("stereo", parse("stereo", "volume,layer4")) == "all"
    with pytest.raises(UsageError, match="'fpn1' is no position in stereo"):
        parse("stereo", "fpn1")


def test_labels_are_what_they_were() -> None:
    case = network_case("detection", "res3,fpn1", Attention(d_k=64, heads=8, pool=2), 480, 640, batch=2, mode="fwd_bwd")
    assert case.label == "network/detection/resnet50/res3+fpn1/fp32/fwd_bwd/image=480x640,b=2,h=8,dk=8,pool=2"
    none = network_case("stereo", "none", Attention(d_k=32, heads=4), 256, 512, backbone="basic")
    assert Cell("none", "cpu", none).id == "none/cpu/network/stereo/basic/none/fp32/fwd/image=256x512,b=1"
    ((_, block),) = positions.blocks(network_case("detection", "fpn1", Attention(), 480, 640))
    assert block.label == (
        "module/softmax/fp32/fwd/n=120x160,b=1,h=1,dk=64,dv=256,c=256,reprojection,residual,of=detection,at=fpn1,image=480x640"
    )


def test_equal_labels_mean_equal_cases() -> None:
    made = {
        network_case(network, words, Attention(d_k=d_k, pool=pool), 128, 160, backbone=backbone, mode=mode)
        for network in NETWORKS
        for backbone in BACKBONES[network]
        for words in ("none", "all", *NAMES[network])
        for d_k in (32, 64)
        for pool in (1, 2)
        for mode in ("fwd", "fwd_bwd")
    }
    cases = made | {block for case in made for _, block in positions.blocks(case)}
    assert len({case.label for case in cases}) == len(cases)
    assert all(from_json(Case, to_json(case)) == case for case in cases)
    assert len({case for case in made if case.positions == "none"}) == 2 * 2 * 2  # forms and modes, whatever d_k and pooling


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "bwd"}, "inference, fwd, or as one training step"),
        ({"positions": "fpn1,fpn2"}, "write it as 'fpn1\\+fpn2'"),
        ({"positions": "layer4"}, "no position in detection"),
        ({"backbone": "basic"}, "must be one of resnet50, resnet101"),
        ({"space": "470x640", "n": 300800, "m": 300800}, "multiples of 32"),
        ({"network": None}, "needs network, positions, backbone and pool"),
        ({"channels": 256}, "follow from the positions"),
        ({"normalisation": "scaling"}, "softmax"),
        ({"positions": "none"}, "left as they are by default"),
        ({"m": 5}, "repeat n and d_k"),
    ],
)
def test_what_a_network_refuses(change: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {
        "n": 307200, "m": 307200, "heads": 2, "d_k": 32, "d_v": 32, "scope": "network", "space": "480x640", "pool": 1,
        "network": "detection", "positions": "fpn", "backbone": "resnet50",
    }  # fmt: skip
    Case(**fields)
    with pytest.raises(ValueError, match=words):
        Case(**fields | change)


def test_a_networks_block_is_one_place_of_it() -> None:
    ((_, block),) = positions.blocks(network_case("detection", "fpn1", Attention(), 480, 640))
    fields = {name: getattr(block, name) for name in block.__dataclass_fields__}
    for change, words in (
        ({"positions": "fpn"}, "one place"), ({"image": None}, "together"), ({"backbone": "resnet50"}, "every backbone"), ({"image": "big"}, "image is"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            Case(**fields | change)
    with pytest.raises(ValueError, match="belong to scope network"):
        Case(n=64, m=64, network="detection")


def test_blocks_cost_what_the_paper_says() -> None:
    """At 896 x 1280 with d_k = 64: true multiply-accumulates without the reprojection, which these blocks have (n C^2 more each)."""
    case = network_case("detection", "all", Attention(), 896, 1280)
    more = sum(block.n * position.channels**2 for position, block in positions.blocks(case))
    linear, quadratic = (position_cost.of_network(case, order, order) for order in (1, 2))
    assert (linear.mac - more) / 1e9 == pytest.approx(23.67, abs=0.005)
    assert (quadratic.mac - more) / 1e9 == pytest.approx(1798, abs=0.5)
    assert quadratic.largest_map is not None
    assert (quadratic.largest_map[0], round(quadratic.largest_map[1] / 1e9, 2)) == ("fpn1", 20.55)
    assert linear.largest_map is None
    assert quadratic.working_bytes > 2 * quadratic.largest_map[1]
    assert linear.weight_bytes == 4 * 11_707_776
    stereo = network_case("stereo", "layer4", Attention(), 256, 512)
    more = 2 * 8192 * 128**2
    assert (position_cost.of_network(stereo, 1, 1).mac - more) / 1e9 == pytest.approx(2 * 0.403, abs=0.002)
    assert (position_cost.of_network(stereo, 2, 2).mac - more) / 1e9 == pytest.approx(2 * 13.15, abs=0.02)
    assert position_cost.of_network(network_case("stereo", "none", Attention(), 256, 512), None, None).mac == 0
    with pytest.raises(ValueError, match="does not follow"):
        cost.of(case, 1, 1)
