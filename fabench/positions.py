"""Where attention goes into the real networks: the paper's names, their places, and the shape of the map that each works on.

    network     name            place in the network                stride   channels    axes of its positions
    detection   res3            backbone.body.layer3                16       1024        h x w
                res4            backbone.body.layer4                32       2048        h x w
                fpn1 .. fpn5    backbone.fpn, level '0' .. 'pool'   4 .. 64  256         h x w
    stereo      layer4          feature_extraction.layer4           4        128         h x w, each view on its own
                volume          the cost volume, once aggregated    4        32          disparities / 4 x h x w

A naming trap: the paper counts ResNet's stages from res1, so its res_i is torchvision's `layer_i`; others call res3 C4 and res4 C5.
fpn1..fpn5 are P2..P6. Attention comes after the last block of the stage, and after the output of the feature pyramid (paper: arXiv
1812.01243 v1; PSMNet: Chang and Chen, CVPR 2018).

No torch here: suites and reports speak of the same places as the networks that are built.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fabench.case import Case
from fabench.errors import UsageError

__all__ = [
    "MAX_DISPARITY", "NETWORKS", "POSITIONS", "REFERENCE_SIZES", "Attention", "Position", "case", "map_bytes", "parameters", "parse",
]  # fmt: skip

NETWORKS = ("detection", "stereo")
MAX_DISPARITY = 192
# Height and width of the input that the paper's figures follow from: Table 1's map sizes; PSMNet's training crop.
REFERENCE_SIZES = {"detection": (896, 1280), "stereo": (256, 512)}


@dataclass(frozen=True, slots=True)
class Position:
    """A place for attention. `stride`: of the map against the network's input; `channels` C of the map. `depth`: has a disparity axis."""

    network: str
    name: str
    stride: int
    channels: int
    depth: bool = False

    def space(self, height: int, width: int, max_disparity: int = MAX_DISPARITY) -> tuple[int, ...]:
        """Sizes of the map's position axes for an input of this size in pixels, as the network sees it (resized and padded)."""
        image = (math.ceil(height / self.stride), math.ceil(width / self.stride))
        return (max_disparity // self.stride, *image) if self.depth else image


_LEVELS = tuple(Position("detection", f"fpn{number}", 2 ** (number + 1), 256) for number in range(1, 6))
POSITIONS: dict[str, tuple[Position, ...]] = {
    "detection": (Position("detection", "res3", 16, 1024), Position("detection", "res4", 32, 2048), *_LEVELS),
    "stereo": (Position("stereo", "layer4", 4, 128), Position("stereo", "volume", 4, 32, depth=True)),
}
_GROUPS = {"none": (), "fpn": tuple(level.name for level in _LEVELS)}


@dataclass(frozen=True, slots=True)
class Attention:
    """The block that is inserted: Q, K, V projections, core, reprojection to C and residual, in the softmax form, with d_v = C.

    `implementation`: the core, a file of `fabench.attention`. `d_k`: key channels over all heads. `pool`: K and V are max-pooled by this
    factor along height and width. `identity`: the reprojection starts at zero, so that the block first changes nothing.
    """

    implementation: str = "factorized"
    d_k: int = 64
    heads: int = 1
    pool: int = 1
    identity: bool = False


def parse(network: str, words: str | Iterable[str]) -> tuple[Position, ...]:
    """The positions named, in the network's order: names, `fpn` (fpn1 to fpn5), `all` or `none`; a text may join several by commas.

    Raises UsageError for a word that is no position of `network`.
    """
    known = {position.name: position for position in POSITIONS[network]}
    wanted: set[str] = set()
    for word in words.split(",") if isinstance(words, str) else words:
        word = word.strip()
        names = tuple(known) if word == "all" else _GROUPS.get(word, (word,))
        if unknown := set(names) - set(known):
            raise UsageError(
                f"{sorted(unknown)[0][:40]!r} is no position in {network}; there are {', '.join(known)}, all and none"
            )
        wanted.update(names)
    return tuple(position for position in POSITIONS[network] if position.name in wanted)


def case(
    position: Position, attention: Attention, height: int, width: int, *,
    batch: int = 1, dtype: str = "float32", mode: str = "fwd", reprojection: bool = True, max_disparity: int = MAX_DISPARITY,
) -> Case:  # fmt: skip
    """The block at `position` alone, as a case of scope "module", for an input of this size in pixels.

    Raises UsageError for channels that the heads don't divide.
    """
    _require_heads(position, attention)
    space = position.space(height, width, max_disparity)
    return Case(
        n=math.prod(space), m=math.prod(space), batch=batch, heads=attention.heads,
        d_k=attention.d_k // attention.heads, d_v=position.channels // attention.heads, dtype=dtype, mode=mode, scope="module",
        space="x".join(map(str, space)), channels=position.channels, reprojection=reprojection, residual=True, pool=attention.pool,
    )  # fmt: skip


def _require_heads(position: Position, attention: Attention) -> None:
    if min(attention.d_k, attention.heads, attention.pool) < 1:
        raise UsageError("d_k, heads and pool must be at least 1")
    for what, channels in (("d_k", attention.d_k), (f"C of {position.name}", position.channels)):
        if channels % attention.heads:
            raise UsageError(f"{what} = {channels} cannot be divided by {attention.heads} heads; take a number that divides it")


def map_bytes(asked: Case) -> int:
    """Bytes of one attention map, all heads and the whole batch, where a dot product makes one."""
    return asked.element_bytes * asked.batch * asked.heads * asked.n * asked.keys


def parameters(position: Position, attention: Attention) -> int:
    """Learnt numbers of the block at `position`: four 1x1 convolutions with bias."""
    channels, d_k = position.channels, attention.d_k
    return 2 * (channels + 1) * d_k + 2 * (channels + 1) * channels
