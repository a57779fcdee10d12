"""PSMNet with attention: its published counts and keys, the volume by a naive loop, left and right, and what may not run on the volume."""

from typing import Any

import pytest
import torch

from fabench import positions
from fabench.errors import DataError, UsageError
from fabench.models import insertion, stereo
from fabench.models.psmnet.extractor import WindowPool
from fabench.models.psmnet.network import PSMNet
from fabench.models.psmnet.volume import cost_volume, expected_disparity
from fabench.positions import Attention


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def tiny(where: str = "none", attention: Attention = Attention(d_k=8), **options: Any) -> PSMNet:  # noqa: B008
    return stereo.build(where, attention, max_disparity=16, crop=(32, 48), **options)


def pair(batch: int = 1, height: int = 32, width: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    left, right = torch.randn(2, batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    return left, right


def test_published_parameter_counts() -> None:
    network = stereo.build(device="meta")
    assert (count(network), count(network.feature_extraction)) == (5_224_768, 3_339_552)
    assert count(stereo.build("layer4", device="meta")) == 5_274_304
    # The basic form: two convolutions to begin with, four residual parts, one scorer; all 3 x 3 x 3 between 32 channels but the first.
    wide, plain = 27 * 64 * 32 + 64, 27 * 32 * 32 + 64
    assert count(stereo.build(form="basic", device="meta")) == 3_339_552 + wide + plain + 4 * 2 * plain + plain + 27 * 32


@pytest.mark.parametrize(
    ("height", "width", "shape"), [(256, 512, (1, 128, 64, 128)), (540, 960, (1, 128, 136, 240))]
)  # fmt: skip
@pytest.mark.parametrize("form", stereo.FORMS)
def test_shapes_at_full_size(form: str, height: int, width: int, shape: tuple[int, ...]) -> None:
    network = stereo.build("layer4", form=form, device="meta").eval()
    seen: list[tuple[int, ...]] = []
    (block,) = insertion.blocks_of(network).values()
    block.register_forward_hook(lambda _, arguments, out: seen.append(tuple(out.shape)))
    view = stereo.pad(torch.empty(1, 3, height, width, device="meta"))
    (disparity,) = network(view, view)
    assert seen == [shape, shape]  # both views
    assert stereo.unpad(disparity, height, width).shape == (1, height, width)
    outputs = network.train()(view, view)
    assert [tuple(out.shape) for out in outputs] == [tuple(view.shape[i] for i in (0, 2, 3))] * {"hourglass": 3, "basic": 1}[form]


@pytest.mark.parametrize("disparities", [1, 4, 9])
def test_the_volume_is_that_of_a_naive_loop(disparities: int) -> None:
    left, right = torch.randn(2, 2, 3, 2, 7, dtype=torch.float64).requires_grad_().unbind()
    expected = torch.zeros(2, 6, disparities, 2, 7, dtype=torch.float64)
    for d in range(disparities):
        for x in range(d, 7):
            expected[:, :3, d, :, x], expected[:, 3:, d, :, x] = left[..., x], right[..., x - d]
    found = cost_volume(left, right, disparities)
    assert torch.equal(found, expected)
    upstream = torch.randn_like(expected)
    ours, naive = (torch.autograd.grad(volume, (left, right), upstream) for volume in (found, expected))
    for a, b in zip(ours, naive, strict=True):
        torch.testing.assert_close(a, b)


def test_left_and_right_are_not_exchanged() -> None:
    """A point at column x of the left view lies at x - d of the right one; an asymmetric pattern, moved by 5, is found at 5."""
    pattern = torch.randn(1, 8, 6, 40, generator=torch.Generator().manual_seed(1))
    left, right = pattern[..., :30], pattern[..., 5:35]  # right[x] = left[x + 5]
    interior = slice(9, 30)

    def found(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        volume = cost_volume(first, second, 9)
        return expected_disparity(-1e3 * (volume[:, :8] - volume[:, 8:]).square().sum(1))[..., interior]

    torch.testing.assert_close(found(left, right), torch.full((1, 6, 21), 5.0))
    exchanged = (found(right, left) - 5).abs() < 0.5
    assert exchanged.float().mean() < 0.5  # only by chance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_regression_of_a_one_hot_volume_is_its_index(dtype: torch.dtype) -> None:
    index = torch.randint(0, 192, (2, 5, 7))
    scores = torch.zeros(2, 192, 5, 7, dtype=dtype).scatter_(1, index[:, None], 200)
    disparity = expected_disparity(scores)
    assert disparity.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(disparity, index.to(disparity.dtype), rtol=0, atol=1e-4)


def test_the_regression_is_a_mean() -> None:
    torch.testing.assert_close(expected_disparity(torch.zeros(1, 192, 2, 2)), torch.full((1, 2, 2), 95.5))
    scores = torch.full((1, 8, 1, 1), -1e9)
    scores[0, 2], scores[0, 6] = 0.0, torch.log(torch.tensor(3.0))  # a quarter and three quarters
    torch.testing.assert_close(expected_disparity(scores), torch.full((1, 1, 1), 5.0))


@pytest.mark.parametrize("form", stereo.FORMS)
def test_gradients_reach_every_parameter(form: str) -> None:
    network = tiny("all", form=form)
    outputs = network(*pair(batch=2))
    truth = torch.rand(2, 32, 48) * 15
    stereo.loss(outputs, truth, max_disparity=16).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # A bias added to all keys alike drops out of their softmax over the positions.
        assert parameter.grad.abs().max() > 0 or name.endswith("keys.bias"), name


def test_an_identity_block_changes_nothing() -> None:
    plain, attended = tiny().eval(), tiny("all", Attention(d_k=8, identity=True)).eval()
    assert not torch.equal(tiny("all").eval()(*pair())[0], plain(*pair())[0])
    assert torch.equal(attended(*pair())[0], plain(*pair())[0])


def test_each_form_is_its_own_function_and_its_mode_counts_the_outputs() -> None:
    hourglass = tiny()
    with torch.no_grad():
        assert len(hourglass(*pair(batch=2))) == 3
        (last,) = hourglass.eval()(*pair(batch=2))
    assert last.shape == (2, 32, 48)
    assert last.min() >= 0
    assert last.max() <= 15


def test_keys_are_those_of_the_published_weights() -> None:
    state = stereo.build(device="meta").state_dict()
    shapes = {
        "feature_extraction.firstconv.0.0.weight": (32, 3, 3, 3), "feature_extraction.layer1.0.conv1.0.0.weight": (32, 32, 3, 3),
        "feature_extraction.layer2.0.downsample.0.weight": (64, 32, 1, 1), "feature_extraction.layer2.15.conv2.1.running_mean": (64,),
        "feature_extraction.layer4.2.conv2.0.weight": (128, 128, 3, 3), "feature_extraction.branch1.1.0.weight": (32, 128, 1, 1),
        "feature_extraction.lastconv.0.0.weight": (128, 320, 3, 3), "feature_extraction.lastconv.2.weight": (32, 128, 1, 1),
        "dres0.0.0.weight": (32, 64, 3, 3, 3), "dres1.2.1.bias": (32,), "dres2.conv1.0.0.weight": (64, 32, 3, 3, 3),
        "dres3.conv2.1.weight": (64,), "dres4.conv6.0.weight": (64, 32, 3, 3, 3), "classif3.2.weight": (1, 32, 3, 3, 3),
    }  # fmt: skip
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert not any(insertion.is_attention(key) for key in state)


def test_a_checkpoint_of_the_authors_kind_loads_into_a_network_with_attention() -> None:
    plain, attended = tiny(seed=1), tiny("all", seed=2)
    checkpoint = {"epoch": 10, "state_dict": {f"module.{key}": value for key, value in plain.state_dict().items()}}
    loaded = insertion.load_weights(attended, insertion.state_of(checkpoint), shared=True)
    assert loaded.dropped == ()
    places = ("attention.volume", "feature_extraction.layer4.attention")
    assert {key.rpartition(".")[0].rpartition(".")[0] for key in loaded.fresh} == set(places)
    now, before = attended.state_dict(), plain.state_dict()
    assert all(torch.equal(now[key], value) for key, value in before.items())
    with pytest.raises(DataError, match="the attention differs: the weights lack"):
        insertion.load_weights(attended, insertion.state_of(checkpoint))
    with pytest.raises(DataError, match="the checkpoint holds no weights"):
        insertion.state_of({"epoch": 10})


def test_a_map_over_the_volume_is_refused_with_its_size() -> None:
    with pytest.raises(UsageError, match=r"needs a map of 618\.48 GB \(576 GiB\) over 48x64x128 positions, predicted; no limit"):
        stereo.build("volume", Attention("dot_product"))
    with pytest.raises(UsageError, match=r"154\.62 GB .*the limit is 8\.00 GiB; take an implementation without a map"):
        stereo.build("all", Attention("dot_product", heads=4, pool=4), map_limit_bytes=2**33, device="meta")


def test_a_map_within_the_limit_runs_until_an_input_is_larger() -> None:
    limit = 4 * (4 * 8 * 12) ** 2
    network = tiny("volume", Attention("dot_product", d_k=8), map_limit_bytes=limit).eval()
    assert network(*pair())[0].shape == (1, 32, 48)
    with pytest.raises(UsageError, match="over 4x8x16 positions, predicted; the limit is 576 KiB"):
        network(*pair(width=64))
    with pytest.raises(UsageError, match="over 4x8x12 positions"):
        network(*pair(batch=2))


def test_the_loss_by_hand() -> None:
    truth = torch.tensor([[[10.0, 20.0, 191.9, 192.0, float("inf"), float("nan")]]])
    outputs = [torch.tensor([[[10.5, 23.0, 191.9, 0.0, 0.0, 0.0]]], requires_grad=True) for _ in range(3)]
    # Smooth L1: 0.5 * 0.5^2 = 0.125, 3 - 0.5 = 2.5, 0; a mean over the three pixels that count; weights 0.5 + 0.7 + 1.
    value = stereo.loss(outputs, truth)
    assert float(value.detach()) == pytest.approx(2.2 * (0.125 + 2.5) / 3, rel=1e-6)
    value.backward()
    for output, weight in zip(outputs, (0.5, 0.7, 1.0), strict=True):
        assert output.grad is not None
        torch.testing.assert_close(output.grad, weight / 3 * torch.tensor([[[0.5, 1.0, 0.0, 0.0, 0.0, 0.0]]]))
    valid = torch.tensor([[[True, False, True, True, True, True]]])
    assert float(stereo.loss(outputs[:1], truth, valid).detach()) == pytest.approx(0.125 / 2, rel=1e-6)


def test_the_loss_without_any_valid_pixel_is_zero() -> None:
    output = torch.full((1, 2, 2), 3.0, requires_grad=True)
    value = stereo.loss([output], torch.full((1, 2, 2), 500.0))
    value.backward()
    assert float(value.detach()) == 0
    assert output.grad is not None
    assert torch.equal(output.grad, torch.zeros(1, 2, 2))


@pytest.mark.parametrize(("height", "width"), [(540, 960), (500, 741), (16, 32), (1, 1)])
def test_padding_is_above_and_on_the_right(height: int, width: int) -> None:
    image = torch.rand(1, 3, height, width) + 1
    padded = stereo.pad(image)
    assert padded.shape[2] % 16 == padded.shape[3] % 16 == 0
    assert padded.shape[2] - height < 16
    assert torch.equal(stereo.unpad(padded, height, width), image)
    assert float(padded.sum()) == pytest.approx(float(image.sum()), rel=1e-5)


def test_a_prediction_has_the_size_of_its_images() -> None:
    network = tiny().eval()
    left, right = (view.sigmoid() for view in pair(height=30, width=41))
    found = stereo.predict(network, left, right)
    assert found.shape == (1, 30, 41)
    assert not found.requires_grad
    wide = network(*(torch.nn.functional.pad(stereo.normalise(view), (0, 7, 2, 0)) for view in (left, right)))[0]
    assert torch.equal(found, wide[:, 2:, :41])


def test_images_are_normalised_by_imagenets_statistics() -> None:
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    image = (mean + 2 * deviation)[:, None, None].expand(3, 2, 2)
    torch.testing.assert_close(stereo.normalise(image), torch.full((3, 2, 2), 2.0))


def test_windows_larger_than_the_map_take_all_of_it() -> None:
    x = torch.arange(24.0).reshape(1, 1, 4, 6)
    assert WindowPool(64)(torch.cat([x, x])).tolist() == [[[[11.5]]]] * 2
    assert WindowPool(2)(x).shape == (1, 1, 2, 3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: stereo.build(form="tower"), "'tower' is no form of PSMNet; there are hourglass, basic"),
        (lambda: stereo.build(max_disparity=100), "max_disparity is 100, must be a multiple of 16"),
        (lambda: stereo.build("layer5"), "'layer5' is no position in stereo"),
        (lambda: stereo.build("layer4", Attention(heads=3)), "d_k = 64 cannot be divided by 3 heads"),
        (lambda: tiny()(*pair(height=30)), "the images are 30x48, but sides must be multiples of 16"),
        (lambda: tiny()(*pair()), "one pair of 32x48 leaves one value per channel to normalise by in training; take a batch"),
    ],
)
def test_mistakes_are_one_line(call: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()


def test_half_precision_does_not_round_disparities() -> None:
    """Under autocast the scores are bfloat16, in which the numbers near 190 are a whole pixel apart; the mean is taken in float32."""
    network = tiny("layer4").eval()
    scores = torch.zeros(1, 192, 1, 1, dtype=torch.bfloat16)
    scores[0, 187], scores[0, 188] = 100.0, 100.0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (disparity,) = network(*pair())
        between = expected_disparity(scores)
    assert disparity.dtype == torch.float32
    torch.testing.assert_close(between, torch.full((1, 1, 1), 187.5))


def test_weights_are_the_seeds_with_and_without_attention() -> None:
    plain, attended = tiny(seed=4).state_dict(), tiny("all", seed=4).state_dict()
    assert all(torch.equal(attended[key], value) for key, value in plain.items())
    assert not torch.equal(tiny(seed=5).state_dict()["dres0.0.0.weight"], plain["dres0.0.0.weight"])


def test_the_volumes_positions_follow_the_maximal_disparity() -> None:
    (volume,) = positions.parse("stereo", "volume")
    assert volume.space(32, 48, max_disparity=16) == (4, 8, 12)
