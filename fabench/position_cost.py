"""What a block at each position of a real network must cost, from the sizes alone: predictions, never measurements.

The paper's table of positions (arXiv 1812.01243 v1; detection at 896 x 1280, d_k = 64, one head) follows from it line by line. Its
bytes are v1's memory count, (2 d_k + 3 C) n floats and the map or context; its operations are without the reprojection, which the
modules of its networks do have: `reprojection=True` counts that as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fabench import cost, positions
from fabench.positions import MAX_DISPARITY, Attention, Position
from fabench.schema import Case

__all__ = ["PositionCost", "at", "table"]


@dataclass(frozen=True, slots=True)
class PositionCost:
    """One position, both families side by side. MACs are true multiply-accumulates of a forward pass over the batch.

    `space`: sizes of the position axes, n their product. `map_bytes`: one n x n map. `dot_product_bytes`, `factorized_bytes`: v1's
    memory count, what a backward pass needs, without weights. `parameters`: of either block.
    """

    position: Position
    space: tuple[int, ...]
    n: int
    map_bytes: int
    dot_product_bytes: int
    factorized_bytes: int
    dot_product_mac: int
    factorized_mac: int
    parameters: int


def at(
    position: Position, attention: Attention, height: int, width: int, *,
    batch: int = 1, dtype: str = "float32", reprojection: bool = False, max_disparity: int = MAX_DISPARITY,
) -> PositionCost:  # fmt: skip
    """The costs at one position for an input of this size in pixels; `attention.implementation` plays no part.

    Raises UsageError for channels that the heads don't divide.
    """
    asked = positions.case(
        position, attention, height, width, batch=batch, dtype=dtype, reprojection=reprojection, max_disparity=max_disparity
    )
    quadratic, linear = cost.of(asked, 2, 2), cost.of(asked, 1, 1)
    return PositionCost(
        position=position, space=asked.dimensions, n=asked.n, map_bytes=positions.map_bytes(asked),
        dot_product_bytes=_bytes(asked, 2), factorized_bytes=_bytes(asked, 1),
        dot_product_mac=quadratic.mac, factorized_mac=linear.mac, parameters=positions.parameters(position, attention),
    )  # fmt: skip


def _bytes(asked: Case, order: int) -> int:
    """v1's count is what a module with reprojection keeps for backward, less the convolutions' weights."""
    kept = cost.of(replace(asked, mode="fwd_bwd", reprojection=True), order, order).saved_bytes
    assert kept is not None
    assert asked.channels is not None
    return kept - asked.element_bytes * asked.channels * 2 * asked.heads * (asked.d_k + asked.d_v)


def table(
    network: str, words: str | Iterable[str], attention: Attention, height: int, width: int, *,
    batch: int = 1, dtype: str = "float32", reprojection: bool = False, max_disparity: int = MAX_DISPARITY,
) -> list[PositionCost]:  # fmt: skip
    """The costs at the positions named (see `positions.parse`), in the network's order."""
    return [
        at(
            position, attention, height, width,
            batch=batch, dtype=dtype, reprojection=reprojection, max_disparity=max_disparity,
        )
        for position in positions.parse(network, words)
    ]  # fmt: skip
