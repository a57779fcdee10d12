"""Mask R-CNN with attention: torchvision's network on a ResNet with a feature pyramid, and blocks at any of the paper's positions.

Paper: "Factorized Attention: Self-Attention with Linear Complexities" (arXiv 1812.01243 v1, section 4.1); Mask R-CNN: He et al., ICCV 2017.

    res3, res4    after the last block of backbone.body.layer3, layer4      (layer_i: see the naming trap in `fabench.positions`)
    fpn1..fpn5    on the outputs of backbone.fpn, levels '0', '1', '2', '3' and 'pool' (P2..P6), when the pyramid is complete

The pyramid's last step is `fpn.extra_blocks`, which appends P6, P5 subsampled. The blocks of its levels come right after that, so each
level is attended on its own: fpn4 does not reach P6 through the subsampling, and P6 can have a block although no layer produces it.

State dicts: torchvision's keys are unchanged; the blocks add `backbone.body.layer3.attention.*` and
`backbone.fpn.extra_blocks.attention.fpn1.*`, each with keys, queries, values and reprojection. So torchvision's own checkpoints load into
it by `insertion.load_weights(..., shared=True)`. Its COCO_V1 file was trained with norm="frozen" and is evaluated with norm_epsilon=0.

Nothing is downloaded: weights are random, from `seed`, and equal with and without attention. With random weights the heads have their
full work: the maps grow through the untrained stages, scores saturate (0.7 to 0.99 were seen at 480 x 640), and every image gives as many
boxes as `detections` allows. `score_threshold=0` makes that certain.

torchvision is an optional extra, imported when a network is built.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from fabench import positions
from fabench.errors import UsageError
from fabench.models.blocks import AttentionBlock
from fabench.models.insertion import block
from fabench.positions import REFERENCE_SIZES, Attention, Position

if TYPE_CHECKING:
    from torchvision.models.detection import MaskRCNN

__all__ = ["BACKBONES", "CLASSES", "LEVELS", "build"]

BACKBONES = ("resnet50", "resnet101")
CLASSES = 91  # COCO's category numbers, 0 for the background
LEVELS = {"fpn1": "0", "fpn2": "1", "fpn3": "2", "fpn4": "3", "fpn5": "pool"}
_STAGES = {"res3": "layer3", "res4": "layer4"}
_NORMS = ("batch", "frozen")

_Maps: TypeAlias = list[torch.Tensor]


class _AttendedLevels(nn.Module):
    """The pyramid's last step: what torchvision does there, then each level's block, by the paper's names."""

    def __init__(self, last: nn.Module, blocks: dict[str, AttentionBlock]) -> None:
        super().__init__()
        self.last = last
        self.attention = nn.ModuleDict(blocks)

    def forward(self, outputs: _Maps, inputs: _Maps, names: list[str]) -> tuple[_Maps, list[str]]:
        outputs, names = self.last(outputs, inputs, names)
        blocks = {LEVELS[name]: module for name, module in self.attention.items()}
        return [blocks[name](x) if name in blocks else x for name, x in zip(names, outputs, strict=True)], names


def build(
    where: str | Iterable[str] = "none", attention: Attention = Attention(), *,  # noqa: B008, frozen
    backbone: str = "resnet50", classes: int = CLASSES, input_size: tuple[int, int] | None = None,
    score_threshold: float = 0.05, detections: int = 100, norm: str = "batch", norm_epsilon: float = 1e-5, trainable_layers: int = 5,
    seed: int = 0, device: str = "cpu", dtype: str = "float32",
) -> MaskRCNN:  # fmt: skip
    """Mask R-CNN with random weights and `attention` at the positions `where` (names, "fpn", "all" or "none").

    `input_size` (height, width): an image of this size is taken as it is, where by default all are resized to a short side of 800 and
    a long one of at most 1333; both are padded to multiples of 32. `norm`: "batch", or "frozen" for pretrained weights. `trainable_layers`
    of the backbone, from the last, learn. `dtype` is what the blocks will compute in, so that an implementation can refuse it; the
    network itself is made in float32. Called with a list of images [3, H, W] in 0..1, in training with their targets as well, as
    torchvision says. Raises UsageError where torchvision is missing, for unknown words, and for channels that don't fit.
    """
    if backbone not in BACKBONES:
        raise UsageError(f"{backbone[:40]!r} is no backbone; there are {', '.join(BACKBONES)}")
    if norm not in _NORMS:
        raise UsageError(f"{norm[:40]!r} is no norm; there are {', '.join(_NORMS)}")
    wanted = positions.parse("detection", where)
    # A meta device has no generator; everywhere else weights are drawn on the CPU, so that a seed means the same on all devices.
    with torch.random.fork_rng(devices=[]), torch.device("meta" if device == "meta" else "cpu"):
        torch.manual_seed(seed)
        network = _without(backbone, classes, input_size, score_threshold, detections, norm, norm_epsilon, trainable_layers)
        _insert(network, wanted, attention, input_size or REFERENCE_SIZES["detection"], device, dtype)
    return network.to(device)


def _without(
    backbone: str, classes: int, input_size: tuple[int, int] | None, score_threshold: float, detections: int,
    norm: str, norm_epsilon: float, trainable_layers: int,
) -> MaskRCNN:  # fmt: skip
    """torchvision's network, as its own builder of `maskrcnn_resnet50_fpn` puts it together."""
    try:
        from torchvision.models.detection import MaskRCNN
        from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
        from torchvision.ops.misc import FrozenBatchNorm2d
    except ImportError as error:
        raise UsageError(f"Mask R-CNN needs torchvision ({error}): pip install 'fabench[models]'") from None
    layer = partial(FrozenBatchNorm2d if norm == "frozen" else nn.BatchNorm2d, eps=norm_epsilon)
    features = resnet_fpn_backbone(
        backbone_name=backbone, weights=None, norm_layer=layer, trainable_layers=trainable_layers
    )  # fmt: skip
    sizes = {} if input_size is None else {"min_size": min(input_size), "max_size": max(input_size)}
    return MaskRCNN(
        features, num_classes=classes, box_score_thresh=score_threshold, box_detections_per_img=detections, **sizes
    )  # fmt: skip


def _insert(
    network: MaskRCNN, wanted: tuple[Position, ...], attention: Attention, size: tuple[int, int], device: str, dtype: str
) -> None:
    blocks = {position.name: block(position, attention, *size, device=device, dtype=dtype) for position in wanted}
    for name, stage in _STAGES.items():
        if name in blocks:
            network.backbone.body[stage].add_module("attention", blocks[name])
    levels = {name: blocks[name] for name in LEVELS if name in blocks}
    if levels:
        network.backbone.fpn.extra_blocks = _AttendedLevels(network.backbone.fpn.extra_blocks, levels)
