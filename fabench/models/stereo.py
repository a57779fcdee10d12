"""PSMNet with attention, its loss, and images of any size.

Paper: "Factorized Attention: Self-Attention with Linear Complexities" (arXiv 1812.01243 v1, section 4.3); PSMNet: Chang and Chen, CVPR 2018.

    layer4    after the last block of feature_extraction.layer4, in the extractor that both views share     (the paper's place)
    volume    on the cost volume after dres1: 48 x H/4 x W/4 positions of 32 channels

A map over the positions of the volume takes 618 GB for a 256 x 512 crop, so only an implementation without one can run there. One with a
map is refused unless the caller states how large a map may be, and then wherever it is larger.

State dicts: the keys are those of the weights that PSMNet's authors published, which load by `insertion.state_of` and
`insertion.load_weights`. Those trained before torch 0.4 want align_corners=True, those of September 2021 (torch 1.8.1) False, as the
authors say (github.com/JiaRenChang/PSMNet, README and issue 224). The blocks add `feature_extraction.layer4.attention.*` and
`attention.volume.*`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from fabench import positions
from fabench.attention.base import load
from fabench.errors import UsageError
from fabench.models.insertion import block
from fabench.models.psmnet.network import MULTIPLE, Basic, PSMNet, StackedHourglass
from fabench.positions import MAX_DISPARITY, REFERENCE_SIZES, Attention, Position
from fabench.schema import Case
from fabench.units import format_bytes

__all__ = ["FORMS", "LOSS_WEIGHTS", "build", "loss", "normalise", "pad", "predict", "unpad"]

FORMS: dict[str, type[PSMNet]] = {"hourglass": StackedHourglass, "basic": Basic}
# By the number of outputs, first to last.
LOSS_WEIGHTS: dict[int, tuple[float, ...]] = {3: (0.5, 0.7, 1.0), 1: (1.0,)}

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build(
    where: str | Iterable[str] = "none", attention: Attention = Attention(), *,  # noqa: B008, frozen
    form: str = "hourglass", max_disparity: int = MAX_DISPARITY, align_corners: bool = False,
    crop: tuple[int, int] = REFERENCE_SIZES["stereo"], map_limit_bytes: int | None = None,
    seed: int = 0, device: str = "cpu", dtype: str = "float32",
) -> PSMNet:  # fmt: skip
    """PSMNet with random weights, equal with and without attention, and `attention` at the positions `where` (names, "all" or "none").

    Called as network(left, right) with normalised images [B, 3, H, W]; see `PSMNet.forward`. `crop`: the height and width that a core is
    prepared for; other sizes work as well. `map_limit_bytes`: the largest map that may exist on the volume. `dtype` is what the blocks
    will compute in, so that an implementation can refuse it; the network itself is made in float32. Raises UsageError for unknown
    words, channels that don't fit, and a map on the volume without a limit or beyond it (in `forward` too, by the size that it gets).
    """
    if form not in FORMS:
        raise UsageError(f"{form[:40]!r} is no form of PSMNet; there are {', '.join(FORMS)}")
    wanted = positions.parse("stereo", where)
    # A meta device has no generator; everywhere else weights are drawn on the CPU, so that a seed means the same on all devices.
    with torch.random.fork_rng(devices=[]), torch.device("meta" if device == "meta" else "cpu"):
        torch.manual_seed(seed)
        network = FORMS[form](max_disparity, align_corners)
        for position in wanted:
            made = block(position, attention, *crop, device=device, dtype=dtype, max_disparity=max_disparity)
            if not position.depth:
                network.feature_extraction.layer4.add_module("attention", made)
                continue
            asked = positions.case(position, attention, *crop, dtype=dtype, max_disparity=max_disparity)
            if (bound := _bound(position, attention, asked, map_limit_bytes)) is not None:
                made.register_forward_pre_hook(bound)
            network.attention[position.name] = made
    return network.to(device)


def _bound(position: Position, attention: Attention, asked: Case, limit_bytes: int | None) -> _MapLimit | None:
    """Watches the size of the map, where the implementation makes one."""
    if load(attention.implementation).facts.memory_order == 1:
        return None
    bound = _MapLimit(attention.implementation, position.name, asked, limit_bytes)
    bound.require(asked)
    return bound


@dataclass(frozen=True, slots=True)
class _MapLimit:
    """Before a block runs: refuses a map that is larger than allowed."""

    implementation: str
    place: str
    asked: Case
    limit_bytes: int | None

    def __call__(self, module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        batch, _, *space = arguments[0].shape
        n = math.prod(space)
        self.require(replace(self.asked, batch=batch, n=n, m=n, space="x".join(map(str, space))))

    def require(self, asked: Case) -> None:
        """Raises UsageError, with the predicted size, for a map beyond the limit."""
        needed = positions.map_bytes(asked)
        if self.limit_bytes is None or needed > self.limit_bytes:
            allowed = "no limit is stated" if self.limit_bytes is None else f"the limit is {format_bytes(self.limit_bytes)}"
            raise UsageError(
                f"{self.implementation} at {self.place} needs a map of {needed / 1e9:,.2f} GB ({format_bytes(needed)}) over "
                f"{asked.space} positions, predicted; {allowed}; take an implementation without a map, such as factorized"
            )


def loss(
    outputs: Sequence[torch.Tensor], truth: torch.Tensor, valid: torch.Tensor | None = None, *, max_disparity: int = MAX_DISPARITY
) -> torch.Tensor:
    """Smooth L1 of each output [B, H, W] against `truth` in pixels, a mean over pixels, weighted by `LOSS_WEIGHTS` and added.

    Pixels count where the truth is finite and below `max_disparity`, and `valid` (boolean, [B, H, W]) where it is given: a data set that
    marks missing truth by 0 must say so there. Without any such pixel the loss is 0, and so are its gradients.
    """
    counts = torch.isfinite(truth) & (truth < max_disparity)
    if valid is not None:
        counts = counts & valid
    pixels = counts.sum().clamp(min=1)
    total = outputs[-1].new_zeros(())
    for output, weight in zip(outputs, LOSS_WEIGHTS[len(outputs)], strict=True):
        # No indexing by the mask: its length would have to be fetched from the device. Where a pixel doesn't count, both are 0.
        apart = F.smooth_l1_loss(output.where(counts, 0), truth.to(output.dtype).where(counts, 0), reduction="sum")
        total = total + weight * apart / pixels
    return total


def normalise(images: torch.Tensor) -> torch.Tensor:
    """RGB [..., 3, H, W] in 0..1, less ImageNet's mean and over its deviation, as the published weights expect."""
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in (_MEAN, _DEVIATION))
    return (images - mean) / deviation


def predict(network: PSMNet, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Disparities [B, H, W] of RGB pairs [B, 3, H, W] in 0..1 of any size: normalised, padded, run without gradients, cut to size.

    The network is used in the mode that it is in; call `eval()` before.
    """
    height, width = left.shape[-2:]
    with torch.no_grad():
        last = network(*(pad(normalise(view)) for view in (left, right)))[-1]
    return unpad(last, height, width)


def pad(images: torch.Tensor, multiple: int = MULTIPLE) -> torch.Tensor:
    """[..., H, W] with zeros above and on the right, up to multiples of `multiple`; both views alike, so disparities stay."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, -height % multiple, 0))


def unpad(disparities: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Takes off what `pad` put around images of this size: [..., H', W'] -> [..., height, width]."""
    return disparities[..., disparities.shape[-2] - height :, :width]
