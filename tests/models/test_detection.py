"""Mask R-CNN with attention: torchvision's own network, the paper's shapes and counts, and detections that identity blocks don't change."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fabench import position_cost, positions
from fabench.errors import DataError, UsageError
from fabench.models import detection, insertion
from fabench.positions import POSITIONS, Attention

pytest.importorskip("torchvision", reason="torchvision is not installed (the extra `models`)")

NAMES = [position.name for position in POSITIONS["detection"]]
# At 896 x 1280 pixels. torchvision's layer_i is the paper's res_i: a res3 taken as layer2 would be 512 x 112 x 160.
SHAPES = {
    "res3": (1024, 56, 80), "res4": (2048, 28, 40),
    "fpn1": (256, 224, 320), "fpn2": (256, 112, 160), "fpn3": (256, 56, 80), "fpn4": (256, 28, 40), "fpn5": (256, 14, 20),
}  # fmt: skip
PARAMETERS = {"res3": 2_230_400, "res4": 8_654_976} | dict.fromkeys(["fpn1", "fpn2", "fpn3", "fpn4", "fpn5"], 164_480)


def paper_name(place: str) -> str:
    """The paper's name of a block by its place in the network."""
    stages = {"backbone.body.layer3.attention": "res3", "backbone.body.layer4.attention": "res4"}
    return stages.get(place) or place.removeprefix("backbone.fpn.extra_blocks.attention.")


def on_meta(where: str, attention: Attention = Attention(), **options: Any) -> Any:  # noqa: B008
    return detection.build(where, attention, device="meta", **options)


@pytest.mark.parametrize("backbone", detection.BACKBONES)
def test_shapes_at_every_position(backbone: str) -> None:
    network = on_meta("all", backbone=backbone)
    seen: dict[str, tuple[int, ...]] = {}
    for place, module in insertion.blocks_of(network).items():
        module.register_forward_hook(
            lambda _, arguments, out, place=place: seen.update({paper_name(place): tuple(arguments[0].shape)})
        )
    out = network.backbone(torch.empty(1, 3, 896, 1280, device="meta"))
    assert seen == {name: (1, *shape) for name, shape in SHAPES.items()}
    assert {level: tuple(x.shape[1:]) for level, x in out.items()} == {
        level: SHAPES[name] for name, level in detection.LEVELS.items()
    }


def test_parameters_at_every_position() -> None:
    for name, count in PARAMETERS.items():
        assert insertion.parameters_added(on_meta(name)) == count
    assert insertion.parameters_added(on_meta("all")) == 11_707_776
    assert insertion.parameters_added(on_meta("all", Attention("dot_product", pool=2))) == 11_707_776


def test_counted_operations_are_the_predicted_ones() -> None:
    """Both kinds and pooling, on shapes alone; torch counts 2 FLOP for a multiply-accumulate."""
    for kind in (Attention("factorized_plain"), Attention("dot_product"), Attention("dot_product", heads=4, pool=2)):
        network = on_meta("all", kind)
        for place, module in insertion.blocks_of(network).items():
            (line,) = position_cost.table("detection", paper_name(place), kind, 896, 1280, reprojection=True)
            with FlopCounterMode(display=False) as counter:
                module(torch.empty(1, *SHAPES[paper_name(place)], device="meta"))
            expected = line.factorized_mac if kind.implementation == "factorized_plain" else line.dot_product_mac
            assert counter.get_total_flops() == 2 * expected, (place, kind)


def test_without_attention_it_is_torchvisions_network() -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(3)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    ours = detection.build(seed=3).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_an_identity_block_leaves_detections_unchanged() -> None:
    image = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"score_threshold": 0.0, "input_size": (64, 96), "detections": 20}
    plain, attended = detection.build(**options), detection.build("all", Attention(heads=4, identity=True), **options)
    assert insertion.parameters_added(attended) == 11_707_776
    with torch.no_grad():
        (expected,), (found,) = plain.eval()([image]), attended.eval()([image])
    assert len(expected["boxes"]) == 20
    assert expected["masks"].max() > 0
    for name in ("boxes", "scores", "labels", "masks"):
        assert torch.equal(found[name], expected[name]), name


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("res3", ["0", "1", "2", "3", "pool"]), ("res4", ["0", "1", "2", "3", "pool"]),
        ("fpn1", ["0"]), ("fpn2", ["1"]), ("fpn3", ["2"]), ("fpn4", ["3"]), ("fpn5", ["pool"]),
    ],
)  # fmt: skip
def test_a_block_reaches_its_own_maps_and_no_others(name: str, reached: list[str]) -> None:
    """P6 is P5 subsampled before P5's block; a stage's block reaches all levels through the pyramid."""
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = (detection.build(where).eval().backbone(x) for where in ("none", name))
    assert [level for level in before if not torch.equal(before[level], after[level])] == reached


def test_a_train_step_reaches_every_block() -> None:
    network = detection.build("all", input_size=(64, 96), classes=3).train()
    target = {
        "boxes": torch.tensor([[8.0, 8.0, 56.0, 48.0]]), "labels": torch.tensor([1]),
        "masks": torch.ones(1, 64, 96, dtype=torch.uint8),
    }  # fmt: skip
    torch.manual_seed(0)
    losses = network([torch.rand(3, 64, 96)] * 2, [target, target])
    sum(losses.values()).backward()
    for place, module in insertion.blocks_of(network).items():
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, (place, name)
            assert torch.isfinite(parameter.grad).all(), (place, name)
        assert all(getattr(module, part).weight.grad.abs().max() > 0 for part in ("queries", "keys", "values", "reprojection"))


def test_state_dicts_share_all_other_keys() -> None:
    plain, attended = on_meta("none").state_dict(), on_meta("res3,fpn5").state_dict()
    added = [key for key in attended if key not in plain]
    assert [key for key in attended if key in plain] == list(plain)
    assert all(insertion.is_attention(key) for key in added)
    assert not any(insertion.is_attention(key) for key in plain)
    parts = [f"{part}.{kind}" for part in ("keys", "queries", "values", "reprojection") for kind in ("weight", "bias")]
    places = ("backbone.body.layer3.attention", "backbone.fpn.extra_blocks.attention.fpn5")
    assert added == [f"{place}.{part}" for place in places for part in parts]


def test_weights_round_trip_with_and_without_attention() -> None:
    plain, attended = detection.build(seed=1), detection.build("res3,fpn1", seed=2)
    own = {key: value.clone() for key, value in attended.state_dict().items() if insertion.is_attention(key)}
    loaded = insertion.load_weights(attended, plain.state_dict(), shared=True)
    assert (loaded.fresh, loaded.dropped) == (tuple(own), ())
    now = attended.state_dict()
    assert all(torch.equal(now[key], value) for key, value in {**plain.state_dict(), **own}.items())
    loaded = insertion.load_weights(plain, now, shared=True)
    assert (loaded.fresh, loaded.dropped) == ((), tuple(own))
    again = detection.build("res3,fpn1", seed=5)
    assert insertion.load_weights(again, now) == ((), ())
    assert all(torch.equal(value, now[key]) for key, value in again.state_dict().items())


def test_torchvisions_older_weights_load() -> None:
    """Its first published file has frozen norms (no num_batches_tracked) and the pyramid's keys without a place in a Sequential."""
    new = detection.build(norm="frozen", seed=1).state_dict()
    old = {key: value for key, value in new.items() if "fpn" not in key}
    old |= {key.replace(".0.weight", ".weight").replace(".0.bias", ".bias"): new[key] for key in new if "fpn" in key}
    assert "backbone.fpn.inner_blocks.0.weight" in old
    for norm in ("frozen", "batch"):
        network = detection.build("fpn", norm=norm, seed=2)
        assert len(insertion.load_weights(network, old, shared=True).fresh) == 5 * 8
        now = network.state_dict()
        assert all(torch.equal(now[key], value) for key, value in new.items())
    assert insertion.load_weights(detection.build(norm="frozen"), detection.build().state_dict()) == ((), ())


def test_weights_that_do_not_fit_are_one_line() -> None:
    network = on_meta("res3")
    plain, other = on_meta("none").state_dict(), on_meta("res3", Attention(d_k=32)).state_dict()
    with pytest.raises(
        DataError, match=r"the attention differs: the weights lack backbone\.body\.layer3.*and 5 more; insert"
    ) as found:
        insertion.load_weights(network, plain)
    assert "\n" not in str(found.value)
    with pytest.raises(DataError, match=r"layer3\.attention\.keys\.weight is \(32, 1024, 1, 1\) in the weights and \(64, 1024"):
        insertion.load_weights(network, other)
    broken = {key: value for key, value in plain.items() if "mask_predictor" not in key} | {"head.weight": torch.zeros(1)}
    with pytest.raises(DataError, match=r"another network: they lack roi_heads.*and have besides head\.weight$"):
        insertion.load_weights(network, broken, shared=True)


def test_an_image_of_the_input_size_is_not_resized() -> None:
    image = [torch.rand(3, 96, 64)]
    assert on_meta("none", input_size=(64, 96)).transform.to("cpu")(image)[0].tensors.shape[2:] == (96, 64)
    assert on_meta("none").transform([torch.rand(3, 480, 640)])[0].tensors.shape[2:] == (800, 1088)


@pytest.mark.parametrize(
    ("where", "attention", "options", "said"),
    [
        ("res5", Attention(), {}, "'res5' is no position"),
        ("fpn1", Attention(heads=3), {}, "d_k = 64 cannot be divided by 3 heads"),
        ("fpn1", Attention(heads=64), {}, "one key channel per head"),
        ("fpn1", Attention("fast"), {}, "no implementation 'fast'"),
        ("fpn1", Attention("triton_factorized"), {}, "triton_factorized can't run at fpn1: "),
        ("none", Attention(), {"backbone": "vgg"}, "'vgg' is no backbone; there are resnet50, resnet101"),
        ("none", Attention(), {"norm": "group"}, "'group' is no norm; there are batch, frozen"),
    ],
)
def test_mistakes_are_one_line(where: str, attention: Attention, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        detection.build(where, attention, **options)


def test_frozen_norms_have_no_parameters_and_the_epsilon_asked_for() -> None:
    from torchvision.ops.misc import FrozenBatchNorm2d

    norms = [
        module for module in on_meta("none", norm="frozen", norm_epsilon=0.0).modules() if isinstance(module, FrozenBatchNorm2d)
    ]
    assert len(norms) == 53
    assert {norm.eps for norm in norms} == {0.0}


def test_a_missing_torchvision_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models.detection", None)
    with pytest.raises(UsageError, match=r"Mask R-CNN needs torchvision .*pip install 'fabench\[models\]'"):
        detection.build()


def test_torchvision_is_imported_only_when_a_network_is_built() -> None:
    program = "import sys, fabench.models.detection, fabench.models.stereo; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    on_meta("all")
    assert torch.equal(torch.rand(1), expected)


def test_reference_sizes_are_those_of_the_paper() -> None:
    assert positions.REFERENCE_SIZES == {"detection": (896, 1280), "stereo": (256, 512)}
