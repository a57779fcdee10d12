"""From images on disk to a network and back, by stand-ins that show what they are given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fabench.errors import DataError, UsageError
from fabench.evaluate import networks
from fabench.evaluate.checkpoint import Checkpoint
from fabench.models import stereo
from fabench.positions import Attention

CPU = torch.device("cpu")


def images(*sizes: tuple[int, int]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]


class Mirror(torch.nn.Module):
    """Gives back a channel of a view, as it was before it was normalised, as a disparity."""

    def __init__(self, view: int, channel: int) -> None:
        super().__init__()
        self.view, self.channel = view, channel
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.shapes.append(tuple(left.shape))
        mean, deviation = (0.485, 0.456, 0.406)[self.channel], (0.229, 0.224, 0.225)[self.channel]
        shown = (left, right)[self.view][:, self.channel] * deviation + mean
        return torch.zeros_like(shown), shown


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_pixels_come_back_where_they_were(view: int, channel: int) -> None:
    sizes = ((17, 30), (32, 48), (17, 30))
    sides = images(*sizes), images(*sizes)[::-1]
    sides[1][1], sides[1][0] = sides[1][1][::-1].copy(), sides[0][0][:, ::-1].copy()
    network = Mirror(view, channel)
    found = networks.stereo_predict(network, CPU)(*sides)
    assert sorted(network.shapes) == [(1, 3, 32, 48), (2, 3, 32, 32)]  # those of one size together, padded to multiples of 16
    for disparity, image in zip(found, sides[view], strict=True):
        np.testing.assert_allclose(disparity, image[..., channel] / 255, atol=1e-5)


class Detector(torch.nn.Module):
    """Finds the brightest pixel, with a soft mask."""

    def forward(self, batch: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        found = []
        for image in batch:
            assert image.dtype == torch.float32
            assert image.max() <= 1
            row, column = divmod(int(image.sum(0).argmax()), image.shape[2])
            mask = torch.full((1, 1, *image.shape[1:]), 0.5)
            mask[..., row, column] = 0.51
            box = torch.tensor([[column, row, column + 1, row + 1]]).float()
            found.append({"boxes": box, "scores": torch.ones(1), "labels": torch.tensor([3]), "masks": mask})
        return found


def test_images_of_any_size_reach_a_detector_upright() -> None:
    batch = [np.zeros((5, 7, 3), np.uint8), np.zeros((9, 4, 3), np.uint8)]
    batch[0][1, 6] = batch[1][8, 0] = 255
    first, second = networks.detection_predict(Detector(), CPU)(batch)
    assert first.boxes.tolist() == [[6, 1, 7, 2]]
    assert second.boxes.tolist() == [[0, 8, 1, 9]]
    assert first.masks is not None
    assert np.argwhere(first.masks).tolist() == [[0, 1, 6]]
    assert (first.labels.tolist(), first.scores.tolist()) == ([3], [1.0])


def test_options_replace_what_the_checkpoint_says() -> None:
    build = {"where": "layer4", "attention": {"d_k": 8, "heads": 2}}
    assert networks.merged(build, {}) == build
    assert networks.merged(build, {"attention.d_k": 16, "form": "basic"}) == {
        "where": "layer4", "form": "basic", "attention": {"d_k": 16, "heads": 2},
    }  # fmt: skip
    assert networks.merged(None, {}) == {}
    assert build["attention"] == {"d_k": 8, "heads": 2}


def weights(network: torch.nn.Module, task: str | None = "stereo", build: Mapping[str, Any] | None = None) -> Checkpoint:
    return Checkpoint(Path("a.pt"), network.state_dict(), {}, "", task, build)


SMALL: dict[str, Any] = {"form": "basic", "max_disparity": 16, "crop": (32, 48)}


def test_a_network_is_built_as_said_and_has_the_weights() -> None:
    trained = stereo.build("layer4", Attention(d_k=8), seed=3, **SMALL)
    build = {"where": "layer4", "attention": {"d_k": 8}, **SMALL, "crop": [32, 48]}
    found = networks.network_of("stereo", weights(trained), build, CPU)
    assert not found.training
    assert all(torch.equal(value, found.state_dict()[key]) for key, value in trained.state_dict().items())
    # Weights of others say nothing of their task.
    networks.network_of("stereo", weights(trained, task=None), build, CPU)


@pytest.mark.parametrize(
    ("build", "kind", "words"),
    [
        ({"nonsense": 1}, UsageError, "is not built with 'nonsense'; there are where, attention, form"),
        ({"device": "cpu"}, UsageError, "is not built with 'device'"),
        ({"attention": {"dk": 8}}, UsageError, r"attention\.dk is not known"),
        ({"attention": {"d_k": "8"}}, UsageError, r"attention\.d_k is '8', not a whole number"),
        ({"form": "round"}, UsageError, "no form of PSMNet"),
        ({"max_disparity": "far"}, UsageError, "can't be built with"),
        ({**SMALL, "where": "layer4", "attention": {"d_k": 8}}, DataError, r"a\.pt: the attention differs"),
        ({"max_disparity": 16}, DataError, r"a\.pt: the weights belong to another network"),
    ],
)
def test_what_does_not_fit_is_one_line(build: dict[str, Any], kind: type[Exception], words: str) -> None:
    plain = stereo.build(**SMALL)
    with pytest.raises(kind, match=words) as caught:
        networks.network_of("stereo", weights(plain), build, CPU)
    assert "\n" not in str(caught.value)


def test_weights_of_another_task() -> None:
    with pytest.raises(DataError, match=r"a\.pt has the weights of a network for detection, not for stereo"):
        networks.network_of("stereo", weights(torch.nn.Linear(1, 1), task="detection"), {}, CPU)
