"""Mask R-CNN in training: it draws its proposals at random, and goes on as if it had never stopped all the same; ImageNet's weights."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fabench.data import generate_coco
from fabench.errors import DataError
from fabench.models import detection
from fabench.positions import Attention
from fabench.train.losses import DetectionBatch, DetectionLoss
from fabench.train.start import _initialise
from tests.train.conftest import losses, train

pytest.importorskip("torchvision", reason="torchvision is not installed")
pytest.importorskip("pycocotools", reason="pycocotools is not installed")


def test_stopped_and_gone_on_is_the_same_training_bit_for_bit(tmp_path: Path) -> None:
    generate_coco.write_coco(tmp_path / "data", seed=1, train=4, val=1)

    def request(out: str, **others: Any) -> dict[str, Any]:
        return {
            "task": "detection", "format": "coco", "data": str(tmp_path / "data"), "split": None, "limit": None, "out": str(tmp_path / out),
            "every": 1, "keep": 2, "resume": None, "init": None, "preset": None, "changes": {"batch": 2, "epochs": 1},
            "options": {"where": "fpn5", "input_size": [64, 96], "trainable_layers": 1, "classes": 19}, "log": None, "device": "cpu",
            "workers": 0, "memory_bytes": None, **others,
        }  # fmt: skip

    train(request("whole"))
    first = tmp_path / "whole/step-00000001.pt"
    frozen = torch.load(first, weights_only=True)["training"]["optimiser"]["param_groups"][0]["params"]
    end = train(request("cut", resume=str(first), options={}, changes={}))
    assert end.steps == 2
    whole = losses(tmp_path / "whole")
    assert whole[1] != whole[2]
    assert losses(tmp_path / "cut") == {2: whole[2]}
    assert len(frozen) < len(list(detection.build("fpn5", classes=19, device="meta").parameters()))
    for name in ("whole", "cut"):  # 300 MB each
        shutil.rmtree(tmp_path / name)


class Parts(torch.nn.Module):
    """Gives torchvision's kind of losses."""

    def forward(self, images: list[torch.Tensor], targets: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {
            "loss_classifier": images[0].mean(),
            "loss_mask": torch.tensor(2.0),
            "loss_objectness": torch.tensor(float(len(targets))),
        }


def test_the_loss_is_the_sum_of_torchvisions_and_counts_images() -> None:
    batch = DetectionBatch([torch.full((3, 4, 4), 0.5), torch.zeros(3, 2, 2)], [{}, {}])
    assert DetectionLoss().loss(Parts(), batch).item() == 4.5
    assert DetectionLoss().weight(batch).item() == 2


def test_imagenets_weights_are_those_of_the_backbone(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    classifier = resnet50(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "resnet50.pt")
    network = detection.build("res3", Attention(d_k=8), norm="frozen", seed=3)
    notes = _initialise("detection", network, tmp_path / "resnet50.pt")
    own = network.backbone.body.state_dict()
    assert all(torch.equal(own[key], value) for key, value in classifier.state_dict().items() if key in own)
    assert sum(key in own for key in classifier.state_dict()) == 265  # all but the last layer and the counters of batches
    assert "for the backbone alone" in notes[0]
    assert "8 tensors of attention are not in them" in notes[1]
    torch.save(
        {key: value for key, value in classifier.state_dict().items() if not key.startswith("layer4")}, tmp_path / "less.pt"
    )
    with pytest.raises(DataError, match=r"less\.pt: the weights belong to another network"):
        _initialise("detection", network, tmp_path / "less.pt")
    for path in tmp_path.glob("*.pt"):
        path.unlink()
