"""Attention at the places of `fabench.places`: the block that is inserted there, alone and in its network, as cases.

No torch here: suites and reports speak of the same places as the networks that are built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fabench.case import Case
from fabench.errors import UsageError
from fabench.places import BACKBONES, MAX_DISPARITY, NETWORKS, POSITIONS, WITHOUT, Position, parse, written

__all__ = [
    "BACKBONES", "MAX_DISPARITY", "NETWORKS", "POSITIONS", "REFERENCE_SIZES", "WITHOUT", "Attention", "Position", "attention_of",
    "blocks", "case", "map_bytes", "network_case", "parameters", "parse", "written",
]  # fmt: skip

# Height and width of the input that the paper's figures follow from: Table 1's map sizes; PSMNet's training crop.
REFERENCE_SIZES = {"detection": (896, 1280), "stereo": (256, 512)}


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
        network=position.network, positions=position.name, image=f"{height}x{width}",
    )  # fmt: skip


def network_case(
    network: str, words: str, attention: Attention, height: int, width: int, *,
    backbone: str | None = None, batch: int = 1, dtype: str = "float32", mode: str = "fwd",
) -> Case:  # fmt: skip
    """A whole network with `attention` at the positions that `words` name, as a case of scope "network"; by default in its usual form.

    Without positions the attention plays no part, and the case has none of its fields. Raises UsageError for unknown words and for
    channels that the heads don't divide, ValueError for fields that contradict each other.
    """
    chosen = parse(network, words)
    for position in chosen:
        _require_heads(position, attention)
    same = Case(
        n=height * width, m=height * width, batch=batch, dtype=dtype, mode=mode, scope="network", space=f"{height}x{width}", pool=1,
        network=network, positions=WITHOUT, backbone=backbone or BACKBONES[network][0],
    )  # fmt: skip
    if not chosen:
        return same
    d_k = attention.d_k // attention.heads
    return replace(
        same, positions=written(network, chosen), heads=attention.heads, d_k=d_k, d_v=d_k, pool=attention.pool
    )  # fmt: skip


def attention_of(asked: Case, implementation: str) -> Attention:
    """The block that a case of scope "network" has at each of its positions."""
    assert asked.pool is not None
    return Attention(implementation, asked.heads * asked.d_k, asked.heads, asked.pool)


def blocks(asked: Case) -> tuple[tuple[Position, Case], ...]:
    """Each position of a case of scope "network", and the block there alone: exactly the case that a suite measures by itself."""
    assert asked.network is not None and asked.positions is not None
    height, width = asked.dimensions
    attention = attention_of(asked, WITHOUT)
    return tuple(
        (position, case(position, attention, height, width, batch=asked.batch, dtype=asked.dtype, mode=asked.mode))
        for position in parse(asked.network, asked.positions)
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
