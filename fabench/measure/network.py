"""A whole network as what is measured: its inference, or the forward and backward pass of one training step.

fwd        evaluation mode, no graph: detections of each image, or the disparity
fwd_bwd    training mode: the network's own losses on made-up targets, added up, and the gradients of all parameters; what an optimiser
           would do with them is no part of the call. Proposals are sampled at random: each call begins with the same seed. Of the 512
           that Mask R-CNN trains on, 32 may be objects, which the 32 rectangles of the targets always are: else the mask head's work
           would depend on what an untrained network happens to propose (a trained one proposes up to 128, four times that work).

Weights are random, from the inputs' seed. Without more, the maps of such a network grow from stage to stage in evaluation mode, up to 1e5
in PSMNet: logits of 1e9 make every softmax a choice of one, which no trained network does, and which changes times (exponentials that
vanish, forms that need a shift). So before inference its batch norms get the statistics of a small seeded input, 128 pixels high, as
training would have left them; every map is then of the size of 1. Attention is the plain linear form meanwhile, so that the network is the
same for all implementations. Mask R-CNN's class scores would then all be 1 in 91, no detection would pass the threshold, and the mask
head would have no work: their weights are scaled until logits have a standard deviation of 4, which gives each image the most
detections that are allowed, as a crowded picture does.

`dtype` is that of weights, maps and images; nothing is cast in between.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from fabench import positions
from fabench.attention.base import load
from fabench.measure.inputs import OBJECTS, Inputs
from fabench.measure.subject import Subject
from fabench.models import detection, stereo
from fabench.models.blocks import AttentionBlock
from fabench.models.insertion import blocks_of
from fabench.positions import Position
from fabench.schema import Case

__all__ = ["NetworkSubject", "Site", "build"]

_PLAIN = "factorized_plain"  # the core while statistics are taken
_HEIGHT, _WIDTH, _PAIR = 128, 160, 2  # of the input that they are taken on
_SCORES_DEVIATION, _BOXES = 4.0, 64
# Whether a map over the volume fits is what is measured.
_ANY_MAP = 2**62


@dataclass(frozen=True)
class Site:
    """A block in its network, and the case that it is there."""

    position: Position
    case: Case
    block: AttentionBlock


@dataclass(frozen=True)
class NetworkSubject(Subject):
    """A network and its inputs. `sites`: its blocks, in the network's order."""

    sites: tuple[Site, ...]

    @property
    def network(self) -> nn.Module:
        """The module that is called."""
        assert self.module is not None
        return self.module

    def upstream(self) -> torch.Tensor | None:
        """The gradient of a loss by itself."""
        return torch.ones((), device=self.inputs.leaves[0].device, dtype=self._loss_dtype) if self.case.needs_gradients else None

    @property
    def _loss_dtype(self) -> torch.dtype:
        """PSMNet's disparities are of float32 at least."""
        dtype = self.inputs.leaves[0].dtype
        return torch.promote_types(dtype, torch.float32) if self.case.network == "stereo" else dtype

    @property
    def output_shape(self) -> tuple[int, ...]:
        """A loss is one number; what inference gives, only a call can tell."""
        return ()

    @property
    def output_bytes(self) -> int | None:
        """The loss, without the gradients; None in inference."""
        return self._loss_dtype.itemsize if self.case.needs_gradients else None

    @property
    def held_bytes(self) -> int:
        """Images, parameters and buffers together."""
        tensors = (*self.inputs.leaves, *self.network.parameters(), *self.network.buffers())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def touched_bytes(self) -> int:
        """Images, parameters and buffers, with gradients those as well; maps are made and gone inside."""
        return self.held_bytes * (2 if self.case.needs_gradients else 1)

    def another(self) -> Callable[[], Any]:
        """The same call on copies of all its tensors."""
        leaves, targets = (tuple(tensor.clone() for tensor in given) for given in (self.inputs.leaves, self.inputs.targets))
        inputs = replace(self.inputs, leaves=leaves, targets=targets)
        return _subject(self.case, inputs, copy.deepcopy(self.network)).call()


def build(case: Case, implementation: str, inputs: Inputs) -> NetworkSubject:
    """The network that `case` describes, with `implementation` in its blocks (none where it has no positions), on the inputs' device.

    Raises UsageError where it can't be built: torchvision is missing, or the implementation can't run at a position.
    """
    height, width = case.dimensions
    attention = positions.attention_of(case, implementation)
    device, dtype = inputs.leaves[0].device, case.dtype
    options: dict[str, Any] = {"seed": inputs.seed, "device": str(device), "dtype": dtype}
    network: nn.Module
    assert case.positions is not None and case.backbone is not None
    if case.network == "detection":
        network = detection.build(case.positions, attention, backbone=case.backbone, input_size=(height, width), **options)
        heads: Any = network.roi_heads
        sampler = heads.fg_bg_sampler
        sampler.positive_fraction = OBJECTS / sampler.batch_size_per_image
    else:
        network = stereo.build(
            case.positions, attention, form=case.backbone, crop=(height, width), map_limit_bytes=_ANY_MAP, **options
        )
    network.to(dtype=getattr(torch, dtype))
    network.requires_grad_(case.needs_gradients)
    if not case.needs_gradients:
        _settle(network, case, inputs)
    network.train(case.needs_gradients)
    return _subject(case, inputs, network)


def _subject(case: Case, inputs: Inputs, network: nn.Module) -> NetworkSubject:
    named = dict(network.named_parameters())
    return NetworkSubject(
        case, inputs, _forward(case, inputs, network), tuple(named.values()) if case.needs_gradients else (), tuple(named),
        network, _no_core, _sites(case, network),
    )  # fmt: skip


def _no_core(*_: object) -> torch.Tensor:
    raise TypeError("a network has a core in each of its blocks, and none of its own")


def _sites(case: Case, network: nn.Module) -> tuple[Site, ...]:
    """The blocks by the paper's names; each stands under its position's name, or its stage's."""
    known = {_name(place): block for place, block in blocks_of(network).items()}
    return tuple(Site(position, block_case, known[position.name]) for position, block_case in positions.blocks(case))


def _name(place: str) -> str:
    stages = {"backbone.body.layer3.attention": "res3", "backbone.body.layer4.attention": "res4"}
    return stages.get(place) or place.removesuffix(".attention").rpartition(".")[2]


def _forward(case: Case, inputs: Inputs, network: nn.Module) -> Callable[[], Any]:
    """Inference: a tuple of all tensors that come out. Training: the loss, one number."""
    if case.network == "stereo":
        left, right = inputs.leaves
        if not case.needs_gradients:
            return lambda: network(left, right)
        (truth,) = inputs.targets
        return lambda: stereo.loss(network(left, right), truth)
    (images,) = inputs.leaves
    if not case.needs_gradients:
        return lambda: tuple(tensor for found in network(list(images)) for tensor in found.values())
    given = iter(inputs.targets)
    targets = [
        {"boxes": boxes, "labels": labels, "masks": masks} for boxes, labels, masks in zip(given, given, given, strict=True)
    ]

    def losses() -> torch.Tensor:
        torch.manual_seed(inputs.seed)
        total: torch.Tensor = sum(network(list(images), targets).values())
        return total

    return losses


@contextmanager
def _plainly(network: nn.Module, case: Case) -> Iterator[None]:
    """All blocks with the plain linear core."""
    cores: Mapping[AttentionBlock, Any] = {block: block.core for block in blocks_of(network).values()}
    for (_, block_case), block in zip(positions.blocks(case), cores, strict=True):
        block.core = load(_PLAIN).prepare(block_case, "cpu")
    try:
        yield
    finally:
        for block, core in cores.items():
            block.core = core


def _settle(network: nn.Module, case: Case, inputs: Inputs) -> None:
    """Statistics of the batch norms, and the spread of the class scores; see the header."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    first = inputs.leaves[0]
    generator = torch.Generator(device=first.device).manual_seed(inputs.seed)
    shape = (_PAIR, 3, _HEIGHT, _WIDTH)
    network.train()
    with torch.no_grad(), _plainly(network, case):
        noise = torch.rand(shape, generator=generator, device=first.device).to(first.dtype)
        if case.network == "stereo":
            noise = (noise - 0.5) * math.sqrt(12)  # of variance 1, as normalised images are
            network(noise, noise.roll(-16, 3))
        else:
            _decided(network, noise)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _decided(network: Any, noise: torch.Tensor) -> None:
    """Mask R-CNN up to the class scores of some proposals; the scores' weights are then scaled."""
    transform, heads = network.transform, network.roi_heads
    sizes = transform.min_size, transform.max_size
    transform.min_size, transform.max_size = (_HEIGHT,), _WIDTH
    images, _ = transform(list(noise))
    transform.min_size, transform.max_size = sizes
    network.backbone(images.tensors)
    network.eval()
    features = network.backbone(images.tensors)
    proposals, _ = network.rpn(images, features)
    pooled = heads.box_roi_pool(features, [boxes[:_BOXES] for boxes in proposals], images.image_sizes)
    scores = heads.box_predictor.cls_score(heads.box_head(pooled))
    heads.box_predictor.cls_score.weight.mul_(_SCORES_DEVIATION / scores.double().std())
