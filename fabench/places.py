"""The places in the real networks where attention goes, by the paper's names, and how a choice of them is written.

    network     name            place in the network                stride   channels    axes of its positions
    detection   res3            backbone.body.layer3                16       1024        h x w
                res4            backbone.body.layer4                32       2048        h x w
                fpn1 .. fpn5    backbone.fpn, level '0' .. 'pool'   4 .. 64  256         h x w
    stereo      layer4          feature_extraction.layer4           4        128         h x w, each view on its own
                volume          the cost volume, once aggregated    4        32          disparities / 4 x h x w

A naming trap: the paper counts ResNet's stages from res1, so its res_i is torchvision's `layer_i`; others call res3 C4 and res4 C5.
fpn1..fpn5 are P2..P6. Attention comes after the last block of the stage, and after the output of the feature pyramid (paper: arXiv
1812.01243 v1; PSMNet: Chang and Chen, CVPR 2018).

A choice is written as short as it can be, so that there is one way to write each: "none", "fpn" (fpn1 to fpn5), "all", or names in the
network's order joined by "+", "res3+fpn1".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fabench.errors import UsageError

__all__ = [
    "BACKBONES", "MAX_DISPARITY", "MULTIPLES", "NETWORKS", "POSITIONS", "WITHOUT", "Position", "parse", "written",
]  # fmt: skip

NETWORKS = ("detection", "stereo")
# What a network without attention has in place of an implementation, and of positions.
WITHOUT = "none"
# The forms that each comes in, the usual one first: torchvision's backbones, PSMNet with three hourglasses or a plain chain.
BACKBONES = {"detection": ("resnet50", "resnet101"), "stereo": ("hourglass", "basic")}
# What both sides of an input are multiples of; smaller images are padded up to it.
MULTIPLES = {"detection": 32, "stereo": 16}
MAX_DISPARITY = 192


@dataclass(frozen=True, slots=True)
class Position:
    """A place for attention. `stride`: of the map against the network's input; `channels` C of the map. `depth`: has a disparity axis.

    `views`: how often one call of the network passes here.
    """

    network: str
    name: str
    stride: int
    channels: int
    depth: bool = False
    views: int = 1

    def space(self, height: int, width: int, max_disparity: int = MAX_DISPARITY) -> tuple[int, ...]:
        """Sizes of the map's position axes for an input of this size in pixels, as the network sees it (resized and padded)."""
        image = (math.ceil(height / self.stride), math.ceil(width / self.stride))
        return (max_disparity // self.stride, *image) if self.depth else image


_LEVELS = tuple(Position("detection", f"fpn{number}", 2 ** (number + 1), 256) for number in range(1, 6))
POSITIONS: dict[str, tuple[Position, ...]] = {
    "detection": (Position("detection", "res3", 16, 1024), Position("detection", "res4", 32, 2048), *_LEVELS),
    "stereo": (Position("stereo", "layer4", 4, 128, views=2), Position("stereo", "volume", 4, 32, depth=True)),
}
_GROUPS = {WITHOUT: (), "fpn": tuple(level.name for level in _LEVELS)}


def parse(network: str, words: str | Iterable[str]) -> tuple[Position, ...]:
    """The positions named, in the network's order: names, `fpn` (fpn1 to fpn5), `all` or `none`; a text may join several by + or commas.

    Raises UsageError for a word that is no position of `network`.
    """
    known = {position.name: position for position in POSITIONS[network]}
    wanted: set[str] = set()
    for word in words.replace("+", ",").split(",") if isinstance(words, str) else words:
        word = word.strip()
        names = tuple(known) if word == "all" else _GROUPS.get(word, (word,))
        if unknown := set(names) - set(known):
            raise UsageError(
                f"{sorted(unknown)[0][:40]!r} is no position in {network}; there are {', '.join(known)}, all and none"
            )
        wanted.update(names)
    return tuple(position for position in POSITIONS[network] if position.name in wanted)


def written(network: str, positions: Iterable[Position]) -> str:
    """These positions of `network` as one text, which `parse` reads back; equal choices give equal texts."""
    wanted = set(positions)
    names = tuple(position.name for position in POSITIONS[network] if position in wanted)
    if len(names) == len(POSITIONS[network]):
        return "all"
    return next((word for word, group in _GROUPS.items() if group == names), "+".join(names))
