"""One step against torch written out by hand: parts of a batch give the joint batch's gradient, and what is not finite changes nothing."""

import copy
import math
from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from fabench.errors import TrainingError, UsageError
from fabench.models import stereo
from fabench.recipe import PRECISIONS
from fabench.train.loop import step, steps
from fabench.train.losses import StereoBatch, StereoLoss
from fabench.train.precision import DTYPES, autocast, require, require_planes, scaler_for

CPU = torch.device("cpu")
LOSS = StereoLoss(16)


class Matcher(nn.Module):
    """Three disparities of two views, without batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.last = nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs: torch.Tensor = 10 * self.last(torch.tanh(self.first(torch.cat([left, right], dim=1))))
        return outputs.unbind(1)


def batch(count: int, seed: int = 0) -> StereoBatch:
    """Pairs with very different shares of unknown and far pixels; the first has none that counts."""
    draw = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, count, 3, 8, 12, generator=draw)
    disparity = 16 * torch.rand(count, 8, 12, generator=draw)
    disparity[torch.rand(count, 8, 12, generator=draw) < torch.linspace(0.9, 0.1, count)[:, None, None]] = math.nan
    disparity[0] = 99.0
    return StereoBatch(left, right, disparity)


def cut(whole: StereoBatch, *sizes: int) -> list[StereoBatch]:
    return [StereoBatch(*three) for three in zip(*(values.split(list(sizes)) for values in whole), strict=True)]


def by_hand(network: nn.Module, whole: StereoBatch) -> torch.Tensor:
    """The loss by PSMNet's formula, with the pixels taken out by their mask."""
    counts = whole.disparity < 16
    outputs = network(whole.left, whole.right)
    total = torch.zeros(())
    for weight, output in zip((0.5, 0.7, 1.0), outputs, strict=True):
        total = total + weight * nn.functional.smooth_l1_loss(output[counts], whole.disparity[counts])
    return total


def gradients(network: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


def nearly(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> bool:
    assert len(found) == len(expected) > 0
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(found, expected, strict=True))


def test_a_step_is_torchs_own() -> None:
    network, whole = Matcher(), batch(4)
    plain = copy.deepcopy(network)
    ours, theirs = (torch.optim.Adam(one.parameters(), lr=0.01) for one in (network, plain))
    for _ in range(3):
        outcome = step(network, [whole], LOSS, ours)
        theirs.zero_grad()
        loss = by_hand(plain, whole)
        loss.backward()
        theirs.step()
        assert outcome.loss == pytest.approx(loss.item(), rel=1e-5)
        assert outcome.weight == int((whole.disparity < 16).sum())
        norm = torch.cat([grad.flatten() for grad in gradients(plain)]).norm().item()
        assert outcome.gradient == pytest.approx(norm, rel=1e-4)
    assert nearly(list(network.parameters()), list(plain.parameters()))


@pytest.mark.parametrize("sizes", [(2, 2, 2), (1, 5), (1, 1, 1, 1, 1, 1)])
def test_parts_have_the_joint_batchs_loss_and_gradient(sizes: tuple[int, ...]) -> None:
    joint, parted = Matcher(), Matcher()
    whole = batch(6)
    one = step(joint, [whole], LOSS, torch.optim.SGD(joint.parameters(), lr=0.1))
    two = step(parted, cut(whole, *sizes), LOSS, torch.optim.SGD(parted.parameters(), lr=0.1))
    assert two.loss == pytest.approx(one.loss, rel=1e-5)
    assert two.weight == one.weight
    assert nearly(gradients(parted), gradients(joint))
    assert nearly(list(parted.parameters()), list(joint.parameters()))
    # The plain mean of the parts' means, which training loops often take, is another gradient here.
    mean = Matcher()
    parts = cut(whole, *sizes)
    torch.stack([LOSS.loss(mean, part) for part in parts]).mean().backward()
    assert not nearly(gradients(mean), gradients(joint))


def test_batch_normalisation_sees_the_parts() -> None:
    """Why accumulation is not exact for PSMNet: each part is normalised by itself."""
    found = []
    for sizes in ((4,), (2, 2)):
        network = nn.Sequential(Matcher().first, nn.BatchNorm2d(8))
        layer = Matcher()
        layer.first = network  # type: ignore[assignment]
        step(layer, cut(batch(4), *sizes), LOSS, torch.optim.SGD(layer.parameters(), lr=0.1))
        found.append(gradients(layer))
    assert not nearly(*found)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(poison: float) -> None:
    network, whole = Matcher(), batch(2)
    whole.left[1, 0, 3, 3] = poison
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(TrainingError, match=r"the (loss|gradient's norm) is nan"):
        step(network, [whole], LOSS, torch.optim.Adam(network.parameters()))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


class Root(nn.Module):
    """A finite loss with an infinite gradient: the root of |w| at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.weight.abs().sqrt().sum() + left[:, 0],)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change() -> None:
    network = Root()
    with pytest.raises(TrainingError, match=r"the gradient's norm is (nan|inf)"):
        step(network, [batch(2)], LOSS, torch.optim.SGD(network.parameters(), lr=0.1))
    assert network.weight.tolist() == [0, 0]


def test_a_batch_without_any_valid_pixel_has_no_gradient() -> None:
    network, whole = Matcher(), batch(1)
    before = copy.deepcopy(network.state_dict())
    outcome = step(network, [whole], LOSS, torch.optim.SGD(network.parameters(), lr=0.1))
    assert (outcome.loss, outcome.gradient, outcome.weight) == (0.0, 0.0, 0)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_clipping_shortens_the_gradient_and_keeps_its_direction() -> None:
    free, clipped = Matcher(), Matcher()
    start = torch.cat([parameter.detach().flatten() for parameter in free.parameters()])
    ways = []
    for network, limit in ((free, None), (clipped, 0.25)):
        outcome = step(network, [batch(3)], LOSS, torch.optim.SGD(network.parameters(), lr=1.0), clip_norm=limit)
        ways.append(start - torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
        assert outcome.gradient == pytest.approx(ways[0].norm().item(), rel=1e-4)
    assert ways[0].norm() > 1
    assert ways[1].norm().item() == pytest.approx(0.25, rel=1e-3)
    assert nn.functional.cosine_similarity(ways[0], ways[1], dim=0).item() == pytest.approx(1, abs=1e-5)


def test_steps_learn_and_put_the_network_into_training_mode() -> None:
    network = Matcher().eval()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = [outcome.loss for outcome in steps(network, [[batch(4)]] * 30, LOSS, optimiser)]
    assert network.training
    assert losses[-1] < losses[0] / 2


def test_bfloat16_computes_in_bfloat16_and_learns_float32_weights() -> None:
    network, seen = Matcher(), []
    network.last.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    low = step(network, [batch(4)], LOSS, torch.optim.SGD(network.parameters(), lr=0.1), precision="bf16")
    full = step(Matcher(), [batch(4)], LOSS, torch.optim.SGD(Matcher().parameters(), lr=0.1))
    assert seen == [torch.bfloat16]
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert low.loss != full.loss
    assert low.loss == pytest.approx(full.loss, rel=0.02)


@pytest.mark.parametrize(
    ("precision", "device", "words"),
    [
        ("fp8", "cpu", "'fp8' is no precision; there are fp32, bf16, fp16"),
        ("fp16", "cpu", "fp16 can't be trained in on cpu: float16 needs a scaled loss"),
        ("bf16", "mps", "bf16 can't be trained in on mps: autocast is for CPU and CUDA"),
    ],
)
def test_a_precision_that_is_not_to_be_had(precision: str, device: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        require(precision, torch.device(device))


def test_only_float16_has_its_loss_scaled() -> None:
    assert tuple(DTYPES) == PRECISIONS
    assert [scaler_for(name, CPU).is_enabled() for name in DTYPES] == [False, False, True]
    with autocast("fp32", CPU):
        assert not torch.is_autocast_enabled("cpu")


def test_a_scaled_loss_gives_the_same_step() -> None:
    """float16's scaler on float32, where nothing rounds away: scaling by a power of two and back changes no bit that matters."""
    plain, scaled = Matcher(), Matcher()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    one = step(plain, [batch(3)], LOSS, torch.optim.SGD(plain.parameters(), lr=0.1), clip_norm=0.5)
    two = step(scaled, [batch(3)], LOSS, torch.optim.SGD(scaled.parameters(), lr=0.1), clip_norm=0.5, scaler=scaler)
    assert two.loss == one.loss
    assert two.gradient == pytest.approx(one.gradient, rel=1e-5)
    assert nearly(list(scaled.parameters()), list(plain.parameters()))


def test_an_overflow_of_the_scaled_gradient_leaves_the_step_out_and_one_that_stays_stops() -> None:
    network = Root()
    optimiser, scaler = torch.optim.SGD(network.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=4.0)
    for scale in (2.0, 1.0):
        assert step(network, [batch(2)], LOSS, optimiser, scaler=scaler).gradient is None
        assert scaler.get_scale() == scale
    with pytest.raises(TrainingError, match=r"the gradient's norm is (nan|inf), however little the loss is scaled"):
        step(network, [batch(2)], LOSS, optimiser, scaler=scaler)
    assert network.weight.tolist() == [0, 0]


@pytest.mark.parametrize("planes", [3, 4, 6, 12])
def test_bfloat16s_gradient_of_a_volume_is_float32s(planes: int) -> None:
    """Over the planes that 48 disparities and the basic form's 16 make; over the two that are refused it is off by its whole size."""
    draw = torch.Generator().manual_seed(0)
    layer, volume = nn.Conv3d(32, 32, 3, padding=1, bias=False), torch.randn(2, 32, planes, 4, 6, generator=draw)
    found = []
    for precision in ("fp32", "bf16"):
        layer.zero_grad()
        with autocast(precision, CPU):
            out = layer(volume)
        out.float().square().mean().backward()
        found += gradients(layer)
    assert (found[0] - found[1]).norm() < 0.02 * found[0].norm()


@pytest.mark.parametrize(
    ("form", "disparities", "device", "refused"),
    [
        ("hourglass", 16, "cpu", True), ("hourglass", 32, "cpu", True), ("hourglass", 48, "cpu", False), ("basic", 16, "cpu", False),
        ("hourglass", 16, "cuda", False),
    ],
)  # fmt: skip
def test_two_planes_are_refused_in_bfloat16_on_a_cpu(form: str, disparities: int, device: str, refused: bool) -> None:
    network = stereo.build(form=form, max_disparity=disparities, device="meta")
    require_planes(network, "fp32", torch.device(device))
    with pytest.raises(UsageError, match=f"an hourglass of {disparities} disparities") if refused else nullcontext():
        require_planes(network, "bf16", torch.device(device))
